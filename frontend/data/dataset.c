/* frontend/data/dataset.c - data sets: opening them, choosing samples, reading them. After it has
 * been opened a data set is read only, so that any number of threads may read samples.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "frontend/data/data.h"
#include "ir/ir.h"
#include <qonnx/graph.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- inputs ---------------------------------------------------------------------------------- */

static void feed_init(Feed *f, const qonnx_value *v, int slot, const qonnx_data_options *o)
{
    *f = (Feed){.name = string_copy(qonnx_value_name(v)),
                .slot = slot,
                .dtype = qonnx_value_dtype(v),
                .rank = qonnx_value_rank(v),
                .arrays = o ? o->arrays : QONNX_ARRAYS_BY_SHAPE};
    for (int i = 0; i < f->rank; i++) f->dims[i] = qonnx_value_dim(v, i);
}

/* The data set of a graph, without files: one feed for every input that is no constant. */
static qonnx_dataset *dataset_new(const qonnx_graph *g, const qonnx_data_options *o)
{
    qonnx_dataset *d = xcalloc(1, sizeof *d);
    d->ninputs = qonnx_graph_inputs(g);
    d->feeds = xcalloc((size_t)d->ninputs, sizeof *d->feeds);
    d->listings = xcalloc((size_t)d->ninputs, sizeof *d->listings);
    for (int i = 0; i < d->ninputs; i++) {
        const qonnx_value *v = qonnx_graph_input(g, i);
        if (qonnx_value_constant(v)) continue;
        d->listings[d->nfeeds] = listing_new();
        feed_init(&d->feeds[d->nfeeds++], v, i, o);
    }
    for (int k = 0; k < d->nfeeds; k++) d->feeds[k].keyed = d->nfeeds > 1;
    return d;
}

void qonnx_dataset_free(qonnx_dataset *d)
{
    if (!d) return;
    for (int k = 0; k < d->nfeeds && !d->part; k++) {
        free(d->feeds[k].name);
        free(d->feeds[k].prepared);
        listing_free(d->listings[k]);
    }
    free(d->chosen);
    if (!d->part) {
        free(d->labels);
        free(d->pictures);
        free(d->origin);
        free(d->feeds);
        free(d->listings);
    }
    free(d);
}

/* ---- which files they are -------------------------------------------------------------------- */

/* Whether a file of that name in a directory of samples is read. */
static bool takes_name(const char *name)
{
    return *name != '.' && (form_of(name) || !strcmp(name, "labels.txt"));
}

static const char *path_at(const void *listing, size_t i)
{
    const Listing *l = listing;
    return i < l->nfiles ? l->files[i].path : NULL;
}

static void release_listing(void *listing)
{
    listing_free(listing);
}

/* What tells the data sets of a context apart: its specs, a line each. malloc'd. */
static char *specs_text(const char *const *specs, int nspecs)
{
    size_t bytes = 1, at = 0;
    for (int i = 0; i < nspecs; i++) bytes += strlen(specs[i]) + 1;
    char *text = xmalloc(bytes);
    for (int i = 0; i < nspecs; i++) {
        size_t n = strlen(specs[i]);
        memcpy(text + at, specs[i], n);
        text[at + n] = '\n';
        at += n + 1;
    }
    text[at] = 0;
    return text;
}

/* Counts the files, and the directories that they were found in, among the context's inputs. */
static void add_inputs(qonnx_ctx *cx, const qonnx_dataset *d, const char *specs)
{
    for (int k = 0; k < d->nfeeds; k++) {
        Listing *l = d->listings[k];
        for (size_t i = 0; i < l->nfolders; i++)
            input_add_folder(cx, l->folders[i], "a sample", takes_name);
        const InputSet set = {"a sample", listing_share(l), path_at, release_listing};
        input_add_set(cx, specs, set);
    }
}

/* Finds the files of the specs. What an earlier data set of the same specs had found makes way. */
static bool find_files(qonnx_ctx *cx, qonnx_ctx *told, qonnx_dataset *d, const char *const *specs,
                       int nspecs)
{
    char *text = specs_text(specs, nspecs);
    input_drop_sets(cx, text);
    bool ok = dataset_find(told, d, specs, nspecs);
    add_inputs(cx, d, text);
    free(text);
    return ok;
}

void qonnx_data_inputs(qonnx_ctx *cx, const qonnx_graph *g, const char *const *specs, int nspecs)
{
    qonnx_ctx *quiet = ctx_quiet();
    qonnx_dataset *d = dataset_new(g, NULL);
    (void)!find_files(cx, quiet, d, specs, nspecs);
    qonnx_dataset_free(d);
    qonnx_ctx_free(quiet);
}

