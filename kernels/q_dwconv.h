/* kernels/q_dwconv.h - depthwise integer convolution (one input channel an output channel) over up
 * to three axes; padding counts as the zero point.
 *
 * Four taps are a step: weights are packed as [block of Q_LANES channels][tap / 4][Q_LANES][4],
 * filled up with zeros.
 */
#ifndef KERNELS_Q_DWCONV_H
#define KERNELS_Q_DWCONV_H

#include "q_conv.h"

/* The job, for Q_ABREAST vectors of lanes: its runs are taps, a multiple of 4, at the block's
 * channels. */
KERNEL void q_dw_part(q_job *restrict job, const int8_t *restrict w, int lane, int is_signed)
{
    const q_ends ends = q_job_ends(job, lane);
    const int32_t taps = job->runs;
    for (int i = 0; i < Q_TILE; i++) {
        q_vec s[Q_ABREAST];
        q_ends_load(&ends, job->sum[i] + lane, s);
        for (int32_t t = 0; t < taps; t += 4) {
            const int8_t *wide = w + t * Q_LANES + lane * 4;
            const q_columns c =
                q_quad_columns(job->x[t][i] + lane, job->x[t + 1][i] + lane,
                               job->x[t + 2][i] + lane, job->x[t + 3][i] + lane, is_signed);
#pragma GCC unroll 4
            for (int v = 0; v < Q_ABREAST; v++)
                s[v] = q_quad_dot(s[v], c.v[v], q_quad_weights(wide + v * Q_WIDTH * 4, is_signed),
                                  is_signed);
        }
        q_ends_store(&ends, i, job->sum[i] + lane, s);
    }
}

/* Does the job. */
KERNEL_CALLED void q_dw_run(q_job *restrict job, const int8_t *restrict w)
{
    for (int lane = 0; lane < Q_LANES; lane += Q_ABREAST * Q_WIDTH)
        if (job->x_signed) q_dw_part(job, w, lane, 1);
        else q_dw_part(job, w, lane, 0);
}

/* What the outputs are made of. */
typedef struct q_dw_input {
    const uint8_t *x;
    ptrdiff_t size;
    uint8_t zeros[Q_LANES];   /* the zero point */
    uint8_t end[2 * Q_LANES]; /* the last Q_LANES bytes of x, and as many more */
} q_dw_input;

KERNEL void q_dw_open(q_dw_input *in, const q_conv_p *restrict p, const uint8_t *x)
{
    in->x = x;
    in->size = (ptrdiff_t)p->n * p->id * p->ih * p->iw * p->ic;
    for (int j = 0; j < Q_LANES; j++) {
        in->zeros[j] = (uint8_t)p->x_zero;
        in->end[j] = in->size + j < Q_LANES ? 0 : x[in->size - Q_LANES + j];
        in->end[Q_LANES + j] = 0;
    }
}

/* Sets the job's runs to as many taps as fit, at channel 0, filled up to a multiple of 4 (those
 * have weights of zero). */
KERNEL void q_dw_look(const q_conv_p *restrict p, const q_cut *restrict cut,
                      const q_dw_input *restrict in, const q_tile_at *restrict t,
                      q_cursor *restrict at, q_job *restrict job)
{
    for (job->runs = 0; job->runs < Q_RUNS && at->d < p->kd; q_cursor_next(p, cut, at))
        q_conv_point(p, cut, in->x, in->zeros, t, *at, 0, job->x[job->runs++]);
    for (; job->runs % 4 != 0; job->runs++)
        for (int i = 0; i < Q_TILE; i++) job->x[job->runs][i] = in->zeros;
}

/* Moves the taps on by `c` channels, so that Q_LANES bytes can be read from each. */
KERNEL void q_dw_move(const q_dw_input *restrict in, ptrdiff_t c, int at_end, q_job *restrict job)
{
    const uint8_t *zeros = in->zeros;
    for (int32_t r = 0; r < job->runs; r++)
        for (int i = 0; i < Q_TILE; i++)
            job->x[r][i] = job->x[r][i] == zeros ? zeros : job->x[r][i] + c;
    for (int32_t r = 0; r < job->runs && at_end; r++)
        for (int i = 0; i < Q_TILE; i++) {
            const ptrdiff_t last = in->size - Q_LANES;
            const uint8_t **x = &job->x[r][i];
            if (*x != zeros && *x - in->x > last) *x = in->end + (*x - in->x - last);
        }
}

/* All channels of a tile. */
KERNEL_CALLED void q_dw_tile(const q_conv_p *restrict p, const q_cut *restrict cut,
                             const q_dw_input *restrict in, const q_tile_at *restrict t,
                             const int8_t *restrict w, const int32_t *restrict bias,
                             const q_scale *restrict scale, q_job *restrict job)
{
    for (int32_t c = 0; c < p->oc; c += Q_LANES) {
        const int at_end = !t->all_inside && c + Q_LANES > p->oc;
        q_cursor at = {0, 0, 0};
        q_job_block(job, bias, scale, c, p->oc);
        job->first = 1;
        do {
            if (c == 0 || cut->runs > Q_RUNS) {
                q_dw_look(p, cut, in, t, &at, job);
                q_dw_move(in, c, at_end, job);
            } else {
                at.d = p->kd;
                q_dw_move(in, Q_LANES, at_end, job);
            }
            job->last = at.d == p->kd;
            q_dw_run(job, w);
            job->first = 0;
            w += job->runs * Q_LANES;
        } while (!job->last);
    }
}

KERNEL_TRAITS(q_dwconv, packs_oc, packs_kd, packs_kh, packs_kw)
KERNEL_RUN void q_dwconv(const q_conv_p *restrict p, const void *restrict x, const void *restrict w,
                     const int32_t *restrict bias, const q_scale *restrict scale, void *restrict y)
{
    const q_cut cut = q_conv_cut(p, 0);
    const int32_t padded = (p->oc + Q_LANES - 1) / Q_LANES * Q_LANES;
    const ptrdiff_t reach = q_conv_reach(p, &cut) + padded;
    q_walk at = q_walk_start(p, (uint8_t *)y);
    q_dw_input in;
    q_job job;
    q_dw_open(&in, p, (const uint8_t *)x);
    job.x_signed = p->x_signed;
    job.keep = 0;
    job.out = (q_out){p->y_zero, p->lo, p->hi};
    for (int more = 1; more;) {
        q_tile_at t;
        more = q_tile_next(p, reach, &at, &t, job.y);
        q_dw_tile(p, &cut, &in, &t, (const int8_t *)w, bias, scale, &job);
    }
}

/* Bytes of the packed weights. */
static inline size_t q_dwconv_packed(const q_conv_p *p)
{
    const size_t blocks = ((size_t)p->oc + Q_LANES - 1) / Q_LANES;
    return blocks * (((size_t)p->kd * (size_t)p->kh * (size_t)p->kw + 3) / 4) * Q_QUADS;
}

/* Packs ONNX's [c][1][kd][kh][kw]. */
static inline void q_dwconv_pack(const q_conv_p *p, const int8_t *restrict raw,
                                 int8_t *restrict packed)
{
    const ptrdiff_t taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t c = 0; c < p->oc; c += Q_LANES)
        for (ptrdiff_t t = 0; t < taps; t += 4)
            for (ptrdiff_t j = c; j < c + Q_LANES; j++)
                for (ptrdiff_t i = t; i < t + 4; i++)
                    *packed++ = (int8_t)(j < p->oc && i < taps ? raw[j * taps + i] : 0);
}

#endif
