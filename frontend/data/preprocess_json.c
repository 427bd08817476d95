/* frontend/data/preprocess_json.c - JSON files that say how a model's pictures are prepared. Which
 * of the forms a file has is told by its keys. Whatever could change a pixel and is not known is
 * refused by name.
 */
#include "frontend/data/preprocess.h"
#include "ir/arena.h"
#include "ir/ir.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

/* The object that is being read. */
typedef struct Json {
    qonnx_ctx *cx;
    const char *path;   /* for messages */
    const json_t *from; /* an object */
    Preprocess *to;
} Json;

/* ---- values ---------------------------------------------------------------------------------- */

static bool refuse(const Json *j, const char *key, const char *why)
{
    return qonnx_fail(j->cx, NULL, "%s: '%s' %s", j->path, key, why);
}

/* What the key has; NULL where it is absent or null. */
static const json_t *get(const Json *j, const char *key)
{
    const json_t *v = json_object_get(j->from, key);
    return json_is_null(v) ? NULL : v;
}

/* Whether the key is there and true, or not there and `absent`. */
static bool is_on(const Json *j, const char *key, bool absent)
{
    const json_t *v = get(j, key);
    return v ? json_is_true(v) || (json_is_number(v) && json_number_value(v) != 0) : absent;
}

/* A number, a text, or a list of numbers as the text of a field: "0.5,0.5,0.5". */
static bool text_of(const Json *j, const char *key, const json_t *v, char *out, size_t size)
{
    size_t at = 0, i;
    const json_t *item;
    if (json_is_string(v)) at = (size_t)snprintf(out, size, "%s", json_string_value(v));
    else if (json_is_number(v)) at = (size_t)snprintf(out, size, "%.17g", json_number_value(v));
    else if (json_array_size(v) > 0 && json_array_size(v) <= 4)
        json_array_foreach((json_t *)(uintptr_t)v, i, item)
        {
            if (!json_is_number(item)) return refuse(j, key, "is no list of numbers");
            if (at < size)
                at += (size_t)snprintf(out + at, size - at, "%s%.17g", i ? "," : "",
                                       json_number_value(item));
        }
    else return refuse(j, key, "is neither a number, a list of numbers nor a text");
    return at < size || refuse(j, key, "is too long");
}

/* Sets a field from what the key has; without the key nothing changes. */
static bool set_from(const Json *j, const char *key, const char *field)
{
    char text[200];
    const json_t *v = get(j, key);
    return !v || (text_of(j, key, v, text, sizeof text) &&
                  preprocess_set(j->cx, j->to, j->path, field, text));
}

/* A whole number of pixels. */
static bool pixels(const Json *j, const char *key, const json_t *v, int *out)
{
    double n = json_number_value(v);
    if (!json_is_number(v) || !(n >= 1 && n <= 65535) || n != trunc(n))
        return refuse(j, key, "is no size of 1 to 65535 pixels");
    *out = (int)n;
    return true;
}

/* {"height": H, "width": W}, [H, W] or one number for both. */
static bool both_sides(const Json *j, const char *key, const json_t *v, Extent *out)
{
    *out = (Extent){0};
    if (json_is_object(v)) {
        const json_t *h = json_object_get(v, "height"), *w = json_object_get(v, "width");
        if (!h || !w) return refuse(j, key, "has no 'height' and 'width'");
        return pixels(j, key, h, &out->height) && pixels(j, key, w, &out->width);
    }
    if (json_array_size(v) == 2)
        return pixels(j, key, json_array_get(v, 0), &out->height) &&
               pixels(j, key, json_array_get(v, 1), &out->width);
    if (json_array_size(v) == 1) v = json_array_get(v, 0);
    return pixels(j, key, v, &out->width) && (out->height = out->width, true);
}

static Extent square(int n) { return (Extent){.width = n, .height = n}; }

/* A filter by Pillow's number or by a name, "InterpolationMode." in front and in any case. */
static bool set_filter(const Json *j, const char *key, const char *absent)
{
    static const char *const numbered[] = {"nearest", "lanczos", "bilinear",
                                           "bicubic", "box",     "hamming"};
    const json_t *v = get(j, key);
    const char *name = absent;
    double n = json_number_value(v);
    if (!v && !absent) return refuse(j, key, "is missing: which filter resizes");
    if (json_is_string(v)) {
        const char *dot = strrchr(json_string_value(v), '.');
        name = dot ? dot + 1 : json_string_value(v);
    } else if (v) {
        if (!json_is_number(v) || !(n >= 0 && n < 6) || n != trunc(n))
            return refuse(j, key, "is none of Pillow's filters, 0 to 5");
        name = numbered[(int)n];
    }
    for (ResizeFilter f = FILTER_NEAREST; f <= FILTER_LANCZOS; f++)
        for (size_t i = 0; i < sizeof numbered / sizeof *numbered; i++)
            if (!strcasecmp(name, numbered[i]) && !strcmp(numbered[i], resize_filter_name(f)))
                return j->to->resize.filter = f, true;
    return refuse(j, key, "is none of nearest, box, bilinear, hamming, bicubic, lanczos");
}

