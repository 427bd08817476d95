/* ops/movement.c - operators that only move data. */
#include "ir/size.h"
#include "lower/quantized.h"
#include <string.h>

/* ---- copies ---------------------------------------------------------------------------------- */

static bool read_perm(Ctx *cx, const Node *n, int rank, int perm[QONNX_MAX_RANK])
{
    const int64_t *p;
    int count = qonnx_node_ints(n, "perm", &p);
    bool seen[QONNX_MAX_RANK] = {0};
    if (p && count != rank) return qonnx_fail(cx, n, "perm has %d axes for rank %d", count, rank);
    for (int i = 0; i < rank; i++) {
        int64_t at = p ? p[i] : rank - 1 - i;
        if (at < 0 || at >= rank || seen[at]) return qonnx_fail(cx, n, "perm is no permutation");
        seen[at] = true;
        perm[i] = (int)at;
    }
    return true;
}

static bool transpose_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int perm[QONNX_MAX_RANK];
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!read_perm(cx, n, x->rank, perm)) return false;
    Shape y = {.rank = x->rank};
    for (int i = 0; i < x->rank; i++) y.dim[i] = x->dim[perm[i]], y.sym[i] = x->sym[perm[i]];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static int element_bytes(const Node *n) { return dtype_size(in_dtype(n, 0)); }

/* Whether the result lies in memory as the input does, being of layout `to` where that is of layout
 * `from`: the channels go behind the other axes, or in front of them. */
static bool transpose_is_view(const int *perm, int rank, Layout from, Layout *to)
{
    int last[QONNX_MAX_RANK];
    if (rank < 3) return false;
    layout_order(rank, LAST, last);
    *to = from == PLAIN ? LAST : PLAIN;
    for (int i = 0; i < rank; i++)
        if (from == PLAIN ? perm[last[i]] != i : perm[i] != last[i]) return false;
    return true;
}

static bool transpose_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    int perm[QONNX_MAX_RANK];
    int64_t from[QONNX_MAX_RANK], own[QONNX_MAX_RANK], to[QONNX_MAX_RANK];
    if (!read_perm(l->cx, n, x->rank, perm)) return false;
    Layout at = lower_layout(l, n, 0), as;
    if (transpose_is_view(perm, x->rank, at, &as)) {
        lower_view(l, n->out[0], lower_in(l, n, 0, at), as);
        return true;
    }
    layout_strides(x, at, own);
    layout_strides(y, PLAIN, to);
    for (int i = 0; i < x->rank; i++) from[i] = own[perm[i]];
    Buf *in = lower_in(l, n, 0, at);
    lower_copy(l, n, y->rank, y->dim, in, from, 0, lower_out(l, n->out[0], PLAIN), to, 0,
               element_bytes(n));
    return true;
}

static bool concat_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!qonnx_node_has(n, "axis")) return qonnx_fail(cx, n, "attribute axis is missing");
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis)) return false;
    Shape y = *x;
    for (int i = 1; i < n->nin; i++) {
        const Shape *s = in_shape(n, i);
        if (!s) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
        if (s->rank != y.rank)
            return qonnx_fail(cx, n, "input %d has rank %d, want %d", i, s->rank, y.rank);
        for (int k = 0; k < y.rank; k++) {
            if (k == axis) {
                y.sym[k] = NULL;
                if (y.dim[k] < 0 || s->dim[k] < 0) y.dim[k] = -1;
                else if (__builtin_add_overflow(y.dim[k], s->dim[k], &y.dim[k]))
                    return qonnx_fail(cx, n, "axis %d overflows", k);
            } else if (y.dim[k] < 0) {
                y.dim[k] = s->dim[k];
            } else if (s->dim[k] >= 0 && s->dim[k] != y.dim[k]) {
                return qonnx_fail(cx, n, "input %d has size %lld at axis %d, want %lld", i,
                                  (long long)s->dim[k], k, (long long)y.dim[k]);
            }
        }
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool concat_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    for (int i = 1; t && i < n->nin; i++)
        if (in_dtype(n, i) && in_dtype(n, i) != t)
            return why_not(why, "inputs of different types: %s and %s", qonnx_dtype_name(t),
                           qonnx_dtype_name(in_dtype(n, i)));
    return takes_moved(why, n);
}

