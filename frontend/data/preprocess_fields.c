/* frontend/data/preprocess_fields.c - the fields of a preprocessing: how each is read and printed,
 * and their table.
 */
#include "frontend/data/preprocess_fields.h"
#include "ir/arena.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const Preprocess preprocess_default = {.resize.filter = FILTER_BILINEAR};

/* The words of the enumerations, in their order. */
#define WORDS(name, ...)                                                                           \
    static const char *name(int i)                                                                 \
    {                                                                                              \
        static const char *const words[] = {__VA_ARGS__, NULL};                                    \
        return words[i];                                                                           \
    }

WORDS(round_word, "down", "even", "half")
WORDS(place_word, "center", "end")
WORDS(time_word, "before", "after")
WORDS(multiple_word, "nearest", "up", "down")
WORDS(color_word, "auto", "rgb", "bgr", "gray")
WORDS(layout_word, "auto", "nchw", "nhwc")
WORDS(exif_word, "apply", "ignore")
WORDS(dct_word, "slow", "fast")

static const char *engine_word(int i) { return resize_engine_name((ResizeEngine)i); }
static const char *filter_word(int i) { return resize_filter_name((ResizeFilter)i); }

/* ---- reading and printing words and numbers -------------------------------------------------- */

bool value_refuse(const Reader *r)
{
    return qonnx_fail(r->cx, NULL, "%s: %s is '%s'; wants %s", r->where, r->field, r->value,
                      r->wants);
}

void line_add(Line *t, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    int n = vsnprintf(t->text + t->length, sizeof t->text - t->length, fmt, list);
    va_end(list);
    t->length += (size_t)n;
    if (t->length >= sizeof t->text) t->length = sizeof t->text - 1;
}

void line_double(Line *t, double x)
{
    char digits[40];
    for (int n = 1; n <= 17; n++) {
        snprintf(digits, sizeof digits, "%.*g", n, x);
        if (strtod(digits, NULL) == x) break;
    }
    line_add(t, "%s", digits);
}

void line_float(Line *t, float x)
{
    char digits[40];
    for (int n = 1; n <= 9; n++) {
        snprintf(digits, sizeof digits, "%.*g", n, (double)x);
        if (strtof(digits, NULL) == x) break;
    }
    line_add(t, "%s", digits);
}

bool read_word(const char *text, WordFn *word, int *out)
{
    for (int i = 0; word(i); i++)
        if (!strcmp(text, word(i))) return *out = i, true;
    return false;
}

bool read_int(const char *text, int least, int most, int *out)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < least || n > most) return false;
    *out = (int)n;
    return true;
}

bool read_number(const char *text, double *out)
{
    char *end;
    double n = strtod(text, &end), d = 1;
    if (end == text || (*text != '-' && *text != '.' && !isdigit((unsigned char)*text)))
        return false;
    if (*end == '/') {
        const char *below = end + 1;
        d = strtod(below, &end);
        if (end == below) return false;
    }
    *out = n / d;
    return !*end && isfinite(*out);
}

/* One number or three, with commas between; three that are the same are one. */
static bool read_channels(const char *text, float value[3], int *count)
{
    char part[VALUE_MAX];
    *count = 0;
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        double x;
        if (*count == 3 || n >= sizeof part) return false;
        memcpy(part, at, n);
        part[n] = 0;
        if (!read_number(part, &x) || !isfinite((float)x)) return false;
        value[(*count)++] = (float)x;
        at += n;
        if (!*at) break;
    }
    if (*count == 3 && value[0] == value[1] && value[1] == value[2]) *count = 1;
    for (int c = *count; c < 3; c++) value[c] = *count == 1 ? value[0] : 0;
    return *count == 1 || *count == 3;
}

static void add_channels(Line *t, const float value[3], int count)
{
    for (int c = 0; c < count; c++) {
        if (c) line_add(t, ",");
        line_float(t, value[c]);
    }
}

