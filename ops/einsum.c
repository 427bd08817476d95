/* ops/einsum.c - Einsum, as transposes, sums and matrix products of two operands at a time. */
#include "ir/size.h"
#include "kernels/reduce_walk.h"
#include "ops/broadcast.h"
#include "ops/equation.h"
#include "ops/product.h"
#include <string.h>

/* ---- shape and work -------------------------------------------------------------------------- */

static bool ranks_known(const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (!in_shape(n, i)) return false;
    return true;
}

static bool einsum_shape(Ctx *cx, Node *n)
{
    Equation e;
    if (!ranks_known(n)) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!equation_read(cx, n, &e)) return false;
    Shape y = {.rank = e.out.rank};
    for (int i = 0; i < y.rank; i++) y.dim[i] = e.size[e.out.label[i]];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* The labels of operands from `from` on, and of the result. */
static uint64_t labels_behind(const Equation *e, int from)
{
    uint64_t labels = term_labels(&e->out);
    for (int i = from; i < e->count; i++) labels |= term_labels(&e->in[i]);
    return labels;
}

/* Elements of a tensor with these labels, sizes that are open taken as 1. */
static int64_t elements(const Equation *e, uint64_t labels)
{
    int64_t count = 1;
    for (int i = 0; i < EQUATION_LABELS; i++)
        if (labels >> i & 1 && e->size[i] >= 0) count = size_times(count, e->size[i]);
    return count;
}

static int64_t einsum_macs(const Node *n)
{
    Ctx *quiet = ctx_quiet();
    Equation e;
    bool good = ranks_known(n) && equation_read(quiet, n, &e);
    int64_t work = 0;
    qonnx_ctx_free(quiet);
    if (!good) return -1;
    uint64_t labels = 0;
    for (int i = 0; i < e.count; i++) {
        labels |= term_labels(&e.in[i]);
        work = size_plus(work, elements(&e, labels));
        labels &= labels_behind(&e, i + 1);
    }
    return work;
}

static bool einsum_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    for (int i = 1; t && i < n->nin; i++)
        if (!takes_type(why, n, i, t)) return false;
    return takes_types(why, n, 0, NUMBERS);
}

/* ---- operands on their way ------------------------------------------------------------------- */

/* A tensor whose axes have labels, each once; sizes of 1 are left out. */
typedef struct View {
    Buf *buf;
    int rank;
    int label[QONNX_MAX_RANK];
    int64_t stride[QONNX_MAX_RANK];
} View;

/* What the steps share. */
typedef struct Einsum {
    Lower *l;
    Node *n;
    const Equation *e;
    DType type;
    size_t size; /* bytes an element */
} Einsum;

static int find(const View *v, int label)
{
    for (int i = 0; i < v->rank; i++)
        if (v->label[i] == label) return i;
    return -1;
}

static int64_t stride_of(const View *v, int label)
{
    int at = find(v, label);
    return at < 0 ? 0 : v->stride[at];
}

static uint64_t view_labels(const View *v)
{
    uint64_t labels = 0;
    for (int i = 0; i < v->rank; i++) labels |= (uint64_t)1 << v->label[i];
    return labels;
}

/* Operand i: a label that is there twice goes along the diagonal. */
static View operand_view(const Einsum *s, int i)
{
    const Shape *x = in_shape(s->n, i);
    int64_t strides[QONNX_MAX_RANK];
    View v = {.buf = lower_in(s->l, s->n, i, PLAIN)};
    layout_strides(x, PLAIN, strides);
    for (int k = 0; k < x->rank; k++) {
        int label = s->e->in[i].label[k], at = find(&v, label);
        if (x->dim[k] == 1) continue;
        if (at < 0) v.label[at = v.rank++] = label, v.stride[at] = 0;
        v.stride[at] += strides[k];
    }
    return v;
}

/* Whether the elements lie in the order of the labels, without gaps. */
static bool in_order(const Einsum *s, const View *v)
{
    int64_t step = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        if (v->stride[i] != step) return false;
        step *= s->e->size[v->label[i]];
    }
    return v->buf->bytes == (size_t)step * s->size;
}

/* A view of `rank` labels in new memory that lies in their order. False with a message where it is
 * too large. */
static bool view_new(const Einsum *s, int rank, const int *label, View *v)
{
    int64_t step = 1;
    if (rank > QONNX_MAX_RANK)
        return qonnx_fail(s->l->cx, s->n, "a product on the way has rank %d, at most %d can be run",
                          rank, QONNX_MAX_RANK);
    v->rank = rank;
    for (int i = rank - 1; i >= 0; i--) {
        v->label[i] = label[i];
        v->stride[i] = step;
        step = size_times(step, s->e->size[label[i]]);
    }
    if (step > INT32_MAX)
        return qonnx_fail(s->l->cx, s->n,
                          "a product on the way has %lld elements, at most 2^31 - 1",
                          (long long)step);
    v->buf = lower_temp(s->l, (size_t)step * s->size);
    return true;
}

