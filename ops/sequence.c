/* ops/sequence.c - sequences and optionals. None of it is run: where a graph is specialized, it is
 * known what is in a bundle, and what reads it becomes nodes on tensors (Op.unbundle).
 */
#include "ir/bundle.h"
#include "ops/control.h"
#include "ops/op.h"
#include <string.h>

/* ---- what is in a bundle --------------------------------------------------------------------- */

const Node *bundle_maker(const Value *v)
{
    return v && v->def && v->def->row && v->def->row->bundles ? v->def : NULL;
}

/* The node whose inputs are what a sequence (or optional) that the node reads holds; an optional of
 * a sequence counts as that. NULL with a message: nobody knows. */
static const Node *opened(Ctx *cx, const Node *n, int i, bool sequence)
{
    const Node *m = bundle_maker(n->in[i]);
    bool optional = m && qonnx_node_is(m, "Optional");
    if (sequence && optional && m->nin && m->in[0]) m = bundle_maker(m->in[0]);
    else if (sequence && optional)
        return qonnx_fail(cx, n, "its input '%s' holds nothing", n->in[i]->name), NULL;
    if (!m) qonnx_fail(cx, n, "it is not known what its input '%s' holds", n->in[i]->name);
    return m;
}

/* Takes so many values, or uses of them, from what graphs made of the model may have. */
static bool take(Ctx *cx, const Node *n, int64_t count)
{
    enum { MOST = 1 << 21 };
    int64_t *held = &n->graph->model->held;
    if (count <= MOST - *held) return *held += count, true;
    return qonnx_fail(cx, n,
                      "the model's sequences hold more than %d tensors, all of them added up; give "
                      "the inputs smaller shapes",
                      MOST);
}

/* A position in a sequence of `count`: of one that is there, or, with `behind`, behind the last. */
static bool position(Ctx *cx, const Node *n, int i, int64_t count, bool behind, int *at)
{
    const Tensor *t = n->in[i]->data;
    int64_t where;
    int numbers;
    if (!tensor_ints(t, &where, 1, &numbers) || numbers != 1)
        return qonnx_fail(cx, n, "its position '%s' is %lld elements of %s, want one integer",
                          n->in[i]->name, (long long)tensor_count(t), qonnx_dtype_name(t->dtype));
    if (where < -count || where > count - !behind)
        return qonnx_fail(cx, n, "position %lld is out of range for a sequence of %lld",
                          (long long)where, (long long)count);
    *at = (int)(where < 0 ? where + count : where);
    return true;
}

/* ---- nodes in the place of one --------------------------------------------------------------- */

typedef struct Place {
    Graph *g;
    Node *prev, *next; /* what stands around it */
    const char *name;  /* of the node that is gone */
} Place;

/* Takes the node out; its outputs wait for another that makes them. */
static Place leave(Node *n)
{
    Place p = {n->graph, n->prev, n->next, n->name};
    qonnx_node_remove(n);
    return p;
}

/* The first node that stands there now. */
static Node *entered(const Place *p) { return p->prev ? p->prev->next : p->g->first; }

static Node *put(const Place *p, const char *op, Value *const *in, int nin, Value *const *out,
                 int nout)
{
    return qonnx_graph_add_node(p->g, p->next, op, "", p->name, in, nin, out, nout);
}

static Value *new_value(const Place *p, const Value *of, int64_t i)
{
    return qonnx_graph_add_value(
        p->g, arena_printf(p->g->model->arena, "%s_%lld", of->name, (long long)i));
}

static Value *integers(const Place *p, const char *name, const int64_t *list, int64_t count)
{
    Tensor t = {.dtype = QONNX_INT64, .rank = 1, .dims = {count}, .data = list};
    t.bytes = (size_t)count * sizeof *list;
    return qonnx_graph_add_constant(p->g, name, &t);
}

/* Makes `out` a number. */
static void put_number(Value *out, DType t, const void *data, size_t bytes)
{
    Tensor number = {.dtype = t, .data = data, .bytes = bytes};
    graph_put_constant(out->graph, out, tensor_copy(out->graph->model->arena, &number));
    out->source = out->info = NULL;
}

