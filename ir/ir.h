/* ir/ir.h - the graph inside: what include/qonnx/graph.h shows as handles.
 *
 * A Graph owns everything in it through its model's arena. `uses` follow every edit; the order of
 * nodes and the shapes are derived by qonnx_graph_refresh(). What came from a file keeps a pointer
 * to the message it came from (`source`), so that the writer loses nothing that we do not read.
 */
#ifndef IR_IR_H
#define IR_IR_H

#include <qonnx/quant.h>
#include "ir/arena.h"

typedef qonnx_ctx Ctx;
typedef qonnx_graph Graph;
typedef qonnx_node Node;
typedef qonnx_value Value;
typedef qonnx_tensor Tensor;
typedef qonnx_dtype DType;

/* Dimensions of a value, as far as they are known. */
typedef struct Shape {
    int rank;                        /* -1: unknown */
    int64_t dim[QONNX_MAX_RANK];     /* -1: unknown or symbolic */
    const char *sym[QONNX_MAX_RANK]; /* name of a symbolic dimension, or NULL */
} Shape;

/* One place that reads a value. */
typedef struct Use {
    Node *node;
    int input;
} Use;

struct qonnx_value {
    const char *name;   /* unique in its graph */
    Graph *graph;       /* the graph that owns it */
    DType dtype;        /* QONNX_UNDEFINED: unknown, or a map or the like */
    Shape shape;        /* as inferred, or as the file says; none of a bundle (bundle.h) */
    const Tensor *data; /* contents of a constant, or NULL */
    bool shared;        /* data outlives all that is made of the graph and of its clones, which
                           have this, too (graph_share) */
    int observed;       /* its number among the values that are observed, from 1; 0: it is not */
    int channel_axis;   /* of an observed value: the axis that is the channel */
    bool late;          /* it depends on a size that is data (ops/late.c): what stands in its shape
                           is no more than what the file says */
    bool of_shapes;     /* it follows from constants and the shapes of values that are not late */
    bool retyped;       /* its type and shape are written, in place of those in the file */
    bool ranged;        /* lo and hi are set */
    float lo, hi;       /* range to quantize to */
    const qonnx_kept *kept; /* the integers that it had in the file, or NULL */
    const qonnx_override *override; /* how it is quantized, unless as all others are */
    Node *def;          /* the node that produces it; NULL: input or constant */
    int def_index;      /* which of its outputs */
    Use *uses;          /* inputs that read it */
    int nuse, use_cap;  /* used, and room */
    int id;             /* index in graph->values */
    int input_count;    /* times it stands in graph->inputs (0 or 1) */
    int output_count;   /* times it stands in graph->outputs */
    const void *source; /* Onnx__TensorProto of an initializer that was not changed, or NULL */
    const void *info;   /* Onnx__ValueInfoProto that the file gives it, or NULL */
};

/* Attribute types; the numbers are ONNX's AttributeProto.AttributeType. */
enum {
    ATTR_FLOAT = 1,
    ATTR_INT,
    ATTR_STRING,
    ATTR_TENSOR,
    ATTR_GRAPH,
    ATTR_FLOATS,
    ATTR_INTS,
    ATTR_STRINGS,
    ATTR_TENSORS,
    ATTR_GRAPHS,
    ATTR_TYPE = 13
};

typedef struct Attr {
    const char *name;
    int type;             /* ATTR_...; others are carried by `source` alone */
    float f;              /* ATTR_FLOAT */
    int64_t i;            /* ATTR_INT; of ATTR_TYPE the DType, 0 where there is none */
    const char *s;        /* ATTR_STRING, with a NUL behind it */
    int count;            /* elements of the lists below */
    const float *floats;  /* ATTR_FLOATS */
    const int64_t *ints;  /* ATTR_INTS */
    char **strings;       /* ATTR_STRINGS, with a NUL behind each; not set here */
    const Tensor *tensor; /* ATTR_TENSOR */
    Graph **graphs;       /* ATTR_GRAPH (one), ATTR_GRAPHS; by node_set_graphs */
    const void *source;   /* Onnx__AttributeProto, NULL when it was set or changed here */
} Attr;

