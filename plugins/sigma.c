/* plugins/sigma.c - the observer sigma: the mean and so many standard deviations to both sides of
 * it, cut at the exact extremes. Exact zeros do not count: Relu and padding leave any number of
 * them, and zero costs nothing to represent.
 */
#include <qonnx/pass.h>
#include <math.h>

/* Mean and standard deviation of the values that are not zero, each taken at the middle of its bin,
 * which is at most 1/512 of the value away. Both are 0 where all are zero. */
static void moments(const qonnx_histogram *h, double *mean, double *deviation)
{
    double n = 0, sum = 0, squares = 0;
    *mean = *deviation = 0;
    for (const qonnx_bin *b = h->bins; b < h->bins + h->nbins; b++) {
        if (b->lo == 0 && b->hi == 0) continue;
        n += (double)b->count;
        sum += (double)b->count * (((double)b->lo + b->hi) / 2);
    }
    if (n == 0) return;
    *mean = sum / n;
    for (const qonnx_bin *b = h->bins; b < h->bins + h->nbins; b++) {
        if (b->lo == 0 && b->hi == 0) continue;
        double d = ((double)b->lo + b->hi) / 2 - *mean;
        squares += (double)b->count * d * d;
    }
    *deviation = sqrt(squares / n);
}

static bool range(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi)
{
    (void)grid;
    double k = qonnx_job_number(job, "k"), mean, deviation;
    if (!(k > 0)) return qonnx_fail(cx, NULL, "k is %g, want a number above 0", k);
    moments(h, &mean, &deviation);
    mean = fmin(fmax(mean, h->min), h->max);
    *lo = (float)fmax(h->min, mean - k * deviation);
    *hi = (float)fmin(h->max, mean + k * deviation);
    return true;
}

static const qonnx_option options[] = {
    {"k", "4", "standard deviations to each side of the mean"},
    {0},
};

static const qonnx_observer sigma = {
    .size = sizeof(qonnx_observer),
    .name = "sigma",
    .brief = "the mean and k standard deviations to both sides, zeros not counted",
    .options = options,
    .range = range,
};

static const qonnx_observer *const observers[] = {&sigma, NULL};

static const qonnx_plugin plugin = {
    .abi = QONNX_ABI,
    .name = "sigma",
    .version = "1.0",
    .observers = observers,
};

const qonnx_plugin *qonnx_plugin_query(uint32_t host_abi)
{
    return host_abi == QONNX_ABI ? &plugin : NULL;
}
