/* passes/remove_identity.c - takes out nodes that hand their input on unchanged: Identity, Dropout
 * in inference, Cast to the type it has, moves that move nothing, sums of one, times 1, plus 0.
 * Names of graph inputs and outputs stay. A Shape of what a Relu reads is taken from behind the
 * Relu, where it is the same: then nobody else needs the value before it.
 */
#include <qonnx/qonnx.h>

#include <string.h>

static bool is_one_of(const qonnx_node *n, const char *const *ops)
{
    for (; *ops; ops++)
        if (qonnx_node_is(n, *ops)) return true;
    return false;
}

/* Both have the same, wholly known shape. With `count_kept` one dimension may be unknown, at the
 * same place in both: the number of elements then settles it. */
static bool same_shape(const qonnx_value *x, const qonnx_value *y, bool count_kept)
{
    int rank = qonnx_value_rank(x), unknown = 0;
    bool empty = false;
    if (rank < 0 || qonnx_value_rank(y) != rank) return false;
    for (int i = 0; i < rank; i++) {
        if (qonnx_value_dim(x, i) != qonnx_value_dim(y, i)) return false;
        unknown += qonnx_value_dim(x, i) < 0;
        empty |= qonnx_value_dim(x, i) == 0;
    }
    return unknown == 0 || (count_kept && unknown == 1 && !empty);
}

/* In inference, and nobody asks for the mask. */
static bool is_plain_dropout(const qonnx_node *n)
{
    const qonnx_value *mask = qonnx_node_output(n, 1), *training = qonnx_node_input(n, 2);
    if (mask && (qonnx_value_uses(mask) > 0 || qonnx_value_is_output(mask))) return false;
    if (!training) return true;
    const qonnx_tensor *t = qonnx_value_constant(training);
    return t && qonnx_tensor_elements(t) == 1 && qonnx_tensor_get(t, 0) == 0;
}

static bool is_plain_transpose(const qonnx_node *n)
{
    const int64_t *perm;
    int count = qonnx_node_ints(n, "perm", &perm);
    for (int i = 0; i < count; i++)
        if (perm[i] != i) return false;
    return count > 0 || qonnx_value_rank(qonnx_node_input(n, 0)) == 1;
}

static bool pads_nothing(const qonnx_node *n)
{
    int64_t pads[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "pads", 1, pads);
    for (int i = 0; i < count; i++)
        if (pads[i] != 0) return false;
    return count >= 0;
}

static bool is_flat(const qonnx_node *n, const qonnx_value *x)
{
    int64_t axis = qonnx_node_int(n, "axis", 1);
    return qonnx_node_is(n, "Flatten") && qonnx_value_rank(x) == 2 && (axis == 1 || axis == -1);
}

/* Input `side` is the neutral element of the operator, and its shape does not widen the other. */
static bool is_neutral(const qonnx_node *n, int side, double element)
{
    const qonnx_value *v = qonnx_node_input(n, side), *x = qonnx_node_input(n, 1 - side);
    const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
    return t && x && !qonnx_value_is_input(v) && qonnx_tensor_elements(t) == 1 &&
           qonnx_dtype_bits(t->dtype) > 0 && t->dtype != QONNX_STRING &&
           qonnx_value_rank(x) >= t->rank &&
           qonnx_tensor_get(t, 0) == element;
}

/* The input whose value the node's first output has; -1: it computes something. */
static int handed_on(const qonnx_node *n)
{
    static const char *const moves[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", NULL};
    static const char *const lists[] = {"Concat", "Sum", "Mean", "Max", "Min", NULL};
    const qonnx_value *x = qonnx_node_input(n, 0), *y = qonnx_node_output(n, 0);
    if (!x || !y) return -1;

    bool same = qonnx_node_is(n, "Identity") ||
                (qonnx_node_is(n, "Dropout") && is_plain_dropout(n)) ||
                (qonnx_node_is(n, "Cast") && qonnx_value_dtype(x) != QONNX_UNDEFINED &&
                 qonnx_value_dtype(x) == (qonnx_dtype)qonnx_node_int(n, "to", 0)) ||
                (is_one_of(n, moves) && same_shape(x, y, true)) || is_flat(n, x) ||
                (qonnx_node_is(n, "Expand") && same_shape(x, y, false)) ||
                (qonnx_node_is(n, "Transpose") && is_plain_transpose(n)) ||
                (qonnx_node_is(n, "Pad") && pads_nothing(n)) ||
                (is_one_of(n, lists) && qonnx_node_inputs(n) == 1);
    if (same) return 0;
    if (qonnx_node_is(n, "Mul") || qonnx_node_is(n, "Div")) {
        if (is_neutral(n, 1, 1)) return 0;
        return qonnx_node_is(n, "Mul") && is_neutral(n, 0, 1) ? 1 : -1;
    }
    if (qonnx_node_is(n, "Add") || qonnx_node_is(n, "Sub")) {
        if (is_neutral(n, 1, 0)) return 0;
        return qonnx_node_is(n, "Add") && is_neutral(n, 0, 0) ? 1 : -1;
    }
    return -1;
}

/* Lets the node before it produce graph output `y` itself. False: somebody else needs `x`. */
static bool produce_directly(const qonnx_node *n, qonnx_value *x, qonnx_value *y)
{
    qonnx_node *producer = qonnx_value_producer(x);
    if (!producer || qonnx_node_graph(producer) != qonnx_node_graph(n) ||
        qonnx_value_only_user(x) != n)
        return false;
    int i = 0;
    while (qonnx_node_output(producer, i) != x) i++;
    qonnx_node_set_output(producer, i, y);
    return true;
}

/* Lets a Shape read the output of the Relu that reads the same value, where that is among its first
 * readers: thousands of Shapes may read one value. */
static void read_behind_relu(qonnx_node *n)
{
    enum { FIRST = 64 };
    const qonnx_value *x = qonnx_node_input(n, 0);
    if (!x || !(qonnx_node_is(n, "Shape") || qonnx_node_is(n, "Size"))) return;
    for (int i = 0; i < qonnx_value_uses(x) && i < FIRST; i++) {
        qonnx_node *relu = qonnx_value_use(x, i, NULL);
        if (!qonnx_node_is(relu, "Relu") || qonnx_node_graph(relu) != qonnx_node_graph(n) ||
            !qonnx_node_output(relu, 0))
            continue;
        qonnx_node_set_input(n, 0, qonnx_node_output(relu, 0));
        return;
    }
}

static void remove_from(qonnx_graph *g)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        read_behind_relu(n);
        int from = handed_on(n);
        if (from < 0) continue;

        qonnx_value *x = qonnx_node_input(n, from), *y = qonnx_node_output(n, 0);
        if (!qonnx_value_is_output(y))
            qonnx_value_replace_uses(y, x);
        else if (!produce_directly(n, x, y))
            continue;
        qonnx_node_remove(n);
    }
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)cx;
    (void)job;
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) remove_from(s);
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_remove_identity = {
    .size = sizeof(qonnx_pass),
    .name = "remove-identity",
    .brief = "takes out nodes that hand their input on unchanged",
    .run = run,
};
