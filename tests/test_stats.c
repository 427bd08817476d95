/* tests/test_stats.c - statistics: exact whatever the order, the threads and the instruction set;
 * the calibration file comes back as it was, and a damaged one does not.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/files.h"

#include <math.h>
#include <sys/stat.h>

#include "backends/atomic_file.h"
#include "ir/ir.h"
#include "runtime/count.h"
#include "runtime/qcal.h"
#include "runtime/stats.h"

/* ---- helpers --------------------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static double uniform(void)
{
    return (double)(random_bits() >> 11) * 0x1p-53;
}

/* Roughly normal: the sum of uniform numbers. */
static double normal(void)
{
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += uniform();
    return sum;
}

static uint8_t *read_bytes(const char *path, size_t *n)
{
    enum { ROOM = 1 << 24 };
    uint8_t *data = malloc(ROOM);
    *n = get_file(path, data, ROOM);
    return data;
}

static uint8_t *saved(const qonnx_stats *s, size_t *n)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    if (!qonnx_stats_save(cx, s, "saved")) fail_msg("%s", qonnx_error(cx));
    qonnx_ctx_free(cx);
    return read_bytes("saved", n);
}

/* What was seen of a value of the main graph. */
static const qonnx_histogram *histogram_of(const qonnx_stats *s, const char *name)
{
    return qonnx_stats_histogram(s, qonnx_stats_find(s, "", name));
}

static const qonnx_channels *channels_of(const qonnx_stats *s, const char *name)
{
    return qonnx_stats_channels(s, qonnx_stats_find(s, "", name));
}

/* ---- samples of every kind ------------------------------------------------------------------- */

enum { SAMPLES = 12, LONGEST = 7000 };

/* Kinds of values. */
enum { RELU, SIGNED, RELU6, ODD, HUGE_ONES, CONSTANT, NOTHING_FINITE, MINUS_ZERO };

