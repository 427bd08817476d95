/* my_plugin.c - a plugin of qonnx to start yours from: the pass cap-range and the observer absmax.
 * Read it from the bottom; qonnx/pass.h says what each callback may do.
 *
 *   qonnx quantize model.onnx --data photos/ -o out.onnx --plugin ./my-plugin.so \
 *       --observer absmax --pass 'cap-range{most=20}@calibrate'
 */
#include <qonnx/qonnx.h>
#include <math.h>

/* ---- a pass ---------------------------------------------------------------------------------- */

/* Ranges are there once the pass calibrate has run, so this one goes behind it. */
static bool cap_range(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    float lo, hi, most = (float)qonnx_job_number(job, "most");
    if (!(most > 0)) return qonnx_fail(cx, NULL, "most is %g, want a number above 0", most);
    for (int i = 0; i < qonnx_graph_values(g); i++) {
        qonnx_value *v = qonnx_graph_value(g, i);
        if (!qonnx_value_range(v, &lo, &hi) || (lo >= -most && hi <= most)) continue;
        qonnx_note(cx, NULL, "'%s': [%g, %g] is cut to %g", qonnx_value_name(v), lo, hi, most);
        qonnx_value_set_range(v, fmaxf(lo, -most), fminf(hi, most));
    }
    return true;
}

static const qonnx_option cap_range_options[] = {
    {"most", "20", "the largest magnitude that a range may keep"},
    {0},
};

static const qonnx_pass pass = {
    .size = sizeof(qonnx_pass),
    .name = "cap-range",
    .brief = "cut the ranges of activations to a largest magnitude",
    .options = cap_range_options,
    .run = cap_range,
};

/* ---- an observer ----------------------------------------------------------------------------- */

static bool absmax(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                   const qonnx_job *job, float *lo, float *hi)
{
    (void)cx, (void)grid, (void)job;
    *hi = fmaxf(fabsf(h->min), fabsf(h->max));
    *lo = -*hi;
    return true;
}

static const qonnx_observer observer = {
    .size = sizeof(qonnx_observer),
    .name = "absmax",
    .brief = "as far to both sides as the largest magnitude",
    .range = absmax,
};

/* ---- the plugin ------------------------------------------------------------------------------ */

static const qonnx_pass *const passes[] = {&pass, NULL};
static const qonnx_observer *const observers[] = {&observer, NULL};

static const qonnx_plugin plugin = {
    .abi = QONNX_ABI,
    .name = "my-plugin",
    .version = "1.0",
    .passes = passes,
    .observers = observers,
};

const qonnx_plugin *qonnx_plugin_query(uint32_t host_abi)
{
    return host_abi == QONNX_ABI ? &plugin : NULL;
}
