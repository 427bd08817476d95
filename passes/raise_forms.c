/* passes/raise_forms.c - the adapters of raise-opset: what an older form of an operator becomes. */
#include "raise.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- building blocks ------------------------------------------------------------------------- */

/* A name for something that belongs to a node: "<node or output>_<suffix>", in graph memory. */
static const char *derived_name(const qonnx_node *n, const char *suffix)
{
    const char *base = qonnx_node_name(n);
    const qonnx_value *out = qonnx_node_output(n, 0);
    if (*base == '\0' && out) base = qonnx_value_name(out);
    size_t size = strlen(base) + strlen(suffix) + 2;
    char *name = qonnx_graph_alloc(qonnx_node_graph(n), size);
    snprintf(name, size, "%s_%s", base, suffix);
    return name;
}

/* A new constant [count] for a node. */
static qonnx_value *add_list(qonnx_node *n, const char *suffix, qonnx_dtype dtype,
                             const void *values, int count)
{
    qonnx_tensor t = {.dtype = dtype, .rank = 1, .dims = {count}, .data = values};
    t.bytes = (size_t)count * (size_t)(qonnx_dtype_bits(dtype) / 8);
    return qonnx_graph_add_constant(qonnx_node_graph(n), derived_name(n, suffix), &t);
}

/* Notes that the shapes of a node are not up to date. */
void raise_behind(Raise *r, qonnx_node *n)
{
    if (r->count == r->room) {
        qonnx_node **old = r->behind;
        r->room = r->room ? r->room * 2 : 64;
        r->behind = qonnx_graph_array(qonnx_node_graph(n), (size_t)r->room, sizeof(qonnx_node *));
        if (old) memcpy(r->behind, old, (size_t)r->count * sizeof(qonnx_node *));
    }
    r->behind[r->count++] = n;
}

/* Puts `op`(inputs) in front of `n`, the node in work, and returns its output. */
static qonnx_value *insert_before(Raise *r, qonnx_node *n, const char *op,
                                  qonnx_value *const *inputs, int count, qonnx_node **made)
{
    qonnx_graph *g = qonnx_node_graph(n);
    const char *name = derived_name(n, op);
    qonnx_value *out = qonnx_graph_add_value(g, name);
    *made = qonnx_graph_add_node(g, n, op, "", name, inputs, count, &out, 1);
    r->behind[r->count - 1] = *made;
    raise_behind(r, n);
    return out;
}

/* Turns a list attribute into input `input`; nothing where the attribute is absent. */
static void list_to_input(qonnx_node *n, const char *attr, int input)
{
    const int64_t *values = NULL;
    int count = qonnx_node_ints(n, attr, &values);
    if (!qonnx_node_has(n, attr)) return;
    qonnx_node_set_input(n, input, add_list(n, attr, QONNX_INT64, values, count));
    qonnx_node_remove_attr(n, attr);
}

/* Infers types and shapes again where nodes have been rewritten since, up to the node in work.
 * Those behind it follow when their turn comes. */
static bool update(Raise *r)
{
    if (!r->stale) return true;
    for (int i = 0; i < r->count; i++)
        if (!qonnx_node_infer(r->cx, r->behind[i])) return false;
    r->behind[0] = r->behind[r->count - 1];
    r->count = 1;
    r->stale = false;
    r->inferring = true;
    return true;
}

/* The rank of an input, without which an older form has no meaning. */
static bool known_rank(Raise *r, const qonnx_node *n, int input, int *rank)
{
    const qonnx_value *v = qonnx_node_input(n, input);
    if (v && qonnx_value_rank(v) < 0 && !update(r)) return false;
    *rank = v ? qonnx_value_rank(v) : -1;
    if (*rank >= 0) return true;
    return qonnx_fail(r->cx, n,
                      "the rank of input %d is unknown, which the form of operator set %lld needs; "
                      "export the model with operator set 13 or newer",
                      input, (long long)r->opset);
}

