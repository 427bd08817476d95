/* runtime/qcal_write.c - writes calibration files: the same statistics give the same bytes. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/atomic_file.h"
#include "ir/arena.h"
#include "ir/ir.h"
#include "runtime/qcal.h"

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
    m->list = (ProtobufCBinaryData){QCAL_HASH, arena_copy(a, c->list, QCAL_HASH)};
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

static PbCheckpoint *put_checkpoint(Arena *a, const Checkpoint *c)
{
    PbCheckpoint *m = arena_alloc(a, sizeof *m);
    qonnx__qcal__checkpoint__init(m);
    m->list = (ProtobufCBinaryData){QCAL_HASH, arena_copy(a, c->list, QCAL_HASH)};
    m->parts = c->parts;
    m->shard = c->shard.index;
    m->shards = c->shard.of;
    m->done = c->done;
    m->odd = c->odd.any;
    m->odd_more = c->odd.more;
    m->odd_nan = c->odd.nan;
    m->odd_sample = c->odd.sample;
    m->odd_activation = (uint32_t)c->odd.index;
    m->n_lost = c->lost.count;
    m->lost = arena_array(a, c->lost.count, sizeof *m->lost);
    for (size_t i = 0; i < c->lost.count; i++) {
        m->lost[i] = arena_alloc(a, sizeof *m->lost[i]);
        qonnx__qcal__lost__init(m->lost[i]);
        m->lost[i]->sample = c->lost.lost[i].sample;
        m->lost[i]->why = c->lost.lost[i].why;
    }
    return m;
}

static void put_calibration(Arena *a, const qonnx_stats *s, PbCalibration *m)
{
    qonnx__qcal__calibration__init(m);
    m->pipeline = s->pipeline;
    m->engine = s->engine;
    m->preprocess = s->preprocess;
    m->graph_hash = (ProtobufCBinaryData){QCAL_HASH, arena_copy(a, s->graph_hash, QCAL_HASH)};
    m->data_hash = (ProtobufCBinaryData){QCAL_HASH, arena_alloc(a, QCAL_HASH)};
    for (int i = 0; i < QCAL_HASH; i++) m->data_hash.data[i] = (uint8_t)(s->data_hash >> (8 * i));
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
    if (s->checkpoint) m->checkpoint = put_checkpoint(a, s->checkpoint);
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
    file.kind = (char *)(uintptr_t)QCAL_KIND;
    file.version = QCAL_VERSION;
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
