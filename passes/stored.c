/* passes/stored.c - see stored.h. */
#include "stored.h"
#include "names.h"
#include "quantizable.h"

static const qonnx_grid grid = {QONNX_INT8, -127, 127, true};

/* The scale of each channel: its largest element is the last integer. */
static void choose_scales(const Stored *s)
{
    for (int64_t i = 0; i < s->outer * s->channels * s->inner; i++) {
        float *most = &s->scales[i / s->inner % s->channels];
        float x = fabsf(quantizable_float(s->data, i));
        if (x > *most) *most = x;
    }
    for (int64_t c = 0; c < s->channels; c++) {
        int zero;
        double most = (double)s->scales[c];
        qonnx_grid_params(&grid, -most, most, &s->scales[c], &zero);
    }
}

void stored_round(Stored *s, qonnx_value *v, int axis)
{
    qonnx_graph *g = qonnx_value_graph(v);
    const qonnx_tensor *t = qonnx_value_constant(v);
    *s = (Stored){.value = v, .outer = 1, .channels = t->dims[axis], .inner = 1, .data = t->data};
    for (int i = 0; i < axis; i++) s->outer *= t->dims[i];
    for (int i = axis + 1; i < t->rank; i++) s->inner *= t->dims[i];
    s->scales = qonnx_graph_array(g, (size_t)s->channels, sizeof *s->scales);
    s->integers = qonnx_graph_array(g, (size_t)qonnx_tensor_elements(t), 1);
    choose_scales(s);
    for (int64_t i = 0; i < qonnx_tensor_elements(t); i++) {
        float x = quantizable_float(s->data, i);
        qonnx_grid_quantize(&grid, &x, 1, s->scales[i / s->inner % s->channels], 0,
                            &s->integers[i]);
    }
}

/* The noise of a slice as a part of its signal. */
static double slice_noise(const Stored *s, int64_t slice)
{
    double signal = 0, noise = 0;
    const int64_t count = s->channels * s->inner;
    for (int64_t i = slice * count; i < (slice + 1) * count; i++) {
        double x = (double)quantizable_float(s->data, i);
        double scale = (double)s->scales[i / s->inner % s->channels];
        double error = x - (double)s->integers[i] * scale;
        signal += x * x;
        noise += error * error;
    }
    return noise == 0 ? 0 : noise / signal;
}

double stored_sqnr(const Stored *s)
{
    double sum = 0;
    for (int64_t i = 0; i < s->outer; i++) sum += slice_noise(s, i);
    return sum == 0 ? INFINITY : -10 * log10(sum / (double)s->outer);
}

bool stored_keeps(qonnx_ctx *cx, const qonnx_job *job, const Stored *s, const char *what)
{
    double sqnr = stored_sqnr(s);
    if (sqnr >= qonnx_job_number(job, "sqnr")) return true;
    qonnx_note(cx, NULL, "the %s '%.120s' stays in float: in int8 it would have %.1f dB", what,
               qonnx_value_name(s->value), sqnr);
    return false;
}

void stored_add(const Stored *s, qonnx_value *parts[3])
{
    qonnx_graph *g = qonnx_value_graph(s->value);
    const char *name = qonnx_value_name(s->value);
    const size_t count = (size_t)s->channels;
    qonnx_tensor q = *qonnx_value_constant(s->value);
    q.dtype = QONNX_INT8;
    q.data = s->integers;
    q.bytes = (size_t)qonnx_tensor_elements(&q);
    qonnx_tensor scales = {QONNX_FLOAT, 1, {s->channels}, s->scales, count * sizeof(float)};
    qonnx_tensor zeros = {QONNX_INT8, 1, {s->channels}, qonnx_graph_alloc(g, count), count};
    parts[0] = qonnx_graph_add_constant(g, name_join(g, name, "_quantized"), &q);
    parts[1] = qonnx_graph_add_constant(g, name_join(g, name, "_scale"), &scales);
    parts[2] = qonnx_graph_add_constant(g, name_join(g, name, "_zero_point"), &zeros);
}

void stored_dequantize(qonnx_graph *g, qonnx_node *before, qonnx_value *const parts[3], int axis,
                       qonnx_value *y)
{
    const char *name = name_join(g, qonnx_value_name(y), "_DequantizeLinear");
    qonnx_node *n =
        qonnx_graph_add_node(g, before, "DequantizeLinear", "", name, parts, 3, &y, 1);
    qonnx_node_set_int(n, "axis", axis);
}
