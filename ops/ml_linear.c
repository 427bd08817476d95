/* ops/ml_linear.c - ai.onnx.ml's LinearRegressor and LinearClassifier. */
#include "ops/ml.h"
#include <math.h>
#include <string.h>

/* What a node multiplies rows by. */
typedef struct Linear {
    const float *weights; /* [targets][features] */
    const float *bias;    /* [targets], or NULL */
    int64_t count;        /* of weights */
    int64_t targets;
    int32_t last; /* SCORES_NONE ... */
} Linear;

/* Its weights must be as many as the rows' features, and as often as there are targets. */
static bool read_linear(Ctx *cx, const Node *n, int64_t targets, Linear *w)
{
    *w = (Linear){.targets = targets};
    int64_t bias = qonnx_node_floats(n, "intercepts", &w->bias), features = ml_features(n);
    if (!bias) w->bias = NULL;
    w->count = qonnx_node_floats(n, "coefficients", &w->weights);
    if (targets < 1 || targets > INT32_MAX)
        return qonnx_fail(cx, n, "targets is %lld, want 1 or more", (long long)targets);
    if (!w->count || w->count % targets)
        return qonnx_fail(cx, n, "coefficients has %lld elements, want some for each of %lld rows",
                          (long long)w->count, (long long)targets);
    if (bias && !ml_count(cx, n, "intercepts", bias, targets, "there are targets")) return false;
    if (features >= 0 && features != w->count / targets)
        return qonnx_fail(cx, n, "rows have %lld features, but there are coefficients for %lld",
                          (long long)features, (long long)(w->count / targets));
    return ml_transform(cx, n, &w->last);
}

/* The sums of products, a temporary. */
static Buf *product(Lower *l, const Node *n, const Linear *w)
{
    f_gemm_p p = {(int32_t)ml_rows(n), (int32_t)w->targets, (int32_t)ml_features(n), 1, -INFINITY,
                  INFINITY};
    Buf *in[3] = {ml_input(l, n, false), ml_const(l, w->weights, w->count),
                  w->bias ? ml_const(l, w->bias, w->targets) : NULL};
    Buf *sums = lower_temp(l, (size_t)p.m * (size_t)p.n * sizeof(float));
    lower_call(l, n, "f_gemm", &p, in, 3, sums);
    return sums;
}

/* ---- LinearRegressor ------------------------------------------------------------------------- */

static bool regressor_read(Ctx *cx, const Node *n, Linear *w)
{
    return read_linear(cx, n, qonnx_node_int(n, "targets", 1), w);
}

static bool regressor_shape(Ctx *cx, Node *n)
{
    Linear w;
    return ml_check_rows(cx, n) && regressor_read(cx, n, &w) &&
           ml_out(cx, n, 0, QONNX_FLOAT, w.targets);
}

static bool regressor_lower(Lower *l, Node *n)
{
    Linear w;
    if (!regressor_read(l->cx, n, &w)) return false;
    scores_p p = {.count = (int32_t)w.targets, .size = sizeof(float), .last = w.last};
    ml_scores(l, n, 0, &p, product(l, n, &w));
    return true;
}

/* ---- LinearClassifier ------------------------------------------------------------------------ */

/* Scores are as many as there are intercepts; of one, there are two labels. */
static bool classifier_read(Ctx *cx, const Node *n, Linear *w, Labels *labels)
{
    const float *bias;
    int64_t classes = qonnx_node_floats(n, "intercepts", &bias);
    if (!ml_labels(cx, n, "classlabels_ints", labels)) return false;
    if (!classes) return qonnx_fail(cx, n, "it has no intercepts: there is one for each class");
    if (classes == 1 ? labels->count != 2 : labels->count < classes)
        return qonnx_fail(cx, n, "it has %lld labels for %lld intercepts",
                          (long long)labels->count, (long long)classes);
    return read_linear(cx, n, classes, w);
}

static bool classifier_shape(Ctx *cx, Node *n)
{
    Linear w;
    Labels labels;
    return ml_check_rows(cx, n) && classifier_read(cx, n, &w, &labels) &&
           ml_classes(cx, n, &labels, w.targets == 1 ? 2 : w.targets);
}

static bool classifier_lower(Lower *l, Node *n)
{
    Linear w;
    Labels labels;
    if (!classifier_read(l->cx, n, &w, &labels)) return false;
    Buf *sums = product(l, n, &w);
    labels_p p = {.count = (int32_t)w.targets, .size = sizeof(float), .rule = LABELS_BEST};
    ml_lower_labels(l, n, &labels, &p, sums, NULL);
    scores_p s = {.count = p.count, .size = p.size, .last = w.last, .single = SCORE_REST};
    ml_scores(l, n, 1, &s, sums);
    return true;
}

/* Runtimes give numbers without meaning for a single score and PROBIT. */
static bool classifier_takes(Why *why, const Node *n)
{
    const float *bias;
    const char *last = qonnx_node_string(n, "post_transform", "NONE");
    if (qonnx_node_floats(n, "intercepts", &bias) == 1 && !strcmp(last, "PROBIT"))
        return why_not(why, "post_transform PROBIT of one score for two labels");
    return ml_takes(why, n);
}

/* A product for each coefficient and row. */
static int64_t linear_macs(const Node *n)
{
    const float *weights;
    return count_work(ml_rows(n), qonnx_node_floats(n, "coefficients", &weights));
}

const Op ops_ml_linear[] = {
    {"LinearRegressor", 1, 1, regressor_shape, RULE_FLOAT, NULL, regressor_lower, linear_macs,
     .takes = ml_takes, .domain = "ai.onnx.ml"},
    {"LinearClassifier", 1, 1, classifier_shape, RULE_FLOAT, NULL, classifier_lower, linear_macs,
     .takes = classifier_takes, .strings = true, .domain = "ai.onnx.ml"},
    {0},
};
