/* ops/attend.c - see attend.h. */
#include "ops/attend.h"
#include "kernels/reduce_walk.h"
#include "ops/broadcast.h"
#include "ops/product.h"
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- grids ----------------------------------------------------------------------------------- */

static int64_t grid_count(const int64_t dims[4]) { return dims[0] * dims[1] * dims[2] * dims[3]; }

/* Strides of a grid in one of those dims, for a walk. */
static void grid_strides(const Grid *g, const int64_t dims[4], int32_t strides[BROADCAST_AXES])
{
    int64_t step = 1;
    for (int i = 3; i >= 0; i--) {
        strides[BROADCAST_AXES - 4 + i] = g->dims[i] == 1 && dims[i] != 1 ? 0 : (int32_t)step;
        step *= g->dims[i];
    }
}

Grid grid_join(Lower *l, const Node *n, int op, Grid a, Grid b)
{
    if (!a.buf || !b.buf) return a.buf ? a : b;
    Grid y = {.buf = NULL};
    Walk w = {.dims = {1, 1}};
    for (int i = 0; i < 4; i++) {
        y.dims[i] = a.dims[i] == 1 ? b.dims[i] : a.dims[i];
        w.dims[BROADCAST_AXES - 4 + i] = (int32_t)y.dims[i];
    }
    grid_strides(&a, y.dims, w.strides[0]);
    grid_strides(&b, y.dims, w.strides[1]);
    y.buf = lower_temp(l, (size_t)grid_count(y.dims) * sizeof(float));
    arithmetic_walk(l, n, op, QONNX_FLOAT, &w, a.buf, b.buf, y.buf);
    return y;
}

Grid grid_map(Lower *l, const Node *n, int code, float lo, float hi, Grid x)
{
    f_unary_p p = {.op = code, .count = (int32_t)grid_count(x.dims), .lo = lo, .hi = hi};
    Grid y = x;
    y.buf = lower_temp(l, x.buf->bytes);
    lower_call(l, n, "f_unary", &p, &x.buf, 1, y.buf);
    return y;
}

Grid grid_columns(Lower *l, const Node *n, Grid g, int64_t columns)
{
    const int64_t rows = g.dims[0] * g.dims[1] * g.dims[2], own = g.dims[3];
    const int64_t rest[2] = {rows, columns - own}, dims[2] = {rows, own};
    const int64_t into[2] = {columns, 1}, from[2] = {own, 1}, none[2] = {0, 0};
    Grid wide = g;
    if (own == columns) return g;
    wide.dims[3] = columns;
    wide.buf = lower_temp(l, (size_t)(rows * columns) * sizeof(float));
    Buf *low = lower_number(l, QONNX_FLOAT, -INFINITY);
    lower_copy(l, n, 2, rest, low, none, 0, wide.buf, into, own, sizeof(float));
    lower_copy(l, n, 2, dims, g.buf, from, 0, wide.buf, into, 0, sizeof(float));
    return wide;
}

Grid grid_number(Lower *l, float x)
{
    return (Grid){lower_number(l, QONNX_FLOAT, (double)x), {1, 1, 1, 1}};
}

/* factor * i + first, along an axis. */
static Grid range(Lower *l, int axis, int64_t count, float factor, float first)
{
    float *v = lower_array(l, (size_t)count, sizeof *v);
    for (int64_t i = 0; i < count; i++) v[i] = factor * (float)i + first;
    Grid g = {lower_const(l, v, (size_t)count * sizeof *v), {1, 1, 1, 1}};
    g.dims[axis] = count;
    return g;
}

Grid grid_places(Lower *l, const Node *n, const Attend *a, float factor, float row_factor,
                 float first)
{
    Grid keys = range(l, 3, a->keys, factor, first);
    if (row_factor == 0) return keys;
    return grid_join(l, n, F_ADD, keys, range(l, 2, a->queries, row_factor, 0));
}

Grid grid_barred(Lower *l, const Node *n, Grid x)
{
    return grid_map(l, n, F_LOG, -INFINITY, INFINITY, grid_map(l, n, F_CLIP, 0, 1, x));
}

Grid grid_window(Lower *l, const Node *n, const Attend *a, Grid first, int64_t more, int64_t left,
                 int64_t right)
{
    Grid behind = {.buf = NULL}, before = {.buf = NULL};
    int64_t all = a->keys + a->queries; /* no two are so far apart */
    if (right >= 0 && right < all) {
        behind = grid_places(l, n, a, -1, 1, (float)(right + 1 + more));
        behind = grid_barred(l, n, grid_join(l, n, F_ADD, behind, first));
    }
    if (left >= 0 && left < all) {
        before = grid_places(l, n, a, 1, -1, (float)(left + 1 - more));
        before = grid_barred(l, n, grid_join(l, n, F_SUB, before, first));
    }
    return grid_join(l, n, F_ADD, behind, before);
}

Grid grid_input(Lower *l, Node *n, int i, const int64_t dims[4])
{
    Grid g = {.buf = lower_in(l, n, i, PLAIN)};
    memcpy(g.dims, dims, sizeof g.dims);
    g.buf = lower_cast(l, n, in_dtype(n, i), QONNX_FLOAT, grid_count(dims), g.buf);
    return g;
}

