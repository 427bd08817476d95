/* ops/gemm.c - Gemm, MatMul and FusedMatMul. */
#include "lower/quantized.h"
#include "ops/broadcast.h"
#include "ops/product.h"
#include <math.h>
#include <string.h>

/* ---- Gemm ------------------------------------------------------------------------------------ */

static bool gemm_shape(Ctx *cx, Node *n)
{
    const Shape *a = in_shape(n, 0), *b = in_shape(n, 1);
    if (!a || !b) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (a->rank != 2 || b->rank != 2)
        return qonnx_fail(cx, n, "operands of rank %d and %d, want 2", a->rank, b->rank);
    int ta = qonnx_node_int(n, "transA", 0) != 0, tb = qonnx_node_int(n, "transB", 0) != 0;
    int64_t k = a->dim[!ta], kb = b->dim[tb];
    if (k >= 0 && kb >= 0 && k != kb)
        return qonnx_fail(cx, n, "inner sizes differ: %lld and %lld", (long long)k, (long long)kb);
    Shape y = {.rank = 2, .dim = {a->dim[ta], b->dim[!tb]}, .sym = {a->sym[ta], b->sym[!tb]}};
    const Shape *c = in_shape(n, 2);
    for (int i = 0; c && i < c->rank; i++) {
        int64_t want = c->rank > 2 ? 0 : y.dim[2 - c->rank + i];
        if (c->rank > 2 || (c->dim[i] >= 0 && c->dim[i] != 1 && want >= 0 && c->dim[i] != want))
            return qonnx_fail(cx, n, "C does not broadcast to the result");
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* x as [m][k]: transposed first where transA says so. */
static Buf *gemm_rows(Lower *l, Node *n, int32_t m, int32_t k)
{
    Buf *x = lower_in(l, n, 0, PLAIN);
    if (!qonnx_node_int(n, "transA", 0)) return x;
    Buf *t = lower_temp(l, x->bytes);
    lower_copy(l, n, 2, (int64_t[]){m, k}, x, (int64_t[]){1, m}, 0, t, (int64_t[]){k, 1}, 0, 4);
    return t;
}

/* Input i times `factor`: here, once, where it is constant, else in every run. */
static Buf *scaled(Lower *l, Node *n, int i, float factor)
{
    const Tensor *t = n->in[i]->data;
    if (factor == 1) return lower_in(l, n, i, PLAIN);
    int64_t count = shape_elements(in_shape(n, i));
    float *v = lower_array(l, t ? (size_t)count : 1, sizeof *v);
    *v = factor;
    if (!t)
        return arithmetic(l, n, F_MUL, QONNX_FLOAT, count, lower_in(l, n, i, PLAIN),
                          lower_const(l, v, sizeof *v));
    for (int64_t k = 0; k < count; k++) v[k] = (float)qonnx_tensor_get(t, k) * factor;
    return lower_const(l, v, t->bytes);
}

/* Whether C is one number a column, so that the kernel can add it. */
static bool is_row(const Shape *c, int64_t columns)
{
    return shape_elements(c) == columns && (c->rank == 1 || c->dim[0] == 1);
}

/* The product in `y` plus C, which lies in `c`. */
static void gemm_add(Lower *l, Node *n, Buf *y, Buf *c)
{
    DType t = in_dtype(n, 0);
    int size = dtype_size(t);
    Operand x[2] = {operand_full(n, y, PLAIN), operand(l, n, 2, PLAIN)};
    Walk w;
    x[1].buf = c;
    walk_make(l, n, PLAIN, x, 2, (int[]){size, size}, &w);
    arithmetic_walk(l, n, F_ADD, t, &w, x[0].buf, x[1].buf, lower_out(l, n->out[0], PLAIN));
}

/* Gemm of doubles, or where B is computed. */
static bool gemm_computed(Lower *l, Node *n)
{
    DType t = in_dtype(n, 0);
    const Shape *a = in_shape(n, 0), *b = in_shape(n, 1), *c = in_shape(n, 2);
    int ta = qonnx_node_int(n, "transA", 0) != 0, tb = qonnx_node_int(n, "transB", 0) != 0;
    double beta = (double)qonnx_node_float(n, "beta", 1);
    Product p = {.type = t,
                 .m = a->dim[ta],
                 .n = b->dim[!tb],
                 .k = b->dim[tb],
                 .am = ta ? 1 : a->dim[1],
                 .ak = ta ? a->dim[1] : 1,
                 .bk = tb ? 1 : b->dim[1],
                 .bn = tb ? b->dim[1] : 1,
                 .alpha = qonnx_node_float(n, "alpha", 1)};
    size_t bytes = (size_t)shape_elements(&n->out[0]->shape) * (size_t)dtype_size(t);
    Buf *y = c ? lower_temp(l, bytes) : lower_out(l, n->out[0], PLAIN);
    lower_product(l, n, &p, lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN), y);
    if (!c) return true;
    Buf *more = lower_in(l, n, 2, PLAIN);
    if (beta != 1)
        more = arithmetic(l, n, F_MUL, t, shape_elements(c), more, lower_number(l, t, beta));
    gemm_add(l, n, y, more);
    return true;
}

static bool gemm_lower(Lower *l, Node *n)
{
    if (in_dtype(n, 0) != QONNX_FLOAT || !n->in[1]->data) return gemm_computed(l, n);
    const Value *c = qonnx_node_input(n, 2);
    float alpha = qonnx_node_float(n, "alpha", 1), beta = qonnx_node_float(n, "beta", 1);
    const Shape *y = &n->out[0]->shape, *b = in_shape(n, 1);
    bool tb = qonnx_node_int(n, "transB", 0) != 0;
    f_gemm_p p = {(int32_t)y->dim[0], (int32_t)y->dim[1], (int32_t)b->dim[tb], tb, 0, 0};
    bool row = c && is_row(&c->shape, p.n);
    Value *out = n->out[0];
    p.lo = -INFINITY, p.hi = INFINITY;
    if (!c || row) out = lower_fused(l, n, &p.lo, &p.hi);
    Buf *in[3] = {gemm_rows(l, n, p.m, p.k), scaled(l, n, 1, alpha), NULL};
    Buf *bias = c ? scaled(l, n, 2, beta) : NULL;
    if (row) in[2] = bias;
    bool done = !c || row;
    Buf *to = done ? lower_out(l, out, PLAIN) : lower_temp(l, (size_t)p.m * (size_t)p.n * 4);
    lower_call(l, n, "f_gemm", &p, in, 3, to);
    if (!done) gemm_add(l, n, to, bias);
    return true;
}

static void gemm_refine(const Node *n, qonnx_rule *r)
{
    r->weight_axis = qonnx_node_int(n, "transB", 0) ? 0 : 1;
    r->channel_axis = qonnx_node_int(n, "transA", 0) ? 0 : 1;
}

/* Elements of the output times the length of the sums. */
static int64_t inner_macs(const Node *n, int64_t k)
{
    int64_t out = n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1;
    return count_work(out, k < 0 ? 1 : k);
}

static int64_t gemm_macs(const Node *n)
{
    const Shape *b = in_shape(n, 1);
    if (!b || b->rank != 2) return -1;
    return inner_macs(n, b->dim[qonnx_node_int(n, "transB", 0) != 0]);
}

/* ---- MatMul ---------------------------------------------------------------------------------- */

/* How an operand is read: its axes as batch, rows and columns. */
typedef struct Matrices {
    int batch;                /* axes of the batch */
    int axes[QONNX_MAX_RANK]; /* these first */
    int rows, columns;        /* axis of the rows, and of the columns; -1: there is none */
} Matrices;

/* numpy.matmul, where a vector is a row on the left and a column on the right; FusedMatMul may turn
 * matrices, and take axis 0 for the rows. */
static Matrices matrices(const Node *n, const Shape *s, int i)
{
    int rank = s->rank;
    bool turned = qonnx_node_int(n, i ? "transB" : "transA", 0) != 0;
    bool first = rank > 2 && qonnx_node_int(n, i ? "transBatchB" : "transBatchA", 0) != 0;
    Matrices m = {.batch = rank > 2 ? rank - 2 : 0, .rows = -1, .columns = -1};
    for (int k = 0; k < m.batch; k++) m.axes[k] = k + first;
    if (rank == 1) {
        *(i ? &m.rows : &m.columns) = 0;
        return m;
    }
    int rows = first ? 0 : rank - 2;
    m.rows = turned ? rank - 1 : rows;
    m.columns = turned ? rows : rank - 1;
    return m;
}

/* Axis k of the batch of an operand, counted from that of the result; 1 where it has none. */
static int64_t batch_dim(const Shape *s, const Matrices *m, int batch, int k, const char **sym)
{
    int at = k - (batch - m->batch);
    *sym = at < 0 ? NULL : s->sym[m->axes[at]];
    return at < 0 ? 1 : s->dim[m->axes[at]];
}

bool matmul_result(Ctx *cx, const Node *n, const Shape *a, const Shape *b, Shape *result)
{
    if (!a->rank || !b->rank) return qonnx_fail(cx, n, "a scalar operand");
    Matrices ma = matrices(n, a, 0), mb = matrices(n, b, 1);
    int64_t k = a->dim[ma.columns], kb = b->dim[mb.rows];
    if (k >= 0 && kb >= 0 && k != kb)
        return qonnx_fail(cx, n, "inner sizes differ: %lld and %lld", (long long)k, (long long)kb);
    Shape y = {.rank = 0};
    int batch = ma.batch > mb.batch ? ma.batch : mb.batch;
    for (int i = 0; i < batch; i++) {
        const char *sa, *sb;
        int64_t da = batch_dim(a, &ma, batch, i, &sa), db = batch_dim(b, &mb, batch, i, &sb);
        if (da >= 0 && db >= 0 && da != db && da != 1 && db != 1)
            return qonnx_fail(cx, n, "batch axes do not broadcast: %lld and %lld", (long long)da,
                              (long long)db);
        bool second = da == 1 || (da < 0 && db > 1);
        y.dim[y.rank] = second ? db : da;
        y.sym[y.rank++] = second ? sb : sa;
    }
    if (ma.rows >= 0) y.dim[y.rank] = a->dim[ma.rows], y.sym[y.rank++] = a->sym[ma.rows];
    if (mb.columns >= 0) y.dim[y.rank] = b->dim[mb.columns], y.sym[y.rank++] = b->sym[mb.columns];
    *result = y;
    return true;
}

static bool matmul_shape(Ctx *cx, Node *n)
{
    const Shape *a = in_shape(n, 0), *b = in_shape(n, 1);
    Shape y;
    if (!a || !b) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    return matmul_result(cx, n, a, b, &y) && out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool gemm_takes(Why *why, const Node *n)
{
    if (in_dtype(n, 0) != QONNX_DOUBLE) return takes_floats(why, n);
    return takes_type(why, n, 1, QONNX_DOUBLE) && takes_type(why, n, 2, QONNX_DOUBLE);
}

static bool matmul_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    if (n->domain[0]) return takes_floats(why, n);
    if (!takes_types(why, n, 0, NUMBERS)) return false;
    return !t || takes_type(why, n, 1, t);
}

/* The strides of the batch of operand i, along the axes of the result's. */
static void batch_strides(const Node *n, int i, const Matrices *m, const int64_t *own, int batch,
                          int64_t *strides)
{
    const Shape *s = in_shape(n, i);
    for (int k = 0; k < batch; k++) {
        int at = k - (batch - m->batch);
        strides[k] = at < 0 || s->dim[m->axes[at]] == 1 ? 0 : own[m->axes[at]];
    }
}

static bool matmul_lower(Lower *l, Node *n)
{
    const Shape *a = in_shape(n, 0), *b = in_shape(n, 1), *y = &n->out[0]->shape;
    Matrices ma = matrices(n, a, 0), mb = matrices(n, b, 1);
    int64_t as[QONNX_MAX_RANK], bs[QONNX_MAX_RANK];
    layout_strides(a, PLAIN, as);
    layout_strides(b, PLAIN, bs);
    Product p = {.type = in_dtype(n, 0), .alpha = qonnx_node_float(n, "alpha", 1)};
    p.k = a->dim[ma.columns], p.ak = as[ma.columns], p.bk = bs[mb.rows];
    p.m = ma.rows < 0 ? 1 : a->dim[ma.rows], p.am = ma.rows < 0 ? p.k : as[ma.rows];
    p.n = mb.columns < 0 ? 1 : b->dim[mb.columns], p.bn = mb.columns < 0 ? 1 : bs[mb.columns];
    p.axes = ma.batch > mb.batch ? ma.batch : mb.batch;
    for (int i = 0; i < p.axes; i++) p.dims[i] = y->dim[i];
    batch_strides(n, 0, &ma, as, p.axes, p.a);
    batch_strides(n, 1, &mb, bs, p.axes, p.b);
    Buf *in[3] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN), NULL};
    bool rows = p.ak == 1 && p.am == p.k && (p.m == 1 || !ma.batch || ma.rows == a->rank - 2);
    if (p.type == QONNX_FLOAT && n->in[1]->data && rows &&
        shape_product(b, 0, b->rank) == p.k * p.n &&
        p.alpha == 1) { /* one matrix for all rows of a */
        f_gemm_p g = {(int32_t)(shape_product(y, 0, y->rank) / (p.n ? p.n : 1)),
                      (int32_t)p.n,
                      (int32_t)p.k,
                      p.bk == 1 && p.bn != 1,
                      0,
                      0};
        Value *to = lower_fused(l, n, &g.lo, &g.hi);
        lower_call(l, n, "f_gemm", &g, in, 3, lower_out(l, to, PLAIN));
        return true;
    }
    lower_product(l, n, &p, in[0], in[1], lower_out(l, n->out[0], PLAIN));
    return true;
}

