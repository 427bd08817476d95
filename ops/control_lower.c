/* ops/control_lower.c - If, Loop and Scan as calls with bodies (lower/program.h). */
#include "kernels/params.h"
#include "lower/lower.h"
#include "ops/control.h"

static size_t bytes_of(const Program *p, int output) { return p->outputs[output].tensor.bytes; }

/* ---- If -------------------------------------------------------------------------------------- */

bool if_lower(Lower *l, Node *n)
{
    Body b = {.turns = 1, .test = lower_in(l, n, 0, PLAIN), .chooses = true};
    static const char *const names[2] = {"then_branch", "else_branch"};
    for (int k = 0; k < 2; k++) {
        Graph *g = control_graph(n, names[k]);
        if (!g->barred && !lower_branch(l, n, g, &b, k)) return false;
    }
    for (int i = 0; i < n->nout; i++) {
        Buf *to = out_used(n, i) ? lower_out(l, n->out[i], PLAIN) : lower_temp(l, 0);
        for (int k = 0; k < 2; k++) {
            if (!b.program[k]) continue;
            if (to->bytes < bytes_of(b.program[k], i)) to->bytes = bytes_of(b.program[k], i);
            b.out[k][i].buf = to;
        }
    }
    lower_body(l, n, &b);
    return true;
}

/* ---- Loop and Scan --------------------------------------------------------------------------- */

/* One being lowered. */
typedef struct CycleLower {
    Lower *lower;
    Node *node;
    Cycle cycle;
    Body body;
} CycleLower;

/* Memory of a scalar, `initial` being what it holds at first. */
static Buf *flag(Lower *l, const Node *n, Buf *initial)
{
    Buf *b = lower_temp(l, 1);
    lower_copy(l, n, 0, NULL, initial, NULL, 0, b, NULL, 0, 1);
    return b;
}

/* A state lies where the node's output is; what a turn makes of it is copied there. */
static void lower_states(CycleLower *s, Buf *const *start)
{
    Lower *l = s->lower;
    const Cycle *c = &s->cycle;
    Body *b = &s->body;
    const Program *p = b->program[0];
    for (int i = 0; i < c->tail + c->states; i++) {
        size_t bytes = bytes_of(p, i);
        BodyCopy *copy = &b->carried[b->ncarried++];
        *copy = (BodyCopy){start[i], lower_temp(l, bytes), bytes};
        b->out[0][i].buf = copy->from;
        b->in[0][c->head - c->tail + i].buf = copy->to;
    }
}

/* A copy of what the states are at first: the condition of a Loop comes before them. */
static void copy_starts(CycleLower *s, Buf **start)
{
    static const uint8_t yes = 1;
    Lower *l = s->lower;
    const Node *n = s->node;
    const Cycle *c = &s->cycle;
    if (c->loop) {
        Buf *given = lower_in(l, n, 1, PLAIN);
        start[0] = flag(l, n, given ? given : lower_const(l, &yes, 1));
    }
    for (int i = 0; i < c->states; i++)
        start[c->tail + i] =
            lower_duplicate(l, n->in[c->head + i], lower_in(l, n, c->head + i, PLAIN));
}

/* Copies between a whole, whose axis of the turns is `axis`, and the order in which turns take it,
 * with that axis in front. */
static void turn_copy(Lower *l, const Node *n, const Value *whole, int axis, Buf *from, Buf *to,
                      bool forward)
{
    int64_t plain[QONNX_MAX_RANK], turned[QONNX_MAX_RANK], step = 1;
    const Shape *s = &whole->shape;
    layout_strides(s, PLAIN, plain);
    for (int i = s->rank - 1; i >= 0; i--) {
        if (i == axis) continue;
        turned[i] = step;
        step *= s->dim[i];
    }
    turned[axis] = step;
    lower_copy(l, n, s->rank, s->dim, from, forward ? plain : turned, 0, to,
               forward ? turned : plain, 0, dtype_size(whole->dtype));
}

