/* kernels/q_lstm.h - the steps of com.microsoft's DynamicQuantizeLSTM: f_recurrent's, whose states
 * are quantized in each step by their own range and multiplied by 8-bit weights.
 */
#ifndef KERNELS_Q_LSTM_H
#define KERNELS_Q_LSTM_H

#include "f_recurrent.h"
#include "q_dynamic.h"
#include "q_matmul.h"
#include "quantize.h"

/* q_lstm(p, x, r, its scales, its zero points or NULL, bias ... c as in f_recurrent, y, yh, yc,
 * work, bytes, sums): raw r is [direction][hidden][gate * hidden], packed as q_matmul has it; bytes
 * and sums are memory for batch * hidden bytes and batch * gate * hidden int32. */

/* The products of all states with the weights of both directions, of which one is taken. */
KERNEL q_matmul_p q_lstm_matmul(const f_recurrent_p *p)
{
    q_matmul_p m = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    m.batch = p->directions;
    m.m = p->batch;
    m.n = p->gates * p->hidden;
    m.k = p->hidden;
    m.b_signed = p->r_signed;
    m.bzcolumn = p->zero;
    m.bzstep = p->zero ? m.n : 1;
    return m;
}

/* The range of the states of rows that had a step before this one: ONNX Runtime has zeros in the
 * others. */
KERNEL void q_lstm_range(const recurrent_job *restrict job, const int32_t *lengths, int32_t s,
                         float *restrict scale, uint8_t *restrict zero)
{
    const f_recurrent_p *p = job->p;
    float lo = 0.0f, hi = 0.0f;
    for (ptrdiff_t b = 0; b < p->batch; b++) {
        float least, most;
        if (s > 0 && s > recurrent_length(p, lengths, b)) continue;
        q_extremes(job->h + b * p->hidden, p->hidden, &least, &most);
        lo = least < lo ? least : lo;
        hi = most > hi ? most : hi;
    }
    q_range_params(lo, hi, scale, zero);
}

/* The products of all states with the direction's weights. */
KERNEL void q_lstm_product(const recurrent_job *restrict job, const int32_t *lengths, int32_t s,
                           const q_right *restrict w, const float *restrict scales,
                           uint8_t *restrict bytes, int32_t *restrict sums)
{
    const f_recurrent_p *p = job->p;
    const q_matmul_p m = q_lstm_matmul(p);
    const quantize_p q = {1, 1, p->batch * p->hidden, K_UINT8, 0, 0, 0};
    const q_to_float_p f = {1, p->batch, m.n, p->scale, 0, 1.0f};
    float scale;
    uint8_t zero;
    q_lstm_range(job, lengths, s, &scale, &zero);
    quantize(&q, job->h, &scale, &zero, bytes);
    if (m.m == 1) q_matmul_row(&m, bytes, w, q_left_at(&m, w, bytes, &zero, 0), sums);
    else q_matmul_rows(&m, bytes, w, &zero, 0, sums);
    q_to_float(&f, sums, NULL, &scale, scales, NULL, job->gates);
}

/* clang-format off */
KERNEL_TRAITS(q_lstm, packs_directions, packs_hidden, packs_gates, packs_r_signed)
KERNEL_RUN void q_lstm(const f_recurrent_p *restrict p, const float *restrict x,
                       const void *restrict r, const float *restrict scale,
                       const void *restrict zero, const float *restrict bias,
                       const float *restrict peep, const int32_t *restrict lengths,
                       const float *restrict h, const float *restrict c, float *restrict y,
                       float *restrict yh, float *restrict yc, float *restrict work,
                       void *restrict bytes, int32_t *restrict sums)
/* clang-format on */
{
    const q_matmul_p m = q_lstm_matmul(p);
    recurrent_job job;
    recurrent_open(&job, p, work);
    job.r = NULL;
    for (int32_t d = 0; d < p->directions; d++, x += p->xdir, scale += p->scale ? m.n : 1) {
        const q_right w = q_right_at(&m, r, zero, d);
        recurrent_begin(&job, d, bias, peep, h, c);
        for (int32_t s = 0; s < p->steps; s++) {
            q_lstm_product(&job, lengths, s, &w, scale, (uint8_t *)bytes, sums);
            recurrent_rows(&job, lengths, s, x);
            for (ptrdiff_t b = 0; y && b < p->batch; b++) recurrent_write(&job, lengths, b, s, y);
        }
        recurrent_store(&job, lengths, job.h, yh);
        recurrent_store(&job, lengths, job.c, yc);
    }
}

static inline size_t q_lstm_packed(const f_recurrent_p *p)
{
    const q_matmul_p m = q_lstm_matmul(p);
    return (size_t)q_pack_bytes(&m);
}

static inline void q_lstm_pack(const f_recurrent_p *p, const int8_t *restrict raw,
                               int8_t *restrict packed)
{
    const q_matmul_p m = q_lstm_matmul(p);
    q_pack(&m, raw, packed);
}

#endif
