/* frontend/data/walk.c - the samples below a directory. Folders of the first level are classes;
 * what lies deeper belongs to them. Links to folders are followed when all else is read, each
 * folder once.
 */
#include "frontend/data/data.h"
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A folder by its identity. */
typedef struct FolderId {
    dev_t device; /* with `inode`: which it is */
    ino_t inode;
} FolderId;

/* A link that is followed later. */
typedef struct Link {
    char *name;      /* relative to the root; owned */
    int class_index; /* of what it leads to */
} Link;

/* A walk below a directory. */
typedef struct Walk {
    qonnx_ctx *cx;       /* for messages */
    Listing *l;          /* gets the files */
    const char *root;    /* of the walk */
    Skipped skipped;     /* what is not read */
    void *seen;          /* tsearch's tree of FolderId: folders that are read */
    Link *links;         /* [nlinks] owned */
    size_t nlinks;       /* met so far */
    size_t again;        /* links to folders that were read before */
    const char *first;   /* of them; in `links` */
} Walk;

static int by_identity(const void *a, const void *b)
{
    const FolderId *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

/* Notes that a folder is read. False: it was before. */
static bool note_folder(Walk *w, const struct stat *st)
{
    FolderId *id = xmalloc(sizeof *id);
    *id = (FolderId){st->st_dev, st->st_ino};
    FolderId **at = tsearch(id, &w->seen, by_identity);
    if (!at) qonnx_out_of_memory();
    if (*at == id) return true;
    free(id);
    return false;
}

/* Adds the samples among the files of one folder ("" for the root). */
static void add_files(Walk *w, const Names *names, const char *folder, int class_index)
{
    for (size_t i = 0; i < names->nfiles; i++) {
        const char *file = names->files[i];
        char *name = path_join(folder, file);
        if (form_of(file)) listing_add(w->l, w->root, name, class_index);
        else if (*folder || strcmp(file, "labels.txt") != 0) skip_file(&w->skipped, name);
        free(name);
    }
}

static bool walk_names(Walk *w, const Names *names, const char *folder, int class_index);

/* Reads a folder by its name relative to the root. */
static bool walk_folder(Walk *w, const char *folder, int class_index)
{
    Names names;
    bool is_file = false;
    char *path = path_join(w->root, folder);
    bool ok = names_read(w->cx, path, &is_file, &names);
    free(path);
    if (!ok) return false;
    ok = walk_names(w, &names, folder, class_index);
    names_free(&names);
    return ok;
}

/* Takes what stands in a folder; links to folders wait. */
static bool walk_names(Walk *w, const Names *names, const char *folder, int class_index)
{
    bool ok = true;
    add_files(w, names, folder, class_index);
    for (size_t i = 0; ok && i < names->nfolders; i++) {
        struct stat st;
        int class_of = *folder ? class_index : class_folder(w->l, names->folders[i]);
        char *name = path_join(folder, names->folders[i]), *path = path_join(w->root, name);
        bool there = lstat(path, &st) == 0; /* one that is not is named when it is read */
        if (there && S_ISLNK(st.st_mode)) {
            w->links = xrealloc_array(w->links, w->nlinks + 1, sizeof *w->links);
            w->links[w->nlinks++] = (Link){string_copy(name), class_of};
        } else if (!there || note_folder(w, &st)) {
            ok = walk_folder(w, name, class_of);
        }
        free(name);
        free(path);
    }
    return ok;
}

/* Whether a link's target, at `st`, is one of the folders that the link stands in. */
static bool leads_back(const Walk *w, const char *link, const struct stat *st)
{
    char *path = path_join(w->root, link);
    size_t root = strlen(path) - strlen(link);
    bool back = false;
    for (char *slash; !back && (slash = strrchr(path, '/')) && slash >= path + root - 1;) {
        struct stat above;
        *slash = 0;
        back = !stat(*path ? path : "/", &above) && above.st_dev == st->st_dev &&
               above.st_ino == st->st_ino;
    }
    free(path);
    return back;
}

/* Follows one link. */
static bool follow(Walk *w, const char *name, int class_index)
{
    struct stat st;
    char *path = path_join(w->root, name);
    bool ok = true;
    if (stat(path, &st)) {
        ok = qonnx_fail(w->cx, NULL, "%s: cannot read: %s", path, strerror(errno));
    } else if (leads_back(w, name, &st)) {
        ok = qonnx_fail(w->cx, NULL, "%s: this link leads back to a folder that it stands in; "
                                     "remove it, or give the folders beside it",
                        path);
    } else if (!note_folder(w, &st)) {
        if (!w->again++) w->first = name;
    } else {
        listing_folder(w->l, path);
        ok = walk_folder(w, name, class_index);
    }
    free(path);
    return ok;
}

/* Samples of several forms may be the same ones, and of other scales. */
static void tell_forms(qonnx_ctx *cx, const char *root, const SampleFile *files, size_t n)
{
    enum { MOST = 16 };
    size_t count[MOST] = {0}, at = 0;
    char text[MOST * 48];
    int forms = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < MOST && form_at(k); k++)
            count[k] += form_at(k) == form_of(file_name(&files[i]));
    for (size_t k = 0; k < MOST && form_at(k); k++)
        if (count[k])
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu %s", forms++ ? ", " : "",
                                   count[k], form_at(k)->many);
    if (forms > 1)
        qonnx_warn(cx, NULL,
                   "%s: holds %s, and all are taken as samples; where some are the same in "
                   "another form, move them away",
                   root, text);
}

