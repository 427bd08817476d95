/* cli/metrics/cosine.c - directions of vectors: the mean cosine between outputs and arrays; and
 * Spearman's correlation between the cosines of pairs of samples and the scores that they should
 * have, as embeddings are scored: Pearson's of the ranks, equal values having their mean rank.
 */
#include "metric.h"
#include "cli/progress.h"
#include "cli/tensor.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Zero vectors have no direction: NaN. */
static double cosine(const double *a, const double *b, int64_t count)
{
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < count; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return ab / sqrt(aa) / sqrt(bb);
}

static double *vector_of(const qonnx_tensor *t)
{
    int64_t count = qonnx_tensor_elements(t);
    double *v = needed(calloc((size_t)count + 1, sizeof *v));
    for (int64_t i = 0; i < count; i++) v[i] = element(t, i);
    return v;
}

/* ---- cosine ---------------------------------------------------------------------------------- */

typedef struct Cosine {
    double sum;
    size_t samples;
} Cosine;

static bool add_cosine(Scoring *s, const Outputs *o)
{
    Cosine *c = s->state;
    if (!metric_alike(s, o)) return false;
    double *a = vector_of(o->y), *b = vector_of(o->want);
    c->sum += cosine(a, b, qonnx_tensor_elements(o->y));
    c->samples++;
    free(a);
    free(b);
    return true;
}

static bool end_cosine(Scoring *s, Score *out)
{
    const Cosine *c = s->state;
    *out = (Score){c->samples ? c->sum / (double)c->samples : 0, c->samples > 0, c->samples};
    return true;
}

const Metric metric_cosine = {.name = "cosine",
                              .title = "cosine",
                              .brief = "cosine between output and array, the mean over samples",
                              .labels = LABEL_ARRAY,
                              .unit = UNIT_NUMBER,
                              .state = sizeof(Cosine),
                              .add = add_cosine,
                              .end = end_cosine};

/* ---- Spearman -------------------------------------------------------------------------------- */

/* A sample's vector, while pairs wait for it. */
typedef struct Waiting {
    double *vector; /* owned; NULL: it has not come, or nobody waits any more */
    size_t pairs;   /* that still need it */
} Waiting;

typedef struct Spearman {
    Waiting *samples; /* [of the data set] owned */
    size_t *order;    /* [npairs] pairs by their later sample; owned */
    size_t next;      /* in `order`: what is not done */
    double *cosines;  /* [npairs] owned */
    int64_t length;   /* of the vectors */
    bool by_order;    /* equal values have the ranks of the order in which they come */
} Spearman;

static int by_later(const void *a, const void *b, void *labels)
{
    const Pair *pairs = ((const Labels *)labels)->pairs;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    if (pairs[x].b != pairs[y].b) return pairs[x].b < pairs[y].b ? -1 : 1;
    return (x > y) - (x < y);
}

static bool begin_spearman(Scoring *s)
{
    static const char *const ties[] = {"mean", "order", NULL};
    Spearman *p = s->state;
    Labels *l = s->labels;
    int choice = metric_choice(s, "ties", ties);
    if (choice < 0) return false;
    p->by_order = choice == 1;
    p->samples = needed(calloc(qonnx_dataset_count(s->d) + 1, sizeof *p->samples));
    p->order = needed(calloc(l->npairs + 1, sizeof *p->order));
    p->cosines = needed(calloc(l->npairs + 1, sizeof *p->cosines));
    for (size_t i = 0; i < l->npairs; i++) {
        p->order[i] = i;
        p->samples[l->pairs[i].a].pairs++;
        p->samples[l->pairs[i].b].pairs++;
    }
    qsort_r(p->order, l->npairs, sizeof *p->order, by_later, l);
    return true;
}

static void let_go(Waiting *w)
{
    if (--w->pairs) return;
    free(w->vector);
    w->vector = NULL;
}

