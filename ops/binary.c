/* ops/binary.c - elementwise operators of two operands or more, with numpy's broadcasting. */
#include "kernels/arith.h"
#include "lower/quantized.h"
#include "ops/broadcast.h"
#include "ops/string_cast.h"
#include <math.h>
#include <string.h>

/* What a binary operator is to the kernels: its code, and the types of its first operand. */
typedef struct Binary {
    const char *op;
    int code;
    unsigned types; /* FLOATS ... */
} Binary;

/* X(operator, most inputs, code, types, shape, rule, form on integers) */
/* clang-format off */
#define BINARY_ROWS(X)                                                                             \
    X("Add", 2, F_ADD, NUMBERS, broadcast_shape, RULE(QONNX_RULE_OWN, 3), &add_quantized)          \
    X("Sub", 2, F_SUB, NUMBERS, broadcast_shape, RULE_FLOAT, NULL)                                 \
    X("Mul", 2, F_MUL, NUMBERS, broadcast_shape, RULE(QONNX_RULE_OWN, 3), &mul_quantized)          \
    X("Div", 2, F_DIV, NUMBERS, broadcast_shape, RULE_FLOAT, NULL)                                 \
    X("Min", -1, F_MIN, NUMBERS, broadcast_shape, RULE_FLOAT, NULL)                                \
    X("Max", -1, F_MAX, NUMBERS, broadcast_shape, RULE_FLOAT, NULL)                                \
    X("Sum", -1, F_ADD, NUMBERS, broadcast_shape, RULE_FLOAT, NULL)                                \
    X("Mean", -1, F_ADD, FLOATS, broadcast_shape, RULE_FLOAT, NULL)                                \
    X("Pow", 2, F_POW, NUMBERS, broadcast_shape, RULE_FLOAT, NULL)                                 \
    X("PRelu", 2, F_PRELU, NUMBERS, prelu_shape, RULE_FLOAT, NULL)                                 \
    X("Mod", 2, F_MOD, NUMBERS, broadcast_shape, RULE_FLOAT, NULL)                                 \
    X("And", 2, F_AND, BOOL, compare_shape, RULE_FLOAT, NULL)                                      \
    X("Or", 2, F_OR, BOOL, compare_shape, RULE_FLOAT, NULL)                                        \
    X("Xor", 2, F_XOR, BOOL, compare_shape, RULE_FLOAT, NULL)                                      \
    X("BitwiseAnd", 2, F_AND, INTEGERS, broadcast_shape, RULE_FLOAT, NULL)                         \
    X("BitwiseOr", 2, F_OR, INTEGERS, broadcast_shape, RULE_FLOAT, NULL)                           \
    X("BitwiseXor", 2, F_XOR, INTEGERS, broadcast_shape, RULE_FLOAT, NULL)                         \
    X("BitShift", 2, F_SHIFT_LEFT, INTEGERS, broadcast_shape, RULE_FLOAT, NULL)                    \
    X("Equal", 2, F_EQUAL, NUMBERS | BOOL, compare_shape, RULE_FLOAT, NULL)                        \
    X("Less", 2, F_LESS, NUMBERS, compare_shape, RULE_FLOAT, NULL)                                 \
    X("LessOrEqual", 2, F_LESS_EQUAL, NUMBERS, compare_shape, RULE_FLOAT, NULL)                    \
    X("Greater", 2, F_GREATER, NUMBERS, compare_shape, RULE_FLOAT, NULL)                           \
    X("GreaterOrEqual", 2, F_GREATER_EQUAL, NUMBERS, compare_shape, RULE_FLOAT, NULL)
/* clang-format on */

#define BINARY_ROW(op, most, code, types, ...) {op, code, types},
static const Binary rows[] = {BINARY_ROWS(BINARY_ROW)};

static const Binary *binary_find(const Node *n)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].op, n->op)) return &rows[i];
    return NULL;
}

static int binary_code(const Node *n)
{
    int code = binary_find(n)->code;
    if (code == F_MOD && qonnx_node_int(n, "fmod", 0)) return F_FMOD;
    if (code == F_SHIFT_LEFT && !strcmp(qonnx_node_string(n, "direction", ""), "RIGHT"))
        return F_SHIFT_RIGHT;
    return code;
}

/* ---- calls ----------------------------------------------------------------------------------- */

bool is_arithmetic(DType t) { return has_type(NUMBERS, t); }

