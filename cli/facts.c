/* cli/facts.c - see facts.h. Scales are read off the QuantizeLinear and DequantizeLinear that
 * quantize would write, so that whatever decides them - observer, shared ranges, fixed ones - is in
 * them.
 */
#include "facts.h"
#include "calibrate.h"
#include "layers.h"
#include "nodes.h"
#include "pipeline.h"
#include "placed.h"
#include "progress.h"
#include "statistics.h"
#include "tensor.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the model ------------------------------------------------------------------------------- */

/* What quantize makes of `model` with these options. */
static bool make(qonnx_ctx *cx, const Args *args, Subject *s)
{
    const qonnx_pipeline_options o = {.target = s->target->name, .stats = s->stats};
    Passes p;
    bool good = placed_passes(cx, args, &p);
    s->made = qonnx_graph_copy(s->model);
    good = good && passes_run(cx, s->made, &p, passes_split_at(&p), p.count, &o, NULL);
    passes_free(&p);
    return good;
}

/* A quantized model is looked at as it is; statistics are found by the names of its values. */
static bool take(qonnx_ctx *cx, const Args *args, Subject *s)
{
    const List *files = &args->calibrations;
    qonnx_graph_spread_qlinear(s->model);
    s->made = s->model;
    return qonnx_graph_refresh(cx, s->model) &&
           (!files->count ||
            (s->stats = statistics_read(cx, args, files->text, files->count)) != NULL);
}

bool subject_read(qonnx_ctx *cx, const Args *args, Subject *out)
{
    *out = (Subject){.path = args->operands[0],
                     .target = qonnx_target_find(args->target),
                     .observer = args->observer};
    out->source = shaped_load(cx, args, out->path);
    if (!out->source || !qonnx_graph_inline_functions(cx, out->source)) return false;
    out->quantized = qonnx_graph_quantized(out->source);
    out->model = qonnx_graph_copy(out->source);
    bool good = out->quantized ? take(cx, args, out)
                               : placed_prepare(cx, args, out->model, &out->stats) &&
                                     (!out->stats || make(cx, args, out));
    if (!good) return false;
    out->findings =
        qonnx_graph_lint(out->model, out->target, out->quantized ? NULL : out->stats, &out->count);
    return true;
}

void subject_release(Subject *s)
{
    if (s->made != s->model) qonnx_graph_free(s->made);
    qonnx_graph_free(s->model);
    qonnx_graph_free(s->source);
    qonnx_stats_free(s->stats);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* The node that gives a value of that name. */
static const qonnx_node *maker_of(const qonnx_graph *g, const char *name)
{
    for (; g; g = qonnx_graph_next(g))
        for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n))
            for (int i = 0; i < qonnx_node_outputs(n); i++)
                if (qonnx_node_output(n, i) &&
                    !strcmp(qonnx_value_name(qonnx_node_output(n, i)), name))
                    return n;
    return NULL;
}

/* The i-th node of a model, those of its subgraphs included. */
static const char *word_at(const void *from, int i)
{
    for (const qonnx_graph *g = from; g; g = qonnx_graph_next(g))
        for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n))
            if (*qonnx_node_label(n) && !i--) return qonnx_node_label(n);
    return NULL;
}

const qonnx_node *subject_node(qonnx_ctx *cx, const Subject *s, const char *name)
{
    const qonnx_node *asked = node_called(s->source, name), *n = node_called(s->model, name);
    bool spread =
        n && asked && qonnx_node_is(n, "QuantizeLinear") &&
        !qonnx_node_is(asked, "QuantizeLinear"); /* a QLinear operator's own node is in front */
    if (spread) n = qonnx_value_producer(qonnx_node_input(n, 0));
    if (n) return n;
    if (!asked) asked = maker_of(s->source, name);
    if (!asked) {
        const char *near = nearest_word(name, word_at, s->source);
        qonnx_fail(cx, NULL,
                   near ? "%s: no node is called '%s', nor what one gives; did you mean '%s'?"
                        : "%s: no node is called '%s', nor what one gives; 'qonnx lint -v' "
                          "names all",
                   s->path, name, near);
        return NULL;
    }
    for (int i = 0; !n && i < qonnx_node_outputs(asked); i++)
        if (qonnx_node_output(asked, i))
            n = maker_of(s->model, qonnx_value_name(qonnx_node_output(asked, i)));
    if (!n)
        qonnx_fail(cx, asked,
                   "the passes in front of the calibration take it away: what it gives "
                   "is constant, or part of what another one computes");
    return n;
}

