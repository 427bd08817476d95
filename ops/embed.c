/* ops/embed.c - com.microsoft's EmbedLayerNormalization: rows of up to three tables, added up and
 * normalized. */
#include "kernels/f_norm.h"
#include "kernels/reduce_walk.h"
#include "ops/attend.h"
#include <string.h>

enum { IDS, SEGMENTS, WORDS, PLACES, KINDS, SCALE, SHIFT, MASK, PLACE_IDS };

/* Whether axis `axis` of two inputs is of one size; true where one is not known. */
static bool same_dim(Ctx *cx, const Node *n, int i, int k, int axis)
{
    const Shape *s = in_shape(n, k);
    return !s || check_dim(cx, n, i, axis, s->dim[axis]);
}

static bool embed_checks(Ctx *cx, const Node *n)
{
    static const int ranks[] = {2, 2, 2, 2, 2, 1, 1, 2, 2};
    static const int required[] = {WORDS, PLACES, SCALE, SHIFT};
    const Shape *words = in_shape(n, WORDS), *ids = in_shape(n, IDS), *places = in_shape(n, PLACES);
    int64_t width = words && words->rank == 2 ? words->dim[1] : -1;
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!qonnx_node_input(n, required[i]))
            return qonnx_fail(cx, n, "input %d is left out, but it is required", required[i]);
    for (int i = 0; i < (int)(sizeof ranks / sizeof *ranks); i++)
        if (!check_rank(cx, n, i, ranks[i], ranks[i])) return false;
    for (int i = PLACES; i <= KINDS; i++)
        if (!check_dim(cx, n, i, 1, width)) return false;
    if ((qonnx_node_input(n, SEGMENTS) != NULL) != (qonnx_node_input(n, KINDS) != NULL))
        return qonnx_fail(cx, n,
                          "segment_ids and segment_embedding go together, one of them is "
                          "left out");
    if (ids && places && !qonnx_node_input(n, PLACE_IDS) && ids->dim[1] > places->dim[0] &&
        places->dim[0] >= 0)
        return qonnx_fail(cx, n, "%lld positions for rows of %lld ids", (long long)places->dim[0],
                          (long long)ids->dim[1]);
    for (int axis = 0; axis < 2; axis++)
        if (!same_dim(cx, n, SEGMENTS, IDS, axis) || !same_dim(cx, n, MASK, IDS, axis))
            return false;
    const Shape *own = in_shape(n, PLACE_IDS);
    return check_dim(cx, n, SCALE, 0, width) && check_dim(cx, n, SHIFT, 0, width) &&
           same_dim(cx, n, PLACE_IDS, IDS, 1) &&
           (!own || own->dim[0] == 1 || same_dim(cx, n, PLACE_IDS, IDS, 0));
}

static bool embed_shape(Ctx *cx, Node *n)
{
    const Shape *ids = in_shape(n, IDS), *words = in_shape(n, WORDS);
    DType t = in_dtype(n, WORDS);
    if (!embed_checks(cx, n)) return false;
    if (!ids || !words) return out_shape(cx, n, 0, t, NULL);
    const Shape y = {.rank = 3,
                     .dim = {ids->dim[0], ids->dim[1], words->dim[1]},
                     .sym = {ids->sym[0], ids->sym[1], words->sym[1]}};
    const Shape mask = {.rank = 1, .dim = {ids->dim[0]}, .sym = {ids->sym[0]}};
    if (qonnx_node_output(n, 1) && !out_shape(cx, n, 1, QONNX_INT32, &mask)) return false;
    if (qonnx_node_output(n, 2) && !out_shape(cx, n, 2, t, &y)) return false;
    return out_shape(cx, n, 0, t, &y);
}

static bool embed_takes(Why *why, const Node *n)
{
    for (int i = 0; i < n->nin; i++) {
        bool integers = i <= SEGMENTS || i >= MASK;
        if (!takes_type(why, n, i, integers ? QONNX_INT32 : QONNX_FLOAT)) return false;
    }
    return true;
}

