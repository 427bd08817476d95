/* runtime/visit.h - what a visit and its workers share. */
#ifndef RUNTIME_VISIT_H
#define RUNTIME_VISIT_H

#include "frontend/data/data.h"
#include "runtime/session.h"
#include <pthread.h>

/* One run over a data set, shared by its workers. */
typedef struct Job {
    qonnx_session *s;
    const qonnx_dataset *d;
    const Visitor *v;
    Tour *tour;           /* which parts of the data set are run; with what is lost of them */
    size_t all;           /* samples in the data set */
    size_t count;         /* of these, those of the shard */
    size_t group;         /* samples that run together: the model's batch, or 1 where each sample
                             fills a batch by itself */
    size_t spare;         /* samples that may be damaged; they are left out */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t turn;  /* one of what follows changed */
    size_t next;         /* parts of the shard that somebody has taken */
    size_t delivered;    /* samples whose outputs were handed on: they go in order */
    int running;         /* workers */
    int resting;         /* of these, those that wait while all rest */
    bool rest;           /* all are to rest */
    bool stop;           /* a failure, or the visitor has seen enough */
    bool failed;         /* a sample could not be read or run */
    Ctx *error;          /* failure of the earliest sample that failed, or NULL */
    size_t error_sample;
} Job;

/* What a thread does: takes samples of the job until there are none left. */
void *visit_work(void *job);

/* Reads a sample: its fed inputs, in order. */
bool visit_read(Ctx *cx, const Job *j, size_t i, Tensor **out);
void visit_free(const Job *j, Tensor *t);

/* The samples of part `i` of the shard: from *first on, how many. */
size_t visit_part(const Job *j, size_t i, size_t *first);

#endif
