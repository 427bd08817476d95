/* kernels/common.h - what every kernel header shares: how kernels are declared, and clamping.
 *
 * Kernels are C99 without a library: no allocation, no globals, and the same result for every
 * tile size, vector width and instruction set. Compile them with -ffp-contract=off.
 */
#ifndef KERNELS_COMMON_H
#define KERNELS_COMMON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __FAST_MATH__
#error "kernels need IEEE arithmetic: compile without -ffast-math"
#endif

#if defined(__GNUC__)
#define KERNEL        static inline __attribute__((always_inline, unused))
#define KERNEL_CALLED static __attribute__((noinline, unused))
#else
#define KERNEL        static inline
#define KERNEL_CALLED static inline
#endif

/* A kernel itself: `KERNEL_RUN void NAME(const PARAMS *restrict p, inputs..., outputs...)`, inputs
 * as pointers to const. tools/embed.c lists these; the functions they are made of are KERNEL. */
#define KERNEL_RUN KERNEL

/* What the rest of the program has to know of a kernel, where its prototype does not say it, in
 * words: `onednn_X`, what it is in oneDNN (kernel.h); `floats`, its bytes need -ffp-contract=off
 * though its pointers are void, and `exact`, they do not though some are to float; `packs_FIELD`,
 * for each field of the parameters that NAME_pack() looks at: weights are packed once for all calls
 * that agree in these. Not in generated C. */
#define KERNEL_TRAITS(name, ...)

/* Whether six strides of an operand, innermost last, walk it as a tensor of those sizes lies. */
static inline int strides_in_order(const int32_t *dims, const int32_t *strides)
{
    int32_t step = 1;
    for (int i = 5; i >= 0; i--) {
        if (dims[i] != 1 && strides[i] != step) return 0;
        step *= dims[i];
    }
    return 1;
}

/* Elements that an elementwise kernel works on at once, in a buffer on the stack. */
enum { F_CHUNK = 64 };

/* v limited to [lo, hi]; NaN stays NaN. */
KERNEL float f_clamp(float v, float lo, float hi)
{
    v = v < lo ? lo : v;
    return v > hi ? hi : v;
}

/* Length of the chunk at `i` of `n` elements. */
KERNEL int32_t f_chunk(ptrdiff_t i, ptrdiff_t n)
{
    return n - i < F_CHUNK ? (int32_t)(n - i) : F_CHUNK;
}

#endif