const qonnx_finding *subject_finding(const Subject *s, const qonnx_node *n)
{
    for (int i = 0; i < s->count; i++)
        if (s->findings[i].node == n) return &s->findings[i];
    return NULL;
}

/* ---- ranges ---------------------------------------------------------------------------------- */

/* The least and the greatest integer of the type. */
static void integers_of(qonnx_dtype t, double *least, double *greatest)
{
    bool negative = t == QONNX_INT8 || t == QONNX_INT16 || t == QONNX_INT32 || t == QONNX_INT4 ||
                    t == QONNX_INT2;
    double all = ldexp(1, qonnx_dtype_bits(t));
    *least = negative ? -all / 2 : 0;
    *greatest = *least + all - 1;
}

/* The share of the finite values that lies further outside than half a step; of a bin across the
 * border as much as lies there. */
static double clipped_share(const qonnx_histogram *h, const Laid *l)
{
    double lo = l->lo - l->scale / 2, hi = l->hi + l->scale / 2, out = 0, all = 0;
    for (int i = 0; h && i < h->nbins; i++) {
        double from = fmax(h->bins[i].lo, h->min), to = fmin(h->bins[i].hi, h->max);
        double inside = fmin(to, hi) - fmax(from, lo), count = (double)h->bins[i].count;
        all += count;
        if (inside < 0) out += count;
        else if (to > from) out += count * (1 - inside / (to - from));
    }
    return all > 0 ? out / all : 0;
}

/* The integers that a DequantizeLinear or QuantizeLinear says. */
static Laid laid_by(const qonnx_node *q, const qonnx_histogram *h)
{
    Laid l = {.dtype = QONNX_UNDEFINED};
    const qonnx_value *s = q ? qonnx_node_input(q, 1) : NULL,
                      *z = q ? qonnx_node_input(q, 2) : NULL;
    const qonnx_tensor *scales = s ? qonnx_value_constant(s) : NULL;
    const qonnx_tensor *zeros = z ? qonnx_value_constant(z) : NULL;
    if (!scales || !qonnx_tensor_elements(scales)) return l;
    bool gives = qonnx_node_is(q, "QuantizeLinear");
    const qonnx_value *integers = gives ? qonnx_node_output(q, 0) : qonnx_node_input(q, 0);
    l.dtype = qonnx_value_dtype(integers);
    l.scales = (int)qonnx_tensor_elements(scales);
    l.scale = l.least = element(scales, 0);
    for (int i = 1; i < l.scales; i++) {
        l.scale = fmax(l.scale, element(scales, i));
        l.least = fmin(l.least, element(scales, i));
    }
    bool zero = zeros && !is_real(zeros->dtype) && qonnx_tensor_elements(zeros);
    l.zero_point = zero ? (int)element(zeros, 0) : 0;
    integers_of(l.dtype, &l.lo, &l.hi);
    l.lo = (l.lo - l.zero_point) * l.scale;
    l.hi = (l.hi - l.zero_point) * l.scale;
    l.clipped = clipped_share(h, &l);
    return l;
}

/* The integers that observers choose for: those that the value has, else the target's. */
static qonnx_grid grid_of(const Subject *s, const Fact *f)
{
    const qonnx_grid *grid = qonnx_target_grid(s->target, f->seen->min);
    qonnx_dtype t = f->laid.dtype;
    if (t == QONNX_UNDEFINED || t == grid->dtype) return *grid;
    return qonnx_grid_of(t, (t == QONNX_INT8 || t == QONNX_INT16) && !f->laid.zero_point, false);
}