/* Makes `out` a sequence of these. */
static void put_sequence(const Place *p, Value *out, Value *const *items, int count)
{
    DType element = bundle_element(out->dtype);
    Node *n = put(p, count ? "SequenceConstruct" : "SequenceEmpty", items, count, &out, 1);
    if (!count) qonnx_node_set_int(n, "dtype", element);
}

/* Makes `out` what the node makes. */
static void put_same(const Place *p, Value *out, const Node *maker)
{
    Node *n = put(p, maker->op, maker->in, maker->nin, &out, 1);
    n->attrs = maker->attrs;
    n->nattr = n->attr_cap = maker->nattr;
}

/* Makes `out` another name of a value. */
static bool put_alias(Ctx *cx, Node *n, Value *v, Node **next)
{
    Value *out = n->out[0];
    const Node *maker = is_bundle(v->dtype) ? bundle_maker(v) : NULL;
    if (maker && !take(cx, n, maker->nin)) return false;
    if (is_bundle(v->dtype) && !maker)
        return qonnx_fail(cx, n, "it is not known what '%s' holds", v->name);
    Place p = leave(n);
    if (maker) put_same(&p, out, maker);
    else put(&p, "Identity", &v, 1, &out, 1);
    *next = entered(&p);
    return true;
}

/* ---- types ----------------------------------------------------------------------------------- */

/* Whether input i can be a sequence; its type, where it is known. */
static bool is_sequence(Ctx *cx, const Node *n, int i, DType *t)
{
    *t = in_dtype(n, i);
    if ((unsigned)*t & QONNX_OPTIONAL) *t = bundle_inner(*t);
    return !*t || (unsigned)*t & QONNX_SEQUENCE ||
           qonnx_fail(cx, n, "input %d is %s, want a sequence", i,
                      qonnx_dtype_name(in_dtype(n, i)));
}

/* Whether input i can be put into a sequence of that type. */
static bool is_item(Ctx *cx, const Node *n, int i, DType sequence)
{
    DType t = in_dtype(n, i), want = bundle_element(sequence);
    return !t || !want || t == want ||
           qonnx_fail(cx, n, "input %d is %s, and the sequence is of %s", i, qonnx_dtype_name(t),
                      qonnx_dtype_name(want));
}

static bool is_position(Ctx *cx, const Node *n, int i)
{
    DType t = in_dtype(n, i);
    return !t || t == QONNX_INT32 || t == QONNX_INT64 ||
           qonnx_fail(cx, n, "input %d is %s, want int32 or int64", i, qonnx_dtype_name(t));
}

static bool construct_shape(Ctx *cx, Node *n)
{
    DType t = QONNX_UNDEFINED;
    for (int i = 0; i < n->nin; i++) {
        if (!is_item(cx, n, i, t)) return false;
        if (!t) t = in_dtype(n, i);
    }
    if (is_bundle(t))
        return qonnx_fail(cx, n, "input 0 is %s, want a tensor", qonnx_dtype_name(t));
    return out_shape(cx, n, 0, bundle_of(t, QONNX_SEQUENCE), NULL);
}

static bool empty_shape(Ctx *cx, Node *n)
{
    DType t = (DType)qonnx_node_int(n, "dtype", QONNX_FLOAT);
    if (t != QONNX_STRING && (!qonnx_dtype_bits(t) || is_bundle(t)))
        return qonnx_fail(cx, n, "dtype is %d, which is no known element type", (int)t);
    return out_shape(cx, n, 0, bundle_of(t, QONNX_SEQUENCE), NULL);
}

static bool insert_shape(Ctx *cx, Node *n)
{
    DType t;
    return is_sequence(cx, n, 0, &t) && is_item(cx, n, 1, t) && is_position(cx, n, 2) &&
           out_shape(cx, n, 0, t, NULL);
}

