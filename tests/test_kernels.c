/* tests/test_kernels.c - convolutions, pools and matrix products in float against a plain reference
 * in double, over random shapes; oneDNN against the portable kernels; and what the build read of
 * all kernels.
 */
#include "backends/c/sources.h"
#include "tests/onednn_run.h"
#ifdef HAVE_ONEDNN
#include <pthread.h>
#endif

/* ---- windows --------------------------------------------------------------------------------- */

/* A random axis: sizes, kernel, stride, dilation, padding in front and behind. */
static void random_axis(bool flat, int32_t *in, int32_t *out, int32_t *k, int32_t *s, int32_t *d,
                        int32_t *pad, int32_t *behind)
{
    *in = *out = *k = *s = *d = 1;
    *pad = *behind = 0;
    if (flat) return;
    do {
        *in = between(1, 19);
        *k = between(1, 5);
        *s = between(1, 3);
        *d = between(1, 3);
        *pad = between(0, (*k - 1) * *d);
        *behind = between(0, (*k - 1) * *d);
    } while (*in + *pad + *behind < (*k - 1) * *d + 1);
    *out = (*in + *pad + *behind - (*k - 1) * *d - 1) / *s + 1;
}

static f_conv_p random_conv(void)
{
    f_conv_p p = {.n = between(1, 2), .lo = -INFINITY, .hi = INFINITY};
    const int32_t rank = between(1, 3);
    int32_t behind;
    random_axis(rank < 3, &p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd, &behind);
    random_axis(rank < 2, &p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph, &behind);
    random_axis(false, &p.iw, &p.ow, &p.kw, &p.sw, &p.dw, &p.pw, &behind);
    p.group = between(0, 2) ? 1 : between(1, 4);
    p.ic = p.group * between(1, 40 / p.group);
    p.oc = p.group * between(1, 40 / p.group);
    if (between(0, 1)) p.lo = 0.0f;
    if (between(0, 2) == 0) p.hi = 0.5f;
    return p;
}

/* The element of channel c at (d, h, w) of item n; 0 outside. */
static double pixel(const f_conv_p *p, const float *x, int32_t n, int32_t d, int32_t h, int32_t w,
                    int32_t c)
{
    if (d < 0 || d >= p->id || h < 0 || h >= p->ih || w < 0 || w >= p->iw) return 0.0;
    return (double)x[(((n * p->id + d) * p->ih + h) * p->iw + w) * p->ic + c];
}

/* One output, not clamped. */
static double conv_at(const f_conv_p *p, const float *x, const float *w, const float *bias,
                      const int32_t o[5])
{
    const int32_t icg = p->ic / p->group, g = o[4] / (p->oc / p->group);
    double sum = bias ? (double)bias[o[4]] : 0.0;
    for (int32_t c = 0; c < icg; c++)
        for (int32_t d = 0; d < p->kd; d++)
            for (int32_t h = 0; h < p->kh; h++)
                for (int32_t v = 0; v < p->kw; v++)
                    sum += pixel(p, x, o[0], o[1] * p->sd - p->pd + d * p->dd,
                                 o[2] * p->sh - p->ph + h * p->dh, o[3] * p->sw - p->pw + v * p->dw,
                                 g * icg + c) *
                           (double)w[(((o[4] * icg + c) * p->kd + d) * p->kh + h) * p->kw + v];
    return sum;
}

static double *conv_want(const f_conv_p *p, const float *x, const float *w, const float *bias,
                         size_t count)
{
    double *want = alloc(count * sizeof *want), *at = want;
    int32_t o[5];
    for (o[0] = 0; o[0] < p->n; o[0]++)
        for (o[1] = 0; o[1] < p->od; o[1]++)
            for (o[2] = 0; o[2] < p->oh; o[2]++)
                for (o[3] = 0; o[3] < p->ow; o[3]++)
                    for (o[4] = 0; o[4] < p->oc; o[4]++) *at++ = conv_at(p, x, w, bias, o);
    return want;
}

static void check_conv(const char *name, const f_conv_p *p)
{
    const size_t nx = (size_t)(p->n * p->id * p->ih * p->iw * p->ic);
    const size_t ny = (size_t)(p->n * p->od * p->oh * p->ow * p->oc);
    const size_t nw = (size_t)(p->oc * (p->ic / p->group) * p->kd * p->kh * p->kw);
    float *x = floats(nx), *w = floats(nw), *bias = between(0, 3) ? floats((size_t)p->oc) : NULL;
    double *want = conv_want(p, x, w, bias, ny);
    float *y = run(name, p, x, w, bias, ny * sizeof *y);
    /* Sums before the clamp say how great an error is. */
    const double allowed = 1e-5 * greatest(want, ny);
    for (size_t i = 0; i < ny; i++) want[i] = fmin(fmax(want[i], (double)p->lo), (double)p->hi);
    close_to(name, y, want, ny, allowed);
    onednn_agrees(name, p, x, w, bias, y, ny, allowed);
    free(x);
    free(w);
    free(bias);
    free(want);
    free(y);
}