static void matmul_refine(const Node *n, qonnx_rule *r)
{
    const Shape *a = in_shape(n, 0), *b = in_shape(n, 1);
    const Value *w = qonnx_node_input(n, 1);
    if (!w || !w->data) r->weight = -1, r->activations = 3;
    r->weight_axis = b && b->rank >= 2 ? b->rank - 1 : -1;
    r->channel_axis = a && a->rank >= 1 ? a->rank - 1 : -1;
}

static int64_t matmul_macs(const Node *n)
{
    const Shape *a = in_shape(n, 0), *b = in_shape(n, 1);
    if (!a || !b || !a->rank || !b->rank) return -1;
    int64_t k = a->dim[matrices(n, a, 0).columns];
    return inner_macs(n, k >= 0 ? k : b->dim[matrices(n, b, 1).rows]);
}

/* ---- on integers ----------------------------------------------------------------------------- */

static bool gemm_integers(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    const Shape *x = in_shape(n, 0), *b = in_shape(n, 1);
    bool tb = qonnx_node_int(n, "transB", 0) != 0;
    int64_t rows = 1, k = x->dim[x->rank - 1];
    for (int i = 0; i + 1 < x->rank; i++) rows *= x->dim[i];
    q_gemm_p p = {.m = (int32_t)rows,
                  .n = (int32_t)b->dim[!tb],
                  .k = (int32_t)k,
                  .transb = tb,
                  .x_signed = quant_signed(q->in[0].dtype),
                  .y_zero = q->out.zero};
    quant_clamp(q, &p.lo, &p.hi);
    const Value *bias = qonnx_node_input(n, 2);
    Buf *in[4] = {
        lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN),
        quant_bias(l, n->in[1]->data, bias, q->in[0].zero, p.n, tb ? k : 1, k, tb ? 1 : p.n),
        quant_multipliers(l, q, p.n)};
    lower_call(l, n, "q_gemm", &p, in, 4, lower_out(l, n->out[0], PLAIN));
    return true;
}