static const struct {
    const char *name;
    int axis, channels; /* as specified */
    StatsView view;     /* odd samples of "mixed" have another */
    int values;         /* kind */
} activations[] = {
    {"nhwc", 1, 20, {90, 20, 1}, RELU},
    {"few", 1, 3, {701, 3, 1}, SIGNED},
    {"many", 1, 0, {3, 1280, 1}, RELU6},
    {"nchw", 1, 7, {1, 7, 49}, SIGNED},
    {"batch", 1, 5, {3, 5, 33}, ODD},
    {"odd", 1, 17, {60, 17, 1}, ODD},
    {"mixed", 1, 0, {10, 24, 1}, RELU},
    {"huge", 1, 4, {50, 4, 1}, HUGE_ONES},
    {"flat", -1, 1, {1, 1, 4999}, SIGNED},
    {"one", 1, 1, {1, 1, 1}, SIGNED},
    {"constant", 1, 16, {100, 16, 1}, CONSTANT},
    {"nan", 1, 2, {4, 2, 1}, NOTHING_FINITE},
    {"minus", 1, 1, {1, 1, 40}, MINUS_ZERO},
    {"wide", 1, 33, {40, 33, 1}, SIGNED},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

static float samples[SAMPLES][ACTIVATIONS][LONGEST];

static StatsView view_of(int sample, int a)
{
    StatsView v = activations[a].view;
    if (strcmp(activations[a].name, "mixed") == 0 && sample % 2) v.channels = 12;
    return v;
}

static float value(int kind)
{
    double g = normal();
    uint64_t dice = random_bits() % 40;
    switch (kind) {
    case RELU:
        return (float)fmax(g, 0);
    case RELU6:
        return (float)fmin(fmax(4 * g, 0), 6);
    case ODD:
        return dice == 0   ? NAN
               : dice == 1 ? INFINITY
               : dice == 2 ? -INFINITY
               : dice == 3 ? -0.0f
               : dice == 4 ? 1e-42f
               : dice == 5 ? -1e-45f
                           : (float)(g * 100);
    case HUGE_ONES:
        return (float)(g * 1e37);
    case MINUS_ZERO:
        return dice < 20 ? -0.0f : (float)fabs(g);
    case CONSTANT:
        return 1.625f;
    case NOTHING_FINITE:
        return dice < 20 ? NAN : -INFINITY;
    default:
        return (float)g;
    }
}

static void make_samples(void)
{
    for (int i = 0; i < SAMPLES; i++)
        for (int a = 0; a < ACTIVATIONS; a++)
            for (int j = 0; j < LONGEST; j++) samples[i][a][j] = value(activations[a].values);
}

static qonnx_stats *fresh(void)
{
    StatsSpec specs[ACTIVATIONS];
    for (int a = 0; a < ACTIVATIONS; a++)
        specs[a] = (StatsSpec){activations[a].name, activations[a].axis, activations[a].channels};
    qonnx_stats *s = stats_new(specs, ACTIVATIONS);
    stats_describe(s, "raise-opset,fold-constants", "test 1.0",
                   (const uint8_t *)"0123456789abcdef");
    return s;
}

static void count_sample(StatsWorker *w, int i)
{
    uint8_t hash[16];
    for (int b = 0; b < 16; b++) hash[b] = (uint8_t)(i * 37 + b * 101);
    for (int a = 0; a < ACTIVATIONS; a++) stats_count(w, a, samples[i][a], view_of(i, a));
    stats_sample(w, hash);
}

static qonnx_stats *all_samples(const CountLoops *loops)
{
    qonnx_stats *s = fresh();
    StatsWorker *w = stats_worker_new_with(s, loops);
    for (int i = 0; i < SAMPLES; i++) count_sample(w, i);
    stats_absorb(s, w);
    return s;
}

/* ---- counting -------------------------------------------------------------------------------- */

static void assert_same_bytes(const qonnx_stats *a, const qonnx_stats *b)
{
    size_t na, nb;
    uint8_t *x = saved(a, &na), *y = saved(b, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(x, y, na);
    free(x);
    free(y);
}

/* Whatever worker counts which sample in whatever order: the same file. */
static void test_order(void **state)
{
    (void)state;
    qonnx_stats *want = all_samples(count_loops_best());
    for (int round = 0; round < 30; round++) {
        qonnx_stats *s = fresh(), *shard = fresh();
        int order[SAMPLES], workers = 1 + round % 4;
        for (int i = 0; i < SAMPLES; i++) order[i] = i;
        for (int i = SAMPLES - 1; i > 0; i--) {
            int j = (int)(random_bits() % (unsigned)(i + 1)), t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
        StatsWorker *w[4];
        for (int k = 0; k < workers; k++) w[k] = stats_worker_new(s);
        for (int i = 0; i < SAMPLES; i++)
            count_sample(w[random_bits() % (unsigned)workers], order[i]);
        for (int k = 0; k < workers; k++) stats_absorb(k % 2 ? shard : s, w[k]);
        qonnx_ctx *cx = qonnx_ctx_new();
        assert_true(round % 3 ? qonnx_stats_merge(cx, s, shard, false)
                             : qonnx_stats_merge(cx, shard, s, false));
        assert_same_bytes(want, round % 3 ? s : shard);
        qonnx_ctx_free(cx);
        qonnx_stats_free(s);
        qonnx_stats_free(shard);
    }
    qonnx_stats_free(want);
}

/* Workers that each saw one number of channels, but not the same. */
static void test_mixed_workers(void **state)
{
    (void)state;
    StatsSpec spec = {"x", 1, 0};
    qonnx_stats *s = stats_new(&spec, 1);
    StatsWorker *a = stats_worker_new(s), *b = stats_worker_new(s);
    stats_count(a, 0, samples[0][0], (StatsView){10, 24, 1});
    stats_count(b, 0, samples[0][0], (StatsView){20, 12, 1});
    stats_absorb(s, a);
    assert_int_equal(channels_of(s, "x")->count, 24);
    stats_absorb(s, b);
    assert_null(channels_of(s, "x"));
    assert_int_equal(histogram_of(s, "x")->count, 480);
    qonnx_stats_free(s);
}

static void test_instruction_sets(void **state)
{
    (void)state;
    qonnx_stats *want = all_samples(&count_portable);
    for (int i = 0; count_loops_at(i); i++) {
        if (!count_loops_at(i)->usable()) continue;
        qonnx_stats *s = all_samples(count_loops_at(i));
        assert_same_bytes(want, s);
        qonnx_stats_free(s);
    }
    qonnx_stats_free(want);
}

/* Finite values of one activation in all samples, sorted; returns how many. */
static size_t gather(int a, float *out, qonnx_histogram *want)
{
    size_t n = 0;
    *want = (qonnx_histogram){0};
    for (int i = 0; i < SAMPLES; i++) {
        StatsView v = view_of(i, a);
        for (int64_t j = 0; j < v.outer * v.channels * v.inner; j++) {
            float x = samples[i][a][j];
            want->count++;
            want->nan += isnan(x);
            want->inf += isinf(x) != 0;
            want->zero += x == 0;
            if (!isfinite(x)) continue;
            if (n == 0 || x < want->min) want->min = x + 0.0f;
            if (n == 0 || x > want->max) want->max = x + 0.0f;
            out[n++] = x;
        }
    }
    return n;
}

static void check_bins(const qonnx_histogram *h, const float *values, size_t n)
{
    uint64_t total = 0;
    for (int b = 0; b < h->nbins; b++) {
        const qonnx_bin *bin = &h->bins[b];
        uint64_t inside = 0;
        for (size_t i = 0; i < n; i++) inside += values[i] >= bin->lo && values[i] <= bin->hi;
        assert_int_equal(inside, bin->count);
        assert_true(bin->count > 0 && (b == 0 || h->bins[b - 1].hi < bin->lo));
        total += inside;
        if (fabsf(bin->lo) < 1e-37f || bin->lo == 0) continue;
        assert_true(bin->hi - bin->lo <= fmaxf(fabsf(bin->lo), fabsf(bin->hi)) / 256);
    }
    assert_int_equal(total, n);
}

static void test_histogram(void **state)
{
    (void)state;
    qonnx_stats *s = all_samples(count_loops_best());
    float *values = malloc(sizeof *values * SAMPLES * LONGEST);
    for (int a = 0; a < ACTIVATIONS; a++) {
        qonnx_histogram want;
        size_t n = gather(a, values, &want);
        const qonnx_histogram *h = histogram_of(s, activations[a].name);
        assert_int_equal(h->count, want.count);
        assert_int_equal(h->nan, want.nan);
        assert_int_equal(h->inf, want.inf);
        assert_int_equal(h->zero, want.zero);
        assert_memory_equal(&h->min, &want.min, sizeof h->min);
        assert_memory_equal(&h->max, &want.max, sizeof h->max);
        check_bins(h, values, n);
    }
    free(values);
    assert_null(histogram_of(s, "no such value"));
    assert_null(channels_of(s, "no such value"));
    assert_int_equal(qonnx_stats_samples(s), SAMPLES);
    qonnx_stats_free(s);
}

static void check_channel(const qonnx_channels *ch, int a, int c)
{
    long double sum = 0, square = 0, n = 0;
    float min = INFINITY, max = -INFINITY;
    for (int i = 0; i < SAMPLES; i++) {
        StatsView v = view_of(i, a);
        for (int64_t j = 0; j < v.outer * v.channels * v.inner; j++) {
            float x = samples[i][a][j];
            if (j / v.inner % v.channels != c || !isfinite(x)) continue;
            sum += x;
            square += (long double)x * x;
            n++;
            min = fminf(min, x);
            max = fmaxf(max, x);
        }
    }
    if (n == 0) n = 1, min = max = 0;
    assert_true(ch->min[c] == min && ch->max[c] == max);
    assert_true(fabsl(ch->mean[c] - sum / n) <= 1e-12L * (1 + sqrtl(square / n)));
    assert_true(fabsl(ch->mean_square[c] - square / n) <= 1e-12L * (1 + square / n));
}

static void test_channels(void **state)
{
    (void)state;
    qonnx_stats *s = all_samples(count_loops_best());
    for (int a = 0; a < ACTIVATIONS; a++) {
        const qonnx_channels *ch = channels_of(s, activations[a].name);
        StatsView v = activations[a].view;
        if (activations[a].values == HUGE_ONES || strcmp(activations[a].name, "mixed") == 0) {
            assert_null(ch);
            continue;
        }
        assert_int_equal(ch->count, v.channels);
        assert_int_equal(ch->axis, activations[a].axis);
        assert_int_equal(ch->values, v.outer * v.inner * SAMPLES);
        for (int c = 0; c < ch->count; c++) check_channel(ch, a, c);
    }
    qonnx_stats_free(s);
}

/* More than 2^32 equal values do not wrap. */
static void test_many(void **state)
{
    (void)state;
    enum { N = 1 << 20, CALLS = 4097 };
    float *x = malloc(N * sizeof *x);
    for (int i = 0; i < N; i++) x[i] = 1.5f;
    StatsSpec spec = {"x", 0, 1};
    qonnx_stats *s = stats_new(&spec, 1);
    StatsWorker *w = stats_worker_new(s);
    for (int i = 0; i < CALLS; i++) stats_count(w, 0, x, (StatsView){1, 1, N});
    stats_absorb(s, w);
    const qonnx_histogram *h = histogram_of(s, "x");
    assert_int_equal(h->nbins, 1);
    assert_int_equal(h->bins[0].count, (uint64_t)N * CALLS);
    assert_true(channels_of(s, "x")->mean[0] == 1.5);
    qonnx_stats_free(s);
    free(x);
}

static size_t resident_bytes(void)
{
    size_t total, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%zu %zu", &total, &resident), 2);
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* 200 activations and 2 workers stay below 100 MB. */
static void test_memory(void **state)
{
    (void)state;
    enum { MANY = 200, N = 64 * 500 };
    char names[MANY][16];
    StatsSpec specs[MANY];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "v%d", i);
        specs[i] = (StatsSpec){names[i], 1, 64};
    }
    float *x = malloc(N * sizeof *x);
    for (int i = 0; i < N; i++) x[i] = (float)normal();
    size_t before = resident_bytes();
    qonnx_stats *s = stats_new(specs, MANY);
    StatsWorker *w[2] = {stats_worker_new(s), stats_worker_new(s)};
    for (int i = 0; i < 2 * MANY; i++) stats_count(w[i % 2], i / 2, x, (StatsView){500, 64, 1});
    size_t after = resident_bytes();
    assert_in_range(after - before, 0, 100 << 20);
    stats_absorb(s, w[0]);
    stats_absorb(s, w[1]);
    qonnx_stats_free(s);
    free(x);
}

/* ---- files ----------------------------------------------------------------------------------- */

static qonnx_stats *loaded(const char *path)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_stats *s = qonnx_stats_load(cx, path);
    if (!s) fail_msg("%s", qonnx_error(cx));
    qonnx_ctx_free(cx);
    return s;
}

static void test_round_trip(void **state)
{
    (void)state;
    qonnx_stats *s = all_samples(count_loops_best());
    size_t n;
    free(saved(s, &n));
    qonnx_stats *t = loaded("saved");
    assert_string_equal(qonnx_stats_pipeline(t), "raise-opset,fold-constants");
    assert_string_equal(qonnx_stats_engine(t), "test 1.0");
    assert_string_equal(qonnx_stats_data_hash(t), qonnx_stats_data_hash(s));
    assert_int_equal(strlen(qonnx_stats_data_hash(t)), 32);
    assert_int_equal(qonnx_stats_count(t), ACTIVATIONS);
    for (int i = 0; i < ACTIVATIONS; i++) {
        const char *name = qonnx_stats_name(s, i);
        assert_string_equal(qonnx_stats_name(t, i), name);
        const qonnx_histogram *a = histogram_of(s, name), *b = histogram_of(t, name);
        assert_int_equal(a->nbins, b->nbins);
        if (a->nbins) assert_memory_equal(a->bins, b->bins, (size_t)a->nbins * sizeof *a->bins);
        const qonnx_channels *c = channels_of(s, name), *d = channels_of(t, name);
        assert_int_equal(c == NULL, d == NULL);
        if (c)
            assert_memory_equal(c->mean_square, d->mean_square, (size_t)c->count * sizeof *c->mean);
    }
    assert_same_bytes(s, t);
    qonnx_ctx *cx = qonnx_ctx_new();
    assert_false(qonnx_stats_merge(cx, t, s, false)); /* the same samples again */
    assert_contains(qonnx_error(cx), "holds the same samples");
    assert_true(qonnx_stats_merge(cx, t, s, true)); /* what was loaded still adds */
    assert_int_equal(qonnx_stats_samples(t), 2 * SAMPLES);
    qonnx_ctx_free(cx);
    qonnx_stats_free(s);
    qonnx_stats_free(t);
}

/* One name in several graphs. */
static void test_graphs(void **state)
{
    (void)state;
    static const float x[] = {1, 2, 3, 4};
    StatsSpec specs[] = {
        {"a", 1, 2, NULL}, {"a", 1, 2, "y>then_branch"}, {"a", 1, 2, "y>else_branch"}};
    qonnx_stats *s = stats_new(specs, 3);
    StatsWorker *w = stats_worker_new(s);
    stats_count(w, 1, x, (StatsView){2, 2, 1});
    stats_absorb(s, w);
    size_t n;
    free(saved(s, &n));
    qonnx_stats *t = loaded("saved");
    assert_int_equal(qonnx_stats_find(t, "", "a"), 0);
    assert_int_equal(qonnx_stats_find(t, "y>then_branch", "a"), 1);
    assert_int_equal(qonnx_stats_find(t, "y>else_branch", "a"), 2);
    assert_int_equal(qonnx_stats_find(t, "y>body", "a"), -1);
    assert_string_equal(qonnx_stats_graph(t, 0), "");
    assert_string_equal(qonnx_stats_graph(t, 2), "y>else_branch");
    assert_int_equal(qonnx_stats_histogram(t, 1)->count, 4);
    assert_int_equal(qonnx_stats_histogram(t, 2)->count, 0);
    assert_null(qonnx_stats_histogram(t, -1));
    qonnx_stats_free(t);
    specs[2].graph = "z>else_branch";
    t = stats_new(specs, 3);
    qonnx_ctx *cx = qonnx_ctx_new();
    assert_false(qonnx_stats_merge(cx, t, s, false));
    assert_contains(qonnx_error(cx), "different values");
    qonnx_ctx_free(cx);
    qonnx_stats_free(s);
    qonnx_stats_free(t);
}

/* Nothing counted yet is a valid file too. */
static void test_empty(void **state)
{
    (void)state;
    qonnx_stats *s = fresh();
    size_t n;
    free(saved(s, &n));
    qonnx_stats *t = loaded("saved");
    assert_int_equal(histogram_of(t, "nhwc")->count, 0);
    assert_null(channels_of(t, "nhwc"));
    assert_same_bytes(s, t);
    qonnx_stats_free(s);
    qonnx_stats_free(t);
}

static void assert_refused(const char *path, const char *why)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_stats *s = qonnx_stats_load(cx, path);
    if (s) fail_msg("a bad file was read (%s)", why);
    assert_contains(qonnx_error(cx), why);
    qonnx_ctx_free(cx);
}

