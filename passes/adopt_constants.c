/* passes/adopt_constants.c - constants behind a DequantizeLinear, weights above all, become floats
 * that remember their integers. One part of adopt-qdq.
 */
#include "adopt.h"
#include "names.h"
#include "quantizable.h"
#include <stdio.h>

/* Uses of one constant that are searched for another DequantizeLinear of the same. */
#define SEARCHED 64

static bool all_constant(const qonnx_node *n)
{
    for (int i = 0; i < qonnx_node_inputs(n); i++)
        if (qonnx_node_input(n, i) && !adopt_constant(n, i)) return false;
    return qonnx_node_inputs(n) > 0;
}

/* Whether scales are numbers, and zero points are as many. Of an all-zero channel some tools say
 * that its scale is 0. */
static bool check_scales(qonnx_ctx *cx, const qonnx_node *n)
{
    const qonnx_tensor *s = adopt_constant(n, 1), *z = adopt_constant(n, 2);
    int64_t count = qonnx_tensor_elements(s);
    for (int64_t i = 0; i < count; i++) {
        double scale = qonnx_tensor_get(s, i);
        if (!(scale >= 0) || isinf(scale))
            return qonnx_fail(cx, n,
                              "adopt-qdq: scale %lld is %g, want a positive number; "
                              "quantize the float model again",
                              (long long)i, scale);
    }
    return !z || qonnx_tensor_elements(z) == count ||
           qonnx_fail(cx, n, "adopt-qdq: %lld zero points for %lld scales",
                      (long long)qonnx_tensor_elements(z), (long long)count);
}

/* ---- integers that are turned behind their DequantizeLinear ---------------------------------- */

/* Where the axis of the scales is behind the node; false where it is not one axis any more. */
static bool moved_axis(const qonnx_node *move, int rank, bool one, int *axis)
{
    const int64_t *perm;
    if (!qonnx_node_is(move, "Transpose"))
        return one && (qonnx_node_is(move, "Reshape") || qonnx_node_is(move, "Squeeze") ||
                       qonnx_node_is(move, "Unsqueeze"));
    int count = qonnx_node_ints(move, "perm", &perm), to = 0;
    if (count != 0 && count != rank) return false;
    if (!count) to = rank - 1 - *axis;
    else
        while (to < count && perm[to] != *axis) to++;
    *axis = to;
    return one || to < rank;
}

/* Lets the one node that moves what the DequantizeLinear `d` gives move the integers instead.
 * `*moved`: whether it was so. */
static bool move_before(qonnx_ctx *cx, qonnx_node *d, bool *moved)
{
    qonnx_value *y = qonnx_node_output(d, 0), *in[2] = {qonnx_node_input(d, 0), NULL};
    qonnx_node *move = qonnx_value_only_user(y);
    const qonnx_tensor *t = adopt_constant(d, 0);
    bool one = qonnx_tensor_elements(adopt_constant(d, 1)) == 1;
    int64_t at = qonnx_node_int(d, "axis", 1);
    int axis = (int)(at < 0 ? at + t->rank : at);
    *moved = move && qonnx_node_graph(move) == qonnx_node_graph(d) &&
             qonnx_node_input(move, 0) == y && qonnx_node_output(move, 0) &&
             !qonnx_value_is_output(qonnx_node_output(move, 0)) &&
             !qonnx_node_int(d, "block_size", 0) && moved_axis(move, t->rank, one, &axis);
    if (*moved && qonnx_node_inputs(move) > 1 && !adopt_constant(move, 1)) *moved = false;
    if (!*moved) return true;
    const int64_t *perm;
    qonnx_graph *g = qonnx_node_graph(d);
    qonnx_value *turned = qonnx_graph_add_value(g, qonnx_value_name(in[0]));
    in[1] = qonnx_node_input(move, 1);
    qonnx_node *first =
        qonnx_graph_add_node(g, d, qonnx_node_op(move), "", "", in, in[1] ? 2 : 1, &turned, 1);
    int count = qonnx_node_ints(move, "perm", &perm);
    if (count) qonnx_node_set_ints(first, "perm", perm, count);
    if (qonnx_node_has(move, "allowzero"))
        qonnx_node_set_int(first, "allowzero", qonnx_node_int(move, "allowzero", 0));
    if (!qonnx_node_infer(cx, first)) return false;
    qonnx_node_set_input(d, 0, turned); /* what nobody reads is not folded */
    *moved = qonnx_node_fold(cx, first);
    if (!*moved) {
        qonnx_node_set_input(d, 0, in[0]);
        qonnx_node_remove(first);
        return !*qonnx_error(cx);
    }
    if (!one) qonnx_node_set_int(d, "axis", axis);
    qonnx_node_set_output(d, 0, qonnx_node_output(move, 0));
    qonnx_node_remove(move);
    return true;
}

/* ---- constants ------------------------------------------------------------------------------- */

static bool same_inputs(const qonnx_node *a, const qonnx_node *b)
{
    for (int i = 0; i < 3; i++)
        if (qonnx_node_input(a, i) != qonnx_node_input(b, i)) return false;
    return qonnx_node_int(a, "axis", 1) == qonnx_node_int(b, "axis", 1) &&
           qonnx_node_int(a, "block_size", 0) == qonnx_node_int(b, "block_size", 0);
}

