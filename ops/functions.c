/* ops/functions.c - see functions.h. A function is a pattern (qonnx/match.h) and what it is as one
 * operator; a new form is a table and a line in `functions`.
 */
#include "ops/functions.h"
#include "ops/op.h"
#include <math.h>
#include <qonnx/match.h>

#define FUNCTIONS_DOMAIN "qonnx.functions"

typedef struct Function Function;

/* A function, found. */
typedef struct Found {
    const Function *f;
    qonnx_match m;
    int axis; /* of a norm: the first axis that it goes over */
} Found;

struct Function {
    const char *op, *domain; /* what it is; NULL: no operator of ours is that */
    const qonnx_match_row *rows;
    int count;
    bool (*fits)(Found *); /* what a pattern cannot say; NULL: nothing */
    /* Puts the operator in front of `before`, NULL: at the end; it gives y. */
    void (*make)(const Found *, Graph *g, Node *before, Value *y);
    bool inside;                  /* it stays in float: none of its operators is worth integers */
    const char *attribute, *text; /* one of the operator, and its text; NULL: none */
    float alpha;                  /* its attribute alpha; 0: it has none */
    float floor;                  /* of x: where it vanishes, being at least -0.0005 and at most 0
                                     from there on; 0: nowhere */
};

static Value *named(const Found *x, const char *name)
{
    return qonnx_match_value(&x->m, x->f->rows, name);
}

/* ---- norms ----------------------------------------------------------------------------------- */

#define SQUARE_POW(d) {"s", "Pow", {d, "=2"}}
#define SQUARE_MUL(d) {"s", "Mul", {d, d}}
#define ROOT          {"e", "Add", {"v", "#eps"}}, {"r", "Sqrt", {"e"}}
#define DIV(d)        ROOT, {"n", "Div", {d, "r"}}
#define RECIPROCAL(d) ROOT, {"i", "Reciprocal", {"r"}}, {"n", "Mul", {d, "i"}}
#define ONE_OVER(d)   ROOT, {"i", "Div", {"=1", "r"}}, {"n", "Mul", {d, "i"}}
#define POWER(d)                                                                                   \
    {"e", "Add", {"v", "#eps"}}, {"i", "Pow", {"e", "=-0.5"}}, {"n", "Mul", {d, "i"}}

#define LAYER(square, inverse)                                                                     \
    {"m", "ReduceMean", {"x"}}, {"d", "Sub", {"x", "m"}}, square("d"), {"v", "ReduceMean", {"s"}}, \
        inverse("d")
#define RMS(square, inverse) square("x"), {"v", "ReduceMean", {"s"}}, inverse("x")
#define GAMMA                {"g", "Mul", {"n", "#gamma"}}
#define BETA                 {"y", "Add", {"g", "#beta"}}

/* x * (gamma / deviation) + (beta - mean * (gamma / deviation)), as Keras has it */
#define KERAS                                                                                      \
    {"m", "ReduceMean", {"x"}}, {"d", "Sub", {"x", "m"}}, SQUARE_MUL("d"),                         \
        {"v", "ReduceMean", {"s"}}, ROOT, {"i", "Reciprocal", {"r"}},                              \
        {"k", "Mul", {"i", "#gamma"}}, {"mk", "Mul", {"m", "k"}}, {"o", "Sub", {"#beta", "mk"}},   \
        {"xk", "Mul", {"x", "k"}}, {"y", "Add", {"xk", "o"}}

/* X(name, square, inverse): the forms that norms have. */
#define FORMS(X)                                                                                   \
    X(pow_div, SQUARE_POW, DIV)                                                                    \
    X(mul_div, SQUARE_MUL, DIV)                                                                    \
    X(pow_reciprocal, SQUARE_POW, RECIPROCAL)                                                      \
    X(mul_reciprocal, SQUARE_MUL, RECIPROCAL)                                                      \
    X(pow_one_over, SQUARE_POW, ONE_OVER)                                                          \
    X(mul_one_over, SQUARE_MUL, ONE_OVER)                                                          \
    X(pow_power, SQUARE_POW, POWER)                                                                \
    X(mul_power, SQUARE_MUL, POWER)

