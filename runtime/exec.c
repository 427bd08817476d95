/* runtime/exec.c - calls in order, taps in between. */
#include "runtime/exec.h"
#include "kernels/kernel.h"
#include "runtime/limits.h"
#ifdef HAVE_ONEDNN
#include "runtime/onednn.h"
#endif
#include <stdlib.h>
#include <string.h>

/* How one call is made. */
typedef struct Step {
    const void *packed; /* constant weight in the kernel's own layout, or NULL */
    size_t pack_at;     /* weights that are computed: where in scratch they are packed, each run */
    void *op;           /* OnednnOp instead of the kernel, or NULL */
    Image *body[2];     /* the programs that it runs; NULL: none */
} Step;

struct Image {
    Program *program;
    Step *steps;    /* one a call */
    size_t scratch; /* bytes that a worker needs beside the program's memory */
    int pointers;   /* the most that a call's kernel takes */
    size_t outside; /* bytes of weights that engines have packed, about */
};

struct Exec {
    const Image *image;
    const Exec *outer; /* of the program whose call runs this one; NULL: it is nobody's */
    Exec **bodies;     /* [2 * calls] of the programs that calls run; NULL where there are none */
    uint8_t *memory;   /* the program's buffers */
    uint8_t *scratch;  /* for engines and packing */
    const void **in;   /* the inputs of the run */
    void **out;        /* memory of the outputs */
    void **args;       /* [image->pointers]: of the call that runs */
};

/* One run. */
typedef struct Run {
    Ctx *cx;      /* where it says why it stops; NULL: nowhere */
    int64_t left; /* steps that it may still take */
    TapFn *fn;    /* sees the taps; may be NULL */
    void *user;   /* fn's */
} Run;

bool engine_find(Ctx *cx, const char *name, Engine *out)
{
#ifdef HAVE_ONEDNN
    *out = ENGINE_ONEDNN;
    if (name && !strcmp(name, "onednn")) return true;
#else
    *out = ENGINE_PORTABLE;
    if (name && !strcmp(name, "onednn"))
        return qonnx_fail(cx, NULL, "engine 'onednn' is not built in; use 'portable'");
#endif
    if (!name || !strcmp(name, "auto")) return true;
    *out = ENGINE_PORTABLE;
    return !strcmp(name, "portable") ||
           qonnx_fail(cx, NULL, "unknown engine '%s'; there are auto, onednn, portable", name);
}

const char *qonnx_engine_name(const qonnx_session_options *o)
{
    Ctx *cx = ctx_quiet();
    Engine e;
    bool ok = engine_find(cx, o->engine, &e);
    qonnx_ctx_free(cx);
    if (!ok) return NULL;
#ifdef HAVE_ONEDNN
    if (e == ENGINE_ONEDNN) return onednn_name();
#endif
    return "portable";
}

bool qonnx_onednn_running(void)
{
#ifdef HAVE_ONEDNN
    return onednn_running();
#else
    return false;
#endif
}

void engine_thread_init(Engine e)
{
#ifdef HAVE_ONEDNN
    if (e == ENGINE_ONEDNN) onednn_thread_init();
#else
    (void)e;
#endif
}

static size_t aligned(size_t n) { return (n + 63) / 64 * 64; }

#ifdef HAVE_ONEDNN
static void free_op(void *op) { onednn_op_free(op); }

/* oneDNN's form of a call whose weights are constant, or NULL. */
static void *onednn_step(Image *m, const Call *c, Packs *packs)
{
    if (!c->kernel || !c->kernel->onednn) return NULL;
    bool shared = packs && c->kernel->pack && c->in[1]->shared;
    OnednnOp *op = onednn_op_new(c->kernel, c->params, c->in, shared ? packs_onednn(packs) : NULL);
    if (!op) return NULL;
    arena_on_free(m->program->arena, free_op, op);
    if (c->kernel->pack && !shared) m->outside += c->in[1]->bytes;
    if (onednn_op_scratch(op) > m->scratch) m->scratch = onednn_op_scratch(op);
    return op;
}
#endif

static void pack_step(Image *m, const Call *c, Step *s, size_t *pack_bytes, Packs *packs)
{
    if (!c->kernel || !c->kernel->pack) return;
    if (packs && c->in[1]->data && c->in[1]->shared) {
        s->packed = packs_packed(packs, c->kernel, c->params, c->in[1]);
        return;
    }
    size_t bytes = c->kernel->pack_bytes(c->params);
    if (!c->in[1]->data) {
        s->pack_at = *pack_bytes;
        *pack_bytes += aligned(bytes);
        return;
    }
    void *packed = arena_aligned(m->program->arena, bytes);
    c->kernel->pack(c->params, c->in[1]->data, packed);
    s->packed = packed;
}

