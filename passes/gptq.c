/* passes/gptq.c - weights are rounded one column after the other, each so as to make up for the
 * errors of those before it:
 *
 *     q_j = round((w_j + sum over i before j of U[j][i] e_i / U[j][j]) / s),   e_i = w_i - q_i s,
 *
 * where U'U = H is the Cholesky factor of the second moments of what the weight meets. It is GPTQ
 * (Frantar, Ashkboos, Hoefler and Alistarh 2023) without an inverse: its updates are those of
 * Babai's nearest plane on H (Chen, Shabanzadeh, Crncevic, Hoefler and Alistarh 2025). Columns that
 * vary most come first. H is shrunk towards its diagonal where few rows were seen, which ends at
 * plain rounding: H = (1 - r) H + r diag(H), r = columns / (columns + rows), and damped by a
 * hundredth of the mean of its diagonal. An output whose error, e'He, does not fall keeps the
 * nearest integers. Scales stay as they are.
 */
#include "moments.h"
#include <stdlib.h>

#define DAMP 0.01
enum {
    LIMIT = 256 << 20, /* bytes of moments that are counted at once */
    BLOCK = 16         /* rows or columns for which the others are read once */
};

/* What one panel needs; `n` columns, `m` outputs that read it. */
typedef struct Panel {
    int64_t n, m;
    int64_t *order;        /* [n] columns, those that vary least first: the last is rounded first */
    double *h;             /* [n][n] upper triangle: H, in the order of the weight */
    double *u;             /* [n][n] upper triangle: U'U = H */
    double *error;         /* [n][m] w - q s */
    double *sum;           /* [m] what earlier errors add to a column */
    double *cost, *before; /* [m] e'He */
    int8_t *rounded, *nearest; /* [n][m] integers */
} Panel;

static void panel_free(Panel *p)
{
    free(p->order);
    free(p->h);
    free(p->u);
    free(p->error);
    free(p->sum);
    free(p->cost);
    free(p->before);
    free(p->rounded);
    free(p->nearest);
}

static bool panel_new(Panel *p, int64_t n, int64_t m)
{
    *p = (Panel){.n = n, .m = m};
    p->order = calloc((size_t)n, sizeof *p->order);
    p->h = calloc((size_t)n, (size_t)n * sizeof *p->h);
    p->u = calloc((size_t)n, (size_t)n * sizeof *p->u);
    p->error = calloc((size_t)n, (size_t)m * sizeof *p->error);
    p->sum = calloc((size_t)m, BLOCK * sizeof *p->sum);
    p->cost = calloc((size_t)m, sizeof *p->cost);
    p->before = calloc((size_t)m, sizeof *p->before);
    p->rounded = calloc((size_t)n, (size_t)m);
    p->nearest = calloc((size_t)n, (size_t)m);
    return p->order && p->h && p->u && p->error && p->sum && p->cost && p->before && p->rounded &&
           p->nearest;
}

/* ---- the factor ------------------------------------------------------------------------------ */

/* By rising diagonal; equal ones stay in order. */
static void sort_columns(Panel *p, const double *h)
{
    for (int64_t i = 0; i < p->n; i++) p->order[i] = i;
    for (int64_t gap = p->n / 2; gap > 0; gap /= 2) /* Shell's sort */
        for (int64_t i = gap; i < p->n; i++)
            for (int64_t k = i; k >= gap; k -= gap) {
                int64_t a = p->order[k - gap], b = p->order[k];
                double x = h[a * p->n + a], y = h[b * p->n + b];
                if (x < y || (x == y && a < b)) break;
                p->order[k - gap] = b;
                p->order[k] = a;
            }
}

/* u = H in that order, its elements off the diagonal times `keep`, damped. */
static void order_matrix(Panel *p, const double *h, double keep, double damp)
{
    double mean = 0;
    for (int64_t i = 0; i < p->n; i++) mean += h[i * p->n + i] / (double)p->n;
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t j = i; j < p->n; j++) {
            int64_t a = p->order[i], b = p->order[j];
            double x = h[(a < b ? a : b) * p->n + (a < b ? b : a)];
            p->u[i * p->n + j] = i == j ? x + damp * mean + 1e-30 : keep * x;
        }
}

/* to += c * x */
WIDE static void add_times(double *restrict to, const double *restrict x, double c, int64_t n)
{
    for (int64_t j = 0; j < n; j++) to[j] += c * x[j];
}

/* Takes rows from..to-1, which are factored, off row i. */
static void take_off(double *u, int64_t n, int64_t from, int64_t to, int64_t i)
{
    for (int64_t k = from; k < to; k++) {
        const double f = u[k * n + i];
        if (f != 0) add_times(u + i * n + i, u + k * n + i, -f, n - i);
    }
}

/* U'U = u, in its place: a few rows at a time, so that those behind are read once for all of them.
 */
static void factor(Panel *p)
{
    const int64_t n = p->n;
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t to = from + BLOCK < n ? from + BLOCK : n;
        for (int64_t k = from; k < to; k++) {
            double *row = p->u + k * n;
            take_off(p->u, n, from, k, k);
            const double pivot = sqrt(fmax(row[k], 1e-30));
            for (int64_t j = k; j < n; j++) row[j] /= pivot;
            row[k] = pivot;
        }
        for (int64_t i = to; i < n; i++) take_off(p->u, n, from, to, i);
    }
}

