/* frontend/data/list.c - which files a path means, in an order that does not depend on the file
 * system: by class, then by name without extension, then by name, bytewise.
 */
#include "frontend/data/data.h"
#include "frontend/data/picture.h"
#include "ir/arena.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
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
    for (struct dirent *e; errno = 0, (e = readdir(d));) {
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0)) continue;
        if (S_ISDIR(st.st_mode)) push(&out->folders, &out->nfolders, e->d_name);
        else if (S_ISREG(st.st_mode)) push(&out->files, &out->nfiles, e->d_name);
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
    for (int i = 0; i < l->nclasses; i++) class_folder_free(&l->classes[i]);
    free(l->classes);
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

/* ---- what is left out ------------------------------------------------------------------------ */

/* What a listing leaves out of its directory. */
typedef struct LeftOut {
    size_t folders; /* beside samples, where they cannot be classes */
    size_t data;    /* files that may hold samples, in forms that are not read */
    size_t others;  /* other files; labels.txt is expected, and not counted */
    char *folder;   /* the first of the folders, relative to the root; owned */
    char *file;     /* the first of the files in `data`; owned */
} LeftOut;

/* Whether a file that is not read looks as if it held samples. */
static bool looks_like_data(const char *file)
{
    static const char *const endings[] = {
        ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".heic", ".jfif", ".jp2", ".pgm",
        ".ppm", ".npz", ".pt",   ".pth", ".mat",  ".h5",   ".csv",  ".wav",  ".raw", ".bin"};
    const char *dot = strrchr(file, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot, endings[i])) return true;
    return false;
}

/* "folder/name", or the name alone for the root. */
static char *join_name(const char *folder, const char *name)
{
    return *folder ? path_join(folder, name) : string_copy(name);
}

static void leave_folders(LeftOut *o, const char *folder, const Names *names)
{
    if (names->nfolders && !o->folder) o->folder = join_name(folder, names->folders[0]);
    o->folders += names->nfolders;
}

static void leave_file(LeftOut *o, const char *folder, const char *file)
{
    if (!*folder && !strcmp(file, "labels.txt")) return;
    bool data = looks_like_data(file);
    if (data && !o->file) o->file = join_name(folder, file);
    o->data += data;
    o->others += !data;
}

static void tell_left_out(qonnx_ctx *cx, const char *root, const LeftOut *o)
{
    if (o->folders)
        qonnx_warn(cx, NULL,
                   "%s: %zu %s left out (the first: '%s'): folders are read as classes, one level "
                   "deep, where no samples stand beside them; move those samples into folders, or "
                   "run again with a folder as DATA",
                   root, o->folders, o->folders == 1 ? "folder is" : "folders are", o->folder);
    if (o->data)
        qonnx_warn(cx, NULL,
                   "%s: %zu %s left out (the first: '%s'): it is of a form that is not read; "
                   "convert pictures to .png or .jpg, and arrays to .npy",
                   root, o->data, o->data == 1 ? "file is" : "files are", o->file);
    if (o->others)
        qonnx_note(cx, NULL, "%s: %zu files that are no samples are left out", root, o->others);
}

/* Samples of several forms may be the same ones, and of other scales. */
static void tell_kinds(qonnx_ctx *cx, const Listing *l)
{
    size_t n[KIND_PB + 1] = {0};
    for (size_t i = 0; i < l->nfiles; i++) n[kind_of(l->files[i].name)]++;
    if ((n[KIND_NPY] > 0) + (n[KIND_IMAGE] > 0) + (n[KIND_PB] > 0) < 2) return;
    qonnx_warn(cx, NULL,
               "%s: holds %zu pictures, %zu .npy and %zu .pb files, and all are taken as samples; "
               "where some are the same in another form, move them away",
               l->root, n[KIND_IMAGE], n[KIND_NPY], n[KIND_PB]);
}

/* ---- directories ----------------------------------------------------------------------------- */

/* Adds the samples among the files of one folder ("" for the root). */
static void add_files(Listing *l, const Names *names, const char *folder, int class_index,
                      LeftOut *left)
{
    for (size_t i = 0; i < names->nfiles; i++) {
        const char *file = names->files[i];
        if (kind_of(file) == KIND_OTHER) {
            leave_file(left, folder, file);
            continue;
        }
        char *name = join_name(folder, file);
        listing_add(l, l->root, name, class_index);
        free(name);
    }
}

/* One folder a class. */
static bool add_classes(qonnx_ctx *cx, Listing *l, const Names *root, LeftOut *left)
{
    if (!classes_read(cx, root, l)) return false;
    for (int i = 0; i < l->nclasses; i++) {
        ClassFolder *c = &l->classes[i];
        size_t before = l->nfiles;
        add_files(l, &c->names, c->name, i, left);
        c->nfiles = l->nfiles - before;
        leave_folders(left, c->name, &c->names);
        names_free(&c->names);
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
    LeftOut left = {0};
    add_files(out, &names, "", -1, &left);
    bool ok = true;
    if (out->nfiles) leave_folders(&left, "", &names);
    else ok = add_classes(cx, out, &names, &left);
    out->has_labels = has_name(names.files, names.nfiles, "labels.txt");
    names_free(&names);
    if (ok && out->nfiles) {
        tell_left_out(cx, path, &left);
        tell_kinds(cx, out);
    }
    free(left.folder);
    free(left.file);
    if (!ok) return false;
    if (!out->nfiles)
        return qonnx_fail(cx, NULL,
                          "%s: no samples in this directory; .npy, .pb, %s files are looked for, "
                          "or one folder of them a class",
                          path, picture_extensions());
    qsort(out->files, out->nfiles, sizeof *out->files, by_stem);
    return true;
}
