/* passes/overflow.c - see overflow.h. An accumulator adds activations, from the least to the
 * largest integer of their type, times weights, in an order that is the kernel's: the bounds hold
 * for each.
 */
#include "overflow.h"
#include "groups.h"

/* The integers of a weight, [outer][channels][inner]. */
typedef struct Integers {
    const qonnx_tensor *stored; /* of a model that is quantized; NULL: */
    const int8_t *data;         /* of one in float */
    double zero;                /* the zero point of what is stored */
    int64_t outer, channels, inner;
} Integers;

/* What the products of one channel reach. */
typedef struct Reach {
    double sum;      /* of magnitudes of weights */
    double most[2];  /* the two largest weights */
    double least[2]; /* the two smallest */
} Reach;

static void split_axes(Integers *w, const qonnx_tensor *t, int axis)
{
    w->outer = w->channels = w->inner = 1;
    for (int i = 0; i < t->rank; i++)
        *(i == axis ? &w->channels : i < axis ? &w->outer : &w->inner) *= t->dims[i];
}

/* A product among the operators of integers: where its operands are. */
typedef struct Product {
    const char *op;
    int weight, zero, bias; /* inputs; -1: it has none */
    bool columns;           /* the channels are the last axis of the weight; else its first */
} Product;

static const Product products[] = {
    {"QLinearConv", 3, 5, 8, false},  {"QLinearMatMul", 3, 5, -1, true},
    {"QGemm", 3, 5, 6, true},         {"MatMulIntegerToFloat", 1, 5, -1, true},
    {"ConvInteger", 1, 3, -1, false}, {"MatMulInteger", 1, 3, -1, true},
};

static const Product *product_of(const qonnx_node *n)
{
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        if (!strcmp(qonnx_node_op(n), products[i].op)) return &products[i];
    return NULL;
}

bool overflow_operator(const qonnx_node *n) { return product_of(n) != NULL; }

static const qonnx_tensor *constant_of(const qonnx_node *n, int input)
{
    const qonnx_value *v = n && input >= 0 ? qonnx_node_input(n, input) : NULL;
    return v ? qonnx_value_constant(v) : NULL;
}

/* Finds the integers of a constant weight; false: there are none. */
static bool find_weight(const qonnx_target *t, const qonnx_node *n, const qonnx_rule *rule,
                        Integers *w)
{
    qonnx_weight_params params;
    const Product *p = product_of(n);
    int input = p ? p->weight : group_weight(n, rule), axis = rule->weight_axis;
    if (input < 0) return false;
    const qonnx_node *d = group_dequantizer(n, input);
    const qonnx_tensor *as = constant_of(d ? d : n, d ? 0 : input),
                       *zero = p ? constant_of(n, p->zero) : constant_of(d, 2);
    *w = (Integers){0};
    if (!as) return false;
    if (p) axis = p->columns && !qonnx_node_int(n, "transB", 0) ? as->rank - 1 : 0;
    else if (qonnx_node_is(n, "MatMul") && as->rank > 1) axis = as->rank - 1; /* the columns */
    if ((p || d) && qonnx_dtype_bits(as->dtype) == 8) w->stored = as;
    else if (p || d) return false;
    if (w->stored && zero && qonnx_tensor_elements(zero) == 1) w->zero = qonnx_tensor_get(zero, 0);
    if (!w->stored && qonnx_node_quantize_weight(n, &t->weight, true, 0, NULL, &params))
        w->data = params.data;
    if ((!w->stored && !w->data) || axis >= as->rank) return false;
    split_axes(w, as, axis);
    return true;
}

static double weight_at(const Integers *w, int64_t i)
{
    return w->stored ? qonnx_tensor_get(w->stored, i) - w->zero : w->data[i];
}

/* Puts x among the two that are furthest in its direction. */
static void keep_two(double two[2], double x, double sign)
{
    if (sign * x > sign * two[0]) two[1] = two[0], two[0] = x;
    else if (sign * x > sign * two[1]) two[1] = x;
}

static Reach reach_of(const Integers *w, int64_t channel)
{
    Reach r = {0};
    for (int64_t o = 0; o < w->outer; o++)
        for (int64_t i = 0; i < w->inner; i++) {
            double x = weight_at(w, (o * w->channels + channel) * w->inner + i);
            r.sum += fabs(x);
            keep_two(r.most, x, 1);
            keep_two(r.least, x, -1);
        }
    return r;
}

/* The largest magnitude of the bias's integers; 0 where there are none. */
static double bias_most(const qonnx_node *n, const qonnx_rule *rule)
{
    const Product *p = product_of(n);
    const qonnx_node *d = rule->bias >= 0 ? group_dequantizer(n, rule->bias) : NULL;
    const qonnx_tensor *b = p ? constant_of(n, p->bias) : constant_of(d, 0);
    double most = 0;
    for (int64_t i = 0, count = b ? qonnx_tensor_elements(b) : 0; i < count; i++)
        most = fmax(most, fabs(qonnx_tensor_get(b, i)));
    return most;
}

/* The largest magnitude of an activation's integer, its zero point taken off or not. */
static double activation_most(const qonnx_target *t) { return t->activation.symmetric ? 128 : 255; }

static bool excluded_weighted(const qonnx_target *t, const qonnx_node *n, const qonnx_rule *rule,
                              const Integers *w, Reason *why)
{
    double most = activation_most(t), bias = bias_most(n, rule);
    for (int64_t c = 0; c < w->channels; c++) {
        Reach r = reach_of(w, c);
        double sum = most * r.sum + bias;
        if (sum > INT32_MAX)
            return snprintf(why->text, sizeof why->text,
                            "the sum of channel %lld may reach %.0f, int32 ends at %d",
                            (long long)c, sum, INT32_MAX),
                   false;
        double high = most * fmax(r.most[0] + r.most[1], 0),
               low = most * fmin(r.least[0] + r.least[1], 0);
        if (t->pairs_int16 && (high > INT16_MAX || low < INT16_MIN))
            return snprintf(why->text, sizeof why->text,
                            "two products of channel %lld may reach %.0f, int16 ends at %d",
                            (long long)c, high > INT16_MAX ? high : low,
                            high > INT16_MAX ? INT16_MAX : INT16_MIN),
                   false;
    }
    return true;
}

/* A product of two activations: as many as the last axis of the first has. */
static bool excluded_computed(const qonnx_target *t, const qonnx_node *n, Reason *why)
{
    const qonnx_value *a = qonnx_node_input(n, 0);
    int rank = a ? qonnx_value_rank(a) : -1;
    int64_t count = rank > 0 ? qonnx_value_dim(a, rank - 1) : -1;
    double most = activation_most(t);
    if (count < 0)
        return snprintf(why->text, sizeof why->text,
                        "how many products of two activations it adds is not known before it runs"),
               false;
    if (most * most * (double)count > INT32_MAX)
        return snprintf(why->text, sizeof why->text,
                        "%lld products of two activations may pass the end of int32, %d",
                        (long long)count, INT32_MAX),
               false;
    if (t->pairs_int16)
        return snprintf(why->text, sizeof why->text,
                        "two products of two activations may pass the end of int16"),
               false;
    return true;
}

bool overflow_excluded(const qonnx_target *t, const qonnx_node *n, const qonnx_rule *rule,
                       Reason *why)
{
    Integers w;
    if (find_weight(t, n, rule, &w)) return excluded_weighted(t, n, rule, &w, why);
    return excluded_computed(t, n, why);
}
