/* frontend/data/preprocess_apply.h - a preprocessing at work: for an input, for a picture, for a
 * byte.
 */
#ifndef FRONTEND_DATA_PREPROCESS_APPLY_H
#define FRONTEND_DATA_PREPROCESS_APPLY_H

#include "frontend/data/data.h"
#include "frontend/data/preprocess.h"
#include <stdatomic.h>

/* What an input's shape asks for. */
typedef struct Target {
    const Feed *feed;      /* the input */
    bool channels_last;    /* [1, H, W, C], else [1, C, H, W] */
    int channels;          /* 1 or 3 */
    int64_t height, width; /* -1: any */
} Target;

bool target_of(qonnx_ctx *cx, const Preprocess *p, const Feed *f, const char *path, Target *out);

/* Which elements the bytes of a channel become. */
typedef struct Table {
    size_t size;                 /* bytes of an element */
    uint8_t element[3][256 * 4]; /* by channel of the input and by byte, dense */
} Table;

/* Fails where values do not fit the input's type. */
bool table_make(qonnx_ctx *cx, const Preprocess *p, const Target *t, const char *path, Table *out);

/* The preprocessing of an input: sizes that are the model's are numbers, and nothing is left to be
 * found out. */
typedef struct Prepared {
    Preprocess p;
    Target target;
    Table table;
    bool ready;         /* the others are set */
    atomic_bool resized; /* some picture's pixels did not stay as and where they were */
} Prepared;

/* `path` is a picture, for messages. */
bool preprocess_resolve(qonnx_ctx *cx, const Preprocess *spec, const Feed *f, const char *path,
                        Prepared *out);

/* What is done to one picture. */
typedef struct Plan {
    size_t from_left, from_top, from_width, from_height; /* the part of the picture that is used */
    Resize resize;                                       /* of that part */
    size_t width, height;                                /* of the result */
    size_t x, y;   /* where in it the part stands that comes out of the resize */
    bool padded;   /* what is around it is the preprocessing's pad; else it is black */
} Plan;

/* `p` is resolved. Fails where the result is not of the input's size. */
bool preprocess_plan(qonnx_ctx *cx, const Preprocess *p, const Target *t, const char *path,
                     size_t width, size_t height, Plan *plan);

/* Whether the pixels of a picture of that size stay as and where they are. */
bool plan_keeps(const Plan *plan, size_t width, size_t height);

/* Reads a picture's rows and makes the sample. [any thread] */
bool preprocess_picture(qonnx_ctx *cx, Prepared *p, const char *path, Rows *rows,
                        qonnx_tensor *out);

/* "224x224 RGB, bilinear short side 256 then crop, (x/255 - mean)/std" into text[size]. `p` is
 * resolved. */
enum { DESCRIPTION = 512 };
const char *preprocess_describe(const Preprocess *p, const Target *t, char text[DESCRIPTION]);

#endif