/* Whether it is a call of f_binary, not of arith. */
static bool is_float(int op, DType a, DType b)
{
    return op <= F_FMOD && a == QONNX_FLOAT && b == QONNX_FLOAT;
}

/* A call of two operands of those types. */
typedef struct Pair {
    int op;
    DType type, btype;
    float lo, hi; /* clamp of floats */
} Pair;

static void emit(Lower *l, const Node *n, const Pair *c, const Walk *w, Buf *a, Buf *b, Buf *out)
{
    Buf *in[2] = {a, b};
    arith_p p = {.op = c->op, .type = (int32_t)c->type, .btype = (int32_t)c->btype};
    f_binary_p f = {.op = c->op, .lo = c->lo, .hi = c->hi};
    bool floats = is_float(c->op, c->type, c->btype);
    memcpy(floats ? &f.d0 : &p.d0, w->dims, sizeof w->dims);
    memcpy(floats ? &f.a0 : &p.a0, w->strides[0], sizeof w->strides[0]);
    memcpy(floats ? &f.b0 : &p.b0, w->strides[1], sizeof w->strides[1]);
    lower_call(l, n, floats ? "f_binary" : "arith", floats ? (void *)&f : (void *)&p, in, 2, out);
}

void arithmetic_walk(Lower *l, const Node *n, int op, DType type, const Walk *w, Buf *a, Buf *b,
                     Buf *out)
{
    emit(l, n, &(Pair){op, type, type, -INFINITY, INFINITY}, w, a, b, out);
}

Buf *lower_number(Lower *l, DType t, double x)
{
    void *data = lower_alloc(l, sizeof(double));
    double v[F_CHUNK] = {x};
    uint64_t u[F_CHUNK] = {fabs(x) < 0x1p63 ? (uint64_t)(int64_t)x : 0};
    if (has_type(FLOATS, t)) arith_store_reals(v, (int32_t)t, data, 0, 1);
    else arith_store_integers(u, (int32_t)t, data, 0, 1);
    return lower_const(l, data, (size_t)dtype_size(t));
}

Buf *arithmetic(Lower *l, const Node *n, int op, DType type, int64_t count, Buf *a, Buf *b)
{
    size_t size = (size_t)dtype_size(type);
    Pair c = {op, type, type, -INFINITY, INFINITY};
    Walk w = {{1, 1, 1, 1, 1, (int32_t)count}, {{0, 0, 0, 0, 0, 1}, {0}}};
    w.strides[1][5] = b->bytes != size;
    Buf *y = lower_temp(l, op >= F_EQUAL ? (size_t)count : a->bytes);
    emit(l, n, &c, &w, a, b, y);
    return y;
}

/* ---- the operators --------------------------------------------------------------------------- */

static bool compare_shape(Ctx *cx, Node *n)
{
    if (!broadcast_shape(cx, n)) return false;
    if (n->out[0]) n->out[0]->dtype = QONNX_BOOL;
    return true;
}

/* The slope broadcasts to the input, not the other way. */
static bool prelu_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *slope = in_shape(n, 1);
    if (!x || !slope) return same_shape(cx, n);
    for (int i = 1; i <= slope->rank; i++) {
        int64_t d = i <= x->rank ? x->dim[x->rank - i] : 1, s = slope->dim[slope->rank - i];
        if (s != 1 && s >= 0 && d >= 0 && s != d)
            return qonnx_fail(cx, n, "a slope of size %lld at axis %d does not broadcast to %lld",
                              (long long)s, slope->rank - i, (long long)d);
    }
    return slope->rank <= x->rank ? same_shape(cx, n)
                                  : qonnx_fail(cx, n, "a slope of rank %d for an input of rank %d",
                                               slope->rank, x->rank);
}

/* Operands are of one type, but for the exponent of Pow. */
static bool types_agree(Why *why, const Node *n, unsigned types)
{
    bool pow = qonnx_node_is(n, "Pow");
    DType first = in_dtype(n, 0);
    for (int i = 0; i < n->nin; i++) {
        DType t = in_dtype(n, i);
        if (!t) continue;
        if (!takes_types(why, n, i, types)) return false;
        if (!pow && first && t != first)
            return why_not(why, "inputs of different types: %s and %s", qonnx_dtype_name(first),
                           qonnx_dtype_name(t));
    }
    return true;
}