static qonnx_stats *small(void)
{
    static const float x[] = {-1, 0, 0.5f, 2, 7, NAN, -3, 0};
    StatsSpec specs[] = {{"a", 1, 2}, {"b", 1, 0}};
    qonnx_stats *s = stats_new(specs, 2);
    StatsWorker *w = stats_worker_new(s);
    stats_count(w, 0, x, (StatsView){4, 2, 1});
    stats_count(w, 1, x, (StatsView){1, 1, 5});
    stats_absorb(s, w);
    return s;
}

static void test_damaged(void **state)
{
    (void)state;
    qonnx_stats *s = small();
    size_t n;
    uint8_t *data = saved(s, &n);
    const char *path = "bad";
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            data[i] ^= (uint8_t)(1 << bit);
            put_file(path, data, n);
            assert_refused(path, "calibrat");
            data[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t i = 0; i < n; i++) {
        put_file(path, data, i);
        assert_refused(path, i < 19 ? "not a qonnx calibration file" : "damaged");
    }
    data[n] = 0;
    put_file(path, data, n + 1);
    assert_refused(path, "damaged");
    put_file(path, "\x08\x01", 2);
    assert_refused(path, "not a qonnx calibration file");
    assert_refused("missing", "No such file");
    assert_refused(".", "cannot be read");
    free(data);
    qonnx_stats_free(s);
}

