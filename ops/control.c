/* ops/control.c - operators with subgraphs: If, Loop, Scan. What shapes they have; how they are
 * lowered is in control_lower.c.
 */
#include "ops/control.h"
#include "ir/bundle.h"
#include "lower/lower.h"
#include <string.h>

/* ---- what they share ------------------------------------------------------------------------- */

Graph *control_graph(const Node *n, const char *attr)
{
    const Attr *a = node_attr(n, attr);
    return a && a->type == ATTR_GRAPH && a->count == 1 ? a->graphs[0] : NULL;
}

/* Whether a value can be the condition: one boolean, as far as is known. */
static bool is_condition(Ctx *cx, const Node *n, const char *what, const Value *v)
{
    if (v->dtype && v->dtype != QONNX_BOOL)
        return qonnx_fail(cx, n, "%s '%s' is %s, want bool", what, v->name,
                          qonnx_dtype_name(v->dtype));
    int64_t count = v->shape.rank < 0 ? -1 : shape_product(&v->shape, 0, v->shape.rank);
    return count < 0 || count == 1 ||
           qonnx_fail(cx, n, "%s '%s' has %lld elements, want one", what, v->name,
                      (long long)count);
}

/* Whether two sizes are known to be the same. */
static bool same_size(const Shape *a, const Shape *b, int i)
{
    if (a->dim[i] >= 0 || b->dim[i] >= 0) return a->dim[i] == b->dim[i];
    return a->sym[i] && b->sym[i] && !strcmp(a->sym[i], b->sym[i]);
}

/* What two shapes have in common. */
static Shape common_shape(const Shape *a, const Shape *b)
{
    Shape s = *a;
    if (a->rank != b->rank) s.rank = -1;
    for (int i = 0; i < s.rank; i++) {
        if (same_size(a, b, i)) continue;
        s.dim[i] = -1;
        s.sym[i] = NULL;
    }
    return s;
}

/* Whether a value may be of the one type or the other: the same, or one is an optional of it. */
static bool may_meet(DType a, DType b)
{
    return a == b || (bundle_of(a, QONNX_OPTIONAL) == b) || (bundle_of(b, QONNX_OPTIONAL) == a);
}

/* Gives output i the type and what two values that it can be have in common of their shapes. What
 * the file says stands only where they do not say otherwise. */
static bool join_output(Ctx *cx, Node *n, int i, const Value *a, const Value *b)
{
    Value *v = qonnx_node_output(n, i);
    if (a->dtype && b->dtype && !may_meet(a->dtype, b->dtype))
        return qonnx_fail(cx, n, "output %d would be %s ('%s') or %s ('%s')", i,
                          qonnx_dtype_name(a->dtype), a->name, qonnx_dtype_name(b->dtype), b->name);
    if (!v) return true;
    Shape s = common_shape(&a->shape, &b->shape);
    bool differ = a->shape.rank >= 0 && b->shape.rank >= 0 && s.rank < 0;
    for (int k = 0; k < s.rank; k++)
        differ |= a->shape.dim[k] >= 0 && b->shape.dim[k] >= 0 && s.dim[k] < 0;
    if (differ) v->shape.rank = -1;
    return out_shape(cx, n, i, b->dtype ? b->dtype : a->dtype, &s);
}

/* ---- If -------------------------------------------------------------------------------------- */

static const char *const branches[2] = {"then_branch", "else_branch"};

static bool if_enter(Ctx *cx, Node *n)
{
    for (int i = 0; i < 2; i++) {
        const Graph *g = control_graph(n, branches[i]);
        if (!g) return qonnx_fail(cx, n, "it has no %s", branches[i]);
        if (g->ninput)
            return qonnx_fail(cx, n, "its %s has %d inputs, want none", branches[i], g->ninput);
        if (g->noutput != n->nout)
            return qonnx_fail(cx, n, "its %s has %d outputs, the node %d", branches[i], g->noutput,
                              n->nout);
    }
    return !n->nin || !n->in[0] || is_condition(cx, n, "the condition", n->in[0]);
}

/* The branches that may be taken, in the order of then and else; both are one where the other is
 * left out. NULL: the node has none. */
static void taken_branches(const Node *n, const Graph *taken[2])
{
    for (int i = 0; i < 2; i++) taken[i] = control_graph(n, branches[i]);
    for (int i = 0; i < 2 && n->graph->model->whole; i++)
        if (taken[i] && taken[i]->barred) taken[i] = taken[1 - i];
}

