/* runtime/merge.c - statistics of several lots of samples made one: what must be equal; the sums.
 *
 * Everything is checked before anything is added, so that a failure leaves the statistics as they
 * were.
 */
#include "ir/arena.h"
#include "ir/ir.h"
#include "runtime/stats.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two statistics that are to become one. */
typedef struct Pair {
    qonnx_ctx *cx;
    const qonnx_stats *into, *from;
    const char *here, *there; /* their files, for messages */
    bool force;               /* what speaks against it is only warned of */
    const char *remedy;       /* what else can be done about it */
} Pair;

/* What speaks against adding them: a failure, or where it is forced a warning. */
static QONNX_PRINTF(2, 3) bool object(const Pair *p, const char *fmt, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, fmt);
    if (vasprintf(&text, fmt, list) < 0) qonnx_out_of_memory();
    va_end(list);
    if (p->force) qonnx_warn(p->cx, NULL, "%s; merged all the same", text);
    else qonnx_fail(p->cx, NULL, "%s, or %s", text, p->remedy);
    free(text);
    return p->force;
}

/* ---- what must be equal ---------------------------------------------------------------------- */

static bool same_graph(const qonnx_stats *a, const qonnx_stats *b)
{
    return !memcmp(a->graph_hash, b->graph_hash, sizeof a->graph_hash);
}

static bool same_plugins(const qonnx_stats *a, const qonnx_stats *b)
{
    return parts_same(&a->parts, &b->parts);
}

/* What two statistics must have in common, in the order in which it is told: what comes first makes
 * the rest differ. */
static const struct {
    const char *taken; /* what is wrong when they differ */
    /* It as text, or whether it is the same. */
    const char *(*text)(const qonnx_stats *s);
    bool (*same)(const qonnx_stats *a, const qonnx_stats *b);
    const char *remedy;
} facts[] = {
    {"behind different passes", qonnx_stats_pipeline, NULL,
     "give 'qonnx calibrate' the same --pass for each"},
    {"with different plugins, or versions of them", NULL, same_plugins,
     "calibrate each with the same ones"},
    {"on different models", NULL, same_graph, "calibrate the same model for each"},
    {"of pictures that were prepared differently", qonnx_stats_preprocess, NULL,
     "give 'qonnx calibrate' the same --preset, --resize and the like for each"},
    {"by different engines", qonnx_stats_engine, NULL,
     "calibrate each with the same: --engine portable is one everywhere"},
};

static bool facts_agree(const Pair *p)
{
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const char *(*text)(const qonnx_stats *) = facts[i].text;
        const char *a = text ? text(p->into) : NULL, *b = text ? text(p->from) : NULL;
        if (text ? !strcmp(a, b) : facts[i].same(p->into, p->from)) continue;
        bool go = text ? object(p, "%s and %s: were taken %s ('%s' and '%s'); %s", p->here,
                                p->there, facts[i].taken, a, b, facts[i].remedy)
                       : object(p, "%s and %s: were taken %s; %s", p->here, p->there,
                                facts[i].taken, facts[i].remedy);
        if (!go) return false;
    }
    return true;
}

/* Nothing can be added to values that are not there. */
static bool same_values(const Pair *p)
{
    bool same = p->into->count == p->from->count;
    for (int i = 0; same && i < p->into->count; i++) {
        const Seen *a = &p->into->seen[i], *b = &p->from->seen[i];
        same = !seen_compare(a, b->graph, b->name) && a->axis == b->axis;
    }
    return same || qonnx_fail(p->cx, NULL,
                              "%s and %s: hold different values of a model; calibrate the same "
                              "model for each",
                              p->here, p->there);
}

/* ---- what was seen already ------------------------------------------------------------------- */

/* Whether lists were seen in part on both sides, so that shards tell what they have in common. */
static bool both_covered(const Pair *p)
{
    return p->into->coverage.count && p->from->coverage.count;
}

static bool same_samples(const qonnx_stats *s, Merged m)
{
    return s->samples && s->samples == m.samples && s->data_hash == m.data_hash;
}

/* Samples must not count twice. */
static bool seen_once(const Pair *p)
{
    Shard a, b;
    if (coverages_overlap(&p->into->coverage, &p->from->coverage, &a, &b))
        return object(p,
                      "%s: holds shard %u/%u of a list of samples, and %s, or what was added to "
                      "it, shard %u/%u: samples would count twice; leave one out",
                      p->there, b.index + 1, b.of, p->here, a.index + 1, a.of);
    const qonnx_stats *s = p->into;
    bool again = !both_covered(p) && same_samples(p->from, (Merged){s->samples, s->data_hash});
    for (size_t i = 0; !again && i < s->nmerged; i++) again = same_samples(p->from, s->merged[i]);
    return !again || object(p,
                            "%s: holds the same samples as %s, or as what was added to it; leave "
                            "one out",
                            p->there, p->here);
}

/* ---- adding ---------------------------------------------------------------------------------- */

/* Whether every sum fits. The other counts of an activation are parts of its values. */
static bool counts_fit(const Pair *p)
{
    uint64_t sum;
    bool fit = !__builtin_add_overflow(p->into->samples, p->from->samples, &sum);
    for (int i = 0; fit && i < p->into->count; i++)
        fit =
            !__builtin_add_overflow(p->into->seen[i].hist.count, p->from->seen[i].hist.count, &sum);
    return fit || qonnx_fail(p->cx, NULL, "%s and %s: count more than 2^64 values together",
                             p->here, p->there);
}

/* Remembers statistics of which nothing else tells that they were added. */
static void remember(qonnx_stats *s, Merged m)
{
    if (s->nmerged == s->merged_room) {
        s->merged_room = 2 * s->merged_room + 16;
        s->merged = xrealloc_array(s->merged, s->merged_room, sizeof *s->merged);
    }
    s->merged[s->nmerged++] = m;
}

static void add(qonnx_stats *s, const qonnx_stats *from)
{
    for (int i = 0; i < s->count; i++) {
        seen_add(&s->seen[i], &from->seen[i]);
        seen_view(&s->seen[i]);
    }
    s->samples += from->samples;
    s->data_hash += from->data_hash;
    stats_hex(s);
}

bool qonnx_stats_merge(qonnx_ctx *cx, qonnx_stats *s, const qonnx_stats *from, bool force)
{
    static const char unnamed[] = "the statistics";
    const Pair p = {.cx = cx,
                    .into = s,
                    .from = from,
                    .here = s->path ? s->path : unnamed,
                    .there = from->path ? from->path : unnamed,
                    .force = force,
                    .remedy = "merge them all the same: --force"};
    if (!facts_agree(&p) || !same_values(&p) || !seen_once(&p) || !counts_fit(&p)) return false;
    if (!s->nmerged && !s->coverage.count) remember(s, (Merged){s->samples, s->data_hash});
    if (!from->coverage.count) remember(s, (Merged){from->samples, from->data_hash});
    if (!coverages_add(&s->coverage, &from->coverage))
        return qonnx_fail(cx, NULL, "%s: makes more than %d shards; merge them in another order",
                          p.there, MOST_SHARDS);
    add(s, from);
    return true;
}

bool stats_resume(qonnx_ctx *cx, qonnx_stats *s, const qonnx_stats *from)
{
    const Pair p = {.cx = cx,
                    .into = s,
                    .from = from,
                    .here = "this run",
                    .there = from->path,
                    .remedy = "begin again, without --resume"};
    if (!facts_agree(&p) || !same_values(&p) || !counts_fit(&p)) return false;
    add(s, from);
    return true;
}
