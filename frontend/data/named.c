/* frontend/data/named.c - samples by name: by the whole name, relative to what was given, or by the
 * name without its extension, as labels are often made for pictures that became arrays later.
 */
#include "frontend/data/data.h"
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

static int compare_slices(Slice a, Slice b)
{
    int order = memcmp(a.at, b.at, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static Slice name_of(const SampleFile *f) { return (Slice){file_name(f), strlen(file_name(f))}; }

static Slice stem_of(const SampleFile *f) { return (Slice){file_name(f), file_stem(f)}; }

static int by_name(const void *a, const void *b)
{
    return compare_slices(name_of(*(SampleFile *const *)a), name_of(*(SampleFile *const *)b));
}

static int by_stem(const void *a, const void *b)
{
    int order = compare_slices(stem_of(*(SampleFile *const *)a), stem_of(*(SampleFile *const *)b));
    return order ? order : by_name(a, b);
}

void sample_names_init(SampleNames *s, const Listing *l)
{
    *s = (SampleNames){.l = l};
    s->by_name = xcalloc(l->nfiles, sizeof(SampleFile *));
    s->by_stem = xcalloc(l->nfiles, sizeof(SampleFile *));
    for (size_t i = 0; i < l->nfiles; i++) s->by_name[i] = s->by_stem[i] = &l->files[i];
    qsort(s->by_name, l->nfiles, sizeof(SampleFile *), by_name);
    qsort(s->by_stem, l->nfiles, sizeof(SampleFile *), by_stem);
}

void sample_names_free(SampleNames *s)
{
    free(s->by_name);
    free(s->by_stem);
}

/* The index of the first of n sorted files whose name, or stem, is not less than the key. */
static size_t lower_bound(SampleFile **files, size_t n, Slice key, Slice (*of)(const SampleFile *))
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (compare_slices(of(files[middle]), key) < 0) low = middle + 1;
        else n = middle;
    }
    return low;
}

SampleFile *sample_named(const SampleNames *s, Slice name)
{
    size_t at = lower_bound(s->by_name, s->l->nfiles, name, name_of);
    bool found = at < s->l->nfiles && !compare_slices(name_of(s->by_name[at]), name);
    return found ? s->by_name[at] : NULL;
}

void sample_of_stem(const SampleNames *s, Slice stem, const bool *taken, SampleFile *found[2])
{
    size_t n = s->l->nfiles, count = 0;
    found[0] = found[1] = NULL;
    for (size_t i = lower_bound(s->by_stem, n, stem, stem_of);
         i < n && count < 2 && !compare_slices(stem_of(s->by_stem[i]), stem); i++)
        if (!taken || !taken[s->by_stem[i] - s->l->files]) found[count++] = s->by_stem[i];
}

Slice cut_extension(Slice s)
{
    for (size_t n = s.n; n > 1 && s.at[n - 1] != '/'; n--)
        if (s.at[n - 1] == '.') return (Slice){s.at, n - 1};
    return s;
}

/* ---- for whoever reads labels of other kinds than classes ------------------------------------ */

struct qonnx_names {
    SampleNames names;      /* of the files */
    const qonnx_dataset *d; /* whose samples they hold */
};

qonnx_names *qonnx_names_new(const qonnx_dataset *d)
{
    qonnx_names *n = xcalloc(1, sizeof *n);
    n->d = d;
    sample_names_init(&n->names, d->listings[d->lead]);
    return n;
}

void qonnx_names_free(qonnx_names *n)
{
    if (n) sample_names_free(&n->names);
    free(n);
}

/* The sample that stands at `place` among all, or the first behind it. */
static size_t sample_at(const qonnx_dataset *d, size_t place)
{
    size_t low = 0, high = qonnx_dataset_count(d);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (qonnx_dataset_place(d, middle) < place) low = middle + 1;
        else high = middle;
    }
    return low;
}

qonnx_named qonnx_names_find(const qonnx_names *n, const char *name, size_t *sample)
{
    const Listing *l = n->names.l;
    Slice whole = {name, strlen(name)};
    while (whole.n > 2 && !memcmp(whole.at, "./", 2)) whole.at += 2, whole.n -= 2;
    SampleFile *found[2] = {sample_named(&n->names, whole), NULL};
    if (!found[0]) sample_of_stem(&n->names, whole, NULL, found);
    if (!found[0]) sample_of_stem(&n->names, cut_extension(whole), NULL, found);
    if (!found[0]) return QONNX_NAMED_NONE;
    if (found[1] || listing_count(l, (size_t)(found[0] - l->files)) > 1) return QONNX_NAMED_SEVERAL;
    *sample = sample_at(n->d, found[0]->first);
    bool there = *sample < qonnx_dataset_count(n->d) &&
                 qonnx_dataset_place(n->d, *sample) == found[0]->first;
    return there ? QONNX_NAMED_ONE : QONNX_NAMED_LEFT_OUT;
}
