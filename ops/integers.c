/* ops/integers.c - matrix products and convolutions of 8-bit integers whose zero points and scales
 * are operands: exact int32 sums, which are the result or are scaled to floats or bytes. One row of
 * `forms` says where an operator has its operands; DynamicQuantizeLinear makes such operands.
 */
#include "ops/integers.h"
#include "kernels/q_conv_sums.h"
#include "kernels/quantize.h"
#include "ir/size.h"
#include "lower/lower.h"
#include "ops/window.h"
#include <string.h>

/* What the sums become. */
typedef enum Result { SUMS, TO_FLOAT, TO_BYTES } Result;

/* Which input is what; NONE: the operator does not have it. */
typedef struct Integers {
    const char *op;
    Result result;
    bool conv;    /* a convolution, else a matrix product */
    bool dynamic; /* operand a is float, and is quantized by its own range */
    int a, azero, ascale;
    int b, bzero, bscale;
    int bias, integers; /* float, and int32, one number a column or channel */
    int yscale, yzero;
} Integers;

enum { NONE = -1 };

static const Integers forms[] = {
    {"MatMulInteger", SUMS, false, false, 0, 2, NONE, 1, 3, NONE, NONE, NONE, NONE, NONE},
    {"MatMulIntegerToFloat", TO_FLOAT, false, false, 0, 4, 2, 1, 5, 3, 6, NONE, NONE, NONE},
    {"DynamicQuantizeMatMul", TO_FLOAT, false, true, 0, NONE, NONE, 1, 3, 2, 4, NONE, NONE, NONE},
    {"QLinearMatMul", TO_BYTES, false, false, 0, 2, 1, 3, 5, 4, NONE, NONE, 6, 7},
    {"QGemm", TO_BYTES, false, false, 0, 2, 1, 3, 5, 4, NONE, 6, 7, 8},
    {"QAttention", TO_FLOAT, false, false, 0, 6, 3, 1, 7, 4, 2, NONE, NONE, NONE},
    {"ConvInteger", SUMS, true, false, 0, 2, NONE, 1, 3, NONE, NONE, NONE, NONE, NONE},
    {"QLinearConv", TO_BYTES, true, false, 0, 2, 1, 3, 5, 4, NONE, 8, 6, 7},
};

static const Integers *form_of(const Node *n)
{
    const Integers *f = forms;
    while (strcmp(f->op, n->op)) f++;
    return f;
}

static const Value *operand(const Node *n, int i) { return i < 0 ? NULL : qonnx_node_input(n, i); }

static bool has(const Node *n, int i) { return operand(n, i) != NULL; }

