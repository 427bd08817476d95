/* ops/resize.c - Resize: what its operands say, and the calls that compute it. */
#include "ops/resize.h"
#include "kernels/resize.h"
#include "lower/lower.h"
#include <math.h>
#include <string.h>

/* ---- reading --------------------------------------------------------------------------------- */

/* The floats of input i, at most 2 * QONNX_MAX_RANK: how many; -1: left out (or empty, as older
 * exporters leave it out); -2: not constant. */
static int read_floats(const Node *n, int i, float *values)
{
    const Value *v = qonnx_node_input(n, i);
    if (!v) return -1;
    const Tensor *t = v->data;
    if (!t) return v->shape.rank == 1 && v->shape.dim[0] == 0 ? -1 : -2;
    int64_t count = tensor_count(t);
    if (t->dtype != QONNX_FLOAT || count > 2 * QONNX_MAX_RANK) return -2;
    for (int64_t k = 0; k < count; k++) values[k] = (float)qonnx_tensor_get(t, k);
    return count ? (int)count : -1;
}

static int read_sizes(const Node *n, int64_t *values)
{
    const Value *v = qonnx_node_input(n, 3);
    int count = qonnx_node_list(n, "", 3, values);
    if (count == -2 && v && !v->data && v->shape.rank == 1 && v->shape.dim[0] == 0) return -1;
    return count == 0 ? -1 : count;
}

/* Which of the words the attribute is. */
static bool read_word(Ctx *cx, const Node *n, const char *name, const char *const *words,
                      int *which)
{
    const char *s = qonnx_node_string(n, name, words[0]);
    for (*which = 0; words[*which]; ++*which)
        if (!strcmp(words[*which], s)) return true;
    return qonnx_fail(cx, n, "%s is '%s', which is not known", name, s);
}

/* The axes that the lists are about, in their order; all where the node does not say. */
static bool read_axes(Ctx *cx, const Node *n, int rank, int *axes, int *count)
{
    const int64_t *list;
    bool seen[QONNX_MAX_RANK] = {0};
    *count = qonnx_node_ints(n, "axes", &list);
    if (!*count) *count = rank, list = NULL;
    if (*count > rank) return qonnx_fail(cx, n, "%d axes for rank %d", *count, rank);
    for (int i = 0; i < *count; i++) {
        if (!check_axis(cx, n, list ? list[i] : i, rank, &axes[i])) return false;
        if (seen[axes[i]]) return qonnx_fail(cx, n, "axis %d is there twice", axes[i]);
        seen[axes[i]] = true;
    }
    return true;
}

static bool read_attributes(Ctx *cx, const Node *n, Resize *r)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    int mode;
    if (!read_word(cx, n, "mode", modes, &mode) ||
        !read_word(cx, n, "coordinate_transformation_mode", resize_coordinates, &r->coordinate) ||
        !read_word(cx, n, "nearest_mode", resize_roundings, &r->nearest))
        return false;
    r->mode = (ResizeMode)mode;
    r->cubic_a = qonnx_node_float(n, "cubic_coeff_a", -0.75f);
    r->value = qonnx_node_float(n, "extrapolation_value", 0);
    r->exclude = qonnx_node_int(n, "exclude_outside", 0) != 0;
    r->antialias = qonnx_node_int(n, "antialias", 0) != 0;
    r->crop = !strcmp(resize_coordinates[r->coordinate], "tf_crop_and_resize");
    if (r->antialias && r->mode == RESIZE_NEAREST)
        return qonnx_fail(cx, n, "antialias is for modes linear and cubic");
    return true;
}