static float same(const void *user, float x)
{
    (void)user;
    return x;
}

/* Integers of the output's parameters, of an input that has its own. */
static Buf *requantized(Lower *l, Node *n, int i, Buf *x)
{
    const QuantNode *q = n->quant;
    const QuantParams *own = &q->in[i];
    if (own->scale == q->out.scale && own->zero == q->out.zero && own->dtype == q->out.dtype)
        return x;
    q_table_p p = {(int32_t)shape_elements(in_shape(n, i))};
    Buf *y = lower_temp(l, (size_t)p.count);
    lower_call(l, n, "q_table", &p, (Buf *[]){x, quant_table(l, own, &q->out, same, NULL)}, 2, y);
    return y;
}

static bool concat_lower(Lower *l, Node *n)
{
    const Shape *y = &n->out[0]->shape;
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", 0), y->rank, &axis)) return false;
    Layout layout = lower_result_layout(l, n);
    int64_t to[QONNX_MAX_RANK], from[QONNX_MAX_RANK], at = 0;
    layout_strides(y, layout, to);
    Buf *out = lower_out(l, n->out[0], layout);
    for (int i = 0; i < n->nin; i++) {
        const Shape *s = in_shape(n, i);
        Layout own = n->in[i]->data ? PLAIN : lower_layout(l, n, i);
        Buf *x = lower_in(l, n, i, own);
        if (n->quant) x = requantized(l, n, i, x);
        layout_strides(s, own, from);
        lower_copy(l, n, s->rank, s->dim, x, from, 0, out, to, at * to[axis], element_bytes(n));
        at += s->dim[axis];
    }
    return true;
}

static const Quantized concat_quantized = {
    .lower = concat_lower,
    .qlinear = {"QLinearConcat", "com.microsoft", .first = 2, .out = 0, .spreads = true},
};

/* ---- Slice ----------------------------------------------------------------------------------- */

/* Start, step and count of a Slice by axes; false with a message, or known false when the inputs
 * are not constant. */
typedef struct Box {
    int64_t start[QONNX_MAX_RANK], step[QONNX_MAX_RANK], count[QONNX_MAX_RANK];
} Box;

/* ONNX's clamping rules for one axis of size `d`. */
static void slice_axis(int64_t d, int64_t start, int64_t end, int64_t step, int64_t *from,
                       int64_t *count)
{
    if (start < 0) start += d;
    if (end < 0) end += d;
    int64_t least = step < 0 ? -1 : 0, most = step < 0 ? d - 1 : d;
    start = start < 0 ? 0 : start > most ? most : start;
    end = end < least ? least : end > d ? d : end;
    int64_t span = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
    *from = start;
    *count = span <= 0 || d == 0 ? 0 : (span - 1) / stride + 1;
}

static bool slice_read(Ctx *cx, const Node *n, Box *b, bool *known)
{
    const Shape *x = in_shape(n, 0);
    int64_t start[QONNX_MAX_RANK * 2], end[QONNX_MAX_RANK * 2], axes[QONNX_MAX_RANK * 2],
        step[QONNX_MAX_RANK * 2];
    int ns = qonnx_node_list(n, "", 1, start), ne = qonnx_node_list(n, "", 2, end),
        na = qonnx_node_list(n, "", 3, axes), np = qonnx_node_list(n, "", 4, step);
    *known = x && ns >= 0 && ne >= 0 && na != -2 && np != -2;
    if (!*known) return true;
    if (ne != ns || (na >= 0 && na != ns) || (np >= 0 && np != ns) || ns > x->rank)
        return qonnx_fail(cx, n, "starts, ends, axes and steps have different lengths");
    for (int i = 0; i < x->rank; i++) b->start[i] = 0, b->step[i] = 1, b->count[i] = x->dim[i];
    for (int i = 0; i < ns; i++) {
        int at;
        if (!check_axis(cx, n, na >= 0 ? axes[i] : i, x->rank, &at)) return false;
        int64_t s = np >= 0 ? step[i] : 1;
        if (!s || s == INT64_MIN) return qonnx_fail(cx, n, "step %lld", (long long)s);
        b->step[at] = s;
        if (x->dim[at] < 0) b->count[at] = -1;
        else slice_axis(x->dim[at], start[i], end[i], s, &b->start[at], &b->count[at]);
    }
    return true;
}

