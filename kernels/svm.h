/* kernels/svm.h - support vector machines as libsvm has them: how near rows are to vectors, and
 * what the vectors say of the rows.
 */
#ifndef KERNELS_SVM_H
#define KERNELS_SVM_H

#include "f_math.h"

enum { SVM_LINEAR, SVM_POLY, SVM_RBF, SVM_SIGMOID };
enum { SVM_LANES = 16 };

typedef struct svm_near_p {
    int32_t rows, vectors, features; /* x is [rows][features], v is [vectors][features] */
    int32_t kind;                    /* SVM_LINEAR ... */
    float gamma, coef, degree;       /* of a linear one, only coef is added */
} svm_near_p;                        /* svm_near(p, x, v, y): y is [rows][vectors] */

/* The sum of x * v, or of squares of x - v, n elements. */
KERNEL float svm_sum(const float *restrict x, const float *restrict v, int32_t n, int32_t apart)
{
    float s[SVM_LANES] = {0.0f};
    for (int32_t i = 0; i < n; i += SVM_LANES) {
        const int32_t m = n - i < SVM_LANES ? n - i : SVM_LANES;
        for (int32_t j = 0; j < m; j++) {
            const float d = x[i + j] - v[i + j];
            s[j] += apart ? d * d : x[i + j] * v[i + j];
        }
    }
    for (int32_t k = SVM_LANES / 2; k > 0; k /= 2)
        for (int32_t j = 0; j < k; j++) s[j] += s[j + k];
    return s[0];
}

KERNEL float svm_kind(const svm_near_p *restrict p, float sum)
{
    const float v = p->gamma * sum + p->coef;
    switch (p->kind) {
    case SVM_LINEAR: return sum + p->coef;
    case SVM_RBF: return f_exp(-p->gamma * sum);
    case SVM_SIGMOID: return f_tanh(v);
    default: return p->degree == 2.0f ? v * v : p->degree == 3.0f ? v * v * v : f_pow(v, p->degree);
    }
}

KERNEL_RUN void svm_near(const svm_near_p *restrict p, const float *restrict x,
                         const float *restrict v, float *restrict y)
{
    const ptrdiff_t n = p->features;
    for (ptrdiff_t r = 0; r < p->rows; r++)
        for (ptrdiff_t i = 0; i < p->vectors; i++)
            *y++ = svm_kind(p, svm_sum(x + r * n, v + i * n, p->features, p->kind == SVM_RBF));
}

/* ---- one number per row ---------------------------------------------------------------------- */

typedef struct svm_score_p {
    int32_t rows, vectors;
    int32_t side; /* only whether it is above 0 counts: 1, else -1 */
    float rho;    /* added to the sum */
} svm_score_p;    /* svm_score(p, near, coefficients, y) */

KERNEL_RUN void svm_score(const svm_score_p *restrict p, const float *restrict nearness,
                          const float *restrict coefficients, float *restrict y)
{
    for (ptrdiff_t r = 0; r < p->rows; r++) {
        const float v = svm_sum(nearness + r * p->vectors, coefficients, p->vectors, 0) + p->rho;
        y[r] = !p->side ? v : v > 0.0f ? 1.0f : -1.0f;
    }
}

/* ---- classes, two by two --------------------------------------------------------------------- */

typedef struct svm_votes_p {
    int32_t rows, vectors, classes;
} svm_votes_p; /* svm_votes(p, near, coefficients, first, rho, scores, votes): coefficients are
                  [classes - 1][vectors]; the vectors of class i are first[i] to first[i + 1] - 1;
                  scores are one for each pair of classes, votes one for each class */

/* Adds the products of the vectors of a class with a row of coefficients. */
KERNEL double svm_part(double sum, const float *restrict nearness, const float *restrict row,
                       int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++) sum += (double)(row[i] * nearness[i]);
    return sum;
}