struct Op;

struct qonnx_node {
    const char *op, *domain, *name; /* op_type; "" for ONNX's own domain; "" for no name */
    const struct Op *row;           /* its row in ops/, NULL when unknown */
    Graph *graph;
    Value **in; /* inputs; NULL where an optional one is left out */
    int nin, in_cap;
    Value **out; /* outputs; NULL where an optional one is left out */
    int nout;
    Attr *attrs;
    int nattr, attr_cap;
    Graph **subs; /* the graphs of all attributes, in order */
    int nsub, sub_cap;
    Node *prev, *next;  /* order in the graph */
    const void *source; /* Onnx__NodeProto, or NULL */
    DType narrow;       /* float16 or bfloat16: what it computed in before it was widened; else
                           QONNX_UNDEFINED (ops/narrow.c) */
    uint32_t wide_in, wide_out; /* bit i: its input, output i was of another type even then; the
                                   last bit stands for all behind it, too */
    const void *quant;  /* QuantNode of a quantized operator (lower/quantized.h), or NULL */
    bool in_float;      /* it must not be quantized */
    const char *turned; /* why its turns run one by one (runtime/turns.h), or it outside of programs
                           (ops/host.h); NULL: they do not, or nobody has asked */
    bool called;        /* it calls a function of the file, whatever else has its name */
    bool inside;        /* it is a part of a function that stays in float (ops/functions.h) */
    int mark;           /* scratch of whoever walks the graph; no meaning between calls */
};

/* The newest operator set of ONNX's own domain whose meaning is known here. */
enum { NEWEST_OPSET = 28 };

typedef struct Opset {
    const char *domain;
    int64_t version;
} Opset;

typedef struct Property {
    const char *key, *value;
} Property;

/* What was spent on a model: small files must not make much. */
typedef struct Budget {
    int64_t bytes; /* of results */
    int64_t work;  /* bytes that were gone through, and multiply-accumulates */
    bool told;     /* a note has said that it is used up */
} Budget;

typedef struct AllNames AllNames; /* ir/names.c */

/* What a file holds beside its graph; one for the main graph and all its subgraphs. */
typedef struct Model {
    Arena *arena;         /* everything */
    const char *path;     /* of the file, for messages */
    const void *source;   /* Onnx__ModelProto, or NULL */
    bool inlined;         /* no node calls a function of the source any more */
    const void *external; /* ExternalFiles that constants lie in, or NULL */
    int64_t ir_version;
    const char *producer, *producer_version; /* "" where the file has none */
    Opset *opsets;
    int nopset;
    Property *props; /* metadata_props */
    int nprop, prop_cap;
    Graph *main;          /* the main graph */
    int nsub;             /* subgraphs that were ever made */
    AllNames *names;      /* of all graphs' values; NULL before one is asked for */
    AllNames *node_names; /* of all graphs' nodes; NULL before one is chosen */
    size_t bytes;         /* of the file and its external data; 0 when it came from none */
    bool whole;           /* runs as one program: branches that cannot run are left out of it */
    Budget folding;       /* what qonnx_node_fold has spent on it */
    int64_t held;         /* by sequences that were made when it was specialized (ops/sequence.c) */
} Model;

/* Names to values: open addressing, at most half full. */
typedef struct NameTable {
    Value **slots;
    int used, size;
    uint64_t seed; /* of the hash */
} NameTable;

struct qonnx_graph {
    Model *model;
    Graph *parent;      /* NULL: the main graph */
    Node *owner;        /* the node of the parent that this graph is an attribute of */
    bool barred;        /* a branch of an If that cannot run with these shapes */
    Node *first, *last; /* nodes in order */
    Value **values;     /* all, in order of creation */
    int nvalue, value_cap;
    Value **inputs;
    int ninput, input_cap;
    Value **outputs;
    int noutput, output_cap;
    Value **constants; /* initializers in order */
    int nconstant, constant_cap;
    NameTable names;
    const void *source; /* Onnx__GraphProto, or NULL */
};

