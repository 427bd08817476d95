/* runtime/limits.c - see limits.h. */
#include "runtime/limits.h"
#include "ir/size.h"
#include "ops/op.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION /* its code is a hundred times as slow */
static const int64_t FREE_WORK = 1000000000, WORK_PER_BYTE = 1000;
#else
static const int64_t FREE_WORK = 1000000000000, WORK_PER_BYTE = 1000000;
#endif
static const size_t FREE_MEMORY = (size_t)1 << 30, MEMORY_PER_BYTE = 256;

/* ---- what a node takes ----------------------------------------------------------------------- */

/* Steps that a byte counts for which is written, as measured: memory that is touched for the first
 * time takes a nanosecond a byte, a step 1/20 of that. */
enum { BYTE = 16 };

/* Elements of the input that each element of the output is made of, in a pool; else 1. */
static int64_t taps(const Node *n)
{
    qonnx_window w;
    int64_t count = 1;
    if (qonnx_node_macs(n) > 0 || !qonnx_node_window(n, &w)) return 1;
    for (int i = 0; i < 3; i++)
        count = size_times(count, w.kernel[i] < w.in[i] ? w.kernel[i] : w.in[i]);
    return count;
}

/* How many steps a step of the node counts for, as measured: kernels multiply channels by channels,
 * and are that much slower where a group of a convolution has few; so is a MaxPool of one channel.
 */
static int64_t slowness(const Node *n)
{
    enum { FEW = 16, SLOW = 16 };
    if (qonnx_node_is(n, "MaxPool")) return SLOW;
    if (qonnx_node_is(n, "LpPool") || qonnx_node_is(n, "GlobalLpPool"))
        return 4 * SLOW; /* powers */
    bool conv = qonnx_node_is(n, "Conv") || qonnx_node_is(n, "ConvTranspose") ||
                (n->row && n->row->domain && !strcmp(n->row->name, "FusedConv"));
    if (!conv || n->nin < 2 || !n->in[0] || !n->in[1]) return 1;
    const Shape *w = &n->in[1]->shape;
    int64_t groups = qonnx_node_int(n, "group", 1);
    if (w->rank < 3 || groups < 1) return 1;
    return w->dim[1] < FEW || w->dim[0] / groups < FEW ? SLOW : 1;
}

/* Bytes of a value; -1: not known. */
static int64_t value_bytes(const Value *v)
{
    int64_t count = shape_elements(&v->shape), size = dtype_size(v->dtype);
    return count < 0 || !size ? -1 : size_times(count, size);
}

/* Steps of a graph, each node once; *worst is the one that takes most, *most of them. */
static int64_t graph_work(const Graph *g, const Node **worst, int64_t *most)
{
    int64_t sum = 0;
    *most = -1;
    for (const Node *n = g->first; n; n = n->next) {
        int64_t bytes, work;
        node_cost(n, &bytes, &work);
        if (work > 0) sum = size_plus(sum, work);
        if (work > *most) *most = work, *worst = n;
    }
    return sum;
}

/* Steps of a turn of a subgraph. */
static int64_t turn_work(const Graph *g)
{
    enum { CALL = 8000 }; /* to make one: turns may be small, and many */
    int64_t most, work = CALL;
    const Node *worst;
    for (const Node *n = g->first; n; n = n->next) work = size_plus(work, CALL);
    return size_plus(work, graph_work(g, &worst, &most));
}

/* Steps that the subgraphs of a node take. One that runs nobody knows how often counts once, and
 * then as it runs. */
static int64_t subgraph_work(const Node *n)
{
    const Flow *flow = n->row ? n->row->flow : NULL;
    int64_t most = 0;
    for (int i = 0; i < n->nsub; i++) {
        int64_t work = n->subs[i]->barred ? 0 : turn_work(n->subs[i]);
        if (work > most) most = work;
    }
    int64_t turns = flow && flow->turns ? flow->turns(n) : 1;
    return size_times(most, turns < 0 ? 1 : turns);
}

