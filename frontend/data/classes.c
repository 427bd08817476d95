/* frontend/data/classes.c - folders as classes: which folders of a directory are some, in which
 * order, and what is odd about them.
 */
#include "frontend/data/data.h"
#include <stdlib.h>
#include <string.h>

/* Whether a name is a number, and nothing else. */
static bool is_number(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    return digits && !name[digits];
}

/* Numbers by their value, however long, then names; equal ones ("1", "01") bytewise. */
static int by_number(const void *a, const void *b)
{
    const char *x = ((const ClassFolder *)a)->name, *y = ((const ClassFolder *)b)->name;
    if (is_number(x) != is_number(y)) return is_number(x) ? -1 : 1;
    if (!is_number(x)) return strcmp(x, y);
    const char *p = x + strspn(x, "0"), *q = y + strspn(y, "0");
    size_t m = strlen(p), n = strlen(q);
    if (m != n) return m < n ? -1 : 1;
    int order = strcmp(p, q);
    return order ? order : strcmp(x, y);
}

int class_folder(Listing *l, const char *name)
{
    int k = 0;
    while (k < l->nclasses && strcmp(l->classes[k].name, name) != 0) k++;
    if (k == l->nclasses) {
        l->classes = xrealloc_array(l->classes, (size_t)k + 1, sizeof *l->classes);
        l->classes[l->nclasses++] = (ClassFolder){.name = string_copy(name), .place = k};
    }
    return CLASS_PLACE - k;
}

/* Takes folders without samples and without a number out of the classes, where all others are
 * numbers: "0", "1", "notes". */
static void drop_others(qonnx_ctx *cx, Listing *l)
{
    int numbers = 0, kept = 0;
    for (int i = 0; i < l->nclasses; i++) {
        const ClassFolder *c = &l->classes[i];
        if (!is_number(c->name) && c->nfiles) return;
        numbers += is_number(c->name) && c->nfiles;
    }
    for (int i = 0; numbers && i < l->nclasses; i++) {
        ClassFolder *c = &l->classes[i];
        if (is_number(c->name)) {
            l->classes[kept++] = *c;
            continue;
        }
        qonnx_warn(cx, NULL,
                   "%s: the folder '%s' holds no samples, and is no class, since all"
                   " others are numbers",
                   l->root, c->name);
        free(c->name);
    }
    if (numbers) l->nclasses = kept;
}

void classes_finish(qonnx_ctx *cx, Listing *l)
{
    size_t inside = 0, places = (size_t)l->nclasses;
    for (size_t i = 0; places && i < l->nfiles; i++) {
        int class_index = l->files[i].class_index;
        if (class_index > CLASS_PLACE) continue;
        l->classes[CLASS_PLACE - class_index].nfiles++;
        inside++;
    }
    if (!inside) {
        for (int i = 0; i < l->nclasses; i++) free(l->classes[i].name);
        l->nclasses = 0;
        return;
    }
    drop_others(cx, l);
    qsort(l->classes, (size_t)l->nclasses, sizeof *l->classes, by_number);
    int *number = xcalloc(places, sizeof *number); /* of the class of each place */
    for (int i = 0; i < l->nclasses; i++) number[l->classes[i].place] = i;
    for (size_t i = 0; i < l->nfiles; i++) {
        int32_t *c = &l->files[i].class_index;
        if (*c <= CLASS_PLACE) *c = number[CLASS_PLACE - *c];
    }
    free(number);
}

/* ---- what is odd ----------------------------------------------------------------------------- */

/* Whether a folder's name is the number of its class, with or without zeros in front. */
static bool is_class(const char *name, int class_index)
{
    char *end;
    return is_number(name) && strlen(name) < 10 && strtol(name, &end, 10) == class_index;
}

/* Warns where some names are numbers, and not the classes' own. */
static void warn_numbers(qonnx_ctx *cx, const Listing *l)
{
    int numbers = 0, odd = -1;
    for (int i = 0; i < l->nclasses; i++) {
        numbers += is_number(l->classes[i].name);
        if (odd < 0 && !is_class(l->classes[i].name, i)) odd = i;
    }
    if (!numbers || odd < 0) return;
    qonnx_warn(cx, NULL,
               "%s: the class folders are not numbered 0 to %d: '%s' counts as class %d, its place "
               "in order; rename them, or list the classes in a labels.txt there, a line "
               "'FILE CLASS' for each sample",
               l->root, l->nclasses - 1, l->classes[odd].name, odd);
}

/* Warns where a folder that holds no samples counts: its number does not say that it is a class. */
static void warn_empty(qonnx_ctx *cx, const Listing *l)
{
    int empty = 0, first = -1;
    for (int i = 0; i < l->nclasses; i++) {
        if (l->classes[i].nfiles || is_number(l->classes[i].name)) continue;
        if (!empty++) first = i;
    }
    if (!empty) return;
    qonnx_warn(cx, NULL,
               "%s: %d %s no samples, and still %s (the first: '%s', class %d); move away what is "
               "no class",
               l->root, empty, empty == 1 ? "folder holds" : "folders hold",
               empty == 1 ? "counts as a class" : "count as classes", l->classes[first].name,
               first);
}

/* Warns where samples stand beside the folders that are classes. */
static void warn_beside(qonnx_ctx *cx, const Listing *l)
{
    size_t beside = 0;
    const SampleFile *first = NULL;
    for (size_t i = 0; i < l->nfiles; i++) {
        if (l->files[i].class_index >= 0) continue;
        if (!beside++) first = &l->files[i];
    }
    if (beside)
        qonnx_warn(cx, NULL,
                   "%s: folders are classes, and %zu %s beside them (the first: '%s'), without a "
                   "class",
                   l->root, beside, beside == 1 ? "sample stands" : "samples stand",
                   file_name(first));
}

void qonnx_dataset_check_classes(qonnx_ctx *cx, const qonnx_dataset *d, int64_t classes,
                                 const char *output)
{
    const Listing *l = d->listings[d->lead];
    if (d->labelled || !l->nclasses) return;
    warn_numbers(cx, l);
    warn_empty(cx, l);
    warn_beside(cx, l);
    if (classes && classes != l->nclasses)
        qonnx_warn(cx, NULL,
                   "%s: has %d class folders, the model's output '%s' has %lld classes; check "
                   "that these are its samples, and give a class that has none an empty folder",
                   l->root, l->nclasses, output, (long long)classes);
}