static bool if_shape(Ctx *cx, Node *n)
{
    const Graph *taken[2];
    if (!if_enter(cx, n)) return false;
    taken_branches(n, taken);
    const Graph *yes = taken[0], *no = taken[1];
    for (int i = 0; i < n->nout; i++)
        if (!join_output(cx, n, i, yes->outputs[i], no->outputs[i])) return false;
    return true;
}

/* Whether the condition decides shapes: those of the outputs, or any inside, or whether it runs. */
static unsigned if_lists(const Node *n)
{
    const Graph *taken[2];
    taken_branches(n, taken);
    const Graph *yes = taken[0], *no = taken[1];
    if (!yes || !no || yes->noutput != n->nout || no->noutput != n->nout) return 0;
    if (yes->barred || no->barred) return 1;
    for (int i = 0; i < n->nout; i++) {
        const Shape *a = &yes->outputs[i]->shape, *b = &no->outputs[i]->shape;
        if (is_bundle(yes->outputs[i]->dtype) || is_bundle(no->outputs[i]->dtype)) return 1;
        bool same = !out_used(n, i) || (a->rank >= 0 && a->rank == b->rank);
        for (int k = 0; same && out_used(n, i) && k < a->rank; k++) same = same_size(a, b, k);
        if (!same) return 1;
    }
    return late_value(yes) || late_value(no);
}

/* ---- Loop and Scan, taken apart -------------------------------------------------------------- */

/* The number of turns that a Loop has been given, where it is constant; -1: not known, INT64_MAX:
 * there is none. */
static int64_t trip_count(const Node *n)
{
    const Value *v = qonnx_node_input(n, 0);
    if (!v) return INT64_MAX;
    if (!v->data || v->data->dtype != QONNX_INT64 || tensor_count(v->data) != 1) return -1;
    int64_t count;
    memcpy(&count, v->data->data, sizeof count);
    return count < 0 ? 0 : count;
}

/* What a condition is: 0, 1, or -1 where it is computed. */
static int known_condition(const Value *v)
{
    const Tensor *t = v->data;
    if (!t || t->dtype != QONNX_BOOL || tensor_count(t) != 1) return -1;
    return *(const uint8_t *)t->data != 0;
}

/* The same of what the body of a Loop gives, which may be what it gets: `start`. */
static int next_condition(const Graph *body, int start)
{
    const Value *v = body->outputs[0];
    for (int i = 0; i < body->nvalue; i++) { /* they may go round: nothing is sorted yet */
        bool passes = v->def && v->graph == body && qonnx_node_is(v->def, "Identity");
        if (passes && qonnx_node_input(v->def, 0)) v = v->def->in[0];
    }
    return v == body->inputs[1] ? start : known_condition(v);
}

static void find_turns(const Node *n, Cycle *c)
{
    const Value *given = qonnx_node_input(n, 1);
    int start = given ? known_condition(given) : 1, next = next_condition(c->body, start);
    c->turns = trip_count(n);
    if (!start) c->turns = 0;
    else if (start == 1 && next == 0 && c->turns > 1) c->turns = 1;
    c->ends = c->turns != 0 && !(start == 1 && (next == 1 || c->turns == 1));
    if (c->turns == INT64_MAX && c->ends) c->turns = -1;
}

/* The size of the axis that a Scan goes along; -1: not known. */
static int64_t scan_length(Ctx *cx, const Node *n, const Cycle *c, bool *ok)
{
    int64_t length = -1;
    for (int i = 0; i < c->slices; i++) {
        int axis;
        const Shape *s = in_shape(n, c->states + i);
        if (!s) continue;
        if (!(*ok = cycle_axis(cx, n, c, false, i, s->rank, &axis))) return -1;
        if (length >= 0 && s->dim[axis] >= 0 && s->dim[axis] != length) {
            *ok = qonnx_fail(cx, n, "its inputs have %lld and %lld slices", (long long)length,
                             (long long)s->dim[axis]);
            return -1;
        }
        if (s->dim[axis] >= 0) length = s->dim[axis];
    }
    return length;
}