static bool slice_shape(Ctx *cx, Node *n)
{
    Box b;
    bool known;
    if (!slice_read(cx, n, &b, &known)) return false;
    Shape y = open_shape(in_shape(n, 0));
    if (known) y = shape_make(y.rank, b.count);
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool slice_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    Box b;
    bool known;
    if (!slice_read(l->cx, n, &b, &known)) return false;
    if (!known) return qonnx_fail(l->cx, n, "starts and ends must be constant to run it");
    Layout at = lower_layout(l, n, 0);
    int64_t from[QONNX_MAX_RANK], to[QONNX_MAX_RANK], offset = 0;
    layout_strides(x, at, from);
    layout_strides(y, at, to);
    for (int i = 0; i < x->rank; i++) {
        offset += b.start[i] * from[i];
        if (b.count[i] > 1) from[i] *= b.step[i]; /* else it may be any number */
    }
    Buf *in = lower_in(l, n, 0, at);
    lower_copy(l, n, y->rank, y->dim, in, from, offset, lower_out(l, n->out[0], at), to, 0,
               element_bytes(n));
    return true;
}

/* ---- Split ----------------------------------------------------------------------------------- */

/* The lengths that a Split is given; NULL where there are none, or they are computed. */
static const Tensor *split_list(const Node *n)
{
    const Value *v = qonnx_node_input(n, 1);
    const Tensor *t = v ? v->data : NULL;
    return t && t->data && t->dtype == QONNX_INT64 && tensor_count(t) == n->nout ? t : NULL;
}

/* The length of output i along an axis of size d. Without a list all are as long, but that the last
 * ones get less where d cannot be divided so. */
static int64_t split_length(const Node *n, int i, int64_t d)
{
    const Tensor *t = split_list(n);
    int64_t length;
    if (t) {
        memcpy(&length, (const char *)t->data + (size_t)i * sizeof length, sizeof length);
        return length;
    }
    if (qonnx_node_input(n, 1) || d < 0) return -1;
    length = d / n->nout + (d % n->nout != 0);
    int64_t first = size_times(length, i), left = first < d ? d - first : 0;
    return left < length ? left : length;
}

static bool split_check(Ctx *cx, const Node *n, int64_t d)
{
    const Value *v = qonnx_node_input(n, 1);
    int64_t parts = qonnx_node_int(n, "num_outputs", n->nout), sum = 0;
    if (parts != n->nout)
        return qonnx_fail(cx, n, "num_outputs is %lld, but it has %d outputs", (long long)parts,
                          n->nout);
    if (v && v->data && v->data->data && !split_list(n))
        return qonnx_fail(cx, n, "its lengths are not one int64 for each of %d outputs", n->nout);
    if (!v && d % n->nout && d >= 0 && !qonnx_node_has(n, "num_outputs"))
        return qonnx_fail(cx, n, "an axis of size %lld is not %d equal parts", (long long)d,
                          n->nout);
    if (!split_list(n)) return true;
    for (int i = 0; i < n->nout; i++) {
        int64_t length = split_length(n, i, d);
        if (length < 0) return qonnx_fail(cx, n, "length %lld", (long long)length);
        sum = size_plus(sum, length);
    }
    return d < 0 || sum == d ||
           qonnx_fail(cx, n, "lengths of %lld in all do not fit an axis of size %lld",
                      (long long)sum, (long long)d);
}

