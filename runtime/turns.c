/* runtime/turns.c - see turns.h. */
#include "runtime/turns.h"
#include "ir/bundle.h"
#include "ir/size.h"
#include <stdlib.h>
#include <string.h>

/* Steps of a turn, beside what it runs and the bytes that go from one to the next. */
enum { TURN = 1000000 };

/* An output that is made part by part. */
typedef struct Whole {
    Tensor part;        /* the first part: its type and shape */
    uint8_t *data;      /* the parts so far, in the order of the turns */
    size_t bytes, room; /* of them, and of that memory */
} Whole;

/* A node that runs. */
typedef struct Turns {
    const TurnsRun *run;
    const Turned *turned;
    const Cycle *cycle;
    const Tensor *in;
    Stages *stages;
    Tensor *fed;   /* the inputs of the body; states and slices own their data */
    Tensor *next;  /* [states] what the turn has made of them */
    Whole *wholes; /* [parts] */
    int64_t most;  /* turns */
    int64_t turn;
    uint8_t go; /* the condition */
} Turns;

/* ---- memory ---------------------------------------------------------------------------------- */

static bool keep(const Turns *s, size_t bytes)
{
    const TurnsRun *r = s->run;
    int64_t steps = bytes > INT64_MAX / NEW_BYTE ? INT64_MAX : NEW_BYTE * (int64_t)bytes;
    return limits_keep(r->cx, r->limits, r->used, bytes) &&
           limits_spend(r->cx, r->limits, r->used, steps);
}

static void drop(const Turns *s, void *data, size_t bytes)
{
    if (data) s->run->used->memory -= bytes;
    free(data);
}

static void drop_tensor(const Turns *s, Tensor *t)
{
    drop(s, (void *)(uintptr_t)t->data, t->bytes);
    t->data = NULL;
}

/* Memory for a tensor of the shape that it has; NULL on failure. */
static void *own(const Turns *s, Tensor *t)
{
    t->data = NULL;
    if (!keep(s, t->bytes)) return NULL;
    uint8_t *data = xmalloc(t->bytes ? t->bytes : 1);
    if (t->bytes) data[t->bytes - 1] = 0; /* the bits behind the last element */
    t->data = data;
    return data;
}

static bool copy(const Turns *s, Tensor *to, const Tensor *from)
{
    *to = *from;
    void *data = own(s, to);
    if (data) bundle_copy(data, from);
    return data != NULL;
}

/* What is wanted as an optional of its type is made one, in *room. */
static const Tensor *as_wanted(const Tensor *t, DType want, Tensor *room)
{
    if (t->dtype == want || bundle_of(t->dtype, QONNX_OPTIONAL) != want) return t;
    *room = bundle_make(want, t, 1);
    return room;
}

/* ---- what the node is given ------------------------------------------------------------------ */

/* Input i of the node; NULL: it is left out. */
static const Tensor *input(const Turns *s, int i)
{
    return i < s->turned->node->nin && s->in[i].dtype ? &s->in[i] : NULL;
}

static bool is_one(const Turns *s, const char *what, const Tensor *t, DType want)
{
    return (t->dtype == want && tensor_count(t) == 1) ||
           qonnx_fail(s->run->cx, s->turned->node, "%s is %lld elements of %s, want one of %s",
                      what, (long long)tensor_count(t), qonnx_dtype_name(t->dtype),
                      qonnx_dtype_name(want));
}

static bool count_turns(Turns *s)
{
    const Cycle *c = s->cycle;
    s->go = 1;
    if (!c->loop) {
        int axis;
        const Tensor *whole = &s->in[c->states];
        if (!cycle_axis(s->run->cx, s->turned->node, c, false, 0, whole->rank, &axis)) return false;
        s->most = whole->dims[axis];
        return true;
    }
    const Tensor *trip = input(s, 0), *go = input(s, 1);
    s->most = INT64_MAX;
    if (trip && !is_one(s, "the trip count", trip, QONNX_INT64)) return false;
    if (trip) memcpy(&s->most, trip->data, sizeof s->most);
    if (go && !is_one(s, "the condition", go, QONNX_BOOL)) return false;
    if (go) s->go = *(const uint8_t *)go->data != 0;
    return true;
}

/* A number as the body wants it. */
static Tensor number(const Value *to, const void *data, size_t bytes)
{
    Tensor t = {.dtype = to->dtype, .rank = to->shape.rank == 1, .bytes = bytes, .data = data};
    t.dims[0] = 1;
    return t;
}