/* A scalar attribute becomes an input of the element type of input 0. */
static bool scalar_to_input(Raise *r, qonnx_node *n, const char *attr, float x, int input)
{
    qonnx_tensor t = {.dtype = QONNX_FLOAT, .data = &x, .bytes = sizeof x};
    qonnx_value *data = qonnx_node_input(n, 0);
    if (data && qonnx_value_dtype(data) == QONNX_UNDEFINED && !update(r)) return false;
    qonnx_dtype dtype = data ? qonnx_value_dtype(data) : QONNX_UNDEFINED;
    if (dtype == QONNX_UNDEFINED)
        return qonnx_fail(r->cx, n,
                          "the element type of input 0 is unknown, so '%s' cannot become an input; "
                          "export the model with operator set 13 or newer",
                          attr);
    qonnx_value *v = qonnx_graph_add_constant(qonnx_node_graph(n), derived_name(n, attr), &t);
    if (dtype != QONNX_FLOAT) {
        qonnx_node *cast;
        v = insert_before(r, n, "Cast", &v, 1, &cast);
        qonnx_node_set_int(cast, "to", dtype);
    }
    qonnx_node_set_input(n, input, v);
    return true;
}

/* Gives an input `count` axes of size 1 behind its `rank` own. */
static void append_axes(Raise *r, qonnx_node *n, int input, int rank, int count)
{
    int64_t axes[QONNX_MAX_RANK];
    for (int i = 0; i < count; i++) axes[i] = rank + i;
    qonnx_value *in[2] = {qonnx_node_input(n, input),
                          add_list(n, "axes", QONNX_INT64, axes, count)};
    qonnx_node *made;
    qonnx_node_set_input(n, input, insert_before(r, n, "Unsqueeze", in, 2, &made));
}

/* ---- adapters -------------------------------------------------------------------------------- */

/* Attributes that said how to run, not what to compute. */
bool raise_legacy(Raise *r, qonnx_node *n)
{
    (void)r;
    qonnx_node_remove_attr(n, "consumed_inputs");
    qonnx_node_remove_attr(n, "is_test");
    qonnx_node_remove_attr(n, "broadcast");
    qonnx_node_remove_attr(n, "output_sequence");
    return true;
}

/* Add, Less, And, ... below 7: the second input is laid from `axis` on, or as a suffix. */
bool raise_broadcast(Raise *r, qonnx_node *n)
{
    bool placed = qonnx_node_int(n, "broadcast", 0) != 0 && qonnx_node_has(n, "axis");
    int64_t axis = qonnx_node_int(n, "axis", 0);
    raise_legacy(r, n);
    qonnx_node_remove_attr(n, "axis");
    if (!placed) return true;

    int left, right;
    if (!known_rank(r, n, 0, &left) || !known_rank(r, n, 1, &right)) return false;
    if (axis < 0) axis += left;
    if (axis < 0 || axis > left - right)
        return qonnx_fail(r->cx, n,
                          "broadcast axis %lld does not fit inputs of rank %d and %d; correct it",
                          (long long)axis, left, right);
    int missing = left - right - (int)axis;
    if (missing > 0 && right > 0) append_axes(r, n, 1, right, missing);
    return true;
}

bool raise_batchnorm(Raise *r, qonnx_node *n)
{
    int rank;
    raise_legacy(r, n);
    if (qonnx_node_int(n, "spatial", 1) == 0) {
        if (!known_rank(r, n, 0, &rank)) return false;
        if (rank != 2)
            return qonnx_fail(r->cx, n,
                              "spatial=0 with an input of rank %d exists only below operator set "
                              "9; export the model with operator set 13 or newer",
                              rank);
    }
    qonnx_node_remove_attr(n, "spatial");
    return true;
}

