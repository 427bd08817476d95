/* passes/plugin.c - loads plugins: the checks of the file and of its descriptor, and the search
 * path. A plugin is code: what can be checked without running it is checked before, the rest before
 * any of its callbacks runs. Nothing is unloaded again, so descriptors live as long as the process.
 */
#include "passes/registry.h"
#include "ir/ir.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <link.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum { MAX_NAME = 64, MAX_ENTRIES = 1024 };

/* Bytes of the first versions of the descriptors; what lies behind is there from some version on.
 */
#define PASS_LEAST     (offsetof(qonnx_pass, run) + sizeof(void (*)(void)))
#define OBSERVER_LEAST (offsetof(qonnx_observer, range) + sizeof(void (*)(void)))

/* ---- who is running -------------------------------------------------------------------------- */

static _Thread_local const char *volatile running;
static pthread_key_t thread_end; /* its value is `running`, so that the thread's end is seen */
static pthread_once_t once = PTHREAD_ONCE_INIT;

const char *qonnx_plugin_running(void) { return memory_is_out ? NULL : running; }

/* A thread that ends leaves its functions without a return, and the sanitizer with what it knew of
 * their variables: from here on the stack below is free. */
#ifdef __SANITIZE_ADDRESS__
__attribute__((no_sanitize_address)) static void forget_frames(void)
{
    enum { DEEP = 256 << 10 };
    char *here = __builtin_frame_address(0);
    __asan_unpoison_memory_region(here - DEEP, DEEP);
}
#else
static void forget_frames(void) {}
#endif

/* The thread ends within code of a plugin: who waits for it would wait for ever, or find nothing
 * done. The handlers of exit() can still ask who was running. */
static void ended(void *mark)
{
    (void)mark;
    if (!running) return;
    forget_frames();
    exit(EXIT_FAILURE);
}

static void make_key(void)
{
    if (pthread_key_create(&thread_end, ended)) abort();
}

static void set_running(const char *text)
{
    running = text;
    pthread_setspecific(thread_end, text);
}

PluginMark plugin_enter(const char *kind, const char *name, const char *file)
{
    PluginMark mark = {NULL, running};
    pthread_once(&once, make_key);
    int n = kind ? asprintf(&mark.text, "%s '%s' of plugin %s", kind, name, file)
                 : asprintf(&mark.text, "plugin %s", file);
    if (n < 0) mark.text = NULL;
    if (mark.text) qonnx_tame(mark.text);
    set_running(mark.text);
    return mark;
}

void plugin_leave(PluginMark mark)
{
    set_running(mark.outer);
    free(mark.text);
}

/* ---- the file -------------------------------------------------------------------------------- */

/* Whether every segment lies within the file: loading one that was cut short would end the process.
 * Files of another machine pass: the loader names them. */
static bool is_whole(int fd, off_t size, const ElfW(Ehdr) * head)
{
    const int native = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
    if (head->e_ident[EI_CLASS] != native) return true;
    for (int i = 0; i < head->e_phnum; i++) {
        ElfW(Phdr) p;
        uint64_t at, end;
        if (__builtin_add_overflow((uint64_t)head->e_phoff, (uint64_t)i * sizeof p, &at) ||
            at > (uint64_t)size || pread(fd, &p, sizeof p, (off_t)at) != sizeof p ||
            __builtin_add_overflow((uint64_t)p.p_offset, (uint64_t)p.p_filesz, &end) ||
            (p.p_type == PT_LOAD && end > (uint64_t)size))
            return false;
    }
    return true;
}

static bool check_contents(Ctx *cx, const char *file, int fd, const struct stat *st)
{
    ElfW(Ehdr) head;
    if (!S_ISREG(st->st_mode)) return qonnx_fail(cx, NULL, "plugin %s: it is not a file", file);
    if (pread(fd, &head, sizeof head, 0) != sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG))
        return qonnx_fail(cx, NULL, "plugin %s: it is no shared object (no ELF header)", file);
    if (!is_whole(fd, st->st_size, &head))
        return qonnx_fail(cx, NULL,
                          "plugin %s: the shared object was cut short; build or copy it "
                          "again",
                          file);
    return true;
}