/* The part of the input that is taken: starts, then ends. */
static bool read_roi(Ctx *cx, const Node *n, const int *axes, int count, Resize *r, bool *known)
{
    float roi[2 * QONNX_MAX_RANK];
    int numbers = r->crop ? read_floats(n, 1, roi) : -1;
    for (int i = 0; i < r->rank; i++) r->axis[i].start = 0, r->axis[i].end = 1;
    if (numbers == -2) *known = false;
    if (numbers < 0) return true;
    if (numbers != 2 * count)
        return qonnx_fail(cx, n, "roi has %d numbers, want %d", numbers, 2 * count);
    for (int i = 0; i < count; i++) {
        r->axis[axes[i]].start = roi[i];
        r->axis[axes[i]].end = roi[count + i];
    }
    return true;
}

static bool set_scale(Ctx *cx, const Node *n, ResizeAxis *a, float scale)
{
    if (!(scale > 0) || isinf(scale)) return qonnx_fail(cx, n, "scale %g", (double)scale);
    a->scale = scale;
    if (a->in < 0) return true;
    float size = floorf(scale * (float)a->in);
    if (size >= 0x1p31f)
        return qonnx_fail(cx, n, "scale %g makes an axis of %lld too large", (double)scale,
                          (long long)a->in);
    a->out = (int64_t)size;
    return true;
}

static bool set_size(Ctx *cx, const Node *n, ResizeAxis *a, int64_t size)
{
    if (size < 0 || size > INT32_MAX || (a->in == 0 && size))
        return qonnx_fail(cx, n, "size %lld for an axis of %lld", (long long)size,
                          (long long)a->in);
    a->out = size;
    a->scale = a->in > 0 ? (float)size / (float)a->in : 1;
    return true;
}

/* One scale for all axes, so that none is larger (or smaller) than its size. */
static bool keep_aspect(Ctx *cx, const Node *n, const int *axes, int count, Resize *r)
{
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller", NULL};
    int policy;
    if (!read_word(cx, n, "keep_aspect_ratio_policy", policies, &policy)) return false;
    if (!policy) return true;
    float scale = r->axis[axes[0]].scale;
    for (int i = 0; i < count; i++) {
        const ResizeAxis *a = &r->axis[axes[i]];
        scale = policy == 1 ? fminf(scale, a->scale) : fmaxf(scale, a->scale);
        if (a->in < 0) scale = NAN;
    }
    for (int i = 0; i < count; i++) {
        ResizeAxis *a = &r->axis[axes[i]];
        float size = roundf(scale * (float)a->in);
        if (size >= 0x1p31f) return qonnx_fail(cx, n, "an axis of %.0f is too large", (double)size);
        a->scale = scale;
        a->out = size >= 0 ? (int64_t)size : -1;
    }
    return true;
}

bool resize_read(Ctx *cx, const Node *n, Resize *r, bool *known)
{
    const Shape *x = in_shape(n, 0);
    int axes[QONNX_MAX_RANK], count;
    float scales[2 * QONNX_MAX_RANK];
    int64_t sizes[2 * QONNX_MAX_RANK];
    *r = (Resize){.rank = x->rank};
    *known = true;
    for (int i = 0; i < x->rank; i++) r->axis[i] = (ResizeAxis){x->dim[i], x->dim[i], 1, 0, 1};
    if (!read_attributes(cx, n, r) || !read_axes(cx, n, x->rank, axes, &count) ||
        !read_roi(cx, n, axes, count, r, known))
        return false;
    int nscales = read_floats(n, 2, scales), nsizes = read_sizes(n, sizes);
    int given = nsizes == -1 ? nscales : nsizes;
    if (nscales != -1 && nsizes != -1) return qonnx_fail(cx, n, "both scales and sizes are given");
    if (nscales == -1 && nsizes == -1)
        return qonnx_fail(cx, n, "neither scales nor sizes are given");
    for (int i = 0; given < 0 && i < count; i++) r->axis[axes[i]].out = -1;
    if (given < 0) return *known = false, true;
    if (given != count)
        return qonnx_fail(cx, n, "%s has %d numbers, want %d", nsizes == -1 ? "scales" : "sizes",
                          given, count);
    for (int i = 0; i < count; i++) {
        ResizeAxis *a = &r->axis[axes[i]];
        if (nsizes == -1 ? !set_scale(cx, n, a, scales[i]) : !set_size(cx, n, a, sizes[i]))
            return false;
    }
    return nsizes == -1 || !count || keep_aspect(cx, n, axes, count, r);
}

