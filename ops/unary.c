/* ops/unary.c - elementwise operators of one operand: the rows of kernels/unary_rows.h. */
#include "kernels/unary.h"
#include "lower/quantized.h"
#include <math.h>
#include <string.h>

/* What a unary operator is to the kernel: its code, and its attributes with their defaults. */
typedef struct Unary {
    const char *op;
    int code;
    const char *alpha, *beta; /* the attributes' names; "" for none */
    float alpha_default, beta_default;
} Unary;

#define UNARY_ROW(code, op, rule, a, alpha, b, beta, ...) {op, code, a, b, alpha, beta},
static const Unary rows[] = {UNARY_ROWS(UNARY_ROW)};

static const Unary *unary_find(const Node *n)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].op, n->op)) return &rows[i];
    return NULL;
}

bool unary_params(const Node *n, f_unary_p *p)
{
    const Unary *u = unary_find(n);
    *p = (f_unary_p){.op = F_CLIP, .lo = -INFINITY, .hi = INFINITY};
    if (!u) return activation_bounds(n, &p->lo, &p->hi);
    bool tanh = u->code == F_GELU && !strcmp(qonnx_node_string(n, "approximate", "none"), "tanh");
    p->op = tanh ? F_GELU_TANH : u->code;
    p->alpha = qonnx_node_float(n, u->alpha, u->alpha_default);
    p->beta = qonnx_node_float(n, u->beta, u->beta_default);
    return true;
}

bool unary_emit(Lower *l, Node *n, f_unary_p p)
{
    Layout at = lower_layout(l, n, 0);
    p.count = (int32_t)shape_elements(&n->in[0]->shape);
    lower_call(l, n, "f_unary", &p, (Buf *[]){lower_in(l, n, 0, at)}, 1,
               lower_out(l, n->out[0], at));
    return true;
}

/* Of integers: Abs, Neg and Sign, by products and comparisons. */
static bool integer_lower(Lower *l, Node *n, int code)
{
    Layout at = lower_layout(l, n, 0);
    DType t = in_dtype(n, 0);
    int64_t count = shape_elements(in_shape(n, 0));
    Buf *x = lower_in(l, n, 0, at), *y = x, *minus = lower_number(l, t, -1);
    bool negative = has_type(SIGNED, t);
    if (code == F_SIGN) {
        y = arithmetic(l, n, F_MIN, t, count, x, lower_number(l, t, 1));
        if (negative) y = arithmetic(l, n, F_MAX, t, count, y, minus);
    } else if (negative) {
        y = arithmetic(l, n, F_MUL, t, count, x, minus);
        if (code == F_ABS) y = arithmetic(l, n, F_MAX, t, count, x, y);
    }
    lower_view(l, n->out[0], y, at);
    return true;
}

/* Of floats that are not of 32 bits; Shrink of integers, as doubles. */
static bool real_lower(Lower *l, Node *n, const f_unary_p *f)
{
    Layout at = lower_layout(l, n, 0);
    DType t = in_dtype(n, 0), as = has_type(INTEGERS, t) ? QONNX_DOUBLE : t;
    int64_t count = shape_elements(in_shape(n, 0));
    unary_p p = {f->op, (int32_t)as, (int32_t)count, f->alpha, f->beta};
    Buf *x = lower_cast(l, n, t, as, count, lower_in(l, n, 0, at));
    Buf *y = lower_temp(l, (size_t)count * (size_t)dtype_size(as));
    lower_call(l, n, "unary", &p, &x, 1, y);
    lower_view(l, n->out[0], lower_cast(l, n, as, t, count, y), at);
    return true;
}

static bool unary_lower(Lower *l, Node *n)
{
    f_unary_p p;
    DType t = in_dtype(n, 0);
    if (!unary_params(n, &p)) return false;
    if (has_type(INTEGERS, t) && p.op != F_SHRINK) return integer_lower(l, n, p.op);
    return t == QONNX_FLOAT ? unary_emit(l, n, p) : real_lower(l, n, &p);
}

static bool unary_takes(Why *why, const Node *n)
{
    int code = unary_find(n)->code;
    const char *form = qonnx_node_string(n, "approximate", "none");
    if (code == F_GELU && strcmp(form, "none") && strcmp(form, "tanh"))
        return why_not(why, "approximate is '%.20s', want 'none' or 'tanh'", form);
    bool any = code == F_ABS || code == F_SIGN || code == F_SHRINK;
    unsigned integers = code == F_NEG ? SIGNED : any ? INTEGERS : 0;
    return takes_types(why, n, 0, integers | FLOATS);
}

/* As measured, in steps of a sum: functions of double are worked out one by one. */
static int64_t unary_work(const Node *n)
{
    int code = unary_find(n)->code;
    int64_t count = shape_open_elements(in_shape(n, 0));
    bool slow = in_dtype(n, 0) != QONNX_FLOAT || (code >= F_SIN && code <= F_ATANH);
    return count_work(count, slow ? 1024 : 48);
}

/* The rules that a row may name. */
#define UNARY_FLOAT       RULE_FLOAT
#define UNARY_OWN         RULE(QONNX_RULE_OWN, 1)
#define UNARY_PROBABILITY RULE_PROBABILITY
/* Those that have a rule have a QLinear form, too. */
#define UNARY_QLINEAR_FLOAT(op)
#define UNARY_QLINEAR_OWN(op)                                                                      \
    .qlinear = {"QLinear" op, "com.microsoft", .out = 3, .spreads = true}
#define UNARY_QLINEAR_PROBABILITY(op) UNARY_QLINEAR_OWN(op)

#define UNARY_QUANTIZED(code, op, rule, ...)                                                       \
    static const Quantized quantized_##code = {.lower = quant_table_lower,                         \
                                               UNARY_QLINEAR_##rule(op)};
UNARY_ROWS(UNARY_QUANTIZED)

#define UNARY_OP(code, op, rule, ...)                                                              \
    {op,                                                                                           \
     1,                                                                                            \
     1,                                                                                            \
     same_shape,                                                                                   \
     UNARY_##rule,                                                                                 \
     NULL,                                                                                         \
     unary_lower,                                                                                  \
     .takes = unary_takes,                                                                         \
     .work = unary_work,                                                                           \
     .quantized = &quantized_##code},

const Op ops_unary[] = {
    /* clang-format off */
    UNARY_ROWS(UNARY_OP)
    {0},
    /* clang-format on */
};
