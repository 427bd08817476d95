/* runtime/host.c - see host.h. */
#include "runtime/host.h"
#include "ir/size.h"
#include <stdlib.h>
#include <string.h>

enum { STEPS = 64 }; /* of a byte that is gone through, or of memory that is new */

/* What a run of the whole graph may take, and has taken. */
typedef struct Taken {
    const Limits *limits;
    Used *used;
} Taken;

const Tensor *host_in(const Host *h, int i)
{
    return i < h->node->nin && h->in[i].dtype ? &h->in[i] : NULL;
}

bool host_spend(Host *h, int64_t bytes)
{
    const Taken *t = h->run;
    return limits_spend(h->cx, t->limits, t->used, size_times(STEPS, bytes));
}

static bool keep(Host *h, size_t bytes)
{
    const Taken *t = h->run;
    return limits_keep(h->cx, t->limits, t->used, bytes) &&
           host_spend(h, bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes);
}

void *host_out(Host *h, int i, DType type, int rank, const int64_t *dims)
{
    Tensor *t = &h->out[i];
    *t = (Tensor){.dtype = type, .rank = rank};
    if (rank) memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    if (!tensor_bytes(t->dims, rank, type, &t->bytes) || t->bytes > PTRDIFF_MAX) {
        qonnx_fail(h->cx, h->node, "the size of its output %d overflows", i);
        return NULL;
    }
    if (!keep(h, t->bytes)) return NULL;
    void *data = xcalloc(t->bytes + 1, 1);
    t->data = data;
    return data;
}

bool host_string(Host *h, void *strings, int64_t i, const char *text, size_t bytes)
{
    const Taken *t = h->run;
    if (!keep(h, bytes + sizeof(qonnx_string))) return false;
    qonnx_string *s = arena_alloc(t->used->strings, sizeof *s);
    *s = (qonnx_string){bytes, arena_copy(t->used->strings, text, bytes)};
    memcpy((char *)strings + (size_t)i * sizeof s, &s, sizeof s);
    return true;
}

void host_same(void *strings, int64_t i, const Tensor *from, int64_t at)
{
    const size_t size = sizeof(qonnx_string *);
    memcpy((char *)strings + (size_t)i * size, (const char *)from->data + (size_t)at * size, size);
}

bool host_run(Ctx *cx, const Node *n, const Limits *l, Used *u, const Tensor *in, Tensor *out)
{
    Taken taken = {l, u};
    const Node *outer = u->node;
    Host h = {.cx = cx, .node = n, .in = in, .out = out, .run = &taken};
    u->node = n;
    bool ok = n->row->host(&h, n);
    u->node = outer;
    return ok;
}
