/* frontend/data/preprocess_hugging.c - Hugging Face's preprocessor_config.json: what the class that
 * a file names makes of its keys, where no key tells it. Classes that prepare pictures in ways that
 * the fields cannot say are refused by name.
 */
#include "frontend/data/preprocess_json.h"
#include "ir/ir.h"
#include <string.h>

/* crop_pct of ConvNeXt and PoolFormer: below 384 pixels the short side is size / crop_pct, and the
 * size is cut out of it; from 384 on it is stretched. */
static bool hugging_crop_pct(const Json *j, int size, double share)
{
    if (!(share > 0 && share <= 1)) return form_refuse(j, "crop_pct", "is no number of 0 to 1");
    j->to->resize.rule = size < 384 ? SIZE_SHORT : SIZE_STRETCH;
    j->to->resize.to = form_square(size < 384 ? (int)(size / share) : size);
    if (size < 384) j->to->crop = (CropField){.rule = CROP_SIZE, .to = form_square(size)};
    return true;
}

/* What is told of a class by its name alone. */
typedef struct HuggingClass {
    const char *name; /* as it begins */
    enum {
        ITS_OWN,       /* prepares pictures in a way that no field can say */
        SHORT_SIDE,    /* a size that is one number is the shorter side's */
        DETECTOR,      /* the same, with a limit for the longer side */
        YOLOS,         /* the same, and multiples of 16, downwards */
        MASKS,         /* as torchvision limits it, and multiples of size_divisor, upwards */
        LEVIT,         /* the shorter side becomes 256 / 224 of its size */
        MOBILE_VIT,    /* the shorter side; values 0 to 1 in BGR where nothing is said */
        SEGMENT,       /* the longer side, and padded */
        DEPTH          /* scaled as little as can be, to multiples */
    } kind;
} HuggingClass;

static const HuggingClass classes[] = {
    {"CLIP", SHORT_SIDE},        {"ConvNext", SHORT_SIDE},   {"ConvNeXT", SHORT_SIDE},
    {"MobileNet", SHORT_SIDE},   {"PoolFormer", SHORT_SIDE}, {"MobileViT", MOBILE_VIT},
    {"Detr", DETECTOR},          {"ConditionalDetr", DETECTOR},
    {"DeformableDetr", DETECTOR}, {"GroundingDino", DETECTOR}, {"Yolos", YOLOS},
    {"MaskFormer", MASKS},       {"Mask2Former", MASKS},     {"Levit", LEVIT},
    {"SamImage", SEGMENT},       {"DPT", DEPTH},
    {"BridgeTower", ITS_OWN},    {"GLPN", ITS_OWN},          {"OneFormer", ITS_OWN},
    {"Owlv2", ITS_OWN},          {"Perceiver", ITS_OWN},     {"Siglip2", ITS_OWN},
    {"Swin2SR", ITS_OWN},        {"TextNet", ITS_OWN},       {"Vilt", ITS_OWN},
    {"VitMatte", ITS_OWN},       {"ZoeDepth", ITS_OWN}};

/* The file's class, -1 where nothing is to be told of it. */
static int class_of(const Json *j, const char **name)
{
    const json_t *type = form_get(j, "image_processor_type");
    if (!type) type = form_get(j, "feature_extractor_type");
    *name = json_string_value(type);
    for (size_t i = 0; *name && i < sizeof classes / sizeof *classes; i++)
        if (!strncmp(*name, classes[i].name, strlen(classes[i].name))) return (int)classes[i].kind;
    return -1;
}

/* The shorter side, with a limit for the longer one. */
static bool hugging_short(const Json *j, int kind, const json_t *side, const json_t *limit)
{
    ResizeField *f = &j->to->resize;
    int n = 0;
    if (!form_pixels(j, "size", side, &n)) return false;
    const json_t *share = form_get(j, "crop_pct");
    if (share) return hugging_crop_pct(j, n, json_number_value(share));
    if (kind == LEVIT) n = (int)(256.0 / 224 * n);
    f->rule = SIZE_SHORT;
    f->to = form_square(n);
    if (!limit || json_is_null(limit)) return true;
    f->limit_round = kind == MASKS ? ROUND_DOWN : ROUND_EVEN;
    return form_pixels(j, "size", limit, &f->limit);
}

