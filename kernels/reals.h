/* kernels/reals.h - single elements of float or double, read and written as doubles: for kernels
 * that work in double and take either.
 */
#ifndef KERNELS_REALS_H
#define KERNELS_REALS_H

#include "elements.h"

KERNEL double real_get(int32_t type, const void *x, ptrdiff_t i)
{
    return type == A_DOUBLE ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

KERNEL void real_put(int32_t type, void *y, ptrdiff_t i, double v)
{
    if (type == A_DOUBLE) ((double *)y)[i] = v;
    else ((float *)y)[i] = (float)v;
}

#endif
