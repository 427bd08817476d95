/* passes/channels.h - what fold-batchnorm and fuse-bias-add share: constants with one value for
 * each output channel of a weighted operator. Written on include/qonnx/ alone.
 */
#ifndef PASSES_CHANNELS_H
#define PASSES_CHANNELS_H

#include <qonnx/graph.h>

/* Where the channels of an operator's output are. */
typedef struct Channels {
    int64_t count; /* how many */
    int axis;      /* their axis in the output */
    int rank;      /* of the output */
} Channels;

/* A float constant that callers of the model cannot replace; else NULL. */
static inline const qonnx_tensor *constant_of(const qonnx_value *v)
{
    const qonnx_tensor *t = v && !qonnx_value_is_input(v) ? qonnx_value_constant(v) : NULL;
    return t && t->dtype == QONNX_FLOAT ? t : NULL;
}

/* Whether `t` broadcasts to the output as one value a channel, or one for all. */
static inline bool is_per_channel(const qonnx_tensor *t, const Channels *c)
{
    if (t->rank > c->rank) return false;
    for (int i = 0; i < t->rank; i++) {
        bool channel = c->rank - t->rank + i == c->axis;
        if (t->dims[i] != 1 && !(channel && t->dims[i] == c->count)) return false;
    }
    return true;
}

/* A bias is [channels]; Gemm's C may be all that broadcasts to that. */
static inline bool is_bias(const qonnx_node *n, const qonnx_tensor *t, const Channels *c)
{
    if (t->rank == 1 && t->dims[0] == c->count) return true;
    return qonnx_node_is(n, "Gemm") && is_per_channel(t, c);
}

/* The value of channel i. */
static inline double channel_value(const qonnx_tensor *t, int64_t i)
{
    return qonnx_tensor_get(t, qonnx_tensor_elements(t) == 1 ? 0 : i);
}

#endif