static bool check_counts(Ctx *cx, const Node *n, const Cycle *c)
{
    const Graph *b = c->body;
    int in = c->head + c->states + c->slices, out = c->tail + c->states + c->parts;
    if (b->ninput != in) return qonnx_fail(cx, n, "its body has %d inputs, want %d", b->ninput, in);
    if (c->parts < 0 || b->noutput != out)
        return qonnx_fail(cx, n,
                          "its body has %d outputs, which does not fit %d states and %d "
                          "outputs of the node",
                          b->noutput, c->states, n->nout);
    for (int i = c->head; i < in; i++)
        if (!qonnx_node_input(n, i)) return qonnx_fail(cx, n, "input %d is left out", i);
    for (int i = 0; i < in; i++)
        if (b->inputs[i]->data)
            return qonnx_fail(cx, n, "input '%s' of its body is also an initializer",
                              b->inputs[i]->name);
    return true;
}

bool cycle_of(Ctx *cx, const Node *n, Cycle *c)
{
    bool loop = qonnx_node_is(n, "Loop"), ok = true;
    *c =
        (Cycle){.loop = loop, .body = control_graph(n, "body"), .head = loop ? 2 : 0, .tail = loop};
    if (!c->body) return qonnx_fail(cx, n, "it has no body");
    int64_t slices = loop ? 0 : qonnx_node_int(n, "num_scan_inputs", 0);
    if (!loop && (slices < 1 || slices > n->nin))
        return qonnx_fail(cx, n, "num_scan_inputs is %lld, and it has %d inputs", (long long)slices,
                          n->nin);
    c->slices = (int)slices;
    c->states = n->nin > c->head ? n->nin - c->head - c->slices : 0;
    c->parts = n->nout - c->states;
    if (!check_counts(cx, n, c)) return false;
    if (loop) find_turns(n, c);
    else c->turns = scan_length(cx, n, c, &ok);
    return ok;
}

/* Element i of a list of integers of a Scan, one a whole; 0 where it is not given. */
static int64_t scan_number(const Node *n, const char *attr, int i)
{
    const int64_t *list;
    return i < qonnx_node_ints(n, attr, &list) ? list[i] : 0;
}

bool cycle_axis(Ctx *cx, const Node *n, const Cycle *c, bool output, int i, int rank, int *axis)
{
    *axis = 0;
    if (c->loop) return true;
    const char *attr = output ? "scan_output_axes" : "scan_input_axes";
    const int64_t *list;
    int count = qonnx_node_ints(n, attr, &list), want = output ? c->parts : c->slices;
    if (list && count != want)
        return qonnx_fail(cx, n, "%s has %d numbers, want %d", attr, count, want);
    return check_axis(cx, n, scan_number(n, attr, i), rank, axis);
}

bool cycle_reversed(const Node *n, bool output, int i)
{
    return scan_number(n, output ? "scan_output_directions" : "scan_input_directions", i) == 1;
}

static bool check_directions(Ctx *cx, const Node *n, const char *attr, int want)
{
    const int64_t *list;
    int count = qonnx_node_ints(n, attr, &list);
    if (list && count != want)
        return qonnx_fail(cx, n, "%s has %d numbers, want %d", attr, count, want);
    for (int i = 0; i < count; i++)
        if (list[i] != 0 && list[i] != 1)
            return qonnx_fail(cx, n, "%s holds %lld, want 0 or 1", attr, (long long)list[i]);
    return true;
}

/* ---- Loop and Scan: shapes ------------------------------------------------------------------- */

/* Gives an input of the body its type and shape, as far as they are known. */
static bool give(Ctx *cx, const Node *n, Value *to, DType t, const Shape *s)
{
    if (t && to->dtype && to->dtype != t && to->dtype != bundle_of(t, QONNX_OPTIONAL))
        return qonnx_fail(cx, n, "input '%s' of its body is %s, and gets %s", to->name,
                          qonnx_dtype_name(to->dtype), qonnx_dtype_name(t));
    if (t && !is_bundle(to->dtype)) to->dtype = t;
    if (s) to->shape = *s;
    return true;
}

/* Turn and condition are scalars, or have one element where the body says so, as ONNX Runtime has
 * it. */
static bool give_number(Ctx *cx, const Node *n, Value *to, DType t)
{
    Shape s = {.rank = to->shape.rank == 1, .dim = {1}};
    return give(cx, n, to, t, &s);
}

