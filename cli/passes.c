/* cli/passes.c - qonnx passes: the passes, observers and targets there are. */
#include "options.h"
#include "output.h"
#include <qonnx/qonnx.h>

static void print_options(const qonnx_option *o)
{
    for (; o && o->name; o++) printf("    %s=%s\n        %s\n", o->name, o->value, o->help);
}

static void print_text(void)
{
    const qonnx_pass *p;
    const qonnx_observer *o;
    const qonnx_target *t;
    printf("Passes:\n");
    for (int i = 0; (p = qonnx_pass_at(i)); i++) {
        printf("  %-18s %s\n", p->name, p->brief);
        print_options(p->options);
    }
    printf("\nObservers:\n");
    for (int i = 0; (o = qonnx_observer_at(i)); i++) {
        printf("  %-18s %s\n", o->name, o->brief);
        print_options(o->options);
    }
    printf("\nTargets:\n");
    for (int i = 0; (t = qonnx_target_at(i)); i++) printf("  %-18s %s\n", t->name, t->brief);
    printf("\nDefault pipeline:\n  %s\n", qonnx_pipeline_default());
}

static json_t *options_json(const qonnx_option *o)
{
    json_t *list = json_array();
    for (; o && o->name; o++)
        json_array_append_new(list, json_pack("{so so so}", "name", json_text(o->name), "default",
                                              json_text(o->value), "help", json_text(o->help)));
    return list;
}

static json_t *entry_json(const char *name, const char *brief, const qonnx_option *o)
{
    return json_pack("{so so so}", "name", json_text(name), "brief", json_text(brief), "options",
                     options_json(o));
}

static void print_json(void)
{
    json_t *passes = json_array(), *observers = json_array(), *targets = json_array();
    const qonnx_pass *p;
    const qonnx_observer *o;
    const qonnx_target *t;
    for (int i = 0; (p = qonnx_pass_at(i)); i++)
        json_array_append_new(passes, entry_json(p->name, p->brief, p->options));
    for (int i = 0; (o = qonnx_observer_at(i)); i++)
        json_array_append_new(observers, entry_json(o->name, o->brief, o->options));
    for (int i = 0; (t = qonnx_target_at(i)); i++)
        json_array_append_new(targets, json_pack("{so so}", "name", json_text(t->name), "brief",
                                                 json_text(t->brief)));
    json_print(json_pack("{so so so ss}", "passes", passes, "observers", observers, "targets",
                         targets, "default_pipeline", qonnx_pipeline_default()));
}

static int passes(const Verb *verb, const Args *args)
{
    (void)verb;
    (args->json ? print_json : print_text)();
    return EXIT_DONE;
}

static const Option options[] = {{.name = NULL}};

const Verb verb_passes = {
    .name = "passes",
    .brief = "the passes, observers and targets there are, with their options",
    .forms = "[--json]",
    .text =
        "Lists what a pipeline can be made of, with the default of each option, and the default\n"
        "pipeline, which is where a text for 'qonnx quantize --pipeline' starts from.",
    .examples = "qonnx passes\n"
                "qonnx passes --json | jq -r '.observers[].name'",
    .options = options,
    .json = true,
    .least = 0,
    .most = 0,
    .run = passes,
};
