/* kernels/q_table.h - any function of one 8-bit value, by a table of 256 bytes.
 */
#ifndef KERNELS_Q_TABLE_H
#define KERNELS_Q_TABLE_H

#include "q_params.h"
#include "common.h"

KERNEL_RUN void q_table(const q_table_p *restrict p, const void *x, const uint8_t *restrict table,
                        void *y)
{
    const uint8_t *in = (const uint8_t *)x;
    uint8_t *to = (uint8_t *)y;
    for (int32_t i = 0; i < p->count; i++) to[i] = table[in[i]];
}

#endif
