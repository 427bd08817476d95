/* ops/sample.c - GridSample, AffineGrid, RoiAlign, MaxRoiPool. */
#include "ir/size.h"
#include "kernels/roi_maxpool.h"
#include "kernels/sample.h"
#include "lower/lower.h"
#include <string.h>

/* Which of the words, ended by NULL, the attribute is: the number that `as` has for it. */
static bool read_word(Ctx *cx, const Node *n, const char *name, const char *const *words,
                      const int *as, int *which)
{
    const char *s = qonnx_node_string(n, name, words[0]);
    for (int i = 0; words[i]; i++)
        if (!strcmp(words[i], s)) return *which = as[i], true;
    return qonnx_fail(cx, n, "%s is '%s', which is not known", name, s);
}

/* ---- GridSample ------------------------------------------------------------------------------ */

static bool grid_attributes(Ctx *cx, const Node *n, grid_sample_p *p)
{
    static const char *const modes[] = {"linear", "bilinear", "nearest", "cubic", "bicubic", NULL};
    static const int mode_as[] = {S_LINEAR, S_LINEAR, S_NEAREST, S_CUBIC, S_CUBIC};
    static const char *const paddings[] = {"zeros", "border", "reflection", NULL};
    static const int padding_as[] = {S_ZEROS, S_BORDER, S_REFLECTION};
    int mode = 0, padding = 0;
    if (!read_word(cx, n, "mode", modes, mode_as, &mode) ||
        !read_word(cx, n, "padding_mode", paddings, padding_as, &padding))
        return false;
    p->mode = mode;
    p->padding = padding;
    p->align = qonnx_node_int(n, "align_corners", 0) != 0;
    return true;
}

static bool grid_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *g = in_shape(n, 1);
    grid_sample_p p;
    if (!grid_attributes(cx, n, &p)) return false;
    if (!x || !g) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (x->rank < 4 || x->rank > 5)
        return qonnx_fail(cx, n, "input of rank %d, want 4 or 5", x->rank);
    int axes = x->rank - 2;
    if (g->rank != x->rank || (g->dim[axes + 1] >= 0 && g->dim[axes + 1] != axes) ||
        (g->dim[0] >= 0 && x->dim[0] >= 0 && g->dim[0] != x->dim[0]))
        return qonnx_fail(cx, n, "the grid does not fit an input of rank %d", x->rank);
    Shape y = *x;
    for (int i = 0; i < axes; i++) y.dim[2 + i] = g->dim[1 + i], y.sym[2 + i] = g->sym[1 + i];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool grid_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    grid_sample_p p = {.n = (int32_t)x->dim[0], .c = (int32_t)x->dim[1], .axes = x->rank - 2};
    if (!grid_attributes(l->cx, n, &p)) return false;
    int32_t *in = &p.id, *out = &p.od;
    in[0] = out[0] = 1;
    for (int i = 0; i < p.axes; i++) {
        in[3 - p.axes + i] = (int32_t)x->dim[2 + i];
        out[3 - p.axes + i] = (int32_t)y->dim[2 + i];
    }
    if (!shape_elements(x) && shape_elements(y))
        return qonnx_fail(l->cx, n, "its input has nothing to take");
    Buf *from[2] = {lower_in(l, n, 0, LAST), lower_in(l, n, 1, PLAIN)};
    lower_call(l, n, "grid_sample", &p, from, 2, lower_out(l, n->out[0], LAST));
    return true;
}

static int64_t grid_macs(const Node *n)
{
    const Shape *y = n->out[0] ? &n->out[0]->shape : NULL;
    int64_t out = y ? shape_open_elements(y) : -1, taps = 1;
    const char *mode = qonnx_node_string(n, "mode", "linear");
    int each = strstr(mode, "cubic") ? 4 : strstr(mode, "linear") ? 2 : 1;
    for (int i = 2; out >= 0 && i < y->rank; i++) taps *= each;
    return out < 0 ? -1 : taps == 1 ? 0 : count_work(out, taps);
}

/* ---- AffineGrid ------------------------------------------------------------------------------ */

