/* ops/counted.c - operators whose outputs have a size that is data: how much of what they are given
 * they take.
 */
#include "kernels/nms.h"
#include "kernels/nonzero.h"
#include "kernels/pick.h"
#include "kernels/unique.h"
#include "ir/size.h"
#include "lower/lower.h"

/* Where the kernel writes the size, which is output i if somebody reads it. */
static Buf *lower_size(Lower *l, Node *n, int i)
{
    return out_used(n, i) ? lower_out(l, n->out[i], PLAIN) : lower_temp(l, sizeof(int64_t));
}

/* ---- NonZero --------------------------------------------------------------------------------- */

static bool nonzero_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!x) return out_shape(cx, n, 0, QONNX_INT64, NULL);
    Shape y = shape_make(2, (int64_t[]){x->rank ? x->rank : 1, -1}); /* a number has one place */
    return out_shape(cx, n, 0, QONNX_INT64, &y);
}

static int nonzero_axis(const Node *n, int i)
{
    (void)n;
    return i ? -1 : 1;
}

static int64_t nonzero_most(const Node *n) { return shape_elements(in_shape(n, 0)); }

static bool takes_ordered(Why *why, const Node *n)
{
    return takes_types(why, n, 0, NUMBERS | BOOL);
}

static bool nonzero_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    nonzero_p p = {.rank = x->rank ? x->rank : 1, .d0 = 1, .type = (int32_t)in_dtype(n, 0)};
    for (int i = 0; i < x->rank; i++) (&p.d0)[i] = (int32_t)x->dim[i];
    Buf *in = lower_in(l, n, 0, PLAIN);
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN), lower_size(l, n, 1)};
    lower_call_n(l, n, "nonzero", &p, &in, 1, out, 2);
    return true;
}

static const Counted nonzero_counted = {1, nonzero_axis, nonzero_most};

/* ---- Compress -------------------------------------------------------------------------------- */

/* The axis that it takes parts of; -1: of all elements, which become one axis. */
static bool part_axis(Ctx *cx, const Node *n, int *axis)
{
    *axis = -1;
    const Shape *x = in_shape(n, 0);
    return !x || !qonnx_node_has(n, "axis") ||
           check_axis(cx, n, qonnx_node_int(n, "axis", 0), x->rank, axis);
}

/* The axis, which the shape function has checked, in the output. */
static int out_axis(const Node *n)
{
    int64_t axis = qonnx_node_int(n, "axis", 0);
    const Shape *x = in_shape(n, 0);
    return (int)(axis < 0 && x ? axis + x->rank : axis);
}

static int64_t part_count(const Node *n)
{
    const Shape *x = in_shape(n, 0);
    return qonnx_node_has(n, "axis") ? x->dim[out_axis(n)] : shape_elements(x);
}

/* How a kernel goes over the parts. */
static void part_walk(const Node *n, int32_t *outer, int32_t *count, int32_t *inner)
{
    const Shape *x = in_shape(n, 0);
    int axis = qonnx_node_has(n, "axis") ? out_axis(n) : -1;
    *outer = axis < 0 ? 1 : (int32_t)shape_product(x, 0, axis);
    *count = (int32_t)part_count(n);
    *inner = axis < 0 ? 1 : (int32_t)shape_product(x, axis + 1, x->rank);
}

/* The shape of the parts, along `axis` or of all. */
static Shape parts_shape(const Shape *x, int axis)
{
    Shape y = axis < 0 ? shape_make(1, (int64_t[]){-1}) : *x;
    if (axis >= 0) y.dim[axis] = -1, y.sym[axis] = NULL;
    return y;
}

/* How many of `count` parts a condition takes that is constant; -1: it is not. */
static int64_t constant_parts(const Node *n, int64_t count)
{
    const Tensor *t = qonnx_node_input(n, 1) ? n->in[1]->data : NULL;
    if (!t || !t->data || count < 0) return -1;
    int64_t taken = 0, given = tensor_count(t);
    for (int64_t i = 0; i < count && i < given; i++) taken += qonnx_tensor_get(t, i) != 0;
    return taken;
}

