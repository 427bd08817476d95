/* cli/metrics/tokens.c - sequences of tokens. The output is one of numbers of tokens, or of scores
 * for each token along its last axis. `tokens`: the share of places with the same token; `wer`: as
 * word error rates are counted, the least number of insertions, deletions and substitutions that
 * make the output of the label, over all samples, by the number of tokens in all labels.
 */
#include "cli/progress.h"
#include "cli/tensor.h"
#include "metric.h"
#include <stdlib.h>

typedef struct Tokens {
    double part, all; /* places that are alike, or edits; places, or tokens of labels */
    size_t samples;
    int64_t pad;    /* places with this label are none; -100: the usual number that is no token */
    int64_t blank;  /* wer: CTC's; -1: the output is no CTC's */
} Tokens;

/* A sequence. */
typedef struct Sequence {
    int64_t *of; /* [count] owned */
    int64_t count;
} Sequence;

static bool begin(Scoring *s)
{
    Tokens *t = s->state;
    t->blank = -1;
    return metric_whole(s, "pad", -1000000, INT32_MAX, &t->pad) &&
           (!metric_option(s, "blank") || metric_whole(s, "blank", 0, INT32_MAX, &t->blank));
}

/* The tokens of a tensor: of floats the index of the largest along the last axis. */
static Sequence sequence_of(const qonnx_tensor *t)
{
    bool scores = is_real(t->dtype) && t->rank > 1;
    int64_t all = qonnx_tensor_elements(t), step = scores ? t->dims[t->rank - 1] : 1;
    Sequence q = {NULL, step ? all / step : 0};
    q.of = needed(calloc(q.count > 0 ? (size_t)q.count : 1, sizeof *q.of));
    for (int64_t i = 0; i < q.count; i++) {
        int64_t best = 0;
        for (int64_t k = 1; k < step; k++)
            if (element(t, i * step + k) > element(t, i * step + best)) best = k;
        double x = scores ? (double)best : element(t, i);
        q.of[i] = x > -0x1p62 && x < 0x1p62 ? (int64_t)x : INT64_MIN;
    }
    return q;
}

/* Takes one of two alike that follow one another for one, and blanks away. */
static void collapse(Sequence *q, int64_t blank)
{
    int64_t kept = 0, before = INT64_MAX;
    for (int64_t i = 0; i < q->count; i++) {
        int64_t x = q->of[i];
        if (x != before && x != blank) q->of[kept++] = x;
        before = x;
    }
    q->count = kept;
}

static void drop(Sequence *q, int64_t pad)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < q->count; i++)
        if (q->of[i] != pad) q->of[kept++] = q->of[i];
    q->count = kept;
}

/* Levenshtein's distance, a row at a time. */
static double edits(const Sequence *a, const Sequence *b)
{
    int64_t *row = needed(calloc((size_t)b->count + 1, sizeof *row));
    for (int64_t k = 0; k <= b->count; k++) row[k] = k;
    for (int64_t i = 1; i <= a->count; i++) {
        int64_t diagonal = row[0];
        row[0] = i;
        for (int64_t k = 1; k <= b->count; k++) {
            int64_t least = diagonal + (a->of[i - 1] != b->of[k - 1]);
            diagonal = row[k];
            if (row[k] + 1 < least) least = row[k] + 1;
            if (row[k - 1] + 1 < least) least = row[k - 1] + 1;
            row[k] = least;
        }
    }
    double distance = (double)row[b->count];
    free(row);
    return distance;
}

static bool numbers(Scoring *s, const Outputs *o)
{
    char is[200], should[200];
    if (is_number(o->y->dtype) && is_number(o->want->dtype)) return true;
    return metric_fail(s, "the output of '%s' is %s, what it is compared with is %s; want tokens "
                          "as numbers, or scores",
                       qonnx_dataset_name(s->d, o->sample), tensor_text(is, sizeof is, o->y),
                       tensor_text(should, sizeof should, o->want));
}

static bool add_tokens(Scoring *s, const Outputs *o)
{
    Tokens *t = s->state;
    if (!numbers(s, o)) return false;
    Sequence y = sequence_of(o->y), want = sequence_of(o->want);
    bool alike = y.count == want.count;
    for (int64_t i = 0; alike && i < y.count; i++) {
        t->all += want.of[i] != t->pad;
        t->part += want.of[i] != t->pad && want.of[i] == y.of[i];
    }
    t->samples++;
    if (!alike)
        metric_fail(s, "'%s' gives %lld tokens, and should give %lld; sequences of other "
                       "lengths are compared by wer",
                    qonnx_dataset_name(s->d, o->sample), (long long)y.count, (long long)want.count);
    free(y.of);
    free(want.of);
    return alike;
}

static bool add_wer(Scoring *s, const Outputs *o)
{
    enum { LONGEST = 1 << 16 };
    Tokens *t = s->state;
    if (!numbers(s, o)) return false;
    Sequence y = sequence_of(o->y), want = sequence_of(o->want);
    if (t->blank >= 0) collapse(&y, t->blank);
    if (t->blank >= 0 && s->to == TO_FIRST) collapse(&want, t->blank);
    drop(&y, t->pad);
    drop(&want, t->pad);
    bool good = (y.count <= LONGEST && want.count <= LONGEST) ||
                metric_fail(s, "'%s' has more than %d tokens", qonnx_dataset_name(s->d, o->sample),
                            LONGEST);
    if (good) t->part += edits(&want, &y);
    t->all += (double)want.count;
    t->samples++;
    free(y.of);
    free(want.of);
    return good;
}

static bool end(Scoring *s, Score *out)
{
    const Tokens *t = s->state;
    *out = (Score){t->all > 0 ? t->part / t->all : 0, t->all > 0, t->samples};
    return true;
}

#define PAD {"pad", "-100", "the number of no token: such places are left out"}
static const MetricOption tokens_options[] = {PAD, {.name = NULL}};
static const MetricOption wer_options[] = {
    PAD,
    {"blank", NULL, "CTC's blank: of equal tokens in a row one is taken, then blanks are left out"},
    {.name = NULL}};

const Metric metric_tokens = {.name = "tokens",
                              .title = "tokens",
                              .brief = "share of places with the same token",
                              .options = tokens_options,
                              .labels = LABEL_ARRAY,
                              .unit = UNIT_SHARE,
                              .state = sizeof(Tokens),
                              .begin = begin,
                              .add = add_tokens,
                              .end = end};
const Metric metric_wer = {.name = "wer",
                           .title = "WER",
                           .brief = "edits that make the output of the label, by its tokens",
                           .options = wer_options,
                           .labels = LABEL_ARRAY,
                           .unit = UNIT_SHARE,
                           .state = sizeof(Tokens),
                           .begin = begin,
                           .add = add_wer,
                           .end = end};