static bool add_spearman(Scoring *s, const Outputs *o)
{
    Spearman *p = s->state;
    const Labels *l = s->labels;
    int64_t count = qonnx_tensor_elements(o->y);
    if (!p->samples[o->sample].pairs) return true;
    if (p->length && p->length != count)
        return metric_fail(s,
                           "the output has %lld elements, and had %lld; want vectors of one "
                           "length",
                           (long long)count, (long long)p->length);
    p->length = count;
    p->samples[o->sample].vector = vector_of(o->y);
    for (; p->next < l->npairs && l->pairs[p->order[p->next]].b == o->sample; p->next++) {
        const Pair *pair = &l->pairs[p->order[p->next]];
        Waiting *a = &p->samples[pair->a], *b = &p->samples[pair->b];
        p->cosines[p->order[p->next]] = cosine(a->vector, b->vector, count);
        let_go(a);
        let_go(b);
    }
    return true;
}

static int by_value(const void *a, const void *b, void *values)
{
    size_t i = *(const size_t *)a, k = *(const size_t *)b;
    double x = ((const double *)values)[i], y = ((const double *)values)[k];
    return x != y ? (x > y) - (x < y) : (i > k) - (i < k);
}

/* The ranks of values. malloc'd. */
static double *ranks_of(const double *values, size_t count, bool by_order)
{
    size_t *order = needed(calloc(count + 1, sizeof *order));
    double *ranks = needed(calloc(count + 1, sizeof *ranks));
    for (size_t i = 0; i < count; i++) order[i] = i;
    qsort_r(order, count, sizeof *order, by_value, (void *)(uintptr_t)values);
    for (size_t i = 0, k; i < count; i = k) {
        for (k = i + 1; !by_order && k < count && values[order[k]] == values[order[i]];) k++;
        for (size_t j = i; j < k; j++) ranks[order[j]] = (double)(i + k - 1) / 2;
    }
    free(order);
    return ranks;
}

/* Pearson's correlation; NaN where one does not vary. */
static double correlation(const double *a, const double *b, size_t count)
{
    double mean_a = 0, mean_b = 0, ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < count; i++) {
        mean_a += a[i] / (double)count;
        mean_b += b[i] / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        double x = a[i] - mean_a, y = b[i] - mean_b;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return ab / sqrt(aa) / sqrt(bb);
}

static bool end_spearman(Scoring *s, Score *out)
{
    const Spearman *p = s->state;
    size_t count = s->labels->npairs;
    double *scores = needed(calloc(count + 1, sizeof *scores)), value = count ? 0 : NAN;
    for (size_t i = 0; i < count; i++) {
        scores[i] = s->labels->pairs[i].score;
        if (isnan(p->cosines[i])) value = NAN; /* it has no rank */
    }
    if (!isnan(value)) {
        double *a = ranks_of(p->cosines, count, p->by_order);
        double *b = ranks_of(scores, count, p->by_order);
        value = correlation(a, b, count);
        free(a);
        free(b);
    }
    free(scores);
    *out = (Score){value, count > 0, count};
    return true;
}

static void release_spearman(Scoring *s)
{
    Spearman *p = s->state;
    for (size_t i = 0; p->samples && i < qonnx_dataset_count(s->d); i++) free(p->samples[i].vector);
    free(p->samples);
    free(p->order);
    free(p->cosines);
}

static const MetricOption spearman_options[] = {
    {"ties", "mean", "mean: equal values have their mean rank; order: ranks as they come"},
    {.name = NULL}};

const Metric metric_spearman = {.name = "spearman",
                                .title = "Spearman",
                                .brief = "rank correlation of pairs' cosines with their scores",
                                .options = spearman_options,
                                .labels = LABEL_PAIRS,
                                .unit = UNIT_NUMBER,
                                .state = sizeof(Spearman),
                                .begin = begin_spearman,
                                .add = add_spearman,
                                .end = end_spearman,
                                .release = release_spearman};
