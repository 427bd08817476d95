/* kernels/q_tile.h - the register tile of q_conv and q_gemm: Q_TILE rows of Q_LANES sums.
 *
 * Weights are packed as quads: [block of Q_LANES output channels][k / 4][Q_LANES][4], filled up
 * with zeros, so what x holds beyond its k does not matter. Sums wrap modulo 2^32.
 */
#ifndef KERNELS_Q_TILE_H
#define KERNELS_Q_TILE_H

#include "requant.h"

enum {
    Q_QUADS = 4 * Q_LANES, /* bytes of one k-step of a block's weights */
    Q_RUNS = 32            /* runs of products taken at once */
};

/* One block of output channels; arrays are whole, also where the last channels are not in use. */
typedef struct q_block {
    const int32_t *bias;
    const q_scale *scale;
    int32_t count;           /* channels in use */
    int32_t biases[Q_LANES]; /* copies, of a block that is not full */
    q_scale scales[Q_LANES];
} q_block;

/* A tile of outputs at work: what is multiplied, and where it goes. */
typedef struct q_job {
    const uint8_t *x[Q_RUNS][Q_TILE]; /* runs of bytes: where each row of the tile
                                         has them */
    int32_t runs;
    ptrdiff_t quads; /* 4 bytes each, in a run */
    int32_t x_signed;
    q_block block;
    q_out out;
    uint8_t *y[Q_TILE];  /* each row's output for channel 0 */
    ptrdiff_t c;         /* the block's first channel */
    int32_t first, last; /* start from the bias; requantize, where else the sums
                            are carried on */
    int32_t keep;        /* the sums are what is wanted: nothing is requantized */
    uint32_t sum[Q_TILE][Q_LANES];
} q_job;

/* Sets the block to that at channel `c` of `channels`. */
KERNEL void q_job_block(q_job *restrict job, const int32_t *restrict bias,
                        const q_scale *restrict scale, int32_t c, int32_t channels)
{
    q_block *b = &job->block;
    job->c = c;
    b->count = channels - c < Q_LANES ? channels - c : Q_LANES;
    b->bias = bias + c;
    b->scale = scale + c;
    if (b->count == Q_LANES) return;
    for (int32_t j = 0; j < Q_LANES; j++) {
        b->biases[j] = j < b->count ? bias[c + j] : 0;
        b->scales[j] = j < b->count ? scale[c + j] : 0;
    }
    b->bias = b->biases;
    b->scale = b->scales;
}

/* Where sums come from and go to; a copy of what is in the job, because stores to y might change
 * that for all the compiler knows. */
typedef struct q_ends {
    const uint32_t *bias; /* NULL: sums are carried on */
    const q_scale *scale; /* NULL: sums are carried on */
    q_out out;
    int32_t count; /* channels in use */
    uint8_t *y[Q_TILE];
} q_ends;

/* Those from `lane` on. */
KERNEL q_ends q_job_ends(const q_job *restrict job, int lane)
{
    q_ends e;
    e.bias = job->first ? (const uint32_t *)job->block.bias + lane : NULL;
    e.scale = job->last && !job->keep ? job->block.scale + lane : NULL;
    e.out = job->out;
    e.count = job->block.count - lane;
    for (int i = 0; i < Q_TILE; i++) e.y[i] = job->y[i] ? job->y[i] + job->c + lane : NULL;
    return e;
}

/* Row i's sums before this job, of Q_ABREAST vectors of lanes. */
KERNEL void q_ends_load(const q_ends *restrict e, const uint32_t *restrict sum, q_vec s[Q_ABREAST])
{
#pragma GCC unroll 4
    for (int v = 0; v < Q_ABREAST; v++) s[v] = q_vec_load((e->bias ? e->bias : sum) + v * Q_WIDTH);
}

/* What becomes of row i's sums. */
KERNEL void q_ends_store(const q_ends *restrict e, int i, uint32_t *restrict sum,
                         const q_vec s[Q_ABREAST])
{
    if (e->scale) {
        q_requant_lanes(s, e->scale, e->out, e->y[i], e->count);
        return;
    }
#pragma GCC unroll 4
    for (int v = 0; v < Q_ABREAST; v++) q_vec_store(sum + v * Q_WIDTH, s[v]);
}

/* Adds one quad of each row to s. */
KERNEL void q_tile_step(q_vec s[Q_TILE][Q_ABREAST], const uint8_t *const x[Q_TILE], ptrdiff_t k,
                        const int8_t *restrict w, int is_signed)
{
    q_quad wide[Q_ABREAST];
#pragma GCC unroll 4
    for (int v = 0; v < Q_ABREAST; v++) wide[v] = q_quad_weights(w + v * Q_WIDTH * 4, is_signed);
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++) {
        const q_quad quad = q_quad_x(x[i] + k * 4, is_signed);
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) s[i][v] = q_quad_dot(s[i][v], quad, wide[v], is_signed);
    }
}

/* The job, for Q_ABREAST vectors of lanes. */
KERNEL void q_tile_part(q_job *restrict job, const int8_t *restrict w, int lane, int is_signed)
{
    q_vec s[Q_CHAINS][Q_TILE][Q_ABREAST];
    const ptrdiff_t quads = job->quads;
    const q_ends ends = q_job_ends(job, lane);
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++) {
        q_ends_load(&ends, job->sum[i] + lane, s[0][i]);
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++)
#pragma GCC unroll 2
            for (int c = 1; c < Q_CHAINS; c++) s[c][i][v] = q_vec_zero();
    }
    for (int32_t r = 0; r < job->runs; r++) {
        const uint8_t *x[Q_TILE];
        ptrdiff_t k = 0;
#pragma GCC unroll 8
        for (int i = 0; i < Q_TILE; i++) x[i] = job->x[r][i];
        for (; k + Q_CHAINS <= quads; k += Q_CHAINS, w += Q_CHAINS * Q_QUADS)
#pragma GCC unroll 2
            for (int c = 0; c < Q_CHAINS; c++)
                q_tile_step(s[c], x, k + c, w + c * Q_QUADS, is_signed);
        for (; k < quads; k++, w += Q_QUADS) q_tile_step(s[0], x, k, w, is_signed);
    }
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++)
#pragma GCC unroll 2
            for (int c = 1; c < Q_CHAINS; c++) s[0][i][v] = q_vec_add(s[0][i][v], s[c][i][v]);
        q_ends_store(&ends, i, job->sum[i] + lane, s[0][i]);
    }
}

KERNEL_CALLED void q_tile_u8(q_job *restrict job, const int8_t *restrict w)
{
    for (int lane = 0; lane < Q_LANES; lane += Q_ABREAST * Q_WIDTH)
        q_tile_part(job, w + lane * 4, lane, 0);
}

KERNEL_CALLED void q_tile_s8(q_job *restrict job, const int8_t *restrict w)
{
    for (int lane = 0; lane < Q_LANES; lane += Q_ABREAST * Q_WIDTH)
        q_tile_part(job, w + lane * 4, lane, 1);
}

/* Does the job: the products of all runs with a block's weights. */
KERNEL void q_tile(q_job *restrict job, const int8_t *restrict w)
{
    if (job->x_signed) q_tile_s8(job, w);
    else q_tile_u8(job, w);
}

/* Quads that hold `bytes` bytes. */
KERNEL ptrdiff_t q_quads(ptrdiff_t bytes) { return (bytes + 3) / 4; }

#endif
