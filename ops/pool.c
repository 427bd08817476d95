/* ops/pool.c - MaxPool, AveragePool, LpPool and the global pools. */
#include "kernels/pools.h"
#include "kernels/q_params.h"
#include "lower/quantized.h"
#include "ops/window.h"
#include <math.h>
#include <string.h>

static bool is_norm(const Node *n) { return strstr(n->op, "LpPool") != NULL; }

static bool check_power(Ctx *cx, const Node *n)
{
    int64_t power = qonnx_node_int(n, "p", 2);
    return !is_norm(n) || (power >= 1 && power <= 1 << 20) ||
           qonnx_fail(cx, n, "p is %lld, want 1 or more", (long long)power);
}

static bool pool_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Window w;
    if (!check_power(cx, n)) return false;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!window_read(cx, n, x, NULL, &w)) return false;
    Shape y = *x;
    for (int i = 0; i < w.axes; i++) y.dim[2 + i] = w.out[3 - w.axes + i], y.sym[2 + i] = NULL;
    return out_shape(cx, n, 1, QONNX_INT64, &y) && out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool global_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!check_power(cx, n)) return false;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (x->rank < 3) return qonnx_fail(cx, n, "input of rank %d, want 3 or more", x->rank);
    Shape y = *x;
    for (int i = 2; i < x->rank; i++) y.dim[i] = 1, y.sym[i] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* The largest of 8-bit integers, whatever they stand for. */
static bool pool_bytes(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int is_signed = in_dtype(n, 0) == QONNX_INT8;
    Window w;
    if (!pool_window(l->cx, n, &w)) return false;
    q_pool_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .c = (int32_t)x->dim[1],
                  .x_signed = is_signed,
                  .lo = is_signed ? -128 : 0,
                  .hi = is_signed ? 127 : 255};
    lower_call(l, n, "q_maxpool", &p, (Buf *[]){lower_in(l, n, 0, LAST)}, 1,
               lower_out(l, n->out[0], LAST));
    return true;
}

static bool is_largest(const Node *n) { return strstr(n->op, "MaxPool") != NULL; }

static bool pool_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    bool bytes = t == QONNX_INT8 || t == QONNX_UINT8;
    if ((is_largest(n) && bytes) || (!is_norm(n) && t == QONNX_DOUBLE)) return true;
    return takes_float_data(why, n);
}

/* What the kernels of every type and of norms take. */
static bool pool_others(Lower *l, Node *n, const Window *w)
{
    const Shape *x = in_shape(n, 0);
    DType t = in_dtype(n, 0);
    int64_t power = qonnx_node_int(n, "p", 2);
    pools_p p = {.n = (int32_t)x->dim[0],
                 WINDOW_FIELDS(*w),
                 .c = (int32_t)x->dim[1],
                 .ed = (int32_t)w->back[0],
                 .eh = (int32_t)w->back[1],
                 .ew = (int32_t)w->back[2],
                 .include_pad = qonnx_node_int(n, "count_include_pad", 0) != 0,
                 .type = (int32_t)t,
                 .op = is_norm(n) ? P_NORM : P_AVERAGE,
                 .power = (int32_t)power,
                 .columns = qonnx_node_int(n, "storage_order", 0) != 0};
    Buf *in = lower_in(l, n, 0, LAST);
    if (is_largest(n)) {
        Buf *out[2] = {lower_out(l, n->out[0], LAST),
                       out_used(n, 1) ? lower_out(l, n->out[1], LAST) : NULL};
        lower_call_n(l, n, "maxpool", &p, &in, 1, out, 2);
    } else {
        lower_call(l, n, "pool_sums", &p, &in, 1, lower_out(l, n->out[0], LAST));
    }
    return true;
}

static bool pool_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    DType t = in_dtype(n, 0);
    Window w;
    bool largest = is_largest(n);
    if (largest && qonnx_dtype_bits(t) == 8 && !out_used(n, 1)) return pool_bytes(l, n);
    if (!pool_window(l->cx, n, &w)) return false;
    if (t != QONNX_FLOAT || is_norm(n) || out_used(n, 1)) return pool_others(l, n, &w);
    f_pool_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .c = (int32_t)x->dim[1],
                  .ed = (int32_t)w.back[0],
                  .eh = (int32_t)w.back[1],
                  .ew = (int32_t)w.back[2],
                  .include_pad = qonnx_node_int(n, "count_include_pad", 0) != 0};
    lower_call(l, n, largest ? "f_maxpool" : "f_avgpool", &p, (Buf *[]){lower_in(l, n, 0, LAST)}, 1,
               lower_out(l, n->out[0], LAST));
    return true;
}

/* Runtimes have no integer form with the places of the maxima. */
static void maxpool_refine(const Node *n, qonnx_rule *r)
{
    if (out_used(n, 1)) *r = (qonnx_rule)RULE_APART;
}

