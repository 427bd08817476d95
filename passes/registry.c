/* passes/registry.c - see registry.h. The list of the built-in passes and observers is
 * meson.build's.
 */
#include "passes/registry.h"
#include "ir/arena.h"
#include "pass_list.h" /* generated: builtin_passes[], builtin_observers[] */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Who brought an entry. Lives as long as the process. */
typedef struct Origin {
    const qonnx_plugin *plugin; /* its descriptor, static in the shared object */
    const char *file;           /* its real path */
    const struct Origin *next;  /* the plugin before it */
} Origin;

/* A pass or an observer. */
typedef struct Entry {
    const void *what;     /* const qonnx_pass * or const qonnx_observer * */
    const char *name;     /* of it */
    const Origin *origin; /* NULL: built in */
} Entry;

/* Entries of one kind, in order. */
typedef struct Shelf {
    const char *kind; /* "pass" */
    Entry *entries;   /* [count] */
    int count;
} Shelf;

/* Everything below is guarded by `mutex`. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Shelf passes = {.kind = "pass"}, observers = {.kind = "observer"};
static const Origin *origins; /* the last one first */
static bool filled;           /* the built-in ones are there */

static void put(Shelf *s, const void *what, const char *name, const Origin *origin)
{
    s->entries = xrealloc_array(s->entries, (size_t)(s->count + 1), sizeof *s->entries);
    s->entries[s->count++] = (Entry){what, name, origin};
}

/* Takes the mutex, and puts the built-in ones there the first time. */
static void enter(void)
{
    pthread_mutex_lock(&mutex);
    if (filled) return;
    filled = true;
    const char *without = secure_getenv("QONNX_NO_BUILTINS");
    if (without && !strcmp(without, "1")) return;
    for (size_t i = 0; i < sizeof builtin_passes / sizeof *builtin_passes; i++)
        put(&passes, builtin_passes[i], builtin_passes[i]->name, NULL);
    for (size_t i = 0; i < sizeof builtin_observers / sizeof *builtin_observers; i++)
        put(&observers, builtin_observers[i], builtin_observers[i]->name, NULL);
}

static void leave(void) { pthread_mutex_unlock(&mutex); }

/* ---- looking up ------------------------------------------------------------------------------ */

static const Entry *find(const Shelf *s, const char *name)
{
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->entries[i].name, name)) return &s->entries[i];
    return NULL;
}

static const void *loaded(const Shelf *s, const char *name)
{
    enter();
    const Entry *e = find(s, name);
    const void *what = e ? e->what : NULL;
    leave();
    return what;
}

static const void *look_up(qonnx_ctx *cx, const Shelf *s, const char *name)
{
    const void *what = loaded(s, name);
    if (what) return what;
    qonnx_plugin_search(cx);
    return loaded(s, name);
}

const qonnx_pass *registry_pass(qonnx_ctx *cx, const char *name)
{
    return look_up(cx, &passes, name);
}

const qonnx_observer *registry_observer(qonnx_ctx *cx, const char *name)
{
    return look_up(cx, &observers, name);
}

static const void *at(const Shelf *s, int i)
{
    enter();
    const void *what = i >= 0 && i < s->count ? s->entries[i].what : NULL;
    leave();
    return what;
}

const qonnx_pass *qonnx_pass_at(int i) { return at(&passes, i); }
const qonnx_observer *qonnx_observer_at(int i) { return at(&observers, i); }

static const qonnx_plugin *plugin_of(const Shelf *s, const void *what, const char **file)
{
    const Origin *origin = NULL;
    enter();
    for (int i = 0; i < s->count; i++)
        if (s->entries[i].what == what) origin = s->entries[i].origin;
    leave();
    if (file) *file = origin ? origin->file : NULL;
    return origin ? origin->plugin : NULL;
}

const qonnx_plugin *qonnx_pass_plugin(const qonnx_pass *p, const char **file)
{
    return plugin_of(&passes, p, file);
}

const qonnx_plugin *qonnx_observer_plugin(const qonnx_observer *o, const char **file)
{
    return plugin_of(&observers, o, file);
}

/* ---- adding ---------------------------------------------------------------------------------- */

bool registry_has_file(const char *file)
{
    enter();
    const Origin *o = origins;
    while (o && strcmp(o->file, file)) o = o->next;
    leave();
    return o != NULL;
}

/* Puts one entry there; false when its name is taken. */
static bool add(qonnx_ctx *cx, Shelf *s, const void *what, const char *name, const Origin *origin)
{
    const Entry *e = find(s, name);
    if (!e) {
        put(s, what, name, origin);
        return true;
    }
    if (e->origin == origin)
        return qonnx_fail(cx, NULL, "plugin %s: it brings two %s%ss of the name '%s'", origin->file,
                          s->kind, !strcmp(s->kind, "pass") ? "e" : "", name);
    return qonnx_fail(cx, NULL,
                      "plugin %s: its %s '%s' has the name of one that %s%s brings; "
                      "leave one of them out",
                      origin->file, s->kind, name, e->origin ? "plugin " : "qonnx itself",
                      e->origin ? e->origin->file : "");
}

/* The descriptor with all fields that this library knows: those that it does not have are zero. One
 * that has them all is taken as it is. */
static const void *whole(const void *descriptor, size_t size, size_t known)
{
    if (size >= known) return descriptor;
    return memcpy(xcalloc(1, known), descriptor, size);
}

static bool add_all(qonnx_ctx *cx, const Origin *origin)
{
    const qonnx_plugin *p = origin->plugin;
    for (int i = 0; p->passes && p->passes[i]; i++)
        if (!add(cx, &passes, whole(p->passes[i], p->passes[i]->size, sizeof(qonnx_pass)),
                 p->passes[i]->name, origin))
            return false;
    for (int i = 0; p->observers && p->observers[i]; i++)
        if (!add(cx, &observers,
                 whole(p->observers[i], p->observers[i]->size, sizeof(qonnx_observer)),
                 p->observers[i]->name, origin))
            return false;
    return true;
}

bool registry_add(qonnx_ctx *cx, const qonnx_plugin *plugin, const char *file)
{
    enter();
    int npass = passes.count, nobserver = observers.count;
    Origin *origin = xmalloc(sizeof *origin);
    *origin = (Origin){plugin, file, origins};
    bool good = add_all(cx, origin);
    if (good) {
        origins = origin;
    } else {
        passes.count = npass;
        observers.count = nobserver;
        free(origin);
    }
    leave();
    return good;
}
