/* passes/result.c - what a plugin's pass left, checked as a file is: its own code is not ours to
 * trust. graph_verify() has looked at the wiring before; here it is what the values say.
 */
#include "passes/result.h"
#include "ir/ir.h"
#include "ir/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An input or output of the model as it was. */
typedef struct Face {
    const char *name; /* lives as long as the graph */
    DType dtype;
    Shape shape;
} Face;

struct Faces {
    int inputs, outputs; /* of the main graph, initializers left out */
    Face at[];           /* inputs, then outputs */
};

static Face face_of(const Value *v) { return (Face){v->name, v->dtype, v->shape}; }

/* The next input from index *i on that somebody must give: old files list initializers as inputs
 * too, and a pass may drop those. NULL past the end. */
static const Value *next_input(const Graph *g, int *i)
{
    while (*i < g->ninput && g->inputs[*i]->data) ++*i;
    return *i < g->ninput ? g->inputs[(*i)++] : NULL;
}

static int count_inputs(const Graph *g)
{
    int count = 0;
    for (int i = 0; next_input(g, &i);) count++;
    return count;
}

Faces *faces_of(const Graph *g)
{
    size_t count = (size_t)g->ninput + (size_t)g->noutput;
    Faces *f = xcalloc(1, sizeof *f + count * sizeof f->at[0]);
    f->outputs = g->noutput;
    const Value *v;
    for (int i = 0; (v = next_input(g, &i));) f->at[f->inputs++] = face_of(v);
    for (int i = 0; i < f->outputs; i++) f->at[f->inputs + i] = face_of(g->outputs[i]);
    return f;
}

void faces_free(Faces *f) { free(f); }

/* ---- inputs and outputs ---------------------------------------------------------------------- */

static bool same_shape(const Shape *a, const Shape *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = a->dim[i] == b->dim[i];
    return same;
}

bool result_keeps(Ctx *cx, const Graph *g, const Faces *was)
{
    int inputs = count_inputs(g), at = 0;
    if (inputs != was->inputs || g->noutput != was->outputs)
        return qonnx_fail(cx, NULL,
                          "it left %d inputs and %d outputs of the model, which has %d and %d",
                          inputs, g->noutput, was->inputs, was->outputs);
    for (int i = 0; i < was->inputs + was->outputs; i++) {
        bool in = i < was->inputs;
        const Value *v = in ? next_input(g, &at) : g->outputs[i - was->inputs];
        const Face *f = &was->at[i];
        const char *what = in ? "input" : "output";
        if (strcmp(v->name, f->name))
            return qonnx_fail(cx, NULL, "it renamed the model's %s '%s' to '%s'", what, f->name,
                              v->name);
        if (f->dtype && v->dtype != f->dtype)
            return qonnx_fail(cx, NULL, "it made the model's %s '%s', which is %s, %s", what,
                              v->name, qonnx_dtype_name(f->dtype), qonnx_dtype_name(v->dtype));
        if (in && !same_shape(&f->shape, &v->shape))
            return qonnx_fail(cx, NULL, "it changed the shape of the model's input '%s'", v->name);
        if (in && v->def)
            return qonnx_fail(cx, v->def, "it writes to the model's input '%s'", v->name);
    }
    return true;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool is_float(DType t)
{
    return t == QONNX_UNDEFINED || t == QONNX_FLOAT || t == QONNX_FLOAT16 || t == QONNX_BFLOAT16 ||
           t == QONNX_DOUBLE;
}

static bool check_range(Ctx *cx, const Value *v)
{
    if (!v->ranged) return true;
    if (!isfinite(v->lo) || !isfinite(v->hi) || v->lo > v->hi)
        return qonnx_fail(cx, v->def,
                          "it set the range of '%s' to [%g, %g], want two finite numbers in order",
                          v->name, v->lo, v->hi);
    return is_float(v->dtype) || qonnx_fail(cx, v->def,
                                            "it gave '%s' a range, which is for values in float; "
                                            "this one is %s",
                                            v->name, qonnx_dtype_name(v->dtype));
}

/* Whether the type has 8 or 16 bits, and qmin and qmax are some of its integers. */
static bool is_grid(const qonnx_grid *grid)
{
    if (grid->dtype != QONNX_UINT8 && grid->dtype != QONNX_INT8 && grid->dtype != QONNX_UINT16 &&
        grid->dtype != QONNX_INT16)
        return false;
    qonnx_grid all = qonnx_grid_of(grid->dtype, false, false);
    return all.qmin <= grid->qmin && grid->qmin < grid->qmax && grid->qmax <= all.qmax;
}

static bool check_override(Ctx *cx, const Value *v)
{
    const qonnx_override *o = v->override;
    const char *wrong = NULL;
    if (!o) return true;
    const bool own = o->grid.dtype != QONNX_UNDEFINED;
    if (own && !is_grid(&o->grid)) wrong = "a grid that is none of 8 or 16 bits";
    if (o->ranged && (!isfinite(o->lo) || !isfinite(o->hi) || o->lo > o->hi))
        wrong = "a range that is not two finite numbers in order";
    for (int i = 0; o->scales && i < o->count && !wrong; i++)
        if (!(o->scales[i] > 0) || isinf(o->scales[i])) wrong = "a scale that is not over 0";
        else if (o->zero_points[i] < o->grid.qmin || o->zero_points[i] > o->grid.qmax)
            wrong = "a zero point that is not on its grid";
    if (o->scales && (o->count < 1 || !own)) wrong = "scales without a count or a grid";
    return !wrong || qonnx_fail(cx, v->def, "it gave '%s' an override with %s", v->name, wrong);
}

/* Bytes that a tensor of that type and these dimensions has; false where it cannot be. */
static bool bytes_of(const Tensor *t, size_t *bytes)
{
    size_t bits = (size_t)qonnx_dtype_bits(t->dtype);
    *bytes = 1;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] < 0 || !size_mul(*bytes, (size_t)t->dims[i], bytes)) return false;
    if (!bits || !size_mul(*bytes, bits, bytes) || *bytes > SIZE_MAX - 7) return false;
    *bytes = (*bytes + 7) / 8;
    return true;
}

