/* frontend/data/joined.c - the samples of a data set's inputs, joined: which files go together, how
 * many samples they hold, and what is odd about that.
 */
#include "frontend/data/data.h"
#include "ir/ir.h"
#include <stdio.h>
#include <string.h>

/* ---- joining --------------------------------------------------------------------------------- */

static bool same_stem(const SampleFile *a, const SampleFile *b)
{
    size_t n = file_stem(a);
    return n == file_stem(b) && !memcmp(file_name(a), file_name(b), n);
}

static bool no_partner(qonnx_ctx *cx, const SampleFile *f, const Listing *other, const Feed *feed)
{
    if (f->by_place)
        return qonnx_fail(cx, NULL, "%s: has no partner in %s, which holds %zu, for the model's "
                                    "input '%s'",
                          f->path, other->root, other->nfiles, feed->name);
    return qonnx_fail(cx, NULL, "%s: has no partner '%.*s.*' in %s for the model's input '%s'",
                      f->path, (int)file_stem(f), file_name(f), other->root, feed->name);
}

/* Two listings must hold the same stems in the same order, or go by their places. */
static bool join(qonnx_ctx *cx, const qonnx_dataset *d, int ka, int kb)
{
    const Listing *a = d->listings[ka], *b = d->listings[kb];
    for (size_t i = 0; i < a->nfiles || i < b->nfiles; i++) {
        if (i < a->nfiles && i < b->nfiles &&
            (a->files[i].by_place || b->files[i].by_place ||
             same_stem(&a->files[i], &b->files[i])))
            continue;
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
        if (d->listings[k]->single) continue;
        if (first >= 0 && !join(cx, d, first, k)) return false;
        if (first < 0) first = k;
    }
    return true;
}

/* Whether the input can be fed from files of the forms that the listing holds. */
static bool check_forms(qonnx_ctx *cx, const Feed *f, const Listing *l)
{
    const Form *checked = NULL; /* the form of the file before: most listings have one */
    for (size_t i = 0; i < l->nfiles; i++) {
        const Form *form = form_of(l->files[i].path);
        if (form == checked) continue;
        if (form && form->check && !form->check(cx, f, l->files[i].path)) return false;
        checked = form;
    }
    return true;
}

/* Counts the samples of one input's files, into `first` for now. A damaged one is found out when it
 * is read, so that it can be left out; not where it is the only one. */
static bool count_files(qonnx_ctx *cx, qonnx_dataset *d, int k)
{
    Listing *l = d->listings[k];
    if (!check_forms(cx, &d->feeds[k], l)) return false;
    for (size_t i = 0; i < l->nfiles; i++) {
        SampleFile *f = &l->files[i];
        bool damaged = false;
        if (!sample_count(cx, &d->feeds[k], f->path, &f->first, l->single ? NULL : &damaged))
            return false;
        f->damaged = damaged;
        d->ndamaged += damaged;
    }
    return true;
}

/* A damaged file counts as many samples as its partner in `from`, which is not. */
static void lend_counts(qonnx_dataset *d, const Listing *from)
{
    for (int k = 0; k < d->nfeeds; k++) {
        Listing *l = d->listings[k];
        for (size_t i = 0; !l->single && !from->single && i < l->nfiles; i++)
            if (l->files[i].damaged && !from->files[i].damaged)
                l->files[i].first = from->files[i].first;
    }
}

/* Numbers the samples of a listing: each file's `first`, which was its count. */
static void number_samples(Listing *l)
{
    l->nsamples = 0;
    for (size_t i = 0; i < l->nfiles; i++) {
        size_t count = l->files[i].first;
        l->files[i].first = l->nsamples;
        l->nsamples += count;
    }
}

/* ---- one sample or several ------------------------------------------------------------------- */

/* Room for the texts of means_one. */
enum { MEANT = 2 * SHAPE_TEXT + 128 };

/* Whether file i, which counts as several samples, might be meant as one, because the input's first
 * axis is open: "[8,576]" into `shape`, and into `how` what makes one sample of it. */
static bool means_one(const Feed *f, const Listing *l, size_t i, char shape[SHAPE_TEXT],
                      char how[MEANT])
{
    int64_t dims[QONNX_MAX_RANK + 1] = {1};
    int rank;
    Fit fit;
    char wanted[SHAPE_TEXT];
    how[0] = 0;
    if (f->arrays != QONNX_ARRAYS_BY_SHAPE || listing_count(l, i) < 2 ||
        !npy_shape(l->files[i].path, &rank, dims + 1) || rank == QONNX_MAX_RANK)
        return false;
    qonnx_ctx *cx = qonnx_ctx_new();
    bool fits = feed_fit(cx, f, "", dims, rank + 1, true, &fit) && fit.count == 1;
    qonnx_ctx_free(cx);
    if (!fits) return false;
    shape_text(rank, dims + 1, shape);
    snprintf(how, MEANT,
             "; if %s is one sample, save it with a batch axis in front: %s, or give --npy sample",
             shape, shape_text(rank + 1, dims, wanted));
    return true;
}