/* Warns where others could have put their code into the file; refuses it where nobody has named the
 * file. */
static bool check_rights(Ctx *cx, Ctx *failure, const char *file, const struct stat *st, bool named)
{
    char *copy = strdup(file);
    struct stat folder;
    const char *what = NULL;
    if (st->st_mode & S_IWOTH) what = "the file (chmod o-w)";
    else if (copy && !stat(dirname(copy), &folder) && folder.st_mode & S_IWOTH) what = "its folder";
    free(copy);
    if (what && !named)
        return qonnx_fail(failure, NULL, "plugin %s: everybody can write to %s", file, what);
    if (what) qonnx_warn(cx, NULL, "plugin %s: everybody can write to %s", file, what);
    return true;
}

static bool check_file(Ctx *cx, Ctx *failure, const char *file, bool named)
{
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return qonnx_fail(failure, NULL, "plugin %s: %s", file, strerror(errno));
    bool good = fstat(fd, &st) == 0 && check_contents(failure, file, fd, &st);
    close(fd);
    return good && check_rights(cx, failure, file, &st, named);
}

/* ---- the descriptor -------------------------------------------------------------------------- */

/* Whether a name can stand in a pipeline's text. */
static bool is_name(const char *s)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t n = s ? strnlen(s, MAX_NAME + 1) : 0;
    return n > 0 && n <= MAX_NAME && strspn(s, allowed) == n;
}

/* Whether a descriptor's entry can be used; `run` tells whether its function is there. */
static bool check_entry(Ctx *cx, const char *file, const char *kind, const char *name,
                        const char *brief, bool run, const qonnx_option *options)
{
    if (!is_name(name))
        return qonnx_fail(cx, NULL,
                          "plugin %s: a %s has a bad name; want 1 to %d of a-z, 0-9, '-', "
                          "'_' and '.'",
                          file, kind, MAX_NAME);
    if (!brief || !run)
        return qonnx_fail(cx, NULL, "plugin %s: its %s '%s' has no %s", file, kind, name,
                          brief ? "function" : "brief");
    for (int i = 0; options && options[i].name; i++)
        if (!is_name(options[i].name) || !options[i].value || !options[i].help || i == MAX_ENTRIES)
            return qonnx_fail(cx, NULL,
                              "plugin %s: option %d of its %s '%s' lacks a good name, a "
                              "default or a help",
                              file, i + 1, kind, name);
    return true;
}

/* Whether a descriptor is of a size that this library knows: `least` is that of the first version.
 */
static bool check_size(Ctx *cx, const char *file, const char *kind, size_t size, size_t least,
                       size_t known)
{
    return (size >= least && size <= known) ||
           qonnx_fail(cx, NULL,
                      "plugin %s: a %s has size %zu, want %zu to %zu: set .size = "
                      "sizeof(qonnx_%s), and build it for this version",
                      file, kind, size, least, known, kind);
}

static bool check_entries(Ctx *cx, const qonnx_plugin *p, const char *file)
{
    int npass = 0, nobserver = 0;
    for (const qonnx_pass *const *i = p->passes; i && *i && npass < MAX_ENTRIES; i++, npass++)
        if (!check_size(cx, file, "pass", (*i)->size, PASS_LEAST, sizeof **i) ||
            !check_entry(cx, file, "pass", (*i)->name, (*i)->brief, (*i)->run, (*i)->options))
            return false;
    for (const qonnx_observer *const *i = p->observers; i && *i && nobserver < MAX_ENTRIES;
         i++, nobserver++)
        if (!check_size(cx, file, "observer", (*i)->size, OBSERVER_LEAST, sizeof **i) ||
            !check_entry(cx, file, "observer", (*i)->name, (*i)->brief, (*i)->range, (*i)->options))
            return false;
    if (npass == MAX_ENTRIES || nobserver == MAX_ENTRIES)
        return qonnx_fail(cx, NULL, "plugin %s: a list of its descriptor does not end with NULL",
                          file);
    if (!npass && !nobserver)
        return qonnx_fail(cx, NULL, "plugin %s: it brings neither passes nor observers", file);
    return true;
}

