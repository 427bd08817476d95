/* kernels/topk.h - the k greatest or least elements of each line, the best one first: ONNX's TopK.
 *
 * Equal ones are in the order of their places. NaN is greater than any number.
 */
#ifndef KERNELS_TOPK_H
#define KERNELS_TOPK_H

#include "order.h"

typedef struct topk_p {
    int32_t outer, count, inner; /* x is [outer][count][inner] */
    int32_t k;                   /* values and places are [outer][k][inner] */
    int32_t type;                /* A_FLOAT ... */
    int32_t size;                /* bytes an element */
    int32_t least;               /* the least ones */
} topk_p; /* topk(p, x, values or NULL, places, keys): keys is memory for k uint64_t, places are
             int64_t */

/* A heap whose root is the worst of those that it holds. */
typedef struct topk_heap {
    uint64_t *key; /* the better element has the greater one */
    int64_t *at;   /* where it is; those of one line are `inner` apart */
    ptrdiff_t inner;
    int32_t n; /* in the heap */
} topk_heap;

KERNEL int32_t topk_worse(uint64_t key, int64_t at, uint64_t than, int64_t than_at)
{
    return key < than || (key == than && at > than_at);
}

/* Puts an element where the one at the root was. */
KERNEL void topk_sink(topk_heap *h, uint64_t key, int64_t at)
{
    ptrdiff_t i = 0;
    for (ptrdiff_t next = 1; next < h->n; next = 2 * i + 1) {
        if (next + 1 < h->n && topk_worse(h->key[next + 1], h->at[(next + 1) * h->inner],
                                          h->key[next], h->at[next * h->inner]))
            next++;
        if (!topk_worse(h->key[next], h->at[next * h->inner], key, at)) break;
        h->key[i] = h->key[next];
        h->at[i * h->inner] = h->at[next * h->inner];
        i = next;
    }
    h->key[i] = key;
    h->at[i * h->inner] = at;
}

/* Adds one. */
KERNEL void topk_rise(topk_heap *h, uint64_t key, int64_t at)
{
    ptrdiff_t i = h->n++;
    for (ptrdiff_t up = (i - 1) / 2; i > 0; i = up, up = (i - 1) / 2) {
        if (!topk_worse(key, at, h->key[up], h->at[up * h->inner])) break;
        h->key[i] = h->key[up];
        h->at[i * h->inner] = h->at[up * h->inner];
    }
    h->key[i] = key;
    h->at[i * h->inner] = at;
}

/* Takes the worst ones off, one after the other, to where they belong. */
KERNEL void topk_sort(topk_heap *h)
{
    while (h->n > 1) {
        const int32_t last = h->n - 1;
        const uint64_t key = h->key[last], worst = h->key[0];
        const int64_t at = h->at[last * h->inner], where = h->at[0];
        h->n = last;
        topk_sink(h, key, at);
        h->key[last] = worst;
        h->at[last * h->inner] = where;
    }
}

/* One line, which begins at element `from`. */
KERNEL void topk_line(const topk_p *restrict p, const void *restrict x, ptrdiff_t from,
                      int64_t *restrict at, uint64_t *restrict key)
{
    topk_heap h = {key, at, p->inner, 0};
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        uint64_t some[F_CHUNK];
        const int32_t n = f_chunk(i, p->count);
        order_keys(some, p->type, x, from + i * p->inner, p->inner, n);
        for (int32_t j = 0; j < n; j++) {
            const uint64_t u = p->least ? ~some[j] : some[j];
            if (h.n < p->k) topk_rise(&h, u, i + j);
            else if (u > h.key[0]) topk_sink(&h, u, i + j);
        }
    }
    topk_sort(&h);
}

KERNEL_TRAITS(topk, exact)
KERNEL_RUN void topk(const topk_p *restrict p, const void *restrict x, void *restrict values,
                     int64_t *restrict places, uint64_t *restrict keys)
{
    const ptrdiff_t inner = p->inner, size = p->size;
    const unsigned char *in = (const unsigned char *)x;
    unsigned char *out = (unsigned char *)values;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t j = 0; j < inner; j++) {
            const ptrdiff_t from = o * p->count * inner + j, to = o * p->k * inner + j;
            topk_line(p, x, from, places + to, keys);
            for (ptrdiff_t i = 0; out && i < p->k; i++)
                memcpy(out + (to + i * inner) * size,
                       in + (from + places[to + i * inner] * inner) * size, (size_t)size);
        }
}

#endif
