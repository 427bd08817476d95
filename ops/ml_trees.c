/* ops/ml_trees.c - forests of decision trees: ai.onnx.ml's TreeEnsembleRegressor, -Classifier and
 * TreeEnsemble.
 */
#include "ir/size.h"
#include "kernels/scores.h"
#include "kernels/trees.h"
#include "ops/ml_forest.h"
#include <string.h>

/* What a node asks of its trees. */
typedef struct Ask {
    int64_t targets;
    int32_t parts; /* TREES_SUM ... */
    int32_t last;  /* SCORES_NONE ... */
    Numbers bases;
    bool classes; /* targets are classes */
} Ask;

static bool is_ensemble(const Node *n) { return !strcmp(n->op, "TreeEnsemble"); }

/* As many base values as targets, or none. */
static bool check_bases(Ctx *cx, const Node *n, const Ask *a)
{
    return !a->bases.count || a->bases.count == a->targets ||
           qonnx_fail(cx, n, "base_values has %lld elements, want %lld, one a target",
                      (long long)a->bases.count, (long long)a->targets);
}

/* An attribute that is a number from 0 to `most`. */
static bool read_code(Ctx *cx, const Node *n, const char *name, int64_t dflt, int32_t most,
                      int32_t *code)
{
    int64_t given = qonnx_node_int(n, name, dflt);
    if (given < 0 || given > most)
        return qonnx_fail(cx, n, "%s is %lld, want 0 to %d", name, (long long)given, most);
    *code = (int32_t)given;
    return true;
}

static bool read_parts(Ctx *cx, const Node *n, int32_t *parts)
{
    static const char *const names[] = {"AVERAGE", "SUM", "MIN", "MAX"}; /* by TREES_... */
    const char *given = qonnx_node_string(n, "aggregate_function", "SUM");
    for (*parts = 0; *parts < 4; ++*parts)
        if (!strcmp(given, names[*parts])) return true;
    return qonnx_fail(cx, n, "aggregate_function is '%.40s', want AVERAGE, SUM, MIN or MAX", given);
}

static bool ask_regressor(Ctx *cx, const Node *n, Ask *a)
{
    *a = (Ask){.targets = qonnx_node_int(n, "n_targets", is_ensemble(n) ? 1 : 0)};
    if (a->targets < 1 || a->targets > INT32_MAX)
        return qonnx_fail(cx, n, "n_targets is %lld, want 1 or more", (long long)a->targets);
    if (is_ensemble(n))
        return read_code(cx, n, "aggregate_function", TREES_SUM, TREES_MAX, &a->parts) &&
               read_code(cx, n, "post_transform", SCORES_NONE, SCORES_PROBIT, &a->last);
    return read_parts(cx, n, &a->parts) && ml_transform(cx, n, &a->last) &&
           ml_numbers(cx, n, "base_values", &a->bases) && check_bases(cx, n, a);
}

