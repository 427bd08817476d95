/* passes/observers/mse.c - the range with the least expected squared error, clipping included.
 *
 * A bin's values are taken as uniform between its edges. The error of a range is that of the very
 * grid that qonnx_grid_params makes of it: zero and multiples of the step come out exact. The
 * search goes from coarse to fine over both ends: first with rounding taken as step^2 / 12, which
 * sums over the bins in no time, then with every bin integrated exactly. The exact extremes are
 * always among the candidates.
 */
#include <qonnx/pass.h>

#include <math.h>
#include <stdlib.h>

/* A bin of one sign, as magnitudes. */
typedef struct Cell {
    double lo, hi; /* edges, within the exact extremes */
    double count;  /* values */
} Cell;

/* Sums over the cells below some index. */
typedef struct Moments {
    double count, sum, squares; /* of 1, x, x^2 */
} Moments;

/* The values of one sign, magnitudes ascending. */
typedef struct Side {
    Cell *cells;    /* [n] */
    Moments *below; /* [n + 1] */
    int n;
} Side;

typedef struct Search {
    const qonnx_grid *grid;
    Side neg, pos;
    double min, max; /* the exact extremes */
    bool exact;      /* integrate the bins */
} Search;

/* A candidate: both ends as a share of the extremes, or of the larger one for symmetric grids. */
typedef struct Range {
    double low, high; /* shares, at most 1 */
    double error;     /* expected squared error, summed over the values */
} Range;

/* ---- the error of a range -------------------------------------------------------------------- */

