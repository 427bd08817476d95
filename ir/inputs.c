/* ir/inputs.c - what the inputs of a context resolved to: files, which nothing is written over, and
 * folders, in which nothing is written that would be read as an input later.
 */
#include "ir/ir.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file or folder that was read. */
typedef struct Input {
    char *path;            /* as it was named, for messages; owned */
    const char *what;      /* "a sample" */
    input_takes_fn *takes; /* of a folder; NULL: it is a file */
    bool kept;             /* the file stays mapped: it must not change */
    dev_t device;          /* with `inode`: which file it is */
    ino_t inode;
    off_t bytes;              /* its length when it was added */
    struct timespec modified; /* its time then */
} Input;

/* A file of a set, by its identity. */
typedef struct Member {
    dev_t device; /* with `inode`: which file it is */
    ino_t inode;
    size_t index; /* in the set */
} Member;

/* Files that were added together. */
typedef struct Set {
    InputSet in;
    char *key;       /* that they are dropped by; owned */
    Member *members; /* [nmember] sorted by device and inode; NULL: not asked for yet; owned */
    size_t nmember;  /* those that are there */
} Set;

struct Inputs {
    Set *sets;                    /* [nset] */
    size_t nset;                  /* used */
    Input *files, *folders;       /* [nfile], [nfolder] */
    size_t nfile, nfolder;        /* used */
    size_t file_room, folder_room; /* allocated */
    bool sorted;                  /* `files` is, by device and inode */
};

/* Plugins: they are inputs as long as the process lives. */
static Inputs process_inputs;
static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;

static void push(Input **list, size_t *count, size_t *room, Input in)
{
    if (*count == *room) {
        *room = *room ? *room * 2 : 16;
        *list = xrealloc_array(*list, *room, sizeof **list);
    }
    (*list)[(*count)++] = in;
}

static void add(Inputs *all, const char *path, const char *what, input_takes_fn *takes, bool kept)
{
    struct stat s;
    if (stat(path, &s)) return; /* gone already, or it never was there */
    if (S_ISDIR(s.st_mode) != (takes != NULL)) return;
    Input in = {xstrdup(path), what, takes, kept, s.st_dev, s.st_ino, s.st_size, s.st_mtim};
    if (takes) push(&all->folders, &all->nfolder, &all->folder_room, in);
    else push(&all->files, &all->nfile, &all->file_room, in);
    all->sorted = false;
}

void input_add(Ctx *cx, const char *path, const char *what)
{
    add(ctx_inputs(cx), path, what, NULL, false);
}

void input_keep(Ctx *cx, const char *path, const char *what)
{
    add(ctx_inputs(cx), path, what, NULL, true);
}

void input_add_folder(Ctx *cx, const char *path, const char *what, input_takes_fn *takes)
{
    add(ctx_inputs(cx), path, what, takes, false);
}

void input_add_plugin(const char *path)
{
    pthread_mutex_lock(&process_lock);
    add(&process_inputs, path, "a plugin", NULL, false);
    pthread_mutex_unlock(&process_lock);
}

void input_add_set(Ctx *cx, const char *key, InputSet set)
{
    Inputs *all = ctx_inputs(cx);
    all->sets = xrealloc_array(all->sets, all->nset + 1, sizeof *all->sets);
    all->sets[all->nset++] = (Set){.in = set, .key = xstrdup(key)};
}

static void set_free(Set *s)
{
    s->in.release(s->in.set);
    free(s->key);
    free(s->members);
}

void input_drop_sets(Ctx *cx, const char *key)
{
    Inputs *all = ctx_inputs(cx);
    size_t kept = 0;
    for (size_t i = 0; i < all->nset; i++)
        if (strcmp(all->sets[i].key, key) != 0) all->sets[kept++] = all->sets[i];
        else set_free(&all->sets[i]);
    all->nset = kept;
}

Inputs *inputs_new(void) { return xcalloc(1, sizeof(Inputs)); }

void inputs_free(Inputs *all)
{
    if (!all) return;
    for (size_t i = 0; i < all->nfile; i++) free(all->files[i].path);
    for (size_t i = 0; i < all->nfolder; i++) free(all->folders[i].path);
    for (size_t i = 0; i < all->nset; i++) set_free(&all->sets[i]);
    free(all->files);
    free(all->folders);
    free(all->sets);
    free(all);
}

/* ---- what may be written --------------------------------------------------------------------- */

