/* tests/test_kernels_spatial.c - kernels that resize and sample images, against plain loops in
 * double.
 */
#include "kernels/pools.h"
#include "kernels/resize.h"
#include "kernels/sample.h"
#include "tests/kernel_run.h"

/* Random places 0..n-1 of a dim, now and then outside. */
static void random_places(int32_t *t, int32_t count, int32_t n, int32_t step)
{
    for (int32_t i = 0; i < count; i++) t[i] = between(0, 9) ? between(0, n - 1) * step : -1;
}

static void test_nearest(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        resize_nearest_p p = {1, 1, 1, 1, 1, between(1, 4), between(1, 5), between(1, 40)};
        const int32_t h = between(1, 5), w = between(1, 9), c = between(1, 3);
        p.run = between(0, 1) ? 1 : between(2, 20);
        p.size = 1 << between(0, 3);
        p.value_lo = (int32_t)rnd();
        p.value_hi = (int32_t)rnd();
        const size_t in = (size_t)(c * h * w * p.run * p.size);
        const size_t out = (size_t)(p.d5 * p.d6 * p.d7 * p.run * p.size);
        unsigned char *x = alloc(in), *want = alloc(out), *to = want;
        for (size_t k = 0; k < in; k++) x[k] = (unsigned char)rnd();
        int32_t table[5 + 4 + 5 + 40] = {0}, *d = table + 5, *e = d + p.d5, *f = e + p.d6;
        random_places(d, p.d5, c, h * w * p.run);
        random_places(e, p.d6, h, w * p.run);
        random_places(f, p.d7, w, p.run);
        for (int32_t k = 0; k < p.d5 * p.d6 * p.d7; k++) {
            const int32_t a = d[k / p.d7 / p.d6], b = e[k / p.d7 % p.d6], g = f[k % p.d7];
            const int32_t value[2] = {p.value_lo, p.value_hi};
            for (int32_t r = 0; r < p.run; r++, to += p.size)
                memcpy(to,
                       a < 0 || b < 0 || g < 0 ? (const unsigned char *)value
                                               : x + (a + b + g + r) * p.size,
                       (size_t)p.size);
        }
        unsigned char *y = run("resize_nearest", &p, x, table, NULL, out);
        assert_memory_equal(y, want, out);
        free(x);
        free(y);
        free(want);
    }
}

/* Element i of one of the types that are interpolated. */
static double element(int32_t type, const void *x, size_t i)
{
    return type == R_FLOAT   ? (double)((const float *)x)[i]
           : type == R_INT8  ? (double)((const int8_t *)x)[i]
           : type == R_INT32 ? (double)((const int32_t *)x)[i]
                             : (double)((const uint8_t *)x)[i];
}

static size_t element_size(int32_t type) { return type == R_FLOAT || type == R_INT32 ? 4 : 1; }

static void *random_elements(int32_t type, size_t n)
{
    if (type == R_FLOAT) return floats(n);
    uint8_t *x = alloc(n * 4);
    for (size_t i = 0; i < n; i++) {
        const int32_t v = between(-100000, 100000);
        if (type == R_INT32) memcpy(x + 4 * i, &v, sizeof v);
        else x[i] = (uint8_t)v;
    }
    return x;
}

/* Pairs of neighbours and their weights. */
static void random_neighbours(int32_t *at, float *w, int32_t count, int32_t n, int32_t whole)
{
    for (int32_t i = 0; i < count; i++, at += 2, w += 2) {
        at[0] = between(0, n - 1);
        at[1] = at[0] + 1 < n ? at[0] + 1 : at[0];
        w[1] = (float)between(0, 1024);
        w[0] = 1024.0f - w[1];
        for (int k = 0; k < 2 && !whole; k++) w[k] /= 1024.0f;
        if (!between(0, 9)) at[0] = -1;
    }
}

