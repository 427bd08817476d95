/* ops/ml_forest.c - reads the trees of ai.onnx.ml's operators from attributes that may hold
 * anything.
 */
#include "ops/ml_forest.h"
#include "ir/size.h"
#include "kernels/trees.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 25 }; /* nodes, leaves, members of sets or weights */

size_t forest_ints(const Forest *f)
{
    return (size_t)f->trees + 4 * (size_t)f->nodes + (size_t)f->leaves + 1 + (size_t)f->weights;
}

size_t forest_numbers(const Forest *f)
{
    return (size_t)f->nodes + (size_t)f->sets + (size_t)f->weights;
}

static int32_t *nodes_of(const Forest *f) { return f->ints + f->trees; }
static int32_t *first_of(const Forest *f) { return nodes_of(f) + 4 * (ptrdiff_t)f->nodes; }
static int32_t *targets_of(const Forest *f) { return first_of(f) + f->leaves + 1; }
static double *weights_of(const Forest *f) { return f->numbers + f->nodes + f->sets; }

/* Memory for a forest of these sizes. */
static bool make(Lower *l, const Node *n, Forest *f)
{
    if (f->trees > MOST || f->nodes > MOST || f->leaves > MOST || f->sets > MOST ||
        f->weights > MOST)
        return qonnx_fail(l->cx, n, "more than %d nodes, leaves, members or weights", MOST);
    f->ints = lower_array(l, forest_ints(f), sizeof *f->ints);
    f->numbers = lower_array(l, forest_numbers(f) + 1, sizeof *f->numbers);
    f->last_feature = -1;
    return true;
}

/* A node's feature and how it compares. */
static bool put_node(Ctx *cx, const Node *n, Forest *f, int64_t i, int64_t feature, int mode,
                     bool missing)
{
    int32_t *node = nodes_of(f) + 4 * i;
    if (feature < 0 || feature > INT32_MAX)
        return qonnx_fail(cx, n, "nodes_featureids has %lld, want 0 or more", (long long)feature);
    if (feature > f->last_feature) f->last_feature = feature;
    node[0] = (int32_t)feature;
    node[3] = mode | missing << 3;
    return true;
}

/* Whether the target of a weight is there. */
static bool put_target(Ctx *cx, const Node *n, Forest *f, int64_t at, int64_t target,
                       int64_t targets, const char *name)
{
    if (target < 0 || target >= targets)
        return qonnx_fail(cx, n, "%s has %lld, want 0 to %lld", name, (long long)target,
                          (long long)targets - 1);
    targets_of(f)[at] = (int32_t)target;
    return true;
}

/* Whether no path from a root comes back to a node of its own. Children may be shared, as those of
 * a chain that looks for one value of several. */
static bool check_paths(Ctx *cx, const Node *n, const Forest *f)
{
    enum { NEW, YES, NO, BOTH, DONE }; /* what has been looked at of a node */
    unsigned char *state = xcalloc((size_t)f->nodes + 1, 1);
    int32_t *path = xmalloc_array((size_t)f->nodes + 1, sizeof *path);
    bool good = true;
    for (int32_t t = 0; t < f->trees && good; t++) {
        ptrdiff_t depth = 0;
        for (int32_t next = f->ints[t];;) {
            if (next >= 0 && state[next] != DONE) {
                good = state[next] == NEW;
                if (!good) break;
                state[next] = YES;
                path[depth++] = next;
            }
            while (depth && state[path[depth - 1]] == BOTH) state[path[--depth]] = DONE;
            if (!depth) break;
            int32_t at = path[depth - 1];
            next = nodes_of(f)[4 * (ptrdiff_t)at + state[at]++];
        }
    }
    free(state);
    free(path);
    return good || qonnx_fail(cx, n,
                              "a path through one of its trees comes back to a node that it came "
                              "from; export the model again");
}

/* Whether NaN is a yes, of each node; NULL: it is one of none. */
static bool read_missing(Ctx *cx, const Node *n, int64_t count, const char *like,
                         const int64_t **missing)
{
    static const char name[] = "nodes_missing_value_tracks_true";
    if (qonnx_node_ints(n, name, missing)) return ml_ints(cx, n, name, count, like, missing);
    *missing = NULL;
    return true;
}

/* ---- TreeEnsembleRegressor and -Classifier --------------------------------------------------- */

static const char *const modes[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT",
                                    "BRANCH_EQ",  "BRANCH_NEQ"};

/* The number of a mode; -1: a leaf, -2: it is none. */
static int mode_of(const char *name)
{
    for (int i = 0; i < (int)(sizeof modes / sizeof *modes); i++)
        if (!strcmp(name, modes[i])) return i;
    return strcmp(name, "LEAF") ? -2 : -1;
}