/* ONNX Runtime's integer kernel counts what lies behind the padding, where ceil_mode lets a window
 * reach, as padding; and it knows no attribute `dilations`, whatever its values: the file is
 * refused.
 */
static void avgpool_refine(const Node *n, qonnx_rule *r)
{
    bool beyond = qonnx_node_int(n, "ceil_mode", 0) && qonnx_node_int(n, "count_include_pad", 0);
    if (beyond || qonnx_node_has(n, "dilations")) *r = (qonnx_rule)RULE_APART;
}

/* ---- on integers ----------------------------------------------------------------------------- */

static q_pool_p pool_params(const Node *n, const Window *w)
{
    const QuantNode *q = n->quant;
    const Shape *x = in_shape(n, 0);
    q_pool_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(*w),
                  .c = (int32_t)x->dim[1],
                  .x_signed = quant_signed(q->in[0].dtype),
                  .x_zero = q->in[0].zero,
                  .y_zero = q->out.zero};
    quant_clamp(q, &p.lo, &p.hi);
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

static bool mean_fits(const Node *n, const QuantNode *q)
{
    double most = (double)q->in[0].scale / (double)q->out.scale;
    const Attr *kernel = node_attr(n, "kernel_shape");
    for (int i = 0; kernel && i < kernel->count; i++) most *= (double)kernel->ints[i];
    return most <= MEAN_BOUND && q->in[0].scale > 0x1p-90f && q->in[0].scale < 0x1p90f &&
           q->out.scale > 0x1p-90f && q->out.scale < 0x1p90f;
}

/* sx / (sy * (float)count), by how many elements of a window are averaged. */
static bool mean_lower(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    Window w;
    if (!pool_window(l->cx, n, &w)) return false;
    q_pool_p p = pool_params(n, &w);
    int64_t window = w.kernel[0] * w.kernel[1] * w.kernel[2];
    if (window > 1 << 20)
        return qonnx_fail(l->cx, n, "a window of %lld elements", (long long)window);
    bool global = true;
    for (int i = 0; i < 3; i++)
        global &= w.kernel[i] == w.in[i] && w.front[i] == 0 && w.back[i] == 0;
    p.x_scale = (int32_t)quant_bits(q->in[0].scale);
    p.y_scale = (int32_t)quant_bits(q->out.scale);
    p.whole = qonnx_node_int(n, "count_include_pad", 0) != 0;
    p.shift = quant_shift(q);
    p.near = global ? 0 : mean_error(q, window);
    q_scale *s = lower_array(l, (size_t)(window + 1), sizeof *s);
    for (int64_t i = 0; i <= window; i++)
        s[i] = quant_bits(q->in[0].scale / (q->out.scale * (float)(p.whole || !i ? window : i)));
    Buf *in[2] = {lower_in(l, n, 0, LAST), lower_const(l, s, (size_t)(window + 1) * sizeof *s)};
    lower_call(l, n, "q_avgpool", &p, in, 2, lower_out(l, n->out[0], LAST));
    return true;
}

/* An average pool whose windows do not reach behind the padding, which counts there no more. */
static bool counts_inside(const Node *n)
{
    return !qonnx_node_int(n, "ceil_mode", 0) || !qonnx_node_int(n, "count_include_pad", 0);
}

static bool mean_form(const Node *n, QuantNode *q)
{
    return quantized_scales(q) && counts_inside(n) && mean_fits(n, q);
}

static const Quantized avgpool_quantized = {
    .lower = mean_lower,
    .form = mean_form,
    .clamps = true,
    .qlinear = {"QLinearAveragePool", "com.microsoft", .out = 3},
};

static const Quantized global_quantized = {
    .lower = mean_lower,
    .clamps = true,
    .qlinear = {"QLinearGlobalAveragePool", "com.microsoft", .out = 3},
};

const Op ops_pool[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"MaxPool", 1, 1, pool_shape, RULE(QONNX_RULE_SAME, 1), maxpool_refine, pool_lower,
     .takes = pool_takes},
    {"AveragePool", 1, 1, pool_shape, RULE(QONNX_RULE_OWN, 1), avgpool_refine, pool_lower,
     .takes = pool_takes, .quantized = &avgpool_quantized},
    {"GlobalAveragePool", 1, 1, global_shape, RULE(QONNX_RULE_OWN, 1), NULL, pool_lower,
     .takes = pool_takes, .quantized = &global_quantized},
    {"GlobalMaxPool", 1, 1, global_shape, RULE_FLOAT, NULL, pool_lower, .takes = pool_takes},
    {"LpPool", 1, 1, pool_shape, RULE_FLOAT, NULL, pool_lower, .takes = pool_takes},
    {"GlobalLpPool", 1, 1, global_shape, RULE_FLOAT, NULL, pool_lower, .takes = pool_takes},
    {0},
};
