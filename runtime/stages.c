/* runtime/stages.c - see stages.h. */
#include "runtime/stages.h"
#include "runtime/host.h"
#include "runtime/turns.h"
#include "ir/bundle.h"
#include "ir/size.h"
#include <stdlib.h>

/* One part. */
typedef struct Stage {
    Variants *of;
    const Variant *variant;
    Exec *exec;
    Tensor *given;   /* the inputs of its program; what they hold is the part's before */
    Tensor *inputs;  /* of the next one */
    Tensor **turned; /* outputs of the nodes that run turn by turn, whose data is owned */
    bool fresh;      /* the run before had another variant here, or none */
} Stage;

struct Stages {
    Variants *all;
    Arena *bundles; /* of the last run: the arrays of what is in them */
    Arena *strings; /* of the last run of a whole graph: what it has made */
    Stage *list;
    int count, room;
};

Stages *stages_new(Variants *all)
{
    Stages *s = xcalloc(1, sizeof *s);
    s->all = all;
    s->bundles = arena_new();
    return s;
}

/* Frees what turns have made in a part. Returns how many bytes that were. */
static size_t forget_turned(const Stage *g)
{
    const Cut *c = &g->variant->cut;
    size_t bytes = 0;
    for (int i = 0; i < c->nturned; i++)
        for (int k = 0; k < c->turned[i].node->nout; k++) {
            Tensor *t = &g->turned[i][k];
            if (t->data) bytes += t->bytes;
            free((void *)(uintptr_t)t->data);
            t->data = NULL;
        }
    return bytes;
}

static size_t forget_all(const Stages *s)
{
    size_t bytes = 0;
    for (int i = 0; i < s->count; i++) bytes += forget_turned(&s->list[i]);
    return bytes;
}

/* Gives the parts from the last one down to part `first` back. */
static void leave(Stages *s, int first)
{
    while (s->count > first) {
        Stage *g = &s->list[--s->count];
        forget_turned(g);
        for (int i = 0; i < g->variant->cut.nturned; i++) free(g->turned[i]);
        free(g->turned);
        exec_free(g->exec);
        free(g->given);
        free(g->inputs);
        variants_give_back(g->of, g->variant);
    }
}

void stages_free(Stages *s)
{
    if (!s) return;
    leave(s, 0);
    arena_free(s->bundles);
    arena_free(s->strings);
    free(s->list);
    free(s);
}

/* Makes part i ready for its inputs. A variant of the same list is taken before the old one is
 * given back, so that it is not dropped in between. */
static bool enter(Ctx *cx, Stages *s, int i, Variants *of, const Tensor *inputs)
{
    const Variant *v = variants_take(cx, of, inputs);
    if (!v) return false;
    if (i < s->count && s->list[i].variant == v) {
        variants_give_back(of, v); /* it has been taken already */
        s->list[i].fresh = false;
        return true;
    }
    leave(s, i);
    if (s->count == s->room)
        s->list = xrealloc_array(s->list, (size_t)(s->room = 2 * s->room + 2), sizeof *s->list);
    Stage *g = &s->list[s->count++];
    *g = (Stage){
        .of = of,
        .variant = v,
        .fresh = true,
        .exec = exec_new(v->image),
        .given = xcalloc((size_t)image_program(v->image)->ninput + 1, sizeof(Tensor)),
        .inputs = xcalloc((size_t)v->cut.ninput + 1, sizeof(Tensor)),
        .turned = xcalloc((size_t)v->cut.nturned + 1, sizeof(Tensor *)),
    };
    for (int k = 0; k < v->cut.nturned; k++)
        g->turned[k] = xcalloc((size_t)v->cut.turned[k].node->nout + 1, sizeof(Tensor));
    return true;
}

/* What a part's program gives. */
static Tensor program_output(const Stage *g, const Cross *c)
{
    Tensor t = image_program(g->variant->image)->outputs[c->index].tensor;
    t.data = exec_output(g->exec, c->index);
    return c->counted < 0 ? t : tensor_trimmed(t, c->axis, exec_output(g->exec, c->counted));
}

