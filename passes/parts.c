/* passes/parts.c - see parts.h. */
#include "passes/parts.h"
#include "ir/arena.h"
#include "ir/ir.h"
#include "passes/registry.h"
#include "passes/text.h"
#include <stdlib.h>
#include <string.h>

/* ---- what a pipeline names ------------------------------------------------------------------- */

/* Is told each pass and each observer that a pipeline names; false ends the walk. */
typedef bool part_fn(void *user, bool observer, const char *name);

/* Tells the observer of a pass that has an option of that name. */
static bool tell_observer(const char *pass, size_t length, part_fn *fn, void *user)
{
    char *text = xstrndup(pass, length), *value = qonnx_pipeline_setting(text, "observer");
    Ctx *cx = ctx_quiet();
    Item item = {0};
    bool good = !value || !item_parse(cx, value, strlen(value), &item) || item.blank ||
                fn(user, true, item.name);
    item_free(&item);
    qonnx_ctx_free(cx);
    free(value);
    free(text);
    return good;
}

/* Goes through the passes of the text, each before its observer. What cannot be read is left out.
 */
static bool walk(const char *text, part_fn *fn, void *user)
{
    Ctx *cx = ctx_quiet();
    bool good = true;
    while (good && *text) {
        size_t n = qonnx_pipeline_span(text, ",");
        Item item;
        if (item_parse(cx, text, n, &item) && !item.blank)
            good = fn(user, false, item.name) && tell_observer(text, n, fn, user);
        item_free(&item);
        text += n + (text[n] != 0);
    }
    qonnx_ctx_free(cx);
    return good;
}

/* Whether there is a pass or an observer of that name, and the plugin that brought it: NULL when it
 * is built in. Plugins of the search path are loaded for it. */
