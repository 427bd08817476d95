/* runtime/qcal.c - reads calibration files back, without trust.
 *
 * A checksum tells a damaged file apart; every number is checked all the same, because a file can
 * be made to have the right checksum.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/arena.h"
#include "ir/ir.h"
#include "runtime/qcal.h"

/* How every file begins: field 1, its length, its text. */
static const char prefix[] = "\x0a\x11" QCAL_KIND;

enum { MAX_PARTS = 4096 };

/* Larger files are refused: real ones take some kilobytes an activation. */
static const size_t max_file = (size_t)1 << 30;

/* What every reading function is given. */
typedef struct Reader {
    qonnx_ctx *cx;
    const char *path;
    size_t budget; /* bytes that protobuf-c may still allocate */
} Reader;

static bool damaged(const Reader *r, const char *what)
{
    return qonnx_fail(r->cx, NULL, "%s: damaged: %s; calibrate again", r->path, what);
}

/* The same for the activation of that index: names are the file's, and not to be trusted. */
static bool bad_activation(const Reader *r, size_t index, const char *what)
{
    return qonnx_fail(r->cx, NULL, "%s: damaged: activation %zu: %s; calibrate again", r->path,
                      index, what);
}

static void *budget_alloc(void *user, size_t bytes)
{
    Reader *r = user;
    if (bytes > r->budget) return NULL;
    r->budget -= bytes;
    return malloc(bytes);
}

static void budget_free(void *user, void *p)
{
    (void)user;
    free(p);
}

/* The whole file, freed by the caller; NULL on failure. */
static uint8_t *read_file(const Reader *r, size_t *bytes)
{
    FILE *f = fopen(r->path, "rb");
    if (!f) {
        qonnx_fail(r->cx, NULL, "%s: cannot be read: %s", r->path, strerror(errno));
        return NULL;
    }
    uint8_t *data = NULL;
    size_t n = 0, room = 0, got = 1;
    while (got > 0 && n <= max_file) {
        if (n == room) data = xrealloc(data, room = room ? 2 * room : 1 << 16);
        got = fread(data + n, 1, room - n, f);
        n += got;
    }
    bool failed = ferror(f) != 0;
    if (failed)
        qonnx_fail(r->cx, NULL, "%s: cannot be read: %s", r->path, strerror(errno));
    else if (n > max_file)
        damaged(r, "it is larger than 1 GiB");
    fclose(f);
    *bytes = n;
    if (!failed && n <= max_file) return data;
    free(data);
    return NULL;
}

static Int128 get_sum(uint64_t low, uint64_t high)
{
    return (Int128)((unsigned __int128)high << 64 | low);
}

/* Extremes and sums of channel c against what is known of the whole. */
static bool channel_ok(const ChannelSums *ch, int c, const qonnx_histogram *h)
{
    if (ch->bad[c] > ch->values) return false;
    if (ch->bad[c] == ch->values)
        return ch->min[c] == 0 && ch->max[c] == 0 && ch->sum[c] == 0 && ch->square[c] == 0;
    return ch->min[c] >= h->min && ch->min[c] <= ch->max[c] && ch->max[c] <= h->max &&
           ch->sum[c] >= -ch->mass && ch->sum[c] <= ch->mass && ch->square[c] >= 0 &&
           ch->square[c] <= ch->mass;
}

static bool get_channels(const Reader *r, size_t index, const PbChannels *m, Seen *seen)
{
    const qonnx_histogram *h = &seen->hist;
    size_t n = m->n_min;
    uint64_t all;
    if (n == 0 || n > STATS_MAX_CHANNELS || m->n_max != n || m->n_sum_low != n ||
        m->n_sum_high != n || m->n_square_low != n || m->n_square_high != n ||
        (m->n_not_finite != 0 && m->n_not_finite != n))
        return bad_activation(r, index, "the channels' lists differ in length");
    if (__builtin_mul_overflow(m->values, (uint64_t)n, &all) || all != h->count)
        return bad_activation(r, index, "the channels' counts do not add up");
    ChannelSums *ch = &seen->ch;
    channels_init(ch, (int)n);
    ch->values = m->values;
    ch->mass = get_sum(m->mass_low, m->mass_high);
    memcpy(ch->min, m->min, n * sizeof *ch->min);
    memcpy(ch->max, m->max, n * sizeof *ch->max);
    uint64_t bad = 0;
    bool ok = ch->mass >= 0;
    for (size_t c = 0; ok && c < n; c++) {
        ch->sum[c] = get_sum(m->sum_low[c], m->sum_high[c]);
        ch->square[c] = get_sum(m->square_low[c], m->square_high[c]);
        if (m->n_not_finite) ch->bad[c] = m->not_finite[c];
        ok = channel_ok(ch, (int)c, h) && !__builtin_add_overflow(bad, ch->bad[c], &bad);
    }
    if (ok && bad == h->nan + h->inf) return true;
    return bad_activation(r, index, "a channel's numbers contradict the histogram");
}

