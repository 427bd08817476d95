/* runtime/stats.h - the inside of qonnx_stats: counting activations in one pass.
 *
 * Each worker thread counts into a StatsWorker of its own; merging workers adds integers, so the
 * result does not depend on which worker saw which sample.
 */
#ifndef RUNTIME_STATS_H
#define RUNTIME_STATS_H

#include "passes/parts.h"
#include "runtime/checkpoint.h"
#include <qonnx/stats.h>

/* One activation to observe. */
typedef struct StatsSpec {
    const char *name;  /* of the value; copied */
    int axis;          /* which axis of the activation is the channel; recorded */
    int channels;      /* size of that axis; 0: not known before the first sample (then the first
                          sample's; samples that differ drop the per-channel part) */
    const char *graph; /* path of the graph that it is in; copied. NULL: the main graph */
} StatsSpec;

/* How one sample's activation lies in memory: element (o, c, i) is at
 * x[(o * channels + c) * inner + i]. Channels-last: inner = 1, outer = pixels. Plain NCHW:
 * outer = 1, inner = pixels. */
typedef struct StatsView {
    int64_t outer, channels, inner;
} StatsView;

typedef struct StatsWorker StatsWorker;

/* Empty statistics for these activations. */
qonnx_stats *stats_new(const StatsSpec *specs, int count);

/* A worker's counters: one per thread, freed by stats_absorb. */
StatsWorker *stats_worker_new(const qonnx_stats *s);
/* The same with given loops (count.h), which this machine must be able to run. */
struct CountLoops;
StatsWorker *stats_worker_new_with(const qonnx_stats *s, const struct CountLoops *loops);

/* Counts one sample's values of activation `index`. `x` is 4-byte aligned. Whether all of them are
 * finite. [the worker's thread] */
bool stats_count(StatsWorker *w, int index, const float *x, StatsView view);

/* Notes one whole sample: its 128-bit content hash enters the data hash. [the worker's thread] */
void stats_sample(StatsWorker *w, const uint8_t hash[16]);

/* Adds a worker's counts and frees it. [one thread at a time] */
void stats_absorb(qonnx_stats *s, StatsWorker *w);

/* What the statistics were taken on and by; copied. graph_hash: 16 bytes. */
void stats_describe(qonnx_stats *s, const char *pipeline, const char *engine,
                    const uint8_t graph_hash[16]);
/* How pictures became samples, as text; copied. */
void stats_prepared(qonnx_stats *s, const char *preprocess);

/* ---- inside: shared by stats.c (storage), count.c (workers), merge.c, qcal.c ------- */

__extension__ typedef __int128 Int128;

/* Sums are kept in units of 2^-48: a sample's own rounding is below 2e-15, and sums up to 6e23 in
 * magnitude fit. */
#define STATS_UNIT 0x1p-48

/* More channels than this are not counted one by one. */
enum { STATS_MAX_CHANNELS = 1 << 16 };

/* What was seen channel by channel. Everything adds, or takes the extreme. */
typedef struct ChannelSums {
    int count;       /* channels; 0: not known yet, or dropped */
    bool dropped;    /* samples differed in the number of channels, there were too many, or a sum
                        left its range: the same in whatever order the samples came */
    uint64_t values; /* values in each channel, not finite ones included */
    uint64_t *bad;   /* [count] of these, not finite */
    float *min;      /* [count] extremes of the finite values; 0 where there is none */
    float *max;      /* [count] */
    Int128 *sum;     /* [count] of x, in STATS_UNIT */
    Int128 *square;  /* [count] of x^2, in STATS_UNIT */
    Int128 mass;     /* sum over the samples of the largest |sum| or square of any channel; it
                        bounds every sum whatever the order, so that overflow commutes too */
} ChannelSums;

/* What was seen of one activation. */
typedef struct Seen {
    char *name;           /* of the value */
    char *graph;          /* path of the graph that it is in; "": the main graph */
    int axis;             /* which axis is the channel */
    qonnx_histogram hist; /* its bins are owned */
    ChannelSums ch;
    qonnx_channels channels; /* the public view of `ch`; its mean and mean_square are owned */
} Seen;

/* Statistics that were added to others, by what tells whether they are the same. */
typedef struct Merged {
    uint64_t samples;
    unsigned __int128 data_hash;
} Merged;

struct qonnx_stats {
    Seen *seen;              /* [count] in order of the graph */
    int *by_name;            /* [count] indices, sorted by graph and name */
    int count;               /* activations */
    char *pipeline, *engine; /* as text; "" until described */
    char *preprocess;        /* how pictures became samples; "": there were none */
    Parts parts;             /* of plugins, that the pipeline used */
    char *path;              /* of the file they were read from; NULL: of none */
    uint8_t graph_hash[16];
    uint64_t samples;                     /* samples counted */
    unsigned __int128 data_hash;          /* sum of the samples' hashes, read little endian */
    char data_hex[33];                    /* the same as text, high digits first */
    Coverages coverage;                   /* of lists that were seen in part */
    Merged *merged;                       /* [nmerged] what was added, that has no coverage */
    size_t nmerged, merged_room;          /* used, and room */
    Checkpoint *checkpoint;               /* of a run that goes on; NULL: it has ended */
};

/* Reads the file of a checkpoint, which qonnx_stats_load() refuses. */
qonnx_stats *stats_load_checkpoint(qonnx_ctx *cx, const char *path);
/* Adds what was counted up to a checkpoint to the empty statistics of the run that goes on; fails
 * where that would count something else. */
QONNX_CHECKED bool stats_resume(qonnx_ctx *cx, qonnx_stats *s, const qonnx_stats *from);

/* The edges of the bin of `key` (count.h); not for keys whose exponent is all ones. */
void stats_bin_edges(uint32_t key, float *lo, float *hi);
/* The key of a bin that is not the zero bin. */
uint32_t stats_bin_key(const qonnx_bin *bin);

/* Gives `ch` room for that many channels, zeroed. */
void channels_init(ChannelSums *ch, int count);
/* Frees the per-channel part for good. */
void channels_drop(ChannelSums *ch);
/* Adds one sample's (or shard's) largest sum to the mass; false: out of range, now dropped. */
bool channels_weigh(ChannelSums *ch, Int128 mass);
/* Adds `from` (another sample's, worker's or shard's) to `ch`. */
void channels_add(ChannelSums *ch, const ChannelSums *from);

/* Adds `from` to `seen`, bins and channels. Names are not compared. */
void seen_add(Seen *seen, const Seen *from);
/* Whether the order of an activation's graph and name is before, at or behind these. */
int seen_compare(const Seen *a, const char *graph, const char *name);
void seen_free(Seen *seen);
/* Derives the public view of the channels; after the last change. */
void seen_view(Seen *seen);
/* Derives by_name; false when two activations of a graph have the same name. */
bool stats_index(qonnx_stats *s);
/* Derives data_hex. */
void stats_hex(qonnx_stats *s);

#endif