/* Turn, condition, states and what is captured; slices get memory. */
static bool begin(Turns *s)
{
    const Cycle *c = s->cycle;
    const Turned *t = s->turned;
    if (c->loop) {
        s->fed[0] = number(t->body->inputs[0], &s->turn, sizeof s->turn);
        s->fed[1] = number(t->body->inputs[1], &s->go, sizeof s->go);
    }
    for (int i = c->head; i < c->head + c->states; i++) {
        Tensor room;
        if (!copy(s, &s->fed[i], as_wanted(&s->in[i], t->body->inputs[i]->dtype, &room)))
            return false;
    }
    for (int i = c->states; i < c->states + c->slices; i++) {
        const Tensor *whole = &s->in[i];
        Tensor *slice = &s->fed[i];
        int axis;
        if (!cycle_axis(s->run->cx, t->node, c, false, i - c->states, whole->rank, &axis))
            return false;
        *slice = (Tensor){.dtype = whole->dtype};
        for (int k = 0; k < whole->rank; k++)
            if (k != axis) slice->dims[slice->rank++] = whole->dims[k];
        if (whole->dims[axis]) /* else there is none, of whatever size */
            slice->bytes = elements_bytes(tensor_count(slice), slice->dtype);
        if (!own(s, slice)) return false;
    }
    int behind = c->head + c->states + c->slices;
    for (int i = t->node->nin; i < t->nin; i++) s->fed[behind++] = s->in[i];
    return true;
}

/* Copies between an axis of a whole, at place `at`, and a part without that axis, which begins at
 * element `begin` of its memory. */
static void move_part(uint8_t *whole, const Tensor *shape, int axis, int64_t at, uint8_t *part,
                      int64_t begin, bool take)
{
    int64_t inner = 1, outer = 1;
    for (int i = 0; i < axis; i++) outer *= shape->dims[i];
    for (int i = axis + 1; i < shape->rank; i++) inner *= shape->dims[i];
    int64_t step = inner * shape->dims[axis];
    for (int64_t i = 0; i < outer && inner; i++) {
        int64_t place = i * step + at * inner, in_part = begin + i * inner;
        if (take) tensor_move(part, in_part, whole, place, inner, shape->dtype);
        else tensor_move(whole, place, part, in_part, inner, shape->dtype);
    }
}

static bool take_slices(Turns *s)
{
    const Cycle *c = s->cycle;
    for (int i = 0; i < c->slices; i++) {
        const Tensor *whole = &s->in[c->states + i];
        int axis;
        if (!cycle_axis(s->run->cx, s->turned->node, c, false, i, whole->rank, &axis)) return false;
        int64_t at = cycle_reversed(s->turned->node, false, i) ? s->most - 1 - s->turn : s->turn;
        move_part((uint8_t *)(uintptr_t)whole->data, whole, axis, at,
                  (uint8_t *)(uintptr_t)s->fed[c->states + i].data, 0, true);
    }
    return true;
}

/* ---- what a turn makes ----------------------------------------------------------------------- */

static bool same_shape_as(const Tensor *a, const Tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           (!a->rank || !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims));
}

static bool add_part(const Turns *s, int i)
{
    const Node *n = s->turned->node;
    const Cycle *c = s->cycle;
    Whole *w = &s->wholes[i];
    Tensor t = stages_output(s->stages, c->tail + c->states + i);
    if (is_bundle(t.dtype))
        return qonnx_fail(s->run->cx, n, "its output '%s' would be made of parts that are %s",
                          n->out[c->states + i]->name, qonnx_dtype_name(t.dtype));
    if (!s->turn) w->part = t;
    if (!same_shape_as(&w->part, &t))
        return qonnx_fail(s->run->cx, n,
                          "the parts of its output '%s' have several shapes: that of turn %lld is "
                          "another than those before; they cannot be put together",
                          n->out[c->states + i]->name, (long long)s->turn);
    if (w->room - w->bytes < t.bytes) {
        size_t more = w->room > t.bytes ? w->room : t.bytes;
        if (!keep(s, more)) return false;
        w->room += more;
        w->data = xrealloc_array(w->data, w->room, 1);
        memset(w->data + w->room - more, 0, more); /* the bits behind the last element */
    }
    int64_t count = tensor_count(&t), at = s->turn * count;
    tensor_move(w->data, at, t.data, 0, count, t.dtype);
    w->bytes = elements_bytes(at + count, t.dtype);
    return true;
}

/* The states of the next turn: all are there before the first of the old ones goes. */
static bool change_states(Turns *s)
{
    const Cycle *c = s->cycle;
    for (int i = 0; i < c->states; i++) {
        Tensor made = stages_output(s->stages, c->tail + i), room, *was = &s->fed[c->head + i];
        Tensor t = *as_wanted(&made, was->dtype, &room);
        if (t.dtype != was->dtype)
            return qonnx_fail(s->run->cx, s->turned->node,
                              "its state '%s' is %s, and %s behind a turn",
                              s->turned->body->inputs[c->head + i]->name,
                              qonnx_dtype_name(was->dtype), qonnx_dtype_name(t.dtype));
        if (!copy(s, &s->next[i], &t)) return false;
    }
    for (int i = 0; i < c->states; i++) {
        drop_tensor(s, &s->fed[c->head + i]);
        s->fed[c->head + i] = s->next[i];
        s->next[i].data = NULL;
    }
    return true;
}

