/* tests/test_kernels_recurrent.c - the steps of LSTM, GRU and RNN, against plain loops in double,
 * on every instruction set.
 */
#include "kernels/f_recurrent.h"
#include "tests/kernel_run.h"

/* Operands of a kernel, in its order, and sizes of its outputs. */
typedef struct Operands {
    float *x, *r, *bias, *peep;
    int32_t *lengths;
    float *h, *c;
    size_t y, states, work; /* floats */
} Operands;

static double function(int32_t code, double a, double b, double x)
{
    switch (code) {
    case R_AFFINE: return a * x + b;
    case R_RELU: return fmax(x, 0.0);
    case R_LEAKY_RELU: return x < 0 ? a * x : x;
    case R_THRESHOLDED_RELU: return x > a ? x : 0.0;
    case R_TANH: return tanh(x);
    case R_SCALED_TANH: return a * tanh(b * x);
    case R_SIGMOID: return 1 / (1 + exp(-x));
    case R_HARD_SIGMOID: return fmin(fmax(a * x + b, 0.0), 1.0);
    case R_ELU: return x < 0 ? a * expm1(x) : x;
    case R_SOFTSIGN: return x / (1 + fabs(x));
    default: return log1p(exp(x));
    }
}

static double apply(const f_recurrent_p *p, int d, int which, double x)
{
    const int at = d * 3 + which;
    const double clip = (double)p->clip;
    return function((&p->function0)[at], (double)(&p->alpha0)[at], (double)(&p->beta0)[at],
                    which == 2 ? x : fmin(fmax(x, -clip), clip));
}

static double dot(const float *w, const double *h, int32_t n)
{
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) sum += (double)w[i] * h[i];
    return sum;
}

/* One step of row b in direction d: h and c [hidden] become the next ones; x is the row's. */
static void ref_step(const f_recurrent_p *p, const Operands *o, int d, const float *x, double *h,
                     double *c)
{
    const int32_t n = p->hidden, g = p->gates;
    const float *r = o->r + (ptrdiff_t)d * g * n * n;
    const float *wb = o->bias ? o->bias + d * 2 * g * n : NULL, *rb = wb ? wb + g * n : NULL;
    double next[64], v[4], reset[64];
    for (int32_t j = 0; j < n && g == R_GRU; j++) {
        const int32_t at = n + j;
        v[1] = (double)x[at] + dot(r + at * n, h, n);
        reset[j] = apply(p, d, 0, v[1] + (wb ? (double)(wb[at] + rb[at]) : 0.0));
    }
    for (int32_t j = 0; j < n; j++) {
        for (int32_t k = 0; k < g; k++) {
            const int32_t at = k * n + j;
            double product = dot(r + at * n, h, n);
            double added = wb ? (double)(wb[at] + rb[at]) : 0.0;
            if (g == R_GRU && k == 2 && p->linear_before_reset) {
                product = reset[j] * (product + (rb ? (double)rb[at] : 0.0));
                added = wb ? (double)wb[at] : 0.0;
            } else if (g == R_GRU && k == 2) {
                product = 0.0;
                for (int32_t i = 0; i < n; i++) product += (double)r[at * n + i] * reset[i] * h[i];
            }
            v[k] = (double)x[at] + product + added;
        }
        if (g == R_RNN) {
            next[j] = apply(p, d, 0, v[0]);
        } else if (g == R_GRU) {
            const double z = apply(p, d, 0, v[0]);
            next[j] = (1 - z) * apply(p, d, 1, v[2]) + z * h[j];
        } else {
            const float *peep = o->peep ? o->peep + d * 3 * n : NULL;
            const double in = apply(p, d, 0, v[0] + (peep ? (double)peep[j] * c[j] : 0.0));
            const double f = apply(p, d, 0, v[2] + (peep ? (double)peep[2 * n + j] * c[j] : 0.0));
            c[j] = c[j] * (p->input_forget ? 1 - in : f) + in * apply(p, d, 1, v[3]);
            next[j] = apply(p, d, 0, v[1] + (peep ? (double)peep[n + j] * c[j] : 0.0)) *
                      apply(p, d, 2, c[j]);
        }
    }
    memcpy(h, next, (size_t)n * sizeof *h);
}

/* All of y, yh and yc, one behind the other. */
static double *reference(const f_recurrent_p *p, const Operands *o)
{
    double *y = alloc((o->y + 2 * o->states) * sizeof *y), *yh = y + o->y, *yc = yh + o->states;
    for (size_t i = 0; i < o->y; i++) y[i] = 0.0;
    for (int d = 0; d < p->directions; d++)
        for (int32_t b = 0; b < p->batch; b++) {
            const int32_t at = b * p->hrow + d * p->hdir;
            const int32_t length = o->lengths ? o->lengths[b] : p->steps;
            double h[64] = {0.0}, c[64] = {0.0};
            for (int32_t j = 0; j < p->hidden; j++) {
                if (o->h) h[j] = (double)o->h[at + j];
                if (o->c) c[j] = (double)o->c[at + j];
            }
            for (int32_t s = 0; s < length; s++) {
                const int32_t t = p->reverse >> d & 1 ? length - 1 - s : s;
                ref_step(p, o, d, o->x + t * p->xstep + b * p->xrow + d * p->gates * p->hidden, h,
                         c);
                for (int32_t j = 0; j < p->hidden; j++)
                    y[t * p->ystep + b * p->yrow + d * p->ydir + j] = h[j];
            }
            for (int32_t j = 0; j < p->hidden; j++) {
                yh[at + j] = length ? h[j] : 0.0;
                yc[at + j] = length ? c[j] : 0.0;
            }
        }
    return y;
}

