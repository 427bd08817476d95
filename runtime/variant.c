/* runtime/variant.c - see variant.h. */
#include "runtime/variant.h"
#include "runtime/bind.h"
#include "runtime/prepare.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 512 << 20 }; /* of variants that nobody uses */

typedef struct Variant {
    struct Variant *next;
    Image *image;
    void *bound;  /* contents of the inputs that are bound */
    size_t bytes; /* of its memory */
    int users;    /* that have not given it back */
} Variant;

struct Variants {
    const Graph *graph;
    Engine engine;
    Packs *packs;         /* of the graph's constants */
    size_t max_memory;    /* bytes that a program may take; 0: the default */
    pthread_mutex_t lock; /* guards what follows */
    Variant *first;       /* the one that was taken last goes first */
};

Variants *variants_new(const Graph *g, Engine e, size_t max_memory)
{
    Variants *all = xcalloc(1, sizeof *all);
    *all = (Variants){.graph = g, .engine = e, .packs = packs_new(), .max_memory = max_memory};
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

static void variant_free(Variant *v)
{
    image_free(v->image);
    free(v->bound);
    free(v);
}

void variants_free(Variants *all)
{
    if (!all) return;
    for (Variant *v = all->first, *next; v; v = next) {
        next = v->next;
        variant_free(v);
    }
    packs_free(all->packs);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static bool same_shapes(const Program *p, const Tensor *inputs)
{
    for (int i = 0; i < p->ninput; i++) {
        const Tensor *t = &p->inputs[i].tensor;
        if (t->rank != inputs[i].rank || t->dtype != inputs[i].dtype ||
            memcmp(t->dims, inputs[i].dims, (size_t)t->rank * sizeof *t->dims))
            return false;
    }
    return true;
}

/* Takes the variant for these inputs out of the list; NULL when there is none. */
static Variant *unlink_variant(Variants *all, const Tensor *inputs, const void *bound, size_t bytes)
{
    for (Variant **at = &all->first; *at; at = &(*at)->next) {
        Variant *v = *at;
        if (!same_shapes(image_program(v->image), inputs) || memcmp(v->bound, bound, bytes))
            continue;
        *at = v->next;
        return v;
    }
    return NULL;
}

static Variant *variant_new(Ctx *cx, const Variants *all, const Tensor *inputs)
{
    Graph *g = graph_clone(all->graph);
    if (!graph_specialize(cx, g, inputs)) {
        qonnx_graph_free(g);
        return NULL;
    }
    Program *p = program_make(cx, g, all->max_memory);
    if (!p) return NULL;
    Variant *v = xcalloc(1, sizeof *v);
    v->image = image_new(p, all->engine, all->packs);
    v->bytes = image_bytes(v->image);
    return v;
}

/* Drops what nobody uses, from where there is too much of it. */
static void trim(Variants *all)
{
    size_t bytes = 0;
    for (Variant **at = &all->first; *at;) {
        Variant *v = *at;
        if (!v->users && (bytes += v->bytes) > MOST_BYTES) {
            *at = v->next;
            variant_free(v);
        } else {
            at = &v->next;
        }
    }
}

const Image *variants_take(Ctx *cx, Variants *all, const Tensor *inputs)
{
    size_t bytes = bind_contents(all->graph, inputs, NULL);
    void *bound = xmalloc(bytes);
    bind_contents(all->graph, inputs, bound);
    pthread_mutex_lock(&all->lock);
    Variant *v = unlink_variant(all, inputs, bound, bytes);
    if (!v && (v = variant_new(cx, all, inputs))) {
        v->bound = bound;
        bound = NULL;
        trim(all);
    }
    if (v) {
        v->users++;
        v->next = all->first;
        all->first = v;
    }
    pthread_mutex_unlock(&all->lock);
    free(bound);
    return v ? v->image : NULL;
}

void variants_give_back(Variants *all, const Image *m)
{
    pthread_mutex_lock(&all->lock);
    for (Variant *v = all->first; v; v = v->next)
        if (v->image == m) v->users--;
    pthread_mutex_unlock(&all->lock);
}