static bool erase_shape(Ctx *cx, Node *n)
{
    DType t;
    return is_sequence(cx, n, 0, &t) && is_position(cx, n, 1) && out_shape(cx, n, 0, t, NULL);
}

static bool at_shape(Ctx *cx, Node *n)
{
    DType t;
    return is_sequence(cx, n, 0, &t) && is_position(cx, n, 1) &&
           out_shape(cx, n, 0, bundle_element(t), NULL);
}

static bool length_shape(Ctx *cx, Node *n)
{
    DType t;
    return is_sequence(cx, n, 0, &t) &&
           out_shape(cx, n, 0, QONNX_INT64, &(Shape){.rank = 0});
}

static bool split_shape(Ctx *cx, Node *n)
{
    int axis;
    const Shape *x = in_shape(n, 0);
    if (is_bundle(in_dtype(n, 0)))
        return qonnx_fail(cx, n, "input 0 is %s, want a tensor", qonnx_dtype_name(in_dtype(n, 0)));
    if (x && !check_axis(cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis)) return false;
    return is_position(cx, n, 1) && check_rank(cx, n, 1, 0, 1) &&
           out_shape(cx, n, 0, bundle_of(in_dtype(n, 0), QONNX_SEQUENCE), NULL);
}

static bool join_shape(Ctx *cx, Node *n)
{
    DType t;
    return is_sequence(cx, n, 0, &t) && out_shape(cx, n, 0, bundle_element(t), NULL);
}

static bool optional_shape(Ctx *cx, Node *n)
{
    const Attr *type = node_attr(n, "type");
    bool given = n->nin && n->in[0];
    if (!given && !type) return qonnx_fail(cx, n, "it has neither an input nor a type");
    DType t = given ? in_dtype(n, 0) : (DType)type->i;
    if (t && !bundle_of(t, QONNX_OPTIONAL))
        return qonnx_fail(cx, n, "its type is %s; there are no optionals of that",
                          qonnx_dtype_name(t));
    return out_shape(cx, n, 0, bundle_of(t, QONNX_OPTIONAL), NULL);
}

static bool has_shape(Ctx *cx, Node *n)
{
    return out_shape(cx, n, 0, QONNX_BOOL, &(Shape){.rank = 0});
}

static bool get_shape(Ctx *cx, Node *n)
{
    DType t = in_dtype(n, 0);
    bool optional = ((unsigned)t & QONNX_OPTIONAL) != 0;
    return out_shape(cx, n, 0, optional ? bundle_inner(t) : t, optional ? NULL : in_shape(n, 0));
}

/* ---- sequences ------------------------------------------------------------------------------- */

/* The sequence with one more, or with `item` NULL one less, at input `at`. */
static bool edit(Ctx *cx, Node *n, Value *item, int at, Node **next)
{
    const Node *m = opened(cx, n, 0, true);
    if (!m || !take(cx, n, m->nin + 1)) return false;
    int count = m->nin, where = item ? count : count - 1;
    if (qonnx_node_input(n, at) && !position(cx, n, at, count, item, &where)) return false;
    if (where < 0) return qonnx_fail(cx, n, "its sequence is empty");
    Value **items = arena_array(n->graph->model->arena, (size_t)count + 1, sizeof *items);
    int kept = 0;
    for (int i = 0; i <= count; i++) {
        if (i == where && item) items[kept++] = item;
        if (i < count && (i != where || item)) items[kept++] = m->in[i];
    }
    Value *out = n->out[0];
    Place p = leave(n);
    put_sequence(&p, out, items, kept);
    *next = entered(&p);
    return true;
}

static bool insert(Ctx *cx, Node *n, Node **next) { return edit(cx, n, n->in[1], 2, next); }

static bool erase(Ctx *cx, Node *n, Node **next) { return edit(cx, n, NULL, 1, next); }

static bool at(Ctx *cx, Node *n, Node **next)
{
    int where = 0;
    const Node *m = opened(cx, n, 0, true);
    return m && position(cx, n, 1, m->nin, false, &where) && put_alias(cx, n, m->in[where], next);
}

