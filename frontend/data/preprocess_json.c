/* frontend/data/preprocess_json.c - JSON files that say how a model's pictures are prepared. Which
 * of the forms a file has is told by its keys. Whatever could change a pixel and is not known is
 * refused by name.
 */
#include "frontend/data/preprocess_json.h"
#include "ir/arena.h"
#include "ir/ir.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

/* ---- values ---------------------------------------------------------------------------------- */

bool form_refuse(const Json *j, const char *key, const char *why)
{
    return qonnx_fail(j->cx, NULL, "%s: '%s' %s", j->path, key, why);
}

const json_t *form_get(const Json *j, const char *key)
{
    const json_t *v = json_object_get(j->from, key);
    return json_is_null(v) ? NULL : v;
}

bool form_is_on(const Json *j, const char *key, bool absent)
{
    const json_t *v = form_get(j, key);
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
            if (!json_is_number(item)) return form_refuse(j, key, "is no list of numbers");
            if (at < size)
                at += (size_t)snprintf(out + at, size - at, "%s%.17g", i ? "," : "",
                                       json_number_value(item));
        }
    else return form_refuse(j, key, "is neither a number, a list of numbers nor a text");
    return at < size || form_refuse(j, key, "is too long");
}

bool form_set(const Json *j, const char *key, const char *field)
{
    char text[200];
    const json_t *v = form_get(j, key);
    return !v || (text_of(j, key, v, text, sizeof text) &&
                  preprocess_set(j->cx, j->to, j->path, field, text));
}

bool form_pixels(const Json *j, const char *key, const json_t *v, int *out)
{
    double n = json_number_value(v);
    if (!json_is_number(v) || !(n >= 1 && n <= 65535) || n != trunc(n))
        return form_refuse(j, key, "is no size of 1 to 65535 pixels");
    *out = (int)n;
    return true;
}

bool form_both_sides(const Json *j, const char *key, const json_t *v, Extent *out)
{
    *out = (Extent){0};
    if (json_is_object(v)) {
        const json_t *h = json_object_get(v, "height"), *w = json_object_get(v, "width");
        if (!h || !w) return form_refuse(j, key, "has no 'height' and 'width'");
        return form_pixels(j, key, h, &out->height) && form_pixels(j, key, w, &out->width);
    }
    if (json_array_size(v) == 2)
        return form_pixels(j, key, json_array_get(v, 0), &out->height) &&
               form_pixels(j, key, json_array_get(v, 1), &out->width);
    if (json_array_size(v) == 1) v = json_array_get(v, 0);
    return form_pixels(j, key, v, &out->width) && (out->height = out->width, true);
}

Extent form_square(int n) { return (Extent){.width = n, .height = n}; }

bool form_set_filter(const Json *j, const char *key, const char *absent)
{
    static const char *const numbered[] = {"nearest", "lanczos", "bilinear",
                                           "bicubic", "box",     "hamming"};
    const json_t *v = form_get(j, key);
    const char *name = absent;
    double n = json_number_value(v);
    if (!v && !absent) return form_refuse(j, key, "is missing: which filter resizes");
    if (json_is_string(v)) {
        const char *dot = strrchr(json_string_value(v), '.');
        name = dot ? dot + 1 : json_string_value(v);
    } else if (v) {
        if (!json_is_number(v) || !(n >= 0 && n < 6) || n != trunc(n))
            return form_refuse(j, key, "is none of Pillow's filters, 0 to 5");
        name = numbered[(int)n];
    }
    for (ResizeFilter f = FILTER_NEAREST; f <= FILTER_LANCZOS; f++)
        for (size_t i = 0; i < sizeof numbered / sizeof *numbered; i++)
            if (!strcasecmp(name, numbered[i]) && !strcmp(numbered[i], resize_filter_name(f)))
                return j->to->resize.filter = f, true;
    return form_refuse(j, key, "is none of nearest, box, bilinear, hamming, bicubic, lanczos");
}

bool form_nothing_else(const Json *j, const char *const *known)
{
    const char *key;
    const json_t *v;
    json_object_foreach((json_t *)(uintptr_t)j->from, key, v)
    {
        bool listed = key[0] == '_' || json_is_false(v) || json_is_null(v);
        for (int i = 0; !listed && known[i]; i++) listed = !strcmp(known[i], key);
        if (!listed)
            return form_refuse(j, key, "is not known; take it out if no pixel depends on it");
    }
    return true;
}

/* ---- our own form ---------------------------------------------------------------------------- */