/* Where turn t of `turns` finds its slice of `bytes`. */
static BodyPort slice_port(Buf *b, size_t bytes, int64_t turns, bool reversed)
{
    int64_t step = (int64_t)bytes;
    return (BodyPort){b, reversed && turns > 0 ? (turns - 1) * step : 0, reversed ? -step : step};
}

static bool lower_slices(CycleLower *s)
{
    Lower *l = s->lower;
    const Node *n = s->node;
    const Cycle *c = &s->cycle;
    for (int i = 0; i < c->slices; i++) {
        int axis, at = c->states + i;
        const Value *whole = n->in[at];
        if (!cycle_axis(l->cx, n, c, false, i, whole->shape.rank, &axis)) return false;
        Buf *b = lower_in(l, n, at, PLAIN);
        if (axis) {
            Buf *turned = lower_temp(l, b->bytes);
            turn_copy(l, n, whole, axis, b, turned, true);
            b = turned;
        }
        size_t bytes = s->body.program[0]->inputs[at].tensor.bytes;
        s->body.in[0][at] = slice_port(b, bytes, c->turns, cycle_reversed(n, false, i));
    }
    return true;
}

/* Where the parts go: into memory of their own when nobody reads them. */
static bool lower_parts(CycleLower *s)
{
    Lower *l = s->lower;
    Node *n = s->node;
    const Cycle *c = &s->cycle;
    for (int i = 0; i < c->parts; i++) {
        int at = c->states + i, axis;
        size_t bytes = bytes_of(s->body.program[0], c->tail + at);
        BodyPort *port = &s->body.out[0][c->tail + at];
        if (!out_used(n, at)) {
            port->buf = lower_temp(l, bytes);
            continue;
        }
        Value *whole = n->out[at];
        if (!cycle_axis(l->cx, n, c, true, i, whole->shape.rank, &axis)) return false;
        Buf *b = axis ? lower_temp(l, bytes * (size_t)c->turns) : lower_out(l, whole, PLAIN);
        *port = slice_port(b, bytes, c->turns, cycle_reversed(n, true, i));
    }
    return true;
}

/* What lies with the turns' axis in front is put in order. */
static bool order_parts(const CycleLower *s)
{
    Lower *l = s->lower;
    Node *n = s->node;
    const Cycle *c = &s->cycle;
    for (int i = 0; i < c->parts; i++) {
        int at = c->states + i, axis;
        if (!out_used(n, at)) continue;
        Value *whole = n->out[at];
        if (!cycle_axis(l->cx, n, c, true, i, whole->shape.rank, &axis)) return false;
        if (axis)
            turn_copy(l, n, whole, axis, s->body.out[0][c->tail + at].buf,
                      lower_out(l, whole, PLAIN), false);
    }
    return true;
}

bool cycle_lower(Lower *l, Node *n)
{
    CycleLower s = {.lower = l, .node = n};
    Cycle *c = &s.cycle;
    Why why;
    if (!cycle_of(l->cx, n, c)) return false;
    if (!cycle_alike(&why, n)) return qonnx_fail(l->cx, n, "%s", why.text);
    Arena *a = l->program->arena;
    size_t states = (size_t)(c->tail + c->states);
    Body *b = &s.body;
    *b = (Body){.turns = c->turns < 0 ? INT64_MAX : c->turns};
    b->carried = arena_array(a, states, sizeof *b->carried);
    Buf **start = arena_array(a, states, sizeof *start);
    copy_starts(&s, start);
    if (!lower_branch(l, n, c->body, b, 0)) return false;
    lower_states(&s, start);
    if (c->loop) {
        const Value *trip = qonnx_node_input(n, 0);
        b->trip = trip && !trip->data ? lower_in(l, n, 0, PLAIN) : NULL;
        b->counter = b->in[0][0].buf = lower_temp(l, sizeof(int64_t));
        b->test = c->ends ? start[0] : NULL;
    }
    if (!lower_slices(&s) || !lower_parts(&s)) return false;
    lower_body(l, n, b);
    for (int i = 0; i < c->states; i++)
        if (out_used(n, i)) lower_view(l, n->out[i], start[c->tail + i], PLAIN);
    return order_parts(&s);
}
