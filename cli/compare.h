/* cli/compare.h - how near the outputs of one model come to another's, whose outputs wait in a
 * temporary file, so that memory does not grow with the data.
 */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include "options.h"
#include <jansson.h>
#include <qonnx/run.h>
#include <stdio.h>

/* How near tensors come to their references. Everything adds. */
typedef struct Likeness {
    double signal, noise; /* sums of ref^2 and of (ref - y)^2 over finite elements */
    size_t compared;      /* elements in these sums */
    size_t strange;       /* elements left out of them: not finite */
    size_t paired;        /* pairs of vectors, as scores of classes are */
    size_t agreeing;      /* of these, with the same largest element */
    bool unlike;          /* a tensor has another number of elements than its reference */
} Likeness;

/* Adds a tensor; to the pairs, too, if `pair` is set. Only floating-point numbers are compared. */
void likeness_add(Likeness *l, const qonnx_tensor *y, const qonnx_tensor *ref, bool pair);
/* Whether there is something to tell. */
bool likeness_known(const Likeness *l);
/* 10 log10(signal / noise) in dB; infinite where they are equal. */
double likeness_sqnr(const Likeness *l);

enum { SQNR_ROOM = 24, PERCENT_ROOM = 16 };
/* "13.31 dB", or "exact" where it is infinite, into out[SQNR_ROOM]. Returns out. */
const char *decibels_text(char *out, double db);
/* The same of an SQNR; "-" where there is none. */
const char *sqnr_text(char *out, const Likeness *l);
/* "93.50 %", or "-" where it is not known, into out[PERCENT_ROOM]. Returns out. */
const char *percent_text(char *out, bool known, size_t part, size_t all);

/* Puts them into an object: "sqnr_db", "exact" and "agreement", null where they are not known. */
void likeness_json(json_t *object, const Likeness *l);

/* Tensors in a temporary file, in the order in which they are written. */
typedef struct Reference {
    FILE *file;
    void *buffer;      /* the data of the tensor that was read last */
    size_t room;       /* bytes in it */
    const char *fault; /* what is wrong with the file; NULL: nothing */
} Reference;

/* False, as from the next two, where the file is at fault: `fault` says why. Out of memory ends the
 * process. */
bool reference_open(Reference *r);
/* Writes a tensor. */
bool reference_write(Reference *r, const qonnx_tensor *t);
/* Reads the next one; its data stays until the next call. */
bool reference_read(Reference *r, qonnx_tensor *t);
void reference_rewind(Reference *r);
void reference_close(Reference *r);

/* ---- two models ------------------------------------------------------------------------------ */

/* The outputs of one model beside another's. Zero is an empty one. */
typedef struct Comparison {
    size_t samples;     /* that both have run; 0: none, nothing is known */
    int outputs;        /* of each of them */
    Likeness *likeness; /* [outputs]; owned */
    size_t *which;      /* [samples] their places in what compared_samples() gives; owned */
    const char *fault;  /* why there was no room for the outputs to wait in; NULL: there was */
} Comparison;

/* The samples that two graphs are compared on: at most `most`, spread evenly. NULL on failure. */
qonnx_dataset *compared_samples(qonnx_ctx *cx, const Args *args, size_t most, const qonnx_graph *g);

/* Runs two graphs with the same outputs on these samples; damaged ones are left out. `keep`, unless
 * NULL, is where the first one's outputs are left, sample after sample, from the beginning on; to
 * be closed. A message is in the context when it fails; a fault of the temporary file is none:
 * nothing was compared. */
QONNX_CHECKED bool compare_graphs(qonnx_ctx *cx, const Args *args, size_t most,
                                  const qonnx_graph *model, const qonnx_graph *made,
                                  Reference *keep, Comparison *out);
void comparison_free(Comparison *c);

#endif
