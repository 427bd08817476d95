/* kernels/mel_weights.h - the weights that make a mel spectrogram of a spectrogram: ONNX's
 * MelWeightMatrix.
 *
 * Bands of equal width on the mel scale, each a triangle from the lower neighbour's middle to the
 * upper one's; edges are cut off to bins of the spectrogram. What lies outside of it is nowhere.
 */
#ifndef KERNELS_MEL_WEIGHTS_H
#define KERNELS_MEL_WEIGHTS_H

#include "d_trig.h"
#include "reals.h"

typedef struct mel_weights_p {
    int32_t bins, bands;        /* y is [bins][bands] */
    int32_t length;             /* of the transforms */
    int32_t rate, lower, upper; /* types of those inputs: A_FLOAT ... */
    int32_t type;               /* of y: A_FLOAT or A_DOUBLE */
} mel_weights_p; /* mel_weights(p, sample rate, lower edge, upper edge, y): edges in Hz */

KERNEL_TRAITS(mel_weights, floats)

#define MEL_LOG10 0x1.26bb1bbb55516p+1 /* ln(10) */

KERNEL double mel_of(double hertz)
{
    return 2595.0 * (d_log(1.0 + hertz / 700.0) / MEL_LOG10);
}

/* The bin of edge number i; far outside where there is none. */
KERNEL ptrdiff_t mel_bin(const mel_weights_p *restrict p, double rate, double low, double step,
                         ptrdiff_t i)
{
    const double mel = (double)i * step + low;
    const double hertz = 700.0 * (d_exp(mel / 2595.0 * MEL_LOG10) - 1.0);
    const double bin = d_floor(((double)p->length + 1.0) * hertz / rate);
    return bin > -0x1p30 && bin < 0x1p30 ? (ptrdiff_t)bin : (ptrdiff_t)1 << 30;
}

/* Puts a weight, where the bin is one. */
KERNEL void mel_put(const mel_weights_p *restrict p, void *restrict y, ptrdiff_t bin,
                    ptrdiff_t band, double v)
{
    if (bin >= 0 && bin < p->bins) real_put(p->type, y, bin * p->bands + band, v);
}

KERNEL_RUN void mel_weights(const mel_weights_p *restrict p, const void *restrict rate,
                            const void *restrict lower, const void *restrict upper,
                            void *restrict y)
{
    double hertz[F_CHUNK], low[F_CHUNK], high[F_CHUNK];
    arith_load_reals(hertz, p->rate, rate, 0, 1, 1);
    arith_load_reals(low, p->lower, lower, 0, 1, 1);
    arith_load_reals(high, p->upper, upper, 0, 1, 1);
    const double first = mel_of(low[0]), step = (mel_of(high[0]) - first) / (p->bands + 2.0);
    for (ptrdiff_t i = 0; i < (ptrdiff_t)p->bins * p->bands; i++) real_put(p->type, y, i, 0.0);
    for (ptrdiff_t band = 0; band < p->bands; band++) {
        const ptrdiff_t from = mel_bin(p, hertz[0], first, step, band);
        const ptrdiff_t middle = mel_bin(p, hertz[0], first, step, band + 1);
        const ptrdiff_t to = mel_bin(p, hertz[0], first, step, band + 2);
        if (from == middle) mel_put(p, y, middle, band, 1.0);
        for (ptrdiff_t i = from < 0 ? 0 : from; from < middle && i <= middle && i < p->bins; i++)
            mel_put(p, y, i, band, (double)(i - from) / (double)(middle - from));
        for (ptrdiff_t i = middle < 0 ? 0 : middle; i < to && i < p->bins; i++)
            mel_put(p, y, i, band, (double)(to - i) / (double)(to - middle));
    }
}

#undef MEL_LOG10

#endif
