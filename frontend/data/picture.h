/* frontend/data/picture.h - pictures as rows of pixels, whatever form they are kept in. A picture
 * is decoded by what it is, not by what it is called; which forms there are, picture.c lists.
 */
#ifndef FRONTEND_DATA_PICTURE_H
#define FRONTEND_DATA_PICTURE_H

#include <qonnx/base.h>
#include "frontend/file.h"

/* A picture's rows, from the top; channels last, 8 bits each. */
typedef struct Rows Rows;
struct Rows {
    size_t width, height; /* pixels, as they come: turned already */
    int channels;         /* 1: gray, 3: RGB */
    bool damaged;         /* why `next` failed: the file's contents make no picture */
    /* The next row into row[width * channels]; NULL: passes over it, as fast as it can. To be
     * called no more than `height` times. False: the message is set, and all that is left is to
     * close. */
    bool (*next)(Rows *r, uint8_t *row);
    void (*close)(Rows *r); /* frees it; may be called before the last row */
};

/* What is done where a file leaves a choice. Zero is the default. */
typedef struct PictureOptions {
    bool ignore_exif;      /* the orientation tag is not applied */
    bool fast_dct;         /* JPEG: the fast DCT, as TensorFlow decodes */
    bool composite;        /* alpha is composited on `background`; else dropped */
    uint8_t background[3]; /* RGB */
} PictureOptions;

/* Opens the picture in a mapped file by its contents. The rows are decoded as they are asked for,
 * as far as the form allows; `cx`, `path` and the mapping must outlive them. NULL: failed; *damaged
 * says whether the file is to blame. */
QONNX_CHECKED Rows *picture_open(qonnx_ctx *cx, const char *path, const FileMap *file,
                                 const PictureOptions *o, bool *damaged);

/* Whether a file is called as pictures are, ".jpg" or so, in any case. */
bool picture_named(const char *name);

/* The extensions that pictures have: ".jpg, .jpeg, .png". Every call gives the same text. */
const char *picture_extensions(void);

#endif
