/* ops/ml_svm.c - ai.onnx.ml's SVMRegressor and SVMClassifier: support vectors, or, where there are
 * none, a linear model.
 */
#include "ir/size.h"
#include "kernels/svm.h"
#include "ops/ml.h"
#include <string.h>

/* What a node compares rows with. */
typedef struct Svm {
    svm_near_p near; /* but for the rows */
    const float *vectors;
    const float *coefficients, *rho;
    int64_t count, nrho; /* of coefficients, and of rho */
    int64_t supports;    /* support vectors; 0: it is linear */
    int64_t features;    /* that it is for */
} Svm;

static bool read_kind(Ctx *cx, const Node *n, svm_near_p *p)
{
    static const char *const kinds[] = {"LINEAR", "POLY", "RBF", "SIGMOID"}; /* by SVM_... */
    const char *given = qonnx_node_string(n, "kernel_type", "LINEAR");
    const float *params;
    int count = qonnx_node_floats(n, "kernel_params", &params);
    if (count && count != 3)
        return qonnx_fail(cx, n, "kernel_params has %d elements, want 3: gamma, coef0 and degree",
                          count);
    for (p->kind = 0; p->kind < 4 && strcmp(given, kinds[p->kind]); p->kind++) {}
    if (p->kind == 4)
        return qonnx_fail(cx, n, "kernel_type is '%.40s', want LINEAR, POLY, RBF or SIGMOID",
                          given);
    if (count) p->gamma = params[0], p->coef = params[1], p->degree = params[2];
    if (p->kind == SVM_LINEAR) p->coef = 0;
    return true;
}

/* `sets` rows of coefficients: of features where it is linear, else of support vectors. */
static bool read_svm(Ctx *cx, const Node *n, int64_t supports, int64_t sets, Svm *s)
{
    *s = (Svm){.supports = supports};
    int64_t numbers = qonnx_node_floats(n, "support_vectors", &s->vectors), of = ml_features(n);
    s->count = qonnx_node_floats(n, "coefficients", &s->coefficients);
    s->nrho = qonnx_node_floats(n, "rho", &s->rho);
    if (!read_kind(cx, n, &s->near)) return false;
    if (supports < 0 || supports > INT32_MAX)
        return qonnx_fail(cx, n, "it has %lld support vectors", (long long)supports);
    if (!s->nrho) return qonnx_fail(cx, n, "rho is empty");
    int64_t rows = supports ? supports : sets, all = supports ? numbers : s->count;
    const char *what = supports ? "support_vectors" : "coefficients";
    if (!all || all % rows)
        return qonnx_fail(cx, n, "%s has %lld elements, want some for each of %lld rows", what,
                          (long long)all, (long long)rows);
    if (supports && s->count != size_times(sets, supports))
        return qonnx_fail(cx, n, "coefficients has %lld elements, want %lld for each of %lld "
                                 "support vectors",
                          (long long)s->count, (long long)sets, (long long)supports);
    s->features = all / rows;
    s->near.vectors = (int32_t)rows;
    s->near.features = (int32_t)s->features;
    return sizes_agree(of, s->features) ||
           qonnx_fail(cx, n, "rows have %lld features, but %s for %lld", (long long)of, what,
                      (long long)s->features);
}

/* How near each row is to each vector, into `to`, or, where that is NULL, a temporary. */
static Buf *nearness(Lower *l, const Node *n, const Svm *s, Buf *to)
{
    svm_near_p p = s->near;
    p.rows = (int32_t)ml_rows(n);
    if (!s->supports) p.kind = SVM_LINEAR, p.coef = s->rho[0];
    const float *vectors = s->supports ? s->vectors : s->coefficients;
    Buf *in[2] = {ml_input(l, n, false), ml_const(l, vectors, p.vectors * s->features)};
    if (!to) to = lower_temp(l, (size_t)p.rows * (size_t)p.vectors * sizeof(float));
    lower_call(l, n, "svm_near", &p, in, 2, to);
    return to;
}

/* ---- SVMRegressor ---------------------------------------------------------------------------- */

static bool regressor_read(Ctx *cx, const Node *n, Svm *s)
{
    return read_svm(cx, n, qonnx_node_int(n, "n_supports", 0), 1, s);
}

static bool regressor_shape(Ctx *cx, Node *n)
{
    Svm s;
    return ml_check_rows(cx, n) && regressor_read(cx, n, &s) && ml_out(cx, n, 0, QONNX_FLOAT, 1);
}

