/* cli/presets.c - qonnx presets: how pictures can be prepared, by name. */
#include "options.h"
#include "output.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>

static void print_text(void)
{
    const char *name, *text, *brief;
    for (int i = 0; (name = qonnx_preset_at(i, &text, &brief)); i++)
        printf("%s%s\n    %s\n    %s\n", i ? "\n" : "", name, brief,
               *text ? text : "(every field at its default)");
}

/* The fields of a preset, in the form that --preprocess reads. */
static json_t *fields_json(const char *text)
{
    qonnx_ctx *cx = progress_ctx();
    char *json = needed(qonnx_preprocess_json(cx, text));
    json_t *fields = json_loads(json, 0, NULL);
    free(json);
    qonnx_ctx_free(cx);
    return fields;
}

static void print_json(void)
{
    json_t *list = json_array();
    const char *name, *text, *brief;
    for (int i = 0; (name = qonnx_preset_at(i, &text, &brief)); i++)
        json_array_append_new(list, json_pack("{ss ss ss so}", "name", name, "brief", brief, "text",
                                              text, "preprocess", fields_json(text)));
    json_print(json_pack("{so}", "presets", list));
}

static int presets(const Verb *verb, const Args *args)
{
    (void)verb;
    (args->json ? print_json : print_text)();
    return EXIT_DONE;
}

static const Option options[] = {{.name = NULL}};

const Verb verb_presets = {
    .name = "presets",
    .brief = "how pictures can be prepared: names for --preset",
    .forms = "[--json]",
    .text = "Lists the preprocessings that have a name, with their fields as the options of the\n"
            "same names take them. 'model' in a size is the size of the model's input.",
    .examples = "qonnx presets\n"
                "qonnx presets --json | jq '.presets[] | select(.name == \"clip\").preprocess'",
    .options = options,
    .json = true,
    .least = 0,
    .most = 0,
    .run = presets,
};