/* Refuses keys that are none of `known` and are on: true, or any value that is no false and no
 * null. Names that begin with '_' are comments. */
static bool nothing_else(const Json *j, const char *const *known)
{
    const char *key;
    const json_t *v;
    json_object_foreach((json_t *)(uintptr_t)j->from, key, v)
    {
        bool listed = key[0] == '_' || json_is_false(v) || json_is_null(v);
        for (int i = 0; !listed && known[i]; i++) listed = !strcmp(known[i], key);
        if (!listed) return refuse(j, key, "is not known; take it out if no pixel depends on it");
    }
    return true;
}

/* ---- our own form ---------------------------------------------------------------------------- */

static bool read_own(const Json *j)
{
    const char *name;
    const json_t *v;
    if (!set_from(j, "preset", "preset")) return false;
    json_object_foreach((json_t *)(uintptr_t)j->from, name, v)
    {
        if (strcmp(name, "preset") && !set_from(j, name, name)) return false;
    }
    return true;
}

static bool is_own(const json_t *o)
{
    const char *name;
    if (json_object_get(o, "preset")) return true;
    for (int i = 0; (name = preprocess_field(i)); i++)
        if (json_object_get(o, name)) return true;
    return false;
}

json_t *preprocess_to_json(const Preprocess *p)
{
    json_t *o = json_object();
    const char *name;
    for (int i = 0; (name = preprocess_field(i)); i++) {
        char *value = preprocess_value(p, i);
        if (*value) json_object_set_new(o, name, json_string(value));
        free(value);
    }
    return o;
}

/* ---- Hugging Face: preprocessor_config.json -------------------------------------------------- */

/* crop_pct of ConvNeXt and PoolFormer: below 384 pixels the short side is size / crop_pct, and the
 * size is cut out of it; from 384 on it is stretched. */
static bool hugging_crop_pct(const Json *j, int size, double share)
{
    if (!(share > 0 && share <= 1)) return refuse(j, "crop_pct", "is no number of 0 to 1");
    j->to->resize.rule = size < 384 ? SIZE_SHORT : SIZE_STRETCH;
    j->to->resize.to = square(size < 384 ? (int)(size / share) : size);
    if (size < 384) j->to->crop = (CropField){.rule = CROP_SIZE, .to = square(size)};
    return true;
}

/* Whether a size that is one number is the shorter side's: what the classes do that crop or have
 * no square default. */
static bool is_short_side(const Json *j)
{
    static const char *const of[] = {"CLIP", "ConvNext", "ConvNeXT", "MobileNet",
                                     "MobileViT", "PoolFormer"};
    const json_t *type = get(j, "image_processor_type");
    if (!type) type = get(j, "feature_extractor_type");
    const char *name = json_string_value(type);
    for (size_t i = 0; name && i < sizeof of / sizeof *of; i++)
        if (!strncmp(name, of[i], strlen(of[i]))) return true;
    return false;
}

static bool hugging_size(const Json *j)
{
    const json_t *size = get(j, "size"), *crop_pct = get(j, "crop_pct");
    ResizeField *f = &j->to->resize;
    if (!size) return refuse(j, "size", "is missing: what pictures are resized to");
    const json_t *shortest = json_object_get(size, "shortest_edge");
    const json_t *longest = json_object_get(size, "longest_edge");
    int side = 0;
    if (shortest || (json_is_number(size) && (is_short_side(j) || crop_pct))) {
        if (!pixels(j, "size", shortest ? shortest : size, &side)) return false;
        if (crop_pct) return hugging_crop_pct(j, side, json_number_value(crop_pct));
        f->rule = SIZE_SHORT;
        f->to = square(side);
        if (!longest || json_is_null(longest)) return true;
        f->limit_round = ROUND_EVEN;
        return pixels(j, "size", longest, &f->limit);
    }
    if (json_object_get(size, "max_height"))
        return refuse(j, "size", "has 'max_height' and 'max_width', which are not known");
    f->rule = SIZE_STRETCH;
    return both_sides(j, "size", size, &f->to);
}