/* The bins, ascending, the zero bin between negative and positive ones. */
static bool get_bins(const Reader *r, size_t index, const PbActivation *m, qonnx_histogram *h)
{
    const uint32_t half = COUNT_KEYS / 2, infinite = 0xFF00; /* of the key's 16 bits */
    if (m->n_ranks != m->n_counts || m->n_ranks > COUNT_KEYS)
        return bad_activation(r, index, "the bins' lists differ in length");
    qonnx_bin *bins = xcalloc(m->n_ranks + 1, sizeof *bins);
    h->bins = bins;
    uint64_t total = m->zero, rank = 0;
    bool ok = !__builtin_add_overflow(total, m->nan, &total) &&
              !__builtin_add_overflow(total, m->inf, &total);
    bool zero = m->zero > 0; /* its bin is still to come */
    for (size_t i = 0; ok && i < m->n_ranks; i++) {
        rank += m->ranks[i];
        if (zero && rank >= half) bins[h->nbins++] = (qonnx_bin){0, 0, m->zero};
        zero = zero && rank < half;
        if (m->ranks[i] == 0 || m->counts[i] == 0 || rank >= COUNT_KEYS) ok = false;
        uint32_t key = ok ? key_of_rank((uint32_t)rank) : infinite;
        if (key % half >= infinite) break;
        qonnx_bin *bin = &bins[h->nbins++];
        stats_bin_edges(key, &bin->lo, &bin->hi);
        bin->count = m->counts[i];
        ok = !__builtin_add_overflow(total, bin->count, &total);
    }
    if (zero) bins[h->nbins++] = (qonnx_bin){0, 0, m->zero};
    size_t want = m->n_ranks + (m->zero > 0);
    if (ok && (size_t)h->nbins == want && total == m->count) return true;
    return bad_activation(r, index, "the bins are out of order or do not add up");
}

static bool extremes_ok(const qonnx_histogram *h)
{
    if (h->nbins == 0) return h->min == 0 && h->max == 0;
    const qonnx_bin *first = &h->bins[0], *last = &h->bins[h->nbins - 1];
    return h->min >= first->lo && h->min <= first->hi && h->max >= last->lo && h->max <= last->hi;
}

static bool get_activation(const Reader *r, size_t index, const PbActivation *m, Seen *seen)
{
    qonnx_histogram *h = &seen->hist;
    seen->name = xstrdup(m->name);
    seen->graph = xstrdup(m->graph);
    seen->axis = m->axis;
    seen->ch.dropped = m->dropped;
    h->count = m->count;
    h->nan = m->nan;
    h->inf = m->inf;
    h->zero = m->zero;
    h->min = m->min;
    h->max = m->max;
    if (!get_bins(r, index, m, h)) return false;
    if (!extremes_ok(h)) return bad_activation(r, index, "the extremes are not those of the bins");
    if (m->dropped ? m->channels != NULL : m->count > 0 && !m->channels)
        return bad_activation(r, index, "its channels are missing or out of place");
    if (m->channels && !get_channels(r, index, m->channels, seen)) return false;
    seen_view(seen);
    return true;
}

static bool get_coverage(const Reader *r, const PbCalibration *m, Coverages *all)
{
    static const char what[] = "the shards that it names are none";
    all->list = xcalloc(m->n_coverage + 1, sizeof *all->list);
    for (size_t i = 0; i < m->n_coverage; i++) {
        const PbCoverage *from = m->coverage[i];
        Coverage *c = &all->list[i];
        size_t n = from->n_of;
        if (from->list.len != QCAL_HASH || from->n_indices != n || n > MOST_SHARDS ||
            i == MOST_SHARDS)
            return damaged(r, what);
        all->count++;
        c->total = from->total;
        c->count = (int)n;
        c->shards = xcalloc(n + 1, sizeof *c->shards);
        memcpy(c->list, from->list.data, QCAL_HASH);
        for (size_t k = 0; k < n; k++) c->shards[k] = (Shard){from->indices[k], from->of[k]};
    }
    return coverages_ok(all) || damaged(r, what);
}

static bool get_checkpoint(const Reader *r, const PbCheckpoint *m, qonnx_stats *s)
{
    Checkpoint *c = s->checkpoint = xcalloc(1, sizeof *c);
    if (m->list.len != QCAL_HASH) return damaged(r, "a hash has the wrong length");
    memcpy(c->list, m->list.data, QCAL_HASH);
    c->parts = m->parts;
    c->shard = (Shard){m->shard, m->shards};
    c->done = m->done;
    c->odd = (Odd){m->odd, m->odd_more, m->odd_nan, m->odd_sample, 0};
    if (m->odd && m->odd_activation < (uint32_t)s->count) c->odd.index = (int)m->odd_activation;
    else if (m->odd) return damaged(r, "it names an activation that it does not hold");
    for (size_t i = 0; i < m->n_lost; i++) lost_add(&c->lost, m->lost[i]->sample, m->lost[i]->why);
    bool ok = c->shard.of >= 1 && c->shard.of <= MOST_SHARDS && c->shard.index < c->shard.of &&
              c->done <= shard_parts(c->shard, c->parts);
    return ok || damaged(r, "it has more done than there is");
}