/* A whole without the axis of the turns. */
static bool give_slice(Ctx *cx, const Node *n, const Cycle *c, int i)
{
    int axis;
    const Shape *whole = in_shape(n, c->states + i);
    Value *to = c->body->inputs[c->states + i];
    if (!whole) return give(cx, n, to, in_dtype(n, c->states + i), NULL);
    if (!cycle_axis(cx, n, c, false, i, whole->rank, &axis)) return false;
    Shape s = {.rank = 0};
    for (int k = 0; k < whole->rank; k++) {
        if (k == axis) continue;
        s.sym[s.rank] = whole->sym[k];
        s.dim[s.rank++] = whole->dim[k];
    }
    return give(cx, n, to, in_dtype(n, c->states + i), &s);
}

/* How many graphs stand around this one. */
static int nesting(const Graph *g)
{
    int n = 0;
    while ((g = g->parent)) n++;
    return n;
}

/* Below so many graphs, states have the shapes that the file gives them: each level of cycles may
 * infer what is inside twice more. */
enum { DEEPEST = 4 };

/* Older forms of Scan have another meaning. */
static bool is_old(const Node *n)
{
    return qonnx_node_is(n, "Scan") && qonnx_model_opset(n->graph) < 9;
}

static bool check_cycle(Ctx *cx, const Node *n, const Cycle *c)
{
    if (!c->loop)
        return check_directions(cx, n, "scan_input_directions", c->slices) &&
               check_directions(cx, n, "scan_output_directions", c->parts);
    const Value *trip = qonnx_node_input(n, 0), *condition = qonnx_node_input(n, 1);
    if (trip && trip->dtype && trip->dtype != QONNX_INT64)
        return qonnx_fail(cx, n, "the trip count '%s' is %s, want int64", trip->name,
                          qonnx_dtype_name(trip->dtype));
    if (trip && shape_known(&trip->shape) && shape_elements(&trip->shape) != 1)
        return qonnx_fail(cx, n, "the trip count '%s' is not one number", trip->name);
    return !condition || is_condition(cx, n, "the condition", condition);
}

static bool cycle_enter(Ctx *cx, Node *n)
{
    Cycle c;
    if (is_old(n)) return true;
    if (!cycle_of(cx, n, &c) || !check_cycle(cx, n, &c)) return false;
    Value **in = c.body->inputs;
    if (c.loop &&
        (!give_number(cx, n, in[0], QONNX_INT64) || !give_number(cx, n, in[1], QONNX_BOOL)))
        return false;
    bool deep = nesting(n->graph) >= DEEPEST;
    for (int i = c.head; i < c.head + c.states; i++)
        if (!give(cx, n, in[i], in_dtype(n, i), deep ? NULL : in_shape(n, i))) return false;
    for (int i = 0; i < c.slices; i++)
        if (!give_slice(cx, n, &c, i)) return false;
    return true;
}

/* Opens the sizes of a state that a turn changes: all of them in the last round. */
static bool cycle_settled(Node *n, bool last)
{
    Cycle c;
    bool settled = true;
    Ctx *quiet = ctx_quiet();
    bool known = !is_old(n) && cycle_of(quiet, n, &c);
    qonnx_ctx_free(quiet);
    for (int i = 0; known && i < c.states; i++) {
        Shape *a = &c.body->inputs[c.head + i]->shape, *b = &c.body->outputs[c.tail + i]->shape;
        Shape s = common_shape(a, b);
        bool same = s.rank == a->rank;
        for (int k = 0; same && k < s.rank; k++) same = a->dim[k] < 0 || a->dim[k] == s.dim[k];
        if (same) continue;
        if (last) s.rank = -1;
        *a = s;
        settled = false;
    }
    return settled;
}

/* The turns' axis, and then the axes of a part. */
static bool whole_shape(Ctx *cx, Node *n, const Cycle *c, int i)
{
    const Value *part = c->body->outputs[c->tail + c->states + i];
    int at = c->states + i, axis;
    if (part->shape.rank < 0) return out_shape(cx, n, at, part->dtype, NULL);
    if (part->shape.rank == QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "output %d has rank %d, at most %d are supported", at,
                          part->shape.rank + 1, QONNX_MAX_RANK);
    Shape s = {.rank = part->shape.rank + 1};
    if (!cycle_axis(cx, n, c, true, i, s.rank, &axis)) return false;
    for (int k = 0; k < s.rank; k++) {
        int from = k < axis ? k : k - 1;
        s.dim[k] = k == axis ? -1 : part->shape.dim[from];
        s.sym[k] = k == axis ? NULL : part->shape.sym[from];
    }
    if (!c->ends && c->turns != INT64_MAX) s.dim[axis] = c->turns;
    if (c->loop && s.dim[axis] < 0 && n->out[at])
        n->out[at]->shape.rank = -1; /* whatever is said */
    if (s.dim[axis] > INT32_MAX)
        return qonnx_fail(cx, n, "its output %d would hold %lld parts", at, (long long)s.dim[axis]);
    return out_shape(cx, n, at, part->dtype, &s);
}

