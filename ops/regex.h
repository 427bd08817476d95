/* ops/regex.h - regular expressions as RE2 has them, the part of its syntax that RegexFullMatch is
 * used with, matched in time that is proportional to the pattern and to the text.
 *
 *   x . [a-z] [^a-z] [[:alpha:]] \d \D \w \W \s \S \. \t \n \r \f \v \a \x41 \x{41}
 *   xy x|y (x) (?:x) (?P<name>x) (?<name>x)   x* x+ x? x{n} x{n,} x{n,m}, each with ? behind it
 *   ^ $ \A \z \b \B
 *
 * Characters are those of UTF-8; what is no UTF-8 in a text matches nothing.
 */
#ifndef OPS_REGEX_H
#define OPS_REGEX_H

#include "ops/op.h"

typedef struct Regex Regex;

/* In the arena. NULL: `why` says what is wrong with the pattern, or not known here. */
Regex *regex_new(Arena *a, Why *why, const char *pattern, size_t bytes);
/* States that it has: steps of each character of a text. */
int regex_states(const Regex *r);
/* Whether it matches the whole text. Not for two threads at once. */
bool regex_matches(Regex *r, const char *text, size_t bytes);

/* Reads a character of UTF-8 from *at on, which moves behind it; false where there is none. */
bool utf8_read(const char **at, const char *end, uint32_t *c);

#endif
