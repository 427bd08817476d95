/* cli/node_error.c - see node_error.h. */
#include "node_error.h"
#include "output.h"
#include "placed.h"
#include "provenance.h"
#include "sensitivity.h"
#include "statistics.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- at the node ----------------------------------------------------------------------------- */

/* Its own error: that of the layer that is called as the node is. */
static bool measure_own(qonnx_ctx *cx, const Args *args, const Subject *s, const Passes *p,
                        const char *label, NodeError *out)
{
    LayerErrors e;
    qonnx_graph *made = qonnx_graph_copy(s->made);
    provenance_record(made, args, p, s->stats); /* whose target decides what runs in integers */
    bool good = layer_errors_of(cx, args, qonnx_graph_copy(s->model), made, &e);
    if (!good && e.reference.fault) qonnx_fail(cx, NULL, "temporary file: %s", e.reference.fault);
    for (int i = e.matches.count - 1; good && i >= 0; i--) {
        const LayerError *r = &e.rows[i];
        if (strcmp(layer_error_name(r), label) != 0) continue;
        out->own = r->own;
        out->accumulated = r->all;
    }
    out->samples = good ? e.compared.samples : 0;
    layer_errors_release(&e);
    return good;
}

/* ---- at the outputs -------------------------------------------------------------------------- */

/* The noise of the outputs that ran last, each by its signal. */
static double noise_of(const Judge *j)
{
    double sum = 0;
    for (int i = j->outputs; i < 2 * j->outputs; i++) {
        const Likeness *l = &j->likeness[i];
        if (likeness_known(l) && l->signal > 0) sum += l->noise / l->signal;
    }
    return sum;
}

static bool measure_outputs(qonnx_ctx *cx, const Args *args, const Subject *s, const Passes *p,
                            const char *label, const qonnx_dataset *d, NodeError *out)
{
    double db, all = 0;
    Judge j;
    const Base base = {s->model, s->stats, passes_split_at(p)};
    Passes kept = passes_copy(p);
    passes_keep(&kept, label);
    bool good = judge_open(&j, cx, args, s->model, d) && judge_passes(&j, &base, d, p, &db);
    if (good) {
        out->all = judge_worst(&j);
        all = noise_of(&j);
        good = judge_passes(&j, &base, d, &kept, &db);
    }
    if (good) {
        out->without = judge_worst(&j);
        out->share = all > 0 ? 1 - noise_of(&j) / all : NAN;
    }
    judge_close(&j);
    passes_free(&kept);
    return good;
}

bool node_error_measure(qonnx_ctx *cx, const Args *args, const Subject *s, const qonnx_node *n,
                        NodeError *out)
{
    const size_t most = args->limit ? (size_t)args->limit : LAYER_SAMPLES;
    const char *label = qonnx_node_label(n);
    Args prepared = statistics_prepared(args, s->stats);
    *out = (NodeError){.samples = 0};
    qonnx_dataset *d = compared_samples(cx, &prepared, most, s->model);
    Passes p;
    bool good = placed_passes(cx, args, &p) && d && measure_own(cx, &prepared, s, &p, label, out) &&
                measure_outputs(cx, &prepared, s, &p, label, d, out);
    passes_free(&p);
    qonnx_dataset_free(d);
    statistics_release(&prepared, args);
    return good;
}

/* ---- results --------------------------------------------------------------------------------- */

void node_error_print(const NodeError *e)
{
    char own[SQNR_ROOM], with[SQNR_ROOM], all[SQNR_ROOM], without[SQNR_ROOM];
    if (!e->samples) return;
    printf("own error   %s, fed with the float model's values; %s in the quantized model\n",
           sqnr_text(own, &e->own), sqnr_text(with, &e->accumulated));
    printf("outputs     %s, with this node alone in float %s", decibels_text(all, e->all),
           decibels_text(without, e->without));
    if (isfinite(e->share)) printf(": %.1f %% of their noise", 100 * e->share);
    printf(" (%zu samples)\n", e->samples);
}

json_t *node_error_json(const NodeError *e)
{
    if (!e->samples) return json_null();
    json_t *own = json_object(), *accumulated = json_object();
    likeness_json(own, &e->own);
    likeness_json(accumulated, &e->accumulated);
    json_object_del(own, "agreement");
    json_object_del(accumulated, "agreement");
    return json_pack("{sI so so so so so}", "samples", (json_int_t)e->samples, "own", own,
                     "accumulated", accumulated, "outputs_sqnr_db", json_number(e->all),
                     "outputs_sqnr_db_without", json_number(e->without), "share",
                     json_number(e->share));
}
