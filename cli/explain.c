/* cli/explain.c - qonnx explain: how a node is quantized, or why it is not. */
#include "choices.h"
#include "facts.h"
#include "node_error.h"
#include "output.h"
#include "pipeline.h"
#include "placed.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

/* What is said of a node. */
typedef struct Answer {
    const Subject *subject;
    const char *asked; /* as it was typed */
    const qonnx_node *node;
    const qonnx_finding *found; /* NULL: nothing is said of such nodes */
    const Fact *facts;          /* [count] */
    int count;
    NodeError error; /* with --data */
} Answer;

/* ---- as text --------------------------------------------------------------------------------- */

static void print_laid(const char *title, const Laid *l, bool seen, const char *more)
{
    printf("  %-12s%.5g to %.5g, %s, scale %.6g, zero point %d", title, l->lo, l->hi,
           qonnx_dtype_name(l->dtype), l->scale, l->zero_point);
    if (seen) printf(", %.3g %% clipped", 100 * l->clipped);
    printf("%s\n", more);
}

static void print_spread(const Fact *f)
{
    const Spread *s = &f->spread;
    printf("  %-12s%d along axis %d: up to %.5g (channel %d), median %.5g, least %.5g (channel %d)",
           "channels", s->count, s->axis, s->largest, s->widest, s->median, s->smallest,
           s->narrowest);
    if (s->median > 0) printf("; the widest is %.3g times the median", s->largest / s->median);
    if (f->role == ROLE_WEIGHT && f->laid.scales == 1)
        printf(", the least has %.3g steps", s->smallest / f->laid.scale);
    putchar('\n');
}

static void print_fact(const Answer *a, const Fact *f)
{
    char name[NAME_ROOM], type[NAME_ROOM];
    printf("\n%s %d  %s  %s\n", role_word(f->role), f->place,
           clean_name(name, sizeof name, f->name), type_text(type, sizeof type, f->value));
    const Laid *l = &f->laid;
    if (l->dtype == QONNX_UNDEFINED)
        printf("  %-12s%s\n", "integers",
               a->subject->made ? "none: it stays in float" : "not known without --calibration");
    else if (l->scales > 1)
        printf("  %-12s%s, %d scales from %.6g to %.6g\n", "integers", qonnx_dtype_name(l->dtype),
               l->scales, l->least, l->scale);
    else if (f->role == ROLE_BIAS)
        printf("  %-12s%s, scale %.6g\n", "integers", qonnx_dtype_name(l->dtype), l->scale);
    else print_laid("integers", l, f->seen, "");
    if (f->seen)
        printf("  %-12s%.5g to %.5g in %llu values\n", "seen", f->seen->min, f->seen->max,
               (unsigned long long)f->seen->count);
    if (f->seen && (f->seen->nan || f->seen->inf))
        printf("  %-12s%llu NaN, %llu infinite\n", "", (unsigned long long)f->seen->nan,
               (unsigned long long)f->seen->inf);
    for (const Choice *c = f->choices; c < f->choices + f->nchoices; c++)
        print_laid(c->observer, &c->laid, true,
                   !c->used   ? ""
                   : c->usual ? "  <- default"
                              : "  <- chosen");
    if (f->spread.count > 1) print_spread(f);
}