/* What each observer would choose for the value. */
static void choose(qonnx_ctx *cx, const Subject *s, Fact *f)
{
    const qonnx_grid grid = grid_of(s, f);
    const qonnx_observer *o;
    char *usual = qonnx_pipeline_setting("calibrate", "observer");
    const char *given = s->observer ? s->observer : usual;
    for (int i = 0; (o = qonnx_observer_at(i)) && f->nchoices < MOST_CHOICES; i++) {
        float lo, hi, scale;
        Choice *c = &f->choices[f->nchoices];
        const size_t length = strlen(o->name);
        const bool used = given && !strncmp(given, o->name, length) && strchr("{", given[length]);
        *c = (Choice){
            o->name, usual && !strcmp(usual, o->name), used, {.dtype = grid.dtype, .scales = 1}};
        if (!qonnx_observe_value(cx, used ? given : o->name, f->value, s->stats, f->seen, &grid,
                                 &lo, &hi))
            continue;
        qonnx_grid_params(&grid, lo, hi, &scale, &c->laid.zero_point);
        c->laid.scale = c->laid.least = scale;
        c->laid.lo = (double)scale * (grid.qmin - c->laid.zero_point);
        c->laid.hi = (double)scale * (grid.qmax - c->laid.zero_point);
        c->laid.clipped = clipped_share(f->seen, &c->laid);
        f->nchoices++;
    }
    free(usual);
}

/* ---- channels -------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

Spread spread_of(double *most, int axis, int count)
{
    Spread s = {.axis = axis, .count = count};
    for (int i = 1; i < count; i++) {
        if (most[i] > most[s.widest]) s.widest = i;
        if (most[i] < most[s.narrowest]) s.narrowest = i;
    }
    qsort(most, (size_t)count, sizeof *most, compare_doubles);
    s.smallest = most[0];
    s.median = most[count / 2];
    s.largest = most[count - 1];
    return s;
}

static Spread spread_seen(const qonnx_channels *c)
{
    if (!c || c->count < 1) return (Spread){.count = 0};
    double *most = needed(calloc((size_t)c->count, sizeof *most));
    for (int i = 0; i < c->count; i++) most[i] = fmax(fabs(c->min[i]), fabs(c->max[i]));
    Spread s = spread_of(most, c->axis, c->count);
    free(most);
    return s;
}

double *weight_channels(const qonnx_tensor *w, const qonnx_node *dq, int axis, int *count)
{
    const qonnx_value *v = dq ? qonnx_node_input(dq, 1) : NULL;
    const qonnx_tensor *scales = v && !is_real(w->dtype) ? qonnx_value_constant(v) : NULL;
    int64_t nscales = scales ? qonnx_tensor_elements(scales) : 0;
    if ((!is_real(w->dtype) && !nscales) || axis < 0 || axis >= w->rank || w->dims[axis] < 1)
        return NULL;
    int64_t inner = 1, channels = w->dims[axis];
    for (int i = axis + 1; i < w->rank; i++) inner *= w->dims[i];
    if (nscales > 1 && nscales != channels) return NULL;
    double *most = needed(calloc((size_t)channels, sizeof *most));
    for (int64_t i = 0; i < qonnx_tensor_elements(w); i++) {
        int64_t channel = i / inner % channels;
        double scale = scales ? element(scales, nscales > 1 ? channel : 0) : 1;
        most[channel] = fmax(most[channel], scale * fabs(element(w, i)));
    }
    *count = (int)channels;
    return most;
}

static Spread spread_weight(const qonnx_tensor *w, const qonnx_node *dq, int axis)
{
    int count;
    double *most = weight_channels(w, dq, axis, &count);
    Spread s = most ? spread_of(most, axis, count) : (Spread){.count = 0};
    free(most);
    return s;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* The graph of `made` that stands where a graph of `model` does. */
static qonnx_graph *counterpart(const Subject *s, const qonnx_graph *g)
{
    char *want = qonnx_graph_path(g);
    qonnx_graph *made = s->made, *found = NULL;
    for (; made && !found; made = qonnx_graph_next(made)) {
        char *path = qonnx_graph_path(made);
        if (!strcmp(path, want)) found = made;
        free(path);
    }
    free(want);
    return found;
}

static const qonnx_node *dequantizer(const qonnx_value *v)
{
    return maker_if(v, "DequantizeLinear");
}

/* The value in front of Q and DQ, or the integers in front of the latter alone. */
static const qonnx_value *in_front(qonnx_value *v)
{
    const qonnx_node *dq = dequantizer(v);
    const qonnx_value *front = in_front_of_pair(v);
    return dq && front == v ? qonnx_node_input(dq, 0) : front;
}

/* Looks what was seen of the value under its name, or of an output under the one that it has behind
 * Q and DQ. */