static bool length(Ctx *cx, Node *n, Node **next)
{
    const Node *m = opened(cx, n, 0, true);
    if (!m) return false;
    int64_t count = m->nin;
    Value *out = n->out[0];
    Place p = leave(n);
    put_number(out, QONNX_INT64, &count, sizeof count);
    *next = p.next;
    return true;
}

/* The sizes of the parts along an axis of that size, in the graph's arena; how many. */
static bool split_sizes(Ctx *cx, const Node *n, int64_t size, int64_t **sizes, int64_t *count)
{
    const Tensor *t = n->nin > 1 && n->in[1] ? n->in[1]->data : NULL;
    int64_t one = 1, sum = 0;
    int given = 0;
    Arena *a = n->graph->model->arena;
    if (t && t->rank) {
        *count = tensor_count(t);
        if (!take(cx, n, *count)) return false;
        *sizes = arena_array(a, (size_t)*count + 1, sizeof **sizes);
        if (!tensor_ints(t, *sizes, (int)*count, &given)) given = 0;
        for (int i = 0; i < given; i++)
            if ((*sizes)[i] < 0 || __builtin_add_overflow(sum, (*sizes)[i], &sum))
                sum = -1, given = 0;
        return sum == size ||
               qonnx_fail(cx, n, "split does not add up to %lld, the size of the axis",
                          (long long)size);
    }
    if (t && (!tensor_ints(t, &one, 1, &given) || one < 1))
        return qonnx_fail(cx, n, "split is %lld, want at least 1", (long long)one);
    *count = size / one + (size % one != 0);
    if (!take(cx, n, *count)) return false;
    *sizes = arena_array(a, (size_t)*count + 1, sizeof **sizes);
    for (int64_t i = 0; i < *count; i++, size -= one) (*sizes)[i] = size < one ? size : one;
    return true;
}

static bool split(Ctx *cx, Node *n, Node **next)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    int64_t *sizes = NULL, count = 0;
    if (!x || !x->rank || !check_axis(cx, n, qonnx_node_int(n, "axis", 0), x->rank, &axis) ||
        x->dim[axis] < 0)
        return ctx_failed(cx) ? false : qonnx_fail(cx, n, "it has no axis to be split along");
    if (!split_sizes(cx, n, x->dim[axis], &sizes, &count)) return false;
    bool squeeze = !qonnx_node_int(n, "keepdims", 1) && !(n->nin > 1 && n->in[1]);
    Value *from = n->in[0], *out = n->out[0];
    Place p = leave(n);
    Value **items = arena_array(p.g->model->arena, (size_t)count + 1, sizeof *items);
    for (int64_t i = 0; i < count; i++) items[i] = new_value(&p, out, i);
    if (count) {
        Value *in[2] = {from, integers(&p, "split", sizes, count)};
        qonnx_node_set_int(put(&p, "Split", in, 2, items, (int)count), "axis", axis);
    }
    Value *axes = squeeze && count ? integers(&p, "axes", &(int64_t){axis}, 1) : NULL;
    for (int64_t i = 0; axes && i < count; i++) {
        Value *in[2] = {items[i], axes};
        items[i] = new_value(&p, out, i);
        put(&p, "Squeeze", in, 2, &items[i], 1);
    }
    put_sequence(&p, out, items, (int)count);
    *next = entered(&p);
    return true;
}

