/* ops/indexed.c - operators that take or put elements by computed indices. */
#include "ir/size.h"
#include "kernels/scatter.h"
#include "lower/lower.h"
#include <string.h>

/* ---- what they share ------------------------------------------------------------------------- */

/* Computed indices are kept inside by the kernel; constant ones must be: number i of the operand is
 * for an axis of size sizes[i % k]. Where there are any, no axis may be empty. */
static bool check_indices(Ctx *cx, const Node *n, int k, const int64_t *sizes)
{
    const Tensor *t = n->in[1]->data;
    if (shape_elements(&n->in[1]->shape) == 0) return true;
    for (int i = 0; i < k; i++)
        if (!sizes[i]) return qonnx_fail(cx, n, "an axis of size 0 has nothing to index");
    for (int64_t i = 0, count = t ? tensor_count(t) : 0; i < count; i++) {
        double at = qonnx_tensor_get(t, i), size = (double)sizes[i % k];
        if (at < -size || at >= size)
            return qonnx_fail(cx, n, "index %.0f is out of range for an axis of size %.0f", at,
                              size);
    }
    return true;
}

static bool takes_indices(Why *why, const Node *n)
{
    return in_dtype(n, 1) == QONNX_INT64 || takes_type(why, n, 1, QONNX_INT32);
}

static bool gather_takes(Why *why, const Node *n)
{
    return takes_indices(why, n) && takes_moved(why, n);
}

/* A call without places and numbers. */
static index_p index_params(const Node *n, int64_t inner)
{
    index_p p = {.inner = (int32_t)inner,
                 .size = dtype_size(in_dtype(n, 0)),
                 .wide = in_dtype(n, 1) == QONNX_INT64,
                 .count = (int32_t)shape_elements(in_shape(n, 0)),
                 .type = (int32_t)in_dtype(n, 0),
                 .op = SCATTER_PUT};
    for (int i = 0; i < QONNX_MAX_RANK; i++) (&p.d0)[i] = (&p.n0)[i] = 1;
    return p;
}

/* Adds an axis of places behind the others. Axes of one place are none. */
static void add_places(index_p *p, int64_t count, int64_t x_stride, int64_t index_stride)
{
    if (count == 1) return;
    for (int i = 0; i < QONNX_MAX_RANK - 1; i++) {
        (&p->d0)[i] = (&p->d0)[i + 1];
        (&p->x0)[i] = (&p->x0)[i + 1];
        (&p->i0)[i] = (&p->i0)[i + 1];
    }
    p->d7 = (int32_t)count;
    p->x7 = (int32_t)x_stride;
    p->i7 = (int32_t)index_stride;
}

/* Adds an axis of the tensor that the next number of an index is for. */
static void add_number(index_p *p, int64_t size, int64_t stride)
{
    (&p->n0)[p->k] = (int32_t)size;
    (&p->s0)[p->k++] = (int32_t)stride;
}

void lower_rows(Lower *l, const Node *n, Buf *table, int64_t rows, int64_t inner, int size,
                Buf *ids, bool wide, int64_t count, Buf *y)
{
    index_p p = {.inner = (int32_t)inner, .size = size, .wide = wide};
    for (int i = 0; i < QONNX_MAX_RANK; i++) (&p.d0)[i] = (&p.n0)[i] = 1;
    p.d7 = (int32_t)count;
    p.i7 = 1;
    add_number(&p, rows, inner);
    lower_call(l, n, "gather", &p, (Buf *[]){table, ids}, 2, y);
}

