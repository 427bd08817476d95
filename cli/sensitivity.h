/* cli/sensitivity.h - what each layer gains where it alone stays in float, and what that costs. */
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

/* A layer that may stay in float. */
typedef struct Layered {
    char *name;   /* what its node is called by; owned */
    double macs;  /* its share of the multiplications of all layers */
    double gain;  /* dB, where it alone stays in float */
    double bytes; /* that the file grows by then */
} Layered;

typedef struct Sensitivities {
    Layered *of; /* [count] in the order of the graph; owned */
    int count;
} Sensitivities;

/* Finds the layers that would run in integers, and measures each, without passes that look at
 * samples: those are slow, and help all alike. Where an earlier run has measured the same, its file
 * has it (remembered.h). `out` is freed by sensitivities_free(), after a
 * failure, too. */
QONNX_CHECKED bool sensitivities_measure(const Maker *m, const Passes *p, Sensitivities *out);
void sensitivities_free(Sensitivities *s);

/* Without the passes that look at samples. */
Passes passes_without_samples(const Passes *p);
/* Keeps a layer in float, in front of the statistics. */
void passes_keep(Passes *p, const char *layer);

#endif
