/* kernels/q_bytes.h - what the elementwise integer kernels share: bytes of either type.
 *
 * An int8 with its top bit flipped is the uint8 that is 128 greater, so kernels work on uint8 and
 * shift zero points and results by 128: one loop for both types.
 */
#ifndef KERNELS_Q_BYTES_H
#define KERNELS_Q_BYTES_H

#include "q_params.h"
#include "common.h"

enum { Q_CHUNK = 64 }; /* elements worked on at once, in buffers on the stack */

/* What turns a byte into its uint8 form (exclusive or), and a value (sum). */
KERNEL uint8_t q_flip(int32_t is_signed) { return is_signed ? 128 : 0; }

/* Length of the chunk at `i` of `n` elements. */
KERNEL int32_t q_chunk(int32_t i, int32_t n) { return n - i < Q_CHUNK ? n - i : Q_CHUNK; }

#endif