static bool binary_takes(Why *why, const Node *n)
{
    const Binary *b = binary_find(n);
    const char *to = qonnx_node_string(n, "direction", "");
    if (b->code == F_SHIFT_LEFT && strcmp(to, "LEFT") && strcmp(to, "RIGHT"))
        return why_not(why, "direction is '%.20s', want LEFT or RIGHT", to);
    if (!types_agree(why, n, b->types)) return false;
    bool floats = has_type(FLOATS, in_dtype(n, 0)), old = qonnx_model_opset(n->graph) < 28;
    if (b->code == F_MOD && floats && old && !qonnx_node_int(n, "fmod", 0))
        return why_not(why, "floats want the attribute fmod 1 before operator set 28");
    if (b->code == F_SHIFT_LEFT && has_type(SIGNED, in_dtype(n, 0)) && old)
        return why_not(why, "signed integers want operator set 28");
    return true;
}

/* 2 or 3 where the node is a Pow of floats to that constant power, which is a product then, as in
 * ONNX Runtime; else 0. */
static int whole_power(const Node *n)
{
    const Value *v = qonnx_node_input(n, 1);
    DType t = in_dtype(n, 0);
    if (!qonnx_node_is(n, "Pow") || !v->data || tensor_count(v->data) != 1) return 0;
    if (t != QONNX_FLOAT && t != QONNX_DOUBLE) return 0;
    double power = qonnx_tensor_get(v->data, 0);
    return power == 2 || power == 3 ? (int)power : 0;
}

/* What it takes in steps of a sum; the rest of a division goes through the bits of the quotient. */
static int64_t binary_work(const Node *n)
{
    int64_t count = shape_open_elements(n->out[0] ? &n->out[0]->shape : NULL);
    bool wide = in_dtype(n, 0) == QONNX_DOUBLE;
    bool rest = qonnx_node_is(n, "Mod") && has_type(FLOATS, in_dtype(n, 0));
    int64_t each = rest                      ? (wide ? 100000 : 10000)
                   : binary_code(n) != F_POW ? 1
                   : whole_power(n)          ? 2
                                             : 1000;
    return count_work(count, each);
}

/* Two operands a call: the result of a call is the first one of the next. A power has its base for
 * each. */
static bool binary_lower(Lower *l, Node *n)
{
    DType t = in_dtype(n, 0);
    int64_t count = shape_elements(&n->out[0]->shape);
    int size = dtype_size(t);
    Layout layout = lower_result_layout(l, n);
    bool mean = qonnx_node_is(n, "Mean") && n->nin > 1;
    int power = whole_power(n), operands = power ? power : n->nin;
    if (n->nin == 1) lower_view(l, n->out[0], lower_in(l, n, 0, layout), layout);
    Operand x[2] = {operand(l, n, 0, layout)};
    for (int i = 1; i < operands; i++) {
        int k = power ? 0 : i;
        Pair c = {power ? F_MUL : binary_code(n), t, in_dtype(n, k), -INFINITY, INFINITY};
        int sizes[2] = {size, dtype_size(c.btype)};
        bool last = i == operands - 1;
        Walk w;
        x[1] = operand(l, n, k, layout);
        walk_make(l, n, layout, x, 2, sizes, &w);
        bool fuses = last && !mean && is_float(c.op, c.type, c.btype);
        Value *v = fuses ? lower_fused(l, n, &c.lo, &c.hi) : n->out[0];
        Buf *out =
            last && !mean ? lower_out(l, v, layout) : lower_temp(l, (size_t)count * (size_t)size);
        emit(l, n, &c, &w, x[0].buf, x[1].buf, out);
        x[0] = operand_full(n, out, layout);
    }
    if (mean)
        lower_view(l, n->out[0],
                   arithmetic(l, n, F_DIV, t, count, x[0].buf, lower_number(l, t, n->nin)), layout);
    return true;
}

/* ---- on integers ----------------------------------------------------------------------------- */

/* Input i expanded to the shape of the output, in that layout. */
static Buf *expanded(Lower *l, Node *n, int i, Layout layout)
{
    const Value *v = n->in[i];
    const Shape *y = &n->out[0]->shape, *s = &v->shape;
    if (!memcmp(s->dim, y->dim, (size_t)y->rank * sizeof *y->dim) && s->rank == y->rank)
        return lower_in(l, n, i, layout);
    Layout at = v->data || s->rank < 3 ? PLAIN : lower_layout(l, n, i);
    int64_t from[QONNX_MAX_RANK], to[QONNX_MAX_RANK];
    broadcast_strides(s, at, y, from);
    layout_strides(y, layout, to);
    Buf *in = lower_in(l, n, i, at), *out = lower_temp(l, (size_t)shape_elements(y));
    lower_copy(l, n, y->rank, y->dim, in, from, 0, out, to, 0, 1);
    return out;
}

