/* kernels/fill.h - sets every element of a tensor to one value of 1, 2, 4 or 8 bytes.
 */
#ifndef KERNELS_FILL_H
#define KERNELS_FILL_H

#include <string.h>
#include "common.h"
#include "params.h"

/* `size` is constant where this is called. */
KERNEL void fill_elements(ptrdiff_t count, const void *restrict value, unsigned char *restrict y,
                          size_t size)
{
    unsigned char element[8];
    memcpy(element, value, size);
    for (ptrdiff_t i = 0; i < count; i++, y += size) memcpy(y, element, size);
}

KERNEL void fill(const fill_p *restrict p, const void *restrict value, void *restrict y)
{
    switch (p->size) {
    case 1: fill_elements(p->count, value, y, 1); break;
    case 2: fill_elements(p->count, value, y, 2); break;
    case 4: fill_elements(p->count, value, y, 4); break;
    default: fill_elements(p->count, value, y, 8); break;
    }
}

#endif