/* Cast below 6 names the type: "FLOAT", "INT64". */
bool raise_cast(Raise *r, qonnx_node *n)
{
    const char *to = qonnx_node_string(n, "to", "");
    for (int t = QONNX_FLOAT; t <= QONNX_COMPLEX128; t++) {
        if (strcasecmp(to, qonnx_dtype_name((qonnx_dtype)t)) != 0) continue;
        qonnx_node_remove_attr(n, "to");
        qonnx_node_set_int(n, "to", t);
        return true;
    }
    return qonnx_fail(r->cx, n, "'to' is \"%s\", want an element type's name; correct it", to);
}

/* The bounds that 6 has as defaults are those of a missing input. */
bool raise_clip(Raise *r, qonnx_node *n)
{
    float low = qonnx_node_float(n, "min", -FLT_MAX), high = qonnx_node_float(n, "max", FLT_MAX);
    raise_legacy(r, n);
    if (low > -FLT_MAX && !scalar_to_input(r, n, "min", low, 1)) return false;
    if (high < FLT_MAX && !scalar_to_input(r, n, "max", high, 2)) return false;
    qonnx_node_remove_attr(n, "min");
    qonnx_node_remove_attr(n, "max");
    return true;
}

bool raise_concat(Raise *r, qonnx_node *n)
{
    (void)r;
    if (!qonnx_node_has(n, "axis")) qonnx_node_set_int(n, "axis", 1);
    return true;
}

/* Below 12 the ratio is an attribute, which inference ignores; what the mask then is, was open. */
bool raise_dropout(Raise *r, qonnx_node *n)
{
    const qonnx_value *mask = qonnx_node_output(n, 1);
    if (mask && (qonnx_value_uses(mask) > 0 || qonnx_value_is_output(mask)))
        return qonnx_fail(r->cx, n,
                          "the mask of a Dropout below operator set 12 is used; "
                          "export the model for inference");
    qonnx_node_remove_attr(n, "ratio");
    return raise_legacy(r, n);
}

/* LpPool and GlobalLpPool below 2 have a float `p`. */
bool raise_lp(Raise *r, qonnx_node *n)
{
    float p = qonnx_node_float(n, "p", 2.0f);
    if (!(p >= 1 && p <= 1024 && p == floorf(p)))
        return qonnx_fail(r->cx, n, "p is %g, want a positive integer; change the model",
                          (double)p);
    if (qonnx_node_is(n, "LpPool") && !qonnx_node_has(n, "kernel_shape"))
        return qonnx_fail(r->cx, n, "kernel_shape is missing; add it");
    qonnx_node_remove_attr(n, "p");
    qonnx_node_set_int(n, "p", (int64_t)p);
    return true;
}

/* Below 7 a slope a channel is [C]; from 7 on it broadcasts from the right. */
bool raise_prelu(Raise *r, qonnx_node *n)
{
    int rank, slope;
    raise_legacy(r, n);
    if (!known_rank(r, n, 0, &rank) || !known_rank(r, n, 1, &slope)) return false;
    bool shared = slope != 1 || qonnx_value_dim(qonnx_node_input(n, 1), 0) == 1;
    if (!shared && rank > 2) append_axes(r, n, 1, slope, rank - 2);
    return true;
}

bool raise_pad(Raise *r, qonnx_node *n)
{
    const char *attr = r->opset < 2 ? "paddings" : "pads";
    float x = qonnx_node_float(n, "value", 0);
    if (!qonnx_node_has(n, attr)) return qonnx_fail(r->cx, n, "'%s' is missing; add it", attr);
    list_to_input(n, attr, 1);
    if (x != 0 && !scalar_to_input(r, n, "value", x, 2)) return false;
    qonnx_node_remove_attr(n, "value");
    return true;
}

bool raise_axes(Raise *r, qonnx_node *n)
{
    (void)r;
    list_to_input(n, "axes", 1);
    return true;
}