#define NORM_ROWS(name, square, inverse)                                                           \
    static const qonnx_match_row layer_##name[] = {LAYER(square, inverse)};                        \
    static const qonnx_match_row layer_gamma_##name[] = {LAYER(square, inverse), GAMMA};           \
    static const qonnx_match_row layer_beta_##name[] = {LAYER(square, inverse), GAMMA, BETA};      \
    static const qonnx_match_row rms_##name[] = {RMS(square, inverse)};                            \
    static const qonnx_match_row rms_gamma_##name[] = {RMS(square, inverse), GAMMA};

/* clang-format off */
FORMS(NORM_ROWS)
/* clang-format on */
static const qonnx_match_row layer_keras[] = {KERAS};

/* The first of the axes that a mean goes over, where these are the last of x, and stay; -1: they
 * are not. */
static int mean_axis(const Node *mean, int rank)
{
    int64_t axes[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(mean, "axes", 1, axes), first = rank;
    unsigned seen = 0;
    if (count < 1 || qonnx_node_int(mean, "keepdims", 1) != 1) return -1;
    for (int i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (axis < 0 || axis >= rank) return -1;
        seen |= 1u << axis;
        if (axis < first) first = (int)axis;
    }
    return seen == (1u << rank) - (1u << first) ? first : -1;
}

/* Whether a factor of floats broadcasts to x and does not make it larger; NULL is none. */
static bool is_factor(const Value *v, const Shape *x)
{
    if (!v) return true;
    if (v->dtype != QONNX_FLOAT || v->shape.rank < 0 || v->shape.rank > x->rank) return false;
    for (int i = 1; i <= v->shape.rank; i++) {
        int64_t size = v->shape.dim[v->shape.rank - i];
        if (size != 1 && size != x->dim[x->rank - i]) return false;
    }
    return true;
}

static bool norm_fits(Found *f)
{
    const Value *x = named(f, "x"), *eps = named(f, "eps"), *m = named(f, "m");
    if (x->dtype != QONNX_FLOAT || x->shape.rank < 1 || eps->dtype != QONNX_FLOAT ||
        tensor_count(eps->data) != 1)
        return false;
    f->axis = mean_axis(named(f, "v")->def, x->shape.rank);
    if (f->axis < 0 || (m && mean_axis(m->def, x->shape.rank) != f->axis)) return false;
    return is_factor(named(f, "gamma"), &x->shape) && is_factor(named(f, "beta"), &x->shape);
}

static void norm_make(const Found *f, Graph *g, Node *before, Value *y)
{
    static const float one = 1;
    static const Tensor ones = {QONNX_FLOAT, 1, {1}, &one, sizeof one};
    Value *in[3] = {named(f, "x"), named(f, "gamma"), named(f, "beta")};
    if (!in[1]) in[1] = qonnx_graph_add_constant(g, "one", &ones);
    Node *n =
        qonnx_graph_add_node(g, before, f->f->op, FUNCTIONS_DOMAIN, "", in, in[2] ? 3 : 2, &y, 1);
    qonnx_node_set_int(n, "axis", f->axis);
    qonnx_node_set_float(n, "epsilon", (float)qonnx_tensor_get(named(f, "eps")->data, 0));
}

/* ---- functions of one element ---------------------------------------------------------------- */

/* x * e / 2, multiplied in any order */
#define LAST  {"xe", "Mul", {"x", "e"}}, {"y", "Mul", {"xe", "=0.5"}}
#define FIRST {"h", "Mul", {"x", "=0.5"}}, {"y", "Mul", {"h", "e"}}
#define GATE  {"h", "Mul", {"e", "=0.5"}}, {"y", "Mul", {"x", "h"}}

#define ERF                                                                                        \
    {"r", "Div|Mul", {"x", "=1.41421|0.707107"}}, {"erf", "Erf", {"r"}}, {"e", "Add", {"erf", "=1"}}
#define TANH                                                                                       \
    {"c", "Mul", {"x3", "=0.044715"}}, {"s", "Add", {"x", "c"}}, {"t", "Mul", {"s", "=0.797885"}}, \
        {"tanh", "Tanh", {"t"}}, {"e", "Add", {"tanh", "=1"}}
#define TANH_POW {"x3", "Pow", {"x", "=3"}}, TANH
#define TANH_MUL {"x2", "Mul", {"x", "x"}}, {"x3", "Mul", {"x", "x2"}}, TANH

static const qonnx_match_row erf_last[] = {ERF, LAST}, erf_first[] = {ERF, FIRST},
                             erf_gate[] = {ERF, GATE};
static const qonnx_match_row pow_last[] = {TANH_POW, LAST}, pow_first[] = {TANH_POW, FIRST},
                             pow_gate[] = {TANH_POW, GATE};
static const qonnx_match_row mul_last[] = {TANH_MUL, LAST}, mul_first[] = {TANH_MUL, FIRST},
                             mul_gate[] = {TANH_MUL, GATE};
static const qonnx_match_row quick_gelu[] = {
    {"k", "Mul", {"x", "=1.702"}}, {"s", "Sigmoid", {"k"}}, {"y", "Mul", {"x", "s"}}};
static const qonnx_match_row silu[] = {{"s", "Sigmoid", {"x"}}, {"y", "Mul", {"x", "s"}}};
static const qonnx_match_row mish[] = {
    {"p", "Softplus", {"x"}}, {"t", "Tanh", {"p"}}, {"y", "Mul", {"x", "t"}}};
static const qonnx_match_row gelu[] = {{"y", "Gelu", {"x"}}};
static const qonnx_match_row mish_itself[] = {{"y", "Mish", {"x"}}};
static const qonnx_match_row hard_swish[] = {{"y", "HardSwish", {"x"}}};
static const qonnx_match_row hard_sigmoid[] = {
    {"s", "HardSigmoid", {"x"}, "alpha=0.166667"}, {"y", "Mul", {"x", "s"}}};

/* clip(x + 3, 0, 6) */
#define SIX {"a", "Add", {"x", "=3"}}, {"c", "Clip", {"a", "=0", "=6"}}
static const qonnx_match_row clip_last[] = {
    SIX, {"xc", "Mul", {"x", "c"}}, {"y", "Div|Mul", {"xc", "=6|0.166667"}}};
static const qonnx_match_row clip_gate[] = {
    SIX, {"g", "Div|Mul", {"c", "=6|0.166667"}}, {"y", "Mul", {"x", "g"}}};
static const qonnx_match_row clip_first[] = {
    SIX, {"x6", "Div|Mul", {"x", "=6|0.166667"}}, {"y", "Mul", {"x6", "c"}}};

static bool is_float(Found *f) { return named(f, "x")->dtype == QONNX_FLOAT; }

static void unary_make(const Found *f, Graph *g, Node *before, Value *y)
{
    Value *x = named(f, "x");
    Node *n = qonnx_graph_add_node(g, before, f->f->op, FUNCTIONS_DOMAIN, "", &x, 1, &y, 1);
    if (f->f->text) qonnx_node_set_string(n, f->f->attribute, f->f->text);
    if (f->f->alpha != 0) qonnx_node_set_float(n, "alpha", f->f->alpha);
}

/* ---- rotary embedding ------------------------------------------------------------------------ */

/* x * cos + (the second half of x, turned, and the first) * sin */
#define TURNED                                                                                     \
    {"n", "Neg", {"second"}}, {"c", "Concat", {"n", "first"}}, {"b", "Mul", {"c", "sin"}},         \
        {"a", "Mul", {"x", "cos"}}, {"y", "Add", {"a", "b"}}
static const qonnx_match_row rotary_slices[] = {
    {"first", "Slice", {"x"}}, {"second", "Slice", {"x"}}, TURNED};

/* ---- the functions there are ----------------------------------------------------------------- */

#define ROWS(r) (r), sizeof(r) / sizeof *(r)
#define LAYER_NORM(r) {"LayerNormalization", "", ROWS(r), norm_fits, norm_make, true}
#define RMS_NORM(r)                                                                                \
    {"SimplifiedLayerNormalization", "com.microsoft", ROWS(r), norm_fits, norm_make, true}
#define NORM_FORMS(name, square, inverse)                                                          \
    LAYER_NORM(layer_beta_##name), LAYER_NORM(layer_gamma_##name), LAYER_NORM(layer_##name),       \
        RMS_NORM(rms_gamma_##name), RMS_NORM(rms_##name),
#define UNARY(op, r, ...) {op, "", ROWS(r), is_float, unary_make, __VA_ARGS__}
#define GELU(r)           UNARY("Gelu", r, true, .floor = -4)
#define GELU_TANH(r)      UNARY("Gelu", r, true, "approximate", "tanh", .floor = -4)
#define HARD_SWISH(r)     UNARY("HardSwish", r, false, .floor = -3)

/* Of several that end at a node the longer ones first. */
static const Function functions[] = {
    /* clang-format off */
    FORMS(NORM_FORMS)
    LAYER_NORM(layer_keras),
    GELU(erf_last), GELU(erf_first), GELU(erf_gate),
    GELU_TANH(pow_last), GELU_TANH(pow_first), GELU_TANH(pow_gate),
    GELU_TANH(mul_last), GELU_TANH(mul_first), GELU_TANH(mul_gate),
    UNARY("Swish", quick_gelu, false, .alpha = 1.702f, .floor = -6),
    UNARY("Swish", silu, false, .alpha = 1, .floor = -10),
    UNARY("Mish", mish, true, .floor = -10),
    HARD_SWISH(hard_sigmoid), HARD_SWISH(clip_last), HARD_SWISH(clip_gate), HARD_SWISH(clip_first),
    {NULL, NULL, ROWS(rotary_slices), .inside = true},
    /* what is one operator already */
    {"Gelu", "", ROWS(gelu), .floor = -4}, {"Mish", "", ROWS(mish_itself), .floor = -10},
    {"HardSwish", "", ROWS(hard_swish), .floor = -3},
    /* clang-format on */
};

/* Finds the function that ends at the node; `closed`: nobody else reads what is in it. */
static bool find(Node *last, bool moved, bool closed, Found *f)
{
    if (last->nout != 1 || !last->out[0]) return false;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        f->f = &functions[i];
        if (qonnx_match_at(last, f->f->rows, f->f->count, moved, &f->m) &&
            (!closed || qonnx_match_closed(&f->m)) && (!f->f->fits || f->f->fits(f)))
            return true;
    }
    return false;
}

float qonnx_function_floor(Node *last, const Value **x)
{
    Found f;
    if (!find(last, true, false, &f)) return -INFINITY;
    *x = named(&f, "x");
    return f.f->floor < 0 && qonnx_match_keeps(&f.m, *x) ? f.f->floor : -INFINITY;
}

/* From the back: one that ends in the middle of another is no more than a part of it. */
void functions_mark(Graph *g)
{
    Found f;
    for (; g; g = qonnx_graph_next(g)) {
        for (Node *n = g->first; n; n = n->next) n->inside = false;
        for (Node *n = g->last; n; n = n->prev)
            if (!n->inside && find(n, false, true, &f) && f.f->inside)
                for (int i = 0; i < f.m.nnodes; i++) f.m.nodes[i]->inside = true;
    }
}

/* Whether a session watches something inside. */
static bool is_watched(const Found *f)
{
    for (int i = 0; i + 1 < f->m.nnodes; i++)
        if (f->m.nodes[i]->out[0]->observed) return true;
    return false;
}

/* Puts the operator in the place of the function's nodes; returns it. */
static Node *replace(const Found *f, Node *last)
{
    Value *y = last->out[0];
    Node *before = last->next;
    for (int i = f->m.nnodes; i-- > 0;) qonnx_node_remove(f->m.nodes[i]);
    f->f->make(f, last->graph, before, y);
    Node *n = y->def;
    n->name = last->name;
    n->row = op_find(f->f->domain, f->f->op); /* whatever the model's operator set has */
    return n;
}

void functions_fuse(Graph *g)
{
    Found f;
    for (; g; g = qonnx_graph_next(g))
        for (Node *n = g->last; n; n = n->prev)
            if (find(n, false, true, &f) && f.f->make && !is_watched(&f)) n = replace(&f, n);
}
