/* kernels/f_recurrent.h - the steps of ONNX's LSTM, GRU and RNN, in one direction or both.
 *
 * What the inputs give, X W^T, is there already: for all steps at once. A step multiplies the
 * states of all rows by the weights (f_gemm, packed as there), then works on the gates of a row in
 * pieces. Rows that have come to their end keep their state.
 */
#ifndef KERNELS_F_RECURRENT_H
#define KERNELS_F_RECURRENT_H

#include "f_gemm.h"
#include "f_math.h"

enum { R_RNN = 1, R_GRU = 3, R_LSTM = 4 }; /* by their gates */

enum {
    R_AFFINE,
    R_RELU,
    R_LEAKY_RELU,
    R_THRESHOLDED_RELU,
    R_TANH,
    R_SCALED_TANH,
    R_SIGMOID,
    R_HARD_SIGMOID,
    R_ELU,
    R_SOFTSIGN,
    R_SOFTPLUS
};

typedef struct f_recurrent_p {
    int32_t steps, batch, hidden, directions;
    int32_t gates;               /* R_LSTM ... */
    int32_t reverse;             /* bit d: direction d goes from the last step to the first */
    int32_t input_forget;        /* of LSTM: the forget gate is 1 - the input gate */
    int32_t linear_before_reset; /* of GRU */
    int32_t xstep, xrow, xdir;   /* elements of x from one step, row of the batch, direction to the
                                    next */
    int32_t ystep, yrow, ydir;   /* of y, and from one direction to the next */
    int32_t hrow, hdir;          /* of the states */
    int32_t function0, function1, function2; /* R_AFFINE ... of the first direction */
    int32_t function3, function4, function5; /* of the second one */
    /* of q_lstm alone: */
    int32_t r_signed;    /* the weights are int8, else uint8 */
    int32_t scale, zero; /* their scales and zero points from one column to the next: 0 or 1 */
    float alpha0, alpha1, alpha2, alpha3, alpha4, alpha5;
    float beta0, beta1, beta2, beta3, beta4, beta5;
    float clip; /* of what goes into the functions: INFINITY for none */
} f_recurrent_p;
/* f_recurrent(p, x, r, bias or NULL, peepholes or NULL, lengths or NULL, h or NULL, c or NULL, y,
 * yh, yc, work): x is a row of directions * gates * hidden floats for each step and row of the
 * batch, raw r ONNX's [direction][gate * hidden][hidden], bias and peepholes as in ONNX. yh and yc
 * are the last states. Any of y, yh and yc may be NULL. work: memory for f_recurrent_work() floats.
 */

enum { R_PIECE = 32 }; /* elements of a gate that are worked on at once */

/* Whole pieces only, so that compilers make it straight vector code. */
#define R_EACH(...)                                                                                \
    for (int j = 0; j < R_PIECE; j++) {                                                            \
        const float x = v[j];                                                                      \
        v[j] = __VA_ARGS__;                                                                        \
    }                                                                                              \
    break;

KERNEL_CALLED void recurrent_function(int32_t function, float alpha, float beta, float v[R_PIECE])
{
    switch (function) {
    case R_AFFINE: R_EACH(alpha * x + beta)
    case R_RELU: R_EACH(f_select(x < 0.0f, 0.0f, x))
    case R_LEAKY_RELU: R_EACH(f_select(x < 0.0f, alpha * x, x))
    case R_THRESHOLDED_RELU: R_EACH(f_select(x > alpha, x, 0.0f))
    case R_TANH: R_EACH(f_tanh(x))
    case R_SCALED_TANH: R_EACH(alpha * f_tanh(beta * x))
    case R_SIGMOID: R_EACH(f_sigmoid(x))
    case R_HARD_SIGMOID: R_EACH(f_unit(alpha * x + beta))
    case R_ELU: R_EACH(f_select(x < 0.0f, alpha * f_expm1(x), x))
    case R_SOFTSIGN: R_EACH(x / (1.0f + f_abs(x)))
    case R_SOFTPLUS: R_EACH(f_softplus(x))
    default: break;
    }
}

#undef R_EACH

