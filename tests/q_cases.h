/* tests/q_cases.h - random cases for the integer kernels, and references that share nothing with
 * them: sums in int64 with the zero point subtracted, float32 roundings of exact doubles.
 *
 * Used by test_q_kernels.c on every instruction set, and by q_guest.c on any machine: each run of
 * q_cases() gives the same checksum of all output bytes everywhere.
 */
#ifndef TESTS_Q_CASES_H
#define TESTS_Q_CASES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/kernel.h"
#include "kernels/q_params.h"

/* ---- random numbers, memory, checksum ---------------------------------------------------------*/

typedef struct Cases {
    const Kernel *table;
    uint64_t seed;
    uint64_t sum;    /* FNV-1a of all output bytes so far */
    uint64_t values; /* how many */
    bool quiet;      /* says nothing of what is wrong */
} Cases;

#define Q_SUM 0xcbf29ce484222325u /* what checksums start from */

static inline uint32_t rnd(Cases *t)
{
    t->seed = t->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(t->seed >> 32);
}

static inline int32_t between(Cases *t, int32_t lo, int32_t hi)
{
    return (int32_t)(lo + (int64_t)(rnd(t) % (uint32_t)((int64_t)hi - lo + 1)));
}

static inline bool one_in(Cases *t, uint32_t n) { return rnd(t) % n == 0; }

/* Exactly that many bytes, so that a sanitizer sees an access outside. */
static inline void *bytes_new(size_t n)
{
    void *p = malloc(n + !n);
    if (!p) exit(1);
    return p;
}

static inline uint8_t *random_bytes(Cases *t, size_t n)
{
    uint8_t *x = bytes_new(n);
    /* Now and then the extremes only, which make the greatest sums. */
    const bool extreme = one_in(t, 4);
    const uint8_t ends[4] = {0, 255, 127, 128};
    for (size_t i = 0; i < n; i++) x[i] = extreme ? ends[rnd(t) % 4] : (uint8_t)rnd(t);
    return x;
}

static inline const Kernel *q_find(const Kernel *table, const char *name)
{
    while (strcmp(table->name, name) != 0) table++;
    return table;
}

/* Runs the kernel, input 1 packed where it wants it, into `n` bytes; nothing beyond is written. */
static inline uint8_t *run_case(Cases *t, const char *name, const void *p, const void *const *in,
                                size_t n)
{
    enum { GUARD = 64 };
    const Kernel *k = q_find(t->table, name);
    const void *args[5] = {0};
    for (int i = 0; i < k->nin; i++) args[i] = in[i];
    void *packed = k->pack ? bytes_new(k->pack_bytes(p)) : NULL;
    if (k->pack) k->pack(p, in[1], packed);
    if (k->pack) args[1] = packed;
    uint8_t *y = bytes_new(n + GUARD);
    memset(y, 0xa5, n + GUARD);
    k->run(p, args, (void *[]){y});
    free(packed);
    for (size_t i = n; i < n + GUARD; i++)
        if (y[i] != 0xa5) {
            printf("%s wrote beyond its output\n", name);
            exit(1);
        }
    for (size_t i = 0; i < n; i++) t->sum = (t->sum ^ y[i]) * 0x100000001b3u;
    t->values += n;
    return y;
}

/* Whether y, which is freed, is what was wanted. */
static inline bool as_wanted(const Cases *t, const char *name, uint8_t *y, const int32_t *want,
                             size_t n)
{
    size_t i = 0;
    while (i < n && y[i] == (uint8_t)want[i]) i++;
    if (i < n && !t->quiet) printf("%s: [%zu] is %d, want %d\n", name, i, y[i], (uint8_t)want[i]);
    free(y);
    return i == n;
}

/* ---- references
 * --------------------------------------------------------------------------------*/