/* graph.c */
Graph *graph_new(const char *path); /* an empty main graph with a model of its own */
/* The operator set of a domain that the file imports; 0 where it imports none. */
int64_t model_opset_of(const Graph *g, const char *domain);
Graph *graph_new_sub(Graph *parent, Node *owner);
Value *graph_value(Graph *g, const char *name); /* found here or made, without a suffix */
void graph_put_input(Graph *g, Value *v);
void graph_put_output(Graph *g, Value *v);
void graph_put_constant(Graph *g, Value *v, const Tensor *t); /* t is not copied */
Node *graph_append(Graph *g, const char *op, const char *domain, const char *name, int nin,
                   int nout);

/* Gives up a subgraph: the uses that its nodes make of values, and all names in it. */
void graph_release(Graph *g);
/* Takes over a value of another graph, under its name, which is free. */
void graph_adopt(Graph *g, Value *v);
/* Takes a node out of its graph, and puts it in front of `before`, with its subgraphs. */
void node_move(Node *n, Node *before);

/* Says of all constants, subgraphs' included, that they outlive what is made of the graph. */
void graph_share(Graph *g);

/* splice.c: puts the nodes of a subgraph without inputs, one of the node's, in the node's place */
void graph_splice(Node *n, Graph *sub);

/* names.c */
Value *graph_own(const Graph *g, const char *name); /* its own value of that name, or NULL */
/* `name` itself when no value of the model has it, else the first free of name_1, name_2, ... */
const char *name_choose(Graph *g, const char *name);
void name_put(Graph *g, Value *v);        /* under its name */
void name_drop(Graph *g, const Value *v); /* before it is renamed */
void name_drop_graph(Graph *g);           /* its own, and its subgraphs': when it is removed */
void names_count(Model *m);               /* of all graphs, before one of them is left out of it */
/* `name` itself, which is taken from now on, when no node of the model has it, or else the first
 * free of name_1, name_2, ...; "" stays "". */
const char *node_name_choose(Graph *g, const char *name);
/* Gives up its name, and those of its subgraphs' nodes: when it is removed. */
void node_name_drop(const Node *n);
/* The greatest N in names `..__N` of values and nodes of the whole model; 0: there is none. */
int name_last_number(const Graph *g);

/* attr.c */
Attr *node_attr(const Node *n, const char *name);
/* The strings of an attribute; returns how many. */
int node_strings(const Node *n, const char *name, char *const **values);
Attr *node_put_attr(Node *n, const char *name); /* found and cleared, or new */
Attr *node_add_attr(Node *n, const char *name); /* new; there must be none of that name */
void node_set_graphs(Node *n, Attr *a, Graph **graphs, int count); /* of a new attribute */
void node_swap_graph(Node *n, const Graph *old, Graph *g); /* `g` takes the place of `old` */

/* clone.c: a copy with an arena of its own that shares the constants' bytes: `g` must outlive it */
Graph *graph_clone(const Graph *g);
/* The same of a subgraph, as a main graph: the `count` values that it captures become constants, or
 * inputs behind its own. */
Graph *graph_clone_body(const Graph *sub, Value *const *captured, int count);
/* A copy of a subgraph beside it, which its node does not have yet: node_swap_graph() gives it. */
Graph *graph_clone_sub(const Graph *sub);

/* refresh.c */
/* Shapes alone, nodes being in order. Forms before operator set 13 differ in ways that only
 * raise-opset knows: with `lenient`, what cannot be inferred there stays unknown, and what no
 * operator set of the model has too. */
bool graph_infer(Ctx *cx, Graph *g, bool lenient);
/* The same, strictly, of one node alone, its subgraphs being inferred. */
bool node_infer(Ctx *cx, Node *n);
/* Before they are: gives their inputs types and shapes. */
bool node_enter(Ctx *cx, Node *n);
/* Whether one of the two branches of an If is right, which `right` says of branch i; it is asked of
 * both. Fails with what the first one says: with these shapes the other one may be taken. */
