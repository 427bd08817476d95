/* runtime/checkpoint.h - how far a run over a shard of a list of samples has come: what the file of
 * a checkpoint holds beside the statistics of the samples so far.
 */
#ifndef RUNTIME_CHECKPOINT_H
#define RUNTIME_CHECKPOINT_H

#include "runtime/coverage.h"

/* A sample that is left out, being damaged. */
typedef struct Lost {
    uint64_t sample; /* its index in the list */
    char *why;       /* the message; owned */
} Lost;

/* Those that a run met, in the order it met them; zeroed: none. */
typedef struct LostList {
    Lost *lost;         /* [count] */
    size_t count, room; /* used, and allocated */
} LostList;

/* Adds one with a copy of the message. */
void lost_add(LostList *l, uint64_t sample, const char *why);
void lost_free(LostList *l);

/* The first NaN or +infinite activation; minus infinity is what masks are made of. */
typedef struct Odd {
    bool any;      /* there is one */
    bool more;     /* in other samples too */
    bool nan;      /* it is NaN somewhere */
    size_t sample; /* the first sample that has some */
    int index;     /* the first such activation of it: its number in the statistics */
} Odd;

typedef struct Checkpoint {
    uint8_t list[16]; /* hash of the list of samples (collect.c) */
    uint64_t parts;   /* that the list has */
    Shard shard;      /* of the list, that is run over */
    uint64_t done;    /* parts of the shard that were, the first ones */
    LostList lost;    /* samples of them that are not in the statistics */
    Odd odd;          /* what was seen in the others */
} Checkpoint;

void checkpoint_free(Checkpoint *c);

#endif