/* Shards that cannot be. */
static void spoil_coverage(Coverages *all, int how)
{
    static const struct {
        uint64_t total;
        int count, lists;
        Shard shards[3];
    } bad[] = {{9, 0, 1, {{0, 1}}},                   /* none */
               {9, 1, 1, {{3, 3}}},                   /* index too large */
               {9, 1, 1, {{0, MOST_SHARDS + 1}}},     /* too many */
               {9, 2, 1, {{1, 3}, {0, 3}}},           /* out of order */
               {9, 2, 1, {{1, 3}, {1, 3}}},           /* twice */
               {9, 2, 1, {{0, 2}, {2, 4}}},           /* one in the other */
               {9, 2, 1, {{0, 2}, {0, 3}}},           /* every sixth in both */
               {9, 1, 2, {{0, 2}}},                   /* a list twice */
               {9, 1, MOST_SHARDS + 1, {{0, 2}}}};    /* too many lists */
    enum { BAD = sizeof bad / sizeof *bad };
    assert_in_range(how, 0, BAD - 1);
    all->list = calloc(MOST_SHARDS + 1, sizeof *all->list);
    all->count = bad[how].lists;
    for (int i = 0; i < all->count; i++) {
        Shard *shards = calloc(3, sizeof *shards);
        memcpy(shards, bad[how].shards, 3 * sizeof *shards);
        all->list[i] = (Coverage){
            .total = bad[how].total, .shards = shards, .count = bad[how].count};
    }
}