static void tell_walk(Walk *w, size_t first)
{
    if (w->again)
        qonnx_warn(w->cx, NULL,
                   "%s: %zu %s to a folder that is read already, and %s not followed (the first: "
                   "'%s')",
                   w->root, w->again, w->again == 1 ? "link leads" : "links lead",
                   w->again == 1 ? "is" : "are", w->first);
    if (w->l->nfiles > first) skipped_tell(w->cx, w->root, &w->skipped);
    tell_forms(w->cx, w->root, w->l->files + first, w->l->nfiles - first);
}

bool listing_walk(qonnx_ctx *cx, const char *path, const Names *names, Listing *out)
{
    struct stat st;
    char endings[ENDINGS_TEXT];
    size_t first = out->nfiles;
    Walk w = {.cx = cx, .l = out, .root = path};
    listing_root(out, path);
    listing_folder(out, path);
    out->has_labels |= first == 0 && has_name(names->files, names->nfiles, "labels.txt");
    if (!stat(path, &st)) note_folder(&w, &st);
    bool ok = walk_names(&w, names, "", -1);
    for (size_t i = 0; ok && i < w.nlinks; i++) {
        const Link link = w.links[i]; /* following it may add others */
        ok = follow(&w, link.name, link.class_index);
    }
    listing_part(out, first);
    if (ok) tell_walk(&w, first);
    if (ok && out->nfiles == first)
        ok = qonnx_fail(cx, NULL, "%s: no samples in this directory; %s files are looked for", path,
                        form_endings(endings));
    for (size_t i = 0; i < w.nlinks; i++) free(w.links[i].name);
    free(w.links);
    free(w.skipped.data);
    tdestroy(w.seen, free);
    return ok;
}

/* A path that is one file. */
static void add_single(Listing *l, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? string_copy(path) : string_copy("");
    if (slash) dir[slash - path + 1] = 0;
    listing_root(l, path);
    l->single = l->nfiles == 0;
    listing_add(l, dir, slash ? slash + 1 : path, -1);
    free(dir);
}

bool listing_read(qonnx_ctx *cx, const char *path, Listing *out)
{
    Names names;
    bool is_file;
    if (*path == '@') return listing_lines(cx, path + 1, out);
    if (!names_read(cx, path, &is_file, &names)) return false;
    if (is_file) add_single(out, path);
    bool ok = is_file || listing_walk(cx, path, &names, out);
    names_free(&names);
    return ok;
}
