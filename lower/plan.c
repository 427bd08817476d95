/* lower/plan.c - offsets for buffers. Buffers that a call may write in place become one block; then
 * blocks are placed one by one, each at the lowest place that is free for its whole life. The order
 * decides how well that packs: several are tried, then random changes of the best one, until
 * nothing is wasted or enough was tried. Inputs and outputs lie in the caller's memory.
 */
#include "kernels/params.h"
#include "lower/program.h"
#include <stdlib.h>
#include <string.h>

typedef struct Block {
    size_t bytes; /* a multiple of the alignment */
    size_t offset;
    int born, dies; /* first and last call that touches one of its buffers */
} Block;

/* One planning. */
typedef struct Plan {
    Program *program;
    size_t align;
    Block *blocks;
    int count;
    int *order; /* [count], the order of placement being tried */
    int *near;  /* [count], scratch */
} Plan;

static size_t aligned(const Plan *p, size_t n) { return (n + p->align - 1) / p->align * p->align; }

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Whether the strides of an operand of f_binary walk it as the output is written. */
static bool walks_in_order(const int32_t *dims, const int32_t *strides)
{
    int32_t step = 1;
    for (int i = 5; i >= 0; i--) {
        if (dims[i] != 1 && strides[i] != step) return false;
        step *= dims[i];
    }
    return true;
}

/* Whether the output of the call may be the memory of its input i. */
static bool in_place(const Call *c, int i)
{
    static const char *const first[] = {"f_unary", "f_affine", "q_table"};
    const char *name = c->kernel->name;
    for (size_t k = 0; k < sizeof first / sizeof *first; k++)
        if (!strcmp(name, first[k])) return i == 0;
    if (!strcmp(name, "q_add")) return i < 2;
    if (strcmp(name, "f_binary") || i > 1) return false;
    const f_binary_p *p = c->params;
    return walks_in_order(&p->d0, i ? &p->b0 : &p->a0);
}

static bool placed(const Buf *b) { return b && !b->data && !b->port; }

/* Puts the output of the call into the block of an input that nobody needs afterwards. */
static void join(Plan *p, int call)
{
    const Call *c = &p->program->calls[call];
    Buf *y = c->out;
    if (!placed(y) || y->born != call) return;
    for (int i = 0; i < c->kernel->nin; i++) {
        const Buf *x = c->in[i];
        if (!placed(x) || x->bytes != y->bytes || !in_place(c, i)) continue;
        Block *b = &p->blocks[x->block];
        if (b->dies != call) continue;
        p->blocks[y->block].bytes = 0;
        y->block = x->block;
        b->dies = y->dies;
        return;
    }
}

static void make_blocks(Plan *p)
{
    Program *g = p->program;
    for (int i = 0; i < g->nbuf; i++) {
        Buf *b = g->bufs[i];
        if (!placed(b)) continue;
        b->block = p->count;
        p->blocks[p->count++] = (Block){aligned(p, b->bytes), 0, b->born, b->dies};
    }
    for (int i = 0; i < g->ncall; i++) join(p, i);
}

/* The most bytes alive at one call: there is no more than where some block is born. */
static size_t most_alive(const Plan *p)
{
    size_t most = 0;
    for (int k = 0; k < p->count; k++) {
        const Block *at = &p->blocks[k];
        size_t sum = 0;
        for (int i = 0; i < p->count; i++)
            if (p->blocks[i].born <= at->born && at->born <= p->blocks[i].dies)
                sum += p->blocks[i].bytes;
        if (sum > most) most = sum;
    }
    return most;
}

/* ---- placement ------------------------------------------------------------------------------- */

/* The lowest offset where `b` overlaps none of the `n` blocks p->near, which are sorted by offset.
 */
static size_t lowest_gap(const Plan *p, const Block *b, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        const Block *x = &p->blocks[p->near[i]];
        if (x->offset >= at + b->bytes) break;
        if (x->offset + x->bytes > at) at = x->offset + x->bytes;
    }
    return at;
}

/* Places the blocks in the order of p->order; returns the arena's size. */
static size_t place(Plan *p)
{
    size_t memory = 0;
    for (int i = 0; i < p->count; i++) {
        Block *b = &p->blocks[p->order[i]];
        int n = 0;
        for (int k = 0; k < i; k++) {
            const Block *x = &p->blocks[p->order[k]];
            if (x->born > b->dies || b->born > x->dies || !x->bytes) continue;
            int at = n++;
            for (; at > 0 && p->blocks[p->near[at - 1]].offset > x->offset; at--)
                p->near[at] = p->near[at - 1];
            p->near[at] = p->order[k];
        }
        b->offset = lowest_gap(p, b, n);
        if (b->offset + b->bytes > memory) memory = b->offset + b->bytes;
    }
    return memory;
}

static int life(const Block *b) { return b->dies - b->born; }

/* What an order puts first; ties go by the birth. */
static bool comes_first(int rule, const Block *a, const Block *b)
{
    double x = (double)a->bytes, y = (double)b->bytes;
    if (rule == 1) x *= life(a) + 1, y *= life(b) + 1;
    if (rule == 2) x = life(a), y = life(b);
    return x != y ? x > y : a->born < b->born;
}

enum { RULES = 4 }; /* size; size times life; life; birth */

static void sort_order(Plan *p, int rule)
{
    for (int i = 0; i < p->count; i++) {
        int k = i;
        for (; k > 0 && rule < 3 && comes_first(rule, &p->blocks[i], &p->blocks[p->order[k - 1]]);
             k--)
            p->order[k] = p->order[k - 1];
        p->order[k] = i;
    }
}

/* The same numbers on every machine. */
static uint32_t random_next(uint32_t *state)
{
    return (*state = *state * 1664525u + 1013904223u) >> 8;
}

/* Tries the rules, then exchanges in the best order; leaves the best order in p->order. */
static size_t search(Plan *p, size_t bound)
{
    int *best = xcalloc((size_t)p->count + 1, sizeof *best);
    size_t least = SIZE_MAX, bytes = (size_t)p->count * sizeof *best;
    uint32_t state = 1;
    int tries = p->count < 2 ? RULES : RULES + 1 + 20000000 / (p->count * p->count * 8);
    if (tries > 2000) tries = 2000;
    for (int i = 0; i < tries && least > bound; i++) {
        if (i < RULES) {
            sort_order(p, i);
        } else {
            memcpy(p->order, best, bytes);
            uint32_t a = random_next(&state) % (uint32_t)p->count;
            uint32_t b = random_next(&state) % (uint32_t)p->count;
            int moved = p->order[a];
            p->order[a] = p->order[b];
            p->order[b] = moved;
        }
        size_t size = place(p);
        if (size > least) continue;
        least = size;
        memcpy(best, p->order, bytes);
    }
    memcpy(p->order, best, bytes);
    free(best);
    return place(p);
}

void program_plan(Program *g, size_t align)
{
    size_t room = (size_t)g->nbuf + 1;
    Plan p = {.program = g, .align = align};
    p.blocks = xcalloc(room, sizeof *p.blocks);
    p.order = xcalloc(room, sizeof *p.order);
    p.near = xcalloc(room, sizeof *p.near);
    make_blocks(&p);
    g->alive = most_alive(&p);
    g->memory = search(&p, g->alive);
    for (int i = 0; i < g->nbuf; i++)
        if (placed(g->bufs[i])) g->bufs[i]->offset = p.blocks[g->bufs[i]->block].offset;
    free(p.blocks);
    free(p.order);
    free(p.near);
}
