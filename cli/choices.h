/* cli/choices.h - what quantize's options choose: whether there is such a thing, and whether they
 * fit together. Each returns -1 to go on, or the status of a usage error.
 */
#ifndef CLI_CHOICES_H
#define CLI_CHOICES_H

#include "options.h"
#include "pipeline.h"

/* The types of --activations and --weights, before the pipeline is made of them. */
int choices_check(const Verb *verb, const Args *args);
/* --observer: whether there is one of that name, in a plugin of the search path, too. */
int choices_observer(const Verb *verb, const Args *args);
/* All others, with the pipeline that they make. */
int choices_fit(const Verb *verb, const Args *args, const Passes *p);

#endif
