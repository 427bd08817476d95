/* ops/ml_values.c - ai.onnx.ml's operators that prepare features: Scaler, Normalizer, Imputer,
 * Binarizer, FeatureVectorizer, and ZipMap behind it.
 */
#include "ir/size.h"
#include "kernels/f_lpnorm.h"
#include "kernels/tabular.h"
#include "ops/ml.h"
#include <math.h>
#include <string.h>

/* ---- Scaler ---------------------------------------------------------------------------------- */

/* One number for all features, or as many as there are. */
static bool check_each(Ctx *cx, const Node *n, const char *name, int64_t count)
{
    int64_t features = ml_features(n);
    if (count == 1 || (count > 0 && sizes_agree(features, count))) return true;
    return features < 0 ? qonnx_fail(cx, n, "%s is empty", name)
                        : qonnx_fail(cx, n, "%s has %lld elements, want 1 or %lld, one a feature",
                                     name, (long long)count, (long long)features);
}

static bool scaler_shape(Ctx *cx, Node *n)
{
    const float *floats;
    int64_t count = qonnx_node_floats(n, "scale", &floats);
    return ml_check_rows(cx, n) && check_each(cx, n, "scale", count) &&
           ml_count(cx, n, "offset", qonnx_node_floats(n, "offset", &floats), count, "scale") &&
           out_shape(cx, n, 0, QONNX_FLOAT, in_shape(n, 0));
}