/* Lets what reads another DequantizeLinear of the same in this graph read this one. */
static void join_equals(qonnx_node *d)
{
    const qonnx_value *x = qonnx_node_input(d, 0);
    for (int i = 0; i < qonnx_value_uses(x) && i < SEARCHED; i++) {
        qonnx_node *other = qonnx_value_use(x, i, NULL);
        qonnx_value *y = qonnx_node_output(other, 0);
        if (other == d || !adopt_dequantizes(other) || !y || qonnx_value_is_output(y) ||
            qonnx_node_graph(other) != qonnx_node_graph(d) || !same_inputs(d, other))
            continue;
        qonnx_value_replace_uses(y, qonnx_node_output(d, 0));
        qonnx_node_set_input(other, 0, NULL); /* nobody reads it: it is swept */
    }
}

/* The name of a weight whose integers are called "<name>_quantized", as many tools have it. */
static const char *name_of_floats(qonnx_graph *g, const char *integers)
{
    static const char end[] = "_quantized";
    size_t n = strlen(integers), room = n + sizeof "_float";
    bool has = n > sizeof end - 1 && !strcmp(integers + n - (sizeof end - 1), end);
    char *name = qonnx_graph_alloc(g, room);
    snprintf(name, room, "%.*s%s", (int)(has ? n - (sizeof end - 1) : n), integers,
             has ? "" : "_float");
    return name;
}

/* Makes a constant of what the DequantizeLinear gives, and keeps what it was made of. */
static bool adopt_weight(qonnx_ctx *cx, qonnx_node *d, int *count)
{
    qonnx_value *y = qonnx_node_output(d, 0), *x = qonnx_node_input(d, 0);
    qonnx_graph *g = qonnx_node_graph(d);
    if (!check_scales(cx, d)) return false;
    for (bool moved = true; moved;) {
        if (!move_before(cx, d, &moved)) return false;
        y = qonnx_node_output(d, 0);
        x = qonnx_node_input(d, 0);
    }
    join_equals(d);
    const qonnx_tensor *t = adopt_constant(d, 0);
    int64_t axis = qonnx_node_int(d, "axis", 1);
    qonnx_kept kept = {.dtype = t->dtype,
                       .scales = adopt_constant(d, 1),
                       .zero_points = adopt_constant(d, 2),
                       .integers = t,
                       .axis = (int)(axis < 0 ? axis + t->rank : axis),
                       .block = qonnx_node_int(d, "block_size", 0),
                       .name = qonnx_value_name(x),
                       .always = true};
    if (!qonnx_node_fold(cx, d))
        return qonnx_value_is_output(y) ||
               qonnx_fail(cx, d,
                          "adopt-qdq: the constant '%s' cannot be made float: this needs far more "
                          "memory than the file holds, or it is of another form",
                          kept.name);
    qonnx_value_keep(y, &kept);
    float lo, hi; /* for operators that read it as they read an activation */
    if (kept.dtype != QONNX_INT32 && quantizable_extremes(qonnx_value_constant(y), &lo, &hi))
        qonnx_value_set_range(y, lo, hi);
    qonnx_value_rename(y, name_of_floats(g, kept.name));
    (*count)++;
    return true;
}

/* A QuantizeLinear, or a Clip of integers behind it, of a constant is done. */
static bool quantize_constant(qonnx_ctx *cx, qonnx_node *n)
{
    if (adopt_quantizes(n)) {
        if (!check_scales(cx, n)) return false;
        if (!adopt_is_integer(qonnx_value_dtype(qonnx_node_output(n, 0)))) return true;
    }
    return qonnx_node_fold(cx, n) || !*qonnx_error(cx);
}

/* Whether the node is in its graph: one in front of it may have taken it out. */
static bool is_there(const qonnx_node *n)
{
    const qonnx_value *y = qonnx_node_output(n, 0);
    return y && qonnx_value_producer(y) == n;
}

static bool adopt_node(qonnx_ctx *cx, qonnx_node *n, int *count)
{
    if (!is_there(n) || !all_constant(n)) return true;
    const qonnx_value *y = qonnx_node_output(n, 0);
    bool clips = qonnx_node_is(n, "Clip") && adopt_is_integer(qonnx_value_dtype(y));
    if (adopt_quantizes(n) || clips) return quantize_constant(cx, n);
    if (!adopt_dequantizes(n) || !qonnx_value_uses(y)) return true;
    qonnx_dtype t = adopt_constant(n, 0)->dtype;
    return (!adopt_is_integer(t) && t != QONNX_INT32) || adopt_weight(cx, n, count);
}

bool adopt_constants(qonnx_ctx *cx, qonnx_graph *g, int *count)
{
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) {
        int nodes = 0, i = 0;
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) nodes++;
        qonnx_node **all = qonnx_graph_array(g, (size_t)nodes, sizeof *all);
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) all[i++] = n;
        for (i = 0; i < nodes; i++)
            if (!adopt_node(cx, all[i], count)) return false;
    }
    return true;
}
