/* cli/metrics/error.c - how far an output is from an array: MSE over all elements of all samples;
 * PSNR, the mean over samples of 10 log10(peak^2 / MSE), as papers on pictures have it.
 */
#include "metric.h"
#include "cli/tensor.h"
#include <math.h>

typedef struct Error {
    double sum;     /* mse: of squares; psnr: of decibels */
    size_t count;   /* elements, samples */
    size_t samples; /* that were added */
    double peak;    /* psnr: the largest value that there can be; 0: by the labels' type */
} Error;

static double squares(const Outputs *o, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double e = element(o->y, i) - element(o->want, i);
        sum += e * e;
    }
    return sum;
}

static bool add_mse(Scoring *s, const Outputs *o)
{
    Error *e = s->state;
    int64_t count = qonnx_tensor_elements(o->y);
    if (!metric_alike(s, o)) return false;
    e->sum += squares(o, count);
    e->count += (size_t)count;
    e->samples++;
    return true;
}

static bool begin_psnr(Scoring *s)
{
    Error *e = s->state;
    return !metric_option(s, "peak") || metric_real(s, "peak", 1e-300, 1e300, &e->peak);
}

static bool add_psnr(Scoring *s, const Outputs *o)
{
    Error *e = s->state;
    int64_t count = qonnx_tensor_elements(o->y);
    double peak = e->peak ? e->peak : o->want->dtype == QONNX_UINT8 ? 255 : 0;
    if (!metric_alike(s, o)) return false;
    if (!peak)
        return metric_fail(s,
                           "what is compared with is %s, which does not say how large values "
                           "can be; give it: psnr{peak=1}",
                           qonnx_dtype_name(o->want->dtype));
    double sum = squares(o, count);
    e->sum += sum > 0 ? 10 * log10(peak * peak * (double)count / sum) : sum == 0 ? INFINITY : NAN;
    e->count++;
    e->samples++;
    return true;
}

static bool end(Scoring *s, Score *out)
{
    const Error *e = s->state;
    out->known = e->count;
    out->samples = e->samples;
    out->value = e->count ? e->sum / (double)e->count : 0;
    return true;
}

static const MetricOption peak[] = {
    {"peak", NULL, "the largest value that there can be; 255 for labels in uint8"}, {.name = NULL}};

const Metric metric_mse = {.name = "mse",
                           .title = "MSE",
                           .brief = "mean square of the difference, over all elements",
                           .labels = LABEL_ARRAY,
                           .unit = UNIT_NUMBER,
                           .state = sizeof(Error),
                           .add = add_mse,
                           .end = end};
const Metric metric_psnr = {.name = "psnr",
                            .title = "PSNR",
                            .brief = "10 log10(peak^2 / MSE) of each sample, their mean",
                            .options = peak,
                            .labels = LABEL_ARRAY,
                            .unit = UNIT_DECIBELS,
                            .state = sizeof(Error),
                            .begin = begin_psnr,
                            .add = add_psnr,
                            .end = end};