bool grid_check(Ctx *cx, const Node *n, int i, const int64_t dims[4], int64_t own[4])
{
    const Shape *s = in_shape(n, i);
    for (int k = 0; k < 4; k++) own[k] = 1;
    for (int k = 0; s && k < s->rank; k++) {
        int to = 4 - s->rank + k;
        own[to] = s->dim[k];
        if (own[to] != 1 && !sizes_agree(own[to], dims[to]))
            return qonnx_fail(cx, n, "axis %d of input %d has size %lld, want 1 or %lld", k, i,
                              (long long)own[to], (long long)dims[to]);
    }
    return true;
}

/* ---- heads ----------------------------------------------------------------------------------- */

Heads heads_of_rows(Buf *b, int64_t rows, int64_t heads, int64_t size)
{
    return (Heads){b, rows * heads * size, size, heads * size, 0};
}

Heads heads_in_order(Buf *b, int64_t rows, int64_t heads, int64_t size)
{
    return (Heads){b, heads * rows * size, rows * size, size, 0};
}

Heads heads_join(Lower *l, const Node *n, const Attend *a, Buf *past, int64_t past_rows,
                 const Heads *h, int64_t rows, int64_t size, Buf *to)
{
    const Heads y = heads_in_order(to, past_rows + rows, a->kv_heads, size);
    const int64_t dims[4] = {a->batch, a->kv_heads, rows, size};
    const int64_t old[4] = {a->batch, a->kv_heads, past_rows, size};
    const int64_t from[4] = {h->batch, h->head, h->row, 1}, into[4] = {y.batch, y.head, y.row, 1};
    const Heads p = heads_in_order(past, past_rows, a->kv_heads, size);
    const int64_t old_from[4] = {p.batch, p.head, p.row, 1};
    if (past && past->bytes)
        lower_copy(l, n, 4, old, past, old_from, 0, to, into, 0, sizeof(float));
    if (h->buf->bytes)
        lower_copy(l, n, 4, dims, h->buf, from, h->at, to, into, past_rows * size, sizeof(float));
    return y;
}

void heads_to_rows(Lower *l, const Node *n, const Attend *a, Buf *y, Buf *to)
{
    const int64_t dims[4] = {a->batch, a->heads, a->queries, a->v_size};
    const Heads x = heads_in_order(y, a->queries, a->heads, a->v_size);
    const Heads z = heads_of_rows(to, a->queries, a->heads, a->v_size);
    const int64_t from[4] = {x.batch, x.head, x.row, 1}, into[4] = {z.batch, z.head, z.row, 1};
    lower_copy(l, n, 4, dims, y, from, 0, to, into, 0, sizeof(float));
}

/* ---- attention ------------------------------------------------------------------------------- */

bool attend_check_heads(Ctx *cx, const Node *n, const char *name, int64_t heads)
{
    return (heads > 0 && heads <= INT32_MAX) ||
           qonnx_fail(cx, n, "%s is %lld, want 1 or more", name, (long long)heads);
}

bool attend_check_split(Ctx *cx, const Node *n, int i, int64_t heads)
{
    const Shape *s = in_shape(n, i);
    int64_t d = s ? s->dim[s->rank - 1] : -1;
    return d < 0 || d % heads == 0 ||
           qonnx_fail(cx, n,
                      "input %d has %lld elements in a row, which is no multiple of %lld heads", i,
                      (long long)d, (long long)heads);
}

bool attend_fits(Ctx *cx, const Node *n, const char *what, const int64_t dims[4])
{
    int64_t count = 1;
    for (int i = 0; i < 4 && count >= 0; i++) count = count_work(count, dims[i] > 1 ? dims[i] : 1);
    return (count >= 0 && count <= INT32_MAX / (int64_t)sizeof(float)) ||
           qonnx_fail(cx, n,
                      "its %s, %lld by %lld by %lld by %lld, are too large to be run: at most 2^29 "
                      "elements; give the inputs smaller shapes",
                      what, (long long)dims[0], (long long)dims[1], (long long)dims[2],
                      (long long)dims[3]);
}

bool attend_check(Ctx *cx, const Node *n, const Attend *a)
{
    const int64_t scores[4] = {a->batch, a->heads, a->queries, a->keys};
    const int64_t keys[4] = {a->batch, a->kv_heads, a->keys, a->size};
    const int64_t values[4] = {a->batch, a->kv_heads, a->keys, a->v_size};
    return attend_fits(cx, n, "scores", scores) && attend_fits(cx, n, "keys", keys) &&
           attend_fits(cx, n, "values", values);
}

/* So many for each score. */
static int64_t score_work(const Attend *a, int64_t each)
{
    const int64_t dims[5] = {a->batch, a->heads, a->queries, a->keys, each};
    int64_t count = 1;
    for (int i = 0; i < 5 && count >= 0; i++) count = count_work(count, dims[i] < 0 ? 1 : dims[i]);
    return count;
}

