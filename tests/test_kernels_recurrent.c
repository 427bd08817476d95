/* tests/test_kernels_recurrent.c - the steps of LSTM, GRU and RNN, against plain loops in double,
 * on every instruction set.
 */
#include "kernels/q_lstm.h"
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
    p.xdir = p.gates * p.hidden;
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

/* The outputs of a kernel of 8-bit weights, which must be the same on every level. */
static void *same_on_levels(const char *name, const void *p, const void *const *in, int nin,
                            const size_t *bytes, int nout, int kept)
{
    char *first = NULL;
    size_t whole = 0;
    for (int i = 0; i < kept; i++) whole += bytes[i];
    for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
        const Kernel *table = kernel_table((KernelLevel)level);
        if (!table) continue;
        const Kernel *k = find(table, name);
        const void *given[16];
        void *out[8], *packed = k->pack ? alloc(k->pack_bytes(p)) : NULL;
        char *y = alloc(whole), *at = y;
        assert_int_equal(k->nin, nin);
        assert_int_equal(k->nout, nout);
        for (int i = 0; i < nin; i++) given[i] = in[i];
        if (packed) k->pack(p, in[1], packed), given[1] = packed;
        for (int i = 0; i < nout; i++) {
            out[i] = i < kept ? at : alloc(bytes[i]);
            at += i < kept ? bytes[i] : 0;
            memset(out[i], 0xff, bytes[i]);
        }
        k->run(p, given, out);
        for (int i = kept; i < nout; i++) free(out[i]);
        free(packed);
        if (!first) first = y;
        else if (memcmp(first, y, whole)) fail_msg("%s: level %d gives other bytes", name, level);
        if (first != y) free(y);
    }
    return first;
}

static uint8_t *random_uint8(size_t n)
{
    uint8_t *x = alloc(n);
    for (size_t i = 0; i < n; i++) x[i] = (uint8_t)rnd();
    return x;
}

/* Weights of 8 bits: near to the same in floats, with states rounded to 1/255 of their range. */
static void test_q_lstm(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        f_recurrent_p p = random_params();
        p.gates = R_LSTM;
        p.clip = INFINITY;
        for (int k = 0; k < 6; k++) (&p.function0)[k] = k % 3 ? R_TANH : R_SIGMOID;
        p.r_signed = between(0, 1), p.scale = between(0, 1), p.zero = between(0, 1);
        const size_t d = (size_t)p.directions, n = (size_t)p.hidden, rows = (size_t)p.batch,
                     steps = (size_t)p.steps, columns = 4 * n;
        p.xrow = p.xdir = (int32_t)columns;
        p.xrow *= p.directions;
        p.xstep = p.xrow * p.batch;
        uint8_t *r = random_uint8(d * n * columns), *zero = random_uint8(d * columns);
        float *scale = floats(d * columns);
        Operands o = {.x = floats(steps * rows * d * columns),
                      .r = floats(d * columns * n),
                      .lengths = between(0, 1) ? alloc(rows * sizeof(int32_t)) : NULL,
                      .bias = between(0, 1) ? floats(d * 2 * columns) : NULL,
                      .y = steps * rows * d * n,
                      .states = d * rows * n};
        for (size_t b = 0; o.lengths && b < rows; b++) o.lengths[b] = between(0, p.steps);
        for (size_t k = 0; k < d * columns; k++)
            scale[k] = (1.0f + scale[k] / 2) / (256.0f * sqrtf((float)n));
        for (size_t dir = 0; dir < d; dir++)
            for (size_t j = 0; j < columns; j++)
                for (size_t k = 0; k < n; k++) {
                    const uint8_t w = r[(dir * n + k) * columns + j];
                    const uint8_t z = zero[p.zero ? dir * columns + j : dir];
                    const int v = p.r_signed ? (int8_t)w - (int8_t)z : w - z;
                    o.r[(dir * columns + j) * n + k] =
                        (float)v * scale[p.scale ? dir * columns + j : dir];
                }
        const void *const in[] = {o.x, r, scale, zero, o.bias, NULL, o.lengths, NULL, NULL};
        const size_t bytes[] = {4 * o.y,      4 * o.states,
                                4 * o.states, 4 * (size_t)f_recurrent_work(&p),
                                rows * n,     4 * rows * columns};
        float *y = same_on_levels("q_lstm", &p, in, 9, bytes, 6, 3);
        double *want = reference(&p, &o);
        close_to("q_lstm", y, want, o.y + 2 * o.states, 0.05);
        free(y), free(want), free(o.x), free(o.r), free(o.bias), free(o.lengths);
        free(r), free(zero), free(scale);
    }
}

