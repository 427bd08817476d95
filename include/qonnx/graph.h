/* qonnx/graph.h - the graph that passes read and edit: ONNX operators with ONNX meaning.
 *
 * A graph owns its nodes, values and constants; all of them live until the graph is freed, removed
 * ones included, so a pass may hold pointers while it edits. Uses follow every edit at once; the
 * order of the nodes and the inferred shapes are derived again by qonnx_graph_refresh(), which the
 * pipeline calls after every pass, before the verifier.
 *
 * Strings handed in are copied. A graph belongs to one thread while it is edited; reading it from
 * several is fine.
 */
#ifndef QONNX_GRAPH_H
#define QONNX_GRAPH_H

#include <qonnx/base.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- models ---------------------------------------------------------------------------------- */

/** Reads an ONNX file, its external data included. Every size in it has been checked when this
 *  returns. NULL on failure. Freed by qonnx_graph_free. */
QONNX_API qonnx_graph *qonnx_model_load(qonnx_ctx *cx, const char *path);

/** Writes the graph as an ONNX file: to a temporary file beside `path`, synced, then renamed. What
 *  stood at `path` is intact on failure. */
QONNX_API QONNX_CHECKED bool qonnx_model_save(qonnx_ctx *cx, const qonnx_graph *g,
                                              const char *path);

/** The bytes of the file that qonnx_model_save would write. */
QONNX_API size_t qonnx_model_size(const qonnx_graph *g);

/** Fails when the file at `path`, by whatever name, is one that was read with this context (models,
 *  their external data, samples, labels, statistics) or a plugin that is loaded; and when a file
 * there would be read as a sample or a plugin by the next run, because it has such a name and lies
 * in such a directory, however deep. What writes files asks this too; here it can be asked before
 * the work. */
QONNX_API QONNX_CHECKED bool qonnx_output_spares(qonnx_ctx *cx, const char *path);
/** The same, and fails when no file can be written there: it is a directory or a device, or nothing
 *  can be made in the directory that it is to be in. */
QONNX_API QONNX_CHECKED bool qonnx_output_check(qonnx_ctx *cx, const char *path);

/** Writes what is in a file of another kind to `f`; false: it failed, and the message is set. */
typedef bool qonnx_fill_fn(void *user, FILE *f);
/** Writes a file as qonnx_model_save does: it appears whole, or what stood there is intact. */
QONNX_API QONNX_CHECKED bool qonnx_output_write(qonnx_ctx *cx, const char *path,
                                                qonnx_fill_fn *fill, void *user);

/** A directory for files that are not complete yet: `.qonnx-...` in `directory`, for this process
 *  alone. What processes that were killed have left there before is removed. NULL on failure. */
typedef struct qonnx_scratch qonnx_scratch;
QONNX_API qonnx_scratch *qonnx_scratch_new(qonnx_ctx *cx, const char *directory);
QONNX_API const char *qonnx_scratch_path(const qonnx_scratch *s);
/** Removes the directory with the files in it, and with its directories of files. */
QONNX_API void qonnx_scratch_free(qonnx_scratch *s);
/** Removes those that are not freed, for a process that ends at once. [a handler of signals] */
QONNX_API void qonnx_scratch_remove_all(void);

/** How many local functions the file has: operators that it defines by nodes. */
QONNX_API int qonnx_model_functions(const qonnx_graph *g);
/** Puts the nodes of the model's local functions in the place of the nodes that call them, under
 *  names of their own, and takes the functions out of the model. What runs passes does it first, so
 *  that passes meet none. Fails at functions that call themselves or are called in another form
 *  than they have, and where so much would come of a small file that it was made to. */
QONNX_API QONNX_CHECKED bool qonnx_graph_inline_functions(qonnx_ctx *cx, qonnx_graph *g);

QONNX_API void qonnx_graph_free(qonnx_graph *g);

/** A copy of the model, which shares the contents of its constants: `g` must outlive it. */
QONNX_API qonnx_graph *qonnx_graph_copy(const qonnx_graph *g);

