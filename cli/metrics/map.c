/* cli/metrics/map.c - mAP of boxes as COCO has it (cocodataset.org, "Detection evaluation"): the
 * mean over categories and IoUs of 0.5, 0.55, ... 0.95 of the precision at recalls of 0, 0.01, ...
 * 1, the precision at a recall being the largest at that or a higher one. In each picture the 100
 * boxes of a category with the largest scores count; a box takes the label with which it has the
 * largest IoU and that no box with a larger score has taken. Labels of crowds may be taken again
 * and again, and neither they nor the boxes that take them count.
 */
#include "cli/progress.h"
#include "cli/tensor.h"
#include "coco.h"
#include "metric.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IOUS = 10, RECALLS = 101 };

/* A box that a model gives. */
typedef struct Found {
    size_t image, category; /* indices of COCO's */
    size_t order;           /* in which it came */
    double score, x, y, w, h;
    bool right[IOUS];   /* it took a label that counts */
    bool ignored[IOUS]; /* it took one of a crowd */
} Found;

typedef enum Form { FORM_XYXY, FORM_XYWH, FORM_CXCYWH } Form;
typedef enum Space { IN_AUTO, IN_INPUT, IN_PICTURE, IN_UNIT } Space;

typedef struct Map {
    Coco coco;
    size_t *image_of; /* [samples] index of the picture; SIZE_MAX: it has no labels; owned */
    bool *run;        /* [coco.nimages] it is among the samples; owned */
    Found *found;     /* [count] owned */
    size_t count, room;
    int boxes, scores, classes; /* outputs */
    Form form;
    Space space;
    bool ids; /* classes are COCO's ids */
    int64_t most;
    double ious[IOUS];
    int nious;
    size_t samples; /* with labels */
} Map;

/* ---- opening --------------------------------------------------------------------------------- */

/* The output of a role: that of its option, else the one whose name says so. */
static bool find_output(Scoring *s, const char *role, const char *other, int *out)
{
    const char *given = metric_option(s, role);
    int count = qonnx_graph_outputs(s->g), found = -1, several = 0;
    for (int i = 0; i < count; i++) {
        const char *name = qonnx_value_name(qonnx_graph_output(s->g, i));
        char stem[16];
        snprintf(stem, sizeof stem, "%.*s", (int)strlen(role) - (role[0] == 's' ? 1 : 2), role);
        bool fits = given ? !strcmp(name, given)
                          : strcasestr(name, stem) || (other && strcasestr(name, other));
        if (fits) found = i, several++;
    }
    *out = found;
    if (several == 1) return true;
    return metric_fail(s, given ? "the model has no output '%s' for its %s"
                                : "%.0swhich output has the %s is not plain; give it as option: "
                                  "map{boxes=NAME,scores=NAME,classes=NAME}",
                       given ? given : "", role);
}

static bool take_ious(Scoring *s)
{
    Map *m = s->state;
    if (strcmp(metric_option(s, "iou"), "0.5:0.95") != 0) {
        m->nious = 1;
        return metric_real(s, "iou", 0.01, 1, &m->ious[0]);
    }
    for (m->nious = 0; m->nious < IOUS; m->nious++)
        m->ious[m->nious] = m->nious == IOUS - 1 ? 0.95 : 0.5 + (0.95 - 0.5) / 9 * m->nious;
    return true;
}

static bool take_words(Scoring *s)
{
    static const char *const forms[] = {"xyxy", "xywh", "cxcywh", NULL};
    static const char *const spaces[] = {"auto", "input", "picture", "unit", NULL};
    static const char *const numbers[] = {"index", "id", NULL};
    Map *m = s->state;
    int form = metric_choice(s, "form", forms);
    int space = form < 0 ? -1 : metric_choice(s, "in", spaces);
    int ids = space < 0 ? -1 : metric_choice(s, "numbers", numbers);
    m->form = (Form)form;
    m->space = (Space)space;
    m->ids = ids == 1;
    return ids >= 0;
}