/* Into a box, neither of whose sides is exceeded. */
static bool hugging_box(const Json *j, const json_t *size)
{
    ResizeField *f = &j->to->resize;
    f->rule = SIZE_FIT;
    f->to = (Extent){0};
    return form_pixels(j, "size", json_object_get(size, "max_height"), &f->to.height) &&
           form_pixels(j, "size", json_object_get(size, "max_width"), &f->to.width);
}

static bool hugging_size(const Json *j, int kind)
{
    const json_t *size = form_get(j, "size"), *max = form_get(j, "max_size");
    ResizeField *f = &j->to->resize;
    if (!size) return form_refuse(j, "size", "is missing: what pictures are resized to");
    const json_t *shortest = json_object_get(size, "shortest_edge");
    const json_t *longest = json_object_get(size, "longest_edge");
    bool one = json_is_number(size) && (max || form_get(j, "crop_pct") ||
                                        (kind != ITS_OWN && kind != DEPTH && kind >= 0));
    if (shortest || one)
        return hugging_short(j, kind, shortest ? shortest : size, longest ? longest : max);
    if (json_object_get(size, "max_height") || json_object_get(size, "max_width"))
        return hugging_box(j, size);
    if (longest && kind != SEGMENT)
        return form_refuse(j, "size", "has 'longest_edge' alone, which is not known of this class");
    if (longest) {
        int side = 0;
        *f = (ResizeField){.rule = SIZE_LONG, .filter = f->filter, .round = ROUND_HALF};
        return form_pixels(j, "size", longest, &side) && (f->to = form_square(side), true);
    }
    f->rule = SIZE_STRETCH;
    return form_both_sides(j, "size", size, &f->to);
}

/* Multiples that the sides become, and DPT's keep_aspect_ratio. */
static bool hugging_multiple(const Json *j, int kind)
{
    ResizeField *f = &j->to->resize;
    bool keep = form_is_on(j, "keep_aspect_ratio", false);
    const json_t *multiple = form_get(j, "ensure_multiple_of");
    if (kind == YOLOS) f->multiple = 16, f->multiple_round = MULTIPLE_DOWN;
    if (kind == MASKS) {
        f->multiple_round = MULTIPLE_UP;
        return form_get(j, "size_divisor")
                   ? form_pixels(j, "size_divisor", form_get(j, "size_divisor"), &f->multiple)
                   : form_refuse(j, "size_divisor", "is missing: which multiples the sides become");
    }
    if (kind != DEPTH && (keep || multiple))
        return form_refuse(j, keep ? "keep_aspect_ratio" : "ensure_multiple_of",
                           "is not known of this class");
    if (keep) f->rule = SIZE_LEAST, f->round = ROUND_EVEN;
    return !multiple || form_pixels(j, "ensure_multiple_of", multiple, &f->multiple);
}

/* Pictures are padded behind the arithmetic, at the right and the bottom; to the size of the
 * largest in a batch, which is their own, where no size is given. */
static bool hugging_pad(const Json *j, int kind)
{
    const json_t *size = form_get(j, "pad_size");
    const char *multiple = form_get(j, "size_divisor") ? "size_divisor" : "size_divisibility";
    PadField *pad = &j->to->pad;
    if (kind == DEPTH && form_is_on(j, "do_pad", false))
        return form_refuse(j, "do_pad", "is not known of this class, which pads around pictures");
    if (kind == SEGMENT && form_is_on(j, "do_pad", true) && !size)
        return form_refuse(j, "pad_size", "is missing: what pictures are padded to");
    if (!form_is_on(j, "do_pad", size != NULL) || kind == MASKS) return true;
    if (!size && !form_get(j, multiple)) return true;
    *pad = (PadField){.count = 1, .at = PAD_END, .when = PAD_AFTER};
    Extent to = {0};
    if (size && !form_both_sides(j, "pad_size", size, &to)) return false;
    pad->width = to.width;
    pad->height = to.height;
    return size || form_pixels(j, multiple, form_get(j, multiple), &pad->multiple);
}

