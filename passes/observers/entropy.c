/* passes/observers/entropy.c - the clipping threshold that loses the least information: the least
 * Kullback-Leibler divergence between the values and the values quantized.
 *
 * Magnitudes are counted in 2,048 linear levels of the absolute maximum, a bin's count spread
 * evenly over its width; zeros stand apart. A threshold keeps the first i levels: P is these with
 * everything above added to the last; Q merges them into as many steps as the integers have on one
 * side, each step's count spread evenly over its levels that are not empty. Among the thresholds
 * within 1 % of the least divergence the largest is taken, because the minimum is often flat.
 */
#include <qonnx/pass.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS = 2048, SIGNED_STEPS = 128, ONE_SIDED_STEPS = 255 };

/* Divergences closer than this are equal: it covers rounding. */
static const double noise = 1e-9;

/* The levels, each array summed from 0: element i is over the levels below i. */
typedef struct Levels {
    double count[LEVELS];      /* of one level: not summed */
    double counts[LEVELS + 1]; /* values */
    double logs[LEVELS + 1];   /* count * log(count) */
    double log_of[LEVELS + 1]; /* log(i), for numbers of levels; [0] unused */
    int filled[LEVELS + 1];    /* levels that are not empty */
} Levels;

/* Natural logarithm of a normal x > 0, the same on every machine: x = m * 2^e with m around 1, and
 * log(m) = 2 atanh((m - 1) / (m + 1)) as a series. */
static double log_exact(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m /= 2;
        e++;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int k = 21; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
    return e * 0.69314718055994531 + 2 * s * sum;
}

/* Spreads `count` values evenly over [lo, hi], in units of a level. */
static void spread(Levels *l, double lo, double hi, double count)
{
    int first = lo < LEVELS ? (int)lo : LEVELS - 1, last = hi < LEVELS ? (int)hi : LEVELS - 1;
    if (first == last) {
        l->count[first] += count;
        return;
    }
    for (int i = first; i <= last; i++) {
        double from = i > lo ? i : lo, to = i + 1 < hi ? i + 1 : hi;
        l->count[i] += count * ((to - from) / (hi - lo));
    }
}

static void fill(Levels *l, const qonnx_histogram *h, double absmax)
{
    double scale = LEVELS / absmax;
    for (int i = 0; i < h->nbins; i++) {
        double a = fmax(h->bins[i].lo, h->min) * scale, b = fmin(h->bins[i].hi, h->max) * scale;
        if (h->bins[i].lo < 0) spread(l, -b, -a, (double)h->bins[i].count);
        if (h->bins[i].lo > 0) spread(l, a, b, (double)h->bins[i].count);
    }
    for (int i = 0; i < LEVELS; i++) {
        double c = l->count[i];
        l->counts[i + 1] = l->counts[i] + c;
        l->logs[i + 1] = l->logs[i] + (c > 0 ? c * log_exact(c) : 0);
        l->filled[i + 1] = l->filled[i] + (c > 0);
        l->log_of[i + 1] = log_exact(i + 1);
    }
}

/* Divergence of the first n levels merged into `steps`. With P and Q as above, N values in all, S
 * of them kept, and a step's levels all having the same Q, it is
 *   (sum P log P - sum over steps of P(step) * log(S(step) / filled levels)) / N - log N + log S.
 * Infinite where values above the threshold would fall on an empty level. */
static double divergence(const Levels *l, int n, int steps)
{
    double all = l->counts[LEVELS], kept = l->counts[n], above = all - kept;
    double last = l->count[n - 1];
    if (kept <= 0 || (above > 0 && last <= 0)) return INFINITY;
    double sum = l->logs[n];
    if (above > 0) sum += (last + above) * log_exact(last + above) - last * log_exact(last);
    int from = 0;
    for (int s = 0; s < steps; s++) {
        int to = ((s + 1) * n + steps - 1) / steps;
        double count = l->counts[to] - l->counts[from];
        int filled = l->filled[to] - l->filled[from];
        double p = s == steps - 1 ? count + above : count;
        if (filled > 0) sum -= p * (log_exact(count) - l->log_of[filled]);
        from = to;
    }
    return sum / all - log_exact(all) + log_exact(kept);
}

/* The number of levels to keep. */
static int choose(const Levels *l, int steps)
{
    double of[LEVELS + 1], least = INFINITY;
    for (int n = steps; n <= LEVELS; n++) {
        of[n] = divergence(l, n, steps);
        if (of[n] < least) least = of[n];
    }
    int n = LEVELS;
    while (n > steps && of[n] > 1.01 * least + noise) n--;
    return n;
}

static bool range(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi)
{
    (void)grid, (void)job;
    *lo = h->min;
    *hi = h->max;
    double absmax = fmax(-(double)h->min, h->max);
    if (absmax <= 0) return true;
    Levels *l = calloc(1, sizeof *l);
    if (!l) return qonnx_fail(cx, NULL, "entropy: out of memory");
    fill(l, h, absmax);
    int steps = h->min < 0 && h->max > 0 ? SIGNED_STEPS : ONE_SIDED_STEPS;
    double threshold = absmax * choose(l, steps) / LEVELS;
    *lo = (float)fmax(h->min, -threshold);
    *hi = (float)fmin(h->max, threshold);
    free(l);
    return true;
}

const qonnx_observer observer_entropy = {
    .size = sizeof(qonnx_observer),
    .name = "entropy",
    .brief = "the threshold that loses the least information (Kullback-Leibler)",
    .range = range,
};