static bool join(Ctx *cx, Node *n, Node **next)
{
    const Node *m = opened(cx, n, 0, true);
    if (!m) return false;
    if (!m->nin) return qonnx_fail(cx, n, "its sequence is empty; there is nothing to concatenate");
    if (!take(cx, n, 2 * (int64_t)m->nin)) return false;
    bool stacks = qonnx_node_int(n, "new_axis", 0) != 0;
    int axis, rank = m->in[0]->shape.rank;
    if (rank + stacks > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "the result has rank %d, at most %d are supported", rank + 1,
                          QONNX_MAX_RANK);
    if (rank < 0 || !check_axis(cx, n, qonnx_node_int(n, "axis", 0), rank + stacks, &axis))
        return ctx_failed(cx) ? false : qonnx_fail(cx, n, "the rank of its tensors is not known");
    Value **items = arena_copy(n->graph->model->arena, m->in, (size_t)m->nin * sizeof *items);
    Value *out = n->out[0];
    Place p = leave(n);
    Value *axes = stacks ? integers(&p, "axes", &(int64_t){axis}, 1) : NULL;
    for (int i = 0; axes && i < m->nin; i++) {
        Value *in[2] = {items[i], axes};
        items[i] = new_value(&p, out, i);
        put(&p, "Unsqueeze", in, 2, &items[i], 1);
    }
    qonnx_node_set_int(put(&p, "Concat", items, m->nin, &out, 1), "axis", axis);
    *next = entered(&p);
    return true;
}

/* ---- SequenceMap ----------------------------------------------------------------------------- */

static bool map_shape(Ctx *cx, Node *n)
{
    DType t;
    const Graph *body = control_graph(n, "body");
    if (!body) return qonnx_fail(cx, n, "it has no body");
    if (!is_sequence(cx, n, 0, &t)) return false;
    if (body->ninput != n->nin || body->noutput != n->nout)
        return qonnx_fail(cx, n, "its body has %d inputs and %d outputs, the node %d and %d",
                          body->ninput, body->noutput, n->nin, n->nout);
    for (int i = 0; i < n->nout; i++)
        if (!out_shape(cx, n, i, bundle_of(body->outputs[i]->dtype, QONNX_SEQUENCE), NULL))
            return false;
    return true;
}

/* In a graph that is to be taken out of its node, `with` is given where an input was. */
static void give(Graph *g, int i, Value *with)
{
    Value *v = g->inputs[i];
    qonnx_value_replace_uses(v, with);
    for (int k = 0; k < g->noutput; k++) {
        if (g->outputs[k] != v) continue;
        v->output_count--;
        with->output_count++;
        g->outputs[k] = with;
    }
}

static int64_t count_nodes(const Graph *g)
{
    int64_t count = 1;
    for (const Node *n = g->first; n; n = n->next) {
        count++;
        for (int i = 0; i < n->nsub; i++) count += count_nodes(n->subs[i]);
    }
    return count;
}

/* How many of each sequence there are. */
static bool map_count(Ctx *cx, const Node *n, int *count)
{
    for (int i = 0; i < n->nin; i++) {
        if (!n->in[i]) return qonnx_fail(cx, n, "input %d is left out", i);
        if (!is_bundle(n->in[i]->dtype)) continue;
        const Node *m = opened(cx, n, i, true);
        if (!m) return false;
        if (!i) *count = m->nin;
        if (m->nin != *count)
            return qonnx_fail(cx, n, "its sequences have %d and %d tensors, want as many", *count,
                              m->nin);
    }
    return true;
}

/* The body, once for each tensor of the sequences. */
static bool map(Ctx *cx, Node *n, Node **next)
{
    enum { NODE = 16 }; /* what one is worth, in tensors of sequences */
    Graph *body = control_graph(n, "body"), *g = n->graph;
    Arena *a = g->model->arena;
    int count = 0;
    if (!map_count(cx, n, &count)) return false;
    int64_t nodes = count_nodes(body) + n->nout;
    if (nodes > INT32_MAX || !take(cx, n, nodes * NODE * count)) return false;
    Value **items = arena_array(a, (size_t)(n->nout + 1) * ((size_t)count + 1), sizeof *items);
    Place p = {g, n->prev, n, n->name};
    for (int k = 0; k < count; k++) {
        Value **out = &items[(size_t)k * (size_t)n->nout];
        for (int i = 0; i < n->nout; i++)
            out[i] = new_value(&p, n->out[i] ? n->out[i] : body->outputs[i], k);
        Node *m = put(&p, "SequenceMap", NULL, 0, out, n->nout);
        Graph *turn = graph_clone_sub(body);
        for (int i = 0; i < n->nin; i++)
            give(turn, i, is_bundle(n->in[i]->dtype) ? bundle_maker(n->in[i])->in[k] : n->in[i]);
        turn->ninput = 0;
        graph_splice(m, turn);
    }
    for (int i = 0; i < n->nout; i++) {
        Value *out = n->out[i], **list = arena_array(a, (size_t)count + 1, sizeof *list);
        if (!out) continue;
        for (int k = 0; k < count; k++) list[k] = items[(size_t)k * (size_t)n->nout + (size_t)i];
        out->def = NULL;
        n->out[i] = NULL;
        put_sequence(&p, out, list, count);
    }
    for (int i = 0; i < n->nsub; i++) graph_release(n->subs[i]);
    n->nsub = n->nattr = 0;
    p.next = n->next;
    qonnx_node_remove(n);
    *next = entered(&p);
    return true;
}

