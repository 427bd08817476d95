/* kernels/lookup.h - elements replaced by those that a table has for them.
 */
#ifndef KERNELS_LOOKUP_H
#define KERNELS_LOOKUP_H

#include "order.h"

typedef struct lookup_p {
    int32_t count; /* elements */
    int32_t keys;  /* of the table */
    int32_t type;  /* of the elements: A_FLOAT ... */
    int32_t size;  /* bytes of a value */
} lookup_p; /* lookup(p, x, keys, values, y): keys are those of order.h, the least one first; behind
               the values, one a key, stands that of all other elements */

KERNEL_TRAITS(lookup, exact)
KERNEL_RUN void lookup(const lookup_p *restrict p, const void *restrict x,
                       const uint64_t *restrict keys, const void *restrict values, void *restrict y)
{
    const unsigned char *from = (const unsigned char *)values;
    unsigned char *to = (unsigned char *)y;
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        uint64_t key[F_CHUNK];
        const int32_t n = f_chunk(i, p->count);
        order_keys(key, p->type, x, i, 1, n);
        for (int32_t j = 0; j < n; j++, to += p->size) {
            ptrdiff_t at = 0, end = p->keys;
            while (at < end) {
                const ptrdiff_t middle = at + (end - at) / 2;
                if (keys[middle] < key[j]) at = middle + 1;
                else end = middle;
            }
            if (at == p->keys || keys[at] != key[j]) at = p->keys;
            memcpy(to, from + at * p->size, (size_t)p->size);
        }
    }
}

#endif
