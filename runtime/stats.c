/* runtime/stats.c - what was seen of the activations: storage, exact addition, the public views.
 *
 * Everything here adds as integers or takes an extreme, so the order of additions does not show.
 */
#include "runtime/stats.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"
#include "runtime/count.h"

/* ---- bins ------------------------------------------------------------------------------------ */

static float from_bits(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

void stats_bin_edges(uint32_t key, float *lo, float *hi)
{
    uint32_t near = key << COUNT_SHIFT, far = near | ((1u << COUNT_SHIFT) - 1);
    if ((near << 1) == 0) near |= 1; /* zero itself has a bin of its own */
    bool negative = near >> 31;
    *lo = from_bits(negative ? far : near);
    *hi = from_bits(negative ? near : far);
}

uint32_t stats_bin_key(const qonnx_bin *bin)
{
    uint32_t bits;
    memcpy(&bits, &bin->lo, sizeof bits);
    return bits >> COUNT_SHIFT;
}

/* Merges two ascending lists of bins into a new one. */
static qonnx_bin *merge_bins(const qonnx_histogram *a, const qonnx_histogram *b, int *count)
{
    qonnx_bin *out = xcalloc((size_t)a->nbins + (size_t)b->nbins + 1, sizeof *out);
    int i = 0, j = 0, n = 0;
    while (i < a->nbins || j < b->nbins) {
        if (j == b->nbins || (i < a->nbins && a->bins[i].lo < b->bins[j].lo)) {
            out[n++] = a->bins[i++];
        } else if (i == a->nbins || b->bins[j].lo < a->bins[i].lo) {
            out[n++] = b->bins[j++];
        } else {
            out[n] = a->bins[i++];
            out[n++].count += b->bins[j++].count;
        }
    }
    *count = n;
    return out;
}

static uint64_t finite_values(const qonnx_histogram *h)
{
    return h->count - h->nan - h->inf;
}

static void histogram_add(qonnx_histogram *h, const qonnx_histogram *from)
{
    if (from->count == 0) return;
    if (finite_values(from) > 0) {
        bool first = finite_values(h) == 0;
        if (first || from->min < h->min) h->min = from->min;
        if (first || from->max > h->max) h->max = from->max;
    }
    int n;
    qonnx_bin *bins = merge_bins(h, from, &n);
    free((void *)h->bins);
    h->bins = bins;
    h->nbins = n;
    h->count += from->count;
    h->nan += from->nan;
    h->inf += from->inf;
    h->zero += from->zero;
}

/* ---- channels -------------------------------------------------------------------------------- */

void channels_init(ChannelSums *ch, int count)
{
    size_t n = (size_t)count;
    *ch = (ChannelSums){.count = count,
                        .bad = xcalloc(n, sizeof *ch->bad),
                        .min = xcalloc(n, sizeof *ch->min),
                        .max = xcalloc(n, sizeof *ch->max),
                        .sum = xcalloc(n, sizeof *ch->sum),
                        .square = xcalloc(n, sizeof *ch->square)};
}

static void channels_free(ChannelSums *ch)
{
    free(ch->bad);
    free(ch->min);
    free(ch->max);
    free(ch->sum);
    free(ch->square);
}

void channels_drop(ChannelSums *ch)
{
    channels_free(ch);
    *ch = (ChannelSums){.dropped = true};
}

bool channels_weigh(ChannelSums *ch, Int128 mass)
{
    if (!__builtin_add_overflow(ch->mass, mass, &ch->mass)) return true;
    channels_drop(ch);
    return false;
}

void channels_add(ChannelSums *ch, const ChannelSums *from)
{
    if (ch->dropped || (!from->dropped && from->count == 0)) return;
    if (ch->count == 0 && !from->dropped) channels_init(ch, from->count);
    if (from->dropped || from->count != ch->count) {
        channels_drop(ch);
        return;
    }
    if (!channels_weigh(ch, from->mass)) return;
    for (int c = 0; c < ch->count; c++) {
        bool first = ch->values == ch->bad[c];
        if (from->values > from->bad[c]) {
            if (first || from->min[c] < ch->min[c]) ch->min[c] = from->min[c];
            if (first || from->max[c] > ch->max[c]) ch->max[c] = from->max[c];
        }
        ch->bad[c] += from->bad[c];
        ch->sum[c] += from->sum[c];
        ch->square[c] += from->square[c];
    }
    ch->values += from->values;
}

/* ---- one activation -------------------------------------------------------------------------- */

void seen_add(Seen *seen, const Seen *from)
{
    histogram_add(&seen->hist, &from->hist);
    channels_add(&seen->ch, &from->ch);
}

static void free_view(qonnx_channels *v)
{
    free((void *)v->mean);
    free((void *)v->mean_square);
    *v = (qonnx_channels){0};
}

void seen_view(Seen *seen)
{
    const ChannelSums *ch = &seen->ch;
    free_view(&seen->channels);
    if (ch->count == 0 || ch->values == 0) return;
    double *mean = xcalloc((size_t)ch->count, sizeof *mean);
    double *mean_square = xcalloc((size_t)ch->count, sizeof *mean_square);
    for (int c = 0; c < ch->count; c++) {
        double finite = (double)(ch->values - ch->bad[c]);
        if (finite == 0) continue;
        mean[c] = (double)ch->sum[c] * STATS_UNIT / finite;
        mean_square[c] = (double)ch->square[c] * STATS_UNIT / finite;
    }
    seen->channels = (qonnx_channels){.axis = seen->axis,
                                      .count = ch->count,
                                      .values = ch->values,
                                      .min = ch->min,
                                      .max = ch->max,
                                      .mean = mean,
                                      .mean_square = mean_square};
}

void seen_free(Seen *seen)
{
    free(seen->name);
    free(seen->graph);
    free((void *)seen->hist.bins);
    channels_free(&seen->ch);
    free_view(&seen->channels);
}

/* ---- all of them ----------------------------------------------------------------------------- */

int seen_compare(const Seen *a, const char *graph, const char *name)
{
    int order = strcmp(a->graph, graph);
    return order ? order : strcmp(a->name, name);
}

static int compare_names(const void *a, const void *b, void *seen)
{
    const Seen *all = seen, *other = &all[*(const int *)b];
    return seen_compare(&all[*(const int *)a], other->graph, other->name);
}

bool stats_index(qonnx_stats *s)
{
    free(s->by_name);
    s->by_name = xcalloc((size_t)s->count + 1, sizeof *s->by_name);
    for (int i = 0; i < s->count; i++) s->by_name[i] = i;
    qsort_r(s->by_name, (size_t)s->count, sizeof *s->by_name, compare_names, s->seen);
    for (int i = 1; i < s->count; i++)
        if (compare_names(&s->by_name[i - 1], &s->by_name[i], s->seen) == 0) return false;
    return true;
}

void stats_hex(qonnx_stats *s)
{
    snprintf(s->data_hex, sizeof s->data_hex, "%016llx%016llx",
             (unsigned long long)(s->data_hash >> 64), (unsigned long long)s->data_hash);
}

qonnx_stats *stats_new(const StatsSpec *specs, int count)
{
    qonnx_stats *s = xcalloc(1, sizeof *s);
    s->count = count;
    s->seen = xcalloc((size_t)count + 1, sizeof *s->seen);
    for (int i = 0; i < count; i++) {
        Seen *seen = &s->seen[i];
        seen->name = xstrdup(specs[i].name);
        seen->graph = xstrdup(specs[i].graph ? specs[i].graph : "");
        seen->axis = specs[i].axis;
        if (specs[i].channels > STATS_MAX_CHANNELS)
            channels_drop(&seen->ch);
        else if (specs[i].channels > 0)
            channels_init(&seen->ch, specs[i].channels);
    }
    s->pipeline = xstrdup("");
    s->engine = xstrdup("");
    s->preprocess = xstrdup("");
    stats_hex(s);
    bool distinct = stats_index(s);
    assert(distinct);
    (void)distinct;
    return s;
}

void qonnx_stats_free(qonnx_stats *s)
{
    if (!s) return;
    for (int i = 0; i < s->count; i++) seen_free(&s->seen[i]);
    free(s->seen);
    free(s->by_name);
    free(s->pipeline);
    free(s->engine);
    free(s->preprocess);
    free(s->path);
    free(s->merged);
    coverages_free(&s->coverage);
    checkpoint_free(s->checkpoint);
    parts_free(&s->parts);
    free(s);
}

void lost_add(LostList *l, uint64_t sample, const char *why)
{
    if (l->count == l->room) {
        l->room = 2 * l->room + 16;
        l->lost = xrealloc_array(l->lost, l->room, sizeof *l->lost);
    }
    l->lost[l->count++] = (Lost){sample, xstrdup(why)};
}

void lost_free(LostList *l)
{
    for (size_t i = 0; i < l->count; i++) free(l->lost[i].why);
    free(l->lost);
    *l = (LostList){0};
}

void checkpoint_free(Checkpoint *c)
{
    if (c) lost_free(&c->lost);
    free(c);
}

void stats_describe(qonnx_stats *s, const char *pipeline, const char *engine,
                    const uint8_t graph_hash[16])
{
    free(s->pipeline);
    free(s->engine);
    s->pipeline = xstrdup(pipeline);
    s->engine = xstrdup(engine);
    memcpy(s->graph_hash, graph_hash, sizeof s->graph_hash);
}

void stats_prepared(qonnx_stats *s, const char *preprocess)
{
    free(s->preprocess);
    s->preprocess = xstrdup(preprocess);
}

/* ---- public views ---------------------------------------------------------------------------- */

const char *qonnx_stats_pipeline(const qonnx_stats *s)
{
    return s->pipeline;
}
const char *qonnx_stats_engine(const qonnx_stats *s)
{
    return s->engine;
}
const char *qonnx_stats_preprocess(const qonnx_stats *s)
{
    return s->preprocess;
}
uint64_t qonnx_stats_samples(const qonnx_stats *s)
{
    return s->samples;
}
const char *qonnx_stats_data_hash(const qonnx_stats *s)
{
    return s->data_hex;
}
int qonnx_stats_count(const qonnx_stats *s)
{
    return s->count;
}

const char *qonnx_stats_name(const qonnx_stats *s, int i)
{
    assert(i >= 0 && i < s->count);
    return s->seen[i].name;
}

const char *qonnx_stats_graph(const qonnx_stats *s, int i)
{
    assert(i >= 0 && i < s->count);
    return s->seen[i].graph;
}

bool qonnx_stats_match(qonnx_ctx *cx, const qonnx_stats *s, const qonnx_graph *g)
{
    uint8_t hash[16];
    graph_hash(g, hash);
    if (memcmp(hash, s->graph_hash, sizeof hash) == 0) return true;
    return qonnx_fail(cx, NULL,
                      "the statistics were taken on another graph: the model or the passes in "
                      "front of calibrate ('%s') have changed; run `qonnx calibrate` again",
                      s->pipeline);
}

bool qonnx_stats_check_plugins(qonnx_ctx *cx, const qonnx_stats *s, const char *pipeline)
{
    const char *where = s->path ? s->path : "the statistics";
    if (!parts_loaded(cx, where, &s->parts, pipeline)) return false;
    if (qonnx_pipeline_check(cx, pipeline)) return true;
    char *prefix = NULL;
    if (asprintf(&prefix, "%s: its pipeline cannot be run again: ", where) < 0) return false;
    ctx_prefix_error(cx, prefix);
    free(prefix);
    return false;
}

int qonnx_stats_find(const qonnx_stats *s, const char *graph, const char *name)
{
    int lo = 0, hi = s->count;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, order = seen_compare(&s->seen[s->by_name[mid]], graph, name);
        if (order == 0) return s->by_name[mid];
        if (order > 0) hi = mid;
        else lo = mid + 1;
    }
    return -1;
}