/* ---- rounding -------------------------------------------------------------------------------- */

typedef struct Rounding {
    const Moments *m;
    const qonnx_weight_params *params;
    const qonnx_tensor *w;
    const qonnx_grid *grid;
    int8_t *integers; /* as the elements lie */
} Rounding;

static double scale_of(const Rounding *r, int64_t output)
{
    return (double)r->params->scales[r->params->count > 1 ? output : 0];
}

/* What errors of columns i add to column j, in its own units. */
static void add_error(const Panel *p, int64_t j, int64_t i, double *sum)
{
    const double c = p->u[j * p->n + i] / p->u[j * p->n + j];
    if (c != 0) add_times(sum, p->error + i * p->m, c, p->m);
}

/* sum[j - from] = what the errors of columns from `to` on add to each column from..to-1: they are
 * read once for all of these. */
static void add_errors(Panel *p, int64_t from, int64_t to)
{
    memset(p->sum, 0, (size_t)(p->m * BLOCK) * sizeof *p->sum);
    for (int64_t i = to; i < p->n; i++)
        for (int64_t j = from; j < to; j++) add_error(p, j, i, p->sum + (j - from) * p->m);
}

/* Rounds column j into levels[m], unless they are given, and adds to the costs. */
static void walk_column(const Rounding *r, Panel *p, int64_t panel, int64_t first, int64_t j,
                        const double *sum, bool given, int8_t *levels, double *cost)
{
    const double pivot = p->u[j * p->n + j];
    for (int64_t o = 0; o < p->m; o++) {
        const double s = scale_of(r, first + o);
        const double w =
            qonnx_tensor_get(r->w, moments_element(r->m, panel, first + o, p->order[j]));
        if (!given)
            levels[o] = (int8_t)fmin(fmax(rint((w + sum[o]) / s), r->grid->qmin), r->grid->qmax);
        const double e = w - levels[o] * s, t = pivot * (e + sum[o]);
        p->error[j * p->m + o] = e;
        cost[o] += t * t;
    }
}

/* Goes through the columns and gives the cost of each output; without `plain` it rounds them into
 * `q` [n][m], else it takes what is there. `first` is the panel's first output. */
static void walk(const Rounding *r, Panel *p, int64_t panel, int64_t first, bool plain, int8_t *q,
                 double *cost)
{
    memset(cost, 0, (size_t)p->m * sizeof *cost);
    for (int64_t to = p->n, from; to > 0; to = from) {
        from = to > BLOCK ? to - BLOCK : 0;
        add_errors(p, from, to);
        for (int64_t j = to - 1; j >= from; j--) {
            double *sum = p->sum + (j - from) * p->m;
            for (int64_t i = j + 1; i < to; i++) add_error(p, j, i, sum);
            walk_column(r, p, panel, first, j, sum, plain, q + j * p->m, cost);
        }
    }
}

/* Between the order of a panel's columns and that of the weight: the nearest integers, and those
 * that output o gets. */
static void read_levels(const Rounding *r, Panel *p, int64_t panel, int64_t first)
{
    for (int64_t j = 0; j < p->n; j++)
        for (int64_t o = 0; o < p->m; o++)
            p->nearest[j * p->m + o] =
                r->params->data[moments_element(r->m, panel, first + o, p->order[j])];
}

static void write_levels(const Rounding *r, const Panel *p, int64_t panel, int64_t first,
                         const int8_t *q, int64_t o)
{
    for (int64_t j = 0; j < p->n; j++)
        r->integers[moments_element(r->m, panel, first + o, p->order[j])] = q[j * p->m + o];
}

/* The factor of the rows of one half. */
static void take_half(const Rounding *r, Panel *p, int64_t panel, Half half, double damp,
                      bool shrink)
{
    const int64_t rows = moments_rows(r->m, half);
    moments_matrix(r->m, half, panel, p->h);
    order_matrix(p, p->h, shrink ? 1 - (double)p->n / (double)(p->n + rows) : 1, damp);
    factor(p);
}

static double total(const double *cost, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += cost[i];
    return sum;
}

/* Where there are few rows: whether integers that one half asks for are better for the other half
 * than the nearest ones are, both ways together. */
static bool holds_out(const Rounding *r, Panel *p, int64_t panel, int64_t first)
{
    double nearest = 0, rounded = 0;
    for (Half half = HALF_EVEN; half <= HALF_ODD; half++) {
        take_half(r, p, panel, half, DAMP, true);
        walk(r, p, panel, first, false, p->rounded, p->cost);
        take_half(r, p, panel, half == HALF_EVEN ? HALF_ODD : HALF_EVEN, 0, false);
        walk(r, p, panel, first, true, p->rounded, p->cost);
        rounded += total(p->cost, p->m);
        walk(r, p, panel, first, true, p->nearest, p->cost);
        nearest += total(p->cost, p->m);
    }
    return rounded < nearest;
}