/* Fills `s`, which the caller frees, failure or not. */
static bool get_calibration(const Reader *r, const PbCalibration *m, qonnx_stats *s)
{
    if (m->graph_hash.len != QCAL_HASH || m->data_hash.len != QCAL_HASH ||
        m->n_activations > INT32_MAX)
        return damaged(r, "a hash has the wrong length");
    if (m->n_parts > MAX_PARTS) return damaged(r, "it names too many passes");
    stats_describe(s, m->pipeline, m->engine, m->graph_hash.data);
    stats_prepared(s, m->preprocess);
    for (int i = QCAL_HASH - 1; i >= 0; i--)
        s->data_hash = s->data_hash << 8 | m->data_hash.data[i];
    s->samples = m->samples;
    for (size_t i = 0; i < m->n_parts; i++) {
        const PbPart *part = m->parts[i];
        parts_add(&s->parts, part->observer, part->name, part->plugin, part->version);
    }
    s->seen = xcalloc(m->n_activations + 1, sizeof *s->seen);
    for (size_t i = 0; i < m->n_activations; i++) {
        s->count = (int)i + 1;
        if (!get_activation(r, i, m->activations[i], &s->seen[i])) return false;
    }
    if (!stats_index(s)) return damaged(r, "two activations of a graph have the same name");
    if (!get_coverage(r, m, &s->coverage)) return false;
    if (m->checkpoint && !get_checkpoint(r, m->checkpoint, s)) return false;
    stats_hex(s);
    return true;
}

static qonnx_stats *read_payload(Reader *r, const ProtobufCBinaryData *payload)
{
    ProtobufCAllocator alloc = {budget_alloc, budget_free, r};
    PbCalibration *m = qonnx__qcal__calibration__unpack(&alloc, payload->len, payload->data);
    if (!m) {
        damaged(r, "it cannot be decoded");
        return NULL;
    }
    qonnx_stats *s = xcalloc(1, sizeof *s);
    s->path = xstrdup(r->path);
    bool ok = get_calibration(r, m, s);
    qonnx__qcal__calibration__free_unpacked(m, &alloc);
    if (ok) return s;
    qonnx_stats_free(s);
    return NULL;
}

/* Whether the file around the payload is sound. */
static bool file_ok(const Reader *r, const PbFile *file)
{
    if (!file || file->version == 0) return damaged(r, "it is cut short or garbled");
    if (file->version != QCAL_VERSION)
        return qonnx_fail(r->cx, NULL,
                          "%s: is of format %u, this program reads format %d; calibrate again",
                          r->path, file->version, QCAL_VERSION);
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(file->payload.data, file->payload.len));
    if (file->base.n_unknown_fields != 0 || file->checksum.len != sizeof sum.digest ||
        memcmp(file->checksum.data, sum.digest, sizeof sum.digest) != 0)
        return damaged(r, "its checksum is not that of its contents");
    return true;
}

static qonnx_stats *load(qonnx_ctx *cx, const char *path)
{
    Reader r = {cx, path, 0};
    size_t bytes;
    uint8_t *data = read_file(&r, &bytes);
    if (!data) return NULL;
    if (bytes < sizeof prefix - 1 || memcmp(data, prefix, sizeof prefix - 1) != 0) {
        qonnx_fail(cx, NULL, "%s: not a qonnx calibration file; `qonnx calibrate` makes one", path);
        free(data);
        return NULL;
    }
    /* Numbers of one byte become eight, empty messages a few hundred. */
    r.budget = 32 * bytes + (1 << 20);
    ProtobufCAllocator alloc = {budget_alloc, budget_free, &r};
    PbFile *file = qonnx__qcal__file__unpack(&alloc, bytes, data);
    free(data);
    qonnx_stats *s = file_ok(&r, file) ? read_payload(&r, &file->payload) : NULL;
    if (file) qonnx__qcal__file__free_unpacked(file, &alloc);
    return s;
}

qonnx_stats *qonnx_stats_load(qonnx_ctx *cx, const char *path)
{
    qonnx_stats *s = load(cx, path);
    input_add(cx, path, "the statistics");
    if (!s || !s->checkpoint) return s;
    qonnx_fail(cx, NULL,
               "%s: is the checkpoint of a run that did not end; 'qonnx calibrate' goes on from it "
               "with --resume",
               path);
    qonnx_stats_free(s);
    return NULL;
}

qonnx_stats *stats_load_checkpoint(qonnx_ctx *cx, const char *path)
{
    qonnx_stats *s = load(cx, path);
    if (!s || s->checkpoint) return s;
    qonnx_fail(cx, NULL, "%s: is no checkpoint, but the statistics of a whole run", path);
    qonnx_stats_free(s);
    return NULL;
}
