/* cli/compare.c - see compare.h. */
#include "compare.h"
#include "calibrate.h"
#include "output.h"
#include "progress.h"
#include "samples.h"
#include "tensor.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- likeness -------------------------------------------------------------------------------- */

static int64_t largest_index(const qonnx_tensor *t, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (element(t, i) > element(t, best)) best = i;
    return best;
}

void likeness_add(Likeness *l, const qonnx_tensor *y, const qonnx_tensor *ref, bool pair)
{
    int64_t count = qonnx_tensor_elements(ref);
    if (qonnx_tensor_elements(y) != count) {
        l->unlike = true;
        return;
    }
    if (!is_real(ref->dtype) || !is_real(y->dtype)) return;
    for (int64_t i = 0; i < count; i++) {
        double a = element(ref, i), b = element(y, i);
        if (!isfinite(a) || !isfinite(b)) {
            l->strange++;
            continue;
        }
        l->signal += a * a;
        l->noise += (a - b) * (a - b);
        l->compared++;
    }
    if (!pair || !vector_length(ref) || !vector_length(y)) return;
    l->paired++;
    l->agreeing += largest_index(y, count) == largest_index(ref, count);
}

bool likeness_known(const Likeness *l) { return l->compared && !l->unlike; }

double likeness_sqnr(const Likeness *l)
{
    return l->noise == 0 ? INFINITY : 10 * log10(l->signal / l->noise);
}

const char *decibels_text(char *out, double db)
{
    if (db == INFINITY) strcpy(out, "exact");
    else snprintf(out, SQNR_ROOM, "%.2f dB", db);
    return out;
}

const char *sqnr_text(char *out, const Likeness *l)
{
    return likeness_known(l) ? decibels_text(out, likeness_sqnr(l)) : strcpy(out, "-");
}

const char *percent_text(char *out, bool known, size_t part, size_t all)
{
    if (known) snprintf(out, PERCENT_ROOM, "%.2f %%", 100 * (double)part / (double)all);
    else strcpy(out, "-");
    return out;
}

void likeness_json(json_t *object, const Likeness *l)
{
    bool known = likeness_known(l), exact = known && l->noise == 0;
    double share = l->paired ? (double)l->agreeing / (double)l->paired : 0;
    json_object_set_new(object, "sqnr_db",
                        known && !exact ? json_number(likeness_sqnr(l)) : json_null());
    json_object_set_new(object, "exact", json_boolean(exact));
    json_object_set_new(object, "agreement", l->paired ? json_number(share) : json_null());
}

/* ---- the reference --------------------------------------------------------------------------- */

static bool fails(Reference *r)
{
    if (errno == ENOMEM) needed(NULL); /* no fault of the file's */
    r->fault = errno ? strerror(errno) : "too short";
    return false;
}

bool reference_open(Reference *r)
{
    errno = 0;
    *r = (Reference){.file = tmpfile()};
    return r->file || fails(r);
}

bool reference_write(Reference *r, const qonnx_tensor *t)
{
    errno = 0;
    bool good = fwrite(t, sizeof *t, 1, r->file) == 1 &&
                (!t->bytes || fwrite(t->data, 1, t->bytes, r->file) == t->bytes);
    return good || fails(r);
}

bool reference_read(Reference *r, qonnx_tensor *t)
{
    errno = 0;
    if (fread(t, sizeof *t, 1, r->file) != 1) return fails(r);
    if (t->bytes > r->room) {
        free(r->buffer);
        r->buffer = malloc(t->bytes);
        r->room = r->buffer ? t->bytes : 0;
        if (!r->buffer) return fails(r);
    }
    t->data = r->buffer;
    return !t->bytes || fread(r->buffer, 1, t->bytes, r->file) == t->bytes || fails(r);
}

void reference_rewind(Reference *r) { rewind(r->file); }

void reference_close(Reference *r)
{
    if (r->file) fclose(r->file);
    free(r->buffer);
    *r = (Reference){.fault = r->fault};
}

/* ---- two models ------------------------------------------------------------------------------ */

/* One of the two models being run. */
typedef struct Run {
    Comparison *comparison;
    Reference *reference;
    bool writing;   /* this is the first */
    size_t samples; /* run */
} Run;

static bool on_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    Run *r = user;
    if (r->writing) r->comparison->which[r->samples] = sample;
    r->samples++;
    for (int i = 0; i < r->comparison->outputs; i++) {
        qonnx_tensor ref;
        if (!(r->writing ? reference_write(r->reference, &outputs[i])
                         : reference_read(r->reference, &ref)))
            return false;
        if (!r->writing) likeness_add(&r->comparison->likeness[i], &outputs[i], &ref, true);
    }
    return !interrupted();
}

qonnx_dataset *compared_samples(qonnx_ctx *cx, const Args *args, size_t most, const qonnx_graph *g)
{
    qonnx_dataset *d = samples_open(cx, g, args, args->data.text, args->data.count);
    if (d && qonnx_dataset_count(d) > most) qonnx_dataset_limit(d, most);
    return d;
}

static bool run_graph(qonnx_ctx *cx, const Args *args, size_t most, const qonnx_graph *g, Run *r)
{
    qonnx_session_options o = session_options(args);
    o.damaged = 1; /* whether there are too many of them was said before */
    qonnx_dataset *d = compared_samples(cx, args, most, g);
    if (d && r->writing)
        r->comparison->which = needed(calloc(qonnx_dataset_count(d) + 1, sizeof(size_t)));
    qonnx_session *s = d ? qonnx_session_new(cx, g, &o) : NULL;
    bool good = s && qonnx_session_run(cx, s, d, on_outputs, r);
    qonnx_session_free(s);
    samples_close(d, g);
    return good;
}

bool compare_graphs(qonnx_ctx *cx, const Args *args, size_t most, const qonnx_graph *model,
                    const qonnx_graph *made, Reference *keep, Comparison *out)
{
    Reference own, *reference = keep ? keep : &own;
    Run first = {out, reference, true, 0}, second = {out, reference, false, 0};
    out->outputs = qonnx_graph_outputs(model);
    out->likeness = needed(calloc((size_t)out->outputs + 1, sizeof *out->likeness));
    bool good = !reference_open(reference) || run_graph(cx, args, most, model, &first);
    if (good && !reference->fault) {
        reference_rewind(reference);
        good = run_graph(cx, args, most, made, &second);
    }
    out->samples = good && !reference->fault ? second.samples : 0;
    out->fault = reference->fault;
    if (keep && out->samples) reference_rewind(keep);
    if (!keep) reference_close(&own);
    return good;
}

void comparison_free(Comparison *c)
{
    free(c->likeness);
    free(c->which);
    *c = (Comparison){0};
}
