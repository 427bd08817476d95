/* frontend/data/labels.c - classes of samples from a text file of "FILE CLASS" lines. */
#include "frontend/data/data.h"
#include "ir/arena.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A piece of the text. */
typedef struct Slice {
    const char *at; /* not ended by a NUL */
    size_t n;       /* bytes */
} Slice;

/* One line. */
typedef struct Label {
    Slice file;      /* name relative to the data set's directory */
    int class_index; /* >= 0 */
} Label;

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static Slice trim(Slice s)
{
    while (s.n && is_space(s.at[0])) s.at++, s.n--;
    while (s.n && is_space(s.at[s.n - 1])) s.n--;
    return s;
}

/* Cuts the next line off the text. */
static Slice take_line(Slice *text)
{
    const char *end = memchr(text->at, '\n', text->n);
    Slice line = {text->at, end ? (size_t)(end - text->at) : text->n};
    size_t used = line.n + (end != NULL);
    text->at += used;
    text->n -= used;
    return trim(line);
}

/* Splits a line at its last white space: names may hold some. */
static bool parse_line(Slice line, Label *out)
{
    size_t cut = line.n;
    while (cut && !is_space(line.at[cut - 1])) cut--;
    out->file = trim((Slice){line.at, cut});
    int64_t v = 0;
    for (size_t i = cut; i < line.n; i++) {
        if (line.at[i] < '0' || line.at[i] > '9') return false;
        v = v * 10 + (line.at[i] - '0');
        if (v > INT_MAX) return false;
    }
    out->class_index = (int)v;
    return out->file.n > 0;
}

static int compare_slice(const char *at, size_t n, const char *name)
{
    size_t m = strlen(name);
    int order = memcmp(at, name, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(SampleFile *const *)a)->name, (*(SampleFile *const *)b)->name);
}

static int find_name(const void *key, const void *element)
{
    const Slice *s = key;
    return compare_slice(s->at, s->n, (*(SampleFile *const *)element)->name);
}

/* Applies all lines to files[0..n), which are sorted by name and have class -1. */
static bool apply(qonnx_ctx *cx, const char *path, Slice text, SampleFile **files, size_t n,
                  size_t *labelled)
{
    *labelled = 0;
    for (int number = 1; text.n; number++) {
        Slice line = take_line(&text);
        Label label;
        if (!line.n) continue;
        if (!parse_line(line, &label))
            return qonnx_fail(cx, NULL,
                              "%s: line %d is '%.*s', want 'FILE CLASS' with a number "
                              "from 0 for the class",
                              path, number, (int)(line.n < 80 ? line.n : 80), line.at);
        SampleFile **f = bsearch(&label.file, files, n, sizeof *files, find_name);
        if (!f) continue;
        if ((*f)->class_index >= 0 && (*f)->class_index != label.class_index)
            return qonnx_fail(cx, NULL, "%s: line %d gives '%s' the class %d, an earlier one %d",
                              path, number, (*f)->name, label.class_index, (*f)->class_index);
        *labelled += (*f)->class_index < 0;
        (*f)->class_index = label.class_index;
    }
    return true;
}

bool qonnx_dataset_labels(qonnx_ctx *cx, qonnx_dataset *d, const char *path)
{
    FileMap map;
    Listing *l = &d->listings[d->lead];
    if (!file_map(cx, path, &map)) return false;
    SampleFile **files = xcalloc(l->nfiles, sizeof(SampleFile *));
    for (size_t i = 0; i < l->nfiles; i++) {
        files[i] = &l->files[i];
        files[i]->class_index = -1;
    }
    qsort(files, l->nfiles, sizeof *files, by_name);
    size_t labelled;
    Slice text = {(const char *)map.data, map.bytes};
    bool ok = apply(cx, path, text, files, l->nfiles, &labelled);
    if (ok && !labelled)
        ok = qonnx_fail(cx, NULL, "%s: names none of the samples in %s; want lines as '%s 0'", path,
                        l->root, l->files[0].name);
    if (ok && labelled < l->nfiles)
        qonnx_warn(cx, NULL, "%s: gives a class to %zu of the %zu files in %s", path, labelled,
                   l->nfiles, l->root);
    free(files);
    file_unmap(&map);
    return ok;
}