/* Finds the picture of each sample. */
static bool match(Scoring *s)
{
    Map *m = s->state;
    size_t count = qonnx_dataset_count(s->d), sample, matched = 0, several = SIZE_MAX;
    qonnx_names *names = qonnx_names_new(s->d);
    m->image_of = needed(calloc(count + 1, sizeof *m->image_of));
    m->run = needed(calloc(m->coco.nimages + 1, sizeof *m->run));
    for (size_t i = 0; i < count; i++) m->image_of[i] = SIZE_MAX;
    for (size_t i = 0; i < m->coco.nimages; i++) {
        qonnx_named named = qonnx_names_find(names, m->coco.images[i].name, &sample);
        if (named == QONNX_NAMED_SEVERAL) several = i;
        matched += named == QONNX_NAMED_ONE;
        if (named == QONNX_NAMED_ONE) m->image_of[sample] = i;
    }
    qonnx_names_free(names);
    if (several < SIZE_MAX)
        return metric_fail(s, "%s: '%s' may be several samples", s->labels_path,
                           m->coco.images[several].name);
    if (!matched)
        return metric_fail(s, "%s: names none of the samples; its first picture is '%s', the first "
                              "sample '%s'",
                           s->labels_path, m->coco.nimages ? m->coco.images[0].name : "",
                           qonnx_dataset_name(s->d, 0));
    if (matched < count)
        warn("%s: has %zu of the %zu samples; the others are left out", s->labels_path, matched,
             count);
    return true;
}

static bool begin(Scoring *s)
{
    Map *m = s->state;
    if (!find_output(s, "boxes", NULL, &m->boxes) ||
        !find_output(s, "scores", "conf", &m->scores) ||
        !find_output(s, "classes", "label", &m->classes) || !take_words(s) || !take_ious(s) ||
        !metric_whole(s, "max", 1, 1 << 30, &m->most))
        return false;
    qonnx_ctx *cx = progress_ctx();
    bool good = coco_read(cx, s->labels_path, &m->coco) || (report_failure(cx), false);
    qonnx_ctx_free(cx);
    return good && match(s);
}

/* ---- a sample -------------------------------------------------------------------------------- */

/* Where x of a picture's pixels comes to lie in what boxes are measured in: x * scale + offset. */
typedef struct Axis {
    double scale, offset;
} Axis;

static bool space_of(Scoring *s, const CocoImage *image, Axis axes[2])
{
    Map *m = s->state;
    double scale[2] = {1, 1}, offset[2] = {0, 0};
    bool mapped = m->space == IN_INPUT || m->space == IN_AUTO;
    if (m->space == IN_UNIT) scale[0] = 1 / image->width, scale[1] = 1 / image->height;
    if (mapped && !qonnx_dataset_mapping(s->d, image->width, image->height, scale, offset)) {
        if (m->space == IN_INPUT)
            return metric_fail(s, "'%s' is no picture, or becomes none of the model's size: where "
                                  "its boxes lie is not known; give map{in=picture} or {in=unit}",
                               image->name);
    }
    for (int i = 0; i < 2; i++) axes[i] = (Axis){scale[i], offset[i]};
    return true;
}

/* A box of the output, as x, y, width, height in the picture. */
static void place(const Map *m, const qonnx_tensor *t, int64_t i, const Axis axes[2], Found *f)
{
    double v[4], low[2], size[2];
    for (int k = 0; k < 4; k++) v[k] = element(t, 4 * i + k);
    for (int k = 0; k < 2; k++) {
        size[k] = m->form == FORM_XYXY ? v[2 + k] - v[k] : v[2 + k];
        low[k] = m->form == FORM_CXCYWH ? v[k] - size[k] / 2 : v[k];
        low[k] = (low[k] - axes[k].offset) / axes[k].scale;
        size[k] /= axes[k].scale;
    }
    f->x = low[0], f->y = low[1], f->w = size[0], f->h = size[1];
}

static size_t category_of(const Map *m, double class)
{
    if (!(class >= -1e15 && class <= 1e15)) return SIZE_MAX;
    if (m->ids) return coco_category(&m->coco, (int64_t)class);
    return class >= 0 && class < (double)m->coco.ncategories ? (size_t)class : SIZE_MAX;
}

