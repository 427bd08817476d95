/* frontend/data/list.c - lists of sample files, and the names in a directory. The order is fixed,
 * whatever the file system's: by class, then by name without extension, then by name, bytewise.
 */
#include "frontend/data/data.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *string_copy(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

/* Length of "dir/" in front of a name: 0 for "", and of slashes at the end of `dir` one counts. */
static size_t prefix_length(const char *dir)
{
    size_t n = strlen(dir);
    while (n && dir[n - 1] == '/') n--;
    return *dir ? n + 1 : 0;
}

/* Writes "dir/name", of which the first part is so long. */
static void join(char *out, const char *dir, size_t prefix, const char *name)
{
    if (prefix) memcpy(out, dir, prefix - 1);
    if (prefix) out[prefix - 1] = '/';
    memcpy(out + prefix, name, strlen(name) + 1);
}

char *path_join(const char *dir, const char *name)
{
    size_t prefix = prefix_length(dir);
    char *s = xmalloc(prefix + strlen(name) + 1);
    join(s, dir, prefix, name);
    return s;
}

/* ---- names in a directory -------------------------------------------------------------------- */

/* Appends a string to an array; it grows when its length reaches a power of two. */
static void push(char ***array, size_t *n, char *s)
{
    if ((*n & (*n - 1)) == 0) *array = xrealloc_array(*array, *n ? *n * 2 : 1, sizeof **array);
    (*array)[(*n)++] = s;
}

bool has_name(char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_names(char **array, size_t n)
{
    if (n) qsort(array, n, sizeof *array, by_bytes);
}

/* The kind of an entry, links followed; 0 when it cannot be told. */
static mode_t kind_of_entry(DIR *d, const struct dirent *e)
{
    struct stat st;
    if (e->d_type == DT_REG) return S_IFREG;
    if (e->d_type == DT_DIR) return S_IFDIR;
    return fstatat(dirfd(d), e->d_name, &st, 0) ? 0 : st.st_mode & S_IFMT;
}

bool names_read(qonnx_ctx *cx, const char *path, bool *is_file, Names *out)
{
    struct stat st;
    *out = (Names){0};
    if (stat(path, &st)) {
        if (errno == ENOENT) return file_missing(cx, path);
        return qonnx_fail(cx, NULL, "%s: cannot read: %s", path, strerror(errno));
    }
    *is_file = !S_ISDIR(st.st_mode); /* what is no regular file is refused when it is opened */
    if (*is_file) return true;
    DIR *d = opendir(path);
    if (!d) return qonnx_fail(cx, NULL, "%s: cannot read: %s", path, strerror(errno));
    out->arena = arena_new();
    for (struct dirent *e; errno = 0, (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        mode_t kind = kind_of_entry(d, e);
        if (kind != S_IFDIR && kind != S_IFREG) continue;
        char *name = arena_string(out->arena, e->d_name);
        if (kind == S_IFDIR) push(&out->folders, &out->nfolders, name);
        else push(&out->files, &out->nfiles, name);
    }
    int error = errno; /* the end has none */
    closedir(d);
    sort_names(out->files, out->nfiles);
    sort_names(out->folders, out->nfolders);
    if (!error) return true;
    names_free(out);
    return qonnx_fail(cx, NULL, "%s: cannot read: %s", path, strerror(error));
}

void names_free(Names *n)
{
    arena_free(n->arena);
    free(n->files);
    free(n->folders);
    *n = (Names){0};
}

/* ---- lists ----------------------------------------------------------------------------------- */

Listing *listing_new(void)
{
    Listing *l = xcalloc(1, sizeof *l);
    atomic_init(&l->users, 1);
    l->arena = arena_new();
    return l;
}

Listing *listing_share(Listing *l)
{
    atomic_fetch_add(&l->users, 1);
    return l;
}

void listing_free(Listing *l)
{
    if (!l || atomic_fetch_sub(&l->users, 1) > 1) return;
    for (int i = 0; i < l->nclasses; i++) free(l->classes[i].name);
    for (size_t i = 0; i < l->nfolders; i++) free(l->folders[i]);
    arena_free(l->arena);
    free(l->root);
    free(l->files);
    free(l->parts);
    free(l->classes);
    free(l->folders);
    free(l);
}

void listing_root(Listing *l, const char *path)
{
    if (l->root) l->single = false;
    else l->root = string_copy(path);
}

void listing_folder(Listing *l, const char *path)
{
    push(&l->folders, &l->nfolders, string_copy(path));
}

SampleFile *listing_add(Listing *l, const char *dir, const char *name, int class_index)
{
    if (l->nfiles == l->room) {
        l->room = l->room ? l->room * 2 : 64;
        l->files = xrealloc_array(l->files, l->room, sizeof *l->files);
    }
    size_t prefix = prefix_length(dir);
    char *path = arena_alloc(l->arena, prefix + strlen(name) + 1);
    join(path, dir, prefix, name);
    SampleFile *f = &l->files[l->nfiles++];
    *f = (SampleFile){
        .path = path, .prefix = prefix & 0x3fffffff, .class_index = class_index};
    return f;
}

void listing_part(Listing *l, size_t first)
{
    l->parts = xrealloc_array(l->parts, l->nparts + 1, sizeof *l->parts);
    l->parts[l->nparts++] = (Stretch){first, l->nfiles};
}

size_t listing_count(const Listing *l, size_t i)
{
    return (i + 1 < l->nfiles ? l->files[i + 1].first : l->nsamples) - l->files[i].first;
}

/* ---- order ----------------------------------------------------------------------------------- */

size_t file_stem(const SampleFile *f)
{
    const char *name = file_name(f), *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static int by_stem(const void *a, const void *b)
{
    const SampleFile *x = a, *y = b;
    if (x->class_index != y->class_index) return x->class_index < y->class_index ? -1 : 1;
    size_t m = file_stem(x), n = file_stem(y);
    int order = memcmp(file_name(x), file_name(y), m < n ? m : n);
    if (order) return order;
    if (m != n) return m < n ? -1 : 1;
    return strcmp(file_name(x), file_name(y));
}

void listing_finish(qonnx_ctx *cx, Listing *l)
{
    classes_finish(cx, l);
    for (size_t i = 0; i < l->nparts; i++) {
        const Stretch *p = &l->parts[i];
        if (p->end > p->first)
            qsort(l->files + p->first, p->end - p->first, sizeof *l->files, by_stem);
    }
}
