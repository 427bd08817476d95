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

/* A kernel itself: `KERNEL_RUN void NAME(const PARAMS *restrict p, inputs..., output)`, inputs as
 * pointers to const. tools/embed.c lists these; the functions they are made of are KERNEL. */
#define KERNEL_RUN KERNEL

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
