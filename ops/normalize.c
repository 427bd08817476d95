/* ops/normalize.c - operators that bring rows to mean 0 and deviation 1, or to length 1. */
#include "kernels/f_lpnorm.h"
#include "kernels/f_lrn.h"
#include "kernels/f_norm.h"
#include "kernels/reduce_walk.h"
#include "lower/lower.h"
#include <math.h>
#include <string.h>

/* Whether the shape broadcasts to that of `x` without changing it; sizes that are open may. */
static bool broadcasts(const Shape *s, const Shape *x)
{
    if (s->rank > x->rank) return false;
    for (int i = 0; i < s->rank; i++) {
        int64_t to = x->dim[x->rank - s->rank + i];
        if (s->dim[i] >= 0 && s->dim[i] != 1 && to >= 0 && s->dim[i] != to) return false;
    }
    return true;
}

static bool norm_takes(Why *why, const Node *n)
{
    int64_t type = qonnx_node_int(n, "stash_type", QONNX_FLOAT);
    if (type != QONNX_FLOAT)
        return why_not(why, "stash_type %lld, this library runs 1 (float) only", (long long)type);
    return takes_floats(why, n);
}

/* A step an element of each pass over x. */
static int64_t norm_work(const Node *n)
{
    int64_t count = shape_open_elements(in_shape(n, 0));
    return count_work(count, 32);
}

/* ---- rows of trailing axes: LayerNormalization and the like ---------------------------------- */

/* What an operator's inputs and outputs are. -1: it has none. */
typedef struct RowsForm {
    const char *name;
    bool rms;                     /* the mean is not taken off */
    int skip, scale, shift, bias; /* inputs beside 0: what is added to it before, factors */
    int mean, inverse, sum;       /* outputs: mean, 1 / deviation, what was normalized */
    float epsilon;                /* where the attribute is left out */
} RowsForm;

static const RowsForm rows_forms[] = {
    {"LayerNormalization", false, -1, 1, 2, -1, 1, 2, -1, 1e-5f},
    {"RMSNormalization", true, -1, 1, -1, -1, -1, -1, -1, 1e-5f},
    {"SimplifiedLayerNormalization", true, -1, 1, -1, -1, -1, 1, -1, 1e-5f},
    {"SkipLayerNormalization", false, 1, 2, 3, 4, 1, 2, 3, 1e-12f},
    {"SkipSimplifiedLayerNormalization", true, 1, 2, -1, 3, 1, 2, 3, 1e-12f},
};

static const RowsForm *rows_form(const Node *n)
{
    const RowsForm *f = rows_forms;
    while (strcmp(f->name, n->op)) f++;
    return f;
}

static bool rows_shape(Ctx *cx, Node *n)
{
    const RowsForm *f = rows_form(n);
    const Shape *x = in_shape(n, 0);
    DType t = in_dtype(n, 0);
    int axis;
    if (!x) return same_shape(cx, n);
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", -1), x->rank, &axis)) return false;
    for (int i = 1; i < n->nin; i++)
        if (in_shape(n, i) && !broadcasts(in_shape(n, i), x))
            return qonnx_fail(cx, n, "input %d does not broadcast to input 0", i);
    Shape row = *x;
    for (int i = axis; i < x->rank; i++) row.dim[i] = 1, row.sym[i] = NULL;
    if (f->mean >= 0 && !out_shape(cx, n, f->mean, QONNX_FLOAT, &row)) return false;
    if (f->inverse >= 0 && !out_shape(cx, n, f->inverse, QONNX_FLOAT, &row)) return false;
    if (f->sum >= 0 && !out_shape(cx, n, f->sum, t, x)) return false;
    return same_shape(cx, n);
}

/* The shape without the leading axes that make it longer than `rank`; rank -1: one of them is not
 * of size 1. */
static Shape trailing(const Shape *s, int rank)
{
    int skip = s->rank > rank ? s->rank - rank : 0;
    for (int i = 0; i < skip; i++)
        if (s->dim[i] != 1) return (Shape){.rank = -1};
    return shape_make(s->rank - skip, s->dim + skip);
}

/* Input i, repeated to the shape `full`. */
static Buf *repeated(Lower *l, Node *n, int i, const Shape *full)
{
    Shape s = trailing(in_shape(n, i), full->rank);
    Buf *x = lower_in(l, n, i, PLAIN);
    int64_t from[QONNX_MAX_RANK], to[QONNX_MAX_RANK];
    if (shape_elements(&s) == shape_elements(full)) return x;
    Buf *y = lower_temp(l, (size_t)shape_elements(full) * sizeof(float));
    broadcast_strides(&s, PLAIN, full, from);
    layout_strides(full, PLAIN, to);
    lower_copy(l, n, full->rank, full->dim, x, from, 0, y, to, 0, sizeof(float));
    return y;
}