/* rescale_factor, rescale_offset; every class has x / 255 where nothing is said. */
static bool hugging_values(const Json *j, int kind)
{
    bool normalizes = form_is_on(j, "do_normalize", form_get(j, "image_mean") != NULL);
    if (!form_get(j, "do_normalize") && !form_get(j, "image_mean") && kind != MOBILE_VIT)
        return form_refuse(j, "do_normalize", "is missing: are there a mean and a deviation?");
    if (form_is_on(j, "do_rescale", true)) {
        const json_t *factor = form_get(j, "rescale_factor");
        if (!factor && !preprocess_set(j->cx, j->to, j->path, "scale", "1/255")) return false;
        if (factor && !form_set(j, "rescale_factor", "scale")) return false;
    }
    if (form_is_on(j, "rescale_offset", false)) {
        const json_t *offset = form_get(j, "rescale_offset");
        if (normalizes) return form_refuse(j, "rescale_offset", "beside do_normalize is not known");
        if (!preprocess_set(j->cx, j->to, j->path, "mean",
                            json_is_true(offset) || json_number_value(offset) == -1 ? "1" : "?"))
            return false;
    }
    if (!normalizes) return true;
    if (!form_get(j, "image_mean") || !form_get(j, "image_std"))
        return form_refuse(j, form_get(j, "image_mean") ? "image_std" : "image_mean",
                           "is missing, and do_normalize is on");
    return form_set(j, "image_mean", "mean") && form_set(j, "image_std", "std");
}

static bool hugging_crop(const Json *j)
{
    CropField *crop = &j->to->crop;
    const json_t *size = form_get(j, "crop_size");
    if (size && !json_object_get(j->from, "do_center_crop"))
        return form_refuse(j, "do_center_crop", "is missing, and crop_size is there");
    if (!form_is_on(j, "do_center_crop", false)) return true;
    if (!size) return form_refuse(j, "crop_size", "is missing, do_center_crop is on");
    crop->rule = CROP_SIZE;
    return form_both_sides(j, "crop_size", size, &crop->to);
}

bool hugging_read(const Json *j)
{
    static const char *const known[] = {
        "image_processor_type", "feature_extractor_type", "processor_class", "crop_pct",
        "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale",
        "rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std",
        "do_convert_rgb", "do_flip_channel_order", "do_pad", "size_divisor", "size_divisibility",
        "do_convert_grayscale", "max_size", "format", "default_to_square", "return_tensors",
        "input_data_format", "data_format", "device", "auto_map", "pad_size", "keep_aspect_ratio",
        "ensure_multiple_of", /* and what is done to labels */ "do_convert_annotations",
        "do_reduce_labels", "reduce_labels", "ignore_index", "num_labels", "mask_size",
        "mask_pad_size", NULL};
    const char *name;
    int kind = class_of(j, &name);
    if (kind == ITS_OWN)
        return qonnx_fail(j->cx, NULL,
                          "%s: '%.60s' prepares pictures in a way of its own, which is not known; "
                          "prepare them with it, and save arrays",
                          j->path, name);
    if (!form_nothing_else(j, known)) return false;
    if (!form_get(j, "do_resize") && !form_get(j, "size"))
        return form_refuse(j, "size", "is missing: what pictures are resized to");
    j->to->resize.rule = SIZE_NONE;
    j->to->crop.rule = CROP_NONE;
    j->to->color = form_is_on(j, "do_flip_channel_order", kind == MOBILE_VIT) ? COLOR_BGR
                   : form_is_on(j, "do_convert_grayscale", false)            ? COLOR_GRAY
                                                                        : COLOR_AUTO;
    if (form_is_on(j, "do_resize", true) &&
        !(form_set_filter(j, "resample", NULL) && hugging_size(j, kind) &&
          hugging_multiple(j, kind)))
        return false;
    return hugging_crop(j) && hugging_pad(j, kind) && hugging_values(j, kind);
}

bool hugging_is(const json_t *o)
{
    return json_object_get(o, "image_processor_type") ||
           json_object_get(o, "feature_extractor_type") || json_object_get(o, "do_resize") ||
           json_object_get(o, "do_normalize") || json_object_get(o, "do_rescale");
}