static bool compress_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *condition = in_shape(n, 1);
    int axis;
    if (condition && condition->rank != 1)
        return qonnx_fail(cx, n, "the condition has rank %d, want 1", condition->rank);
    if (!part_axis(cx, n, &axis)) return false;
    Shape y = x ? parts_shape(x, axis) : (Shape){.rank = -1};
    if (x)
        y.dim[axis < 0 ? 0 : axis] = constant_parts(n, axis < 0 ? shape_elements(x) : x->dim[axis]);
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static int compress_axis(const Node *n, int i)
{
    const Value *condition = qonnx_node_input(n, 1);
    return i || (condition && condition->data) ? -1 : out_axis(n);
}

/* The most parts that it takes: as many as hold, where the condition is constant. */
static int64_t compress_most(const Node *n)
{
    int64_t count = part_count(n), given = shape_elements(in_shape(n, 1));
    int64_t known = constant_parts(n, count);
    return known >= 0 ? known : given < count ? given : count;
}

static bool compress_takes(Why *why, const Node *n)
{
    return takes_moved(why, n) && takes_type(why, n, 1, QONNX_BOOL);
}

static bool compress_lower(Lower *l, Node *n)
{
    pick_p p = {.given = (int32_t)shape_elements(in_shape(n, 1)),
                .most = (int32_t)compress_most(n),
                .size = dtype_size(in_dtype(n, 0))};
    part_walk(n, &p.outer, &p.count, &p.inner);
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN)};
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN), lower_size(l, n, 1)};
    lower_call_n(l, n, "pick", &p, in, 2, out, 2);
    return true;
}

static const Counted compress_counted = {1, compress_axis, compress_most};

/* ---- Unique ---------------------------------------------------------------------------------- */

enum { UNIQUE_Y, UNIQUE_FIRST, UNIQUE_INVERSE, UNIQUE_COUNTS, UNIQUE_SIZE };

static bool unique_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!part_axis(cx, n, &axis)) return false;
    Shape y = x ? parts_shape(x, axis) : (Shape){.rank = -1}, some = shape_make(1, &(int64_t){-1});
    Shape all = some;
    if (x) all.dim[0] = axis < 0 ? shape_elements(x) : x->dim[axis];
    return out_shape(cx, n, UNIQUE_Y, in_dtype(n, 0), &y) &&
           out_shape(cx, n, UNIQUE_FIRST, QONNX_INT64, &some) &&
           out_shape(cx, n, UNIQUE_INVERSE, QONNX_INT64, &all) &&
           out_shape(cx, n, UNIQUE_COUNTS, QONNX_INT64, &some);
}

static int unique_axis(const Node *n, int i)
{
    return i == UNIQUE_Y ? out_axis(n) : i == UNIQUE_INVERSE ? -1 : 0;
}

static bool unique_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    unique_p p = {.type = (int32_t)in_dtype(n, 0),
                  .size = dtype_size(in_dtype(n, 0)),
                  .sorted = qonnx_node_int(n, "sorted", 1) != 0};
    part_walk(n, &p.outer, &p.count, &p.inner);
    Buf *in = lower_in(l, n, 0, PLAIN), *out[7] = {lower_out(l, n->out[UNIQUE_Y], PLAIN)};
    for (int i = UNIQUE_FIRST; i < UNIQUE_SIZE; i++)
        if (out_used(n, i)) out[i] = lower_out(l, n->out[i], PLAIN);
    out[UNIQUE_SIZE] = lower_size(l, n, UNIQUE_SIZE);
    out[5] = lower_temp(l, (size_t)shape_elements(x) * sizeof(uint64_t));
    out[6] = lower_temp(l, 3 * (size_t)p.count * sizeof(int64_t));
    lower_call_n(l, n, "unique", &p, &in, 1, out, 7);
    return true;
}

/* A merge sort, whose comparisons may go through whole slices. */
static int64_t unique_work(const Node *n)
{
    int64_t count = shape_open_elements(in_shape(n, 0)), steps = 4;
    for (int64_t k = count; k > 1; k /= 2) steps += 4;
    return count_work(count, steps);
}

static const Counted unique_counted = {UNIQUE_SIZE, unique_axis, part_count};

/* ---- NonMaxSuppression ----------------------------------------------------------------------- */

static const char *const nms_inputs[] = {"boxes", "scores", "max_output_boxes_per_class",
                                         "iou_threshold", "score_threshold"};

/* Whether two dimensions may be the same. */
static bool may_be(int64_t a, int64_t b) { return a < 0 || b < 0 || a == b; }

