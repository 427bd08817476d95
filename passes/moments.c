/* passes/moments.c - see moments.h. */
#include "moments.h"
#include <stdlib.h>

enum {
    BLOCK = 128, /* rows that are added at once; a multiple of 4 */
    WORTH = 8    /* rows a column: with fewer, the halves are counted apart */
};

typedef struct Count {
    Moments *m;
    int count;
    size_t samples; /* that come */
    float *rows;    /* [BLOCK][columns of the widest] */
    float *sums;    /* [columns of the widest] */
} Count;

/* ---- what can be counted --------------------------------------------------------------------- */

/* Rows that one sample has, as far as shapes are known. */
static int64_t places_at_least(const qonnx_node *n)
{
    int64_t places = 1;
    const bool conv = qonnx_node_is(n, "Conv");
    const qonnx_value *y = qonnx_node_output(n, 0);
    for (int i = conv ? 2 : 0; i < qonnx_value_rank(y) - !conv; i++)
        if (qonnx_value_dim(y, i) > 0) places *= qonnx_value_dim(y, i);
    return places;
}

bool moments_describe(Moments *m, const Site *s, int64_t most)
{
    qonnx_window w;
    *m = (Moments){.site = s};
    if (!s->quantized || !weight_view(s->node, &s->rule, &m->view) || m->view.window > most ||
        qonnx_node_int(s->node, "transA", 0))
        return false;
    if (qonnx_node_is(s->node, "Conv") && !qonnx_node_window(s->node, &w)) return false;
    int64_t fit = most / m->view.window;
    m->parts = (m->view.inputs + fit - 1) / fit;
    m->inputs = (m->view.inputs + m->parts - 1) / m->parts;
    m->parts = (m->view.inputs + m->inputs - 1) / m->inputs;
    m->columns = m->inputs * m->view.window;
    m->panels = m->parts * m->view.groups;
    m->halves = places_at_least(s->node) * MOMENTS_SAMPLES < WORTH * m->columns ? 2 : 1;
    return true;
}

static size_t sums(const Moments *m) { return (size_t)(m->halves * m->panels * m->columns); }

size_t moments_bytes(const Moments *m)
{
    return sums(m) * (size_t)(m->columns + 1) * sizeof(double);
}