/* Makes the programs ready that the call runs, whose scratch is this one's. */
static void body_step(Image *m, const Call *c, Step *s, Engine engine, Packs *packs)
{
    for (int k = 0; c->body && k < 2; k++) {
        if (!c->body->program[k]) continue;
        Image *b = s->body[k] = image_new(c->body->program[k], engine, packs);
        m->outside += b->outside;
        if (b->scratch > m->scratch) m->scratch = b->scratch;
    }
}

/* Aligns the constants that are taken as they are. */
static void align_inputs(const Call *c, Packs *packs)
{
    for (int i = 0; i < c->nin; i++) {
        Buf *b = c->in[i];
        if (b && b->data && b->shared && !(i == 1 && c->kernel && c->kernel->pack))
            b->data = packs_aligned(packs, b);
    }
}

Image *image_new(Program *p, Engine engine, Packs *packs)
{
    if (!packs) program_align_constants(p);
    Image *m = arena_alloc(p->arena, sizeof *m);
    m->program = p;
    m->steps = arena_array(p->arena, (size_t)p->ncall, sizeof *m->steps);
    size_t pack_bytes = 0;
    for (int i = 0; i < p->ncall; i++) {
        const Call *c = &p->calls[i];
        if (c->nin + c->nout > m->pointers) m->pointers = c->nin + c->nout;
        if (packs) align_inputs(c, packs);
        body_step(m, c, &m->steps[i], engine, packs);
#ifdef HAVE_ONEDNN
        if (engine == ENGINE_ONEDNN) m->steps[i].op = onednn_step(m, c, packs);
#endif
        if (!m->steps[i].op) pack_step(m, c, &m->steps[i], &pack_bytes, packs);
    }
    /* packed weights live in scratch behind what engines use */
    size_t engine_bytes = aligned(m->scratch);
    for (int i = 0; i < p->ncall; i++) m->steps[i].pack_at += engine_bytes;
    m->scratch = engine_bytes + pack_bytes;
    return m;
}

void image_free(Image *m)
{
    if (m) program_free(m->program);
}

const Program *image_program(const Image *m) { return m->program; }

size_t image_bytes(const Image *m) { return arena_bytes(m->program->arena) + m->outside; }

/* 64-byte aligned, never NULL. Not zeroed: every buffer is written before it is read. */
static void *aligned_memory(size_t bytes)
{
    void *p = aligned_alloc(64, aligned(bytes ? bytes : 1));
    if (!p) p = xmalloc(SIZE_MAX); /* says that memory is out */
    return p;
}

/* What an Exec has but memory, which is its own or the outer one's. */
static Exec *exec_make(const Image *m, const Exec *outer, uint8_t *scratch)
{
    const Program *p = m->program;
    Exec *x = xcalloc(1, sizeof *x);
    x->image = m;
    x->outer = outer;
    x->scratch = scratch;
    x->in = xcalloc((size_t)p->ninput, sizeof *x->in);
    x->out = xcalloc((size_t)p->noutput, sizeof *x->out);
    x->args = xcalloc((size_t)m->pointers, sizeof *x->args);
    x->bodies = xcalloc(2 * (size_t)p->ncall, sizeof *x->bodies);
    for (int i = 0; i < 2 * p->ncall; i++) {
        const Image *b = m->steps[i / 2].body[i % 2];
        if (b) x->bodies[i] = exec_make(b, x, scratch);
    }
    return x;
}

Exec *exec_new(const Image *m)
{
    const Program *p = m->program;
    Exec *x = exec_make(m, NULL, aligned_memory(m->scratch));
    x->memory = aligned_memory(p->memory);
    for (int i = 0; i < p->noutput; i++) x->out[i] = aligned_memory(p->outputs[i].buf->bytes);
    return x;
}

void exec_free(Exec *x)
{
    if (!x) return;
    const Program *p = x->image->program;
    for (int i = 0; i < 2 * p->ncall; i++) exec_free(x->bodies[i]);
    if (!x->outer) {
        for (int i = 0; i < p->noutput; i++) free(x->out[i]);
        free(x->memory);
        free(x->scratch);
    }
    free(x->bodies);
    free(x->in);
    free(x->out);
    free(x->args);
    free(x);
}

static void *at(const Exec *x, const Buf *b)
{
    if (!b) return NULL;
    if (b->data) return (void *)(uintptr_t)b->data;
    if (b->port > 0) return (void *)(uintptr_t)x->in[b->port - 1];
    return b->port < 0 ? x->out[-b->port - 1] : x->memory + b->offset;
}

