/* passes/raise.h - what the table of raise-opset (raise_opset.c) and its adapters (raise_forms.c)
 * share. */
#ifndef PASSES_RAISE_H
#define PASSES_RAISE_H

#include <qonnx/qonnx.h>

/* What the adapters share. */
typedef struct Raise {
    qonnx_ctx *cx;
    int64_t opset;       /* of the model as it was read, at least 1 */
    qonnx_node **behind; /* nodes whose shapes may be out of date, in order, to the one in work */
    int count, room;     /* of them */
    bool stale;          /* one of them was rewritten */
    bool inferring;      /* shapes were asked for: all nodes from here on are inferred on the way */
} Raise;

/* Notes that the shapes of a node are not up to date. */
void raise_behind(Raise *r, qonnx_node *n);

/* Rewrites a node of an older form; false after qonnx_fail(). */
typedef bool adapt_fn(Raise *r, qonnx_node *n);

adapt_fn raise_legacy, raise_broadcast, raise_batchnorm, raise_cast, raise_clip, raise_concat,
    raise_dropout, raise_lp, raise_prelu, raise_pad, raise_axes, raise_reshape, raise_resize,
    raise_upsample, raise_scatter, raise_selu, raise_slice, raise_softmax, raise_split,
    raise_tile, raise_topk, raise_scan;

#endif
