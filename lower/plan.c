/* lower/plan.c - offsets for buffers. Buffers that a call may write in place become one block; then
 * blocks are placed one by one, each at the lowest place that is free for its whole life. The order
 * decides how well that packs: several are tried, then random changes of the best one, until
 * nothing is wasted or enough was tried. Inputs and outputs lie in the caller's memory.
 */
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
    int *order;  /* [count], the order of placement being tried */
    int *placed; /* [count], those that have their place, by offset */
} Plan;

static size_t aligned(const Plan *p, size_t n) { return (n + p->align - 1) / p->align * p->align; }

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Whether the first output of the call may be the memory of its input i. */
static bool in_place(const Call *c, int i)
{
    const Kernel *k = c->kernel;
    return k && i < 32 && k->in_place >> i & 1 &&
           (!k->in_place_now || k->in_place_now(c->params, i));
}

static bool placed(const Buf *b) { return b && !b->data && !b->port; }

/* Whether an input that must not be the output's memory is that of input i, too. */
static bool is_read_elsewhere(const Call *c, int i)
{
    for (int j = 0; j < c->nin; j++)
        if (placed(c->in[j]) && c->in[j]->block == c->in[i]->block && !in_place(c, j)) return true;
    return false;
}

/* Puts the first output of the call into the block of an input that nobody needs afterwards. */
static void join(Plan *p, int call)
{
    const Call *c = &p->program->calls[call];
    Buf *y = c->out[0];
    if (!c->kernel || !placed(y) || y->born != call) return;
    for (int i = 0; i < c->nin; i++) {
        const Buf *x = c->in[i];
        if (!placed(x) || x->bytes != y->bytes || !in_place(c, i)) continue;
        Block *b = &p->blocks[x->block];
        if (b->dies != call || is_read_elsewhere(c, i)) continue;
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

/* The most bytes alive at one call. */
static size_t most_alive(const Plan *p)
{
    int last = 0;
    for (int i = 0; i < p->count; i++)
        if (p->blocks[i].dies > last) last = p->blocks[i].dies;
    int64_t *change = xcalloc((size_t)last + 3, sizeof *change); /* [i]: from call i - 1 on */
    for (int i = 0; i < p->count; i++) {
        change[p->blocks[i].born + 1] += (int64_t)p->blocks[i].bytes;
        change[p->blocks[i].dies + 2] -= (int64_t)p->blocks[i].bytes;
    }
    int64_t most = 0, sum = 0;
    for (int i = 0; i < last + 3; i++) {
        sum += change[i];
        if (sum > most) most = sum;
    }
    free(change);
    return (size_t)most;
}

/* ---- placement ------------------------------------------------------------------------------- */

/* The lowest offset where `b` overlaps none of the `n` blocks p->placed, which are sorted by
 * offset, that live at the same time. */
static size_t lowest_gap(const Plan *p, const Block *b, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        const Block *x = &p->blocks[p->placed[i]];
        if (x->offset >= at + b->bytes) break;
        if (x->born > b->dies || b->born > x->dies) continue;
        if (x->offset + x->bytes > at) at = x->offset + x->bytes;
    }
    return at;
}

/* Where an offset belongs among the `n` of p->placed. */
static int place_of(const Plan *p, size_t offset, int n)
{
    int lo = 0;
    while (lo < n) {
        int mid = lo + (n - lo) / 2;
        if (p->blocks[p->placed[mid]].offset <= offset) lo = mid + 1;
        else n = mid;
    }
    return lo;
}

/* Places the blocks in the order of p->order; returns the arena's size. */
static size_t place(Plan *p)
{
    size_t memory = 0;
    int n = 0;
    for (int i = 0; i < p->count; i++) {
        Block *b = &p->blocks[p->order[i]];
        b->offset = lowest_gap(p, b, n);
        if (b->offset + b->bytes > memory) memory = b->offset + b->bytes;
        if (!b->bytes) continue;
        int at = place_of(p, b->offset, n);
        memmove(p->placed + at + 1, p->placed + at, (size_t)(n++ - at) * sizeof *p->placed);
        p->placed[at] = p->order[i];
    }
    return memory;
}

/* A block in the order of a rule: the measure, the birth, then the number. */
typedef struct Rank {
    double first; /* larger ones come first */
    int born;     /* then smaller ones (sort_by_time: or the death) */
    int block;    /* its number */
} Rank;

static int compare_ranks(const void *x, const void *y)
{
    const Rank *a = x, *b = y;
    if (a->first != b->first) return a->first > b->first ? -1 : 1;
    if (a->born != b->born) return a->born < b->born ? -1 : 1;
    return a->block < b->block ? -1 : a->block > b->block;
}

enum { BY_SIZE, BY_SIZE_AND_LIFE, BY_LIFE, BY_BIRTH, RULES };

/* Puts the blocks into the order of a rule. Those of one birth keep the order of their numbers. */
static void sort_order(Plan *p, int rule)
{
    Rank *ranks = xmalloc_array((size_t)p->count, sizeof *ranks);
    for (int i = 0; i < p->count; i++) {
        const Block *b = &p->blocks[i];
        double life = b->dies - b->born, bytes = (double)b->bytes;
        double first = rule == BY_SIZE            ? bytes
                       : rule == BY_SIZE_AND_LIFE ? bytes * (life + 1)
                       : rule == BY_LIFE          ? life
                                                  : 0;
        ranks[i] = (Rank){first, rule == BY_BIRTH ? 0 : b->born, i};
    }
    qsort(ranks, (size_t)p->count, sizeof *ranks, compare_ranks);
    for (int i = 0; i < p->count; i++) p->order[i] = ranks[i].block;
    free(ranks);
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

/* ---- very many blocks ------------------------------------------------------------------------ */

/* Above so many blocks each is placed when it is born, and once: the search takes the square of
 * their number. */
enum { MANY = 4096 };

/* Memory that is free, up to the next gap or, the last one, without end. */
typedef struct Gap {
    size_t at, end;
} Gap;

/* The gaps, by offset: no two touch. */
typedef struct Gaps {
    Gap *list; /* room for one more than there are blocks */
    int count;
} Gaps;

static size_t take_gap(Gaps *g, size_t bytes)
{
    int i = 0;
    while (g->list[i].end - g->list[i].at < bytes) i++;
    size_t at = g->list[i].at;
    g->list[i].at += bytes;
    if (g->list[i].at == g->list[i].end)
        memmove(g->list + i, g->list + i + 1, (size_t)(--g->count - i) * sizeof *g->list);
    return at;
}

static void give_back(Gaps *g, size_t at, size_t bytes)
{
    int lo = 0, hi = g->count; /* the first gap behind it */
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (g->list[mid].at < at) lo = mid + 1;
        else hi = mid;
    }
    Gap *next = g->list + lo;
    bool joins_next = next->at == at + bytes, joins_last = lo && next[-1].end == at;
    if (joins_next && joins_last) {
        next[-1].end = next->end;
        memmove(next, next + 1, (size_t)(--g->count - lo) * sizeof *next);
    } else if (joins_next) {
        next->at = at;
    } else if (joins_last) {
        next[-1].end = at + bytes;
    } else {
        memmove(next + 1, next, (size_t)(g->count++ - lo) * sizeof *next);
        *next = (Gap){at, at + bytes};
    }
}

/* The blocks that have bytes by their birth, or by their death. Returns how many. */
static int sort_by_time(const Plan *p, bool death, Rank *ranks)
{
    int n = 0;
    for (int i = 0; i < p->count; i++)
        if (p->blocks[i].bytes)
            ranks[n++] = (Rank){0, death ? p->blocks[i].dies : p->blocks[i].born, i};
    qsort(ranks, (size_t)n, sizeof *ranks, compare_ranks);
    return n;
}

/* Goes through the calls once, giving each block the lowest gap that is free when it is born. */
static size_t sweep(Plan *p)
{
    size_t memory = 0;
    Rank *births = xmalloc_array((size_t)p->count, sizeof *births);
    Rank *deaths = xmalloc_array((size_t)p->count, sizeof *deaths);
    int n = sort_by_time(p, false, births), dead = 0;
    sort_by_time(p, true, deaths);
    Gaps gaps = {xmalloc_array((size_t)p->count + 1, sizeof *gaps.list), 1};
    gaps.list[0] = (Gap){0, SIZE_MAX};
    for (int i = 0; i < n; i++) {
        Block *b = &p->blocks[births[i].block];
        for (; deaths[dead].born < b->born; dead++) {
            const Block *gone = &p->blocks[deaths[dead].block];
            give_back(&gaps, gone->offset, gone->bytes);
        }
        b->offset = take_gap(&gaps, b->bytes);
        if (b->offset + b->bytes > memory) memory = b->offset + b->bytes;
    }
    free(births);
    free(deaths);
    free(gaps.list);
    return memory;
}

/* The programs that a call runs have their arena in the memory of the one that calls them. */
static void plan_bodies(Program *g, size_t align)
{
    for (int i = 0; i < g->ncall; i++) {
        const Body *b = g->calls[i].body;
        if (!b) continue;
        b->memory->bytes = 0;
        for (int k = 0; k < 2; k++) {
            if (!b->program[k]) continue;
            program_plan(b->program[k], align);
            if (b->program[k]->memory > b->memory->bytes) b->memory->bytes = b->program[k]->memory;
        }
    }
}

void program_plan(Program *g, size_t align)
{
    plan_bodies(g, align);
    size_t room = (size_t)g->nbuf + 1;
    Plan p = {.program = g, .align = align};
    p.blocks = xcalloc(room, sizeof *p.blocks);
    p.order = xcalloc(room, sizeof *p.order);
    p.placed = xcalloc(room, sizeof *p.placed);
    make_blocks(&p);
    g->alive = most_alive(&p);
    g->memory = p.count > MANY ? sweep(&p) : search(&p, g->alive);
    for (int i = 0; i < g->nbuf; i++)
        if (placed(g->bufs[i])) g->bufs[i]->offset = p.blocks[g->bufs[i]->block].offset;
    free(p.blocks);
    free(p.order);
    free(p.placed);
}
