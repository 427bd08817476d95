/* ops/qdq.c - QuantizeLinear and DequantizeLinear: one scale for a tensor, one for each place of an
 * axis, or one for each block along an axis.
 */
#include "kernels/quantize.h"
#include "ir/size.h"
#include "lower/lower.h"

/* How scales are spread over a tensor. */
typedef struct Spread {
    int axis;      /* -1: one for all */
    int64_t block; /* elements along the axis that share one; 0: each place of the axis has one */
} Spread;

/* Whether scales in blocks have the tensor's shape, but for that axis. */
static bool blocks_fit(Ctx *cx, const Node *n, const Spread *d)
{
    const Shape *x = in_shape(n, 0), *s = in_shape(n, 1);
    if (s->rank != x->rank)
        return qonnx_fail(cx, n, "scales of rank %d for blocks of an input of rank %d", s->rank,
                          x->rank);
    for (int i = 0; i < x->rank; i++) {
        int64_t want = x->dim[i];
        if (i == d->axis && want > 0) want = (want - 1) / d->block + 1;
        if (!sizes_agree(s->dim[i], want))
            return qonnx_fail(cx, n, "%lld scales along axis %d of size %lld, want %lld (blocks of "
                              "%lld along axis %d)", (long long)s->dim[i], i, (long long)x->dim[i],
                              (long long)want, (long long)d->block, d->axis);
    }
    return true;
}

static bool scales_fit(Ctx *cx, const Node *n, Spread *d)
{
    const Shape *x = in_shape(n, 0), *s = in_shape(n, 1);
    *d = (Spread){-1, qonnx_node_int(n, "block_size", 0)};
    if (d->block < 0)
        return qonnx_fail(cx, n, "block_size is %lld, want a positive number", (long long)d->block);
    if (!x || !s || s->rank == 0 || (s->rank == 1 && s->dim[0] == 1)) return true;
    if (s->rank != 1 && !d->block)
        return qonnx_fail(cx, n, "scales of rank %d without a block_size; want one, or a list of "
                          "one for each place of an axis", s->rank);
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", 1), x->rank, &d->axis)) return false;
    if (d->block) return blocks_fit(cx, n, d);
    return sizes_agree(s->dim[0], x->dim[d->axis]) ||
           qonnx_fail(cx, n, "%lld scales for an axis of size %lld", (long long)s->dim[0],
                      (long long)x->dim[d->axis]);
}

/* Whether the zero point is of the integers' type. */
static bool zero_fits(Ctx *cx, const Node *n, DType integer)
{
    DType zero = in_dtype(n, 2);
    return !zero || !integer || zero == integer ||
           qonnx_fail(cx, n, "the zero point is %s, the integers are %s", qonnx_dtype_name(zero),
                      qonnx_dtype_name(integer));
}

/* The attribute output_dtype; QONNX_UNDEFINED: it is left out. */
static bool output_type(Ctx *cx, const Node *n, DType *t)
{
    int64_t to = qonnx_node_int(n, "output_dtype", 0);
    *t = to > 0 && to < 64 ? (DType)to : QONNX_UNDEFINED;
    return !to || qonnx_dtype_bits(*t) ||
           qonnx_fail(cx, n, "attribute output_dtype is no known type");
}

static bool quantize_shape(Ctx *cx, Node *n)
{
    Spread d;
    DType t;
    if (!scales_fit(cx, n, &d) || !output_type(cx, n, &t)) return false;
    if (!t) t = qonnx_node_input(n, 2) ? in_dtype(n, 2) : QONNX_UINT8;
    return zero_fits(cx, n, t) && out_shape(cx, n, 0, t, in_shape(n, 0));
}

static bool dequantize_shape(Ctx *cx, Node *n)
{
    Spread d;
    DType t;
    if (!scales_fit(cx, n, &d) || !output_type(cx, n, &t)) return false;
    if (!t) t = in_dtype(n, 1);
    return zero_fits(cx, n, in_dtype(n, 0)) && out_shape(cx, n, 0, t, in_shape(n, 0));
}

/* The tensor as the kernel goes through it. Blocks of a last axis that has whole ones are as many
 * channels. */
