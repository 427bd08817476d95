/* ops/quant.c - the arithmetic of quantization: scales and zero points, integers from floats,
 * quantized weights. include/qonnx/quant.h states the formulas.
 */
#include <qonnx/quant.h>
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- grids ----------------------------------------------------------------------------------- */

/* The least power of two that is not below x > 0. */
static double next_power(double x)
{
    int exponent;
    return frexp(x, &exponent) == 0.5 ? x : ldexp(1, exponent);
}

/* The steps follow ONNX Runtime's compute_scale_zp, so that equal ranges give equal bits: the zero
 * point is rounded with the scale still in double. */
void qonnx_grid_params(const qonnx_grid *grid, double lo, double hi, float *scale, int *zero_point)
{
    lo = fmin(lo, 0);
    hi = fmax(hi, 0);
    if (grid->symmetric) {
        hi = fmax(-lo, hi);
        lo = -hi;
    }
    double step = (hi - lo) / ((double)grid->qmax - grid->qmin);
    if (step < FLT_MIN) {
        *scale = 1;
        *zero_point = 0;
        return;
    }
    if (grid->pow2) step = next_power(step);
    double middle = ((double)grid->qmax + grid->qmin) / 2;
    *zero_point = (int)rint(grid->symmetric ? middle : grid->qmin - lo / step);
    *scale = (float)step;
}

/* One value, saturated to [qmin, qmax]; NaN gives qmin. */
static int quantize_one(const qonnx_grid *grid, float x, float scale, int zero_point)
{
    double q = (double)rintf(x / scale) + zero_point;
    return q > grid->qmin ? q < grid->qmax ? (int)q : grid->qmax : grid->qmin;
}

void qonnx_grid_quantize(const qonnx_grid *grid, const float *x, int64_t n, float scale,
                         int zero_point, void *out)
{
    bool wide = qonnx_dtype_bits(grid->dtype) == 16;
    assert(wide || qonnx_dtype_bits(grid->dtype) == 8);
    for (int64_t i = 0; i < n; i++) {
        int q = quantize_one(grid, x[i], scale, zero_point);
        if (wide) ((uint16_t *)out)[i] = (uint16_t)q;
        else ((uint8_t *)out)[i] = (uint8_t)q;
    }
}

/* As ONNX Runtime's get_qmin_qmax_for_qType. */
qonnx_grid qonnx_grid_of(qonnx_dtype dtype, bool symmetric, bool reduced)
{
    const int bits = qonnx_dtype_bits(dtype), half = 1 << (bits - 1);
    const bool is_signed = dtype == QONNX_INT8 || dtype == QONNX_INT16;
    assert(bits == 8 || bits == 16);
    if (is_signed && reduced) return (qonnx_grid){dtype, -half / 2, half / 2, symmetric};
    if (is_signed) return (qonnx_grid){dtype, symmetric ? 1 - half : -half, half - 1, symmetric};
    return (qonnx_grid){dtype, 0, reduced ? half - 1 : 2 * half - 1, symmetric};
}

bool qonnx_value_kept_params(const qonnx_value *v, const qonnx_grid *grid, float *scale,
                             int *zero_point)
{
    const qonnx_kept *k = qonnx_value_kept(v);
    if (!k || !k->scales || qonnx_tensor_elements(k->scales) != 1 || grid->symmetric ||
        grid->qmax - grid->qmin != UINT8_MAX ||
        (k->dtype != QONNX_UINT8 && k->dtype != QONNX_INT8))
        return false;
    int zero = k->zero_points ? (int)qonnx_tensor_get(k->zero_points, 0) : 0;
    *scale = (float)qonnx_tensor_get(k->scales, 0);
    *zero_point = zero + grid->qmin - (k->dtype == QONNX_INT8 ? INT8_MIN : 0);
    return true;
}

/* ---- weights --------------------------------------------------------------------------------- */

/* A weight as [outer][channels][inner], the channels being what has scales of its own. */
typedef struct WeightView {
    int64_t outer, channels, inner;
} WeightView;

static WeightView weight_view(const qonnx_tensor *w, int axis)
{
    WeightView v = {1, 1, 1};
    for (int i = 0; i < w->rank; i++)
        *(axis < 0 || i > axis ? &v.inner : i < axis ? &v.outer : &v.channels) *= w->dims[i];
    return v;
}

