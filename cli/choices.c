/* cli/choices.c - see choices.h. */
#include "choices.h"
#include "budget.h"
#include <stdio.h>
#include <string.h>

static const char *observer_name(const void *from, int i)
{
    (void)from;
    const qonnx_observer *o = qonnx_observer_at(i);
    return o ? o->name : NULL;
}

static bool has_observer(const char *name)
{
    const qonnx_observer *o;
    for (int i = 0; (o = qonnx_observer_at(i)); i++)
        if (!strcmp(o->name, name)) return true;
    return false;
}

int choices_observer(const Verb *verb, const Args *args)
{
    char typed[80];
    const char *observer = args->observer;
    if (!observer) return -1;
    snprintf(typed, sizeof typed, "%.*s", (int)strcspn(observer, "{"), observer);
    if (has_observer(typed)) return -1;
    plugins_search();
    if (has_observer(typed)) return -1;
    return unknown_name(verb, "observer", typed, observer_name);
}

static const char *const activation_types[] = {"uint8", "int8", "uint16", "int16", NULL};
static const char *const weight_types[] = {"int8", "per-channel", "per-tensor", NULL};

static const char *word_of(const void *from, int i) { return ((const char *const *)from)[i]; }

/* Whether "TYPE" or "TYPE{...}" is of one of the types. Returns -1 to go on. */
static int check_type(const Verb *verb, const char *option, const char *given,
                      const char *const *types)
{
    char typed[80];
    if (!given) return -1;
    snprintf(typed, sizeof typed, "%.*s", (int)strcspn(given, "{"), given);
    for (int i = 0; types[i]; i++)
        if (!strcmp(typed, types[i]) && (given[strlen(typed)] == 0 || typed[0] != 'p')) return -1;
    const char *near = nearest_word(typed, word_of, types);
    return options_misuse(verb, "%s: %s has no type '%s'; %s '%s'", verb->name, option, typed,
                          near ? "did you mean" : "want one as", near ? near : types[0]);
}

int choices_check(const Verb *verb, const Args *args)
{
    int status = check_type(verb, "--activations", args->activations, activation_types);
    return status < 0 ? check_type(verb, "--weights", args->weights, weight_types) : status;
}

/* What belongs to samples, or to a choice that --requantize leaves to the file. */
static int check_requantize(const Verb *verb, const Args *args)
{
    const struct {
        bool given;
        const char *option;
    } others[] = {
        {args->data.count > 0, "--data"},
        {args->calibrations.count > 0, "--calibration"},
        {args->observer != NULL, "--observer"},
        {args->no_correct_bias, "--no-correct-bias"},
        {args->pipeline != NULL, "--pipeline"},
        {args->exclude.count > 0, "--exclude"}, /* a weight that is kept is integers already */
        {args->only.count > 0, "--only"},
        {args->overrides.count > 0, "--overrides"},
        {args->activations != NULL, "--activations"},
        {args->optimize, "--optimize"},
        {args->min_sqnr > 0, "--min-sqnr"},
        {args->max_drop != NULL, "--max-drop"},
        {args->max_size > 0, "--max-size"},
        {args->strict, "--strict"}, /* there is no float model to compare with */
    };
    for (size_t i = 0; args->requantize && i < sizeof others / sizeof others[0]; i++)
        if (others[i].given)
            return options_misuse(verb,
                                  "quantize: --requantize takes ranges and weights from MODEL; "
                                  "leave out %s",
                                  others[i].option);
    return -1;
}

int choices_fit(const Verb *verb, const Args *args, const Passes *p)
{
    bool needs = passes_find(p, "calibrate") >= 0;
    if (!args->output) return options_misuse(verb, "quantize: name the output with -o OUT.onnx");
    if (needs && !args->calibrations.count && !args->data.count)
        return options_misuse(verb, "quantize: give --data DATA or --calibration M.qcal");
    if (args->pipeline &&
        (args->observer || args->activations || args->weights ||
         !strcmp(args->format, "qoperator") || args->no_correct_bias || args->passes.count ||
         args->exclude.count || args->only.count || args->overrides.count))
        return options_misuse(
            verb,
            "quantize: --pipeline says it all; leave out --observer, "
            "--activations, --weights, --format, --no-correct-bias, --overrides, --exclude, --only "
            "and --pass");
    if (args->optimize && args->pipeline)
        return options_misuse(verb, "quantize: --optimize chooses the passes, and --pipeline "
                                    "gives them; leave out one of them");
    if (args->optimize && !args->requantize && !args->data.count)
        return options_misuse(verb,
                              "quantize: --optimize judges by samples; give them with --data");
    if (args->mixed && !args->optimize && !budget_given(args))
        return options_misuse(verb,
                              "quantize: --mixed says what --optimize, --min-sqnr, --max-drop "
                              "and --max-size may do; give one of them, too");
    if (args->fix_shape && !args->shapes.count)
        return options_misuse(verb,
                              "quantize: --fix-shape writes the shapes of --shape; give them");
    if (args->dump_after && passes_find(p, args->dump_after) < 0)
        return options_misuse(verb, "quantize: --dump-after: the pipeline has no pass '%s'",
                              args->dump_after);
    int status = check_requantize(verb, args);
    if (status < 0) status = budget_check(verb, args);
    if (status < 0) status = check_target(verb, args->target);
    return status < 0 ? choices_observer(verb, args) : status;
}
