/* frontend/data/dataset.c - data sets: the samples of all inputs, joined. After it has been opened
 * a data set is read only, so that any number of threads may read samples.
 */
#include "frontend/data/data.h"
#include "ir/arena.h"
#include <qonnx/graph.h>
#include <stdlib.h>
#include <string.h>

/* ---- inputs ---------------------------------------------------------------------------------- */

static void feed_init(Feed *f, const qonnx_value *v, int slot)
{
    *f = (Feed){
        string_copy(qonnx_value_name(v)), slot, qonnx_value_dtype(v), qonnx_value_rank(v), {0}};
    for (int i = 0; i < f->rank; i++) f->dims[i] = qonnx_value_dim(v, i);
}

/* The data set of a graph, without files: one feed for every input that is no constant. */
static qonnx_dataset *dataset_new(const qonnx_graph *g)
{
    qonnx_dataset *d = xcalloc(1, sizeof *d);
    d->ninputs = qonnx_graph_inputs(g);
    d->feeds = xcalloc((size_t)d->ninputs, sizeof *d->feeds);
    d->listings = xcalloc((size_t)d->ninputs, sizeof *d->listings);
    for (int i = 0; i < d->ninputs; i++) {
        const qonnx_value *v = qonnx_graph_input(g, i);
        if (!qonnx_value_constant(v)) feed_init(&d->feeds[d->nfeeds++], v, i);
    }
    return d;
}

void qonnx_dataset_free(qonnx_dataset *d)
{
    if (!d) return;
    for (int k = 0; k < d->nfeeds; k++) {
        free(d->feeds[k].name);
        listing_free(&d->listings[k]);
    }
    free(d->feeds);
    free(d->listings);
    free(d);
}

/* ---- joining --------------------------------------------------------------------------------- */

static bool same_stem(const SampleFile *a, const SampleFile *b)
{
    return a->stem == b->stem && !memcmp(a->name, b->name, a->stem);
}

static bool no_partner(qonnx_ctx *cx, const SampleFile *f, const Listing *other, const Feed *feed)
{
    return qonnx_fail(cx, NULL, "%s: has no partner '%.*s.*' in %s for the model's input '%s'",
                      f->path, (int)f->stem, f->name, other->root, feed->name);
}

/* Two listings must hold the same stems; both are sorted by them. */
static bool join(qonnx_ctx *cx, const qonnx_dataset *d, int ka, int kb)
{
    const Listing *a = &d->listings[ka], *b = &d->listings[kb];
    for (size_t i = 0; i < a->nfiles || i < b->nfiles; i++) {
        if (i < a->nfiles && i < b->nfiles && same_stem(&a->files[i], &b->files[i])) continue;
        for (size_t j = 0; i < a->nfiles; j++) {
            if (j == b->nfiles) return no_partner(cx, &a->files[i], b, &d->feeds[kb]);
            if (same_stem(&a->files[i], &b->files[j])) break;
        }
        return no_partner(cx, &b->files[i < b->nfiles ? i : b->nfiles - 1], a, &d->feeds[ka]);
    }
    return true;
}

bool dataset_join(qonnx_ctx *cx, const qonnx_dataset *d)
{
    int first = -1;
    for (int k = 0; k < d->nfeeds; k++) {
        if (d->listings[k].single) continue;
        if (first >= 0 && !join(cx, d, first, k)) return false;
        if (first < 0) first = k;
    }
    return true;
}

/* Counts the samples of one input's files. */
static bool count_files(qonnx_ctx *cx, const Feed *f, Listing *l, size_t *total)
{
    *total = 0;
    for (size_t i = 0; i < l->nfiles; i++) {
        SampleFile *file = &l->files[i];
        file->first = *total;
        if (!sample_count(cx, f, file->path, &file->count)) return false;
        *total += file->count;
    }
    return true;
}