static bool split_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis = 0;
    if (x && !check_axis(cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis)) return false;
    if (x && !split_check(cx, n, x->dim[axis])) return false;
    for (int i = 0; i < n->nout; i++) {
        Shape y = x ? *x : (Shape){.rank = -1};
        if (x) y.dim[axis] = split_length(n, i, x->dim[axis]), y.sym[axis] = NULL;
        if (!out_shape(cx, n, i, in_dtype(n, 0), &y)) return false;
    }
    return true;
}

static bool split_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t from[QONNX_MAX_RANK], to[QONNX_MAX_RANK], at = 0;
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis)) return false;
    if (qonnx_node_input(n, 1) && !split_list(n))
        return qonnx_fail(l->cx, n, "its lengths must be constant to run it");
    Layout layout = lower_layout(l, n, 0);
    layout_strides(x, layout, from);
    Buf *in = lower_in(l, n, 0, layout);
    for (int i = 0; i < n->nout; i++) {
        int64_t length = split_length(n, i, x->dim[axis]);
        if (out_used(n, i)) {
            const Shape *y = &n->out[i]->shape;
            layout_strides(y, layout, to);
            lower_copy(l, n, y->rank, y->dim, in, from, at * from[axis],
                       lower_out(l, n->out[i], layout), to, 0, element_bytes(n));
        }
        at += length;
    }
    return true;
}

/* ---- Shape, Size ----------------------------------------------------------------------------- */

void shape_axes(const Node *n, int rank, int64_t *from, int64_t *count)
{
    slice_axis(rank, qonnx_node_int(n, "start", 0), qonnx_node_int(n, "end", rank), 1, from, count);
}

static bool shape_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!x) return out_shape(cx, n, 0, QONNX_INT64, NULL);
    int64_t from, count;
    shape_axes(n, x->rank, &from, &count);
    Shape y = shape_make(1, &count);
    return out_shape(cx, n, 0, QONNX_INT64, &y);
}

static bool size_shape(Ctx *cx, Node *n)
{
    return out_shape(cx, n, 0, QONNX_INT64, &(Shape){.rank = 0});
}

/* Folded before anything is lowered (runtime/fold.c): its input has no rank then. */
static bool shape_lower(Lower *l, Node *n)
{
    return qonnx_fail(l->cx, n, "the shape of its input is not known before the model runs");
}

/* ---- Expand, ConstantOfShape ----------------------------------------------------------------- */

static bool expand_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t want[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "", 1, want);
    if (!x || count < 0) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (count > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "rank %d, at most %d are supported", count, QONNX_MAX_RANK);
    Shape y = {.rank = count > x->rank ? count : x->rank};
    for (int i = 0; i < y.rank; i++) {
        int a = i - (y.rank - x->rank), b = i - (y.rank - count);
        int64_t d = a < 0 ? 1 : x->dim[a], w = b < 0 ? 1 : want[b];
        if (w < 0 || (d >= 0 && d != w && d != 1 && w != 1))
            return qonnx_fail(cx, n, "size %lld does not broadcast to %lld at axis %d",
                              (long long)d, (long long)w, i);
        y.dim[i] = w == 1 ? d : w;
        y.sym[i] = w == 1 && a >= 0 ? x->sym[a] : NULL;
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool expand_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    int64_t list[QONNX_MAX_RANK * 2], from[QONNX_MAX_RANK], to[QONNX_MAX_RANK];
    if (qonnx_node_list(n, "", 1, list) < 0)
        return qonnx_fail(l->cx, n, "its shape must be constant to run it");
    broadcast_strides(x, PLAIN, y, from);
    layout_strides(y, PLAIN, to);
    Buf *in = lower_in(l, n, 0, PLAIN);
    lower_copy(l, n, y->rank, y->dim, in, from, 0, lower_out(l, n->out[0], PLAIN), to, 0,
               element_bytes(n));
    return true;
}

