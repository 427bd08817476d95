/* lower/lower.c - places, layouts and calls: the vocabulary of the lowering functions in ops/. */
#include "lower/lower.h"
#include "ir/size.h"
#include "kernels/packed.h"
#include <assert.h>
#include <math.h>
#include <string.h>

static Arena *arena_of(Lower *l) { return l->program->arena; }

void *lower_alloc(Lower *l, size_t bytes) { return arena_aligned(arena_of(l), bytes); }

void *lower_array(Lower *l, size_t n, size_t size)
{
    size_t bytes;
    return lower_alloc(l, size_mul(n, size, &bytes) ? bytes : SIZE_MAX); /* no such memory: ends */
}

/* ---- layouts --------------------------------------------------------------------------------- */

void layout_order(int rank, Layout layout, int order[QONNX_MAX_RANK])
{
    for (int i = 0; i < rank; i++) order[i] = i;
    if (layout != LAST || rank < 3) return;
    for (int i = 1; i + 1 < rank; i++) order[i] = i + 1;
    order[rank - 1] = 1;
}

void layout_strides(const Shape *s, Layout layout, int64_t strides[QONNX_MAX_RANK])
{
    int order[QONNX_MAX_RANK];
    layout_order(s->rank, layout, order);
    int64_t step = 1;
    for (int i = s->rank - 1; i >= 0; i--) {
        strides[order[i]] = step;
        step *= s->dim[order[i]];
    }
}

void broadcast_strides(const Shape *s, Layout layout, const Shape *out,
                       int64_t strides[QONNX_MAX_RANK])
{
    int64_t own[QONNX_MAX_RANK];
    int shift = out->rank - s->rank;
    layout_strides(s, layout, own);
    for (int i = 0; i < out->rank; i++)
        strides[i] = i < shift || s->dim[i - shift] == 1 ? 0 : own[i - shift];
}

/* Whether both layouts of this shape have the elements in the same order. */
static bool layouts_agree(const Shape *s)
{
    if (s->rank < 3 || s->dim[1] == 1) return true;
    for (int i = 2; i < s->rank; i++)
        if (s->dim[i] != 1) return false;
    return true;
}

/* ---- buffers --------------------------------------------------------------------------------- */

Buf *lower_const(Lower *l, const void *data, size_t bytes)
{
    Buf *b = arena_alloc(arena_of(l), sizeof *b);
    b->bytes = bytes;
    b->data = data;
    return b;
}

Buf *lower_temp(Lower *l, size_t bytes)
{
    Program *p = l->program;
    Buf *b = arena_alloc(p->arena, sizeof *b);
    b->bytes = bytes;
    b->born = p->ncall;
    b->dies = p->ncall;
    p->bufs = arena_grow(p->arena, p->bufs, p->nbuf, &p->buf_cap, sizeof *p->bufs);
    return p->bufs[p->nbuf++] = b;
}

static size_t value_bytes(const Value *v)
{
    return (size_t)shape_elements(&v->shape) * (size_t)dtype_size(v->dtype);
}

size_t packed_bytes(const Value *v)
{
    size_t bytes;
    return tensor_bytes(v->shape.dim, v->shape.rank, v->dtype, &bytes) ? bytes : SIZE_MAX;
}

void lower_view(Lower *l, Value *v, Buf *of, Layout layout)
{
    Place *p = &l->places[v->id];
    if (!p->buf[PLAIN] && !p->buf[LAST]) p->first = layout;
    p->buf[layout] = of;
    if (layouts_agree(&v->shape)) p->buf[PLAIN] = p->buf[LAST] = of;
}

Buf *lower_out(Lower *l, Value *v, Layout layout)
{
    Buf *b = lower_temp(l, value_bytes(v));
    lower_view(l, v, b, layout);
    return b;
}

Layout lower_layout(const Lower *l, const Node *n, int i)
{
    const Value *v = qonnx_node_input(n, i);
    return v ? l->places[v->id].first : PLAIN;
}

