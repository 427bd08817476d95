/* ops/product.c - see product.h. */
#include "ops/product.h"
#include "kernels/f_matmul.h"
#include "kernels/reduce_walk.h"
#include "ops/broadcast.h"

/* Takes axes of one element out, and makes one of neighbours that both operands go on over. */
static void merge_axes(Product *p)
{
    int count = 0;
    for (int i = 0; i < p->axes; i++) {
        int64_t d = p->dims[i];
        if (d == 1) continue;
        int at = count - 1;
        if (count && p->a[at] == p->a[i] * d && p->b[at] == p->b[i] * d) p->dims[at] *= d;
        else at = count++, p->dims[at] = d;
        p->a[at] = p->a[i];
        p->b[at] = p->b[i];
    }
    p->axes = count;
}

/* Makes further rows of batches that share the matrix b. */
static void rows_of_batches(Product *p)
{
    while (p->axes) {
        int last = p->axes - 1;
        if (p->b[last] || (p->m != 1 && p->a[last] != p->m * p->am)) return;
        if (p->m == 1) p->am = p->a[last];
        p->m *= p->dims[last];
        p->axes--;
    }
}

/* A product that is one column, of a matrix a that lies column by column, becomes a row: b * a. */
static void turn(Product *p, Buf **a, Buf **b)
{
    Product q = *p;
    Buf *x = *a;
    *a = *b;
    *b = x;
    for (int i = 0; i < p->axes; i++) p->a[i] = q.b[i], p->b[i] = q.a[i];
    p->m = q.n, p->n = q.m;
    p->am = q.bn, p->ak = q.bk, p->bk = q.ak, p->bn = q.am;
}

/* Sums of one number a batch: the products in memory, then their sums. False where these are many
 * more than the operands have elements. */
static bool dots(Lower *l, const Node *n, const Product *p, Buf *a, Buf *b, Buf *y)
{
    size_t size = (size_t)dtype_size(p->type);
    int64_t batch = 1;
    for (int i = 0; i < p->axes; i++) batch *= p->dims[i];
    if (p->m != 1 || p->n != 1 || p->axes >= BROADCAST_AXES || p->alpha != 1 || !p->k) return false;
    if (batch > INT32_MAX / p->k) return false;
    size_t bytes = (size_t)(batch * p->k) * size;
    if (bytes / 4 > a->bytes && bytes / 4 > b->bytes) return false;
    Walk w = {.dims = {1, 1, 1, 1, 1, (int32_t)p->k}};
    w.strides[0][5] = (int32_t)p->ak;
    w.strides[1][5] = (int32_t)p->bk;
    for (int i = 0; i < p->axes; i++) {
        int to = BROADCAST_AXES - 1 - p->axes + i;
        w.dims[to] = (int32_t)p->dims[i];
        w.strides[0][to] = (int32_t)p->a[i];
        w.strides[1][to] = (int32_t)p->b[i];
    }
    Buf *t = lower_temp(l, bytes);
    arithmetic_walk(l, n, F_MUL, p->type, &w, a, b, t);
    reduce_p r = {F_RSUM,         (int32_t)p->type, 1,     1, 1, 1, 1, 1,
                  (int32_t)batch, (int32_t)p->k,    1 << 7};
    lower_call(l, n, p->type == QONNX_FLOAT ? "f_reduce" : "reduce", &r, &t, 1, y);
    return true;
}

void lower_product(Lower *l, const Node *n, const Product *of, Buf *a, Buf *b, Buf *y)
{
    Product p = *of;
    merge_axes(&p);
    if (!y->bytes) return;
    if (dots(l, n, &p, a, b, y)) return;
    rows_of_batches(&p);
    if (p.n == 1 && p.m > 1 && p.ak != 1) turn(&p, &a, &b);
    matmul_p q = {.type = (int32_t)p.type,
                  .m = (int32_t)p.m,
                  .n = (int32_t)p.n,
                  .k = (int32_t)p.k,
                  .am = (int32_t)p.am,
                  .ak = (int32_t)p.ak,
                  .bk = (int32_t)p.bk,
                  .bn = (int32_t)p.bn,
                  .alpha = p.alpha};
    for (int i = 0; i < MATMUL_AXES; i++) {
        int from = i - (MATMUL_AXES - p.axes);
        (&q.d0)[i] = from < 0 ? 1 : (int32_t)p.dims[from];
        (&q.a0)[i] = from < 0 ? 0 : (int32_t)p.a[from];
        (&q.b0)[i] = from < 0 ? 0 : (int32_t)p.b[from];
    }
    Buf *in[2] = {a, b}, *out[2] = {y, NULL};
    bool floats = p.type == QONNX_FLOAT;
    if (floats) out[1] = lower_temp(l, f_matmul_work(&q) * sizeof(float));
    lower_call_n(l, n, floats ? "f_matmul" : "matmul", &q, in, 2, out, floats ? 2 : 1);
}
