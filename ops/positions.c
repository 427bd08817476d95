/* ops/positions.c - operators whose elements depend on where they stand: Range, EyeLike, OneHot,
 * CumSum, CumProd, Trilu, ReverseSequence.
 */
#include "ir/size.h"
#include "kernels/cumsum.h"
#include "kernels/one_hot.h"
#include "kernels/range.h"
#include "kernels/reverse_sequence.h"
#include "kernels/trilu.h"
#include "lower/lower.h"
#include <math.h>
#include <string.h>

static int element_bytes(const Node *n) { return dtype_size(in_dtype(n, 0)); }

/* That input i is one element, as far as its shape is known. */
static bool check_single(Ctx *cx, const Node *n, int i)
{
    const Shape *s = in_shape(n, i);
    return !s || !shape_known(s) || shape_elements(s) == 1 ||
           qonnx_fail(cx, n, "input %d is not one element", i);
}

/* The one element of input i, when it is constant. */
static const Tensor *single(const Node *n, int i)
{
    const Value *v = qonnx_node_input(n, i);
    const Tensor *t = v ? v->data : NULL;
    return t && t->data && tensor_count(t) == 1 ? t : NULL;
}

/* ---- Range ----------------------------------------------------------------------------------- */

static int64_t whole_number(const Tensor *t)
{
    int64_t x;
    if (t->dtype != QONNX_INT64) return (int64_t)qonnx_tensor_get(t, 0);
    memcpy(&x, t->data, sizeof x);
    return x;
}

/* How many integers there are from start on, `delta` apart, before limit. */
static int64_t count_whole(int64_t start, int64_t limit, int64_t delta)
{
    if (delta > 0 ? limit <= start : limit >= start) return 0;
    uint64_t span =
        delta > 0 ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
    uint64_t step = delta > 0 ? (uint64_t)delta : 0 - (uint64_t)delta;
    uint64_t count = (span - 1) / step + 1;
    return count > INT64_MAX ? INT64_MAX : (int64_t)count;
}

/* The same of reals; a float's difference is a float. -1: they are no such numbers. */
static int64_t count_real(DType t, double start, double limit, double delta)
{
    double span = t == QONNX_FLOAT ? (double)((float)limit - (float)start) : limit - start;
    double count = ceil(span / delta);
    if (!isfinite(start) || !isfinite(delta) || !(count < 0x1p62)) return -1;
    return count > 0 ? (int64_t)count : 0;
}