/** Gives inputs a shape, "INPUT=1,3,640,640" each, and infers again what follows from it. INPUT=
 * may be left out where the model has one input. Sizes that the model fixes already must be the
 * same. qonnx_model_save() writes these shapes: where the file is to keep its open dimensions, take
 * a copy, for the data set and the session. False: there is no such input, or the sizes do not fit
 *  it; the graph is only good to be freed. */
QONNX_API QONNX_CHECKED bool qonnx_graph_fix_shapes(qonnx_ctx *cx, qonnx_graph *g,
                                                    const char *const *specs, int nspecs);

/** Version of the default operator set that the model imports; 0 when it imports none. */
QONNX_API int64_t qonnx_model_opset(const qonnx_graph *g);
/** Raises the default operator set's version (and the IR version to what that set needs). */
QONNX_API void qonnx_model_set_opset(qonnx_graph *g, int64_t version);

/** metadata_props of the model; NULL when the key is absent. */
QONNX_API const char *qonnx_model_metadata(const qonnx_graph *g, const char *key);
QONNX_API void qonnx_model_set_metadata(qonnx_graph *g, const char *key, const char *value);
/** The i-th entry of metadata_props: its key, and its value through `value`; NULL past the end. */
QONNX_API const char *qonnx_model_metadata_at(const qonnx_graph *g, int i, const char **value);

/** The file's ir_version. */
QONNX_API int64_t qonnx_model_ir_version(const qonnx_graph *g);
/** The file's producer_name, and its producer_version through `version`; "" where it has none. */
QONNX_API const char *qonnx_model_producer(const qonnx_graph *g, const char **version);

/* ---- graph ----------------------------------------------------------------------------------- */

/** Nodes in topological order (as of the last refresh; new nodes where they were put). */
QONNX_API qonnx_node *qonnx_graph_first(const qonnx_graph *g);
QONNX_API qonnx_node *qonnx_node_next(const qonnx_node *n);

QONNX_API int qonnx_graph_inputs(const qonnx_graph *g);
QONNX_API qonnx_value *qonnx_graph_input(const qonnx_graph *g, int i);
QONNX_API int qonnx_graph_outputs(const qonnx_graph *g);
QONNX_API qonnx_value *qonnx_graph_output(const qonnx_graph *g, int i);
/** Makes a value of the main graph one of its outputs, too, behind those that there are. Nothing
 * changes where it is one. */
QONNX_API void qonnx_graph_add_output(qonnx_graph *g, qonnx_value *v);
/** A new input of the main graph, behind those that there are, of that type and shape (rank -1, or
 *  a size of -1: not known). Name as of qonnx_graph_add_value. With qonnx_value_replace_uses() it
 *  stands in the place of a value that a node computes, so that a part of a copy is run on what
 *  the caller feeds it with. */
QONNX_API qonnx_value *qonnx_graph_add_input(qonnx_graph *g, const char *name, qonnx_dtype dtype,
                                             int rank, const int64_t *dims);
/** Takes the i-th input off the graph's signature (an initializer that was also an input). */
QONNX_API void qonnx_graph_drop_input(qonnx_graph *g, int i);

/** Every value of this graph (constants, inputs, node outputs), in order of creation. */
QONNX_API int qonnx_graph_values(const qonnx_graph *g);
QONNX_API qonnx_value *qonnx_graph_value(const qonnx_graph *g, int i);
/** The value of that name, seen from this graph: its own or an enclosing graph's; NULL if none. */
QONNX_API qonnx_value *qonnx_graph_find(const qonnx_graph *g, const char *name);

/** The graph this one is a subgraph of; NULL for the model's main graph. */
QONNX_API qonnx_graph *qonnx_graph_parent(const qonnx_graph *g);

/** The graphs of a model, main graph first: behind each come its nodes' subgraphs, in order, those
 *  within one before the next one. NULL behind the last. So a pass goes through all of them:
 *      for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) ...
 *  Nodes may be added and removed meanwhile, but for those that the current graph lies in. */
