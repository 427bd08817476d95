/* passes/override.c - what a user wants of single values, in place of what the target and the
 * observer have for all: type, scale, range. A value is named itself, or is what a node reads or
 * gives. The words are those of ONNX Runtime's TensorQuantOverrides.
 */
#include "pattern.h"
#include "quantizable.h"

static const qonnx_option options[] = {
    {"value", "", "the value that is meant, by its name"},
    {"node", "",
     "the node whose values are meant, by its name; without one, by the first value that it gives"},
    {"ops", "", "the nodes whose values are meant, by a pattern for their operators"},
    {"all", "", "all values are meant that are activations, or weights"},
    {"role", "output", "which of a node's values: output, input or weight"},
    {"float", "false", "keep the node in float, or all that give and read the value"},
    {"dtype", "", "uint8, int8, uint16 or int16; of a weight int8"},
    {"symmetric", "", "true: the zero point is in the middle of the type"},
    {"reduce-range", "false", "use half of the type's integers"},
    {"per", "", "of a weight: channel: a scale for each; tensor: one"},
    {"method", "",
     "of a weight with one scale: fit: the scale with the least error in what is "
     "computed; absmax: that of the largest element"},
    {"axis", "", "of a weight's channels: checked, for it follows from the operator"},
    {"scale", "",
     "pow2: a power of two; any; or exactly this number, of a weight also one per "
     "channel, with blanks between them"},
    {"zero-point", "", "of the scale, as many"},
    {"rmin", "", "the least value of the range, as many as there are scales"},
    {"rmax", "", "the greatest value of the range"},
    {"observer", "", "chooses the range: NAME or NAME{OPTION=VALUE}"},
    {NULL, NULL, NULL},
};

/* Numbers of an option, in the graph's memory. */
typedef struct Numbers {
    double *at; /* [count] */
    int count;  /* 0: the option is not given */
} Numbers;

typedef struct Wish {
    qonnx_ctx *cx;
    qonnx_graph *g;
    const qonnx_target *target;
    const char *role;     /* which of a node's values */
    bool in_float;        /* nodes stay in float */
    qonnx_dtype dtype;    /* QONNX_UNDEFINED: the target's */
    int symmetric;        /* 1, 0; -1: as the target has it */
    bool reduced;         /* half of the integers */
    int per_channel;      /* 1, 0; -1: not said */
    int pow2;             /* the same */
    int absmax;           /* the same */
    Numbers axis;         /* of a weight's channels */
    Numbers scales;       /* given ones */
    Numbers zeros;        /* their zero points */
    Numbers rmin, rmax;   /* the range */
    const char *observer; /* NULL: not said */
    bool found;           /* a node or value of that name is there */
    int met;              /* values or nodes that something was set of */
} Wish;

/* ---- the options ----------------------------------------------------------------------------- */

static bool read_numbers(Wish *w, const qonnx_job *job, const char *option, Numbers *out)
{
    const char *text = qonnx_job_text(job, option);
    *out = (Numbers){qonnx_graph_array(w->g, strlen(text) / 2 + 1, sizeof(double)), 0};
    for (char *end; text[strspn(text, " ")]; text = end) {
        double x = strtod(text, &end);
        if (end == text || !isfinite(x))
            return qonnx_fail(w->cx, NULL, "option %s is '%s', want finite numbers", option,
                              qonnx_job_text(job, option));
        out->at[out->count++] = x;
    }
    return true;
}

static bool read_dtype(Wish *w, const char *text)
{
    static const qonnx_dtype types[] = {QONNX_UINT8, QONNX_INT8, QONNX_UINT16, QONNX_INT16};
    w->dtype = QONNX_UNDEFINED;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(text, qonnx_dtype_name(types[i]))) w->dtype = types[i];
    return !*text || w->dtype != QONNX_UNDEFINED ||
           qonnx_fail(w->cx, NULL, "option dtype is '%s', want uint8, int8, uint16 or int16", text);
}

