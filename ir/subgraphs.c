/* ir/subgraphs.c - the graphs of a model, one after the other, and what their places are called. */
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

/* ---- one after the other --------------------------------------------------------------------- */

/* The first graph of this node or of those behind it. */
static Graph *first_from(const Node *n)
{
    while (n && !n->nsub) n = n->next;
    return n ? n->subs[0] : NULL;
}

/* The graph that follows in the node that this one belongs to. */
static Graph *sibling(const Graph *g)
{
    const Node *n = g->owner;
    int i = 0;
    while (n->subs[i] != g) i++;
    return i + 1 < n->nsub ? n->subs[i + 1] : NULL;
}

Graph *qonnx_graph_next(const Graph *g)
{
    Graph *next = first_from(g->first);
    for (; !next && g->owner; g = g->owner->graph)
        if (!(next = sibling(g))) next = first_from(g->owner->next);
    return next;
}

/* ---- places ---------------------------------------------------------------------------------- */

/* A text that grows. */
typedef struct Text {
    char *s;
    size_t length;
} Text;

/* Appends a part of a path, in which what parts are joined by is marked. */
static void put(Text *t, const char *part)
{
    size_t most = strlen(part);
    t->s = xrealloc(t->s, t->length + most + most + 2);
    if (t->length) t->s[t->length++] = '>';
    for (; *part; part++) {
        if (*part == '>' || *part == '\\') t->s[t->length++] = '\\';
        t->s[t->length++] = *part;
    }
    t->s[t->length] = 0;
}

static const char *owner_output(const Graph *g)
{
    for (int i = 0; i < g->owner->nout; i++)
        if (g->owner->out[i]) return g->owner->out[i]->name;
    return "";
}

/* The attribute that holds the graph. */
static const Attr *attribute_of(const Graph *g)
{
    for (const Attr *a = g->owner->attrs; a < g->owner->attrs + g->owner->nattr; a++)
        for (int k = 0; a->graphs && k < a->count; k++)
            if (a->graphs[k] == g) return a;
    return NULL;
}

Node *qonnx_graph_owner(const Graph *g) { return g->owner; }

const char *qonnx_graph_attribute(const Graph *g)
{
    const Attr *a = g->owner ? attribute_of(g) : NULL;
    return a ? a->name : "";
}

bool graph_has_place(const Graph *g)
{
    const Attr *a = g->owner ? attribute_of(g) : NULL;
    return a && a->type == ATTR_GRAPH && *owner_output(g);
}

static void put_path(Text *t, const Graph *g)
{
    if (!g->owner) return;
    put_path(t, g->owner->graph);
    put(t, owner_output(g));
    put(t, qonnx_graph_attribute(g));
}

char *qonnx_graph_path(const Graph *g)
{
    Text t = {xstrdup(""), 0};
    put_path(&t, g);
    return t.s;
}