/* Of output (d, h, w), channel c; *outside: it is the value. */
static double linear_want(const resize_linear_p *p, const void *x, const int32_t *at,
                          const float *weight, int32_t o, int32_t d, int32_t h, int32_t w,
                          int32_t c)
{
    const int32_t i = 2 * d, j = 2 * (p->od + h), k = 2 * (p->od + p->oh + w);
    double sum = 0.0;
    if (at[i] < 0 || at[j] < 0 || at[k] < 0) return (double)p->value;
    for (int a = 0; a <= p->deep; a++)
        for (int b = 0; b < 4; b++) {
            const int32_t row = (o * p->id + at[i + a]) * p->ih + at[j + b / 2];
            const size_t from = (size_t)((row * p->iw + at[k + b % 2]) * p->inner + c);
            sum += (p->deep ? (double)weight[i + a] : 1.0) * (double)weight[j + b / 2] *
                   (double)weight[k + b % 2] * element(p->type, x, from);
        }
    return p->whole ? sum / 1048576.0 : sum;
}

static void test_linear(void **state)
{
    static const int32_t types[] = {R_FLOAT, R_FLOAT, R_UINT8, R_INT8, R_INT32};
    (void)state;
    for (int i = 0; i < 200; i++) {
        resize_linear_p p = {.type = types[between(0, 4)], .outer = between(1, 2), .value = 3.0f};
        p.inner = between(0, 1) ? 1 : between(2, 90);
        p.deep = between(0, 1);
        p.whole = element_size(p.type) == 1 && !p.deep && between(0, 1);
        p.id = p.deep ? between(1, 4) : 1;
        p.od = p.deep ? between(1, 4) : 1;
        p.ih = between(1, 5), p.iw = between(1, 6), p.oh = between(1, 7), p.ow = between(1, 8);
        const size_t in = (size_t)(p.outer * p.id * p.ih * p.iw * p.inner);
        const size_t out = (size_t)(p.outer * p.od * p.oh * p.ow * p.inner);
        int32_t at[2 * 20];
        float w[2 * 20];
        random_neighbours(at, w, p.od, p.id, p.whole);
        if (!p.deep) at[0] = 0;
        random_neighbours(at + 2 * p.od, w + 2 * p.od, p.oh, p.ih, p.whole);
        random_neighbours(at + 2 * (p.od + p.oh), w + 2 * (p.od + p.oh), p.ow, p.iw, p.whole);
        void *x = random_elements(p.type, in);
        void *y = run("resize_linear", &p, x, at, w, out * element_size(p.type));
        for (size_t k = 0; k < out; k++) {
            const int32_t c = (int32_t)k % p.inner, pixel = (int32_t)k / p.inner;
            const int32_t ow = pixel % p.ow, oh = pixel / p.ow % p.oh, od = pixel / p.ow / p.oh;
            const double want = linear_want(&p, x, at, w, od / p.od, od % p.od, oh, ow, c);
            const double got = element(p.type, y, k), off = fabs(got - want);
            if (p.type == R_FLOAT ? off > 1e-6 * fmax(fabs(want), 1.0)
                                  : off > 1.0 + 1e-6 * fabs(want))
                fail_msg("resize_linear: [%zu] is %.9g, want %.9g", k, got, want);
        }
        free(x);
        free(y);
    }
}