/* The same with its elements in the order of these labels, of which there may be more. */
static bool ordered(const Einsum *s, View *v, int rank, const int *label)
{
    View to, from = *v;
    int64_t dims[QONNX_MAX_RANK];
    from.rank = rank;
    for (int i = 0; i < rank && i < QONNX_MAX_RANK; i++) {
        from.label[i] = label[i];
        from.stride[i] = stride_of(v, label[i]);
        dims[i] = s->e->size[label[i]];
    }
    if (rank <= QONNX_MAX_RANK && in_order(s, &from)) {
        *v = from;
        return true;
    }
    if (!view_new(s, rank, label, &to)) return false;
    lower_copy(s->l, s->n, rank, dims, v->buf, from.stride, 0, to.buf, to.stride, 0, (int)s->size);
    *v = to;
    return true;
}

/* Sums over the labels that nobody needs. */
static bool sum_out(const Einsum *s, View *v, uint64_t needed)
{
    int label[QONNX_MAX_RANK], kept = 0, at;
    View to;
    for (int i = 0; i < v->rank; i++)
        if (needed >> v->label[i] & 1) label[kept++] = v->label[i];
    if (kept == v->rank) return true;
    at = kept;
    for (int i = 0; i < v->rank; i++)
        if (!(needed >> v->label[i] & 1)) label[at++] = v->label[i];
    if (!ordered(s, v, v->rank, label) || !view_new(s, kept, label, &to)) return false;
    int64_t count = 1, rows = 1;
    for (int i = 0; i < v->rank; i++) *(i < kept ? &rows : &count) *= s->e->size[label[i]];
    reduce_p p = {F_RSUM,        (int32_t)s->type, 1,     1, 1, 1, 1, 1,
                  (int32_t)rows, (int32_t)count,   1 << 7};
    lower_call(s->l, s->n, s->type == QONNX_FLOAT ? "f_reduce" : "reduce", &p, &v->buf, 1, to.buf);
    *v = to;
    return true;
}

/* ---- two operands ---------------------------------------------------------------------------- */

/* The labels of both operands by what becomes of them: batch, rows, columns, and those summed. */
typedef struct Roles {
    int count[4];
    int label[4][2 * QONNX_MAX_RANK];
} Roles;

enum { BATCH, ROWS, COLUMNS, SUMMED };

static void add_role(Roles *r, int role, int label) { r->label[role][r->count[role]++] = label; }

/* Labels of the result come first, in its order, then others. */
static Roles roles_of(const Einsum *s, const View *a, const View *b, uint64_t needed)
{
    uint64_t in_a = view_labels(a), in_b = view_labels(b), left = in_a | in_b;
    Roles r = {{0}};
    const Term *out = &s->e->out;
    for (int i = 0; i < out->rank + a->rank + b->rank; i++) {
        int label = i < out->rank             ? out->label[i]
                    : i < out->rank + a->rank ? a->label[i - out->rank]
                                              : b->label[i - out->rank - a->rank];
        uint64_t bit = (uint64_t)1 << label;
        if (!(left & bit)) continue;
        left &= ~bit;
        add_role(&r,
                 !(needed & bit) ? SUMMED
                 : !(in_b & bit) ? ROWS
                 : in_a & bit    ? BATCH
                                 : COLUMNS,
                 label);
    }
    return r;
}

/* The stride of several labels as one axis, the last one innermost; -1: they are not evenly apart.
 */
static int64_t one_stride(const Einsum *s, const View *v, int count, const int *label)
{
    int64_t stride = count ? stride_of(v, label[count - 1]) : 1;
    for (int i = count - 1; i > 0; i--)
        if (stride_of(v, label[i - 1]) != stride_of(v, label[i]) * s->e->size[label[i]]) return -1;
    return stride;
}

static int64_t size_of(const Einsum *s, int count, const int *label)
{
    int64_t size = 1;
    for (int i = 0; i < count; i++) size *= s->e->size[label[i]];
    return size;
}

/* Copies an operand into batch, `first`, `second` where these are not one axis each. */
static bool matrix_of(const Einsum *s, View *v, const Roles *r, int first, int second)
{
    int label[4 * QONNX_MAX_RANK], rank = 0;
    if (one_stride(s, v, r->count[first], r->label[first]) >= 0 &&
        one_stride(s, v, r->count[second], r->label[second]) >= 0)
        return true;
    const int roles[3] = {BATCH, first, second};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < r->count[roles[k]]; i++)
            if (find(v, r->label[roles[k]][i]) >= 0) label[rank++] = r->label[roles[k]][i];
    return ordered(s, v, rank, label);
}

