/* cli/check.c - see check.h. */
#include "check.h"
#include "calibrate.h"
#include "output.h"
#include "progress.h"
#include "samples.h"
#include <qonnx/graph.h>
#include <stdlib.h>
#include <string.h>

/* ---- running --------------------------------------------------------------------------------- */

/* One of the two models being run. */
typedef struct Run {
    Check *check;
    Reference *reference;
    bool writing;   /* this is the float model */
    size_t samples; /* run */
} Run;

static bool on_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    (void)sample;
    Run *r = user;
    r->samples++;
    for (int i = 0; i < r->check->outputs; i++) {
        qonnx_tensor ref;
        if (r->writing) {
            if (!reference_write(r->reference, &outputs[i])) return false;
        } else {
            if (!reference_read(r->reference, &ref)) return false;
            likeness_add(&r->check->likeness[i], &outputs[i], &ref, true);
        }
    }
    return !interrupted();
}

static bool run_graph(qonnx_ctx *cx, const Args *args, size_t most, const qonnx_graph *g, Run *r)
{
    qonnx_session_options o = session_options(args);
    o.damaged = 1; /* whether there are too many of them was said before */
    qonnx_dataset *d = samples_open(cx, g, args, args->data.text, args->data.count);
    if (d && qonnx_dataset_count(d) > most) qonnx_dataset_limit(d, most);
    qonnx_session *s = d ? qonnx_session_new(cx, g, &o) : NULL;
    bool good = s && qonnx_session_run(cx, s, d, on_outputs, r);
    qonnx_session_free(s);
    samples_close(d, g);
    return good;
}

static void name_outputs(Check *c, const qonnx_graph *g)
{
    c->outputs = qonnx_graph_outputs(g);
    c->names = needed(calloc((size_t)c->outputs + 1, sizeof *c->names));
    c->likeness = needed(calloc((size_t)c->outputs + 1, sizeof *c->likeness));
    for (int i = 0; i < c->outputs; i++)
        c->names[i] = needed(strdup(qonnx_value_name(qonnx_graph_output(g, i))));
}

bool check_compare(qonnx_ctx *cx, const Args *args, size_t most, const qonnx_graph *model,
                   const qonnx_graph *made, Check *out)
{
    Reference reference;
    Run first = {out, &reference, true, 0}, second = {out, &reference, false, 0};
    name_outputs(out, model);
    bool good = !reference_open(&reference) || run_graph(cx, args, most, model, &first);
    if (good && !reference.fault) {
        reference_rewind(&reference);
        good = run_graph(cx, args, most, made, &second);
    }
    out->samples = good && !reference.fault ? second.samples : 0;
    out->fault = reference.fault;
    reference_close(&reference);
    return good;
}

bool check_run(qonnx_ctx *cx, const Args *args, const char *path, const qonnx_graph *made,
               Check *out)
{
    qonnx_graph *model = runnable_load(cx, args, path);
    qonnx_graph *shaped = model ? shaped_copy(cx, made, args) : NULL;
    bool good = shaped && check_compare(cx, args, (size_t)args->check_samples, model, shaped, out);
    qonnx_graph_free(shaped);
    qonnx_graph_free(model);
    return good;
}

void check_free(Check *c)
{
    for (int i = 0; i < c->outputs; i++) free(c->names[i]);
    free(c->names);
    free(c->likeness);
    *c = (Check){0};
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* Below these many dB an output is suspicious, and certainly spoilt. */
#define SUSPICIOUS   15
#define SPOILT       8
#define ENOUGH_AGREE 0.9

static bool is_bad(const Likeness *l)
{
    if (!likeness_known(l) || likeness_sqnr(l) >= SUSPICIOUS) return false;
    bool agrees = l->paired && (double)l->agreeing >= ENOUGH_AGREE * (double)l->paired;
    return likeness_sqnr(l) < SPOILT || !agrees;
}

int check_worst(const Check *c)
{
    int worst = -1;
    for (int i = 0; c->samples && i < c->outputs; i++)
        if (is_bad(&c->likeness[i]) &&
            (worst < 0 || likeness_sqnr(&c->likeness[i]) < likeness_sqnr(&c->likeness[worst])))
            worst = i;
    return worst;
}

/* ---- the summary ----------------------------------------------------------------------------- */

static void print_likeness(const Likeness *l)
{
    char ratio[SQNR_ROOM], agree[PERCENT_ROOM];
    printf("%s", sqnr_text(ratio, l));
    if (l->paired)
        printf(", %s of the samples in the same class",
               percent_text(agree, true, l->agreeing, l->paired));
    putchar('\n');
}

void check_print(const Check *c)
{
    char name[NAME_ROOM];
    if (c->fault) print_line("checked      nothing: temporary file: %s", c->fault);
    if (!c->samples) return;
    printf("checked      %zu samples against the float model%s", c->samples,
           c->outputs == 1 ? ": " : "\n");
    for (int i = 0; i < c->outputs; i++) {
        if (c->outputs > 1) printf("             %s ", clean_name(name, sizeof name, c->names[i]));
        print_likeness(&c->likeness[i]);
    }
}

static json_t *likeness_json(const char *name, const Likeness *l)
{
    bool exact = likeness_known(l) && l->noise == 0;
    double share = l->paired ? (double)l->agreeing / (double)l->paired : 0;
    return json_pack("{so so sb so}", "name", json_text(name), "sqnr_db",
                     likeness_known(l) && !exact ? json_number(likeness_sqnr(l)) : json_null(),
                     "exact", exact, "agreement", l->paired ? json_number(share) : json_null());
}

json_t *check_json(const Check *c)
{
    if (!c->samples) return json_null();
    json_t *outputs = json_array();
    for (int i = 0; i < c->outputs; i++)
        json_array_append_new(outputs, likeness_json(c->names[i], &c->likeness[i]));
    return json_pack("{sI so}", "samples", (json_int_t)c->samples, "outputs", outputs);
}