/* A tensor that is there once the part has run. Arrays of bundles are made in the arena. */
static Tensor found(const Stage *g, const Cross *c, Arena *a)
{
    Tensor *parts;
    switch (c->from) {
    case FROM_CONSTANT: return *c->constant;
    case FROM_INPUT: return g->given[c->index];
    case FROM_PROGRAM: return program_output(g, c);
    case FROM_TURNS: return g->turned[c->index][c->output];
    case FROM_BUNDLE:
        parts = arena_array(a, (size_t)c->nparts + 1, sizeof *parts);
        for (int i = 0; i < c->nparts; i++) parts[i] = found(g, &c->parts[i], a);
        return bundle_make(c->dtype, parts, c->nparts);
    default: return (Tensor){.dtype = QONNX_UNDEFINED};
    }
}

/* One run. */
typedef struct Run {
    Ctx *cx;
    Used *used;
    TapFn *fn; /* sees the taps; may be NULL */
    void *user;
} Run;

/* Runs the nodes of a part that no program runs. */
static bool run_turned(const Run *r, const Stage *g, Arena *a)
{
    const Variant *v = g->variant;
    bool ok = true;
    for (int i = 0; i < v->cut.nturned && ok; i++) {
        const Turned *t = &v->cut.turned[i];
        Tensor *in = xcalloc((size_t)t->nin + 1, sizeof *in);
        for (int k = 0; k < t->nin; k++) in[k] = found(g, &t->in[k], a);
        if (!t->body) {
            ok = host_run(r->cx, t->node, &v->limits, r->used, in, g->turned[i]);
            free(in);
            continue;
        }
        TurnsRun run = {r->cx, t, v->bodies[i], &v->limits, r->used, r->fn, r->user};
        ok = turns_run(&run, in, g->turned[i]);
        free(in);
    }
    return ok;
}

/* Of a turn, making the program counts, too, unless the turn before had it: whether it was made for
 * earlier samples has no say. */
static bool run_part(const Run *r, const Stage *g, Arena *a)
{
    const Variant *v = g->variant;
    int64_t making = r->used->node && g->fresh ? v->making : 0;
    return limits_spend(r->cx, &v->limits, r->used, size_plus(v->work, making)) &&
           limits_keep(r->cx, &v->limits, r->used, 0) &&
           exec_run(g->exec, r->cx, g->given, &r->used->work, r->fn, r->user) &&
           run_turned(r, g, a);
}

static bool run_parts(const Run *r, Stages *s, const Tensor *inputs)
{
    Variants *of = s->all;
    int count = 0;
    arena_free(s->bundles);
    s->bundles = arena_new();
    for (; of; count++) {
        if (!enter(r->cx, s, count, of, inputs)) return false;
        Stage *g = &s->list[count];
        Tensor *to = g->given;
        for (int i = 0; i < g->variant->fed; i++) to = bundle_flatten(&inputs[i], to);
        if (!run_part(r, g, s->bundles)) return false;
        const Cut *cut = &g->variant->cut;
        for (int i = 0; i < cut->ninput; i++) g->inputs[i] = found(g, &cut->inputs[i], s->bundles);
        inputs = g->inputs;
        of = g->variant->rest;
    }
    leave(s, count);
    return true;
}

bool stages_run(Ctx *cx, Stages *s, const Tensor *inputs, TapFn *fn, void *user)
{
    forget_all(s);
    arena_free(s->strings);
    s->strings = arena_new();
    Used used = {.strings = s->strings};
    return run_parts(&(Run){cx, &used, fn, user}, s, inputs);
}

bool stages_turn(Ctx *cx, Stages *s, const Tensor *inputs, Used *u, TapFn *fn, void *user)
{
    return run_parts(&(Run){cx, u, fn, user}, s, inputs);
}

void stages_forget(Stages *s, Used *u) { u->memory -= forget_all(s); }

bool stages_output_depends(const Stages *s, int i)
{
    const Cross *c = &s->list[0].variant->cut.outputs[i];
    return c->from != FROM_PROGRAM || c->counted >= 0;
}

Tensor stages_output(const Stages *s, int i)
{
    const Stage *g = s->list;
    while (g->variant->cut.outputs[i].from == FROM_REST) i = g++->variant->cut.outputs[i].index;
    return found(g, &g->variant->cut.outputs[i], s->bundles);
}
