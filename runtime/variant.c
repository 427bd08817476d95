/* runtime/variant.c - see variant.h. */
#include "runtime/variant.h"
#include "runtime/bind.h"
#include "runtime/prepare.h"
#include "ir/bundle.h"
#include "ir/size.h"
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

/* What it takes until a variant can run, as multiples of limits_making(), which is for its program
 * alone. */
enum { READY = 4 };

/* And what a tensor of a bundle takes in addition, in steps. */
enum { OPENED = 100000 };

/* What all variants of a session share. */
typedef struct Store {
    pthread_mutex_t lock; /* guards what follows, and all lists of variants */
    pthread_cond_t made;  /* or failed: a variant that others may wait for */
    Variants *all;        /* of the session's graph */
    uint64_t clock;       /* variants that were taken so far */
    Engine engine;
    Packs *packs;      /* of the session's constants */
    size_t max_memory; /* bytes that the programs of one run may take; 0: the default */
    size_t memory;     /* the most Variant.memory so far */
} Store;

struct Variants {
    Store *store;
    const Graph *graph;
    Limits left;    /* of what is left behind a cut: the limits, and what was used before */
    size_t before;  /* Variant.memory of that on which it hangs */
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
    pthread_cond_init(&s->made, NULL);
    return s->all = list_new(s, g);
}

/* ---- freeing --------------------------------------------------------------------------------- */

/* The lists that hang on a variant: of its bodies and of its rest. NULL: the last one was given. */
static Variants *child(const Variant *v, int i)
{
    int bodies = v->bodies ? v->cut.nturned : 0;
    if (i < bodies) return v->bodies[i];
    return i == bodies ? v->rest : NULL;
}

/* The first of them that is not empty; NULL: none. */
static Variants *first_child(const Variant *v)
{
    Variants *c;
    for (int i = 0; (c = child(v, i)); i++)
        if (c->first) return c;
    return NULL;
}

/* The next one to free below `v`: it, or where variants hang on it one of them, at any depth. */
static Variant **lowest(Variant **v)
{
    for (Variants *c; (c = first_child(*v));) v = &c->first;
    return v;
}

/* Frees one on which no variants hang. Its rest and bodies have constants of its program's graph.
 */
static void variant_free(Variant *v)
{
    Variants *c;
    for (int i = 0; (c = child(v, i)); i++) free(c);
    free(v->bodies);
    cut_free(&v->cut);
    image_free(v->image);
    free(v->key);
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
    pthread_cond_destroy(&all->store->made);
    pthread_mutex_destroy(&all->store->lock);
    free(all->store);
    free(all);
}

/* What nobody uses. */
typedef struct Unused {
    size_t bytes;
    int count;
    Variant **oldest; /* the one on which none hang that was not used for longest */
} Unused;