static quantize_p walk_of(const Node *n, Spread d, Layout at)
{
    const Shape *x = in_shape(n, 0);
    quantize_p p = {1, 1, 1, 0, 0, 1, 0};
    int order[QONNX_MAX_RANK];
    bool behind = false;
    layout_order(x->rank, at, order);
    for (int i = 0; i < x->rank; i++) {
        if (order[i] == d.axis) p.channels = (int32_t)x->dim[d.axis], behind = true;
        else *(behind ? &p.inner : &p.outer) *= (int32_t)x->dim[order[i]];
    }
    if (d.axis < 0) p.inner = p.outer, p.outer = 1;
    if (d.axis >= 0) p.block = (int32_t)(d.block < p.channels ? d.block : p.channels);
    if (p.block && p.inner == 1 && p.channels % p.block == 0) {
        p.inner = p.block;
        p.channels = p.outer * (p.channels / p.block);
        p.outer = 1;
        p.block = 0;
    }
    return p;
}

/* Input i, a float or what is exactly one. */
static Buf *float_in(Lower *l, const Node *n, int i, Layout at)
{
    int64_t count = shape_elements(in_shape(n, i));
    return lower_cast(l, n, in_dtype(n, i), QONNX_FLOAT, count, lower_in(l, n, i, at));
}

/* Both directions: `integer` is the type on the integer side. */
static bool emit_qdq(Lower *l, Node *n, const char *kernel, DType integer)
{
    const Value *zero = qonnx_node_input(n, 2);
    Spread d;
    if (!scales_fit(l->cx, n, &d)) return false;
    if (zero && shape_elements(&zero->shape) != shape_elements(in_shape(n, 1)))
        return qonnx_fail(l->cx, n, "scale and zero point have different shapes");
    Layout at = d.block ? PLAIN : lower_layout(l, n, 0);
    bool quantizes = integer != in_dtype(n, 0);
    quantize_p p = walk_of(n, d, at);
    p.dtype = (int32_t)integer;
    p.saturate = qonnx_node_int(n, "saturate", 1) != 0;
    int64_t precision = qonnx_node_int(n, "precision", 0);
    if (precision == QONNX_FLOAT16 || precision == QONNX_BFLOAT16) p.precision = (int32_t)precision;
    Buf *in[3] = {quantizes ? float_in(l, n, 0, at) : lower_in(l, n, 0, at),
                  float_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, kernel, &p, in, 3, lower_out(l, n->out[0], at));
    return true;
}

/* ---- what can be run ------------------------------------------------------------------------- */

enum {
    QUANTIZED = 1u << QONNX_UINT8 | 1u << QONNX_INT8 | 1u << QONNX_UINT16 | 1u << QONNX_INT16 |
                TINY_INTEGERS | (TINY_FLOATS & ~(1u << QONNX_FLOAT8E8M0)),
    FLOAT_OR_INT32 = 1u << QONNX_FLOAT | 1u << QONNX_INT32,
    SCALES = 1u << QONNX_FLOAT | 1u << QONNX_FLOAT8E8M0,
};

static bool takes_integers(Why *why, DType t, unsigned types)
{
    return !t || has_type(types, t) || why_not(why, "type %s", qonnx_dtype_name(t));
}

static bool quantize_takes(Why *why, const Node *n)
{
    const Value *y = qonnx_node_output(n, 0);
    int64_t precision = qonnx_node_int(n, "precision", 0);
    if (precision && !has_type(FLOATS & ~(1u << QONNX_DOUBLE), (DType)precision))
        return why_not(why, "precision %lld", (long long)precision);
    return takes_types(why, n, 0, FLOAT_OR_INT32) &&
           takes_integers(why, y ? y->dtype : QONNX_UNDEFINED, QUANTIZED) &&
           takes_types(why, n, 1, SCALES | FLOAT_OR_INT32);
}

static bool dequantize_takes(Why *why, const Node *n)
{
    const Value *y = qonnx_node_output(n, 0);
    if (y && y->dtype && y->dtype != QONNX_FLOAT)
        return why_not(why, "its output is %s", qonnx_dtype_name(y->dtype));
    return takes_integers(why, in_dtype(n, 0), QUANTIZED | 1u << QONNX_INT32) &&
           takes_types(why, n, 1, SCALES);
}

static bool quantize_lower(Lower *l, Node *n)
{
    return emit_qdq(l, n, "quantize", n->out[0]->dtype);
}

static bool dequantize_lower(Lower *l, Node *n)
{
    return emit_qdq(l, n, "dequantize", in_dtype(n, 0));
}

const Op ops_qdq[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"QuantizeLinear", 2, 3, quantize_shape, RULE_FLOAT, NULL, quantize_lower,
     .takes = quantize_takes},
    {"DequantizeLinear", 2, 3, dequantize_shape, RULE_FLOAT, NULL, dequantize_lower,
     .takes = dequantize_takes},
    {0},
};
