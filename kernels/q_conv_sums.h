/* kernels/q_conv_sums.h - exact int32 sums of an 8-bit convolution, weights uint8 or int8, with
 * zero points of their own: ONNX's ConvInteger.
 *
 * q_filters makes int8 weights: uint8 with the top bit flipped, and, where zero points ask for the
 * sums of the windows, one more channel of ones in each group. q_conv_sums convolves as q_conv
 * does. q_conv_zeros takes off what the zero points make, as q_matmul.h has it.
 */
#ifndef KERNELS_Q_CONV_SUMS_H
#define KERNELS_Q_CONV_SUMS_H

#include "q_conv.h"
#include "q_matmul.h"

typedef struct q_filters_p {
    int32_t group, channels; /* of each group */
    int32_t taps;            /* weights of a channel */
    int32_t is_signed;       /* they are int8, else uint8 */
    int32_t ones;            /* 1: a channel of ones behind those of each group */
} q_filters_p;
/* q_filters(p, w, filters, sums): w is [group][channels][taps], filters int8 [group][channels +
 * ones][taps], sums int32 [group][channels], of the filters */

typedef struct q_conv_zeros_p {
    int32_t pixels, group, channels; /* outputs; channels of each group */
    int32_t taps;
    int32_t x_signed, w_signed;
    int32_t ones;   /* the sums have one channel more in each group */
    int32_t column; /* zero points of w from one channel to the next: 0 or 1 */
} q_conv_zeros_p;
/* q_conv_zeros(p, sums, sums of the filters, zero point of x or NULL, those of w or NULL, y): y
 * int32 [pixels][group][channels] */

KERNEL_RUN void q_filters(const q_filters_p *restrict p, const void *restrict w,
                          void *restrict filters, int32_t *restrict sums)
{
    const uint8_t *from = (const uint8_t *)w;
    int8_t *to = (int8_t *)filters;
    for (int32_t g = 0; g < p->group; g++) {
        for (int32_t c = 0; c < p->channels; c++) {
            uint32_t sum = 0;
            for (int32_t i = 0; i < p->taps; i++) {
                const int32_t v = q_flipped(*from++, p->is_signed);
                *to++ = (int8_t)v;
                sum += (uint32_t)v;
            }
            *sums++ = q_signed(sum);
        }
        for (int32_t i = 0; p->ones && i < p->taps; i++) *to++ = 1;
    }
}

/* q_conv_blocks whose sums are the outputs. */
KERNEL void q_conv_sum_blocks(const q_conv_p *restrict p, q_conv_input *in, int32_t c0, int32_t c1,
                              const int8_t *restrict w, ptrdiff_t weights, int32_t *restrict y,
                              int32_t channel)
{
    static const int32_t none[Q_LANES] = {0};
    const int whole = q_conv_whole(p);
    const q_cut inner = q_conv_cut(p, whole), border = q_conv_cut(p, whole && !in->aligned);
    const ptrdiff_t reach = q_conv_reach(p, &inner);
    uint8_t *base = (uint8_t *)y; /* outputs are counted in bytes from here, and stored as int32 */
    q_walk at = q_walk_start(p, base);
    q_job job;
    job.x_signed = p->x_signed;
    job.keep = 1;
    job.block.bias = none;
    job.block.scale = NULL;
    job.block.count = Q_LANES;
    job.c = 0;
    for (int more = 1; more;) {
        q_tile_at t;
        more = q_tile_next(p, reach, &at, &t, job.y);
        for (int32_t c = c0; c < c1; c += Q_LANES) {
            const int32_t count = c1 - c < Q_LANES ? c1 - c : Q_LANES;
            q_conv_tile(p, t.all_inside ? &inner : &border, in, &t, c > c0,
                        w + (c - c0) / Q_LANES * weights, &job);
            for (int i = 0; i < Q_TILE; i++)
                for (int32_t j = 0; j < count; j++)
                    y[(job.y[i] - base) + channel + c + j] = q_signed(job.sum[i][j]);
        }
    }
}

KERNEL_TRAITS(q_conv_sums, packs_ic, packs_oc, packs_group, packs_kd, packs_kh, packs_kw, packs_dw)
KERNEL_RUN void q_conv_sums(const q_conv_p *restrict p, const void *restrict x,
                            const void *restrict w, const void *restrict zero, int32_t *restrict y)
{
    const int32_t icg = p->ic / p->group, ocg = p->oc / p->group;
    const q_cut cut = q_conv_cut(p, q_conv_whole(p));
    const ptrdiff_t block = cut.runs * q_quads(cut.bytes) * Q_QUADS;
    const int32_t step = block < Q_NEAR ? (int32_t)(Q_NEAR / block) * Q_LANES : Q_LANES;
    const int8_t *weights = (const int8_t *)w;
    q_conv_input in;
    in.aligned = icg % 4 == 0;
    for (int i = 0; i < Q_PATCH; i++) in.zeros[i] = zero ? *(const uint8_t *)zero : 0;
    for (int32_t g = 0; g < p->group; g++) {
        in.x = (const uint8_t *)x + g * icg;
        in.size = (ptrdiff_t)p->n * p->id * p->ih * p->iw * p->ic - g * icg;
        for (int32_t c = 0; c < ocg; c += step) {
            const int32_t end = ocg - c < step ? ocg : c + step;
            q_conv_sum_blocks(p, &in, c, end, weights, block, y, g * ocg);
            weights += (end - c + Q_LANES - 1) / Q_LANES * block;
        }
    }
}

static inline size_t q_conv_sums_packed(const q_conv_p *p) { return q_conv_packed(p); }

static inline void q_conv_sums_pack(const q_conv_p *p, const int8_t *restrict raw,
                                    int8_t *restrict packed)
{
    q_conv_pack(p, raw, packed);
}

KERNEL_RUN void q_conv_zeros(const q_conv_zeros_p *restrict p, const int32_t *restrict x,
                             const int32_t *restrict sums, const void *restrict xz,
                             const void *restrict wz, int32_t *restrict y)
{
    const uint32_t zero = (uint32_t)q_zero_at(xz, 0, p->x_signed);
    for (ptrdiff_t r = 0; r < (ptrdiff_t)p->pixels * p->group; r++) {
        const ptrdiff_t first = r % p->group * p->channels;
        const uint32_t rest = p->ones ? (uint32_t)x[p->channels] - (uint32_t)p->taps * zero : 0;
        for (int32_t c = 0; c < p->channels; c++) {
            const int32_t z =
                q_zero_at(wz, (first + c) * p->column, p->w_signed) - (p->w_signed ? 0 : 128);
            *y++ = q_signed((uint32_t)x[c] - zero * (uint32_t)sums[first + c] - (uint32_t)z * rest);
        }
        x += p->channels + p->ones;
    }
}

#endif
