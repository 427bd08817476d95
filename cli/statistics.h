/* cli/statistics.h - files of statistics: read, added, written and summed up. */
#ifndef CLI_STATISTICS_H
#define CLI_STATISTICS_H

#include "options.h"
#include <jansson.h>
#include <qonnx/run.h>

/* Reads files of statistics, one at a time, and adds them: --force is as args has it. NULL on
 * failure. */
qonnx_stats *statistics_read(qonnx_ctx *cx, const Args *args, const char *const *paths, int count);

/* Warns where statistics, at `where` unless that is NULL, are of few samples, or of some shards of
 * a list and not all. */
void statistics_warn(const char *where, const qonnx_stats *s);

/* The command line with which samples are prepared as those were that were counted, where it does
 * not say it itself; released by statistics_release(). */
Args statistics_prepared(const Args *args, const qonnx_stats *s);
void statistics_release(Args *prepared, const Args *args);

/* Whether -o is standard output. */
bool to_stdout(const Args *args);
/* Whether the file of -o can be written, before any work; standard output always can. */
bool statistics_check(qonnx_ctx *cx, const Args *args);
/* Checks the command line of a verb that writes statistics. Returns -1 to go on. */
int statistics_usage(const Verb *verb, const Args *args);
/* Writes statistics to where -o says. */
bool statistics_save(qonnx_ctx *cx, const Args *args, const qonnx_stats *s);

/* Prints what was written: `lines` are further lines of text, `more` further members of the JSON
 * object, which is let go. It goes to standard error where the statistics went to standard output.
 */
void statistics_summary(const Args *args, const qonnx_stats *s, const char *lines, json_t *more);

#endif
