/* ops/pad.c - operators that put more around a tensor, or take some off: Pad, CenterCropPad, Tile.
 */
#include "kernels/pad.h"
#include "lower/lower.h"
#include <string.h>

/* What is done to each axis of the input. */
typedef struct Margins {
    int64_t front[QONNX_MAX_RANK]; /* how much is put in front; below 0: how much is taken off */
    int64_t behind[QONNX_MAX_RANK];
} Margins;

/* An axis from which the margins below 0 are taken off, and what is put around it. */
typedef struct Axis {
    int64_t first, count;  /* elements of the input that are left */
    int64_t front, behind; /* put around them */
} Axis;

/* False where more is taken off than is there, or a size does not fit. */
static bool cut_axis(int64_t d, int64_t front, int64_t behind, Axis *a)
{
    int64_t y;
    *a = (Axis){.count = d, .front = front, .behind = behind};
    if (front < 0) {
        if (front < -d) return false;
        a->first = -front;
        a->count += front;
        a->front = 0;
    }
    if (behind < 0) {
        if (behind < -a->count) return false;
        a->count += behind;
        a->behind = 0;
    }
    return !__builtin_add_overflow(a->count, a->front, &y) &&
           !__builtin_add_overflow(y, a->behind, &y);
}

/* The shape that the margins give. In a mode that takes elements again there must be some. */
static bool margins_shape(Ctx *cx, Node *n, const Margins *m, int mode)
{
    const Shape *x = in_shape(n, 0);
    Shape y = *x;
    for (int i = 0; i < x->rank; i++) {
        Axis a;
        if (!m->front[i] && !m->behind[i]) continue;
        y.sym[i] = NULL;
        if (x->dim[i] < 0) continue;
        if (!cut_axis(x->dim[i], m->front[i], m->behind[i], &a))
            return qonnx_fail(cx, n, "pads %lld and %lld do not fit axis %d of size %lld",
                              (long long)m->front[i], (long long)m->behind[i], i,
                              (long long)x->dim[i]);
        if (mode != PAD_CONSTANT && !a.count && (a.front || a.behind))
            return qonnx_fail(cx, n, "axis %d has no elements to pad with", i);
        y.dim[i] = a.count + a.front + a.behind;
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* Emits the padding of input 0, in the layout that it is in. The axes behind the last one that
 * changes are moved as one unit. */
static bool margins_lower(Lower *l, Node *n, const Margins *m, int mode, Buf *value)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    Layout at = lower_layout(l, n, 0);
    int order[QONNX_MAX_RANK], rank = x->rank;
    layout_order(rank, at, order);
    pad_p p = {.unit = 1, .size = dtype_size(in_dtype(n, 0)), .mode = mode};
    while (rank && !m->front[order[rank - 1]] && !m->behind[order[rank - 1]])
        p.unit *= (int32_t)x->dim[order[--rank]];
    for (int k = 0; k < QONNX_MAX_RANK; k++) (&p.d0)[k] = (&p.n0)[k] = (&p.x0)[k] = 1;
    int64_t step = 1;
    for (int k = rank - 1; k >= 0; k--) {
        int i = order[k], to = QONNX_MAX_RANK - rank + k;
        Axis a;
        cut_axis(x->dim[i], m->front[i], m->behind[i], &a);
        (&p.d0)[to] = (int32_t)y->dim[i];
        (&p.n0)[to] = (int32_t)a.count;
        (&p.x0)[to] = (int32_t)step;
        (&p.b0)[to] = (int32_t)a.front;
        p.xoff += (int32_t)(a.first * step);
        step *= x->dim[i];
    }
    Buf *in[2] = {lower_in(l, n, 0, at), value};
    lower_call(l, n, "pad", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

/* ---- Pad ------------------------------------------------------------------------------------- */

/* -1: there is no such mode. */
static int pad_mode(const Node *n)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const char *mode = qonnx_node_string(n, "mode", "constant");
    for (int i = 0; i < 4; i++)
        if (!strcmp(mode, names[i])) return i;
    return -1;
}

/* The pads by axes. *known is false where they are not constant. */
static bool pad_read(Ctx *cx, const Node *n, Margins *m, bool *known)
{
    const Shape *x = in_shape(n, 0);
    int64_t pads[QONNX_MAX_RANK * 2], axes[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "", 1, pads), naxes = qonnx_node_list(n, "", 3, axes);
    bool seen[QONNX_MAX_RANK] = {0};
    *known = x && count >= 0 && naxes != -2;
    if (!*known) return true;
    *m = (Margins){{0}, {0}};
    if (naxes < 0) naxes = x->rank;
    else if (naxes > x->rank) return qonnx_fail(cx, n, "%d axes for rank %d", naxes, x->rank);
    if (count != 2 * naxes)
        return qonnx_fail(cx, n, "%d pads, want %d, two for each axis", count, 2 * naxes);
    for (int i = 0; i < naxes; i++) {
        int at = i;
        if (qonnx_node_input(n, 3) && !check_axis(cx, n, axes[i], x->rank, &at)) return false;
        if (seen[at]) return qonnx_fail(cx, n, "axis %d is there twice", at);
        seen[at] = true;
        m->front[at] = pads[i];
        m->behind[at] = pads[naxes + i];
    }
    return true;
}

static bool pad_shape(Ctx *cx, Node *n)
{
    const Shape *value = in_shape(n, 2);
    Margins m;
    bool known;
    int mode = pad_mode(n);
    if (mode < 0)
        return qonnx_fail(cx, n, "mode is \"%.60s\", want constant, reflect, edge or wrap",
                          qonnx_node_string(n, "mode", ""));
    if (value && shape_known(value) && shape_elements(value) != 1)
        return qonnx_fail(cx, n, "the value to pad with is not one element");
    if (!pad_read(cx, n, &m, &known)) return false;
    if (known) return margins_shape(cx, n, &m, mode);
    Shape y = open_shape(in_shape(n, 0));
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool pad_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0), value = in_dtype(n, 2);
    if (t && value && value != t)
        return why_not(why, "it pads %s with %s", qonnx_dtype_name(t), qonnx_dtype_name(value));
    return takes_moved(why, n);
}

/* Whether what is put around is 0, or comes from the input. */
static bool adds_nothing_new(const Node *n)
{
    const Value *v = qonnx_node_input(n, 2);
    if (pad_mode(n) != PAD_CONSTANT || !v) return true;
    return v->data && v->data->data && tensor_count(v->data) == 1 &&
           qonnx_tensor_get(v->data, 0) == 0;
}

/* A zero has an integer in every range; what else it is padded with may lie far outside, as the
 * -inf in front of a MaxPool does. */
static void pad_refine(const Node *n, qonnx_rule *rule)
{
    if (!adds_nothing_new(n)) rule->kind = QONNX_RULE_FLOAT, rule->activations = 0;
}

static bool pad_lower(Lower *l, Node *n)
{
    Margins m;
    bool known;
    int mode = pad_mode(n);
    if (!pad_read(l->cx, n, &m, &known)) return false;
    if (!known) return qonnx_fail(l->cx, n, "pads and axes must be constant to run it");
    bool zero = mode != PAD_CONSTANT || !qonnx_node_input(n, 2);
    return margins_lower(l, n, &m, mode, zero ? NULL : lower_in(l, n, 2, PLAIN));
}

/* ---- CenterCropPad --------------------------------------------------------------------------- */

/* To the sizes wanted, on both sides alike; the odd one behind. The margins of open sizes are 0. */
static bool center_read(Ctx *cx, const Node *n, Margins *m, Shape *y, bool *known)
{
    const Shape *x = in_shape(n, 0);
    int64_t want[QONNX_MAX_RANK * 2];
    const int64_t *axes;
    int count = qonnx_node_list(n, "", 1, want), naxes = qonnx_node_ints(n, "axes", &axes);
    *known = x && count >= 0;
    if (!*known) return true;
    *m = (Margins){{0}, {0}};
    *y = *x;
    if (!axes) naxes = x->rank;
    if (count != naxes || count > x->rank)
        return qonnx_fail(cx, n, "%d sizes for %d axes", count, naxes);
    for (int i = 0; i < count; i++) {
        int at = i;
        if (axes && !check_axis(cx, n, axes[i], x->rank, &at)) return false;
        if (want[i] < 0) return qonnx_fail(cx, n, "size %lld", (long long)want[i]);
        y->dim[at] = want[i];
        y->sym[at] = NULL;
        if (x->dim[at] < 0) continue;
        m->front[at] = (want[i] - x->dim[at]) / 2;
        m->behind[at] = want[i] - x->dim[at] - m->front[at];
    }
    return true;
}

/* ---- Tile ------------------------------------------------------------------------------------ */

/* An axis that is repeated r times is wrapped around r - 1 times its size. */
static bool tile_read(Ctx *cx, const Node *n, Margins *m, Shape *y, bool *known)
{
    const Shape *x = in_shape(n, 0);
    int64_t repeats[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "", 1, repeats);
    *known = x && count >= 0;
    if (!*known) return true;
    *m = (Margins){{0}, {0}};
    *y = *x;
    if (count != x->rank) return qonnx_fail(cx, n, "%d repeats for rank %d", count, x->rank);
    for (int i = 0; i < count; i++) {
        if (repeats[i] < 0)
            return qonnx_fail(cx, n, "it repeats axis %d %lld times", i, (long long)repeats[i]);
        if (repeats[i] != 1) y->sym[i] = NULL;
        if (x->dim[i] < 0) y->dim[i] = repeats[i] == 1 ? -1 : repeats[i] ? -1 : 0;
        else if (__builtin_mul_overflow(x->dim[i], repeats[i], &y->dim[i]))
            return qonnx_fail(cx, n, "axis %d overflows", i);
        m->behind[i] = y->dim[i] - x->dim[i];
    }
    return true;
}

/* ---- CenterCropPad and Tile ------------------------------------------------------------------ */

/* Reads the margins, and the shape that they make; *known is false where they are not constant. */
typedef bool ReadFn(Ctx *cx, const Node *n, Margins *m, Shape *y, bool *known);

static bool read_shape(Ctx *cx, Node *n, ReadFn *read)
{
    Margins m;
    Shape y = open_shape(in_shape(n, 0));
    bool known;
    return read(cx, n, &m, &y, &known) && out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool read_lower(Lower *l, Node *n, ReadFn *read, const char *what, int mode)
{
    Margins m;
    Shape y;
    bool known;
    if (!read(l->cx, n, &m, &y, &known)) return false;
    if (!known) return qonnx_fail(l->cx, n, "its %s must be constant to run it", what);
    return margins_lower(l, n, &m, mode, NULL);
}

static bool center_shape(Ctx *cx, Node *n) { return read_shape(cx, n, center_read); }

static bool center_lower(Lower *l, Node *n)
{
    return read_lower(l, n, center_read, "shape", PAD_CONSTANT);
}

static bool tile_shape(Ctx *cx, Node *n) { return read_shape(cx, n, tile_read); }

static bool tile_lower(Lower *l, Node *n)
{
    return read_lower(l, n, tile_read, "repeats", PAD_WRAP);
}

const Op ops_pad[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Pad", 2, 4, pad_shape, RULE(QONNX_RULE_SAME, 1), pad_refine, pad_lower, .lists = 0xa,
     .takes = pad_takes},
    {"CenterCropPad", 2, 2, center_shape, RULE_FLOAT, NULL, center_lower, .lists = 2,
     .takes = takes_moved},
    {"Tile", 2, 2, tile_shape, RULE(QONNX_RULE_SAME, 1), NULL, tile_lower, .lists = 2,
     .takes = takes_moved, .strings = true},
    {0},
};