QONNX_API qonnx_graph *qonnx_graph_next(const qonnx_graph *g);
/** The node that a subgraph belongs to; NULL for the main graph. */
QONNX_API qonnx_node *qonnx_graph_owner(const qonnx_graph *g);
/** The attribute of that node that holds it, "then_branch"; "" for the main graph. */
QONNX_API const char *qonnx_graph_attribute(const qonnx_graph *g);
/** Where a subgraph is: the first output of its node, and the attribute, "y>then_branch", behind
 *  the path of the graph that the node is in, "y>then_branch>z>body"; '>' and '\\' in names have a
 *  '\\' in front. "" for the main graph. The caller frees it with free(). [any thread] */
QONNX_API char *qonnx_graph_path(const qonnx_graph *g);

/** Memory that lives as long as the graph, zeroed. */
QONNX_API void *qonnx_graph_alloc(qonnx_graph *g, size_t bytes);
/** The same for n elements of `size` bytes; a product that overflows ends the process, as memory
 *  that is out does. */
QONNX_API void *qonnx_graph_array(qonnx_graph *g, size_t n, size_t size);

/** A new constant. `t->data` is copied. The name is taken as it is when free, else numbered. */
QONNX_API qonnx_value *qonnx_graph_add_constant(qonnx_graph *g, const char *name,
                                                const qonnx_tensor *t);
/** A new, not yet produced value; dtype and shape come from the refresh. Name as above. */
QONNX_API qonnx_value *qonnx_graph_add_value(qonnx_graph *g, const char *name);
/** A new node in front of `before` (NULL: at the end). Inputs may be NULL where left out. Every
 *  output must be a value without a producer. `domain` "" is ONNX's own; another one that
 *  the model does not import yet is imported, version 1. Where a node of the model,
 *  subgraphs included, has the name already, the new one is called name_1, name_2, ...; "" is no
 *  name, which any number may have. */
QONNX_API qonnx_node *qonnx_graph_add_node(qonnx_graph *g, qonnx_node *before, const char *op,
                                           const char *domain, const char *name,
                                           qonnx_value *const *inputs, int ninputs,
                                           qonnx_value *const *outputs, int noutputs);

/** Renames each node whose name one before it in its graph has, subgraphs included: runtimes
 *  refuse such models. One warning names the first and counts the others. Nodes without a name stay
 * so. */
QONNX_API void qonnx_graph_rename_nodes(qonnx_ctx *cx, qonnx_graph *g);

/** Sorts the nodes where they are out of order, and infers types and shapes. False: the graph is
 *  broken or a node's operands are; the message names it. */
QONNX_API QONNX_CHECKED bool qonnx_graph_refresh(qonnx_ctx *cx, qonnx_graph *g);

/** Infers types and shapes of this node's outputs again from those of its inputs, as the refresh
 *  does for all nodes: neither its subgraphs nor what reads its outputs is looked at. */
QONNX_API QONNX_CHECKED bool qonnx_node_infer(qonnx_ctx *cx, qonnx_node *n);

/** Makes values of float16 and bfloat16 float, constants too, so that passes meet float alone. What
 *  the model takes and gives keeps its type, behind and in front of a Cast; a Cast to such a type
 *  in the middle still rounds. Nodes keep in mind what they computed in. */
QONNX_API void qonnx_graph_widen(qonnx_graph *g);
/** Gives nodes that were widened their type again, but for those that are between QuantizeLinear
 * and DequantizeLinear; a Cast stands where the types meet. */
QONNX_API void qonnx_graph_narrow(qonnx_graph *g);

/** Removes every node whose outputs nobody uses, and then constants nobody uses. Returns how many
 *  nodes went. Nodes with subgraphs and unknown operators count as pure, as ONNX has it. */
QONNX_API int qonnx_graph_sweep(qonnx_graph *g);

/** Writes the graph as text, one node a line, for people. */
QONNX_API void qonnx_graph_dump(const qonnx_graph *g, FILE *f);

/* ---- nodes ----------------------------------------------------------------------------------- */

QONNX_API const char *qonnx_node_op(const qonnx_node *n);     /* op_type */
QONNX_API const char *qonnx_node_domain(const qonnx_node *n); /* "" for ONNX's own */
QONNX_API const char *qonnx_node_name(const qonnx_node *n);   /* "" when it has none */
/** What a node is called by: its name, or where it has none, that of the first value that it gives;
 *  "" where there is neither. */