static void run_kernel(Exec *x, const Call *c, const Step *s)
{
    void **in = x->args, **out = in + c->kernel->nin;
    for (int i = 0; i < c->kernel->nin; i++) in[i] = at(x, c->in[i]);
    for (int i = 0; i < c->kernel->nout; i++) out[i] = at(x, c->out[i]);
#ifdef HAVE_ONEDNN
    if (s->op) {
        onednn_op_run(s->op, (const void *const *)in, out[0], x->scratch);
        return;
    }
#endif
    if (s->packed) {
        in[1] = (void *)(uintptr_t)s->packed;
    } else if (c->kernel->pack) {
        c->kernel->pack(c->params, in[1], x->scratch + s->pack_at);
        in[1] = x->scratch + s->pack_at;
    }
    c->kernel->run(c->params, (const void *const *)in, out);
}

static bool run_program(Exec *x, Run *run);

/* Runs a program of a call with a body, in turn `t`. */
static bool run_branch(Exec *x, int call, int which, int64_t t, Run *run)
{
    const Body *b = x->image->program->calls[call].body;
    Exec *inner = x->bodies[2 * call + which];
    const Program *p = inner->image->program;
    const BodyPort *in = b->in[which], *out = b->out[which];
    inner->memory = at(x, b->memory);
    for (int i = 0; i < p->ninput; i++)
        inner->in[i] = (const char *)at(x, in[i].buf) + in[i].start + t * in[i].step;
    for (int i = 0; i < p->noutput; i++)
        inner->out[i] = (char *)at(x, out[i].buf) + out[i].start + t * out[i].step;
    return run_program(inner, run);
}

static bool run_turn(Exec *x, int call, int64_t t, Run *run)
{
    const Call *c = &x->image->program->calls[call];
    const Body *b = c->body;
    bool open = b->test || b->trip; /* else all turns were counted before */
    if (open && run->left < b->cost)
        return limits_no_end(run->cx, c->node, t, x->image->program->work);
    if (open) run->left -= b->cost;
    if (b->counter) memcpy(at(x, b->counter), &t, sizeof t);
    if (!run_branch(x, call, 0, t, run)) return false;
    for (int i = 0; i < b->ncarried; i++) {
        const BodyCopy *k = &b->carried[i];
        if (k->bytes) memcpy(at(x, k->to), at(x, k->from), k->bytes);
    }
    return true;
}

static bool is_true(const Exec *x, const Buf *test)
{
    return !test || *(const uint8_t *)at(x, test) != 0;
}

static bool run_body(Exec *x, int call, Run *run)
{
    const Call *c = &x->image->program->calls[call];
    const Body *b = c->body;
    int which = is_true(x, b->test) ? 0 : 1;
    if (b->chooses && !b->program[which])
        return qonnx_fail(run->cx, c->node,
                          "its condition is %s, and that branch cannot run with the shapes of the "
                          "inputs; give a sample that chooses the other one (--data)",
                          which ? "false" : "true");
    if (b->chooses) return run_branch(x, call, which, 0, run);
    int64_t turns = b->turns, trip = turns;
    if (b->trip) memcpy(&trip, at(x, b->trip), sizeof trip);
    if (trip < turns) turns = trip;
    for (int64_t t = 0; t < turns && is_true(x, b->test); t++)
        if (!run_turn(x, call, t, run)) return false;
    return true;
}

static bool run_program(Exec *x, Run *run)
{
    const Program *p = x->image->program;
#ifdef HARD
    if (p->memory) memset(x->memory, 0xff, p->memory); /* NaN: what is read unwritten shows */
#endif
    int tap = 0;
    for (int i = -1; i < p->ncall; i++) {
        if (i >= 0 && p->calls[i].kernel) run_kernel(x, &p->calls[i], &x->image->steps[i]);
        else if (i >= 0 && !run_body(x, i, run)) return false;
        for (; tap < p->ntap && p->taps[tap].after == i; tap++)
            if (run->fn) run->fn(run->user, &p->taps[tap], at(x, p->taps[tap].buf));
    }
    return true;
}

bool exec_run(Exec *x, Ctx *cx, const Tensor *inputs, int64_t *work, TapFn *fn, void *user)
{
    const Program *p = x->image->program;
    int64_t used = work ? *work : 0;
    Run run = {cx, p->work - used, fn, user};
#ifdef HARD
    memset(x->scratch, 0xff, x->image->scratch);
#endif
    for (int i = 0; i < p->ninput; i++) x->in[i] = inputs[i].data;
    bool ok = run_program(x, &run);
    if (work) *work = p->work - run.left;
    return ok;
}

const void *exec_output(const Exec *x, int i) { return at(x, x->image->program->outputs[i].buf); }
