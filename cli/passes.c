/* cli/passes.c - qonnx passes: the passes, observers and targets there are. */
#include "options.h"
#include "output.h"
#include "pipeline.h"
#include "progress.h"
#include <qonnx/qonnx.h>

static void print_options(const qonnx_option *o)
{
    for (; o && o->name; o++) printf("    %s=%s\n        %s\n", o->name, o->value, o->help);
}

/* Which plugin brought the entry above, unless it is built in. */
static void print_origin(const qonnx_plugin *plugin, const char *file)
{
    if (plugin) print_line("    from plugin %s %s, %s", plugin->name, plugin->version, file);
}

static void print_text(void)
{
    const qonnx_pass *p;
    const qonnx_observer *o;
    const qonnx_target *t;
    const qonnx_plugin *from;
    const char *file;
    printf("Passes:\n");
    for (int i = 0; (p = qonnx_pass_at(i)); i++) {
        printf("  %-18s %s\n", p->name, p->brief);
        print_options(p->options);
        from = qonnx_pass_plugin(p, &file);
        print_origin(from, file);
    }
    printf("\nObservers:\n");
    for (int i = 0; (o = qonnx_observer_at(i)); i++) {
        printf("  %-18s %s\n", o->name, o->brief);
        print_options(o->options);
        from = qonnx_observer_plugin(o, &file);
        print_origin(from, file);
    }
    printf("\nTargets:\n");
    for (int i = 0; (t = qonnx_target_at(i)); i++) printf("  %-18s %s\n", t->name, t->brief);
    printf("\nPipeline of --requantize:\n  %s\n", qonnx_pipeline_requantize());
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

/* `plugin` and `file` are NULL for what is built in. */
static json_t *entry_json(const char *name, const char *brief, const qonnx_option *o,
                          const qonnx_plugin *plugin, const char *file)
{
    return json_pack("{so so so so so so}", "name", json_text(name), "brief", json_text(brief),
                     "options", options_json(o), "plugin",
                     plugin ? json_text(plugin->name) : json_null(), "file",
                     plugin ? json_text(file) : json_null(), "version",
                     json_text(plugin ? plugin->version : qonnx_version()));
}

static void print_json(void)
{
    json_t *passes = json_array(), *observers = json_array(), *targets = json_array();
    const qonnx_pass *p;
    const qonnx_observer *o;
    const qonnx_target *t;
    const qonnx_plugin *from;
    const char *file;
    for (int i = 0; (p = qonnx_pass_at(i)); i++) {
        from = qonnx_pass_plugin(p, &file);
        json_array_append_new(passes, entry_json(p->name, p->brief, p->options, from, file));
    }
    for (int i = 0; (o = qonnx_observer_at(i)); i++) {
        from = qonnx_observer_plugin(o, &file);
        json_array_append_new(observers, entry_json(o->name, o->brief, o->options, from, file));
    }
    for (int i = 0; (t = qonnx_target_at(i)); i++)
        json_array_append_new(targets, json_pack("{so so}", "name", json_text(t->name), "brief",
                                                 json_text(t->brief)));
    json_print(json_pack("{so so so ss ss}", "passes", passes, "observers", observers, "targets",
                         targets, "default_pipeline", qonnx_pipeline_default(),
                         "requantize_pipeline", qonnx_pipeline_requantize()));
}

static int passes(const Verb *verb, const Args *args)
{
    (void)verb;
    plugins_search();
    (args->json ? print_json : print_text)();
    return EXIT_DONE;
}

static const Option options[] = {{.name = NULL}};

const Verb verb_passes = {
    .name = "passes",
    .brief = "the passes, observers and targets there are, with their options",
    .forms = "[--plugin FILE] [--json]",
    .text =
        "Lists what a pipeline can be made of, with the default of each option, and the default\n"
        "pipeline, which is where a text for 'qonnx quantize --pipeline' starts from.",
    .examples = "qonnx passes\n"
                "qonnx passes --plugin ./mine.so\n"
                "qonnx passes --json | jq -r '.observers[].name'",
    .options = options,
    .json = true,
    .plugins = true,
    .least = 0,
    .most = 0,
    .run = passes,
};
