/* ops/integers.h - what operators on integers share whose ranges are found while the model runs. */
#ifndef OPS_INTEGERS_H
#define OPS_INTEGERS_H

#include "kernels/q_dynamic.h"
#include "kernels/q_matmul.h"
#include "lower/lower.h"

/* The left operand of a product as bytes, with its zero point and scale. */
typedef struct Left {
    Buf *x, *zero, *scale;
    bool is_signed;
} Left;

/* Quantizes the floats `x` of that range to uint8; lengths: q_range's, or NULL. */
Left lower_dynamic(Lower *l, const Node *n, Buf *x, Buf *lengths, q_range_p range);
/* Emits the products; in: a, b, zero points of a and of b. `constant`: b is, and is packed once. */
void lower_products(Lower *l, const Node *n, const q_matmul_p *p, bool constant, Buf *const in[4],
                    Buf *sums);

/* For QAttention, whose projection is such a product: whether the operands fit so many columns, a
 * message where not; whether they have types that run; the product, into `result`. */
bool integers_columns(Ctx *cx, const Node *n, int64_t columns);
bool integers_takes(Why *why, const Node *n);
bool integers_product(Lower *l, Node *n, Buf *result);

#endif
