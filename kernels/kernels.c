/* kernels/kernels.c - every kernel compiled and listed, for one instruction set.
 *
 * Built once for each level: -DKERNELS_LEVEL=base, v3, v4, vnni with the matching options gives the
 * table kernels_base, kernels_v3 and so on. All give the same bytes. select.c chooses.
 * kernel_list.h is written by tools/embed.c while building, from the kernels' headers.
 */
#include <assert.h>
#include "kernel_list.h"
#include "kernels/kernel.h"

#define JOIN_(a, b)   a##b
#define JOIN(a, b)    JOIN_(a, b)
#define KERNELS_TABLE JOIN(kernels_, KERNELS_LEVEL)

/* The functions of a row, from the kernel proper. A parameter struct is its int32_t fields and its
 * floats, nothing else. */
#define RUN(name, params, fields, ...)                                                             \
    static void run_##name(const void *p, const void *const *in, void *const *out)                 \
    {                                                                                              \
        static_assert(sizeof(params) == 4 * (fields), #params ": fields miscounted");              \
        name((const params *)p, __VA_ARGS__);                                                      \
    }
#define PACK(name, type)                                                                           \
    static size_t bytes_##name(const void *p) { return name##_packed(p) * sizeof(type); }          \
    static void pack_##name(const void *p, const void *raw, void *packed)                          \
    {                                                                                              \
        name##_pack(p, raw, packed);                                                               \
    }
#define ASK(name)                                                                                  \
    static int in_place_##name(const void *p, int i) { return name##_in_place(p, i); }

KERNELS(RUN)
PACKERS(PACK)
ASKERS(ASK)

extern const Kernel KERNELS_TABLE[];
const Kernel KERNELS_TABLE[] = {
    /* clang-format off */
    KERNEL_ROWS
    {.name = NULL},
    /* clang-format on */
};
