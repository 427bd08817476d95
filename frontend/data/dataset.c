/* frontend/data/dataset.c - data sets: the samples of all inputs, joined. After it has been opened
 * a data set is read only, so that any number of threads may read samples.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "frontend/data/data.h"
#include "ir/arena.h"
#include "ir/ir.h"
#include <qonnx/graph.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    free(d->labels);
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

/* Counts the samples of one input's files. A damaged one is found out when it is read, so that it
 * can be left out; not where it is the only one. */
static bool count_files(qonnx_ctx *cx, qonnx_dataset *d, int k)
{
    Listing *l = &d->listings[k];
    for (size_t i = 0; i < l->nfiles; i++) {
        SampleFile *f = &l->files[i];
        bool *damaged = l->single ? NULL : &f->damaged;
        if (!sample_count(cx, &d->feeds[k], f->path, &f->count, damaged)) return false;
        d->ndamaged += f->damaged;
    }
    return true;
}

/* A damaged file counts as many samples as its partner in `from`, which is not. */
static void lend_counts(qonnx_dataset *d, const Listing *from)
{
    for (int k = 0; k < d->nfeeds; k++) {
        Listing *l = &d->listings[k];
        for (size_t i = 0; !l->single && !from->single && i < l->nfiles; i++)
            if (l->files[i].damaged && !from->files[i].damaged)
                l->files[i].count = from->files[i].count;
    }
}

/* Numbers the samples of a listing, and returns how many there are. */
static size_t number_samples(Listing *l)
{
    size_t total = 0;
    for (size_t i = 0; i < l->nfiles; i++) {
        l->files[i].first = total;
        total += l->files[i].count;
    }
    return total;
}

/* ---- one sample or several ------------------------------------------------------------------- */

/* Room for the texts of means_one. */
enum { MEANT = 2 * SHAPE_TEXT + 96 };

/* Whether a file that counts as several samples might be meant as one, because the input's first
 * axis is open: "[8,576]" into `shape`, and into `how` what makes one sample of it. */
static bool means_one(const Feed *f, const SampleFile *file, char shape[SHAPE_TEXT],
                      char how[MEANT])
{
    int64_t dims[QONNX_MAX_RANK + 1] = {1};
    int rank;
    Fit fit;
    char wanted[SHAPE_TEXT];
    how[0] = 0;
    if (file->count < 2 || !npy_shape(file->path, &rank, dims + 1) || rank == QONNX_MAX_RANK)
        return false;
    qonnx_ctx *cx = qonnx_ctx_new();
    bool fits = feed_fit(cx, f, file->path, dims, rank + 1, true, &fit) && fit.count == 1;
    qonnx_ctx_free(cx);
    if (!fits) return false;
    shape_text(rank, dims + 1, shape);
    snprintf(how, MEANT, "; if %s is one sample, save it with a batch axis in front: %s", shape,
             shape_text(rank + 1, dims, wanted));
    return true;
}

/* Says so where files of several samples stand beside files of one. */
static void warn_mixed(qonnx_ctx *cx, const Feed *f, const Listing *l)
{
    char shape[SHAPE_TEXT], how[MEANT];
    const SampleFile *one = NULL, *several = NULL;
    for (size_t i = 0; i < l->nfiles; i++) {
        const SampleFile *file = &l->files[i];
        if (file->damaged) continue;
        if (file->count > 1 && !several) several = file;
        if (file->count == 1 && !one) one = file;
    }
    if (one && several && means_one(f, several, shape, how))
        qonnx_warn(cx, NULL, "%s: counts as %zu samples, %s as one%s", several->path,
                   several->count, one->path, how);
}

/* Says so where the one sample of a file goes with each of several in another file. */
static void warn_shared(qonnx_ctx *cx, const qonnx_dataset *d)
{
    char shape[SHAPE_TEXT], how[MEANT];
    const Listing *lead = &d->listings[d->lead];
    if (!lead->single || !means_one(&d->feeds[d->lead], &lead->files[0], shape, how)) return;
    for (int k = 0; k < d->nfeeds; k++) {
        const Listing *l = &d->listings[k];
        if (!l->single || l->files[0].count != 1) continue;
        qonnx_warn(cx, NULL, "%s: counts as %zu samples, and %s goes with each of them%s",
                   lead->root, d->count, l->root, how);
        return;
    }
}

/* ---- counting -------------------------------------------------------------------------------- */

/* What to do about two files that hold other numbers of samples: the text of means_one. */
static const char *advice(const Feed *fa, const SampleFile *a, const Feed *fb, const SampleFile *b,
                          char how[MEANT])
{
    char shape[SHAPE_TEXT];
    if (b->count == 1 && means_one(fa, a, shape, how)) return how;
    if (a->count == 1) means_one(fb, b, shape, how);
    else how[0] = 0;
    return how;
}

/* Joined files must hold the same number of samples, one by one. */
static bool check_counts(qonnx_ctx *cx, const qonnx_dataset *d, int ka, int kb)
{
    char how[MEANT];
    const Listing *a = &d->listings[ka], *b = &d->listings[kb];
    for (size_t i = 0; i < a->nfiles; i++) {
        const SampleFile *x = &a->files[i], *y = &b->files[i];
        if (x->count != y->count)
            return qonnx_fail(cx, NULL, "%s: holds %zu samples, its partner %s holds %zu%s",
                              x->path, x->count, y->path, y->count,
                              advice(&d->feeds[ka], x, &d->feeds[kb], y, how));
    }
    return true;
}

