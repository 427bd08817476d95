/* passes/adopt_qdq.c - takes QuantizeLinear and DequantizeLinear out of a model that another tool
 * quantized: values get the ranges that those say, constants become float and keep their integers.
 * insert-qdq then puts such nodes where the target wants them.
 */
#include "adopt.h"
#include "quantizable.h"

/* What the file has. */
typedef struct Found {
    int values;  /* computed values and inputs that are quantized */
    int weights; /* constants that are dequantized */
    int dynamic; /* nodes that quantize by what they see as they run */
} Found;

/* The integers of a value. */
typedef struct Integers {
    qonnx_value *value;   /* the floats */
    qonnx_node **readers; /* the QuantizeLinears that read it */
    Grid *grids;          /* theirs */
    int count;
} Integers;

/* ---- one value ------------------------------------------------------------------------------- */

/* The QuantizeLinears that read the value, as far as they have one scale. */
static bool find_integers(qonnx_ctx *cx, qonnx_graph *g, qonnx_value *v, Integers *q)
{
    int uses = qonnx_value_uses(v), input;
    *q = (Integers){.value = v};
    for (int i = 0; i < uses; i++) {
        qonnx_node *n = qonnx_value_use(v, i, &input);
        bool found = false;
        Grid grid;
        if (!adopt_quantizes(n) || input || !qonnx_node_output(n, 0)) continue;
        if (!adopt_grid(cx, n, &grid, &found)) return false;
        if (!found) continue;
        if (!q->count) {
            q->readers = qonnx_graph_array(g, (size_t)uses, sizeof *q->readers);
            q->grids = qonnx_graph_array(g, (size_t)uses, sizeof *q->grids);
        }
        q->readers[q->count] = n;
        q->grids[q->count++] = grid;
    }
    return true;
}

static bool same_grid(const Grid *a, const Grid *b)
{
    return a->dtype == b->dtype && a->scale == b->scale && a->zero == b->zero;
}

/* The ends of a Clip of integers that stands between both nodes, in floats. */
static void narrow_by_clip(const qonnx_node *clip, const Grid *grid, float *lo, float *hi)
{
    const qonnx_tensor *least = adopt_constant(clip, 1), *most = adopt_constant(clip, 2);
    if (least) *lo = fmaxf(*lo, (float)(qonnx_tensor_get(least, 0) - grid->zero) * grid->scale);
    if (most) *hi = fminf(*hi, (float)(qonnx_tensor_get(most, 0) - grid->zero) * grid->scale);
}

/* A Clip that alone reads the integers and has constant ends, as Brevitas writes them for fewer
 * bits; else NULL. */
static qonnx_node *clip_behind(const qonnx_node *q)
{
    qonnx_node *n = qonnx_value_only_user(qonnx_node_output(q, 0));
    if (!n || !qonnx_node_is(n, "Clip") || qonnx_node_graph(n) != qonnx_node_graph(q) ||
        qonnx_node_input(n, 0) != qonnx_node_output(q, 0) || !qonnx_node_output(n, 0))
        return NULL;
    for (int i = 1; i < 3; i++) {
        const qonnx_tensor *end = adopt_constant(n, i);
        if (qonnx_node_input(n, i) && (!end || qonnx_tensor_elements(end) != 1)) return NULL;
    }
    return n;
}

/* The range that the integers stand for; `*whole`: it is that of their type. */
static void range_of(const qonnx_node *q, const Grid *grid, float *lo, float *hi, bool *whole)
{
    const qonnx_node *clip = clip_behind(q);
    float ends[2];
    adopt_ends(grid, lo, hi);
    ends[0] = *lo;
    ends[1] = *hi;
    if (clip) narrow_by_clip(clip, grid, lo, hi);
    *whole = *lo <= ends[0] && *hi >= ends[1];
}

/* What the operator in front can give at all: what a Relu cuts off needs no integers. */
static void narrow_by_maker(const qonnx_value *v, float step, float *lo, float *hi, bool *whole)
{
    const qonnx_node *n = qonnx_value_producer(v);
    if (!n) return;
    qonnx_rule rule = qonnx_node_rule(n);
    bool fixed = rule.kind == QONNX_RULE_FIXED && *lo > -step && *hi < rule.hi + 2 * step;
    if (fixed) {
        *lo = rule.lo;
        *hi = rule.hi;
    } else if (rule.kind != QONNX_RULE_ACTIVATE ||
               (rule.lo < *lo + step / 2 && rule.hi > *hi - step / 2)) {
        return;
    } else {
        *lo = fmaxf(*lo, rule.lo);
        *hi = fmaxf(fminf(*hi, rule.hi), *lo);
    }
    *whole = false;
}

