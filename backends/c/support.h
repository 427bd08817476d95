/* support.h - the few macros that generated code is written with. */
#ifndef QONNX_SUPPORT_H
#define QONNX_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

/* In front of a static array: its first byte is aligned to n. */
#if defined(__GNUC__)
#define ALIGNED(n) __attribute__((aligned(n)))
#elif defined(_MSC_VER)
#define ALIGNED(n) __declspec(align(n))
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define ALIGNED(n) _Alignas(n)
#else
#error "say here how this compiler aligns an array"
#endif

/* In front of a constant: where vectors are wide, weights begin with a line of the cache. */
#if defined(__AVX2__)
#define CONSTANT ALIGNED(64)
#else
#define CONSTANT ALIGNED(16)
#endif

/* A place in the caller's arena, and in the caller's copy of the weights. */
#define ARENA(offset)   ((void *)((unsigned char *)arena + (offset)))
#define WEIGHTS(offset) ((const void *)((const unsigned char *)weights + (offset)))

/* Makes the function return 1 unless p points to something aligned to n. */
#define CHECK_POINTER(p, n)                                                                        \
    if (!(p) || (uintptr_t)(p) % (n) != 0) return 1

#endif
