/* cli/check.c - see check.h. */
#include "check.h"
#include "calibrate.h"
#include "layers.h"
#include "output.h"
#include "progress.h"
#include "statistics.h"
#include <qonnx/graph.h>
#include <stdlib.h>
#include <string.h>

static const char *output_name(const qonnx_graph *g, int i)
{
    return qonnx_value_name(qonnx_graph_output(g, i));
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* Below these many dB an output is suspicious, and certainly spoilt. A suspicious one is bad where
 * fewer samples agree than that, and not for one alone: 57 of 64 are no evidence of less than 90 %.
 */
#define SUSPICIOUS   15
#define SPOILT       8
#define ENOUGH_AGREE 0.9

static bool is_bad(const Likeness *l)
{
    if (!likeness_known(l) || likeness_sqnr(l) >= SUSPICIOUS) return false;
    bool agrees = l->paired && (double)l->agreeing + 1 >= ENOUGH_AGREE * (double)l->paired;
    return likeness_sqnr(l) < SPOILT || !agrees;
}

/* The output with the lowest SQNR, of those that a user should not take as they are if `bad`; -1:
 * there is none. */
static int find_worst(const Comparison *c, bool bad)
{
    int worst = -1;
    for (int i = 0; c->samples && i < c->outputs; i++)
        if ((bad ? is_bad(&c->likeness[i]) : likeness_known(&c->likeness[i])) &&
            (worst < 0 || likeness_sqnr(&c->likeness[i]) < likeness_sqnr(&c->likeness[worst])))
            worst = i;
    return worst;
}

Verdict check_verdict(const Comparison *c, int *output)
{
    *output = find_worst(c, true);
    if (*output >= 0) return VERDICT_DAMAGED;
    *output = find_worst(c, false);
    const bool low = *output >= 0 && likeness_sqnr(&c->likeness[*output]) < SUSPICIOUS;
    return low ? VERDICT_FAIR : VERDICT_GOOD;
}

/* Whether a pass gives all weights one scale a tensor. */
static bool is_per_tensor(const char *pass)
{
    if (strncmp(pass, "override{", 9) != 0) return false;
    char *all = qonnx_pipeline_setting(pass, "all"), *per = qonnx_pipeline_setting(pass, "per");
    const bool is = all && per && !strcmp(all, "weights") && !strcmp(per, "tensor");
    free(all);
    free(per);
    return is;
}

bool passes_want(const Passes *p, Remedy remedy)
{
    bool wanted = remedy == REMEDY_EXCLUDE;
    for (int i = 0; remedy == REMEDY_CHANNELS && !wanted && i < p->count; i++)
        wanted = is_per_tensor(p->text[i]);
    if (remedy == REMEDY_BIAS)
        wanted = passes_find(p, "calibrate") >= 0 && passes_find(p, "correct-bias") < 0 &&
                 passes_find(p, "match-means") < 0;
    char *observer = remedy == REMEDY_OBSERVER ? passes_option(p, "calibrate", "observer") : NULL;
    if (observer) wanted = strcmp(observer, "mse") != 0;
    free(observer);
    return wanted;
}

Remedy passes_remedy(const Passes *p)
{
    Remedy remedy = REMEDY_CHANNELS;
    while (!passes_want(p, remedy)) remedy++;
    return remedy;
}

/* The same in words. */
static const char *advice(const Args *args, const Passes *p)
{
    switch (passes_remedy(p)) {
    case REMEDY_CHANNELS: return "--weights per-channel is more exact";
    case REMEDY_BIAS:
        return args->no_correct_bias ? "leave out --no-correct-bias"
                                     : "the pass correct-bias behind calibrate may help";
    case REMEDY_OBSERVER: return "--observer mse is safer";
    case REMEDY_EXCLUDE: break;
    }
    return "--exclude keeps chosen layers in float";
}

/* The worst layers, as text for a message; malloc'd. "": nothing is known of them. */
static char *layers_text(const Args *args, const Passes *p, const qonnx_graph *made)
{
    Layer worst[WORST_LAYERS];
    char *text = needed(strdup("")), *longer;
    qonnx_ctx *quiet = qonnx_ctx_new();
    char *prefix = passes_join(p, 0, passes_split_at(p));
    int count = layers_worst(quiet, args, args->operands[0], prefix, made, worst);
    for (int i = 0; i < count; i++, text = longer) {
        if (asprintf(&longer, "%s%s '%s' (from %.1f to %.1f dB)", text,
                     i ? "," : "; the layers that lose most:", worst[i].node, worst[i].before,
                     worst[i].after) < 0)
            needed(NULL);
        free(text);
        free(worst[i].node);
    }
    free(prefix);
    qonnx_ctx_free(quiet);
    return text;
}

/* Says which output is too far from the float model's, if one is: a warning, or a failure. */
static bool judge(qonnx_ctx *cx, const Args *args, const Passes *p, const qonnx_graph *made,
                  const Comparison *c)
{
    int i = find_worst(c, true);
    char ratio[SQNR_ROOM], agree[PERCENT_ROOM], name[NAME_ROOM], classes[80] = "", *text = NULL;
    if (args->strict && c->fault)
        return qonnx_fail(cx, NULL,
                          "temporary file: %s; the result cannot be checked, as --strict asks for",
                          c->fault);
    if (i < 0) return true;
    const Likeness *l = &c->likeness[i];
    if (l->paired)
        snprintf(classes, sizeof classes, ", and %s of the samples its class",
                 percent_text(agree, true, l->agreeing, l->paired));
    char *layers = layers_text(args, p, made);
    if (asprintf(&text, "output '%s' has an SQNR of %s against the float model's%s%s; %s",
                 clean_name(name, sizeof name, output_name(made, i)), sqnr_text(ratio, l), classes,
                 layers, advice(args, p)) < 0)
        needed(NULL);
    if (!args->strict) warn("%s", text);
    else qonnx_fail(cx, NULL, "%s; nothing is written, as --strict asks for", text);
    free(layers);
    free(text);
    return !args->strict;
}

/* ---- running --------------------------------------------------------------------------------- */

static bool run_both(qonnx_ctx *cx, const Args *args, const qonnx_graph *made, Comparison *out)
{
    qonnx_graph *model = runnable_load(cx, args, args->operands[0]);
    qonnx_graph *shaped = model ? shaped_copy(cx, made, args) : NULL;
    size_t most = (size_t)args->check_samples;
    bool good = shaped && compare_graphs(cx, args, most, model, shaped, NULL, out);
    qonnx_graph_free(shaped);
    qonnx_graph_free(model);
    return good;
}

bool check_made(qonnx_ctx *cx, const Args *given, const Passes *passes, const qonnx_stats *stats,
                const qonnx_graph *made, Comparison *out)
{
    Args args = statistics_prepared(given, stats);
    qonnx_ctx *quiet = qonnx_ctx_new(); /* what there is to say of the float model has been said */
    bool good = run_both(quiet, &args, made, out);
    if (!good && qonnx_error(quiet)) qonnx_fail(cx, NULL, "%s", qonnx_error(quiet));
    qonnx_ctx_free(quiet);
    good = good && judge(cx, &args, passes, made, out);
    statistics_release(&args, given);
    return good;
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

void check_print(const Comparison *c, const qonnx_graph *made)
{
    char name[NAME_ROOM];
    if (c->fault) print_line("checked      nothing: temporary file: %s", c->fault);
    if (!c->samples) return;
    printf("checked      %zu samples against the float model%s", c->samples,
           c->outputs == 1 ? ": " : "\n");
    for (int i = 0; i < c->outputs; i++) {
        if (c->outputs > 1)
            printf("             %s ", clean_name(name, sizeof name, output_name(made, i)));
        print_likeness(&c->likeness[i]);
    }
}

json_t *check_json(const Comparison *c, const qonnx_graph *made)
{
    if (!c->samples) return json_null();
    json_t *outputs = json_array();
    for (int i = 0; i < c->outputs; i++) {
        json_t *o = json_pack("{so}", "name", json_text(output_name(made, i)));
        likeness_json(o, &c->likeness[i]);
        json_array_append_new(outputs, o);
    }
    return json_pack("{sI so}", "samples", (json_int_t)c->samples, "outputs", outputs);
}
