/* ops/recurrent.c - LSTM, GRU and RNN: the products of all inputs at once, then the steps. */
#include "ops/recurrent.h"
#include "ir/size.h"
#include <math.h>
#include <string.h>
#include <strings.h>

/* ---- attributes ------------------------------------------------------------------------------ */

/* A function of ONNX's list. */
typedef struct Function {
    const char *name;
    int code;         /* R_AFFINE ... */
    bool alpha, beta; /* takes the next number of activation_alpha, activation_beta */
    float a, b;       /* what it has where there is none: as in ONNX Runtime */
} Function;

static const Function functions[] = {
    {"Affine", R_AFFINE, true, true, 0, 0},
    {"Relu", R_RELU, false, false, 0, 0},
    {"LeakyRelu", R_LEAKY_RELU, true, false, 0.01f, 0},
    {"ThresholdedRelu", R_THRESHOLDED_RELU, true, false, 0, 0},
    {"Tanh", R_TANH, false, false, 0, 0},
    {"ScaledTanh", R_SCALED_TANH, true, true, 0, 0},
    {"Sigmoid", R_SIGMOID, false, false, 0, 0},
    {"HardSigmoid", R_HARD_SIGMOID, true, true, 0.2f, 0.5f},
    {"Elu", R_ELU, true, false, 1, 0},
    {"Softsign", R_SOFTSIGN, false, false, 0, 0},
    {"Softplus", R_SOFTPLUS, false, false, 0, 0},
};

static const Function *function_find(const char *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!strcasecmp(functions[i].name, name)) return &functions[i];
    return NULL;
}

/* Its gates, and its functions in each direction. */
static int gates_of(const Node *n)
{
    return strstr(n->op, "LSTM") ? R_LSTM : strstr(n->op, "GRU") ? R_GRU : R_RNN;
}

static int functions_of(const Node *n)
{
    int gates = gates_of(n);
    return gates == R_LSTM ? 3 : gates == R_GRU ? 2 : 1;
}

/* Directions; 0: the attribute is none. */
static int directions_of(const Node *n)
{
    const char *d = qonnx_node_string(n, "direction", "forward");
    return !strcmp(d, "bidirectional") ? 2 : !strcmp(d, "forward") || !strcmp(d, "reverse");
}

static bool check_functions(Ctx *cx, const Node *n)
{
    char *const *names;
    int count = node_strings(n, "activations", &names), want = functions_of(n) * directions_of(n);
    if (count && count != want) return qonnx_fail(cx, n, "%d activations, want %d", count, want);
    for (int i = 0; i < count; i++)
        if (!function_find(names[i]))
            return qonnx_fail(cx, n, "activation '%.60s' is none that ONNX has", names[i]);
    return true;
}

/* The functions, directions one after the other, with the numbers that they take. */
static void read_functions(const Node *n, f_recurrent_p *p)
{
    static const char *const usual[] = {"Sigmoid", "Tanh", "Tanh"};
    const float *alpha, *beta;
    char *const *names;
    int count = node_strings(n, "activations", &names), each = functions_of(n);
    int na = qonnx_node_floats(n, "activation_alpha", &alpha);
    int nb = qonnx_node_floats(n, "activation_beta", &beta);
    for (int i = 0, a = 0, b = 0; i < each * p->directions; i++) {
        const Function *f = function_find(count ? names[i] : usual[each == 1 ? 1 : i % each]);
        int at = i / each * 3 + i % each;
        (&p->function0)[at] = f->code;
        (&p->alpha0)[at] = f->alpha && a < na ? alpha[a++] : f->a;
        (&p->beta0)[at] = f->beta && b < nb ? beta[b++] : f->b;
    }
}

/* ---- shapes ---------------------------------------------------------------------------------- */

/* Whether operand i has these dims, of which -1 are not known; fills in those that it knows. */
static bool has_dims(Ctx *cx, const Node *n, int i, const char *what, int rank,
                     int64_t *const *dims)
{
    const Shape *s = in_shape(n, i);
    if (!s) return true;
    if (s->rank != rank) return qonnx_fail(cx, n, "%s has rank %d, want %d", what, s->rank, rank);
    for (int k = 0; k < rank; k++) {
        if (s->dim[k] >= 0 && *dims[k] >= 0 && s->dim[k] != *dims[k])
            return qonnx_fail(cx, n, "%s has size %lld along axis %d, want %lld", what,
                              (long long)s->dim[k], k, (long long)*dims[k]);
        if (*dims[k] < 0) *dims[k] = s->dim[k];
    }
    return true;
}

/* Whether W and R are turned: DynamicQuantizeLSTM's. */
static bool is_turned(const Node *n) { return n->domain[0] != 0; }

