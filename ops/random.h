/* ops/random.h - what operators share whose results are random. */
#ifndef OPS_RANDOM_H
#define OPS_RANDOM_H

#include "ops/op.h"

/* What its numbers follow from: the attribute seed, or the name of its output. */
uint64_t random_seed_of(const Node *n);
/* For Op.random. */
bool always_random(const Node *n);

#endif