bool raise_reshape(Raise *r, qonnx_node *n)
{
    if (!qonnx_node_has(n, "shape")) return qonnx_fail(r->cx, n, "'shape' is missing; add it");
    list_to_input(n, "shape", 1);
    return raise_legacy(r, n);
}

/* The rounding of Resize-10 to the nearest element: down when it enlarges, up when it shrinks. */
static bool nearest_mode(Raise *r, const qonnx_node *n, const char **mode)
{
    const qonnx_value *v = qonnx_node_input(n, 2);
    const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
    bool grows = false, shrinks = false;
    if (!t) qonnx_warn(r->cx, n, "scales are not constant; they are taken to enlarge");
    for (int64_t i = 0; t && i < qonnx_tensor_elements(t); i++) {
        grows |= qonnx_tensor_get(t, i) > 1;
        shrinks |= qonnx_tensor_get(t, i) < 1;
    }
    if (grows && shrinks)
        return qonnx_fail(r->cx, n,
                          "it enlarges one axis and shrinks another, which operator set %lld "
                          "rounds in two ways; export the model with operator set 13 or newer",
                          (long long)r->opset);
    *mode = shrinks ? "ceil" : "floor";
    return true;
}

/* Resize-10 has X, scales; Resize-11 marks inputs that are left out by empty tensors. */
bool raise_resize(Raise *r, qonnx_node *n)
{
    if (r->opset <= 10) {
        const char *mode = "floor";
        qonnx_node_set_input(n, 2, qonnx_node_input(n, 1));
        qonnx_node_set_input(n, 1, NULL);
        qonnx_node_set_string(n, "coordinate_transformation_mode", "asymmetric");
        if (strcmp(qonnx_node_string(n, "mode", "nearest"), "nearest") != 0) return true;
        if (!nearest_mode(r, n, &mode)) return false;
        qonnx_node_set_string(n, "nearest_mode", mode);
        return true;
    }
    for (int i = 1; i < qonnx_node_inputs(n); i++) {
        const qonnx_value *v = qonnx_node_input(n, i);
        const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
        if (t && qonnx_tensor_elements(t) == 0) qonnx_node_set_input(n, i, NULL);
    }
    return true;
}

/* Upsample, which 10 removed, is a Resize with the coordinates x / scale, rounded down. */
bool raise_upsample(Raise *r, qonnx_node *n)
{
    const char *mode = qonnx_node_string(n, "mode", "nearest");
    qonnx_value *scales = qonnx_node_input(n, 1);
    if (r->opset < 9) {
        float old[4] = {1, 1, qonnx_node_float(n, "height_scale", 0),
                        qonnx_node_float(n, "width_scale", 0)};
        const float *values = old;
        int count = r->opset < 7 ? 4 : qonnx_node_floats(n, "scales", &values);
        if (count > 0) scales = add_list(n, "scales", QONNX_FLOAT, values, count);
        qonnx_node_remove_attr(n, "height_scale");
        qonnx_node_remove_attr(n, "width_scale");
        qonnx_node_remove_attr(n, "scales");
    }
    if (!scales) return qonnx_fail(r->cx, n, "'scales' is missing; add it");
    qonnx_node_set_op(n, "Resize");
    qonnx_node_set_input(n, 1, NULL);
    qonnx_node_set_input(n, 2, scales);
    qonnx_node_set_string(n, "coordinate_transformation_mode", "asymmetric");
    if (strcmp(mode, "bilinear") == 0) qonnx_node_set_string(n, "mode", "linear");
    if (strcmp(mode, "nearest") == 0) qonnx_node_set_string(n, "nearest_mode", "floor");
    return true;
}

bool raise_scatter(Raise *r, qonnx_node *n)
{
    (void)r;
    qonnx_node_set_op(n, "ScatterElements");
    return true;
}