static void test_axis(void **state)
{
    static const int32_t types[] = {R_FLOAT, R_UINT8, R_INT32};
    (void)state;
    for (int i = 0; i < 200; i++) {
        resize_axis_p p = {types[between(0, 2)],
                           between(1, 3),
                           between(1, 9),
                           between(1, 9),
                           between(0, 1) ? 1 : between(2, 90),
                           between(1, 5),
                           7.0f};
        const size_t in = (size_t)(p.outer * p.in * p.inner);
        const size_t out = (size_t)(p.outer * p.out * p.inner);
        int32_t table[9 * 6];
        float w[9 * 5];
        for (int32_t k = 0; k < p.out; k++) {
            table[k * (p.taps + 1)] = between(-1, p.taps);
            for (int32_t t = 0; t < p.taps; t++) {
                table[k * (p.taps + 1) + 1 + t] = between(0, p.in - 1);
                const int32_t whole = between(-1048576, 4194304);
                if (p.type == R_UINT8) memcpy(&w[k * p.taps + t], &whole, sizeof whole);
                else w[k * p.taps + t] = (float)whole / 4194304.0f;
            }
        }
        void *x = random_elements(p.type, in);
        void *y = run("resize_axis", &p, x, table, w, out * element_size(p.type));
        for (size_t k = 0; k < out; k++) {
            const int32_t c = (int32_t)k % p.inner, o = (int32_t)k / p.inner % p.out;
            const int32_t outer = (int32_t)k / p.inner / p.out, *e = table + o * (p.taps + 1);
            double want = *e < 0 ? (double)p.value : 0.0;
            for (int32_t t = 0; t < *e; t++) {
                int32_t whole;
                memcpy(&whole, &w[o * p.taps + t], sizeof whole);
                const double by = p.type == R_UINT8 ? whole / 4194304.0 : (double)w[o * p.taps + t];
                want += by * element(p.type, x, (size_t)((outer * p.in + e[1 + t]) * p.inner + c));
            }
            if (p.type == R_UINT8) want = fmax(0.0, fmin(want, 255.0));
            const double off = fabs(element(p.type, y, k) - want);
            if (off > (p.type == R_FLOAT ? 2e-6 : 0.5 + 1e-6 * fabs(want) + 1e-3))
                fail_msg("resize_axis: [%zu] is %.9g, want %.9g", k, element(p.type, y, k), want);
        }
        free(x);
        free(y);
    }
}

/* ---- transposed convolution ------------------------------------------------------------------ */

/* An axis: input, kernel, stride, dilation, padding in front; an output of any size. */
static void random_deconv_axis(bool flat, int32_t *in, int32_t *out, int32_t *k, int32_t *s,
                               int32_t *d, int32_t *pad)
{
    *in = *out = *k = *s = *d = 1;
    *pad = 0;
    if (flat) return;
    *in = between(1, 7);
    *k = between(1, 5);
    *s = between(1, 4);
    *d = between(1, 4);
    *pad = between(0, (*k - 1) * *d);
    *out = between(1, (*in - 1) * *s + (*k - 1) * *d + 3);
}

/* Adds the products of input pixel (n, d, h, v), channel c, to all outputs that they reach. */
static void scatter(const f_conv_p *p, const float *x, const float *w, const int32_t at[5],
                    double *y)
{
    const int32_t icg = p->ic / p->group, ocg = p->oc / p->group, c = at[4];
    const int32_t from = (((at[0] * p->id + at[1]) * p->ih + at[2]) * p->iw + at[3]) * p->ic + c;
    for (int32_t k = 0; k < p->kd * p->kh * p->kw; k++) {
        const int32_t d = at[1] * p->sd - p->pd + k / p->kw / p->kh * p->dd;
        const int32_t h = at[2] * p->sh - p->ph + k / p->kw % p->kh * p->dh;
        const int32_t v = at[3] * p->sw - p->pw + k % p->kw * p->dw;
        if (d < 0 || d >= p->od || h < 0 || h >= p->oh || v < 0 || v >= p->ow) continue;
        double *to = y + (((at[0] * p->od + d) * p->oh + h) * p->ow + v) * p->oc + c / icg * ocg;
        for (int32_t o = 0; o < ocg; o++)
            to[o] += (double)x[from] * (double)w[(c * ocg + o) * p->kd * p->kh * p->kw + k];
    }
}

static void check_deconv(const char *kernel, const f_conv_p *p, bool has_bias)
{
    const size_t in = (size_t)(p->n * p->id * p->ih * p->iw),
                 out = (size_t)(p->n * p->od * p->oh * p->ow);
    const size_t weights = (size_t)(p->ic * (p->oc / p->group) * p->kd * p->kh * p->kw);
    const size_t elements = out * (size_t)p->oc;
    float *x = floats(in * (size_t)p->ic), *w = floats(weights), *bias = floats((size_t)p->oc);
    double *want = alloc(elements * sizeof *want);
    for (size_t i = 0; i < elements; i++)
        want[i] = has_bias ? (double)bias[i % (size_t)p->oc] : 0.0;
    for (int32_t i = 0; i < (int32_t)in * p->ic; i++) {
        const int32_t pixel = i / p->ic, row = pixel / p->iw, plane = row / p->ih;
        scatter(
            p, x, w,
            (const int32_t[]){plane / p->id, plane % p->id, row % p->ih, pixel % p->iw, i % p->ic},
            want);
    }
    for (size_t i = 0; i < elements; i++)
        want[i] = fmin(fmax(want[i], (double)p->lo), (double)p->hi);
    float *y = run(kernel, p, x, w, has_bias ? bias : NULL, elements * sizeof *y);
    close_to(kernel, y, want, elements, 1e-6 * fmax(greatest(want, elements), 1.0) * 4);
    free(x);
    free(w);
    free(bias);
    free(want);
    free(y);
}