/* Emits what takes elements of fewer than 8 bits out of their bytes, or packs them. */
static Buf *repack(Lower *l, const Node *n, const Value *v, const char *kernel, Buf *from,
                   size_t bytes)
{
    bool is_signed = v->dtype == QONNX_INT4 || v->dtype == QONNX_INT2;
    packed_p p = {(int32_t)shape_elements(&v->shape), qonnx_dtype_bits(v->dtype), is_signed};
    Buf *to = lower_temp(l, bytes);
    lower_call(l, n, kernel, &p, &from, 1, to);
    return to;
}

Buf *lower_unpack(Lower *l, const Node *n, const Value *v, Buf *packed)
{
    return repack(l, n, v, "packed_read", packed, value_bytes(v));
}

Buf *lower_pack(Lower *l, const Value *v, Buf *b)
{
    return repack(l, v->def, v, "packed_write", b, packed_bytes(v));
}

/* A constant in that layout: its own bytes where they lie so, not copied. */
static Buf *const_in(Lower *l, const Value *v, Layout layout)
{
    static const uint64_t nothing; /* kernels want a place, though no element is there */
    const Tensor *t = v->data;
    size_t size = (size_t)dtype_size(t->dtype);
    if (layout == PLAIN || layouts_agree(&v->shape)) {
        Buf *b = lower_const(l, t->bytes ? t->data : &nothing, t->bytes);
        b->shared = v->shared;
        b->align = t->bytes ? (int)size : 0;
        return b;
    }
    char *data = lower_alloc(l, t->bytes);
    int64_t inner = 1;
    for (int i = 2; i < t->rank; i++) inner *= t->dims[i];
    char *to = data;
    for (int64_t b = 0; b < t->dims[0]; b++)
        for (int64_t i = 0; i < inner; i++)
            for (int64_t c = 0; c < t->dims[1]; c++, to += size)
                memcpy(to,
                       (const char *)t->data + (size_t)((b * t->dims[1] + c) * inner + i) * size,
                       size);
    return lower_const(l, data, t->bytes);
}

Layout lower_result_layout(const Lower *l, const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (!n->in[i]->data && n->in[i]->shape.rank == n->out[0]->shape.rank &&
            lower_layout(l, n, i) == LAST)
            return LAST;
    return PLAIN;
}

Buf *lower_in(Lower *l, const Node *n, int i, Layout layout)
{
    Value *v = qonnx_node_input(n, i);
    return v ? lower_value(l, n, v, layout) : NULL;
}

Buf *lower_value(Lower *l, const Node *n, Value *v, Layout layout)
{
    Place *p = &l->places[v->id];
    if (p->buf[layout]) return p->buf[layout];
    if (v->data && dtype_is_packed(v->dtype)) {
        if (!p->buf[PLAIN])
            lower_view(l, v, lower_unpack(l, n, v, const_in(l, v, PLAIN)), PLAIN);
        if (p->buf[layout]) return p->buf[layout];
    } else if (v->data) {
        lower_view(l, v, const_in(l, v, layout), layout);
        return p->buf[layout];
    }
    Buf *from = p->buf[p->first];
    assert(from);
    Buf *to = lower_temp(l, from->bytes);
    int64_t a[QONNX_MAX_RANK], b[QONNX_MAX_RANK];
    layout_strides(&v->shape, p->first, a);
    layout_strides(&v->shape, layout, b);
    lower_copy(l, n, v->shape.rank, v->shape.dim, from, a, 0, to, b, 0,
               dtype_size(v->dtype));
    p->buf[layout] = to;
    return to;
}

/* ---- calls ----------------------------------------------------------------------------------- */

void lower_touch(Buf *b, int call)
{
    if (!b) return;
    if (b->born > call) b->born = call;
    if (b->dies < call) b->dies = call;
}

/* The first `n` of `count` buffers of a call, the others left out; all are touched by it. */
static Buf **operands(Lower *l, Buf *const *bufs, int n, int count)
{
    Buf **list = arena_array(arena_of(l), (size_t)count + 1, sizeof *list);
    assert(n <= count);
    for (int i = 0; i < n; i++) {
        list[i] = bufs[i];
        lower_touch(bufs[i], l->program->ncall);
    }
    return list;
}