static void look_up(const Subject *s, Fact *f, const char *other)
{
    char *path = s->stats ? qonnx_graph_path(qonnx_value_graph(f->value)) : NULL;
    int at = path ? qonnx_stats_find(s->stats, path, f->name) : -1;
    if (path && at < 0 && other && (at = qonnx_stats_find(s->stats, path, other)) >= 0)
        f->name = other;
    const char *ending = strstr(f->name, "_QuantizeLinear_Output"); /* of integers: QLinear files */
    if (path && at < 0 && ending) {
        char *bare = needed(strndup(f->name, (size_t)(ending - f->name)));
        if ((at = qonnx_stats_find(s->stats, path, bare)) >= 0)
            f->name = qonnx_stats_name(s->stats, at);
        free(bare);
    }
    const qonnx_histogram *h = path ? qonnx_stats_histogram(s->stats, at) : NULL;
    f->seen = h && h->nbins ? h : NULL;
    if (f->seen) f->spread = spread_seen(qonnx_stats_channels(s->stats, at));
    free(path);
}

static Fact fact_of_input(qonnx_ctx *cx, const Subject *s, const qonnx_node *n,
                          const qonnx_node *made, int i)
{
    const qonnx_rule rule = qonnx_node_rule(n);
    const qonnx_value *v = in_front(qonnx_node_input(n, i));
    Fact f = {.place = i, .value = v, .name = qonnx_value_name(v)};
    f.role = i == rule.weight && qonnx_value_constant(v) ? ROLE_WEIGHT
             : i == rule.bias && qonnx_value_constant(v) ? ROLE_BIAS
                                                         : ROLE_INPUT;
    look_up(s, &f, NULL);
    const qonnx_node *dq = made ? dequantizer(qonnx_node_input(made, i)) : NULL;
    Match m;
    qonnx_graph *g = made ? NULL : counterpart(s, qonnx_node_graph(n));
    if (g && layers_find(g, f.name, &m)) dq = m.dq;
    f.laid = laid_by(dq, f.seen);
    if (f.seen) choose(cx, s, &f);
    if (f.role == ROLE_WEIGHT) {
        f.dq = dq;
        f.spread = spread_weight(qonnx_value_constant(v), dq, rule.weight_axis);
    }
    return f;
}

/* What is quantized of a value: where a Relu alone reads it, with which its node runs, what that
 * gives. */
static const qonnx_value *behind(const Subject *s, const qonnx_value *v)
{
    const qonnx_node *n = qonnx_value_only_user(v);
    if (!n || qonnx_node_rule(n).kind != QONNX_RULE_ACTIVATE) return v;
    const qonnx_finding *f = subject_finding(s, n);
    return f && f->fate == QONNX_FATE_FOLLOWS ? qonnx_node_output(n, 0) : v;
}

static Fact fact_of_output(qonnx_ctx *cx, const Subject *s, const qonnx_node *n, int i)
{
    const qonnx_value *v = behind(s, qonnx_node_output(n, i));
    Fact f = {.role = ROLE_OUTPUT, .place = i, .value = v, .name = qonnx_value_name(v)};
    qonnx_graph *g = counterpart(s, qonnx_node_graph(n));
    Match m = {.q = NULL};
    bool found = g && layers_find(g, f.name, &m);
    look_up(s, &f, found ? qonnx_value_name(m.seen) : NULL);
    f.laid = laid_by(m.q, f.seen);
    if (f.seen) choose(cx, s, &f);
    return f;
}

int facts_of(qonnx_ctx *cx, const Subject *s, const qonnx_node *n, Fact **facts)
{
    int count = 0, inputs = qonnx_node_inputs(n), outputs = qonnx_node_outputs(n);
    const qonnx_node *made = s->made ? node_called(s->made, qonnx_node_label(n)) : NULL;
    *facts = needed(calloc((size_t)inputs + (size_t)outputs + 1, sizeof **facts));
    for (int i = 0; i < inputs; i++)
        if (qonnx_node_input(n, i) && is_real(qonnx_value_dtype(qonnx_node_input(n, i))))
            (*facts)[count++] = fact_of_input(cx, s, n, made, i);
    for (int i = 0; i < outputs; i++)
        if (qonnx_node_output(n, i) && is_real(qonnx_value_dtype(qonnx_node_output(n, i))))
            (*facts)[count++] = fact_of_output(cx, s, n, i);
    return count;
}

const char *role_word(Role role)
{
    static const char *const words[] = {"input", "weight", "bias", "output"};
    return words[role];
}
