/* ir/hash.c - what a graph computes, in 128 bits. */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "ir/ir.h"
#include <string.h>

static void add(XXH3_state_t *h, const void *data, size_t bytes)
{
    if (bytes) XXH3_128bits_update(h, data, bytes);
}

static void add_int(XXH3_state_t *h, int64_t v)
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)((uint64_t)v >> (8 * i));
    add(h, b, 8);
}

static void add_text(XXH3_state_t *h, const char *s)
{
    add_int(h, (int64_t)strlen(s));
    add(h, s, strlen(s));
}

static void add_tensor(XXH3_state_t *h, const Tensor *t)
{
    add_int(h, t->dtype);
    add_int(h, t->rank);
    for (int i = 0; i < t->rank; i++) add_int(h, t->dims[i]);
    int64_t strings = t->dtype == QONNX_STRING && t->data ? tensor_count(t) : 0;
    for (int64_t i = 0; i < strings; i++) {
        qonnx_string s = qonnx_tensor_string(t, i);
        add_int(h, (int64_t)s.bytes);
        add(h, s.text, s.bytes);
    }
    if (t->dtype != QONNX_STRING) add(h, t->data, t->data ? t->bytes : 0);
}

static void add_graph(XXH3_state_t *h, const Graph *g);

static void add_attr(XXH3_state_t *h, const Attr *a)
{
    add_text(h, a->name);
    add_int(h, a->type);
    switch (a->type) {
    case ATTR_FLOAT: add(h, &a->f, sizeof a->f); break;
    case ATTR_INT: add_int(h, a->i); break;
    case ATTR_STRING: add_text(h, a->s); break;
    case ATTR_FLOATS: add(h, a->floats, (size_t)a->count * sizeof *a->floats); break;
    case ATTR_INTS:
        for (int i = 0; i < a->count; i++) add_int(h, a->ints[i]);
        break;
    case ATTR_STRINGS:
        for (int i = 0; i < a->count; i++) add_text(h, a->strings[i]);
        break;
    case ATTR_TENSOR: add_tensor(h, a->tensor); break;
    default:
        for (int i = 0; a->graphs && i < a->count; i++) add_graph(h, a->graphs[i]);
    }
}

static void add_graph(XXH3_state_t *h, const Graph *g)
{
    for (int i = 0; i < g->ninput; i++) add_text(h, g->inputs[i]->name);
    for (const Node *n = g->first; n; n = n->next) {
        add_text(h, n->domain);
        add_text(h, n->op);
        for (int i = 0; i < n->nattr; i++) add_attr(h, &n->attrs[i]);
        for (int i = 0; i < n->nin; i++) {
            const Value *v = n->in[i];
            add_text(h, v ? v->name : "");
            if (v && v->data) add_tensor(h, v->data);
        }
        for (int i = 0; i < n->nout; i++) add_text(h, n->out[i] ? n->out[i]->name : "");
    }
    for (int i = 0; i < g->noutput; i++) add_text(h, g->outputs[i]->name);
}

void graph_hash(const Graph *g, uint8_t out[16])
{
    XXH3_state_t h;
    XXH3_128bits_reset(&h);
    add_graph(&h, g);
    XXH128_canonicalFromHash((XXH128_canonical_t *)(void *)out, XXH3_128bits_digest(&h));
}
