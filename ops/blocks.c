/* ops/blocks.c - operators between an image and blocks of it: DepthToSpace, SpaceToDepth, Col2Im.
 */
#include "ir/size.h"
#include "kernels/col2im.h"
#include "lower/lower.h"
#include <string.h>

/* ---- DepthToSpace, SpaceToDepth -------------------------------------------------------------- */

/* The size of blocks, which divides what is `deep` channels, or high and wide. */
static bool read_block(Ctx *cx, const Node *n, bool deep, int64_t *block)
{
    const Shape *x = in_shape(n, 0);
    const char *mode = qonnx_node_string(n, "mode", "DCR");
    int64_t b = *block = qonnx_node_int(n, "blocksize", 0), square;
    if (b < 1 || __builtin_mul_overflow(b, b, &square))
        return qonnx_fail(cx, n, "blocksize is %lld", (long long)b);
    if (strcmp(mode, "DCR") && strcmp(mode, "CRD"))
        return qonnx_fail(cx, n, "mode is \"%.60s\", want DCR or CRD", mode);
    if (!x) return true;
    if (x->rank != 4) return qonnx_fail(cx, n, "input of rank %d, want 4", x->rank);
    for (int i = 1; i < 4; i++) {
        int64_t by = i > 1 ? b : square;
        if (deep == (i == 1) && x->dim[i] >= 0 && x->dim[i] % by)
            return qonnx_fail(cx, n, "axis %d of size %lld is not divided by %lld", i,
                              (long long)x->dim[i], (long long)by);
    }
    return true;
}

/* d * by, -1 where one is open; false where it overflows. */
static bool scaled(int64_t d, int64_t by, int64_t *y)
{
    *y = -1;
    return d < 0 || !__builtin_mul_overflow(d, by, y);
}

static bool depth_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t b;
    if (!read_block(cx, n, true, &b)) return false;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    Shape y = {.rank = 4, .dim = {x->dim[0], x->dim[1] < 0 ? -1 : x->dim[1] / (b * b)}};
    y.sym[0] = x->sym[0];
    if (!scaled(x->dim[2], b, &y.dim[2]) || !scaled(x->dim[3], b, &y.dim[3]))
        return qonnx_fail(cx, n, "blocksize is %lld", (long long)b);
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool space_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t b;
    if (!read_block(cx, n, false, &b)) return false;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    Shape y = {.rank = 4, .dim = {x->dim[0]}};
    y.sym[0] = x->sym[0];
    for (int i = 2; i < 4; i++) y.dim[i] = x->dim[i] < 0 ? -1 : x->dim[i] / b;
    if (!scaled(x->dim[1], b * b, &y.dim[1]))
        return qonnx_fail(cx, n, "blocksize is %lld", (long long)b);
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* Copies with six axes: image, row and column in a block, channel, row and column of blocks; in the
 * layout that the input is in. */
static bool blocks_lower(Lower *l, Node *n)
{
    bool deep = qonnx_node_is(n, "DepthToSpace");
    bool last = !strcmp(qonnx_node_string(n, "mode", "DCR"), "CRD");
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape, *flat = deep ? y : x,
                *tall = deep ? x : y;
    int64_t b, fs[QONNX_MAX_RANK], ts[QONNX_MAX_RANK], c = flat->dim[1];
    if (!read_block(l->cx, n, deep, &b)) return false;
    Layout at = lower_layout(l, n, 0);
    layout_strides(flat, at, fs);
    layout_strides(tall, at, ts);
    int64_t dims[6] = {x->dim[0], b, b, c, tall->dim[2], tall->dim[3]};
    int64_t in_flat[6] = {fs[0], fs[2], fs[3], fs[1], fs[2] * b, fs[3] * b};
    int64_t in_tall[6] = {ts[0],
                          ts[1] * (last ? b : b * c),
                          ts[1] * (last ? 1 : c),
                          ts[1] * (last ? b * b : 1),
                          ts[2],
                          ts[3]};
    Buf *in = lower_in(l, n, 0, at);
    lower_copy(l, n, 6, dims, in, deep ? in_tall : in_flat, 0, lower_out(l, n->out[0], at),
               deep ? in_flat : in_tall, 0, dtype_size(in_dtype(n, 0)));
    return true;
}

/* ---- Col2Im ---------------------------------------------------------------------------------- */

enum { COL_AXES = 3 };

/* One axis of the images. */
typedef struct ColAxis {
    int64_t image, block;   /* sizes */
    int64_t step, dilation; /* from block to block, from element to element of one */
    int64_t front;          /* padding in front, which is cut off */
    int64_t count;          /* how many blocks there are */
} ColAxis;

static int64_t item(const int64_t *list, int count, int i, int64_t dflt)
{
    return list && i < count ? list[i] : dflt;
}