static bool read_hidden(Ctx *cx, const Node *n, int64_t *hidden)
{
    const Shape *r = in_shape(n, 2);
    *hidden =
        qonnx_node_int(n, "hidden_size", r && r->rank == 3 ? r->dim[is_turned(n) ? 1 : 2] : -1);
    if ((*hidden < 1 && (qonnx_node_has(n, "hidden_size") || *hidden == 0)) ||
        *hidden > INT32_MAX / 16)
        return qonnx_fail(cx, n, "hidden_size is %lld", (long long)*hidden);
    return true;
}

bool recurrent_sizes(Ctx *cx, const Node *n, Sizes *s)
{
    bool rows_first = qonnx_node_int(n, "layout", 0) != 0, turned = is_turned(n);
    const Shape *x = in_shape(n, 0);
    *s = (Sizes){-1, -1, -1, -1, NULL, NULL, directions_of(n), gates_of(n)};
    if (!s->directions)
        return qonnx_fail(cx, n, "direction is \"%.60s\", want forward, reverse or bidirectional",
                          qonnx_node_string(n, "direction", ""));
    if (!read_hidden(cx, n, &s->hidden) || !check_functions(cx, n)) return false;
    int64_t d = s->directions, rows = s->hidden < 0 ? -1 : s->hidden * s->gates;
    int64_t both = rows < 0 ? -1 : 2 * rows, peep = s->hidden < 0 ? -1 : 3 * s->hidden;
    int64_t *state[3] = {rows_first ? &s->batch : &d, rows_first ? &d : &s->batch, &s->hidden};
    if (x && x->rank == 3) {
        s->steps_name = x->sym[rows_first];
        s->batch_name = x->sym[!rows_first];
    }
    return has_dims(cx, n, 0, "X", 3,
                    (int64_t *[]){rows_first ? &s->batch : &s->steps,
                                  rows_first ? &s->steps : &s->batch, &s->input}) &&
           has_dims(cx, n, 1, "W", 3,
                    (int64_t *[]){&d, turned ? &s->input : &rows, turned ? &rows : &s->input}) &&
           has_dims(cx, n, 2, "R", 3,
                    (int64_t *[]){&d, turned ? &s->hidden : &rows, turned ? &rows : &s->hidden}) &&
           has_dims(cx, n, 3, "B", 2, (int64_t *[]){&d, &both}) &&
           has_dims(cx, n, 4, "sequence_lens", 1, (int64_t *[]){&s->batch}) &&
           has_dims(cx, n, 5, "initial_h", 3, state) &&
           (s->gates != R_LSTM || (has_dims(cx, n, 6, "initial_c", 3, state) &&
                                   has_dims(cx, n, 7, "P", 2, (int64_t *[]){&d, &peep})));
}

bool recurrent_shape(Ctx *cx, Node *n)
{
    Sizes s;
    if (!recurrent_sizes(cx, n, &s)) return false;
    bool rows_first = qonnx_node_int(n, "layout", 0) != 0;
    Shape y = {.rank = 4, .dim = {s.steps, s.directions, s.batch, s.hidden}},
          h = {.rank = 3, .dim = {s.directions, s.batch, s.hidden}};
    y.sym[0] = s.steps_name, y.sym[2] = h.sym[1] = s.batch_name;
    if (rows_first) {
        y = (Shape){.rank = 4, .dim = {s.batch, s.steps, s.directions, s.hidden}};
        y.sym[0] = s.batch_name, y.sym[1] = s.steps_name;
        h = (Shape){.rank = 3, .dim = {s.batch, s.directions, s.hidden}};
        h.sym[0] = s.batch_name;
    }
    DType t = in_dtype(n, 0);
    return out_shape(cx, n, 0, t, &y) && out_shape(cx, n, 1, t, &h) && out_shape(cx, n, 2, t, &h);
}

static bool recurrent_takes(Why *why, const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (!takes_type(why, n, i, i == 4 ? QONNX_INT32 : QONNX_FLOAT)) return false;
    return true;
}

/* ---- lowering -------------------------------------------------------------------------------- */

/* Whether the products of the inputs can be indexed, and the kernel's memory. */
static bool sizes_fit(Lower *l, const Node *n, const Sizes *s)
{
    int64_t row = size_times(size_times(s->directions, s->gates + 2), s->hidden);
    int64_t all = size_times(size_times(s->steps + 1, s->batch + 1), row);
    return all <= INT32_MAX ||
           qonnx_fail(l->cx, n,
                      "%lld steps of %lld rows of hidden size %lld are too large to be run; give "
                      "the inputs smaller shapes",
                      (long long)s->steps, (long long)s->batch, (long long)s->hidden);
}

