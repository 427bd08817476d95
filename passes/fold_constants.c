/* passes/fold_constants.c - computes what does not depend on the model's inputs: nodes whose inputs
 * are constants, Constant nodes, and the shapes of values that are known. Quantization is left as
 * it is, and so is what would make the model much larger.
 */
#include <qonnx/qonnx.h>

#include <string.h>

#define LARGE  (16 << 20) /* bytes of results that are always worth it */
#define GROWTH 8          /* results may be so many times larger than the inputs */

/* What became of a node. */
typedef enum Outcome { KEPT, FOLDED, UNKNOWN_SIZE, FAILED } Outcome;

/* A constant that callers of the model cannot replace; else NULL. */
static const qonnx_tensor *constant_input(const qonnx_node *n, int i)
{
    const qonnx_value *v = qonnx_node_input(n, i);
    return v && !qonnx_value_is_input(v) ? qonnx_value_constant(v) : NULL;
}

/* Operators that quantization is made of, or that give something else every time. */
static bool is_kept(const qonnx_node *n)
{
    static const char *const ops[] = {"QuantizeLinear",   "DequantizeLinear", "RandomNormal",
                                      "RandomNormalLike", "RandomUniform",    "RandomUniformLike",
                                      "Multinomial",      "Bernoulli"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (qonnx_node_is(n, ops[i])) return true;
    return false;
}

/* Bytes of a value; -1 where its shape is not known, INT64_MAX where they are too many to count. */
static int64_t bytes_of(const qonnx_value *v)
{
    int64_t bytes = qonnx_dtype_bits(qonnx_value_dtype(v)) / 8;
    if (bytes < 1) bytes = 1;
    if (qonnx_value_rank(v) < 0) return -1;
    for (int i = 0; i < qonnx_value_rank(v); i++) {
        int64_t dim = qonnx_value_dim(v, i);
        if (dim < 0) return -1;
        if (__builtin_mul_overflow(bytes, dim, &bytes)) return INT64_MAX;
    }
    return bytes;
}

/* Whether results of this size are worth keeping. UNKNOWN_SIZE: ask again after a refresh. */
static Outcome weigh(const qonnx_node *n)
{
    int64_t in = 0;
    for (int i = 0; i < qonnx_node_inputs(n); i++)
        if (constant_input(n, i)) in += (int64_t)constant_input(n, i)->bytes;
    for (int i = 0; i < qonnx_node_outputs(n); i++) {
        const qonnx_value *out = qonnx_node_output(n, i);
        int64_t bytes = out ? bytes_of(out) : 0;
        if (bytes < 0) return UNKNOWN_SIZE;
        if (bytes > LARGE && bytes / GROWTH > in) return KEPT;
    }
    return FOLDED;
}

/* Puts a constant in the place of the node's only output. */
static void become(qonnx_node *n, const qonnx_tensor *t)
{
    qonnx_value *out = qonnx_node_output(n, 0);
    qonnx_node_remove(n);
    qonnx_value_set_constant(out, t);
}

/* A Constant node holds its tensor as one of several attributes. */
static bool fold_constant_node(qonnx_node *n)
{
    const qonnx_tensor *whole = qonnx_node_tensor(n, "value");
    qonnx_tensor t = {.dtype = QONNX_FLOAT};
    const float *floats;
    const int64_t *ints;
    float f = qonnx_node_float(n, "value_float", 0);
    int64_t i = qonnx_node_int(n, "value_int", 0);

    if (whole && qonnx_dtype_bits(whole->dtype) > 0) {
        t = *whole;
    } else if (qonnx_node_has(n, "value_float")) {
        t.data = &f, t.bytes = sizeof f;
    } else if (qonnx_node_has(n, "value_int")) {
        t.dtype = QONNX_INT64, t.data = &i, t.bytes = sizeof i;
    } else if (qonnx_node_has(n, "value_floats")) {
        t.rank = 1, t.dims[0] = qonnx_node_floats(n, "value_floats", &floats);
        t.data = floats, t.bytes = (size_t)t.dims[0] * sizeof *floats;
    } else if (qonnx_node_has(n, "value_ints")) {
        t.dtype = QONNX_INT64, t.rank = 1, t.dims[0] = qonnx_node_ints(n, "value_ints", &ints);
        t.data = ints, t.bytes = (size_t)t.dims[0] * sizeof *ints;
    } else {
        return false; /* strings, sparse tensors */
    }
    become(n, &t);
    return true;
}

/* The dimensions that a Shape node gives: [start, end) of its input's rank. */
static bool shape_range(const qonnx_node *shape, int64_t *start, int64_t *end)
{
    const qonnx_value *x = qonnx_node_input(shape, 0);
    int64_t rank = x ? qonnx_value_rank(x) : -1;
    if (rank < 0) return false;
    *start = qonnx_node_int(shape, "start", 0);
    *end = qonnx_node_int(shape, "end", rank);
    if (*start < 0) *start += rank;
    if (*end < 0) *end += rank;
    if (*start < 0) *start = 0;
    if (*end > rank) *end = rank;
    if (*end < *start) *end = *start;
    return true;
}

/* Shape of a value whose dimensions are all known. */
static bool fold_shape(qonnx_node *n)
{
    int64_t dims[QONNX_MAX_RANK], start, end;
    if (!shape_range(n, &start, &end)) return false;
    for (int64_t i = start; i < end; i++) {
        dims[i - start] = qonnx_value_dim(qonnx_node_input(n, 0), (int)i);
        if (dims[i - start] < 0) return false;
    }
    qonnx_tensor t = {.dtype = QONNX_INT64, .rank = 1, .dims = {end - start}, .data = dims};
    t.bytes = (size_t)(end - start) * sizeof dims[0];
    become(n, &t);
    return true;
}

static bool fold_size(qonnx_node *n)
{
    const qonnx_value *x = qonnx_node_input(n, 0);
    int64_t count = 1;
    if (!x || qonnx_value_rank(x) < 0) return false;
    for (int i = 0; i < qonnx_value_rank(x); i++) {
        int64_t dim = qonnx_value_dim(x, i);
        if (dim < 0 || __builtin_mul_overflow(count, dim, &count)) return false;
    }
    qonnx_tensor t = {.dtype = QONNX_INT64, .data = &count, .bytes = sizeof count};
    become(n, &t);
    return true;
}

/* Gather of a shape, where the dimensions it takes are known though others are not. */
static bool fold_dimension(qonnx_node *n)
{
    const qonnx_value *data = qonnx_node_input(n, 0);
    const qonnx_node *shape = data ? qonnx_value_producer(data) : NULL;
    const qonnx_tensor *which = constant_input(n, 1);
    int64_t dims[QONNX_MAX_RANK], start, end;
    if (!shape || !qonnx_node_is(shape, "Shape") || !shape_range(shape, &start, &end)) return false;
    if (!which || which->rank > 1 || qonnx_tensor_elements(which) > QONNX_MAX_RANK) return false;

    qonnx_tensor t = *which;
    for (int64_t i = 0; i < qonnx_tensor_elements(which); i++) {
        double index = qonnx_tensor_get(which, i);
        if (index < 0) index += (double)(end - start);
        if (!(index >= 0 && index < (double)(end - start))) return false;
        dims[i] = qonnx_value_dim(qonnx_node_input(shape, 0), (int)(start + (int64_t)index));
        if (dims[i] < 0) return false;
    }
    t.dtype = QONNX_INT64;
    t.data = dims;
    t.bytes = (size_t)qonnx_tensor_elements(which) * sizeof dims[0];
    become(n, &t);
    return true;
}

static Outcome fold_node(qonnx_ctx *cx, qonnx_node *n)
{
    if (is_kept(n)) return KEPT;
    for (int i = 0; i < qonnx_node_outputs(n); i++) {
        const qonnx_value *out = qonnx_node_output(n, i);
        if (out && qonnx_value_is_output(out)) return KEPT;
    }
    if (!qonnx_node_output(n, 0)) return KEPT;
    if (qonnx_node_is(n, "Constant")) return fold_constant_node(n) ? FOLDED : KEPT;
    if (qonnx_node_is(n, "Shape") && fold_shape(n)) return FOLDED;
    if (qonnx_node_is(n, "Size") && fold_size(n)) return FOLDED;
    if (qonnx_node_is(n, "Gather") && fold_dimension(n)) return FOLDED;

    if (qonnx_node_inputs(n) == 0 || !qonnx_node_known(n)) return KEPT;
    for (int i = 0; i < qonnx_node_inputs(n); i++)
        if (qonnx_node_input(n, i) && !constant_input(n, i)) return KEPT;
    Outcome worth = weigh(n);
    if (worth != FOLDED) return worth;
    if (qonnx_node_fold(cx, n)) return FOLDED;
    return *qonnx_error(cx) ? FAILED : KEPT;
}

/* Folds what can be folded. `again` is set where the size of a result was not known yet. */
static bool fold_graph(qonnx_ctx *cx, qonnx_graph *g, bool *folded, bool *again)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        for (int i = 0; i < qonnx_node_subgraphs(n); i++)
            if (!fold_graph(cx, qonnx_node_subgraph(n, i), folded, again)) return false;
        Outcome o = fold_node(cx, n);
        *folded |= o == FOLDED;
        *again |= o == UNKNOWN_SIZE;
        if (o == FAILED) return false;
    }
    return true;
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)job;
    bool folded, again;
    do {
        folded = again = false;
        if (!fold_graph(cx, g, &folded, &again)) return false;
        if (folded && !qonnx_graph_refresh(cx, g)) return false;
    } while (folded && again);
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_fold_constants = {
    .name = "fold-constants",
    .brief = "computes what does not depend on the inputs, shapes included",
    .run = run,
};