/* The first cell whose lower (or upper) edge is at least x. */
static int first_at(const Side *s, double x, bool upper)
{
    int lo = 0, hi = s->n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if ((upper ? s->cells[mid].hi : s->cells[mid].lo) < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Integral of the squared error from 0 to level k plus r: k whole steps and what is left. */
static double integral(int k, double r)
{
    return k / 12.0 + r * r * r / 3;
}

/* Mean squared error of a cell, in steps, when it is rounded to a whole number of at most `top`. */
static double cell_error(const Cell *c, double per_step, int top)
{
    double a = c->lo * per_step, b = c->hi * per_step;
    int ka = a + 0.5 < top ? (int)(a + 0.5) : top, kb = b + 0.5 < top ? (int)(b + 0.5) : top;
    double ra = a - ka, rb = b - kb;
    if (ka == kb) return (ra * ra + ra * rb + rb * rb) / 3;
    return (integral(kb, rb) - integral(ka, ra)) / (b - a);
}

/* Squared error of a side whose levels are 0, step, ..., top * step. */
static double side_error(const Side *s, double step, int top, bool exact)
{
    double limit = step * top;
    int clipped = first_at(s, limit, false), rounded = first_at(s, step / 2, exact);
    if (rounded > clipped) rounded = clipped;
    const Moments *zero = &s->below[rounded], *in = &s->below[clipped], *all = &s->below[s->n];
    double error = zero->squares; /* these become 0 */
    if (exact)
        for (int i = rounded; i < clipped; i++)
            error += s->cells[i].count * cell_error(&s->cells[i], 1 / step, top) * step * step;
    else
        error += (in->count - zero->count) * step * step / 12;
    double beyond = (all->squares - in->squares) - 2 * limit * (all->sum - in->sum) +
                    limit * limit * (all->count - in->count);
    return error + fmax(beyond, 0);
}

/* The ends that a candidate stands for, as they are handed out. Where all values have one sign the
 * end near zero is theirs, unless they are clipped altogether. */
static void ends(const Search *s, const Range *r, float *lo, float *hi)
{
    double reach = s->grid->symmetric ? fmax(-s->min, s->max) : s->max;
    *hi = (float)fmin(s->max, reach * r->high);
    *lo = (float)(s->grid->symmetric ? fmax(s->min, -reach * r->high) : s->min * r->low);
    if (*lo > *hi && s->min > 0) *lo = *hi;
    if (*lo > *hi && s->max < 0) *hi = *lo;
}

static Range measure(const Search *s, double low, double high)
{
    Range r = {fmin(low, 1), fmin(high, 1), 0};
    float lo, hi, step;
    int zero;
    ends(s, &r, &lo, &hi);
    qonnx_grid_params(s->grid, lo, hi, &step, &zero);
    r.error = side_error(&s->pos, step, s->grid->qmax - zero, s->exact) +
              side_error(&s->neg, step, zero - s->grid->qmin, s->exact);
    return r;
}

/* ---- the search ------------------------------------------------------------------------------ */

/* Whether moving the lower, the higher end makes a difference. */
static bool low_moves(const Search *s)
{
    return s->neg.n > 0 && !s->grid->symmetric;
}
static bool high_moves(const Search *s)
{
    return s->pos.n > 0 || s->grid->symmetric;
}

/* Shares of 1, 2^-1/2, 1/2, ... 2^-20 for both ends. */
static Range coarse(const Search *s)
{
    enum { RUNGS = 41 };
    int lows = low_moves(s) ? RUNGS : 1, highs = high_moves(s) ? RUNGS : 1;
    Range best = measure(s, 1, 1);
    double low = 1;
    for (int i = 0; i < lows; i++, low *= 0.70710678118654752) {
        double high = 1;
        for (int j = 0; j < highs; j++, high *= 0.70710678118654752) {
            Range r = measure(s, low, high);
            if (r.error < best.error) best = r;
        }
    }
    return best;
}

/* The best within `reach` steps of a share of `by` on either side of `from`. */
static Range around(const Search *s, Range from, double by, int reach)
{
    int lows = low_moves(s) ? reach : 0, highs = high_moves(s) ? reach : 0;
    Range best = from;
    for (int i = -lows; i <= lows; i++)
        for (int j = -highs; j <= highs; j++) {
            Range r = measure(s, from.low * (1 + i * by), from.high * (1 + j * by));
            if (r.error < best.error) best = r;
        }
    return best;
}

static Range find(Search *s)
{
    Range best = coarse(s);
    best = around(s, best, 1.0 / 16, 6);
    best = around(s, best, 1.0 / 96, 6);
    s->exact = true;
    Range whole = measure(s, 1, 1);
    best = measure(s, best.low, best.high);
    if (whole.error <= best.error) best = whole;
    best = around(s, best, 1.0 / 32, 3);
    best = around(s, best, 1.0 / 96, 2);
    for (double by = 1.0 / 256; by > 1.0 / 2048; by /= 2) best = around(s, best, by, 1);
    return best;
}

/* ---- the histogram, split by sign ------------------------------------------------------------ */

static void add_cell(Side *s, double lo, double hi, double count)
{
    s->cells[s->n] = (Cell){lo, hi, count};
    Moments m = s->below[s->n++];
    m.count += count;
    m.sum += count * (lo + hi) / 2;
    m.squares += count * (lo * lo + lo * hi + hi * hi) / 3;
    s->below[s->n] = m;
}

/* Fills the two sides; the zero bin makes no error in any range. */
static void split(Search *s, const qonnx_histogram *h)
{
    for (int i = 0; i < h->nbins; i++) {
        const qonnx_bin *b = &h->bins[i];
        if (b->lo > 0)
            add_cell(&s->pos, fmax(b->lo, s->min), fmin(b->hi, s->max), (double)b->count);
    }
    for (int i = h->nbins - 1; i >= 0; i--) {
        const qonnx_bin *b = &h->bins[i];
        if (b->hi < 0)
            add_cell(&s->neg, fmax(-(double)b->hi, -s->max), fmin(-(double)b->lo, -s->min),
                     (double)b->count);
    }
}

static bool range(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi)
{
    (void)job;
    size_t n = (size_t)h->nbins + 1;
    Cell *cells = calloc(2 * n, sizeof *cells);
    Moments *below = calloc(2 * n, sizeof *below);
    if (cells && below) {
        Search s = {grid, {cells, below, 0}, {cells + n, below + n, 0}, h->min, h->max, false};
        split(&s, h);
        Range best = find(&s);
        ends(&s, &best, lo, hi);
    }
    bool ok = cells && below;
    free(cells);
    free(below);
    return ok || qonnx_fail(cx, NULL, "mse: out of memory");
}

const qonnx_observer observer_mse = {
    .size = sizeof(qonnx_observer),
    .name = "mse",
    .brief = "the range with the least squared error, clipping included",
    .range = range,
};
