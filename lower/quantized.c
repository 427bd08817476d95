/* lower/quantized.c - the quantized operators: shapes as ONNX's operator has them, integer kernels.
 * Multipliers are computed here as ONNX Runtime computes them, in float32 and in its order.
 */
#include "lower/quantized.h"
#include "kernels/q_params.h"
#include "lower/lower.h"
#include "ops/window.h"
#include <math.h>
#include <string.h>

/* ---- parameters ------------------------------------------------------------------------------ */

void quant_limits(DType t, int *lo, int *hi)
{
    *lo = t == QONNX_INT8 ? -128 : 0;
    *hi = *lo + 255;
}

int quant_value(const QuantParams *p, float x)
{
    int lo, hi;
    quant_limits(p->dtype, &lo, &hi);
    float r = rintf(x / p->scale) + (float)p->zero;
    return r <= (float)lo ? lo : r >= (float)hi ? hi : (int)r;
}

/* The bits of a float32 multiplier. */
static q_scale bits_of(float multiplier)
{
    q_scale bits;
    memcpy(&bits, &multiplier, sizeof bits);
    return bits;
}

/* The clamp of a fused activation, in the integers of the output. */
static void clamp_of(const QuantNode *q, int32_t *lo, int32_t *hi)
{
    quant_limits(q->out.dtype, lo, hi);
    if (q->lo > -INFINITY) *lo = quant_value(&q->out, q->lo);
    if (q->hi < INFINITY) *hi = quant_value(&q->out, q->hi);
}

static int is_signed(DType t) { return t == QONNX_INT8; }

static const QuantNode *quant(const Node *n) { return n->quant; }

/* Shape as the float operator's, type as the group's. */
static bool quantized_shape(Ctx *cx, Node *n)
{
    const QuantNode *q = quant(n);
    for (int i = 0; i < (q->weight ? 1 : n->nin); i++) {
        DType t = in_dtype(n, i), want = q->in[i].dtype;
        if (t && t != want)
            return qonnx_fail(cx, n, "operand %d is %s, its zero point %s", i, qonnx_dtype_name(t),
                              qonnx_dtype_name(want));
    }
    if (!op_find("", n->op)->shape(cx, n)) return false;
    if (n->out[0]) n->out[0]->dtype = q->out.dtype;
    return true;
}

/* ---- weighted operators ---------------------------------------------------------------------- */

/* The int8 weight as [outputs] sums: outputs are `step` apart, each has `count` elements `stride`
 * apart. bias[o] - zero * sum(w[o]), wrapping as the accumulators do. */
static Buf *folded_bias(Lower *l, const Tensor *w, const Value *bias, int zero, int64_t outputs,
                        int64_t step, int64_t count, int64_t stride)
{
    uint32_t *b = lower_array(l, (size_t)outputs, 4);
    const int8_t *data = w->data;
    for (int64_t o = 0; o < outputs; o++) {
        uint32_t sum = 0;
        for (int64_t i = 0; i < count; i++) sum += (uint32_t)data[o * step + i * stride];
        b[o] = bias ? (uint32_t)(int64_t)qonnx_tensor_get(bias->data, o) : 0;
        b[o] -= (uint32_t)zero * sum;
    }
    return lower_const(l, b, (size_t)outputs * 4);
}

/* (sx * sw) / sy for each output channel. */
static Buf *multipliers(Lower *l, const QuantNode *q, int64_t outputs)
{
    q_scale *s = lower_array(l, (size_t)outputs, sizeof *s);
    for (int64_t o = 0; o < outputs; o++)
        s[o] = bits_of(q->in[0].scale * q->weight[q->nweight > 1 ? o : 0] / q->out.scale);
    return lower_const(l, s, (size_t)outputs * sizeof *s);
}

static bool conv_lower(Lower *l, Node *n)
{
    const QuantNode *q = quant(n);
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    const Value *bias = qonnx_node_input(n, 2);
    Window w;
    if (!conv_window(l->cx, n, &w)) return false;
    q_conv_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .ic = (int32_t)x->dim[1],
                  .oc = (int32_t)k->dim[0],
                  .group = (int32_t)qonnx_node_int(n, "group", 1),
                  .x_signed = is_signed(q->in[0].dtype),
                  .x_zero = q->in[0].zero,
                  .y_zero = q->out.zero};
    clamp_of(q, &p.lo, &p.hi);
    int64_t each = tensor_count(n->in[1]->data) / k->dim[0];
    Buf *in[4] = {lower_in(l, n, 0, LAST), lower_in(l, n, 1, PLAIN),
                  folded_bias(l, n->in[1]->data, bias, p.x_zero, p.oc, each, each, 1),
                  multipliers(l, q, p.oc)};
    lower_call(l, n, conv_is_depthwise(n) ? "q_dwconv" : "q_conv", &p, in, 4,
               lower_out(l, n->out[0], LAST));
    return true;
}

