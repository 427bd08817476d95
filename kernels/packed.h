/* kernels/packed.h - elements of fewer than 8 bits, as ONNX has them: packed one behind the other,
 * the first one in the lowest bits; and as kernels have them: one a byte.
 */
#ifndef KERNELS_PACKED_H
#define KERNELS_PACKED_H

#include "common.h"

typedef struct packed_p {
    int32_t count;     /* elements */
    int32_t bits;      /* of each: 2, 4 or 6 */
    int32_t is_signed; /* two's complement */
} packed_p;            /* packed_read(p, x, y), packed_write(p, x, y) */

KERNEL uint32_t packed_get(const uint8_t *x, int32_t bits, size_t i)
{
    const size_t at = i * (size_t)bits, byte = at / 8;
    const uint32_t shift = (uint32_t)(at % 8), both = shift + (uint32_t)bits > 8;
    const uint32_t pair = x[byte] | (both ? (uint32_t)x[byte + 1] << 8 : 0);
    return pair >> shift & ((1u << bits) - 1);
}

/* Leaves the other bits as they are. */
KERNEL void packed_put(uint8_t *y, int32_t bits, size_t i, uint32_t code)
{
    const size_t at = i * (size_t)bits, byte = at / 8;
    const uint32_t shift = (uint32_t)(at % 8), mask = ((1u << bits) - 1) << shift;
    code = code << shift & mask;
    y[byte] = (uint8_t)((y[byte] & ~mask) | code);
    if (mask >> 8) y[byte + 1] = (uint8_t)((y[byte + 1] & ~(mask >> 8)) | code >> 8);
}

KERNEL_RUN void packed_read(const packed_p *restrict p, const void *restrict x, void *restrict y)
{
    const uint32_t top = p->is_signed ? 1u << (p->bits - 1) : 0;
    for (int32_t i = 0; i < p->count; i++)
        ((uint8_t *)y)[i] =
            (uint8_t)((packed_get((const uint8_t *)x, p->bits, (size_t)i) ^ top) - top);
}

/* The bits behind the last element are 0. */
KERNEL_RUN void packed_write(const packed_p *restrict p, const void *restrict x, void *restrict y)
{
    const size_t bytes = ((size_t)p->count * (size_t)p->bits + 7) / 8;
    for (size_t i = 0; i < bytes; i++) ((uint8_t *)y)[i] = 0;
    for (int32_t i = 0; i < p->count; i++)
        packed_put((uint8_t *)y, p->bits, (size_t)i, ((const uint8_t *)x)[i]);
}

#endif