/* Says so where files of several samples stand beside files of one. */
static void warn_mixed(qonnx_ctx *cx, const Feed *f, const Listing *l)
{
    char shape[SHAPE_TEXT], how[MEANT];
    size_t one = l->nfiles, several = l->nfiles;
    for (size_t i = 0; i < l->nfiles; i++) {
        if (l->files[i].damaged) continue;
        if (listing_count(l, i) > 1 && several == l->nfiles) several = i;
        if (listing_count(l, i) == 1 && one == l->nfiles) one = i;
    }
    if (one < l->nfiles && several < l->nfiles && means_one(f, l, several, shape, how))
        qonnx_warn(cx, NULL, "%s: counts as %zu samples, %s as one%s", l->files[several].path,
                   listing_count(l, several), l->files[one].path, how);
}

/* Says so where the one sample of a file goes with each of several in another file. */
static void warn_shared(qonnx_ctx *cx, const qonnx_dataset *d)
{
    char shape[SHAPE_TEXT], how[MEANT];
    const Listing *lead = d->listings[d->lead];
    if (!lead->single || !means_one(&d->feeds[d->lead], lead, 0, shape, how)) return;
    for (int k = 0; k < d->nfeeds; k++) {
        const Listing *l = d->listings[k];
        if (!l->single || l->nsamples != 1) continue;
        qonnx_warn(cx, NULL, "%s: counts as %zu samples, and %s goes with each of them%s",
                   lead->root, d->all, l->root, how);
        return;
    }
}

/* ---- counting -------------------------------------------------------------------------------- */

/* What to do about two files, the i-th of feeds a and b, that hold other numbers of samples: the
 * text of means_one. */
static const char *advice(const qonnx_dataset *d, int a, int b, size_t i, char how[MEANT])
{
    char shape[SHAPE_TEXT];
    const Listing *la = d->listings[a], *lb = d->listings[b];
    if (listing_count(lb, i) == 1 && means_one(&d->feeds[a], la, i, shape, how)) return how;
    if (listing_count(la, i) == 1) means_one(&d->feeds[b], lb, i, shape, how);
    else how[0] = 0;
    return how;
}

/* Joined files must hold the same number of samples, one by one. */
static bool check_counts(qonnx_ctx *cx, const qonnx_dataset *d, int ka, int kb)
{
    char how[MEANT];
    const Listing *a = d->listings[ka], *b = d->listings[kb];
    for (size_t i = 0; i < a->nfiles; i++)
        if (listing_count(a, i) != listing_count(b, i))
            return qonnx_fail(cx, NULL, "%s: holds %zu samples, its partner %s holds %zu%s",
                              a->files[i].path, listing_count(a, i), b->files[i].path,
                              listing_count(b, i), advice(d, ka, kb, i, how));
    return true;
}

/* Whether the numbers of samples go together. A single file of one sample serves all of them. */
static bool check_totals(qonnx_ctx *cx, const qonnx_dataset *d)
{
    char shape[SHAPE_TEXT], how[MEANT] = "";
    const Listing *lead = d->listings[d->lead];
    for (int k = 0; k < d->nfeeds; k++) {
        const Listing *l = d->listings[k];
        if (l->single && l->nsamples == 1) continue;
        if (!l->single && !lead->single) {
            if (!check_counts(cx, d, d->lead, k)) return false;
        } else if (l->nsamples != d->all) {
            if (l->single) means_one(&d->feeds[k], l, 0, shape, how);
            else if (lead->single) means_one(&d->feeds[d->lead], lead, 0, shape, how);
            return qonnx_fail(cx, NULL, "%s: holds %zu samples, %s holds %zu%s", l->root,
                              l->nsamples, lead->root, d->all, how);
        }
    }
    return true;
}

bool dataset_count(qonnx_ctx *cx, qonnx_dataset *d)
{
    for (int k = 0; k < d->nfeeds; k++)
        if (!count_files(cx, d, k)) return false;
    for (int k = 0; d->ndamaged && k < d->nfeeds; k++) lend_counts(d, d->listings[k]);
    for (int k = 0; k < d->nfeeds; k++) {
        number_samples(d->listings[k]);
        if (k && d->listings[k]->nsamples <= d->all) continue;
        d->all = d->listings[k]->nsamples;
        d->lead = k;
    }
    if (!check_totals(cx, d)) return false;
    for (int k = 0; k < d->nfeeds; k++) warn_mixed(cx, &d->feeds[k], d->listings[k]);
    warn_shared(cx, d);
    return true;
}
