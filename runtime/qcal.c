/* runtime/qcal.c - calibration files: writes statistics, and reads them back without trust.
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

#include "backends/atomic_file.h"
#include "ir/arena.h"
#include "ir/ir.h"
#include "qcal.pb-c.h"
#include "runtime/count.h"
#include "runtime/stats.h"

typedef Qonnx__Qcal__File PbFile;
typedef Qonnx__Qcal__Calibration PbCalibration;
typedef Qonnx__Qcal__Activation PbActivation;
typedef Qonnx__Qcal__Channels PbChannels;
typedef Qonnx__Qcal__Part PbPart;
typedef Qonnx__Qcal__Coverage PbCoverage;

#define KIND "qonnx calibration"

/* How every file begins: field 1, its length, its text. */
static const char prefix[] = "\x0a\x11" KIND;

enum { VERSION = 1, HASH = 16, MAX_PARTS = 4096 };

/* Larger files are refused: real ones take some kilobytes an activation. */
static const size_t max_file = (size_t)1 << 30;

/* Keys in ascending order of their values: negative ones run backwards. */
static uint32_t rank_of_key(uint32_t key)
{
    const uint32_t half = COUNT_KEYS / 2;
    return key < half ? half + key : COUNT_KEYS - 1 - key;
}

static uint32_t key_of_rank(uint32_t rank)
{
    const uint32_t half = COUNT_KEYS / 2;
    return rank >= half ? rank - half : COUNT_KEYS - 1 - rank;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_sums(Arena *a, const Int128 *sums, size_t n, uint64_t **low, uint64_t **high)
{
    *low = arena_array(a, n, sizeof **low);
    *high = arena_array(a, n, sizeof **high);
    for (size_t i = 0; i < n; i++) {
        unsigned __int128 bits = (unsigned __int128)sums[i];
        (*low)[i] = (uint64_t)bits;
        (*high)[i] = (uint64_t)(bits >> 64);
    }
}

static PbChannels *put_channels(Arena *a, const ChannelSums *ch)
{
    size_t n = (size_t)ch->count;
    PbChannels *m = arena_alloc(a, sizeof *m);
    qonnx__qcal__channels__init(m);
    m->values = ch->values;
    m->min = ch->min;
    m->max = ch->max;
    put_sums(a, ch->sum, n, &m->sum_low, &m->sum_high);
    put_sums(a, ch->square, n, &m->square_low, &m->square_high);
    m->n_min = m->n_max = m->n_sum_low = m->n_sum_high = m->n_square_low = m->n_square_high = n;
    m->mass_low = (uint64_t)ch->mass;
    m->mass_high = (uint64_t)(ch->mass >> 64);
    m->not_finite = ch->bad;
    for (size_t c = 0; c < n; c++)
        if (ch->bad[c]) m->n_not_finite = n;
    return m;
}

static PbActivation *put_activation(Arena *a, const Seen *seen)
{
    const qonnx_histogram *h = &seen->hist;
    PbActivation *m = arena_alloc(a, sizeof *m);
    qonnx__qcal__activation__init(m);
    m->name = seen->name;
    m->graph = seen->graph;
    m->axis = seen->axis;
    m->count = h->count;
    m->nan = h->nan;
    m->inf = h->inf;
    m->zero = h->zero;
    m->min = h->min;
    m->max = h->max;
    m->ranks = arena_array(a, (size_t)h->nbins, sizeof *m->ranks);
    m->counts = arena_array(a, (size_t)h->nbins, sizeof *m->counts);
    uint32_t last = 0;
    for (int i = 0; i < h->nbins; i++) {
        if (h->bins[i].lo == 0) continue; /* the zero bin */
        uint32_t rank = rank_of_key(stats_bin_key(&h->bins[i]));
        m->ranks[m->n_ranks++] = rank - last;
        m->counts[m->n_counts++] = h->bins[i].count;
        last = rank;
    }
    m->dropped = seen->ch.dropped;
    if (seen->ch.count > 0) m->channels = put_channels(a, &seen->ch);
    return m;
}

static PbPart *put_part(Arena *a, const Part *part)
{
    PbPart *m = arena_alloc(a, sizeof *m);
    qonnx__qcal__part__init(m);
    m->name = part->name;
    m->observer = part->observer;
    m->plugin = part->plugin;
    m->version = part->version;
    return m;
}

static PbCoverage *put_coverage(Arena *a, const Coverage *c)
{
    size_t n = (size_t)c->count;
    PbCoverage *m = arena_alloc(a, sizeof *m);
    qonnx__qcal__coverage__init(m);
    m->list = (ProtobufCBinaryData){HASH, arena_copy(a, c->list, HASH)};
    m->total = c->total;
    m->n_indices = m->n_of = n;
    m->indices = arena_array(a, n, sizeof *m->indices);
    m->of = arena_array(a, n, sizeof *m->of);
    for (size_t i = 0; i < n; i++) {
        m->indices[i] = c->shards[i].index;
        m->of[i] = c->shards[i].of;
    }
    return m;
}

static void put_calibration(Arena *a, const qonnx_stats *s, PbCalibration *m)
{
    qonnx__qcal__calibration__init(m);
    m->pipeline = s->pipeline;
    m->engine = s->engine;
    m->graph_hash = (ProtobufCBinaryData){HASH, arena_copy(a, s->graph_hash, HASH)};
    m->data_hash = (ProtobufCBinaryData){HASH, arena_alloc(a, HASH)};
    for (int i = 0; i < HASH; i++) m->data_hash.data[i] = (uint8_t)(s->data_hash >> (8 * i));
    m->samples = s->samples;
    m->n_activations = (size_t)s->count;
    m->activations = arena_array(a, (size_t)s->count, sizeof *m->activations);
    for (int i = 0; i < s->count; i++) m->activations[i] = put_activation(a, &s->seen[i]);
    m->n_parts = (size_t)s->parts.count;
    m->parts = arena_array(a, m->n_parts, sizeof *m->parts);
    for (int i = 0; i < s->parts.count; i++) m->parts[i] = put_part(a, &s->parts.part[i]);
    m->coverage = arena_array(a, (size_t)s->coverage.count, sizeof *m->coverage);
    for (int i = 0; i < s->coverage.count; i++)
        if (!coverage_whole(&s->coverage.list[i]))
            m->coverage[m->n_coverage++] = put_coverage(a, &s->coverage.list[i]);
}

static bool write_bytes(qonnx_ctx *cx, const char *path, const uint8_t *data, size_t bytes)
{
    AtomicFile *f = atomic_open(cx, path);
    if (!f) return false;
    if (atomic_write(f, data, bytes)) return atomic_commit(f);
    atomic_abort(f);
    return false;
}

/* The whole file, malloc'd. */
static uint8_t *pack(const qonnx_stats *s, size_t *bytes)
{
    Arena *a = arena_new();
    PbCalibration m;
    put_calibration(a, s, &m);
    PbFile file;
    qonnx__qcal__file__init(&file);
    file.kind = (char *)(uintptr_t)KIND;
    file.version = VERSION;
    file.payload.len = qonnx__qcal__calibration__get_packed_size(&m);
    file.payload.data = xmalloc(file.payload.len);
    qonnx__qcal__calibration__pack(&m, file.payload.data);
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(file.payload.data, file.payload.len));
    file.checksum = (ProtobufCBinaryData){sizeof sum.digest, sum.digest};

    *bytes = qonnx__qcal__file__get_packed_size(&file);
    uint8_t *packed = xmalloc(*bytes);
    qonnx__qcal__file__pack(&file, packed);
    free(file.payload.data);
    arena_free(a);
    return packed;
}

