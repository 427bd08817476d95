/* cli/budget.h - quantize --min-sqnr, --max-drop and --max-size: as few layers in float as it
 * takes, or as many as there is room for.
 */
#ifndef CLI_BUDGET_H
#define CLI_BUDGET_H

#include "optimize.h"

/* So many layers in float, or at 16 bits, and what the result comes to. */
typedef struct Mix {
    int steps;     /* the first so many of the ranked ones make it */
    int layers;    /* in float */
    int wide;      /* with activations of 16 bits */
    double macs;   /* share of the multiplications of those in float, 0 to 1 */
    double macs16; /* and of those at 16 bits */
    double sqnr;   /* of the worst output, dB */
    double drop;   /* top-1 of the model less that of the result, in points; NAN: no classes */
    double bytes;  /* of the file */
} Mix;

typedef struct Budgeted {
    size_t samples; /* that judged; 0: there was no budget */
    Mix *choices;   /* [count] those that were made, by layers; owned */
    int count;
    int taken;   /* which of them it is */
    bool mixed;  /* layers might have 16 bits */
    char **kept; /* [choices[taken].layers] the layers in float, by what they gain; owned */
    char **wide; /* [choices[taken].wide] those at 16 bits; owned */
} Budgeted;

/* Whether the options ask for one. */
bool budget_given(const Args *args);
/* Checks them. Returns -1 to go on, or the status of a usage error. */
int budget_check(const Verb *verb, const Args *args);

/* Puts passes into the pipeline that keep layers in float, until the result meets the budget, none
 * where it does so as it is. What each layer by itself gains is measured once, without passes that
 * look at samples; layers come by their gain for their share of the multiplications, with
 * --max-size for their bytes, and with --mixed at 16 bits where that gains more for them than
 * float. By itself --max-size has as many of them as fit. False: no choice meets the budget; the
 * message has the best, and is in the context. */
QONNX_CHECKED bool budget_meet(qonnx_ctx *cx, const Optimization *with, Passes *passes,
                               Budgeted *out);
/* Whether the result, as it is to be written, is as small as --max-size says. */
QONNX_CHECKED bool budget_fits(qonnx_ctx *cx, const Args *args, const qonnx_graph *made);
void budgeted_free(Budgeted *b);

enum { WIDE_ROOM = 40 };
/* ", 2 at 16 bits" into out[WIDE_ROOM], where there might be some. Returns out. */
const char *mix_wide_text(char *out, const Budgeted *b, const Mix *c);
/* Lines of the summary. */
void budgeted_print(const Budgeted *b);
/* The same as an object; null where there was none. */
json_t *budgeted_json(const Budgeted *b);

#endif