static bool gemm_lower(Lower *l, Node *n)
{
    const QuantNode *q = quant(n);
    const Shape *x = in_shape(n, 0), *b = in_shape(n, 1);
    bool tb = qonnx_node_int(n, "transB", 0) != 0;
    int64_t rows = 1, k = x->dim[x->rank - 1];
    for (int i = 0; i + 1 < x->rank; i++) rows *= x->dim[i];
    q_gemm_p p = {.m = (int32_t)rows,
                  .n = (int32_t)b->dim[!tb],
                  .k = (int32_t)k,
                  .transb = tb,
                  .x_signed = is_signed(q->in[0].dtype),
                  .y_zero = q->out.zero};
    clamp_of(q, &p.lo, &p.hi);
    const Value *bias = qonnx_node_input(n, 2);
    Buf *in[4] = {
        lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN),
        folded_bias(l, n->in[1]->data, bias, q->in[0].zero, p.n, tb ? k : 1, k, tb ? 1 : p.n),
        multipliers(l, q, p.n)};
    lower_call(l, n, "q_gemm", &p, in, 4, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- elementwise operators ------------------------------------------------------------------- */

/* Input i expanded to the shape of the output, in that layout. */
static Buf *expanded(Lower *l, Node *n, int i, Layout layout)
{
    const Value *v = n->in[i];
    const Shape *y = &n->out[0]->shape, *s = &v->shape;
    if (!memcmp(s->dim, y->dim, (size_t)y->rank * sizeof *y->dim) && s->rank == y->rank)
        return lower_in(l, n, i, layout);
    Layout at = v->data || s->rank < 3 ? PLAIN : lower_layout(l, n, i);
    int64_t from[QONNX_MAX_RANK], to[QONNX_MAX_RANK];
    broadcast_strides(s, at, y, from);
    layout_strides(y, layout, to);
    Buf *in = lower_in(l, n, i, at), *out = lower_temp(l, (size_t)shape_elements(y));
    lower_copy(l, n, y->rank, y->dim, in, from, 0, out, to, 0, 1);
    return out;
}

/* The least n for which x is whole times 2^-n. */
static int whole_at(float x)
{
    int e;
    int64_t m = (int64_t)ldexpf(frexpf(x, &e), 24);
    if (!m) return 0;
    while (m % 2 == 0) m /= 2, e++;
    return 24 - e;
}

bool quantized_add_params(const QuantNode *q, q_add_p *p)
{
    const QuantParams *a = &q->in[0], *b = &q->in[1];
    float scales[3] = {a->scale / q->out.scale, b->scale / q->out.scale, 0};
    scales[2] = (float)q->out.zero - fmaf(scales[0], (float)a->zero, scales[1] * (float)b->zero);
    p->unit = 1;
    double most = 0;
    for (int i = 0; i < 3; i++) {
        if (!isfinite(scales[i])) return false;
        int n = whole_at(scales[i]);
        if (n > p->unit) p->unit = n;
        most += fabs((double)scales[i]) * (i < 2 ? 255 : 1);
    }
    p->a_scale = (int32_t)bits_of(scales[0]);
    p->b_scale = (int32_t)bits_of(scales[1]);
    p->offset = (int32_t)bits_of(scales[2]);
    return p->unit < 62 && ldexp(most, p->unit) < 0x1p62;
}

static bool add_lower(Lower *l, Node *n)
{
    const QuantNode *q = quant(n);
    q_add_p p = {.count = (int32_t)shape_elements(&n->out[0]->shape),
                 .a_signed = is_signed(q->in[0].dtype),
                 .b_signed = is_signed(q->in[1].dtype)};
    if (!quantized_add_params(q, &p))
        return qonnx_fail(l->cx, n, "scales too far apart to add in integers");
    clamp_of(q, &p.lo, &p.hi);
    Layout at = lower_result_layout(l, n);
    Buf *in[2] = {expanded(l, n, 0, at), expanded(l, n, 1, at)};
    lower_call(l, n, "q_add", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

static bool mul_lower(Lower *l, Node *n)
{
    const QuantNode *q = quant(n);
    q_scale scale = bits_of(q->in[0].scale * q->in[1].scale / q->out.scale);
    q_mul_p p = {.d0 = 1,
                 .d1 = 1,
                 .d2 = 1,
                 .d3 = 1,
                 .d4 = 1,
                 .d5 = (int32_t)shape_elements(&n->out[0]->shape),
                 .a5 = 1,
                 .b5 = 1,
                 .a_signed = is_signed(q->in[0].dtype),
                 .b_signed = is_signed(q->in[1].dtype),
                 .a_zero = q->in[0].zero,
                 .b_zero = q->in[1].zero,
                 .y_zero = q->out.zero,
                 .scale = (int32_t)scale};
    clamp_of(q, &p.lo, &p.hi);
    Layout at = lower_result_layout(l, n);
    Buf *in[2] = {expanded(l, n, 0, at), expanded(l, n, 1, at)};
    lower_call(l, n, "q_mul", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

/* A table of 256 bytes, by the byte of the input. */
static Buf *table_of(Lower *l, const QuantParams *in, const QuantParams *out,
                     float (*f)(const void *user, float x), const void *user)
{
    uint8_t *table = lower_alloc(l, 256);
    for (int b = 0; b < 256; b++) {
        int x = in->dtype == QONNX_INT8 ? (int8_t)b : b;
        table[b] = (uint8_t)quant_value(out, f(user, (float)(x - in->zero) * in->scale));
    }
    return lower_const(l, table, 256);
}

static float apply_unary(const void *user, float x)
{
    float y;
    f_unary_p p = *(const f_unary_p *)user;
    p.count = 1;
    kernel_find("f_unary")->run(&p, (const void *[]){&x}, (void *[]){&y});
    return y;
}

static float same(const void *user, float x)
{
    (void)user;
    return x;
}

static bool unary_lower(Lower *l, Node *n)
{
    const QuantNode *q = quant(n);
    f_unary_p u;
    if (!unary_params(n, &u)) u = (f_unary_p){.op = F_CLIP, .lo = q->lo, .hi = q->hi};
    Layout at = lower_layout(l, n, 0);
    q_table_p p = {(int32_t)shape_elements(in_shape(n, 0))};
    Buf *in[2] = {lower_in(l, n, 0, at), table_of(l, &q->in[0], &q->out, apply_unary, &u)};
    lower_call(l, n, "q_table", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

static bool softmax_lower(Lower *l, Node *n)
{
    const QuantNode *q = quant(n);
    f_softmax_p f;
    Layout at;
    if (!softmax_params(l, n, &f, &at)) return false;
    q_softmax_p p = {f.outer, f.count, f.inner, is_signed(q->in[0].dtype), q->out.zero};
    uint32_t *table = lower_array(l, 256, sizeof *table);
    for (int i = 0; i < 256; i++)
        table[i] = (uint32_t)rint(ldexp(exp(-i * (double)q->in[0].scale), 23));
    Buf *in[2] = {lower_in(l, n, 0, at), lower_const(l, table, 256 * sizeof *table)};
    lower_call(l, n, "q_softmax", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

/* ---- pools and Concat ------------------------------------------------------------------------ */

static q_pool_p pool_params(const Node *n, const Window *w)
{
    const QuantNode *q = quant(n);
    const Shape *x = in_shape(n, 0);
    q_pool_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(*w),
                  .c = (int32_t)x->dim[1],
                  .x_signed = is_signed(q->in[0].dtype),
                  .x_zero = q->in[0].zero,
                  .y_zero = q->out.zero};
    clamp_of(q, &p.lo, &p.hi);
    return p;
}

/* Steps of the output, times 2^20, by which float32 roundings can move the mean of `count`
 * elements: one an element, one a sum, and few more, each 2^-24 of at most 255 steps of the input;
 * one of the sum with the zero point. */
static int32_t mean_error(const QuantNode *q, int64_t count)
{
    double ratio = (double)q->in[0].scale / (double)q->out.scale;
    double error = (2.0 * (double)count + 8) * 255 * ratio + 1024;
    return (int32_t)fmin(ceil(ldexp(error, 20 - 24)) + 2, 1 << 20);
}

/* The largest ratio of scales times elements for which q_avgpool's bounds hold. */
#define MEAN_BOUND 0x1p22

bool quantized_avgpool_fits(const Node *n, const QuantNode *q)
{
    double most = (double)q->in[0].scale / (double)q->out.scale;
    const Attr *kernel = node_attr(n, "kernel_shape");
    for (int i = 0; kernel && i < kernel->count; i++) most *= (double)kernel->ints[i];
    return most <= MEAN_BOUND && q->in[0].scale > 0x1p-90f && q->in[0].scale < 0x1p90f &&
           q->out.scale > 0x1p-90f && q->out.scale < 0x1p90f;
}

/* sx / (sy * (float)count), by how many elements of a window are averaged. */
static bool avgpool_lower(Lower *l, Node *n)
{
    const QuantNode *q = quant(n);
    Window w;
    if (!pool_window(l->cx, n, &w)) return false;
    q_pool_p p = pool_params(n, &w);
    int64_t window = w.kernel[0] * w.kernel[1] * w.kernel[2];
    if (window > 1 << 20)
        return qonnx_fail(l->cx, n, "a window of %lld elements", (long long)window);
    bool global = true;
    for (int i = 0; i < 3; i++)
        global &= w.kernel[i] == w.in[i] && w.front[i] == 0 && w.back[i] == 0;
    p.x_scale = (int32_t)bits_of(q->in[0].scale);
    p.y_scale = (int32_t)bits_of(q->out.scale);
    p.whole = qonnx_node_int(n, "count_include_pad", 0) != 0;
    /* ONNX Runtime on x86-64 makes such pairs of int8 pairs of uint8 before anything else. */
    p.shift = q->pairs && q->out.dtype == QONNX_INT8 ? 128 : 0;
    p.near = global ? 0 : mean_error(q, window);
    q_scale *s = lower_array(l, (size_t)(window + 1), sizeof *s);
    for (int64_t i = 0; i <= window; i++)
        s[i] = bits_of(q->in[0].scale / (q->out.scale * (float)(p.whole || !i ? window : i)));
    Buf *in[2] = {lower_in(l, n, 0, LAST), lower_const(l, s, (size_t)(window + 1) * sizeof *s)};
    lower_call(l, n, "q_avgpool", &p, in, 2, lower_out(l, n->out[0], LAST));
    return true;
}

static bool concat_lower(Lower *l, Node *n)
{
    const QuantNode *q = quant(n);
    const Shape *y = &n->out[0]->shape;
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", 0), y->rank, &axis)) return false;
    Layout layout = lower_result_layout(l, n);
    int64_t to[QONNX_MAX_RANK], from[QONNX_MAX_RANK], at = 0;
    layout_strides(y, layout, to);
    Buf *out = lower_out(l, n->out[0], layout);
    for (int i = 0; i < n->nin; i++) {
        const Shape *s = in_shape(n, i);
        const QuantParams *own = &q->in[i];
        Buf *x = lower_in(l, n, i, layout);
        if (own->scale != q->out.scale || own->zero != q->out.zero || own->dtype != q->out.dtype) {
            q_table_p p = {(int32_t)shape_elements(s)};
            Buf *t = lower_temp(l, (size_t)p.count);
            lower_call(l, n, "q_table", &p, (Buf *[]){x, table_of(l, own, &q->out, same, NULL)}, 2,
                       t);
            x = t;
        }
        layout_strides(s, layout, from);
        lower_copy(l, n, s->rank, s->dim, x, from, 0, out, to, at * to[axis], 1);
        at += s->dim[axis];
    }
    return true;
}

#define UNARY_ROW(code, op, ...) {op, 1, 1, quantized_shape, RULE_FLOAT, NULL, unary_lower},

static const Op rows[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Conv", 2, 3, quantized_shape, RULE_FLOAT, NULL, conv_lower},
    {"Gemm", 2, 3, quantized_shape, RULE_FLOAT, NULL, gemm_lower},
    {"MatMul", 2, 2, quantized_shape, RULE_FLOAT, NULL, gemm_lower},
    {"Add", 2, 2, quantized_shape, RULE_FLOAT, NULL, add_lower},
    {"Mul", 2, 2, quantized_shape, RULE_FLOAT, NULL, mul_lower},
    {"AveragePool", 1, 1, quantized_shape, RULE_FLOAT, NULL, avgpool_lower},
    {"GlobalAveragePool", 1, 1, quantized_shape, RULE_FLOAT, NULL, avgpool_lower},
    {"Concat", 1, -1, quantized_shape, RULE_FLOAT, NULL, concat_lower},
    {"Softmax", 1, 1, quantized_shape, RULE_FLOAT, NULL, softmax_lower},
    {"Relu", 1, 1, quantized_shape, RULE_FLOAT, NULL, unary_lower},
    {"Clip", 1, 1, quantized_shape, RULE_FLOAT, NULL, unary_lower},
    UNARY_ROWS(UNARY_ROW)
    {0},
};

const Op *quantized_find(const char *op)
{
    for (const Op *r = rows; r->name; r++)
        if (!strcmp(r->name, op)) return r;
    return NULL;
}
