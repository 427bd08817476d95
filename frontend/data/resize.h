/* frontend/data/resize.h - pictures of another size, byte for byte as the library gives them that a
 * model was trained with.
 */
#ifndef FRONTEND_DATA_RESIZE_H
#define FRONTEND_DATA_RESIZE_H

#include "frontend/data/picture.h"

/* Whose arithmetic. */
typedef enum ResizeEngine {
    ENGINE_PILLOW,      /* Pillow up to 12.1: across, then down, 8 bits between */
    ENGINE_TORCHVISION, /* its kernel for uint8 tensors, with antialiasing; 16-bit weights */
    ENGINE_OPENCV,
    ENGINE_TF,  /* TensorFlow 2: half-pixel centres, no antialiasing */
    ENGINE_TF1, /* TensorFlow 1: no half-pixel centres */
} ResizeEngine;

typedef enum ResizeFilter {
    FILTER_NEAREST,
    FILTER_BOX,
    FILTER_BILINEAR,
    FILTER_HAMMING,
    FILTER_BICUBIC,
    FILTER_LANCZOS,
    FILTER_LINEAR_EXACT, /* OpenCV's bilinear without its shortcuts */
    FILTER_AREA,
} ResizeFilter;

/* What a resize is to give: the part [top, top + rows) x [left, left + columns) of a picture that
 * is resized to width x height. */
typedef struct Resize {
    ResizeEngine engine;  /* whose arithmetic */
    ResizeFilter filter;  /* one that the engine has */
    size_t width, height; /* of the whole result, 1 or more; that of the source: a copy */
    size_t left, top;     /* where the part that is wanted begins */
    size_t columns, rows; /* its size, 1 or more */
} Resize;

/* The name that options and files call it by, "tf1", "linear-exact"; NULL past the last. */
const char *resize_engine_name(ResizeEngine e);
const char *resize_filter_name(ResizeFilter f);

/* Whether the engine has the filter. */
bool resize_known(ResizeEngine e, ResizeFilter f);

/* Whether the results are floats, which the engine does not round, instead of bytes. */
bool resize_is_float(ResizeEngine e, ResizeFilter f);

/* The bytes of the result. False: the picture or a side of it would be too large; nothing has been
 * allocated then, and the message is set. [any thread] */
bool resize_bytes(qonnx_ctx *cx, const Resize *r, int channels, size_t *bytes);

/* Reads `from` once, row by row and only as far as it must, and writes
 * out[rows][columns][channels]: uint8_t, or float. Memory grows with the part that is wanted and
 * the width of the source. False: the message is set, by `from` or because too much memory is
 * needed. [any thread] */
bool resize_rows(qonnx_ctx *cx, Rows *from, const Resize *r, void *out);

#endif