static bool run_turn(Turns *s)
{
    const TurnsRun *r = s->run;
    const Cycle *c = s->cycle;
    r->used->node = s->turned->node;
    r->used->turn = s->turn;
    stages_forget(s->stages, r->used);
    if (!limits_spend(r->cx, r->limits, r->used, TURN) || !take_slices(s) ||
        !stages_turn(r->cx, s->stages, s->fed, r->used, r->fn, r->user))
        return false;
    for (int i = 0; i < c->parts; i++)
        if (s->turned->wanted[c->states + i] && !add_part(s, i)) return false;
    if (c->loop) {
        Tensor go = stages_output(s->stages, 0);
        if (!is_one(s, "what its body gives as the condition", &go, QONNX_BOOL)) return false;
        s->go = *(const uint8_t *)go.data != 0;
    }
    return change_states(s);
}

/* ---- what the node gives --------------------------------------------------------------------- */

/* Of no turn: nothing, of the shape that the model says, an axis that is open being nothing too. */
static void no_part(const Turns *s, int i)
{
    const Cycle *c = s->cycle;
    const Value *v = s->turned->body->outputs[c->tail + c->states + i];
    Tensor *t = &s->wholes[i].part;
    *t = (Tensor){.dtype = v->dtype, .rank = v->shape.rank < 0 ? 0 : v->shape.rank};
    for (int k = 0; k < t->rank; k++) t->dims[k] = v->shape.dim[k] < 0 ? 0 : v->shape.dim[k];
}

/* Puts the parts in the order of the whole. */
static bool order_parts(const Turns *s, int i, int axis, Tensor *t)
{
    Whole *w = &s->wholes[i];
    uint8_t *data = own(s, t);
    if (!data) return false;
    bool back = cycle_reversed(s->turned->node, true, i);
    for (int64_t k = 0; k < s->turn; k++)
        move_part(data, t, axis, back ? s->turn - 1 - k : k, w->data, k * tensor_count(&w->part),
                  false);
    drop(s, w->data, w->room);
    w->data = NULL;
    return true;
}

static bool finish_whole(const Turns *s, int i, Tensor *t)
{
    const Node *n = s->turned->node;
    Whole *w = &s->wholes[i];
    int axis;
    if (!s->turn) no_part(s, i);
    *t = (Tensor){.dtype = w->part.dtype, .rank = w->part.rank + 1, .bytes = w->bytes};
    if (t->rank > QONNX_MAX_RANK)
        return qonnx_fail(s->run->cx, n, "output %d has rank %d, at most %d are supported",
                          s->cycle->states + i, t->rank, QONNX_MAX_RANK);
    if (!cycle_axis(s->run->cx, n, s->cycle, true, i, t->rank, &axis)) return false;
    for (int k = 0; k < t->rank; k++)
        t->dims[k] = k == axis ? s->turn : w->part.dims[k < axis ? k : k - 1];
    if (axis || cycle_reversed(n, true, i) || !w->data) return order_parts(s, i, axis, t);
    s->run->used->memory -= w->room - w->bytes;
    t->data = w->data;
    w->data = NULL;
    return true;
}

static bool finish(Turns *s, Tensor *out)
{
    const Cycle *c = s->cycle;
    for (int i = 0; i < c->states; i++) {
        Tensor *t = &s->fed[c->head + i];
        DType want = s->turned->body->outputs[c->tail + i]->dtype;
        bool holds = t->dtype != want && bundle_of(want, QONNX_OPTIONAL) == t->dtype && t->dims[0];
        if (!s->turned->wanted[i]) continue;
        if (holds && !copy(s, &out[i], bundle_parts(t))) return false;
        if (holds) continue;
        out[i] = *t;
        t->data = NULL;
    }
    for (int i = 0; i < c->parts; i++)
        if (s->turned->wanted[c->states + i] && !finish_whole(s, i, &out[c->states + i]))
            return false;
    return true;
}

static void release(Turns *s)
{
    const Cycle *c = s->cycle;
    stages_forget(s->stages, s->run->used);
    stages_free(s->stages);
    for (int i = c->head; i < c->head + c->states + c->slices; i++) drop_tensor(s, &s->fed[i]);
    for (int i = 0; i < c->states; i++) drop_tensor(s, &s->next[i]);
    for (int i = 0; i < c->parts; i++) drop(s, s->wholes[i].data, s->wholes[i].room);
    free(s->fed);
    free(s->next);
    free(s->wholes);
}

bool turns_run(const TurnsRun *r, const Tensor *in, Tensor *out)
{
    const Turned *t = r->turned;
    const Cycle *c = &t->cycle;
    Turns s = {.run = r, .turned = t, .cycle = c, .in = in, .stages = stages_new(r->body)};
    s.fed = xcalloc((size_t)t->body->ninput + 1, sizeof *s.fed);
    s.next = xcalloc((size_t)c->states + 1, sizeof *s.next);
    s.wholes = xcalloc((size_t)c->parts + 1, sizeof *s.wholes);
    const Node *outer = r->used->node;
    int64_t turn = r->used->turn;
    r->used->node = t->node;
    r->used->turn = 0;
    bool ok = count_turns(&s) && begin(&s);
    for (; ok && s.turn < s.most && s.go; s.turn++) ok = run_turn(&s);
    ok = ok && finish(&s, out);
    release(&s);
    r->used->node = outer;
    r->used->turn = turn;
    return ok;
}
