/* frontend/data/preprocess_plan.c - a preprocessing for one input of a model, and what it makes of
 * a picture of given size. Each rule of rounding is that of the library that has it.
 */
#include "frontend/data/preprocess_apply.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RESULT_MAX = 1 << 28 }; /* pixels */

/* ---- an input -------------------------------------------------------------------------------- */

bool target_of(qonnx_ctx *cx, const Preprocess *p, const Feed *f, const char *path, Target *out)
{
    char text[SHAPE_TEXT];
    bool any = f->rank < 0 && p->layout != LAYOUT_AUTO, whole = f->rank == 4;
    int64_t first = whole ? f->dims[1] : any ? -1 : 0, last = whole ? f->dims[3] : any ? -1 : 0;
    bool planar = p->layout == LAYOUT_AUTO ? first == 1 || first == 3 : p->layout == LAYOUT_NCHW;
    int64_t channels = planar ? first : last;
    if (channels == -1 && p->layout != LAYOUT_AUTO) channels = p->color == COLOR_GRAY ? 1 : 3;
    if (channels != 1 && channels != 3)
        return qonnx_fail(cx, NULL,
                          "%s: a picture needs an input of shape [1,C,H,W] or [1,H,W,C] "
                          "with C = 3 or 1, the model's input '%s' is %s; use .npy%s",
                          path, f->name, shape_text(f->rank, f->dims, text),
                          whole || f->rank < 0 ? ", or say which with --input-layout" : "");
    if (channels == 1 && (p->color == COLOR_RGB || p->color == COLOR_BGR))
        return qonnx_fail(cx, NULL,
                          "%s: color is %s, and the model's input '%s' has one channel: leave "
                          "--color out, or give gray",
                          path, p->color == COLOR_RGB ? "rgb" : "bgr", f->name);
    *out = (Target){f, !planar, (int)channels, any ? -1 : f->dims[planar ? 2 : 1],
                    any ? -1 : f->dims[planar ? 3 : 2]};
    return true;
}

static bool check_type(qonnx_ctx *cx, const Preprocess *p, const Feed *f, const char *path)
{
    if (f->dtype != QONNX_FLOAT && f->dtype != QONNX_UINT8 && f->dtype != QONNX_INT8 &&
        f->dtype != QONNX_FLOAT16 && f->dtype != QONNX_BFLOAT16)
        return qonnx_fail(cx, NULL,
                          "%s: a picture needs an input of a float type, uint8 or int8, the "
                          "model's input '%s' has %s; use .npy",
                          path, f->name, qonnx_dtype_name(f->dtype));
    if (p->type.dtype && p->type.dtype != f->dtype)
        return qonnx_fail(cx, NULL,
                          "%s: --input-type is %s, the model's input '%s' has %s", path,
                          qonnx_dtype_name(p->type.dtype), f->name, qonnx_dtype_name(f->dtype));
    return true;
}

/* The model's size in the place of "model". */
static bool settle(qonnx_ctx *cx, const Target *t, const char *path, const char *what, Extent *e)
{
    if (!e->of_model) return true;
    if (t->width < 1 || t->height < 1)
        return qonnx_fail(cx, NULL,
                          "%s: %s is the model's size, which its input '%s' leaves open; give it "
                          "with --shape, or give --%s",
                          path, what, t->feed->name, what);
    double width = round((double)t->width / e->share), height = round((double)t->height / e->share);
    if (width > RESULT_MAX || height > RESULT_MAX)
        return qonnx_fail(cx, NULL, "%s: %s becomes too large", path, what);
    *e = (Extent){.share = 0, .width = (int)width, .height = (int)height};
    return true;
}

/* What was not said, by what the model wants. */
static void settle_rules(const Target *t, Preprocess *p)
{
    bool known = t->width > 0 && t->height > 0;
    Extent model = {.width = (int)t->width, .height = (int)t->height};
    ResizeField *f = &p->resize;
    if (f->rule == SIZE_AUTO) {
        f->rule = known ? SIZE_COVER : SIZE_NONE;
        if (known) f->to = model;
    }
    if (f->rule == SIZE_SHORT && f->to.width != f->to.height) f->rule = SIZE_COVER;
    if (f->rule == SIZE_COVER && f->to.width == f->to.height) f->rule = SIZE_SHORT;
    if (p->crop.rule == CROP_AUTO) {
        bool covers = known && (f->rule == SIZE_SHORT || f->rule == SIZE_COVER);
        p->crop.rule = covers ? CROP_SIZE : CROP_NONE;
        if (covers) p->crop.to = model;
    }
    if (p->color == COLOR_AUTO) p->color = t->channels == 1 ? COLOR_GRAY : COLOR_RGB;
}