static bool check_descriptor(Ctx *cx, const qonnx_plugin *p, const char *file)
{
    if (!p)
        return qonnx_fail(cx, NULL,
                          "plugin %s: it does not serve ABI %u of qonnx %s; build it for "
                          "this version",
                          file, QONNX_ABI, qonnx_version());
    if (p->abi != QONNX_ABI)
        return qonnx_fail(cx, NULL,
                          "plugin %s: it was built for ABI %u, qonnx %s has ABI %u; build it "
                          "for this version",
                          file, p->abi, qonnx_version(), QONNX_ABI);
    if (!p->name || !*p->name || !p->version)
        return qonnx_fail(cx, NULL, "plugin %s: its descriptor has no name or no version", file);
    for (size_t i = 0; i < sizeof p->reserved / sizeof *p->reserved; i++)
        if (p->reserved[i])
            return qonnx_fail(cx, NULL, "plugin %s: its descriptor uses a reserved field", file);
    return check_entries(cx, p, file);
}

/* ---- loading --------------------------------------------------------------------------------- */

/* dlerror() without the path that it may begin with. */
static const char *loader_error(const char *file)
{
    const char *text = dlerror();
    size_t n = strlen(file);
    if (!text) return "the loader does not say why";
    return !strncmp(text, file, n) && !strncmp(text + n, ": ", 2) ? text + n + 2 : text;
}

/* The plugin's descriptor, unchecked; false when the file cannot be loaded or is no plugin. */
static bool open_plugin(Ctx *cx, const char *file, const qonnx_plugin **out)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return qonnx_fail(cx, NULL, "plugin %s: it cannot be loaded: %s", file, loader_error(file));
    qonnx_plugin_query_fn *query = (qonnx_plugin_query_fn *)dlsym(library, QONNX_PLUGIN_QUERY);
    if (!query)
        return qonnx_fail(cx, NULL, "plugin %s: it is no plugin: it does not export %s", file,
                          QONNX_PLUGIN_QUERY);
    *out = query(QONNX_ABI);
    return true;
}

/* What of the process a plugin must leave alone. */
typedef struct Surroundings {
    char *locale, *directory; /* NULL: not known */
    sigset_t blocked;         /* signals of this thread */
} Surroundings;

static Surroundings surroundings_now(void)
{
    Surroundings s = {.directory = getcwd(NULL, 0)};
    const char *locale = setlocale(LC_ALL, NULL);
    if (locale) s.locale = strdup(locale);
    pthread_sigmask(SIG_SETMASK, NULL, &s.blocked);
    return s;
}