void moments_free(Moments *m)
{
    free(m->sum);
    free(m->products);
    m->sum = m->products = NULL;
    m->rows[0] = m->rows[1] = 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* Rows that a tensor has: places of a convolution's output, or rows of a matrix. */
static int64_t rows_of(const Moments *m, const qonnx_tensor *x, const qonnx_window *w)
{
    int64_t n = qonnx_node_is(m->site->node, "Conv")
                    ? x->dims[0] * w->out[0] * w->out[1] * w->out[2]
                    : qonnx_tensor_elements(x) / m->view.inputs;
    return n;
}

/* Columns of a panel at one place of a convolution's output; padding is zero. */
static void take_window(const Moments *m, const qonnx_tensor *x, const qonnx_window *w,
                        int64_t panel, int64_t place, float *row)
{
    const float *data = x->data;
    const int64_t area = w->in[0] * w->in[1] * w->in[2],
                  inputs = moments_columns(m, panel) / m->view.window;
    int64_t out[3], rest = place;
    for (int i = 2; i >= 0; rest /= w->out[i], i--) out[i] = rest % w->out[i];
    const int64_t first = panel / m->parts * m->view.inputs + panel % m->parts * m->inputs;
    data += (rest * m->view.inputs * m->view.groups + first) * area;
    for (int64_t k = 0; k < m->view.window; k++) {
        int64_t at = 0, tap = k;
        bool inside = true;
        int64_t position[3];
        for (int i = 2; i >= 0; tap /= w->kernel[i], i--)
            position[i] = out[i] * w->stride[i] + tap % w->kernel[i] * w->dilation[i] - w->front[i];
        for (int i = 0; i < 3; i++) {
            inside = inside && position[i] >= 0 && position[i] < w->in[i];
            at = at * w->in[i] + position[i];
        }
        for (int64_t c = 0; c < inputs; c++)
            row[c * m->view.window + k] = inside ? data[c * area + at] : 0;
    }
}

static void take_row(const Moments *m, const qonnx_tensor *x, const qonnx_window *w, int64_t panel,
                     int64_t place, float *row)
{
    if (w->axes) {
        take_window(m, x, w, panel, place, row);
        return;
    }
    const float *data = x->data;
    memcpy(row, data + place * m->view.inputs + panel * m->inputs,
           (size_t)moments_columns(m, panel) * sizeof *row);
}

/* ---- sums ------------------------------------------------------------------------------------ */

WIDE static void add_four(float *restrict sums, const float *restrict x, int64_t step,
                          const float *restrict a, int64_t from, int64_t to)
{
    for (int64_t j = from; j < to; j++)
        sums[j] +=
            a[0] * x[j] + a[1] * x[step + j] + a[2] * x[2 * step + j] + a[3] * x[3 * step + j];
}

/* products += rows' * rows, for the upper triangle; `count` is a multiple of 4. */
static void add_block(const Count *c, int64_t count, double *products, int64_t columns)
{
    for (int64_t i = 0; i < columns; i++) {
        memset(c->sums + i, 0, (size_t)(columns - i) * sizeof *c->sums);
        for (int64_t r = 0; r < count; r += 4) {
            const float *x = c->rows + r * columns;
            const float a[4] = {x[i], x[columns + i], x[2 * columns + i], x[3 * columns + i]};
            add_four(c->sums, x, columns, a, i, columns);
        }
        for (int64_t j = i; j < columns; j++) products[i * columns + j] += (double)c->sums[j];
    }
}

/* Adds rows of one panel of one sample, at `count` places. */
static void add_panel(const Count *c, Moments *m, const qonnx_tensor *x, const qonnx_window *w,
                      int64_t panel, int half, const int64_t *places, int64_t count)
{
    const int64_t columns = moments_columns(m, panel), at_panel = half * m->panels + panel;
    double *sum = m->sum + at_panel * m->columns;
    for (int64_t at = 0; at < count; at += BLOCK) {
        const int64_t n = count - at < BLOCK ? count - at : BLOCK, whole = (n + 3) / 4 * 4;
        memset(c->rows + n * columns, 0, (size_t)((whole - n) * columns) * sizeof *c->rows);
        for (int64_t r = 0; r < n; r++) {
            float *row = c->rows + r * columns;
            take_row(m, x, w, panel, places[at + r], row);
            for (int64_t i = 0; i < columns; i++) sum[i] += (double)row[i];
        }
        add_block(c, whole, m->products + at_panel * m->columns * m->columns, columns);
    }
}

static bool add_sample(const Count *c, size_t sample, int index, const qonnx_tensor *x)
{
    Moments *m = &c->m[index];
    qonnx_window w = {0};
    if (qonnx_node_is(m->site->node, "Conv") && !qonnx_node_window(m->site->node, &w)) return true;
    const int64_t all = rows_of(m, x, &w);
    int64_t want = (4 * m->view.inputs * m->view.window + 1500) / (int64_t)c->samples + 1;
    if (want > all) want = all;
    int64_t *places = calloc((size_t)want + 1, sizeof *places);
    if (!places) return false;
    uint64_t state = (uint64_t)sample << 32 | (unsigned)index;
    for (int64_t i = 0; i < want; i++)
        places[i] = want == all ? i : (int64_t)(random_next(&state) % (uint64_t)all);
    const int half = m->halves > 1 ? (int)(sample % 2) : 0;
    for (int64_t p = 0; p < m->panels; p++) add_panel(c, m, x, &w, p, half, places, want);
    m->rows[half] += want;
    free(places);
    return true;
}

static bool on_sample(void *user, size_t sample, const qonnx_tensor *values)
{
    const Count *c = user;
    for (int i = 0; i < c->count; i++)
        if (values[i].dtype == QONNX_FLOAT && !add_sample(c, sample, i, &values[i])) return false;
    return true;
}

int64_t moments_rows(const Moments *m, Half half)
{
    return half == HALF_BOTH ? m->rows[0] + m->rows[1] : m->rows[half];
}

void moments_matrix(const Moments *m, Half half, int64_t panel, double *out)
{
    const int64_t n = moments_columns(m, panel);
    const double rows = (double)moments_rows(m, half);
    const int from = half == HALF_ODD, to = half == HALF_EVEN ? 1 : m->halves;
    double *mean = calloc((size_t)n + 1, sizeof *mean);
    memset(out, 0, (size_t)(n * n) * sizeof *out);
    for (int h = from; h < to && mean && rows > 0; h++) {
        const double *sum = m->sum + (h * m->panels + panel) * m->columns;
        const double *products = m->products + (h * m->panels + panel) * m->columns * m->columns;
        for (int64_t i = 0; i < n; i++) mean[i] += sum[i] / rows;
        for (int64_t i = 0; i < n * n; i++) out[i] += products[i] / rows;
    }
    for (int64_t i = 0; i < n && mean; i++)
        for (int64_t j = i; j < n; j++) out[i * n + j] -= mean[i] * mean[j];
    for (int64_t i = 0; i < n; i++) out[i * n + i] = fmax(out[i * n + i], 0);
    free(mean);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool count_all(qonnx_ctx *cx, const qonnx_graph *g, const qonnx_job *job, Count *c,
                      const char **names)
{
    for (int i = 0; i < c->count; i++) {
        Moments *m = &c->m[i];
        names[i] = qonnx_value_name(qonnx_node_input(m->site->node, 0));
        m->sum = calloc(sums(m), sizeof(double));
        m->products = calloc(sums(m) * (size_t)m->columns, sizeof(double));
        if (!m->sum || !m->products) return qonnx_fail(cx, NULL, "out of memory");
    }
    qonnx_dataset *d = qonnx_dataset_part(qonnx_job_samples(job), 0, 1, MOMENTS_SAMPLES);
    c->samples = qonnx_dataset_count(d);
    bool good =
        qonnx_watch(cx, g, names, c->count, d, qonnx_job_session_options(job), on_sample, c);
    qonnx_dataset_free(d);
    return good;
}

bool moments_count(qonnx_ctx *cx, const qonnx_graph *g, const qonnx_job *job, Moments *m, int count)
{
    size_t widest = 1;
    for (int i = 0; i < count; i++)
        if ((size_t)m[i].columns > widest) widest = (size_t)m[i].columns;
    Count c = {.m = m, .count = count};
    const char **names = calloc((size_t)count + 1, sizeof *names);
    c.rows = calloc(BLOCK * widest, sizeof *c.rows);
    c.sums = calloc(widest, sizeof *c.sums);
    bool good = names && c.rows && c.sums ? count_all(cx, g, job, &c, names)
                                          : qonnx_fail(cx, NULL, "out of memory");
    free(c.rows);
    free(c.sums);
    free(names);
    return good;
}