static void test_deconv(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        f_conv_p p = {.n = between(1, 2), .lo = -INFINITY, .hi = INFINITY};
        const int32_t rank = between(1, 3);
        random_deconv_axis(rank < 3, &p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd);
        random_deconv_axis(rank < 2, &p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph);
        random_deconv_axis(false, &p.iw, &p.ow, &p.kw, &p.sw, &p.dw, &p.pw);
        const bool each = between(0, 2) == 0;
        p.group = each ? between(2, 90) : between(0, 1) ? 1 : between(2, 4);
        p.ic = p.group * (each ? 1 : between(1, 40 / p.group));
        p.oc = p.group * (each ? 1 : between(1, 40 / p.group));
        if (between(0, 1)) p.lo = 0.0f;
        if (between(0, 2) == 0) p.hi = 0.5f;
        check_deconv(each ? "f_dwdeconv" : "f_deconv", &p, between(0, 1));
    }
}

/* ---- pools ----------------------------------------------------------------------------------- */

static pools_p random_pools(void)
{
    pools_p p = {.n = between(1, 2), .c = between(0, 1) ? between(1, 5) : between(60, 90)};
    for (int i = 0; i < 3; i++) {
        int32_t *in = &p.id + i, *out = &p.od + i, *k = &p.kd + i, *s = &p.sd + i;
        int32_t *d = &p.dd + i, *pad = &p.pd + i, *behind = &p.ed + i;
        do {
            *in = between(1, 5), *k = between(1, 3), *s = between(1, 2), *d = between(1, 2);
            *pad = between(0, (*k - 1) * *d);
            *behind = between(0, (*k - 1) * *d);
            *out = (*in + *pad + *behind - (*k - 1) * *d - 1) / *s + 1;
        } while (*in + *pad + *behind < (*k - 1) * *d + 1);
    }
    p.power = between(1, 4);
    p.columns = between(0, 1);
    p.include_pad = between(0, 1);
    return p;
}

/* Calls f for every element that the window of output `o` (an element of y) reaches, with its
 * number in x; returns how many elements a mean is of. */
static int32_t each_tap(const pools_p *p, int32_t o, void (*f)(void *user, int32_t at), void *user)
{
    const int32_t c = o % p->c, w = o / p->c % p->ow, h = o / p->c / p->ow % p->oh;
    const int32_t d = o / p->c / p->ow / p->oh % p->od, n = o / p->c / p->ow / p->oh / p->od;
    int32_t count = 0;
    for (int32_t k = 0; k < p->kd * p->kh * p->kw; k++) {
        const int32_t i = d * p->sd - p->pd + k / p->kw / p->kh * p->dd;
        const int32_t j = h * p->sh - p->ph + k / p->kw % p->kh * p->dh;
        const int32_t m = w * p->sw - p->pw + k % p->kw * p->dw;
        const bool inside = i >= 0 && i < p->id && j >= 0 && j < p->ih && m >= 0 && m < p->iw;
        const bool padding = i < p->id + p->ed && j < p->ih + p->eh && m < p->iw + p->ew;
        if (inside) f(user, (((n * p->id + i) * p->ih + j) * p->iw + m) * p->c + c);
        if (inside || (p->include_pad && padding)) count++;
    }
    return count;
}

typedef struct Best {
    const pools_p *p;
    const void *x;
    int32_t at; /* element of x, -1: none yet */
    double sum; /* of the powers, or of the elements */
} Best;

static double pools_element(int32_t type, const void *x, int32_t i)
{
    return type == P_DOUBLE ? ((const double *)x)[i] : element(type, x, (size_t)i);
}

