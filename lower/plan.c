/* lower/plan.c - offsets for buffers: largest first, each at the lowest place that is free for its
 * whole life. Inputs and outputs lie in the caller's memory.
 */
#include "lower/program.h"
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

static size_t aligned(size_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

static int larger_first(const void *a, const void *b)
{
    const Buf *x = *(Buf *const *)a, *y = *(Buf *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->born != y->born ? (x->born > y->born) - (x->born < y->born)
                              : (x->dies > y->dies) - (x->dies < y->dies);
}

static int lower_offset_first(const void *a, const void *b)
{
    const Buf *x = *(Buf *const *)a, *y = *(Buf *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* The lowest offset where `b` overlaps none of the buffers `near`, which are sorted by offset. */
static size_t lowest_gap(const Buf *b, Buf *const *near, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        if (near[i]->offset >= at + aligned(b->bytes)) break;
        size_t end = near[i]->offset + aligned(near[i]->bytes);
        if (end > at) at = end;
    }
    return at;
}

void program_plan(Program *p)
{
    Buf **order = xmalloc((size_t)p->nbuf * sizeof *order);
    Buf **near = xmalloc((size_t)p->nbuf * sizeof *near);
    int n = 0;
    for (int i = 0; i < p->nbuf; i++)
        if (!p->bufs[i]->port) order[n++] = p->bufs[i];
    qsort(order, (size_t)n, sizeof *order, larger_first);
    p->memory = 0;
    for (int i = 0; i < n; i++) {
        Buf *b = order[i];
        int count = 0;
        for (int k = 0; k < i; k++)
            if (order[k]->born <= b->dies && b->born <= order[k]->dies) near[count++] = order[k];
        qsort(near, (size_t)count, sizeof *near, lower_offset_first);
        b->offset = lowest_gap(b, near, count);
        size_t end = b->offset + aligned(b->bytes);
        if (end > p->memory) p->memory = end;
    }
    free(order);
    free(near);
}
