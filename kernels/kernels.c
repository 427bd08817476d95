/* kernels/kernels.c - the table of kernels for one instruction set: -DKERNELS_LEVEL=base, v3, v4
 * or vnni gives kernels_base, kernels_v3 and so on. All give the same bytes; select.c chooses.
 * kernel_list.h is written by tools/embed.c while building, from the kernels' headers, and so are
 * the units that compile them (row.h).
 */
#include "kernels/row.h"
#include "kernel_list.h"

extern const Kernel AT_LEVEL(kernels)[];
const Kernel AT_LEVEL(kernels)[] = {
    /* clang-format off */
    KERNEL_ROWS
    {.name = NULL},
    /* clang-format on */
};
