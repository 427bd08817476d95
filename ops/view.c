/* ops/view.c - operators that only name data anew. */
#include "lower/lower.h"
#include <string.h>

/* ---- one shape from another, the elements staying in order ----------------------------------- */

/* The memory of input 0, plain, under the output's shape. */
static bool view_lower(Lower *l, Node *n)
{
    /* the shape is the file's word where it could not be inferred */
    int64_t from = shape_elements(in_shape(n, 0)), to = shape_elements(&n->out[0]->shape);
    if (from != to)
        return qonnx_fail(l->cx, n, "%lld elements do not fit a shape of %lld", (long long)from,
                          (long long)to);
    lower_view(l, n->out[0], lower_in(l, n, 0, PLAIN), PLAIN);
    return true;
}

static bool identity_lower(Lower *l, Node *n)
{
    Layout at = lower_layout(l, n, 0);
    lower_view(l, n->out[0], lower_in(l, n, 0, at), at);
    return true;
}

static bool reshape_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t want[QONNX_MAX_RANK * 2];
    int rank = qonnx_node_list(n, "", 1, want), unknown = -1;
    if (rank < 0) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (rank > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "rank %d, at most %d are supported", rank, QONNX_MAX_RANK);
    bool zero = qonnx_node_int(n, "allowzero", 0) != 0;
    Shape y = {.rank = rank};
    int64_t known = 1;
    for (int i = 0; i < rank; i++) {
        y.dim[i] = want[i];
        if (want[i] == 0 && !zero) {
            if (x && i >= x->rank)
                return qonnx_fail(cx, n, "shape copies axis %d of rank %d", i, x->rank);
            y.dim[i] = x ? x->dim[i] : -1;
            y.sym[i] = x ? x->sym[i] : NULL;
        }
        if (want[i] < -1 || (want[i] == -1 && unknown >= 0))
            return qonnx_fail(cx, n, "shape has %lld at axis %d", (long long)want[i], i);
        if (want[i] == -1) unknown = i;
        else if (y.dim[i] >= 0 && known >= 0 && __builtin_mul_overflow(known, y.dim[i], &known))
            return qonnx_fail(cx, n, "shape overflows");
        else if (y.dim[i] < 0) known = -1;
    }
    int64_t total = x ? shape_elements(x) : -1;
    if (total >= 0 && known >= 0 && unknown >= 0) {
        if (known ? total % known : total)
            return qonnx_fail(cx, n, "%lld elements do not fit the shape", (long long)total);
        y.dim[unknown] = known ? total / known : 0;
    } else if (total >= 0 && known >= 0 && known != total) {
        return qonnx_fail(cx, n, "%lld elements do not fit a shape of %lld", (long long)total,
                          (long long)known);
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool flatten_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    int64_t axis = qonnx_node_int(n, "axis", 1);
    if (axis < -x->rank || axis > x->rank)
        return qonnx_fail(cx, n, "axis %lld is out of range for rank %d", (long long)axis, x->rank);
    int at = (int)(axis < 0 ? axis + x->rank : axis);
    Shape y = {.rank = 2, .dim = {shape_product(x, 0, at), shape_product(x, at, x->rank)}};
    if (at == 1) y.sym[0] = x->sym[0];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* Marks the axes of Squeeze and Unsqueeze. */
static bool mark_axes(Ctx *cx, const Node *n, int rank, int count, const int64_t *axes,
                      bool marked[QONNX_MAX_RANK])
{
    memset(marked, 0, QONNX_MAX_RANK * sizeof *marked);
    for (int i = 0; i < count; i++) {
        int at;
        if (!check_axis(cx, n, axes[i], rank, &at)) return false;
        if (marked[at]) return qonnx_fail(cx, n, "axis %d is there twice", at);
        marked[at] = true;
    }
    return true;
}

static bool squeeze_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t axes[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "axes", 1, axes);
    bool gone[QONNX_MAX_RANK];
    if (!x || count == -2) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!mark_axes(cx, n, x->rank, count < 0 ? 0 : count, axes, gone)) return false;
    for (int i = 0; i < x->rank; i++) /* an open axis may be 1, and then it goes */
        if (count < 0 && x->dim[i] < 0) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    Shape y = {.rank = 0};
    for (int i = 0; i < x->rank; i++) {
        if (gone[i] && x->dim[i] > 1)
            return qonnx_fail(cx, n, "axis %d has size %lld, want 1", i, (long long)x->dim[i]);
        if (gone[i] || (count < 0 && x->dim[i] == 1)) continue;
        y.dim[y.rank] = x->dim[i];
        y.sym[y.rank++] = x->sym[i];
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool unsqueeze_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t axes[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "axes", 1, axes);
    bool fresh[QONNX_MAX_RANK];
    if (!x || count < 0) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    int rank = x->rank + count;
    if (rank > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "rank %d, at most %d are supported", rank, QONNX_MAX_RANK);
    if (!mark_axes(cx, n, rank, count, axes, fresh)) return false;
    Shape y = {.rank = rank};
    for (int i = 0, k = 0; i < rank; i++) {
        y.dim[i] = fresh[i] ? 1 : x->dim[k];
        y.sym[i] = fresh[i] ? NULL : x->sym[k];
        if (!fresh[i]) k++;
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* ---- BitCast --------------------------------------------------------------------------------- */

static DType bitcast_to(const Node *n) { return (DType)qonnx_node_int(n, "to", 0); }

static bool bitcast_shape(Ctx *cx, Node *n)
{
    int from = qonnx_dtype_bits(in_dtype(n, 0)), to = qonnx_dtype_bits(bitcast_to(n));
    if (!to || bitcast_to(n) == QONNX_STRING)
        return qonnx_fail(cx, n, "attribute to is no known type of numbers");
    if (from && from != to)
        return qonnx_fail(cx, n, "%s has %d bits, %s has %d", qonnx_dtype_name(in_dtype(n, 0)),
                          from, qonnx_dtype_name(bitcast_to(n)), to);
    return out_shape(cx, n, 0, bitcast_to(n), in_shape(n, 0));
}

static bool bitcast_takes(Why *why, const Node *n)
{
    return takes_types(why, n, 0, NUMBERS | TINY | BOOL) &&
           (has_type(NUMBERS | TINY | BOOL, bitcast_to(n)) ||
            why_not(why, "to %s", qonnx_dtype_name(bitcast_to(n))));
}

/* The integer that an element of fewer than 8 bits is in its byte. */
static DType integer_of(DType t) { return t == QONNX_FLOAT4E2M1 ? QONNX_UINT4 : t; }

/* The same bytes; but a bool is 0 or 1, whatever they are, and integers of fewer than 8 bits have a
 * byte's sign. */
static bool bitcast_lower(Lower *l, Node *n)
{
    Layout at = lower_layout(l, n, 0);
    Buf *x = lower_in(l, n, 0, at);
    int64_t count = shape_elements(in_shape(n, 0));
    DType from = integer_of(in_dtype(n, 0)), to = integer_of(bitcast_to(n));
    if (to == QONNX_BOOL) x = lower_cast(l, n, QONNX_UINT8, QONNX_BOOL, count, x);
    else if (has_type(TINY_INTEGERS, to)) x = lower_cast(l, n, from, to, count, x);
    lower_view(l, n->out[0], x, at);
    return true;
}

/* ---- Constant -------------------------------------------------------------------------------- */

/* Folded before anything is lowered (runtime/fold.c), but for strings and the like. */
static bool constant_shape(Ctx *cx, Node *n)
{
    const Tensor *t = qonnx_node_tensor(n, "value");
    const float *floats;
    const int64_t *ints;
    Shape y = t ? shape_of(t) : (Shape){.rank = -1};
    DType type = t ? t->dtype : QONNX_UNDEFINED;
    int64_t count = -1;
    if (qonnx_node_has(n, "value_float")) type = QONNX_FLOAT, y.rank = 0;
    if (qonnx_node_has(n, "value_int")) type = QONNX_INT64, y.rank = 0;
    if (qonnx_node_has(n, "value_floats"))
        type = QONNX_FLOAT, count = qonnx_node_floats(n, "value_floats", &floats);
    if (qonnx_node_has(n, "value_ints"))
        type = QONNX_INT64, count = qonnx_node_ints(n, "value_ints", &ints);
    if (count >= 0) y = shape_make(1, &count);
    return out_shape(cx, n, 0, type, &y);
}

static bool constant_takes(Why *why, const Node *n)
{
    static const char *const refused[] = {"sparse_value", "value_string", "value_strings"};
    for (int i = 0; i < 3; i++)
        if (qonnx_node_has(n, refused[i])) return why_not(why, "its attribute %s", refused[i]);
    return true;
}

static bool constant_lower(Lower *l, Node *n)
{
    return qonnx_fail(l->cx, n, "it holds strings or a sparse tensor, which are not run");
}

const Op ops_view[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Reshape", 2, 2, reshape_shape, RULE(QONNX_RULE_SAME, 1), NULL, view_lower, .lists = 2,
     .strings = true},
    {"Flatten", 1, 1, flatten_shape, RULE(QONNX_RULE_SAME, 1), NULL, view_lower, .strings = true},
    {"Squeeze", 1, 2, squeeze_shape, RULE(QONNX_RULE_SAME, 1), NULL, view_lower, .lists = 2,
     .strings = true},
    {"Unsqueeze", 2, 2, unsqueeze_shape, RULE(QONNX_RULE_SAME, 1), NULL, view_lower, .lists = 2,
     .strings = true},
    {"Identity", 1, 1, same_shape, RULE(QONNX_RULE_SAME, 1), NULL, identity_lower,
     .unbundle = identity_unbundle, .strings = true},
    {"BitCast", 1, 1, bitcast_shape, RULE_FLOAT, NULL, bitcast_lower, .takes = bitcast_takes},
    {"Constant", 0, 0, constant_shape, RULE_FLOAT, NULL, constant_lower, .takes = constant_takes},
    {0},
};