/* Whether the numbers of samples go together. A single file of one sample serves all of them. */
static bool check_totals(qonnx_ctx *cx, const qonnx_dataset *d, const size_t *totals)
{
    char shape[SHAPE_TEXT], how[MEANT] = "";
    const Listing *lead = &d->listings[d->lead];
    for (int k = 0; k < d->nfeeds; k++) {
        const Listing *l = &d->listings[k];
        if (l->single && totals[k] == 1) continue;
        if (!l->single && !lead->single) {
            if (!check_counts(cx, d, d->lead, k)) return false;
        } else if (totals[k] != d->count) {
            if (l->single) means_one(&d->feeds[k], &l->files[0], shape, how);
            else if (lead->single) means_one(&d->feeds[d->lead], &lead->files[0], shape, how);
            return qonnx_fail(cx, NULL, "%s: holds %zu samples, %s holds %zu%s", l->root, totals[k],
                              lead->root, d->count, how);
        }
    }
    return true;
}

/* Counts the samples of all inputs, and joins them. */
static bool count_all(qonnx_ctx *cx, qonnx_dataset *d)
{
    for (int k = 0; k < d->nfeeds; k++)
        if (!count_files(cx, d, k)) return false;
    for (int k = 0; d->ndamaged && k < d->nfeeds; k++) lend_counts(d, &d->listings[k]);
    size_t *totals = xcalloc((size_t)d->nfeeds, sizeof *totals);
    for (int k = 0; k < d->nfeeds; k++) {
        totals[k] = number_samples(&d->listings[k]);
        if (k && totals[k] <= d->count) continue;
        d->count = totals[k];
        d->lead = k;
    }
    bool ok = check_totals(cx, d, totals);
    for (int k = 0; ok && k < d->nfeeds; k++) warn_mixed(cx, &d->feeds[k], &d->listings[k]);
    if (ok) warn_shared(cx, d);
    free(totals);
    return ok;
}

/* ---- which files they are -------------------------------------------------------------------- */

/* Whether a file of that name in a directory of samples is read. */
static bool takes_name(const char *name)
{
    return *name != '.' && (kind_of(name) != KIND_OTHER || !strcmp(name, "labels.txt"));
}

/* Counts the files, and the directories that they were found in, among the context's inputs. */
static void add_inputs(qonnx_ctx *cx, const qonnx_dataset *d)
{
    for (int k = 0; k < d->nfeeds; k++) {
        const Listing *l = &d->listings[k];
        size_t known = 0; /* length of the directory that was added last */
        if (l->root) input_add_folder(cx, l->root, "a sample", takes_name);
        for (size_t i = 0; i < l->nfiles; i++) {
            const char *path = l->files[i].path, *slash = strrchr(path, '/');
            size_t n = slash && !l->single ? (size_t)(slash - path) : 0;
            input_add(cx, path, "a sample");
            if (!n || (i && n == known && !memcmp(path, l->files[i - 1].path, n))) continue;
            char *folder = string_copy(path);
            folder[n] = 0;
            input_add_folder(cx, folder, "a sample", takes_name);
            free(folder);
            known = n;
        }
    }
}

void qonnx_data_inputs(qonnx_ctx *cx, const qonnx_graph *g, const char *const *specs,
                             int nspecs)
{
    qonnx_ctx *quiet = ctx_quiet();
    qonnx_dataset *d = dataset_new(g);
    (void)!dataset_find(quiet, d, specs, nspecs);
    add_inputs(cx, d);
    qonnx_dataset_free(d);
    qonnx_ctx_free(quiet);
}

qonnx_dataset *qonnx_dataset_open(qonnx_ctx *cx, const qonnx_graph *g, const char *const *specs,
                                  int nspecs)
{
    qonnx_dataset *d = dataset_new(g);
    if (dataset_find(cx, d, specs, nspecs) && count_all(cx, d)) {
        add_inputs(cx, d);
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
    for (int k = 0; k < d->nfeeds; k++)
        if (sample_damaged(file_of(d, k, row_of(d, i))->path)) return true;
    return false;
}

bool dataset_known_damaged(const qonnx_dataset *d, size_t *i)
{
    for (*i = 0; d->ndamaged && *i < d->count; ++*i)
        for (int k = 0; k < d->nfeeds; k++)
            if (file_of(d, k, row_of(d, *i))->damaged) return true;
    return false;
}

/* The size of a file, -1 where it is gone. */
static int64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? -1 : (int64_t)st.st_size;
}

void dataset_hash(const qonnx_dataset *d, uint8_t hash[16])
{
    XXH3_state_t h;
    XXH3_128bits_reset(&h);
    for (int k = 0; k < d->nfeeds; k++) {
        const SampleFile *last = NULL;
        for (size_t i = 0; i < d->count; i++) {
            const SampleFile *f = file_of(d, k, row_of(d, i));
            int64_t numbers[2] = {(int64_t)(f->count == 1 ? 0 : row_of(d, i) - f->first), 0};
            if (f != last) numbers[1] = size_of(f->path);
            XXH3_128bits_update(&h, numbers, sizeof numbers);
            if (f != last) XXH3_128bits_update(&h, f->name, strlen(f->name) + 1);
            last = f;
        }
    }
    XXH128_canonical_t out;
    XXH128_canonicalFromHash(&out, XXH3_128bits_digest(&h));
    memcpy(hash, out.digest, sizeof out.digest);
}