/* A direction at work, and the row that is computed. */
typedef struct recurrent_job {
    const f_recurrent_p *p;
    int32_t d;         /* the direction */
    const float *r;    /* packed weights */
    const float *peep; /* the direction's, or NULL */
    float *bias;       /* [gate][hidden], what is added to x */
    float *hbias;      /* [hidden]: of GRU's hidden gate, added to the product before the reset */
    float *gates;      /* [batch][gate][hidden]: products of states and weights; of GRU the last
                          gate's are behind those of the others */
    float *h, *c;      /* [batch][hidden]; c of GRU: the states times the reset gate */
} recurrent_job;

/* v = f(v) for function `which` of the direction. */
KERNEL void recurrent_apply(const recurrent_job *restrict job, int which, float v[R_PIECE])
{
    const int at = job->d * 3 + which;
    recurrent_function((&job->p->function0)[at], (&job->p->alpha0)[at], (&job->p->beta0)[at], v);
}

/* v = the sum of what goes into gate `g`, of n elements from i on; `product` and `x` are the
 * row's. */
KERNEL void recurrent_sum(const recurrent_job *restrict job, int g, ptrdiff_t i, int32_t n,
                          const float *restrict product, const float *restrict x, float v[R_PIECE])
{
    const ptrdiff_t at = (ptrdiff_t)g * job->p->hidden + i;
    for (int32_t j = 0; j < R_PIECE; j++) v[j] = 0.0f;
    for (int32_t j = 0; j < n; j++) v[j] = product[at + j] + (x[at + j] + job->bias[at + j]);
}

/* v = f(the sum, and peephole `peep` times c), clamped before. */
KERNEL void recurrent_gate(const recurrent_job *restrict job, int which, int peep, ptrdiff_t i,
                           int32_t n, const float *restrict c, float v[R_PIECE])
{
    const float clip = job->p->clip;
    if (job->peep && peep >= 0) {
        const float *restrict w = job->peep + (ptrdiff_t)peep * job->p->hidden + i;
        for (int32_t j = 0; j < n; j++) v[j] += w[j] * c[j];
    }
    for (int32_t j = 0; j < R_PIECE; j++) v[j] = f_clamp(v[j], -clip, clip);
    recurrent_apply(job, which, v);
}

/* One row of an LSTM: its gates are input, output, forget and cell. */
KERNEL void recurrent_lstm(const recurrent_job *restrict job, ptrdiff_t b, const float *restrict x)
{
    const f_recurrent_p *p = job->p;
    const float *product = job->gates + b * R_LSTM * p->hidden;
    float *h = job->h + b * p->hidden, *c = job->c + b * p->hidden;
    for (ptrdiff_t i = 0; i < p->hidden; i += R_PIECE) {
        const int32_t n = p->hidden - i < R_PIECE ? (int32_t)(p->hidden - i) : R_PIECE;
        float in[R_PIECE], out[R_PIECE], forget[R_PIECE], cell[R_PIECE], state[R_PIECE] = {0.0f};
        for (int32_t j = 0; j < n; j++) state[j] = c[i + j];
        recurrent_sum(job, 0, i, n, product, x, in);
        recurrent_gate(job, 0, 0, i, n, state, in);
        recurrent_sum(job, 2, i, n, product, x, forget);
        if (p->input_forget)
            for (int32_t j = 0; j < R_PIECE; j++) forget[j] = 1.0f - in[j];
        else recurrent_gate(job, 0, 2, i, n, state, forget);
        recurrent_sum(job, 3, i, n, product, x, cell);
        recurrent_gate(job, 1, -1, i, n, state, cell);
        for (int32_t j = 0; j < R_PIECE; j++) state[j] = state[j] * forget[j] + in[j] * cell[j];
        recurrent_sum(job, 1, i, n, product, x, out);
        recurrent_gate(job, 0, 1, i, n, state, out);
        for (int32_t j = 0; j < n; j++) c[i + j] = state[j];
        recurrent_apply(job, 2, state);
        for (int32_t j = 0; j < n; j++) h[i + j] = out[j] * state[j];
    }
}

/* The first part of a row of a GRU: its update gate, which stays where its product was, and the
 * state times its reset gate; or, linear before the reset, the reset gate alone. */