/* An option of two words: 1, 0, or -1 where it is left out. */
static bool read_word(Wish *w, const qonnx_job *job, const char *option, const char *yes,
                      const char *no, int *out)
{
    const char *text = qonnx_job_text(job, option);
    *out = !*text ? -1 : !strcmp(text, yes);
    return !*text || !strcmp(text, yes) || !strcmp(text, no) ||
           qonnx_fail(w->cx, NULL, "option %s is '%s', want %s or %s", option, text, yes, no);
}

static bool read_symmetric(Wish *w, const qonnx_job *job)
{
    static const char *const lies[] = {"false", "no", "0", "off"};
    const char *text = qonnx_job_text(job, "symmetric");
    bool yes = qonnx_job_flag(job, "symmetric"), no = false;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) no |= !strcmp(text, lies[i]);
    w->symmetric = yes ? 1 : no ? 0 : -1;
    return yes || no || !*text ||
           qonnx_fail(w->cx, NULL, "option symmetric is '%s', want yes or no", text);
}

/* A kind of scales, or the scales. */
static bool read_scale(Wish *w, const qonnx_job *job)
{
    const char *text = qonnx_job_text(job, "scale");
    w->pow2 = !strcmp(text, "pow2") ? 1 : !strcmp(text, "any") ? 0 : -1;
    return w->pow2 >= 0 || read_numbers(w, job, "scale", &w->scales);
}

/* Whether ranges and scales are as many as one another, and are none that cannot be. */
static bool check_numbers(const Wish *w)
{
    if (w->zeros.count && w->zeros.count != w->scales.count)
        return qonnx_fail(w->cx, NULL,
                          "option zero-point has %d numbers and scale %d, want as many",
                          w->zeros.count, w->scales.count);
    if (w->rmin.count != w->rmax.count)
        return qonnx_fail(w->cx, NULL, "option rmin has %d numbers and rmax %d, want as many",
                          w->rmin.count, w->rmax.count);
    if (w->rmin.count && w->scales.count)
        return qonnx_fail(w->cx, NULL, "give rmin and rmax, or a scale, not both");
    for (int i = 0; i < w->scales.count; i++)
        if (!((float)w->scales.at[i] > 0))
            return qonnx_fail(w->cx, NULL, "option scale has %g, want numbers over 0",
                              w->scales.at[i]);
    for (int i = 0; i < w->rmin.count; i++)
        if (w->rmin.at[i] > w->rmax.at[i])
            return qonnx_fail(w->cx, NULL, "rmin is %g and rmax %g, want them in order",
                              w->rmin.at[i], w->rmax.at[i]);
    return true;
}

static bool read_options(Wish *w, const qonnx_job *job)
{
    const char *observer = qonnx_job_text(job, "observer");
    w->role = qonnx_job_text(job, "role");
    w->in_float = qonnx_job_flag(job, "float");
    w->reduced = qonnx_job_flag(job, "reduce-range");
    w->observer = *observer ? observer : NULL;
    if (strcmp(w->role, "output") && strcmp(w->role, "input") && strcmp(w->role, "weight"))
        return qonnx_fail(w->cx, NULL, "option role is '%s', want output, input or weight",
                          w->role);
    return read_dtype(w, qonnx_job_text(job, "dtype")) && read_symmetric(w, job) &&
           read_word(w, job, "per", "channel", "tensor", &w->per_channel) &&
           read_word(w, job, "method", "absmax", "fit", &w->absmax) &&
           read_numbers(w, job, "axis", &w->axis) && read_scale(w, job) &&
           read_numbers(w, job, "zero-point", &w->zeros) &&
           read_numbers(w, job, "rmin", &w->rmin) && read_numbers(w, job, "rmax", &w->rmax) &&
           check_numbers(w);
}

/* ---- what a value is ------------------------------------------------------------------------- */

/* The node that reads a constant as its weight; NULL: none does. */
static const qonnx_node *weighted(const Wish *w, const qonnx_value *v)
{
    for (int i = 0; qonnx_value_constant(v) && i < qonnx_value_uses(v); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        if (qonnx_target_rule(w->target, n, NULL).weight == input) return n;
    }
    return NULL;
}