/* QGemm without a scale of its result gives floats. */
static Result result_of(const Node *n)
{
    const Integers *f = form_of(n);
    return f->result == TO_BYTES && !has(n, f->yscale) ? TO_FLOAT : f->result;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

/* Numbers of an operand; -1: not known. */
static int64_t numbers(const Node *n, int i)
{
    const Shape *s = i < 0 ? NULL : in_shape(n, i);
    return s ? shape_elements(s) : -1;
}

/* Whether operand `i` is one number, or `columns` of them; what is not known is. */
static bool fits_columns(Ctx *cx, const Node *n, int i, const char *what, int64_t columns)
{
    int64_t count = numbers(n, i);
    return count < 0 || count == 1 || columns < 0 || count == columns ||
           qonnx_fail(cx, n, "%lld %s for %lld outputs", (long long)count, what,
                      (long long)columns);
}

/* Whether a zero point has the type of its operand. */
static bool same_type(Ctx *cx, const Node *n, int of, int zero)
{
    const Value *a = operand(n, of), *z = operand(n, zero);
    return !a || !z || !a->dtype || !z->dtype || a->dtype == z->dtype ||
           qonnx_fail(cx, n, "input %d is %s, its zero point %s", of, qonnx_dtype_name(a->dtype),
                      qonnx_dtype_name(z->dtype));
}

/* Operands that are one number for all. */
static bool are_single(Ctx *cx, const Node *n, const Integers *f)
{
    const int single[] = {f->ascale, f->yscale, f->yzero};
    for (int i = 0; i < 3; i++)
        if (numbers(n, single[i]) >= 0 && numbers(n, single[i]) != 1)
            return qonnx_fail(cx, n, "input %d holds %lld numbers, want 1", single[i],
                              (long long)numbers(n, single[i]));
    return true;
}

static bool conv_result(Ctx *cx, const Node *n, const Integers *f, Shape *y)
{
    const Shape *x = in_shape(n, f->a), *k = in_shape(n, f->b);
    Window w;
    if (!conv_window_of(cx, n, x, k, f->integers < 0 ? NULL : in_shape(n, f->integers), &w))
        return false;
    *y = *x;
    y->dim[1] = k->dim[0];
    y->sym[1] = NULL;
    for (int i = 0; i < w.axes; i++) y->dim[2 + i] = w.out[3 - w.axes + i], y->sym[2 + i] = NULL;
    return true;
}

bool integers_columns(Ctx *cx, const Node *n, int64_t columns)
{
    const Integers *f = form_of(n);
    return same_type(cx, n, f->a, f->azero) && same_type(cx, n, f->b, f->bzero) &&
           fits_columns(cx, n, f->bscale, "scales", columns) &&
           fits_columns(cx, n, f->bias, "numbers of bias", columns) &&
           fits_columns(cx, n, f->integers, "numbers of bias", columns);
}

static bool integers_shape(Ctx *cx, Node *n)
{
    const Integers *f = form_of(n);
    Result r = result_of(n);
    const Shape *a = in_shape(n, f->a), *b = in_shape(n, f->b);
    DType t = r == SUMS          ? QONNX_INT32
              : r == TO_FLOAT    ? QONNX_FLOAT
              : has(n, f->yzero) ? operand(n, f->yzero)->dtype
                                 : QONNX_UINT8;
    Shape y;
    if (!same_type(cx, n, f->a, f->azero) || !same_type(cx, n, f->b, f->bzero)) return false;
    if (!a || !b || (f->conv && !shape_known(b))) return out_shape(cx, n, 0, t, NULL);
    if (!strcmp(n->op, "QGemm") && (a->rank != 2 || b->rank != 2))
        return qonnx_fail(cx, n, "operands of rank %d and %d, want 2", a->rank, b->rank);
    if (!(f->conv ? conv_result(cx, n, f, &y) : matmul_result(cx, n, a, b, &y))) return false;
    int64_t columns = f->conv ? y.dim[1] : b->rank > 1 && y.rank ? y.dim[y.rank - 1] : 1;
    bool ok = integers_columns(cx, n, columns) &&
              (!f->conv || (fits_columns(cx, n, f->azero, "zero points of the input", 1) &&
                            fits_columns(cx, n, f->bzero, "zero points", columns)));
    return ok && out_shape(cx, n, 0, t, &y);
}

static int64_t integers_macs(const Node *n)
{
    const Integers *f = form_of(n);
    const Shape *a = in_shape(n, f->a), *b = in_shape(n, f->b);
    int64_t out = n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1;
    if (out < 0 || !a || !b || !a->rank || !b->rank) return -1;
    int64_t k = f->conv ? 1 : a->dim[a->rank - 1];
    for (int i = 1; f->conv && i < b->rank; i++) k = size_times(k, b->dim[i] < 0 ? 1 : b->dim[i]);
    if (f->conv && b->dim[0] < 16) k = size_times(k, 16); /* lanes that are not in use */
    return count_work(out, k < 0 ? 1 : k);
}

bool integers_takes(Why *why, const Node *n)
{
    enum { BYTES = 1u << QONNX_UINT8 | 1u << QONNX_INT8 };
    const Integers *f = form_of(n);
    const int floats[] = {f->ascale, f->bscale, f->bias, f->yscale, f->dynamic ? f->a : NONE};
    const int bytes[] = {f->dynamic ? NONE : f->a, f->azero, f->b, f->bzero, f->yzero};
    for (int i = 0; i < 5; i++) {
        if (floats[i] >= 0 && !takes_type(why, n, floats[i], QONNX_FLOAT)) return false;
        if (bytes[i] >= 0 && !takes_types(why, n, bytes[i], BYTES)) return false;
    }
    return f->integers < 0 || takes_type(why, n, f->integers, QONNX_INT32);
}

/* ---- from sums to the result ----------------------------------------------------------------- */

/* Input i, or NULL. */
static Buf *lower_operand(Lower *l, const Node *n, int i)
{
    return has(n, i) ? lower_in(l, n, i, PLAIN) : NULL;
}

/* Numbers that are added, one a column: a single one is repeated. */
static Buf *lower_added(Lower *l, const Node *n, int i, int64_t columns)
{
    Buf *b = lower_operand(l, n, i);
    if (!b || columns == 1 || numbers(n, i) != 1) return b;
    Buf *to = lower_temp(l, (size_t)columns * 4);
    lower_copy(l, n, 1, &columns, b, (int64_t[]){0}, 0, to, (int64_t[]){1}, 0, 4);
    return to;
}

/* The result of `rows` rows of sums; `ascale`: the scale of operand a. */
static void finish(Lower *l, Node *n, Buf *sums, int64_t rows, int64_t columns, Buf *ascale, Buf *y)
{
    const Integers *f = form_of(n);
    float alpha = qonnx_node_float(n, "alpha", 1);
    bool each = f->bscale >= 0 && numbers(n, f->bscale) != 1;
    Buf *scales = lower_operand(l, n, f->bscale);
    if (result_of(n) == TO_FLOAT) {
        q_to_float_p p = {1, (int32_t)rows, (int32_t)columns, each, 0, alpha};
        Buf *in[5] = {sums, lower_added(l, n, f->integers, columns), ascale, scales,
                      lower_added(l, n, f->bias, columns)};
        lower_call(l, n, "q_to_float", &p, in, 5, y);
        return;
    }
    q_to_bytes_p p = {(int32_t)rows, (int32_t)columns, each, n->out[0]->dtype == QONNX_INT8, alpha};
    Buf *in[6] = {sums,   lower_added(l, n, f->integers, columns), ascale,
                  scales, lower_operand(l, n, f->yscale),          lower_operand(l, n, f->yzero)};
    lower_call(l, n, "q_to_bytes", &p, in, 6, y);
}

/* ---- matrix products ------------------------------------------------------------------------- */

Left lower_dynamic(Lower *l, const Node *n, Buf *x, Buf *lengths, q_range_p range)
{
    size_t count = x->bytes / sizeof(float);
    quantize_p q = {1, 1, (int32_t)count, QONNX_UINT8};
    Left a = {lower_temp(l, count), lower_temp(l, 1), lower_temp(l, sizeof(float)), false};
    lower_call_n(l, n, "q_range", &range, (Buf *[]){x, lengths}, 2, (Buf *[]){a.scale, a.zero}, 2);
    lower_call(l, n, "quantize", &q, (Buf *[]){x, a.scale, a.zero}, 3, a.x);
    return a;
}

static Left left_of(Lower *l, Node *n, Layout at)
{
    const Integers *f = form_of(n);
    Left a = {lower_in(l, n, f->a, at), lower_operand(l, n, f->azero),
              lower_operand(l, n, f->ascale), in_dtype(n, f->a) == QONNX_INT8};
    int32_t count = (int32_t)shape_elements(in_shape(n, f->a));
    return f->dynamic ? lower_dynamic(l, n, a.x, NULL, (q_range_p){1, 1, count}) : a;
}

/* The matrix of the operand as rows of bytes, each batch of the result having its own. */
static Buf *spread(Lower *l, Node *n, Buf *x, const Shape *s, const Shape *y, bool turned)
{
    Shape full = {.rank = y->rank};
    int64_t from[QONNX_MAX_RANK], to[QONNX_MAX_RANK], own[QONNX_MAX_RANK];
    layout_strides(s, PLAIN, own);
    for (int k = 0; k < y->rank; k++) {
        int at = s->rank - y->rank + k;
        bool matrix = k >= y->rank - 2;
        full.dim[k] = matrix ? s->dim[at] : y->dim[k];
        from[k] = at < 0 || (!matrix && s->dim[at] == 1) ? 0 : own[at];
    }
    if (turned) {
        int k = y->rank - 2;
        int64_t d = full.dim[k], step = from[k];
        full.dim[k] = full.dim[k + 1], from[k] = from[k + 1];
        full.dim[k + 1] = d, from[k + 1] = step;
    }
    layout_strides(&full, PLAIN, to);
    Buf *b = lower_temp(l, (size_t)shape_elements(&full));
    lower_copy(l, n, full.rank, full.dim, x, from, 0, b, to, 0, 1);
    return b;
}

void lower_products(Lower *l, const Node *n, const q_matmul_p *p, bool constant, Buf *const in[4],
                    Buf *sums)
{
    if (constant) {
        lower_call(l, n, "q_matmul", p, in, 4, sums);
        return;
    }
    Buf *packed = lower_temp(l, (size_t)q_pack_bytes(p));
    lower_call(l, n, "q_pack", p, &in[1], 1, packed);
    lower_call(l, n, "q_products", p, (Buf *[]){in[0], packed, in[2], in[3]}, 4, sums);
}

/* From one row or column, and from one matrix, to the next in a list of zero points. */
static bool zero_steps(Lower *l, const Node *n, int i, int64_t each, int64_t batch, int32_t *step,
                       int32_t *matrix)
{
    int64_t count = i < 0 || !has(n, i) ? 1 : numbers(n, i);
    *step = count != 1;
    *matrix = count != 1 && count != each ? (int32_t)each : 0;
    return count == 1 || count == each || count == size_times(each, batch) ||
           qonnx_fail(l->cx, n, "%lld zero points for %lld rows or columns", (long long)count,
                      (long long)each);
}

bool integers_product(Lower *l, Node *n, Buf *result)
{
    const Integers *f = form_of(n);
    const Shape *a = in_shape(n, f->a), *b = in_shape(n, f->b), *y = &n->out[0]->shape;
    bool ta = qonnx_node_int(n, "transA", 0) != 0, tb = qonnx_node_int(n, "transB", 0) != 0;
    bool gemm = !strcmp(n->op, "QGemm");
    ta = gemm && ta, tb = gemm && tb;
    int64_t k = a->rank == 1 ? a->dim[0] : a->dim[a->rank - 1 - ta];
    int64_t m = a->rank == 1 ? 1 : a->dim[a->rank - 2 + ta];
    int64_t columns = b->rank == 1 ? 1 : b->dim[b->rank - 1 - tb];
    int64_t na = a->rank < 3 ? 1 : shape_product(a, 0, a->rank - 2);
    int64_t nb = b->rank < 3 ? 1 : shape_product(b, 0, b->rank - 2);
    int64_t batch = y->rank < 3 ? 1 : shape_product(y, 0, y->rank - 2);
    if (a->rank == 1 || b->rank == 1) batch = na > nb ? na : nb;
    if (!are_single(l->cx, n, f)) return false;
    Left left = left_of(l, n, PLAIN);
    Buf *right = lower_in(l, n, f->b, PLAIN);
    bool constant = n->in[f->b]->data != NULL;
    if (ta || (na != 1 && na != batch)) left.x = spread(l, n, left.x, a, y, ta), na = batch;
    if (nb != 1 && nb != batch) {
        right = spread(l, n, right, b, y, false);
        constant = false;
        nb = batch;
    }
    int64_t zeros = has(n, f->azero) ? numbers(n, f->azero) : 1;
    if (nb == 1 && na == batch && (zeros == 1 || zeros == m * batch)) m *= batch, na = batch = 1;
    q_matmul_p p = {.batch = (int32_t)batch,
                    .m = (int32_t)m,
                    .n = (int32_t)columns,
                    .k = (int32_t)k,
                    .astep = na == 1 ? 0 : (int32_t)(m * k),
                    .bstep = nb != 1,
                    .transb = tb,
                    .a_signed = left.is_signed,
                    .b_signed = in_dtype(n, f->b) == QONNX_INT8};
    if (!zero_steps(l, n, f->azero, m, batch, &p.azrow, &p.azstep) ||
        !zero_steps(l, n, f->bzero, columns, batch, &p.bzcolumn, &p.bzstep))
        return false;
    Buf *in[4] = {left.x, right, left.zero, lower_operand(l, n, f->bzero)};
    bool last = f->result == SUMS;
    Buf *sums = last ? result : lower_temp(l, (size_t)batch * (size_t)m * (size_t)columns * 4);
    lower_products(l, n, &p, constant, in, sums);
    if (!last) finish(l, n, sums, batch * m, columns, left.scale, result);
    return true;
}

static bool product_lower(Lower *l, Node *n)
{
    return integers_product(l, n, lower_out(l, n->out[0], PLAIN));
}

/* ---- convolutions ---------------------------------------------------------------------------- */

/* Whether the zero points of the weights are such that windows need not be added up: known, and 0
 * in int8. */
static bool is_centred(const Node *n, const Integers *f)
{
    const Value *z = operand(n, f->bzero);
    bool is_signed = in_dtype(n, f->b) == QONNX_INT8;
    if (!z) return is_signed;
    for (int64_t i = 0; z->data && i < tensor_count(z->data); i++)
        if (qonnx_tensor_get(z->data, i) != (is_signed ? 0 : 128)) return false;
    return z->data != NULL;
}

/* The int8 weights and their sums: made here where they are constant. */
static void make_filters(Lower *l, Node *n, const q_filters_p *p, Buf *made[2])
{
    const Integers *f = form_of(n);
    const Tensor *w = n->in[f->b]->data;
    size_t bytes = (size_t)p->group * (size_t)(p->channels + p->ones) * (size_t)p->taps;
    size_t sums = (size_t)p->group * (size_t)p->channels * sizeof(int32_t);
    if (!w) {
        made[0] = lower_temp(l, bytes);
        made[1] = lower_temp(l, sums);
        lower_call_n(l, n, "q_filters", p, (Buf *[]){lower_in(l, n, f->b, PLAIN)}, 1, made, 2);
        return;
    }
    void *to[2] = {lower_alloc(l, bytes), lower_alloc(l, sums)};
    kernel_find("q_filters")->run(p, (const void *[]){w->data}, to);
    made[0] = lower_const(l, to[0], bytes);
    made[1] = lower_const(l, to[1], sums);
}

static bool conv_sums_lower(Lower *l, Node *n)
{
    const Integers *f = form_of(n);
    const Shape *x = in_shape(n, f->a), *k = in_shape(n, f->b);
    Window w;
    if (!conv_window_of(l->cx, n, x, k, NULL, &w) || !are_single(l->cx, n, f)) return false;
    int32_t group = (int32_t)qonnx_node_int(n, "group", 1), ones = !is_centred(n, f);
    int32_t channels = (int32_t)k->dim[0], taps = (int32_t)shape_product(k, 1, k->rank);
    int64_t pixels = x->dim[0] * w.out[0] * w.out[1] * w.out[2];
    if (size_times(pixels, channels + group) > INT32_MAX ||
        size_times(channels + group, taps) > INT32_MAX)
        return qonnx_fail(l->cx, n, "it is too large to be run; give the inputs smaller shapes");
    q_filters_p filters = {group, channels / group, taps, in_dtype(n, f->b) == QONNX_INT8, ones};
    Buf *made[2], *x_zero = lower_operand(l, n, f->azero);
    make_filters(l, n, &filters, made);
    q_conv_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .ic = (int32_t)x->dim[1],
                  .oc = channels + ones * group,
                  .group = group,
                  .x_signed = in_dtype(n, f->a) == QONNX_INT8};
    Buf *sums = lower_temp(l, (size_t)pixels * (size_t)p.oc * sizeof(int32_t));
    lower_call(l, n, "q_conv_sums", &p, (Buf *[]){lower_in(l, n, f->a, LAST), made[0], x_zero}, 3,
               sums);
    q_conv_zeros_p z = {(int32_t)pixels,
                        group,
                        filters.channels,
                        taps,
                        p.x_signed,
                        filters.is_signed,
                        ones,
                        has(n, f->bzero) && numbers(n, f->bzero) != 1};
    Buf *exact = f->result == SUMS ? lower_out(l, n->out[0], LAST)
                                   : lower_temp(l, (size_t)pixels * (size_t)channels * 4);
    lower_call(l, n, "q_conv_zeros", &z,
               (Buf *[]){sums, made[1], x_zero, lower_operand(l, n, f->bzero)}, 4, exact);
    if (f->result != SUMS)
        finish(l, n, exact, pixels, channels, lower_operand(l, n, f->ascale),
               lower_out(l, n->out[0], LAST));
    return true;
}