int64_t attend_macs(const Attend *a)
{
    int64_t size = a->size < 0 ? 1 : a->size, v_size = a->v_size < 0 ? 1 : a->v_size;
    return score_work(a, size + v_size);
}

int64_t attend_work(const Attend *a) { return score_work(a, 64 + (a->softcap != 0 ? 64 : 0)); }

/* A product of each head of a with its head of b, into `y`. */
static void head_products(Lower *l, const Node *n, const Attend *a, Product p, const Heads *x,
                          const Heads *w, Buf *y)
{
    int64_t each = a->heads / a->kv_heads;
    assert(!x->at && !w->at);
    p.type = QONNX_FLOAT;
    p.axes = 3;
    p.dims[0] = a->batch, p.dims[1] = a->kv_heads, p.dims[2] = each;
    p.a[0] = x->batch, p.a[1] = each * x->head, p.a[2] = x->head;
    p.b[0] = w->batch, p.b[1] = w->head, p.b[2] = 0;
    p.m = a->queries;
    p.am = x->row;
    p.ak = 1;
    lower_product(l, n, &p, x->buf, w->buf, y);
}

static Grid scores_of(Lower *l, const Node *n, const Attend *a)
{
    Grid y = {.dims = {a->batch, a->heads, a->queries, a->keys}};
    y.buf = lower_temp(l, (size_t)grid_count(y.dims) * sizeof(float));
    head_products(l, n, a,
                  (Product){.n = a->keys, .k = a->size, .bk = 1, .bn = a->k.row, .alpha = a->scale},
                  &a->q, &a->k, y.buf);
    return y;
}

/* 1 for each row that attends to something, 0 for those whose bias is -inf throughout. */
static Grid attending(Lower *l, const Node *n, const Grid *bias)
{
    Grid rows = *bias;
    rows.dims[3] = 1;
    int32_t count = (int32_t)grid_count(rows.dims);
    reduce_p r = {F_RMAX, QONNX_FLOAT, 1, 1, 1, 1, 1, 1, count, (int32_t)bias->dims[3], 1 << 7};
    rows.buf = lower_temp(l, (size_t)count * sizeof(float));
    lower_call(l, n, "f_reduce", &r, &bias->buf, 1, rows.buf);
    Buf *some = arithmetic(l, n, F_GREATER, QONNX_FLOAT, count, rows.buf,
                           lower_number(l, QONNX_FLOAT, -INFINITY));
    rows.buf = lower_cast(l, n, QONNX_BOOL, QONNX_FLOAT, count, some);
    return rows;
}

/* The scores with a further column for the sink. */
static Grid with_sink(Lower *l, const Node *n, const Attend *a, Grid x)
{
    const int64_t *d = x.dims, each = d[3] + 1;
    const int64_t from[4] = {d[1] * d[2] * d[3], d[2] * d[3], d[3], 1};
    const int64_t into[4] = {d[1] * d[2] * each, d[2] * each, each, 1};
    const int64_t column[4] = {d[0], d[1], d[2], 1}, sink[4] = {0, a->sink.dims[1] != 1, 0, 0};
    Grid y = {.dims = {d[0], d[1], d[2], each}};
    y.buf = lower_temp(l, (size_t)grid_count(y.dims) * sizeof(float));
    lower_copy(l, n, 4, d, x.buf, from, 0, y.buf, into, 0, sizeof(float));
    lower_copy(l, n, 4, column, a->sink.buf, sink, 0, y.buf, into, d[3], sizeof(float));
    return y;
}

static Grid softmax_of(Lower *l, const Node *n, const Attend *a)
{
    Grid x = a->biased, y;
    if (a->guard) x = grid_map(l, n, F_CLIP, -FLT_MAX, INFINITY, x);
    if (a->sink.buf) x = with_sink(l, n, a, x);
    y = x;
    f_softmax_p p = {(int32_t)(a->batch * a->heads * a->queries), (int32_t)x.dims[3], 1, 0};
    y.buf = lower_temp(l, x.buf->bytes);
    lower_call(l, n, "f_softmax", &p, &x.buf, 1, y.buf);
    return a->guard ? grid_join(l, n, F_MUL, y, attending(l, n, &a->bias)) : y;
}

Buf *attend(Lower *l, const Node *n, Attend *a)
{
    a->capped = a->scores = scores_of(l, n, a);
    if (a->softcap != 0) {
        Grid cap = grid_number(l, a->softcap);
        Grid small = grid_join(l, n, F_DIV, a->scores, cap);
        a->capped = grid_join(l, n, F_MUL, grid_map(l, n, F_TANH, -INFINITY, INFINITY, small), cap);
    }
    a->biased = grid_join(l, n, F_ADD, a->capped, a->bias);
    a->weights = softmax_of(l, n, a);
    Heads w = heads_in_order(a->weights.buf, a->queries, a->heads, a->weights.dims[3]);
    Buf *y = lower_temp(l, (size_t)(a->batch * a->heads * a->queries * a->v_size) * sizeof(float));
    head_products(l, n, a,
                  (Product){.n = a->v_size, .k = a->keys, .bk = a->v.row, .bn = 1, .alpha = 1}, &w,
                  &a->v, y);
    return y;
}
