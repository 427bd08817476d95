/* ops/nbits.c - com.microsoft's MatMulNBits: weights of few bits, blocks of which have a scale. */
#include "kernels/f_nbits.h"
#include "ops/attend.h"

enum { INPUT, WEIGHTS, SCALES, ZEROS, ORDER, BIAS };

/* Its numbers. */
typedef struct Few {
    int64_t k, n, bits, block, blocks;
} Few;

static bool few_read(Ctx *cx, const Node *n, Few *f)
{
    *f = (Few){qonnx_node_int(n, "K", 0), qonnx_node_int(n, "N", 0), qonnx_node_int(n, "bits", 4),
               qonnx_node_int(n, "block_size", 0), 0};
    if (f->k < 1 || f->n < 1 || f->k > INT32_MAX / 2 || f->n > INT32_MAX / 2)
        return qonnx_fail(cx, n, "K is %lld and N %lld, want 1 to 2^30 - 1", (long long)f->k,
                          (long long)f->n);
    if (f->bits != 2 && f->bits != 4 && f->bits != 8)
        return qonnx_fail(cx, n, "bits is %lld, want 2, 4 or 8", (long long)f->bits);
    if (f->block < 16 || f->block > 1 << 20 || (f->block & (f->block - 1)))
        return qonnx_fail(cx, n, "block_size is %lld, want a power of two from 16 on",
                          (long long)f->block);
    f->blocks = (f->k + f->block - 1) / f->block;
    return true;
}

/* Whether input i has so many numbers, in whatever axes. */
static bool has_count(Ctx *cx, const Node *n, int i, int64_t want)
{
    const Shape *s = in_shape(n, i);
    return !s || sizes_agree(shape_elements(s), want) ||
           qonnx_fail(cx, n, "%lld numbers in input %d, want %lld", (long long)shape_elements(s), i,
                      (long long)want);
}

static bool nbits_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, INPUT);
    Few f;
    if (!few_read(cx, n, &f)) return false;
    bool floats = in_dtype(n, ZEROS) != QONNX_UINT8;
    if (!has_count(cx, n, WEIGHTS, count_work(f.n * f.blocks, f.block * f.bits / 8)) ||
        !has_count(cx, n, SCALES, f.n * f.blocks) ||
        !has_count(cx, n, ZEROS, f.n * (floats ? f.blocks : (f.blocks * f.bits + 7) / 8)) ||
        !has_count(cx, n, BIAS, f.n))
        return false;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, INPUT), NULL);
    if (x->rank < 1) return qonnx_fail(cx, n, "input 0 has rank 0, want 1 or more");
    if (!check_dim(cx, n, INPUT, x->rank - 1, f.k)) return false;
    Shape y = *x;
    y.dim[y.rank - 1] = f.n;
    y.sym[y.rank - 1] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, INPUT), &y);
}

static bool nbits_takes(Why *why, const Node *n)
{
    if (qonnx_node_input(n, ORDER)) return why_not(why, "it has g_idx");
    if (qonnx_node_int(n, "weight_prepacked", 0))
        return why_not(why, "weight_prepacked %lld, this library runs 0 only",
                       (long long)qonnx_node_int(n, "weight_prepacked", 0));
    return takes_type(why, n, INPUT, QONNX_FLOAT) && takes_type(why, n, WEIGHTS, QONNX_UINT8) &&
           takes_type(why, n, SCALES, QONNX_FLOAT) && takes_type(why, n, BIAS, QONNX_FLOAT) &&
           takes_types(why, n, ZEROS, 1u << QONNX_FLOAT | 1u << QONNX_UINT8);
}

static bool nbits_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, INPUT);
    Few f;
    if (!few_read(l->cx, n, &f)) return false;
    if (!n->in[WEIGHTS]->data)
        return qonnx_fail(l->cx, n, "its weights are computed, this library runs constant ones");
    f_nbits_p p = {.m = (int32_t)shape_product(x, 0, x->rank - 1),
                   .n = (int32_t)f.n,
                   .k = (int32_t)f.k,
                   .bits = (int32_t)f.bits,
                   .block = (int32_t)f.block,
                   .zeros = !qonnx_node_input(n, ZEROS)         ? NBITS_HALF
                            : in_dtype(n, ZEROS) == QONNX_UINT8 ? NBITS_PACKED
                                                                : NBITS_FLOAT};
    Buf *in[5] = {lower_in(l, n, INPUT, PLAIN), lower_in(l, n, WEIGHTS, PLAIN),
                  lower_in(l, n, SCALES, PLAIN), lower_in(l, n, ZEROS, PLAIN),
                  lower_in(l, n, BIAS, PLAIN)};
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN), lower_temp(l, f_nbits_work(&p) * sizeof(float))};
    lower_call_n(l, n, "f_nbits", &p, in, 5, out, 2);
    return true;
}

static int64_t nbits_macs(const Node *n)
{
    int64_t k = qonnx_node_int(n, "K", 0);
    int64_t out = n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1;
    return count_work(out, k < 1 ? 1 : k);
}

/* Each weight is unpacked once. */
static int64_t nbits_work(const Node *n)
{
    int64_t k = qonnx_node_int(n, "K", 0), columns = qonnx_node_int(n, "N", 0);
    return count_work(k < 1 ? 1 : k, columns < 1 ? 1 : columns);
}

const Op ops_nbits[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"MatMulNBits", 3, 6, nbits_shape, RULE_FLOAT, NULL, nbits_lower, nbits_macs,
     .takes = nbits_takes, .work = nbits_work, .domain = "com.microsoft"},
    {0},
};