static inline float float_of(q_scale bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline q_scale bits_of(float f)
{
    q_scale bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline int32_t limit(double v, int32_t lo, int32_t hi)
{
    return v < lo ? lo : v > hi ? hi : (int32_t)v;
}

/* The product of two floats is exact in double, so this rounds as float multiplication does,
 * whatever the compiler makes of it. */
static inline int32_t ref_requant(int64_t acc, q_scale scale, int32_t zero, int32_t lo, int32_t hi)
{
    const volatile float sum = (float)(int32_t)acc;
    const volatile float v = (float)((double)sum * (double)float_of(scale));
    return limit(rint((double)v) + zero, lo, hi);
}

static inline int32_t value_of(const uint8_t *x, size_t i, int32_t is_signed)
{
    return is_signed ? (int8_t)x[i] : x[i];
}

/* ---- what cases are made of
 * --------------------------------------------------------------------*/

/* A zero point of that type: the ends and the middle as often as any other. */
static inline int32_t random_zero(Cases *t, int32_t is_signed)
{
    const int32_t some[] = {0, 1, 127, 128, 255};
    const int32_t z = one_in(t, 3) ? between(t, 0, 255) : some[rnd(t) % 5];
    return is_signed ? z - 128 : z;
}

/* A clamp within the type that has that zero point. */
static inline void random_clamp(Cases *t, int32_t is_signed, int32_t zero, int32_t *lo, int32_t *hi)
{
    *lo = is_signed ? -128 : 0;
    *hi = *lo + 255;
    if (one_in(t, 3)) *lo = zero; /* Relu */
    if (one_in(t, 4)) *hi = between(t, *lo, *hi);
}

/* A scale that takes sums of about `most` to outputs; now and then one at an edge: where ties are
 * frequent, above 1, so large or small that everything saturates or vanishes. */
static inline q_scale random_scale(Cases *t, double most)
{
    const float odd[] = {0.5f,     1.0f,      1.5f,        0.25f,     0x1p-20f,
                         0x1p-24f, 0x1p23f,   300.0f,      0.0f,      1e20f,
                         1e-20f,   0x1p-126f, 0x1.8p-140f, 0x1p-149f, 0x1.fffffep127f};
    if (one_in(t, 6)) return bits_of(odd[rnd(t) % (sizeof odd / sizeof *odd)]);
    int e;
    const double mid = 200.0 / (most + 1.0) * (0.2 + rnd(t) * 0x1p-31);
    frexp(mid, &e);
    if (one_in(t, 4)) return bits_of((float)ldexp(between(t, 1, 7), e - 2));
    return bits_of((float)mid);
}

/* Bias and scale of each output channel. `most` is the greatest |sum of products|; some biases go
 * beyond 2^24, and as far as int32 goes. */
static inline void random_channels(Cases *t, int32_t n, int64_t most, int64_t *bias, q_scale *scale)
{
    const int kind = (int)(rnd(t) % 4);
    const int64_t room = INT32_MAX - most;
    int64_t wide = kind == 0 ? 0 : kind == 1 ? most / 4 : kind == 2 ? 130000000 : room;
    if (wide > room) wide = room;
    for (int32_t i = 0; i < n; i++) {
        bias[i] = wide ? between(t, (int32_t)-wide, (int32_t)wide) : 0;
        scale[i] = random_scale(t, (double)most / 8 + (double)wide);
    }
}

/* A random axis: sizes, kernel, stride, dilation, padding in front. */
static inline void random_axis(Cases *t, int32_t most, int32_t *in, int32_t *out, int32_t *k,
                               int32_t *s, int32_t *d, int32_t *pad)
{
    int32_t behind;
    do {
        *in = between(t, 1, most);
        *k = between(t, 1, 5);
        *s = between(t, 1, 3);
        *d = one_in(t, 3) ? between(t, 1, 3) : 1;
        *pad = between(t, 0, (*k - 1) * *d);
        behind = between(t, 0, (*k - 1) * *d);
    } while (*in + *pad + behind < (*k - 1) * *d + 1);
    *out = (*in + *pad + behind - (*k - 1) * *d - 1) / *s + 1;
}

static inline void no_axis(int32_t *in, int32_t *out, int32_t *k, int32_t *s, int32_t *d,
                           int32_t *pad)
{
    *in = *out = *k = *s = *d = 1;
    *pad = 0;
}

/* ---- convolutions
 * ------------------------------------------------------------------------------*/

/* Sum of products of output o = {n, d, h, w, c}, outside counting as the zero point. */
static inline int64_t ref_conv(const q_conv_p *p, const uint8_t *x, const int8_t *w,
                               const int32_t o[5])
{
    const int32_t icg = p->ic / p->group, first = o[4] / (p->oc / p->group) * icg;
    int64_t sum = 0;
    for (int32_t d = 0; d < p->kd; d++)
        for (int32_t h = 0; h < p->kh; h++)
            for (int32_t v = 0; v < p->kw; v++) {
                const int32_t id = o[1] * p->sd - p->pd + d * p->dd;
                const int32_t ih = o[2] * p->sh - p->ph + h * p->dh;
                const int32_t iw = o[3] * p->sw - p->pw + v * p->dw;
                if (id < 0 || id >= p->id || ih < 0 || ih >= p->ih || iw < 0 || iw >= p->iw)
                    continue;
                const int32_t pixel = ((o[0] * p->id + id) * p->ih + ih) * p->iw + iw;
                for (int32_t c = 0; c < icg; c++) {
                    const size_t at = (size_t)pixel * (size_t)p->ic + (size_t)(first + c);
                    const int32_t tap = (((o[4] * icg + c) * p->kd + d) * p->kh + h) * p->kw + v;
                    sum += (int64_t)(value_of(x, at, p->x_signed) - p->x_zero) * w[tap];
                }
            }
    return sum;
}

static inline q_conv_p random_conv(Cases *t, bool depthwise)
{
    q_conv_p p = {.n = between(t, 1, 2)};
    p.x_signed = between(t, 0, 1);
    const int32_t rank = between(t, 1, 3);
    const int32_t most = rank == 1 ? 40 : rank == 2 ? 14 : 6;
    no_axis(&p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd);
    no_axis(&p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph);
    if (rank > 2) random_axis(t, most, &p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd);
    if (rank > 1) random_axis(t, most, &p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph);
    random_axis(t, most, &p.iw, &p.ow, &p.kw, &p.sw, &p.dw, &p.pw);
    p.group = one_in(t, 3) ? between(t, 1, 4) : 1;
    p.ic = p.group * between(t, 1, one_in(t, 3) ? 70 / p.group : 6);
    p.oc = p.group * between(t, 1, one_in(t, 3) ? 70 / p.group : 20 / p.group);
    if (depthwise) p.group = p.ic = p.oc = between(t, 1, 70);
    if (!depthwise && rank == 1 && one_in(t, 2)) p.ic = p.group * between(t, 1, 600 / p.group);
    if (!depthwise && one_in(t, 8)) { /* one pixel a window */
        no_axis(&p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd);
        no_axis(&p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph);
        p.kw = p.sw = p.dw = 1;
        p.pw = 0;
        p.ow = p.iw;
    }
    const int32_t y_signed = between(t, 0, 1);
    p.x_zero = random_zero(t, p.x_signed);
    p.y_zero = random_zero(t, y_signed);
    random_clamp(t, y_signed, p.y_zero, &p.lo, &p.hi);
    return p;
}

static inline bool conv_case(Cases *t, bool depthwise)
{
    const q_conv_p p = random_conv(t, depthwise);
    const char *name = depthwise ? "q_dwconv" : "q_conv";
    const int32_t icg = p.ic / p.group, each = icg * p.kd * p.kh * p.kw;
    uint8_t *x = random_bytes(t, (size_t)(p.n * p.id * p.ih * p.iw * p.ic));
    int8_t *w = (int8_t *)random_bytes(t, (size_t)(p.oc * each));
    int64_t *bias = bytes_new((size_t)p.oc * sizeof *bias);
    q_scale *scale = bytes_new((size_t)p.oc * sizeof *scale);
    uint32_t *folded = bytes_new((size_t)p.oc * sizeof *folded);
    random_channels(t, p.oc, (int64_t)each * 255 * 128, bias, scale);
    for (int32_t c = 0; c < p.oc; c++) {
        folded[c] = (uint32_t)bias[c]; /* may wrap */
        for (int32_t i = 0; i < each; i++) folded[c] -= (uint32_t)(p.x_zero * w[c * each + i]);
    }
    const size_t n = (size_t)(p.n * p.od * p.oh * p.ow * p.oc);
    int32_t *want = bytes_new(n * sizeof *want), *at = want, o[5];
    for (o[0] = 0; o[0] < p.n; o[0]++)
        for (o[1] = 0; o[1] < p.od; o[1]++)
            for (o[2] = 0; o[2] < p.oh; o[2]++)
                for (o[3] = 0; o[3] < p.ow; o[3]++)
                    for (o[4] = 0; o[4] < p.oc; o[4]++)
                        *at++ = ref_requant(bias[o[4]] + ref_conv(&p, x, w, o), scale[o[4]],
                                            p.y_zero, p.lo, p.hi);
    const bool ok = as_wanted(
        t, name, run_case(t, name, &p, (const void *[]){x, w, folded, scale}, n), want, n);
    free(x), free(w), free(bias), free(scale), free(folded), free(want);
    return ok;
}

static inline bool gemm_case(Cases *t)
{
    q_gemm_p p = {.m = one_in(t, 2) ? 1 : between(t, 1, 20)};
    p.n = between(t, 1, one_in(t, 4) ? 300 : 40);
    p.k = between(t, 1, one_in(t, 4) ? 700 : 40);
    p.transb = between(t, 0, 1);
    p.x_signed = between(t, 0, 1);
    const int32_t y_signed = between(t, 0, 1);
    const int32_t x_zero = random_zero(t, p.x_signed);
    p.y_zero = random_zero(t, y_signed);
    random_clamp(t, y_signed, p.y_zero, &p.lo, &p.hi);
    uint8_t *x = random_bytes(t, (size_t)(p.m * p.k));
    int8_t *w = (int8_t *)random_bytes(t, (size_t)(p.k * p.n));
    int64_t *bias = bytes_new((size_t)p.n * sizeof *bias);
    q_scale *scale = bytes_new((size_t)p.n * sizeof *scale);
    uint32_t *folded = bytes_new((size_t)p.n * sizeof *folded);
    const size_t n = (size_t)(p.m * p.n);
    int32_t *want = bytes_new(n * sizeof *want);
    random_channels(t, p.n, (int64_t)p.k * 255 * 128, bias, scale);
    for (int32_t j = 0; j < p.n; j++) {
        folded[j] = (uint32_t)bias[j];
        for (int32_t m = 0; m < p.m; m++) {
            int64_t sum = bias[j];
            for (int32_t k = 0; k < p.k; k++) {
                const int32_t weight = w[p.transb ? j * p.k + k : k * p.n + j];
                sum += (int64_t)(value_of(x, (size_t)(m * p.k + k), p.x_signed) - x_zero) * weight;
                if (m == 0) folded[j] -= (uint32_t)(x_zero * weight);
            }
            want[m * p.n + j] = ref_requant(sum, scale[j], p.y_zero, p.lo, p.hi);
        }
    }
    const bool ok = as_wanted(
        t, "q_gemm", run_case(t, "q_gemm", &p, (const void *[]){x, w, folded, scale}, n), want, n);
    free(x), free(w), free(bias), free(scale), free(folded), free(want);
    return ok;
}

/* ---- elementwise
 * -------------------------------------------------------------------------------*/

/* v + zero, exact in double for |v| < 2^51, rounded half to even. */
static inline int32_t ref_round(double v, int32_t zero, int32_t lo, int32_t hi)
{
    return limit(rint(v + zero), lo, hi);
}

/* The least n for which x is whole times 2^-n. */
static inline int32_t whole_at(float x)
{
    int e, n = 0;
    double m = frexp((double)x, &e);
    while (m != rint(m)) m *= 2, n++;
    return x == 0.0f ? 0 : n - e;
}

/* Sets the scales sa / sy and sb / sy, their offset and unit; false where they are too far apart
 * for the kernel. */
static inline bool add_scales(q_add_p *p, const float scale[2], const int32_t zero[3])
{
    const volatile float b_part = scale[1] * (float)zero[1];
    const float offset = (float)zero[2] - fmaf(scale[0], (float)zero[0], b_part);
    const float all[3] = {scale[0], scale[1], offset};
    double most = 0.0;
    p->unit = 1;
    for (int i = 0; i < 3; i++) {
        if (whole_at(all[i]) > p->unit) p->unit = whole_at(all[i]);
        most += fabs((double)all[i]) * (i < 2 ? 255 : 1);
    }
    p->a_scale = (int32_t)bits_of(scale[0]);
    p->b_scale = (int32_t)bits_of(scale[1]);
    p->offset = (int32_t)bits_of(offset);
    return p->unit < 62 && ldexp(most, p->unit) < 0x1p62;
}

static inline bool add_case(Cases *t)
{
    q_add_p p = {.count = between(t, 1, 300)};
    p.a_signed = between(t, 0, 1);
    p.b_signed = between(t, 0, 1);
    const int32_t y_signed = between(t, 0, 1);
    float scale[2];
    int32_t zero[3];
    zero[0] = random_zero(t, p.a_signed);
    zero[1] = random_zero(t, p.b_signed);
    zero[2] = random_zero(t, y_signed);
    const bool ties = one_in(t, 3);
    do
        for (int i = 0; i < 2; i++) {
            const float m =
                1.0f + (float)(ties ? rnd(t) % 4 : rnd(t) >> 8) * (ties ? 0.25f : 0x1p-24f);
            scale[i] = ldexpf(m, between(t, -8, 2));
        }
    while (!add_scales(&p, scale, zero));
    random_clamp(t, y_signed, zero[2], &p.lo, &p.hi);
    const size_t n = (size_t)p.count;
    uint8_t *a = random_bytes(t, n);
    uint8_t *b = random_bytes(t, n);
    int32_t *want = bytes_new(n * sizeof *want);
    for (size_t i = 0; i < n; i++) {
        const float inner =
            fmaf((float)value_of(b, i, p.b_signed), scale[1], float_of((q_scale)p.offset));
        const float v = fmaf((float)value_of(a, i, p.a_signed), scale[0], inner);
        want[i] = limit(rint((double)v), p.lo, p.hi);
    }
    bool ok = as_wanted(t, "q_add", run_case(t, "q_add", &p, (const void *[]){a, b}, n), want, n);
    q_find(t->table, "q_add")->run(&p, (const void *[]){a, b}, (void *[]){b});
    ok = ok && as_wanted(t, "q_add in place", b, want, n); /* frees b */
    free(a), free(want);
    return ok;
}

static inline bool mul_case(Cases *t)
{
    q_mul_p p = {.a_signed = between(t, 0, 1)};
    p.b_signed = between(t, 0, 1);
    int32_t *dim = &p.d0, *as = &p.a0, *bs = &p.b0, asize = 1, bsize = 1;
    for (int i = 5; i >= 0; i--) {
        dim[i] = between(t, 1, 4);
        const uint32_t kind = rnd(t) % 4; /* 0: a broadcasts, 1: b does */
        as[i] = kind == 0 ? 0 : asize;
        bs[i] = kind == 1 ? 0 : bsize;
        asize *= kind == 0 ? 1 : dim[i];
        bsize *= kind == 1 ? 1 : dim[i];
    }
    const int32_t y_signed = between(t, 0, 1);
    p.a_zero = random_zero(t, p.a_signed);
    p.b_zero = random_zero(t, p.b_signed);
    p.y_zero = random_zero(t, y_signed);
    p.shift = one_in(t, 2) ? 128 : 0;
    p.scale = (int32_t)random_scale(t, 20000.0);
    if (one_in(t, 2)) /* some products are near a tie */
        p.scale = (int32_t)bits_of((float)((between(t, 0, 200) + 0.5) / between(t, 1, 2000)));
    random_clamp(t, y_signed, p.y_zero, &p.lo, &p.hi);
    uint8_t *a = random_bytes(t, (size_t)asize);
    uint8_t *b = random_bytes(t, (size_t)bsize);
    const int32_t n = dim[0] * dim[1] * dim[2] * dim[3] * dim[4] * dim[5];
    int32_t *want = bytes_new((size_t)n * sizeof *want);
    for (int32_t i = 0; i < n; i++) {
        int32_t at = 0, bt = 0;
        for (int32_t d = 5, rest = i; d >= 0; rest /= dim[d--]) {
            at += rest % dim[d] * as[d];
            bt += rest % dim[d] * bs[d];
        }
        const int32_t product = (value_of(a, (size_t)at, p.a_signed) - p.a_zero) *
                                (value_of(b, (size_t)bt, p.b_signed) - p.b_zero);
        volatile float v = (float)product * float_of((q_scale)p.scale);
        v = v + (float)(p.y_zero + p.shift);
        want[i] = limit(rint((double)v) - p.shift, p.lo, p.hi);
    }
    const bool ok = as_wanted(
        t, "q_mul", run_case(t, "q_mul", &p, (const void *[]){a, b}, (size_t)n), want, (size_t)n);
    free(a), free(b), free(want);
    return ok;
}

static inline bool table_case(Cases *t)
{
    const q_table_p p = {between(t, 1, 500)};
    const size_t n = (size_t)p.count;
    uint8_t *x = random_bytes(t, n);
    uint8_t *table = random_bytes(t, 256);
    int32_t *want = bytes_new(n * sizeof *want);
    for (size_t i = 0; i < n; i++) want[i] = table[x[i]];
    const bool ok =
        as_wanted(t, "q_table", run_case(t, "q_table", &p, (const void *[]){x, table}, n), want, n);
    free(x), free(table), free(want);
    return ok;
}

static inline bool softmax_case(Cases *t)
{
    q_softmax_p p = {.outer = between(t, 1, 4)};
    p.count = between(t, 1, one_in(t, 4) ? 1000 : 20);
    p.inner = one_in(t, 2) ? 1 : between(t, 1, 5);
    p.x_signed = between(t, 0, 1);
    const int32_t halvings = between(t, 0, 8);
    const double scale = ldexp(1.0 + rnd(t) * 0x1p-32, -halvings);
    uint32_t table[256];
    const bool ties = one_in(t, 3); /* small multiples of one number, sums of about 512 of them */
    if (ties) p.count = between(t, 250, 262);
    for (int i = 0; i < 256; i++)
        table[i] = ties ? (uint32_t)(1 + i % 3) << 14
                        : (uint32_t)(8388608.0 / (1.0 + i * scale * 4 + i * i * scale));
    p.y_zero = between(t, 0, 1) ? -128 : 0;
    p.inverse = one_in(t, 3) ? between(t, 1, 2000) : 256;
    p.most = one_in(t, 4) ? between(t, 0, 255) : 255;
    const size_t n = (size_t)(p.outer * p.count * p.inner);
    uint8_t *x = random_bytes(t, n);
    int32_t *want = bytes_new(n * sizeof *want);
    for (int32_t o = 0; o < p.outer; o++)
        for (int32_t i = 0; i < p.inner; i++) {
            const size_t first = (size_t)(o * p.count * p.inner + i);
            int32_t most = -128;
            uint64_t sum = 0;
            for (int32_t j = 0; j < p.count; j++) {
                const int32_t v = value_of(x, first + (size_t)(j * p.inner), p.x_signed);
                most = v > most ? v : most;
            }
            for (int32_t j = 0; j < p.count; j++)
                sum += table[most - value_of(x, first + (size_t)(j * p.inner), p.x_signed)];
            for (int32_t j = 0; j < p.count; j++) {
                const size_t at = first + (size_t)(j * p.inner);
                const uint64_t e = (uint64_t)p.inverse * table[most - value_of(x, at, p.x_signed)];
                uint64_t q = 0; /* the greatest with (2q - 1) * sum <= 2e, even where equal */
                while (q < (uint64_t)p.inverse &&
                       ((2 * q + 1) * sum < 2 * e || ((2 * q + 1) * sum == 2 * e && q % 2 == 1)))
                    q++;
                want[at] = (q > (uint64_t)p.most ? p.most : (int32_t)q) + p.y_zero;
            }
        }
    const bool ok = as_wanted(t, "q_softmax",
                              run_case(t, "q_softmax", &p, (const void *[]){x, table}, n), want, n);
    free(x), free(want);
    return ok;
}

/* ---- pools
 * -------------------------------------------------------------------------------------*/

typedef struct Pooled {
    int64_t sum; /* of x - x_zero inside */
    int32_t most, count;
} Pooled;

static inline Pooled ref_pool(const q_pool_p *p, const uint8_t *x, const int32_t o[5])
{
    Pooled r = {0, INT32_MIN, 0};
    for (int32_t d = 0; d < p->kd; d++)
        for (int32_t h = 0; h < p->kh; h++)
            for (int32_t v = 0; v < p->kw; v++) {
                const int32_t id = o[1] * p->sd - p->pd + d * p->dd;
                const int32_t ih = o[2] * p->sh - p->ph + h * p->dh;
                const int32_t iw = o[3] * p->sw - p->pw + v * p->dw;
                if (id < 0 || id >= p->id || ih < 0 || ih >= p->ih || iw < 0 || iw >= p->iw)
                    continue;
                const int32_t pixel = ((o[0] * p->id + id) * p->ih + ih) * p->iw + iw;
                const int32_t value = value_of(x, (size_t)(pixel * p->c + o[4]), p->x_signed);
                r.sum += value - p->x_zero;
                r.most = value > r.most ? value : r.most;
                r.count++;
            }
    return r;
}

/* The mean in float32, one rounding after the other. */
static inline int32_t ref_mean(const q_pool_p *p, const uint8_t *x, const int32_t o[5])
{
    volatile float sum = 0, v;
    int32_t count = 0;
    for (int32_t d = 0; d < p->kd; d++)
        for (int32_t h = 0; h < p->kh; h++)
            for (int32_t w = 0; w < p->kw; w++) {
                const int32_t id = o[1] * p->sd - p->pd + d * p->dd;
                const int32_t ih = o[2] * p->sh - p->ph + h * p->dh;
                const int32_t iw = o[3] * p->sw - p->pw + w * p->dw;
                if (id < 0 || id >= p->id || ih < 0 || ih >= p->ih || iw < 0 || iw >= p->iw)
                    continue;
                const int32_t pixel = ((o[0] * p->id + id) * p->ih + ih) * p->iw + iw;
                const int32_t value = value_of(x, (size_t)(pixel * p->c + o[4]), p->x_signed);
                v = float_of((q_scale)p->x_scale) * (float)(value - p->x_zero);
                sum = sum + v;
                count++;
            }
    v = sum / (float)(p->whole ? p->kd * p->kh * p->kw : count ? count : 1);
    v = v / float_of((q_scale)p->y_scale);
    v = v + (float)(p->y_zero + p->shift);
    const float r = rintf(v) - (float)p->shift;
    return r <= (float)p->lo ? p->lo : r >= (float)p->hi ? p->hi : (int32_t)r;
}

/* Scales of a mean, often equal or simple, so that ties are many. */
static inline void random_mean(Cases *t, q_pool_p *p, q_scale *scale, int32_t window)
{
    const q_scale at = (q_scale)(127 + between(t, -60, 60)) << 23;
    const float x = float_of(at | (rnd(t) & 0x7fffff)), odd = float_of(at | (rnd(t) & 0x7fffff));
    const float y = one_in(t, 2) ? x * (float)between(t, 1, 3) : odd;
    p->x_scale = (int32_t)bits_of(x);
    p->y_scale = (int32_t)bits_of(y);
    p->whole = between(t, 0, 1);
    p->shift = p->lo < 0 ? between(t, 0, 1) * 128 : 0;
    const double ratio = (double)x / (double)y;
    p->near = (int32_t)ceil(((2.0 * window + 8) * 255 * ratio + 1024) / 16) + 2;
    for (int32_t i = 0; i <= window; i++)
        scale[i] = bits_of(x / (y * (float)(p->whole || !i ? window : i)));
}

static inline bool pool_case(Cases *t, bool average, bool global)
{
    q_pool_p p = {.n = between(t, 1, 2)};
    p.c = between(t, 1, 150);
    p.x_signed = between(t, 0, 1);
    const bool flat = one_in(t, 2);
    no_axis(&p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd);
    if (!flat) random_axis(t, 5, &p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd);
    random_axis(t, 9, &p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph);
    random_axis(t, 9, &p.iw, &p.ow, &p.kw, &p.sw, &p.dw, &p.pw);
    const int32_t window = p.kd * p.kh * p.kw;
    const int32_t y_signed = average ? between(t, 0, 1) : p.x_signed;
    p.x_zero = random_zero(t, p.x_signed);
    p.y_zero = average ? random_zero(t, y_signed) : p.x_zero;
    random_clamp(t, y_signed, p.y_zero, &p.lo, &p.hi);
    uint8_t *x = random_bytes(t, (size_t)(p.n * p.id * p.ih * p.iw * p.c));
    q_scale *scale = bytes_new((size_t)(window + 1) * sizeof *scale);
    const float ratio = float_of(random_scale(t, 200.0));
    for (int32_t i = 0; i <= window; i++) scale[i] = bits_of(ratio / (float)(i ? i : 1));
    if (average && !global) random_mean(t, &p, scale, window);
    const size_t n = (size_t)(p.n * p.od * p.oh * p.ow * p.c);
    int32_t *want = bytes_new(n * sizeof *want), *at = want, o[5];
    for (o[0] = 0; o[0] < p.n; o[0]++)
        for (o[1] = 0; o[1] < p.od; o[1]++)
            for (o[2] = 0; o[2] < p.oh; o[2]++)
                for (o[3] = 0; o[3] < p.ow; o[3]++)
                    for (o[4] = 0; o[4] < p.c; o[4]++) {
                        const Pooled r = ref_pool(&p, x, o);
                        *at++ = p.near    ? ref_mean(&p, x, o)
                                : average ? ref_requant(r.sum, scale[r.count], p.y_zero, p.lo, p.hi)
                                        : limit(r.most, p.lo, p.hi);
                    }
    const char *name = average ? "q_avgpool" : "q_maxpool";
    const bool ok =
        as_wanted(t, name, run_case(t, name, &p, (const void *[]){x, scale}, n), want, n);
    free(x), free(scale), free(want);
    return ok;
}

/* ---- requantization
 * ----------------------------------------------------------------------------*/

/* A sum and a scale, often such that the product is at or beside a tie. */
static inline void random_pair(Cases *t, int32_t *sum, q_scale *scale)
{
    const uint32_t bits = rnd(t);
    *sum = (int32_t)bits >> rnd(t) % 31;
    const uint32_t low = rnd(t);
    const uint32_t mantissa = one_in(t, 3) ? low << rnd(t) % 24 : low;
    /* 2^e * |sum| around 0.25 .. 300, mostly */
    int e = 127 + between(t, -2, 8);
    for (uint32_t v = (uint32_t)(*sum < 0 ? -(int64_t)*sum : *sum); v > 1; v >>= 1) e--;
    if (one_in(t, 64)) e = between(t, 0, 254);
    if (e < 0) e = 0;
    *scale = (q_scale)e << 23 | (mantissa & 0x7fffff);
    if (!one_in(t, 2) || *sum == 0) return;
    /* The float next to (k + 1/2) / sum, or one beside it. */
    const float tie = (float)((between(t, 0, 260) + 0.5) / fabs((double)*sum));
    *scale = bits_of(tie) + (uint32_t)between(t, -2, 2);
}

/* Pairs through q_gemm with weights of zero: sums are the biases. */
static inline bool requant_case(Cases *t)
{
    enum { N = 4096 };
    const int32_t y_signed = between(t, 0, 1);
    q_gemm_p p = {.m = 1, .n = N, .k = 1, .y_zero = random_zero(t, y_signed)};
    p.lo = y_signed ? -128 : 0;
    p.hi = p.lo + 255;
    int32_t *sum = bytes_new(N * sizeof *sum), *want = bytes_new(N * sizeof *want);
    q_scale *scale = bytes_new(N * sizeof *scale);
    int8_t *w = bytes_new(N);
    memset(w, 0, N);
    for (int i = 0; i < N; i++) {
        random_pair(t, &sum[i], &scale[i]);
        want[i] = ref_requant(sum[i], scale[i], p.y_zero, p.lo, p.hi);
    }
    const bool ok =
        as_wanted(t, "requantization",
                  run_case(t, "q_gemm", &p, (const void *[]){"x", w, sum, scale}, N), want, N);
    free(sum), free(scale), free(w), free(want);
    return ok;
}

#include "tests/q_sum_cases.h"

/* ---- all
 * ---------------------------------------------------------------------------------------*/

/* `rounds` rounds of every kernel of a table: false, with a line on stdout, where one is wrong. */
static inline bool q_cases(Cases *t, int rounds)
{
    for (int i = 0; i < rounds; i++)
        if (!(conv_case(t, false) && conv_case(t, true) && gemm_case(t) && add_case(t) &&
              mul_case(t) && table_case(t) && softmax_case(t) && pool_case(t, false, false) &&
              pool_case(t, true, false) && pool_case(t, true, true) && requant_case(t) &&
              matmul_case(t) && conv_sums_case(t))) {
            printf("in round %d\n", i);
            return false;
        }
    return true;
}

#endif