bool recurrent_params(Lower *l, const Node *n, const Sizes *s, f_recurrent_p *out)
{
    if (!sizes_fit(l, n, s)) return false;
    bool rows_first = qonnx_node_int(n, "layout", 0) != 0;
    int32_t row = s->directions * s->gates * (int32_t)s->hidden, h = (int32_t)s->hidden;
    int32_t steps = (int32_t)s->steps, batch = (int32_t)s->batch, d = s->directions;
    f_recurrent_p p = {.steps = steps,
                       .batch = batch,
                       .hidden = h,
                       .directions = d,
                       .gates = s->gates,
                       .input_forget = qonnx_node_int(n, "input_forget", 0) != 0,
                       .linear_before_reset = qonnx_node_int(n, "linear_before_reset", 0) != 0,
                       .xstep = rows_first ? row : batch * row,
                       .xrow = rows_first ? steps * row : row,
                       .xdir = s->gates * h,
                       .ystep = rows_first ? d * h : d * batch * h,
                       .yrow = rows_first ? steps * d * h : h,
                       .ydir = rows_first ? h : batch * h,
                       .hrow = rows_first ? d * h : h,
                       .hdir = rows_first ? h : batch * h};
    p.reverse = !strcmp(qonnx_node_string(n, "direction", "forward"), "reverse") ? 1
                : d - 1                                                          ? 2
                                                                                 : 0;
    p.clip = qonnx_node_float(n, "clip", 0);
    if (!(p.clip > 0)) p.clip = INFINITY;
    read_functions(n, &p);
    *out = p;
    return true;
}

void recurrent_outputs(Lower *l, Node *n, const f_recurrent_p *p, Buf *out[4])
{
    for (int i = 0; i < 3; i++) out[i] = out_used(n, i) ? lower_out(l, n->out[i], PLAIN) : NULL;
    out[3] = lower_temp(l, (size_t)f_recurrent_work(p) * sizeof(float));
}

static bool recurrent_lower(Lower *l, Node *n)
{
    Sizes s;
    f_recurrent_p p;
    if (!recurrent_sizes(l->cx, n, &s) || !recurrent_params(l, n, &s, &p)) return false;
    f_gemm_p g = {(int32_t)(s.steps * s.batch),
                  p.directions * p.gates * p.hidden,
                  (int32_t)s.input,
                  1,
                  -INFINITY,
                  INFINITY};
    Buf *x = lower_temp(l, (size_t)g.m * (size_t)g.n * sizeof(float)), *out[4];
    Buf *operands[3] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN), NULL};
    lower_call(l, n, "f_gemm", &g, operands, 3, x);
    Buf *in[7] = {x,
                  lower_in(l, n, 2, PLAIN),
                  lower_in(l, n, 3, PLAIN),
                  lower_in(l, n, 7, PLAIN),
                  lower_in(l, n, 4, PLAIN),
                  lower_in(l, n, 5, PLAIN),
                  lower_in(l, n, 6, PLAIN)};
    recurrent_outputs(l, n, &p, out);
    lower_call_n(l, n, "f_recurrent", &p, in, 7, out, 4);
    return true;
}

/* Rows of X: steps times rows of the batch, open ones counted as 1. */
static int64_t input_rows(const Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!x || x->rank != 3) return -1;
    return shape_open_elements(&(Shape){.rank = 2, .dim = {x->dim[0], x->dim[1]}});
}

int64_t recurrent_macs(const Node *n)
{
    int64_t rows = input_rows(n), w = shape_open_elements(in_shape(n, 1)),
            r = shape_open_elements(in_shape(n, 2));
    return rows < 0 || w < 0 || r < 0 ? -1 : count_work(rows, size_plus(w, r));
}

/* The functions of the gates. */
int64_t recurrent_work(const Node *n)
{
    enum { FUNCTION = 32 };
    const Shape *r = in_shape(n, 2);
    int64_t rows = input_rows(n);
    if (rows < 0 || !r || r->rank != 3) return -1;
    int64_t gates =
        shape_open_elements(&(Shape){.rank = 2, .dim = {r->dim[0], r->dim[is_turned(n) ? 2 : 1]}});
    return gates < 0 ? -1 : count_work(size_times(rows, FUNCTION), gates);
}

const Op ops_recurrent[] = {
    {"LSTM", 3, 8, recurrent_shape, RULE_FLOAT, NULL, recurrent_lower, recurrent_macs,
     .takes = recurrent_takes, .work = recurrent_work},
    {"GRU", 3, 6, recurrent_shape, RULE_FLOAT, NULL, recurrent_lower, recurrent_macs,
     .takes = recurrent_takes, .work = recurrent_work},
    {"RNN", 3, 6, recurrent_shape, RULE_FLOAT, NULL, recurrent_lower, recurrent_macs,
     .takes = recurrent_takes, .work = recurrent_work},
    {0},
};