/* The kernel's y, yh and yc, which must be the same on every level. */
static float *run_levels(const f_recurrent_p *p, const Operands *o)
{
    float *first = NULL;
    const size_t n = o->y + 2 * o->states;
    for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
        const Kernel *table = kernel_table((KernelLevel)level);
        if (!table) continue;
        const Kernel *k = find(table, "f_recurrent");
        float *y = alloc(n * sizeof *y), *work = alloc(o->work * sizeof *work);
        void *packed = alloc(k->pack_bytes(p));
        memset(work, 0xff, o->work * sizeof *work);
        k->pack(p, o->r, packed);
        const void *const in[] = {o->x, packed, o->bias, o->peep, o->lengths, o->h, o->c};
        void *const out[] = {y, y + o->y, y + o->y + o->states, work};
        k->run(p, in, out);
        free(packed);
        free(work);
        if (!first) first = y;
        else if (memcmp(first, y, n * sizeof *y)) fail_msg("level %d gives other bytes", level);
        if (first != y) free(y);
    }
    return first;
}

static f_recurrent_p random_params(void)
{
    static const int32_t kinds[] = {R_RNN, R_GRU, R_LSTM};
    f_recurrent_p p = {.steps = between(0, 5),
                       .batch = between(1, between(0, 3) ? 4 : 11),
                       .hidden = between(1, between(0, 3) ? 12 : 64),
                       .directions = between(1, 2),
                       .gates = kinds[between(0, 2)],
                       .reverse = between(0, 3),
                       .input_forget = between(0, 1),
                       .linear_before_reset = between(0, 1),
                       .clip = between(0, 1) ? INFINITY : 0.7f};
    const int32_t row = p.directions * p.gates * p.hidden;
    const bool rows_first = between(0, 1);
    p.xstep = rows_first ? row : row * p.batch;
    p.xrow = rows_first ? row * p.steps : row;
    p.ydir = rows_first ? p.hidden : p.hidden * p.batch;
    p.ystep = p.directions * (rows_first ? p.hidden : p.hidden * p.batch);
    p.yrow = rows_first ? p.directions * p.hidden * p.steps : p.hidden;
    p.hrow = rows_first ? p.directions * p.hidden : p.hidden;
    p.hdir = p.ydir;
    for (int i = 0; i < 6; i++) {
        (&p.function0)[i] = between(0, 2) ? i % 3 ? R_TANH : R_SIGMOID : between(0, R_SOFTPLUS);
        (&p.alpha0)[i] = (float)between(1, 8) / 8.0f;
        (&p.beta0)[i] = (float)between(1, 8) / 8.0f;
    }
    return p;
}

static void test_recurrent(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const f_recurrent_p p = random_params();
        const size_t d = (size_t)p.directions, g = (size_t)p.gates, n = (size_t)p.hidden,
                     rows = (size_t)p.batch, steps = (size_t)p.steps;
        Operands o = {.x = floats(steps * rows * d * g * n),
                      .r = floats(d * g * n * n),
                      .bias = between(0, 1) ? floats(d * 2 * g * n) : NULL,
                      .peep = between(0, 1) ? floats(d * 3 * n) : NULL,
                      .lengths = between(0, 1) ? alloc(rows * sizeof(int32_t)) : NULL,
                      .h = between(0, 1) ? floats(d * rows * n) : NULL,
                      .c = between(0, 1) ? floats(d * rows * n) : NULL,
                      .y = steps * rows * d * n,
                      .states = d * rows * n,
                      .work = (size_t)f_recurrent_work(&p)};
        for (size_t k = 0; k < d * g * n * n; k++) o.r[k] *= 1.0f / sqrtf((float)n);
        for (size_t b = 0; o.lengths && b < rows; b++) o.lengths[b] = between(0, p.steps);
        float *y = run_levels(&p, &o);
        double *want = reference(&p, &o);
        /* c of a GRU or RNN is no result */
        close_to("f_recurrent", y, want, o.y + (p.gates == R_LSTM ? 2 : 1) * o.states, 3e-5);
        free(y), free(want), free(o.x), free(o.r), free(o.bias), free(o.peep), free(o.lengths);
        free(o.h), free(o.c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_recurrent, reseed),
    };
    return cmocka_run_group_tests_name("kernels_recurrent", tests, NULL, NULL);
}
