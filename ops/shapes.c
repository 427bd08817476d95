/* ops/shapes.c - what shape functions share. */
#include "ir/size.h"
#include "ops/op.h"

const Shape *in_shape(const Node *n, int i)
{
    const Value *v = qonnx_node_input(n, i);
    return v && v->shape.rank >= 0 ? &v->shape : NULL;
}

DType in_dtype(const Node *n, int i)
{
    const Value *v = qonnx_node_input(n, i);
    return v ? v->dtype : QONNX_UNDEFINED;
}

int64_t shape_product(const Shape *s, int from, int to)
{
    int64_t p = 1;
    for (int i = from; i < to; i++)
        if (s->dim[i] < 0 || __builtin_mul_overflow(p, s->dim[i], &p)) return -1;
    return p;
}

Shape open_shape(const Shape *x)
{
    Shape y = {.rank = x ? x->rank : -1};
    for (int i = 0; i < y.rank; i++) y.dim[i] = -1;
    return y;
}

int64_t shape_open_elements(const Shape *s)
{
    int64_t p = 1;
    if (!s || s->rank < 0) return -1;
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] >= 0 && __builtin_mul_overflow(p, s->dim[i], &p)) return -1;
    return p;
}

int64_t count_work(int64_t a, int64_t b)
{
    int64_t product;
    return a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) ? -1 : product;
}

int64_t single_work(const Node *n)
{
    int64_t count = shape_open_elements(in_shape(n, 0));
    return count_work(count, 256);
}

bool out_shape(Ctx *cx, Node *n, int i, DType dtype, const Shape *s)
{
    Value *v = qonnx_node_output(n, i);
    if (!v) return true;
    if (dtype) v->dtype = dtype;
    if (!s || s->rank < 0) return true;
    Shape old = v->shape;
    v->shape = *s;
    for (int k = 0; k < s->rank; k++)
        if (s->dim[k] < 0 && old.rank == s->rank) {
            v->shape.dim[k] = old.dim[k];
            if (!v->shape.sym[k]) v->shape.sym[k] = old.sym[k];
        }
    size_t bytes;
    if (shape_known(&v->shape) && qonnx_dtype_bits(v->dtype) &&
        !tensor_bytes(v->shape.dim, v->shape.rank, v->dtype, &bytes))
        return qonnx_fail(cx, n, "the size of output '%s' overflows", v->name);
    return true;
}

bool same_shape(Ctx *cx, Node *n) { return out_shape(cx, n, 0, in_dtype(n, 0), in_shape(n, 0)); }

bool check_axis(Ctx *cx, const Node *n, int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank)
        return qonnx_fail(cx, n, "axis %lld is out of range for rank %d", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

/* Joins one dimension of two operands; false when they do not broadcast. */
static bool join(int64_t *a, const char **sym, int64_t b, const char *bsym)
{
    if (b == 1) return true;
    if (*a == 1) {
        *a = b;
        *sym = bsym;
        return true;
    }
    if (*a < 0 && b >= 0) *a = b, *sym = NULL;
    return b < 0 || *a == b;
}

bool broadcast_shape(Ctx *cx, Node *n)
{
    Shape out = {.rank = 0};
    for (int i = 0; i < n->nin; i++) {
        const Shape *s = in_shape(n, i);
        if (!s) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
        if (s->rank > out.rank) {
            int shift = s->rank - out.rank;
            for (int k = s->rank - 1; k >= 0; k--) {
                out.dim[k] = k >= shift ? out.dim[k - shift] : 1;
                out.sym[k] = k >= shift ? out.sym[k - shift] : NULL;
            }
            out.rank = s->rank;
        }
        int shift = out.rank - s->rank;
        for (int k = 0; k < s->rank; k++)
            if (!join(&out.dim[k + shift], &out.sym[k + shift], s->dim[k], s->sym[k]))
                return qonnx_fail(cx, n,
                                  "input %d does not broadcast: %lld against %lld at axis %d", i,
                                  (long long)s->dim[k], (long long)out.dim[k + shift], k + shift);
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &out);
}

bool sizes_agree(int64_t a, int64_t b) { return a < 0 || b < 0 || a == b; }

bool check_rank(Ctx *cx, const Node *n, int i, int least, int most)
{
    const Shape *s = in_shape(n, i);
    if (!s || (s->rank >= least && s->rank <= most)) return true;
    if (least == most) return qonnx_fail(cx, n, "input %d has rank %d, want %d", i, s->rank, most);
    return qonnx_fail(cx, n, "input %d has rank %d, want %d to %d", i, s->rank, least, most);
}

bool check_dim(Ctx *cx, const Node *n, int i, int axis, int64_t want)
{
    const Shape *s = in_shape(n, i);
    if (!s || sizes_agree(s->dim[axis], want)) return true;
    return qonnx_fail(cx, n, "axis %d of input %d has size %lld, want %lld", axis, i,
                      (long long)s->dim[axis], (long long)want);
}
