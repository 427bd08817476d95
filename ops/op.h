/* ops/op.h - what an operator is: one row in its family's table, with its functions in the same
 * file. The families are listed in meson.build.
 */
#ifndef OPS_OP_H
#define OPS_OP_H

#include "ir/ir.h"

typedef struct Lower Lower;
typedef struct QuantNode QuantNode; /* lower/quantized.h */
typedef struct Host Host;           /* ops/host.h */

/* Why something is refused: half a sentence without the node's name. */
typedef struct Why {
    char text[320];
} Why;

/* How the inputs of an operator's QLinear form lie: triples of tensor, scale and zero point of the
 * operands from `first` on, scale and zero point of the output, perhaps a bias. */
typedef struct QLinear {
    const char *op, *domain; /* NULL: there is none */
    int first;               /* input that is the first operand */
    int out;                 /* input that is the output's scale */
    int bias;                /* input that is the bias; 0: none */
    bool spreads;            /* it runs dequantized where no kernel takes it (lower/qlinear.c) */
} QLinear;

/* An operator on integers: what a group of DequantizeLinear, the operator and QuantizeLinear, or
 * its QLinear form, becomes (lower/fuse_qdq.c). The node keeps the operator's name, attributes and
 * row; its operands are the integer tensors, and Node.quant has their parameters. */
typedef struct Quantized {
    bool (*lower)(Lower *l, Node *n);
    /* Whether that gives the bytes of ONNX Runtime's integer kernel for this form of the node,
     * whose operands are in `q`. An operator that is nothing but a clamp sets q->lo and hi. NULL:
     * wherever the scales are such that quantized_scales() takes them. */
    bool (*form)(const Node *n, QuantNode *q);
    /* Axis of the output channels of its constant int8 weight, input 1, behind which may be an
     * int32 bias. NULL: it has none, all its operands are activations. */
    int (*weight_axis)(const Node *n);
    int weight_rank; /* axes that the weight must have; 0: as many as it may */
    bool first_only; /* only input 0 is an operand: the others are bounds */
    bool gives_floats; /* an operator of ops/integers.c gives its result as floats */
    bool clamps;     /* a Relu or Clip behind it becomes its clamp; others take none */
    QLinear qlinear;
} Quantized;

/* Outputs of which one axis has a size that is data: known only when the node has run. There the
 * node is given a further output for the size, one int64 (runtime/cut.h), and its outputs the shape
 * that they have at most. The kernel writes them as tensors of the size that they do have, at the
 * front of that memory. */
typedef struct Counted {
    int output; /* which output the size is: behind all that ONNX has */
    /* The axis of output i whose size it is; -1: none, the size is known. */
    int (*axis)(const Node *n, int i);
    int64_t (*most)(const Node *n); /* the greatest size, for inputs of known shapes */
} Counted;

/* What an operator does with its subgraphs. */
typedef struct Flow {
    /* Gives the subgraphs' inputs their types and shapes, as far as they are known, before the
     * subgraphs are inferred. False: the subgraphs are none for it; the message says how. */
    bool (*enter)(Ctx *cx, Node *n);
    /* Whether what goes from one turn to the next has the shape that it had before, the subgraph
     * being inferred. Where not, opens the sizes that a turn changes, or, with `last`, all of them,
     * and the subgraph is inferred again. NULL: it runs once. */
    bool (*settled)(Node *n, bool last);
    /* How often its subgraph runs; -1: not known before it does. NULL: one of them runs, once. */
    int64_t (*turns)(const Node *n);
    /* Whether all turns are alike, the subgraph being specialized for what the first one is given:
     * then it is lowered once. Else its turns run one by one (runtime/turns.h). NULL: it has none.
     */
    bool (*alike)(Why *why, const Node *n);
} Flow;