QONNX_API const char *qonnx_node_label(const qonnx_node *n);
QONNX_API qonnx_graph *qonnx_node_graph(const qonnx_node *n);
/** Whether it is that operator of ONNX's own domain. */
QONNX_API bool qonnx_node_is(const qonnx_node *n, const char *op);
/** Whether this library knows the operator (it has a row in ops/): types and shapes of its outputs
 *  are inferred. Whether it runs, qonnx_runnable_node() says. */
QONNX_API bool qonnx_node_known(const qonnx_node *n);

QONNX_API int qonnx_node_inputs(const qonnx_node *n);
QONNX_API qonnx_value *qonnx_node_input(const qonnx_node *n,
                                        int i); /* NULL: omitted, or past end */
QONNX_API int qonnx_node_outputs(const qonnx_node *n);
QONNX_API qonnx_value *qonnx_node_output(const qonnx_node *n, int i);
/** Sets input i, growing the list when needed; NULL leaves it out (the last one: shortens it). */
QONNX_API void qonnx_node_set_input(qonnx_node *n, int i, qonnx_value *v);
/** Makes `v` the i-th output. A previous producer of `v` loses it, so that a node can take over
 *  the output of the one behind it, name and graph output included. */
QONNX_API void qonnx_node_set_output(qonnx_node *n, int i, qonnx_value *v);
/** Renames the operator (a lowering to another form); attributes stay. */
QONNX_API void qonnx_node_set_op(qonnx_node *n, const char *op);
/** Takes the node out of its graph; its outputs have no producer then. */
QONNX_API void qonnx_node_remove(qonnx_node *n);

/** Multiply-accumulates of the node at its inferred shapes, open sizes taken as 1; 0 for operators
 *  that have none, -1 where a rank is unknown. */
QONNX_API int64_t qonnx_node_macs(const qonnx_node *n);

/** The window that a convolution or pool slides over its input, by the axes d, h, w: an operator
 *  with fewer axes has size 1 in front. Sizes that are not known are -1. */
typedef struct qonnx_window {
    int axes;              /* spatial axes that the operator has: 1 to 3 */
    int64_t in[3], out[3]; /* sizes of input and output */
    int64_t kernel[3], stride[3], dilation[3];
    int64_t front[3], back[3]; /* padding */
} qonnx_window;

/** Reads the window of a Conv, MaxPool, AveragePool, LpPool or global pool, auto_pad resolved.
 *  False for other operators, and where its shapes are not known. */
QONNX_API bool qonnx_node_window(const qonnx_node *n, qonnx_window *w);

QONNX_API int qonnx_node_subgraphs(const qonnx_node *n);
QONNX_API qonnx_graph *qonnx_node_subgraph(const qonnx_node *n, int i);

/* Attributes. The getters return `dflt` (or 0 elements, or NULL) where the attribute is absent or
 * of another type; the reader has refused wrong types of the operators it knows. */
QONNX_API bool qonnx_node_has(const qonnx_node *n, const char *attr);
QONNX_API int64_t qonnx_node_int(const qonnx_node *n, const char *attr, int64_t dflt);
QONNX_API float qonnx_node_float(const qonnx_node *n, const char *attr, float dflt);
QONNX_API const char *qonnx_node_string(const qonnx_node *n, const char *attr, const char *dflt);
QONNX_API int qonnx_node_ints(const qonnx_node *n, const char *attr, const int64_t **values);
QONNX_API int qonnx_node_floats(const qonnx_node *n, const char *attr, const float **values);
QONNX_API const qonnx_tensor *qonnx_node_tensor(const qonnx_node *n, const char *attr);
QONNX_API void qonnx_node_set_int(qonnx_node *n, const char *attr, int64_t value);
QONNX_API void qonnx_node_set_float(qonnx_node *n, const char *attr, float value);
QONNX_API void qonnx_node_set_string(qonnx_node *n, const char *attr, const char *value);
QONNX_API void qonnx_node_set_ints(qonnx_node *n, const char *attr, const int64_t *values,
                                   int count);
