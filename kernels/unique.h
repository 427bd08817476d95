/* kernels/unique.h - the slices of a tensor along an axis, each once: ONNX's Unique.
 *
 * Slices are compared element by element; 0 and -0 are equal, and so are NaN, which are greater
 * than any number. Of equal ones the first is taken.
 */
#ifndef KERNELS_UNIQUE_H
#define KERNELS_UNIQUE_H

#include "order.h"

typedef struct unique_p {
    int32_t outer, count, inner; /* x is [outer][count][inner] */
    int32_t type;                /* A_FLOAT ... */
    int32_t size;                /* bytes an element */
    int32_t sorted;              /* the least one first, else in order of their first places */
} unique_p;

/* unique(p, x, y, first, inverse, counts, size, keys, work): y is [outer][*size][inner], first and
 * counts are [*size], and 0 behind that; inverse is [count], and each of the three may be NULL.
 * work is memory for 3 * count int64_t, keys for as many uint64_t as x has elements. */

/* Slice a compared with slice b: below 0, 0 or above. */
KERNEL int32_t unique_compare(const unique_p *restrict p, const uint64_t *restrict key, int64_t a,
                              int64_t b)
{
    const ptrdiff_t inner = p->inner;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t i = 0; i < inner; i++) {
            const uint64_t u = key[(o * p->count + a) * inner + i];
            const uint64_t v = key[(o * p->count + b) * inner + i];
            if (u != v) return u < v ? -1 : 1;
        }
    return 0;
}

/* Sorts the numbers of slices in a; equal ones stay in order. Which of a and b has them then. */
KERNEL int64_t *unique_sort(const unique_p *restrict p, const uint64_t *restrict key, int64_t *a,
                            int64_t *b)
{
    const ptrdiff_t n = p->count;
    for (ptrdiff_t run = 1; run < n; run *= 2) {
        for (ptrdiff_t at = 0; at < n; at += 2 * run) {
            const ptrdiff_t mid = at + run < n ? at + run : n;
            const ptrdiff_t end = at + 2 * run < n ? at + 2 * run : n;
            ptrdiff_t i = at, j = mid;
            for (ptrdiff_t k = at; k < end; k++)
                b[k] = j == end || (i < mid && unique_compare(p, key, a[i], a[j]) <= 0) ? a[i++]
                                                                                        : a[j++];
        }
        int64_t *const other = a;
        a = b;
        b = other;
    }
    return a;
}

/* Makes group[i] the first slice that is equal to slice i, where `order` is the sorted ones.
 * Returns how many differ. */
KERNEL int64_t unique_group(const unique_p *restrict p, const uint64_t *restrict key,
                            const int64_t *restrict order, int64_t *restrict group)
{
    int64_t found = 0;
    for (ptrdiff_t k = 0; k < p->count; k++) {
        const int32_t differs = !k || unique_compare(p, key, order[k - 1], order[k]);
        group[order[k]] = differs ? order[k] : group[order[k - 1]];
        found += differs;
    }
    return found;
}

/* Numbers the groups: group[i] becomes the number of slice i's, first[g] the first of group g. */
KERNEL void unique_number(const unique_p *restrict p, const int64_t *restrict order,
                          int64_t *restrict group, int64_t *restrict first)
{
    if (p->sorted) {
        int64_t g = -1;
        for (ptrdiff_t k = 0; k < p->count; k++) {
            const int64_t at = order[k];
            if (group[at] == at) first[++g] = at;
            group[at] = g;
        }
    } else {
        int64_t g = 0;
        for (ptrdiff_t i = 0; i < p->count; i++)
            if (group[i] == i) {
                first[g] = i;
                group[i] = g++;
            } else {
                group[i] = group[group[i]]; /* of a slice before it, which has its number */
            }
    }
}

KERNEL void unique_copy(const unique_p *restrict p, const void *restrict x, int64_t found,
                        const int64_t *first, void *restrict y)
{
    const size_t bytes = (size_t)p->inner * (size_t)p->size;
    unsigned char *to = (unsigned char *)y;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t g = 0; g < found; g++, to += bytes)
            memcpy(to, (const unsigned char *)x + (size_t)(o * p->count + first[g]) * bytes, bytes);
    memset(to, 0, (size_t)(p->outer * (p->count - found)) * bytes);
}

KERNEL_RUN void unique(const unique_p *restrict p, const void *restrict x, void *restrict y,
                       int64_t *restrict first, int64_t *restrict inverse, int64_t *restrict counts,
                       int64_t *restrict size, uint64_t *restrict keys, int64_t *restrict work)
{
    const ptrdiff_t n = p->count, all = (ptrdiff_t)p->outer * n * p->inner;
    int64_t *const a = work, *const b = work + n, *const c = work + 2 * n;
    for (ptrdiff_t i = 0; i < all; i += F_CHUNK) {
        uint64_t some[F_CHUNK];
        const int32_t m = f_chunk(i, all);
        order_keys(some, p->type, x, i, 1, m);
        memcpy(keys + i, some, (size_t)m * sizeof *some);
    }
    for (ptrdiff_t i = 0; i < n; i++) a[i] = i;
    int64_t *const order = unique_sort(p, keys, a, b), *const firsts = order == a ? b : a;
    const int64_t found = unique_group(p, keys, order, c);
    unique_number(p, order, c, firsts);
    for (ptrdiff_t g = 0; counts && g < n; g++) counts[g] = 0;
    for (ptrdiff_t i = 0; counts && i < n; i++) counts[c[i]]++;
    for (ptrdiff_t g = 0; first && g < n; g++) first[g] = g < found ? firsts[g] : 0;
    if (inverse) memcpy(inverse, c, (size_t)n * sizeof *inverse);
    unique_copy(p, x, found, firsts, y);
    *size = found;
}

#endif