/* Whether nobody reads the value but as a bias, whose scale follows from input and weight. */
static bool is_bias(const Wish *w, const qonnx_value *v)
{
    bool bias = qonnx_value_constant(v) && qonnx_value_uses(v) > 0;
    for (int i = 0; i < qonnx_value_uses(v) && bias; i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        bias = qonnx_target_rule(w->target, n, NULL).bias == input;
    }
    return bias;
}

/* ---- what is set ----------------------------------------------------------------------------- */

/* The grid: of what the options leave open as the target has it. */
static qonnx_grid grid_of(const Wish *w, const qonnx_grid *usual)
{
    if (w->dtype == QONNX_UNDEFINED && w->symmetric < 0 && !w->reduced && w->pow2 < 0)
        return (qonnx_grid){0};
    qonnx_dtype dtype = w->dtype == QONNX_UNDEFINED ? usual->dtype : w->dtype;
    bool symmetric = w->symmetric < 0 ? usual->symmetric : w->symmetric == 1;
    qonnx_grid grid = qonnx_grid_of(dtype, symmetric, w->reduced);
    if (w->dtype == QONNX_UNDEFINED && w->symmetric < 0 && !w->reduced) grid = *usual;
    grid.pow2 = w->pow2 > 0 || (w->pow2 < 0 && usual->pow2);
    return grid;
}

/* The grid that the value has now: its own, or the usual one. */
static qonnx_grid used_grid(const qonnx_override *o, const qonnx_grid *usual)
{
    return o->grid.dtype != QONNX_UNDEFINED ? o->grid : *usual;
}

/* Room for scales and zero points on that grid, which the override has from now on. */
static void give_scales(const Wish *w, qonnx_override *o, const qonnx_grid *grid, int count,
                        float **scales, int **zeros)
{
    o->grid = *grid;
    o->scales = *scales = qonnx_graph_array(w->g, (size_t)count, sizeof **scales);
    o->zero_points = *zeros = qonnx_graph_array(w->g, (size_t)count, sizeof **zeros);
    o->count = count;
}

/* Scales that were given, with their zero points; 0: those of a symmetric grid are in its middle.
 */
static bool set_scales(const Wish *w, const qonnx_value *v, const qonnx_grid *usual,
                       qonnx_override *o)
{
    const qonnx_grid grid = used_grid(o, usual);
    float *scales;
    int *zeros;
    give_scales(w, o, &grid, w->scales.count, &scales, &zeros);
    for (int i = 0; i < w->scales.count; i++) {
        double zero = w->zeros.count   ? w->zeros.at[i]
                      : grid.symmetric ? rint(((double)grid.qmin + grid.qmax) / 2)
                                       : 0;
        if (zero != rint(zero) || zero < grid.qmin || zero > grid.qmax)
            return qonnx_fail(w->cx, NULL,
                              "'%s': the zero point is %g, want an integer in [%d, %d]",
                              qonnx_value_name(v), zero, grid.qmin, grid.qmax);
        scales[i] = (float)w->scales.at[i];
        zeros[i] = (int)zero;
    }
    return true;
}

static bool set_activation(const Wish *w, qonnx_value *v, qonnx_override *o)
{
    const char *name = qonnx_value_name(v);
    if (w->per_channel >= 0 || w->absmax >= 0 || w->axis.count || w->scales.count > 1 ||
        w->rmin.count > 1)
        return qonnx_fail(w->cx, NULL, "'%s' is no weight: it has one scale, none per channel",
                          name);
    const float lo = w->rmin.count ? (float)w->rmin.at[0] : 0;
    const qonnx_grid *usual = qonnx_target_grid(w->target, lo);
    const qonnx_grid grid = grid_of(w, usual);
    if (grid.dtype != QONNX_UNDEFINED) o->grid = grid;
    if (w->scales.count && !set_scales(w, v, usual, o)) return false;
    if (w->rmin.count) {
        o->ranged = true;
        o->lo = (float)w->rmin.at[0];
        o->hi = (float)w->rmax.at[0];
    }
    if (w->observer) o->observer = w->observer;
    return true;
}