typedef struct Op {
    const char *name;   /* op_type */
    int min_in, max_in; /* inputs it takes; max -1: any number */
    /* Infers dtype and shape of the outputs from the inputs' (which may be unknown: then it
     * leaves them so). False: the operands are wrong; the message says how. */
    bool (*shape)(Ctx *cx, Node *n);
    /* How it is quantized. `refine` fills in what depends on the node (axes, bounds), or NULL. */
    qonnx_rule rule;
    void (*refine)(const Node *n, qonnx_rule *rule);
    /* Emits kernel calls for the node, whose types `takes` has allowed. NULL: known, but not run by
     * this library yet. */
    bool (*lower)(Lower *l, Node *n);
    /* Multiply-accumulates at the inferred shapes, open sizes taken as 1, or NULL for none; -1
     * where a rank is unknown. */
    int64_t (*macs)(const Node *n);
    /* Bit i: input i must be constant, a list of numbers, for the shapes to be known. Sessions
     * take what samples feed there as constant (runtime/bind.h), and run a graph in parts where one
     * is computed (runtime/cut.h). */
    unsigned lists;
    /* The same, where it depends on the node; NULL: `lists`. Asked through op_lists(). */
    unsigned (*lists_now)(const Node *n);
    /* Whether the lowering takes a node of these element types and of this form: all that does
     * not depend on sizes. Types that are not known yet, and inputs that are not there, pass.
     * NULL: any type that has elements in memory. Asked through op_takes(), for `inspect` as
     * for what runs, so that no lowering looks at types again. */
    bool (*takes)(Why *why, const Node *n);
    /* Steps of a run beyond those that write the output and `macs`, at the inferred shapes, as
     * `macs` counts; NULL: none. A step is about what an element of a sum takes. */
    int64_t (*work)(const Node *n);
    /* Whether its results are random numbers, so that it is never folded; NULL: they are not. */
    bool (*random)(const Node *n);
    /* Its form on integers, or NULL. */
    const Quantized *quantized;
    const char *domain; /* of other operators than ONNX's own; NULL: its own */
    /* NULL: what the sizes of its outputs are follows from shapes and lists. */
    const Counted *counted;
    /* NULL: it has no subgraphs. */
    const Flow *flow;
    /* Its output is a bundle (ir/bundle.h) of its inputs. It is not run: what reads the bundle sees
     * what is in it. */
    bool bundles;
    /* Of a node that reads or makes a bundle otherwise: puts nodes on tensors and such as `bundles`
     * in its place, in a graph that is being specialized. `*next` is the first of them, or what
     * stood behind it. False with a message: it cannot run. NULL: it takes no bundles. */
    bool (*unbundle)(Ctx *cx, Node *n, Node **next);
    bool strings; /* it only moves elements, so that these may be strings */
    /* Runs the node itself, outside of programs (host.h): always, or, where it has a lowering,
     * where an operand is of strings. NULL: nothing does. */
    bool (*host)(Host *h, const Node *n);
} Op;

/* Rules of operators that have no weight and no bias; further fields may stand behind. */
#define RULE(k, acts, ...)                                                                         \
    {.kind = k,                                                                                    \
     .activations = acts,                                                                          \
     .weight = -1,                                                                                 \
     .bias = -1,                                                                                   \
     .weight_axis = -1,                                                                            \
     .channel_axis = -1,                                                                           \
     __VA_ARGS__}
#define RULE_FLOAT RULE(QONNX_RULE_FLOAT, 0)
/* A form that stays in float where ONNX Runtime would still take its operator's integer kernel. */
#define RULE_APART RULE(QONNX_RULE_FLOAT, 0, .apart = true)
/* A probability in 8 bits: scale 1/256, zero point 0. */
#define RULE_PROBABILITY RULE(QONNX_RULE_FIXED, 1, .lo = 0, .hi = 255.0f / 256, .apart = true)

/* ---- sizes that are data (ops/late.c) ----------------------------------------------------------
 */

/* Notes of the node's outputs what depends on data; inference has it done for each node. It does in
 * the end where a list is computed from shapes that are open yet, but they will be known. */
void node_mark_data(Node *n);
/* The same, of a node of a specialized graph that is not folded: whatever is computed. */
void node_mark_late(Node *n);
/* Whether a list that it needs is computed, or it reads what is late. */
bool node_is_late(const Node *n);
/* The axis of the value whose size is data (Counted); -1: none. */
int counted_axis(const Value *v);

/* Calls see(user, v) for all that a node reads, what its subgraphs take from its graph included,
 * until that is true. Whether it was. */
bool any_read(const Node *n, bool (*see)(void *, Value *), void *user);
/* The same for what subgraph `s` takes from graph `g`. */
bool any_captured(const Graph *s, const Graph *g, bool (*see)(void *, Value *), void *user);
/* These values, each once, in the order of their first use, in the arena; returns how many. */
int captured_values(const Graph *s, const Graph *g, Arena *a, Value ***values);
/* The first value in the graph or its subgraphs that is late; NULL: there is none. */
const Value *late_value(const Graph *g);

/* ---- the form that an operator set gives a node (ops/attributes.c) -----------------------------
 */

/* Whether the attributes have a type that some operator set gives them. */
bool op_check_attributes(Ctx *cx, const Node *n);
/* Whether the model's operator set has the operator, and each attribute with its type; true for
 * operators that no table has. */
bool op_has_form(Why *why, const Node *n);
/* The same for all nodes, subgraphs' included: fails at the first that has not, or warns of each.
 */
bool graph_has_form(Ctx *cx, const Graph *g);
void graph_warn_form(Ctx *cx, const Graph *g);

/* The sets of its domain that have an operator, the last 0 where it is there still; 0 and 0 where
 * no table has it. */
void op_sets(const Op *op, int *since, int *until);

/* The row of an operator, NULL when there is none. */
const Op *op_find(const char *domain, const char *name);
/* Row number i of those that are run; NULL past the last. */
const Op *op_at(int i);
/* The row of the operator that has this QLinear form, NULL when none has. */
const Op *op_find_qlinear(const char *domain, const char *name);
/* Infers types and shapes of the outputs, in whichever form the node is. */
bool op_shape(Ctx *cx, Node *n);

/* ---- what can be run (ops/takes.c) ------------------------------------------------------------
 */