KERNEL void recurrent_reset(const recurrent_job *restrict job, ptrdiff_t b, const float *restrict x)
{
    const f_recurrent_p *p = job->p;
    float *product = job->gates + b * 2 * p->hidden;
    const float *h = job->h + b * p->hidden;
    float *c = job->c + b * p->hidden;
    for (ptrdiff_t i = 0; i < p->hidden; i += R_PIECE) {
        const int32_t n = p->hidden - i < R_PIECE ? (int32_t)(p->hidden - i) : R_PIECE;
        float update[R_PIECE], reset[R_PIECE];
        recurrent_sum(job, 0, i, n, product, x, update);
        recurrent_gate(job, 0, -1, i, n, update, update);
        recurrent_sum(job, 1, i, n, product, x, reset);
        recurrent_gate(job, 0, -1, i, n, reset, reset);
        for (int32_t j = 0; j < n; j++) product[i + j] = update[j];
        for (int32_t j = 0; j < n; j++)
            c[i + j] = p->linear_before_reset ? reset[j] : reset[j] * h[i + j];
    }
}

/* The rest of it; the products of the hidden gate are `product`. */
KERNEL void recurrent_update(const recurrent_job *restrict job, ptrdiff_t b,
                             const float *restrict x, const float *restrict product)
{
    const f_recurrent_p *p = job->p;
    const float *update = job->gates + b * 2 * p->hidden, *reset = job->c + b * p->hidden;
    const float *add = job->bias + (ptrdiff_t)2 * p->hidden;
    float *h = job->h + b * p->hidden;
    x += (ptrdiff_t)2 * p->hidden;
    for (ptrdiff_t i = 0; i < p->hidden; i += R_PIECE) {
        const int32_t n = p->hidden - i < R_PIECE ? (int32_t)(p->hidden - i) : R_PIECE;
        float v[R_PIECE] = {0.0f};
        for (int32_t j = 0; j < n; j++) {
            const float y = p->linear_before_reset
                                ? reset[i + j] * (product[i + j] + job->hbias[i + j])
                                : product[i + j];
            v[j] = y + (x[i + j] + add[i + j]);
        }
        recurrent_gate(job, 1, -1, i, n, v, v);
        for (int32_t j = 0; j < n; j++)
            h[i + j] = (1.0f - update[i + j]) * v[j] + update[i + j] * h[i + j];
    }
}