/* x plus input i, which is broadcast; x where that is left out. */
static Buf *plus(Lower *l, Node *n, Buf *x, int i)
{
    const Shape *full = in_shape(n, 0);
    if (i < 0 || !qonnx_node_input(n, i)) return x;
    return arithmetic(l, n, F_ADD, QONNX_FLOAT, shape_elements(full), x, repeated(l, n, i, full));
}

/* One reduction of rows of `count` elements. */
static Buf *row_reduction(Lower *l, Node *n, int op, const f_norm_p *p, Buf *x)
{
    reduce_p r = {op, QONNX_FLOAT, 1, 1, 1, 1, 1, 1, p->rows, p->count, 1 << 7};
    Buf *y = lower_temp(l, (size_t)p->rows * sizeof(float));
    lower_call(l, n, "f_reduce", &r, &x, 1, y);
    return y;
}

static Buf *number(Lower *l, float x)
{
    float *v = lower_alloc(l, sizeof *v);
    *v = x;
    return lower_const(l, v, sizeof *v);
}

/* x without the mean of each row. */
static Buf *row_rests(Lower *l, Node *n, const f_norm_p *p, Buf *x, Buf *mean)
{
    f_binary_p off = {.op = F_SUB,
                      .d0 = 1,
                      .d1 = 1,
                      .d2 = 1,
                      .d3 = 1,
                      .d4 = p->rows,
                      .d5 = p->count,
                      .a4 = p->count,
                      .a5 = 1,
                      .b4 = 1,
                      .lo = -INFINITY,
                      .hi = INFINITY};
    Buf *y = lower_temp(l, x->bytes);
    lower_call(l, n, "f_binary", &off, (Buf *[]){x, mean}, 2, y);
    return y;
}

/* 1 / deviation of each row, from what is left of it without the mean. */
static void row_inverses(Lower *l, Node *n, const f_norm_p *p, Buf *x, Value *to)
{
    Buf *sum = row_reduction(l, n, F_RSUMSQ, p, x), *root = lower_temp(l, sum->bytes);
    Buf *mean = arithmetic(l, n, F_DIV, QONNX_FLOAT, p->rows, sum, number(l, (float)p->count));
    Buf *more = arithmetic(l, n, F_ADD, QONNX_FLOAT, p->rows, mean, number(l, p->epsilon));
    f_unary_p square_root = {F_SQRT, p->rows, 0, 0, -INFINITY, INFINITY};
    f_unary_p reciprocal = {F_RECIPROCAL, p->rows, 0, 0, -INFINITY, INFINITY};
    lower_call(l, n, "f_unary", &square_root, &more, 1, root);
    lower_call(l, n, "f_unary", &reciprocal, &root, 1, lower_out(l, to, PLAIN));
}

/* Mean and 1 / deviation of each row, which few models read: the sums of f_norm once more. */
static void row_moments(Lower *l, Node *n, const RowsForm *f, const f_norm_p *p, Buf *x)
{
    bool inverse = f->inverse >= 0 && out_used(n, f->inverse);
    bool mean = f->mean >= 0 && out_used(n, f->mean);
    Buf *means = NULL;
    if (mean || (inverse && !f->rms)) means = row_reduction(l, n, F_RMEAN, p, x);
    if (mean) lower_view(l, n->out[f->mean], means, PLAIN);
    if (inverse)
        row_inverses(l, n, p, f->rms ? x : row_rests(l, n, p, x, means), n->out[f->inverse]);
}

/* y * scale + shift, where these are not the same for all rows. */
static void rows_factors(Lower *l, Node *n, const RowsForm *f, Buf *y)
{
    const Shape *x = in_shape(n, 0);
    int64_t count = shape_elements(x);
    Buf *scale = repeated(l, n, f->scale, x);
    y = arithmetic(l, n, F_MUL, QONNX_FLOAT, count, y, scale);
    if (f->shift >= 0) y = plus(l, n, y, f->shift);
    lower_view(l, n->out[0], y, PLAIN);
}