/* Element i of a float tensor, whose data may be unaligned. */
static float load_float(const qonnx_tensor *t, int64_t i)
{
    float x;
    memcpy(&x, (const char *)t->data + (size_t)i * sizeof x, sizeof x);
    return x;
}

/* The largest finite magnitude in channel c. */
static double channel_absmax(const qonnx_tensor *w, WeightView v, int64_t c)
{
    float max = 0;
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            float x = fabsf(load_float(w, (o * v.channels + c) * v.inner + i));
            if (x > max && x <= FLT_MAX) max = x;
        }
    return max;
}

/* The weight scale, raised where |bias| would not fit 32 bits at scale input_scale * scale: ONNX
 * Runtime's rule (base_quantizer.py, _adjust_weight_scale_for_int32_bias). */
static float raise_for_bias(float scale, float input_scale, double bias)
{
    double steps = 2.0 * INT32_MAX, least = 1.0001 * (2.0 * bias) / steps;
    double now = (double)input_scale * scale;
    return now > 0 && now < least ? (float)(scale * (least / now)) : scale;
}

static void quantize_channel(const qonnx_tensor *w, WeightView v, int64_t c, const qonnx_grid *grid,
                             float scale, int8_t *out)
{
    for (int64_t o = 0; o < v.outer; o++) {
        int64_t at = (o * v.channels + c) * v.inner;
        for (int64_t i = 0; i < v.inner; i++)
            out[at + i] = (int8_t)quantize_one(grid, load_float(w, at + i), scale, 0);
    }
}

/* ---- weights that have integers already ------------------------------------------------------ */

/* The integers that a weight has, less their zero points. */
typedef struct Levels {
    const qonnx_kept *kept; /* NULL: it has none that could be used */
    int lo, hi;             /* what the grid holds: -128, too, where 127 is its end */
} Levels;

/* Whether they have one scale, or one for each place of the axis. */
static Levels levels_of(const qonnx_value *value, int axis, const qonnx_grid *grid)
{
    const qonnx_kept *k = qonnx_value_kept(value);
    const qonnx_tensor *w = qonnx_value_constant(value);
    Levels l = {NULL, grid->qmax == INT8_MAX ? INT8_MIN : grid->qmin, grid->qmax};
    if (!k || !k->integers || k->block ||
        qonnx_tensor_elements(k->integers) != qonnx_tensor_elements(w))
        return l;
    int64_t count = qonnx_tensor_elements(k->scales);
    if (count == 1 || (axis >= 0 && k->axis == axis && count == w->dims[axis])) l.kept = k;
    return l;
}

static float level_scale(const Levels *l, int64_t channel)
{
    bool one = qonnx_tensor_elements(l->kept->scales) == 1;
    return (float)qonnx_tensor_get(l->kept->scales, one ? 0 : channel);
}

/* Takes over the integers of channel c; false where one of them is not on the grid, or there is no
 * scale to go with them. */
static bool take_levels(const Levels *l, WeightView v, int64_t c, int8_t *out)
{
    const qonnx_tensor *zeros = l->kept->zero_points;
    int zero = 0;
    if (zeros) zero = (int)qonnx_tensor_get(zeros, qonnx_tensor_elements(zeros) == 1 ? 0 : c);
    if (!(level_scale(l, c) > 0)) return false;
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            int64_t at = (o * v.channels + c) * v.inner + i;
            double level = qonnx_tensor_get(l->kept->integers, at) - zero;
            if (level < l->lo || level > l->hi) return false;
            out[at] = (int8_t)level;
        }
    return true;
}

/* The scale of channel c of a weight, of which `first` to `last` are the biases that must fit. */
static float raised_scale(float scale, float input_scale, const float *bias, int64_t first,
                          int64_t last)
{
    for (int64_t k = first; bias && input_scale > 0 && k <= last; k++)
        scale = raise_for_bias(scale, input_scale, fabs((double)bias[k]));
    return scale;
}

/* Whether a weight with one scale stays as it is: then one scale is enough. */
static bool stays_whole(const Levels *l, const qonnx_tensor *w, float input_scale,
                        const float *bias, int64_t channels, int8_t *out)
{
    if (!l->kept || qonnx_tensor_elements(l->kept->scales) != 1) return false;
    float scale = level_scale(l, 0);
    return take_levels(l, weight_view(w, -1), 0, out) &&
           raised_scale(scale, input_scale, bias, 0, channels - 1) == scale;
}

