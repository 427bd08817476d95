/* runtime/count.c - a worker's counters: every element of every activation of its samples.
 *
 * Values pass block by block through the loops of count.h: first their keys, then the sums of the
 * block's columns while it is in the nearest cache. The order of every floating-point sum is fixed
 * by the view alone, so the same bytes come out whatever the instruction set.
 */
#include "runtime/count.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ir/arena.h"
#include "runtime/stats.h"

/* Elements in a block: 8 KiB of values and up to 16 KiB of keys stay in the nearest cache. A block
 * has MIN_ROWS rows where they are long, so that the sums are not loaded and stored for each. */
enum { BLOCK = 2048, MIN_ROWS = 8 };

/* Up to so many channels are spread over lanes (see walk_channels_last). */
enum { FEW = 128 };

/* A worker's counters of one activation. */
typedef struct Tally {
    Seen seen;        /* everything but the bins, name and axis */
    uint32_t *table;  /* [COUNT_KEYS], untouched pages cost nothing; NULL: no value yet. Two
                         counters per key, taken in turn, would help runs of equal values, and cost
                         more by the memory that they take of the nearest caches. */
    uint64_t *wide;   /* [COUNT_KEYS] counts moved out of `table`; NULL: none yet */
    uint64_t pending; /* values counted into `table` since it was cleared */
} Tally;

struct StatsWorker {
    const CountLoops *loops;
    Tally *tally;                /* [count] */
    int count;                   /* activations */
    uint64_t samples;            /* whole samples noted */
    unsigned __int128 data_hash; /* sum of their hashes */
    uint32_t *keys;              /* [2 * BLOCK + 16] keys not yet counted */
    size_t nkeys;                /* of these, used */
    Columns acc;                 /* one sample's sums */
    size_t room;                 /* columns that `acc` has room for */
};

/* Zeroed pages of their own, which become memory when they are touched, and small ones. */
static void *lazy_pages(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) return xcalloc(bytes, SIZE_MAX); /* ends the process: out of memory */
    madvise(p, bytes, MADV_NOHUGEPAGE);
    return p;
}

static const size_t table_bytes = sizeof(uint32_t) * COUNT_KEYS;
static const size_t wide_bytes = sizeof(uint64_t) * COUNT_KEYS;

/* ---- keys ------------------------------------------------------------------------------------ */

static uint32_t key_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits >> COUNT_SHIFT;
}

static uint64_t finite_values(const Tally *t)
{
    return t->seen.hist.count - t->seen.hist.nan - t->seen.hist.inf;
}

/* Counts the keys that wait. */
static void drain(StatsWorker *w, Tally *t)
{
    const uint32_t *keys = w->keys;
    uint32_t *table = t->table;
    size_t n = w->nkeys, i = 0;
    for (; i + 8 <= n; i += 8) {
#pragma GCC unroll 8
        for (size_t j = 0; j < 8; j++) table[keys[i + j]]++;
    }
    for (; i < n; i++) table[keys[i]]++;
    w->nkeys = 0;
}

/* Moves the table's counts to 64 bits before one of them could overflow. */
static void widen(StatsWorker *w, Tally *t)
{
    drain(w, t);
    if (!t->wide) t->wide = lazy_pages(wide_bytes);
    for (size_t i = 0; i < COUNT_KEYS; i++) {
        if (t->table[i] == 0) continue;
        t->wide[i] += t->table[i];
        t->table[i] = 0;
    }
    t->pending = 0;
}

/* Puts the values' keys in line. The value seen most often beside zero is usually the largest, an
 * upper bound such as Relu6's: `clip` has its bits, and it is counted on the way. */
