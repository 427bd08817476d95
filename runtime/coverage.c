/* runtime/coverage.c - see coverage.h. */
#include "runtime/coverage.h"
#include "ir/arena.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

uint64_t shard_parts(Shard s, uint64_t total)
{
    return total > s.index ? (total - s.index - 1) / s.of + 1 : 0;
}

static int compare_shards(const void *a, const void *b)
{
    const Shard *x = a, *y = b;
    if (x->of != y->of) return x->of < y->of ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int compare_lists(const void *a, const void *b)
{
    const Coverage *x = a, *y = b;
    int order = memcmp(x->list, y->list, sizeof x->list);
    return order ? order : (x->total > y->total) - (x->total < y->total);
}

static uint32_t greatest_divisor(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Finds a shard of each list of shards that have a part in common, where a list goes on for ever:
 * i + n x = j + m y has a solution if the greatest divisor of n and m divides i - j. */
static const Shard *find_overlap(const Shard *a, int na, const Shard *b, int nb, Shard *other)
{
    uint32_t n = 0, m = 0, divisor = 1;
    for (int i = 0; i < na; i++)
        for (int j = 0; j < nb; j++) {
            if (a[i].of != n || b[j].of != m) divisor = greatest_divisor(n = a[i].of, m = b[j].of);
            if (a[i].index % divisor != b[j].index % divisor) continue;
            *other = b[j];
            return &a[i];
        }
    return NULL;
}

uint64_t coverage_parts(const Coverage *c)
{
    uint64_t parts = 0; /* not more than there are: shards do not overlap */
    for (int i = 0; i < c->count; i++) parts += shard_parts(c->shards[i], c->total);
    return parts;
}

bool coverage_whole(const Coverage *c) { return coverage_parts(c) == c->total; }

static void drop(Coverages *all, int i)
{
    free(all->list[i].shards);
    all->count--;
    memmove(&all->list[i], &all->list[i + 1], (size_t)(all->count - i) * sizeof *all->list);
}

/* The index at which the list stands, or is put, without shards, where it is not there. */
static int place_of(Coverages *all, const Coverage *c)
{
    int i = 0;
    while (i < all->count && compare_lists(&all->list[i], c) < 0) i++;
    if (i < all->count && !compare_lists(&all->list[i], c)) return i;
    all->list = xrealloc_array(all->list, (size_t)all->count + 1, sizeof *all->list);
    memmove(&all->list[i + 1], &all->list[i], (size_t)(all->count - i) * sizeof *all->list);
    all->count++;
    all->list[i] = *c;
    all->list[i].shards = NULL;
    all->list[i].count = 0;
    return i;
}

/* How many shards there are, of all lists. */
static int count_shards(const Coverages *all)
{
    int count = 0;
    for (int i = 0; i < all->count; i++) count += all->list[i].count;
    return count;
}

/* Takes out the lists that are whole: how they became it says no more. */
static void drop_whole(Coverages *all)
{
    for (int i = all->count; i-- > 0;)
        if (coverage_whole(&all->list[i])) drop(all, i);
}

static bool add_list(Coverages *all, const Coverage *from)
{
    Shard other;
    if (count_shards(all) + from->count > MOST_SHARDS) drop_whole(all);
    if (count_shards(all) + from->count > MOST_SHARDS) return false;
    int i = place_of(all, from);
    Coverage *c = &all->list[i];
    if (find_overlap(c->shards, c->count, from->shards, from->count, &other)) {
        drop(all, i);
        return true;
    }
    size_t count = (size_t)c->count + (size_t)from->count;
    c->shards = xrealloc_array(c->shards, count, sizeof *c->shards);
    memcpy(c->shards + c->count, from->shards, (size_t)from->count * sizeof *c->shards);
    c->count = (int)count;
    qsort(c->shards, count, sizeof *c->shards, compare_shards);
    return true;
}

void coverages_add_shard(Coverages *all, const uint8_t list[16], uint64_t total, Shard s)
{
    Coverage c = {.total = total, .shards = &s, .count = 1};
    memcpy(c.list, list, sizeof c.list);
    bool added = add_list(all, &c);
    assert(added);
    (void)added;
}

bool coverages_add(Coverages *all, const Coverages *from)
{
    for (int i = 0; i < from->count; i++)
        if (!add_list(all, &from->list[i])) return false;
    return true;
}

bool coverages_overlap(const Coverages *a, const Coverages *b, Shard *in_a, Shard *in_b)
{
    for (int i = 0, j = 0; i < a->count && j < b->count;) {
        const Coverage *x = &a->list[i], *y = &b->list[j];
        int order = compare_lists(x, y);
        const Shard *found =
            order ? NULL : find_overlap(x->shards, x->count, y->shards, y->count, in_b);
        if (found) {
            *in_a = *found;
            return true;
        }
        i += order <= 0;
        j += order >= 0;
    }
    return false;
}

static bool shards_ok(const Coverage *c)
{
    Shard other;
    if (c->count < 1) return false;
    for (int i = 0; i < c->count; i++) {
        if (c->shards[i].of < 1 || c->shards[i].of > MOST_SHARDS) return false;
        if (c->shards[i].index >= c->shards[i].of) return false;
        if (i && compare_shards(&c->shards[i - 1], &c->shards[i]) >= 0) return false;
    }
    /* Those of one `of` differ, so they do not overlap: each run is compared with the rest. */
    for (int from = 0, to; from < c->count; from = to) {
        for (to = from; to < c->count && c->shards[to].of == c->shards[from].of;) to++;
        if (find_overlap(c->shards + from, to - from, c->shards + to, c->count - to, &other))
            return false;
    }
    return true;
}

bool coverages_ok(const Coverages *all)
{
    if (count_shards(all) > MOST_SHARDS) return false;
    for (int i = 0; i < all->count; i++) {
        const Coverage *c = &all->list[i];
        if (i && compare_lists(&all->list[i - 1], c) >= 0) return false;
        if (!shards_ok(c) || coverage_whole(c)) return false;
    }
    return true;
}

void coverages_free(Coverages *all)
{
    for (int i = 0; i < all->count; i++) free(all->list[i].shards);
    free(all->list);
    *all = (Coverages){0};
}