/* Whether the library runs a node, as far as its operator, element types and form say; `why` is ""
 * where there is no such operator. */
bool op_takes(Why *why, const Node *n);
/* Says why not; false, for `return`. */
bool why_not(Why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sets of element types: a bit each, by its number. */
enum {
    FLOATS = 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE | 1u << QONNX_FLOAT16 | 1u << QONNX_BFLOAT16,
    UNSIGNED = 1u << QONNX_UINT8 | 1u << QONNX_UINT16 | 1u << QONNX_UINT32 | 1u << QONNX_UINT64,
    SIGNED = 1u << QONNX_INT8 | 1u << QONNX_INT16 | 1u << QONNX_INT32 | 1u << QONNX_INT64,
    INTEGERS = UNSIGNED | SIGNED,
    NUMBERS = FLOATS | INTEGERS,
    BOOL = 1u << QONNX_BOOL,
    TINY_FLOATS = 1u << QONNX_FLOAT8E4M3FN | 1u << QONNX_FLOAT8E4M3FNUZ | 1u << QONNX_FLOAT8E5M2 |
                  1u << QONNX_FLOAT8E5M2FNUZ | 1u << QONNX_FLOAT4E2M1 | 1u << QONNX_FLOAT8E8M0 |
                  1u << QONNX_FLOAT6E2M3 | 1u << QONNX_FLOAT6E3M2,
    TINY_INTEGERS = 1u << QONNX_UINT4 | 1u << QONNX_INT4 | 1u << QONNX_UINT2 | 1u << QONNX_INT2,
    TINY = TINY_FLOATS | TINY_INTEGERS,
};
bool has_type(unsigned types, DType t);
/* For .takes: input i is of one of those types. */
bool takes_types(Why *why, const Node *n, int i, unsigned types);
/* For .takes: input i is of that type; all inputs, or input 0, are float; input 0 has elements that
 * can be moved. */
bool takes_type(Why *why, const Node *n, int i, DType t);
bool takes_floats(Why *why, const Node *n);
bool takes_float_data(Why *why, const Node *n);
bool takes_moved(Why *why, const Node *n);
/* The bits of Op.lists for this node; 0 for one without a row. */
unsigned op_lists(const Node *n);
/* Whether the node is run by Op.host. */
bool node_is_hosted(const Node *n);
/* Whether the node reads or makes a bundle. */
bool node_has_bundles(const Node *n);
/* The node whose inputs are in a bundle; NULL: it is none, or not known yet. (sequence.c) */
const Node *bundle_maker(const Value *v);
/* Op.unbundle of Identity. (sequence.c) */
bool identity_unbundle(Ctx *cx, Node *n, Node **next);
/* Whether output i is there and read. */
bool out_used(const Node *n, int i);

/* ---- helpers for shape functions (ops/shapes.c) ---------------------------------------------- */

/* The value's shape when its rank is known; NULL otherwise, or when it is left out. */
const Shape *in_shape(const Node *n, int i);
DType in_dtype(const Node *n, int i);
/* Product of dims[from..to), -1 when one is unknown or it does not fit. */
int64_t shape_product(const Shape *s, int from, int to);
/* As many axes as x has, all open; of no known rank where x is NULL. */
Shape open_shape(const Shape *x);
/* Elements for counting work: every size that is open taken as 1; -1 when the rank is unknown
 * (s NULL or not), or the number does not fit. */
int64_t shape_open_elements(const Shape *s);
/* a * b; -1 when one is not known (-1), or it does not fit. */
int64_t count_work(int64_t a, int64_t b);
/* Work of operators that take the elements of input 0 one by one, in any order. */
int64_t single_work(const Node *n);
/* Sets what is known of output i; dims of -1 keep what the file says. Fails when a known size
 * overflows. */
bool out_shape(Ctx *cx, Node *n, int i, DType dtype, const Shape *s);
/* Output 0 like input 0. */
bool same_shape(Ctx *cx, Node *n);
/* Normalizes an axis of -rank..rank-1; false with a message when it is out of range. */
bool check_axis(Ctx *cx, const Node *n, int64_t axis, int rank, int *out);
/* The shape of a matrix product, as numpy has it, or as the node's transposing attributes say.
 * (gemm.c) */
bool matmul_result(Ctx *cx, const Node *n, const Shape *a, const Shape *b, Shape *result);
/* Which dimensions a Shape node gives, of an input of that rank. (movement.c) */
void shape_axes(const Node *n, int rank, int64_t *from, int64_t *count);
/* Whether two sizes, -1 where open, may be the same. */
bool sizes_agree(int64_t a, int64_t b);
/* Fail with a message unless input i, where it is there, has a rank of that range, or an axis has
 * that size, as far as they are known. */
bool check_rank(Ctx *cx, const Node *n, int i, int least, int most);
bool check_dim(Ctx *cx, const Node *n, int i, int axis, int64_t want);
/* numpy's broadcasting of all inputs. */
bool broadcast_shape(Ctx *cx, Node *n);

#endif