/* What an axis says; false where its numbers have no meaning. */
static bool col_axis(const Node *n, int i, int rank, int64_t image, int64_t block, ColAxis *a)
{
    enum { MOST = 1 << 30 }; /* so that no sum overflows, and kernels can count with it */
    const int64_t *strides, *dilations, *pads;
    int ns = qonnx_node_ints(n, "strides", &strides), np = qonnx_node_ints(n, "pads", &pads),
        nd = qonnx_node_ints(n, "dilations", &dilations);
    if ((strides && ns != rank) || (pads && np != 2 * rank) || (dilations && nd != rank))
        return false;
    *a = (ColAxis){
        image, block, item(strides, ns, i, 1), item(dilations, nd, i, 1), item(pads, np, i, 0), 0};
    int64_t behind = item(pads, np, rank + i, 0);
    if (image < 1 || block < 1 || a->step < 1 || a->dilation < 1 || a->front < 0 || behind < 0 ||
        image > MOST || block > MOST || a->step > MOST || a->dilation > MOST || a->front > MOST ||
        behind > MOST || size_times(a->dilation, block - 1) > MOST)
        return false;
    int64_t span = image + a->front + behind - a->dilation * (block - 1) - 1;
    if (span < 0) return false;
    a->count = span / a->step + 1;
    return true;
}

/* The axes, behind the `COL_AXES - rank` that there are not. *rank is 0 where that is not known. */
static bool col_read(Ctx *cx, const Node *n, ColAxis axes[COL_AXES], int *rank)
{
    int64_t image[QONNX_MAX_RANK * 2], block[QONNX_MAX_RANK * 2];
    int ni = qonnx_node_list(n, "", 1, image), nb = qonnx_node_list(n, "", 2, block);
    *rank = 0;
    if (ni < 0 || nb < 0) return true;
    if (ni != nb || ni < 1 || ni > COL_AXES)
        return qonnx_fail(cx, n, "images of %d axes and blocks of %d: 1 to %d can be run", ni, nb,
                          (int)COL_AXES);
    for (int i = 0; i < COL_AXES; i++) axes[i] = (ColAxis){1, 1, 1, 1, 0, 1};
    for (int i = 0; i < ni; i++)
        if (!col_axis(n, i, ni, image[i], block[i], &axes[COL_AXES - ni + i]))
            return qonnx_fail(cx, n,
                              "image, block, strides, dilations and pads of axis %d do not fit", i);
    *rank = ni;
    return true;
}

static bool col_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    ColAxis axes[COL_AXES];
    int rank;
    int64_t elements = 1, blocks = 1;
    if (x && x->rank != 3) return qonnx_fail(cx, n, "input of rank %d, want 3", x->rank);
    if (!col_read(cx, n, axes, &rank)) return false;
    if (!x || !rank) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    Shape y = {.rank = rank + 2, .dim = {x->dim[0]}};
    y.sym[0] = x->sym[0];
    for (int i = 0; i < COL_AXES; i++) {
        elements = size_times(elements, axes[i].block);
        blocks = size_times(blocks, axes[i].count);
        if (i >= COL_AXES - rank) y.dim[2 + i - (COL_AXES - rank)] = axes[i].image;
    }
    if (x->dim[1] >= 0 && x->dim[1] % elements)
        return qonnx_fail(cx, n, "axis 1 of size %lld is not divided by %lld", (long long)x->dim[1],
                          (long long)elements);
    if (x->dim[2] >= 0 && x->dim[2] != blocks)
        return qonnx_fail(cx, n, "%lld blocks, want %lld", (long long)x->dim[2], (long long)blocks);
    y.dim[1] = x->dim[1] < 0 ? -1 : x->dim[1] / elements;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static int64_t col_work(const Node *n)
{
    return count_work(16, shape_open_elements(in_shape(n, 0)));
}

static bool col_lower(Lower *l, Node *n)
{
    ColAxis a[COL_AXES];
    int rank;
    if (!col_read(l->cx, n, a, &rank)) return false;
    if (!rank)
        return qonnx_fail(l->cx, n, "image_shape and block_shape must be constant to run it");
    col2im_p p = {.n = (int32_t)(n->out[0]->shape.dim[0] * n->out[0]->shape.dim[1])};
    for (int i = 0; i < COL_AXES; i++) {
        (&p.id)[i] = (int32_t)a[i].image;
        (&p.od)[i] = (int32_t)a[i].count;
        (&p.kd)[i] = (int32_t)a[i].block;
        (&p.sd)[i] = (int32_t)a[i].step;
        (&p.dd)[i] = (int32_t)a[i].dilation;
        (&p.pd)[i] = (int32_t)a[i].front;
    }
    Buf *in = lower_in(l, n, 0, PLAIN);
    lower_call(l, n, "col2im", &p, &in, 1, lower_out(l, n->out[0], PLAIN));
    return true;
}

const Op ops_blocks[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"DepthToSpace", 1, 1, depth_shape, RULE(QONNX_RULE_SAME, 1), NULL, blocks_lower,
     .takes = takes_moved, .strings = true},
    {"SpaceToDepth", 1, 1, space_shape, RULE(QONNX_RULE_SAME, 1), NULL, blocks_lower,
     .takes = takes_moved, .strings = true},
    {"Col2Im", 3, 3, col_shape, RULE_FLOAT, NULL, col_lower, .lists = 6, .takes = takes_float_data,
     .work = col_work},
    {0},
};