/* The scales of ranges that were given, one or one per channel. */
static void scale_ranges(const Wish *w, const qonnx_grid *usual, qonnx_override *o)
{
    const qonnx_grid grid = used_grid(o, usual);
    float *scales;
    int *zeros;
    give_scales(w, o, &grid, w->rmin.count, &scales, &zeros);
    for (int i = 0; i < w->rmin.count; i++)
        qonnx_grid_params(&grid, w->rmin.at[i], w->rmax.at[i], &scales[i], &zeros[i]);
}

static bool set_weight(const Wish *w, qonnx_value *v, const qonnx_node *n, qonnx_override *o)
{
    const char *name = qonnx_value_name(v);
    const qonnx_rule rule = qonnx_target_rule(w->target, n, NULL);
    const int64_t channels = quantizable_channels(n, &rule);
    const int rank = qonnx_value_constant(v)->rank;
    if ((w->dtype != QONNX_UNDEFINED && w->dtype != QONNX_INT8) || !w->symmetric)
        return qonnx_fail(w->cx, NULL, "'%s' is a weight: want int8, symmetric", name);
    if (w->observer) return qonnx_fail(w->cx, NULL, "'%s' is a weight: it has no observer", name);
    for (int i = 0; i < w->axis.count; i++)
        if (w->axis.at[i] != rule.weight_axis && w->axis.at[i] + rank != rule.weight_axis)
            return qonnx_fail(w->cx, n, "'%s': axis is %g, but its channels are along axis %d",
                              name, w->axis.at[i], rule.weight_axis);
    const int count = w->scales.count ? w->scales.count : w->rmin.count;
    if (count > 1 && count != channels)
        return qonnx_fail(w->cx, n, "'%s' has %lld channels, %d scales or ranges are given", name,
                          (long long)channels, count);
    const qonnx_grid grid = grid_of(w, &w->target->weight);
    if (grid.dtype != QONNX_UNDEFINED) o->grid = grid;
    if (w->per_channel >= 0 || w->axis.count) o->per_tensor = w->per_channel == 0;
    if (w->absmax >= 0) o->absmax = w->absmax == 1;
    if (w->rmin.count) scale_ranges(w, &w->target->weight, o);
    if (!w->scales.count) return true;
    for (int i = 0; i < w->zeros.count; i++)
        if (w->zeros.at[i] != 0)
            return qonnx_fail(w->cx, n, "'%s' is a weight: its zero point is %g, want 0", name,
                              w->zeros.at[i]);
    return set_scales(w, v, &w->target->weight, o);
}

/* Keeps all in float that gives the value, and that reads it in integers. */
static void keep_around(qonnx_value *v)
{
    if (qonnx_value_producer(v)) qonnx_node_keep_float(qonnx_value_producer(v), true);
    for (int i = 0; i < qonnx_value_uses(v); i++)
        qonnx_node_keep_float(qonnx_value_use(v, i, NULL), true);
}

/* Sets what is wanted of a value; what was wanted of it before stays as far as nothing else is. */
static bool set_value(Wish *w, qonnx_value *v)
{
    const qonnx_override *before = qonnx_value_override(v);
    qonnx_override o = before ? *before : (qonnx_override){0};
    const qonnx_node *n = weighted(w, v);
    w->met++;
    if (is_bias(w, v))
        return qonnx_fail(w->cx, NULL,
                          "'%s' is a bias: its scale is that of the input times that of the weight",
                          qonnx_value_name(v));
    if (w->in_float) keep_around(v);
    if (!(n ? set_weight(w, v, n, &o) : set_activation(w, v, &o))) return false;
    qonnx_value_set_override(v, &o);
    return true;
}