/* Gives the value the range of its integers, and the grid itself where it has but one. */
static void keep(const Integers *q)
{
    float lo = INFINITY, hi = -INFINITY;
    bool whole = true;
    for (int i = 0; i < q->count; i++) {
        float least, most;
        bool all;
        range_of(q->readers[i], &q->grids[i], &least, &most, &all);
        lo = fminf(lo, least);
        hi = fmaxf(hi, most);
        whole &= all && same_grid(&q->grids[i], &q->grids[0]);
    }
    narrow_by_maker(q->value, q->grids[0].scale, &lo, &hi, &whole);
    qonnx_kept kept = {.dtype = q->grids[0].dtype};
    kept.scales = whole ? q->grids[0].scales : NULL;
    kept.zero_points = whole ? q->grids[0].zeros : NULL;
    kept.always = qonnx_value_uses(q->value) == q->count && !qonnx_value_is_output(q->value);
    qonnx_value_set_range(q->value, lo, hi);
    qonnx_value_keep(q->value, &kept);
}

/* Whether the value has integers already, of an earlier pair, which these do not narrow: then they
 * only round once more. */
static bool are_coarser(const qonnx_value *v, const qonnx_node *q, const Grid *grid)
{
    float lo, hi, least, most;
    bool all;
    range_of(q, grid, &least, &most, &all);
    float step = grid->scale;
    return qonnx_value_range(v, &lo, &hi) && least < lo + step / 2 && most > hi - step / 2;
}

/* Lets the maker of the value give the graph's output `y` in its place. Returns the value that is
 * to be read from now on; NULL: it cannot. */
static qonnx_value *become_output(qonnx_value *v, qonnx_value *y)
{
    qonnx_node *n = qonnx_value_producer(v);
    if (!n || qonnx_value_is_output(v) || qonnx_value_graph(v) != qonnx_value_graph(y)) return NULL;
    float lo, hi;
    int i = 0;
    while (qonnx_node_output(n, i) != v) i++;
    qonnx_node_set_output(n, i, y);
    qonnx_value_replace_uses(v, y);
    if (qonnx_value_range(v, &lo, &hi)) qonnx_value_set_range(y, lo, hi);
    qonnx_value_keep(y, qonnx_value_kept(v));
    return y;
}

/* Lets what reads the DequantizeLinears behind a QuantizeLinear of *v read the value, and takes
 * them out. Adds to *taken how many; *v may become another. */
static bool take_out(qonnx_ctx *cx, qonnx_value **v, qonnx_node *q, const Grid *own, int *taken)
{
    qonnx_node *clip = clip_behind(q);
    qonnx_value *x = qonnx_node_output(clip ? clip : q, 0);
    for (int k = qonnx_value_uses(x); k-- > 0;) {
        qonnx_node *d = qonnx_value_use(x, k, NULL);
        qonnx_value *y = qonnx_node_output(d, 0);
        Grid grid;
        bool found = false;
        if (!adopt_dequantizes(d) || !y) continue;
        if (!adopt_grid(cx, d, &grid, &found)) return false;
        if (!found || !same_grid(&grid, own)) continue;
        if (qonnx_value_is_output(y)) {
            qonnx_value *to = become_output(*v, y);
            if (!to) continue;
            *v = to;
        } else {
            qonnx_value_replace_uses(y, *v);
        }
        qonnx_node_remove(d);
        ++*taken;
    }
    bool gone = !qonnx_value_uses(x) && !qonnx_value_is_output(x);
    if (gone && clip) qonnx_node_remove(clip);
    if (gone) qonnx_node_remove(q);
    return true;
}

/* The same of all that only round the value's integers once more. */
static bool take_coarser(qonnx_ctx *cx, qonnx_value *v)
{
    for (int i = 0, input; i < qonnx_value_uses(v);) {
        qonnx_node *q = qonnx_value_use(v, i, &input);
        qonnx_value *was = v;
        Grid grid;
        bool found = false;
        int taken = 0;
        if (adopt_quantizes(q) && !input && qonnx_node_output(q, 0) &&
            !adopt_grid(cx, q, &grid, &found))
            return false;
        if (found && are_coarser(v, q, &grid) && !take_out(cx, &v, q, &grid, &taken)) return false;
        i = v != was ? 0 : i + !taken;
    }
    return true;
}

