/* cli/layer_errors.c - see layer_errors.h. The float model's values wait in a temporary file, and
 * are in memory for one sample at a time.
 */
#include "layer_errors.h"
#include "calibrate.h"
#include "output.h"
#include "placed.h"
#include "progress.h"
#include <qonnx/graph.h>
#include <stdlib.h>
#include <string.h>

/* ---- the layers, cut apart ------------------------------------------------------------------- */

/* Takes the layer off those that read it, which are fed with a new input instead. */
static void cut(LayerError *r)
{
    const Match *m = r->match;
    qonnx_graph *g = qonnx_value_graph(m->made);
    int64_t dims[QONNX_MAX_RANK];
    int rank = qonnx_value_rank(m->value);
    for (int i = 0; i < rank; i++) dims[i] = qonnx_value_dim(m->value, i);
    qonnx_value *fed =
        qonnx_graph_add_input(g, qonnx_value_name(m->made), qonnx_value_dtype(m->made), rank, dims);
    qonnx_value_replace_uses(m->made, fed);
    qonnx_value *y = m->q ? layers_requantize(m, m->made) : m->made;
    qonnx_graph_add_output(g, y);
    for (r->cut = 0; qonnx_graph_output(g, r->cut) != y;) r->cut++;
}

/* The place of the float model's input that the quantized model's i-th is: by its name, else the
 * same one; -1: it has none. */
static int input_of(const LayerErrors *e, int i)
{
    const char *name = qonnx_value_name(qonnx_graph_input(e->made, i));
    int count = qonnx_graph_inputs(e->model);
    for (int k = 0; k < count; k++)
        if (!strcmp(qonnx_value_name(qonnx_graph_input(e->model, k)), name)) return k;
    return i < count ? i : -1;
}

/* Whether a sample fills the batch that the model fixes, as one that is run alone must. */
static bool fits(const LayerErrors *e)
{
    for (int i = 0; i < e->inputs; i++) {
        const qonnx_value *v = qonnx_graph_input(e->made, i);
        int k = input_of(e, i);
        if (qonnx_value_constant(v)) continue;
        if (k < 0 || (qonnx_value_rank(v) > 0 && qonnx_value_dim(v, 0) > 1 &&
                      e->sample[k].dims[0] != qonnx_value_dim(v, 0)))
            return false;
    }
    return true;
}

/* ---- running them ---------------------------------------------------------------------------- */

/* Reads what the float model gave for the next sample. */
static bool read_values(LayerErrors *e)
{
    for (int i = 0; i < e->compared.outputs; i++) {
        qonnx_tensor t, *to = &e->values[i];
        if (!reference_read(&e->reference, &t)) return false;
        free((void *)to->data);
        *to = t;
        to->data = memcpy(needed(malloc(t.bytes + 1)), t.data, t.bytes);
    }
    return true;
}

static bool on_layers(void *user, size_t sample, const qonnx_tensor *outputs)
{
    (void)sample;
    LayerErrors *e = user;
    for (LayerError *r = e->rows; r < e->rows + e->matches.count; r++)
        likeness_add(&r->own, &outputs[r->cut], &e->values[r->given], false);
    return true;
}

/* Runs all layers on the values that were read, and on a sample. */
static bool run_layers(qonnx_ctx *cx, LayerErrors *e, qonnx_session *s)
{
    int count = 0;
    qonnx_tensor *in = needed(calloc((size_t)e->inputs + (size_t)e->matches.count + 1, sizeof *in));
    for (int i = 0; i < e->inputs; i++)
        if (!qonnx_value_constant(qonnx_graph_input(e->made, i)))
            in[count++] = e->sample[input_of(e, i)];
    for (int i = 0; i < e->matches.count; i++) in[count++] = e->values[e->rows[i].given];
    bool good = qonnx_session_run_one(cx, s, in, on_layers, e);
    free(in);
    return good;
}

/* Reads one sample after the other. The layers are cut apart when the first one is there. */
static bool run_samples(qonnx_ctx *cx, const Args *args, LayerErrors *e, const qonnx_dataset *d)
{
    const qonnx_session_options o = session_options(args);
    qonnx_session *s = NULL;
    bool good = true;
    for (size_t i = 0; good && i < e->compared.samples && !interrupted(); i++) {
        if (!qonnx_dataset_read(cx, d, e->compared.which[i], e->sample)) break;
        if (!i && !fits(e)) {
            warn("%s: its batch is fixed, so that no sample runs alone: the layers' own errors are "
                 "not known",
                 e->files[1]);
            qonnx_sample_free(e->sample, qonnx_dataset_inputs(d));
            return true;
        }
        for (LayerError *r = e->rows; !i && r < e->rows + e->matches.count; r++) cut(r);
        if (!i) s = qonnx_graph_refresh(cx, e->made) ? qonnx_session_new(cx, e->made, &o) : NULL;
        good = s && read_values(e) && run_layers(cx, e, s);
        qonnx_sample_free(e->sample, qonnx_dataset_inputs(d));
    }
    qonnx_session_free(s);
    return good && !*qonnx_error(cx);
}

