/* passes/moments.h - second moments of what weights meet: the Hessian of a layer's output error, as
 * far as it depends on its weights. Written on include/qonnx/ alone.
 */
#ifndef PASSES_MOMENTS_H
#define PASSES_MOMENTS_H

#include "weight_view.h"
#include <qonnx/run.h>

/* A matrix product and the moments of its columns: the inputs and taps that one output contracts.
 * What belongs to one group of a convolution is a panel; where that has more columns than `most`,
 * its inputs are dealt out to several, as if those of one were independent of those of another. */
typedef struct Moments {
    const Site *site;
    WeightView view;
    int64_t inputs;   /* of a panel: view.inputs, or fewer; the last of a group may have less */
    int64_t columns;  /* inputs * view.window */
    int64_t parts;    /* panels of a group */
    int64_t panels;   /* parts * view.groups */
    int halves;       /* 2 where there are few rows: those of even and of odd samples are counted
                         apart, so that what one half wants can be tried on the other; else 1 */
    int64_t rows[2];  /* of each half that were counted */
    double *sum;      /* [halves][panels][columns] of the columns */
    double *products; /* [halves][panels][columns][columns] of their products: the upper triangle,
                         row by row */
} Moments;

/* Elementwise loops are as wide as the machine has it; nothing is joined or reordered, so the
 * numbers are the same. */
#if defined(__x86_64__) && defined(__gnu_linux__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

/* Which rows. */
typedef enum Half { HALF_EVEN, HALF_ODD, HALF_BOTH } Half;

enum { MOMENTS_SAMPLES = 128 }; /* that are looked at, spread evenly */

/* Whether the weight of the site contracts what can be counted: sets all but the counts. `most`:
 * columns that a panel may have. */
bool moments_describe(Moments *m, const Site *s, int64_t most);
/* Bytes that counting takes. */
size_t moments_bytes(const Moments *m);
/* Counts rows of columns in all of the `count` products at once, about 4 times the columns and
 * 1,500, taken at random places of the samples, the same ones in each run. `g` has the sites'
 * inputs, by name; it need not be their graph. The caller calls moments_free, also where it fails.
 */
bool moments_count(qonnx_ctx *cx, const qonnx_graph *g, const qonnx_job *job, Moments *m,
                   int count);
void moments_free(Moments *m);
/* Rows that were counted in that half. */
int64_t moments_rows(const Moments *m, Half half);
/* The second moments of a panel about their mean, per row: the upper triangle of out, row by row,
 * which has moments_columns(m, panel) columns. */
void moments_matrix(const Moments *m, Half half, int64_t panel, double *out);

/* Place [o][i][k] of a weight, as its elements lie, for column c of a panel. */
static inline int64_t moments_element(const Moments *m, int64_t panel, int64_t output, int64_t c)
{
    const WeightView *v = &m->view;
    int64_t input = panel % m->parts * m->inputs + c / v->window;
    return output * v->output_step + input * v->input_step + c % v->window;
}

/* Columns that the panel has: `columns`, but for the last of a group. */
static inline int64_t moments_columns(const Moments *m, int64_t panel)
{
    int64_t left = m->view.inputs - panel % m->parts * m->inputs;
    return (left < m->inputs ? left : m->inputs) * m->view.window;
}

#endif
