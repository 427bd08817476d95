/* qonnx/stats.h - calibration statistics, and how observers read them.
 *
 * Statistics are integers, collected in one pass over the samples: they add, so threads, order and
 * shards do not show. Every observer reads the same statistics afterwards.
 */
#ifndef QONNX_STATS_H
#define QONNX_STATS_H

#include <qonnx/quant.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qonnx_stats qonnx_stats;

/** A bin of the histogram: `count` finite values v with lo <= v <= hi. Its edges are floats whose
 *  sign, exponent and top 8 mantissa bits agree, so a bin is at most 1/256 of its value wide. */
typedef struct qonnx_bin {
    float lo, hi;
    uint64_t count;
} qonnx_bin;

/** What was seen of one activation, over all samples. */
typedef struct qonnx_histogram {
    uint64_t count;        /* values, all of them */
    uint64_t nan, inf;     /* of these, not numbers and infinite; not in the bins */
    uint64_t zero;         /* of these, +0 and -0; they are in the bin [0, 0] too */
    float min, max;        /* exact extremes of the finite values; 0, 0 when there is none */
    const qonnx_bin *bins; /* ascending, none empty */
    int nbins;
} qonnx_histogram;

/** What was seen of one activation's channels. */
typedef struct qonnx_channels {
    int axis;           /* the activation's axis that is the channel */
    int count;          /* channels */
    uint64_t values;    /* values in each channel */
    const float *min;   /* [count] exact extremes of the finite values */
    const float *max;   /* [count] */
    const double *mean; /* [count] of the finite values, from sums kept in 128-bit fixed point */
    const double *mean_square; /* [count] */
} qonnx_channels;

QONNX_API QONNX_CHECKED bool qonnx_stats_save(qonnx_ctx *cx, const qonnx_stats *s,
                                              const char *path);
QONNX_API qonnx_stats *qonnx_stats_load(qonnx_ctx *cx, const char *path);
QONNX_API void qonnx_stats_free(qonnx_stats *s);
/** Writes what qonnx_stats_save() puts into a file to an open stream. */
QONNX_API QONNX_CHECKED bool qonnx_stats_write(qonnx_ctx *cx, const qonnx_stats *s, FILE *f);

/** Adds everything that was counted into `from` to `s`, in any order to the same bytes. Fails, and
 *  changes nothing, where they were taken on different models, behind different passes, by
 *  different engines, or where samples would count twice: shards of one list that overlap, or the
 *  very same samples. With `force` that is a warning; values that are not those of one model are a
 *  failure still. */
QONNX_API QONNX_CHECKED bool qonnx_stats_merge(qonnx_ctx *cx, qonnx_stats *s,
                                               const qonnx_stats *from, bool force);

/** Pipeline prefix the statistics were taken behind, as text. */
QONNX_API const char *qonnx_stats_pipeline(const qonnx_stats *s);
/** Whether the passes of `pipeline`, and the observers of plugins that the statistics' own pipeline
 *  used, are loaded or found in the search path. The message names the file of the statistics, what
 *  is missing and, where it is recorded, its plugin. A plugin of another name or version than
 *  recorded is a warning. */
QONNX_API QONNX_CHECKED bool qonnx_stats_check_plugins(qonnx_ctx *cx, const qonnx_stats *s,
                                                       const char *pipeline);
/** The float engine and instruction set that computed the activations ("onednn 2.6.3 avx512...").
 */
QONNX_API const char *qonnx_stats_engine(const qonnx_stats *s);
/** How the pictures among the samples were prepared, as text (run.h); "": there were none. */
QONNX_API const char *qonnx_stats_preprocess(const qonnx_stats *s);
/** Samples counted. */
QONNX_API uint64_t qonnx_stats_samples(const qonnx_stats *s);
/** 32 hexadecimal digits: a sum of the samples' content hashes; order and names do not matter. */
QONNX_API const char *qonnx_stats_data_hash(const qonnx_stats *s);

/** A list of samples of which some shards were seen, and not all. */
typedef struct qonnx_partial {
    char list[33];  /* 32 hexadecimal digits: a hash of names, sizes and order */
    uint64_t parts; /* that the list has: samples, or what fills the model's batch */
    uint64_t seen;  /* of these, those in the shards */
    int shards;     /* how many shards were seen */
} qonnx_partial;

/** The i-th such list. False: there are not that many. */
QONNX_API bool qonnx_stats_partial(const qonnx_stats *s, int i, qonnx_partial *list);
/** Its k-th shard, 1 to *shards. */
QONNX_API void qonnx_stats_shard(const qonnx_stats *s, int i, int k, uint32_t *shard,
                                 uint32_t *shards);

/** Whether they were taken on this very graph; a message says what to do if not. */
QONNX_API QONNX_CHECKED bool qonnx_stats_match(qonnx_ctx *cx, const qonnx_stats *s,
                                               const qonnx_graph *g);

/** Number of activations observed; of the i-th its name, and the path of the graph that it is in
 *  (qonnx_graph_path), for names may repeat in subgraphs that stand side by side. */
QONNX_API int qonnx_stats_count(const qonnx_stats *s);
QONNX_API const char *qonnx_stats_name(const qonnx_stats *s, int i);
QONNX_API const char *qonnx_stats_graph(const qonnx_stats *s, int i);
/** Which activation is this value of the graph that they were taken on, and which the value of that
 *  name in the graph of that path; -1 if it was not observed. */
QONNX_API int qonnx_stats_of(const qonnx_stats *s, const qonnx_value *v);
QONNX_API int qonnx_stats_find(const qonnx_stats *s, const char *graph, const char *name);
/** What was seen of the i-th activation, nothing where nothing ran that makes it; NULL where i is
 *  -1, and where its channels were not counted. In a Loop's or Scan's body each turn counts. */
QONNX_API const qonnx_histogram *qonnx_stats_histogram(const qonnx_stats *s, int i);
QONNX_API const qonnx_channels *qonnx_stats_channels(const qonnx_stats *s, int i);

#ifdef __cplusplus
}
#endif
#endif
