/* frontend/data/labels.c - classes of samples from a text file of "FILE CLASS" lines. A line names
 * a sample by its whole name, or, where no sample is called so, by its name without the extension:
 * labels are often made for pictures that became arrays later.
 */
#include "frontend/data/data.h"
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

/* One line. */
typedef struct Label {
    Slice file;      /* name relative to the data set's directory */
    int class_index; /* >= 0 */
    int line;        /* its number, from 1 */
    bool used;       /* it names a sample */
} Label;

/* A file of labels being given to the files of a listing. */
typedef struct Labelling {
    qonnx_ctx *cx;
    const char *path;     /* of the labels, for messages */
    Listing *l;           /* gets the classes */
    Label *labels;        /* [nlabels] the lines, in order */
    size_t nlabels, room; /* used, and allocated */
    SampleNames names;    /* of the files */
    bool *exact;          /* [l->nfiles] whether a line names that very file of l->files */
    int *before;          /* [l->nfiles] the classes that the files of l->files had */
} Labelling;

/* ---- reading --------------------------------------------------------------------------------- */

/* Reads all lines. */
static bool parse(Labelling *b, Slice text)
{
    skip_mark(&text);
    for (int number = 1; text.n; number++) {
        Slice line = take_line(&text);
        if (!line.n) continue;
        if (b->nlabels == b->room) {
            b->room = b->room ? b->room * 2 : 64;
            b->labels = xrealloc_array(b->labels, b->room, sizeof *b->labels);
        }
        Label *label = &b->labels[b->nlabels++];
        *label = (Label){.line = number};
        if (!split_class(line, " \t\r", &label->file, &label->class_index) ||
            label->class_index < 0)
            return qonnx_fail(b->cx, NULL,
                              "%s: line %d is '%.*s', want 'FILE CLASS' with a number "
                              "from 0 for the class",
                              b->path, number, (int)(line.n < 80 ? line.n : 80), line.at);
        Slice *f = &label->file;
        while (f->n > 2 && !memcmp(f->at, "./", 2)) f->at += 2, f->n -= 2;
    }
    return true;
}

/* ---- finding files --------------------------------------------------------------------------- */

/* Gives a file the class of a line, which must not be another than an earlier line's. */
static bool give(Labelling *b, Label *label, SampleFile *f)
{
    if (f->class_index >= 0 && f->class_index != label->class_index)
        return qonnx_fail(b->cx, NULL, "%s: line %d gives '%s' the class %d, an earlier one %d",
                          b->path, label->line, file_name(f), label->class_index, f->class_index);
    f->class_index = label->class_index;
    label->used = true;
    return true;
}

/* The lines that name a file as it is called. */
static bool apply_names(Labelling *b)
{
    for (size_t i = 0; i < b->nlabels; i++) {
        Label *label = &b->labels[i];
        SampleFile *f = sample_named(&b->names, label->file);
        if (!f) continue;
        if (!give(b, label, f)) return false;
        b->exact[f - b->l->files] = true;
    }
    return true;
}

/* Gives the class to the file of that stem which no line names as it is called; several such files
 * are refused. */
static bool apply_stem(Labelling *b, Label *label, Slice stem)
{
    SampleFile *found[2];
    sample_of_stem(&b->names, stem, b->exact, found);
    if (found[1])
        return qonnx_fail(b->cx, NULL,
                          "%s: line %d names '%.*s', which may be '%s' or '%s'; name each of them "
                          "with its ending",
                          b->path, label->line, (int)(label->file.n < 80 ? label->file.n : 80),
                          label->file.at, file_name(found[0]), file_name(found[1]));
    return !found[0] || give(b, label, found[0]);
}

/* The other lines: "a.jpg" names the sample a.npy, and so does "a". */
static bool apply_stems(Labelling *b)
{
    for (size_t i = 0; i < b->nlabels; i++) {
        Label *label = &b->labels[i];
        if (label->used) continue;
        if (!apply_stem(b, label, label->file)) return false;
        if (!label->used && !apply_stem(b, label, cut_extension(label->file))) return false;
    }
    return true;
}

/* ---- what is odd ----------------------------------------------------------------------------- */

