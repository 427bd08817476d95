/* cli/metrics/iou.c - mean IoU of segmentation: over all samples together, the mean over classes of
 * TP / (TP + FP + FN), classes that neither labels nor outputs have left out. The output is a map
 * of classes, or of a score for each class along axis 1, or, with axis=last, along the last axis.
 */
#include "cli/progress.h"
#include "cli/tensor.h"
#include "metric.h"
#include <stdlib.h>

enum { MOST_CLASSES = 1 << 16 };

/* Pixels of a class. */
typedef struct Class {
    uint64_t both, output, label;
} Class;

typedef struct Iou {
    Class *classes;  /* [count] owned */
    int64_t count;   /* largest class so far, and one */
    int64_t ignored; /* pixels with this label count nowhere */
    bool last;       /* scores of classes lie along the last axis */
    size_t samples;
} Iou;

static bool begin(Scoring *s)
{
    static const char *const axes[] = {"1", "last", NULL};
    Iou *iou = s->state;
    int axis = metric_choice(s, "axis", axes);
    iou->last = axis == 1;
    return axis >= 0 && metric_whole(s, "ignore", -1, MOST_CLASSES, &iou->ignored);
}

static bool grow(Scoring *s, double class)
{
    Iou *iou = s->state;
    if (!(class >= 0 && class < MOST_CLASSES) || class != (double)(int64_t)class)
        return metric_fail(s, "%g is no class; want whole numbers from 0 to %d, and those that do "
                              "not count as option `ignore`",
                           class, MOST_CLASSES - 1);
    int64_t want = (int64_t)class + 1;
    if (want <= iou->count) return true;
    iou->classes = needed(reallocarray(iou->classes, (size_t)want, sizeof *iou->classes));
    for (int64_t i = iou->count; i < want; i++) iou->classes[i] = (Class){0, 0, 0};
    iou->count = want;
    return true;
}

/* Where scores lie: class c of pixel p is element p / inner * inner * classes + c * inner + p %
 * inner. */
typedef struct Scores {
    int64_t classes, inner;
} Scores;

static double class_at(const qonnx_tensor *y, const Scores *at, int64_t pixel)
{
    if (at->classes == 1) return element(y, pixel);
    int64_t first = pixel / at->inner * at->inner * at->classes + pixel % at->inner, best = 0;
    double most = element(y, first);
    for (int64_t c = 1; c < at->classes; c++) {
        double x = element(y, first + c * at->inner);
        if (x > most) most = x, best = c;
    }
    return (double)best;
}

/* How scores of classes lie in a tensor of three axes or more. */
static Scores scores_in(const Iou *iou, const qonnx_tensor *t)
{
    Scores at = {t->dims[iou->last ? t->rank - 1 : 1], 1};
    for (int i = 2; !iou->last && i < t->rank; i++) at.inner *= t->dims[i];
    return at;
}

static bool may_be_scores(const qonnx_tensor *t) { return t->rank > 2 && is_real(t->dtype); }

/* How label and output lie. Labels are classes; the first model's output is what the others' is. */
static bool lay(Scoring *s, const Outputs *o, Scores *label, Scores *output)
{
    const Iou *iou = s->state;
    char is[200], should[200];
    const qonnx_tensor *y = o->y, *want = o->want;
    *label = *output = (Scores){1, 1};
    if (s->to == TO_FIRST && may_be_scores(want)) *label = scores_in(iou, want);
    int64_t pixels = label->classes > 0 ? qonnx_tensor_elements(want) / label->classes : 0;
    if (may_be_scores(y) && qonnx_tensor_elements(y) != pixels) *output = scores_in(iou, y);
    if (is_number(y->dtype) && is_number(want->dtype) && label->classes > 0 &&
        output->classes > 0 && qonnx_tensor_elements(y) == pixels * output->classes)
        return true;
    return metric_fail(s,
                       "the output of '%s' is %s, its label %s; want a class, or a score for "
                       "each class, for every pixel of the label",
                       qonnx_dataset_name(s->d, o->sample), tensor_text(is, sizeof is, y),
                       tensor_text(should, sizeof should, want));
}

static bool add(Scoring *s, const Outputs *o)
{
    Iou *iou = s->state;
    Scores in_label, in_output;
    if (!lay(s, o, &in_label, &in_output)) return false;
    int64_t pixels = qonnx_tensor_elements(o->want) / in_label.classes;
    for (int64_t i = 0; i < pixels; i++) {
        double label = class_at(o->want, &in_label, i);
        if (label == (double)iou->ignored) continue;
        double output = class_at(o->y, &in_output, i);
        if (!grow(s, label) || !grow(s, output)) return false;
        iou->classes[(int64_t)label].label++;
        iou->classes[(int64_t)output].output++;
        iou->classes[(int64_t)label].both += label == output;
    }
    iou->samples++;
    return true;
}

static bool end(Scoring *s, Score *out)
{
    const Iou *iou = s->state;
    double sum = 0;
    int64_t seen = 0;
    for (int64_t i = 0; i < iou->count; i++) {
        const Class *c = &iou->classes[i];
        uint64_t all = c->output + c->label - c->both;
        if (all) sum += (double)c->both / (double)all;
        seen += all > 0;
    }
    *out = (Score){seen ? sum / (double)seen : 0, seen > 0, iou->samples};
    return true;
}

static void release(Scoring *s) { free(((Iou *)s->state)->classes); }

static const MetricOption options[] = {
    {"ignore", "255", "pixels with this label count nowhere; -1: all count"},
    {"axis", "1", "1 or last: along which axis the classes' scores lie"},
    {.name = NULL}};

const Metric metric_miou = {.name = "miou",
                            .title = "mIoU",
                            .brief = "mean over classes of TP / (TP + FP + FN), by pixels",
                            .options = options,
                            .labels = LABEL_ARRAY,
                            .unit = UNIT_SHARE,
                            .state = sizeof(Iou),
                            .begin = begin,
                            .add = add,
                            .end = end,
                            .release = release};
