/* lower/program.h - a Program: what a graph has become for one set of input shapes. Buffers with a
 * place in one arena, constants, and a list of kernel calls. The runtime executes it.
 */
#ifndef LOWER_PROGRAM_H
#define LOWER_PROGRAM_H

#include "ir/ir.h"
#include "kernels/kernel.h"

/* A piece of memory that calls read and write. */
typedef struct Buf {
    size_t bytes;
    size_t offset;    /* place in the arena; set by program_plan */
    const void *data; /* contents of a constant, or NULL; of one that is shared maybe not aligned */
    bool shared;      /* the contents outlive the program: other programs may have them, too */
    int align;        /* that kernels want of the contents of a constant; 0: they have it */
    int port;         /* i + 1: the caller's memory of input i; -(i + 1): of output i; 0: neither */
    int born, dies;   /* first and last call that touches it; inputs are born at -1 */
    int block;        /* the planner's: buffers of one block share their memory */
} Buf;

typedef struct Body Body;

/* A call of a kernel, or of programs. */
typedef struct Call {
    const Kernel *kernel; /* NULL: it has a body */
    const void *params;   /* the kernel's parameter struct */
    Body *body;           /* what runs, when that is no kernel; NULL otherwise */
    Buf **in;             /* [nin]; NULL where one is left out. With a body: all that is read */
    int nin;              /* of a kernel: kernel->nin */
    Buf **out;            /* [nout]: what somebody reads, and memory that lives for this call; NULL
                             where one is left out */
    int nout;             /* of a kernel: kernel->nout */
    const Node *node;     /* where it comes from, for messages */
} Call;

/* Where a body's input or output is: in turn t, t * step + start bytes into a buffer of the program
 * that makes the call. */
typedef struct BodyPort {
    Buf *buf;
    int64_t start, step;
} BodyPort;

/* What a turn made, and the next one reads. */
typedef struct BodyCopy {
    Buf *to, *from;
    size_t bytes;
} BodyCopy;

/* What the subgraphs of an If, a Loop or a Scan have become: programs in the arena of the one that
 * calls them. Buffers are that one's. It runs as
 *
 *     chooses:  program[*test ? 0 : 1]
 *     else:     for (t = 0; t < turns && t < *trip && *test; t++) *counter = t, program[0], copies
 */
struct Body {
    bool chooses; /* one of two programs runs, once */
    struct Program *program[2]; /* [1] NULL but with `chooses`; then NULL: one that cannot run */
    BodyPort *in[2];   /* [program->ninput] */
    BodyPort *out[2];  /* [program->noutput] */
    Buf *test;         /* a boolean; NULL: true */
    Buf *trip;         /* an int64; NULL: there is none */
    Buf *counter;      /* an int64; NULL: there is none */
    int64_t turns;     /* at most; INT64_MAX: not known before it runs */
    BodyCopy *carried; /* [ncarried] copies at the end of a turn */
    int ncarried;
    Buf *memory;  /* the arena of the programs, while they run */
    int64_t cost; /* steps of a turn; set by limits_set */
    int64_t most; /* turns that the limit of work allows; by limits_set */
};

/* A graph input or output: its buffer holds plain row-major data. */
typedef struct Port {
    Buf *buf;
    Tensor tensor; /* dtype, dims and bytes; data is not used */
} Port;

/* A value that somebody wants to see while the program runs. */
typedef struct Tap {
    int index;                       /* the value's number: Value.observed - 1 */
    int after;                       /* the call that makes it; -1: a graph input */
    Buf *buf;                        /* valid right after that call */
    int64_t batch;                   /* size of its first axis, 1 for rank 0 */
    int64_t outer, channels, inner; /* element (o, c, i) at (o * channels + c) * inner + i */
} Tap;

typedef struct Program {
    Arena *arena;      /* everything below */
    Graph *graph;      /* the lowered graph, owned, or a subgraph of another's; calls point into it
                        */
    Call *calls;
    int ncall, call_cap;
    Buf **bufs;        /* all that are not constant, ports included */
    int nbuf, buf_cap;
    Port *inputs;      /* one a fed input of the graph (constants are not fed) */
    int ninput;
    Port *outputs;     /* one a graph output */
    int noutput;
    Tap *taps;
    int ntap, tap_cap;
    int64_t work;      /* steps that a run may take; set by limits_set */
    size_t memory;     /* bytes of the arena that holds the buffers; set by program_plan */
    size_t alive; /* the most bytes alive at one call: no arena can be smaller; by program_plan */
} Program;

/* Lowers a graph whose shapes are inferred. `g` is consumed, failing too; else it is freed with the
 * program. Values that are observed are kept to be seen, and tapped. NULL on failure. */
Program *program_new(Ctx *cx, Graph *g);
void program_free(Program *p);

/* Whether the contents of a constant are aligned for its elements. */
static inline bool buf_is_aligned(const Buf *b)
{
    return !b->align || (uintptr_t)b->data % (unsigned)b->align == 0;
}

/* Copies the contents of constants that are not aligned for their elements; engines that keep such
 * copies for several programs do without (runtime/packs.h). */
void program_align_constants(Program *p);

/* Gives every buffer its offset, a multiple of `align`, so that buffers alive at the same time do
 * not overlap, but for those that a call may write in place (plan.c). May be called again. */
void program_plan(Program *p, size_t align);

/* Whether there is a program for the graph, as far as can be told without sizes: its operators run,
 * for their types, and its inputs are tensors. One message names all that do not. Unless the graph
 * is specialized, what follows from shapes is left out. */
bool graph_can_run(Ctx *cx, const Graph *g, bool specialized);

/* Whether what goes into the node, and so what comes out of it, is constant as soon as the shapes
 * of the inputs are known: it is folded then. The nodes before it must have been asked, in order.
 */
bool follows_from_shapes(Node *n);
/* Whether the node is an If whose condition does, so that one of its branches takes its place. */
bool chooses_by_shapes(const Node *n);

/* Whether input i of the graph is fed by samples: it is no initializer. */
bool graph_is_fed(const Graph *g, int i);

#endif
