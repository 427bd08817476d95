/* passes/gates.c - see gates.h. The functions are patterns; a new one is a table and a line in
 * `gates`.
 */
#include "gates.h"
#include <qonnx/match.h>
#include <qonnx/quant.h>
#include <math.h>
#include <stdlib.h>

/* ---- patterns -------------------------------------------------------------------------------- */

/* x * e / 2, multiplied in any order */
#define HALF_OF_LAST(e) {"xe", "Mul", {"x", e}}, {"y", "Mul", {"xe", "=0.5"}}
#define HALF_OF_X(e) {"half", "Mul", {"x", "=0.5"}}, {"y", "Mul", {"half", e}}
#define HALF_OF_GATE(e) {"half", "Mul", {e, "=0.5"}}, {"y", "Mul", {"x", "half"}}

#define ERF                                                                                        \
    {"r", "Div|Mul", {"x", "=1.41421|0.707107"}}, {"erf", "Erf", {"r"}}, {"e", "Add", {"erf", "=1"}}
#define TANH                                                                                       \
    {"c", "Mul", {"x3", "=0.044715"}}, {"s", "Add", {"x", "c"}},                                   \
        {"t", "Mul", {"s", "=0.797885"}}, {"tanh", "Tanh", {"t"}}, {"e", "Add", {"tanh", "=1"}}
#define CUBE {"x3", "Pow", {"x", "=3"}}
#define PRODUCTS {"x2", "Mul", {"x", "x"}}, {"x3", "Mul", {"x", "x2"}}

static const qonnx_match_row gelu_erf_a[] = {ERF, HALF_OF_LAST("e")};
static const qonnx_match_row gelu_erf_b[] = {ERF, HALF_OF_X("e")};
static const qonnx_match_row gelu_erf_c[] = {ERF, HALF_OF_GATE("e")};
static const qonnx_match_row gelu_tanh_a[] = {CUBE, TANH, HALF_OF_LAST("e")};
static const qonnx_match_row gelu_tanh_b[] = {CUBE, TANH, HALF_OF_X("e")};
static const qonnx_match_row gelu_tanh_c[] = {CUBE, TANH, HALF_OF_GATE("e")};
static const qonnx_match_row gelu_tanh_d[] = {PRODUCTS, TANH, HALF_OF_LAST("e")};
static const qonnx_match_row gelu_tanh_e[] = {PRODUCTS, TANH, HALF_OF_X("e")};
static const qonnx_match_row gelu_tanh_f[] = {PRODUCTS, TANH, HALF_OF_GATE("e")};
static const qonnx_match_row gelu_quick[] = {
    {"k", "Mul", {"x", "=1.702"}}, {"s", "Sigmoid", {"k"}}, {"y", "Mul", {"x", "s"}}};
static const qonnx_match_row gelu[] = {{"y", "Gelu", {"x"}}};
static const qonnx_match_row silu[] = {{"s", "Sigmoid", {"x"}}, {"y", "Mul", {"x", "s"}}};
static const qonnx_match_row mish[] = {
    {"p", "Softplus", {"x"}}, {"t", "Tanh", {"p"}}, {"y", "Mul", {"x", "t"}}};
static const qonnx_match_row mish_itself[] = {{"y", "Mish", {"x"}}};
static const qonnx_match_row hard_swish[] = {{"y", "HardSwish", {"x"}}};
static const qonnx_match_row hard_swish_sigmoid[] = {
    {"s", "HardSigmoid", {"x"}, "alpha=0.166667"}, {"y", "Mul", {"x", "s"}}};

/* clip(x + 3, 0, 6) */
#define SIX {"a", "Add", {"x", "=3"}}, {"c", "Clip", {"a", "=0", "=6"}}
static const qonnx_match_row hard_swish_clip_a[] = {
    SIX, {"xc", "Mul", {"x", "c"}}, {"y", "Div|Mul", {"xc", "=6|0.166667"}}};
static const qonnx_match_row hard_swish_clip_b[] = {
    SIX, {"g", "Div|Mul", {"c", "=6|0.166667"}}, {"y", "Mul", {"x", "g"}}};
static const qonnx_match_row hard_swish_clip_c[] = {
    SIX, {"x6", "Div|Mul", {"x", "=6|0.166667"}}, {"y", "Mul", {"x6", "c"}}};

/* A function of x, and where it vanishes: it is at least -0.0005 and at most 0 from there on. */
typedef struct Gate {
    const qonnx_match_row *rows;
    int count;
    float floor;
} Gate;

#define GATE(rows, floor) {rows, sizeof rows / sizeof *(rows), floor}

static const Gate gates[] = {
    GATE(gelu_erf_a, -4),         GATE(gelu_erf_b, -4),         GATE(gelu_erf_c, -4),
    GATE(gelu_tanh_a, -4),        GATE(gelu_tanh_b, -4),        GATE(gelu_tanh_c, -4),
    GATE(gelu_tanh_d, -4),        GATE(gelu_tanh_e, -4),        GATE(gelu_tanh_f, -4),
    GATE(gelu_quick, -6),         GATE(gelu, -4),               GATE(silu, -10),
    GATE(mish, -10),              GATE(mish_itself, -10),       GATE(hard_swish, -3),
    GATE(hard_swish_sigmoid, -3), GATE(hard_swish_clip_a, -3),  GATE(hard_swish_clip_b, -3),
    GATE(hard_swish_clip_c, -3),
};

/* ---- floors ---------------------------------------------------------------------------------- */

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
    qonnx_match m;
    for (size_t i = 0; i < sizeof gates / sizeof *gates; i++) {
        const Gate *g = &gates[i];
        if (!qonnx_match_at(n, g->rows, g->count, true, &m)) continue;
        const qonnx_value *x = qonnx_match_value(&m, g->rows, "x");
        if (qonnx_match_keeps(&m, x)) add_floor(f, x, g->floor);
        return;
    }
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
