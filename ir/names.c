/* ir/names.c - names of values: a table for each graph, and which are taken in the whole model; and
 * those of nodes, which only have to be chosen. The hash has a seed of its own in every process, so
 * that no file can have names that meet in it; nothing goes through a table in its order, so no
 * result depends on the seed.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "ir/ir.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

/* The seed: random bytes that the kernel gives every process. */
static uint64_t name_seed(void)
{
    uint64_t seed = 0;
    const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM);
    if (random) memcpy(&seed, random, sizeof seed);
    return seed;
}

static uint32_t name_hash(const char *s, uint64_t seed)
{
    return (uint32_t)XXH3_64bits_withSeed(s, strlen(s), seed);
}

/* ---- of one graph ---------------------------------------------------------------------------- */

/* The slot that holds `name`, or the free one where it belongs. */
static uint32_t value_slot(const NameTable *t, const char *name)
{
    uint32_t mask = (uint32_t)t->size - 1;
    for (uint32_t i = name_hash(name, t->seed) & mask;; i = (i + 1) & mask)
        if (!t->slots[i] || !strcmp(t->slots[i]->name, name)) return i;
}

static void grow_values(Graph *g)
{
    NameTable *t = &g->names, old = *t;
    t->size = old.size ? old.size * 2 : 32;
    t->slots = arena_array(g->model->arena, (size_t)t->size, sizeof *t->slots);
    if (!t->seed) t->seed = name_seed();
    for (int i = 0; i < old.size; i++)
        if (old.slots[i]) t->slots[value_slot(t, old.slots[i]->name)] = old.slots[i];
}

Value *graph_own(const Graph *g, const char *name)
{
    return g->names.size ? g->names.slots[value_slot(&g->names, name)] : NULL;
}

/* Takes a name out: what was put behind it because its place was taken moves up. */
static void take_out(NameTable *t, const char *name)
{
    uint32_t mask = (uint32_t)t->size - 1, hole = value_slot(t, name);
    if (!t->slots[hole]) return;
    t->used--;
    for (uint32_t i = (hole + 1) & mask; t->slots[i]; i = (i + 1) & mask) {
        uint32_t home = name_hash(t->slots[i]->name, t->seed) & mask;
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole] = NULL;
}

/* ---- of the model ---------------------------------------------------------------------------- */

/* What the model knows of a name. */
typedef struct Name {
    const char *text;
    int owners; /* graphs that have a value of that name; right when AllNames.counted */
    int next;   /* text_1 to text_(next - 1) are taken */
} Name;

struct AllNames {
    Arena *arena; /* the model's */
    Name **slots; /* open addressing, at most half full */
    int used, size;
    uint64_t seed;
    bool counted; /* the names of all graphs are here */
};

/* Longer names are cut before they are numbered. */
enum { NUMBERED = 990 };

/* `*t`, which is made when it is asked for the first time. */
static AllNames *all_names(Model *m, AllNames **t)
{
    if (!*t) {
        *t = arena_alloc(m->arena, sizeof **t);
        **t = (AllNames){.arena = m->arena, .seed = name_seed()};
    }
    return *t;
}

static Name **name_slot(const AllNames *t, const char *text)
{
    uint32_t mask = (uint32_t)t->size - 1;
    for (uint32_t i = name_hash(text, t->seed) & mask;; i = (i + 1) & mask)
        if (!t->slots[i] || !strcmp(t->slots[i]->text, text)) return &t->slots[i];
}

static Name *name_find(const AllNames *t, const char *text)
{
    return t && t->size ? *name_slot(t, text) : NULL;
}

static Name *name_get(AllNames *t, const char *text)
{
    if (t->used * 2 >= t->size) {
        AllNames old = *t;
        t->size = old.size ? old.size * 2 : 32;
        t->slots = arena_array(t->arena, (size_t)t->size, sizeof *t->slots);
        for (int i = 0; i < old.size; i++)
            if (old.slots[i]) *name_slot(t, old.slots[i]->text) = old.slots[i];
    }
    Name **slot = name_slot(t, text);
    if (*slot) return *slot;
    t->used++;
    *slot = arena_alloc(t->arena, sizeof **slot);
    **slot = (Name){arena_string(t->arena, text), 0, 1};
    return *slot;
}

/* A name is free again: so its number may be, of the name that it was numbered from. */
static void release(const AllNames *t, const char *text)
{
    if (!t) return;
    Name *name = name_find(t, text);
    if (name && name->owners) name->owners--;
    char base[NUMBERED + 1];
    const char *number = strrchr(text, '_');
    if (!number || (size_t)(number - text) > NUMBERED || strlen(number) > 10) return;
    snprintf(base, sizeof base, "%.*s", (int)(number - text), text);
    Name *numbered = name_find(t, base);
    int value = 0;
    for (const char *c = number + 1; *c; c++) {
        if (*c < '0' || *c > '9') return;
        value = value * 10 + (*c - '0');
    }
    if (numbered && value > 0 && numbered->next > value) numbered->next = value;
}

static void count_names(AllNames *t, Graph *g)
{
    for (int i = 0; i < g->nvalue; i++) name_get(t, g->values[i]->name)->owners++;
    for (Node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nsub; i++) count_names(t, n->subs[i]);
}

void names_count(Model *m)
{
    AllNames *t = all_names(m, &m->names);
    if (!t->counted) count_names(t, m->main);
    t->counted = true;
}