/* The least n for which x is whole times 2^-n. */
static int whole_at(float x)
{
    int e;
    int64_t m = (int64_t)ldexpf(frexpf(x, &e), 24);
    if (!m) return 0;
    while (m % 2 == 0) m /= 2, e++;
    return 24 - e;
}

static bool add_params(const QuantNode *q, q_add_p *p)
{
    const QuantParams *a = &q->in[0], *b = &q->in[1];
    float scales[3] = {a->scale / q->out.scale, b->scale / q->out.scale, 0};
    scales[2] = (float)q->out.zero - fmaf(scales[0], (float)a->zero, scales[1] * (float)b->zero);
    p->unit = 1;
    double most = 0;
    for (int i = 0; i < 3; i++) {
        if (!isfinite(scales[i])) return false;
        int n = whole_at(scales[i]);
        if (n > p->unit) p->unit = n;
        most += fabs((double)scales[i]) * (i < 2 ? 255 : 1);
    }
    p->a_scale = (int32_t)quant_bits(scales[0]);
    p->b_scale = (int32_t)quant_bits(scales[1]);
    p->offset = (int32_t)quant_bits(scales[2]);
    return p->unit < 62 && ldexp(most, p->unit) < 0x1p62;
}

static bool add_integers(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    q_add_p p = {.count = (int32_t)shape_elements(&n->out[0]->shape),
                 .a_signed = quant_signed(q->in[0].dtype),
                 .b_signed = quant_signed(q->in[1].dtype)};
    if (!add_params(q, &p)) return qonnx_fail(l->cx, n, "scales too far apart to add in integers");
    quant_clamp(q, &p.lo, &p.hi);
    Layout at = lower_result_layout(l, n);
    Buf *in[2] = {expanded(l, n, 0, at), expanded(l, n, 1, at)};
    lower_call(l, n, "q_add", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

static bool mul_integers(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    q_scale scale = quant_bits(q->in[0].scale * q->in[1].scale / q->out.scale);
    q_mul_p p = {.d0 = 1,
                 .d1 = 1,
                 .d2 = 1,
                 .d3 = 1,
                 .d4 = 1,
                 .d5 = (int32_t)shape_elements(&n->out[0]->shape),
                 .a5 = 1,
                 .b5 = 1,
                 .a_signed = quant_signed(q->in[0].dtype),
                 .b_signed = quant_signed(q->in[1].dtype),
                 .a_zero = q->in[0].zero,
                 .b_zero = q->in[1].zero,
                 .y_zero = q->out.zero,
                 .scale = (int32_t)scale};
    p.shift = quant_shift(q);
    quant_clamp(q, &p.lo, &p.hi);
    Layout at = lower_result_layout(l, n);
    Buf *in[2] = {expanded(l, n, 0, at), expanded(l, n, 1, at)};
    lower_call(l, n, "q_mul", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

static bool add_form(const Node *n, QuantNode *q)
{
    (void)n;
    return add_params(q, &(q_add_p){0});
}

static bool mul_form(const Node *n, QuantNode *q)
{
    (void)n;
    return quantized_multiplies(q, q->in[0].scale * q->in[1].scale);
}

static const Quantized add_quantized = {
    .lower = add_integers,
    .form = add_form,
    .clamps = true,
    .qlinear = {"QLinearAdd", "com.microsoft", .out = 6, .spreads = true},
};

static const Quantized mul_quantized = {
    .lower = mul_integers,
    .form = mul_form,
    .clamps = true,
    .qlinear = {"QLinearMul", "com.microsoft", .out = 6, .spreads = true},
};

#define BINARY_OP(op, most, code, types, shape, rule, on_integers)                                 \
    {op,                                                                                           \
     most < 0 ? 1 : 2,                                                                             \
     most,                                                                                         \
     shape,                                                                                        \
     rule,                                                                                         \
     NULL,                                                                                         \
     binary_lower,                                                                                 \
     .takes = binary_takes,                                                                        \
     .work = binary_work,                                                                          \
     .host = (code) == F_EQUAL ? host_equal : NULL,                                                \
     .quantized = on_integers},

const Op ops_binary[] = {
    /* clang-format off */
    BINARY_ROWS(BINARY_OP)
    {0},
    /* clang-format on */
};