/* ---- DynamicQuantizeLinear ------------------------------------------------------------------- */

static bool dynamic_shape(Ctx *cx, Node *n)
{
    Shape one = {.rank = 0};
    return out_shape(cx, n, 0, QONNX_UINT8, in_shape(n, 0)) &&
           out_shape(cx, n, 1, QONNX_FLOAT, &one) && out_shape(cx, n, 2, QONNX_UINT8, &one);
}

static bool dynamic_lower(Lower *l, Node *n)
{
    Layout at = lower_layout(l, n, 0);
    int32_t count = (int32_t)shape_elements(in_shape(n, 0));
    quantize_p q = {1, 1, count, QONNX_UINT8};
    q_range_p range = {1, 1, count};
    Buf *x = lower_in(l, n, 0, at);
    Buf *scale = out_used(n, 1) ? lower_out(l, n->out[1], PLAIN) : lower_temp(l, sizeof(float));
    Buf *zero = out_used(n, 2) ? lower_out(l, n->out[2], PLAIN) : lower_temp(l, 1);
    lower_call_n(l, n, "q_range", &range, (Buf *[]){x}, 1, (Buf *[]){scale, zero}, 2);
    lower_call(l, n, "quantize", &q, (Buf *[]){x, scale, zero}, 3, lower_out(l, n->out[0], at));
    return true;
}

#define MICROSOFT "com.microsoft"
#define PRODUCT(op, least, most, dom)                                                              \
    {op,   least,         most,          integers_shape,          RULE_FLOAT,                      \
     NULL, product_lower, integers_macs, .takes = integers_takes, .domain = dom}
#define CONVOLUTION(op, least, most)                                                               \
    {op,   least,           most,          integers_shape,         RULE_FLOAT,                     \
     NULL, conv_sums_lower, integers_macs, .takes = integers_takes}

const Op ops_integers[] = {
    PRODUCT("MatMulInteger", 2, 4, NULL),
    PRODUCT("QLinearMatMul", 8, 8, NULL),
    PRODUCT("MatMulIntegerToFloat", 4, 7, MICROSOFT),
    PRODUCT("DynamicQuantizeMatMul", 3, 5, MICROSOFT),
    PRODUCT("QGemm", 6, 9, MICROSOFT),
    CONVOLUTION("ConvInteger", 2, 4),
    CONVOLUTION("QLinearConv", 8, 9),
    {"DynamicQuantizeLinear", 1, 1, dynamic_shape, RULE_FLOAT, NULL, dynamic_lower,
     .takes = takes_float_data},
    {0},
};
