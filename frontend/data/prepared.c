/* frontend/data/prepared.c - how the pictures of a data set become samples: as the caller says, or
 * as the model's metadata says, or by default.
 */
#include "frontend/data/preprocess_apply.h"
#include "ir/arena.h"
#include "ir/ir.h"
#include <qonnx/graph.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the model's metadata -------------------------------------------------------------------- */

/* Values of ONNX's metadata of images (docs/MetadataProps.md there), and the field they set. */
static const struct {
    const char *key, *value, *field, *setting;
} known[] = {{"Image.BitmapPixelFormat", "Gray8", "color", "gray"},
             {"Image.BitmapPixelFormat", "Rgb8", "color", "rgb"},
             {"Image.BitmapPixelFormat", "Rgba8", "color", "rgb"},
             {"Image.BitmapPixelFormat", "Bgr8", "color", "bgr"},
             {"Image.BitmapPixelFormat", "Bgra8", "color", "bgr"},
             {"Image.NominalPixelRange", "NominalRange_0_255", "scale", "1"},
             {"Image.NominalPixelRange", "Normalized_0_1", "scale", "1/255"},
             {"Image.NominalPixelRange", "Normalized_1_1", "scale", "1/127.5"},
             {"Image.NominalPixelRange", "Normalized_1_1", "mean", "1"}};
enum { KNOWN = sizeof known / sizeof *known };

/* Sets what an entry of the metadata says; false: it says nothing of pictures that is known. */
static bool set_known(qonnx_ctx *cx, const char *key, const char *value, Preprocess *p)
{
    bool found = false;
    for (int i = 0; i < KNOWN; i++)
        if (!strcasecmp(known[i].key, key) && !strcasecmp(known[i].value, value))
            found = preprocess_set(cx, p, key, known[i].field, known[i].setting);
    if (!found && (!strcasecmp(key, "Image.NominalPixelRange") ||
                   !strcasecmp(key, "Image.BitmapPixelFormat")))
        qonnx_warn(cx, NULL, "the model's metadata has %s '%s', which is not known and left out",
                   key, value);
    return found;
}

/* Ultralytics' "imgsz", "[640, 480]": height and width, which the model may leave open. */
static bool set_ultralytics(qonnx_ctx *cx, const qonnx_graph *g, Preprocess *p)
{
    const char *size = qonnx_model_metadata(g, "imgsz"), *task = qonnx_model_metadata(g, "task");
    int height, width, end = 0;
    char rule[64];
    if (!size || !task || !qonnx_model_metadata(g, "stride") ||
        sscanf(size, "[%d, %d]%n", &height, &width, &end) != 2 || !end || size[end])
        return false;
    if (strcmp(task, "classify") != 0) {
        snprintf(rule, sizeof rule, "letterbox:%dx%d{engine=opencv,round=even}", width, height);
        return preprocess_set(cx, p, "imgsz", "preset", "yolo") &&
               preprocess_set(cx, p, "imgsz", "resize", rule);
    }
    snprintf(rule, sizeof rule, "short:%d", width);
    return preprocess_set(cx, p, "imgsz", "resize", rule) &&
           preprocess_set(cx, p, "imgsz", "crop", "model{round=even}") &&
           preprocess_set(cx, p, "imgsz", "scale", "1/255");
}

/* What the metadata says of pictures; false: nothing. */
static bool from_metadata(qonnx_ctx *cx, const qonnx_graph *g, Preprocess *p)
{
    const char *own = qonnx_model_metadata(g, QONNX_PREPROCESS_KEY), *key, *value;
    *p = preprocess_default;
    if (own) {
        qonnx_ctx *quiet = ctx_quiet();
        bool good = preprocess_parse(quiet, QONNX_PREPROCESS_KEY, own, p);
        if (!good) qonnx_warn(cx, NULL, "the model's metadata is left out: %s", qonnx_error(quiet));
        qonnx_ctx_free(quiet);
        if (good) return true;
        *p = preprocess_default;
    }
    qonnx_ctx *quiet = ctx_quiet(); /* odd values of "imgsz" are left out */
    bool found = set_ultralytics(quiet, g, p);
    qonnx_ctx_free(quiet);
    if (!found) *p = preprocess_default;
    for (int i = 0; (key = qonnx_model_metadata_at(g, i, &value)); i++)
        found = set_known(cx, key, value, p) || found;
    return found;
}

char *qonnx_preprocess_of_model(qonnx_ctx *cx, const qonnx_graph *g)
{
    Preprocess p;
    return from_metadata(cx, g, &p) ? preprocess_text(&p) : NULL;
}

/* ---- a data set ------------------------------------------------------------------------------ */

