/* lower/quantized.c - quantized operators: shapes as ONNX's operator has them, integer kernels.
 * Multipliers are computed here as ONNX Runtime computes them, in float32 and in its order. The
 * operators' own forms are in their families' files, ops/; what many share is here.
 */
#include "lower/quantized.h"
#include "kernels/q_params.h"
#include "lower/lower.h"
#include <float.h>
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

q_scale quant_bits(float multiplier)
{
    q_scale bits;
    memcpy(&bits, &multiplier, sizeof bits);
    return bits;
}

void quant_clamp(const QuantNode *q, int32_t *lo, int32_t *hi)
{
    quant_limits(q->out.dtype, lo, hi);
    if (q->lo > -INFINITY) *lo = quant_value(&q->out, q->lo);
    if (q->hi < INFINITY) *hi = quant_value(&q->out, q->hi);
}

int quant_shift(const QuantNode *q) { return q->as_uint8 && q->out.dtype == QONNX_INT8 ? 128 : 0; }

int quant_signed(DType t) { return t == QONNX_INT8; }

bool quantized_shape(Ctx *cx, Node *n)
{
    const QuantNode *q = n->quant;
    for (int i = 0; i < (q->weight ? 1 : n->nin); i++) {
        DType t = in_dtype(n, i), want = q->in[i].dtype;
        if (t && t != want)
            return qonnx_fail(cx, n, "operand %d is %s, its zero point %s", i, qonnx_dtype_name(t),
                              qonnx_dtype_name(want));
    }
    if (!n->row->shape(cx, n)) return false;
    if (n->out[0]) n->out[0]->dtype = q->out.dtype;
    return true;
}

bool quantized_scales(const QuantNode *q) { return quantized_multiplies(q, q->in[0].scale); }

bool quantized_multiplies(const QuantNode *q, float input)
{
    for (int i = 0; i < (q->weight ? q->nweight : 1); i++) {
        float m = (q->weight ? input * q->weight[i] : input) / q->out.scale;
        if (!(m >= FLT_MIN && m <= FLT_MAX)) return false;
    }
    return true;
}

/* ---- weighted operators ---------------------------------------------------------------------- */

Buf *quant_bias(Lower *l, const Tensor *w, const Value *bias, int zero, int64_t outputs,
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

Buf *quant_multipliers(Lower *l, const QuantNode *q, int64_t outputs)
{
    q_scale *s = lower_array(l, (size_t)outputs, sizeof *s);
    for (int64_t o = 0; o < outputs; o++)
        s[o] = quant_bits(q->in[0].scale * q->weight[q->nweight > 1 ? o : 0] / q->out.scale);
    return lower_const(l, s, (size_t)outputs * sizeof *s);
}

/* ---- tables of 256 bytes -------------------------------------------------------------------- */

Buf *quant_table(Lower *l, const QuantParams *in, const QuantParams *out,
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

bool quant_table_lower(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    f_unary_p u;
    if (!unary_params(n, &u)) u = (f_unary_p){.op = F_CLIP, .lo = q->lo, .hi = q->hi};
    Layout at = lower_layout(l, n, 0);
    q_table_p p = {(int32_t)shape_elements(in_shape(n, 0))};
    Buf *in[2] = {lower_in(l, n, 0, at), quant_table(l, &q->in[0], &q->out, apply_unary, &u)};
    lower_call(l, n, "q_table", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}