/* Whether an axis is not left as it is. (Of a very large one the scale may be 1 all the same.) */
static bool changes(const ResizeAxis *a) { return a->scale != 1 || a->in != a->out; }

static bool resize_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Resize r;
    bool known;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!resize_read(cx, n, &r, &known)) return false;
    Shape y = {.rank = x->rank};
    for (int i = 0; i < x->rank; i++) {
        y.dim[i] = r.axis[i].out;
        if (!changes(&r.axis[i])) y.sym[i] = x->sym[i];
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* ---- what runs ------------------------------------------------------------------------------- */

static bool resize_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    const char *mode = qonnx_node_string(n, "mode", "nearest");
    bool nearest = !strcmp(mode, "nearest"), cubic = !strcmp(mode, "cubic"),
         antialias = qonnx_node_int(n, "antialias", 0) != 0;
    if (nearest) return takes_moved(why, n);
    if (!t || t == QONNX_FLOAT || (t == QONNX_INT32 && (antialias || !cubic)) ||
        (t == QONNX_UINT8 && (antialias || !cubic)) || (t == QONNX_INT8 && !antialias && !cubic))
        return true;
    return why_not(why, "mode %s%s of %s", mode, antialias ? " with antialias" : "",
                   qonnx_dtype_name(t));
}

/* Elements are moved and none is made, unless some are the extrapolation value. Interpolation is
 * done in float by runtimes, too. */
static void resize_refine(const Node *n, qonnx_rule *r)
{
    if (strcmp(qonnx_node_string(n, "mode", "nearest"), "nearest")) *r = (qonnx_rule)RULE_FLOAT;
    else if (!strcmp(qonnx_node_string(n, "coordinate_transformation_mode", "half_pixel"),
                     "tf_crop_and_resize"))
        *r = (qonnx_rule)RULE_APART;
}

/* ---- nearest --------------------------------------------------------------------------------- */

/* The bytes of a number of that type. */
static uint64_t value_bits(DType t, float value)
{
    uint64_t bits = 0;
    double wide = (double)value;
    int64_t whole = wide > -0x1p63 && wide < 0x1p63 ? (int64_t)wide : 0;
    if (t == QONNX_FLOAT) memcpy(&bits, &value, sizeof value);
    else if (t == QONNX_DOUBLE) memcpy(&bits, &wide, sizeof wide);
    else bits = (uint64_t)whole;
    return bits;
}

/* The places of an output axis in the input, each `step` elements. */
static void nearest_places(const Resize *r, const ResizeAxis *a, int64_t step, int32_t *to)
{
    for (int64_t i = 0; i < a->out; i++) {
        int64_t at = resize_nearest_place(r, a, i);
        to[i] = (int32_t)(at < 0 ? -1 : at * step);
    }
}