static void test_conv(void **state)
{
    (void)state;
    for (int i = 0; i < 250; i++) {
        const f_conv_p p = random_conv();
        check_conv("f_conv", &p);
    }
    const f_conv_p wide = {1, 1, 14, 14, 1, 14, 14, 40, 72, 1, 1,         3,
                           3, 1, 1,  1,  1, 1,  1,  0,  1,  1, -INFINITY, INFINITY};
    check_conv("f_conv", &wide);
}

static void test_dwconv(void **state)
{
    (void)state;
    for (int i = 0; i < 250; i++) {
        f_conv_p p = random_conv();
        p.ic = p.oc = p.group = between(1, 40);
        check_conv("f_dwconv", &p);
    }
}

/* The pool of one output's window of channel c. */
static double pool_at(const f_pool_p *p, bool average, const float *x, int32_t n, int32_t od,
                      int32_t oh, int32_t ow, int32_t c)
{
    double sum = 0.0, most = -INFINITY;
    int padded = 0, inside = 0;
    for (int32_t i = 0; i < p->kd * p->kh * p->kw; i++) {
        const int32_t d = od * p->sd - p->pd + i / (p->kh * p->kw) * p->dd;
        const int32_t h = oh * p->sh - p->ph + i / p->kw % p->kh * p->dh;
        const int32_t w = ow * p->sw - p->pw + i % p->kw * p->dw;
        padded += d < p->id + p->ed && h < p->ih + p->eh && w < p->iw + p->ew;
        if (d < 0 || d >= p->id || h < 0 || h >= p->ih || w < 0 || w >= p->iw) continue;
        const double v = (double)x[(((n * p->id + d) * p->ih + h) * p->iw + w) * p->c + c];
        inside++;
        sum += v;
        most = fmax(most, v);
    }
    const int count = p->include_pad ? padded : inside;
    return !average ? most : count ? sum / count : 0.0;
}

static f_pool_p random_pool(void)
{
    f_pool_p p = {.n = between(1, 2), .c = between(1, 40), .include_pad = between(0, 1)};
    const int32_t rank = between(1, 3);
    random_axis(rank < 3, &p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd, &p.ed);
    random_axis(rank < 2, &p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph, &p.eh);
    random_axis(false, &p.iw, &p.ow, &p.kw, &p.sw, &p.dw, &p.pw, &p.ew);
    if (between(0, 1)) p.dd = p.dh = p.dw = 1;
    if (between(0, 3) == 0) p.ow++; /* as ceil_mode does; further than it may go, too */
    return p;
}

static void check_pool(const char *name, bool average, f_pool_p p)
{
    const size_t nx = (size_t)(p.n * p.id * p.ih * p.iw * p.c);
    const size_t ny = (size_t)(p.n * p.od * p.oh * p.ow * p.c);
    float *x = floats(nx), *y = run(name, &p, x, NULL, NULL, ny * sizeof *y);
    bool empty = false;
    for (size_t i = 0; i < ny; i++) {
        int32_t at = (int32_t)i, o[5];
        const int32_t dims[5] = {p.n, p.od, p.oh, p.ow, p.c};
        for (int j = 4; j >= 0; at /= dims[j], j--) o[j] = at % dims[j];
        const double want = pool_at(&p, average, x, o[0], o[1], o[2], o[3], o[4]);
        empty |= want == -INFINITY;
        if (want != -INFINITY ? !(fabs(want - (double)y[i]) <= 1e-6) : y[i] != -INFINITY)
            fail_msg("%s: [%zu] is %.9g, want %.9g", name, i, (double)y[i], want);
    }
    if (!empty) onednn_agrees(name, &p, x, NULL, NULL, y, ny, 1e-5);
    free(x);
    free(y);
}

static void test_pools(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) check_pool("f_maxpool", false, random_pool());
    for (int i = 0; i < 300; i++) check_pool("f_avgpool", true, random_pool());
    /* Two more outputs would fit: oneDNN 2.6.3 writes one of them, behind its memory. */
    const f_pool_p cropped = {1, 1, 1, 17, 1, 1, 15, 29, 1, 1, 2, 1,
                              1, 1, 1, 1,  1, 0, 0,  0,  0, 0, 0, 0};
    check_pool("f_maxpool", false, cropped);
    check_pool("f_avgpool", true, cropped);
}

/* ---- matrix products ------------------------------------------------------------------------- */

/* y[m][n] = x[m][k] * w + bias. */
static double *product_want(const f_gemm_p *p, const float *x, const float *w, const float *bias)
{
    double *want = alloc((size_t)(p->m * p->n) * sizeof *want), *at = want;
    for (int32_t m = 0; m < p->m; m++)
        for (int32_t n = 0; n < p->n; n++, at++) {
            *at = bias ? (double)bias[n] : 0.0;
            for (int32_t k = 0; k < p->k; k++)
                *at += (double)x[m * p->k + k] * (double)w[p->transb ? n * p->k + k : k * p->n + n];
        }
    return want;
}

