/* kernels/select.c - finds kernels, in the table for the best instruction set this machine has.
 */
#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include "kernels/kernel.h"

extern const Kernel kernels_base[];
#if defined(__x86_64__)
extern const Kernel kernels_v3[], kernels_v4[], kernels_vnni[];
#endif

const Kernel *kernel_table(KernelLevel level)
{
#if defined(__x86_64__)
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    if (level == KERNEL_V3) return v3 ? kernels_v3 : NULL;
    if (level == KERNEL_V4) return v4 ? kernels_v4 : NULL;
    const bool vnni = v4 && __builtin_cpu_supports("avx512vnni");
    if (level == KERNEL_VNNI) return vnni ? kernels_vnni : NULL;
#endif
    return level == KERNEL_BASE ? kernels_base : NULL;
}

const Kernel *kernel_find(const char *name)
{
    const Kernel *table = NULL;
    for (int level = KERNEL_LEVELS - 1; !table; level--) table = kernel_table((KernelLevel)level);
    while (table->name && strcmp(table->name, name) != 0) table++;
    assert(table->name && "no kernel of that name");
    return table;
}