static bool look_up(Ctx *cx, bool observer, const char *name, const qonnx_plugin **plugin)
{
    const qonnx_pass *p = observer ? NULL : registry_pass(cx, name);
    const qonnx_observer *o = observer ? registry_observer(cx, name) : NULL;
    *plugin = p ? qonnx_pass_plugin(p, NULL) : o ? qonnx_observer_plugin(o, NULL) : NULL;
    return p || o;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static const Part *find(const Parts *parts, bool observer, const char *name)
{
    for (int i = 0; i < parts->count; i++)
        if (parts->part[i].observer == observer && !strcmp(parts->part[i].name, name))
            return &parts->part[i];
    return NULL;
}

void parts_add(Parts *parts, bool observer, const char *name, const char *plugin,
               const char *version)
{
    if (find(parts, observer, name)) return;
    parts->part = xrealloc_array(parts->part, (size_t)parts->count + 1, sizeof *parts->part);
    parts->part[parts->count++] =
        (Part){observer, xstrdup(name), xstrdup(plugin), xstrdup(version)};
}

static bool add_loaded(void *user, bool observer, const char *name)
{
    const qonnx_plugin *plugin;
    Ctx *cx = ctx_quiet();
    if (look_up(cx, observer, name, &plugin) && plugin)
        parts_add(user, observer, name, plugin->name, plugin->version);
    qonnx_ctx_free(cx);
    return true;
}

Parts parts_of(const char *pipeline)
{
    Parts parts = {0};
    walk(pipeline, add_loaded, &parts);
    return parts;
}

static bool same_plugin(const Part *a, const Part *b)
{
    return !strcmp(a->plugin, b->plugin) && !strcmp(a->version, b->version);
}

bool parts_same(const Parts *a, const Parts *b)
{
    bool same = a->count == b->count;
    for (int i = 0; same && i < a->count; i++)
        same = a->part[i].observer == b->part[i].observer &&
               !strcmp(a->part[i].name, b->part[i].name) && same_plugin(&a->part[i], &b->part[i]);
    return same;
}

void parts_free(Parts *parts)
{
    for (int i = 0; i < parts->count; i++) {
        free(parts->part[i].name);
        free(parts->part[i].plugin);
        free(parts->part[i].version);
    }
    free(parts->part);
    *parts = (Parts){0};
}

/* ---- what asks for samples ------------------------------------------------------------------- */

static bool find_asking(void *user, bool observer, const char *name)
{
    const char **asks = user;
    Ctx *cx = ctx_quiet();
    const qonnx_pass *p = observer ? NULL : registry_pass(cx, name);
    if (p && p->samples) *asks = p->name;
    qonnx_ctx_free(cx);
    return !*asks;
}

const char *qonnx_pipeline_samples(const char *text)
{
    const char *asks = NULL;
    walk(text, find_asking, &asks);
    return asks;
}

/* ---- against what is loaded ------------------------------------------------------------------ */

typedef struct Check {
    Ctx *cx;
    const char *file;  /* that the pipeline was recorded in */
    const Parts *made; /* what was recorded beside it */
    const Part *told;  /* of the plugin that was warned of last; NULL: none yet */
} Check;

static bool missing(const Check *c, const Part *made, bool observer, const char *name)
{
    const char *kind = observer ? "observer" : "pass";
    if (!made)
        return qonnx_fail(c->cx, NULL,
                          "%s: it was made with %s '%s', which is not loaded; give --plugin FILE",
                          c->file, kind, name);
    return qonnx_fail(c->cx, NULL,
                      "%s: it was made with %s '%s' of plugin '%s' %s, which is not loaded; give "
                      "--plugin FILE",
                      c->file, kind, name, made->plugin, made->version);
}

/* Warns of a plugin that is not the one it was. */
static void compare(Check *c, const Part *made, const qonnx_plugin *now)
{
    if (now && !strcmp(now->name, made->plugin) && !strcmp(now->version, made->version)) return;
    if (c->told && same_plugin(c->told, made)) return;
    c->told = made;
    const char *kind = made->observer ? "observer" : "pass";
    if (now)
        qonnx_warn(c->cx, NULL,
                   "%s: it was made with %s '%s' of plugin '%s' %s, and the one that is loaded is "
                   "of '%s' %s: it may do something else; calibrate again with this one",
                   c->file, kind, made->name, made->plugin, made->version, now->name,
                   now->version);
    else
        qonnx_warn(c->cx, NULL,
                   "%s: it was made with %s '%s' of plugin '%s' %s, and this one is built in: it "
                   "may do something else; calibrate again with this one",
                   c->file, kind, made->name, made->plugin, made->version);
}

static bool check_part(void *user, bool observer, const char *name)
{
    Check *c = user;
    const Part *made = find(c->made, observer, name);
    const qonnx_plugin *now;
    bool there = look_up(c->cx, observer, name, &now);
    if (there && made) compare(c, made, now);
    /* An option "observer" of a plugin's pass may say something else. */
    return there || (observer && !made) || missing(c, made, observer, name);
}

bool parts_loaded(Ctx *cx, const char *file, const Parts *made, const char *pipeline)
{
    return walk(pipeline, check_part, &(Check){cx, file, made, NULL});
}

/* ---- as text --------------------------------------------------------------------------------- */

/* Writes "NAME VERSION (pass a, observer b)" of the plugin of part `first`. */
static void describe(FILE *out, const Parts *parts, int first)
{
    const Part *own = &parts->part[first];
    fprintf(out, "%s%s %s (", first ? ", " : "", own->plugin, own->version);
    for (int i = first; i < parts->count; i++)
        if (same_plugin(&parts->part[i], own))
            fprintf(out, "%s%s %s", i > first ? ", " : "",
                    parts->part[i].observer ? "observer" : "pass", parts->part[i].name);
    fputc(')', out);
}

char *qonnx_pipeline_plugins(const char *pipeline)
{
    Parts parts = parts_of(pipeline);
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = parts.count ? open_memstream(&text, &bytes) : NULL;
    for (int i = 0; out && i < parts.count; i++) {
        bool first = true;
        for (int j = 0; j < i; j++) first = first && !same_plugin(&parts.part[j], &parts.part[i]);
        if (first) describe(out, &parts, i);
    }
    if (out) fclose(out);
    if (text) qonnx_tame(text);
    parts_free(&parts);
    return text;
}