void lower_call_n(Lower *l, const Node *n, const char *kernel, const void *params, Buf *const *in,
                  int nin, Buf *const *out, int nout)
{
    Program *p = l->program;
    size_t bytes = 0;
    for (int i = 0; i < nout; i++) bytes |= out[i] ? out[i]->bytes : 0;
    if (!bytes) return; /* nothing to compute, however many rows of nothing there are */
    const Kernel *k = kernel_find(kernel);
    p->calls = arena_grow(p->arena, p->calls, p->ncall, &p->call_cap, sizeof *p->calls);
    p->calls[p->ncall] = (Call){
        .kernel = k,
        .params = arena_copy(p->arena, params, 4u * (size_t)(k->nint + k->nfloat)),
        .in = operands(l, in, nin, k->nin),
        .nin = k->nin,
        .out = operands(l, out, nout, k->nout),
        .nout = k->nout,
        .node = n,
    };
    p->ncall++;
}

void lower_call(Lower *l, const Node *n, const char *kernel, const void *params, Buf *const *in,
                int nin, Buf *out)
{
    lower_call_n(l, n, kernel, params, in, nin, &out, 1);
}

enum { COPY_RANK = 8 };

void lower_copy(Lower *l, const Node *n, int rank, const int64_t *dims, Buf *from,
                const int64_t *from_strides, int64_t from_offset, Buf *to,
                const int64_t *to_strides, int64_t to_offset, int element_bytes)
{
    copy_p p = {.xoff = (int32_t)from_offset, .yoff = (int32_t)to_offset, .size = element_bytes};
    int32_t *d = &p.d0, *x = &p.x0, *y = &p.y0;
    for (int i = 0; i < COPY_RANK; i++) d[i] = 1;
    /* innermost the axis with the smallest step in the destination: kernels like that */
    int order[COPY_RANK];
    for (int i = 0; i < rank; i++) {
        int k = i;
        for (; k > 0 && to_strides[order[k - 1]] < to_strides[i]; k--) order[k] = order[k - 1];
        order[k] = i;
    }
    for (int i = 0; i < rank; i++) {
        d[COPY_RANK - rank + i] = (int32_t)dims[order[i]];
        x[COPY_RANK - rank + i] = (int32_t)from_strides[order[i]];
        y[COPY_RANK - rank + i] = (int32_t)to_strides[order[i]];
    }
    lower_call(l, n, "copy", &p, (Buf *[]){from}, 1, to);
}

Buf *lower_duplicate(Lower *l, const Value *v, Buf *b)
{
    int size = dtype_size(v->dtype);
    int64_t count = shape_elements(&v->shape);
    Buf *to = lower_temp(l, b->bytes);
    lower_copy(l, v->def, 1, &count, b, (int64_t[]){1}, 0, to, (int64_t[]){1}, 0, size);
    return to;
}

/* ---- fusion ---------------------------------------------------------------------------------- */

bool activation_bounds(const Node *n, float *lo, float *hi)
{
    *lo = -INFINITY;
    *hi = INFINITY;
    if (qonnx_node_is(n, "Relu")) {
        *lo = 0;
        return true;
    }
    if (!qonnx_node_is(n, "Clip")) return false;
    for (int i = 1; i < 3; i++) {
        const Value *v = qonnx_node_input(n, i);
        if (!v) continue;
        if (!v->data || v->data->dtype != QONNX_FLOAT || tensor_count(v->data) != 1) return false;
        *(i == 1 ? lo : hi) = (float)qonnx_tensor_get(v->data, 0);
    }
    return *lo <= *hi;
}

Value *lower_fused(Lower *l, const Node *n, float *lo, float *hi)
{
    Value *v = n->out[0];
    Node *next = qonnx_value_only_user(v);
    *lo = -INFINITY;
    *hi = INFINITY;
    if (!next || next->nout != 1 || v->observed || next->graph != n->graph || next->in[0] != v ||
        v->dtype != QONNX_FLOAT || !activation_bounds(next, lo, hi)) {
        *lo = -INFINITY;
        *hi = INFINITY;
        return v;
    }
    l->absorbed[next->out[0]->id] = true;
    return next->out[0];
}