qonnx_dataset *qonnx_dataset_open(qonnx_ctx *cx, const qonnx_graph *g, const char *const *specs,
                                  int nspecs, const qonnx_data_options *o)
{
    qonnx_dataset *d = dataset_new(g, o);
    if (dataset_prepare(cx, d, g, o) && find_files(cx, cx, d, specs, nspecs) &&
        dataset_count(cx, d)) {
        d->count = d->all;
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

size_t qonnx_dataset_all(const qonnx_dataset *d) { return d->all; }

size_t qonnx_dataset_place(const qonnx_dataset *d, size_t i)
{
    if (d->chosen) return d->chosen[i];
    if (d->count == d->all) return i;
    return (size_t)((unsigned __int128)i * d->all / d->count);
}

void qonnx_dataset_limit(qonnx_dataset *d, size_t count)
{
    if (count < d->count) d->count = count;
}

qonnx_dataset *qonnx_dataset_part(const qonnx_dataset *d, size_t first, size_t step, size_t most)
{
    size_t left = first < d->count ? (d->count - first + step - 1) / step : 0;
    size_t count = left < most ? left : most, *chosen = xmalloc_array(count + 1, sizeof *chosen);
    for (size_t i = 0; i < count; i++)
        chosen[i] =
            qonnx_dataset_place(d, first + step * (size_t)((unsigned __int128)i * left / count));
    qonnx_dataset *part = xcalloc(1, sizeof *part);
    *part = *d;
    part->part = true;
    part->chosen = chosen;
    part->count = count;
    return part;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void qonnx_dataset_choose(qonnx_dataset *d, size_t count, uint64_t seed)
{
    if (count >= d->count) return;
    size_t taken = 0, *chosen = xmalloc_array(count, sizeof *chosen);
    for (size_t i = 0; taken < count; i++) {
        unsigned __int128 draw = (unsigned __int128)random_next(&seed) * (d->count - i);
        if ((uint64_t)(draw >> 64) < count - taken) chosen[taken++] = i;
    }
    d->chosen = chosen;
    d->count = count;
}

/* The file that holds sample i of feed k, and which of its samples that is; i counts all that the
 * files hold. */
static const SampleFile *file_of(const qonnx_dataset *d, int k, size_t i, size_t *row)
{
    const Listing *l = d->listings[k];
    size_t low = 0, high = l->nfiles; /* files[low].first <= i, files[high].first > i */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (l->files[middle].first <= i)
            low = middle;
        else
            high = middle;
    }
    if (row) *row = l->nsamples == 1 ? 0 : i - l->files[low].first;
    return &l->files[low];
}

const char *qonnx_dataset_name(const qonnx_dataset *d, size_t i)
{
    return file_of(d, d->lead, qonnx_dataset_place(d, i), NULL)->path;
}

int qonnx_dataset_class(const qonnx_dataset *d, size_t i)
{
    return file_of(d, d->lead, qonnx_dataset_place(d, i), NULL)->class_index;
}

bool qonnx_dataset_read(qonnx_ctx *cx, const qonnx_dataset *d, size_t i, qonnx_tensor *tensors)
{
    for (int k = 0; k < d->ninputs; k++) tensors[k] = (qonnx_tensor){0};
    for (int k = 0; k < d->nfeeds; k++) {
        size_t row;
        const SampleFile *f = file_of(d, k, qonnx_dataset_place(d, i), &row);
        if (sample_read(cx, &d->feeds[k], f->path, row, &tensors[d->feeds[k].slot])) continue;
        qonnx_sample_free(tensors, d->ninputs);
        return false;
    }
    return true;
}

/* Which feed an input of the graph has; -1: it is a constant. */
static int feed_of(const qonnx_dataset *d, int input)
{
    int k = 0;
    while (k < d->nfeeds && d->feeds[k].slot != input) k++;
    return k < d->nfeeds ? k : -1;
}

const Feed *dataset_feed(const qonnx_dataset *d, int input)
{
    int k = feed_of(d, input);
    return k < 0 ? NULL : &d->feeds[k];
}

const char *dataset_file(const qonnx_dataset *d, size_t i, int input)
{
    int k = feed_of(d, input);
    return k < 0 ? NULL : file_of(d, k, qonnx_dataset_place(d, i), NULL)->path;
}

bool dataset_damaged(const qonnx_dataset *d, size_t i)
{
    for (int k = 0; k < d->nfeeds; k++)
        if (sample_damaged(file_of(d, k, qonnx_dataset_place(d, i), NULL)->path)) return true;
    return false;
}

bool dataset_known_damaged(const qonnx_dataset *d, size_t *i)
{
    for (*i = 0; d->ndamaged && *i < d->count; ++*i)
        for (int k = 0; k < d->nfeeds; k++)
            if (file_of(d, k, qonnx_dataset_place(d, *i), NULL)->damaged) return true;
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
            size_t row;
            const SampleFile *f = file_of(d, k, qonnx_dataset_place(d, i), &row);
            int64_t numbers[2] = {(int64_t)row, 0};
            if (f != last) numbers[1] = size_of(f->path);
            XXH3_128bits_update(&h, numbers, sizeof numbers);
            if (f != last) XXH3_128bits_update(&h, file_name(f), strlen(file_name(f)) + 1);
            last = f;
        }
    }
    XXH128_canonical_t out;
    XXH128_canonicalFromHash(&out, XXH3_128bits_digest(&h));
    memcpy(hash, out.digest, sizeof out.digest);
}
