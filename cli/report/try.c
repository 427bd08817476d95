/* cli/report/try.c - what would help, measured: the pipeline of the quantized model, with changes,
 * makes it anew, and it is run on a few samples.
 */
#include "cli/calibrate.h"
#include "cli/progress.h"
#include "cli/sensitivity.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is tried on. */
typedef struct Trying {
    Report *report;
    Judge judge;
    Base base;
    const qonnx_dataset *samples;
} Trying;

static bool judge(Trying *t, const Passes *p, double *db)
{
    double mean;
    bool good = judge_passes(&t->judge, &t->base, t->samples, p, &mean);
    *db = good ? judge_worst(&t->judge) : NAN;
    return good;
}

/* ---- changes --------------------------------------------------------------------------------- */

/* Gives the weights a scale a channel. */
static void part_channels(Passes *p)
{
    static const char from[] = "per=tensor";
    for (int i = 0; i < p->count; i++) {
        const char *at =
            strncmp(p->text[i], "override{all=weights", 20) ? NULL : strstr(p->text[i], from);
        char *text = NULL;
        if (!at) continue;
        if (asprintf(&text, "%.*sper=channel%s", (int)(at - p->text[i]), p->text[i],
                     at + strlen(from)) < 0)
            needed(NULL);
        free(p->text[i]);
        p->text[i] = text;
    }
}

/* The change that is a remedy. */
static void mend(Passes *p, Remedy remedy)
{
    if (remedy == REMEDY_CHANNELS) part_channels(p);
    if (remedy == REMEDY_OBSERVER) passes_set(p, "calibrate", "observer", "mse");
    if (remedy == REMEDY_BIAS && !passes_insert(p, "correct-bias@fit-scales"))
        passes_insert(p, "correct-bias@calibrate");
}

/* Each by itself, then all of them. */
static bool try_options(Trying *t, const Passes *as_it_is)
{
    static const Tried changes[] = {
        [REMEDY_CHANNELS] = {"--weights per-channel",
                             "each channel of a weight gets a scale of its own", 0},
        [REMEDY_BIAS] = {"without --no-correct-bias",
                         "biases take back what rounding adds to the mean of each channel", 0},
        [REMEDY_OBSERVER] = {"--observer mse", "ranges are those of the least square error", 0}};
    Report *r = t->report;
    Tried together = {"", "these together", 0};
    Passes all = passes_copy(as_it_is);
    bool good = true;
    for (Remedy remedy = REMEDY_CHANNELS; good && remedy < REMEDY_EXCLUDE; remedy++) {
        if (!passes_want(as_it_is, remedy)) continue;
        Passes one = passes_copy(as_it_is);
        Tried *now = &r->tried[r->ntried];
        mend(&one, remedy);
        mend(&all, remedy);
        *now = changes[remedy];
        good = judge(t, &one, &now->db);
        r->ntried += good;
        passes_free(&one);
        const size_t n = strlen(together.option);
        snprintf(together.option + n, sizeof together.option - n, "%s%s", n ? ", " : "",
                 changes[remedy].option);
    }
    if (good && r->ntried > 1 && (good = judge(t, &all, &together.db)))
        r->tried[r->ntried++] = together;
    passes_free(&all);
    return good;
}

/* The worst layers, each alone in float. */
static bool try_layers(Trying *t, const Passes *as_it_is, long most)
{
    Report *r = t->report;
    bool good = true;
    for (int i = 0; good && most > 0 && i < r->errors.matches.count; i++) {
        Sheet *s = r->worst[i];
        const char *name = s->node ? qonnx_node_label(s->node) : "";
        if (!*name || !s->found || s->found->fate != QONNX_FATE_INTEGERS || !s->found->heavy)
            continue;
        Passes p = passes_copy(as_it_is);
        double db;
        passes_keep(&p, name);
        good = judge(t, &p, &db);
        s->gain = good ? db - r->plain : NAN;
        passes_free(&p);
        most--;
    }
    return good;
}

/* ---- all of it ------------------------------------------------------------------------------- */

bool report_try(Report *r, const Args *given)
{
    if (!r->before || !r->passes.count || r->split == r->passes.count) return true;
    Args args = *given;
    args.target = r->errors.target->name;
    qonnx_ctx *quiet =
        qonnx_ctx_new(); /* what is to be said of the passes was said when they ran */
    qonnx_graph *shaped = shaped_copy(quiet, r->before, &args);
    qonnx_dataset *d = shaped ? compared_samples(quiet, &args, REMEDY_SAMPLES, shaped) : NULL;
    Trying t = {.report = r,
                .base = {.g = r->before, .stats = r->subject.stats, .split = r->split},
                .samples = d};
    Passes p = passes_without_samples(&r->passes); /* slow, and of help to all alike */
    if (d && judge_open(&t.judge, quiet, &args, r->before, d) && judge(&t, &p, &r->plain)) {
        r->judged = t.judge.ran;
        bool good = try_options(&t, &p) && try_layers(&t, &p, args.sensitivities);
        if (!good && *qonnx_error(quiet))
            warn("not all changes were tried: %s", qonnx_error(quiet));
    }
    judge_close(&t.judge);
    passes_free(&p);
    qonnx_dataset_free(d);
    qonnx_graph_free(shaped);
    qonnx_ctx_free(quiet);
    return !interrupted();
}