bool qonnx_stats_save(qonnx_ctx *cx, const qonnx_stats *s, const char *path)
{
    size_t bytes;
    uint8_t *packed = pack(s, &bytes);
    bool ok = write_bytes(cx, path, packed, bytes);
    free(packed);
    return ok;
}

bool qonnx_stats_write(qonnx_ctx *cx, const qonnx_stats *s, FILE *f)
{
    size_t bytes;
    uint8_t *packed = pack(s, &bytes);
    bool ok = fwrite(packed, 1, bytes, f) == bytes && !fflush(f);
    free(packed);
    return ok || qonnx_fail(cx, NULL, "the statistics can not be written: %s", strerror(errno));
}

/* ---- reading --------------------------------------------------------------------------------- */

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
        if (from->list.len != HASH || from->n_indices != n || n > MOST_SHARDS || i == MOST_SHARDS)
            return damaged(r, what);
        all->count++;
        c->total = from->total;
        c->count = (int)n;
        c->shards = xcalloc(n + 1, sizeof *c->shards);
        memcpy(c->list, from->list.data, HASH);
        for (size_t k = 0; k < n; k++) c->shards[k] = (Shard){from->indices[k], from->of[k]};
    }
    return coverages_ok(all) || damaged(r, what);
}

/* Fills `s`, which the caller frees, failure or not. */
static bool get_calibration(const Reader *r, const PbCalibration *m, qonnx_stats *s)
{
    if (m->graph_hash.len != HASH || m->data_hash.len != HASH || m->n_activations > INT32_MAX)
        return damaged(r, "a hash has the wrong length");
    if (m->n_parts > MAX_PARTS) return damaged(r, "it names too many passes");
    stats_describe(s, m->pipeline, m->engine, m->graph_hash.data);
    for (int i = HASH - 1; i >= 0; i--) s->data_hash = s->data_hash << 8 | m->data_hash.data[i];
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
    if (file->version != VERSION)
        return qonnx_fail(r->cx, NULL,
                          "%s: is of format %u, this program reads format %d; calibrate again",
                          r->path, file->version, VERSION);
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(file->payload.data, file->payload.len));
    if (file->base.n_unknown_fields != 0 || file->checksum.len != sizeof sum.digest ||
        memcmp(file->checksum.data, sum.digest, sizeof sum.digest) != 0)
        return damaged(r, "its checksum is not that of its contents");
    return true;
}

qonnx_stats *qonnx_stats_load(qonnx_ctx *cx, const char *path)
{
    Reader r = {cx, path, 0};
    size_t bytes;
    uint8_t *data = read_file(&r, &bytes);
    if (!data) return NULL;
    input_add(cx, path, "the statistics");
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