static void take_greatest(void *user, int32_t at)
{
    Best *b = user;
    const int32_t type = b->p->type;
    if (b->at < 0 || pools_element(type, b->x, at) > pools_element(type, b->x, b->at)) b->at = at;
}

static void take_sum(void *user, int32_t at)
{
    Best *b = user;
    const double v = pools_element(b->p->type, b->x, at);
    b->sum += b->p->op == P_NORM ? pow(fabs(v), b->p->power) : v;
}

static void *random_pooled(int32_t type, size_t n)
{
    if (type != P_DOUBLE) return random_elements(type, n);
    double *x = alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (double)between(-9999, 9999) / 7.0;
    return x;
}

/* The place in ONNX's tensor of element i of a channels-last one. */
static int64_t plain_place(const pools_p *p, int32_t i)
{
    const int32_t c = i % p->c, w = i / p->c % p->iw, h = i / p->c / p->iw % p->ih;
    const int32_t d = i / p->c / p->iw / p->ih % p->id, n = i / p->c / p->iw / p->ih / p->id;
    const int32_t at = p->columns ? (w * p->ih + h) * p->id + d : (d * p->ih + h) * p->iw + w;
    return (int64_t)(n * p->c + c) * p->id * p->ih * p->iw + at;
}

static void test_maxpool(void **state)
{
    static const int32_t types[] = {P_FLOAT, P_UINT8, P_INT8, P_DOUBLE};
    (void)state;
    for (int i = 0; i < 100; i++) {
        pools_p p = random_pools();
        p.type = types[between(0, 3)];
        const size_t size = (size_t)(p.type == P_DOUBLE ? 8 : p.type == P_FLOAT ? 4 : 1);
        const int32_t out = p.n * p.od * p.oh * p.ow * p.c;
        void *x = random_pooled(p.type, (size_t)(p.n * p.id * p.ih * p.iw * p.c));
        for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
            const Kernel *table = kernel_table((KernelLevel)level);
            if (!table) continue;
            unsigned char *y = alloc((size_t)out * size);
            int64_t *places = alloc((size_t)out * sizeof *places);
            find(table, "maxpool")->run(&p, (const void *[]){x}, (void *[]){y, places});
            for (int32_t o = 0; o < out; o++) {
                Best b = {&p, x, -1, 0.0};
                each_tap(&p, o, take_greatest, &b);
                const double want = b.at < 0 ? 0.0 : pools_element(p.type, x, b.at);
                assert_true(pools_element(p.type, y, o) == want);
                assert_true(places[o] == (b.at < 0 ? 0 : plain_place(&p, b.at)));
            }
            free(y);
            free(places);
        }
        free(x);
    }
}

static void test_pool_sums(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        pools_p p = random_pools();
        p.op = between(0, 1) ? P_NORM : P_AVERAGE;
        p.type = p.op == P_NORM ? P_FLOAT : P_DOUBLE;
        const int32_t out = p.n * p.od * p.oh * p.ow * p.c;
        void *x = random_pooled(p.type, (size_t)(p.n * p.id * p.ih * p.iw * p.c));
        void *y = run("pool_sums", &p, x, NULL, NULL, (size_t)out * (p.op == P_NORM ? 4 : 8));
        for (int32_t o = 0; o < out; o++) {
            Best b = {&p, x, -1, 0.0};
            const int32_t count = each_tap(&p, o, take_sum, &b);
            const double mean = count ? b.sum / count : 0.0;
            const double want = p.op == P_NORM ? pow(b.sum, 1.0 / p.power) : mean;
            const double off = fabs(pools_element(p.type, y, o) - want);
            if (off > (p.op == P_NORM ? 1e-6 * fabs(want) : 1e-12 * 1430))
                fail_msg("pool_sums: [%d] is %.9g, want %.9g", o, pools_element(p.type, y, o),
                         want);
        }
        free(x);
        free(y);
    }
}

