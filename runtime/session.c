/* runtime/session.c - sessions: one program per set of input shapes; what is public of them. */
#include "runtime/session.h"
#include "frontend/data/data.h"
#include "ir/bundle.h"
#include "runtime/prepare.h"
#include "runtime/stages.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- preparing ------------------------------------------------------------------------------- */

/* The batch that the model fixes: axis 0 of every fed input, when they agree and it is over 1. */
static int64_t fixed_batch(const Graph *g)
{
    int64_t batch = 0;
    for (int i = 0; i < g->ninput; i++) {
        const Shape *s = &g->inputs[i]->shape;
        if (!graph_is_fed(g, i)) continue;
        int64_t d = s->rank > 1 ? s->dim[0] : 1;
        if (is_bundle(g->inputs[i]->dtype)) return 1;
        if (batch && d != batch) return 1;
        batch = d;
    }
    return batch > 1 ? batch : 1;
}

/* The cores that this process may use. */
static int usable_cores(void)
{
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int count = !sched_getaffinity(0, sizeof set, &set) ? CPU_COUNT(&set) : (int)online;
    return count > 0 ? count : 1;
}

qonnx_session *session_new(Ctx *cx, Graph *copy, const qonnx_session_options *o)
{
    static const qonnx_session_options defaults;
    if (!o) o = &defaults;
    Engine engine;
    if (!engine_find(cx, o->engine, &engine)) {
        qonnx_graph_free(copy);
        return NULL;
    }
    qonnx_session *s = xcalloc(1, sizeof *s);
    s->graph = copy;
    s->engine = engine;
    s->threads = o->threads > 0 ? o->threads : usable_cores();
    s->damaged = o->damaged;
    graph_prepare(cx, s->graph, o->fake_quant);
    graph_share(s->graph); /* it outlives its programs */
    for (int i = 0; i < s->graph->ninput; i++) s->fed += graph_is_fed(s->graph, i);
    s->batch = fixed_batch(s->graph);
    s->variants = variants_new(s->graph, engine, o->max_memory);
    if (graph_can_run(cx, s->graph, false)) return s;
    qonnx_session_free(s);
    return NULL;
}

qonnx_session *qonnx_session_new(Ctx *cx, const Graph *g, const qonnx_session_options *o)
{
    return session_new(cx, graph_clone(g), o);
}

void qonnx_session_free(qonnx_session *s)
{
    if (!s) return;
    variants_free(s->variants);
    qonnx_graph_free(s->graph);
    free(s);
}

size_t qonnx_session_memory(const qonnx_session *s) { return variants_memory(s->variants); }

/* ---- running --------------------------------------------------------------------------------- */

bool qonnx_session_run(Ctx *cx, qonnx_session *s, const qonnx_dataset *d, qonnx_output_fn *fn,
                       void *user)
{
    const Visitor v = {.user = user, .output = fn};
    Tour all = {.shard = {0, 1}};
    bool ok = session_plan(cx, s, d, &v, &all) && session_visit(cx, s, d, &v, &all);
    lost_free(&all.lost);
    return ok;
}

/* Whether the inputs have the sizes that the model fixes, as samples of a data set have. */
static bool inputs_fit(Ctx *cx, const Graph *g, const Tensor *inputs)
{
    for (int i = 0, k = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        const Value *v = g->inputs[i];
        const Tensor *t = &inputs[k++];
        bool fits = v->shape.rank < 0 || v->shape.rank == t->rank;
        for (int d = 0; fits && d < v->shape.rank; d++)
            fits = v->shape.dim[d] < 0 || v->shape.dim[d] == t->dims[d];
        char have[SHAPE_TEXT], want[SHAPE_TEXT];
        if (!fits)
            return qonnx_fail(cx, NULL, "%s: input '%s' wants shape %s, the sample has %s",
                              g->model->path, v->name,
                              shape_text(v->shape.rank, v->shape.dim, want),
                              shape_text(t->rank, t->dims, have));
    }
    return true;
}

bool qonnx_session_run_one(Ctx *cx, qonnx_session *s, const Tensor *inputs, qonnx_output_fn *fn,
                           void *user)
{
    if (!inputs_fit(cx, s->graph, inputs)) return false;
    engine_thread_init(s->engine);
    Stages *stages = stages_new(s->variants);
    bool ok = stages_run(cx, stages, inputs, NULL, NULL);
    if (ok) {
        int count = s->graph->noutput;
        Tensor *out = xmalloc_array((size_t)count, sizeof *out);
        for (int i = 0; i < count; i++) out[i] = stages_output(stages, i);
        fn(user, 0, out);
        free(out);
    }
    stages_free(stages);
    return ok;
}

/* ---- watching -------------------------------------------------------------------------------- */

/* Who watches values, which are outputs of a copy of the graph. */
typedef struct Watch {
    qonnx_output_fn *fn;
    void *user;
    const int *output; /* [count] the output that the i-th value is */
    Tensor *tensors;   /* [count] */
    int count;
} Watch;

static bool on_watched(void *user, size_t sample, const Tensor *outputs)
{
    Watch *w = user;
    for (int i = 0; i < w->count; i++) w->tensors[i] = outputs[w->output[i]];
    return w->fn(w->user, sample, w->tensors);
}

/* Makes these values all that the graph gives. */
static bool give_values(Ctx *cx, Graph *g, const char *const *values, int count, int *output)
{
    for (int i = 0; i < g->noutput; i++) g->outputs[i]->output_count = 0;
    g->noutput = 0;
    for (int i = 0; i < count; i++) {
        Value *v = qonnx_graph_find(g, values[i]);
        if (!v || v->data)
            return qonnx_fail(cx, NULL, "%s: '%s' is no value that is computed", g->model->path,
                              values[i]);
        if (!v->output_count) graph_put_output(g, v);
        output[i] = 0;
        while (g->outputs[output[i]] != v) output[i]++;
    }
    qonnx_graph_sweep(g);
    return true;
}

bool qonnx_watch(Ctx *cx, const Graph *g, const char *const *values, int count,
                 const qonnx_dataset *d, const qonnx_session_options *o, qonnx_output_fn *fn,
                 void *user)
{
    static const qonnx_session_options defaults;
    int *output = xmalloc_array((size_t)count, sizeof *output);
    Watch w = {fn, user, output, xmalloc_array((size_t)count, sizeof(Tensor)), count};
    Graph *copy = graph_clone(g);
    bool good = qonnx_graph_refresh(cx, copy) && give_values(cx, copy, values, count, output);
    qonnx_session *s = NULL;
    if (good) s = session_new(cx, copy, o ? o : &defaults);
    else qonnx_graph_free(copy);
    good = s && qonnx_session_run(cx, s, d, on_watched, &w);
    qonnx_session_free(s);
    free(w.tensors);
    free(output);
    return good;
}
