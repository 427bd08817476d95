/* ops/pool.c - MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool. */
#include "kernels/q_params.h"
#include "lower/lower.h"
#include "ops/window.h"
#include <string.h>

static bool pool_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Window w;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!window_read(cx, n, x, NULL, &w)) return false;
    Shape y = *x;
    for (int i = 0; i < w.axes; i++) y.dim[2 + i] = w.out[3 - w.axes + i], y.sym[2 + i] = NULL;
    return out_shape(cx, n, 1, QONNX_INT64, &y) && out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool global_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (x->rank < 3) return qonnx_fail(cx, n, "input of rank %d, want 3 or more", x->rank);
    Shape y = *x;
    for (int i = 2; i < x->rank; i++) y.dim[i] = 1, y.sym[i] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* The largest of 8-bit integers, whatever they stand for. */
static bool pool_bytes(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int is_signed = in_dtype(n, 0) == QONNX_INT8;
    Window w;
    if (!pool_window(l->cx, n, &w)) return false;
    q_pool_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .c = (int32_t)x->dim[1],
                  .x_signed = is_signed,
                  .lo = is_signed ? -128 : 0,
                  .hi = is_signed ? 127 : 255};
    lower_call(l, n, "q_maxpool", &p, (Buf *[]){lower_in(l, n, 0, LAST)}, 1,
               lower_out(l, n->out[0], LAST));
    return true;
}

static bool is_largest(const Node *n) { return strstr(n->op, "MaxPool") != NULL; }

static bool pool_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    if (out_used(n, 1)) return why_not(why, "its output Indices");
    return (is_largest(n) && (t == QONNX_INT8 || t == QONNX_UINT8)) || takes_float_data(why, n);
}

static bool pool_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Window w;
    bool largest = is_largest(n);
    if (largest && qonnx_dtype_bits(in_dtype(n, 0)) == 8) return pool_bytes(l, n);
    if (!pool_window(l->cx, n, &w)) return false;
    f_pool_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .c = (int32_t)x->dim[1],
                  .ed = (int32_t)w.back[0],
                  .eh = (int32_t)w.back[1],
                  .ew = (int32_t)w.back[2],
                  .include_pad = qonnx_node_int(n, "count_include_pad", 0) != 0};
    lower_call(l, n, largest ? "f_maxpool" : "f_avgpool", &p,
               (Buf *[]){lower_in(l, n, 0, LAST)}, 1, lower_out(l, n->out[0], LAST));
    return true;
}

/* ONNX Runtime's integer kernel counts what lies behind the padding, where ceil_mode lets a window
 * reach, as padding; and it knows no attribute `dilations`, whatever its values: the file is
 * refused.
 */
static void avgpool_refine(const Node *n, qonnx_rule *r)
{
    bool beyond = qonnx_node_int(n, "ceil_mode", 0) && qonnx_node_int(n, "count_include_pad", 0);
    if (beyond || qonnx_node_has(n, "dilations")) *r = (qonnx_rule)RULE_APART;
}

const Op ops_pool[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"MaxPool", 1, 1, pool_shape, RULE(QONNX_RULE_SAME, 1), NULL, pool_lower,
     .takes = pool_takes},
    {"AveragePool", 1, 1, pool_shape, RULE(QONNX_RULE_OWN, 1), avgpool_refine, pool_lower,
     .takes = pool_takes},
    {"GlobalAveragePool", 1, 1, global_shape, RULE(QONNX_RULE_OWN, 1), NULL, pool_lower,
     .takes = pool_takes},
    {"GlobalMaxPool", 1, 1, global_shape, RULE_FLOAT, NULL, pool_lower,
     .takes = pool_takes},
    {0},
};
