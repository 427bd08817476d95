/* frontend/data/preprocess_line.c - a preprocessing in words, in one line. */
#include "frontend/data/preprocess_apply.h"
#include "frontend/data/preprocess_fields.h"
#include <string.h>

static const char *const engine_names[] = {[ENGINE_PILLOW] = "",
                                           [ENGINE_TORCHVISION] = "torchvision's ",
                                           [ENGINE_OPENCV] = "OpenCV's ",
                                           [ENGINE_TF] = "TensorFlow's ",
                                           [ENGINE_TF1] = "TensorFlow 1's "};

static void add_size(Line *t, const Extent *e)
{
    line_add(t, e->width == e->height ? "%d" : "%dx%d", e->width, e->height);
}

static void add_resize(Line *t, const ResizeField *f)
{
    static const char *const rules[] = {
        [SIZE_STRETCH] = "stretched to", [SIZE_SHORT] = "short side", [SIZE_LONG] = "long side",
        [SIZE_COVER] = "to cover",       [SIZE_LETTERBOX] = "letterbox", [SIZE_FIT] = "to fit into",
        [SIZE_LEAST] = "as little as can be to"};
    if (f->rule == SIZE_NONE) {
        line_add(t, ", not resized");
        return;
    }
    line_add(t, ", %s%s %s ", engine_names[f->engine], resize_filter_name(f->filter),
             rules[f->rule]);
    add_size(t, &f->to);
    if (f->limit) line_add(t, ", long side up to %d", f->limit);
    if (f->multiple > 1) line_add(t, ", in multiples of %d", f->multiple);
}

/* "mean", or the number where there is one. */
static void add_channel(Line *t, const char *name, const ChannelField *f)
{
    if (f->count == 1) line_float(t, f->value[0]);
    else line_add(t, "%s", name);
}

/* "(x/255 - mean)/std". */
static void add_values(Line *t, const Preprocess *p)
{
    bool both = p->mean.count && p->std.count;
    if (!p->scale.by && !p->mean.count && !p->std.count) {
        line_add(t, ", values 0..255");
        return;
    }
    line_add(t, ", %sx", both ? "(" : "");
    if (p->scale.by) line_add(t, p->scale.divides ? "/" : "*");
    if (p->scale.by) line_double(t, p->scale.by);
    if (p->mean.count) line_add(t, " - ");
    if (p->mean.count) add_channel(t, "mean", &p->mean);
    if (p->std.count) line_add(t, both ? ")/" : "/");
    if (p->std.count) add_channel(t, "std", &p->std);
}

const char *preprocess_describe(const Preprocess *p, const Target *t, char text[DESCRIPTION])
{
    static const char *const colors[] = {"", "RGB", "BGR", "gray"};
    Line line = {.length = 0};
    if (t->width > 0 && t->height > 0)
        line_add(&line, "%lldx%lld ", (long long)t->width, (long long)t->height);
    line_add(&line, "%s", colors[p->color]);
    if (p->crop.rule == CROP_SHARE) line_add(&line, ", the middle %g %%", p->crop.share * 100);
    add_resize(&line, &p->resize);
    if (p->crop.rule == CROP_SIZE) line_add(&line, " then crop");
    add_values(&line, p);
    if (p->type.scale) line_add(&line, ", quantized");
    snprintf(text, DESCRIPTION, "%s", line.text);
    return text;
}