/* Contradictions under a right checksum. */
static void spoil(qonnx_stats *s, int how)
{
    Seen *a = &s->seen[0];
    qonnx_histogram *h = &a->hist;
    qonnx_bin *bins = (qonnx_bin *)h->bins, t = bins[0];
    ChannelSums *ch = &a->ch;
    switch (how) {
    case 0:
        h->count++;
        break;
    case 1:
        h->nan = UINT64_MAX;
        break;
    case 2:
        bins[0] = bins[1], bins[1] = t;
        break;
    case 3:
        bins[0] = bins[1];
        break;
    case 4:
        bins[0].count = 0;
        break;
    case 5:
        bins[0].count = UINT64_MAX;
        break;
    case 6:
        bins[h->nbins - 1].lo = INFINITY;
        break;
    case 7:
        h->min = NAN;
        break;
    case 8:
        h->max = 8;
        break;
    case 9:
        ch->values++;
        break;
    case 10:
        ch->values = UINT64_MAX / 2 + 5;
        break;
    case 11:
        ch->count = 1;
        break;
    case 12:
        ch->dropped = true;
        break;
    case 13:
        ch->bad[0] = 9;
        break;
    case 14:
        ch->bad[0] = ch->bad[1] = 0;
        break;
    case 15:
        ch->max[0] = 70;
        break;
    case 16:
        ch->min[1] = NAN;
        break;
    case 17:
        ch->square[0] = -1;
        break;
    case 18:
        ch->sum[1] = ch->mass + 1;
        break;
    case 19:
        ch->mass = -1;
        break;
    case 20:
        strcpy(s->seen[1].name, "a");
        break;
    case 21:
        s->seen[1].ch.count = 0;
        break;
    default:
        spoil_coverage(&s->coverage, how - 22);
    }
}

