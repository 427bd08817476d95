/* passes/gates.c - see gates.h. */
#include "gates.h"
#include <qonnx/match.h>
#include <qonnx/quant.h>
#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Floor *)a)->value, y = (uintptr_t)((const Floor *)b)->value;
    return (x > y) - (x < y);
}

/* The value has that floor, and so have those that it was moved from, where nobody else reads them.
 */
static void add_floor(Floors *f, const qonnx_value *v, float floor)
{
    while (v && f->count < f->room) {
        f->all[f->count++] = (Floor){v, floor};
        const qonnx_node *n = qonnx_value_producer(v);
        if (!n || qonnx_node_rule(n).kind != QONNX_RULE_SAME || qonnx_node_outputs(n) != 1) return;
        v = qonnx_node_input(n, 0);
        if (qonnx_value_only_user(v) != n) return;
    }
}

/* Looks whether a gate ends at the node. */
static void find_gate(Floors *f, qonnx_node *n)
{
    const qonnx_value *x;
    float floor = qonnx_function_floor(n, &x);
    if (floor > -INFINITY) add_floor(f, x, floor);
}

void gates_find(Floors *f, qonnx_graph *g)
{
    *f = (Floors){NULL, 0, 0};
    for (const qonnx_graph *s = g; s; s = qonnx_graph_next(s)) f->room += qonnx_graph_values(s);
    f->all = qonnx_graph_array(g, (size_t)f->room, sizeof *f->all);
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) find_gate(f, n);
    qsort(f->all, (size_t)f->count, sizeof *f->all, compare);
}

float gates_floor(const Floors *f, const qonnx_value *v)
{
    Floor key = {v, 0};
    const Floor *found = bsearch(&key, f->all, (size_t)f->count, sizeof key, compare);
    return found ? found->floor : -INFINITY;
}
