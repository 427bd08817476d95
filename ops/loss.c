/* ops/loss.c - losses of classes: NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss. */
#include "kernels/d_softmax.h"
#include "kernels/nll_loss.h"
#include "lower/lower.h"
#include <string.h>

static bool is_cross_entropy(const Node *n) { return qonnx_node_is(n, "SoftmaxCrossEntropyLoss"); }

/* NLL_NONE ...; -1: the attribute says something else. */
static int reduction_of(const Node *n)
{
    const char *word = qonnx_node_string(n, "reduction", "mean");
    if (!strcmp(word, "none")) return NLL_NONE;
    return !strcmp(word, "sum") ? NLL_SUM : !strcmp(word, "mean") ? NLL_MEAN : -1;
}

/* Constant targets are classes, or the one that is ignored. */
static bool check_targets(Ctx *cx, const Node *n, int64_t classes)
{
    const Value *v = qonnx_node_input(n, 1);
    const Tensor *t = v ? v->data : NULL;
    bool ignores = qonnx_node_has(n, "ignore_index");
    double ignored = (double)qonnx_node_int(n, "ignore_index", 0);
    for (int64_t i = 0; t && t->data && classes >= 0 && i < tensor_count(t); i++) {
        double k = qonnx_tensor_get(t, i);
        if ((k < 0 || k >= (double)classes) && !(ignores && k == ignored))
            return qonnx_fail(cx, n, "target %.0f is none of %lld classes", k, (long long)classes);
    }
    return true;
}

static bool loss_check(Ctx *cx, const Node *n)
{
    const Shape *x = in_shape(n, 0), *targets = in_shape(n, 1);
    if (reduction_of(n) < 0)
        return qonnx_fail(cx, n, "reduction is \"%.60s\", want none, sum or mean",
                          qonnx_node_string(n, "reduction", ""));
    if (!check_rank(cx, n, 0, 2, QONNX_MAX_RANK) || !check_rank(cx, n, 2, 1, 1)) return false;
    if (!x) return true;
    if (!check_rank(cx, n, 1, x->rank - 1, x->rank - 1) || !check_dim(cx, n, 2, 0, x->dim[1]))
        return false;
    for (int i = 0; targets && i < targets->rank; i++)
        if (!check_dim(cx, n, 1, i, x->dim[i + (i > 0)])) return false;
    if (x->dim[1] == 0) return qonnx_fail(cx, n, "an input without classes");
    return check_targets(cx, n, x->dim[1]);
}

static bool loss_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!loss_check(cx, n)) return false;
    Shape y = {.rank = x || reduction_of(n) != NLL_NONE ? 0 : -1};
    for (int i = 0; x && reduction_of(n) == NLL_NONE && i < x->rank; i++)
        if (i != 1) y.dim[y.rank] = x->dim[i], y.sym[y.rank++] = x->sym[i];
    return out_shape(cx, n, 0, in_dtype(n, 0), y.rank < 0 ? NULL : &y) &&
           (!is_cross_entropy(n) || out_shape(cx, n, 1, in_dtype(n, 0), x));
}

static bool loss_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 1);
    if (t && t != QONNX_INT32 && !takes_type(why, n, 1, QONNX_INT64)) return false;
    return takes_types(why, n, 0, 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE) &&
           (!in_dtype(n, 0) || takes_type(why, n, 2, in_dtype(n, 0)));
}

/* The logarithm of the softmax of input 0, which may be an output of the node. */
static Buf *log_softmax(Lower *l, Node *n, const nll_loss_p *p)
{
    Buf *x = lower_in(l, n, 0, PLAIN);
    Buf *y = out_used(n, 1) ? lower_out(l, n->out[1], PLAIN) : lower_temp(l, x->bytes);
    f_softmax_p f = {p->outer, p->classes, p->inner, 1};
    d_softmax_p d = {p->outer, p->classes, p->inner, D_LOG_SOFTMAX};
    if (p->type == A_DOUBLE) lower_call(l, n, "d_softmax", &d, &x, 1, y);
    else lower_call(l, n, "f_softmax", &f, &x, 1, y);
    return y;
}

static bool loss_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    uint64_t ignored = (uint64_t)qonnx_node_int(n, "ignore_index", 0);
    if (!loss_check(l->cx, n)) return false;
    nll_loss_p p = {.outer = (int32_t)x->dim[0],
                    .classes = (int32_t)x->dim[1],
                    .inner = (int32_t)shape_product(x, 2, x->rank),
                    .type = (int32_t)in_dtype(n, 0),
                    .wide = in_dtype(n, 1) == QONNX_INT64,
                    .ignores = qonnx_node_has(n, "ignore_index"),
                    .ignored = (int32_t)(uint32_t)ignored,
                    .ignored_high = (int32_t)(uint32_t)(ignored >> 32),
                    .reduction = reduction_of(n)};
    Buf *of = is_cross_entropy(n) ? log_softmax(l, n, &p) : lower_in(l, n, 0, PLAIN);
    Buf *in[3] = {of, lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    Buf *y = out_used(n, 0) ? lower_out(l, n->out[0], PLAIN) : NULL;
    if (y) lower_call(l, n, "nll_loss", &p, in, 3, y);
    return true;
}

/* A target takes as long as 128 steps; elements of a softmax as in others. */
static int64_t loss_work(const Node *n)
{
    int64_t count = shape_open_elements(in_shape(n, 0)),
            targets = shape_open_elements(in_shape(n, 1));
    int64_t each = in_dtype(n, 0) == QONNX_DOUBLE ? 1024 : 64;
    int64_t losses = count_work(targets, 128);
    int64_t all = is_cross_entropy(n) ? count_work(count, each) : 0;
    return losses < 0 || all < 0 || losses > INT64_MAX - all ? -1 : losses + all;
}

const Op ops_loss[] = {
    {"NegativeLogLikelihoodLoss", 2, 3, loss_shape, RULE_FLOAT, NULL, loss_lower,
     .takes = loss_takes, .work = loss_work},
    {"SoftmaxCrossEntropyLoss", 2, 3, loss_shape, RULE_FLOAT, NULL, loss_lower, .takes = loss_takes,
     .work = loss_work},
    {0},
};
