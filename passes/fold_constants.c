/* passes/fold_constants.c - computes what does not depend on the model's inputs: nodes whose inputs
 * are constants, Constant nodes, and the shapes of values that are known. Quantization is left as
 * it is, and so is what would make the model much larger.
 */
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

#define SHARED 1024       /* bytes from which on equal constants of branches become one */
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

/* Whether an input is a constant that callers of the model may replace. */
static bool is_overridable(const qonnx_node *n)
{
    for (int i = 0; i < qonnx_node_inputs(n); i++) {
        const qonnx_value *v = qonnx_node_input(n, i);
        if (v && qonnx_value_is_input(v) && qonnx_value_constant(v)) return true;
    }
    return false;
}

static bool is_constant(const qonnx_node *n)
{
    for (int i = 0; i < qonnx_node_inputs(n); i++)
        if (qonnx_node_input(n, i) && !constant_input(n, i)) return false;
    return qonnx_node_inputs(n) > 0;
}

static Outcome fold_node(qonnx_ctx *cx, qonnx_node *n)
{
    if (is_kept(n) || is_overridable(n) || !qonnx_node_output(n, 0)) return KEPT;
    Outcome worth = is_constant(n) ? weigh(n) : FOLDED;
    if (worth != FOLDED) return worth;
    if (qonnx_node_fold(cx, n)) return FOLDED;
    return *qonnx_error(cx) ? FAILED : KEPT;
}

/* Folds what can be folded in a graph. `again` is set where the size of a result was not known yet,
 * and where nodes may have come into the graph, of a branch for example, which nobody has looked
 * at. */
static bool fold_graph(qonnx_ctx *cx, qonnx_graph *g, bool *folded, bool *again)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        /* Others may come into its place. */
        bool replaced = qonnx_node_subgraphs(n) > 0 || !is_constant(n);
        Outcome o = fold_node(cx, n);
        *folded |= o == FOLDED;
        *again |= o == UNKNOWN_SIZE || (o == FOLDED && replaced);
        if (o == FAILED) return false;
    }
    return true;
}

/* ---- constants of several branches ----------------------------------------------------------- */

/* A constant of a subgraph. */
typedef struct Constant {
    qonnx_value *value;
    const qonnx_tensor *tensor;
    size_t order; /* graph after graph */
} Constant;

static int compare_tensors(const qonnx_tensor *a, const qonnx_tensor *b)
{
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    if (a->dtype != b->dtype) return a->dtype < b->dtype ? -1 : 1;
    if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
    int shape = memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
    return shape ? shape : memcmp(a->data, b->data, a->bytes);
}

static int compare_constants(const void *a, const void *b)
{
    const Constant *x = a, *y = b;
    int order = compare_tensors(x->tensor, y->tensor);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

/* Lists the large constants of subgraphs that only nodes read. */
static Constant *list_constants(qonnx_graph *g, size_t *count)
{
    size_t room = 0;
    for (qonnx_graph *s = qonnx_graph_next(g); s; s = qonnx_graph_next(s))
        room += (size_t)qonnx_graph_values(s);
    Constant *all = qonnx_graph_array(g, room, sizeof *all);
    for (qonnx_graph *s = qonnx_graph_next(g); s; s = qonnx_graph_next(s))
        for (int i = 0; i < qonnx_graph_values(s); i++) {
            qonnx_value *v = qonnx_graph_value(s, i);
            const qonnx_tensor *t = qonnx_value_constant(v);
            if (t && t->bytes >= SHARED && t->dtype != QONNX_STRING && qonnx_value_uses(v) &&
                !qonnx_value_is_input(v) && !qonnx_value_is_output(v)) {
                all[*count] = (Constant){v, t, *count};
                (*count)++;
            }
        }
    return all;
}

/* Branches that compute the same of the same weights had one copy of those, and have one of what is
 * computed: in the main graph, which all of them see. */
static void share_constants(qonnx_graph *g)
{
    size_t count = 0;
    Constant *all = list_constants(g, &count);
    qsort(all, count, sizeof *all, compare_constants);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count; next++)
            if (compare_tensors(all[i].tensor, all[next].tensor)) break;
        if (next == i + 1) continue;
        const char *name = qonnx_value_name(all[i].value);
        qonnx_value *one = qonnx_graph_add_constant(g, name, all[i].tensor);
        for (size_t k = i; k < next; k++) qonnx_value_replace_uses(all[k].value, one);
    }
}

/* ---- the pass -------------------------------------------------------------------------------- */

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)job;
    bool folded, again;
    do {
        folded = again = false;
        for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
            if (!fold_graph(cx, s, &folded, &again)) return false;
        if (folded && !qonnx_graph_refresh(cx, g)) return false;
    } while (folded && again);
    share_constants(g);
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_fold_constants = {
    .size = sizeof(qonnx_pass),
    .name = "fold-constants",
    .brief = "computes what does not depend on the inputs, shapes included",
    .run = run,
};