/* The biases behind a weight, which must fit 32 bits. */
typedef struct Biases {
    const float *bias; /* one per output channel; NULL: none */
    float input_scale; /* <= 0: they do not matter */
    int64_t outputs;   /* channels */
} Biases;

static void copy_channel(WeightView v, int64_t c, const int8_t *from, int8_t *out)
{
    for (int64_t o = 0; o < v.outer; o++) {
        int64_t at = (o * v.channels + c) * v.inner;
        memcpy(out + at, from + at, (size_t)v.inner);
    }
}

/* Chooses the scale of channel c, and gives its integers; `given`: the scale that it must have, or
 * 0. */
static void quantize_one_channel(const qonnx_tensor *w, WeightView v, int64_t c,
                                 const qonnx_grid *grid, const Levels *levels, const Biases *b,
                                 float given, const int8_t *integers,
                                 const qonnx_weight_params *out)
{
    /* one scale for all must hold the bias of every channel */
    int64_t first = out->axis < 0 ? 0 : c, last = out->axis < 0 ? b->outputs - 1 : c;
    float *scale = &out->scales[c];
    int zero_point;
    if (!given && levels->kept && take_levels(levels, v, c, out->data)) {
        *scale = level_scale(levels, c);
        if (raised_scale(*scale, b->input_scale, b->bias, first, last) == *scale) return;
    }
    double absmax = channel_absmax(w, v, c);
    if (given) *scale = given;
    else qonnx_grid_params(grid, -absmax, absmax, scale, &zero_point);
    *scale = raised_scale(*scale, b->input_scale, b->bias, first, last);
    if (grid->pow2) *scale = (float)next_power((double)*scale);
    if (integers && *scale == given) copy_channel(v, c, integers, out->data);
    else quantize_channel(w, v, c, grid, *scale, out->data);
}

bool qonnx_node_quantize_weight(const qonnx_node *n, const qonnx_grid *grid, bool per_channel,
                                float input_scale, const float *bias, qonnx_weight_params *out)
{
    static const qonnx_override none;
    qonnx_rule rule = qonnx_node_rule(n);
    const qonnx_value *value = rule.weight >= 0 ? qonnx_node_input(n, rule.weight) : NULL;
    const qonnx_tensor *w = value ? qonnx_value_constant(value) : NULL;
    if (!w || w->dtype != QONNX_FLOAT || rule.weight_axis >= w->rank) return false;
    const qonnx_override *o = qonnx_value_override(value);
    if (!o) o = &none;
    if (o->grid.dtype != QONNX_UNDEFINED) grid = &o->grid;
    if (grid->dtype != QONNX_INT8 || !grid->symmetric) return false;
    per_channel = per_channel && !o->per_tensor && (!o->scales || o->count > 1);

    /* A stack of matrices gets one scale: ONNX Runtime's QLinearMatMul takes no more. */
    bool stack = qonnx_node_is(n, "MatMul") && w->rank > 2;
    int axis = per_channel && !stack ? rule.weight_axis : -1;
    Biases b = {bias, input_scale, rule.weight_axis >= 0 ? w->dims[rule.weight_axis] : 0};
    qonnx_graph *g = qonnx_node_graph(n);
    int8_t *data = qonnx_graph_alloc(g, (size_t)qonnx_tensor_elements(w));
    Levels levels = levels_of(value, axis, grid);
    if (!o->scales && stays_whole(&levels, w, input_scale, bias, b.outputs, data)) axis = -1;
    WeightView v = weight_view(w, axis);
    if (o->scales && o->count != 1 && o->count != v.channels) return false;
    *out = (qonnx_weight_params){
        .axis = axis,
        .count = (int)v.channels,
        .scales = qonnx_graph_array(g, (size_t)v.channels, sizeof(float)),
        .data = data,
    };
    for (int64_t c = 0; c < v.channels; c++) {
        float given = o->scales ? o->scales[o->count > 1 ? c : 0] : 0;
        quantize_one_channel(w, v, c, grid, &levels, &b, given, o->integers, out);
    }
    return true;
}