static bool affine_shape(Ctx *cx, Node *n)
{
    const Shape *theta = in_shape(n, 0);
    int64_t size[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "", 1, size);
    if (count < 0) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (count < 4 || count > 5) return qonnx_fail(cx, n, "size has %d numbers, want 4 or 5", count);
    int axes = count - 2;
    for (int i = 0; i < count; i++)
        if (size[i] < 0 || size[i] > INT32_MAX)
            return qonnx_fail(cx, n, "size holds %lld", (long long)size[i]);
    if (theta && (theta->rank != 3 || (theta->dim[0] >= 0 && theta->dim[0] != size[0]) ||
                  (theta->dim[1] >= 0 && theta->dim[1] != axes) ||
                  (theta->dim[2] >= 0 && theta->dim[2] != axes + 1)))
        return qonnx_fail(cx, n, "theta does not fit a size of %d numbers", count);
    Shape y = {.rank = axes + 2};
    y.dim[0] = size[0];
    for (int i = 0; i < axes; i++) y.dim[1 + i] = size[2 + i];
    y.dim[axes + 1] = axes;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool affine_takes(Why *why, const Node *n)
{
    return in_dtype(n, 0) == QONNX_DOUBLE || takes_float_data(why, n);
}

static bool affine_lower(Lower *l, Node *n)
{
    const Shape *y = &n->out[0]->shape;
    int64_t size[QONNX_MAX_RANK * 2];
    if (qonnx_node_list(n, "", 1, size) < 0)
        return qonnx_fail(l->cx, n, "its size must be constant to run it");
    int axes = y->rank - 2;
    affine_grid_p p = {.n = (int32_t)y->dim[0],
                       .d = axes == 3 ? (int32_t)y->dim[1] : 1,
                       .h = (int32_t)y->dim[axes - 1],
                       .w = (int32_t)y->dim[axes],
                       .axes = axes,
                       .align = qonnx_node_int(n, "align_corners", 0) != 0,
                       .wide = in_dtype(n, 0) == QONNX_DOUBLE};
    lower_call(l, n, "affine_grid", &p, (Buf *[]){lower_in(l, n, 0, PLAIN)}, 1,
               lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- RoiAlign -------------------------------------------------------------------------------- */

enum { MOST_SAMPLES = 1 << 12 }; /* of a cell along an axis */

static bool roi_attributes(Ctx *cx, const Node *n, roi_align_p *p)
{
    static const char *const ways[] = {"half_pixel", "output_half_pixel", NULL};
    static const int way_as[] = {1, 0};
    static const char *const modes[] = {"avg", "max", NULL};
    static const int mode_as[] = {0, 1};
    int half = 0, largest = 0;
    int64_t h = qonnx_node_int(n, "output_height", 1), w = qonnx_node_int(n, "output_width", 1),
            samples = qonnx_node_int(n, "sampling_ratio", 0);
    if (!read_word(cx, n, "coordinate_transformation_mode", ways, way_as, &half) ||
        !read_word(cx, n, "mode", modes, mode_as, &largest))
        return false;
    if (h < 1 || h > INT32_MAX || w < 1 || w > INT32_MAX)
        return qonnx_fail(cx, n, "an output of %lld x %lld", (long long)h, (long long)w);
    if (samples < 0 || samples > MOST_SAMPLES)
        return qonnx_fail(cx, n, "sampling_ratio is %lld, want at most %d", (long long)samples,
                          MOST_SAMPLES);
    *p = (roi_align_p){.oh = (int32_t)h,
                       .ow = (int32_t)w,
                       .samples = (int32_t)samples,
                       .half = half && qonnx_model_opset(n->graph) >= 16,
                       .largest = largest,
                       .scale = qonnx_node_float(n, "spatial_scale", 1)};
    return true;
}

static bool roi_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *rois = in_shape(n, 1), *items = in_shape(n, 2);
    roi_align_p p;
    if (!roi_attributes(cx, n, &p)) return false;
    if (!x || !rois) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (x->rank != 4) return qonnx_fail(cx, n, "input of rank %d, want 4", x->rank);
    if (rois->rank != 2 || (rois->dim[1] >= 0 && rois->dim[1] != 4) ||
        (items && (items->rank != 1 ||
                   (items->dim[0] >= 0 && rois->dim[0] >= 0 && items->dim[0] != rois->dim[0]))))
        return qonnx_fail(cx, n, "its regions are not [count, 4] with one item each");
    Shape y = {.rank = 4, .dim = {rois->dim[0], x->dim[1], p.oh, p.ow}};
    y.sym[0] = rois->sym[0];
    y.sym[1] = x->sym[1];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool roi_takes(Why *why, const Node *n)
{
    return takes_type(why, n, 0, QONNX_FLOAT) && takes_type(why, n, 1, QONNX_FLOAT) &&
           takes_type(why, n, 2, QONNX_INT64);
}

static bool roi_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    roi_align_p p;
    if (!roi_attributes(l->cx, n, &p)) return false;
    p.n = (int32_t)x->dim[0], p.c = (int32_t)x->dim[1];
    p.ih = (int32_t)x->dim[2], p.iw = (int32_t)x->dim[3];
    p.rois = (int32_t)in_shape(n, 1)->dim[0];
    if (!shape_elements(x) && shape_elements(&n->out[0]->shape))
        return qonnx_fail(l->cx, n, "its input has nothing to take");
    Buf *in[3] = {lower_in(l, n, 0, LAST), lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, "roi_align", &p, in, 3, lower_out(l, n->out[0], LAST));
    return true;
}

/* Four products a sample; of samples that follow from the regions, as many as are usual. */
static int64_t roi_macs(const Node *n)
{
    int64_t out = n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1;
    int64_t samples = qonnx_node_int(n, "sampling_ratio", 0);
    if (samples < 1 || samples > MOST_SAMPLES) samples = 2;
    return count_work(out, 4 * samples * samples);
}

/* ---- MaxRoiPool ------------------------------------------------------------------------------ */

static bool roi_pool_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *boxes = in_shape(n, 1);
    const int64_t *grid;
    int axes = qonnx_node_ints(n, "pooled_shape", &grid);
    if (!grid || axes != 2)
        return qonnx_fail(cx, n, "pooled_shape has %d numbers, want 2", grid ? axes : 0);
    for (int i = 0; i < 2; i++)
        if (grid[i] < 1 || grid[i] > INT32_MAX)
            return qonnx_fail(cx, n, "pooled_shape holds %lld, want 1 or more", (long long)grid[i]);
    if (!check_rank(cx, n, 0, 4, 4) || !check_rank(cx, n, 1, 2, 2) || !check_dim(cx, n, 1, 1, 5))
        return false;
    Shape y = {.rank = 4,
               .dim = {boxes ? boxes->dim[0] : -1, x ? x->dim[1] : -1, grid[0], grid[1]}};
    if (boxes) y.sym[0] = boxes->sym[0];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool roi_pool_takes(Why *why, const Node *n)
{
    return takes_types(why, n, 0, 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE) &&
           (!in_dtype(n, 0) || takes_type(why, n, 1, in_dtype(n, 0)));
}

static bool roi_pool_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    if (!shape_elements(x) && shape_elements(y))
        return qonnx_fail(l->cx, n, "its input has nothing to take");
    roi_maxpool_p p = {.n = (int32_t)x->dim[0],
                       .c = (int32_t)x->dim[1],
                       .h = (int32_t)x->dim[2],
                       .w = (int32_t)x->dim[3],
                       .boxes = (int32_t)y->dim[0],
                       .rows = (int32_t)y->dim[2],
                       .columns = (int32_t)y->dim[3],
                       .type = (int32_t)in_dtype(n, 0),
                       .scale = qonnx_node_float(n, "spatial_scale", 1)};
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN)};
    lower_call(l, n, "roi_maxpool", &p, in, 2, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* A box may be all of the image: each part of it has some elements, whose rows and columns may
 * belong to two parts. */
static int64_t roi_pool_work(const Node *n)
{
    const Shape *x = in_shape(n, 0), *y = n->out[0] ? &n->out[0]->shape : NULL;
    int64_t parts = shape_open_elements(y), seen = 1, steps = 40;
    if (!x || x->rank != 4 || !y || y->rank != 4 || parts < 0) return -1;
    for (int i = 2; i < 4; i++) seen = size_times(seen, x->dim[i] / y->dim[i] + 2);
    return size_times(parts, size_plus(200, size_times(seen, steps)));
}

const Op ops_sample[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"GridSample", 2, 2, grid_shape, RULE_FLOAT, NULL, grid_lower, grid_macs,
     .takes = takes_floats},
    {"GridSample", 2, 2, grid_shape, RULE_FLOAT, NULL, grid_lower, grid_macs,
     .takes = takes_floats, .domain = "com.microsoft"},
    {"AffineGrid", 2, 2, affine_shape, RULE_FLOAT, NULL, affine_lower, .lists = 2,
     .takes = affine_takes},
    {"RoiAlign", 3, 3, roi_shape, RULE_FLOAT, NULL, roi_lower, roi_macs, .takes = roi_takes},
    {"MaxRoiPool", 2, 2, roi_pool_shape, RULE_FLOAT, NULL, roi_pool_lower, .takes = roi_pool_takes,
     .work = roi_pool_work},
    {0},
};