static void test_gemm(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const f_gemm_p p = {between(0, 1) ? 1 : between(2, 40),
                            between(1, 200),
                            between(1, 150),
                            between(0, 1),
                            -INFINITY,
                            INFINITY};
        float *x = floats((size_t)(p.m * p.k)), *w = floats((size_t)(p.k * p.n));
        float *bias = between(0, 2) ? floats((size_t)p.n) : NULL;
        const size_t count = (size_t)(p.m * p.n);
        double *want = product_want(&p, x, w, bias);
        float *y = run("f_gemm", &p, x, w, bias, count * sizeof *y);
        const double allowed = 1e-5 * greatest(want, count);
        close_to("f_gemm", y, want, count, allowed);
        onednn_agrees("f_gemm", &p, x, w, bias, y, count, allowed);
        free(x);
        free(w);
        free(bias);
        free(want);
        free(y);
    }
}

/* ---- oneDNN ---------------------------------------------------------------------------------- */

#ifdef HAVE_ONEDNN
typedef struct Job {
    const OnednnOp *op;
    const float *x;
    float *y;
} Job;

static void *job_run(void *user)
{
    const Job *job = user;
    void *scratch = alloc(onednn_op_scratch(job->op));
    onednn_thread_init();
    for (int i = 0; i < 50; i++)
        onednn_op_run(job->op, (const void *const[]){job->x}, job->y, scratch);
    free(scratch);
    return NULL;
}

/* The same operator on four threads at once gives each the bytes of one alone. */
static void test_onednn_threads(void **state)
{
    enum { IN = 14 * 14 * 32, OUT = 14 * 14 * 48 };
    const f_conv_p p = {1, 1, 14, 14, 1, 14, 14, 32, 48, 1, 1,    3,
                        3, 1, 1,  1,  1, 1,  1,  0,  1,  1, 0.0f, 6.0f};
    (void)state;
    float *w = floats(48 * 32 * 9), *bias = floats(48);
    Buf *const in[] = {NULL, &(Buf){.data = w}, &(Buf){.data = bias}};
    OnednnOp *op = onednn_op_new(kernel_find("f_conv"), &p, in, NULL);
    assert_non_null(op);
    assert_true(onednn_ops > 100); /* the sweeps before this met oneDNN, too */
    Job jobs[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) jobs[i] = (Job){op, floats(IN), floats(OUT)};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, job_run, &jobs[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) {
        Job alone = {op, jobs[i].x, floats(OUT)};
        job_run(&alone);
        assert_memory_equal(alone.y, jobs[i].y, OUT * sizeof(float));
        free(alone.y);
        free((void *)(uintptr_t)jobs[i].x);
        free(jobs[i].y);
    }
    onednn_op_free(op);
    free(w);
    free(bias);
    print_message("# %s: %d operators compared\n", onednn_name(), onednn_ops);
}
#endif

/* Generated C can call every kernel: its prototype and its fields were read from its header. */
static void test_embedded(void **state)
{
    (void)state;
    for (const Kernel *k = kernel_table(KERNEL_BASE); k->name; k++) {
        const Prototype *p = kernel_prototypes;
        while (p->kernel && strcmp(p->kernel, k->name)) p++;
        if (!p->kernel) fail_msg("%s: no prototype was read from its header", k->name);
        const Fields *f = kernel_fields;
        while (f->params && strcmp(f->params, p->params)) f++;
        if (!f->params) fail_msg("%s: no fields of %s", k->name, p->params);
        int types = 0, fields = 0;
        while (p->types[types]) types++;
        while (f->names[fields]) fields++;
        if (types != k->nin + k->nout || fields != k->nint + k->nfloat)
            fail_msg("%s: %d pointers and %d fields were read, want %d and %d", k->name, types,
                     fields, k->nin + k->nout, k->nint + k->nfloat);
    }
}

/* What a packing reads of the parameters is what its traits say: no other field changes a byte. */
static void test_pack_fields(void **state)
{
    (void)state;
    for (const Kernel *k = kernel_table(KERNEL_BASE); k->name; k++) {
        if (!k->pack || !k->pack_fields) continue;
        int32_t p[64];
        float raw[4 * 4 * 4 * 4 * 4];
        for (int i = 0; i < 64; i++) p[i] = 4;
        for (int i = 0; i < 1024; i++) raw[i] = (float)i;
        size_t bytes = k->pack_bytes(p);
        void *want = calloc(1, bytes), *got = calloc(1, bytes);
        k->pack(p, raw, want);
        for (int i = 0; i < k->nint; i++) {
            if (k->pack_fields >> i & 1) continue;
            p[i] = 5;
            assert_int_equal(k->pack_bytes(p), bytes);
            k->pack(p, raw, got);
            assert_memory_equal(got, want, bytes);
            p[i] = 4;
        }
        free(want);
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack_fields),
        cmocka_unit_test_setup(test_conv, reseed),
        cmocka_unit_test_setup(test_dwconv, reseed),
        cmocka_unit_test_setup(test_pools, reseed),
        cmocka_unit_test_setup(test_gemm, reseed),
        cmocka_unit_test(test_embedded),
#ifdef HAVE_ONEDNN
        cmocka_unit_test_setup(test_onednn_threads, reseed),
#endif
    };
#ifdef HAVE_ONEDNN
    onednn_thread_init();
#endif
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