static void count_keys(StatsWorker *w, Tally *t, const float *x, size_t n, uint32_t clip)
{
    while (n > 0) {
        size_t m = n < BLOCK ? n : BLOCK, zeros = 0;
        if (t->pending + m > UINT32_MAX) widen(w, t);
        t->pending += m;
        size_t kept = w->loops->keys(x, m, clip, w->keys + w->nkeys, &zeros);
        w->nkeys += kept;
        t->seen.hist.zero += zeros;
        size_t clipped = m - zeros - kept;
        if (clipped) t->table[clip >> COUNT_SHIFT] += (uint32_t)clipped;
        if (w->nkeys >= BLOCK) drain(w, t);
        x += m;
        n -= m;
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* One walk over a sample's values. */
typedef struct Walk {
    StatsWorker *w;
    Tally *t;           /* where keys are counted; NULL: sums only */
    ColumnsFn *columns; /* what adds to the sums */
    uint32_t clip;      /* for count_keys */
} Walk;

static Columns columns_at(Columns acc, size_t c)
{
    return (Columns){acc.sum + c, acc.square + c, acc.min + c, acc.max + c};
}

static void columns_clear(Columns acc, size_t cols)
{
    for (size_t c = 0; c < cols; c++) {
        acc.sum[c] = acc.square[c] = 0;
        acc.min[c] = INFINITY;
        acc.max[c] = -INFINITY;
    }
}

/* Adds column `from` to column `to`. */
static void column_fold(Columns acc, size_t to, size_t from)
{
    acc.sum[to] += acc.sum[from];
    acc.square[to] += acc.square[from];
    if (acc.min[from] < acc.min[to]) acc.min[to] = acc.min[from];
    if (acc.max[from] > acc.max[to]) acc.max[to] = acc.max[from];
}

/* x[0..n) as rows of `cols` values, the last one maybe shorter. */
static void walk_matrix(const Walk *k, const float *x, size_t n, size_t cols, Columns acc)
{
    size_t whole = n / cols, step = BLOCK / cols > MIN_ROWS ? BLOCK / cols : MIN_ROWS;
    for (size_t r = 0; r < whole; r += step) {
        size_t rows = whole - r < step ? whole - r : step;
        if (k->t) count_keys(k->w, k->t, x, rows * cols, k->clip);
        k->columns(x, rows, cols, cols, acc);
        x += rows * cols;
    }
    size_t rest = n % cols;
    if (rest == 0) return;
    if (k->t) count_keys(k->w, k->t, x, rest, k->clip);
    k->columns(x, 1, rest, rest, acc);
}

/* Channels-last: every channel is a column, its pixels ascending. Few channels: pixel p of a
 * channel goes to lane p mod L, where L makes a row of L pixels a multiple of 16 long, and the
 * lanes are added in order at the end. */
static void walk_channels_last(const Walk *k, const float *x, size_t n, size_t channels)
{
    size_t lanes = 1;
    while (channels < FEW && lanes * channels % COUNT_LANES != 0) lanes *= 2;
    Columns acc = k->w->acc;
    columns_clear(acc, lanes * channels);
    walk_matrix(k, x, n, lanes * channels, acc);
    for (size_t c = channels; c < lanes * channels; c++) column_fold(acc, c % channels, c);
}

/* Rows of `inner` values of one channel: in 16 lanes, added in order at the end of the row. */
static void walk_rows(const Walk *k, const float *x, StatsView v)
{
    size_t channels = (size_t)v.channels, inner = (size_t)v.inner;
    Columns acc = k->w->acc, lanes = columns_at(acc, channels);
    columns_clear(acc, channels);
    for (int64_t o = 0; o < v.outer; o++) {
        for (size_t c = 0; c < channels; c++, x += inner) {
            columns_clear(lanes, COUNT_LANES);
            walk_matrix(k, x, inner, COUNT_LANES, lanes);
            for (size_t i = 1; i < COUNT_LANES; i++) column_fold(lanes, 0, i);
            column_fold(acc, c, channels);
        }
    }
}

static void walk(const Walk *k, const float *x, StatsView v)
{
    if (v.inner == 1) walk_channels_last(k, x, (size_t)(v.outer * v.channels), (size_t)v.channels);
    else walk_rows(k, x, v);
    if (k->t) drain(k->w, k->t);
}

static void columns_reserve(StatsWorker *w, size_t channels)
{
    size_t room = channels + (size_t)FEW * COUNT_LANES;
    if (room <= w->room) return;
    w->room = room;
    w->acc.sum = xrealloc_array(w->acc.sum, room, sizeof *w->acc.sum);
    w->acc.square = xrealloc_array(w->acc.square, room, sizeof *w->acc.square);
    w->acc.min = xrealloc_array(w->acc.min, room, sizeof *w->acc.min);
    w->acc.max = xrealloc_array(w->acc.max, room, sizeof *w->acc.max);
}

/* ---- adding a sample ------------------------------------------------------------------------- */

/* x in units of STATS_UNIT, rounded half to even; |x| < 2^78. */
static Int128 to_units(double x)
{
    double v = x / STATS_UNIT, a = fabs(v);
    if (a >= 0x1p52) return a < 0x1p63 ? (int64_t)v : (Int128)v; /* whole already */
    int64_t r = (int64_t)((a + 0x1p52) - 0x1p52);
    return v < 0 ? -r : r;
}

/* Adds the sample's sums to the channels'; `bad` may be NULL: all finite. */
static void add_channels(ChannelSums *ch, Columns acc, uint64_t values, const uint64_t *bad)
{
    double most = 0;
    for (int c = 0; c < ch->count; c++) {
        if (fabs(acc.sum[c]) > most) most = fabs(acc.sum[c]);
        if (acc.square[c] > most) most = acc.square[c];
    }
    if (most >= 0x1p78) {
        channels_drop(ch);
        return;
    }
    if (!channels_weigh(ch, to_units(most))) return;
    for (int c = 0; c < ch->count; c++) {
        bool first = ch->values == ch->bad[c];
        uint64_t skipped = bad ? bad[c] : 0;
        if (skipped < values) {
            float lo = acc.min[c] + 0.0f, hi = acc.max[c] + 0.0f; /* -0 becomes +0 */
            if (first || lo < ch->min[c]) ch->min[c] = lo;
            if (first || hi > ch->max[c]) ch->max[c] = hi;
        }
        ch->bad[c] += skipped;
        ch->sum[c] += to_units(acc.sum[c]);
        ch->square[c] += to_units(acc.square[c]);
    }
    ch->values += values;
}

/* Adds the extremes of all channels to the histogram's. */
static void add_extremes(Tally *t, Columns acc, size_t channels, size_t n)
{
    for (size_t c = 1; c < channels; c++) {
        if (acc.min[c] < acc.min[0]) acc.min[0] = acc.min[c];
        if (acc.max[c] > acc.max[0]) acc.max[0] = acc.max[c];
    }
    qonnx_histogram *h = &t->seen.hist;
    bool first = finite_values(t) == 0;
    h->count += n;
    float lo = acc.min[0] + 0.0f, hi = acc.max[0] + 0.0f;
    if (hi < lo) return; /* none is finite */
    if (first || lo < h->min) h->min = lo;
    if (first || hi > h->max) h->max = hi;
}

/* Counts what is not finite: bad[c] in channel c. */
static void count_bad(const float *x, StatsView v, uint64_t *bad, qonnx_histogram *h)
{
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t c = 0; c < v.channels; c++)
            for (int64_t i = 0; i < v.inner; i++, x++) {
                if (isfinite(*x)) continue;
                bad[c]++;
                if (isnan(*x)) h->nan++;
                else h->inf++;
            }
}

/* Whether the per-channel part can take a sample with that many channels; drops it if not. */
static bool take_channels(ChannelSums *ch, int64_t channels)
{
    if (ch->dropped) return false;
    bool few = channels <= STATS_MAX_CHANNELS;
    if (ch->count == 0 && few) channels_init(ch, (int)channels);
    if (few && ch->count == channels) return true;
    channels_drop(ch);
    return false;
}

bool stats_count(StatsWorker *w, int index, const float *x, StatsView view)
{
    assert(index >= 0 && index < w->count);
    Tally *t = &w->tally[index];
    int64_t n = view.outer * view.channels * view.inner;
    if (n == 0) return true;
    if (!t->table) t->table = lazy_pages(table_bytes);
    bool by_channel = take_channels(&t->seen.ch, view.channels);
    if (!by_channel || view.channels == 1) view = (StatsView){1, 1, n};
    columns_reserve(w, (size_t)view.channels);

    Walk k = {w, t, w->loops->columns, 0};
    if (finite_values(t) > 0 && t->seen.hist.max > 0) memcpy(&k.clip, &t->seen.hist.max, 4);
    walk(&k, x, view);

    /* A sum of squares of finite floats is finite, one with a NaN or Inf never. */
    bool finite = true;
    for (int64_t c = 0; c < view.channels; c++) finite = finite && isfinite(w->acc.square[c]);
    uint64_t *bad = NULL;
    qonnx_histogram odd = {0};
    if (!finite) {
        Walk again = {w, NULL, count_columns_finite, 0};
        walk(&again, x, view);
        bad = xcalloc((size_t)view.channels, sizeof *bad);
        count_bad(x, view, bad, &odd);
    }
    if (by_channel) add_channels(&t->seen.ch, w->acc, (uint64_t)(n / view.channels), bad);
    add_extremes(t, w->acc, (size_t)view.channels, (size_t)n);
    t->seen.hist.nan += odd.nan;
    t->seen.hist.inf += odd.inf;
    free(bad);
    return finite;
}

void stats_sample(StatsWorker *w, const uint8_t hash[16])
{
    unsigned __int128 h = 0;
    for (int i = 15; i >= 0; i--) h = h << 8 | hash[i];
    w->data_hash += h;
    w->samples++;
}

/* ---- workers --------------------------------------------------------------------------------- */

StatsWorker *stats_worker_new_with(const qonnx_stats *s, const CountLoops *loops)
{
    StatsWorker *w = xcalloc(1, sizeof *w);
    w->loops = loops;
    w->count = s->count;
    w->tally = xcalloc((size_t)s->count + 1, sizeof *w->tally);
    w->keys = xmalloc_array(2 * BLOCK + 16, sizeof *w->keys);
    for (int i = 0; i < s->count; i++) {
        const ChannelSums *ch = &s->seen[i].ch;
        if (ch->dropped) channels_drop(&w->tally[i].seen.ch);
        else if (ch->count > 0) channels_init(&w->tally[i].seen.ch, ch->count);
    }
    return w;
}

StatsWorker *stats_worker_new(const qonnx_stats *s)
{
    return stats_worker_new_with(s, count_loops_best());
}

/* Appends the bin of `key` if it is not empty. */
static void table_bin(const Tally *t, uint32_t key, qonnx_bin *bins, int *n)
{
    uint64_t count = t->table[key] + (t->wide ? t->wide[key] : 0);
    if (count == 0) return;
    qonnx_bin *bin = &bins[(*n)++];
    bin->count = count;
    stats_bin_edges(key, &bin->lo, &bin->hi);
}

/* Makes the ascending list of bins out of the tables; keys outside the extremes are not read, and
 * so neither are those of NaN and Inf. */
static void tally_bins(Tally *t)
{
    qonnx_histogram *h = &t->seen.hist;
    if (finite_values(t) == 0) return;
    qonnx_bin *bins = xmalloc_array(COUNT_KEYS + 1, sizeof *bins);
    int n = 0;
    const uint32_t negative = COUNT_KEYS / 2;
    if (h->min < 0)
        for (uint32_t key = key_of(h->min) + 1; key-- > negative;) table_bin(t, key, bins, &n);
    if (h->zero) bins[n++] = (qonnx_bin){0, 0, h->zero};
    if (h->max > 0)
        for (uint32_t key = 0; key <= key_of(h->max); key++) table_bin(t, key, bins, &n);
    h->bins = xrealloc_array(bins, (size_t)n, sizeof *bins);
    h->nbins = n;
}

void stats_absorb(qonnx_stats *s, StatsWorker *w)
{
    assert(w->count == s->count);
    for (int i = 0; i < w->count; i++) {
        Tally *t = &w->tally[i];
        tally_bins(t);
        seen_add(&s->seen[i], &t->seen);
        seen_view(&s->seen[i]);
        seen_free(&t->seen);
        if (t->table) munmap(t->table, table_bytes);
        if (t->wide) munmap(t->wide, wide_bytes);
    }
    s->samples += w->samples;
    s->data_hash += w->data_hash;
    stats_hex(s);
    free(w->tally);
    free(w->keys);
    free(w->acc.sum);
    free(w->acc.square);
    free(w->acc.min);
    free(w->acc.max);
    free(w);
}