static void test_hostile(void **state)
{
    (void)state;
    for (int how = 0; how < 22 + 9; how++) {
        qonnx_stats *s = small();
        int b_channels = s->seen[1].ch.count;
        spoil(s, how);
        size_t n;
        free(saved(s, &n));
        assert_refused("saved", "damaged");
        s->seen[1].ch.count = b_channels;
        qonnx_stats_free(s);
    }
}

static void cover(qonnx_stats *s, uint32_t index, uint32_t of, uint64_t total)
{
    static const uint8_t list[16] = "some samples";
    coverages_add_shard(&s->coverage, list, total, (Shard){index, of});
}

/* Writes the payload as "saved", with the checksum that it has. */
static void sign(const uint8_t *payload, size_t n)
{
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(payload, n));
    PbFile f;
    qonnx__qcal__file__init(&f);
    f.kind = QCAL_KIND;
    f.version = QCAL_VERSION;
    f.checksum = (ProtobufCBinaryData){sizeof sum.digest, sum.digest};
    f.payload = (ProtobufCBinaryData){n, (uint8_t *)payload};
    uint8_t *data = malloc(qonnx__qcal__file__get_packed_size(&f));
    put_file("saved", data, qonnx__qcal__file__pack(&f, data));
    free(data);
}

/* The payload of the file that these statistics make. */
static uint8_t *payload_of(const qonnx_stats *s, size_t *n)
{
    uint8_t *data = saved(s, n);
    PbFile *f = qonnx__qcal__file__unpack(NULL, *n, data);
    assert_non_null(f);
    *n = f->payload.len;
    memcpy(data, f->payload.data, *n);
    qonnx__qcal__file__free_unpacked(f, NULL);
    return data;
}

/* What the writer would not write, under a right checksum. */
static void test_hostile_shards(void **state)
{
    (void)state;
    qonnx_stats *s = small();
    cover(s, 1, 4, 100);
    cover(s, 2, 4, 100);
    size_t n, m;
    uint8_t *payload = payload_of(s, &n);
    for (int how = 0; how < 7; how++) {
        PbCalibration *c = qonnx__qcal__calibration__unpack(NULL, n, payload);
        assert_int_equal(c->n_coverage, 1);
        PbCoverage *list = c->coverage[0];
        if (how == 0) list->of[1] = 0;
        if (how == 1) list->of[1] = UINT32_MAX, list->indices[1] = UINT32_MAX - 1;
        if (how == 2) list->n_of = list->n_indices = 1, list->of[0] = 1, list->indices[0] = 0;
        if (how == 3) list->of[0] = list->of[1] = 2, list->indices[0] = 0, list->indices[1] = 1;
        if (how == 4) list->n_of = 1;
        if (how == 5) list->list.len = 15;
        if (how == 6) list->total = 0;
        uint8_t *data = malloc(qonnx__qcal__calibration__get_packed_size(c));
        m = qonnx__qcal__calibration__pack(c, data);
        sign(data, m);
        assert_refused("saved", "damaged: the shards that it names are none");
        free(data);
        list->n_of = list->n_indices = 2; /* all that is to be freed */
        qonnx__qcal__calibration__free_unpacked(c, NULL);
    }
    free(payload);
    qonnx_stats_free(s);
}

/* Statistics with changes here and there, under a right checksum: they are refused, or can be added
 * and written. */
static void test_mutants(void **state)
{
    (void)state;
    qonnx_stats *s = small();
    Checkpoint c = {.list = "a list", .parts = 9, .shard = {0, 1}, .done = 4};
    lost_add(&c.lost, 3, "is damaged");
    cover(s, 1, 4, 100);
    for (int turn = 0; turn < 1500; turn++) {
        size_t n, at;
        s->checkpoint = turn % 4 ? NULL : &c;
        uint8_t *data = payload_of(s, &n);
        for (uint64_t k = 1 + random_bits() % 3; k > 0; k--) {
            at = random_bits() % n;
            data[at] = random_bits() % 2 ? (uint8_t)random_bits() : data[at] ^ (uint8_t)(1 << k);
        }
        sign(data, turn % 5 ? n : random_bits() % n);
        qonnx_ctx *cx = qonnx_ctx_new();
        qonnx_stats *t = turn % 4 ? qonnx_stats_load(cx, "saved")
                                  : stats_load_checkpoint(cx, "saved");
        if (!t) assert_contains(qonnx_error(cx), "saved: ");
        if (t && qonnx_stats_merge(cx, t, s, true)) free(saved(t, &n));
        qonnx_stats_free(t);
        qonnx_ctx_free(cx);
        free(data);
    }
    s->checkpoint = NULL;
    lost_free(&c.lost);
    qonnx_stats_free(s);
}

