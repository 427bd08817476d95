/* ir/size.h - the one checked arithmetic for sizes: whatever is computed from a file's numbers goes
 * through here before it reaches an allocation or an index.
 */
#ifndef IR_SIZE_H
#define IR_SIZE_H

#include <qonnx/base.h>

/* a * b and a + b; false when the result does not fit. */
static inline bool size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Product of dims[0..rank), all of which must be >= 0; false when it does not fit. */
static inline bool size_elements(const int64_t *dims, int rank, size_t *out)
{
    size_t n = 1;
    bool zero = false;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0) return false;
        if (dims[i] == 0) zero = true;
        else if (!size_mul(n, (size_t)dims[i], &n)) return false;
    }
    *out = zero ? 0 : n;
    return true;
}

/* Bytes of a dense tensor; types of less than 8 bits are packed. False when it does not fit, or
 * for types without a size. */
static inline bool tensor_bytes(const int64_t *dims, int rank, qonnx_dtype t, size_t *out)
{
    size_t n, bits = (size_t)qonnx_dtype_bits(t);
    if (!bits || !size_elements(dims, rank, &n) || !size_mul(n, bits, &n)) return false;
    return size_add(n, 7, &n) && (*out = n / 8, true);
}

/* Bytes of `count` elements, of which there is memory for more already. */
static inline size_t elements_bytes(int64_t count, qonnx_dtype t)
{
    return ((size_t)count * (size_t)qonnx_dtype_bits(t) + 7) / 8;
}

/* Products and sums that stay at the largest number where they do not fit: for what is only
 * compared with a limit. */
static inline int64_t size_times(int64_t a, int64_t b)
{
    int64_t y;
    return __builtin_mul_overflow(a, b, &y) ? INT64_MAX : y;
}

static inline int64_t size_plus(int64_t a, int64_t b)
{
    int64_t y;
    return __builtin_add_overflow(a, b, &y) ? INT64_MAX : y;
}

#endif