KERNEL_RUN void svm_votes(const svm_votes_p *restrict p, const float *restrict nearness,
                          const float *restrict coefficients, const int32_t *restrict first,
                          const float *restrict rho, float *restrict scores, float *restrict votes)
{
    const ptrdiff_t n = p->vectors;
    for (ptrdiff_t r = 0; r < p->rows; r++, nearness += n, votes += p->classes) {
        const float *of = rho;
        for (int32_t i = 0; i < p->classes; i++) votes[i] = 0.0f;
        for (int32_t i = 0; i < p->classes; i++)
            for (int32_t j = i + 1; j < p->classes; j++) {
                const float *row = coefficients + (j - 1) * n, *other = coefficients + i * n;
                double sum = svm_part(0.0, nearness, row, first[i], first[i + 1]);
                sum = svm_part(sum, nearness, other, first[j], first[j + 1]) + (double)*of++;
                *scores++ = (float)sum;
                votes[sum > 0.0 ? i : j] += 1.0f;
            }
    }
}

/* ---- likelihoods of classes from those of pairs ---------------------------------------------- */

typedef struct svm_likely_p {
    int32_t rows, classes;
} svm_likely_p; /* svm_likely(p, scores, a, b, y, memory): scores, a and b are for each pair of
                   classes, y is [rows][classes]; memory is for 2 classes * classes + classes */

/* pair[i][j] becomes how likely class i is, of i and j. */
KERNEL void svm_pairs(int32_t k, const float *restrict scores, const float *restrict a,
                      const float *restrict b, float *restrict pair)
{
    const float least = 1.0e-7f, most = 1.0f - 1.0e-7f;
    for (int32_t i = 0; i < k; i++)
        for (int32_t j = i + 1; j < k; j++) {
            const float v = 1.0f - f_sigmoid(*scores++ * *a++ + *b++);
            const float likely = v < least ? least : v > most ? most : v;
            pair[i * k + j] = likely;
            pair[j * k + i] = 1.0f - likely;
        }
}

/* The quadratic form that the likelihoods make least. */
KERNEL void svm_form(int32_t k, const float *restrict pair, float *restrict q)
{
    for (int32_t i = 0; i < k; i++) {
        float sum = 0.0f;
        for (int32_t j = 0; j < k; j++) {
            if (j == i) continue;
            sum += pair[j * k + i] * pair[j * k + i];
            q[i * k + j] = -pair[j * k + i] * pair[i * k + j];
        }
        q[i * k + i] = sum;
    }
}

/* qy = q y; gives y q y. */
KERNEL float svm_product(int32_t k, const float *restrict q, const float *restrict y,
                         float *restrict qy)
{
    float all = 0.0f;
    for (int32_t i = 0; i < k; i++) {
        qy[i] = 0.0f;
        for (int32_t j = 0; j < k; j++) qy[i] += q[i * k + j] * y[j];
        all += y[i] * qy[i];
    }
    return all;
}

/* One class after the other takes what is best for it. */
KERNEL void svm_round(int32_t k, const float *restrict q, float all, float *restrict y,
                      float *restrict qy)
{
    for (int32_t i = 0; i < k; i++) {
        const float own = q[i * k + i], d = (all - qy[i]) / own, of = 1.0f + d;
        y[i] += d;
        all = (all + d * (d * own + 2.0f * qy[i])) / of / of;
        for (int32_t j = 0; j < k; j++) {
            qy[j] = (qy[j] + d * q[i * k + j]) / of;
            y[j] /= of;
        }
    }
}

/* Whether a step would change all classes alike, as nearly as is asked. */
KERNEL int32_t svm_even(int32_t k, const float *restrict qy, float all)
{
    float worst = 0.0f;
    for (int32_t i = 0; i < k; i++) {
        const float off = f_abs(qy[i] - all);
        worst = off > worst ? off : worst;
    }
    return worst < 0.005f / (float)k;
}

KERNEL_RUN void svm_likely(const svm_likely_p *restrict p, const float *restrict scores,
                           const float *restrict a, const float *restrict b, float *restrict y,
                           float *restrict memory)
{
    const int32_t k = p->classes;
    float *pair = memory, *q = memory + (ptrdiff_t)k * k, *qy = q + (ptrdiff_t)k * k;
    for (ptrdiff_t r = 0; r < p->rows; r++, scores += (ptrdiff_t)k * (k - 1) / 2, y += k) {
        svm_pairs(k, scores, a, b, pair);
        svm_form(k, pair, q);
        for (int32_t i = 0; i < k; i++) y[i] = 1.0f / (float)k;
        for (int32_t turn = 0; turn < 100; turn++) {
            const float all = svm_product(k, q, y, qy);
            if (svm_even(k, qy, all)) break;
            svm_round(k, q, all, y, qy);
        }
    }
}

#endif
