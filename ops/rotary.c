/* ops/rotary.c - RotaryEmbedding, ONNX's and com.microsoft's. */
#include "ops/rotary.h"
#include "ops/attend.h"
#include <string.h>

bool rotary_check(Ctx *cx, const Node *n, int cos, int sin, int64_t turned, int64_t size, bool own)
{
    const Shape *c = in_shape(n, cos);
    int rank = own ? 3 : 2;
    if (!check_rank(cx, n, cos, rank, rank) || !check_rank(cx, n, sin, rank, rank)) return false;
    if (turned >= 0 && (turned % 2 || (size >= 0 && turned > size)))
        return qonnx_fail(cx, n, "it turns %lld elements of heads of %lld, want an even part",
                          (long long)turned, (long long)size);
    if (!check_dim(cx, n, cos, rank - 1, turned < 0 ? -1 : turned / 2)) return false;
    for (int i = 0; c && i < rank; i++)
        if (!check_dim(cx, n, sin, i, c->dim[i])) return false;
    return true;
}

f_rotary_p rotary_params(int64_t batch, int64_t heads, int64_t rows, int64_t size, int64_t turned,
                         bool interleaved, Heads x, Heads y)
{
    return (f_rotary_p){.batch = (int32_t)batch,
                        .heads = (int32_t)heads,
                        .rows = (int32_t)rows,
                        .size = (int32_t)size,
                        .turned = (int32_t)turned,
                        .interleaved = interleaved,
                        .xb = (int32_t)x.batch,
                        .xh = (int32_t)x.head,
                        .xr = (int32_t)x.row,
                        .xat = (int32_t)x.at,
                        .yb = (int32_t)y.batch,
                        .yh = (int32_t)y.head,
                        .yr = (int32_t)y.row};
}

bool rotary_places(Ctx *cx, const Node *n, int cos, f_rotary_p *p)
{
    const Shape *c = in_shape(n, cos);
    int64_t places = shape_product(c, 0, c->rank - 1);
    p->places = (int32_t)places;
    return places > 0 || qonnx_fail(cx, n, "input %d has no rows", cos);
}

void rotary_call(Lower *l, Node *n, const f_rotary_p *p, Buf *x, int cos, int sin, Buf *ids, Buf *y)
{
    Buf *in[4] = {x, lower_in(l, n, cos, PLAIN), lower_in(l, n, sin, PLAIN), ids};
    lower_call(l, n, "f_rotary", p, in, 4, y);
}

/* ---- the operators --------------------------------------------------------------------------- */

/* Which input is what. */
typedef struct Form {
    int cos, sin, ids;
} Form;

static Form form_of(const Node *n) { return n->domain[0] ? (Form){2, 3, 1} : (Form){1, 2, 3}; }

/* Its sizes, -1 where open. */
typedef struct Sizes {
    int64_t batch, heads, rows, size, turned;
} Sizes;

static bool sizes_of(Ctx *cx, const Node *n, Sizes *z)
{
    const Form f = form_of(n);
    const Shape *x = in_shape(n, 0), *c = in_shape(n, f.cos);
    int64_t heads = qonnx_node_int(n, "num_heads", 0);
    int64_t turned = qonnx_node_int(n, "rotary_embedding_dim", 0);
    *z = (Sizes){-1, -1, -1, -1, -1};
    if (turned < 0 || turned > INT32_MAX)
        return qonnx_fail(cx, n, "rotary_embedding_dim is %lld, want 0 or more", (long long)turned);
    if (!check_rank(cx, n, 0, 3, 4)) return false;
    if (!x) return true;
    z->batch = x->dim[0];
    if (x->rank == 4) {
        z->heads = x->dim[1], z->rows = x->dim[2], z->size = x->dim[3];
    } else {
        z->rows = x->dim[1];
        if (!heads && n->domain[0] && !turned) { /* the table says how large a head is */
            z->size = c ? open_times(2, c->dim[c->rank - 1]) : -1;
            if (x->dim[2] < 0 || z->size < 0) return true;
            heads = z->size ? x->dim[2] / z->size : 0;
        }
        if (!attend_check_heads(cx, n, "num_heads", heads) || !attend_check_split(cx, n, 0, heads))
            return false;
        z->heads = heads;
        z->size = open_part(x->dim[2], heads);
    }
    z->turned = turned ? turned : z->size;
    return true;
}

