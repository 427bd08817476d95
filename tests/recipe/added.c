/* ops/added.c - three operators that tests/test_recipes.py adds by HACKING.md's recipe: this file
 * and its name in op_families.
 */
#include "kernels/nonzero.h"
#include "lower/lower.h"
#include "ops/control.h"

/* ---- Halves: two outputs --------------------------------------------------------------------- */

static bool halves_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Shape y;
    if (x) y = *x;
    if (x && x->rank < 1) return qonnx_fail(cx, n, "input 0 is a number, want an axis to halve");
    if (x && x->dim[0] % 2 == 1)
        return qonnx_fail(cx, n, "axis 0 has size %lld, want an even one", (long long)x->dim[0]);
    if (x && x->dim[0] >= 0) y.dim[0] /= 2;
    return out_shape(cx, n, 0, in_dtype(n, 0), x ? &y : NULL) &&
           out_shape(cx, n, 1, in_dtype(n, 0), x ? &y : NULL);
}

static bool halves_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    int64_t strides[QONNX_MAX_RANK];
    layout_strides(x, PLAIN, strides);
    Buf *from = lower_in(l, n, 0, PLAIN);
    for (int i = 0; i < 2; i++)
        if (out_used(n, i))
            lower_copy(l, n, x->rank, y->dim, from, strides, i * y->dim[0] * strides[0],
                       lower_out(l, n->out[i], PLAIN), strides, 0,
                       dtype_size(in_dtype(n, 0)));
    return true;
}

/* ---- Places: a size that is data ------------------------------------------------------------- */

static bool places_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Shape y = shape_make(2, (int64_t[]){x && x->rank ? x->rank : 1, -1});
    return out_shape(cx, n, 0, QONNX_INT64, x ? &y : NULL);
}

static int places_axis(const Node *n, int i)
{
    (void)n;
    return i ? -1 : 1;
}

static int64_t places_most(const Node *n) { return shape_elements(in_shape(n, 0)); }

static bool places_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    nonzero_p p = {.rank = x->rank ? x->rank : 1, .d0 = 1, .type = (int32_t)in_dtype(n, 0)};
    for (int i = 0; i < x->rank; i++) (&p.d0)[i] = (int32_t)x->dim[i];
    Buf *in = lower_in(l, n, 0, PLAIN);
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN), NULL};
    out[1] = out_used(n, 1) ? lower_out(l, n->out[1], PLAIN) : lower_temp(l, sizeof(int64_t));
    lower_call_n(l, n, "nonzero", &p, &in, 1, out, 2);
    return true;
}

static const Counted places_counted = {1, places_axis, places_most};

/* ---- Apply: a subgraph ----------------------------------------------------------------------- */

static bool apply_enter(Ctx *cx, Node *n)
{
    const Graph *g = control_graph(n, "body");
    return (g && !g->ninput && g->noutput == n->nout) ||
           qonnx_fail(cx, n, "want a body without inputs, that gives %d values", n->nout);
}

static bool apply_shape(Ctx *cx, Node *n)
{
    if (!apply_enter(cx, n)) return false;
    const Graph *g = control_graph(n, "body");
    for (int i = 0; i < n->nout; i++)
        if (!out_shape(cx, n, i, g->outputs[i]->dtype, &g->outputs[i]->shape)) return false;
    return true;
}

static bool apply_lower(Lower *l, Node *n)
{
    Body b = {.turns = 1};
    if (!lower_branch(l, n, control_graph(n, "body"), &b, 0)) return false;
    for (int i = 0; i < n->nout; i++) {
        size_t bytes = b.program[0]->outputs[i].tensor.bytes;
        b.out[0][i].buf = out_used(n, i) ? lower_out(l, n->out[i], PLAIN) : lower_temp(l, bytes);
    }
    lower_body(l, n, &b);
    return true;
}

static const Flow apply_flow = {.enter = apply_enter};

const Op ops_added[] = {
    {"Halves", 1, 1, halves_shape, RULE_FLOAT, NULL, halves_lower, .domain = "added"},
    {"Places", 1, 1, places_shape, RULE_FLOAT, NULL, places_lower, .domain = "added",
     .counted = &places_counted},
    {"Apply", 0, 0, apply_shape, RULE_FLOAT, NULL, apply_lower, .domain = "added",
     .flow = &apply_flow},
    {0},
};