static bool gather_call(Lower *l, Node *n, const index_p *p)
{
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN)};
    lower_call(l, n, "gather", p, in, 2, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* Steps of going through indices and updates one by one, however small the output is. */
static int64_t index_work(const Node *n)
{
    int64_t work = 0;
    for (int i = 1; i < n->nin; i++) {
        int64_t count = shape_open_elements(in_shape(n, i));
        if (count < 0) return -1;
        work = size_plus(work, size_times(32, count));
    }
    return work;
}

/* ---- Gather ---------------------------------------------------------------------------------- */

static bool gather_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    int axis;
    if (!x || !k) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis)) return false;
    if (x->rank - 1 + k->rank > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "the result has too many axes");
    Shape y = {.rank = 0};
    for (int i = 0; i < x->rank; i++) {
        if (i != axis) {
            y.dim[y.rank] = x->dim[i];
            y.sym[y.rank++] = x->sym[i];
            continue;
        }
        for (int j = 0; j < k->rank; j++) y.dim[y.rank] = k->dim[j], y.sym[y.rank++] = k->sym[j];
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool gather_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis) ||
        !check_indices(l->cx, n, 1, &x->dim[axis]))
        return false;
    int64_t inner = shape_product(x, axis + 1, x->rank);
    index_p p = index_params(n, inner);
    add_places(&p, shape_product(x, 0, axis), x->dim[axis] * inner, 0);
    add_places(&p, shape_elements(in_shape(n, 1)), 0, 1);
    add_number(&p, x->dim[axis], inner);
    return gather_call(l, n, &p);
}

/* ---- ArrayFeatureExtractor ------------------------------------------------------------------- */

/* Elements along the last axis; one line becomes a row. */
static bool features_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    if (!x || !k) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!x->rank) return qonnx_fail(cx, n, "a scalar has no features");
    Shape y = *x;
    int last = x->rank - 1;
    if (!last) y = (Shape){.rank = 2, .dim = {1}};
    y.dim[last ? last : 1] = shape_product(k, 0, k->rank);
    y.sym[last ? last : 1] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool features_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t size = x->dim[x->rank - 1];
    if (!check_indices(l->cx, n, 1, &size)) return false;
    index_p p = index_params(n, 1);
    add_places(&p, shape_product(x, 0, x->rank - 1), size, 0);
    add_places(&p, shape_elements(in_shape(n, 1)), 0, 1);
    add_number(&p, size, 1);
    return gather_call(l, n, &p);
}

/* ---- GatherElements, ScatterElements --------------------------------------------------------- */

/* The axis; the indices must lie inside the tensor along all others. */
static bool elements_check(Ctx *cx, const Node *n, int *axis)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    if (!x || !k) return true;
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", 0), x->rank, axis)) return false;
    if (k->rank != x->rank)
        return qonnx_fail(cx, n, "indices of rank %d, want %d", k->rank, x->rank);
    for (int i = 0; i < x->rank; i++)
        if (i != *axis && x->dim[i] >= 0 && k->dim[i] > x->dim[i])
            return qonnx_fail(cx, n, "%lld indices along axis %d of size %lld",
                              (long long)k->dim[i], i, (long long)x->dim[i]);
    return true;
}

/* One index a place, the places being by the axes of the indices. */
static bool elements_params(Ctx *cx, const Node *n, index_p *p)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    int64_t xs[QONNX_MAX_RANK], ks[QONNX_MAX_RANK];
    int axis = 0;
    if (!elements_check(cx, n, &axis) || !check_indices(cx, n, 1, &x->dim[axis])) return false;
    layout_strides(x, PLAIN, xs);
    layout_strides(k, PLAIN, ks);
    *p = index_params(n, 1);
    for (int i = 0; i < k->rank; i++) add_places(p, k->dim[i], i == axis ? 0 : xs[i], ks[i]);
    add_number(p, x->dim[axis], xs[axis]);
    return true;
}

static bool gather_elements_shape(Ctx *cx, Node *n)
{
    int axis;
    return elements_check(cx, n, &axis) && out_shape(cx, n, 0, in_dtype(n, 0), in_shape(n, 1));
}

static bool gather_elements_lower(Lower *l, Node *n)
{
    index_p p;
    return elements_params(l->cx, n, &p) && gather_call(l, n, &p);
}

/* ---- GatherND, ScatterND --------------------------------------------------------------------- */

/* How many numbers an index has: the last size of the indices; -1: that is open. `batch` axes are
 * common to the tensor and the indices. */