static bool add(Scoring *s, const Outputs *o)
{
    Map *m = s->state;
    size_t image = m->image_of[o->sample];
    const qonnx_tensor *boxes = &o->all[m->boxes], *scores = &o->all[m->scores];
    const qonnx_tensor *classes = &o->all[m->classes];
    int64_t count = qonnx_tensor_elements(scores);
    Axis axes[2] = {{1, 0}, {1, 0}};
    if (image == SIZE_MAX) return true;
    if (!space_of(s, &m->coco.images[image], axes)) return false;
    if (!is_number(boxes->dtype) || !is_number(scores->dtype) || !is_number(classes->dtype) ||
        qonnx_tensor_elements(boxes) != 4 * count || qonnx_tensor_elements(classes) != count)
        return metric_fail(s, "'%s' gives %lld numbers of boxes, %lld scores and %lld classes; "
                              "want 4, 1 and 1 for each box",
                           qonnx_dataset_name(s->d, o->sample),
                           (long long)qonnx_tensor_elements(boxes), (long long)count,
                           (long long)qonnx_tensor_elements(classes));
    for (int64_t i = 0; i < count; i++) {
        Found f = {.image = image, .order = m->count, .score = element(scores, i)};
        f.category = category_of(m, element(classes, i));
        if (f.category == SIZE_MAX || isnan(f.score)) continue;
        place(m, boxes, i, axes, &f);
        if (m->count == m->room) {
            m->room = m->room ? 2 * m->room : 256;
            m->found = needed(reallocarray(m->found, m->room, sizeof *m->found));
        }
        m->found[m->count++] = f;
    }
    m->run[image] = true;
    m->samples++;
    return true;
}

/* ---- the score ------------------------------------------------------------------------------- */

/* By category and picture, the largest scores first. */
static int by_place(const void *a, const void *b)
{
    const Found *x = a, *y = b;
    if (x->category != y->category) return x->category < y->category ? -1 : 1;
    if (x->image != y->image) return x->image < y->image ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Of a category the largest scores first; equal ones by picture and place there. */
static int by_score(const void *a, const void *b)
{
    const Found *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->image != y->image) return x->image < y->image ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Of a crowd it is the part of the box that lies in it. */
static double iou_of(const Found *f, const CocoBox *b)
{
    double w = fmin(f->x + f->w, b->x + b->w) - fmax(f->x, b->x);
    double h = fmin(f->y + f->h, b->y + b->h) - fmax(f->y, b->y);
    if (!(w > 0 && h > 0)) return 0;
    double area = f->w * f->h;
    return w * h / (b->crowd ? area : area + b->w * b->h - w * h);
}

/* The labels of a picture: [*from, *to). */
static void labels_of(const Coco *c, size_t image, size_t *from, size_t *to)
{
    size_t low = 0, high = c->nboxes;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->boxes[middle].image < image) low = middle + 1;
        else high = middle;
    }
    for (*from = *to = low; *to < c->nboxes && c->boxes[*to].image == image;) ++*to;
}

/* Gives the boxes of a category in a picture, in order of their scores, their labels. */
static void give_labels(const Map *m, Found *found, size_t count, bool *taken)
{
    size_t from, to;
    labels_of(&m->coco, found[0].image, &from, &to);
    for (int t = 0; t < m->nious; t++) {
        memset(taken + from, 0, to - from);
        for (size_t i = 0; i < count; i++) {
            Found *f = &found[i];
            double best = fmin(m->ious[t], 1 - 1e-10);
            size_t label = SIZE_MAX;
            for (int crowds = 0; crowds < 2 && label == SIZE_MAX; crowds++)
                for (size_t k = from; k < to; k++) {
                    const CocoBox *b = &m->coco.boxes[k];
                    if (b->category != f->category || b->crowd != crowds || (taken[k] && !crowds))
                        continue;
                    double iou = iou_of(f, b);
                    if (iou >= best) best = iou, label = k;
                }
            f->right[t] = label < SIZE_MAX && !m->coco.boxes[label].crowd;
            f->ignored[t] = label < SIZE_MAX && m->coco.boxes[label].crowd;
            if (label < SIZE_MAX) taken[label] = true;
        }
    }
}