static bool nms_shape(Ctx *cx, Node *n)
{
    const Shape *boxes = in_shape(n, 0), *scores = in_shape(n, 1);
    for (int i = 0; i < 2; i++)
        if (in_shape(n, i) && in_shape(n, i)->rank != 3)
            return qonnx_fail(cx, n, "%s have rank %d, want 3", nms_inputs[i],
                              in_shape(n, i)->rank);
    if (boxes && !may_be(boxes->dim[2], 4))
        return qonnx_fail(cx, n, "boxes have %lld numbers each, want 4", (long long)boxes->dim[2]);
    if (boxes && scores &&
        !(may_be(boxes->dim[0], scores->dim[0]) && may_be(boxes->dim[1], scores->dim[2])))
        return qonnx_fail(cx, n, "the scores are not one a class for each of the boxes");
    for (int i = 2; i < 5; i++) {
        const Shape *s = in_shape(n, i);
        if (s && shape_known(s) && shape_elements(s) != 1)
            return qonnx_fail(cx, n, "%s is a list, want a number", nms_inputs[i]);
    }
    return out_shape(cx, n, 0, QONNX_INT64, &(Shape){.rank = 2, .dim = {-1, 3}});
}

static int nms_axis(const Node *n, int i)
{
    (void)n;
    return i ? -1 : 0;
}

/* The most that are taken of a class. */
static int64_t nms_most_of_class(const Node *n)
{
    const Value *most = qonnx_node_input(n, 2);
    int64_t boxes = in_shape(n, 0)->dim[1];
    if (!most) return 0;
    double given = most->data ? qonnx_tensor_get(most->data, 0) : (double)boxes;
    return given <= 0 ? 0 : given < (double)boxes ? (int64_t)given : boxes;
}

static int64_t nms_most(const Node *n)
{
    const Shape *scores = in_shape(n, 1);
    return size_times(size_times(scores->dim[0], scores->dim[1]), nms_most_of_class(n));
}

static bool nms_takes(Why *why, const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (i < n->nin && !takes_type(why, n, i, i == 2 ? QONNX_INT64 : QONNX_FLOAT)) return false;
    return true;
}

static bool nms_lower(Lower *l, Node *n)
{
    const Shape *boxes = in_shape(n, 0);
    nms_p p = {.batch = (int32_t)boxes->dim[0],
               .classes = (int32_t)in_shape(n, 1)->dim[1],
               .boxes = (int32_t)boxes->dim[1],
               .most = (int32_t)nms_most_of_class(n),
               .center = qonnx_node_int(n, "center_point_box", 0) != 0};
    Buf *in[5] = {NULL};
    for (int i = 0; i < n->nin; i++) in[i] = lower_in(l, n, i, PLAIN);
    size_t memory = (size_t)p.boxes * sizeof(int64_t);
    Buf *out[4] = {lower_out(l, n->out[0], PLAIN), lower_size(l, n, 1), lower_temp(l, memory),
                   lower_temp(l, memory)};
    lower_call_n(l, n, "nms", &p, in, 5, out, 4);
    return true;
}

/* Each box may be compared with all that are taken, and sinks through a heap. */
static int64_t nms_work(const Node *n)
{
    const Shape *boxes = in_shape(n, 0);
    int64_t count = shape_open_elements(in_shape(n, 1)), steps = 8;
    if (!boxes || count < 0) return -1;
    for (int64_t k = boxes->dim[1]; k > 1; k /= 2) steps += 8;
    int64_t taken = nms_most_of_class(n);
    return count_work(count, size_plus(steps, size_times(taken < 0 ? 1 : taken, 16)));
}

static const Counted nms_counted = {1, nms_axis, nms_most};

const Op ops_counted[] = {
    {"NonZero", 1, 1, nonzero_shape, RULE_FLOAT, NULL, nonzero_lower, .takes = takes_ordered,
     .counted = &nonzero_counted},
    {"Compress", 2, 2, compress_shape, RULE_FLOAT, NULL, compress_lower, .takes = compress_takes,
     .counted = &compress_counted, .strings = true},
    {"Unique", 1, 1, unique_shape, RULE_FLOAT, NULL, unique_lower, .takes = takes_ordered,
     .work = unique_work, .counted = &unique_counted},
    {"NonMaxSuppression", 2, 5, nms_shape, RULE_FLOAT, NULL, nms_lower, .takes = nms_takes,
     .work = nms_work, .counted = &nms_counted},
    {0},
};