static bool nd_check(Ctx *cx, const Node *n, int *k, int *batch)
{
    const Shape *x = in_shape(n, 0), *i = in_shape(n, 1);
    int64_t b = qonnx_node_int(n, "batch_dims", 0);
    *k = -1;
    *batch = 0;
    if (!x || !i) return true;
    if (!i->rank) return qonnx_fail(cx, n, "indices of rank 0, want at least 1");
    if (b < 0 || b >= i->rank || b >= (x->rank ? x->rank : 1))
        return qonnx_fail(cx, n, "batch_dims is %lld, for ranks %d and %d", (long long)b, x->rank,
                          i->rank);
    *batch = (int)b;
    for (int a = 0; a < *batch; a++)
        if (x->dim[a] >= 0 && i->dim[a] >= 0 && x->dim[a] != i->dim[a])
            return qonnx_fail(cx, n, "axis %d has sizes %lld and %lld", a, (long long)x->dim[a],
                              (long long)i->dim[a]);
    int64_t last = i->dim[i->rank - 1];
    if (last < 0) return true;
    if (last < 1 || last > x->rank - b)
        return qonnx_fail(cx, n, "indices of %lld numbers for %d axes", (long long)last,
                          x->rank - *batch);
    *k = (int)last;
    return true;
}

/* The shape of what the indices take or put: theirs, the last axis being what each is for. */
static bool nd_taken(Ctx *cx, const Node *n, int k, int batch, Shape *y)
{
    const Shape *x = in_shape(n, 0), *i = in_shape(n, 1);
    *y = (Shape){.rank = -1};
    if (k < 0) return true;
    int rank = i->rank - 1 + x->rank - batch - k;
    if (rank > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "the result has %d axes, at most %d are supported", rank,
                          QONNX_MAX_RANK);
    *y = (Shape){.rank = rank};
    for (int a = 0; a < i->rank - 1; a++) y->dim[a] = i->dim[a], y->sym[a] = i->sym[a];
    for (int a = batch + k, to = i->rank - 1; a < x->rank; a++, to++)
        y->dim[to] = x->dim[a], y->sym[to] = x->sym[a];
    return true;
}

/* The places are the batch, and in each the indices. */
static bool nd_params(Ctx *cx, const Node *n, index_p *p)
{
    const Shape *x = in_shape(n, 0), *i = in_shape(n, 1);
    int64_t xs[QONNX_MAX_RANK];
    int k, batch;
    if (!nd_check(cx, n, &k, &batch) || !check_indices(cx, n, k, x->dim + batch)) return false;
    layout_strides(x, PLAIN, xs);
    *p = index_params(n, shape_product(x, batch + k, x->rank));
    add_places(p, shape_product(x, 0, batch), shape_product(x, batch, x->rank),
               shape_product(i, batch, i->rank));
    add_places(p, shape_product(i, batch, i->rank - 1), 0, k);
    for (int a = batch; a < batch + k; a++) add_number(p, x->dim[a], xs[a]);
    return true;
}

static bool gather_nd_shape(Ctx *cx, Node *n)
{
    int k, batch;
    Shape y;
    return nd_check(cx, n, &k, &batch) && nd_taken(cx, n, k, batch, &y) &&
           out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool gather_nd_lower(Lower *l, Node *n)
{
    index_p p;
    return nd_params(l->cx, n, &p) && gather_call(l, n, &p);
}

/* ---- Scatter --------------------------------------------------------------------------------- */

/* SCATTER_PUT, F_ADD ...; -2: there is no such reduction. Truths are added by `or`, multiplied by
 * `and`. */
static int scatter_op(const Node *n)
{
    static const struct Reduction {
        const char *name;
        int op, of_truths;
    } reductions[] = {{"none", SCATTER_PUT, SCATTER_PUT},
                      {"add", F_ADD, F_MAX},
                      {"mul", F_MUL, F_MIN},
                      {"max", F_MAX, F_MAX},
                      {"min", F_MIN, F_MIN}};
    const char *name = qonnx_node_string(n, "reduction", "none");
    for (int i = 0; i < 5; i++)
        if (!strcmp(reductions[i].name, name))
            return in_dtype(n, 0) == QONNX_BOOL ? reductions[i].of_truths : reductions[i].op;
    return -2;
}

static bool scatter_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0), u = in_dtype(n, 2);
    if (t && u && t != u)
        return why_not(why, "it puts %s into %s", qonnx_dtype_name(u), qonnx_dtype_name(t));
    if (t && t != QONNX_BOOL && scatter_op(n) >= 0 && !is_arithmetic(t))
        return why_not(why, "reduction \"%.20s\" of %s", qonnx_node_string(n, "reduction", ""),
                       qonnx_dtype_name(t));
    return takes_indices(why, n) && takes_moved(why, n);
}

