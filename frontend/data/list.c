/* frontend/data/list.c - which files a path means, in an order that does not depend on the file
 * system: by folder, then by name without extension, then by name, bytewise.
 */
#include "frontend/data/data.h"
#include "ir/arena.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *string_copy(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

char *path_join(const char *dir, const char *name)
{
    size_t a = strlen(dir), b = strlen(name);
    while (a > 1 && dir[a - 1] == '/') a--;
    bool slash = a && dir[a - 1] != '/';
    char *s = xmalloc(a + slash + b + 1);
    memcpy(s, dir, a);
    if (slash) s[a] = '/';
    memcpy(s + a + slash, name, b + 1);
    return s;
}

/* Appends a copy of `s`; the array grows when its length reaches a power of two. */
static void push(char ***array, size_t *n, const char *s)
{
    if ((*n & (*n - 1)) == 0) *array = xrealloc_array(*array, *n ? *n * 2 : 1, sizeof **array);
    (*array)[(*n)++] = string_copy(s);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_names(char **array, size_t n)
{
    if (n) qsort(array, n, sizeof *array, by_bytes);
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
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0)) continue;
        if (S_ISDIR(st.st_mode)) push(&out->folders, &out->nfolders, e->d_name);
        else if (S_ISREG(st.st_mode)) push(&out->files, &out->nfiles, e->d_name);
    }
    closedir(d);
    sort_names(out->files, out->nfiles);
    sort_names(out->folders, out->nfolders);
    return true;
}

void names_free(Names *n)
{
    for (size_t i = 0; i < n->nfiles; i++) free(n->files[i]);
    for (size_t i = 0; i < n->nfolders; i++) free(n->folders[i]);
    free(n->files);
    free(n->folders);
    *n = (Names){0};
}

void listing_add(Listing *l, const char *root, const char *name, int class_index)
{
    if (l->nfiles == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->files = xrealloc_array(l->files, l->cap, sizeof *l->files);
    }
    SampleFile *f = &l->files[l->nfiles++];
    *f = (SampleFile){.path = path_join(root, name), .class_index = class_index};
    f->name = f->path + strlen(f->path) - strlen(name);
    const char *dot = strrchr(f->name, '.');
    f->stem = dot ? (size_t)(dot - f->name) : strlen(f->name);
}

void listing_free(Listing *l)
{
    for (size_t i = 0; i < l->nfiles; i++) free(l->files[i].path);
    free(l->files);
    free(l->root);
    *l = (Listing){0};
}

static int by_stem(const void *a, const void *b)
{
    const SampleFile *x = a, *y = b;
    if (x->class_index != y->class_index) return x->class_index < y->class_index ? -1 : 1;
    size_t n = x->stem < y->stem ? x->stem : y->stem;
    int order = memcmp(x->name, y->name, n);
    if (order) return order;
    if (x->stem != y->stem) return x->stem < y->stem ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Adds the samples among the files of one folder ("" for the root); returns how many files were
 * something else. labels.txt is expected, and not counted. */
static size_t add_files(Listing *l, const Names *names, const char *folder, int class_index)
{
    size_t others = 0;
    for (size_t i = 0; i < names->nfiles; i++) {
        const char *file = names->files[i];
        if (kind_of(file) == KIND_OTHER) {
            others += strcmp(file, "labels.txt") != 0;
            continue;
        }
        char *name = *folder ? path_join(folder, file) : string_copy(file);
        listing_add(l, l->root, name, class_index);
        free(name);
    }
    return others;
}

/* One folder a class. */
static bool add_classes(qonnx_ctx *cx, Listing *l, const Names *root, size_t *others)
{
    for (size_t i = 0; i < root->nfolders; i++) {
        Names names;
        bool is_file, ok;
        char *path = path_join(l->root, root->folders[i]);
        ok = names_read(cx, path, &is_file, &names);
        free(path);
        if (!ok) return false;
        *others += add_files(l, &names, root->folders[i], (int)i) + names.nfolders;
        names_free(&names);
    }
    return true;
}

/* A path that is one file. */
static void add_single(Listing *l)
{
    const char *slash = strrchr(l->root, '/');
    char *dir = slash ? string_copy(l->root) : string_copy(".");
    if (slash) dir[slash - l->root + 1] = 0;
    listing_add(l, dir, slash ? slash + 1 : l->root, -1);
    l->single = true;
    free(dir);
}

bool listing_read(qonnx_ctx *cx, const char *path, Listing *out)
{
    Names names;
    bool is_file;
    *out = (Listing){.root = string_copy(path)};
    if (!names_read(cx, path, &is_file, &names)) return false;
    if (is_file) {
        add_single(out);
        return true;
    }
    size_t others = add_files(out, &names, "", -1);
    bool ok = true;
    if (out->nfiles) others += names.nfolders;
    else ok = add_classes(cx, out, &names, &others);
    names_free(&names);
    if (!ok) return false;
    if (!out->nfiles)
        return qonnx_fail(cx, NULL,
                          "%s: no samples in this directory; .npy, .jpg, .jpeg, .png and "
                          ".pb files are looked for, or one folder of them a class",
                          path);
    if (others)
        qonnx_note(cx, NULL, "%s: %zu files and folders that are no samples are left out", path,
                   others);
    qsort(out->files, out->nfiles, sizeof *out->files, by_stem);
    return true;
}