static bool set_node(Wish *w, qonnx_node *n)
{
    const qonnx_rule rule = qonnx_target_rule(w->target, n, NULL);
    if (w->in_float) {
        qonnx_node_keep_float(n, true);
        w->met++;
        return true;
    }
    if (!strcmp(w->role, "output")) {
        for (int i = 0; i < qonnx_node_outputs(n); i++)
            if (qonnx_node_output(n, i) && !set_value(w, qonnx_node_output(n, i))) return false;
        return true;
    }
    bool weight = !strcmp(w->role, "weight");
    for (int i = 0; i < qonnx_node_inputs(n); i++) {
        bool meant = weight ? i == rule.weight && quantizable_weight(n, &rule)
                            : quantizable_activation(n, &rule, i);
        if (meant && !set_value(w, qonnx_node_input(n, i))) return false;
    }
    return true;
}

/* ---- the pass -------------------------------------------------------------------------------- */

/* Sets what is wanted of every node of that name, or whose operator the pattern is. */
static bool set_nodes(Wish *w, const char *name, const regex_t *ops)
{
    for (qonnx_graph *s = w->g; s; s = qonnx_graph_next(s))
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) {
            bool meant = ops ? !regexec(ops, qonnx_node_op(n), 0, NULL, 0)
                             : !strcmp(qonnx_node_label(n), name);
            w->found |= meant;
            if (meant && !set_node(w, n)) return false;
        }
    return true;
}

static bool set_named(Wish *w, const char *name)
{
    for (qonnx_graph *s = w->g; s; s = qonnx_graph_next(s)) {
        qonnx_value *v = qonnx_graph_find(s, name);
        if (v && !set_value(w, v)) return false;
    }
    return true;
}

/* Sets what is wanted of all weights, or of all that is quantized as an activation. */
static bool set_all(Wish *w, const char *which)
{
    const bool weights = !strcmp(which, "weights");
    if (!weights && strcmp(which, "activations"))
        return qonnx_fail(w->cx, NULL, "option all is '%s', want activations or weights", which);
    w->met = 1; /* a model without weights has what is wanted, too */
    for (qonnx_graph *s = w->g; s; s = qonnx_graph_next(s))
        for (int i = 0; i < qonnx_graph_values(s); i++) {
            qonnx_value *v = qonnx_graph_value(s, i);
            bool floats =
                qonnx_value_dtype(v) == QONNX_FLOAT || qonnx_value_dtype(v) == QONNX_UNDEFINED;
            if (floats && !is_bias(w, v) && (weighted(w, v) != NULL) == weights && !set_value(w, v))
                return false;
        }
    return true;
}

static bool override(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Wish w = {.cx = cx, .g = g, .target = qonnx_job_target(job)};
    const char *value = qonnx_job_text(job, "value"), *node = qonnx_job_text(job, "node"),
               *ops = qonnx_job_text(job, "ops"), *all = qonnx_job_text(job, "all");
    regex_t regex;
    if ((*value != 0) + (*node != 0) + (*ops != 0) + (*all != 0) != 1)
        return qonnx_fail(cx, NULL, "give one of value, node, ops and all");
    if (!read_options(&w, job) || (*ops && !pattern_compile(cx, ops, true, &regex))) return false;
    bool good = *value ? set_named(&w, value)
                : *all ? set_all(&w, all)
                       : set_nodes(&w, node, *ops ? &regex : NULL);
    if (*ops) regfree(&regex);
    if (!good || w.met) return good;
    const char *name = *value ? value : *node ? node : ops;
    if (w.found)
        return qonnx_fail(cx, NULL, "'%s' has no %s that is quantized; want role %s", name, w.role,
                          strcmp(w.role, "output") ? "output" : "input");
    return qonnx_fail(cx, NULL,
                      "no %s '%s'; passes may have joined it with another: 'qonnx quantize "
                      "--dump-after fuse-bias-add' shows what there is",
                      *value  ? "value has the name"
                      : *node ? "node has the name"
                              : "node's operator matches",
                      name);
}

const qonnx_pass pass_override = {
    .size = sizeof(qonnx_pass),
    .name = "override",
    .brief = "type, scale, range or observer of single values, as the user wants them",
    .options = options,
    .run = override,
};