static int by_identity(const void *a, const void *b)
{
    const Input *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

static const Input *find_file(Inputs *all, const struct stat *s)
{
    if (!all->sorted && all->nfile) qsort(all->files, all->nfile, sizeof(Input), by_identity);
    all->sorted = true;
    Input key = {.device = s->st_dev, .inode = s->st_ino};
    return all->nfile ? bsearch(&key, all->files, all->nfile, sizeof key, by_identity) : NULL;
}

static int by_member(const void *a, const void *b)
{
    const Member *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

/* Finds out which files a set's paths lead to. */
static void find_members(Set *set)
{
    size_t count = 0;
    while (set->in.path(set->in.set, count)) count++;
    set->members = xmalloc_array(count, sizeof *set->members);
    for (size_t i = 0; i < count; i++) {
        struct stat s;
        if (!stat(set->in.path(set->in.set, i), &s))
            set->members[set->nmember++] = (Member){s.st_dev, s.st_ino, i};
    }
    if (set->nmember) qsort(set->members, set->nmember, sizeof *set->members, by_member);
}

/* Whether no set holds the file. */
static bool spares_sets(Ctx *cx, const char *path, const struct stat *s)
{
    Inputs *all = ctx_inputs(cx);
    const Member key = {.device = s->st_dev, .inode = s->st_ino};
    for (size_t i = 0; i < all->nset; i++) {
        Set *set = &all->sets[i];
        if (!set->members) find_members(set);
        const Member *m = bsearch(&key, set->members, set->nmember, sizeof key, by_member);
        if (m)
            return qonnx_fail(cx, NULL,
                              "%s: is an input as well, %s ('%s'); name another place to write to",
                              path, set->in.what, set->in.path(set->in.set, m->index));
    }
    return true;
}

static bool spares_file(Ctx *cx, const char *path, const struct stat *s)
{
    const Input *in = find_file(ctx_inputs(cx), s);
    pthread_mutex_lock(&process_lock);
    if (!in) in = find_file(&process_inputs, s);
    bool good = !in || qonnx_fail(cx, NULL,
                                  "%s: is an input as well, %s ('%s'); name another place to write "
                                  "to",
                                  path, in->what, in->path);
    pthread_mutex_unlock(&process_lock);
    return good;
}

/* The real path of the longest beginning of `path` that is there and a directory; malloc'd, NULL if
 * it cannot be told. */
static char *existing_folder(const char *path)
{
    char *at = xstrdup(path), *real = NULL;
    struct stat s;
    for (char *slash; !real && (slash = strrchr(at, '/'));) {
        *(slash == at ? slash + 1 : slash) = 0;
        if (!stat(at, &s) && S_ISDIR(s.st_mode)) real = realpath(at, NULL);
        if (slash == at) break;
    }
    if (!real && *path != '/') real = realpath(".", NULL);
    free(at);
    return real;
}

/* The folder of inputs that this is, and that would read a file of that name. */
static const Input *find_folder(const Inputs *all, const char *folder, const char *name)
{
    struct stat s;
    if (!all->nfolder || stat(folder, &s)) return NULL;
    for (size_t i = 0; i < all->nfolder; i++)
        if (all->folders[i].device == s.st_dev && all->folders[i].inode == s.st_ino &&
            all->folders[i].takes(name))
            return &all->folders[i];
    return NULL;
}

/* Looks at the folder that the file is to be in, and at all around that. */
static bool spares_folders(Ctx *cx, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const Inputs *all = ctx_inputs(cx);
    char *folder = all->nfolder ? existing_folder(path) : NULL;
    const Input *in = NULL;
    while (folder && !(in = find_folder(all, folder, name))) {
        char *cut = strrchr(folder, '/');
        if (!cut || !cut[1]) break;
        cut[cut == folder] = 0;
    }
    free(folder);
    return !in || qonnx_fail(cx, NULL,
                             "%s: would be %s for the next run, which reads '%s'; name a place "
                             "outside of it",
                             path, in->what, in->path);
}

bool input_spared(Ctx *cx, const char *path)
{
    struct stat s;
    return (stat(path, &s) || (spares_file(cx, path, &s) && spares_sets(cx, path, &s))) &&
           spares_folders(cx, path);
}

bool inputs_unchanged(Ctx *cx)
{
    const Inputs *all = ctx_inputs(cx);
    struct stat s;
    for (size_t i = 0; i < all->nfile; i++) {
        const Input *in = &all->files[i];
        if (!in->kept || stat(in->path, &s)) continue; /* replaced: ours stays */
        if (s.st_dev != in->device || s.st_ino != in->inode) continue;
        if (s.st_size != in->bytes || s.st_mtim.tv_sec != in->modified.tv_sec ||
            s.st_mtim.tv_nsec != in->modified.tv_nsec)
            return qonnx_fail(cx, NULL, "%s: was %s while it was read; try again", in->path,
                              s.st_size < in->bytes ? "cut short" : "changed");
    }
    return true;
}