static bool regressor_lower(Lower *l, Node *n)
{
    static const float one = 1;
    Svm s;
    if (!regressor_read(l->cx, n, &s)) return false;
    svm_score_p p = {(int32_t)ml_rows(n), s.near.vectors, qonnx_node_int(n, "one_class", 0) != 0,
                     s.supports ? s.rho[0] : 0};
    Buf *in[2] = {nearness(l, n, &s, NULL),
                  s.supports ? ml_const(l, s.coefficients, s.count) : ml_const(l, &one, 1)};
    lower_call(l, n, "svm_score", &p, in, 2, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- SVMClassifier --------------------------------------------------------------------------- */

typedef struct Classes {
    Svm svm;
    Labels labels;
    const int64_t *each; /* support vectors of each class */
    int64_t pairs;       /* of classes */
    const float *a, *b;  /* for the likelihood of each pair; NULL: none is asked for */
    int32_t last;        /* SCORES_NONE ... */
} Classes;

/* One number for each pair of classes. */
static bool check_pairs(Ctx *cx, const Node *n, const char *name, int64_t count, int64_t pairs)
{
    return count >= pairs ||
           qonnx_fail(cx, n, "%s has %lld elements, want one for each of %lld pairs of classes",
                      name, (long long)count, (long long)pairs);
}

static bool read_pairs(Ctx *cx, const Node *n, Classes *c)
{
    int64_t a = qonnx_node_floats(n, "prob_a", &c->a), b = qonnx_node_floats(n, "prob_b", &c->b);
    int64_t classes = c->labels.count;
    if (!ml_count(cx, n, "prob_b", b, a, "prob_a")) return false;
    if (!a) c->a = c->b = NULL;
    c->pairs = size_times(classes, classes - 1) / 2;
    return !c->svm.supports || (check_pairs(cx, n, "rho", c->svm.nrho, c->pairs) &&
                                (!c->a || check_pairs(cx, n, "prob_a", a, c->pairs)));
}

static bool classifier_read(Ctx *cx, const Node *n, Classes *c)
{
    *c = (Classes){.pairs = 0};
    int64_t groups = qonnx_node_ints(n, "vectors_per_class", &c->each), supports = 0;
    if (!ml_labels(cx, n, "classlabels_ints", &c->labels) || !ml_transform(cx, n, &c->last))
        return false;
    int64_t classes = c->labels.count;
    if (classes < 2 || classes > 65535)
        return qonnx_fail(cx, n, "it has %lld labels, want 2 to 65535", (long long)classes);
    for (int64_t i = 0; i < groups; i++) {
        if (c->each[i] < 0)
            return qonnx_fail(cx, n, "vectors_per_class has %lld", (long long)c->each[i]);
        supports = size_plus(supports, c->each[i]);
    }
    if (supports && !ml_count(cx, n, "vectors_per_class", groups, classes, "there are labels"))
        return false;
    return read_svm(cx, n, supports, supports ? classes - 1 : classes, &c->svm) &&
           read_pairs(cx, n, c);
}

/* Scores of a row: of each class, or of pairs, of which one pair counts twice. */
static int64_t score_count(const Classes *c)
{
    int64_t classes = c->labels.count;
    return !c->svm.supports || c->a || classes == 2 ? classes : c->pairs;
}

static bool classifier_shape(Ctx *cx, Node *n)
{
    Classes c;
    return ml_check_rows(cx, n) && classifier_read(cx, n, &c) &&
           ml_classes(cx, n, &c.labels, score_count(&c));
}

/* Without support vectors: a score for each class. */
static void linear_lower(Lower *l, Node *n, const Classes *c)
{
    Buf *scores = nearness(l, n, &c->svm, NULL);
    bool positive = true;
    for (int64_t i = 0; i < c->svm.count; i++) positive &= c->svm.coefficients[i] >= 0;
    labels_p p = {.count = (int32_t)c->labels.count, .size = sizeof(float), .rule = LABELS_BEST};
    if (p.count == 2 && !c->a) p.rule = positive ? LABELS_LIKELY : LABELS_ABOVE;
    ml_lower_labels(l, n, &c->labels, &p, scores, NULL);
    scores_p s = {.count = p.count, .size = p.size, .last = c->last};
    ml_scores(l, n, 1, &s, scores);
}

/* Scores of pairs, and votes for classes. */
static void votes_lower(Lower *l, Node *n, const Classes *c, Buf *out[2])
{
    const Svm *s = &c->svm;
    int32_t classes = (int32_t)c->labels.count;
    svm_votes_p p = {(int32_t)ml_rows(n), s->near.vectors, classes};
    int32_t *first = lower_array(l, (size_t)classes + 1, sizeof *first);
    first[0] = 0;
    for (int32_t i = 0; i < classes; i++) first[i + 1] = first[i] + (int32_t)c->each[i];
    Buf *in[4] = {nearness(l, n, s, NULL), ml_const(l, s->coefficients, s->count),
                  lower_const(l, first, ((size_t)classes + 1) * sizeof *first),
                  ml_const(l, s->rho, c->pairs)};
    out[0] = lower_temp(l, (size_t)(p.rows * c->pairs) * sizeof(float));
    out[1] = lower_temp(l, (size_t)((int64_t)p.rows * classes) * sizeof(float));
    lower_call_n(l, n, "svm_votes", &p, in, 4, out, 2);
}

/* The likelihoods of classes from the scores of pairs. */
static Buf *likelihoods(Lower *l, Node *n, const Classes *c, Buf *pairs)
{
    svm_likely_p p = {(int32_t)ml_rows(n), (int32_t)c->labels.count};
    size_t k = (size_t)p.classes;
    Buf *in[3] = {pairs, ml_const(l, c->a, c->pairs), ml_const(l, c->b, c->pairs)};
    Buf *out[2] = {lower_temp(l, (size_t)p.rows * k * sizeof(float)),
                   lower_temp(l, (2 * k * k + k) * sizeof(float))};
    lower_call_n(l, n, "svm_likely", &p, in, 3, out, 2);
    return out[0];
}

static bool classifier_lower(Lower *l, Node *n)
{
    Classes c;
    Buf *out[2];
    if (!classifier_read(l->cx, n, &c)) return false;
    if (!c.svm.supports) {
        linear_lower(l, n, &c);
        return true;
    }
    votes_lower(l, n, &c, out);
    labels_p p = {.count = (int32_t)c.labels.count, .size = sizeof(float), .rule = LABELS_BEST};
    ml_lower_labels(l, n, &c.labels, &p, out[1], NULL);
    scores_p s = {.count = (int32_t)(c.a ? c.labels.count : c.pairs),
                  .size = sizeof(float),
                  .last = c.last,
                  .single = c.last == SCORES_NONE ? SCORE_OPPOSITE : SCORE_REST};
    ml_scores(l, n, 1, &s, c.a ? likelihoods(l, n, &c, out[0]) : out[0]);
    return true;
}

/* Runtimes give numbers without meaning for the score of one pair and PROBIT. */
static bool classifier_takes(Why *why, const Node *n)
{
    const int64_t *ints;
    const float *a;
    const char *last = qonnx_node_string(n, "post_transform", "NONE");
    if (!strcmp(last, "PROBIT") && qonnx_node_ints(n, "vectors_per_class", &ints) == 2 &&
        !qonnx_node_floats(n, "prob_a", &a))
        return why_not(why, "post_transform PROBIT of one score for two labels");
    return ml_takes(why, n);
}

/* A product for each number of a vector; for pairs, one for each vector and class more. */
static int64_t svm_macs(const Node *n)
{
    const float *floats;
    int64_t each = size_plus(qonnx_node_floats(n, "support_vectors", &floats),
                             qonnx_node_floats(n, "coefficients", &floats));
    return count_work(ml_rows(n), each);
}

/* Likelihoods come to rest after a hundred rounds over all pairs, at the most. */
static int64_t svm_work(const Node *n)
{
    const float *floats;
    int64_t pairs = qonnx_node_floats(n, "prob_a", &floats);
    return count_work(ml_rows(n), size_times(pairs, 1000));
}

const Op ops_ml_svm[] = {
    {"SVMRegressor", 1, 1, regressor_shape, RULE_FLOAT, NULL, regressor_lower, svm_macs,
     .takes = ml_takes, .domain = "ai.onnx.ml"},
    {"SVMClassifier", 1, 1, classifier_shape, RULE_FLOAT, NULL, classifier_lower, svm_macs,
     .takes = classifier_takes, .work = svm_work, .strings = true, .domain = "ai.onnx.ml"},
    {0},
};