/* Ranges, and sums that become floats or bytes. */
static void test_dynamic(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const int32_t m = between(1, 5), n = between(1, 200), lengths[] = {1, 0, 1};
        const q_range_p range = {between(1, 3), 3, n};
        float *x = floats((size_t)(range.steps * 3 * n)), least = 0.0f, most = 0.0f;
        const bool some = between(0, 1);
        for (int32_t k = 0; k < (some ? 1 : range.steps) * 3 * n; k++) {
            least = fminf(least, x[k]);
            most = fmaxf(most, x[k]);
        }
        const size_t sizes[] = {4, 1};
        char *y = same_on_levels("q_range", &range, (const void *[]){x, some ? lengths : NULL}, 2,
                                 sizes, 2, 2);
        float scale;
        memcpy(&scale, y, 4);
        assert_true(scale == (most > least ? (most - least) / 255.0f : 1.0f));
        assert_int_equal((uint8_t)y[4], (int)rintf(0.0f - least / scale));
        free(y);
        int32_t *sums = alloc((size_t)(m * n) * 4), *add = alloc((size_t)n * 4);
        for (int32_t k = 0; k < m * n; k++) sums[k] = between(-20000, 20000);
        for (int32_t k = 0; k < n; k++) add[k] = between(-1000, 1000);
        const int32_t column = between(0, 1);
        const q_to_float_p f = {1, m, n, column, 0, 0.5f};
        const q_to_bytes_p b = {m, n, column, between(0, 1), 1.0f};
        float *scales = floats((size_t)n), one = 0.01f, out = 1.5f;
        const uint8_t zero = (uint8_t)rnd();
        for (int32_t k = 0; k < n; k++) scales[k] = fabsf(scales[k]) + 0.1f;
        float *z =
            same_on_levels("q_to_float", &f, (const void *[]){sums, add, &one, scales, scales}, 5,
                           (size_t[]){(size_t)(m * n) * 4}, 1, 1);
        uint8_t *q =
            same_on_levels("q_to_bytes", &b, (const void *[]){sums, add, &one, scales, &out, &zero},
                           6, (size_t[]){(size_t)(m * n)}, 1, 1);
        for (int32_t k = 0; k < m * n; k++) {
            const float s = scales[column ? k % n : 0], v = (float)(sums[k] + add[k % n]);
            const float scaled = v * (0.5f * one * s);
            if (z[k] != scaled + scales[k % n]) fail_msg("q_to_float: [%d]", k);
            const int offset = b.is_signed ? (int8_t)zero : zero, lo = b.is_signed ? -128 : 0;
            const float w = rintf(v * (one * s / out)) + (float)offset;
            const int want = w<(float)lo ? lo : w>(float)(lo + 255) ? lo + 255 : (int)w;
            if (q[k] != (uint8_t)want) fail_msg("q_to_bytes: [%d]", k);
        }
        free(x), free(sums), free(add), free(scales), free(z), free(q);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_recurrent, reseed),
        cmocka_unit_test_setup(test_q_lstm, reseed),
        cmocka_unit_test_setup(test_dynamic, reseed),
    };
    return cmocka_run_group_tests_name("kernels_recurrent", tests, NULL, NULL);
}