/* Selu's defaults had fewer digits below 6. */
bool raise_selu(Raise *r, qonnx_node *n)
{
    if (!qonnx_node_has(n, "alpha")) qonnx_node_set_float(n, "alpha", 1.6732f);
    if (!qonnx_node_has(n, "gamma")) qonnx_node_set_float(n, "gamma", 1.0507f);
    return raise_legacy(r, n);
}

bool raise_slice(Raise *r, qonnx_node *n)
{
    if (!qonnx_node_has(n, "starts") || !qonnx_node_has(n, "ends"))
        return qonnx_fail(r->cx, n, "'starts' or 'ends' is missing; add it");
    list_to_input(n, "starts", 1);
    list_to_input(n, "ends", 2);
    list_to_input(n, "axes", 3);
    return true;
}

/* Axes that Softmax-13 may take instead of the 2-D view from `axis` on: the only one there that is
 * not known to be 1. -1 when there are several. */
static int64_t only_axis(const qonnx_value *x, int64_t axis, int rank)
{
    int64_t found = rank - 1;
    int wide = 0;
    for (int i = (int)axis; i < rank; i++) {
        if (qonnx_value_dim(x, i) == 1) continue;
        found = i;
        wide++;
    }
    return wide <= 1 && axis < rank ? found : -1;
}

/* Softmax, LogSoftmax, Hardmax below 13 view their input as 2-D, split at `axis`. */
bool raise_softmax(Raise *r, qonnx_node *n)
{
    qonnx_value *x = qonnx_node_input(n, 0), *y = qonnx_node_output(n, 0);
    int64_t axis = qonnx_node_int(n, "axis", 1);
    if (!x || !y) return qonnx_fail(r->cx, n, "its input or output is missing; add it");
    if (qonnx_value_rank(x) < 0 && !update(r)) return false;
    int rank = qonnx_value_rank(x);
    if (rank >= 0) {
        int64_t from = axis < 0 ? axis + rank : axis;
        if (from < 0 || from > rank)
            return qonnx_fail(r->cx, n, "axis is %lld, the input's rank is %d; correct it",
                              (long long)axis, rank);
        qonnx_node_set_int(n, "axis", only_axis(x, from, rank));
        if (only_axis(x, from, rank) >= 0) return true;
    }

    qonnx_graph *g = qonnx_node_graph(n);
    qonnx_node *flatten, *shape;
    qonnx_value *back[2];
    qonnx_node_set_input(n, 0, insert_before(r, n, "Flatten", &x, 1, &flatten));
    qonnx_node_set_int(flatten, "axis", axis);
    qonnx_node_set_int(n, "axis", -1);
    back[1] = insert_before(r, n, "Shape", &x, 1, &shape);
    back[0] = qonnx_graph_add_value(g, derived_name(n, "2d"));
    qonnx_node_set_output(n, 0, back[0]);
    raise_behind(r, qonnx_graph_add_node(g, qonnx_node_next(n), "Reshape", "",
                                       derived_name(n, "Reshape"), back, 2, &y, 1));
    return true;
}

/* Split-1 may have the lengths as an input of the data's type, Split-2 has them as an attribute. */
bool raise_split(Raise *r, qonnx_node *n)
{
    if (r->opset < 2 && !qonnx_node_has(n, "axis"))
        return qonnx_fail(r->cx, n, "'axis' is missing, and operator set 1 has no default; add it");
    qonnx_value *lengths = qonnx_node_input(n, 1);
    if (r->opset < 2 && lengths) {
        qonnx_node *cast;
        qonnx_node_set_input(n, 1, insert_before(r, n, "Cast", &lengths, 1, &cast));
        qonnx_node_set_int(cast, "to", QONNX_INT64);
    }
    list_to_input(n, "split", 1);
    return true;
}