/* "224", "640x480" (width x height), "model", "model/0.875". */
static bool read_extent(const char *text, Extent *out)
{
    *out = (Extent){0};
    if (!strncmp(text, "model", 5)) {
        *out = (Extent){.of_model = true, .share = 1};
        if (text[5] == '/') return read_number(text + 6, &out->share) && out->share > 0;
        return !text[5];
    }
    char width[16];
    size_t n = strcspn(text, "x");
    if (n >= sizeof width) return false;
    memcpy(width, text, n);
    width[n] = 0;
    return read_int(width, 1, SIDE_MAX, &out->width) &&
           read_int(text[n] ? text + n + 1 : width, 1, SIDE_MAX, &out->height);
}

static void add_extent(Line *t, const Extent *e, bool both)
{
    if (e->of_model) line_add(t, "model");
    if (e->of_model && e->share != 1) {
        line_add(t, "/");
        line_double(t, e->share);
    }
    if (e->of_model) return;
    line_add(t, "%d", e->width);
    if (both || e->height != e->width) line_add(t, "x%d", e->height);
}

/* ---- the fields ------------------------------------------------------------------------------ */

static const struct {
    const char *word; /* in front of the size */
    SizeRule rule;
    bool both; /* it has a width and a height */
} size_words[] = {{"short:", SIZE_SHORT, false},
                  {"long:", SIZE_LONG, false},
                  {"cover:", SIZE_COVER, true},
                  {"letterbox:", SIZE_LETTERBOX, true},
                  {"fit:", SIZE_FIT, true},
                  {"least:", SIZE_LEAST, true}};
enum { SIZE_WORDS = sizeof size_words / sizeof *size_words };

static bool read_resize(Reader *r, const char *head)
{
    ResizeField *f = &r->to->resize;
    if (!strcmp(head, "auto")) return true;
    if (!strcmp(head, "none")) return f->rule = SIZE_NONE, true;
    for (int i = 0; i < SIZE_WORDS; i++) {
        size_t n = strlen(size_words[i].word);
        if (strncmp(head, size_words[i].word, n)) continue;
        f->rule = size_words[i].rule;
        return read_extent(head + n, &f->to) &&
               (size_words[i].both || f->to.width == f->to.height) ? true : value_refuse(r);
    }
    f->rule = SIZE_STRETCH;
    if (!read_extent(head, &f->to)) return value_refuse(r);
    if (f->to.of_model || strchr(head, 'x')) return true;
    return qonnx_fail(r->cx, NULL,
                      "%s: %s is '%s', one number; short:%s keeps the picture's proportions, %sx%s "
                      "does not",
                      r->where, r->field, r->value, head, head, head);
}

static void add_resize(Line *t, const Preprocess *p)
{
    const ResizeField *f = &p->resize;
    if (f->rule == SIZE_AUTO) line_add(t, "auto");
    else if (f->rule == SIZE_NONE) line_add(t, "none");
    else if (f->rule == SIZE_STRETCH) add_extent(t, &f->to, true);
    for (int i = 0; i < SIZE_WORDS; i++) {
        if (f->rule != size_words[i].rule) continue;
        line_add(t, "%s", size_words[i].word);
        add_extent(t, &f->to, false);
    }
}

static bool read_crop(Reader *r, const char *head)
{
    CropField *f = &r->to->crop;
    char share[VALUE_MAX];
    size_t n = strlen(head);
    if (!strcmp(head, "auto")) return true;
    if (!strcmp(head, "none")) return f->rule = CROP_NONE, true;
    if (n && head[n - 1] == '%') {
        memcpy(share, head, n);
        share[n - 1] = 0;
        f->rule = CROP_SHARE;
        if (!read_number(share, &f->share) || f->share <= 0 || f->share > 100)
            return value_refuse(r);
        f->share /= 100;
        return true;
    }
    f->rule = CROP_SIZE;
    return read_extent(head, &f->to) || value_refuse(r);
}

