/* cli/tally.c - see tally.h. */
#include "tally.h"
#include "progress.h"
#include <stdlib.h>
#include <string.h>

static TallyRow *tally_row(Tally *t, const char *op, const char *domain)
{
    for (int i = 0; i < t->count; i++)
        if (!strcmp(t->rows[i].op, op) && !strcmp(t->rows[i].domain, domain)) return &t->rows[i];
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 16;
        t->rows = reallocarray(t->rows, (size_t)t->room, sizeof *t->rows);
        if (!t->rows) qonnx_out_of_memory();
    }
    t->rows[t->count] = (TallyRow){.op = op, .domain = domain};
    return &t->rows[t->count++];
}

TallyRow *tally_add(Tally *t, const qonnx_node *n)
{
    TallyRow *row = tally_row(t, qonnx_node_op(n), qonnx_node_domain(n));
    row->count++;
    t->total++;
    return row;
}

static int compare_rows(const void *a, const void *b)
{
    const TallyRow *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    int by_op = strcmp(x->op, y->op);
    return by_op ? by_op : strcmp(x->domain, y->domain);
}

void tally_sort(Tally *t)
{
    if (t->count) qsort(t->rows, (size_t)t->count, sizeof *t->rows, compare_rows);
}

void tally_free(Tally *t) { free(t->rows); }

void visit_nodes(const qonnx_graph *g, void (*visit)(void *user, const qonnx_node *n), void *user)
{
    for (; g; g = qonnx_graph_next(g))
        for (qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) visit(user, n);
}