static void print_text(const Answer *a)
{
    char name[NAME_ROOM], op[NAME_ROOM], why[2 * NAME_ROOM];
    const qonnx_finding *found = a->found;
    printf("%s (%s)", clean_name(name, sizeof name, qonnx_node_label(a->node)),
           clean_name(op, sizeof op, qonnx_node_op(a->node)));
    if (strcmp(qonnx_node_label(a->node), a->asked) != 0)
        printf(", which computes %s", clean_name(why, sizeof why, a->asked));
    putchar('\n');
    printf("runs in     %s, for %s\n", found ? fate_word(found->fate) : "float",
           a->subject->target->name);
    if (found && found->why) printf("because     %s\n", clean_name(why, sizeof why, found->why));
    if (found && found->overflow)
        printf("overflow    %s\n", clean_name(why, sizeof why, found->overflow));
    node_error_print(&a->error);
    for (int i = 0; i < a->count; i++) print_fact(a, &a->facts[i]);
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static void print_json(const Answer *a)
{
    const qonnx_finding *f = a->found;
    json_t *values = json_array();
    for (int i = 0; i < a->count; i++) json_array_append_new(values, fact_json(&a->facts[i]));
    json_print(json_pack("{so ss sb so so so ss so so so so}", "file", json_text(a->subject->path),
                         "target", a->subject->target->name, "quantized", a->subject->quantized,
                         "asked", json_text(a->asked), "name", json_text(qonnx_node_label(a->node)),
                         "type", json_text(qonnx_node_op(a->node)), "runs",
                         f ? fate_word(f->fate) : "float", "why",
                         f && f->why ? json_text(f->why) : json_null(), "overflow",
                         f && f->overflow ? json_text(f->overflow) : json_null(), "error",
                         node_error_json(&a->error), "values", values));
}

/* ---- the verb -------------------------------------------------------------------------------- */

/* Checks the command line. Returns -1 to go on. */
static int usage(const Verb *verb, const Args *args)
{
    if (args->data.count && !args->calibrations.count)
        return options_misuse(verb, "explain: --data measures what quantize makes with statistics: "
                                    "give these, too, with --calibration M.qcal");
    int status = check_target(verb, args->target);
    if (status < 0) status = choices_check(verb, args);
    return status < 0 ? choices_observer(verb, args) : status;
}

/* Options of the pipeline say nothing of a file that has its integers. */
static bool fits(qonnx_ctx *cx, const Args *args, const Subject *s)
{
    const bool chosen =
        args->observer || args->activations || args->weights || args->overrides.count;
    return !s->quantized || !(chosen || args->data.count) ||
           qonnx_fail(
               cx, NULL,
               "%s is quantized already: name the float model with --data, --observer, "
               "--activations, --weights and --overrides; 'qonnx evaluate --layers' measures "
               "a quantized one",
               s->path);
}

static int explain(const Verb *verb, const Args *args)
{
    int status = usage(verb, args);
    if (status >= 0) return status;
    qonnx_ctx *cx = progress_ctx();
    Subject s;
    Answer a = {.subject = &s, .asked = args->operands[1]};
    Fact *facts = NULL;
    bool good = subject_read(cx, args, &s) && fits(cx, args, &s) &&
                (a.node = subject_node(cx, &s, a.asked)) != NULL;
    if (good) {
        a.found = subject_finding(&s, a.node);
        a.count = facts_of(cx, &s, a.node, &facts);
        a.facts = facts;
        good = !args->data.count || node_error_measure(cx, args, &s, a.node, &a.error);
    }
    if (good) {
        if (args->json) print_json(&a);
        else print_text(&a);
    }
    status = good ? EXIT_DONE : report_failure(cx);
    free(facts);
    subject_release(&s);
    qonnx_ctx_free(cx);
    return status;
}

static const Option options[] = {
    {"calibration", 0, OPTION_LIST, offsetof(Args, calibrations), "M.qcal", NULL,
     "statistics of 'qonnx calibrate' of the model: ranges,\n"
     "what observers would choose, what is clipped; again\n"
     "for more"},
    {"target", 0, OPTION_TEXT, offsetof(Args, target), "T", "ort-x86",
     "what the model is for; 'qonnx passes' lists them"},
    OPTION_FORCE,
    {"observer", 0, OPTION_TEXT, offsetof(Args, observer), "NAME", NULL,
     "what 'qonnx quantize' makes with this, and with the\n"
     "next three, as there"},
    {"activations", 0, OPTION_TEXT, offsetof(Args, activations), "TYPE", NULL,
     "uint8, int8, uint16 or int16, or with options"},
    {"weights", 0, OPTION_TEXT, offsetof(Args, weights), "TYPE", NULL,
     "int8, or with options; per-channel or per-tensor"},
    {"overrides", 0, OPTION_LIST, offsetof(Args, overrides), "FILE.json", NULL,
     "how single tensors and nodes are quantized"},
    {"data", 0, OPTION_LIST, offsetof(Args, data), "DATA", NULL,
     "measure on samples, 16 unless --limit is given, with\n"
     "--calibration: the node's own error, as evaluate\n"
     "--layers has it, and its share of the noise of the\n"
     "outputs: how much less they have with this node alone\n"
     "in float, each by its signal. Below 0 %: its noise\n"
     "makes up for that of others"},
    {.name = NULL},
};

const Verb verb_explain = {
    .name = "explain",
    .brief = "how a node is quantized: ranges, scales, channels; or why it is not",
    .forms = "MODEL NODE [--calibration M.qcal [--data DATA]] [--target T] [--json]",
    .text =
        "NODE is the name of a node, or of a value that it gives. Of a model in float: what\n"
        "'qonnx quantize' will make of the node with the options given, with --calibration the "
        "range and the\n"
        "scale of each of its values beside what every observer would choose, and the share of\n"
        "the values seen that is clipped. Of a quantized model: what is in the file. Always: "
        "where\n"
        "it runs and why, and how unlike the channels of its weight are.",
    .examples = "qonnx explain model.onnx conv1\n"
                "qonnx explain model.onnx conv1 --calibration model.qcal\n"
                "qonnx explain model.onnx conv1 --calibration model.qcal --data test/\n"
                "qonnx explain model.onnx softmax_out --target tensorrt\n"
                "qonnx explain model.int8.onnx conv1 --calibration model.qcal --json",
    .options = options,
    .samples = true,
    .pictures = true,
    .json = true,
    .least = 2,
    .most = 2,
    .run = explain,
};
