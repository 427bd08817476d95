/* cli/pipeline.c - see pipeline.h. */
#include "pipeline.h"
#include "progress.h"
#include <qonnx/graph.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t\n"; /* allowed around the names */

/* Length of the text up to the next comma or closing brace that no brace encloses. */
static size_t piece_length(const char *text)
{
    int depth = 0;
    size_t n = 0;
    for (; text[n]; n++) {
        if (!depth && (text[n] == ',' || text[n] == '}')) break;
        depth += (text[n] == '{') - (text[n] == '}');
    }
    return n;
}

static bool is_blank(const char *text) { return !text[strspn(text, " \t\n")]; }

Passes passes_split(const char *pipeline)
{
    Passes p = {needed(calloc(strlen(pipeline) + 1, sizeof(char *))), 0};
    for (const char *at = pipeline; !is_blank(at);) {
        size_t n = piece_length(at);
        const char *first = at + strspn(at, blanks);
        at += n;
        const char *end = at;
        while (end > first && strchr(blanks, end[-1])) end--;
        p.text[p.count++] = needed(strndup(first, end > first ? (size_t)(end - first) : 0));
        if (*at) at++;
    }
    return p;
}

void passes_free(Passes *p)
{
    for (int i = 0; i < p->count; i++) free(p->text[i]);
    free(p->text);
    *p = (Passes){NULL, 0};
}

char *passes_join(const Passes *p, int from, int to)
{
    size_t room = 1;
    for (int i = from; i < to; i++) room += strlen(p->text[i]) + 1;
    char *out = needed(malloc(room)), *end = out;
    *end = 0;
    for (int i = from; i < to; i++) end = stpcpy(stpcpy(end, i > from ? "," : ""), p->text[i]);
    return out;
}

/* Whether the text is "NAME" or "NAME{...}". */
static bool is_pass(const char *text, const char *name)
{
    size_t n = strlen(name);
    return !strncmp(text, name, n) && (!text[n] || strchr("{ \t\n", text[n]));
}

int passes_find(const Passes *p, const char *name)
{
    for (int i = 0; i < p->count; i++)
        if (is_pass(p->text[i], name)) return i;
    return -1;
}

void passes_set(Passes *p, const char *name, const char *option, const char *value)
{
    int i = passes_find(p, name);
    if (i < 0) return;
    const char *close = strrchr(p->text[i], '}');
    int keep = close ? (int)(close - p->text[i]) : (int)strlen(p->text[i]);
    char *text = NULL;
    if (asprintf(&text, "%.*s%c%s=%s}", keep, p->text[i], close ? ',' : '{', option, value) < 0)
        needed(NULL);
    free(p->text[i]);
    p->text[i] = text;
}

void passes_drop(Passes *p, const char *name)
{
    int i = passes_find(p, name);
    if (i < 0) return;
    free(p->text[i]);
    p->count--;
    memmove(p->text + i, p->text + i + 1, (size_t)(p->count - i) * sizeof *p->text);
}

bool passes_insert(Passes *p, const char *spec)
{
    const char *brace = strrchr(spec, '}'), *mark = strrchr(brace ? brace : spec, '@');
    int length = mark ? (int)(mark - spec) : (int)strlen(spec), at = p->count;
    if (mark)
        while (at > 0 && !is_pass(p->text[at - 1], mark + 1)) at--;
    else if (passes_find(p, "calibrate") >= 0) at = passes_find(p, "calibrate");
    if (!at && mark) return false;
    char *before = passes_join(p, 0, at), *behind = passes_join(p, at, p->count), *text = NULL;
    if (asprintf(&text, "%s%s%.*s%s%s", before, *before ? "," : "", length, spec,
                 *behind ? "," : "", behind) < 0)
        needed(NULL);
    passes_free(p);
    *p = passes_split(text);
    free(before);
    free(behind);
    free(text);
    return true;
}

int passes_insert_all(const Verb *verb, const Args *args, Passes *p)
{
    for (int i = 0; i < args->passes.count; i++)
        if (!passes_insert(p, args->passes.text[i]))
            return options_misuse(verb, "%s: --pass %s: the pipeline has no pass '%s'", verb->name,
                                  args->passes.text[i], strrchr(args->passes.text[i], '@') + 1);
    return -1;
}

/* The default of a registered pass's option; NULL when there is none. */
static const char *option_default(const char *pass, const char *option)
{
    const qonnx_pass *p;
    for (int i = 0; (p = qonnx_pass_at(i)); i++)
        for (const qonnx_option *o = p->options; o && o->name && !strcmp(p->name, pass); o++)
            if (!strcmp(o->name, option)) return o->value;
    return NULL;
}

char *passes_option(const Passes *p, const char *pass, const char *option)
{
    int i = passes_find(p, pass);
    const char *at = i < 0 ? NULL : strchr(p->text[i], '{');
    size_t length = strlen(option);
    while (at && *at && *at != '}') {
        at += 1 + strspn(at + 1, blanks);
        size_t n = piece_length(at);
        if (!strncmp(at, option, length) && at[length] == '=')
            return needed(strndup(at + length + 1, n - length - 1));
        at += n;
    }
    const char *preset = i < 0 ? NULL : option_default(pass, option);
    return preset ? needed(strdup(preset)) : NULL;
}

bool passes_run(qonnx_ctx *cx, qonnx_graph *g, const Passes *p, int from, int to,
                const qonnx_pipeline_options *o, const char *dump_after)
{
    int stop = dump_after ? passes_find(p, dump_after) + 1 : 0;
    bool dumping = stop > from && stop <= to, good = true;
    int middle = dumping ? stop : to;
    if (from < middle) {
        char *text = passes_join(p, from, middle);
        good = qonnx_pipeline_run(cx, g, text, o);
        free(text);
    }
    if (!dumping || !good) return good;
    progress_clear();
    qonnx_graph_dump(g, stderr);
    return passes_run(cx, g, p, middle, to, o, NULL);
}

/* ---- plugins --------------------------------------------------------------------------------- */

bool plugins_load(const Args *args)
{
    qonnx_ctx *cx = progress_ctx();
    bool good = true;
    for (int i = 0; good && i < args->plugins.count; i++)
        good = qonnx_plugin_load(cx, args->plugins.text[i]);
    if (!good) report_failure(cx);
    qonnx_ctx_free(cx);
    return good;
}

void plugins_search(void)
{
    qonnx_ctx *cx = progress_ctx();
    qonnx_plugin_search(cx);
    qonnx_ctx_free(cx);
}