bool preprocess_resolve(qonnx_ctx *cx, const Preprocess *spec, const Feed *f, const char *path,
                        Prepared *out)
{
    Preprocess *p = &out->p;
    Target *t = &out->target;
    *p = *spec;
    if (!target_of(cx, spec, f, path, t) || !check_type(cx, spec, f, path)) return false;
    if (!settle(cx, t, path, "resize", &p->resize.to) || !settle(cx, t, path, "crop", &p->crop.to))
        return false;
    settle_rules(t, p);
    out->ready = false;
    if (p->resize.rule == SIZE_LETTERBOX && p->crop.rule == CROP_SIZE)
        return qonnx_fail(cx, NULL, "%s: a letterbox has its size; leave --crop out", path);
    if (t->channels == 1 && (p->mean.count == 3 || p->std.count == 3 || p->pad.count == 3))
        return qonnx_fail(cx, NULL,
                          "%s: mean, std or pad has 3 numbers, and the model's input '%s' one "
                          "channel",
                          path, f->name);
    return out->ready = table_make(cx, p, t, path, &out->table);
}

/* ---- a picture ------------------------------------------------------------------------------- */

/* A side that was computed, at least 1. */
static size_t whole(double side, Rounding round)
{
    double n = round == ROUND_DOWN ? floor(side) : round == ROUND_EVEN ? rint(side)
                                                                       : floor(side + 0.5);
    return n < 1 ? 1 : (size_t)n;
}

/* x * to / from. Down, it is exact: int(to * x / from) of libraries is, too. */
static size_t follow(size_t x, size_t to, size_t from, Rounding round)
{
    if (round == ROUND_DOWN) return x * to / from ? x * to / from : 1;
    if (round == ROUND_HALF) return whole((double)x * ((double)to / (double)from), round);
    return whole((double)to * (double)x / (double)from, round);
}

/* The shorter side to n, with a limit for the longer one: as torchvision has it, by the longer side
 * that was rounded; as DETR, both by the picture's; as MMCV, which scales both sides. */
static void size_short(const ResizeField *f, size_t small, size_t large, size_t *to_small,
                       size_t *to_large)
{
    size_t n = (size_t)f->to.width, limit = (size_t)f->limit;
    *to_small = n;
    *to_large = follow(large, n, small, f->round);
    if (!limit) return;
    if (f->limit_round == ROUND_DOWN) {
        if (*to_large <= limit) return;
        *to_small = follow(n, limit, *to_large, ROUND_DOWN);
        *to_large = limit;
        return;
    }
    if (large * n <= limit * small) return;
    *to_small = follow(small, limit, large, f->limit_round);
    *to_large = limit;
    if (f->limit_round != ROUND_EVEN) return;
    double raw = (double)limit * (double)small / (double)large;
    *to_large = whole(raw * (double)large / (double)small, ROUND_DOWN);
}

/* The size that covers `to`: one side is `to`'s, the other follows. */
static void size_cover(const ResizeField *f, size_t width, size_t height, Resize *r)
{
    size_t to_w = (size_t)f->to.width, to_h = (size_t)f->to.height;
    bool by_width = to_w * height >= to_h * width; /* scaled by the width, it covers */
    size_t to = by_width ? to_w : to_h, from = by_width ? width : height;
    size_t other = by_width ? height : width, follows;
    if (f->round == ROUND_EVEN) /* timm's */
        follows = whole((double)other / ((double)from / (double)to), ROUND_EVEN);
    else
        follows = follow(other, to, from, f->round);
    r->width = by_width ? to : follows;
    r->height = by_width ? follows : to;
}