/* Takes the integers of a value, and those of what is behind their DequantizeLinears. */
static bool adopt_value(qonnx_ctx *cx, qonnx_graph *g, qonnx_value *v, Found *f)
{
    Integers q;
    int taken = 0;
    if (!v || qonnx_value_dtype(v) != QONNX_FLOAT || qonnx_value_constant(v)) return true;
    if (qonnx_value_kept(v)) return take_coarser(cx, v);
    if (!find_integers(cx, g, v, &q)) return false;
    if (!q.count) return true;
    keep(&q);
    f->values++;
    for (int i = 0; i < q.count; i++)
        if (!take_out(cx, &v, q.readers[i], &q.grids[i], &taken)) return false;
    return take_coarser(cx, v);
}

/* ---- integers that nobody made in the model -------------------------------------------------- */

/* What comes out of a DequantizeLinear whose integers the model is given. */
static bool adopt_given(qonnx_ctx *cx, qonnx_node *d, Found *f)
{
    Grid grid;
    bool found;
    qonnx_value *y = qonnx_node_output(d, 0);
    if (!adopt_dequantizes(d) || !y || !qonnx_node_input(d, 0) || adopt_constant(d, 0)) return true;
    if (!adopt_grid(cx, d, &grid, &found)) return false;
    if (!found || qonnx_value_kept(y)) return true;
    float lo, hi;
    adopt_ends(&grid, &lo, &hi);
    qonnx_value_set_range(y, lo, hi);
    qonnx_value_keep(
        y, &(qonnx_kept){.dtype = grid.dtype, .scales = grid.scales, .zero_points = grid.zeros});
    f->values++;
    return true;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static bool adopt_graph(qonnx_ctx *cx, qonnx_graph *g, qonnx_graph *s, Found *f)
{
    for (int i = 0; i < qonnx_graph_inputs(s); i++)
        if (!adopt_value(cx, g, qonnx_graph_input(s, i), f)) return false;
    for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) {
        f->dynamic += !strncmp(qonnx_node_op(n), "DynamicQuantize", strlen("DynamicQuantize"));
        if (!adopt_given(cx, n, f)) return false;
        for (int i = 0; i < qonnx_node_outputs(n); i++)
            if (!adopt_value(cx, g, qonnx_node_output(n, i), f)) return false;
    }
    return true;
}

/* Gives QuantizeLinear and DequantizeLinear that are left the domain that has their types. */
static void give_domains(qonnx_graph *g)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        if (!adopt_quantizes(n) && !adopt_dequantizes(n)) continue;
        qonnx_value *y = qonnx_node_output(n, 0), *x = qonnx_node_input(n, 0);
        const qonnx_value *integers = adopt_quantizes(n) ? y : x;
        const char *domain = integers ? qdq_domain(g, qonnx_value_dtype(integers)) : "";
        if (!*domain || !x || !y) continue;
        qonnx_value *in[3] = {x, qonnx_node_input(n, 1), qonnx_node_input(n, 2)};
        bool has_axis = qonnx_node_has(n, "axis");
        int64_t axis = qonnx_node_int(n, "axis", 1);
        const char *name = qonnx_node_name(n), *op = qonnx_node_op(n);
        qonnx_node_remove(n);
        n = qonnx_graph_add_node(g, next, op, domain, name, in, in[2] ? 3 : 2, &y, 1);
        if (has_axis) qonnx_node_set_int(n, "axis", axis);
    }
}

/* Says what is missing. */
static bool has_ranges(qonnx_ctx *cx, const Found *f)
{
    if (f->values) return true;
    return qonnx_fail(
        cx, NULL, "adopt-qdq: the model %s; quantize %s with --data",
        f->dynamic   ? "finds the ranges of its activations as it runs (DynamicQuantizeLinear), so "
                       "there are none to take over"
        : f->weights ? "has only weights that are quantized, so there are no ranges of activations "
                       "to take over"
                     : "has no QuantizeLinear and DequantizeLinear to take ranges from",
        f->dynamic || f->weights ? "the float model" : "it");
}

static bool adopt_qdq(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Found f = {0};
    (void)job;
    qonnx_graph_spread_qlinear(g);
    if (!qonnx_graph_refresh(cx, g) || !adopt_integers(cx, g) ||
        !adopt_constants(cx, g, &f.weights))
        return false;
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        if (!adopt_graph(cx, g, s, &f)) return false;
    if (!has_ranges(cx, &f)) return false;
    qonnx_graph_sweep(g);
    if (!qonnx_graph_refresh(cx, g)) return false;
    adopt_ranges(g);
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) give_domains(s);
    return true;
}

const qonnx_pass pass_adopt_qdq = {
    .size = sizeof(qonnx_pass),
    .name = "adopt-qdq",
    .brief = "take ranges and integers over from a model that is quantized already",
    .run = adopt_qdq,
};
