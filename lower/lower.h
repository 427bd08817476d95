/* lower/lower.h - what an operator's lowering function is written with: where its values lie, and
 * how to emit a kernel call.
 */
#ifndef LOWER_LOWER_H
#define LOWER_LOWER_H

#include "kernels/params.h"
#include "lower/program.h"
#include "ops/op.h"

/* PLAIN is ONNX's order of axes. LAST has axis 1 moved to the end; below rank 3 they are one. */
typedef enum Layout { PLAIN, LAST } Layout;

/* Where a value is: in one layout or both. */
typedef struct Place {
    Buf *buf[2];  /* by Layout; NULL: not there in that layout */
    Layout first; /* the layout it was made in */
} Place;

struct Lower {
    Ctx *cx;
    Program *program;
    Place *places;   /* by Value.id */
    bool inner;      /* a body's program: its ports are memory of the one around it */
    bool *absorbed;  /* by Value.id of a node's first output: fused into its producer */
};

/* The layout that input i is in (made in). */
Layout lower_layout(const Lower *l, const Node *n, int i);
/* The layout for the result of an operator of several operands: that of one of full rank that is
 * not plain. */
Layout lower_result_layout(const Lower *l, const Node *n);
/* Input i in that layout, converted where needed. NULL for an input that is left out. */
Buf *lower_in(Lower *l, const Node *n, int i, Layout layout);
/* The same for any value; `n` is the node that asks. */
Buf *lower_value(Lower *l, const Node *n, Value *v, Layout layout);
/* Memory for a value in that layout. */
Buf *lower_out(Lower *l, Value *v, Layout layout);
/* Makes `v` another name for the memory of `of`, in that layout. */
void lower_view(Lower *l, Value *v, Buf *of, Layout layout);
/* A constant; `data` is not copied. */
Buf *lower_const(Lower *l, const void *data, size_t bytes);
/* The elements of `v`, of fewer than 8 bits, a byte each, from where they are packed; and packed:
 * that is how they come into a program and leave it, and how constants are. */
Buf *lower_unpack(Lower *l, const Node *n, const Value *v, Buf *packed);
Buf *lower_pack(Lower *l, const Value *v, Buf *b);
size_t packed_bytes(const Value *v);
/* Memory that only lives from one call to the next. */
Buf *lower_temp(Lower *l, size_t bytes);
/* Notes that the call with that number reads or writes the buffer. */
void lower_touch(Buf *b, int call);
/* A copy of a buffer that holds `v`: for outputs that are constants, inputs, or output twice. */
Buf *lower_duplicate(Lower *l, const Value *v, Buf *b);
/* Emits a call of the kernel: `params` is copied. Inputs and outputs behind those that are given
 * are left out, and so is a NULL. No call is made where no output has an element. */
void lower_call(Lower *l, const Node *n, const char *kernel, const void *params, Buf *const *in,
                int nin, Buf *out);
/* The same for a kernel of several outputs. Memory that it only works in is an output, too, whose
 * buffer is lower_temp's. */
void lower_call_n(Lower *l, const Node *n, const char *kernel, const void *params, Buf *const *in,
                  int nin, Buf *const *out, int nout);
/* Lowers a subgraph of the node as branch `which` of a body, with memory for its ports: those of
 * its own inputs, and those of its outputs, are the caller's to fill in. What the subgraph captures
 * becomes inputs behind them. False on failure. */
bool lower_branch(Lower *l, Node *n, Graph *g, Body *b, int which);
/* Emits the call of a body, which is copied. */
void lower_body(Lower *l, const Node *n, const Body *b);
/* program.c: the program of a graph, in that arena, not planned; its fed inputs lie in these
 * layouts, NULL: plain. NULL on failure. */
Program *program_lower(Ctx *cx, Arena *a, Graph *g, const Layout *layouts);
/* Memory for tables made by lowering; lives with the program. */
void *lower_alloc(Lower *l, size_t bytes);
void *lower_array(Lower *l, size_t n, size_t size); /* the product is checked */

/* The value that the kernel of `n` writes: its output 0, or, where that only feeds a Relu or Clip
 * which is fused into the kernel's clamp, that one's output. lo, hi: the clamp. */
Value *lower_fused(Lower *l, const Node *n, float *lo, float *hi);

/* Strides in elements of a value of that shape by ONNX's axes, when it lies in that layout. */
void layout_strides(const Shape *s, Layout layout, int64_t strides[QONNX_MAX_RANK]);
/* The same by the axes of `out`, which the shape broadcasts to: 0 along those that it repeats. */
void broadcast_strides(const Shape *s, Layout layout, const Shape *out,
                       int64_t strides[QONNX_MAX_RANK]);
/* The axes in the order of memory. */
void layout_order(int rank, Layout layout, int order[QONNX_MAX_RANK]);

/* Emits a strided copy of the box `dims` (by ONNX's axes, `rank` of them). */
void lower_copy(Lower *l, const Node *n, int rank, const int64_t *dims, Buf *from,
                const int64_t *from_strides, int64_t from_offset, Buf *to,
                const int64_t *to_strides, int64_t to_offset, int element_bytes);

/* The bounds of a Relu or Clip, whose inputs must be constant. */
bool activation_bounds(const Node *n, float *lo, float *hi);

/* ---- what operators share (ops/) --------------------------------------------------------------
 */

/* The kernel parameters of an elementwise operator of one operand, but for the count. */
bool unary_params(const Node *n, f_unary_p *p);
/* Emits the call, the count filled in. */
bool unary_emit(Lower *l, Node *n, f_unary_p p);
/* Whether elements of that type can be added, multiplied ... */
bool is_arithmetic(DType t);
/* Emits a cast of `count` elements, each of whole bytes; returns where they are. */
Buf *lower_cast(Lower *l, const Node *n, DType from, DType to, int64_t count, Buf *x);
/* Takes `count` rows of `inner` elements of that many bytes out of a table of `rows`, by ids that
 * are int64 (`wide`) or int32. (indexed.c) */
void lower_rows(Lower *l, const Node *n, Buf *table, int64_t rows, int64_t inner, int size,
                Buf *ids, bool wide, int64_t count, Buf *y);
/* A number as one element of that type, a constant; a whole one, where the type is of integers. */
Buf *lower_number(Lower *l, DType t, double x);
/* Emits a op b (F_ADD ...) for `count` elements of that type; b may be one number. Returns where
 * they are. */
Buf *arithmetic(Lower *l, const Node *n, int op, DType type, int64_t count, Buf *a, Buf *b);
/* What a Softmax runs over, and the layout that it takes its input in. */
bool softmax_params(Lower *l, const Node *n, f_softmax_p *p, Layout *at);

#endif