typedef bool BranchFn(Ctx *quiet, Node *n, int i, const void *user);
bool node_either(Ctx *cx, Node *n, BranchFn *right, const void *user);

/* subgraphs.c: whether no other subgraph of its graph has its path (qonnx_graph_path): its node has
 * an output, and the attribute is no list. Those of all operators that run are such. */
bool graph_has_place(const Graph *g);

/* verify.c: whether every invariant of this header holds; the message says which not */
bool graph_verify(Ctx *cx, const Graph *g);
/* Aborts when the node and its values do not know each other: what -Dhard=true has after edits. */
void node_check(const Node *n);

/* hash.c: 128 bits over operators, attributes, wiring and constants; names of nodes and the doc
 * strings do not count */
void graph_hash(const Graph *g, uint8_t out[16]);

/* ctx.c */
/* What the inputs of a context resolved to (inputs.c): every file that is read for what it holds,
 * as soon as it is known. Nothing is written over them, and nothing where it would be an input of
 * the next run. `what` tells what the file is: "a sample"; it is a constant. A path that leads
 * nowhere adds nothing. */
typedef struct Inputs Inputs;
/* Whether an input is read from a file of that name in a folder. */
typedef bool input_takes_fn(const char *name);

Inputs *inputs_new(void);
void inputs_free(Inputs *all);
void input_add(Ctx *cx, const char *path, const char *what);
void input_keep(Ctx *cx, const char *path, const char *what); /* one that stays mapped */
void input_add_folder(Ctx *cx, const char *path, const char *what, input_takes_fn *takes);
/* Files that are too many to be kept here one by one. */
typedef struct InputSet {
    const char *what;                             /* "a sample" */
    void *set;                                    /* who knows them */
    const char *(*path)(const void *set, size_t); /* of each; NULL past the end */
    void (*release)(void *set);                   /* with the context, or when it is dropped */
} InputSet;
/* Counts them among the inputs; and takes away again all that were added under that key. */
void input_add_set(Ctx *cx, const char *key, InputSet set);
void input_drop_sets(Ctx *cx, const char *key);
void input_add_plugin(const char *path); /* of every context, as long as the process lives */
/* Fails when a file `path` would replace an input, or would be one for the next run: it lies
 * anywhere in a folder of inputs that takes its name. */
QONNX_CHECKED bool input_spared(Ctx *cx, const char *path);
/* Fails when one of those that stay mapped has been written to since. */
QONNX_CHECKED bool inputs_unchanged(Ctx *cx);

Inputs *ctx_inputs(Ctx *cx);
Ctx *ctx_quiet(void); /* a context whose messages nobody sees */
bool ctx_failed(const Ctx *cx);
bool ctx_allows_symlinks(const Ctx *cx);            /* qonnx_ctx_allow_symlinks */
void ctx_take_error(Ctx *cx, const Ctx *from);      /* the other's failure becomes this one's */
void ctx_prefix_error(Ctx *cx, const char *prefix); /* "pass 'x': " in front of the message */
bool ctx_progress(Ctx *cx, const char *what, size_t done, size_t total); /* false: stop */

/* tensor.c: a Tensor is as ONNX has it, elements of fewer than 8 bits packed, the first one in the
 * lowest bits of the first byte. Between kernels, in a Buf, they have a byte each. */
int dtype_size(DType t); /* bytes of an element between kernels; 0: it has none */
bool dtype_is_packed(DType t);
/* Moves n elements between the data of tensors of that type, which begin at any of them. */
void tensor_move(void *to, int64_t to_at, const void *from, int64_t from_at, int64_t n, DType t);
int64_t tensor_count(const Tensor *t);
bool tensor_ints(const Tensor *t, int64_t *values, int room, int *count); /* int32 or int64, 1-D */
Tensor *tensor_copy(Arena *a, const Tensor *t);
Shape shape_of(const Tensor *t);
bool shape_known(const Shape *s);
int64_t shape_elements(const Shape *s); /* -1: unknown or more than 2^31 - 1 */
Shape shape_make(int rank, const int64_t *dims);

#endif