static bool measure_own(qonnx_ctx *cx, const Args *args, size_t most, LayerErrors *e)
{
    qonnx_dataset *d = compared_samples(cx, args, most, e->model);
    if (!d) return false;
    e->inputs = qonnx_graph_inputs(e->made);
    e->values = needed(calloc((size_t)e->compared.outputs + 1, sizeof *e->values));
    e->sample = needed(calloc((size_t)qonnx_dataset_inputs(d) + 1, sizeof *e->sample));
    bool good = run_samples(cx, args, e, d);
    qonnx_dataset_free(d);
    return good;
}

static void mark_worst(LayerErrors *e)
{
    for (int k = 0; k < WORST_LAYERS; k++) {
        LayerError *worst = NULL;
        for (LayerError *r = e->rows; r < e->rows + e->matches.count; r++)
            if (!r->worst && likeness_known(&r->own) && r->own.noise > 0 &&
                (!worst || likeness_sqnr(&r->own) < likeness_sqnr(&worst->own)))
                worst = r;
        if (worst) worst->worst = true;
    }
}

static bool measure(qonnx_ctx *cx, const Args *args, LayerErrors *e)
{
    const char *target = qonnx_model_metadata(e->made, "qonnx.target");
    size_t most = args->limit ? (size_t)args->limit : LAYER_SAMPLES;
    e->target = target ? qonnx_target_find(target) : NULL;
    if (!e->target) e->target = qonnx_target_find("ort-x86");
    if (!layers_match(cx, e->model, e->made, e->target, &e->matches)) return false;
    layers_give(e->model, e->made, &e->matches);
    if (!e->matches.count)
        return qonnx_fail(cx, NULL,
                          "%s: none of its values has a counterpart in %s of its name; "
                          "is it made of that model?",
                          e->files[1], e->files[0]);
    if (!compare_graphs(cx, args, most, e->model, e->made, &e->reference, &e->compared) ||
        e->reference.fault)
        return false;
    e->rows = needed(calloc((size_t)e->matches.count, sizeof *e->rows));
    for (int i = 0; i < e->matches.count; i++) {
        LayerError *r = &e->rows[i];
        *r = (LayerError){.match = &e->matches.of[i]};
        while (qonnx_graph_output(e->model, r->given) != r->match->value) r->given++;
        r->all = e->compared.likeness[r->given];
    }
    bool good = measure_own(cx, args, most, e) && !e->reference.fault;
    if (good) mark_worst(e);
    return good;
}

/* ---- all of it ------------------------------------------------------------------------------- */

bool layer_errors_measure(qonnx_ctx *cx, const Args *args, LayerErrors *out)
{
    *out = (LayerErrors){.files = {args->operands[0], args->operands[1]}};
    bool good = (out->model = runnable_load(cx, args, out->files[0])) != NULL &&
                (out->made = runnable_load(cx, args, out->files[1])) != NULL;
    if (good && !qonnx_graph_quantized(out->made))
        good = qonnx_fail(cx, NULL,
                          "%s: is not quantized; name the model in float first, then "
                          "what was made of it",
                          out->files[1]);
    good = good && measure(cx, args, out) && !interrupted();
    progress_clear();
    return good;
}

bool layer_errors_of(qonnx_ctx *cx, const Args *args, qonnx_graph *model, qonnx_graph *made,
                     LayerErrors *out)
{
    const char *path = args->operands[0];
    *out = (LayerErrors){.files = {path, path}, .model = model, .made = made};
    bool good = measure(cx, args, out) && !interrupted();
    progress_clear();
    return good;
}

void layer_errors_release(LayerErrors *e)
{
    for (int i = 0; e->values && i < e->compared.outputs; i++) free((void *)e->values[i].data);
    free(e->values);
    free(e->sample);
    free(e->rows);
    free(e->matches.of);
    reference_close(&e->reference);
    comparison_free(&e->compared);
    qonnx_graph_free(e->made);
    qonnx_graph_free(e->model);
}

/* ---- one layer ------------------------------------------------------------------------------- */

const char *layer_error_name(const LayerError *r) { return layers_label(r->match); }

const char *layer_error_runs(const LayerError *r)
{
    return r->match->found ? fate_word(r->match->found->fate) : "float";
}

json_t *layer_error_json(const LayerError *r)
{
    const qonnx_finding *f = r->match->found;
    json_t *all = json_object(), *own = json_object();
    likeness_json(all, &r->all);
    likeness_json(own, &r->own);
    json_object_del(all, "agreement");
    json_object_del(own, "agreement");
    return json_pack("{so so so so so ss so sb}", "name", json_text(layer_error_name(r)), "type",
                     json_text(qonnx_node_op(r->match->node)), "value",
                     json_text(qonnx_value_name(r->match->value)), "accumulated", all, "own", own,
                     "runs", layer_error_runs(r), "why",
                     f && f->why ? json_text(f->why) : json_null(), "worst", r->worst);
}