/* Names are unique in the whole model: a new one must not be captured by a subgraph either. */
static bool taken(Graph *g, const char *name)
{
    Model *m = g->model;
    if (qonnx_graph_find(g, name)) return true;
    if (!m->nsub) return false;
    names_count(m);
    const Name *n = name_find(m->names, name);
    return n && n->owners;
}

const char *name_choose(Graph *g, const char *name)
{
    if (!taken(g, name)) return arena_string(g->model->arena, name);
    char base[NUMBERED + 1], text[NUMBERED + 16];
    snprintf(base, sizeof base, "%s", name);
    Name *numbered = name_get(all_names(g->model, &g->model->names), base);
    for (;; numbered->next++) {
        snprintf(text, sizeof text, "%s_%d", base, numbered->next);
        if (!taken(g, text)) return arena_string(g->model->arena, text);
    }
}

void name_put(Graph *g, Value *v)
{
    NameTable *t = &g->names;
    if (t->used * 2 >= t->size) grow_values(g);
    uint32_t slot = value_slot(t, v->name);
    if (!t->slots[slot]) t->used++;
    t->slots[slot] = v;
    AllNames *all = g->model->names;
    if (all && all->counted) name_get(all, v->name)->owners++;
}

void name_drop(Graph *g, const Value *v)
{
    take_out(&g->names, v->name);
    release(g->model->names, v->name);
}

void name_drop_graph(Graph *g)
{
    if (!g->model->names) return;
    for (int i = 0; i < g->nvalue; i++) release(g->model->names, g->values[i]->name);
    for (Node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nsub; i++) name_drop_graph(n->subs[i]);
}

/* ---- of nodes -------------------------------------------------------------------------------- */

static void count_nodes(AllNames *t, const Graph *g)
{
    for (const Node *n = g->first; n; n = n->next) {
        name_get(t, n->name)->owners++;
        for (int i = 0; i < n->nsub; i++) count_nodes(t, n->subs[i]);
    }
}

/* The names of all nodes, which are counted when the first is chosen: before that, many models are
 * only read. */
static AllNames *node_names(Model *m)
{
    AllNames *t = all_names(m, &m->node_names);
    if (!t->counted) count_nodes(t, m->main);
    t->counted = true;
    return t;
}

/* Takes the name for a node; false when one has it. */
static bool take_node_name(AllNames *t, const char *text)
{
    Name *name = name_get(t, text);
    if (name->owners) return false;
    name->owners = 1;
    return true;
}

const char *node_name_choose(Graph *g, const char *name)
{
    if (!*name) return ""; /* any number of nodes may have none */
    AllNames *t = node_names(g->model);
    if (take_node_name(t, name)) return arena_string(t->arena, name);
    char base[NUMBERED + 1], text[NUMBERED + 16];
    snprintf(base, sizeof base, "%s", name);
    Name *numbered = name_get(t, base);
    for (;; numbered->next++) {
        snprintf(text, sizeof text, "%s_%d", base, numbered->next);
        if (take_node_name(t, text)) return arena_string(t->arena, text);
    }
}

void node_name_drop(const Node *n)
{
    release(n->graph->model->node_names, n->name);
    for (int i = 0; i < n->nsub; i++)
        for (const Node *m = n->subs[i]->first; m; m = m->next) node_name_drop(m);
}

/* N of a name `..__N`, below 10^9; else 0. */
static int number_of(const char *name)
{
    size_t digits = 0, length = strlen(name);
    while (digits < length && name[length - 1 - digits] >= '0' && name[length - 1 - digits] <= '9')
        digits++;
    if (!digits || digits > 9 || length - digits < 2 || memcmp(name + length - digits - 2, "__", 2))
        return 0;
    return (int)strtol(name + length - digits, NULL, 10);
}

static int larger(int a, int b) { return a > b ? a : b; }

int name_last_number(const Graph *g)
{
    int last = 0;
    for (; g; g = qonnx_graph_next(g)) {
        for (int i = 0; i < g->nvalue; i++) last = larger(last, number_of(g->values[i]->name));
        for (const Node *n = g->first; n; n = n->next) last = larger(last, number_of(n->name));
    }
    return last;
}

/* Renames in a graph and its subgraphs; gives their number and the first's old name. */
static int rename_nodes(Graph *g, const Node **first, const char **was)
{
    int renamed = 0;
    AllNames seen = {.arena = g->model->arena, .seed = name_seed()};
    for (Node *n = g->first; n; n = n->next) {
        const char *old = n->name;
        if (*old && !take_node_name(&seen, old)) {
            n->name = node_name_choose(g, old);
            take_node_name(&seen, n->name);
            release(g->model->node_names, old);
            if (!*first) *first = n, *was = old;
            renamed++;
        }
        for (int i = 0; i < n->nsub; i++) renamed += rename_nodes(n->subs[i], first, was);
    }
    return renamed;
}

void qonnx_graph_rename_nodes(Ctx *cx, Graph *g)
{
    const Node *first = NULL;
    const char *was = "";
    int renamed = rename_nodes(g, &first, &was);
    if (renamed)
        qonnx_warn(cx, first,
                   "a node before it is called '%s' too, which runtimes refuse; renamed, as are %d "
                   "more such nodes",
                   was, renamed - 1);
}