static void test_unpool(void **state)
{
    (void)state;
    const unpool_p p = {6, 8, 4};
    const int64_t places[] = {3, -1, 8, INT64_MAX, 0, 3};
    const float x[] = {1, 2, 3, 4, 5, 6}, want[] = {5, 0, 0, 6, 0, 0, 0, 0};
    float *y = run("unpool", &p, x, places, NULL, sizeof want);
    assert_memory_equal(y, want, sizeof want);
    free(y);
}

/* ---- points between pixels ------------------------------------------------------------------- */

/* Pixel k of an axis as ONNX reflects it: mirrored at its ends until it is inside. */
static int32_t mirrored(int32_t k, int32_t size, bool align)
{
    while (k < 0 || k >= size) {
        if (size == 1) return 0;
        k = k < 0 ? -k - !align : 2 * (size - 1) - k + !align;
    }
    return k;
}

/* The element at (h, w) of channel c; of padding where it is outside. */
static double padded(const grid_sample_p *p, const float *x, int32_t h, int32_t w, int32_t c)
{
    const bool inside = h >= 0 && h < p->ih && w >= 0 && w < p->iw;
    if (!inside && p->padding == S_ZEROS) return 0.0;
    if (p->padding == S_BORDER) {
        h = h < 0 ? 0 : h >= p->ih ? p->ih - 1 : h;
        w = w < 0 ? 0 : w >= p->iw ? p->iw - 1 : w;
    } else {
        h = mirrored(h, p->ih, p->align != 0);
        w = mirrored(w, p->iw, p->align != 0);
    }
    return (double)x[(h * p->iw + w) * p->c + c];
}

static double grid_place(const grid_sample_p *p, float v, int32_t size)
{
    return p->align ? ((double)v + 1) / 2 * (size - 1) : (((double)v + 1) * size - 1) / 2;
}

static void test_grid_sample(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        grid_sample_p p = {1,
                           between(0, 1) ? between(1, 5) : between(60, 90),
                           1,
                           between(1, 5),
                           between(1, 5),
                           1,
                           1,
                           between(1, 20),
                           2,
                           S_LINEAR,
                           between(0, 2),
                           between(0, 1)};
        float *x = floats((size_t)(p.ih * p.iw * p.c)), *grid = floats((size_t)p.ow * 2);
        for (int32_t k = 0; k < p.ow * 2; k++) grid[k] *= 3.0f;
        float *y = run("grid_sample", &p, x, grid, NULL, (size_t)(p.ow * p.c) * sizeof *y);
        for (int32_t k = 0; k < p.ow * p.c; k++) {
            const double w = grid_place(&p, grid[k / p.c * 2], p.iw);
            const double h = grid_place(&p, grid[k / p.c * 2 + 1], p.ih);
            const int32_t j = (int32_t)floor(w), m = (int32_t)floor(h), c = k % p.c;
            const double u = w - j, v = h - m;
            const double want =
                (1 - v) * ((1 - u) * padded(&p, x, m, j, c) + u * padded(&p, x, m, j + 1, c)) +
                v * ((1 - u) * padded(&p, x, m + 1, j, c) + u * padded(&p, x, m + 1, j + 1, c));
            if (!(fabs((double)y[k] - want) <= 1e-5))
                fail_msg("grid_sample: [%d] is %.9g, want %.9g", k, (double)y[k], want);
        }
        free(x);
        free(grid);
        free(y);
    }
}

/* All of the samples, one by one. */
static double roi_want(const roi_align_p *p, const float *x, const float *roi, int32_t i, int32_t j,
                       int32_t c)
{
    const double off = p->half ? 0.5 : 0.0;
    const double w0 = (double)roi[0] - off, h0 = (double)roi[1] - off;
    double w = (double)roi[2] - off - w0, h = (double)roi[3] - off - h0, sum = 0.0;
    if (!p->half) w = fmax(w, 1.0), h = fmax(h, 1.0);
    const double cw = w / p->ow, ch = h / p->oh;
    const int32_t nw = p->samples ? p->samples : (int32_t)ceil(cw);
    const int32_t nh = p->samples ? p->samples : (int32_t)ceil(ch);
    for (int32_t k = 0; k < nh * nw; k++) {
        double v = h0 + i * ch + (k / nw + 0.5) * ch / nh,
               u = w0 + j * cw + (k % nw + 0.5) * cw / nw;
        if (v < -1 || v > p->ih || u < -1 || u > p->iw) continue;
        v = fmin(fmax(v, 0.0), p->ih - 1), u = fmin(fmax(u, 0.0), p->iw - 1);
        for (int t = 0; t < 4; t++) {
            const int32_t a = (int32_t)v + t / 2, b = (int32_t)u + t % 2;
            const double by = (1 - fabs(v - a)) * (1 - fabs(u - b));
            if (a < p->ih && b < p->iw) sum += by * (double)x[(a * p->iw + b) * p->c + c];
        }
    }
    return sum / fmax(nh * nw, 1.0);
}

