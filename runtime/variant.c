/* runtime/variant.c - see variant.h. */
#include "runtime/variant.h"
#include "runtime/bind.h"
#include "runtime/prepare.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 512 << 20 }; /* of variants that nobody uses */

/* And how many there are of them: each is compared when one is looked for. */
#ifdef HARD
enum { MOST_VARIANTS = 5 };
#else
enum { MOST_VARIANTS = 1000 };
#endif

/* What all variants of a session share. */
typedef struct Store {
    pthread_mutex_t lock; /* guards what follows, and all lists of variants */
    Variants *all;        /* of the session's graph */
    uint64_t clock;       /* variants that were taken so far */
    Engine engine;
    Packs *packs;      /* of the session's constants */
    size_t max_memory; /* bytes that the programs of one run may take; 0: the default */
} Store;

struct Variants {
    Store *store;
    const Graph *graph;
    Limits left;    /* of what is left behind a cut: the limits, and what was used before */
    Variant *first; /* the one that was taken last goes first */
};

static Variants *list_new(Store *s, const Graph *g)
{
    Variants *all = xcalloc(1, sizeof *all);
    *all = (Variants){.store = s, .graph = g};
    return all;
}

Variants *variants_new(const Graph *g, Engine e, size_t max_memory)
{
    Store *s = xcalloc(1, sizeof *s);
    *s = (Store){.engine = e, .packs = packs_new(), .max_memory = max_memory};
    pthread_mutex_init(&s->lock, NULL);
    return s->all = list_new(s, g);
}

/* ---- freeing --------------------------------------------------------------------------------- */

/* The next one to free below `v`: it, or where it has a rest one of the rest's, at any depth. */
static Variant **lowest(Variant **v)
{
    while ((*v)->rest && (*v)->rest->first) v = &(*v)->rest->first;
    return v;
}

/* Frees one whose rest has no variants. Its rest has constants of its program's graph. */
static void variant_free(Variant *v)
{
    free(v->rest);
    cut_free(&v->cut);
    image_free(v->image);
    free(v->bound);
    free(v);
}

void variants_free(Variants *all)
{
    if (!all) return;
    while (all->first) {
        Variant **at = lowest(&all->first), *v = *at;
        *at = v->next;
        variant_free(v);
    }
    packs_free(all->store->packs);
    pthread_mutex_destroy(&all->store->lock);
    free(all->store);
    free(all);
}

/* What nobody uses. */
typedef struct Unused {
    size_t bytes;
    int count;
    Variant **oldest; /* the one, without variants of its rest, that was not used for longest */
} Unused;

static void find_unused(Variants *all, Unused *u)
{
    for (Variant **at = &all->first; *at; at = &(*at)->next) {
        Variant *v = *at;
        bool leaf = !v->rest || !v->rest->first;
        if (!leaf) find_unused(v->rest, u);
        if (v->users) continue;
        u->bytes += v->bytes;
        u->count++;
        if (leaf && (!u->oldest || v->used < (*u->oldest)->used)) u->oldest = at;
    }
}

/* Drops what nobody uses, from where there is too much of it. */
static void trim(Store *s)
{
    for (;;) {
        Unused u = {.count = 0};
        find_unused(s->all, &u);
        if (!u.oldest || (u.bytes <= MOST_BYTES && u.count <= MOST_VARIANTS)) return;
        Variant *v = *u.oldest;
        *u.oldest = v->next;
        variant_free(v);
    }
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Lowers the first part of a specialized graph, which is consumed, failing too. */
static bool lower_part(Ctx *cx, const Variants *all, Variant *v, Graph *g, Limits *limits)
{
    v->cut = graph_cut(g);
    Program *p = program_make(cx, g, limits);
    if (!p || (v->cut.rest && !limits_cut(cx, limits, v->cut.rest))) {
        program_free(p);
        return false;
    }
    v->image = image_new(p, all->store->engine, all->store->packs);
    v->bytes = image_bytes(v->image) + arena_bytes(g->model->arena) + sizeof *v;
    return true;
}

static Variant *variant_new(Ctx *cx, const Variants *all, const Tensor *inputs)
{
    bool whole = all == all->store->all;
    Graph *g = graph_clone(all->graph);
    if (!graph_specialize(cx, g, inputs)) {
        qonnx_graph_free(g);
        return NULL;
    }
    Limits limits = whole ? limits_for(g, all->store->max_memory) : all->left;
    Variant *v = xcalloc(1, sizeof *v);
    if (!lower_part(cx, all, v, g, &limits)) {
        variant_free(v);
        return NULL;
    }
    if (!v->cut.rest) return v;
    v->rest = list_new(all->store, v->cut.rest);
    v->rest->left = limits;
    v->bytes += arena_bytes(v->cut.rest->model->arena) + sizeof *v->rest;
    return v;
}

/* ---- taking ---------------------------------------------------------------------------------- */

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

const Variant *variants_take(Ctx *cx, Variants *all, const Tensor *inputs)
{
    Store *s = all->store;
    size_t bytes = bind_contents(all->graph, inputs, NULL);
    void *bound = xmalloc(bytes);
    bind_contents(all->graph, inputs, bound);
    pthread_mutex_lock(&s->lock);
    Variant *v = unlink_variant(all, inputs, bound, bytes);
    if (!v && (v = variant_new(cx, all, inputs))) {
        v->bound = bound;
        bound = NULL;
        trim(s);
    }
    if (v) {
        v->users++;
        v->used = ++s->clock;
        v->next = all->first;
        all->first = v;
    }
    pthread_mutex_unlock(&s->lock);
    free(bound);
    return v;
}

void variants_give_back(Variants *all, const Variant *v)
{
    if (!v) return;
    pthread_mutex_lock(&all->store->lock);
    for (Variant *w = all->first; w; w = w->next)
        if (w == v) w->users--;
    pthread_mutex_unlock(&all->store->lock);
}
