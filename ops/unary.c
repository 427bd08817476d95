/* ops/unary.c - elementwise operators of one operand: the rows of kernels/unary_rows.h. */
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
    p->op = u->code;
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

static bool unary_lower(Lower *l, Node *n)
{
    f_unary_p p;
    return unary_params(n, &p) && unary_emit(l, n, p);
}

static bool unary_takes(Why *why, const Node *n)
{
    const char *form = qonnx_node_string(n, "approximate", "none");
    if (qonnx_node_is(n, "Gelu") && strcmp(form, "none"))
        return why_not(why, "approximate is '%.20s', this library runs 'none' only", form);
    return takes_float_data(why, n);
}

/* The rules that a row may name. */
#define UNARY_FLOAT       RULE_FLOAT
#define UNARY_OWN         RULE(QONNX_RULE_OWN, 1)
#define UNARY_PROBABILITY RULE_PROBABILITY
/* Those that have a rule have a QLinear form, too. */
#define UNARY_QLINEAR_FLOAT(op)
#define UNARY_QLINEAR_OWN(op)         .qlinear = {"QLinear" op, "com.microsoft", .out = 3}
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
     .quantized = &quantized_##code},

const Op ops_unary[] = {
    /* clang-format off */
    UNARY_ROWS(UNARY_OP)
    {0},
    /* clang-format on */
};
