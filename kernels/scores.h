/* kernels/scores.h - what becomes of the sums of classifiers and regressors of ONNX's ai.onnx.ml:
 * scores, by a last function, and labels, both as ONNX Runtime has them.
 */
#ifndef KERNELS_SCORES_H
#define KERNELS_SCORES_H

#include <float.h>
#include "d_math.h"
#include "f_math.h"

/* The last function: ONNX's post_transform. */
enum { SCORES_NONE, SCORES_SOFTMAX, SCORES_LOGISTIC, SCORES_SOFTMAX_ZERO, SCORES_PROBIT };

/* What a score that stands alone becomes. */
enum {
    SCORE_ALONE,   /* itself */
    SCORE_REST,    /* 1 - s and s, or the logistic function of -s and s */
    SCORE_OPPOSITE /* -s and s, or the same */
};

typedef struct scores_p {
    int32_t rows, count; /* s is [rows][count] */
    int32_t size;        /* bytes of a number of s: 4, a float, or 8, a double */
    int32_t wide;        /* scores are doubles, else floats */
    int32_t last;        /* SCORES_NONE ... */
    int32_t single;      /* SCORE_ALONE ..., where count is 1; scores are [rows][2] then */
} scores_p;              /* scores(p, s, scores) */

/* Number i of an array, one of doubles if `wide`. */
KERNEL double scores_at(int32_t wide, const void *x, ptrdiff_t i)
{
    return wide ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

KERNEL void scores_put(int32_t wide, void *y, ptrdiff_t i, double v)
{
    if (wide) ((double *)y)[i] = v;
    else ((float *)y)[i] = (float)v;
}

/* What the normal distribution has below it with a likelihood of v, by an approximation that is
 * good to three digits; NaN outside 0..1. */
KERNEL double scores_probit(double v)
{
    const float x = 2.0f * (float)v - 1.0f, ln = f_log((1.0f - x) * (1.0f + x));
    const float a = 2.0f / (3.14159f * 0.147f) + 0.5f * ln;
    const float y = 1.41421356f * f_sqrt(f_sqrt(a * a - 1.0f / 0.147f * ln) - a);
    return y != y ? (double)NAN : x < 0.0f ? -(double)y : (double)y;
}

KERNEL double scores_exp(int32_t wide, double v)
{
    return wide ? d_exp(v) : (double)f_exp((float)v);
}

/* n numbers from number `from` of s on become powers of e, relative to the greatest, that add up to
 * 1. If `zero`, what is 0 stays so. */
KERNEL void scores_softmax(const scores_p *restrict p, const void *s, ptrdiff_t from,
                           void *restrict z, ptrdiff_t to, int32_t n, int32_t zero)
{
    const int32_t in = p->size == 8;
    double top = in ? -DBL_MAX : -(double)FLT_MAX, sum = 0.0;
    for (int32_t i = 0; i < n; i++) {
        const double v = scores_at(in, s, from + i);
        top = v > top ? v : top;
    }
    for (int32_t i = 0; i < n; i++) {
        const double v = scores_at(in, s, from + i);
        const int32_t stays = zero && v <= 1e-7 && v >= -1e-7;
        const double e = stays ? v * scores_exp(in, -top) : scores_exp(in, v - top);
        scores_put(p->wide, z, to + i, e);
        sum += stays ? 0.0 : e;
    }
    for (int32_t i = 0; i < n; i++) {
        const double v = scores_at(p->wide, z, to + i) / sum;
        scores_put(p->wide, z, to + i, v == v ? v : (double)NAN);
    }
}

KERNEL double scores_last(int32_t last, double v)
{
    return last == SCORES_LOGISTIC ? (double)f_sigmoid((float)v)
           : last == SCORES_PROBIT ? scores_probit(v)
                                   : v;
}

/* The score of a number that stands alone, and the one behind it if there is one. */
KERNEL void scores_single(const scores_p *restrict p, double v, void *restrict z, ptrdiff_t to)
{
    const int32_t logistic = p->last == SCORES_LOGISTIC;
    if (p->last == SCORES_PROBIT) {
        scores_put(p->wide, z, to, scores_probit(v));
        if (p->single != SCORE_ALONE) scores_put(p->wide, z, to + 1, 0.0);
    } else if (p->single == SCORE_ALONE) {
        scores_put(p->wide, z, to, v);
    } else {
        const double other = p->single == SCORE_REST ? 1.0 - v : -v;
        scores_put(p->wide, z, to, logistic ? scores_last(p->last, -v) : other);
        scores_put(p->wide, z, to + 1, logistic ? scores_last(p->last, v) : v);
    }
}

/* The scores of n numbers from number `from` of s on. */
KERNEL void scores_row(const scores_p *restrict p, const void *s, ptrdiff_t from, int32_t n,
                       void *restrict z, ptrdiff_t to)
{
    const int32_t in = p->size == 8;
    if (n == 1) {
        scores_single(p, scores_at(in, s, from), z, to);
    } else if (p->last == SCORES_SOFTMAX || p->last == SCORES_SOFTMAX_ZERO) {
        scores_softmax(p, s, from, z, to, n, p->last == SCORES_SOFTMAX_ZERO);
    } else {
        for (int32_t i = 0; i < n; i++)
            scores_put(p->wide, z, to + i, scores_last(p->last, scores_at(in, s, from + i)));
    }
}

KERNEL_TRAITS(scores, floats)
KERNEL_RUN void scores(const scores_p *restrict p, const void *restrict s, void *restrict z)
{
    const int32_t out = p->count == 1 && p->single != SCORE_ALONE ? 2 : p->count;
    for (ptrdiff_t r = 0; r < p->rows; r++)
        scores_row(p, s, r * p->count, p->count, z, r * out);
}

/* ---- labels ---------------------------------------------------------------------------------- */

/* How a label is found. */
enum {
    LABELS_BEST,  /* that of the greatest score, the first one of those that are equal */
    LABELS_ABOVE, /* the second one where the greatest score is above 0, else the best */
    LABELS_LIKELY /* the second one where it is 1/2 or more, else the best */
};

typedef struct labels_p {
    int32_t rows, count; /* s is [rows][count]; of one score, label 1 where it is above 0, else 0 */
    int32_t size;        /* bytes of a number of s: 4, a float, or 8, a double */
    int32_t rule;        /* LABELS_BEST ... */
} labels_p; /* labels(p, s, has or NULL, label of each class, y): classes without `has` are none */

KERNEL_TRAITS(labels, exact)
KERNEL_RUN void labels(const labels_p *restrict p, const void *restrict s,
                       const uint8_t *restrict has, const int64_t *restrict label,
                       int64_t *restrict y)
{
    for (ptrdiff_t r = 0; r < p->rows; r++) {
        int32_t best = -1;
        double top = 0.0;
        for (ptrdiff_t i = r * p->count; i < (r + 1) * p->count; i++) {
            const double v = scores_at(p->size == 8, s, i);
            if ((has && !has[i]) || (best >= 0 && !(v > top))) continue;
            best = (int32_t)(i - r * p->count);
            top = v;
        }
        if (p->count == 1) best = top > 0.0;
        if (p->rule == LABELS_ABOVE && top > 0.0) best = 1;
        if (p->rule == LABELS_LIKELY && top >= 0.5) best = 1;
        y[r] = label[best < 0 ? 0 : best];
    }
}

/* ---- trees of one or two classes ------------------------------------------------------------- */

typedef struct tree_pair_p {
    int32_t rows, count; /* sums and has are [rows][count], count 1 or 2; scores too */
    int32_t size;        /* bytes of a sum: 4, a float, or 8, a double */
    int32_t last;        /* SCORES_NONE ... */
    int32_t bases;       /* numbers that are added: 0 to count */
    int32_t one;         /* weights are of one class of two: 1, none is below 0; 2, some are */
} tree_pair_p; /* tree_pair(p, sums, has, bases or NULL, labels, scores, y): scores are floats.
                  Labels 0 and 1 are of the classes, 2 and 3 where weights are of both */

/* v + base as the sums have it. */
KERNEL double tree_pair_add(int32_t size, double v, double base)
{
    return size == 8 ? v + base : (double)((float)v + (float)base);
}

/* Adds the bases to the numbers of a row; whether there is but one score. */
KERNEL int32_t tree_pair_bases(const tree_pair_p *restrict p, const double *restrict base,
                               double v[2], int32_t has[2])
{
    if (p->bases == 2 && has[1]) {
        v[1] = tree_pair_add(p->size, v[0], base[1]);
        v[0] = -v[1];
        return 0;
    }
    for (int32_t i = 0; i < p->bases; i++) v[i] = tree_pair_add(p->size, v[i], base[i]);
    return p->count == 1 || (p->bases < 2 && !has[1]);
}

/* What becomes of a score that stands alone. */
KERNEL int32_t tree_pair_single(const tree_pair_p *restrict p)
{
    if (p->count == 1 || (!p->one && p->bases)) return SCORE_ALONE;
    return p->one == 1 ? SCORE_REST : SCORE_OPPOSITE;
}

KERNEL_TRAITS(tree_pair, floats)
KERNEL_RUN void tree_pair(const tree_pair_p *restrict p, const void *restrict sums,
                          const uint8_t *restrict has, const double *restrict base,
                          const int64_t *restrict label, float *restrict z, int64_t *restrict y)
{
    const ptrdiff_t count = p->count;
    for (ptrdiff_t r = 0; r < p->rows; r++) {
        double v[2] = {0.0, 0.0};
        int32_t some[2] = {1, 0};
        for (ptrdiff_t i = 0; i < count; i++) {
            v[i] = scores_at(p->size == 8, sums, r * count + i);
            some[i] = has[r * count + i] || count == 1;
        }
        const int32_t alone = tree_pair_bases(p, base, v, some);
        const double of = some[1] ? v[1] : some[0] ? v[0] : 0.0;
        y[r] = label[p->one ? of > (p->one == 1 ? 0.5 : 0.0) : 2 + (of > 0.0)];
        const scores_p q = {1, alone ? 1 : 2, 8, 0, p->last, tree_pair_single(p)};
        if (alone && count == 2) z[r * 2 + 1] = 0.0f;
        for (int32_t i = 0; i < 2 && !alone; i++) v[i] = some[i] ? v[i] : 0.0;
        scores_row(&q, v, 0, q.count, z, r * count);
    }
}

#endif
