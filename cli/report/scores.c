/* cli/report/scores.c - the two models as wholes: accuracy, likeness, costs, times. The float
 * model's outputs wait in a temporary file, so memory does not grow with the data.
 */
#include "cli/calibrate.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "report.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

/* A model being run. */
typedef struct Scorer {
    Report *report;
    Side *side;
    Reference *reference;
    bool first;
    bool failed; /* a message has been printed */
} Scorer;

static bool on_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    Scorer *s = user;
    Comparison *all = &s->report->all;
    for (int i = 0; i < all->outputs; i++) {
        qonnx_tensor ref;
        if (!(s->first ? reference_write(s->reference, &outputs[i])
                       : reference_read(s->reference, &ref)))
            return false;
        if (!s->first) likeness_add(&all->likeness[i], &outputs[i], &ref, true);
        s->failed = !metrics_add(&s->side->metrics, sample, outputs, i, s->first ? NULL : &ref);
        if (s->failed) return false;
    }
    all->samples += !s->first;
    return !interrupted();
}

/* ---- both ------------------------------------------------------------------------------------ */

static bool run_side(Scorer *s, const Args *args, const qonnx_graph *g)
{
    qonnx_ctx *cx = s->report->cx;
    Side *side = s->side;
    const qonnx_session_options o = session_options(args);
    qonnx_dataset *d = samples_open(cx, g, args, args->data.text, args->data.count);
    qonnx_session *session = NULL;
    bool good =
        d && (!metrics_class(args) || samples_classify(cx, d, g, args->labels, USE_EVALUATE));
    if (good) {
        s->failed = !metrics_begin(cx, args, side->path, g, d, s->first, &side->metrics);
        good = !s->failed && (session = qonnx_session_new(cx, g, &o)) != NULL;
    }
    good = good && qonnx_session_run(cx, session, d, on_outputs, s) && !s->failed &&
           !s->reference->fault && !interrupted();
    if (good) good = !(s->failed = !metrics_end(&side->metrics));
    if (session) side->memory = qonnx_session_memory(session);
    if (good && !args->no_times) side->latency = latency_measure(session, d);
    qonnx_session_free(session);
    good = good && costs_count(cx, g, &side->costs);
    metrics_let_go(&side->metrics);
    samples_close(d, g);
    return good;
}

static bool same_outputs(const Report *r, const qonnx_graph *model, const qonnx_graph *made)
{
    const int a = qonnx_graph_outputs(model), b = qonnx_graph_outputs(made);
    return a == b ||
           qonnx_fail(r->cx, NULL, "%s: has %d outputs, and %s has %d; is it made of that model?",
                      r->sides[1].path, b, r->sides[0].path, a);
}

/* Whether the second is a quantized model, and another than the first. */
static bool is_pair(const Report *r, const qonnx_graph *made)
{
    const char *path = r->sides[1].path;
    if (!strcmp(path, r->sides[0].path))
        return qonnx_fail(r->cx, NULL,
                          "%s: is named twice; name the model in float first, then what "
                          "'qonnx quantize' made of it",
                          path);
    return qonnx_graph_quantized(made) ||
           qonnx_fail(r->cx, NULL,
                      "%s: is not quantized; name the model in float first, then what "
                      "'qonnx quantize' made of it",
                      path);
}

bool report_score(Report *r, const Args *args, bool *told)
{
    qonnx_graph *g[2] = {NULL, NULL};
    Reference reference = {.file = NULL};
    bool good = true;
    for (int i = 0; good && i < 2; i++)
        good = (g[i] = runnable_load(r->cx, args, r->sides[i].path)) != NULL;
    good = good && is_pair(r, g[1]) && same_outputs(r, g[0], g[1]);
    for (int i = 0; good && i < 2; i++) {
        r->sides[i].bytes = file_size(r->sides[i].path);
        visit_nodes(g[i], placed_add, &r->sides[i].placed);
    }
    if (good) {
        r->all.outputs = qonnx_graph_outputs(g[0]);
        r->all.likeness = needed(calloc((size_t)r->all.outputs + 1, sizeof *r->all.likeness));
        good = reference_open(&reference);
    }
    for (int i = 0; good && i < 2; i++) {
        Scorer s = {.report = r, .side = &r->sides[i], .reference = &reference, .first = !i};
        if (i) reference_rewind(&reference);
        good = run_side(&s, args, g[i]);
        *told = *told || s.failed;
    }
    if (reference.fault && !interrupted()) {
        complain("temporary file: %s", reference.fault);
        *told = true;
    }
    if (good) r->verdict = check_verdict(&r->all, &r->output);
    progress_clear();
    reference_close(&reference);
    for (int i = 0; i < 2; i++) qonnx_graph_free(g[i]);
    return good;
}
