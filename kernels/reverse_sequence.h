/* kernels/reverse_sequence.h - sequences of several lengths turned around: ONNX's ReverseSequence.
 */
#ifndef KERNELS_REVERSE_SEQUENCE_H
#define KERNELS_REVERSE_SEQUENCE_H

#include <string.h>
#include "common.h"

typedef struct reverse_sequence_p {
    int32_t batch, time;  /* sequences, and the most steps of one */
    int32_t bstep, tstep; /* bytes from a sequence, a step to the next */
    int32_t bytes;        /* of a step */
} reverse_sequence_p; /* reverse_sequence(p, x, lengths, y): what is behind a length stays; lengths
                         are kept between 0 and `time` */

KERNEL_RUN void reverse_sequence(const reverse_sequence_p *restrict p, const void *restrict x,
                                 const int64_t *restrict lengths, void *restrict y)
{
    for (ptrdiff_t b = 0; b < p->batch; b++) {
        const unsigned char *from = (const unsigned char *)x + b * p->bstep;
        unsigned char *to = (unsigned char *)y + b * p->bstep;
        const int64_t length = lengths[b] < 0 ? 0 : lengths[b] > p->time ? p->time : lengths[b];
        for (ptrdiff_t t = 0; t < p->time; t++)
            memcpy(to + t * p->tstep,
                   from + (t < length ? (ptrdiff_t)length - 1 - t : t) * p->tstep,
                   (size_t)p->bytes);
    }
}

#endif