/* The size that fits into `to`. Libraries multiply both sides by one factor, in double, and cut
 * off (YOLOX, transformers) or round (Ultralytics, MMCV): cut off, the side that should be `to`'s
 * may be 1 less. timm divides by the inverse, and rounds. */
static void size_fit(const ResizeField *f, size_t width, size_t height, Resize *r)
{
    double across = (double)f->to.width / (double)width;
    double down = (double)f->to.height / (double)height, by = across < down ? across : down;
    double x = (double)width * by, y = (double)height * by;
    if (f->rule == SIZE_FIT && f->round == ROUND_EVEN) {
        across = (double)width / f->to.width;
        down = (double)height / f->to.height;
        by = across > down ? across : down;
        x = (double)width / by;
        y = (double)height / by;
    }
    r->width = whole(x, f->round);
    r->height = whole(y, f->round);
}

static size_t to_multiple(const ResizeField *f, double side)
{
    double n = side / f->multiple;
    n = f->multiple_round == MULTIPLE_NEAREST ? rint(n)
        : f->multiple_round == MULTIPLE_UP    ? ceil(n)
                                              : floor(n);
    return whole(n, ROUND_DOWN) * (size_t)f->multiple;
}

/* Scaled by what is nearer to 1 of the two that make a side `to`'s: DPT's rule, which rounds to
 * multiples what was not rounded before. */
static void size_least(const ResizeField *f, size_t width, size_t height, Resize *r)
{
    double across = (double)f->to.width / (double)width;
    double down = (double)f->to.height / (double)height;
    double by = fabs(1 - across) < fabs(1 - down) ? across : down;
    double x = by * (double)width, y = by * (double)height;
    r->width = f->multiple > 1 ? to_multiple(f, x) : whole(x, f->round);
    r->height = f->multiple > 1 ? to_multiple(f, y) : whole(y, f->round);
}

static void plan_resize(const ResizeField *f, size_t width, size_t height, Resize *r)
{
    *r = (Resize){.engine = f->engine, .filter = f->filter, .width = width, .height = height};
    size_t *small = width <= height ? &r->width : &r->height;
    size_t *large = width <= height ? &r->height : &r->width;
    size_t shorter = width <= height ? width : height, longer = width <= height ? height : width;
    if (f->rule == SIZE_STRETCH) r->width = (size_t)f->to.width, r->height = (size_t)f->to.height;
    if (f->rule == SIZE_SHORT) size_short(f, shorter, longer, small, large);
    if (f->rule == SIZE_COVER) size_cover(f, width, height, r);
    if (f->rule == SIZE_LETTERBOX || f->rule == SIZE_FIT) size_fit(f, width, height, r);
    if (f->rule == SIZE_LEAST) size_least(f, width, height, r);
    if (f->rule == SIZE_LONG) {
        *small = follow(shorter, (size_t)f->to.width, longer, f->round);
        *large = (size_t)f->to.width;
    }
    if (f->multiple > 1 && f->rule != SIZE_LEAST) {
        r->width = to_multiple(f, (double)r->width);
        r->height = to_multiple(f, (double)r->height);
    }
}

/* Where `to` of `side` pixels are: from *start on, `*part` of them, behind *before that are not of
 * the picture. */
static void plan_crop(size_t side, size_t to, Rounding round, size_t *start, size_t *part,
                      size_t *before)
{
    size_t more = side > to ? side - to : 0, less = to > side ? to - side : 0;
    *start = round == ROUND_DOWN ? more / 2
             : round == ROUND_EVEN ? (size_t)rint((double)more / 2)
                                   : (more + 1) / 2;
    *part = side < to ? side : to;
    *before = round == ROUND_DOWN ? (less + 1) / 2 : less / 2;
}

/* Puts the picture into one that is as large or larger. */
static bool plan_pad(qonnx_ctx *cx, const char *path, const PadField *pad, Plan *plan, size_t width,
                     size_t height)
{
    if (width < plan->width || height < plan->height)
        return qonnx_fail(cx, NULL, "%s: picture becomes %zux%zu, and does not fit into %zux%zu",
                          path, plan->width, plan->height, width, height);
    bool bordered = plan->resize.columns < plan->width || plan->resize.rows < plan->height;
    if (bordered && !plan->padded && (width > plan->width || height > plan->height))
        return qonnx_fail(cx, NULL, "%s: picture is smaller than the crop, and the pad behind that "
                                    "is another", path);
    if (pad->at == PAD_CENTER) {
        plan->x += (width - plan->width) / 2;
        plan->y += (height - plan->height) / 2;
    }
    plan->width = width;
    plan->height = height;
    return plan->padded = true;
}