bool dataset_prepare(qonnx_ctx *cx, qonnx_dataset *d, const qonnx_graph *g,
                     const qonnx_data_options *o)
{
    Preprocess *p = d->pictures = xcalloc(1, sizeof *p);
    const char *origin = o ? o->origin : NULL;
    *p = preprocess_default;
    if (o && o->preprocess) {
        if (!preprocess_parse(cx, "preprocessing", o->preprocess, p)) return false;
    } else if (from_metadata(cx, g, p)) {
        origin = "the model's metadata";
        d->of_model = true;
    }
    if (o && o->of_model) d->of_model = true;
    if (origin) d->origin = string_copy(origin);
    for (int k = 0; k < d->nfeeds; k++) {
        d->feeds[k].pictures = p;
        d->feeds[k].prepared = xcalloc(1, sizeof(Prepared));
    }
    return true;
}

/* Whether the values of pixels stay as they are, and so do their channels, but for gray. */
static bool values_stay(const Preprocess *p)
{
    return !p->scale.by && !p->mean.count && !p->std.count && !p->type.scale &&
           !p->decode.composite && !p->decode.fast_dct && p->color != COLOR_BGR;
}

/* Whether nothing is done to a picture; to one that cannot be opened, or is of no size that fits,
 * neither: that is left for who reads it. */
static bool stays(qonnx_ctx *quiet, const char *path, const Prepared *p)
{
    FileMap m;
    Plan plan;
    bool damaged, stay = true;
    if (!file_map(quiet, path, &m)) return true;
    Rows *r = picture_open(quiet, path, &m, &p->p.decode, &damaged);
    if (r && preprocess_plan(quiet, &p->p, &p->target, path, r->width, r->height, &plan))
        stay = plan_keeps(&plan, r->width, r->height);
    if (r) r->close(r);
    file_unmap(&m);
    return stay;
}

/* Whether nothing is done to the pictures that were read, nor to the first of them, and that is
 * nobody's wish. */
static bool as_they_are(const qonnx_dataset *d, const Listing *l, const Prepared *p)
{
    enum { LOOKED_AT = 16 };
    if ((d->origin && !d->of_model) || !values_stay(&p->p) || p->resized) return false;
    bool stay = true;
    qonnx_ctx *quiet = ctx_quiet();
    for (size_t i = 0, seen = 0; stay && i < l->nfiles && seen < LOOKED_AT; i++) {
        if (!picture_named(l->files[i].path)) continue;
        stay = stays(quiet, l->files[i].path, p);
        seen++;
    }
    qonnx_ctx_free(quiet);
    return stay;
}

/* What the pictures of feed number k become; NULL: it has none. */
static const Prepared *prepared(const qonnx_dataset *d, int k)
{
    const Prepared *p = d->feeds[k].prepared;
    return p && p->ready ? p : NULL;
}

char *qonnx_dataset_preprocess(const qonnx_dataset *d)
{
    const Preprocess *p = NULL;
    for (int k = 0; k < d->nfeeds; k++)
        if (prepared(d, k)) p = p ? d->pictures : &prepared(d, k)->p;
    return p ? preprocess_text(p) : NULL;
}

char *qonnx_dataset_describe(const qonnx_dataset *d)
{
    char line[DESCRIPTION], *text = NULL;
    for (int k = 0; !text && k < d->nfeeds; k++) {
        const Prepared *p = prepared(d, k);
        if (!p || as_they_are(d, d->listings[k], p)) continue;
        preprocess_describe(&p->p, &p->target, line);
        if (asprintf(&text, "%s%s%s", line, d->origin ? ", from " : ", by default",
                     d->origin ? d->origin : "") < 0)
            qonnx_out_of_memory();
    }
    return text;
}

bool qonnx_dataset_mapping(const qonnx_dataset *d, double width, double height, double scale[2],
                           double offset[2])
{
    const Prepared *p = NULL;
    Plan plan;
    for (int k = 0; k < d->nfeeds && !p; k++) p = prepared(d, k);
    if (!p || !(width >= 1 && height >= 1 && width * height < 0x1p40)) return false;
    qonnx_ctx *cx = ctx_quiet();
    bool good =
        preprocess_plan(cx, &p->p, &p->target, "", (size_t)width, (size_t)height, &plan);
    qonnx_ctx_free(cx);
    if (!good) return false;
    const Resize *r = &plan.resize;
    scale[0] = (double)r->width / (double)plan.from_width;
    scale[1] = (double)r->height / (double)plan.from_height;
    offset[0] = (double)plan.x - (double)r->left - scale[0] * (double)plan.from_left;
    offset[1] = (double)plan.y - (double)r->top - scale[1] * (double)plan.from_top;
    return true;
}