static bool scaler_lower(Lower *l, Node *n)
{
    const float *offset, *scale;
    rescale_p p = {(int32_t)ml_elements(n), qonnx_node_floats(n, "scale", &scale),
                   (int32_t)in_dtype(n, 0)};
    qonnx_node_floats(n, "offset", &offset);
    Buf *in[3] = {lower_in(l, n, 0, PLAIN), ml_const(l, offset, p.features),
                  ml_const(l, scale, p.features)};
    lower_call(l, n, "rescale", &p, in, 3, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- Normalizer ------------------------------------------------------------------------------ */

/* By the greatest element, or the norm of that order; -1: there is no such norm. */
static int norm_order(const Node *n)
{
    static const char *const names[] = {"MAX", "L1", "L2"};
    const char *given = qonnx_node_string(n, "norm", "MAX");
    for (int i = 0; i < 3; i++)
        if (!strcmp(given, names[i])) return i;
    return -1;
}

static bool normalizer_shape(Ctx *cx, Node *n)
{
    if (norm_order(n) < 0)
        return qonnx_fail(cx, n, "norm is '%.40s', want MAX, L1 or L2",
                          qonnx_node_string(n, "norm", ""));
    return ml_check_rows(cx, n) && out_shape(cx, n, 0, QONNX_FLOAT, in_shape(n, 0));
}

static bool normalizer_lower(Lower *l, Node *n)
{
    int32_t rows = (int32_t)ml_rows(n), count = (int32_t)ml_features(n);
    int order = norm_order(n);
    Buf *x = ml_input(l, n, false), *y = lower_out(l, n->out[0], PLAIN);
    f_lpnorm_p p = {rows, count, 1, order};
    if (order) lower_call(l, n, "f_lpnorm", &p, &x, 1, y);
    else lower_call(l, n, "f_maxnorm", &(f_maxnorm_p){rows, count}, &x, 1, y);
    return true;
}

/* ---- Imputer --------------------------------------------------------------------------------- */

static bool is_float(const Node *n) { return has_type(FLOATS, in_dtype(n, 0)); }

/* How many values there are. */
static int imputed(const Node *n)
{
    const float *floats;
    const int64_t *ints;
    return is_float(n) ? qonnx_node_floats(n, "imputed_value_floats", &floats)
                       : qonnx_node_ints(n, "imputed_value_int64s", &ints);
}

static bool imputer_shape(Ctx *cx, Node *n)
{
    const char *name = is_float(n) ? "imputed_value_floats" : "imputed_value_int64s";
    return ml_check_rows(cx, n) && (!in_dtype(n, 0) || check_each(cx, n, name, imputed(n))) &&
           same_shape(cx, n);
}

static bool imputer_lower(Lower *l, Node *n)
{
    const float *floats = NULL;
    const int64_t *ints = NULL;
    DType t = in_dtype(n, 0);
    int size = dtype_size(t);
    impute_p p = {(int32_t)ml_elements(n), imputed(n), (int32_t)t, size};
    char *values = lower_array(l, (size_t)p.features, (size_t)size);
    qonnx_node_floats(n, "imputed_value_floats", &floats);
    qonnx_node_ints(n, "imputed_value_int64s", &ints);
    double v[F_CHUNK] = {(double)qonnx_node_float(n, "replaced_value_float", 0)};
    uint64_t u[F_CHUNK] = {(uint64_t)qonnx_node_int(n, "replaced_value_int64", 0)};
    char *gone = lower_alloc(l, sizeof(double));
    if (is_float(n)) arith_store_reals(v, p.type, gone, 0, 1);
    else arith_store_integers(u, p.type, gone, 0, 1);
    for (int32_t i = 0; i < p.features; i++) {
        if (is_float(n)) v[0] = (double)floats[i], arith_store_reals(v, p.type, values, i, 1);
        else u[0] = (uint64_t)ints[i], arith_store_integers(u, p.type, values, i, 1);
    }
    Buf *in[3] = {lower_in(l, n, 0, PLAIN), lower_const(l, gone, (size_t)size),
                  lower_const(l, values, (size_t)p.features * (size_t)size)};
    lower_call(l, n, "impute", &p, in, 3, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- Binarizer ------------------------------------------------------------------------------- */

static bool binarizer_lower(Lower *l, Node *n)
{
    DType t = in_dtype(n, 0);
    double least = (double)qonnx_node_float(n, "threshold", 0);
    if (!is_float(n)) least = floor(least); /* the same integers are above it */
    Buf *above = arithmetic(l, n, F_GREATER, t, ml_elements(n), lower_in(l, n, 0, PLAIN),
                            lower_number(l, t, least));
    lower_view(l, n->out[0], lower_cast(l, n, QONNX_BOOL, t, ml_elements(n), above), PLAIN);
    return true;
}

/* ---- FeatureVectorizer ----------------------------------------------------------------------- */

/* Features of input i: all that a row has. */
static int64_t row_size(const Shape *s) { return shape_product(s, s->rank > 1, s->rank); }

static bool vectorizer_shape(Ctx *cx, Node *n)
{
    const int64_t *sizes;
    int count = qonnx_node_ints(n, "inputdimensions", &sizes);
    int64_t sum = 0, rows = -1;
    const char *sym = NULL;
    if (!ml_count(cx, n, "inputdimensions", count, n->nin, "there are inputs")) return false;
    for (int i = 0; i < n->nin; i++) {
        const Shape *s = in_shape(n, i);
        sum = size_plus(sum, sizes[i]);
        if (sizes[i] < 0 || sum > INT32_MAX)
            return qonnx_fail(cx, n, "inputdimensions has %lld", (long long)sizes[i]);
        if (!qonnx_node_input(n, i)) return qonnx_fail(cx, n, "input %d is left out", i);
        if (!s) continue;
        int64_t own = s->rank > 1 ? s->dim[0] : 1;
        if (!s->rank) return qonnx_fail(cx, n, "input %d is a scalar, want rows", i);
        if (!sizes_agree(own, rows))
            return qonnx_fail(cx, n, "input %d has %lld rows, want %lld", i, (long long)own,
                              (long long)rows);
        if (own >= 0) rows = own;
        else sym = s->sym[0];
    }
    Shape y = {.rank = 2, .dim = {rows, sum}, .sym = {rows < 0 ? sym : NULL}};
    return out_shape(cx, n, 0, QONNX_FLOAT, &y);
}

static bool vectorizer_lower(Lower *l, Node *n)
{
    static const float nothing;
    const int64_t *sizes;
    const Shape *y = &n->out[0]->shape;
    Buf *out = lower_out(l, n->out[0], PLAIN), *zero = lower_const(l, &nothing, sizeof nothing);
    int64_t at = 0;
    qonnx_node_ints(n, "inputdimensions", &sizes);
    for (int i = 0; i < n->nin; at += sizes[i++]) {
        const Shape *s = in_shape(n, i);
        int64_t own = row_size(s), taken = own < sizes[i] ? own : sizes[i];
        int64_t dims[2] = {y->dim[0], taken}, rest[2] = {y->dim[0], sizes[i] - taken};
        Buf *x = lower_cast(l, n, in_dtype(n, i), QONNX_FLOAT, shape_elements(s),
                            lower_in(l, n, i, PLAIN));
        int64_t from[2] = {own, 1}, to[2] = {y->dim[1], 1}, same[2] = {0, 0};
        if (taken) lower_copy(l, n, 2, dims, x, from, 0, out, to, at, sizeof(float));
        if (rest[1]) lower_copy(l, n, 2, rest, zero, same, 0, out, to, at + taken, sizeof(float));
    }
    return true;
}

static bool vectorizer_takes(Why *why, const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (!takes_types(why, n, i, NUMBERS)) return false;
    return true;
}

/* ---- ZipMap ---------------------------------------------------------------------------------- */

/* What it would put into maps, as it comes: a row for each, a column for each label. So it is the
 * output of a model, which is what exporters have it for. */
static bool zipmap_lower(Lower *l, Node *n)
{
    lower_view(l, n->out[0], lower_in(l, n, 0, PLAIN), PLAIN);
    return true;
}

static bool zipmap_takes(Why *why, const Node *n)
{
    const Value *v = qonnx_node_output(n, 0);
    if (v && v->nuse) return why_not(why, "another node reads its maps");
    return takes_float_data(why, n);
}

const Op ops_ml_values[] = {
    {"ZipMap", 1, 1, same_shape, RULE_FLOAT, NULL, zipmap_lower, .takes = zipmap_takes,
     .domain = "ai.onnx.ml"},
    {"Scaler", 1, 1, scaler_shape, RULE_FLOAT, NULL, scaler_lower, .takes = ml_takes,
     .work = single_work, .domain = "ai.onnx.ml"},
    {"Normalizer", 1, 1, normalizer_shape, RULE_FLOAT, NULL, normalizer_lower, .takes = ml_takes,
     .domain = "ai.onnx.ml"},
    {"Imputer", 1, 1, imputer_shape, RULE_FLOAT, NULL, imputer_lower, .takes = ml_takes,
     .domain = "ai.onnx.ml"},
    {"Binarizer", 1, 1, same_shape, RULE_FLOAT, NULL, binarizer_lower, .takes = ml_takes,
     .domain = "ai.onnx.ml"},
    {"FeatureVectorizer", 1, -1, vectorizer_shape, RULE_FLOAT, NULL, vectorizer_lower,
     .takes = vectorizer_takes, .domain = "ai.onnx.ml"},
    {0},
};
