/* cli/sensitivity.h - what each layer gains where it alone stays in float, or has 16 bits, and
 * what that costs. */
#ifndef CLI_SENSITIVITY_H
#define CLI_SENSITIVITY_H

#include "judge.h"
#include "optimize.h"

/* What candidates for the result are made of, and who judges them. */
typedef struct Maker {
    qonnx_ctx *cx;
    const Optimization *with;
    const qonnx_dataset *fit; /* samples that passes look at */
    Judge *judge;
} Maker;

/* Makes the model of these passes and runs it: judge_passes(), and the bytes of the file that it
 * would be. */
QONNX_CHECKED bool maker_try(const Maker *m, const Passes *p, double *db, double *bytes);
/* The bytes alone. What looks at samples, which changes numbers only, does not run. */
QONNX_CHECKED bool maker_size(const Maker *m, const Passes *p, double *bytes);

/* A layer that may stay in float, or have activations of 16 bits. */
typedef struct Layered {
    char *name;   /* what its node is called by; owned */
    char *passes; /* the text of those that make it so; owned */
    bool wide;    /* 16 bits: what it reads and gives */
    double macs;  /* its share of the multiplications of all layers */
    double cost;  /* what it costs, as a share of these */
    double gain;  /* dB, where it alone is so */
    double bytes; /* that the file grows by then */
} Layered;

typedef struct Sensitivities {
    Layered
        *of; /* [count] in the order of the graph; with --mixed each in float, then wide; owned */
    int count;
} Sensitivities;

/* Finds the layers that would run in integers, and measures each, without passes that look at
 * samples: those are slow, and help all alike. Where an earlier run has measured the same, its file
 * has it (remembered.h). `out` is freed by sensitivities_free(), after a
 * failure, too. */
QONNX_CHECKED bool sensitivities_measure(const Maker *m, const Passes *p, Sensitivities *out);
void sensitivities_free(Sensitivities *s);
void layered_free(Layered *l);
/* Whether the target's runtime has 16 bits in integers; else what reads or gives them runs in
 * float, as in ONNX Runtime on processors and in C. */
bool wide_in_integers(const Args *args);

/* Without the passes that look at samples. */
Passes passes_without_samples(const Passes *p);
/* Keeps a layer in float, in front of the statistics. */
void passes_keep(Passes *p, const char *layer);

#endif
