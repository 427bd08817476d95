/* cli/metrics/top.c - top-1 and top-5: how often the sample's class is the first of the output, or
 * among the first five.
 */
#include "metric.h"
#include "cli/progress.h"
#include "cli/tensor.h"
#include <stdlib.h>

/* What is counted. */
typedef struct Top {
    size_t labelled; /* samples with a class that the output has */
    size_t right;    /* of these, with the class first */
    size_t near;     /* and among the first five */
    size_t strays;   /* samples with a class that the output does not have */
    int stray;       /* the largest of these classes */
    int64_t length;  /* elements of the output: the model's classes */
    bool *seen;      /* [length] which of them samples have; owned */
    size_t classes;  /* how many these are */
    bool no_vector;  /* a sample has a class, and the output is no vector of one per class */
} Top;

/* Counts the classes that samples have, and those that the output does not have. */
static void note_class(Top *s, int64_t count, int class)
{
    if (!s->seen || count != s->length) {
        free(s->seen);
        s->seen = needed(calloc((size_t)count, sizeof *s->seen));
        s->length = count;
        s->classes = 0;
    }
    if (class >= count && (!s->strays++ || class > s->stray)) s->stray = class;
    if (class >= count || s->seen[class]) return;
    s->seen[class] = true;
    s->classes++;
}

static bool add(Scoring *s, const Outputs *o)
{
    Top *top = s->state;
    int64_t count = vector_length(o->y);
    int class = qonnx_dataset_class(s->d, o->sample);
    if (class < 0) return true;
    if (!count) {
        top->no_vector = true;
        return true;
    }
    note_class(top, count, class);
    if (class >= count) return true;
    int64_t before = class_rank(o->y, count, class);
    top->labelled++;
    top->right += before == 0;
    top->near += before < 5;
    return true;
}

static double share(size_t part, size_t all) { return (double)part / (double)all; }

/* What the first model gets is what the others are measured by: where it only guesses, the samples
 * are most probably not what it was made for. */
static void warn_chance(const Scoring *s, const Top *top)
{
    enum { LEAST = 50, CLASSES = 3 };
    if (top->strays || top->labelled < LEAST || top->classes < CLASSES) return;
    if (top->right * top->classes > 2 * top->labelled) return;
    warn("%s: gets %.2f %% of %zu samples of %zu classes right, and guessing gets %.2f %%; mostly "
         "the samples have another scale than in training: pictures are given as 0 to 255 unless "
         "--preset, or --scale, --mean and --std say otherwise; or the classes have another order: "
         "see --labels",
         s->model, 100 * share(top->right, top->labelled), top->labelled, top->classes,
         100 / (double)top->classes);
}

static bool end(Scoring *s, Score *out)
{
    const Top *top = s->state;
    bool five = s->metric == &metric_top5;
    if (s->first) warn_chance(s, top);
    if (top->no_vector && s->labels_given)
        warn("%s: its output '%s' is no vector with a score for each class; no accuracy, although "
             "--labels gives classes",
             s->model, qonnx_value_name(qonnx_graph_output(s->g, s->output)));
    if (top->strays)
        warn("%s: %zu samples have a class that the output does not have; no accuracy: it has %lld "
             "classes, from 0 on, and the samples have one of %d; check the folders or the labels",
             s->model, top->strays, (long long)top->length, top->stray);
    out->samples = top->labelled;
    out->known = top->labelled && !top->strays && (!five || top->length > 5);
    out->value = out->known ? share(five ? top->near : top->right, top->labelled) : 0;
    return true;
}

static void release(Scoring *s) { free(((Top *)s->state)->seen); }

#define TOP(NAME, TITLE, BRIEF)                                                                    \
    {.name = NAME,                                                                                 \
     .title = TITLE,                                                                               \
     .brief = BRIEF,                                                                               \
     .labels = LABEL_CLASS,                                                                        \
     .unit = UNIT_SHARE,                                                                           \
     .state = sizeof(Top),                                                                         \
     .add = add,                                                                                   \
     .end = end,                                                                                   \
     .release = release}

const Metric metric_top1 = TOP("top1", "top-1", "samples whose class has the largest score");
const Metric metric_top5 = TOP("top5", "top-5", "samples whose class is among the five largest");
