/* runtime/stages.c - see stages.h. */
#include "runtime/stages.h"
#include <stdlib.h>

/* One part. */
typedef struct Stage {
    Variants *of;
    const Variant *variant;
    Exec *exec;
    Tensor *inputs; /* of the next one */
} Stage;

struct Stages {
    Variants *all;
    Stage *list;
    int count, room;
};

Stages *stages_new(Variants *all)
{
    Stages *s = xcalloc(1, sizeof *s);
    s->all = all;
    return s;
}

/* Gives the parts from the last one down to part `first` back. */
static void leave(Stages *s, int first)
{
    while (s->count > first) {
        Stage *g = &s->list[--s->count];
        exec_free(g->exec);
        free(g->inputs);
        variants_give_back(g->of, g->variant);
    }
}

void stages_free(Stages *s)
{
    if (!s) return;
    leave(s, 0);
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
        return true;
    }
    leave(s, i);
    if (s->count == s->room)
        s->list = xrealloc_array(s->list, (size_t)(s->room = 2 * s->room + 2), sizeof *s->list);
    s->list[s->count++] = (Stage){
        .of = of,
        .variant = v,
        .exec = exec_new(v->image),
        .inputs = xcalloc((size_t)v->cut.ninput + 1, sizeof(Tensor)),
    };
    return true;
}

/* What a part's program gives. */
static Tensor program_output(const Stage *g, const Cross *c)
{
    Tensor t = image_program(g->variant->image)->outputs[c->index].tensor;
    t.data = exec_output(g->exec, c->index);
    return c->counted < 0 ? t : tensor_trimmed(t, c->axis, exec_output(g->exec, c->counted));
}

bool stages_run(Ctx *cx, Stages *s, const Tensor *inputs, TapFn *fn, void *user)
{
    Variants *of = s->all;
    int count = 0;
    for (; of; count++) {
        if (!enter(cx, s, count, of, inputs)) return false;
        Stage *g = &s->list[count];
        if (!exec_run(g->exec, cx, inputs, fn, user)) return false;
        const Cut *cut = &g->variant->cut;
        for (int i = 0; i < cut->ninput; i++)
            g->inputs[i] = cut->inputs[i].from == FROM_INPUT ? inputs[cut->inputs[i].index]
                                                             : program_output(g, &cut->inputs[i]);
        inputs = g->inputs;
        of = g->variant->rest;
    }
    leave(s, count);
    return true;
}

bool stages_output_depends(const Stages *s, int i)
{
    const Cross *c = &s->list[0].variant->cut.outputs[i];
    return c->from == FROM_REST || c->counted >= 0;
}

Tensor stages_output(const Stages *s, int i)
{
    const Stage *g = s->list;
    while (g->variant->cut.outputs[i].from == FROM_REST) i = g++->variant->cut.outputs[i].index;
    return program_output(g, &g->variant->cut.outputs[i]);
}
