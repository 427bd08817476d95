/* ops/reduce.c - reductions over axes. */
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

static bool reduce_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    bool reduced[QONNX_MAX_RANK], known = true;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!read_axes(cx, n, x->rank, reduced, &known)) return false;
    if (!known) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    bool keep = qonnx_node_int(n, "keepdims", 1) != 0;
    Shape y = {.rank = 0};
    for (int i = 0; i < x->rank; i++) {
        if (reduced[i] && !keep) continue;
        y.dim[y.rank] = reduced[i] ? 1 : x->dim[i];
        y.sym[y.rank++] = reduced[i] ? NULL : x->sym[i];
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool reduce_lower(Lower *l, Node *n)
{
    static const char *const names[] = {"ReduceSum",  "ReduceMean",      "ReduceMax", "ReduceMin",
                                        "ReduceProd", "ReduceSumSquare", "ReduceL2"};
    const Shape *x = in_shape(n, 0);
    bool reduced[QONNX_MAX_RANK], known;
    if (!read_axes(l->cx, n, x->rank, reduced, &known)) return false;
    if (!known) return qonnx_fail(l->cx, n, "axes must be constant to run it");
    if (x->rank > 6) return qonnx_fail(l->cx, n, "rank %d, at most 6 can be run", x->rank);
    f_reduce_p p = {.d0 = 1, .d1 = 1, .d2 = 1, .d3 = 1, .d4 = 1, .d5 = 1};
    while (strcmp(names[p.op], n->op)) p.op++;
    for (int i = 0; i < x->rank; i++) {
        (&p.d0)[6 - x->rank + i] = (int32_t)x->dim[i];
        (&p.r0)[6 - x->rank + i] = reduced[i];
    }
    lower_call(l, n, "f_reduce", &p, (Buf *[]){lower_in(l, n, 0, PLAIN)}, 1,
               lower_out(l, n->out[0], PLAIN));
    return true;
}

const Op ops_reduce[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"ReduceSum", 1, 2, reduce_shape, RULE_FLOAT, NULL, reduce_lower, .lists = 2,
     .takes = takes_float_data},
    {"ReduceMean", 1, 2, reduce_shape, RULE_FLOAT, NULL, reduce_lower, .lists = 2,
     .takes = takes_float_data},
    {"ReduceMax", 1, 2, reduce_shape, RULE_FLOAT, NULL, reduce_lower, .lists = 2,
     .takes = takes_float_data},
    {"ReduceMin", 1, 2, reduce_shape, RULE_FLOAT, NULL, reduce_lower, .lists = 2,
     .takes = takes_float_data},
    {"ReduceProd", 1, 2, reduce_shape, RULE_FLOAT, NULL, reduce_lower, .lists = 2,
     .takes = takes_float_data},
    {"ReduceSumSquare", 1, 2, reduce_shape, RULE_FLOAT, NULL, reduce_lower, .lists = 2,
     .takes = takes_float_data},
    {"ReduceL2", 1, 2, reduce_shape, RULE_FLOAT, NULL, reduce_lower, .lists = 2,
     .takes = takes_float_data},
    {0},
};
