/* kernels/f_linear_attention.h - attention that keeps a matrix instead of all keys and values:
 * LinearAttention. Steps follow one another; sums are in ascending order of the key's elements.
 */
#ifndef KERNELS_F_LINEAR_ATTENTION_H
#define KERNELS_F_LINEAR_ATTENTION_H

#include <string.h>
#include "f_math.h"

typedef struct f_linear_attention_p {
    int32_t batch, steps;
    int32_t q_heads, heads; /* of queries, and of keys and values: one is a multiple of the other */
    int32_t k_size, v_size; /* elements of a head */
    int32_t decays;         /* numbers of decay a step: `heads`, or heads * k_size */
    int32_t betas;          /* numbers of beta a step: `heads` or 1 */
    int32_t delta;          /* v without what the state has for the key */
    float scale;            /* of the result */
} f_linear_attention_p;
/* f_linear_attention(p, q, k, v, past or NULL, decay or NULL, beta or NULL, y, state, work): q, k,
 * v and y are [batch][step][head * size], states [batch][head][k_size][v_size]; work has v_size
 * floats. state = exp(decay) * state + k * beta * (v - what of it is there), y = scale * q * state
 */

/* to[j] = sum of x[i] * state[i][j]. */
KERNEL void f_linear_row(const float *restrict x, const float *restrict state, ptrdiff_t k_size,
                         ptrdiff_t v_size, float *restrict to)
{
    for (ptrdiff_t j = 0; j < v_size; j++) to[j] = 0.0f;
    for (ptrdiff_t i = 0; i < k_size; i++)
        for (ptrdiff_t j = 0; j < v_size; j++) to[j] += x[i] * state[i * v_size + j];
}

/* One step of a head's state; decay and beta are those of the head. */
KERNEL void f_linear_step(const f_linear_attention_p *restrict p, const float *restrict k,
                          const float *restrict v, const float *restrict decay,
                          const float *restrict beta, float *restrict state, float *restrict work)
{
    const ptrdiff_t k_size = p->k_size, v_size = p->v_size, each = p->decays != p->heads;
    for (ptrdiff_t i = 0; decay && i < k_size; i++) {
        const float factor = f_exp(decay[i * each]);
        for (ptrdiff_t j = 0; j < v_size; j++) state[i * v_size + j] *= factor;
    }
    if (p->delta) f_linear_row(k, state, k_size, v_size, work);
    for (ptrdiff_t j = 0; j < v_size; j++)
        work[j] = (p->delta ? v[j] - work[j] : v[j]) * (beta ? *beta : 1.0f);
    for (ptrdiff_t i = 0; i < k_size; i++)
        for (ptrdiff_t j = 0; j < v_size; j++) state[i * v_size + j] += k[i] * work[j];
}

/* What head h gives for the queries of a step. */
KERNEL void f_linear_results(const f_linear_attention_p *restrict p, ptrdiff_t h,
                             const float *restrict q, const float *restrict state,
                             float *restrict y)
{
    const ptrdiff_t many = p->q_heads > p->heads ? p->q_heads / p->heads : 1;
    const ptrdiff_t shared = p->heads > p->q_heads ? p->heads / p->q_heads : 1;
    for (ptrdiff_t g = h * many; g < (h + 1) * many; g++) {
        float *to = y + g * p->v_size;
        f_linear_row(q + g / shared * p->k_size, state, p->k_size, p->v_size, to);
        for (ptrdiff_t j = 0; j < p->v_size; j++) to[j] *= p->scale;
    }
}

KERNEL_RUN void f_linear_attention(const f_linear_attention_p *restrict p, const float *restrict q,
                                   const float *restrict k, const float *restrict v,
                                   const float *restrict past, const float *restrict decay,
                                   const float *restrict beta, float *restrict y,
                                   float *restrict state, float *restrict work)
{
    const ptrdiff_t matrix = (ptrdiff_t)p->k_size * p->v_size, h_each = p->decays / p->heads;
    const ptrdiff_t most = p->q_heads > p->heads ? p->q_heads : p->heads;
    for (ptrdiff_t b = 0; b < p->batch; b++)
        for (ptrdiff_t h = 0; h < p->heads; h++, state += matrix) {
            if (past) memcpy(state, past, (size_t)matrix * sizeof *state);
            else memset(state, 0, (size_t)matrix * sizeof *state);
            if (past) past += matrix;
            for (ptrdiff_t t = b * p->steps; t < (b + 1) * p->steps; t++) {
                f_linear_step(
                    p, k + (t * p->heads + h) * p->k_size, v + (t * p->heads + h) * p->v_size,
                    decay ? decay + t * p->decays + h * h_each : decay,
                    beta ? beta + t * p->betas + (p->betas == 1 ? 0 : h) : beta, state, work);
                f_linear_results(p, h, q + t * p->q_heads * p->k_size, state,
                                 y + t * most * p->v_size);
            }
        }
}

#endif