/* A node of a list by its names. */
typedef struct Key {
    int64_t tree, node;
    int32_t at; /* in the list */
} Key;

static int compare_keys(const void *a, const void *b)
{
    const Key *x = a, *y = b;
    int order = (x->tree > y->tree) - (x->tree < y->tree);
    return order ? order : (x->node > y->node) - (x->node < y->node);
}

/* The lists of a node, which have equal lengths. */
typedef struct Lists {
    const int64_t *tree, *node, *feature, *yes, *no;
    const int64_t *missing; /* or NULL */
    char *const *mode;
    Numbers split;
    int64_t count; /* of nodes */
    const int64_t *weight_tree, *weight_node, *weight_target;
    Numbers weight;
    char targets_name[32];
    Key *keys;      /* of all nodes, in order */
    int32_t *place; /* of each node: its number among those that branch, or ~ that of a leaf */
} Lists;

static bool read_weights(Ctx *cx, const Node *n, const char *what, Lists *s)
{
    char ids[32], name[32];
    snprintf(ids, sizeof ids, "%s_nodeids", what);
    snprintf(name, sizeof name, "%s_weights", what);
    snprintf(s->targets_name, sizeof s->targets_name, "%s_ids", what);
    int64_t count = qonnx_node_ints(n, ids, &s->weight_node);
    if (!ml_numbers(cx, n, name, &s->weight) ||
        !ml_count(cx, n, name, s->weight.count, count, ids) ||
        !ml_ints(cx, n, s->targets_name, count, ids, &s->weight_target))
        return false;
    snprintf(name, sizeof name, "%s_treeids", what);
    return ml_ints(cx, n, name, count, ids, &s->weight_tree);
}

static bool read_lists(Ctx *cx, const Node *n, const char *what, Lists *s)
{
    static const char like[] = "nodes_treeids";
    const int64_t *tree;
    int64_t count = qonnx_node_ints(n, like, &tree);
    *s = (Lists){.count = count, .tree = tree};
    if (!count) return qonnx_fail(cx, n, "it has no trees: nodes_treeids is empty");
    return ml_ints(cx, n, "nodes_nodeids", count, like, &s->node) &&
           ml_ints(cx, n, "nodes_featureids", count, like, &s->feature) &&
           ml_ints(cx, n, "nodes_truenodeids", count, like, &s->yes) &&
           ml_ints(cx, n, "nodes_falsenodeids", count, like, &s->no) &&
           read_missing(cx, n, count, like, &s->missing) &&
           ml_count(cx, n, "nodes_modes", node_strings(n, "nodes_modes", &s->mode), count, like) &&
           ml_numbers(cx, n, "nodes_values", &s->split) &&
           ml_count(cx, n, "nodes_values", s->split.count, count, like) &&
           read_weights(cx, n, what, s);
}

bool forest_check(Ctx *cx, const Node *n, const char *what)
{
    Lists s;
    return read_lists(cx, n, what, &s);
}

/* Sorts the nodes, and counts trees, leaves and the others. */
static bool count_nodes(Ctx *cx, const Node *n, Lists *s, Forest *f)
{
    int32_t runs = 0;
    for (int64_t i = 0; i < s->count; i++) {
        int mode = mode_of(s->mode[i]);
        if (mode < -1) return qonnx_fail(cx, n, "nodes_modes has '%.40s', which is no mode",
                                         s->mode[i]);
        s->keys[i] = (Key){s->tree[i], s->node[i], (int32_t)i};
        s->place[i] = mode < 0 ? ~f->leaves++ : f->nodes++;
        runs += !i || s->tree[i] != s->tree[i - 1];
    }
    qsort(s->keys, (size_t)s->count, sizeof *s->keys, compare_keys);
    for (int64_t i = 0; i < s->count; i++) {
        const Key *k = &s->keys[i];
        if (i && !compare_keys(k - 1, k))
            return qonnx_fail(cx, n, "node %lld of tree %lld is there twice", (long long)k->node,
                              (long long)k->tree);
        f->trees += !i || k->tree != k[-1].tree;
    }
    return runs == f->trees ||
           qonnx_fail(cx, n, "the nodes of a tree do not stand together in nodes_treeids");
}

/* Finds a node; -1: there is none of that name. */
static int64_t find_node(const Lists *s, int64_t tree, int64_t node)
{
    Key key = {tree, node, 0};
    const Key *k = bsearch(&key, s->keys, (size_t)s->count, sizeof key, compare_keys);
    return k ? k->at : -1;
}

/* A child of node i, which must be in its tree. */
static bool put_child(Ctx *cx, const Node *n, const Lists *s, int64_t i, int64_t child,
                      int32_t *to)
{
    int64_t at = find_node(s, s->tree[i], child);
    if (at < 0)
        return qonnx_fail(cx, n, "node %lld of tree %lld has child %lld, which is not there",
                          (long long)s->node[i], (long long)s->tree[i], (long long)child);
    *to = s->place[at];
    return true;
}