/* How far a run has come is in the file, which is then none of statistics. */
static void test_checkpoint(void **state)
{
    (void)state;
    static const Checkpoint good = {.list = "a list",
                                    .parts = 100,
                                    .shard = {2, 7},
                                    .done = 13,
                                    .odd = {true, true, false, 55, 1}};
    qonnx_stats *s = small();
    Checkpoint c = good;
    lost_add(&c.lost, 9, "9.png: is damaged");
    s->checkpoint = &c;
    size_t n, m;
    uint8_t *first = saved(s, &n);
    assert_refused("saved", "is the checkpoint of a run that did not end");
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_stats *t = stats_load_checkpoint(cx, "saved");
    assert_non_null(t);
    assert_string_equal(t->checkpoint->lost.lost[0].why, "9.png: is damaged");
    uint8_t *second = saved(t, &m);
    assert_int_equal(n, m);
    assert_memory_equal(first, second, n);
    qonnx_stats_free(t);
    for (int how = 0; how < 5; how++) {
        LostList lost = c.lost;
        c = good;
        c.lost = lost;
        if (how == 0) c.shard.of = 2;
        if (how == 1) c.shard.of = MOST_SHARDS + 1;
        if (how == 2) c.done = 15; /* 2, 9, ... 93 are 14 */
        if (how == 3) c.odd.index = 2;
        if (how == 4) c.parts = 80;
        free(saved(s, &n));
        assert_refused("saved", "damaged");
        assert_null(stats_load_checkpoint(cx, "saved"));
    }
    s->checkpoint = NULL;
    free(saved(s, &n));
    assert_null(stats_load_checkpoint(cx, "saved"));
    free(first);
    free(second);
    lost_free(&c.lost);
    qonnx_ctx_free(cx);
    qonnx_stats_free(s);
}

/* Shards of one list add in any order, also where one of them is in shards itself, until it is
 * whole. */
static void test_coverage(void **state)
{
    (void)state;
    static const Shard shards[] = {{1, 2}, {0, 6}, {4, 6}, {2, 12}, {8, 12}};
    enum { SHARDS = sizeof shards / sizeof *shards };
    qonnx_ctx *cx = qonnx_ctx_new();
    for (int turn = 0; turn < SHARDS; turn++) {
        qonnx_stats *s = fresh();
        cover(s, shards[turn].index, shards[turn].of, 100);
        for (int i = 1; i < SHARDS; i++) {
            qonnx_stats *part = fresh();
            Shard next = shards[(turn + i) % SHARDS];
            cover(part, next.index, next.of, 100);
            assert_true(coverages_ok(&s->coverage));
            assert_int_equal(s->coverage.list[0].count, i);
            assert_true(qonnx_stats_merge(cx, s, part, false));
            assert_false(qonnx_stats_merge(cx, s, part, false));
            assert_int_equal(coverage_whole(&s->coverage.list[0]), i == SHARDS - 1);
            qonnx_stats_free(part);
        }
        size_t n;
        free(saved(s, &n));
        qonnx_stats *t = loaded("saved"), *one = fresh();
        assert_int_equal(t->coverage.count, 0);
        assert_same_bytes(s, one);
        qonnx_stats_free(one);
        qonnx_stats_free(t);
        qonnx_stats_free(s);
    }
    qonnx_ctx_free(cx);
}

/* What cannot be added leaves the statistics as they were. */
static void test_overlap(void **state)
{
    (void)state;
    qonnx_stats *s = small(), *other = small(), *before = small();
    cover(s, 1, 4, 100);
    cover(before, 1, 4, 100);
    cover(other, 2, 3, 100);
    qonnx_ctx *cx = qonnx_ctx_new();
    assert_false(qonnx_stats_merge(cx, s, other, false));
    assert_contains(qonnx_error(cx), "shard 3/3");
    assert_contains(qonnx_error(cx), "shard 2/4");
    assert_same_bytes(s, before);
    assert_true(qonnx_stats_merge(cx, s, other, true));
    assert_int_equal(s->coverage.count, 0);
    qonnx_ctx_free(cx);
    cx = qonnx_ctx_new();
    qonnx_stats_free(other);
    other = small();
    cover(other, 2, 3, 99); /* another list */
    other->seen[1].hist.count = UINT64_MAX;
    assert_false(qonnx_stats_merge(cx, before, other, true));
    assert_contains(qonnx_error(cx), "2^64");
    other->seen[1].hist.count = 5;
    assert_true(qonnx_stats_merge(cx, before, other, false));
    assert_int_equal(before->coverage.count, 2);
    size_t n;
    free(saved(before, &n));
    qonnx_stats *t = loaded("saved");
    assert_same_bytes(before, t);
    qonnx_ctx_free(cx);
    qonnx_stats_free(s);
    qonnx_stats_free(t);
    qonnx_stats_free(before);
    qonnx_stats_free(other);
}