static bool nearest_lower(Lower *l, Node *n, const Resize *r)
{
    const Shape *x = in_shape(n, 0);
    Layout at = lower_layout(l, n, 0);
    int order[QONNX_MAX_RANK], rank = r->rank;
    int64_t strides[QONNX_MAX_RANK], places = 0;
    uint64_t value = value_bits(in_dtype(n, 0), r->value);
    layout_order(rank, at, order);
    layout_strides(x, at, strides);
    resize_nearest_p p = {.run = 1,
                          .size = dtype_size(in_dtype(n, 0)),
                          .value_lo = (int32_t)(uint32_t)value,
                          .value_hi = (int32_t)(uint32_t)(value >> 32)};
    while (rank > 0 && !changes(&r->axis[order[rank - 1]])) /* side by side in both */
        p.run *= (int32_t)r->axis[order[--rank]].out;
    int32_t *dims = &p.d0;
    for (int i = 0; i < 8; i++) dims[i] = 1;
    for (int i = 0; i < rank; i++) {
        dims[8 - rank + i] = (int32_t)r->axis[order[i]].out;
        places += dims[8 - rank + i];
    }
    int32_t *table = lower_array(l, (size_t)(places + 8), sizeof *table), *to = table + (8 - rank);
    for (int i = 0; i < rank; to += r->axis[order[i++]].out)
        nearest_places(r, &r->axis[order[i]], strides[order[i]], to);
    Buf *in[2] = {lower_in(l, n, 0, at),
                  lower_const(l, table, (size_t)(places + 8) * sizeof *table)};
    lower_call(l, n, "resize_nearest", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

/* ---- linear ---------------------------------------------------------------------------------- */

/* The axes that ONNX Runtime interpolates along, whether they change or not: `first` to `last`, by
 * ONNX's order; false: it interpolates along none of the kind. */
static bool linear_axes(const Resize *r, int *first, int *last)
{
    *first = r->rank > 3 ? 2 : 0;
    *last = r->rank - 1;
    if (r->rank < 2 || r->rank > 5) return false;
    if (r->rank == 4 && changes(&r->axis[1])) *first = 1, *last = 2;
    for (int i = 0; i < r->rank; i++)
        if ((i < *first || i > *last) && changes(&r->axis[i])) return false;
    return true;
}

static bool linear_lower(Lower *l, Node *n, const Resize *r, int first, int last)
{
    DType t = in_dtype(n, 0);
    int64_t places = 0;
    resize_linear_p p = {.type = (int32_t)t,
                         .outer = 1,
                         .inner = 1,
                         .id = 1,
                         .od = 1,
                         .deep = last - first == 2,
                         .value = r->value};
    /* channels may lie last where they are in front of all that is interpolated */
    Layout at = first == 2 ? lower_layout(l, n, 0) : PLAIN;
    p.whole = first == 1 && qonnx_dtype_bits(t) == 8;
    for (int i = 0; i < r->rank; i++) {
        int32_t size = (int32_t)r->axis[i].out;
        if (i >= first && i <= last)
            (&p.ih)[i - last + 1] = (int32_t)r->axis[i].in, (&p.oh)[i - last + 1] = size;
        else if (i > last || (i == 1 && at == LAST)) p.inner *= size;
        else p.outer *= size;
    }
    places = 2 * ((int64_t)p.od + p.oh + p.ow);
    int32_t *table = lower_array(l, (size_t)places, sizeof *table), *to = table;
    float *weights = lower_array(l, (size_t)places, sizeof *weights), *w = weights;
    if (!p.deep) to[0] = to[1] = 0, w[0] = 1, to += 2, w += 2;
    for (int i = first; i <= last; i++)
        for (int64_t k = 0; k < r->axis[i].out; k++, to += 2, w += 2)
            resize_neighbours(r, &r->axis[i], k, p.whole, to, w);
    Buf *in[3] = {lower_in(l, n, 0, at), lower_const(l, table, (size_t)places * sizeof *table),
                  lower_const(l, weights, (size_t)places * sizeof *weights)};
    lower_call(l, n, "resize_linear", &p, in, 3, lower_out(l, n->out[0], at));
    return true;
}

/* ---- one axis after the other ---------------------------------------------------------------- */

/* The table and the weights of an axis; those of bytes are int32, in 2^-22. */
static void window_tables(Lower *l, const Resize *r, const ResizeAxis *a, int64_t taps, bool bytes,
                          Buf *tables[2])
{
    size_t rows = (size_t)a->out, count = (size_t)taps;
    int32_t *table = lower_array(l, rows * (count + 1), sizeof *table);
    float *weights = lower_array(l, rows * count, sizeof *weights);
    for (size_t i = 0; i < rows; i++) {
        int32_t *entry = table + i * (count + 1);
        float *w = weights + i * count;
        entry[0] = resize_window(r, a, (int64_t)i, entry + 1, w);
        for (int32_t k = 0; bytes && k < entry[0]; k++) {
            float scaled = roundf(w[k] * 0x1p22f);
            int32_t whole = scaled > -0x1p30f && scaled < 0x1p30f ? (int32_t)scaled : 0;
            memcpy(&w[k], &whole, sizeof whole);
        }
    }
    tables[0] = lower_const(l, table, rows * (count + 1) * sizeof *table);
    tables[1] = lower_const(l, weights, rows * count * sizeof *weights);
}

/* The innermost axis first, as in ONNX Runtime. */
static bool passes_lower(Lower *l, Node *n, const Resize *r)
{
    DType t = in_dtype(n, 0);
    Layout at = lower_layout(l, n, 0);
    Shape now = *in_shape(n, 0);
    int order[QONNX_MAX_RANK], last = -1;
    layout_order(r->rank, at, order);
    Buf *x = lower_in(l, n, 0, at);
    for (int i = 0; i < r->rank; i++)
        if (changes(&r->axis[i]) && last < 0) last = i;
    for (int i = r->rank - 1; i >= 0; i--) {
        const ResizeAxis *a = &r->axis[i];
        if (!changes(a)) continue;
        resize_axis_p p = {.type = (int32_t)t,
                           .outer = 1,
                           .inner = 1,
                           .in = (int32_t)a->in,
                           .out = (int32_t)a->out,
                           .taps = (int32_t)resize_taps(r, a),
                           .value = r->value};
        bool behind = false;
        for (int k = 0; k < r->rank; k++) {
            if (order[k] == i) behind = true;
            else *(behind ? &p.inner : &p.outer) *= (int32_t)now.dim[order[k]];
        }
        now.dim[i] = a->out;
        if (shape_elements(&now) < 0)
            return qonnx_fail(l->cx, n, "it is too large between two axes");
        Buf *tables[2];
        window_tables(l, r, a, p.taps, t == QONNX_UINT8, tables);
        Buf *y =
            i == last
                ? lower_out(l, n->out[0], at)
                : lower_temp(l, (size_t)shape_elements(&now) * (size_t)dtype_size(t));
        lower_call(l, n, "resize_axis", &p, (Buf *[]){x, tables[0], tables[1]}, 3, y);
        x = y;
    }
    return true;
}

static bool resize_lower(Lower *l, Node *n)
{
    DType t = in_dtype(n, 0);
    Resize r;
    bool known, same = true;
    int first, last;
    if (!resize_read(l->cx, n, &r, &known)) return false;
    if (!known) return qonnx_fail(l->cx, n, "its roi, scales and sizes must be constant to run it");
    for (int i = 0; i < r.rank; i++) same &= r.axis[i].in == r.axis[i].out;
    if (same || !shape_elements(&n->out[0]->shape)) {
        Layout at = lower_layout(l, n, 0);
        lower_view(l, n->out[0], same ? lower_in(l, n, 0, at) : lower_temp(l, 0), at);
        return true;
    }
    if (r.mode == RESIZE_NEAREST) return nearest_lower(l, n, &r);
    bool linear = r.mode == RESIZE_LINEAR && !r.antialias;
    if (linear && linear_axes(&r, &first, &last)) return linear_lower(l, n, &r, first, last);
    if (linear && t != QONNX_FLOAT)
        return qonnx_fail(l->cx, n, "linear interpolation of %s along such axes",
                          qonnx_dtype_name(t));
    return passes_lower(l, n, &r);
}

const Op ops_resize[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Resize", 1, 4, resize_shape, RULE(QONNX_RULE_SAME, 1), resize_refine, resize_lower,
     .lists = 0xe, .takes = resize_takes},
    {0},
};
