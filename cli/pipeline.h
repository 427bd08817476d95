/* cli/pipeline.h - pipelines as text: taken apart at their commas, given options, run in parts; and
 * the plugins that bring their passes.
 */
#ifndef CLI_PIPELINE_H
#define CLI_PIPELINE_H

#include "options.h"
#include <qonnx/run.h>

/* "a,b{x=1,y=2}" as its passes: "a" and "b{x=1,y=2}". */
typedef struct Passes {
    char **text; /* [count], each malloc'd */
    int count;   /* passes */
} Passes;

Passes passes_split(const char *pipeline);
Passes passes_copy(const Passes *p);
void passes_free(Passes *p);
/* Passes from..to-1 as one text; malloc'd. */
char *passes_join(const Passes *p, int from, int to);

/* Puts passes into the pipeline: "TEXT@AFTER" directly behind the last pass of the name AFTER,
 * "TEXT" right before `calibrate`, or at the end where there is none. False: there is no AFTER. */
bool passes_insert(Passes *p, const char *spec);
/* Puts a pass at that place. */
void passes_insert_at(Passes *p, int at, const char *pass);
/* Puts what --activations, --weights, --overrides, --exclude and --only say right before
 * `calibrate`: passes override and keep-float. False: a file of --overrides is none; the message is
 * in the context. */
bool passes_insert_choice(qonnx_ctx *cx, const Args *args, Passes *p);
/* Index of `calibrate`, or of the first such pass right before it: what is in front of it does not
 * depend on what is quantized. The number of passes where it is not there. */
int passes_split_at(const Passes *p);
/* Puts every --pass of a verb into the pipeline. Returns -1, or the status of a usage error. */
int passes_insert_all(const Verb *verb, const Args *args, Passes *p);

/* Index of the pass of that name; -1 when it is not among them. */
int passes_find(const Passes *p, const char *name);
/* Gives the pass an option, unless the pass is not among them. */
void passes_set(Passes *p, const char *name, const char *option, const char *value);
/* Takes the pass out, if it is there. */
void passes_drop(Passes *p, const char *name);
/* The value that the text gives the option of a pass, else the option's default; malloc'd, NULL
 * when neither is there. */
char *passes_option(const Passes *p, const char *pass, const char *option);

/* Whether the library has all of them; each by itself, so that the message quotes the one that is
 * wrong. The message is in the context. */
bool passes_check(qonnx_ctx *cx, const Passes *p);
/* Runs passes from..to-1. Where `dump_after` names one of them, the graph's text goes to standard
 * error behind it. */
bool passes_run(qonnx_ctx *cx, qonnx_graph *g, const Passes *p, int from, int to,
                const qonnx_pipeline_options *o, const char *dump_after);

/* Prints "unknown WHAT 'NAME'", with the nearest of the names; returns the status of a usage error.
 */
int unknown_name(const Verb *verb, const char *what, const char *name, word_at_fn *word_at);
/* Whether there is a target of that name. Returns -1, or the status of a usage error. */
int check_target(const Verb *verb, const char *target);

/* Loads the plugins of --plugin. False after having said which is refused, and why. */
bool plugins_load(const Args *args);
/* Loads those of the search path, unless that was done; what is wrong with them is warned of. */
void plugins_search(void);

#endif