static bool put_nodes(Ctx *cx, const Node *n, const Lists *s, Forest *f)
{
    int32_t tree = 0;
    for (int64_t i = 0; i < s->count; i++) {
        int32_t at = s->place[i];
        if (!i || s->tree[i] != s->tree[i - 1]) f->ints[tree++] = at;
        if (at < 0) continue;
        int32_t *node = nodes_of(f) + 4 * (ptrdiff_t)at;
        if (!put_node(cx, n, f, at, s->feature[i], mode_of(s->mode[i]),
                      s->missing && s->missing[i] == 1) ||
            !put_child(cx, n, s, i, s->yes[i], &node[1]) ||
            !put_child(cx, n, s, i, s->no[i], &node[2]))
            return false;
        f->numbers[at] = number_at(&s->split, i);
    }
    return true;
}

/* The leaf of weight i; -1: it is of a node that branches, and never counts; -2: of none. */
static int64_t leaf_of(const Lists *s, int64_t i)
{
    int64_t at = find_node(s, s->weight_tree[i], s->weight_node[i]);
    return at < 0 ? -2 : s->place[at] < 0 ? ~s->place[at] : -1;
}

static bool put_weights(Ctx *cx, const Node *n, const Lists *s, int64_t targets, Forest *f)
{
    int32_t *first = first_of(f);
    memset(first, 0, ((size_t)f->leaves + 1) * sizeof *first);
    for (int64_t i = 0; i < s->weight.count; i++) {
        int64_t leaf = leaf_of(s, i);
        if (leaf < -1)
            return qonnx_fail(cx, n, "a weight is for node %lld of tree %lld, which is not there",
                              (long long)s->weight_node[i], (long long)s->weight_tree[i]);
        if (leaf >= 0) first[leaf + 1]++;
    }
    for (int32_t i = 0; i < f->leaves; i++) first[i + 1] += first[i];
    int32_t *next = xmalloc_array((size_t)f->leaves + 1, sizeof *next);
    memcpy(next, first, ((size_t)f->leaves + 1) * sizeof *next);
    bool good = true;
    for (int64_t i = 0; i < s->weight.count && good; i++) {
        int64_t leaf = leaf_of(s, i);
        if (leaf < 0) continue;
        weights_of(f)[next[leaf]] = number_at(&s->weight, i);
        good = put_target(cx, n, f, next[leaf]++, s->weight_target[i], targets, s->targets_name);
    }
    free(next);
    return good;
}

bool forest_read(Lower *l, const Node *n, const char *what, int64_t targets, Forest *f)
{
    Lists s;
    *f = (Forest){.trees = 0};
    if (!read_lists(l->cx, n, what, &s)) return false;
    s.keys = xmalloc_array((size_t)s.count, sizeof *s.keys);
    s.place = xmalloc_array((size_t)s.count, sizeof *s.place);
    bool good = count_nodes(l->cx, n, &s, f);
    f->weights = (int32_t)s.weight.count;
    good = good && make(l, n, f) && put_nodes(l->cx, n, &s, f) &&
           put_weights(l->cx, n, &s, targets, f) && check_paths(l->cx, n, f);
    free(s.keys);
    free(s.place);
    return good;
}

/* ---- TreeEnsemble ---------------------------------------------------------------------------- */

/* The lists of a node, by the numbers of nodes and of leaves. */
typedef struct Ensemble {
    const int64_t *feature, *yes, *no, *yes_leaf, *no_leaf;
    const int64_t *missing; /* or NULL */
    Numbers mode, split, members;
    int64_t count; /* of nodes */
    const int64_t *root;
    int64_t roots;
    const int64_t *target; /* of each leaf */
    Numbers weight;
} Ensemble;

static bool read_ensemble(Ctx *cx, const Node *n, Ensemble *s)
{
    static const char like[] = "nodes_featureids";
    *s = (Ensemble){.count = 0};
    s->count = qonnx_node_ints(n, like, &s->feature);
    s->roots = qonnx_node_ints(n, "tree_roots", &s->root);
    if (!s->roots) return qonnx_fail(cx, n, "it has no trees: tree_roots is empty");
    return ml_ints(cx, n, "nodes_truenodeids", s->count, like, &s->yes) &&
           ml_ints(cx, n, "nodes_falsenodeids", s->count, like, &s->no) &&
           ml_ints(cx, n, "nodes_trueleafs", s->count, like, &s->yes_leaf) &&
           ml_ints(cx, n, "nodes_falseleafs", s->count, like, &s->no_leaf) &&
           read_missing(cx, n, s->count, like, &s->missing) &&
           ml_tensor(cx, n, "nodes_modes", &s->mode) &&
           ml_count(cx, n, "nodes_modes", s->mode.count, s->count, like) &&
           ml_tensor(cx, n, "nodes_splits", &s->split) &&
           ml_count(cx, n, "nodes_splits", s->split.count, s->count, like) &&
           ml_tensor(cx, n, "membership_values", &s->members) &&
           ml_tensor(cx, n, "leaf_weights", &s->weight) &&
           ml_ints(cx, n, "leaf_targetids", s->weight.count, "leaf_weights", &s->target);
}

