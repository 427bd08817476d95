/* ops/gemm.c - Gemm and MatMul. */
#include "lower/quantized.h"
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

static bool gemm_lower(Lower *l, Node *n)
{
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
    if (done) return true;
    bool wide = c->shape.rank > 0 && c->shape.dim[c->shape.rank - 1] != 1;
    bool tall = c->shape.rank == 2 && c->shape.dim[0] != 1;
    f_binary_p add = {.op = F_ADD,
                      .d0 = 1,
                      .d1 = 1,
                      .d2 = 1,
                      .d3 = 1,
                      .d4 = p.m,
                      .d5 = p.n,
                      .a4 = p.n,
                      .a5 = 1,
                      .b4 = tall ? (wide ? p.n : 1) : 0,
                      .b5 = wide,
                      .lo = -INFINITY,
                      .hi = INFINITY};
    lower_call(l, n, "f_binary", &add, (Buf *[]){to, bias}, 2, lower_out(l, out, PLAIN));
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
    return out < 0 ? -1 : count_work(out, k < 0 ? 1 : k);
}

static int64_t gemm_macs(const Node *n)
{
    const Shape *b = in_shape(n, 1);
    if (!b || b->rank != 2) return -1;
    return inner_macs(n, b->dim[qonnx_node_int(n, "transB", 0) != 0]);
}

/* ---- MatMul ---------------------------------------------------------------------------------- */

/* numpy.matmul: a 1-D operand becomes a row or a column, whose axis vanishes from the result. */
static bool matmul_shape(Ctx *cx, Node *n)
{
    const Shape *a = in_shape(n, 0), *b = in_shape(n, 1);
    if (!a || !b) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!a->rank || !b->rank) return qonnx_fail(cx, n, "a scalar operand");
    int64_t k = a->dim[a->rank - 1], kb = b->dim[b->rank > 1 ? b->rank - 2 : 0];
    if (k >= 0 && kb >= 0 && k != kb)
        return qonnx_fail(cx, n, "inner sizes differ: %lld and %lld", (long long)k, (long long)kb);
    Shape y = {.rank = 0};
    int batch = (a->rank > b->rank ? a->rank : b->rank) - 2;
    for (int i = 0; i < batch; i++) {
        int ia = i - (batch - (a->rank - 2)), ib = i - (batch - (b->rank - 2));
        int64_t da = ia >= 0 ? a->dim[ia] : 1, db = ib >= 0 ? b->dim[ib] : 1;
        if (da >= 0 && db >= 0 && da != db && da != 1 && db != 1)
            return qonnx_fail(cx, n, "batch axes do not broadcast: %lld and %lld", (long long)da,
                              (long long)db);
        y.dim[y.rank] = da == 1 ? db : da;
        y.sym[y.rank++] = da == 1 ? (ib >= 0 ? b->sym[ib] : NULL) : (ia >= 0 ? a->sym[ia] : NULL);
    }
    if (a->rank > 1) y.dim[y.rank] = a->dim[a->rank - 2], y.sym[y.rank++] = a->sym[a->rank - 2];
    if (b->rank > 1) y.dim[y.rank] = b->dim[b->rank - 1], y.sym[y.rank++] = b->sym[b->rank - 1];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* Operand i with a matrix of its own for every batch of the result, repeated where it has fewer. */
static Buf *matmul_expanded(Lower *l, Node *n, int i, Buf *x, const Shape *y)
{
    const Shape *s = in_shape(n, i);
    Shape full = {.rank = y->rank};
    int64_t from[QONNX_MAX_RANK], to[QONNX_MAX_RANK];
    for (int k = 0; k < y->rank; k++)
        full.dim[k] = k < y->rank - 2 ? y->dim[k] : s->dim[s->rank - y->rank + k];
    if (shape_elements(&full) == shape_elements(s)) return x;
    Buf *t = lower_temp(l, (size_t)shape_elements(&full) * sizeof(float));
    broadcast_strides(s, PLAIN, &full, from);
    layout_strides(&full, PLAIN, to);
    lower_copy(l, n, full.rank, full.dim, x, from, 0, t, to, 0, sizeof(float));
    return t;
}

static bool matmul_lower(Lower *l, Node *n)
{
    const Shape *a = in_shape(n, 0), *b = in_shape(n, 1);
    int64_t k = a->dim[a->rank - 1], columns = b->rank > 1 ? b->dim[b->rank - 1] : 1;
    Buf *in[3] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN), NULL};
    if (b->rank <= 2) { /* one matrix for all rows of a */
        f_gemm_p p = {
            (int32_t)shape_product(a, 0, a->rank - 1), (int32_t)columns, (int32_t)k, 0, 0, 0};
        Value *y = lower_fused(l, n, &p.lo, &p.hi);
        lower_call(l, n, "f_gemm", &p, in, 3, lower_out(l, y, PLAIN));
        return true;
    }
    int64_t na = shape_product(a, 0, a->rank > 2 ? a->rank - 2 : 0),
            nb = shape_product(b, 0, b->rank - 2);
    int64_t m = a->rank > 1 ? a->dim[a->rank - 2] : 1;
    bool same = na == nb || na == 1 || nb == 1;
    for (int i = 0; same && na > 1 && nb > 1 && i < a->rank - 2; i++)
        same = a->rank == b->rank && a->dim[i] == b->dim[i];
    if (!same) {
        const Shape *y = &n->out[0]->shape;
        for (int i = 0; i < 2; i++) in[i] = matmul_expanded(l, n, i, in[i], y);
        na = nb = shape_product(y, 0, y->rank - 2);
    }
    f_matmul_p p = {(int32_t)(na == 1 ? nb : na), /* either may be 0 */
                    (int32_t)m,
                    (int32_t)columns,
                    (int32_t)k,
                    0,
                    0,
                    (int32_t)(na > 1 ? m * k : 0),
                    (int32_t)(nb > 1 ? k * columns : 0)};
    lower_call(l, n, "f_matmul", &p, in, 2, lower_out(l, n->out[0], PLAIN));
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
    int64_t k = a->dim[a->rank - 1];
    return inner_macs(n, k >= 0 ? k : b->dim[b->rank > 1 ? b->rank - 2 : 0]);
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
      .channel_axis = 1},
     gemm_refine,
     gemm_lower,
     gemm_macs,
     .takes = takes_floats,
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
      .channel_axis = 1},
     matmul_refine,
     matmul_lower,
     matmul_macs,
     .takes = takes_floats,
     .quantized = &matmul_quantized},
    {0},
};
