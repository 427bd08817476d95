/* frontend/data/preprocess_api.c - preprocessings as the public API has them: as text. */
#include "frontend/data/preprocess.h"
#include "ir/ir.h"
#include <qonnx/run.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What messages about a text begin with that stands in no file. */
static const char where[] = "preprocessing";

char *qonnx_preprocess_set(qonnx_ctx *cx, const char *text, const char *name, const char *value)
{
    Preprocess p;
    bool good = preprocess_parse(cx, where, text ? text : "", &p) &&
                preprocess_set(cx, &p, where, name, value) && preprocess_check(cx, where, &p);
    return good ? preprocess_text(&p) : NULL;
}

char *qonnx_preprocess_load(qonnx_ctx *cx, const char *path)
{
    Preprocess p;
    return preprocess_load(cx, path, &p) ? preprocess_text(&p) : NULL;
}

char *qonnx_preprocess_json(qonnx_ctx *cx, const char *text)
{
    Preprocess p;
    if (!preprocess_parse(cx, where, text, &p)) return NULL;
    json_t *o = preprocess_to_json(&p);
    char *json = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return json;
}

char *qonnx_preprocess_difference(const char *a, const char *b)
{
    qonnx_ctx *quiet = ctx_quiet();
    Preprocess p, q;
    char *text = NULL;
    bool good = preprocess_parse(quiet, where, a, &p) && preprocess_parse(quiet, where, b, &q);
    for (int i = 0; good && preprocess_field(i); i++) {
        char *x = preprocess_value(&p, i), *y = preprocess_value(&q, i), *more = NULL;
        if (strcmp(x, y) != 0 &&
            asprintf(&more, "%s%s%s is %s, not %s", text ? text : "", text ? "; " : "",
                     preprocess_field(i), *x ? x : "the default", *y ? y : "the default") < 0)
            qonnx_out_of_memory();
        if (more) {
            free(text);
            text = more;
        }
        free(x);
        free(y);
    }
    qonnx_ctx_free(quiet);
    return text;
}

const char *qonnx_preset_at(int i, const char **text, const char **brief)
{
    const Preset *p = preset_at(i);
    if (!p) return NULL;
    if (text) *text = p->text;
    if (brief) *brief = p->brief;
    return p->name;
}