/* That the updates have that shape, as far as both are known. */
static bool check_updates(Ctx *cx, const Node *n, const Shape *want)
{
    const Shape *u = in_shape(n, 2);
    if (scatter_op(n) < SCATTER_PUT)
        return qonnx_fail(cx, n, "reduction is \"%.60s\", want none, add, mul, max or min",
                          qonnx_node_string(n, "reduction", ""));
    if (!u || !want || want->rank < 0) return true;
    if (u->rank != want->rank)
        return qonnx_fail(cx, n, "updates of rank %d, want %d", u->rank, want->rank);
    for (int i = 0; i < u->rank; i++)
        if (u->dim[i] >= 0 && want->dim[i] >= 0 && u->dim[i] != want->dim[i])
            return qonnx_fail(cx, n, "updates have size %lld at axis %d, want %lld",
                              (long long)u->dim[i], i, (long long)want->dim[i]);
    return true;
}

static bool scatter_elements_shape(Ctx *cx, Node *n)
{
    int axis;
    return elements_check(cx, n, &axis) && check_updates(cx, n, in_shape(n, 1)) &&
           same_shape(cx, n);
}

static bool scatter_nd_shape(Ctx *cx, Node *n)
{
    int k, batch;
    Shape want;
    return nd_check(cx, n, &k, &batch) && nd_taken(cx, n, k, batch, &want) &&
           check_updates(cx, n, &want) && same_shape(cx, n);
}

static bool scatter_call(Lower *l, Node *n, index_p *p)
{
    Buf *in[3];
    for (int i = 0; i < 3; i++) in[i] = lower_in(l, n, i, PLAIN);
    p->op = scatter_op(n);
    if (in_dtype(n, 0) == QONNX_BOOL) p->type = A_UINT8;
    lower_call(l, n, "scatter", p, in, 3, lower_out(l, n->out[0], PLAIN));
    return true;
}

static bool scatter_elements_lower(Lower *l, Node *n)
{
    index_p p;
    return elements_params(l->cx, n, &p) && scatter_call(l, n, &p);
}

static bool scatter_nd_lower(Lower *l, Node *n)
{
    index_p p;
    return nd_params(l->cx, n, &p) && scatter_call(l, n, &p);
}

const Op ops_indexed[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Gather", 2, 2, gather_shape, RULE_FLOAT, NULL, gather_lower, .takes = gather_takes,
     .strings = true},
    {"ArrayFeatureExtractor", 2, 2, features_shape, RULE_FLOAT, NULL, features_lower,
     .takes = gather_takes, .work = index_work, .domain = "ai.onnx.ml", .strings = true},
    {"GatherElements", 2, 2, gather_elements_shape, RULE_FLOAT, NULL, gather_elements_lower,
     .takes = gather_takes, .work = index_work, .strings = true},
    {"GatherND", 2, 2, gather_nd_shape, RULE_FLOAT, NULL, gather_nd_lower, .takes = gather_takes,
     .work = index_work, .strings = true},
    {"GatherND", 2, 2, gather_nd_shape, RULE_FLOAT, NULL, gather_nd_lower, .takes = gather_takes,
     .work = index_work, .domain = "com.microsoft"},
    {"ScatterElements", 3, 3, scatter_elements_shape, RULE_FLOAT, NULL, scatter_elements_lower,
     .takes = scatter_takes, .work = index_work, .strings = true},
    {"ScatterND", 3, 3, scatter_nd_shape, RULE_FLOAT, NULL, scatter_nd_lower,
     .takes = scatter_takes, .work = index_work, .strings = true},
    {0},
};
