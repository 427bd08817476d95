/* passes/placement.h - which operators run in integers. calibrate asks before it shares ranges,
 * correct-bias and insert-qdq ask afterwards, and all get the same answer. Written on
 * include/qonnx/ alone.
 */
#ifndef PASSES_PLACEMENT_H
#define PASSES_PLACEMENT_H

#include "quantizable.h"

/* A range this many times narrower than the one it would share keeps its own: sharing would cost it
 * two bits. */
#define PLACEMENT_NARROW 4

/* At or below this a constant is a mask ("minus infinity" of attention), no number to resolve. */
#define PLACEMENT_MASK (-1e4)

/* Whether an operator can run in integers, and how loudly to say that it cannot. */
typedef enum Verdict {
    VERDICT_QUANTIZE, /* everything is there */
    VERDICT_NEVER,    /* not an operator, or not a type, that is quantized: nothing to say */
    VERDICT_NOTE,     /* float on purpose: `why` is worth a note */
    VERDICT_WARN      /* something is missing: `why` is worth a warning */
} Verdict;

/* Where an operator's output goes in integers, from the worst to the best. */
typedef enum Eaten {
    EATEN_NOT,
    EATEN_OUTPUT,  /* to a graph output */
    EATEN_INTEGER, /* through other operators to a matrix product */
    EATEN_PRODUCT  /* to a matrix product, through nothing but data movement */
} Eaten;

/* A node, and what becomes of it. */
typedef struct Site {
    qonnx_node *node;
    qonnx_rule rule;
    Verdict verdict;         /* whether it could run in integers */
    const char *why;         /* why it does not, static or in the graph's memory; NULL: it does */
    bool quantized;          /* it does */
    bool light;              /* it does not, for it is not worth it: notes only count these */
    const char *refused;     /* why the target computes it in float; NULL: it does not */
    bool behind;             /* no Q/DQ pair is put in front of it: see QONNX_TAKES_BEHIND */
    bool per_tensor;         /* its weight has one scale, whatever is asked for */
    int summed;              /* the input that is computed together with it, so that it is not
                                quantized; -1: none */
    int depth;               /* the most operators that stand in a row in front of it */
    bool heavy;              /* a matrix product: worth it by itself */
    bool spectral;           /* it makes or reads a spectrum: see spectra.h */
    bool magnitude;          /* its output is the magnitude of one */
    Eaten eaten;             /* the best of its outputs' readers */
    bool multiplied;         /* all readers are matrix products in integers, perhaps behind data
                                movement */
    bool parted;             /* some reader, perhaps behind data movement, sees what is small in a
                                large whole: a float operator, a graph output, a narrow Slice */
    const qonnx_value *root; /* data movement: the value whose range it hands on */
} Site;

/* A subgraph that no sample ran, so that it stays in float. */
typedef struct Idle {
    const qonnx_graph *graph;
    bool known; /* the statistics have its values, of which there were none */
    bool heavy; /* a matrix product is in it: worth a warning, not a note */
} Idle;

/* The nodes of all graphs of the model, and where they run. */
typedef struct Placement {
    const qonnx_target *target;
    const qonnx_stats *stats; /* NULL: none */
    bool requantizes;         /* ranges are those of a file that is quantized, not of samples */
    bool assumes;             /* nothing was observed yet: what no constant is will have a range */
    bool settled;             /* ranges are as they will be quantized, shared ones included */
    Site *sites;              /* graph after graph (qonnx_graph_next), in order of the nodes */
    Site **by_node;           /* sorted by the nodes' addresses: to find them only */
    int count;                /* sites */
    Idle *idle;               /* [nidle]; what lies in one of them is not named again */
    int nidle;
} Placement;

/* Decides for every node of the model with the main graph `g`, in the graph's memory. `settled`:
 * the values' ranges are as they will be quantized; otherwise each is the value's own, and is
 * shared afterwards across those Concats and that data movement that were found to run in integers.
 */
void placement_make(Placement *p, qonnx_graph *g, const qonnx_job *job, bool settled);

/* The same for a target, behind no pass. `assumes`: with ranges that nobody has seen yet; else they
 * are settled. */
void placement_foresee(Placement *p, qonnx_graph *g, const qonnx_target *target,
                       const qonnx_stats *stats, bool assumes);

/* Says which operators and subgraphs stay in float, and why. */
void placement_tell(qonnx_ctx *cx, const Placement *p);

/* The site of a node; NULL for none. */
Site *placement_site(const Placement *p, const qonnx_node *n);

/* The site of the node, when it runs in integers and reads input i as an activation; else NULL. */
Site *placement_reader(const Placement *p, const qonnx_node *n, int i);

/* Room for the reason of a verdict. */
typedef struct Reason {
    char text[256]; /* "" where there is none */
} Reason;

/* Whether the node can run in integers with the ranges that its values have. */
Verdict placement_judge(const Placement *p, const Site *s, Reason *why);

/* Whether nothing says how to quantize what the node gives, but it can give floats: the ranges are
 * those of a file in which other tools left it so. */
bool placement_may_give_floats(const Placement *p, const Site *s, const qonnx_value *v);

/* Whether the target lets a Relu or a Clip vanish into the range of what feeds it. */
bool placement_folds(const Placement *p, const Site *s);

/* Finds the operand of each Add that is not quantized. */
void placement_find_sums(Placement *p);

/* Whether the node reads input i behind a Q/DQ pair: in integers, and the target has it there. */
bool placement_reads(const Placement *p, const qonnx_node *n, int i);

/* Whether the site is a product in integers whose result is wanted in float alone: it gives floats,
 * and a rounding to 8 bits is saved. */
bool placement_gives_floats(const Placement *p, const Site *s);

/* How wide the grid over [lo, hi] is: zero is always on it. */
static inline float placement_width(float lo, float hi) { return fmaxf(hi, 0) - fminf(lo, 0); }

/* Whether a range of that width loses two bits or more where it shares one of `shared`. */
static inline bool placement_narrow(float width, float shared)
{
    return width <= shared / PLACEMENT_NARROW;
}

#endif
