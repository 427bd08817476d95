/* runtime/fix_shapes.c - open dimensions of a model's inputs that the user gives a size. */
#include <qonnx/run.h>
#include "ir/ir.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "INPUT=1,3,640,640", or the sizes alone. */
typedef struct Spec {
    const char *text;  /* as the user gave it */
    const char *sizes; /* where the sizes begin in it */
    size_t name;       /* length of the input's name in front of them */
    bool named;        /* it has one */
} Spec;

/* Sizes hold no '=', so that the last one ends the name. */
static Spec spec_of(const char *text)
{
    const char *equal = strrchr(text, '=');
    return (Spec){text, equal ? equal + 1 : text, equal ? (size_t)(equal - text) : 0,
                  equal != NULL};
}

/* The names of the inputs that have no value of their own, for messages. */
static const char *input_names(const Graph *g)
{
    enum { SHOWN = 8 };
    const char *names = "";
    int count = 0;
    for (int i = 0; i < g->ninput; i++) {
        if (g->inputs[i]->data || count++ >= SHOWN) continue;
        names = arena_printf(g->model->arena, "%s%s'%s'", names, *names ? ", " : "",
                             g->inputs[i]->name);
    }
    return count > SHOWN ? arena_printf(g->model->arena, "%s, ...", names) : names;
}

static bool find_input(Ctx *cx, const Graph *g, const Spec *s, Value **found)
{
    const char *path = g->model->path;
    int count = 0;
    *found = NULL;
    for (int i = 0; i < g->ninput; i++) {
        Value *v = g->inputs[i];
        if (v->data) continue;
        count++;
        if (!s->named || (strlen(v->name) == s->name && !memcmp(v->name, s->text, s->name)))
            *found = v;
    }
    if (!s->named && count > 1)
        return qonnx_fail(cx, NULL,
                          "%s: shape '%s' names no input, and the model has %d: %s; say "
                          "INPUT=%s",
                          path, s->text, count, input_names(g), s->text);
    return *found ||
           qonnx_fail(cx, NULL, "%s: shape '%s': the model has no input of that name; it has %s",
                      path, s->text, count ? input_names(g) : "none");
}

/* The sizes of the text, or false with a message. */
static bool read_sizes(Ctx *cx, const char *path, const Spec *s, Shape *shape)
{
    *shape = (Shape){0};
    for (const char *p = s->sizes;; p++) {
        char *end;
        errno = 0;
        long long size = strtoll(p, &end, 10);
        if (end == p || (*end && *end != ',') || errno || size < 1 || size > INT32_MAX)
            return qonnx_fail(cx, NULL,
                              "%s: shape '%s': found '%.*s', want sizes of 1 to 2^31 - 1 with "
                              "commas between them, as in 1,3,640,640",
                              path, s->text, (int)strcspn(p, ","), p);
        if (shape->rank == QONNX_MAX_RANK)
            return qonnx_fail(cx, NULL, "%s: shape '%s' has more than %d sizes", path, s->text,
                              QONNX_MAX_RANK);
        shape->dim[shape->rank++] = size;
        if (!*end) break;
        p = end;
    }
    return shape_elements(shape) >= 0 ||
           qonnx_fail(cx, NULL, "%s: shape '%s' has more than 2^31 - 1 elements", path, s->text);
}

static bool fix_shape(Ctx *cx, Graph *g, const char *text)
{
    const char *path = g->model->path;
    const Spec s = spec_of(text);
    Value *v;
    Shape shape;
    if (!find_input(cx, g, &s, &v) || !read_sizes(cx, path, &s, &shape)) return false;
    if (!v->dtype)
        return qonnx_fail(cx, NULL, "%s: shape '%s': input '%s' is no tensor", path, text, v->name);
    if (v->shape.rank >= 0 && v->shape.rank != shape.rank)
        return qonnx_fail(cx, NULL, "%s: shape '%s' has %d sizes, input '%s' has rank %d", path,
                          text, shape.rank, v->name, v->shape.rank);
    for (int i = 0; i < v->shape.rank; i++)
        if (v->shape.dim[i] >= 0 && v->shape.dim[i] != shape.dim[i])
            return qonnx_fail(cx, NULL,
                              "%s: shape '%s': size %d is %lld, but the model fixes that of input "
                              "'%s' to %lld",
                              path, text, i, (long long)shape.dim[i], v->name,
                              (long long)v->shape.dim[i]);
    v->shape = shape;
    return true;
}

/* Gives values the shapes that they have when what follows from shapes is folded, as the lists of a
 * Reshape; the graph keeps its nodes. */
static void infer_folded(Graph *g)
{
    Ctx *quiet = ctx_quiet();
    Graph *folded = graph_clone(g);
    bool ok = qonnx_pipeline_run(quiet, folded, "raise-opset,fold-constants", NULL);
    for (int i = 0; ok && i < g->nvalue; i++) {
        Value *v = g->values[i];
        const Value *w = graph_own(folded, v->name);
        if (w && v->dtype == w->dtype && shape_known(&w->shape)) v->shape = w->shape;
    }
    qonnx_graph_free(folded);
    qonnx_ctx_free(quiet);
}

bool qonnx_graph_fix_shapes(Ctx *cx, Graph *g, const char *const *specs, int nspecs)
{
    if (!nspecs) return true;
    for (int i = 0; i < nspecs; i++)
        if (!fix_shape(cx, g, specs[i])) return false;
    for (int i = 0; i < g->nvalue; i++) g->values[i]->retyped = true;
    if (!qonnx_graph_refresh(cx, g)) return false;
    infer_folded(g);
    return true;
}
