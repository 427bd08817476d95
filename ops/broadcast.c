/* ops/broadcast.c - see broadcast.h. */
#include "ops/broadcast.h"

Operand operand(Lower *l, Node *n, int i, Layout layout)
{
    const Value *v = n->in[i];
    const Shape *y = &n->out[0]->shape;
    int64_t strides[QONNX_MAX_RANK];
    int order[QONNX_MAX_RANK];
    Layout at = v->data || v->shape.rank < 3 ? PLAIN : lower_layout(l, n, i);
    Operand x = {.buf = lower_in(l, n, i, at)};
    broadcast_strides(&v->shape, at, y, strides);
    layout_order(y->rank, layout, order);
    for (int k = 0; k < y->rank; k++) x.strides[k] = strides[order[k]];
    return x;
}

Operand operand_full(const Node *n, Buf *b, Layout layout)
{
    const Shape *y = &n->out[0]->shape;
    Operand x = {.buf = b};
    int order[QONNX_MAX_RANK];
    layout_order(y->rank, layout, order);
    int64_t step = 1;
    for (int k = y->rank - 1; k >= 0; k--) {
        x.strides[k] = step;
        step *= y->dim[order[k]];
    }
    return x;
}

/* Axes of which several may be one. */
typedef struct Axes {
    int count;
    int64_t dims[QONNX_MAX_RANK];
    int64_t strides[3][QONNX_MAX_RANK];
} Axes;

static bool goes_on(const Axes *a, const Operand *x, int count, int axis, int64_t dim)
{
    for (int i = 0; i < count; i++)
        if (a->strides[i][a->count - 1] != x[i].strides[axis] * dim) return false;
    return true;
}

static Axes merged(const Node *n, Layout layout, const Operand *x, int count)
{
    const Shape *y = &n->out[0]->shape;
    int order[QONNX_MAX_RANK];
    Axes a = {.count = 0};
    layout_order(y->rank, layout, order);
    for (int k = 0; k < y->rank; k++) {
        int64_t dim = y->dim[order[k]];
        if (dim == 1) continue;
        bool joins = a.count && goes_on(&a, x, count, k, dim);
        if (joins) a.dims[a.count - 1] *= dim;
        else a.dims[a.count++] = dim;
        for (int i = 0; i < count; i++) a.strides[i][a.count - 1] = x[i].strides[k];
    }
    return a;
}

/* The operand with every element that it repeats. */
static void expand(Lower *l, const Node *n, Layout layout, int bytes, Operand *x)
{
    const Shape *y = &n->out[0]->shape;
    int order[QONNX_MAX_RANK];
    int64_t dims[QONNX_MAX_RANK], count = shape_elements(y);
    layout_order(y->rank, layout, order);
    for (int k = 0; k < y->rank; k++) dims[k] = y->dim[order[k]];
    Operand full = operand_full(n, lower_temp(l, (size_t)count * (size_t)bytes), layout);
    lower_copy(l, n, y->rank, dims, x->buf, x->strides, 0, full.buf, full.strides, 0, bytes);
    *x = full;
}

void walk_make(Lower *l, const Node *n, Layout layout, Operand *x, int count, const int *bytes,
               Walk *w)
{
    Axes a = merged(n, layout, x, count);
    if (a.count > BROADCAST_AXES) {
        for (int i = 0; i < count; i++) expand(l, n, layout, bytes[i], &x[i]);
        a = merged(n, layout, x, count);
    }
    for (int k = 0; k < BROADCAST_AXES; k++) {
        int from = k - (BROADCAST_AXES - a.count);
        w->dims[k] = from < 0 ? 1 : (int32_t)a.dims[from];
        for (int i = 0; i < count; i++)
            w->strides[i][k] = from < 0 ? 0 : (int32_t)a.strides[i][from];
    }
}