/* What a ConstantOfShape holds: one element. */
static bool fill_value(Ctx *cx, const Node *n, const Tensor **value)
{
    static const float zero;
    static const Tensor dflt = {.dtype = QONNX_FLOAT, .data = &zero, .bytes = sizeof zero};
    *value = qonnx_node_has(n, "value") ? qonnx_node_tensor(n, "value") : &dflt;
    return (*value && (*value)->data && tensor_count(*value) == 1) ||
           qonnx_fail(cx, n, "attribute value is not one element");
}

static bool fill_shape(Ctx *cx, Node *n)
{
    const Tensor *value;
    int64_t dims[QONNX_MAX_RANK * 2];
    int rank = qonnx_node_list(n, "", 0, dims);
    if (!fill_value(cx, n, &value)) return false;
    if (rank < 0) return out_shape(cx, n, 0, value->dtype, NULL);
    if (rank > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "rank %d, at most %d are supported", rank, QONNX_MAX_RANK);
    for (int i = 0; i < rank; i++)
        if (dims[i] < 0) return qonnx_fail(cx, n, "size %lld at axis %d", (long long)dims[i], i);
    Shape y = shape_make(rank, dims);
    return out_shape(cx, n, 0, value->dtype, &y);
}

static bool fill_takes(Why *why, const Node *n)
{
    const Tensor *value = qonnx_node_tensor(n, "value");
    int bits = value ? qonnx_dtype_bits(value->dtype) : 32;
    return (bits && bits % 8 == 0 && bits <= 64) ||
           why_not(why, "elements of type %s cannot be moved", qonnx_dtype_name(value->dtype));
}

static bool fill_lower(Lower *l, Node *n)
{
    const Tensor *value;
    int64_t list[QONNX_MAX_RANK * 2], count = shape_elements(&n->out[0]->shape);
    if (!fill_value(l->cx, n, &value)) return false;
    int size = dtype_size(value->dtype);
    if (qonnx_node_list(n, "", 0, list) < 0)
        return qonnx_fail(l->cx, n, "its shape must be constant to run it");
    void *data = lower_alloc(l, value->bytes);
    memcpy(data, value->data, value->bytes);
    lower_copy(l, n, 1, &count, lower_const(l, data, value->bytes), (int64_t[]){0}, 0,
               lower_out(l, n->out[0], PLAIN), (int64_t[]){1}, 0, size);
    return true;
}

const Op ops_movement[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Transpose", 1, 1, transpose_shape, RULE(QONNX_RULE_SAME, 1), NULL, transpose_lower,
     .takes = takes_moved, .work = single_work, .strings = true},
    {"Slice", 3, 5, slice_shape, RULE(QONNX_RULE_SAME, 1), NULL, slice_lower, .lists = 0x1e,
     .takes = takes_moved, .strings = true},
    {"Split", 1, 2, split_shape, RULE(QONNX_RULE_SAME, 1), NULL, split_lower, .lists = 2,
     .takes = takes_moved, .strings = true},
    {"Concat", 1, -1, concat_shape, RULE(QONNX_RULE_UNIFY, ~0u), NULL, concat_lower,
     .takes = concat_takes, .quantized = &concat_quantized, .strings = true},
    {"Expand", 2, 2, expand_shape, RULE_FLOAT, NULL, expand_lower, .lists = 2,
     .takes = takes_moved, .strings = true},
    {"ConstantOfShape", 1, 1, fill_shape, RULE_FLOAT, NULL, fill_lower, .lists = 1,
     .takes = fill_takes},
    {"Shape", 1, 1, shape_shape, RULE_FLOAT, NULL, shape_lower, .strings = true},
    {"Size", 1, 1, size_shape, RULE_FLOAT, NULL, shape_lower, .strings = true},
    {0},
};
