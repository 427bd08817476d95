/* kernels/trees.h - forests of decision trees: each row of x goes down every tree to a leaf, whose
 * weights are added to its targets, in the order of the trees.
 *
 * A forest is one array of integers: roots[trees], nodes[nodes][4], first[leaves + 1],
 * targets[weights]. Roots and children are numbers of nodes, or ~ the number of a leaf. A node has
 * its feature, the child for yes, the child for no, and mode | missing << 3 | set << 4: `missing`
 * says that NaN is a yes, `set` where a set begins in the numbers. The weights of leaf i are
 * first[i] to first[i + 1] - 1. The numbers are split[nodes], the sets, a NaN behind each, and
 * weight[weights].
 */
#ifndef KERNELS_TREES_H
#define KERNELS_TREES_H

#include <string.h>
#include "common.h"

enum { TREE_LEQ, TREE_LT, TREE_GTE, TREE_GT, TREE_EQ, TREE_NEQ, TREE_MEMBER };
enum { TREES_AVERAGE, TREES_SUM, TREES_MIN, TREES_MAX };

typedef struct trees_p {
    int32_t rows, features; /* x is [rows][features] */
    int32_t targets;        /* sums and has are [rows][targets] */
    int32_t trees, nodes, leaves;
    int32_t sets;  /* numbers of all sets */
    int32_t parts; /* TREES_SUM ...: what becomes of the weights of a target */
    int32_t all;   /* bases are added to sums without a weight, too */
    int32_t size;  /* bytes of each of x, the numbers and the sums: 4, floats, or 8, doubles */
} trees_p; /* trees(p, x, forest, numbers, bases or NULL, sums, has): bases are added to the sums in
              the end; has is 1 where a leaf had a weight */

#ifndef USES_trees_size
#define USES_trees_size(size) 1
#endif

/* Where the parts of a forest begin. */
typedef struct trees_forest {
    const int32_t *roots, *nodes, *first, *targets;
} trees_forest;

KERNEL trees_forest trees_parts(const trees_p *restrict p, const int32_t *forest)
{
    trees_forest f;
    f.roots = forest;
    f.nodes = f.roots + p->trees;
    f.first = f.nodes + (ptrdiff_t)p->nodes * 4;
    f.targets = f.first + p->leaves + 1;
    return f;
}

/* The functions for one type of numbers. */
#define TREES_OF(number, name)                                                                     \
    KERNEL int32_t trees_set_##name(number x, const number *restrict set)                          \
    {                                                                                              \
        while (*set == *set && *set != x) set++;                                                   \
        return *set == *set;                                                                       \
    }                                                                                              \
                                                                                                   \
    KERNEL int32_t trees_yes_##name(int32_t how, number x, number split,                           \
                                    const number *restrict numbers)                                \
    {                                                                                              \
        if (x != x && how & 8) return 1;                                                           \
        switch (how & 7) {                                                                         \
        case TREE_LEQ: return x <= split;                                                          \
        case TREE_LT: return x < split;                                                            \
        case TREE_GTE: return x >= split;                                                          \
        case TREE_GT: return x > split;                                                            \
        case TREE_EQ: return x == split;                                                           \
        case TREE_NEQ: return x != split;                                                          \
        default: return trees_set_##name(x, numbers + (how >> 4));                                 \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    KERNEL ptrdiff_t trees_leaf_##name(const int32_t *restrict nodes,                              \
                                       const number *restrict numbers, ptrdiff_t at,               \
                                       const number *restrict x)                                   \
    {                                                                                              \
        while (at >= 0) {                                                                          \
            const int32_t *node = nodes + at * 4;                                                  \
            at = trees_yes_##name(node[3], x[node[0]], numbers[at], numbers) ? node[1] : node[2];  \
        }                                                                                          \
        return -1 - at;                                                                            \
    }                                                                                              \
                                                                                                   \
    KERNEL void trees_row_##name(const trees_p *restrict p, const trees_forest *restrict f,        \
                                 const number *restrict x, const number *restrict numbers,         \
                                 number *restrict sums, uint8_t *restrict has)                     \
    {                                                                                              \
        const number *weight = numbers + p->nodes + p->sets;                                       \
        for (int32_t t = 0; t < p->trees; t++) {                                                   \
            const ptrdiff_t leaf = trees_leaf_##name(f->nodes, numbers, f->roots[t], x);           \
            for (int32_t w = f->first[leaf]; w < f->first[leaf + 1]; w++) {                        \
                const int32_t to = f->targets[w];                                                  \
                const number v = weight[w], old = sums[to];                                        \
                sums[to] = p->parts == TREES_MIN   ? (!has[to] || v < old ? v : old)               \
                           : p->parts == TREES_MAX ? (!has[to] || v > old ? v : old)               \
                                                   : old + v;                                      \
                has[to] = 1;                                                                       \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    KERNEL void trees_all_##name(const trees_p *restrict p, const number *restrict x,              \
                                 const int32_t *restrict forest, const number *restrict numbers,   \
                                 const double *restrict bases, number *restrict sums,              \
                                 uint8_t *restrict has)                                            \
    {                                                                                              \
        const trees_forest f = trees_parts(p, forest);                                             \
        for (ptrdiff_t r = 0; r < p->rows; r++) {                                                  \
            for (ptrdiff_t i = 0; i < p->targets; i++) sums[i] = 0, has[i] = 0;                    \
            trees_row_##name(p, &f, x, numbers, sums, has);                                        \
            for (ptrdiff_t i = 0; i < p->targets; i++) {                                           \
                if (p->parts == TREES_AVERAGE) sums[i] /= (number)p->trees;                        \
                if (bases && (has[i] || p->all)) sums[i] += (number)bases[i];                      \
            }                                                                                      \
            x += p->features;                                                                      \
            sums += p->targets;                                                                    \
            has += p->targets;                                                                     \
        }                                                                                          \
    }

TREES_OF(float, floats)
TREES_OF(double, doubles)

#undef TREES_OF

KERNEL_TRAITS(trees, floats)
KERNEL_RUN void trees(const trees_p *restrict p, const void *restrict x,
                      const int32_t *restrict forest, const void *restrict numbers,
                      const double *restrict bases, void *restrict sums, uint8_t *restrict has)
{
    if (p->size == 4 && USES_trees_size(4))
        trees_all_floats(p, (const float *)x, forest, (const float *)numbers, bases, (float *)sums,
                         has);
    if (p->size == 8 && USES_trees_size(8))
        trees_all_doubles(p, (const double *)x, forest, (const double *)numbers, bases,
                          (double *)sums, has);
}

#undef USES_trees_size

#endif
