/* kernels/kernel.h - what a kernel is to the rest of the program: a name, a function and the shape
 * of its parameters.
 *
 * A kernel proper is in a C99 header beside this one: `KERNEL_RUN void f_conv(const f_conv_p
 * *restrict p, inputs..., output)`. Its parameter struct is int32_t fields first, float fields
 * last, nothing else, so that it can be printed as a table. The build lists what it finds in the
 * headers, kernels.c compiles it; the executor calls `run`, the C backend prints a call of the same
 * name.
 */
#ifndef KERNELS_KERNEL_H
#define KERNELS_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* What a kernel is in oneDNN (runtime/onednn.c); KERNEL_onednn_none: nothing. */
typedef enum KernelOnednn {
    KERNEL_onednn_none,
    KERNEL_onednn_conv,
    KERNEL_onednn_deconv,
    KERNEL_onednn_gemm,
    KERNEL_onednn_maxpool,
    KERNEL_onednn_avgpool,
    KERNEL_onednn_matmul,
    KERNEL_onednn_norm
} KernelOnednn;

typedef struct Kernel {
    const char *name; /* "f_conv": also the C function's name */
    int nint, nfloat; /* fields of the parameter struct: int32_t first, then float */
    int nin, nout;    /* pointers the function takes, inputs first; those that are left out are NULL
                         (no bias) */
    unsigned in_place; /* bit i: output 0 may be the memory of input i ... */
    int (*in_place_now)(const void *p, int i); /* ... where this says so; NULL: always */
    KernelOnednn onednn;                        /* its form there */
    /* Bit i: field i of the parameters decides how input 1 is packed; 0: all do. */
    uint64_t pack_fields;
    /* Runs it: `p` is the kernel's parameter struct. [any thread] */
    void (*run)(const void *p, const void *const *in, void *const *out);
    /* For kernels whose input 1 is a constant in a layout of their own (conv, gemm): bytes of the
     * packed form, and the packing from ONNX's layout. NULL where input 1 is taken as it is. */
    size_t (*pack_bytes)(const void *p);
    void (*pack)(const void *p, const void *raw, void *packed);
} Kernel;

/* kernels.c is built once for each level; all levels give the same bytes. */
typedef enum KernelLevel {
    KERNEL_BASE,
    KERNEL_V3,
    KERNEL_V4,
    KERNEL_VNNI,
    KERNEL_LEVELS
} KernelLevel;

/* Every kernel, ended by a NULL name, for that instruction set (x86-64-v3, x86-64-v4, that with
 * AVX512-VNNI); NULL where this machine does not have it. */
const Kernel *kernel_table(KernelLevel level);

/* The kernel of that name for the best level there is; asserts that it exists. [any thread] */
const Kernel *kernel_find(const char *name);

#endif