static bool range_shape(Ctx *cx, Node *n)
{
    const Tensor *t[3];
    int64_t count = -1;
    for (int i = 0; i < 3; i++) {
        if (!check_single(cx, n, i)) return false;
        if (in_dtype(n, 0) && in_dtype(n, i) && in_dtype(n, i) != in_dtype(n, 0))
            return qonnx_fail(cx, n, "input %d is %s, input 0 is %s", i,
                              qonnx_dtype_name(in_dtype(n, i)), qonnx_dtype_name(in_dtype(n, 0)));
        t[i] = single(n, i);
    }
    if (t[2] && qonnx_tensor_get(t[2], 0) == 0) return qonnx_fail(cx, n, "delta is 0");
    if (t[0] && t[1] && t[2]) {
        DType type = in_dtype(n, 0);
        count = has_type(INTEGERS, type)
                    ? count_whole(whole_number(t[0]), whole_number(t[1]), whole_number(t[2]))
                    : count_real(type, qonnx_tensor_get(t[0], 0), qonnx_tensor_get(t[1], 0),
                                 qonnx_tensor_get(t[2], 0));
        if (count < 0)
            return qonnx_fail(cx, n, "start, limit and delta give no number of elements");
    }
    Shape y = shape_make(1, &count);
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool range_takes(Why *why, const Node *n)
{
    for (int i = 1; i < 3; i++)
        if (in_dtype(n, 0) && !takes_type(why, n, i, in_dtype(n, 0))) return false;
    return takes_types(why, n, 0, INTEGERS | 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE);
}

static bool range_lower(Lower *l, Node *n)
{
    for (int i = 0; i < 3; i++) /* the file's word for the shape may not be what they give */
        if (!single(n, i))
            return qonnx_fail(l->cx, n, "start, limit and delta must be constant to run it");
    range_p p = {(int32_t)shape_elements(&n->out[0]->shape), (int32_t)in_dtype(n, 0)};
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, "range", &p, in, 2, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- EyeLike --------------------------------------------------------------------------------- */

static DType eye_type(const Node *n)
{
    return qonnx_node_has(n, "dtype") ? (DType)qonnx_node_int(n, "dtype", 0) : in_dtype(n, 0);
}

static bool eye_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (x && x->rank != 2) return qonnx_fail(cx, n, "input of rank %d, want 2", x->rank);
    return out_shape(cx, n, 0, eye_type(n), x);
}

static bool eye_takes(Why *why, const Node *n)
{
    DType t = eye_type(n);
    return !t || has_type(NUMBERS | BOOL, t) ||
           why_not(why, "its output is %s, which cannot be run", qonnx_dtype_name(t));
}

/* A one of that type, then a zero. */
static const void *ones_and_zeros(Lower *l, DType t)
{
    char *data = lower_alloc(l, 16);
    uint16_t half = t == QONNX_FLOAT16 ? 0x3c00 : 0x3f80;
    uint64_t whole = 1; /* the bytes of machines that this runs on are little-endian */
    memset(data, 0, 16);
    if (t == QONNX_FLOAT) memcpy(data, &(float){1}, sizeof(float));
    else if (t == QONNX_DOUBLE) memcpy(data, &(double){1}, sizeof(double));
    else if (t == QONNX_FLOAT16 || t == QONNX_BFLOAT16) memcpy(data, &half, sizeof half);
    else memcpy(data, &whole, sizeof whole);
    return data;
}

/* Zeros everywhere, then ones on the diagonal. */
static bool eye_lower(Lower *l, Node *n)
{
    const Shape *y = &n->out[0]->shape;
    int64_t rows = y->dim[0], columns = y->dim[1], k = qonnx_node_int(n, "k", 0);
    int64_t count = rows * columns, none = 0, one = 1, step = columns + 1;
    int size = dtype_size(n->out[0]->dtype);
    Buf *values = lower_const(l, ones_and_zeros(l, n->out[0]->dtype), 16);
    Buf *out = lower_out(l, n->out[0], PLAIN);
    lower_copy(l, n, 1, &count, values, &none, 8 / size, out, &one, 0, size);
    if (k >= columns || k <= -rows) return true;
    int64_t row = k < 0 ? -k : 0, column = k > 0 ? k : 0;
    int64_t length = rows - row < columns - column ? rows - row : columns - column;
    lower_copy(l, n, 1, &length, values, &none, 0, out, &step, row * columns + column, size);
    return true;
}

/* ---- OneHot ---------------------------------------------------------------------------------- */

static bool one_hot_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *values = in_shape(n, 2);
    const Tensor *depth = single(n, 1);
    int axis;
    if (!check_single(cx, n, 1)) return false;
    if (values && shape_known(values) && shape_elements(values) != 2)
        return qonnx_fail(cx, n, "values are not two elements");
    if (depth && !(qonnx_tensor_get(depth, 0) >= 1 && qonnx_tensor_get(depth, 0) < 0x1p62))
        return qonnx_fail(cx, n, "depth is %g, want at least 1", qonnx_tensor_get(depth, 0));
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 2), NULL);
    if (x->rank >= QONNX_MAX_RANK) return qonnx_fail(cx, n, "the result has too many axes");
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", -1), x->rank + 1, &axis)) return false;
    Shape y = {.rank = x->rank + 1};
    for (int i = 0; i < y.rank; i++) {
        int from = i < axis ? i : i - 1;
        y.dim[i] = i != axis ? x->dim[from] : depth ? (int64_t)qonnx_tensor_get(depth, 0) : -1;
        y.sym[i] = i != axis ? x->sym[from] : NULL;
    }
    return out_shape(cx, n, 0, in_dtype(n, 2), &y);
}

static bool one_hot_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 2);
    if (qonnx_dtype_bits(t) > 64)
        return why_not(why, "elements of type %s are too large to be moved", qonnx_dtype_name(t));
    return takes_types(why, n, 0, NUMBERS) && takes_types(why, n, 1, NUMBERS);
}

static bool one_hot_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    int axis;
    if (!single(n, 1)) return qonnx_fail(l->cx, n, "its depth must be constant to run it");
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", -1), y->rank, &axis)) return false;
    one_hot_p p = {(int32_t)shape_product(x, 0, axis), (int32_t)y->dim[axis],
                   (int32_t)shape_product(x, axis, x->rank), (int32_t)in_dtype(n, 0),
                   dtype_size(in_dtype(n, 2))};
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, "one_hot", &p, in, 2, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- CumSum, CumProd ------------------------------------------------------------------------- */

static bool cumsum_axis(Ctx *cx, const Node *n, int *axis)
{
    const Shape *x = in_shape(n, 0);
    int64_t list[QONNX_MAX_RANK * 2];
    *axis = -1;
    int count = qonnx_node_list(n, "", 1, list);
    if (!x || count < 0) return true;
    if (count != 1) return qonnx_fail(cx, n, "%d axes, want 1", count);
    return check_axis(cx, n, list[0], x->rank, axis);
}

static bool cumsum_shape(Ctx *cx, Node *n)
{
    int axis;
    return cumsum_axis(cx, n, &axis) && same_shape(cx, n);
}

static bool cumsum_takes(Why *why, const Node *n) { return takes_types(why, n, 0, NUMBERS); }