/* Tile-1 repeats one axis: inputs X, tiles, axis, both scalars. */
bool raise_tile(Raise *r, qonnx_node *n)
{
    int rank;
    double number[2];
    if (!known_rank(r, n, 0, &rank)) return false;
    for (int i = 0; i < 2; i++) {
        const qonnx_value *v = qonnx_node_input(n, i + 1);
        const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
        if (!t || qonnx_tensor_elements(t) != 1)
            return qonnx_fail(r->cx, n,
                              "tiles and axis are not constant scalars; "
                              "export the model with operator set 13 or newer");
        number[i] = qonnx_tensor_get(t, 0);
    }
    if (!(number[0] >= 0 && number[0] <= INT32_MAX && number[1] >= 0 && number[1] < rank))
        return qonnx_fail(r->cx, n, "it repeats axis %g %g times, the rank is %d; correct it",
                          number[1], number[0], rank);
    int64_t repeats[QONNX_MAX_RANK];
    for (int i = 0; i < rank; i++) repeats[i] = i == (int)number[1] ? (int64_t)number[0] : 1;

    qonnx_node_set_input(n, 1, add_list(n, "repeats", QONNX_INT64, repeats, rank));
    qonnx_node_set_input(n, 2, NULL);
    return true;
}

bool raise_topk(Raise *r, qonnx_node *n)
{
    int64_t k = qonnx_node_int(n, "k", -1);
    if (k < 0) return qonnx_fail(r->cx, n, "'k' is missing or negative; correct it");
    qonnx_node_set_input(n, 1, add_list(n, "k", QONNX_INT64, &k, 1));
    qonnx_node_remove_attr(n, "k");
    return true;
}

/* Puts `op`(output i, axis) behind the node in work. */
static void insert_behind(Raise *r, qonnx_node *n, int i, const char *op, qonnx_value *axis)
{
    qonnx_graph *g = qonnx_node_graph(n);
    const char *name = derived_name(n, op);
    qonnx_value *y = qonnx_node_output(n, i);
    if (!y) return;
    qonnx_value *in[2] = {qonnx_graph_add_value(g, name), axis};
    qonnx_node_set_output(n, i, in[0]);
    raise_behind(r, qonnx_graph_add_node(g, qonnx_node_next(n), op, "", name, in, 2, &y, 1));
}

/* Scan-8 does the samples of a batch, axis 0 of all that it reads and gives, one by one. A batch of
 * one is no batch. */
bool raise_scan(Raise *r, qonnx_node *n)
{
    const int64_t zero = 0, *reversed;
    int rank = 0, count = qonnx_node_ints(n, "directions", &reversed);
    if (qonnx_node_input(n, 0))
        return qonnx_fail(r->cx, n,
                          "it has sequence_lens, which Scan has no more; "
                          "export the model with operator set 9 or newer");
    for (int i = 1; i < qonnx_node_inputs(n); i++) {
        const qonnx_value *v = qonnx_node_input(n, i);
        if (!v || !known_rank(r, n, i, &rank)) return v != NULL;
        if (rank > 0 && qonnx_value_dim(v, 0) > 1)
            return qonnx_fail(r->cx, n,
                              "a batch of %lld, which Scan has no more; export the model with "
                              "operator set 9 or newer, or with a batch of 1",
                              (long long)qonnx_value_dim(v, 0));
    }
    qonnx_value *axis = add_list(n, "axes", QONNX_INT64, &zero, 1);
    for (int i = 1; i < qonnx_node_inputs(n); i++) {
        qonnx_value *in[2] = {qonnx_node_input(n, i), axis};
        qonnx_node *made;
        qonnx_node_set_input(n, i - 1, insert_before(r, n, "Squeeze", in, 2, &made));
    }
    qonnx_node_set_input(n, qonnx_node_inputs(n) - 1, NULL);
    for (int i = 0; i < qonnx_node_outputs(n); i++) insert_behind(r, n, i, "Unsqueeze", axis);
    if (count) qonnx_node_set_ints(n, "scan_input_directions", reversed, count);
    qonnx_node_remove_attr(n, "directions");
    return true;
}