bool forest_check_ensemble(Ctx *cx, const Node *n)
{
    Ensemble s;
    return read_ensemble(cx, n, &s);
}

/* A child, or a root: node or leaf `at`. */
static bool put_link(Ctx *cx, const Node *n, const Forest *f, int64_t at, bool leaf,
                     const char *name, int32_t *to)
{
    int64_t count = leaf ? f->leaves : f->nodes;
    if (at < 0 || at >= count)
        return qonnx_fail(cx, n, "%s has %lld, but there are %lld %s", name, (long long)at,
                          (long long)count, leaf ? "leaves" : "nodes");
    *to = leaf ? ~(int32_t)at : (int32_t)at;
    return true;
}

/* The sets, each up to a NaN, in the order of the nodes that they are for. */
static bool put_sets(Ctx *cx, const Node *n, const Ensemble *s, const Forest *f)
{
    double *to = f->numbers + f->nodes;
    int64_t at = 0;
    for (int64_t i = 0; i < s->members.count; i++) to[i] = number_at(&s->members, i);
    to[s->members.count] = (double)NAN;
    for (int32_t i = 0; i < f->nodes; i++) {
        int32_t *node = nodes_of(f) + 4 * (ptrdiff_t)i;
        if ((node[3] & 7) != TREE_MEMBER) continue;
        if (at >= s->members.count)
            return qonnx_fail(cx, n, "membership_values has fewer sets than nodes ask for");
        node[3] |= (int32_t)(f->nodes + at) << 4;
        while (to[at] == to[at]) at++;
        at++;
    }
    return true;
}

static bool put_branches(Ctx *cx, const Node *n, const Ensemble *s, Forest *f)
{
    for (int64_t i = 0; i < s->count; i++) {
        int32_t *node = nodes_of(f) + 4 * i;
        double mode = number_at(&s->mode, i);
        if (!(mode >= 0 && mode <= TREE_MEMBER))
            return qonnx_fail(cx, n, "nodes_modes has %g, want 0 to %d", mode, TREE_MEMBER);
        if (!put_node(cx, n, f, i, s->feature[i], (int)mode, s->missing && s->missing[i] == 1) ||
            !put_link(cx, n, f, s->yes[i], s->yes_leaf[i] != 0, "nodes_truenodeids", &node[1]) ||
            !put_link(cx, n, f, s->no[i], s->no_leaf[i] != 0, "nodes_falsenodeids", &node[2]))
            return false;
        f->numbers[i] = number_at(&s->split, i);
    }
    return true;
}

bool forest_read_ensemble(Lower *l, const Node *n, int64_t targets, Forest *f)
{
    Ensemble s;
    if (!read_ensemble(l->cx, n, &s)) return false;
    if (s.members.count > MOST) return qonnx_fail(l->cx, n, "membership_values is too long");
    *f = (Forest){.trees = (int32_t)s.roots,
                  .nodes = (int32_t)s.count,
                  .leaves = (int32_t)s.weight.count,
                  .sets = (int32_t)s.members.count + 1,
                  .weights = (int32_t)s.weight.count};
    if (!make(l, n, f) || !put_branches(l->cx, n, &s, f) || !put_sets(l->cx, n, &s, f))
        return false;
    for (int64_t i = 0; i < s.roots; i++)
        if (!put_link(l->cx, n, f, s.root[i], false, "tree_roots", &f->ints[i])) return false;
    for (int32_t i = 0; i <= f->leaves; i++) first_of(f)[i] = i;
    for (int32_t i = 0; i < f->leaves; i++) {
        weights_of(f)[i] = number_at(&s.weight, i);
        if (!put_target(l->cx, n, f, i, s.target[i], targets, "leaf_targetids")) return false;
    }
    return check_paths(l->cx, n, f);
}

int64_t forest_work(const Node *n)
{
    static const char *const lists[] = {"nodes_featureids", "class_ids", "target_ids",
                                        "leaf_targetids"};
    const Tensor *members = qonnx_node_tensor(n, "membership_values");
    int64_t steps = members ? tensor_count(members) : 0;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const int64_t *ints;
        steps = size_plus(steps, size_times(16, qonnx_node_ints(n, lists[i], &ints)));
    }
    return steps;
}
