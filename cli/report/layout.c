/* cli/report/layout.c - see layout.h. Layers by the longest path, their order by sweeps of
 * barycentres, positions by the means of neighbours; all in time that grows with boxes and bends.
 */
#include "layout.h"
#include "cli/progress.h"
#include <stdbool.h>
#include <stdlib.h>

enum {
    FAR = 40,          /* a line over more layers has no bends */
    MOST_BENDS = 8000, /* of all lines */
    SWEEPS = 8,        /* that order the layers */
    SETTLES = 12,      /* that place what is in them */
    GAP = 14,          /* between boxes */
    MARGIN = 12        /* around the picture */
};

/* A spot in a layer, while it is put in order. */
typedef struct Spot {
    int which;   /* box or bend */
    double want; /* where it would be best */
    int at;      /* its place before */
} Spot;

typedef struct Placing {
    Layout *l;
    int layers;
    int *begin;       /* [layers + 1] of each layer in `spot` */
    Spot *spot;       /* [spots] layer after layer */
    int *near[2];     /* [2 * links] neighbours above, and below */
    int *near_at[2];  /* [spots + 1] where those of a spot begin */
    double *position; /* [spots] place in its layer, while these are put in order; then x */
} Placing;

/* ---- layers ---------------------------------------------------------------------------------- */

static void rank_boxes(Layout *l)
{
    l->rank = needed(calloc((size_t)l->boxes + MOST_BENDS + 1, sizeof *l->rank));
    for (int i = 0; i < l->edges; i++) { /* in the order of `to` */
        const Edge *e = &l->edge[i];
        if (l->rank[e->to] <= l->rank[e->from]) l->rank[e->to] = l->rank[e->from] + 1;
    }
    l->spots = l->boxes;
    for (Edge *e = l->edge; e < l->edge + l->edges; e++) {
        const int crossed = l->rank[e->to] - l->rank[e->from] - 1;
        e->first = l->spots;
        e->bends = crossed <= FAR && l->spots - l->boxes + crossed <= MOST_BENDS ? crossed : 0;
        for (int k = 0; k < e->bends; k++) l->rank[l->spots++] = l->rank[e->from] + 1 + k;
    }
}

static void fill_layers(Placing *p)
{
    const Layout *l = p->l;
    for (int i = 0; i < l->spots; i++)
        if (l->rank[i] >= p->layers) p->layers = l->rank[i] + 1;
    p->begin = needed(calloc((size_t)p->layers + 2, sizeof *p->begin));
    p->spot = needed(calloc((size_t)l->spots + 1, sizeof *p->spot));
    for (int i = 0; i < l->spots; i++) p->begin[l->rank[i] + 1]++;
    for (int i = 0; i < p->layers; i++) p->begin[i + 1] += p->begin[i];
    int *next = needed(calloc((size_t)p->layers + 1, sizeof *next));
    for (int i = 0; i < l->spots; i++) {
        const int rank = l->rank[i];
        p->spot[p->begin[rank] + next[rank]] = (Spot){i, 0, next[rank]};
        p->position[i] = next[rank]++;
    }
    free(next);
}

/* Calls visit for each piece of each line, from one layer to another. */
static void visit_links(Placing *p, void (*visit)(Placing *p, int above, int below))
{
    for (const Edge *e = p->l->edge; e < p->l->edge + p->l->edges; e++) {
        for (int k = 0; k <= e->bends; k++)
            visit(p, k ? e->first + k - 1 : e->from, k < e->bends ? e->first + k : e->to);
    }
}

static void count_link(Placing *p, int above, int below)
{
    p->near_at[0][below + 1]++;
    p->near_at[1][above + 1]++;
}

static void add_link(Placing *p, int above, int below)
{
    p->near[0][p->near_at[0][below]++] = above;
    p->near[1][p->near_at[1][above]++] = below;
}

static void link_spots(Placing *p)
{
    const Layout *l = p->l;
    for (int way = 0; way < 2; way++) {
        p->near_at[way] = needed(calloc((size_t)l->spots + 2, sizeof(int)));
        p->near[way] = needed(calloc((size_t)l->edges + MOST_BENDS + 1, sizeof(int)));
    }
    visit_links(p, count_link);
    for (int way = 0; way < 2; way++)
        for (int i = 0; i < l->spots; i++) p->near_at[way][i + 1] += p->near_at[way][i];
    visit_links(p, add_link);
    for (int way = 0; way < 2; way++) { /* each has moved on to the next one's beginning */
        for (int i = l->spots; i > 0; i--) p->near_at[way][i] = p->near_at[way][i - 1];
        p->near_at[way][0] = 0;
    }
}