/* rescale_factor, rescale_offset; files without either imply x / 255 by do_normalize. */
static bool hugging_values(const Json *j)
{
    bool normalizes = is_on(j, "do_normalize", get(j, "image_mean") != NULL);
    if (is_on(j, "do_rescale", normalizes)) {
        const json_t *factor = get(j, "rescale_factor");
        if (!factor && !preprocess_set(j->cx, j->to, j->path, "scale", "1/255")) return false;
        if (factor && !set_from(j, "rescale_factor", "scale")) return false;
    }
    if (is_on(j, "rescale_offset", false)) {
        const json_t *offset = get(j, "rescale_offset");
        if (normalizes) return refuse(j, "rescale_offset", "beside do_normalize is not known");
        if (!preprocess_set(j->cx, j->to, j->path, "mean",
                            json_is_true(offset) || json_number_value(offset) == -1 ? "1" : "?"))
            return false;
    }
    if (!normalizes) return true;
    if (!get(j, "image_mean") || !get(j, "image_std"))
        return refuse(j, get(j, "image_mean") ? "image_std" : "image_mean",
                      "is missing, and do_normalize is on");
    return set_from(j, "image_mean", "mean") && set_from(j, "image_std", "std");
}

static bool read_hugging(const Json *j)
{
    static const char *const known[] = {
        "image_processor_type", "feature_extractor_type", "processor_class", "crop_pct",
        "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale",
        "rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std",
        "do_convert_rgb", "do_flip_channel_order", "do_pad", "size_divisor", "size_divisibility",
        "do_convert_grayscale", "max_size", "format", "default_to_square", "return_tensors",
        "input_data_format", "data_format", "device", "auto_map", NULL};
    CropField *crop = &j->to->crop;
    if (!nothing_else(j, known)) return false;
    if (!get(j, "do_resize") && !get(j, "size"))
        return refuse(j, "size", "is missing: what pictures are resized to");
    j->to->resize.rule = SIZE_NONE;
    crop->rule = CROP_NONE;
    if (is_on(j, "do_resize", true) && (!set_filter(j, "resample", NULL) || !hugging_size(j)))
        return false;
    if (is_on(j, "do_center_crop", false)) {
        if (!get(j, "crop_size")) return refuse(j, "crop_size", "is missing, do_center_crop is on");
        crop->rule = CROP_SIZE;
        if (!both_sides(j, "crop_size", get(j, "crop_size"), &crop->to)) return false;
    }
    if (is_on(j, "do_pad", false)) {
        const char *multiple = get(j, "size_divisor") ? "size_divisor" : "size_divisibility";
        j->to->pad = (PadField){.count = 1, .at = PAD_END, .when = PAD_AFTER};
        if (get(j, multiple) && !pixels(j, multiple, get(j, multiple), &j->to->pad.multiple))
            return false;
    }
    j->to->color = is_on(j, "do_flip_channel_order", false)   ? COLOR_BGR
                   : is_on(j, "do_convert_grayscale", false) ? COLOR_GRAY
                                                             : COLOR_AUTO;
    return hugging_values(j);
}

static bool is_hugging(const json_t *o)
{
    return json_object_get(o, "image_processor_type") ||
           json_object_get(o, "feature_extractor_type") || json_object_get(o, "do_resize") ||
           json_object_get(o, "do_normalize") || json_object_get(o, "do_rescale");
}

/* ---- timm: config.json ----------------------------------------------------------------------- */

/* A number that the key has, or what it is when absent. */
static double number_or(const Json *j, const char *key, double absent)
{
    const json_t *v = get(j, key);
    return json_is_number(v) ? json_number_value(v) : absent;
}

static bool read_timm_config(const Json *j)
{
    const json_t *size = get(j, "input_size");
    const char *mode = json_string_value(get(j, "crop_mode"));
    double share = number_or(j, "crop_pct", 0.875);
    ResizeField *f = &j->to->resize;
    Extent wanted;
    if (json_array_size(size) != 3) return refuse(j, "input_size", "is no list [C, H, W]");
    if (!pixels(j, "input_size", json_array_get(size, 1), &wanted.height) ||
        !pixels(j, "input_size", json_array_get(size, 2), &wanted.width))
        return false;
    if (!(share > 0 && share <= 1)) return refuse(j, "crop_pct", "is no number of 0 to 1");
    wanted.of_model = false;
    f->to = (Extent){.width = (int)floor(wanted.width / share),
                     .height = (int)floor(wanted.height / share)};
    if (!set_filter(j, "interpolation", "bicubic")) return false;
    bool uneven = wanted.width != wanted.height;
    j->to->decode.ignore_exif = true;
    j->to->crop = (CropField){CROP_SIZE, wanted, 0, ROUND_EVEN};
    if (!mode || !strcmp(mode, "center")) {
        f->rule = uneven ? SIZE_COVER : SIZE_SHORT;
        f->round = uneven ? ROUND_EVEN : ROUND_DOWN;
        if (uneven) f->filter = FILTER_BILINEAR; /* timm does not hand it on there */
    } else if (!strcmp(mode, "squash")) {
        f->rule = SIZE_STRETCH;
    } else {
        return refuse(j, "crop_mode", "is neither 'center' nor 'squash'");
    }
    return preprocess_set(j->cx, j->to, j->path, "scale", "1/255") &&
           preprocess_set(j->cx, j->to, j->path, "mean", "0.485,0.456,0.406") &&
           preprocess_set(j->cx, j->to, j->path, "std", "0.229,0.224,0.225") &&
           set_from(j, "mean", "mean") && set_from(j, "std", "std");
}