/* Rows of a table by the ids of another input, as [1][batch][row][width]. */
static Grid rows_of(Lower *l, Node *n, int ids, int table)
{
    const Shape *s = in_shape(n, ids), *t = in_shape(n, table);
    Grid y = {.dims = {1, s->dim[0], s->dim[1], t->dim[1]}};
    int64_t count = s->dim[0] * s->dim[1];
    y.buf = lower_temp(l, (size_t)(count * t->dim[1]) * sizeof(float));
    lower_rows(l, n, lower_in(l, n, table, PLAIN), t->dim[0], t->dim[1], sizeof(float),
               lower_in(l, n, ids, PLAIN), false, count, y.buf);
    return y;
}

/* How many elements of each row of the mask are 1. */
static void mask_counts(Lower *l, Node *n)
{
    static const int32_t one = 1;
    const Shape *s = in_shape(n, IDS);
    int64_t batch = s->dim[0], count = batch * s->dim[1];
    Buf *mask = lower_in(l, n, MASK, PLAIN);
    if (!mask) {
        int32_t *none = lower_array(l, (size_t)batch, sizeof *none);
        memset(none, 0, (size_t)batch * sizeof *none);
        lower_view(l, n->out[1], lower_const(l, none, (size_t)batch * sizeof *none), PLAIN);
        return;
    }
    Buf *is = arithmetic(l, n, F_EQUAL, QONNX_INT32, count, mask, lower_const(l, &one, sizeof one));
    is = lower_cast(l, n, QONNX_BOOL, QONNX_INT32, count, is);
    reduce_p r = {F_RSUM,         QONNX_INT32,        1,     1, 1, 1, 1, 1,
                  (int32_t)batch, (int32_t)s->dim[1], 1 << 7};
    lower_call(l, n, "reduce", &r, &is, 1, lower_out(l, n->out[1], PLAIN));
}

static bool embed_lower(Lower *l, Node *n)
{
    const Shape *s = in_shape(n, IDS);
    int64_t width = in_shape(n, WORDS)->dim[1];
    if (!in_shape(n, WORDS)->dim[0]) return qonnx_fail(l->cx, n, "word_embedding has no rows");
    Grid places = {lower_in(l, n, PLACES, PLAIN), {1, 1, s->dim[1], width}};
    if (qonnx_node_input(n, PLACE_IDS)) places = rows_of(l, n, PLACE_IDS, PLACES);
    Grid sum = grid_join(l, n, F_ADD, rows_of(l, n, IDS, WORDS), places);
    if (qonnx_node_input(n, SEGMENTS))
        sum = grid_join(l, n, F_ADD, sum, rows_of(l, n, SEGMENTS, KINDS));
    f_norm_p p = {(int32_t)(s->dim[0] * s->dim[1]),
                  (int32_t)width,
                  1,
                  1,
                  0,
                  qonnx_node_float(n, "epsilon", 1e-12f),
                  0};
    Buf *in[3] = {sum.buf, lower_in(l, n, SCALE, PLAIN), lower_in(l, n, SHIFT, PLAIN)};
    lower_call(l, n, "f_norm", &p, in, 3, lower_out(l, n->out[0], PLAIN));
    if (out_used(n, 2)) lower_view(l, n->out[2], sum.buf, PLAIN);
    if (out_used(n, 1)) mask_counts(l, n);
    return true;
}

/* Rows that are added and normalized; ids are looked up one by one. */
static int64_t embed_work(const Node *n)
{
    const Shape *words = in_shape(n, WORDS);
    int64_t ids = shape_open_elements(in_shape(n, IDS));
    if (ids < 0 || !words || words->rank != 2) return -1;
    int64_t width = words->dim[1] < 0 ? 1 : words->dim[1];
    return width > INT64_MAX / 128 ? -1 : count_work(ids, 64 * width + 256);
}

const Op ops_embed[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"EmbedLayerNormalization", 1, 9, embed_shape, RULE_FLOAT, NULL, embed_lower,
     .takes = embed_takes, .work = embed_work, .domain = "com.microsoft"},
    {0},
};