static int gemm_weight_axis(const Node *n) { return qonnx_node_int(n, "transB", 0) ? 0 : 1; }

/* x * w + b without factors. */
static bool gemm_form(const Node *n, QuantNode *q)
{
    bool biased = qonnx_node_input(n, 2) != NULL;
    return qonnx_node_float(n, "alpha", 1) == 1 && !qonnx_node_int(n, "transA", 0) &&
           (!biased || qonnx_node_float(n, "beta", 1) == 1) && quantized_scales(q);
}

static const Quantized gemm_quantized = {
    .lower = gemm_integers,
    .form = gemm_form,
    .weight_axis = gemm_weight_axis,
    .weight_rank = 2,
    .gives_floats = true,
    .clamps = true,
    .qlinear = {"QGemm", "com.microsoft", .out = 7, .bias = 6},
};

static int matmul_weight_axis(const Node *n)
{
    (void)n;
    return 1;
}

static const Quantized matmul_quantized = {
    .lower = gemm_integers,
    .weight_axis = matmul_weight_axis,
    .weight_rank = 2,
    .gives_floats = true,
    .clamps = true,
    .qlinear = {"QLinearMatMul", "", .out = 6},
};

const Op ops_gemm[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"Gemm",
     2,
     3,
     gemm_shape,
     {.kind = QONNX_RULE_OWN,
      .activations = 1,
      .weight = 1,
      .bias = 2,
      .weight_axis = 1,
      .channel_axis = 1,
      .to_float = true},
     gemm_refine,
     gemm_lower,
     gemm_macs,
     .takes = gemm_takes,
     .quantized = &gemm_quantized},
    {"MatMul",
     2,
     2,
     matmul_shape,
     {.kind = QONNX_RULE_OWN,
      .activations = 1,
      .weight = 1,
      .bias = -1,
      .weight_axis = 1,
      .channel_axis = 1,
      .to_float = true},
     matmul_refine,
     matmul_lower,
     matmul_macs,
     .takes = matmul_takes,
     .quantized = &matmul_quantized},
    {"FusedMatMul", 2, 2, matmul_shape, RULE_FLOAT, NULL, matmul_lower, matmul_macs,
     .takes = matmul_takes, .domain = "com.microsoft"},
    {0},
};
