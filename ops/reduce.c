/* ops/reduce.c - reductions over axes, and where the greatest and least elements are. */
#include "kernels/arg.h"
#include "kernels/reduce_walk.h"
#include "lower/lower.h"
#include <string.h>

/* Which axes are reduced. False with a message; *known false when the axes are not constant. */
static bool read_axes(Ctx *cx, const Node *n, int rank, bool reduced[QONNX_MAX_RANK], bool *known)
{
    int64_t axes[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "axes", 1, axes);
    *known = count != -2;
    bool all = count <= 0 && !qonnx_node_int(n, "noop_with_empty_axes", 0);
    for (int i = 0; i < rank; i++) reduced[i] = all;
    for (int i = 0; i < count; i++) {
        int at;
        if (!check_axis(cx, n, axes[i], rank, &at)) return false;
        reduced[at] = true;
    }
    return true;
}

/* Output 0 without the axes that are reduced, or with 1 there. */
static bool shape_left(Ctx *cx, Node *n, const Shape *x, const bool *reduced, DType dtype)
{
    bool keep = qonnx_node_int(n, "keepdims", 1) != 0;
    Shape y = {.rank = 0};
    for (int i = 0; i < x->rank; i++) {
        if (reduced[i] && !keep) continue;
        y.dim[y.rank] = reduced[i] ? 1 : x->dim[i];
        y.sym[y.rank++] = reduced[i] ? NULL : x->sym[i];
    }
    return out_shape(cx, n, 0, dtype, &y);
}

static bool reduce_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    bool reduced[QONNX_MAX_RANK], known = true;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!read_axes(cx, n, x->rank, reduced, &known)) return false;
    if (!known) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    return shape_left(cx, n, x, reduced, in_dtype(n, 0));
}

/* Row by row: what an operator computes. */
static const struct {
    const char *name;
    int32_t code;
} reductions[] = {
    {"ReduceSum", F_RSUM},       {"ReduceMean", F_RMEAN},
    {"ReduceMax", F_RMAX},       {"ReduceMin", F_RMIN},
    {"ReduceProd", F_RPROD},     {"ReduceSumSquare", F_RSUMSQ},
    {"ReduceL1", F_RL1},         {"ReduceL2", F_RL2},
    {"ReduceLogSum", F_RLOGSUM}, {"ReduceLogSumExp", F_RLOGSUMEXP},
};

static int32_t reduction(const Node *n)
{
    int i = 0;
    while (strcmp(reductions[i].name, n->op)) i++;
    return reductions[i].code;
}

static bool reduce_takes(Why *why, const Node *n)
{
    int32_t op = reduction(n);
    DType t = in_dtype(n, 0);
    bool compares = op == F_RMAX || op == F_RMIN;
    return !t || is_arithmetic(t) || (compares && t == QONNX_BOOL) ||
           why_not(why, "input 0 is %s, which cannot be run", qonnx_dtype_name(t));
}

/* The layout to take the input in, and what the output is in then. Without keepdims the axes of
 * the output are in ONNX's order only if at most one of channels and places is left. */
static Layout reduce_layout(Lower *l, const Node *n, const bool *reduced, Layout *out)
{
    const Shape *x = in_shape(n, 0);
    Layout at = lower_layout(l, n, 0);
    bool places = false;
    *out = at;
    if (at == PLAIN || qonnx_node_int(n, "keepdims", 1)) return at;
    for (int i = 2; i < x->rank; i++) places = places || (!reduced[i] && x->dim[i] != 1);
    *out = PLAIN;
    return places && !reduced[1] && x->dim[1] != 1 ? PLAIN : at;
}

static bool reduce_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    bool reduced[QONNX_MAX_RANK], known;
    int order[QONNX_MAX_RANK];
    Layout out;
    if (!read_axes(l->cx, n, x->rank, reduced, &known)) return false;
    if (!known) return qonnx_fail(l->cx, n, "axes must be constant to run it");
    Layout at = reduce_layout(l, n, reduced, &out);
    reduce_p p = {reduction(n), (int32_t)in_dtype(n, 0), 1, 1, 1, 1, 1, 1, 1, 1, 0};
    layout_order(x->rank, at, order);
    for (int i = 0; i < x->rank; i++) {
        int to = REDUCE_RANK - x->rank + i;
        (&p.d0)[to] = (int32_t)x->dim[order[i]];
        p.reduced |= reduced[order[i]] << to;
    }
    lower_call(l, n, in_dtype(n, 0) == QONNX_FLOAT ? "f_reduce" : "reduce", &p,
               (Buf *[]){lower_in(l, n, 0, at)}, 1, lower_out(l, n->out[0], out));
    return true;
}

/* Additions and the like: one an element of the input, and more for exp and for types that are
 * converted. */
static int64_t reduce_work(const Node *n)
{
    int64_t count = shape_open_elements(in_shape(n, 0));
    bool slow = in_dtype(n, 0) != QONNX_FLOAT || qonnx_node_is(n, "ReduceLogSumExp");
    return count_work(count, slow ? 64 : 4);
}

/* ---- ArgMax, ArgMin -------------------------------------------------------------------------- */

static bool arg_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    bool reduced[QONNX_MAX_RANK] = {0};
    int axis;
    if (!x) return out_shape(cx, n, 0, QONNX_INT64, NULL);
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis)) return false;
    if (x->dim[axis] == 0) return qonnx_fail(cx, n, "axis %d has size 0", axis);
    reduced[axis] = true;
    return shape_left(cx, n, x, reduced, QONNX_INT64);
}

static bool arg_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    return !t || is_arithmetic(t) ||
           why_not(why, "input 0 is %s, which cannot be run", qonnx_dtype_name(t));
}

static bool arg_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis)) return false;
    Layout at = axis == 1 ? lower_layout(l, n, 0) : PLAIN;
    arg_p p = {(int32_t)shape_product(x, 0, axis),
               (int32_t)x->dim[axis],
               (int32_t)shape_product(x, axis + 1, x->rank),
               (int32_t)in_dtype(n, 0),
               qonnx_node_is(n, "ArgMin"),
               qonnx_node_int(n, "select_last_index", 0) != 0};
    if (at == LAST) p.outer *= p.inner, p.inner = 1; /* the channels are the innermost axis */
    lower_call(l, n, "arg", &p, (Buf *[]){lower_in(l, n, 0, at)}, 1,
               lower_out(l, n->out[0], PLAIN));
    return true;
}

#define REDUCE(name)                                                                               \
    {name,                                                                                         \
     1,                                                                                            \
     2,                                                                                            \
     reduce_shape,                                                                                 \
     RULE_FLOAT,                                                                                   \
     NULL,                                                                                         \
     reduce_lower,                                                                                 \
     .lists = 2,                                                                                   \
     .takes = reduce_takes,                                                                        \
     .work = reduce_work}

const Op ops_reduce[] = {
    REDUCE("ReduceSum"),
    REDUCE("ReduceMean"),
    REDUCE("ReduceMax"),
    REDUCE("ReduceMin"),
    REDUCE("ReduceProd"),
    REDUCE("ReduceSumSquare"),
    REDUCE("ReduceL1"),
    REDUCE("ReduceL2"),
    REDUCE("ReduceLogSum"),
    REDUCE("ReduceLogSumExp"),
    {"ArgMax", 1, 1, arg_shape, RULE_FLOAT, NULL, arg_lower, .takes = arg_takes,
     .work = single_work},
    {"ArgMin", 1, 1, arg_shape, RULE_FLOAT, NULL, arg_lower, .takes = arg_takes,
     .work = single_work},
    {0},
};