static bool ask_classifier(Ctx *cx, const Node *n, Labels *labels, Ask *a)
{
    if (!ml_labels(cx, n, "classlabels_int64s", labels)) return false;
    *a = (Ask){.targets = labels->count, .parts = TREES_SUM, .classes = true};
    if (!labels->count) return qonnx_fail(cx, n, "it has no labels");
    if (labels->strings && labels->count == 1)
        return qonnx_fail(cx, n, "it has one label, which is a string: runtimes want two");
    if (!ml_transform(cx, n, &a->last) || !ml_numbers(cx, n, "base_values", &a->bases))
        return false;
    return (a->targets == 2 && a->bases.count == 1) || check_bases(cx, n, a);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static bool regressor_shape(Ctx *cx, Node *n)
{
    Ask a;
    bool whole = is_ensemble(n);
    return ml_check_rows(cx, n) && ask_regressor(cx, n, &a) &&
           (whole ? forest_check_ensemble(cx, n) : forest_check(cx, n, "target")) &&
           ml_out(cx, n, 0, whole ? in_dtype(n, 0) : QONNX_FLOAT, a.targets);
}

static bool classifier_shape(Ctx *cx, Node *n)
{
    Ask a;
    Labels labels;
    return ml_check_rows(cx, n) && ask_classifier(cx, n, &labels, &a) &&
           forest_check(cx, n, "class") && ml_classes(cx, n, &labels, a.targets);
}

/* Steps of a row, at the most, for each row. */
static int64_t trees_work(const Node *n) { return count_work(ml_rows(n), forest_work(n)); }

/* ---- lowering -------------------------------------------------------------------------------- */

/* Whether sums are doubles: where the input is. */
static bool is_wide(const Node *n) { return in_dtype(n, 0) == QONNX_DOUBLE; }

static int32_t number_size(const Node *n) { return is_wide(n) ? 8 : 4; }

/* The numbers of a forest as the kernel takes them. */
static Buf *numbers_const(Lower *l, const Node *n, const Forest *f)
{
    size_t count = forest_numbers(f);
    if (is_wide(n)) return lower_const(l, f->numbers, count * sizeof(double));
    float *floats = lower_array(l, count + 1, sizeof *floats);
    for (size_t i = 0; i < count; i++) floats[i] = (float)f->numbers[i];
    return lower_const(l, floats, count * sizeof *floats);
}

/* The base values; NULL: there are none. */
static Buf *bases_const(Lower *l, const Numbers *bases)
{
    if (!bases->count) return NULL;
    double *values = lower_array(l, (size_t)bases->count, sizeof *values);
    for (int64_t i = 0; i < bases->count; i++) values[i] = number_at(bases, i);
    return lower_const(l, values, (size_t)bases->count * sizeof *values);
}

/* Emits the walk through the trees: out[0] are the sums, out[1] says which there are. */
static bool walk(Lower *l, Node *n, const Ask *a, Forest *f, Buf *bases, Buf *out[2])
{
    int64_t features = ml_features(n);
    if (f->last_feature >= features)
        return qonnx_fail(l->cx, n, "nodes_featureids has %lld, but rows have %lld features",
                          (long long)f->last_feature, (long long)features);
    trees_p p = {.rows = (int32_t)ml_rows(n),
                 .features = (int32_t)features,
                 .targets = (int32_t)a->targets,
                 .trees = f->trees,
                 .nodes = f->nodes,
                 .leaves = f->leaves,
                 .sets = f->sets,
                 .parts = a->parts,
                 .all = a->targets == 1 || a->classes,
                 .size = number_size(n)};
    size_t count = (size_t)p.rows * (size_t)p.targets;
    Buf *in[4] = {ml_input(l, n, is_wide(n)),
                  lower_const(l, f->ints, forest_ints(f) * sizeof *f->ints), numbers_const(l, n, f),
                  bases};
    out[0] = lower_temp(l, count * (size_t)p.size);
    out[1] = lower_temp(l, count);
    lower_call_n(l, n, "trees", &p, in, 4, out, 2);
    return true;
}

static void lower_scores(Lower *l, Node *n, int i, const Ask *a, Buf *sums)
{
    scores_p p = {.count = (int32_t)a->targets, .size = number_size(n), .last = a->last};
    ml_scores(l, n, i, &p, sums);
}

static bool regressor_lower(Lower *l, Node *n)
{
    Ask a;
    Forest f;
    Buf *out[2];
    if (!ask_regressor(l->cx, n, &a)) return false;
    if (!(is_ensemble(n) ? forest_read_ensemble(l, n, a.targets, &f)
                         : forest_read(l, n, "target", a.targets, &f)) ||
        !walk(l, n, &a, &f, bases_const(l, &a.bases), out))
        return false;
    lower_scores(l, n, 0, &a, out[0]);
    return true;
}

/* Whether all weights are of one class, as tree_pair_p has it. */
static bool one_class(Ctx *cx, const Node *n, int32_t *one)
{
    Numbers weights;
    const int64_t *ids;
    int count = qonnx_node_ints(n, "class_ids", &ids);
    if (!ml_numbers(cx, n, "class_weights", &weights)) return false;
    *one = count > 0;
    for (int i = 0; i < count && *one; i++) {
        if (ids[i] != ids[0]) *one = 0;
        else if (number_at(&weights, i) < 0) *one = 2;
    }
    return true;
}

/* One class, or two: a row has one score or two, by which leaves it comes to. */
static bool lower_pair(Lower *l, Node *n, const Ask *a, const Labels *labels, Buf *sums, Buf *has)
{
    tree_pair_p p = {.rows = (int32_t)ml_rows(n),
                     .count = (int32_t)a->targets,
                     .size = number_size(n),
                     .last = a->last,
                     .bases = (int32_t)a->bases.count};
    if (a->targets == 2 && !one_class(l->cx, n, &p.one)) return false;
    int64_t *four = lower_array(l, 4, sizeof *four);
    for (int i = 0; i < 4; i++)
        four[i] = i > 1 ? i - 2 : i >= a->targets || !labels->ints ? i : labels->ints[i];
    Buf *in[4] = {sums, has, bases_const(l, &a->bases), lower_const(l, four, 4 * sizeof *four)};
    Buf *out[2] = {ml_score_out(l, n, a->targets), ml_label_out(l, n)};
    lower_call_n(l, n, "tree_pair", &p, in, 4, out, 2);
    ml_name_labels(l, n, labels, out[1]);
    return true;
}

static bool classifier_lower(Lower *l, Node *n)
{
    Ask a;
    Labels labels;
    Forest f;
    Buf *out[2];
    if (!ask_classifier(l->cx, n, &labels, &a) || !forest_read(l, n, "class", a.targets, &f))
        return false;
    bool pair = a.targets <= 2;
    if (!walk(l, n, &a, &f, pair ? NULL : bases_const(l, &a.bases), out)) return false;
    if (pair) return lower_pair(l, n, &a, &labels, out[0], out[1]);
    ml_lower_labels(l, n, &labels,
                 &(labels_p){.count = (int32_t)a.targets, .size = number_size(n)}, out[0],
                 a.bases.count ? NULL : out[1]);
    lower_scores(l, n, 1, &a, out[0]);
    return true;
}

/* float16 is float before it runs, but for what is written. */
static bool ensemble_takes(Why *why, const Node *n)
{
    return takes_types(why, n, 0, 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE);
}

const Op ops_ml_trees[] = {
    {"TreeEnsembleRegressor", 1, 1, regressor_shape, RULE_FLOAT, NULL, regressor_lower,
     .takes = ml_takes, .work = trees_work, .domain = "ai.onnx.ml"},
    {"TreeEnsembleClassifier", 1, 1, classifier_shape, RULE_FLOAT, NULL, classifier_lower,
     .takes = ml_takes, .work = trees_work, .strings = true, .domain = "ai.onnx.ml"},
    {"TreeEnsemble", 1, 1, regressor_shape, RULE_FLOAT, NULL, regressor_lower,
     .takes = ensemble_takes, .work = trees_work, .domain = "ai.onnx.ml"},
    {0},
};
