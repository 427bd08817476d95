/* ops/string_case.h - upper and lower case of texts, character by character, the same on every
 * machine: of the Latin letters up to U+017F, the Greek and the Cyrillic ones. Scripts that have no
 * case stay as they are; what is known of no character is refused.
 */
#ifndef OPS_STRING_CASE_H
#define OPS_STRING_CASE_H

#include "ops/op.h"

typedef enum Case { CASE_AS_IT_IS, CASE_LOWER, CASE_UPPER } Case;

/* The most bytes that a text of so many may take. */
static inline size_t case_room(size_t bytes) { return 2 * bytes + 1; }

/* Writes the text in that case to `to`. False: `why` says what is not known of it. */
bool case_change(Why *why, Case c, const char *text, size_t bytes, char *to, size_t *written);

#endif
