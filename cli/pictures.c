/* cli/pictures.c - see pictures.h. */
#include "pictures.h"
#include "progress.h"
#include <qonnx/graph.h>
#include <stdlib.h>
#include <string.h>

/* The options that set a field each; they are called as it is. */
static const struct {
    const char *name;
    size_t offset; /* in Args */
} fields[] = {{"resize", offsetof(Args, resize)},
              {"crop", offsetof(Args, crop)},
              {"pad", offsetof(Args, pad)},
              {"color", offsetof(Args, color)},
              {"scale", offsetof(Args, scale)},
              {"mean", offsetof(Args, mean)},
              {"std", offsetof(Args, std)},
              {"input-layout", offsetof(Args, input_layout)},
              {"input-type", offsetof(Args, input_type)},
              {"background", offsetof(Args, background)}};

/* Sets a field of args->pictures; false: the message is in the context. */
static bool set(qonnx_ctx *cx, Args *args, const char *name, const char *value)
{
    char *text = qonnx_preprocess_set(cx, args->pictures, name, value);
    if (!text) return false;
    free(args->pictures);
    args->pictures = text;
    return true;
}

static int misused(const Verb *verb, qonnx_ctx *cx)
{
    int status = options_misuse(verb, "%s", qonnx_error(cx));
    qonnx_ctx_free(cx);
    return status;
}

int pictures_read(const Verb *verb, Args *args)
{
    if (args->preset && args->preprocess)
        return options_misuse(verb, "%s: give --preset or --preprocess, not both", verb->name);
    qonnx_ctx *cx = progress_ctx();
    const char *from = args->preset ? args->preset : args->preprocess;
    if (args->preprocess && !(args->pictures = qonnx_preprocess_load(cx, args->preprocess))) {
        int status = report_failure(cx);
        qonnx_ctx_free(cx);
        return status;
    }
    if (args->preset && !set(cx, args, "preset", args->preset)) return misused(verb, cx);
    bool more = args->no_exif;
    if (args->no_exif && !set(cx, args, "exif", "ignore")) return misused(verb, cx);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *value = *(const char *const *)((const char *)args + fields[i].offset);
        if (value && !set(cx, args, fields[i].name, value)) return misused(verb, cx);
        more = more || value;
    }
    qonnx_ctx_free(cx);
    if (!args->pictures) return -1;
    if (asprintf(&args->origin, "%s%s%s%s", args->preset ? "preset " : "", from ? from : "",
                 from && more ? " and " : "", more ? "options" : "") < 0)
        qonnx_out_of_memory();
    return -1;
}

void pictures_tell(const qonnx_dataset *d, const qonnx_graph *g)
{
    char *line = qonnx_dataset_describe(d), *mine = qonnx_dataset_preprocess(d);
    const char *theirs = qonnx_model_metadata(g, QONNX_PREPROCESS_KEY);
    char *other = mine && theirs ? qonnx_preprocess_difference(mine, theirs) : NULL;
    if (line) tell("input: %s", line);
    if (other)
        warn("pictures are prepared in another way than the model was quantized for: %s", other);
    free(other);
    free(mine);
    free(line);
}

bool pictures_take(qonnx_ctx *cx, Args *args, const qonnx_graph *g, const char *path)
{
    args->pictures = qonnx_preprocess_of_model(cx, g);
    args->of_model = args->pictures != NULL;
    if (args->of_model && asprintf(&args->origin, "the metadata of %s", path) < 0)
        qonnx_out_of_memory();
    return args->of_model;
}