/* Ids are one a row, or, in com.microsoft's, one for the first row of all. */
static bool ids_check(Ctx *cx, const Node *n, const Sizes *z)
{
    const Form f = form_of(n);
    const Shape *s = in_shape(n, f.ids);
    if (!s) return true;
    if (n->domain[0] && s->rank < 2)
        return sizes_agree(shape_elements(s), 1) ||
               qonnx_fail(cx, n, "input %d has %lld numbers, want 1 or one a row", f.ids,
                          (long long)shape_elements(s));
    return check_rank(cx, n, f.ids, 2, 2) && check_dim(cx, n, f.ids, 0, z->batch) &&
           check_dim(cx, n, f.ids, 1, z->rows);
}

static bool rotary_shape(Ctx *cx, Node *n)
{
    const Form f = form_of(n);
    Sizes z;
    bool own = !qonnx_node_input(n, f.ids);
    if (!sizes_of(cx, n, &z) || !rotary_check(cx, n, f.cos, f.sin, z.turned, z.size, own) ||
        !ids_check(cx, n, &z))
        return false;
    if (own && (!check_dim(cx, n, f.cos, 0, z.batch) || !check_dim(cx, n, f.cos, 1, z.rows)))
        return false;
    return same_shape(cx, n);
}

static bool rotary_takes(Why *why, const Node *n)
{
    const Form f = form_of(n);
    if (qonnx_node_int(n, "is_packed_batching", 0))
        return why_not(why, "is_packed_batching 1, this library runs 0 only");
    return takes_type(why, n, 0, QONNX_FLOAT) && takes_type(why, n, f.cos, QONNX_FLOAT) &&
           takes_type(why, n, f.sin, QONNX_FLOAT) && takes_type(why, n, f.ids, QONNX_INT64);
}

/* Where the angles of a row are. */
static bool ids_params(Ctx *cx, const Node *n, const Sizes *z, f_rotary_p *p)
{
    const Form f = form_of(n);
    const Value *ids = qonnx_node_input(n, f.ids);
    bool single = ids && in_shape(n, f.ids)->rank < 2;
    if (!rotary_places(cx, n, f.cos, p)) return false;
    p->wide = 1;
    if (!ids) p->pb = (int32_t)z->rows, p->pr = 1;
    else if (single) p->pr = 1;
    else p->ib = (int32_t)z->rows, p->ir = 1;
    for (int64_t i = 0; ids && ids->data && i < tensor_count(ids->data); i++) {
        double at = qonnx_tensor_get(ids->data, i), last = single ? (double)(z->rows - 1) : 0;
        if (at < 0 || at + last >= (double)p->places)
            return qonnx_fail(cx, n, "position %.0f, but the tables have %lld rows", at + last,
                              (long long)p->places);
    }
    return true;
}

static bool rotary_lower(Lower *l, Node *n)
{
    const Form f = form_of(n);
    Sizes z;
    if (!sizes_of(l->cx, n, &z)) return false;
    Heads h = in_shape(n, 0)->rank == 4 ? heads_in_order(NULL, z.rows, z.heads, z.size)
                                        : heads_of_rows(NULL, z.rows, z.heads, z.size);
    f_rotary_p p = rotary_params(z.batch, z.heads, z.rows, z.size, z.turned,
                                 qonnx_node_int(n, "interleaved", 0) != 0, h, h);
    Buf *out = lower_out(l, n->out[0], PLAIN);
    if (!out->bytes) return true;
    if (!ids_params(l->cx, n, &z, &p)) return false;
    rotary_call(l, n, &p, lower_in(l, n, 0, PLAIN), f.cos, f.sin, lower_in(l, n, f.ids, PLAIN),
                out);
    return true;
}

static int64_t rotary_work(const Node *n)
{
    return count_work(shape_open_elements(in_shape(n, 0)), 4);
}

#define ROTARY(least, most, dom)                                                                   \
    {"RotaryEmbedding",   least,        most,         rotary_shape,                                \
     RULE_FLOAT,          NULL,         rotary_lower, .takes = rotary_takes,                       \
     .work = rotary_work, .domain = dom}

const Op ops_rotary[] = {
    /* inputs */
    ROTARY(3, 4, NULL),
    ROTARY(4, 4, "com.microsoft"),
    {0},
};