/* y = the sum of a * b over the labels that are summed: a matrix product. */
static bool multiply(const Einsum *s, View *a, View *b, const Roles *r, View *y)
{
    Product p = {.type = s->type, .axes = r->count[BATCH], .alpha = 1};
    if (!matrix_of(s, a, r, ROWS, SUMMED) || !matrix_of(s, b, r, SUMMED, COLUMNS)) return false;
    for (int i = 0; i < p.axes; i++) {
        int label = r->label[BATCH][i];
        p.dims[i] = s->e->size[label];
        p.a[i] = stride_of(a, label);
        p.b[i] = stride_of(b, label);
    }
    p.m = size_of(s, r->count[ROWS], r->label[ROWS]);
    p.n = size_of(s, r->count[COLUMNS], r->label[COLUMNS]);
    p.k = size_of(s, r->count[SUMMED], r->label[SUMMED]);
    p.am = one_stride(s, a, r->count[ROWS], r->label[ROWS]);
    p.ak = one_stride(s, a, r->count[SUMMED], r->label[SUMMED]);
    p.bk = one_stride(s, b, r->count[SUMMED], r->label[SUMMED]);
    p.bn = one_stride(s, b, r->count[COLUMNS], r->label[COLUMNS]);
    lower_product(s->l, s->n, &p, a->buf, b->buf, y->buf);
    return true;
}

/* y = a * b, element by element. */
static bool multiply_elements(const Einsum *s, View *a, View *b, const View *y)
{
    Walk w;
    int axes = 0;
    int64_t dims[QONNX_MAX_RANK], as[QONNX_MAX_RANK], bs[QONNX_MAX_RANK];
    for (int i = 0; i < y->rank; i++) {
        int64_t d = s->e->size[y->label[i]], sa = stride_of(a, y->label[i]),
                sb = stride_of(b, y->label[i]);
        bool joins = axes && as[axes - 1] == sa * d && bs[axes - 1] == sb * d;
        if (joins) dims[axes - 1] *= d;
        else dims[axes++] = d;
        as[axes - 1] = sa;
        bs[axes - 1] = sb;
    }
    if (axes > BROADCAST_AXES) /* they lie alike then, and are one axis */
        return ordered(s, a, y->rank, y->label) && ordered(s, b, y->rank, y->label) &&
               multiply_elements(s, a, b, y);
    for (int k = 0; k < BROADCAST_AXES; k++) {
        int from = k - (BROADCAST_AXES - axes);
        w.dims[k] = from < 0 ? 1 : (int32_t)dims[from];
        w.strides[0][k] = from < 0 ? 0 : (int32_t)as[from];
        w.strides[1][k] = from < 0 ? 0 : (int32_t)bs[from];
    }
    arithmetic_walk(s->l, s->n, F_MUL, s->type, &w, a->buf, b->buf, y->buf);
    return true;
}

/* a becomes the product of a and b, of labels that are needed. */
static bool contract(const Einsum *s, View *a, View *b, uint64_t needed)
{
    int label[4 * QONNX_MAX_RANK], rank = 0;
    View y;
    if (!sum_out(s, a, needed | view_labels(b)) || !sum_out(s, b, needed | view_labels(a)))
        return false;
    Roles r = roles_of(s, a, b, needed);
    if (r.count[ROWS] && r.count[COLUMNS]) { /* whose labels come first in the result are rows */
        const Term *out = &s->e->out;
        int i = 0;
        while (i < out->rank && out->label[i] != r.label[ROWS][0] &&
               out->label[i] != r.label[COLUMNS][0])
            i++;
        if (i < out->rank && out->label[i] == r.label[COLUMNS][0]) {
            View t = *a;
            *a = *b;
            *b = t;
            r = roles_of(s, a, b, needed);
        }
    }
    if (r.count[SUMMED]) {
        for (int k = BATCH; k < SUMMED; k++)
            for (int i = 0; i < r.count[k]; i++) label[rank++] = r.label[k][i];
    } else { /* in any order: that of the result */
        uint64_t left = view_labels(a) | view_labels(b);
        for (int k = 0; k < s->e->out.rank; k++) {
            if (left >> s->e->out.label[k] & 1) label[rank++] = s->e->out.label[k];
            left &= ~((uint64_t)1 << s->e->out.label[k]);
        }
        for (int k = 0; k < EQUATION_LABELS; k++)
            if (left >> k & 1) label[rank++] = k;
    }
    if (!view_new(s, rank, label, &y)) return false;
    if (!(r.count[SUMMED] ? multiply(s, a, b, &r, &y) : multiply_elements(s, a, b, &y)))
        return false;
    *a = y;
    return true;
}

static bool einsum_lower(Lower *l, Node *n)
{
    Equation e;
    if (!equation_read(l->cx, n, &e)) return false;
    Einsum s = {l, n, &e, in_dtype(n, 0), (size_t)dtype_size(in_dtype(n, 0))};
    View a = operand_view(&s, 0);
    for (int i = 1; i < e.count; i++) {
        View b = operand_view(&s, i);
        if (!contract(&s, &a, &b, labels_behind(&e, i + 1))) return false;
    }
    int label[QONNX_MAX_RANK], rank = 0;
    for (int i = 0; i < e.out.rank; i++)
        if (e.size[e.out.label[i]] != 1) label[rank++] = e.out.label[i];
    if (!sum_out(&s, &a, term_labels(&e.out)) || !ordered(&s, &a, rank, label)) return false;
    lower_view(l, n->out[0], a.buf, PLAIN);
    return true;
}

const Op ops_einsum[] = {
    {"Einsum", 1, -1, einsum_shape, RULE_FLOAT, NULL, einsum_lower, einsum_macs,
     .takes = einsum_takes},
    {0},
};
