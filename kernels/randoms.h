/* kernels/randoms.h - random numbers that are the same in every run: number i of a seed is its i-th
 * mix of bits (SplitMix64), so that none depends on another.
 */
#ifndef KERNELS_RANDOMS_H
#define KERNELS_RANDOMS_H

#include "d_trig.h"
#include "elements.h"

enum { RANDOM_UNIFORM, RANDOM_NORMAL, RANDOM_BERNOULLI };

typedef struct random_numbers_p {
    int32_t count;           /* elements */
    int32_t form;            /* RANDOM_UNIFORM: from a up to b; RANDOM_NORMAL: of mean a and
                                deviation b; RANDOM_BERNOULLI: 1 as often as x says, else 0 */
    int32_t seed, seed_high; /* the halves of 64 bits */
    int32_t type, x_type;    /* of y and x: A_FLOAT ... */
    float a, b;
} random_numbers_p; /* random_numbers(p, x or NULL, y) */

typedef struct dropout_p {
    int32_t count;            /* elements */
    int32_t seed, seed_high;  /* as above */
    int32_t type, ratio_type; /* of x and y, and of the ratio: A_FLOAT ... */
} dropout_p; /* dropout(p, x, ratio or NULL, trains, y, mask or NULL): without a ratio, half */

typedef struct multinomial_p {
    int32_t batch, classes, count; /* x is [batch][classes], y [batch][count] */
    int32_t seed, seed_high;       /* as above */
    int32_t type, y_type;          /* of x, a real one, and of y, an integer one */
} multinomial_p; /* multinomial(p, x, y, memory): x are logarithms; memory for `classes` doubles */

KERNEL_TRAITS(random_numbers, floats)
KERNEL_TRAITS(dropout, floats)
KERNEL_TRAITS(multinomial, floats)

KERNEL uint64_t random_seed(int32_t low, int32_t high)
{
    return (uint64_t)(uint32_t)high << 32 | (uint32_t)low;
}

KERNEL uint64_t random_bits(uint64_t seed, ptrdiff_t i)
{
    uint64_t u = seed + ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
    u = (u ^ u >> 30) * 0xbf58476d1ce4e5b9u;
    u = (u ^ u >> 27) * 0x94d049bb133111ebu;
    return u ^ u >> 31;
}

/* From 0 up to 1, in steps that a float has. */
KERNEL double random_unit(uint64_t seed, ptrdiff_t i)
{
    return (double)(random_bits(seed, i) >> 40) * 0x1p-24;
}

/* Normal numbers of two even ones (Box and Muller). */
KERNEL double random_normal(uint64_t seed, ptrdiff_t i)
{
    const double u = (double)((random_bits(seed, 2 * i) >> 11) + 1) * 0x1p-53;
    const double angle = 0x1.921fb54442d18p+2 * random_unit(seed, 2 * i + 1);
    return d_sqrt(-2.0 * d_log(u)) * d_cos(angle);
}

KERNEL_RUN void random_numbers(const random_numbers_p *restrict p, const void *restrict x,
                               void *restrict y)
{
    const uint64_t seed = random_seed(p->seed, p->seed_high);
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        const int32_t n = f_chunk(i, p->count);
        double v[F_CHUNK];
        uint64_t u[F_CHUNK];
        if (p->form == RANDOM_BERNOULLI) arith_load_reals(v, p->x_type, x, i, 1, n);
        for (int32_t j = 0; j < n; j++) {
            const double a = (double)p->a, b = (double)p->b;
            if (p->form == RANDOM_BERNOULLI) v[j] = random_unit(seed, i + j) < v[j];
            else if (p->form == RANDOM_NORMAL) v[j] = a + b * random_normal(seed, i + j);
            else v[j] = a + (b - a) * random_unit(seed, i + j);
        }
        for (int32_t j = 0; j < n && p->form == RANDOM_BERNOULLI; j++) u[j] = v[j] != 0.0;
        if (arith_is_real(p->type)) arith_store_reals(v, p->type, y, i, n);
        else arith_store_integers(u, p->type, y, i, n);
    }
}

KERNEL_RUN void dropout(const dropout_p *restrict p, const void *restrict x,
                        const void *restrict ratio, const uint8_t *restrict trains,
                        void *restrict y, uint8_t *restrict mask)
{
    const uint64_t seed = random_seed(p->seed, p->seed_high);
    double part[F_CHUNK] = {0.5}, v[F_CHUNK];
    if (ratio) arith_load_reals(part, p->ratio_type, ratio, 0, 1, 1);
    if (!*trains) part[0] = 0.0;
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        const int32_t n = f_chunk(i, p->count);
        arith_load_reals(v, p->type, x, i, 1, n);
        for (int32_t j = 0; j < n; j++) {
            const int32_t kept = random_unit(seed, i + j) >= part[0];
            v[j] = kept ? v[j] / (1.0 - part[0]) : 0.0;
            if (mask) mask[i + j] = (uint8_t)kept;
        }
        arith_store_reals(v, p->type, y, i, n);
    }
}

KERNEL_RUN void multinomial(const multinomial_p *restrict p, const void *restrict x,
                            void *restrict y, double *restrict memory)
{
    const uint64_t seed = random_seed(p->seed, p->seed_high);
    for (ptrdiff_t o = 0; o < p->batch; o++) {
        double v[F_CHUNK], max = -INFINITY, sum = 0.0;
        for (ptrdiff_t i = 0; i < p->classes; i++) {
            arith_load_reals(v, p->type, x, o * p->classes + i, 1, 1);
            memory[i] = v[0];
            max = v[0] > max ? v[0] : max;
        }
        for (ptrdiff_t i = 0; i < p->classes; i++)
            memory[i] = sum += max > -INFINITY ? d_exp(memory[i] - max) : 1.0;
        for (ptrdiff_t i = 0; i < p->count; i++) {
            const double at = random_unit(seed, o * p->count + i) * sum;
            ptrdiff_t low = 0, high = p->classes - 1;
            while (low < high) {
                const ptrdiff_t middle = (low + high) / 2;
                if (memory[middle] > at) high = middle;
                else low = middle + 1;
            }
            arith_store_integers((uint64_t[F_CHUNK]){(uint64_t)low}, p->y_type, y,
                                 o * p->count + i, 1);
        }
    }
}

#endif