static void add_crop(Line *t, const Preprocess *p)
{
    const CropField *f = &p->crop;
    if (f->rule == CROP_AUTO) line_add(t, "auto");
    else if (f->rule == CROP_NONE) line_add(t, "none");
    else if (f->rule == CROP_SIZE) add_extent(t, &f->to, false);
    else line_double(t, f->share * 100), line_add(t, "%%");
}

static bool read_pad(Reader *r, const char *head)
{
    return read_channels(head, r->to->pad.value, &r->to->pad.count) || value_refuse(r);
}

static void add_pad(Line *t, const Preprocess *p)
{
    if (p->pad.count) add_channels(t, p->pad.value, p->pad.count);
    else line_add(t, "0");
}

static bool read_scale(Reader *r, const char *head)
{
    ScaleField *f = &r->to->scale;
    double by, inverse;
    if (!read_number(head, &by) || by <= 0) return value_refuse(r);
    if (by > 1)
        return qonnx_fail(r->cx, NULL,
                          "%s: scale is '%s', which makes values larger; to divide by it, write "
                          "1/%s",
                          r->where, r->value, head);
    const char *slash = strchr(head, '/');
    inverse = slash && strtod(head, NULL) == 1 ? strtod(slash + 1, NULL) : round(2 / by) / 2;
    *f = 1 / inverse == by ? (ScaleField){inverse, true} : (ScaleField){by, false};
    if (by == 1) *f = (ScaleField){0};
    return true;
}

static void add_scale(Line *t, const Preprocess *p)
{
    if (!p->scale.by) return;
    if (p->scale.divides) line_add(t, "1/");
    line_double(t, p->scale.by);
}

static bool read_mean(Reader *r, const char *head)
{
    ChannelField *f = &r->to->mean;
    if (!read_channels(head, f->value, &f->count)) return value_refuse(r);
    if (f->count == 1 && f->value[0] == 0) *f = (ChannelField){.count = 0};
    return true;
}

static void add_mean(Line *t, const Preprocess *p)
{
    add_channels(t, p->mean.value, p->mean.count);
}

static bool read_std(Reader *r, const char *head)
{
    ChannelField *f = &r->to->std;
    if (!read_channels(head, f->value, &f->count)) return value_refuse(r);
    for (int c = 0; c < f->count; c++)
        if (!(f->value[c] > 0)) return value_refuse(r);
    if (f->count == 1 && f->value[0] == 1) *f = (ChannelField){.count = 0};
    return true;
}

static void add_std(Line *t, const Preprocess *p)
{
    add_channels(t, p->std.value, p->std.count);
}

static bool read_background(Reader *r, const char *head)
{
    PictureOptions *d = &r->to->decode;
    float value[3];
    int count;
    d->composite = strcmp(head, "none") != 0;
    if (!d->composite) return true;
    if (!strcmp(head, "white")) head = "255";
    if (!read_channels(head, value, &count)) return value_refuse(r);
    for (int c = 0; c < 3; c++) {
        if (!(value[c] >= 0 && value[c] <= 255 && value[c] == truncf(value[c])))
            return value_refuse(r);
        d->background[c] = (uint8_t)value[c];
    }
    return true;
}

static void add_background(Line *t, const Preprocess *p)
{
    const uint8_t *b = p->decode.background;
    if (p->decode.composite) line_add(t, "%d,%d,%d", b[0], b[1], b[2]);
    else line_add(t, "none");
}

static const qonnx_dtype picture_types[] = {QONNX_FLOAT, QONNX_FLOAT16, QONNX_BFLOAT16,
                                            QONNX_UINT8, QONNX_INT8};

static bool read_type(Reader *r, const char *head)
{
    if (!strcmp(head, "auto")) return true;
    for (size_t i = 0; i < sizeof picture_types / sizeof *picture_types; i++)
        if (!strcmp(head, qonnx_dtype_name(picture_types[i])))
            return r->to->type.dtype = picture_types[i], true;
    return value_refuse(r);
}

static void add_type(Line *t, const Preprocess *p)
{
    line_add(t, "%s", p->type.dtype ? qonnx_dtype_name(p->type.dtype) : "auto");
}