static bool rows_lower(Lower *l, Node *n)
{
    const RowsForm *f = rows_form(n);
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", -1), x->rank, &axis)) return false;
    Shape row = shape_make(x->rank - axis, x->dim + axis);
    f_norm_p p = {(int32_t)shape_product(x, 0, axis),
                  (int32_t)shape_elements(&row),
                  1,
                  1,
                  f->rms,
                  qonnx_node_float(n, "epsilon", f->epsilon),
                  0};
    Buf *sum = plus(l, n, plus(l, n, lower_in(l, n, 0, PLAIN), f->skip), f->bias);
    if (f->sum >= 0 && out_used(n, f->sum)) lower_view(l, n->out[f->sum], sum, PLAIN);
    Buf *in[3] = {sum, NULL, NULL};
    bool apart = false;
    for (int i = f->scale; i <= f->shift || i == f->scale; i++)
        apart = apart || (in_shape(n, i) && trailing(in_shape(n, i), row.rank).rank < 0);
    if (!apart) in[1] = repeated(l, n, f->scale, &row);
    if (!apart && f->shift >= 0 && qonnx_node_input(n, f->shift))
        in[2] = repeated(l, n, f->shift, &row);
    Buf *y = apart ? lower_temp(l, sum->bytes) : lower_out(l, n->out[0], PLAIN);
    lower_call(l, n, "f_norm", &p, in, 3, y);
    if (apart) rows_factors(l, n, f, y);
    row_moments(l, n, f, &p, sum);
    return true;
}

/* ---- rows of channels: InstanceNormalization, GroupNormalization ----------------------------- */

static int64_t group_count(const Node *n)
{
    if (qonnx_node_is(n, "GroupNormalization")) return qonnx_node_int(n, "num_groups", 0);
    const Shape *x = in_shape(n, 0);
    return x && x->rank > 1 ? x->dim[1] : -1;
}

/* Whether scale and bias have an element a group, not a channel, as before operator set 21. */
static bool factors_of_groups(const Node *n)
{
    return qonnx_node_is(n, "GroupNormalization") && qonnx_model_opset(n->graph) < 21;
}

static bool group_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t groups = group_count(n), channels = x && x->rank > 1 ? x->dim[1] : -1;
    bool named = qonnx_node_is(n, "GroupNormalization");
    if (x && x->rank < 3) return qonnx_fail(cx, n, "input of rank %d, want 3 or more", x->rank);
    if (named && groups < 1)
        return qonnx_fail(cx, n, "num_groups is %lld, want 1 or more", (long long)groups);
    if (named && channels >= 0 && channels % groups)
        return qonnx_fail(cx, n, "%lld channels are no multiple of %lld groups",
                          (long long)channels, (long long)groups);
    int64_t want = factors_of_groups(n) ? groups : channels;
    for (int i = 1; i < 3; i++) {
        const Shape *s = in_shape(n, i);
        if (s && (s->rank != 1 || (s->dim[0] >= 0 && want >= 0 && s->dim[0] != want)))
            return qonnx_fail(cx, n, "input %d has %lld elements on %d axes, want %lld on one", i,
                              (long long)shape_elements(s), s->rank, (long long)want);
    }
    return same_shape(cx, n);
}

static bool group_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t groups = group_count(n), places = shape_product(x, 2, x->rank);
    int64_t count = groups ? x->dim[1] / groups * places : 0;
    f_norm_p p = {(int32_t)(x->dim[0] * groups),
                  (int32_t)count,
                  (int32_t)groups,
                  (int32_t)(factors_of_groups(n) ? count : places),
                  0,
                  qonnx_node_float(n, "epsilon", 1e-5f),
                  0};
    Buf *in[3] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, "f_norm", &p, in, 3, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- MeanVarianceNormalization --------------------------------------------------------------- */

/* The axes in the order that has the normalized ones last. Returns how many are in front; -1 and a
 * message where an axis is wrong. */
static int mvn_order(Ctx *cx, const Node *n, int rank, int order[QONNX_MAX_RANK])
{
    const int64_t *axes, usual[] = {0, 2, 3};
    int count = qonnx_node_ints(n, "axes", &axes), kept = 0, at;
    bool normalized[QONNX_MAX_RANK] = {0};
    if (!axes) axes = usual, count = 3;
    for (int i = 0; i < count; i++) {
        if (!check_axis(cx, n, axes[i], rank, &at)) return -1;
        normalized[at] = true;
    }
    for (int i = 0; i < rank; i++)
        if (!normalized[i]) order[kept++] = i;
    for (int i = 0, k = kept; i < rank; i++)
        if (normalized[i]) order[k++] = i;
    return kept;
}

static bool mvn_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int order[QONNX_MAX_RANK];
    return (!x || mvn_order(cx, n, x->rank, order) >= 0) && same_shape(cx, n);
}