int qonnx_stats_of(const qonnx_stats *s, const qonnx_value *v)
{
    char *graph = qonnx_graph_path(v->graph);
    int i = qonnx_stats_find(s, graph, v->name);
    free(graph);
    return i;
}

const qonnx_histogram *qonnx_stats_histogram(const qonnx_stats *s, int i)
{
    assert(i < s->count);
    return i < 0 ? NULL : &s->seen[i].hist;
}

const qonnx_channels *qonnx_stats_channels(const qonnx_stats *s, int i)
{
    assert(i < s->count);
    return i < 0 || s->seen[i].channels.count == 0 ? NULL : &s->seen[i].channels;
}

/* The i-th list that is not whole; NULL past the end. */
static const Coverage *partial(const qonnx_stats *s, int i)
{
    for (int k = 0; k < s->coverage.count; k++)
        if (!coverage_whole(&s->coverage.list[k]) && i-- == 0) return &s->coverage.list[k];
    return NULL;
}

bool qonnx_stats_partial(const qonnx_stats *s, int i, qonnx_partial *list)
{
    const Coverage *c = partial(s, i);
    if (!c) return false;
    *list = (qonnx_partial){.parts = c->total, .seen = coverage_parts(c), .shards = c->count};
    for (size_t k = 0; k < sizeof c->list; k++)
        snprintf(list->list + 2 * k, 3, "%02x", c->list[k]);
    return true;
}

void qonnx_stats_shard(const qonnx_stats *s, int i, int k, uint32_t *shard, uint32_t *shards)
{
    const Coverage *c = partial(s, i);
    assert(c && k >= 0 && k < c->count);
    *shard = c->shards[k].index + 1;
    *shards = c->shards[k].of;
}
