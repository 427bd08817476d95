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
    }
    if (origin) d->origin = string_copy(origin);
    for (int k = 0; k < d->nfeeds; k++) d->feeds[k].pictures = p;
    return true;
}

/* Whether the first pictures have the size that the input wants: by default, nothing is done to
 * them. Those that cannot be opened are left for who reads them. */
static bool as_they_are(const Listing *l, const Target *t)
{
    enum { LOOKED_AT = 16 };
    bool same = true;
    qonnx_ctx *quiet = ctx_quiet();
    for (size_t i = 0, seen = 0; same && i < l->nfiles && seen < LOOKED_AT; i++) {
        FileMap m;
        bool damaged;
        if (!picture_named(l->files[i].path) || !file_map(quiet, l->files[i].path, &m)) continue;
        Rows *r = picture_open(quiet, l->files[i].path, &m, &(PictureOptions){0}, &damaged);
        if (r)
            same = (t->width < 0 || (size_t)t->width == r->width) &&
                   (t->height < 0 || (size_t)t->height == r->height);
        if (r) r->close(r);
        file_unmap(&m);
        seen++;
    }
    qonnx_ctx_free(quiet);
    return same;
}

/* The feed number k, if its files are pictures: what they become. */
static bool prepared(const qonnx_dataset *d, int k, Prepared *p)
{
    const Listing *l = d->listings[k];
    size_t i = 0;
    while (i < l->nfiles && !picture_named(l->files[i].path)) i++;
    if (i == l->nfiles) return false;
    qonnx_ctx *quiet = ctx_quiet();
    bool good = preprocess_resolve(quiet, d->pictures, &d->feeds[k], "", p);
    qonnx_ctx_free(quiet);
    return good;
}

char *qonnx_dataset_preprocess(const qonnx_dataset *d)
{
    Preprocess p = *d->pictures;
    Prepared one;
    int found = 0;
    for (int k = 0; k < d->nfeeds; k++)
        if (prepared(d, k, &one)) p = found++ ? *d->pictures : one.p;
    return found ? preprocess_text(&p) : NULL;
}

char *qonnx_dataset_describe(const qonnx_dataset *d)
{
    Prepared p;
    char line[DESCRIPTION], *text = NULL;
    for (int k = 0; !text && k < d->nfeeds; k++) {
        if (!prepared(d, k, &p)) continue;
        if (!d->origin && as_they_are(d->listings[k], &p.target)) continue;
        preprocess_describe(&p.p, &p.target, line);
        if (asprintf(&text, "%s%s%s", line, d->origin ? ", from " : ", by default",
                     d->origin ? d->origin : "") < 0)
            qonnx_out_of_memory();
    }
    return text;
}