static bool cycle_shape(Ctx *cx, Node *n)
{
    Cycle c;
    if (is_old(n)) return true;
    if (!cycle_of(cx, n, &c) || !check_cycle(cx, n, &c)) return false;
    if (c.loop && !is_condition(cx, n, "what the body gives as the condition", c.body->outputs[0]))
        return false;
    for (int i = 0; i < c.states; i++)
        if (!join_output(cx, n, i, c.body->inputs[c.head + i], c.body->outputs[c.tail + i]))
            return false;
    for (int i = 0; i < c.parts; i++)
        if (!whole_shape(cx, n, &c, i)) return false;
    return true;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int64_t cycle_turns(const Node *n)
{
    Cycle c;
    Ctx *quiet = ctx_quiet();
    bool ok = !is_old(n) && cycle_of(quiet, n, &c);
    qonnx_ctx_free(quiet);
    return ok && !c.ends ? c.turns : -1;
}

/* Whether two shapes are known and the same. */
static bool equal_shapes(const Shape *a, const Shape *b)
{
    bool same = a->rank >= 0 && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = a->dim[i] >= 0 && a->dim[i] == b->dim[i];
    return same;
}

bool cycle_alike(Why *why, const Node *n)
{
    Cycle c;
    Ctx *quiet = ctx_quiet();
    bool known = !is_old(n) && cycle_of(quiet, n, &c);
    qonnx_ctx_free(quiet);
    if (!known) return true; /* it is refused */
    const Value *late = late_value(c.body);
    if (late) return why_not(why, "the shape of '%s' in its body depends on data", late->name);
    for (int i = 0; i < c.states; i++) {
        const Value *a = c.body->inputs[c.head + i], *b = c.body->outputs[c.tail + i];
        if (!equal_shapes(&n->in[c.head + i]->shape, &a->shape) ||
            !equal_shapes(&a->shape, &b->shape))
            return why_not(why, "a turn may change the shape of its state '%s'", a->name);
    }
    for (int i = c.states; i < n->nout; i++)
        if (out_used(n, i) && (c.ends || c.turns < 0))
            return why_not(why, "the size of its output '%s' depends on when its condition ends it",
                           n->out[i]->name);
    return true;
}

/* Whether the number of turns decides a shape: that of a whole. */
static unsigned loop_lists(const Node *n)
{
    int states = n->nin > 2 ? n->nin - 2 : 0;
    for (int i = states; i < n->nout; i++)
        if (out_used(n, i)) return 3;
    return 0;
}

static bool loop_takes(Why *why, const Node *n)
{
    return cycle_turns(n) != INT64_MAX ||
           why_not(why, "it has no end: neither a trip count nor its condition ends it");
}

static bool scan_takes(Why *why, const Node *n)
{
    return !is_old(n) || why_not(why, "its form is from before operator set 9");
}

static const Flow if_flow = {if_enter, NULL, NULL, NULL};
static const Flow cycle_flow = {cycle_enter, cycle_settled, cycle_turns, cycle_alike};

enum { MANY = INT16_MAX }; /* inputs, of which the first may be left out */

const Op ops_control[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"If", 1, 1, if_shape, RULE_FLOAT, NULL, if_lower, .lists_now = if_lists, .flow = &if_flow,
     .strings = true},
    {"Loop", 0, MANY, cycle_shape, RULE_FLOAT, NULL, cycle_lower, .takes = loop_takes,
     .lists_now = loop_lists, .flow = &cycle_flow, .strings = true},
    {"Scan", 1, MANY, cycle_shape, RULE_FLOAT, NULL, cycle_lower, .takes = scan_takes,
     .flow = &cycle_flow, .strings = true},
    {0},
};