static bool check_constant(Ctx *cx, const Value *v)
{
    const Tensor *t = v->data;
    size_t bytes;
    if (!t || t->dtype == QONNX_STRING) return true;
    if (t->rank < 0 || t->rank > QONNX_MAX_RANK || !bytes_of(t, &bytes))
        return qonnx_fail(cx, NULL,
                          "the constant '%s' has a type, a rank or a size that no tensor has",
                          v->name);
    if (t->bytes != bytes || (bytes && !t->data))
        return qonnx_fail(cx, NULL, "the constant '%s' holds %zu bytes, and its shape wants %zu",
                          v->name, t->data ? t->bytes : 0, bytes);
    return v->dtype == t->dtype ||
           qonnx_fail(cx, NULL, "the constant '%s' holds %s, and its value is %s", v->name,
                      qonnx_dtype_name(t->dtype), qonnx_dtype_name(v->dtype));
}

/* ---- nodes that quantize --------------------------------------------------------------------- */

static const Tensor *constant(const Node *n, int i)
{
    return i < n->nin && n->in[i] ? n->in[i]->data : NULL;
}

/* Scales are positive, and there is a zero point of the integers' type for each. */
static bool check_quantized(Ctx *cx, const Node *n)
{
    bool to = qonnx_node_is(n, "QuantizeLinear"), from = qonnx_node_is(n, "DequantizeLinear");
    const Tensor *scale = constant(n, 1), *zero = constant(n, 2);
    if ((!to && !from) || !scale) return true;
    for (int64_t i = 0, count = tensor_count(scale); i < count && is_float(scale->dtype); i++) {
        double s = qonnx_tensor_get(scale, i);
        if (!(s > 0) || isinf(s))
            return qonnx_fail(cx, n, "its scale is %g, want a positive number", s);
    }
    if (zero && tensor_count(zero) != tensor_count(scale))
        return qonnx_fail(cx, n, "it has %lld scales and %lld zero points, want as many of both",
                          (long long)tensor_count(scale), (long long)tensor_count(zero));
    const Value *integers = to ? n->out[0] : n->in[0];
    if (!zero || !integers || !integers->dtype || integers->dtype == zero->dtype) return true;
    return qonnx_fail(cx, n, "'%s' is %s, and its zero point %s; want one type", integers->name,
                      qonnx_dtype_name(integers->dtype), qonnx_dtype_name(zero->dtype));
}

bool result_sound(Ctx *cx, const Graph *g)
{
    for (int i = 0; i < g->nvalue; i++)
        if (!check_constant(cx, g->values[i]) || !check_range(cx, g->values[i]) ||
            !check_override(cx, g->values[i]))
            return false;
    for (const Node *n = g->first; n; n = n->next) {
        if (!check_quantized(cx, n)) return false;
        for (int i = 0; i < n->nsub; i++)
            if (!result_sound(cx, n->subs[i])) return false;
    }
    return true;
}
