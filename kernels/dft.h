/* kernels/dft.h - discrete Fourier transforms of any length: ONNX's DFT and STFT.
 *
 * A factor of the length after the other (Stockham's form), in double: of length n it takes n times
 * the sum of its factors. The inverse divides by n.
 */
#ifndef KERNELS_DFT_H
#define KERNELS_DFT_H

#include "d_trig.h"
#include "reals.h"

typedef struct dft_p {
    int32_t d0, d1;           /* lines */
    int32_t x0, x1, y0, y1;   /* from line to line in x and y, counted in numbers */
    int32_t xs, ys;           /* from element to element of a line */
    int32_t given;            /* elements of a line in x; what is missing is 0 */
    int32_t length;           /* of the transform */
    int32_t count;            /* elements of a line in y: its first ones */
    int32_t x_parts, y_parts; /* numbers an element: 1, its real part, or 2 */
    int32_t inverse;
    int32_t mirrored; /* elements behind the middle are the conjugates of those in front */
    int32_t type;     /* of x, window and y: A_FLOAT or A_DOUBLE */
} dft_p; /* dft(p, x, window or NULL, y, memory): memory for 7 * length doubles */

KERNEL_TRAITS(dft, floats)

/* The roots of 1, three numbers each: the imaginary part comes with either sign, for gcc 12 makes
 * fused products of a sum beside a difference, though it is told not to. Those of the forward
 * transform go round clockwise. */
KERNEL void dft_roots(const dft_p *restrict p, double *restrict roots)
{
    for (ptrdiff_t k = 0; k < p->length; k++) {
        const double angle = 0x1.921fb54442d18p+2 * (double)k / (double)p->length;
        roots[3 * k] = d_cos(angle);
        roots[3 * k + 1] = p->inverse ? d_sin(angle) : -d_sin(angle);
        roots[3 * k + 2] = -roots[3 * k + 1];
    }
}

/* A line of x with its window, as `length` complex numbers. */
KERNEL void dft_load(const dft_p *restrict p, const void *restrict x, ptrdiff_t at,
                     const void *restrict window, double *restrict a)
{
    for (ptrdiff_t i = 0; i < p->length; i++) {
        const int32_t mirror = p->mirrored && i > p->length / 2;
        const ptrdiff_t k = mirror ? p->length - i : i, from = at + k * p->xs;
        const double w = window ? real_get(p->type, window, i) : 1.0;
        const double im = k < p->given && p->x_parts > 1 ? real_get(p->type, x, from + 1) : 0.0;
        a[2 * i] = k < p->given ? real_get(p->type, x, from) * w : 0.0;
        a[2 * i + 1] = (mirror ? -im : im) * w;
    }
}

/* Splits transforms of `size` into those of size / r: a to b. There are n / size of them. */
KERNEL void dft_split(const double *restrict roots, ptrdiff_t n, ptrdiff_t size, ptrdiff_t r,
                      const double *restrict a, double *restrict b)
{
    const ptrdiff_t m = size / r, s = n / size;
    for (ptrdiff_t j = 0; j < m; j++)
        for (ptrdiff_t k = 0; k < r; k++)
            for (ptrdiff_t q = 0; q < s; q++) {
                const ptrdiff_t to = q + s * (r * j + k);
                double re = 0.0, im = 0.0;
                ptrdiff_t w = j * k * s;
                for (ptrdiff_t i = 0; i < r; i++) {
                    const double *v = a + 2 * (q + s * (j + m * i)), *u = roots + 3 * w;
                    re += v[0] * u[0] + v[1] * u[2];
                    im += v[0] * u[1] + v[1] * u[0];
                    w += k * (n / r);
                    w -= w < n ? 0 : n;
                }
                b[2 * to] = re;
                b[2 * to + 1] = im;
            }
}

KERNEL_RUN void dft(const dft_p *restrict p, const void *restrict x, const void *restrict window,
                    void *restrict y, double *restrict memory)
{
    const ptrdiff_t n = p->length;
    const double scale = p->inverse ? (double)n : 1.0;
    dft_roots(p, memory);
    for (ptrdiff_t line = 0; line < (ptrdiff_t)p->d0 * p->d1; line++) {
        const ptrdiff_t l0 = line / p->d1, l1 = line % p->d1, to = l0 * p->y0 + l1 * p->y1;
        double *a = memory + 3 * n, *b = a + 2 * n;
        dft_load(p, x, l0 * p->x0 + l1 * p->x1, window, a);
        for (ptrdiff_t size = n, r = 2; size > 1;) {
            for (; size % r; r++)
                if (r * r > size) r = size - 1; /* a prime */
            dft_split(memory, n, size, r, a, b);
            double *swap = a;
            a = b, b = swap;
            size /= r;
        }
        for (ptrdiff_t i = 0; i < p->count; i++)
            for (int32_t part = 0; part < p->y_parts; part++)
                real_put(p->type, y, to + i * p->ys + part, a[2 * i + part] / scale);
    }
}

#endif
