/* cli/progress.h - standard error: messages, and a progress line where it is a terminal. The state
 * is the process's, since so is the terminal. Nothing here prints colours or escape sequences.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <qonnx/base.h>
#include <stdarg.h>

/* Says what the user wants to see: -q silences all but errors, -v adds notes. */
void progress_setup(bool quiet, bool verbose);
/* Shows no progress line; warnings and notes stay. */
void progress_hide(void);
/* Whether external data may be behind symbolic links, for the contexts made after this. */
void progress_allow_symlinks(bool allow);

/* A context whose warnings, notes and progress are shown here. */
qonnx_ctx *progress_ctx(void);

/* Takes the progress line off the terminal. */
void progress_clear(void);

/* "qonnx: MESSAGE" and "qonnx: warning: MESSAGE", in one line; the same warning is printed once.
 * Control characters, which names of files and words of the command line may hold, become question
 * marks (qonnx_tame). */
void complain(const char *fmt, ...) QONNX_PRINTF(1, 2);
void complain_list(const char *fmt, va_list args) QONNX_PRINTF(1, 0);
void warn(const char *fmt, ...) QONNX_PRINTF(1, 2);
/* A line about what is being done, as it is; printed once, and not with -q. */
void tell(const char *fmt, ...) QONNX_PRINTF(1, 2);

/* One line of results on standard output, made harmless in the same way. */
void print_line(const char *fmt, ...) QONNX_PRINTF(1, 2);

/* What an allocation gave; says that memory is out, and ends the process, where it gave nothing. */
void *needed(void *memory);

/* Prints the context's failure and returns the exit status: that of an interrupt, without a
 * message, when the user asked to stop. */
int report_failure(const qonnx_ctx *cx);

/* Lets SIGINT (Ctrl-C), SIGTERM and SIGHUP stop the work at the next progress call, and at once
 * while a plugin runs; the second one ends the process. What is ignored stays so. */
void interrupt_setup(void);
/* Whether the user has asked to stop. [any thread] */
bool interrupted(void);

/* "qonnx: FIRST SECOND" in one line, without a blank between. [a handler of signals] */
void say_in_handler(const char *first, const char *second);

/* Seconds of a clock that only goes forward. [any thread] */
double seconds_now(void);

#endif