/* Parts of plugins are in the file, and statistics with others are not added. */
static void test_parts(void **state)
{
    (void)state;
    qonnx_stats *s = fresh(), *other = fresh();
    for (int i = 0; i < 2; i++) parts_add(&s->parts, false, "p", "one", "1.2"); /* once */
    parts_add(&s->parts, true, "p", "two", "");
    parts_add(&other->parts, false, "p", "one", "1.3");
    size_t n, m;
    uint8_t *first = saved(s, &n);
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_stats *t = qonnx_stats_load(cx, "saved");
    assert_non_null(t);
    assert_int_equal(t->parts.count, 2);
    assert_true(parts_same(&s->parts, &t->parts));
    uint8_t *second = saved(t, &m);
    assert_int_equal(n, m);
    assert_memory_equal(first, second, n);
    assert_true(qonnx_stats_merge(cx, t, s, false));
    assert_false(qonnx_stats_merge(cx, t, other, false));
    assert_contains(qonnx_error(cx), "different plugins");
    qonnx_ctx_free(cx);
    free(first);
    free(second);
    qonnx_stats_free(s);
    qonnx_stats_free(t);
    qonnx_stats_free(other);
}

static void test_match(void **state)
{
    (void)state;
    Graph *g = graph_new("model.onnx");
    qonnx_stats *s = fresh();
    qonnx_ctx *cx = qonnx_ctx_new();
    assert_false(qonnx_stats_match(cx, s, g));
    assert_contains(qonnx_error(cx), "run `qonnx calibrate` again");
    uint8_t hash[16];
    graph_hash(g, hash);
    stats_describe(s, "", "", hash);
    assert_true(qonnx_stats_match(cx, s, g));
    qonnx_ctx_free(cx);
    qonnx_stats_free(s);
    qonnx_graph_free(g);
}

/* ---- atomic files ---------------------------------------------------------------------------- */

static void put(const char *path, const char *text)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    AtomicFile *f = atomic_open(cx, path);
    if (!f) fail_msg("%s", qonnx_error(cx));
    assert_true(atomic_write(f, text, strlen(text)));
    assert_true(atomic_commit(f));
    qonnx_ctx_free(cx);
}

static void assert_holds(const char *path, const char *text)
{
    size_t n;
    uint8_t *data = read_bytes(path, &n);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(data, text, n);
    free(data);
}

static void assert_no_file(const char *path, const char *why)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    assert_null(atomic_open(cx, path));
    assert_contains(qonnx_error(cx), why);
    qonnx_ctx_free(cx);
}

static int mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return (int)st.st_mode;
}

static void test_atomic(void **state)
{
    (void)state;
    mode_t mask = umask(027);
    const char *path = "file";
    put(path, "first");
    assert_holds(path, "first");
    assert_int_equal(mode_of(path), S_IFREG | 0640);
    chmod(path, 0604);
    put(path, "second");
    assert_int_equal(mode_of(path), S_IFREG | 0604);
    umask(mask);

    qonnx_ctx *cx = qonnx_ctx_new();
    AtomicFile *f = atomic_open(cx, path);
    assert_true(atomic_write(f, "third", 5));
    assert_holds(path, "second");
    atomic_abort(f);
    qonnx_ctx_free(cx);
    assert_holds(path, "second");

    assert_int_equal(symlink("file", "link"), 0);
    put("link", "linked");
    assert_true(S_ISLNK(mode_of("link")));
    assert_holds(path, "linked");
    assert_int_equal(symlink("new", "dangling"), 0);
    put("dangling", "made");
    assert_holds("new", "made");
    put("/dev/null", "gone");
    assert_true(S_ISCHR(mode_of("/dev/null")));
}

static void test_atomic_refusals(void **state)
{
    (void)state;
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_no_file("loop", "circle");
    assert_no_file(".", "is a directory");
    assert_no_file("none/file", "there is no directory");
    assert_no_file("none/", "is a directory");
    assert_no_file("", "no name");
    if (geteuid() != 0) {
        mkdir("locked", 0500);
        assert_no_file("locked/file", "cannot write in the directory");
    }
}

static int setup(void **state)
{
    make_samples();
    return enter_directory(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_mixed_workers),
        cmocka_unit_test(test_instruction_sets),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hostile_shards),
        cmocka_unit_test(test_mutants),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_atomic),
        cmocka_unit_test(test_atomic_refusals),
    };
    return cmocka_run_group_tests(tests, setup, leave_directory);
}