static void round_panel(const Rounding *r, Panel *p, int64_t panel, int64_t first)
{
    moments_matrix(r->m, HALF_BOTH, panel, p->h);
    sort_columns(p, p->h);
    read_levels(r, p, panel, first);
    if (r->m->halves > 1 && !holds_out(r, p, panel, first)) return;
    take_half(r, p, panel, HALF_BOTH, DAMP, true);
    walk(r, p, panel, first, true, p->nearest, p->before);
    walk(r, p, panel, first, false, p->rounded, p->cost);
    for (int64_t o = 0; o < p->m; o++)
        if (p->cost[o] < p->before[o]) write_levels(r, p, panel, first, p->rounded, o);
}

static bool gptq_panel(const Rounding *r, int64_t panel)
{
    Panel p;
    const int64_t outputs = r->m->view.outputs / r->m->view.groups;
    bool good = panel_new(&p, moments_columns(r->m, panel), outputs);
    if (good) round_panel(r, &p, panel, panel / r->m->parts * outputs);
    panel_free(&p);
    return good;
}

/* ---- the pass -------------------------------------------------------------------------------- */

/* The weight's grid: its own, or the target's. */
static const qonnx_grid *weight_grid(const qonnx_value *v, const qonnx_target *t)
{
    const qonnx_override *o = qonnx_value_override(v);
    return o && o->grid.dtype != QONNX_UNDEFINED ? &o->grid : &t->weight;
}

static bool round_site(qonnx_ctx *cx, const Placement *p, const Moments *m)
{
    static const qonnx_override none;
    float scale;
    int zero_point;
    qonnx_weight_params params;
    qonnx_node *n = m->site->node;
    qonnx_value *v = qonnx_node_input(n, m->site->rule.weight);
    const float *bias = quantizable_bias(n, &m->site->rule, m->view.outputs);
    if (!moments_rows(m, HALF_BOTH) ||
        !quantizable_params(qonnx_node_input(n, 0), p->target, &scale, &zero_point) ||
        !qonnx_node_quantize_weight(n, &p->target->weight, !m->site->per_tensor, scale,
                                    p->target->bias_int32 ? bias : NULL, &params))
        return true;
    const qonnx_tensor *w = qonnx_value_constant(v);
    qonnx_graph *g = qonnx_node_graph(n);
    Rounding r = {m, &params, w, weight_grid(v, p->target),
                  qonnx_graph_alloc(g, (size_t)qonnx_tensor_elements(w))};
    memcpy(r.integers, params.data, (size_t)qonnx_tensor_elements(w));
    for (int64_t panel = 0; panel < m->panels; panel++)
        if (!gptq_panel(&r, panel)) return qonnx_fail(cx, n, "gptq: out of memory");
    qonnx_override o = qonnx_value_override(v) ? *qonnx_value_override(v) : none;
    o.scales = params.scales;
    o.zero_points = qonnx_graph_array(g, (size_t)params.count, sizeof(int));
    o.count = params.count;
    o.integers = r.integers;
    qonnx_value_set_override(v, &o);
    return true;
}

static bool wanted(const Site *s)
{
    const qonnx_value *v = s->rule.weight >= 0 ? qonnx_node_input(s->node, s->rule.weight) : NULL;
    return v && s->quantized && quantizable_weight(s->node, &s->rule) &&
           quantizable_weight(s->node, &s->rule)->dtype == QONNX_FLOAT &&
           qonnx_value_uses(v) == 1 && !qonnx_value_kept(v);
}

/* As many of the products from *at on as fit the limit, at least one. */
static int next_batch(const Moments *all, int count, int at)
{
    size_t bytes = moments_bytes(&all[at]);
    int end = at + 1;
    while (end < count && bytes + moments_bytes(&all[end]) <= LIMIT)
        bytes += moments_bytes(&all[end++]);
    return end;
}

static bool gptq(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Placement p;
    int count = 0, end;
    bool good = true;
    if (!quantizable_stats(cx, job, "gptq")) return false;
    placement_make(&p, g, job, true);
    Moments *all = qonnx_graph_array(g, (size_t)p.count + 1, sizeof *all);
    for (const Site *s = p.sites; s < p.sites + p.count; s++)
        if (wanted(s) && qonnx_node_graph(s->node) == g &&
            moments_describe(&all[count], s, (int64_t)qonnx_job_number(job, "columns")))
            count++;
    for (int at = 0; at < count && good; at = end) {
        end = next_batch(all, count, at);
        good = moments_count(cx, g, job, all + at, end - at);
        for (int i = at; i < end; i++) {
            good = good && round_site(cx, &p, &all[i]);
            moments_free(&all[i]);
        }
    }
    return good;
}

static const qonnx_option options[] = {
    {"columns", "2304", "inputs and taps of an output that are rounded together"},
    {NULL, NULL, NULL},
};

const qonnx_pass pass_gptq = {
    .size = sizeof(qonnx_pass),
    .name = "gptq",
    .brief = "round weights one after the other, making up for the errors before",
    .options = options,
    .run = gptq,
    .samples = true,
};