static size_t next_multiple(size_t side, int multiple)
{
    size_t m = multiple > 1 ? (size_t)multiple : 1;
    return (side + m - 1) / m * m;
}

static bool refuse_size(qonnx_ctx *cx, const Target *t, const char *path, size_t width,
                        size_t height, const Plan *plan)
{
    char w[24] = "any", h[24] = "any", becomes[64] = "";
    if (t->width >= 0) snprintf(w, sizeof w, "%lld", (long long)t->width);
    if (t->height >= 0) snprintf(h, sizeof h, "%lld", (long long)t->height);
    if (plan->width != width || plan->height != height)
        snprintf(becomes, sizeof becomes, " and becomes %zux%zu", plan->width, plan->height);
    return qonnx_fail(cx, NULL,
                      "%s: picture is %zux%zu%s, the model's input '%s' wants %sx%s; see --resize "
                      "and --crop",
                      path, width, height, becomes, t->feed->name, w, h);
}

/* All that is put around the picture. */
static bool plan_pads(qonnx_ctx *cx, const Preprocess *p, const char *path, Plan *plan)
{
    const PadField *pad = &p->pad;
    const Extent *box = &p->resize.to;
    if (p->resize.rule == SIZE_LETTERBOX &&
        !plan_pad(cx, path, pad, plan, (size_t)box->width, (size_t)box->height))
        return false;
    size_t width = next_multiple(plan->width, pad->multiple);
    size_t height = next_multiple(plan->height, pad->multiple);
    if (pad->multiple > 1 && !plan_pad(cx, path, pad, plan, width, height)) return false;
    if (!pad->width && !pad->height) return true;
    return plan_pad(cx, path, pad, plan, pad->width ? (size_t)pad->width : plan->width,
                    pad->height ? (size_t)pad->height : plan->height);
}

bool preprocess_plan(qonnx_ctx *cx, const Preprocess *p, const Target *t, const char *path,
                     size_t width, size_t height, Plan *plan)
{
    *plan = (Plan){.from_width = width, .from_height = height};
    if (p->crop.rule == CROP_SHARE) {
        plan->from_left = (size_t)(((double)width - (double)width * p->crop.share) / 2);
        plan->from_top = (size_t)(((double)height - (double)height * p->crop.share) / 2);
        plan->from_width = width - 2 * plan->from_left;
        plan->from_height = height - 2 * plan->from_top;
    }
    Resize *r = &plan->resize;
    plan_resize(&p->resize, plan->from_width, plan->from_height, r);
    bool cuts = p->crop.rule == CROP_SIZE;
    plan->width = cuts ? (size_t)p->crop.to.width : r->width;
    plan->height = cuts ? (size_t)p->crop.to.height : r->height;
    plan_crop(r->width, plan->width, p->crop.round, &r->left, &r->columns, &plan->x);
    plan_crop(r->height, plan->height, p->crop.round, &r->top, &r->rows, &plan->y);
    /* Around what is smaller than the crop, where the pad has no size of its own. */
    plan->padded = p->pad.count && p->pad.multiple < 2 && !p->pad.width && !p->pad.height;
    if (!plan_pads(cx, p, path, plan)) return false;
    if ((t->width >= 0 && (size_t)t->width != plan->width) ||
        (t->height >= 0 && (size_t)t->height != plan->height))
        return refuse_size(cx, t, path, width, height, plan);
    return plan->width <= RESULT_MAX / plan->height ||
           qonnx_fail(cx, NULL, "%s: picture becomes %zux%zu, more than 2^28 pixels", path,
                      plan->width, plan->height);
}

bool plan_keeps(const Plan *plan, size_t width, size_t height)
{
    const Resize *r = &plan->resize;
    return plan->from_width == width && plan->from_height == height && r->width == width &&
           r->height == height && plan->width == width && plan->height == height;
}