static bool same_text(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

/* Puts back what loading the plugin has changed, with a warning. */
static void surroundings_restore(Ctx *cx, const char *file, Surroundings *s)
{
    Surroundings now = surroundings_now();
    const char *what = NULL;
    for (int i = 1; i < SIGRTMIN; i++)
        if (sigismember(&s->blocked, i) != sigismember(&now.blocked, i)) what = "blocked signals";
    pthread_sigmask(SIG_SETMASK, &s->blocked, NULL);
    if (!same_text(s->directory, now.directory) && s->directory && !chdir(s->directory))
        what = "current directory";
    if (!same_text(s->locale, now.locale) && setlocale(LC_ALL, s->locale)) what = "locale";
    if (what) qonnx_warn(cx, NULL, "plugin %s: it changed the %s; it was put back", file, what);
    free(now.locale);
    free(now.directory);
    free(s->locale);
    free(s->directory);
}

/* open_plugin, with an eye on what else it does. */
static bool open_watched(Ctx *cx, Ctx *failure, const char *file, const qonnx_plugin **out)
{
    Surroundings before = surroundings_now();
    PluginMark mark = plugin_enter(NULL, NULL, file);
    bool good = open_plugin(failure, file, out);
    plugin_leave(mark);
    surroundings_restore(cx, file, &before);
    return good;
}

/* Guards loading, and `searched`. */
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static bool searched;

/* Loads one file, which somebody has named or which was found; its warnings go to `cx`, why it is
 * refused to `failure`. */
static bool load(Ctx *cx, Ctx *failure, const char *path, bool named)
{
    const qonnx_plugin *plugin = NULL;
    char *file = realpath(path, NULL);
    if (!file) return qonnx_fail(failure, NULL, "plugin %s: %s", path, strerror(errno));
    input_add_plugin(file);
    bool there = registry_has_file(file);
    bool good = there ||
                (check_file(cx, failure, file, named) && open_watched(cx, failure, file, &plugin) &&
                 check_descriptor(failure, plugin, file) && registry_add(failure, plugin, file));
    if (there || !good) free(file);
    return good;
}

bool qonnx_plugin_load(Ctx *cx, const char *path)
{
    if (!strchr(path, '/'))
        return qonnx_fail(cx, NULL, "plugin %s: write ./%s for a file of the current directory",
                          path, path);
    pthread_mutex_lock(&loading);
    bool good = load(cx, cx, path, true);
    pthread_mutex_unlock(&loading);
    return good;
}

/* ---- the search path ------------------------------------------------------------------------- */

static int is_plugin_name(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return e->d_name[0] != '.' && n > 3 && !strcmp(e->d_name + n - 3, ".so");
}

/* By bytes, whatever the locale. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool takes_name(const char *name)
{
    struct dirent e;
    snprintf(e.d_name, sizeof e.d_name, "%s", name);
    return is_plugin_name(&e);
}

/* Loads the *.so of one directory in the order of their names; those that are refused are warnings.
 */
static void load_folder(Ctx *cx, const char *folder, bool must_exist)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_plugin_name, compare_names);
    if (count < 0 && must_exist)
        qonnx_warn(cx, NULL, "QONNX_PLUGIN_PATH: %s: %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        Ctx *failure = ctx_quiet();
        if (asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0) path = NULL;
        if (path && !load(cx, failure, path, false))
            qonnx_warn(cx, NULL, "%s; the plugin is left out", qonnx_error(failure));
        qonnx_ctx_free(failure);
        free(path);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
}

/* QONNX_PLUGIN_PATH is a list of absolute directories, separated by colons; empty ones are nothing.
 * Loads what is there, or only adds the directories to the inputs. */
static void walk_path(Ctx *cx, const char *list, bool loads)
{
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ":");
        char *folder = strndup(at, n);
        if (folder && !loads) input_add_folder(cx, folder, "a plugin", takes_name);
        else if (folder && *folder == '/') load_folder(cx, folder, true);
        else if (folder && *folder)
            qonnx_warn(cx, NULL,
                       "QONNX_PLUGIN_PATH: '%s' is no absolute path: nothing is loaded from "
                       "there",
                       folder);
        free(folder);
        at += n + (at[n] == ':');
    }
}

void qonnx_plugin_inputs(Ctx *cx)
{
    const char *list = secure_getenv("QONNX_PLUGIN_PATH");
    if (list) walk_path(cx, list, false);
    input_add_folder(cx, QONNX_PLUGIN_DIR, "a plugin", takes_name);
}

void qonnx_plugin_search(Ctx *cx)
{
    pthread_mutex_lock(&loading);
    if (!searched) {
        const char *list = secure_getenv("QONNX_PLUGIN_PATH");
        searched = true;
        if (list) walk_path(cx, list, true);
        load_folder(cx, QONNX_PLUGIN_DIR, false);
    }
    pthread_mutex_unlock(&loading);
}