static bool read_own(const Json *j)
{
    const char *name;
    const json_t *v;
    if (!form_set(j, "preset", "preset")) return false;
    json_object_foreach((json_t *)(uintptr_t)j->from, name, v)
    {
        if (strcmp(name, "preset") && !form_set(j, name, name)) return false;
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

/* ---- timm: config.json ----------------------------------------------------------------------- */

/* A number that the key has, or what it is when absent. */
static double number_or(const Json *j, const char *key, double absent)
{
    const json_t *v = form_get(j, key);
    return json_is_number(v) ? json_number_value(v) : absent;
}

/* What stands around a picture that fits into the size: the mean, as a colour. */
static bool timm_fill(const Json *j)
{
    static const double usual[] = {0.485, 0.456, 0.406};
    const json_t *mean = form_get(j, "mean");
    char text[100];
    double v[3];
    for (int c = 0; c < 3; c++) {
        const json_t *one = json_is_array(mean) ? json_array_get(mean, (size_t)c) : mean;
        if (json_is_array(mean) && json_array_size(mean) == 1) one = json_array_get(mean, 0);
        v[c] = rint(255 * (mean ? json_number_value(one) : usual[c]));
    }
    snprintf(text, sizeof text, "%.17g,%.17g,%.17g", v[0], v[1], v[2]);
    return preprocess_set(j->cx, j->to, j->path, "pad", text);
}

static bool read_timm_config(const Json *j)
{
    const json_t *size = form_get(j, "input_size");
    const char *mode = json_string_value(form_get(j, "crop_mode"));
    double share = number_or(j, "crop_pct", 0.875);
    ResizeField *f = &j->to->resize;
    Extent wanted;
    if (json_array_size(size) != 3) return form_refuse(j, "input_size", "is no list [C, H, W]");
    if (!form_pixels(j, "input_size", json_array_get(size, 1), &wanted.height) ||
        !form_pixels(j, "input_size", json_array_get(size, 2), &wanted.width))
        return false;
    if (!(share > 0 && share <= 1)) return form_refuse(j, "crop_pct", "is no number of 0 to 1");
    wanted.of_model = false;
    f->to = (Extent){.width = (int)floor(wanted.width / share),
                     .height = (int)floor(wanted.height / share)};
    if (!form_set_filter(j, "interpolation", "bicubic")) return false;
    bool uneven = wanted.width != wanted.height;
    j->to->decode.ignore_exif = true;
    j->to->crop = (CropField){CROP_SIZE, wanted, 0, ROUND_EVEN};
    if (!mode || !strcmp(mode, "center")) {
        f->rule = uneven ? SIZE_COVER : SIZE_SHORT;
        f->round = uneven ? ROUND_EVEN : ROUND_DOWN;
        if (uneven) f->filter = FILTER_BILINEAR; /* timm does not hand it on there */
    } else if (!strcmp(mode, "squash")) {
        f->rule = SIZE_STRETCH;
    } else if (!strcmp(mode, "border")) {
        f->rule = SIZE_FIT;
        f->round = ROUND_EVEN;
    } else {
        return form_refuse(j, "crop_mode", "is none of 'center', 'squash' and 'border'");
    }
    return preprocess_set(j->cx, j->to, j->path, "scale", "1/255") &&
           preprocess_set(j->cx, j->to, j->path, "mean", "0.485,0.456,0.406") &&
           preprocess_set(j->cx, j->to, j->path, "std", "0.229,0.224,0.225") &&
           form_set(j, "mean", "mean") && form_set(j, "std", "std") &&
           (f->rule != SIZE_FIT || timm_fill(j));
}

/* The keys stand in "pretrained_cfg", in older files at the root. */
static bool read_timm(const Json *j)
{
    Json inner = *j;
    const json_t *config = form_get(j, "pretrained_cfg");
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
    if (!form_nothing_else(j, known)) return false;
    if (!form_get(j, "resize_size")) return form_refuse(j, "resize_size", "is missing");
    if (!form_get(j, "crop_size")) return form_refuse(j, "crop_size", "is missing");
    if (json_array_size(form_get(j, "resize_size")) == 2)
        f->rule = SIZE_STRETCH;
    else
        f->rule = SIZE_SHORT;
    if (!form_both_sides(j, "resize_size", form_get(j, "resize_size"), &f->to) ||
        !form_both_sides(j, "crop_size", form_get(j, "crop_size"), &side))
        return false;
    j->to->crop = (CropField){CROP_SIZE, side, 0, ROUND_EVEN};
    j->to->decode.ignore_exif = true;
    if (!form_set_filter(j, "interpolation", "bilinear")) return false;
    if (!form_get(j, "mean") || !form_get(j, "std"))
        return form_refuse(j, form_get(j, "mean") ? "std" : "mean", "is missing");
    return preprocess_set(j->cx, j->to, j->path, "scale", "1/255") && form_set(j, "mean", "mean") &&
           form_set(j, "std", "std");
}

static bool is_torchvision(const json_t *o) { return json_object_get(o, "resize_size") != NULL; }

/* ---- the file -------------------------------------------------------------------------------- */

static const struct {
    bool (*is)(const json_t *o);
    bool (*read)(const Json *j);
} forms[] = {{hugging_is, hugging_read},
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
