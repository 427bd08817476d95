/* ops/broadcast.h - operands that broadcast, as the elementwise kernels walk them. */
#ifndef OPS_BROADCAST_H
#define OPS_BROADCAST_H

#include "lower/lower.h"

enum { BROADCAST_AXES = 6 }; /* that kernels have */

/* One operand of a call: its memory, and its strides by the axes of the output in the order of the
 * output's memory. */
typedef struct Operand {
    Buf *buf;
    int64_t strides[QONNX_MAX_RANK];
} Operand;

/* A call's axes, 1 in front where there are fewer, and the strides of its operands. */
typedef struct Walk {
    int32_t dims[BROADCAST_AXES];
    int32_t strides[3][BROADCAST_AXES];
} Walk;

/* Input i of the node, which broadcasts to its output 0 in that layout. */
Operand operand(Lower *l, Node *n, int i, Layout layout);
/* A buffer of output 0's shape, in that layout. */
Operand operand_full(const Node *n, Buf *b, Layout layout);
/* The axes of a call that takes `count` operands. Those that go on evenly are merged; where more
 * than kernels have are left, operands are copied, each element of the given size. */
void walk_make(Lower *l, const Node *n, Layout layout, Operand *x, int count, const int *bytes,
               Walk *w);
/* Emits out = a op b (F_ADD ...) over such axes, of elements of that type. */
void arithmetic_walk(Lower *l, const Node *n, int op, DType type, const Walk *w, Buf *a, Buf *b,
                     Buf *out);

#endif
