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

void passes_keep(Passes *p, const char *layer)
{
    char *text = NULL, *quoted = needed(qonnx_pipeline_quote(layer));
    if (asprintf(&text, "override{node=%s,float=true}", quoted) < 0) needed(NULL);
    passes_insert(p, text);
    free(text);
    free(quoted);
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
    out->of = needed(calloc((size_t)count + 1, sizeof *out->of));
    for (int i = 0; i < count; i++) {
        const int64_t macs = qonnx_node_macs(f[i].node);
        if (!f[i].heavy || f[i].fate != QONNX_FATE_INTEGERS) continue;
        all += macs > 0 ? (double)macs : 0;
        out->of[out->count++] = (Layered){.name = needed(strdup(qonnx_node_label(f[i].node))),
                                          .macs = macs > 0 ? (double)macs : 0};
    }
    for (int i = 0; i < out->count; i++) out->of[i].macs /= fmax(all, 1);
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
        passes_keep(&with, l->name);
        good = maker_try(m, &with, &db, &bytes);
        l->gain = db - plain;
        l->bytes = bytes - least;
        if (good)
            tell("budget: %d of %d: '%s' in float: %+.2f dB, %+.0f bytes", i + 1, out->count,
                 l->name, l->gain, l->bytes);
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

void sensitivities_free(Sensitivities *s)
{
    for (int i = 0; i < s->count; i++) free(s->of[i].name);
    free(s->of);
    *s = (Sensitivities){.count = 0};
}
