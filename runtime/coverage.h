/* runtime/coverage.h - which shards of a list of samples statistics were taken of.
 *
 * Shard {i, n} of a list is every n-th part of it, from part i on. Statistics of a whole list do
 * not know of it, so that they are the same bytes whether it was taken at once or in shards.
 */
#ifndef RUNTIME_COVERAGE_H
#define RUNTIME_COVERAGE_H

#include <qonnx/run.h>

/* A list has at most this many shards, and so many are kept in all. */
enum { MOST_SHARDS = QONNX_MOST_SHARDS };

typedef struct Shard {
    uint32_t index; /* below `of` */
    uint32_t of;    /* how many there are, at least 1 */
} Shard;

/* The shards of one list that were seen. */
typedef struct Coverage {
    uint8_t list[16]; /* hash of the list (list_hash in collect.c) */
    uint64_t total;   /* parts that the list has */
    Shard *shards;    /* [count] ascending by `of` and `index`; no two overlap; owned */
    int count;        /* of the shards, at least 1 */
} Coverage;

/* Zeroed: no list is seen in part. */
typedef struct Coverages {
    Coverage *list; /* [count] ascending by hash and total */
    int count;      /* of the lists */
} Coverages;

/* How many of a list's parts are in a shard. */
uint64_t shard_parts(Shard s, uint64_t total);

/* Adds a shard of a list, the first one. */
void coverages_add_shard(Coverages *all, const uint8_t list[16], uint64_t total, Shard s);
/* Adds those of `from`. A list of which shards overlap is left out: what was counted twice is no
 * part of a list. False: they are too many. */
bool coverages_add(Coverages *all, const Coverages *from);
/* Parts of the list that are in the shards. */
uint64_t coverage_parts(const Coverage *c);
/* Whether the shards are the whole list; then nothing is written of it. */
bool coverage_whole(const Coverage *c);
/* Finds a shard of each that overlap: of equal lists, and of numbers of shards that let them have
 * parts in common. False: there are none. */
bool coverages_overlap(const Coverages *a, const Coverages *b, Shard *in_a, Shard *in_b);
/* Whether what a file says is as described above, and no list is whole. */
bool coverages_ok(const Coverages *all);
void coverages_free(Coverages *all);

#endif
