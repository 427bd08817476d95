/* frontend/data/resize_plan.h - the inside of resizing. Every filter here is separable: a row of
 * the source, as it comes, is made a row of the wanted columns ("across") and kept as long as an
 * output row needs it; an output row is made of such rows ("down"). An engine says which source
 * pixels each output is made of along the two axes, with which weights, and does these two steps.
 */
#ifndef FRONTEND_DATA_RESIZE_PLAN_H
#define FRONTEND_DATA_RESIZE_PLAN_H

#include "frontend/data/resize.h"
#include "ir/arena.h"

/* Bytes behind the last pixel of a row that may be read, and written in a row between the steps. */
enum { ROW_PADDING = 64 };

/* Which source pixels the outputs along one axis are made of. */
typedef struct Axis {
    size_t from, to;  /* pixels of the source, and of the whole result */
    size_t start, n;  /* the outputs that are wanted: [start, start + n) */
    size_t most;      /* room for the weights of one output */
    ptrdiff_t *first; /* [n] the first source pixel; one outside stands for the nearest inside */
    uint32_t *count;  /* [n] how many from there on, 1 or more */
    int32_t *fixed;   /* [n][most] their weights in fixed point, 0 behind the last; or NULL */
    float *real;      /* [n][most] their weights; or NULL */
    int shift;        /* bits of `fixed` behind the point, where sums are rounded to bytes */
} Axis;

/* The source pixel that stands for pixel `at` of an axis. */
static inline size_t axis_inside(const Axis *a, ptrdiff_t at)
{
    return at < 0 ? 0 : (size_t)at >= a->from ? a->from - 1 : (size_t)at;
}

/* The sums of weights and bytes that most pictures go through: one table per instruction set, all
 * of them give the same bytes. */
typedef struct ResizeLoops {
    bool (*usable)(void); /* whether this machine has the instructions */
    /* A source row to the wanted columns, each sum rounded to a byte. */
    void (*across)(const Axis *x, int channels, const uint8_t *in, uint8_t *out);
    /* out[i] = the sum of w[j] * rows[j][i] for j in [0, n), rounded to a byte, for i in
     * [0, bytes). w is 0 up to the next multiple of 4. */
    void (*down)(const int32_t *w, size_t n, int shift, const uint8_t *const *rows, size_t bytes,
                 uint8_t *out);
} ResizeLoops;

extern const ResizeLoops resize_portable;
#ifdef __x86_64__
extern const ResizeLoops resize_avx2;
#endif

/* One resize: filled by the driver, then by the engine. */
typedef struct Plan Plan;
struct Plan {
    qonnx_ctx *cx;            /* takes messages */
    Arena *arena;             /* all memory of the plan */
    size_t bytes;             /* asked of it */
    const Resize *r;          /* what is wanted */
    const ResizeLoops *loops; /* of this machine */
    int channels;             /* of the source and the result */
    Axis x, y;                /* columns and rows */
    size_t between;           /* bytes of a value of the rows between the steps */
    /* The steps; `out` of the second is the output row i. */
    void (*across)(const Plan *p, const uint8_t *in, void *out);
    void (*down)(const Plan *p, size_t i, const void *const *rows, void *out);
};

/* n zeroed elements for the plan. NULL: the plan would take too much, the message is set. */
void *plan_array(Plan *p, size_t n, size_t size);

/* Memory for an axis: `most` weights an output, `fixed` or `real`; with most 0 no weights, and each
 * output is one pixel. */
bool plan_axis(Plan *p, Axis *a, size_t most, bool real);

/* An engine: fills the axes and sets the steps. */
typedef bool PlanFn(Plan *p);
PlanFn plan_pillow, plan_pillow_nearest, plan_torchvision;
PlanFn plan_opencv_nearest, plan_opencv_linear, plan_opencv_linear_exact, plan_opencv_area,
    plan_opencv_cubic;
PlanFn plan_tf_bilinear, plan_tf_nearest, plan_tf1_bilinear;

/* The plan of a nearest filter: `fill` says which source pixel, a->first, each output is. */
bool plan_nearest(Plan *p, void (*fill)(Axis *a));

/* What resize_rows does, with loops of choice. */
bool resize_rows_by(qonnx_ctx *cx, Rows *from, const Resize *r, const ResizeLoops *loops,
                    void *out);

#endif