void node_cost(const Node *n, int64_t *bytes, int64_t *work)
{
    int64_t macs = qonnx_node_macs(n);
    *bytes = 0;
    *work = macs > 0 ? size_times(macs, slowness(n)) : 0;
    int64_t more = n->row && n->row->work ? n->row->work(n) : 0;
    if (more > 0) *work = size_plus(*work, more);
    if (n->nsub) *work = size_plus(*work, subgraph_work(n));
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && n->in[i]->data) *work = size_plus(*work, (int64_t)n->in[i]->data->bytes);
    for (int i = 0; i < n->nout; i++) {
        const Value *v = n->out[i];
        if (!v || (!v->nuse && !v->output_count)) continue;
        int64_t size = value_bytes(v);
        if (size < 0) {
            *bytes = *work = -1;
            return;
        }
        *bytes = size_plus(*bytes, size);
        int64_t window = taps(n);
        int64_t steps = window > 1 ? size_times(window, slowness(n)) : 0;
        *work = size_plus(*work, size_times(size, size_plus(BYTE, steps)));
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* The number behind `key` in a file of the system, in bytes; SIZE_MAX: there is none. */
static size_t read_number(const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    size_t value = SIZE_MAX;
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long x;
        if (strncmp(line, key, strlen(key)) || sscanf(line + strlen(key), "%llu", &x) != 1)
            continue;
        value = *key ? (size_t)x * 1024 : (size_t)x;
        break;
    }
    if (f) fclose(f);
    return value;
}