static bool mvn_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int order[QONNX_MAX_RANK], kept = mvn_order(l->cx, n, x->rank, order);
    if (kept < 0) return false;
    Shape turned = {.rank = x->rank};
    int64_t own[QONNX_MAX_RANK], strides[QONNX_MAX_RANK], from[QONNX_MAX_RANK];
    bool in_order = true;
    layout_strides(x, PLAIN, own);
    for (int i = 0; i < x->rank; i++) {
        turned.dim[i] = x->dim[order[i]];
        from[i] = own[order[i]];
        in_order = in_order && order[i] == i;
    }
    layout_strides(&turned, PLAIN, strides);
    int32_t count = (int32_t)shape_product(&turned, kept, turned.rank);
    f_norm_p p = {(int32_t)shape_product(&turned, 0, kept), count, 1, count, 0, 0, 1e-9f};
    Buf *in = lower_in(l, n, 0, PLAIN), *out = lower_out(l, n->out[0], PLAIN);
    Buf *rows = in_order ? in : lower_temp(l, in->bytes);
    if (!in_order)
        lower_copy(l, n, x->rank, turned.dim, in, from, 0, rows, strides, 0, sizeof(float));
    Buf *y = in_order ? out : lower_temp(l, in->bytes);
    lower_call(l, n, "f_norm", &p, &rows, 1, y);
    if (!in_order)
        lower_copy(l, n, x->rank, turned.dim, y, strides, 0, out, from, 0, sizeof(float));
    return true;
}

/* ---- LpNormalization, LRN -------------------------------------------------------------------- */

static bool lp_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t p = qonnx_node_int(n, "p", 2);
    int axis;
    if (p != 1 && p != 2) return qonnx_fail(cx, n, "p is %lld, want 1 or 2", (long long)p);
    if (x && !check_axis(cx, n, qonnx_node_int(n, "axis", -1), x->rank, &axis)) return false;
    return same_shape(cx, n);
}

static bool lp_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", -1), x->rank, &axis)) return false;
    f_lpnorm_p p = {(int32_t)shape_product(x, 0, axis), (int32_t)x->dim[axis],
                    (int32_t)shape_product(x, axis + 1, x->rank),
                    (int32_t)qonnx_node_int(n, "p", 2)};
    lower_call(l, n, "f_lpnorm", &p, (Buf *[]){lower_in(l, n, 0, PLAIN)}, 1,
               lower_out(l, n->out[0], PLAIN));
    return true;
}

static bool lrn_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t size = qonnx_node_int(n, "size", 0);
    if (size < 1 || size > INT32_MAX)
        return qonnx_fail(cx, n, "size is %lld, want 1 to 2^31 - 1", (long long)size);
    if (x && x->rank < 2) return qonnx_fail(cx, n, "input of rank %d, want 2 or more", x->rank);
    return same_shape(cx, n);
}

static bool lrn_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    f_lrn_p p = {(int32_t)x->dim[0],
                 (int32_t)x->dim[1],
                 (int32_t)shape_product(x, 2, x->rank),
                 (int32_t)qonnx_node_int(n, "size", 1),
                 qonnx_node_float(n, "alpha", 1e-4f),
                 qonnx_node_float(n, "beta", 0.75f),
                 qonnx_node_float(n, "bias", 1)};
    lower_call(l, n, "f_lrn", &p, (Buf *[]){lower_in(l, n, 0, PLAIN)}, 1,
               lower_out(l, n->out[0], PLAIN));
    return true;
}

/* The squares of a window, and a power. */
static int64_t lrn_work(const Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t count = shape_open_elements(x), size = qonnx_node_int(n, "size", 1);
    if (count < 0 || x->rank < 2) return -1;
    if (x->dim[1] >= 0 && size > x->dim[1]) size = x->dim[1];
    return count_work(count, size + 1000);
}

#define NORM(name, least, most, kind, ...)                                                         \
    {name,       least, most, kind##_shape, RULE_FLOAT, NULL, kind##_lower, .takes = norm_takes,   \
     __VA_ARGS__}
#define MICROSOFT "com.microsoft"

const Op ops_normalize[] = {
    /* name  inputs  functions */
    NORM("LayerNormalization", 2, 3, rows, .work = norm_work),
    NORM("RMSNormalization", 2, 2, rows, .work = norm_work),
    NORM("SimplifiedLayerNormalization", 2, 2, rows, .work = norm_work),
    NORM("SimplifiedLayerNormalization", 2, 2, rows, .work = norm_work, .domain = MICROSOFT),
    NORM("SkipLayerNormalization", 3, 5, rows, .work = norm_work, .domain = MICROSOFT),
    NORM("SkipSimplifiedLayerNormalization", 3, 4, rows, .work = norm_work, .domain = MICROSOFT),
    NORM("InstanceNormalization", 3, 3, group, .work = norm_work),
    NORM("GroupNormalization", 3, 3, group, .work = norm_work),
    NORM("MeanVarianceNormalization", 1, 1, mvn, .work = norm_work),
    NORM("LpNormalization", 1, 1, lp, .work = norm_work),
    NORM("LRN", 1, 1, lrn, .work = lrn_work),
    {0},
};