static void test_roi_align(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const roi_align_p p = {1,
                               between(0, 1) ? between(1, 5) : between(60, 90),
                               between(1, 6),
                               between(1, 6),
                               3,
                               between(1, 3),
                               between(1, 3),
                               between(0, 3),
                               between(0, 1),
                               0,
                               1.0f};
        float *x = floats((size_t)(p.ih * p.iw * p.c)), roi[12];
        const int64_t items[] = {0, -1, 5};
        for (int k = 0; k < 12; k++) /* no sample within a rounding of a border */
            roi[k] = (float)between(-80, 160) / 16.0f + (k % 4 > 1 ? 4.0f : 0.0f) + 0.0078125f;
        const int32_t out = 3 * p.oh * p.ow * p.c;
        float *y = run("roi_align", &p, x, roi, items, (size_t)out * sizeof *y);
        for (int32_t k = 0; k < out; k++) {
            const int32_t cell = k / p.c, r = cell / p.ow / p.oh;
            if (roi[4 * r + 2] < roi[4 * r] || roi[4 * r + 3] < roi[4 * r + 1]) continue;
            const double want =
                roi_want(&p, x, roi + 4 * r, cell / p.ow % p.oh, cell % p.ow, k % p.c);
            if (!(fabs((double)y[k] - want) <= 1e-5))
                fail_msg("roi_align: [%d] is %.9g, want %.9g", k, (double)y[k], want);
        }
        free(x);
        free(y);
    }
}

static void test_affine_grid(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        const affine_grid_p p = {1, between(1, 3), between(1, 4), between(1, 5),
                                 3, between(0, 1), between(0, 1)};
        const size_t out = (size_t)(p.d * p.h * p.w * 3);
        float *theta = floats(12);
        double wide[12];
        for (int k = 0; k < 12; k++) wide[k] = (double)theta[k];
        void *y = run("affine_grid", &p, p.wide ? (void *)wide : theta, NULL, NULL,
                      out * (p.wide ? 8 : 4));
        for (size_t k = 0; k < out; k++) {
            const int32_t a = (int32_t)k % 3, at = (int32_t)k / 3, sizes[] = {p.w, p.h, p.d};
            const int32_t place[] = {at % p.w, at / p.w % p.h, at / p.w / p.h};
            double want = wide[a * 4 + 3];
            for (int t = 0; t < 3; t++) {
                const double n = sizes[t], v = (2.0 * place[t] + 1.0) / n - 1.0;
                want += wide[a * 4 + t] * (!p.align ? v : n > 1 ? 2 * place[t] / (n - 1) - 1 : 1.0);
            }
            const double got = p.wide ? ((double *)y)[k] : (double)((float *)y)[k];
            assert_true(fabs(got - want) < (p.wide ? 1e-14 : 1e-6));
        }
        free(theta);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nearest, reseed),
        cmocka_unit_test_setup(test_linear, reseed),
        cmocka_unit_test_setup(test_axis, reseed),
        cmocka_unit_test_setup(test_deconv, reseed),
        cmocka_unit_test_setup(test_maxpool, reseed),
        cmocka_unit_test_setup(test_pool_sums, reseed),
        cmocka_unit_test_setup(test_unpool, reseed),
        cmocka_unit_test_setup(test_grid_sample, reseed),
        cmocka_unit_test_setup(test_roi_align, reseed),
        cmocka_unit_test_setup(test_affine_grid, reseed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