/* Warns about lines without a file and files without a line; fails where nothing fits. */
static bool check_fit(const Labelling *b)
{
    const Listing *l = b->l;
    const Label *stray = NULL;
    const SampleFile *without = NULL;
    size_t strays = 0, labelled = 0;
    for (size_t i = 0; i < b->nlabels; i++) {
        if (b->labels[i].used) continue;
        if (!strays++) stray = &b->labels[i];
    }
    for (size_t i = 0; i < l->nfiles; i++) {
        labelled += l->files[i].class_index >= 0;
        if (!without && l->files[i].class_index < 0) without = &l->files[i];
    }
    if (!labelled)
        return qonnx_fail(b->cx, NULL, "%s: names none of the samples in %s; want lines as '%s 0'",
                          b->path, l->root, file_name(&l->files[0]));
    if (without)
        qonnx_warn(b->cx, NULL,
                   "%s: gives a class to %zu of the %zu files in %s; the first without is '%s'",
                   b->path, labelled, l->nfiles, l->root, file_name(without));
    if (stray)
        qonnx_warn(b->cx, NULL,
                   "%s: %zu of %zu lines name no sample in %s; the first is line %d, '%.*s'",
                   b->path, strays, b->nlabels, l->root, stray->line,
                   (int)(stray->file.n < 80 ? stray->file.n : 80), stray->file.at);
    return true;
}

/* Warns where a file that nobody named says otherwise than the folders do. */
static void check_folders(const Labelling *b)
{
    size_t others = 0;
    for (size_t i = 0; i < b->l->nfiles; i++)
        others += b->before[i] >= 0 && b->before[i] != b->l->files[i].class_index;
    if (others)
        qonnx_warn(b->cx, NULL,
                   "%s: gives %zu of %zu files another class than their folder does, and counts; "
                   "to have the folders' classes, move it away",
                   b->path, others, b->l->nfiles);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Applies the text. On failure the classes are what they were. */
static bool apply(Labelling *b, Slice text)
{
    Listing *l = b->l;
    sample_names_init(&b->names, l);
    b->exact = xcalloc(l->nfiles, sizeof *b->exact);
    b->before = xcalloc(l->nfiles, sizeof *b->before);
    for (size_t i = 0; i < l->nfiles; i++) {
        b->before[i] = l->files[i].class_index;
        l->files[i].class_index = -1;
    }
    bool ok = parse(b, text) && apply_names(b) && apply_stems(b) && check_fit(b);
    for (size_t i = 0; !ok && i < l->nfiles; i++) l->files[i].class_index = b->before[i];
    return ok;
}

static bool labels_read(qonnx_ctx *cx, qonnx_dataset *d, const char *path, bool found)
{
    FileMap map;
    Labelling b = {.cx = cx, .path = path, .l = d->listings[d->lead]};
    if (!file_map(cx, path, &map)) return false;
    input_add(cx, path, "labels");
    bool ok = apply(&b, (Slice){(const char *)map.data, map.bytes});
    if (ok && found) check_folders(&b);
    d->labelled |= ok;
    file_unmap(&map);
    free(b.labels);
    sample_names_free(&b.names);
    free(b.exact);
    free(b.before);
    return ok;
}

bool qonnx_dataset_labels(qonnx_ctx *cx, qonnx_dataset *d, const char *path)
{
    return labels_read(cx, d, path, false);
}

/* What a context says goes on to another. */
static void pass_on(void *user, qonnx_level level, const char *text)
{
    if (level == QONNX_WARNING) qonnx_warn(user, NULL, "%s", text);
}

char *qonnx_dataset_labels_file(const qonnx_dataset *d)
{
    const Listing *l = d->listings[d->lead];
    if (d->labels) return string_copy(d->labels);
    return l->has_labels ? path_join(l->root, "labels.txt") : NULL;
}

void qonnx_dataset_find_labels(qonnx_ctx *cx, qonnx_dataset *d)
{
    char *path = qonnx_dataset_labels_file(d);
    if (!path) return;
    qonnx_ctx *own = qonnx_ctx_new(); /* a file of another use is no failure */
    qonnx_ctx_on_log(own, pass_on, cx);
    if (!labels_read(own, d, path, true))
        qonnx_warn(cx, NULL, "%s; the file is not used", qonnx_error(own));
    qonnx_ctx_free(own);
    free(path);
}
