/* kernels/matmul_walk.h - what kernels of batched matrix products share: their parameters, and
 * where the matrices lie.
 */
#ifndef KERNELS_MATMUL_WALK_H
#define KERNELS_MATMUL_WALK_H

#include "common.h"

enum { MATMUL_AXES = 8 };

typedef struct matmul_p {
    int32_t type;                           /* of the elements, ONNX's number; f_matmul: floats */
    int32_t d0, d1, d2, d3, d4, d5, d6, d7; /* axes of the batch, 1 where there are fewer */
    int32_t a0, a1, a2, a3, a4, a5, a6,
        a7; /* elements of a from one index to the next; 0: repeated */
    int32_t b0, b1, b2, b3, b4, b5, b6, b7;
    int32_t m, n, k;        /* y[batch][m][n] = alpha * sum over k of a * b */
    int32_t am, ak, bk, bn; /* elements from one row, column ... of a matrix to the next */
    float alpha;
} matmul_p; /* f_matmul(p, a, b, y, work): work is f_matmul_work(p) floats; matmul(p, a, b, y) */

/* Matrices of a product, and where number t of a and b begins. */
KERNEL ptrdiff_t matmul_count(const matmul_p *restrict p)
{
    return (ptrdiff_t)p->d0 * p->d1 * p->d2 * p->d3 * p->d4 * p->d5 * p->d6 * p->d7;
}

KERNEL void matmul_at(const matmul_p *restrict p, ptrdiff_t t, ptrdiff_t *a, ptrdiff_t *b)
{
    const int32_t dims[MATMUL_AXES] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5, p->d6, p->d7};
    const int32_t as[MATMUL_AXES] = {p->a0, p->a1, p->a2, p->a3, p->a4, p->a5, p->a6, p->a7};
    const int32_t bs[MATMUL_AXES] = {p->b0, p->b1, p->b2, p->b3, p->b4, p->b5, p->b6, p->b7};
    *a = *b = 0;
    for (int i = MATMUL_AXES - 1; i >= 0 && t; t /= dims[i], i--) {
        *a += t % dims[i] * as[i];
        *b += t % dims[i] * bs[i];
    }
}

#endif
