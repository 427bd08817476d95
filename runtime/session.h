/* runtime/session.h - the inside of sessions: samples in parallel over shared images. */
#ifndef RUNTIME_SESSION_H
#define RUNTIME_SESSION_H

#include <qonnx/run.h>
#include "runtime/checkpoint.h"
#include "runtime/exec.h"
#include "runtime/variant.h"

/* What is done with each sample beside running it; one of the two may be NULL. */
typedef struct Visitor {
    void *user;
    /* A worker begins: gives it a state of its own. [any thread] */
    void *(*begin)(void *user);
    /* A worker ended. [one at a time] */
    void (*end)(void *user, void *state);
    /* A sample was read; its fed inputs. [the worker's thread] */
    void (*sample)(void *state, const Tensor *inputs, int count);
    /* A tap of the sample of that index: x points at its part of a batch. [the worker's thread] */
    void (*tap)(void *state, size_t sample, const Tap *tap, const float *x, int64_t outer);
    /* The outputs, as qonnx_output_fn has it. [one at a time, in order of samples] */
    qonnx_output_fn *output;
    /* A time of rest: all workers have ended, and others begin behind it. NULL: there is none. [the
     * thread of session_visit] */
    void (*rest)(void *user);
} Visitor;

struct qonnx_session {
    Graph *graph; /* a copy with constants folded */
    Engine engine;
    int threads;
    int fed;            /* inputs that samples feed */
    int64_t batch;      /* samples that run together: the model's fixed batch, else 1 */
    double damaged;     /* share of the samples that may be left out */
    Variants *variants; /* of graph */
};

/* A session of a private copy of a graph, which is consumed, failing too. Its programs tap the
 * values of the copy that are observed. */
qonnx_session *session_new(Ctx *cx, Graph *copy, const qonnx_session_options *o);

/* Which samples are visited: those of a shard. The parts of the list that are dealt out to shards
 * are what runs together: samples, or where the model fixes a batch as many as fill it. */
typedef struct Tour {
    Shard shard;     /* {0, 1}: all samples */
    double interval; /* seconds from one rest to the next */
    size_t parts;    /* set by session_plan: how many parts the list has */
    size_t group;    /* set by session_plan: samples in a part; fewer in the last one */
    /* As it was left by an earlier tour; session_visit goes on from there, and leaves it so that
     * another can, whenever there is a rest, and when the user wants to stop. */
    size_t done;   /* parts of the shard that were visited, the first ones */
    LostList lost; /* samples of these that are damaged; owned by the caller */
    bool stopped;  /* set by session_visit: the user wanted it */
} Tour;

/* Finds the parts of a data set: before a visit. */
bool session_plan(Ctx *cx, qonnx_session *s, const qonnx_dataset *d, const Visitor *v, Tour *tour);
bool session_visit(Ctx *cx, qonnx_session *s, const qonnx_dataset *d, const Visitor *v, Tour *tour);

#endif
