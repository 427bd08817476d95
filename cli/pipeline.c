/* cli/pipeline.c - see pipeline.h. */
#include "pipeline.h"
#include "progress.h"
#include <qonnx/graph.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t\n"; /* allowed around the names */

static bool is_blank(const char *text) { return !text[strspn(text, blanks)]; }

Passes passes_split(const char *pipeline)
{
    Passes p = {needed(calloc(strlen(pipeline) + 1, sizeof(char *))), 0};
    for (const char *at = pipeline; !is_blank(at);) {
        size_t n = qonnx_pipeline_span(at, ",");
        const char *first = at + strspn(at, blanks);
        at += n;
        const char *end = at;
        while (end > first && strchr(blanks, end[-1])) end--;
        p.text[p.count++] = needed(strndup(first, end > first ? (size_t)(end - first) : 0));
        if (*at) at++;
    }
    return p;
}

Passes passes_copy(const Passes *p)
{
    char *text = passes_join(p, 0, p->count);
    Passes copy = passes_split(text);
    free(text);
    return copy;
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

/* Gives pass i an option. */
static void passes_set_at(Passes *p, int i, const char *option, const char *value)
{
    const char *close = strrchr(p->text[i], '}');
    int keep = close ? (int)(close - p->text[i]) : (int)strlen(p->text[i]);
    char *text = NULL, *written = needed(qonnx_pipeline_quote(value));
    if (asprintf(&text, "%.*s%c%s=%s}", keep, p->text[i], close ? ',' : '{', option, written) < 0)
        needed(NULL);
    free(written);
    free(p->text[i]);
    p->text[i] = text;
}

void passes_set(Passes *p, const char *name, const char *option, const char *value)
{
    int i = passes_find(p, name);
    if (i >= 0) passes_set_at(p, i, option, value);
}

void passes_drop(Passes *p, const char *name)
{
    int i = passes_find(p, name);
    if (i < 0) return;
    free(p->text[i]);
    p->count--;
    memmove(p->text + i, p->text + i + 1, (size_t)(p->count - i) * sizeof *p->text);
}

/* Puts the passes of the first `length` bytes of a text at that place. */
static void insert_at(Passes *p, int at, const char *spec, size_t length)
{
    char *text = needed(strndup(spec, length));
    Passes more = passes_split(text);
    size_t size = sizeof *p->text;
    p->text = needed(reallocarray(p->text, (size_t)(p->count + more.count + 1), size));
    memmove(p->text + at + more.count, p->text + at, (size_t)(p->count - at) * size);
    memcpy(p->text + at, more.text, (size_t)more.count * size);
    p->count += more.count;
    free(more.text);
    free(text);
}

void passes_insert_at(Passes *p, int at, const char *pass) { insert_at(p, at, pass, strlen(pass)); }

/* The name behind the '@' of "TEXT@AFTER"; NULL when there is none. */
static const char *after(const char *spec)
{
    size_t n = qonnx_pipeline_span(spec, "@");
    return spec[n] ? spec + n + 1 : NULL;
}

bool passes_insert(Passes *p, const char *spec)
{
    const char *behind = after(spec);
    int at = p->count;
    if (behind)
        while (at > 0 && !is_pass(p->text[at - 1], behind)) at--;
    else if (passes_find(p, "calibrate") >= 0) at = passes_find(p, "calibrate");
    if (!at && behind) return false;
    insert_at(p, at, spec, qonnx_pipeline_span(spec, "@"));
    return true;
}

int passes_insert_all(const Verb *verb, const Args *args, Passes *p)
{
    for (int i = 0; i < args->passes.count; i++)
        if (!passes_insert(p, args->passes.text[i]))
            return options_misuse(verb, "%s: --pass %s: the pipeline has no pass '%s'", verb->name,
                                  args->passes.text[i], after(args->passes.text[i]));
    return -1;
}

/* Puts passes right before `calibrate`, or before `insert-qdq` where there is none. Returns where.
 */
static int insert_choice(Passes *p, const char *text)
{
    int at = passes_find(p, "calibrate");
    if (at < 0) at = passes_find(p, "insert-qdq");
    if (at < 0) at = p->count;
    insert_at(p, at, text, strlen(text));
    return at;
}

/* The same of keep-float with one option. */
static int insert_kept(Passes *p, const char *option, const char *value)
{
    int at = insert_choice(p, "keep-float");
    passes_set_at(p, at, option, value);
    return at;
}

/* Whether a pattern is one for operators, "op:REGEX", and the regular expression. */
static bool of_operators(const char *pattern, const char **regex)
{
    bool is = !strncmp(pattern, "op:", 3);
    *regex = pattern + (is ? 3 : 0);
    return is;
}

/* The patterns of --only that are for operators, or those for names, as one; malloc'd. "": none. */
static char *joined(const List *only, bool operators)
{
    char *out = needed(strdup("")), *longer;
    for (int i = 0; i < only->count; i++, out = longer) {
        const char *regex;
        longer = out;
        if (of_operators(only->text[i], &regex) != operators) continue;
        if (asprintf(&longer, "%s%s(%s)", out, *out ? "|" : "", regex) < 0) needed(NULL);
        free(out);
    }
    return out;
}

/* Puts "TYPE{OPTION=VALUE,...}", or what `per-channel` and `per-tensor` are short for, for all
 * activations or weights. */
static void insert_types(Passes *p, const char *which, const char *given)
{
    char *text = NULL;
    const int length = (int)strcspn(given, "{");
    const bool is_short = !strncmp(given, "per-", 4),
               options = given[length] && given[length + 1] != '}';
    int done = is_short ? asprintf(&text, "override{all=%s,per=%s}", which, given + 4)
                        : asprintf(&text, "override{all=%s,dtype=%.*s%s%s", which, length, given,
                                   options ? "," : "", given[length] ? given + length + 1 : "}");
    if (done < 0) needed(NULL);
    insert_choice(p, text);
    free(text);
}

bool passes_insert_choice(qonnx_ctx *cx, const Args *args, Passes *p)
{
    const char *regex;
    if (args->activations) insert_types(p, "activations", args->activations);
    if (args->weights) insert_types(p, "weights", args->weights);
    for (int i = 0; i < args->overrides.count; i++) {
        char *text = qonnx_overrides_load(cx, args->overrides.text[i]);
        if (!text) return false;
        insert_choice(p, text);
        free(text);
    }
    for (int i = 0; i < args->exclude.count; i++) {
        bool operators = of_operators(args->exclude.text[i], &regex);
        insert_kept(p, operators ? "ops" : "nodes", regex);
    }
    if (!args->only.count) return true;
    char *nodes = joined(&args->only, false), *ops = joined(&args->only, true);
    passes_set_at(p, insert_kept(p, "only-nodes", nodes), "only-ops", ops);
    free(nodes);
    free(ops);
    return true;
}

int passes_split_at(const Passes *p)
{
    int at = passes_find(p, "calibrate");
    if (at < 0) return p->count;
    while (at > 0 &&
           (is_pass(p->text[at - 1], "keep-float") || is_pass(p->text[at - 1], "override")))
        at--;
    return at;
}

char *passes_option(const Passes *p, const char *pass, const char *option)
{
    int i = passes_find(p, pass);
    return i < 0 ? NULL : qonnx_pipeline_setting(p->text[i], option);
}

bool passes_check(qonnx_ctx *cx, const Passes *p)
{
    bool good = true;
    for (int i = 0; good && i < p->count; i++) good = qonnx_pipeline_check(cx, p->text[i]);
    return good;
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

/* ---- names of what `qonnx passes` lists --------------------------------------------------------
 */

int unknown_name(const Verb *verb, const char *what, const char *name, word_at_fn *word_at)
{
    const char *near = nearest_word(name, word_at, NULL);
    return near ? options_misuse(verb, "unknown %s '%s'; did you mean '%s'?", what, name, near)
                : options_misuse(verb, "unknown %s '%s'; 'qonnx passes' lists them", what, name);
}

static const char *target_name(const void *from, int i)
{
    (void)from;
    const qonnx_target *t = qonnx_target_at(i);
    return t ? t->name : NULL;
}

int check_target(const Verb *verb, const char *target)
{
    return !target || qonnx_target_find(target) ? -1
                                                : unknown_name(verb, "target", target, target_name);
}
