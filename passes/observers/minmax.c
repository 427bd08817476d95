/* passes/observers/minmax.c - the exact extremes.
 */
#include <qonnx/pass.h>

static bool range(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi)
{
    (void)cx, (void)grid, (void)job;
    *lo = h->min;
    *hi = h->max;
    return true;
}

const qonnx_observer observer_minmax = {
    .size = sizeof(qonnx_observer),
    .name = "minmax",
    .brief = "the exact extremes: nothing is clipped",
    .range = range,
};