static bool cumsum_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!cumsum_axis(l->cx, n, &axis)) return false;
    if (axis < 0) return qonnx_fail(l->cx, n, "its axis must be constant to run it");
    cumsum_p p = {
        (int32_t)shape_product(x, 0, axis),           (int32_t)x->dim[axis],
        (int32_t)shape_product(x, axis + 1, x->rank), (int32_t)in_dtype(n, 0),
        qonnx_node_int(n, "exclusive", 0) != 0,       qonnx_node_int(n, "reverse", 0) != 0,
        qonnx_node_is(n, "CumProd")};
    Buf *in = lower_in(l, n, 0, PLAIN);
    lower_call(l, n, "cumsum", &p, &in, 1, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- Trilu ----------------------------------------------------------------------------------- */

static bool trilu_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (x && x->rank < 2) return qonnx_fail(cx, n, "input of rank %d, want at least 2", x->rank);
    return check_single(cx, n, 1) && same_shape(cx, n);
}

static bool trilu_takes(Why *why, const Node *n)
{
    return takes_type(why, n, 1, QONNX_INT64) && takes_moved(why, n);
}

static bool trilu_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    trilu_p p = {(int32_t)shape_product(x, 0, x->rank - 2), (int32_t)x->dim[x->rank - 2],
                 (int32_t)x->dim[x->rank - 1], qonnx_node_int(n, "upper", 1) != 0,
                 element_bytes(n)};
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN)};
    lower_call(l, n, "trilu", &p, in, 2, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- ReverseSequence ------------------------------------------------------------------------- */

/* Batch and time are the first two axes, in either order. */
static bool reverse_check(Ctx *cx, const Node *n, int *time)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    const Tensor *t = qonnx_node_input(n, 1) ? n->in[1]->data : NULL;
    int64_t batch = qonnx_node_int(n, "batch_axis", 1);
    *time = (int)(qonnx_node_int(n, "time_axis", 0) == 1);
    if (qonnx_node_int(n, "time_axis", 0) != *time || batch != !*time)
        return qonnx_fail(cx, n, "time_axis and batch_axis are not 0 and 1, or 1 and 0");
    if (x && x->rank < 2) return qonnx_fail(cx, n, "input of rank %d, want at least 2", x->rank);
    if (k && k->rank != 1) return qonnx_fail(cx, n, "lengths of rank %d, want 1", k->rank);
    if (!x || !k) return true;
    if (x->dim[batch] >= 0 && k->dim[0] >= 0 && x->dim[batch] != k->dim[0])
        return qonnx_fail(cx, n, "%lld lengths for %lld sequences", (long long)k->dim[0],
                          (long long)x->dim[batch]);
    for (int64_t i = 0; t && t->data && i < tensor_count(t); i++) {
        double length = qonnx_tensor_get(t, i);
        if (length < 0 || (x->dim[*time] >= 0 && length > (double)x->dim[*time]))
            return qonnx_fail(cx, n, "length %.0f, of %lld steps", length,
                              (long long)x->dim[*time]);
    }
    return true;
}

static bool reverse_shape(Ctx *cx, Node *n)
{
    int time;
    return reverse_check(cx, n, &time) && same_shape(cx, n);
}

static bool reverse_takes(Why *why, const Node *n)
{
    return takes_type(why, n, 1, QONNX_INT64) && takes_moved(why, n);
}

static bool reverse_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int time;
    if (!reverse_check(l->cx, n, &time)) return false;
    int64_t bytes = shape_product(x, 2, x->rank) * element_bytes(n), row = bytes * x->dim[1];
    if (row * x->dim[0] > INT32_MAX)
        return qonnx_fail(l->cx, n, "its input is too large to be run: at most 2 GiB");
    reverse_sequence_p p = {(int32_t)x->dim[!time], (int32_t)x->dim[time],
                            (int32_t)(time ? row : bytes), (int32_t)(time ? bytes : row),
                            (int32_t)bytes};
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN)};
    lower_call(l, n, "reverse_sequence", &p, in, 2, lower_out(l, n->out[0], PLAIN));
    return true;
}

const Op ops_positions[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Range", 3, 3, range_shape, RULE_FLOAT, NULL, range_lower, .lists = 7, .takes = range_takes},
    {"EyeLike", 1, 1, eye_shape, RULE_FLOAT, NULL, eye_lower, .takes = eye_takes},
    {"OneHot", 3, 3, one_hot_shape, RULE_FLOAT, NULL, one_hot_lower, .lists = 2,
     .takes = one_hot_takes, .strings = true},
    {"CumSum", 2, 2, cumsum_shape, RULE_FLOAT, NULL, cumsum_lower, .lists = 2,
     .takes = cumsum_takes, .work = single_work},
    {"CumProd", 2, 2, cumsum_shape, RULE_FLOAT, NULL, cumsum_lower, .lists = 2,
     .takes = cumsum_takes, .work = single_work},
    {"Trilu", 1, 2, trilu_shape, RULE_FLOAT, NULL, trilu_lower, .takes = trilu_takes},
    {"Trilu", 1, 2, trilu_shape, RULE_FLOAT, NULL, trilu_lower, .takes = trilu_takes,
     .domain = "com.microsoft"},
    {"ReverseSequence", 2, 2, reverse_shape, RULE_FLOAT, NULL, reverse_lower,
     .takes = reverse_takes, .strings = true},
    {0},
};