/* The mean precision over recalls of boxes in the order of their scores, `labels` of which there
 * are to be found. */
static double precision_of(const Found *found, size_t count, int t, size_t labels)
{
    double *precision = needed(calloc(count + 1, sizeof *precision)), sum = 0, most = 0;
    double *recall = needed(calloc(count + 1, sizeof *recall));
    size_t n = 0, right = 0;
    for (size_t i = 0; i < count; i++) {
        if (found[i].ignored[t]) continue;
        right += found[i].right[t];
        precision[n] = (double)right / (double)(n + 1);
        recall[n++] = (double)right / (double)labels;
    }
    for (size_t i = n; i-- > 0;) precision[i] = most = fmax(most, precision[i]);
    for (size_t r = 0, i = 0; r < RECALLS; r++) {
        while (i < n && recall[i] < (r == RECALLS - 1 ? 1 : 0.01 * (double)r)) i++;
        if (i < n) sum += precision[i];
    }
    free(precision);
    free(recall);
    return sum / RECALLS;
}

/* Drops all but the best `most` of each picture, and gives labels; returns how many are left. */
static size_t judge(const Map *m, Found *found, size_t count, bool *taken)
{
    size_t kept = 0;
    for (size_t i = 0, k; i < count; i = k) {
        for (k = i; k < count && found[k].image == found[i].image;) k++;
        size_t some = k - i < (size_t)m->most ? k - i : (size_t)m->most;
        memmove(found + kept, found + i, some * sizeof *found);
        give_labels(m, found + kept, some, taken);
        kept += some;
    }
    qsort(found, kept, sizeof *found, by_score);
    return kept;
}

static bool end(Scoring *s, Score *out)
{
    Map *m = s->state;
    size_t categories = 0, *labels = needed(calloc(m->coco.ncategories + 1, sizeof *labels));
    bool *taken = needed(calloc(m->coco.nboxes + 1, sizeof *taken));
    double sum = 0;
    for (size_t i = 0; i < m->coco.nboxes; i++) {
        const CocoBox *b = &m->coco.boxes[i];
        labels[b->category] += m->run[b->image] && !b->crowd;
    }
    if (m->count) qsort(m->found, m->count, sizeof *m->found, by_place);
    for (size_t c = 0, i = 0, k; c < m->coco.ncategories; c++, i = k) {
        for (k = i; k < m->count && m->found[k].category == c;) k++;
        if (!labels[c]) continue; /* there is nothing to be found: it counts nowhere */
        categories++;
        size_t count = k > i ? judge(m, m->found + i, k - i, taken) : 0;
        for (int t = 0; t < m->nious; t++)
            sum += precision_of(m->found + i, count, t, labels[c]) / m->nious;
    }
    free(labels);
    free(taken);
    *out = (Score){categories ? sum / (double)categories : 0, categories > 0, m->samples};
    return true;
}

static void release(Scoring *s)
{
    Map *m = s->state;
    coco_free(&m->coco);
    free(m->image_of);
    free(m->run);
    free(m->found);
}

static const MetricOption options[] = {
    {"boxes", NULL, "name of the output of boxes; default: by its name"},
    {"scores", NULL, "of scores"},
    {"classes", NULL, "of classes"},
    {"form", "xyxy", "xyxy, xywh or cxcywh: what the four numbers of a box are"},
    {"in", "auto", "input, picture or unit: what they are measured in"},
    {"numbers", "index", "index or id: what classes are, places among the categories or their ids"},
    {"iou", "0.5:0.95", "or one number: the IoU from which on a box is right"},
    {"max", "100", "boxes of a category that count in a picture"},
    {.name = NULL}};

const Metric metric_map = {.name = "map",
                           .title = "mAP",
                           .brief = "COCO's mean average precision of boxes",
                           .options = options,
                           .labels = LABEL_BOXES,
                           .unit = UNIT_SHARE,
                           .state = sizeof(Map),
                           .begin = begin,
                           .add = add,
                           .end = end,
                           .release = release};