QONNX_API void qonnx_node_set_floats(qonnx_node *n, const char *attr, const float *values,
                                     int count);
/** The tensor and its data are copied. */
QONNX_API void qonnx_node_set_tensor(qonnx_node *n, const char *attr, const qonnx_tensor *t);
QONNX_API void qonnx_node_remove_attr(qonnx_node *n, const char *attr);

/** A list of integers that is an attribute in older forms and an input in newer ones (axes of
 *  Squeeze, pads of Pad, ...). Returns the count, or -1 when it is absent, or -2 when it is an
 *  input whose values are not constant. At most QONNX_MAX_RANK * 2 are written to `values`. */
QONNX_API int qonnx_node_list(const qonnx_node *n, const char *attr, int input,
                              int64_t values[QONNX_MAX_RANK * 2]);

/** Makes the outputs of a node constants under their own names, and removes the node: a Constant, a
 *  Shape, a Size or a Gather of a Shape whose dimensions are known, and any node whose inputs are
 *  all constant, which the portable kernels run. An If whose condition is constant is removed, too:
 *  the nodes of the branch that is taken stand in its place, in order; and so do nodes on tensors,
 *  in that of one which reads a sequence or an optional, where it is known what is in it. False
 *  with no message recorded when that cannot be (unknown operator, subgraphs, inputs not constant,
 *  an output of the graph), and when all that was folded in this model would come to much more than
 *  its file: a note says so once. */
QONNX_API bool qonnx_node_fold(qonnx_ctx *cx, qonnx_node *n);

/* ---- values ---------------------------------------------------------------------------------- */

QONNX_API const char *qonnx_value_name(const qonnx_value *v);
QONNX_API qonnx_dtype qonnx_value_dtype(const qonnx_value *v);
QONNX_API int qonnx_value_rank(const qonnx_value *v);           /* -1: unknown */
QONNX_API int64_t qonnx_value_dim(const qonnx_value *v, int i); /* -1: symbolic or unknown */
/** Name of a symbolic dimension ("batch"); NULL when it has none. */
QONNX_API const char *qonnx_value_dim_name(const qonnx_value *v, int i);
/** The contents, for constants; NULL otherwise. The tensor lives as long as the graph. */
QONNX_API const qonnx_tensor *qonnx_value_constant(const qonnx_value *v);
/** Replaces the contents of a constant, or makes a value without a producer one; copied. Every
 *  user sees them: check the uses first. */
QONNX_API void qonnx_value_set_constant(qonnx_value *v, const qonnx_tensor *t);
QONNX_API qonnx_node *qonnx_value_producer(const qonnx_value *v); /* NULL: input or constant */
/** The graph the value belongs to. */
QONNX_API qonnx_graph *qonnx_value_graph(const qonnx_value *v);

/** Inputs of nodes that read it, subgraphs' nodes included; being a graph output is no use. */
QONNX_API int qonnx_value_uses(const qonnx_value *v);
QONNX_API qonnx_node *qonnx_value_use(const qonnx_value *v, int i, int *input);
QONNX_API bool qonnx_value_is_input(const qonnx_value *v);
QONNX_API bool qonnx_value_is_output(const qonnx_value *v);
/** The one node that reads it, when it has exactly one use and is no graph output; else NULL. */
QONNX_API qonnx_node *qonnx_value_only_user(const qonnx_value *v);

/** Gives a value that a node computes its type and shape (-1: not known), where the node's operator
 *  is none of which the library could infer them. Else the next refresh has the last word. */
QONNX_API void qonnx_value_set_type(qonnx_value *v, qonnx_dtype dtype, int rank,
                                    const int64_t *dims);
/** Every node that reads `v` reads `with` instead. Graph outputs do not move. */
QONNX_API void qonnx_value_replace_uses(qonnx_value *v, qonnx_value *with);
QONNX_API void qonnx_value_rename(qonnx_value *v, const char *name);

#ifdef __cplusplus
}
#endif
#endif