/* The keys stand in "pretrained_cfg", in older files at the root. */
static bool read_timm(const Json *j)
{
    Json inner = *j;
    const json_t *config = get(j, "pretrained_cfg");
    if (config) inner.from = config;
    return read_timm_config(&inner);
}

static bool is_timm(const json_t *o)
{
    const json_t *config = json_object_get(o, "pretrained_cfg");
    return json_object_get(config ? config : o, "input_size") != NULL;
}

/* ---- torchvision: what ImageClassification's fields are called ------------------------------- */

static bool read_torchvision(const Json *j)
{
    static const char *const known[] = {"crop_size", "resize_size",   "mean", "std",
                                        "antialias", "interpolation", NULL};
    Extent side;
    ResizeField *f = &j->to->resize;
    if (!nothing_else(j, known)) return false;
    if (!get(j, "resize_size")) return refuse(j, "resize_size", "is missing");
    if (!get(j, "crop_size")) return refuse(j, "crop_size", "is missing");
    if (json_array_size(get(j, "resize_size")) == 2)
        f->rule = SIZE_STRETCH;
    else
        f->rule = SIZE_SHORT;
    if (!both_sides(j, "resize_size", get(j, "resize_size"), &f->to) ||
        !both_sides(j, "crop_size", get(j, "crop_size"), &side))
        return false;
    j->to->crop = (CropField){CROP_SIZE, side, 0, ROUND_EVEN};
    j->to->decode.ignore_exif = true;
    if (!set_filter(j, "interpolation", "bilinear")) return false;
    if (!get(j, "mean") || !get(j, "std"))
        return refuse(j, get(j, "mean") ? "std" : "mean", "is missing");
    return preprocess_set(j->cx, j->to, j->path, "scale", "1/255") && set_from(j, "mean", "mean") &&
           set_from(j, "std", "std");
}

static bool is_torchvision(const json_t *o) { return json_object_get(o, "resize_size") != NULL; }

/* ---- the file -------------------------------------------------------------------------------- */

static const struct {
    bool (*is)(const json_t *o);
    bool (*read)(const Json *j);
} forms[] = {{is_hugging, read_hugging},
             {is_timm, read_timm},
             {is_torchvision, read_torchvision},
             {is_own, read_own}};

static bool read_object(qonnx_ctx *cx, const char *path, const json_t *o, Preprocess *p)
{
    Json j = {cx, path, o, p};
    *p = preprocess_default;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].is(o)) return forms[i].read(&j) && preprocess_check(cx, path, p);
    return qonnx_fail(cx, NULL,
                      "%s: says nothing of pictures that is known: neither 'qonnx presets' nor "
                      "Hugging Face's, timm's or torchvision's keys stand in it",
                      path);
}

bool preprocess_load(qonnx_ctx *cx, const char *path, Preprocess *p)
{
    FileMap m;
    json_error_t error;
    input_add(cx, path, "the preprocessing");
    if (!file_map(cx, path, &m)) return false;
    json_t *o = m.bytes > FILE_MAX ? NULL
                                   : json_loadb((const char *)m.data, m.bytes,
                                                JSON_REJECT_DUPLICATES, &error);
    bool large = m.bytes > FILE_MAX, good = json_is_object(o);
    file_unmap(&m);
    if (large)
        good = qonnx_fail(cx, NULL, "%s: is larger than %d bytes; no preprocessing is", path,
                          FILE_MAX);
    else if (!o)
        good = qonnx_fail(cx, NULL, "%s: is no JSON: line %d: %s", path, error.line, error.text);
    else if (!good)
        good = qonnx_fail(cx, NULL, "%s: holds no JSON object", path);
    else
        good = read_object(cx, path, o, p);
    json_decref(o);
    return good;
}
