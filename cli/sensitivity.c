/* cli/sensitivity.c - see sensitivity.h. */
#include "sensitivity.h"
#include "calibrate.h"
#include "progress.h"
#include "provenance.h"
#include "remembered.h"
#include <qonnx/lint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The text of a pass that keeps a layer in float; owned. */
static char *keep_pass(const char *layer)
{
    char *text = NULL, *quoted = needed(qonnx_pipeline_quote(layer));
    if (asprintf(&text, "override{node=%s,float=true}", quoted) < 0) needed(NULL);
    free(quoted);
    return text;
}

void passes_keep(Passes *p, const char *layer)
{
    char *text = keep_pass(layer);
    passes_insert(p, text);
    free(text);
}

/* ---- candidates ------------------------------------------------------------------------------ */

Passes passes_without_samples(const Passes *p)
{
    Passes cheap = passes_copy(p);
    passes_drop(&cheap, "gptq");
    if (passes_find(&cheap, "match-means") >= 0) passes_insert(&cheap, "correct-bias@match-means");
    passes_drop(&cheap, "match-means");
    return cheap;
}

/* Makes what `run` makes, and takes the bytes of a file that says it was made by `said`. */
static qonnx_graph *make(const Maker *m, const Passes *run, const Passes *said, double *bytes)
{
    const Base base = {m->with->g, m->with->stats, m->with->split};
    qonnx_graph *g = candidate_make(m->judge, &base, m->fit, run);
    if (!g) return NULL;
    provenance_record(g, m->with->args, said, m->with->stats);
    *bytes = (double)qonnx_model_size(g);
    return g;
}

bool maker_try(const Maker *m, const Passes *p, double *db, double *bytes)
{
    qonnx_graph *g = make(m, p, p, bytes);
    const bool good = g && judge_graph(m->judge, g, db);
    qonnx_graph_free(g);
    return good;
}

bool maker_size(const Maker *m, const Passes *p, double *bytes)
{
    Passes cheap = passes_without_samples(p);
    qonnx_graph *g = make(m, &cheap, p, bytes);
    passes_free(&cheap);
    qonnx_graph_free(g);
    return g;
}

/* ---- the layers ------------------------------------------------------------------------------ */

bool wide_in_integers(const Args *args)
{
    const qonnx_target *t = qonnx_target_find(args->target);
    return t->types & (1u << QONNX_UINT16 | 1u << QONNX_INT16);
}

/* Adds 16 bits of a value to the text. */
static void add_wide(const Maker *m, char **text, const qonnx_value *v)
{
    char *more = wide_pass(m->with->args->target, m->with->stats, qonnx_value_name(v)), *both;
    if (asprintf(&both, "%s%s%s", *text, **text ? "," : "", more) < 0) needed(NULL);
    free(more);
    free(*text);
    *text = both;
}

/* What is quantized of what a node gives: where an activation alone reads it, what that gives. */
static const qonnx_value *given(const qonnx_node *n)
{
    const qonnx_value *y = qonnx_node_output(n, 0);
    const qonnx_node *reader = y ? qonnx_value_only_user(y) : NULL;
    const bool joins = reader && qonnx_node_rule(reader).kind == QONNX_RULE_ACTIVATE;
    return joins ? qonnx_node_output(reader, 0) : y;
}

/* The text of passes that give a node's activations 16 bits; owned. */
static char *wide_passes(const Maker *m, const qonnx_node *n)
{
    char *text = needed(strdup(""));
    const uint32_t activations = qonnx_node_rule(n).activations;
    for (int i = 0; i < qonnx_node_inputs(n) && i < 32; i++) {
        const qonnx_value *v = qonnx_node_input(n, i);
        if ((activations >> i & 1) && v && !qonnx_value_constant(v)) add_wide(m, &text, v);
    }
    if (given(n)) add_wide(m, &text, given(n));
    return text;
}

/* Adds a layer that would run in integers. */
static void add_layer(const Maker *m, Sensitivities *out, const qonnx_node *n)
{
    const double macs = fmax((double)qonnx_node_macs(n), 0);
    const char *name = qonnx_node_label(n);
    out->of[out->count++] = (Layered){
        .name = needed(strdup(name)), .passes = keep_pass(name), .macs = macs, .cost = macs};
    if (m->with->args->mixed)
        out->of[out->count++] =
            (Layered){.name = needed(strdup(name)),
                      .passes = wide_passes(m, n),
                      .wide = true,
                      .macs = macs,
                      .cost = wide_in_integers(m->with->args) ? macs / 2 : macs};
}

/* The layers that would run in integers. */
static bool find(const Maker *m, const Passes *p, Sensitivities *out)
{
    const qonnx_pipeline_options o = {.target = m->with->args->target, .stats = m->with->stats};
    int count, calibrate = passes_find(p, "calibrate");
    qonnx_graph *g = qonnx_graph_copy(m->with->g);
    bool good = passes_run(m->cx, g, p, m->with->split, calibrate, &o, NULL);
    const qonnx_finding *f =
        good ? qonnx_graph_lint(g, qonnx_target_find(o.target), NULL, &count) : NULL;
    if (!f) count = 0;
    double all = 0;
    out->of = needed(calloc(2 * (size_t)count + 1, sizeof *out->of));
    for (int i = 0; i < count; i++) {
        if (!f[i].heavy || f[i].fate != QONNX_FATE_INTEGERS) continue;
        all += fmax((double)qonnx_node_macs(f[i].node), 0);
        add_layer(m, out, f[i].node);
    }
    for (int i = 0; i < out->count; i++) {
        out->of[i].macs /= fmax(all, 1);
        out->of[i].cost /= fmax(all, 1);
    }
    qonnx_graph_free(g);
    return good;
}

/* Measures the layers that were found. */
static bool measure(const Maker *m, const Passes *p, Sensitivities *out)
{
    double db, bytes, plain, least;
    Passes cheap = passes_without_samples(p);
    bool good = maker_try(m, &cheap, &plain, &least);
    for (int i = 0; i < out->count && good; i++) {
        Layered *l = &out->of[i];
        Passes with = passes_copy(&cheap);
        passes_insert(&with, l->passes);
        good = maker_try(m, &with, &db, &bytes);
        l->gain = db - plain;
        l->bytes = bytes - least;
        if (good)
            tell("budget: %d of %d: '%s' %s: %+.2f dB, %+.0f bytes", i + 1, out->count, l->name,
                 l->wide ? "at 16 bits" : "in float", l->gain, l->bytes);
        passes_free(&with);
    }
    passes_free(&cheap);
    return good;
}

bool sensitivities_measure(const Maker *m, const Passes *p, Sensitivities *out)
{
    *out = (Sensitivities){.count = 0};
    if (!find(m, p, out)) return false;
    const Remembered r = remembered_of(m, p);
    const bool known = remembered_read(&r, out), good = known || measure(m, p, out);
    if (known && m->with->args->verbose)
        tell("budget: what each layer gains is known from an earlier run, in %s", r.path);
    if (good && !known) remembered_write(&r, out);
    free(r.path);
    return good;
}

void layered_free(Layered *l)
{
    free(l->name);
    free(l->passes);
}

void sensitivities_free(Sensitivities *s)
{
    for (int i = 0; i < s->count; i++) layered_free(&s->of[i]);
    free(s->of);
    *s = (Sensitivities){.count = 0};
}
