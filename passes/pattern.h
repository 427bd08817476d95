/* passes/pattern.h - patterns that users give for names and operators: POSIX extended regular
 * expressions. Written on include/qonnx/ alone.
 */
#ifndef PASSES_PATTERN_H
#define PASSES_PATTERN_H

#include <qonnx/pass.h>
#include <regex.h>
#include <stdlib.h>

/* Compiles a pattern; `whole`: one that must match all of a text, not a part. Freed by regfree()
 * unless it fails. */
static inline bool pattern_compile(qonnx_ctx *cx, const char *text, bool whole, regex_t *regex)
{
    char reason[128], *anchored = NULL;
    if (whole && asprintf(&anchored, "^(%s)$", text) < 0) return qonnx_fail(cx, NULL, "no memory");
    int error = regcomp(regex, whole ? anchored : text, REG_EXTENDED | REG_NOSUB);
    free(anchored);
    if (!error) return true;
    regerror(error, regex, reason, sizeof reason);
    return qonnx_fail(cx, NULL, "'%s' is no regular expression: %s", text, reason);
}

#endif