_Static_assert(sizeof(ResizeEngine) == sizeof(int) && sizeof(ColorField) == sizeof(int),
               "enumerations are kept as int");

static const Setting resize_settings[] = {
    {"engine", engine_word, offsetof(Preprocess, resize.engine), 0, 0},
    {"filter", filter_word, offsetof(Preprocess, resize.filter), 0, 0},
    {"round", round_word, offsetof(Preprocess, resize.round), 0, 0},
    {"limit", NULL, offsetof(Preprocess, resize.limit), 0, SIDE_MAX},
    {"limit-round", round_word, offsetof(Preprocess, resize.limit_round), 0, 0},
    {"multiple", NULL, offsetof(Preprocess, resize.multiple), 0, 4096},
    {"multiple-round", multiple_word, offsetof(Preprocess, resize.multiple_round), 0, 0},
    {.name = NULL}};

static const Setting crop_settings[] = {
    {"round", round_word, offsetof(Preprocess, crop.round), 0, 0}, {.name = NULL}};

static const Setting pad_settings[] = {
    {"at", place_word, offsetof(Preprocess, pad.at), 0, 0},
    {"when", time_word, offsetof(Preprocess, pad.when), 0, 0},
    {"multiple", NULL, offsetof(Preprocess, pad.multiple), 0, 4096},
    {"width", NULL, offsetof(Preprocess, pad.width), 0, SIDE_MAX},
    {"height", NULL, offsetof(Preprocess, pad.height), 0, SIDE_MAX},
    {.name = NULL}};

static const Setting type_settings[] = {
    {"scale", NULL, offsetof(Preprocess, type.scale), 0, 0},
    {"zero", NULL, offsetof(Preprocess, type.zero), -128, 255},
    {.name = NULL}};

#define PLACE(member) offsetof(Preprocess, member), sizeof((Preprocess *)0)->member

static const Field fields[] = {
    {"exif", "apply or ignore", PLACE(decode.ignore_exif), .word = exif_word},
    {"dct", "slow or fast", PLACE(decode.fast_dct), .word = dct_word},
    {"background", "R,G,B of 0 to 255, white, or none to drop alpha",
     offsetof(Preprocess, decode.composite),
     sizeof(PictureOptions) - offsetof(PictureOptions, composite), .read = read_background,
     .print = add_background},
    {"color", "auto, rgb, bgr or gray", PLACE(color), .word = color_word},
    {"resize",
     "short:N, long:N, letterbox:N, fit:N, cover:N, least:N, WIDTHxHEIGHT, none or auto, of 1 to "
     "65535 pixels or model or model/SHARE for the model's size",
     PLACE(resize), .read = read_resize, .print = add_resize, .settings = resize_settings},
    {"crop",
     "N, WIDTHxHEIGHT, model, model/SHARE, none, auto, or a share of the picture before it is "
     "resized, 87.5%",
     PLACE(crop), .read = read_crop, .print = add_crop, .settings = crop_settings},
    {"pad", "one number or one for each of 3 channels, N or N,N,N", PLACE(pad), .read = read_pad,
     .print = add_pad, .settings = pad_settings},
    {"scale", "what values are multiplied by, 1/255 or a number up to 1", PLACE(scale),
     .read = read_scale, .print = add_scale},
    {"mean", "one number or one for each of 3 channels, N or N,N,N", PLACE(mean), .read = read_mean,
     .print = add_mean},
    {"std", "one number above 0 or one for each of 3 channels, N or N,N,N", PLACE(std),
     .read = read_std, .print = add_std},
    {"input-layout", "auto, nchw or nhwc", PLACE(layout), .word = layout_word},
    {"input-type", "auto, float, float16, bfloat16, uint8 or int8", PLACE(type),
     .read = read_type, .print = add_type, .settings = type_settings},
};

const Field *field_at(int i)
{
    return i >= 0 && (size_t)i < sizeof fields / sizeof *fields ? &fields[i] : NULL;
}
