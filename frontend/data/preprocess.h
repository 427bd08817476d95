/* frontend/data/preprocess.h - what is done to a picture before the model sees it: all that two
 * libraries may do differently, as text, as options of the command and as JSON. One table of fields
 * (preprocess.c) drives all three, so that none can lack what another has.
 *
 * The text is NAME=VALUE for each field that is not at its default, in the table's order, parted by
 * blanks: "resize=short:256 crop=224 scale=1/255". The same preprocessing is the same text.
 */
#ifndef FRONTEND_DATA_PREPROCESS_H
#define FRONTEND_DATA_PREPROCESS_H

#include "frontend/data/picture.h"
#include "frontend/data/resize.h"
#include <jansson.h>

/* How a size that is computed becomes whole: towards zero, half to even, half up. */
typedef enum Rounding { ROUND_DOWN, ROUND_EVEN, ROUND_HALF } Rounding;

/* A size in pixels: given, or the model's divided by `share`. */
typedef struct Extent {
    bool of_model;     /* the model's size, not width and height */
    double share;      /* of_model: what it is divided by, 0.875 makes 256 of 224 */
    int width, height; /* pixels; the same where one number was given */
} Extent;

typedef enum SizeRule {
    SIZE_AUTO,     /* nothing was said: covers the model's size, if that is known */
    SIZE_NONE,     /* as the picture is */
    SIZE_STRETCH,  /* to width x height */
    SIZE_SHORT,    /* the shorter side to it */
    SIZE_LONG,     /* the longer side to it */
    SIZE_COVER,    /* the smallest that is nowhere smaller */
    SIZE_LETTERBOX, /* the largest that is nowhere larger, and padded to it */
    SIZE_FIT,       /* the largest that is nowhere larger */
    SIZE_LEAST      /* one of its sides, the one that changes the picture less */
} SizeRule;

/* How a side becomes a multiple. */
typedef enum MultipleRounding { MULTIPLE_NEAREST, MULTIPLE_UP, MULTIPLE_DOWN } MultipleRounding;

typedef struct ResizeField {
    SizeRule rule;
    Extent to;           /* of no rule but SIZE_AUTO and SIZE_NONE left out */
    ResizeEngine engine; /* whose arithmetic */
    ResizeFilter filter; /* one that the engine has */
    Rounding round;      /* of the side that follows from the other */
    int limit;           /* SIZE_SHORT: the longer side gets at most that; 0: none */
    Rounding limit_round; /* of the shorter side, where that takes hold */
    int multiple;        /* both sides become multiples of it; 0 and 1: as they are */
    MultipleRounding multiple_round; /* which ones */
} ResizeField;

typedef enum CropRule {
    CROP_AUTO, /* nothing was said: to the model's size behind a resize that covers it */
    CROP_NONE, /* nothing is cut off */
    CROP_SIZE, /* out of the middle; what is smaller gets the pad around it */
    CROP_SHARE /* that share of the picture, out of the middle, before it is resized */
} CropRule;

typedef struct CropField {
    CropRule rule;
    Extent to;      /* CROP_SIZE: its size */
    double share;   /* CROP_SHARE: 0.875 */
    Rounding round; /* of where it starts: down or even */
} CropField;

typedef enum PadPlace { PAD_CENTER, PAD_END } PadPlace;
typedef enum PadTime { PAD_BEFORE, PAD_AFTER } PadTime;

typedef struct PadField {
    float value[3]; /* by channel of the input */
    int count;      /* of the values: 1 for all channels, or 3 */
    PadPlace at;    /* where the picture is: in the middle, or at the left and the top */
    PadTime when;   /* PAD_AFTER: `value` is what the model sees; else it is scaled as pixels are */
    int multiple;   /* the size is padded up to multiples of it; 0 and 1: it is not */
    int width, height; /* and up to that; 0: it is not */
} PadField;

typedef enum ColorField { COLOR_AUTO, COLOR_RGB, COLOR_BGR, COLOR_GRAY } ColorField;

/* x / by, or x * by. Zero: as it is. */
typedef struct ScaleField {
    double by;
    bool divides;
} ScaleField;

/* A number for all channels, or one for each, in the order of the input's channels. */
typedef struct ChannelField {
    float value[3];
    int count; /* 0: nothing is done, 1, 3 */
} ChannelField;

typedef enum LayoutField { LAYOUT_AUTO, LAYOUT_NCHW, LAYOUT_NHWC } LayoutField;

/* What the input's elements are; of integers, q = value / scale + zero, rounded half to even and
 * clipped. */
typedef struct TypeField {
    qonnx_dtype dtype; /* QONNX_UNDEFINED: whatever it is */
    double scale;      /* 0: values are integers as they are */
    int zero;          /* zero point */
} TypeField;

/* All of it; zero is the default: EXIF is heeded, pictures get the model's size, values are 0 to
 * 255. Order: decode, crop by a share, gray, resize, crop, pad, scale, mean, std, type. */
typedef struct Preprocess {
    PictureOptions decode;
    ColorField color;
    ResizeField resize;
    CropField crop;
    PadField pad;
    ScaleField scale;
    ChannelField mean; /* subtracted */
    ChannelField std;  /* divided by, behind that */
    LayoutField layout;
    TypeField type;
} Preprocess;

/* What is at its default everywhere. */
extern const Preprocess preprocess_default;

/* ---- text (preprocess.c) --------------------------------------------------------------------- */

/* Sets one field, by its name in the text; "preset" replaces all of them. The message begins with
 * `where`: a file, or what the command line gave. */
bool preprocess_set(qonnx_ctx *cx, Preprocess *p, const char *where, const char *name,
                    const char *value);
/* Reads a text. On failure `p` is not to be used. */
bool preprocess_parse(qonnx_ctx *cx, const char *where, const char *text, Preprocess *p);
/* What no single field can say: the engine's filters. */
bool preprocess_check(qonnx_ctx *cx, const char *where, const Preprocess *p);
/* The text; malloc'd. */
char *preprocess_text(const Preprocess *p);
/* The names of the fields, in their order; NULL past the end. */
const char *preprocess_field(int i);
/* Field i as text, malloc'd: "" at its default. */
char *preprocess_value(const Preprocess *p, int i);

/* ---- presets (presets.c) --------------------------------------------------------------------- */

typedef struct Preset {
    const char *name;  /* as --preset takes it */
    const char *text;  /* of the preprocessing */
    const char *brief; /* whose it is */
} Preset;

/* Preset i; NULL past the end. */
const Preset *preset_at(int i);

/* ---- JSON (preprocess_json.c) ---------------------------------------------------------------- */

/* Reads a file of any of the forms: ours, preprocessor_config.json of Hugging Face, config.json of
 * timm, torchvision's transforms. */
bool preprocess_load(qonnx_ctx *cx, const char *path, Preprocess *p);
/* Ours: each field's name with its text. */
json_t *preprocess_to_json(const Preprocess *p);

#endif