KERNEL void recurrent_rnn(const recurrent_job *restrict job, ptrdiff_t b, const float *restrict x)
{
    const f_recurrent_p *p = job->p;
    const float *product = job->gates + b * p->hidden;
    float *h = job->h + b * p->hidden;
    for (ptrdiff_t i = 0; i < p->hidden; i += R_PIECE) {
        const int32_t n = p->hidden - i < R_PIECE ? (int32_t)(p->hidden - i) : R_PIECE;
        float v[R_PIECE];
        recurrent_sum(job, 0, i, n, product, x, v);
        recurrent_gate(job, 0, -1, i, n, v, v);
        for (int32_t j = 0; j < n; j++) h[i + j] = v[j];
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* y = x w for all rows; w is packed, of n columns. */
KERNEL_CALLED void recurrent_product(const f_recurrent_p *restrict p, int32_t n,
                                     const float *restrict x, const float *restrict w,
                                     float *restrict y)
{
    f_gemm_p q;
    q.m = p->batch;
    q.n = n;
    q.k = p->hidden;
    q.transb = 1;
    q.lo = -INFINITY;
    q.hi = INFINITY;
    f_gemm(&q, x, w, NULL, y);
}

/* Floats of packed weights for `gates` gates. */
KERNEL ptrdiff_t recurrent_block(const f_recurrent_p *restrict p, int32_t gates)
{
    return ((ptrdiff_t)gates * p->hidden + F_LANES - 1) / F_LANES * F_LANES * p->hidden;
}

/* Steps of row b: what its length says, as far as there are so many. */
KERNEL int32_t recurrent_length(const f_recurrent_p *restrict p, const int32_t *lengths,
                                ptrdiff_t b)
{
    if (!lengths || lengths[b] > p->steps) return p->steps;
    return lengths[b] < 0 ? 0 : lengths[b];
}

/* Where row b has step s: which place in time, or -1 where it has come to its end. */
KERNEL int32_t recurrent_time(const recurrent_job *restrict job, const int32_t *lengths,
                              ptrdiff_t b, int32_t s)
{
    const int32_t length = recurrent_length(job->p, lengths, b);
    if (s >= length) return -1;
    return job->p->reverse >> job->d & 1 ? length - 1 - s : s;
}

/* Step s of a GRU for all rows; x is the direction's. */
KERNEL void recurrent_step_gru(const recurrent_job *restrict job, const int32_t *lengths, int32_t s,
                               const float *restrict x)
{
    const f_recurrent_p *p = job->p;
    const int linear = p->linear_before_reset;
    float *hidden = job->gates + (ptrdiff_t)p->batch * 2 * p->hidden;
    recurrent_product(p, 2 * p->hidden, job->h, job->r, job->gates);
    for (ptrdiff_t b = 0; b < p->batch; b++) {
        const int32_t t = recurrent_time(job, lengths, b, s);
        if (t >= 0) recurrent_reset(job, b, x + t * (ptrdiff_t)p->xstep + b * p->xrow);
    }
    recurrent_product(p, p->hidden, linear ? job->h : job->c, job->r + recurrent_block(p, 2),
                      hidden);
    for (ptrdiff_t b = 0; b < p->batch; b++) {
        const int32_t t = recurrent_time(job, lengths, b, s);
        if (t >= 0)
            recurrent_update(job, b, x + t * (ptrdiff_t)p->xstep + b * p->xrow,
                             hidden + b * p->hidden);
    }
}

/* Step s of the others, whose products are there. */
KERNEL void recurrent_rows(const recurrent_job *restrict job, const int32_t *lengths, int32_t s,
                           const float *restrict x)
{
    const f_recurrent_p *p = job->p;
    for (ptrdiff_t b = 0; b < p->batch; b++) {
        const int32_t t = recurrent_time(job, lengths, b, s);
        const float *in = x + (t < 0 ? 0 : t) * (ptrdiff_t)p->xstep + b * p->xrow;
        if (t < 0) continue;
        if (p->gates == R_LSTM) recurrent_lstm(job, b, in);
        else recurrent_rnn(job, b, in);
    }
}

/* Writes what a row has come to at step s to y; zeros behind its end. */
KERNEL void recurrent_write(const recurrent_job *restrict job, const int32_t *lengths, ptrdiff_t b,
                            int32_t s, float *restrict y)
{
    const f_recurrent_p *p = job->p;
    const int32_t t = recurrent_time(job, lengths, b, s);
    const float *h = job->h + b * p->hidden;
    float *to =
        y + (t < 0 ? s : t) * (ptrdiff_t)p->ystep + b * p->yrow + job->d * (ptrdiff_t)p->ydir;
    for (int32_t j = 0; j < p->hidden; j++) to[j] = t < 0 ? 0.0f : h[j];
}

/* The states in memory of the kernel's own: all rows of the direction, from `from` (NULL: zeros).
 */
KERNEL void recurrent_load(const recurrent_job *restrict job, const float *from, float *restrict to)
{
    const f_recurrent_p *p = job->p;
    for (ptrdiff_t b = 0; b < p->batch; b++)
        for (ptrdiff_t j = 0; j < p->hidden; j++)
            to[b * p->hidden + j] =
                from ? from[b * p->hrow + job->d * (ptrdiff_t)p->hdir + j] : 0.0f;
}

/* And back; a row of no steps has no state. */
KERNEL void recurrent_store(const recurrent_job *restrict job, const int32_t *lengths,
                            const float *restrict from, float *restrict to)
{
    const f_recurrent_p *p = job->p;
    for (ptrdiff_t b = 0; to && b < p->batch; b++) {
        const int none = recurrent_length(p, lengths, b) == 0;
        for (ptrdiff_t j = 0; j < p->hidden; j++)
            to[b * p->hrow + job->d * (ptrdiff_t)p->hdir + j] =
                none ? 0.0f : from[b * p->hidden + j];
    }
}

/* What is added to the inputs' products: both biases, but for the one before GRU's reset. */
KERNEL void recurrent_bias(const recurrent_job *restrict job, const float *restrict bias)
{
    const f_recurrent_p *p = job->p;
    const ptrdiff_t n = (ptrdiff_t)p->gates * p->hidden;
    const ptrdiff_t apart = p->gates == R_GRU && p->linear_before_reset ? n - p->hidden : n;
    const float *w = bias ? bias + job->d * 2 * n : NULL, *r = bias ? w + n : NULL;
    for (ptrdiff_t j = 0; j < n; j++) job->bias[j] = bias ? w[j] : 0.0f;
    for (ptrdiff_t j = 0; bias && j < apart; j++) job->bias[j] += r[j];
    for (ptrdiff_t j = 0; j < p->hidden; j++)
        job->hbias[j] = bias && apart < n ? r[apart + j] : 0.0f;
}

/* Floats of memory that the kernel works in. */
KERNEL ptrdiff_t f_recurrent_work(const f_recurrent_p *p)
{
    return ((p->gates + 2) * (ptrdiff_t)p->batch + p->gates + 1) * p->hidden;
}

/* Divides the memory. */
KERNEL void recurrent_open(recurrent_job *restrict job, const f_recurrent_p *p, float *work)
{
    const ptrdiff_t gates = (ptrdiff_t)p->gates * p->hidden;
    job->p = p;
    job->bias = work;
    job->hbias = job->bias + gates;
    job->gates = job->hbias + p->hidden;
    job->h = job->gates + gates * p->batch;
    job->c = job->h + (ptrdiff_t)p->batch * p->hidden;
}

/* Starts a direction. */
KERNEL void recurrent_begin(recurrent_job *restrict job, int32_t d, const float *bias,
                            const float *peep, const float *h, const float *c)
{
    job->d = d;
    job->peep = peep ? peep + d * 3 * (ptrdiff_t)job->p->hidden : NULL;
    recurrent_bias(job, bias);
    recurrent_load(job, h, job->h);
    recurrent_load(job, c, job->c);
}

KERNEL_TRAITS(f_recurrent, packs_directions, packs_hidden, packs_gates)
KERNEL_RUN void f_recurrent(const f_recurrent_p *restrict p, const float *restrict x,
                            const float *restrict r, const float *restrict bias,
                            const float *restrict peep, const int32_t *restrict lengths,
                            const float *restrict h, const float *restrict c, float *restrict y,
                            float *restrict yh, float *restrict yc, float *restrict work)
{
    recurrent_job job;
    recurrent_open(&job, p, work);
    job.r = r;
    for (int32_t d = 0; d < p->directions; d++, x += p->xdir) {
        recurrent_begin(&job, d, bias, peep, h, c);
        for (int32_t s = 0; s < p->steps; s++) {
            if (p->gates == R_GRU) {
                recurrent_step_gru(&job, lengths, s, x);
            } else {
                recurrent_product(p, p->gates * p->hidden, job.h, job.r, job.gates);
                recurrent_rows(&job, lengths, s, x);
            }
            for (ptrdiff_t b = 0; y && b < p->batch; b++) recurrent_write(&job, lengths, b, s, y);
        }
        recurrent_store(&job, lengths, job.h, yh);
        recurrent_store(&job, lengths, job.c, yc);
        job.r += p->gates == R_GRU ? recurrent_block(p, 2) + recurrent_block(p, 1)
                                   : recurrent_block(p, p->gates);
    }
}

/* Elements of the packed weights. */
static inline size_t f_recurrent_packed(const f_recurrent_p *p)
{
    const ptrdiff_t block = p->gates == R_GRU ? recurrent_block(p, 2) + recurrent_block(p, 1)
                                              : recurrent_block(p, p->gates);
    return (size_t)(p->directions * block);
}

/* Packs ONNX's [direction][gate][hidden][hidden]; of GRU the last gate by itself. */
static inline void f_recurrent_pack(const f_recurrent_p *p, const float *restrict raw,
                                    float *restrict packed)
{
    for (int32_t d = 0; d < p->directions; d++)
        for (int32_t g = 0; g < p->gates;) {
            const int32_t some = p->gates != R_GRU ? p->gates : g ? 1 : 2;
            const f_gemm_p q = {1, some * p->hidden, p->hidden, 1, 0.0f, 0.0f};
            f_gemm_pack(&q, raw, packed);
            raw += (ptrdiff_t)some * p->hidden * p->hidden;
            packed += recurrent_block(p, some);
            g += some;
        }
}

#endif
