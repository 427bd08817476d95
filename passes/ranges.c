/* passes/ranges.c - see ranges.h. One part of calibrate. */
#include "ranges.h"
#include <stdlib.h>

/* Values that have one range: what data movement in integers hands on. */
typedef struct Group {
    float lo, hi;            /* the range, as far as it is widened */
    float own;               /* how wide it was before it was shared across Concats */
    const qonnx_value *root; /* the value that was not moved */
    const Site *concat;      /* the first Concat in integers that reads it; NULL: none */
    bool given;              /* the range was given: it does not change */
    bool elsewhere;          /* others than that one and data movement in integers read it, too */
} Group;

/* A value's group. */
typedef struct Member {
    qonnx_value *value;
    Group *group;
} Member;

typedef struct Groups {
    const Placement *placement;
    Member *members; /* the values that have a range, sorted by address: to find them only */
    int count;
} Groups;

static int compare_members(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Member *)a)->value, y = (uintptr_t)((const Member *)b)->value;
    return (x > y) - (x < y);
}

/* The value's member; NULL when it has no range, or is none. */
static Member *member_of(const Groups *s, const qonnx_value *v)
{
    Member key = {(qonnx_value *)v, NULL};
    return bsearch(&key, s->members, (size_t)s->count, sizeof key, compare_members);
}

/* Input i of the site as far as it is quantized; NULL otherwise. */
static Group *group_read(const Groups *s, const Site *at, int i)
{
    if (!quantizable_activation(at->node, &at->rule, i)) return NULL;
    const Member *m = member_of(s, qonnx_node_input(at->node, i));
    return m ? m->group : NULL;
}

static Group *group_made(const Groups *s, const Site *at)
{
    return member_of(s, qonnx_node_output(at->node, 0))->group;
}

/* Another Concat that reads the group. */
static void add_concat(Group *g, const Site *concat)
{
    if (!g->concat) g->concat = concat;
    g->elsewhere |= g->concat != concat;
}

/* Finds who reads the group's one value. */
static void find_group_readers(const Placement *p, Group *g)
{
    g->elsewhere = qonnx_value_is_output(g->root);
    for (int i = 0; i < qonnx_value_uses(g->root); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(g->root, i, &input);
        const Site *u = placement_reader(p, n, input);
        if (u && u->rule.kind == QONNX_RULE_UNIFY) add_concat(g, u);
        else if (!u || u->rule.kind != QONNX_RULE_SAME) g->elsewhere = true;
    }
}

/* A group for a value that has a range. */
static void add_group(Groups *s, qonnx_graph *g, qonnx_value *v)
{
    float lo, hi;
    if (!qonnx_value_range(v, &lo, &hi)) return;
    Group *group = qonnx_graph_alloc(g, sizeof *group);
    *group = (Group){
        .lo = lo, .hi = hi, .own = placement_width(lo, hi), .root = v, .given = range_is_given(v)};
    find_group_readers(s->placement, group);
    s->members[s->count++] = (Member){v, group};
}

static void list_groups(Groups *s, qonnx_graph *g)
{
    size_t values = 0;
    for (const qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        values += (size_t)qonnx_graph_values(in);
    s->members = qonnx_graph_array(g, values, sizeof *s->members);
    for (const qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        for (int i = 0; i < qonnx_graph_values(in); i++) add_group(s, g, qonnx_graph_value(in, i));
    qsort(s->members, (size_t)s->count, sizeof *s->members, compare_members);
}

/* Widens the group's range to hold [lo, hi]; whether that changed it. */
static bool widen(Group *g, float lo, float hi)
{
    if (g->given || (g->lo <= lo && hi <= g->hi)) return false;
    g->lo = fminf(g->lo, lo);
    g->hi = fmaxf(g->hi, hi);
    return true;
}

/* What data movement in integers makes is in the group of what it moves. */
static void join_moved(const Groups *s, const Site *at)
{
    Group *from = group_read(s, at, 0);
    for (int i = 0; i < qonnx_node_outputs(at->node); i++) {
        const qonnx_value *out = qonnx_node_output(at->node, i);
        Member *m = out ? member_of(s, out) : NULL;
        if (!m) continue;
        from->elsewhere |= m->group->elsewhere;
        if (m->group->concat) add_concat(from, m->group->concat);
        m->group = from;
    }
}

/* What a Concat in integers makes has no range but the union of its inputs'. */
static void start_union(const Groups *s, const Site *at)
{
    Group *out = group_made(s, at);
    if (out->given) return;
    out->lo = INFINITY;
    out->hi = -INFINITY;
    for (int i = 0; i < qonnx_node_inputs(at->node); i++) {
        const Group *in = group_read(s, at, i);
        if (in) widen(out, in->lo, in->hi);
    }
    out->own = placement_width(out->lo, out->hi);
}

/* Whether a group must not follow its Concat to [lo, hi], so that the Concat requantizes it: its
 * range is all that its operator can give; or it comes out of a Relu or Clip that vanishes only
 * while the range ends where it clamps; or it is much narrower, and somebody else gains from that.
 */
static bool stands_alone(const Groups *s, const Group *g, float lo, float hi)
{
    const Site *p = placement_site(s->placement, qonnx_value_producer(g->root));
    if (s->placement->target->one_scale) return false;
    if (g->elsewhere && placement_narrow(g->own, placement_width(lo, hi))) return true;
    if (!p) return false;
    return (p->rule.kind == QONNX_RULE_FIXED && p->quantized) ||
           (p->rule.kind == QONNX_RULE_ACTIVATE && (lo < p->rule.lo || hi > p->rule.hi));
}

/* Concat in integers: its inputs and its output share the union, but for those that stand alone;
 * whether that changed a range. */
static bool share_union(const Groups *s, const Site *at)
{
    Group *out = group_made(s, at);
    bool changed = false;
    for (int i = 0; i < qonnx_node_inputs(at->node); i++) {
        const Group *in = group_read(s, at, i);
        if (in) changed |= widen(out, in->lo, in->hi);
    }
    for (int i = 0; i < qonnx_node_inputs(at->node); i++) {
        Group *in = group_read(s, at, i);
        if (in && !stands_alone(s, in, out->lo, out->hi)) changed |= widen(in, out->lo, out->hi);
    }
    return changed;
}

static bool is_concat(const Site *s) { return s->quantized && s->rule.kind == QONNX_RULE_UNIFY; }

/* Ranges only ever widen, to other ranges' ends, so this ends; sweeps in both directions make it
 * end soon. */
void ranges_share(const Placement *p, qonnx_graph *g)
{
    Groups s = {.placement = p};
    Site *end = p->sites + p->count;
    list_groups(&s, g);
    for (Site *at = p->sites; at < end; at++) {
        if (at->quantized && at->rule.kind == QONNX_RULE_SAME) join_moved(&s, at);
        if (is_concat(at)) start_union(&s, at);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (Site *at = p->sites; at < end; at++) changed |= is_concat(at) && share_union(&s, at);
        for (Site *at = end; at-- > p->sites;) changed |= is_concat(at) && share_union(&s, at);
    }
    for (const Member *m = s.members; m < s.members + s.count; m++)
        qonnx_value_set_range(m->value, m->group->lo, m->group->hi);
}