/* Joined files must hold the same number of samples, one by one. */
static bool check_counts(qonnx_ctx *cx, const Listing *a, const Listing *b)
{
    for (size_t i = 0; i < a->nfiles; i++)
        if (a->files[i].count != b->files[i].count)
            return qonnx_fail(cx, NULL, "%s: holds %zu samples, its partner %s holds %zu",
                              a->files[i].path, a->files[i].count, b->files[i].path,
                              b->files[i].count);
    return true;
}

/* Counts the samples. A single file of one sample serves all of them. */
static bool count_all(qonnx_ctx *cx, qonnx_dataset *d)
{
    size_t *totals = xcalloc((size_t)d->nfeeds, sizeof *totals);
    bool ok = true;
    for (int k = 0; ok && k < d->nfeeds; k++) {
        ok = count_files(cx, &d->feeds[k], &d->listings[k], &totals[k]);
        if (k && (totals[k] <= d->count)) continue;
        d->count = totals[k];
        d->lead = k;
    }
    const Listing *lead = &d->listings[d->lead];
    for (int k = 0; ok && k < d->nfeeds; k++) {
        const Listing *l = &d->listings[k];
        if (l->single && totals[k] == 1) continue;
        if (!l->single && !lead->single)
            ok = check_counts(cx, lead, l);
        else if (totals[k] != d->count)
            ok = qonnx_fail(cx, NULL, "%s: holds %zu samples, %s holds %zu", l->root, totals[k],
                            lead->root, d->count);
    }
    free(totals);
    return ok;
}

qonnx_dataset *qonnx_dataset_open(qonnx_ctx *cx, const qonnx_graph *g, const char *const *specs,
                                  int nspecs)
{
    qonnx_dataset *d = dataset_new(g);
    if (dataset_find(cx, d, specs, nspecs) && count_all(cx, d)) {
        d->all = d->count;
        return d;
    }
    qonnx_dataset_free(d);
    return NULL;
}

/* ---- samples --------------------------------------------------------------------------------- */

size_t qonnx_dataset_count(const qonnx_dataset *d)
{
    return d->count;
}

int qonnx_dataset_inputs(const qonnx_dataset *d)
{
    return d->ninputs;
}

void qonnx_dataset_limit(qonnx_dataset *d, size_t count)
{
    if (count < d->count) d->count = count;
}

/* Where sample i stands among all that the files hold: a limited set is spread evenly. */
static size_t row_of(const qonnx_dataset *d, size_t i)
{
    return d->count == d->all ? i : (size_t)((unsigned __int128)i * d->all / d->count);
}

/* The file that holds sample i of feed k; i counts all that the files hold. */
static const SampleFile *file_of(const qonnx_dataset *d, int k, size_t i)
{
    const Listing *l = &d->listings[k];
    size_t low = 0, high = l->nfiles; /* files[low].first <= i, files[high].first > i */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (l->files[middle].first <= i)
            low = middle;
        else
            high = middle;
    }
    return &l->files[low];
}

const char *qonnx_dataset_name(const qonnx_dataset *d, size_t i)
{
    return file_of(d, d->lead, row_of(d, i))->path;
}

int qonnx_dataset_class(const qonnx_dataset *d, size_t i)
{
    return file_of(d, d->lead, row_of(d, i))->class_index;
}

bool qonnx_dataset_read(qonnx_ctx *cx, const qonnx_dataset *d, size_t i, qonnx_tensor *tensors)
{
    for (int k = 0; k < d->ninputs; k++) tensors[k] = (qonnx_tensor){0};
    for (int k = 0; k < d->nfeeds; k++) {
        const SampleFile *f = file_of(d, k, row_of(d, i));
        size_t row = f->count == 1 ? 0 : row_of(d, i) - f->first;
        if (sample_read(cx, &d->feeds[k], f->path, row, &tensors[d->feeds[k].slot])) continue;
        qonnx_sample_free(tensors, d->ninputs);
        return false;
    }
    return true;
}

bool dataset_damaged(const qonnx_dataset *d, size_t i)
{
    for (int k = 0; k < d->nfeeds; k++) {
        const char *path = file_of(d, k, row_of(d, i))->path;
        if (kind_of(path) == KIND_IMAGE && image_damaged(path)) return true;
    }
    return false;
}
