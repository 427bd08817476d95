/* kernels/cosine_window.h - windows that are sums of cosines: Hann, Hamming, Blackman.
 */
#ifndef KERNELS_COSINE_WINDOW_H
#define KERNELS_COSINE_WINDOW_H

#include "d_trig.h"
#include "reals.h"

enum { WINDOW_HANN, WINDOW_HAMMING, WINDOW_BLACKMAN };

typedef struct cosine_window_p {
    int32_t count;    /* elements */
    int32_t form;     /* WINDOW_HANN ... */
    int32_t periodic; /* the element behind the last is the first, else the last is */
    int32_t type;     /* A_FLOAT or A_DOUBLE */
} cosine_window_p;    /* cosine_window(p, y) */

KERNEL_TRAITS(cosine_window, floats)
KERNEL_RUN void cosine_window(const cosine_window_p *restrict p, void *restrict y)
{
    const double a = p->form == WINDOW_HANN      ? 0.5
                     : p->form == WINDOW_HAMMING ? 25.0 / 46.0
                                                 : 0.42;
    const double b = p->form == WINDOW_HAMMING ? 21.0 / 46.0 : 0.5;
    const double c = p->form == WINDOW_BLACKMAN ? 0.08 : 0.0;
    const double period = p->periodic ? (double)p->count : (double)p->count - 1.0;
    for (ptrdiff_t i = 0; i < p->count; i++) {
        const double angle = 0x1.921fb54442d18p+2 * (double)i / period;
        real_put(p->type, y, i, a - b * d_cos(angle) + c * d_cos(2.0 * angle));
    }
}

#endif
