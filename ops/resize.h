/* ops/resize.h - what a Resize makes of its operands: for each axis where an output's coordinate is
 * in the input, and the elements around it with their weights.
 */
#ifndef OPS_RESIZE_H
#define OPS_RESIZE_H

#include "ops/op.h"

typedef enum ResizeMode { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC } ResizeMode;

/* One axis. */
typedef struct ResizeAxis {
    int64_t in, out; /* sizes */
    float scale;     /* out to in, as it was given; 1: the axis stays as it is */
    float start,
        end; /* the part of the input that is taken (tf_crop_and_resize), 0 and 1 for all */
} ResizeAxis;

typedef struct Resize {
    ResizeMode mode;
    int coordinate, nearest; /* which of the words of these attributes, by resize.c's lists */
    float cubic_a, value;    /* of the cubic; of what lies outside, where `crop` */
    bool exclude, antialias, crop;
    int rank;
    ResizeAxis axis[QONNX_MAX_RANK];
} Resize;

/* Reads a Resize; *known says whether all of its sizes are. Input 0 has a rank. */
bool resize_read(Ctx *cx, const Node *n, Resize *r, bool *known);

/* ---- ops/resize_map.c ------------------------------------------------------------------------ */

/* The words of coordinate_transformation_mode and nearest_mode, ended by NULL. */
extern const char *const resize_coordinates[], *const resize_roundings[];

/* The input's element nearest to output i; -1: outside. */
int64_t resize_nearest_place(const Resize *r, const ResizeAxis *a, int64_t i);
/* The two neighbours of output i and their weights (in 1/1024 and without a fraction if `whole`);
 * at[0] -1: outside. */
void resize_neighbours(const Resize *r, const ResizeAxis *a, int64_t i, bool whole, int32_t at[2],
                       float weight[2]);
/* The most elements that an output of resize_window() is made of. */
int64_t resize_taps(const Resize *r, const ResizeAxis *a);
/* All elements around output i: their number (-1: outside), places and weights, [resize_taps()]. */
int resize_window(const Resize *r, const ResizeAxis *a, int64_t i, int32_t *at, float *weight);

#endif