/* ---- order and positions --------------------------------------------------------------------- */

/* The mean position of a spot's neighbours above (0) or below (1); its own where it has none. */
static double mean_near(const Placing *p, int which, int way)
{
    const int from = p->near_at[way][which], to = p->near_at[way][which + 1];
    double sum = 0;
    for (int i = from; i < to; i++) sum += p->position[p->near[way][i]];
    return to > from ? sum / (to - from) : p->position[which];
}

static int compare_spots(const void *a, const void *b)
{
    const Spot *x = a, *y = b;
    return x->want != y->want ? (x->want > y->want) - (x->want < y->want) : x->at - y->at;
}

static void order_layer(Placing *p, int layer, int way)
{
    Spot *s = p->spot + p->begin[layer];
    const int count = p->begin[layer + 1] - p->begin[layer];
    for (int i = 0; i < count; i++) {
        s[i].want = mean_near(p, s[i].which, way);
        s[i].at = i;
    }
    qsort(s, (size_t)count, sizeof *s, compare_spots);
    for (int i = 0; i < count; i++) p->position[s[i].which] = i;
}

static double half_width(const Placing *p, int which)
{
    return which < p->l->boxes ? (BOX_WIDTH + GAP) / 2.0 : GAP / 2.0;
}

/* Moves each spot of a layer to the mean of its neighbours, as far as the others leave room. */
static void settle_layer(Placing *p, int layer, int way)
{
    Spot *s = p->spot + p->begin[layer];
    const int count = p->begin[layer + 1] - p->begin[layer];
    double least = 0, off = 0;
    for (int i = 0; i < count; i++) {
        const double half = half_width(p, s[i].which);
        double x = s[i].want = mean_near(p, s[i].which, way);
        if (i && x < least + half) x = least + half;
        p->position[s[i].which] = x;
        least = x + half;
        off += x - s[i].want;
    }
    for (int i = 0; i < count; i++) p->position[s[i].which] -= off / count;
}

static void pack_layers(Placing *p)
{
    for (int layer = 0; layer < p->layers; layer++) {
        double at = 0;
        for (int i = p->begin[layer]; i < p->begin[layer + 1]; i++) {
            const double half = half_width(p, p->spot[i].which);
            p->position[p->spot[i].which] = at + half;
            at += 2 * half;
        }
        for (int i = p->begin[layer]; i < p->begin[layer + 1]; i++)
            p->position[p->spot[i].which] -= at / 2;
    }
}

static void sweep(Placing *p, int times, void (*visit)(Placing *p, int layer, int way))
{
    for (int k = 0; k < times; k++)
        for (int i = 0; i < p->layers; i++)
            if (k % 2) visit(p, p->layers - 1 - i, 1);
            else visit(p, i, 0);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void measure(Layout *l)
{
    double least = 0, most = 0;
    for (int i = 0; i < l->spots; i++) {
        if (!i || l->x[i] < least) least = l->x[i];
        if (!i || l->x[i] > most) most = l->x[i];
        if (l->height < l->rank[i]) l->height = l->rank[i];
    }
    for (int i = 0; i < l->spots; i++) l->x[i] += BOX_WIDTH / 2.0 + MARGIN - least;
    l->width = most - least + BOX_WIDTH + 2 * MARGIN;
    l->height = l->height * BOX_STEP + BOX_HEIGHT + 2 * MARGIN;
}

Layout layout_make(int boxes, Edge *edge, int edges)
{
    Layout l = {.boxes = boxes, .edges = edges, .edge = edge};
    rank_boxes(&l);
    l.x = needed(calloc((size_t)l.spots + 1, sizeof *l.x));
    Placing p = {.l = &l, .position = l.x};
    fill_layers(&p);
    link_spots(&p);
    sweep(&p, SWEEPS, order_layer);
    pack_layers(&p);
    sweep(&p, SETTLES + 1, settle_layer);
    measure(&l);
    for (int way = 0; way < 2; way++) {
        free(p.near[way]);
        free(p.near_at[way]);
    }
    free(p.begin);
    free(p.spot);
    return l;
}

void layout_free(Layout *l)
{
    free(l->edge);
    free(l->rank);
    free(l->x);
}
