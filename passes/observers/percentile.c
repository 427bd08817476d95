/* passes/observers/percentile.c - cuts off a share of the values.
 *
 * One-sided values (none negative, or none positive) are cut at the far end alone: `p` percent of
 * all values lie inside. Where both signs occur each end is cut by half of 100 - p percent.
 */
#include <qonnx/pass.h>

#include <math.h>

__extension__ typedef unsigned __int128 Wide;

/* A whole: percent in units of 1e-9, so that 99.999 and its like are exact. */
static const uint64_t whole = 100000000000u;

/* The edge away from the first bin, in the given direction, of the bin that holds the rank-th
 * value, counted from 1. */
static float edge(const qonnx_histogram *h, uint64_t rank, bool upwards)
{
    uint64_t seen = 0;
    int i = 0;
    for (; i < h->nbins - 1; i++) {
        seen += h->bins[upwards ? i : h->nbins - 1 - i].count;
        if (seen >= rank) break;
    }
    return upwards ? h->bins[i].hi : h->bins[h->nbins - 1 - i].lo;
}

static bool range(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi)
{
    (void)grid;
    double p = qonnx_job_number(job, "p");
    if (!(p > 0 && p <= 100))
        return qonnx_fail(cx, NULL, "percentile: p is %g, wanted more than 0 and at most 100", p);
    uint64_t inside = (uint64_t)(p * 1e9 + 0.5), n = h->count - h->nan - h->inf;
    bool both = h->min < 0 && h->max > 0;
    if (both) inside = (inside + whole) / 2;
    uint64_t rank = (uint64_t)(((Wide)inside * n + whole - 1) / whole);
    *lo = h->min;
    *hi = h->max;
    if (h->min < 0) *lo = fmaxf(h->min, edge(h, rank, false));
    if (h->max > 0) *hi = fminf(h->max, edge(h, rank, true));
    return true;
}

static const qonnx_option options[] = {
    {"p", "99.999", "percent of the values that stay inside the range"},
    {0},
};

const qonnx_observer observer_percentile = {
    .size = sizeof(qonnx_observer),
    .name = "percentile",
    .brief = "the range that holds p percent of the values",
    .options = options,
    .range = range,
};
