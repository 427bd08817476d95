/* kernels/row.h - the functions of a kernel's row (kernel.h), for one instruction set: units that
 * tools/embed.c writes, one for each header, are compiled once for each level, with
 * -DKERNELS_LEVEL=base, v3 ...
 */
#ifndef KERNELS_ROW_H
#define KERNELS_ROW_H

#include <assert.h>
#include "kernels/kernel.h"

#define JOIN_(a, b)    a##_##b
#define JOIN(a, b)     JOIN_(a, b)
#define AT_LEVEL(name) JOIN(name, KERNELS_LEVEL)

#define DECLARE_RUN(name)                                                                          \
    void AT_LEVEL(run_##name)(const void *p, const void *const *in, void *const *out);
#define DECLARE_PACK(name)                                                                         \
    size_t AT_LEVEL(bytes_##name)(const void *p);                                                  \
    void AT_LEVEL(pack_##name)(const void *p, const void *raw, void *packed);
#define DECLARE_ASK(name) int AT_LEVEL(in_place_##name)(const void *p, int i);

/* From the kernel proper. A parameter struct is its int32_t fields and its floats, nothing else. */
#define RUN(name, params, fields, ...)                                                             \
    DECLARE_RUN(name)                                                                              \
    void AT_LEVEL(run_##name)(const void *p, const void *const *in, void *const *out)              \
    {                                                                                              \
        static_assert(sizeof(params) == 4 * (fields), #params ": fields miscounted");              \
        (void)in;                                                                                  \
        name((const params *)p, __VA_ARGS__);                                                      \
    }
#define PACK(name, type)                                                                           \
    DECLARE_PACK(name)                                                                             \
    size_t AT_LEVEL(bytes_##name)(const void *p) { return name##_packed(p) * sizeof(type); }       \
    void AT_LEVEL(pack_##name)(const void *p, const void *raw, void *packed)                       \
    {                                                                                              \
        name##_pack(p, raw, packed);                                                               \
    }
#define ASK(name)                                                                                  \
    DECLARE_ASK(name)                                                                              \
    int AT_LEVEL(in_place_##name)(const void *p, int i) { return name##_in_place(p, i); }

#endif