/* What a cgroup has left, its own limit or that of one above it; SIZE_MAX: no limit. */
static size_t cgroup_left(void)
{
    static const char top[] = "/sys/fs/cgroup";
    char own[1024] = "", path[1200];
    FILE *f = fopen("/proc/self/cgroup", "r");
    for (char line[1024]; f && fgets(line, sizeof line, f);)
        if (!strncmp(line, "0::", 3))
            snprintf(own, sizeof own, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    if (f) fclose(f);
    size_t left = SIZE_MAX;
    for (;;) {
        snprintf(path, sizeof path, "%s%s/memory.max", top, own);
        size_t most = read_number(path, "");
        snprintf(path, sizeof path, "%s%s/memory.current", top, own);
        size_t now = read_number(path, "");
        if (most != SIZE_MAX && now != SIZE_MAX && (most > now ? most - now : 0) < left)
            left = most > now ? most - now : 0;
        char *slash = strrchr(own, '/');
        if (!slash) return left;
        *slash = 0;
    }
}

/* Bytes that this process can still have. */
static size_t available(void)
{
    size_t machine = read_number("/proc/meminfo", "MemAvailable:"), group = cgroup_left();
    return machine < group ? machine : group;
}

Limits limits_for(const Graph *g, size_t max_memory)
{
    int64_t given = g->model->bytes > INT64_MAX ? INT64_MAX : (int64_t)g->model->bytes;
    for (int i = 0; i < g->ninput; i++) {
        int64_t bytes = graph_is_fed(g, i) ? value_bytes(g->inputs[i]) : 0;
        if (bytes > 0) given = size_plus(given, bytes);
    }
    Limits l = {.memory = max_memory, .asked = max_memory > 0, .available = SIZE_MAX};
    l.work = size_plus(FREE_WORK, size_times(WORK_PER_BYTE, given));
    if (l.asked) return l;
    size_t most = (size_t)size_times((int64_t)MEMORY_PER_BYTE, given);
    l.memory = FREE_MEMORY + most < most ? SIZE_MAX : FREE_MEMORY + most;
    l.available = available();
    if (l.available != SIZE_MAX) l.available -= l.available / 10;
    return l;
}

/* "1.5 GiB" of bytes, to read. */
static const char *size_text(char text[32], double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int i = 0;
    while (bytes >= 1024 && i < 5) bytes /= 1024, i++;
    snprintf(text, 32, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
    return text;
}

bool limits_work(Ctx *cx, Limits *l, const Graph *g)
{
    int64_t most;
    const Node *worst = NULL;
    int64_t sum = size_plus(l->work_used, graph_work(g, &worst, &most));
    l->work_used = sum;
    return sum <= l->work ||
           qonnx_fail(
               cx, worst,
               "one run of the model takes %.2g steps (bytes written and multiply-accumulates), "
               "%.2g of them here; a model and samples of this size may take %.2g: give the "
               "inputs smaller shapes",
               (double)sum, (double)most, (double)l->work);
}

void limits_set(const Limits *l, Program *p)
{
    p->work = l->work;
    for (int i = 0; i < p->ncall; i++) {
        Body *b = p->calls[i].body;
        for (int k = 0; b && k < 2; k++) {
            if (!b->program[k]) continue;
            limits_set(l, b->program[k]);
            b->cost = turn_work(b->program[k]->graph);
            b->most = l->work / b->cost;
        }
    }
}

static size_t sum_of(size_t a, size_t b) { return a + b < a ? SIZE_MAX : a + b; }

int64_t limits_making(const Graph *g)
{
    enum { STEPS = 100000 }; /* to copy, infer and lower a node */
    int64_t steps = STEPS;
    for (const Node *n = g->first; n; n = n->next) {
        steps = size_plus(steps, STEPS);
        for (int i = 0; i < n->nsub; i++) steps = size_plus(steps, limits_making(n->subs[i]));
    }
    return steps;
}

bool limits_cut(Ctx *cx, Limits *l, const Graph *rest)
{
    l->work_used = size_plus(l->work_used, limits_making(rest));
    l->memory_used = sum_of(l->memory_used, 2 * arena_bytes(rest->model->arena)); /* and its copy */
    return (l->work_used <= l->work && l->memory_used <= l->memory) ||
           qonnx_fail(cx, rest->first,
                      "too many values decide shapes, one behind the other, to run the model, "
                      "which is prepared anew for each; this is one: make them constant");
}

/* ---- memory of a program --------------------------------------------------------------------- */

/* Bytes of the weights that a call packs, those of programs that it runs included. */
static size_t packed_bytes(const Call *c)
{
    size_t bytes = c->kernel && c->kernel->pack ? c->kernel->pack_bytes(c->params) : 0;
    for (int k = 0; c->body && k < 2; k++) {
        const Program *p = c->body->program[k];
        for (int i = 0; p && i < p->ncall; i++) bytes = sum_of(bytes, packed_bytes(&p->calls[i]));
    }
    return bytes;
}

/* The node of the call at which most bytes are alive, or that packs most. */
static const Node *hungriest(const Program *p)
{
    size_t *change = xcalloc((size_t)p->ncall + 2, sizeof *change), alive = 0, most = 0;
    const Node *worst = NULL;
    for (int i = 0; i < p->nbuf; i++) {
        const Buf *b = p->bufs[i];
        if (b->dies < 0 || b->born > b->dies) continue;
        change[b->born < 0 ? 0 : b->born] += b->bytes;
        change[b->dies + 1] -= b->bytes; /* wraps, and back */
    }
    for (int i = 0; i < p->ncall; i++) {
        const Call *c = &p->calls[i];
        alive += change[i];
        size_t bytes = sum_of(alive, packed_bytes(c));
        if (worst && bytes <= most) continue;
        most = bytes;
        worst = c->node;
    }
    free(change);
    return worst;
}

/* Fails for a node: one run takes that many bytes, `where`. */
static bool too_large(Ctx *cx, const Limits *l, const Node *n, size_t bytes, const char *where)
{
    char need[32], may[32];
    size_text(need, (double)bytes);
    size_text(may, (double)(l->memory < l->available ? l->memory : l->available));
    const char *why = l->asked                   ? "--max-memory allows"
                      : l->available < l->memory ? "the machine has about"
                                                 : "a model and samples of this size may take";
    return qonnx_fail(cx, n,
                      "one run of the model takes %s of memory, most of it %s; %s %s: give the "
                      "inputs smaller shapes, or allow more by --max-memory",
                      need, where, why, may);
}

static bool allows(const Limits *l, size_t bytes)
{
    return bytes <= l->memory && bytes <= l->available;
}

bool limits_memory(Ctx *cx, Limits *l, const Program *p)
{
    size_t bytes = sum_of(l->memory_used, p->memory);
    for (int i = 0; i < p->noutput; i++) bytes = sum_of(bytes, p->outputs[i].tensor.bytes);
    for (int i = 0; i < p->ncall; i++) bytes = sum_of(bytes, packed_bytes(&p->calls[i]));
    l->memory_used = bytes;
    return allows(l, bytes) || too_large(cx, l, hungriest(p), bytes, "here");
}

/* ---- what shows while a model runs ----------------------------------------------------------- */

bool limits_no_end(Ctx *cx, const Node *n, int64_t turns, int64_t work)
{
    return qonnx_fail(
        cx, n,
        "it has not ended after %lld turns, and one run of the model may take %.2g "
        "steps: its condition or its trip count is wrong, or the inputs are too large",
        (long long)turns, (double)work);
}

bool limits_spend(Ctx *cx, const Limits *l, Used *u, int64_t work)
{
    u->work = size_plus(u->work, work);
    return !u->node || u->work <= l->work || limits_no_end(cx, u->node, u->turn, l->work);
}

bool limits_keep(Ctx *cx, const Limits *l, Used *u, size_t bytes)
{
    char where[80];
    u->memory = sum_of(u->memory, bytes);
    size_t all = sum_of(l->memory_used, u->memory);
    if (!u->node || allows(l, all)) return true;
    snprintf(where, sizeof where, "for what %lld turns have made here", (long long)u->turn);
    return too_large(cx, l, u->node, all, where);
}