static void find_unused(Variants *all, Unused *u)
{
    for (Variant **at = &all->first; *at; at = &(*at)->next) {
        Variant *v = *at;
        bool leaf = !first_child(v);
        Variants *c;
        for (int i = 0; (c = child(v, i)); i++) find_unused(c, u);
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

/* Takes the memory that the graphs need which are cut off, and their bodies. */
static bool take_graphs(Ctx *cx, Variant *v)
{
    const Cut *c = &v->cut;
    if (c->rest && !limits_cut(cx, &v->limits, c->rest)) return false;
    for (int i = 0; i < c->nturned; i++)
        if (c->turned[i].body && !limits_cut(cx, &v->limits, c->turned[i].body)) return false;
    return true;
}

/* Lowers the first part of a specialized graph, which is consumed, failing too. */
static bool lower_part(Ctx *cx, const Variants *all, Variant *v, Graph *g)
{
    int64_t before = v->limits.work_used;
    v->cut = graph_cut(g);
    Program *p = program_make(cx, g, &v->limits);
    if (!p) return false;
    v->work = v->limits.work_used - before;
    if (!take_graphs(cx, v)) {
        program_free(p);
        return false;
    }
    v->image = image_new(p, all->store->engine, all->store->packs);
    v->bytes = image_bytes(v->image) + arena_bytes(g->model->arena) + sizeof *v;
    size_t memory = p->memory;
    for (int i = 0; i < p->noutput; i++) memory += p->outputs[i].buf->bytes;
    v->making = size_plus(v->making, size_times(NEW_BYTE, (int64_t)memory));
    v->memory = all->before + memory;
    return true;
}

/* An empty list for a graph that hangs on the variant; for none it stays empty. */
static Variants *hang(const Variants *all, Variant *v, const Graph *g)
{
    Variants *c = list_new(all->store, g);
    c->left = v->limits;
    c->before = v->memory;
    v->bytes += (g ? arena_bytes(g->model->arena) : 0) + sizeof *c;
    return c;
}

static int fed_inputs(const Graph *g)
{
    int count = 0;
    for (int i = 0; i < g->ninput; i++) count += graph_is_fed(g, i);
    return count;
}

static Variant *variant_new(Ctx *cx, const Variants *all, const Tensor *inputs)
{
    bool whole = all == all->store->all;
    Graph *g = graph_clone(all->graph);
    if (!graph_specialize(cx, g, inputs)) {
        qonnx_graph_free(g);
        return NULL;
    }
    Variant *v = xcalloc(1, sizeof *v);
    v->limits = whole ? limits_for(g, all->store->max_memory) : all->left;
    v->fed = fed_inputs(all->graph);
    int64_t opened = 0; /* inputs that come of bundles */
    for (int i = 0; i < v->fed; i++)
        if (is_bundle(inputs[i].dtype)) opened = size_plus(opened, bundle_leaves(&inputs[i]));
    v->making = size_times(READY, limits_making(all->graph));
    v->making = size_plus(v->making, size_times(OPENED, opened));
    if (!lower_part(cx, all, v, g)) {
        variant_free(v);
        return NULL;
    }
    if (v->cut.rest) v->rest = hang(all, v, v->cut.rest);
    v->bodies = xcalloc((size_t)v->cut.nturned + 1, sizeof(Variants *));
    for (int i = 0; i < v->cut.nturned; i++) v->bodies[i] = hang(all, v, v->cut.turned[i].body);
    return v;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* Writes type and shape of a tensor from to[at] on, of what it holds, too, unless `to` is NULL.
 * Returns where it ends. */
static size_t put_shape(int64_t *to, size_t at, const Tensor *t)
{
    if (to) {
        to[at] = t->dtype;
        to[at + 1] = t->rank;
        for (int i = 0; i < t->rank; i++) to[at + 2 + (size_t)i] = t->dims[i];
    }
    at += 2 + (size_t)t->rank;
    for (int64_t i = 0; is_bundle(t->dtype) && i < t->dims[0]; i++)
        at = put_shape(to, at, &bundle_parts(t)[i]);
    return at;
}

/* What decides a program: types and shapes of the inputs, and the contents of those that are bound.
 */
static void *key_of(const Graph *g, const Tensor *inputs, size_t *bytes)
{
    int count = fed_inputs(g);
    size_t at = 0;
    for (int i = 0; i < count; i++) at = put_shape(NULL, at, &inputs[i]);
    *bytes = at * sizeof(int64_t) + bind_contents(g, inputs, NULL);
    int64_t *key = xmalloc(*bytes);
    bind_contents(g, inputs, key + at);
    at = 0;
    for (int i = 0; i < count; i++) at = put_shape(key, at, &inputs[i]);
    return key;
}

/* Where the variant of this key is in the list, or the list's end. */
static Variant **find(Variants *all, const void *key, size_t bytes)
{
    Variant **at = &all->first;
    while (*at && ((*at)->key_bytes != bytes || memcmp((*at)->key, key, bytes))) at = &(*at)->next;
    return at;
}

static Variant *unlink_variant(Variant **at)
{
    Variant *v = *at;
    *at = v->next;
    return v;
}

static void put_first(Variants *all, Variant *v)
{
    v->used = ++all->store->clock;
    v->next = all->first;
    all->first = v;
}

size_t variants_memory(Variants *all)
{
    Store *s = all->store;
    pthread_mutex_lock(&s->lock);
    size_t memory = s->memory;
    pthread_mutex_unlock(&s->lock);
    return memory;
}

/* Makes the variant of a key that is not in the list, without the lock: in the list it has a place
 * without a program meanwhile, which others wait for. The key is consumed. */
static Variant *add_variant(Ctx *cx, Variants *all, const Tensor *inputs, void *key, size_t bytes)
{
    Store *s = all->store;
    Variant *place = xcalloc(1, sizeof *place);
    *place = (Variant){.key = key, .key_bytes = bytes, .users = 1};
    put_first(all, place);
    pthread_mutex_unlock(&s->lock);
    Variant *v = variant_new(cx, all, inputs);
    pthread_mutex_lock(&s->lock);
    unlink_variant(find(all, key, bytes));
    if (v) {
        v->key = key;
        v->key_bytes = bytes;
        v->users = 1;
        place->key = NULL;
        if (v->memory > s->memory) s->memory = v->memory;
        put_first(all, v);
        trim(s);
    }
    variant_free(place);
    pthread_cond_broadcast(&s->made);
    return v;
}

const Variant *variants_take(Ctx *cx, Variants *all, const Tensor *inputs)
{
    Store *s = all->store;
    size_t bytes;
    void *key = key_of(all->graph, inputs, &bytes);
    pthread_mutex_lock(&s->lock);
    Variant **at;
    while (*(at = find(all, key, bytes)) && !(*at)->image) pthread_cond_wait(&s->made, &s->lock);
    Variant *v = *at;
    if (v) {
        put_first(all, unlink_variant(at));
        v->users++;
        free(key);
    } else {
        v = add_variant(cx, all, inputs, key, bytes);
    }
    pthread_mutex_unlock(&s->lock);
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