/* ---- optionals ------------------------------------------------------------------------------- */

static bool has(Ctx *cx, Node *n, Node **next)
{
    Value *v = qonnx_node_input(n, 0), *out = n->out[0];
    uint8_t yes = v != NULL;
    if (v && (unsigned)v->dtype & QONNX_OPTIONAL) {
        const Node *m = opened(cx, n, 0, false);
        if (!m) return false;
        yes = m->nin && m->in[0];
    }
    Place p = leave(n);
    put_number(out, QONNX_BOOL, &yes, sizeof yes);
    *next = p.next;
    return true;
}

static bool get(Ctx *cx, Node *n, Node **next)
{
    Value *v = n->in[0];
    if ((unsigned)v->dtype & QONNX_OPTIONAL) {
        const Node *m = opened(cx, n, 0, false);
        if (!m) return false;
        if (!m->nin || !m->in[0])
            return qonnx_fail(cx, n, "its input '%s' holds nothing", v->name);
        v = m->in[0];
    }
    return put_alias(cx, n, v, next);
}

bool identity_unbundle(Ctx *cx, Node *n, Node **next)
{
    if (!is_bundle(n->in[0]->dtype))
        return qonnx_fail(cx, n, "its output is %s, its input '%s' is not",
                          qonnx_dtype_name(n->out[0]->dtype), n->in[0]->name);
    return put_alias(cx, n, n->in[0], next);
}

const Op ops_sequence[] = {
    /* name  inputs  shape  rule */
    {"SequenceConstruct", 1, -1, construct_shape, RULE_FLOAT, .bundles = true, .strings = true},
    {"SequenceEmpty", 0, 0, empty_shape, RULE_FLOAT, .bundles = true, .strings = true},
    {"SequenceInsert", 2, 3, insert_shape, RULE_FLOAT, .lists = 4, .unbundle = insert,
     .strings = true},
    {"SequenceErase", 1, 2, erase_shape, RULE_FLOAT, .lists = 2, .unbundle = erase,
     .strings = true},
    {"SequenceAt", 2, 2, at_shape, RULE_FLOAT, .lists = 2, .unbundle = at, .strings = true},
    {"SequenceLength", 1, 1, length_shape, RULE_FLOAT, .unbundle = length, .strings = true},
    {"SplitToSequence", 1, 2, split_shape, RULE_FLOAT, .lists = 2, .unbundle = split,
     .strings = true},
    {"ConcatFromSequence", 1, 1, join_shape, RULE_FLOAT, .unbundle = join, .strings = true},
    {"SequenceMap", 1, -1, map_shape, RULE_FLOAT, .unbundle = map, .strings = true},
    {"Optional", 0, 1, optional_shape, RULE_FLOAT, .bundles = true, .strings = true},
    {"OptionalHasElement", 0, 1, has_shape, RULE_FLOAT, .unbundle = has, .strings = true},
    {"OptionalGetElement", 1, 1, get_shape, RULE_FLOAT, .unbundle = get, .strings = true},
    {0},
};
