/* cli/progress.c - see progress.h. */
#include "progress.h"
#include "options.h"
#include <qonnx/run.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE = 72, /* columns of the progress line, at most */
    SAID = 256 /* warnings and notes that are remembered */
};

static volatile sig_atomic_t stop_asked; /* the signal that asked to stop; 0: none did */

static struct {
    bool quiet, verbose; /* -q, -v */
    bool allow_symlinks; /* --allow-symlinks */
    bool live;           /* a terminal that can go back to the start of a line */
    int shown;           /* columns that the line on the screen has */
    char what[32];       /* what is being counted */
    double began;        /* when that began */
    double drawn;        /* when the line was last drawn */
    char *said[SAID];    /* warnings and notes that were printed */
    int nsaid;           /* number of these */
} state;

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- messages -------------------------------------------------------------------------------- */

void progress_setup(bool quiet, bool verbose)
{
    const char *term = getenv("TERM");
    state.quiet = quiet;
    state.verbose = verbose;
    state.live = !quiet && isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb");
}

void progress_hide(void) { state.live = false; }

void progress_clear(void)
{
    if (state.shown) fprintf(stderr, "\r%*s\r", state.shown, "");
    state.shown = 0;
}

/* Prints one line, made harmless for a terminal. */
static void print_tame(FILE *f, const char *lead, const char *fmt, va_list args)
{
    char room[1024], *text = room;
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(room, sizeof room, fmt, args);
    char *longer = n >= (int)sizeof room ? malloc((size_t)n + 1) : NULL;
    if (longer) vsnprintf(text = longer, (size_t)n + 1, fmt, again); /* else it is cut short */
    va_end(again);
    qonnx_tame(text);
    fprintf(f, "%s%s\n", lead, text);
    free(longer);
}

void complain_list(const char *fmt, va_list args)
{
    progress_clear();
    print_tame(stderr, "qonnx: ", fmt, args);
}

void complain(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    complain_list(fmt, args);
    va_end(args);
}

/* Whether a message has been printed before: what several models or inputs give rise to is said
 * once. */
static bool repeated(const char *text)
{
    for (int i = 0; i < state.nsaid; i++)
        if (!strcmp(state.said[i], text)) return true;
    char *copy = state.nsaid < SAID ? strdup(text) : NULL;
    if (copy) state.said[state.nsaid++] = copy;
    return false;
}

/* Prints a line on standard error once, unless -q. */
static void say_once(const char *lead, const char *fmt, va_list args)
{
    char *text = NULL;
    va_list again;
    if (state.quiet) return;
    va_copy(again, args);
    if (vasprintf(&text, fmt, args) < 0) text = NULL; /* no memory: it may be printed again */
    if (!text || !repeated(text)) {
        progress_clear();
        print_tame(stderr, lead, fmt, again);
    }
    va_end(again);
    free(text);
}

void warn(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say_once("qonnx: warning: ", fmt, args);
    va_end(args);
}

void tell(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say_once("", fmt, args);
    va_end(args);
}

void print_line(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_tame(stdout, "", fmt, args);
    va_end(args);
}

void *needed(void *memory)
{
    if (memory) return memory;
    qonnx_out_of_memory();
}

static void on_log(void *user, qonnx_level level, const char *text)
{
    (void)user;
    if (level == QONNX_WARNING) warn("%s", text);
    if (level == QONNX_NOTE && state.verbose && !state.quiet && !repeated(text))
        complain("note: %s", text);
}

int report_failure(const qonnx_ctx *cx)
{
    progress_clear();
    if (interrupted()) return EXIT_SIGNAL + stop_asked;
    const char *text = qonnx_error(cx);
    complain("%s", *text ? text : "failed");
    return EXIT_BAD;
}

/* ---- the progress line ----------------------------------------------------------------------- */

/* "12 s" or "3:07", into a buffer. */
static void put_duration(char *out, size_t size, double seconds)
{
    long s = seconds < 0 ? 0 : seconds > 359999 ? 359999 : (long)(seconds + 0.5);
    if (s < 100)
        snprintf(out, size, "%ld s", s);
    else if (s < 3600)
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

static void draw(size_t done, size_t total, double now)
{
    char line[LINE + 1], left[16] = "?";
    double spent = now - state.began, rate = spent > 0 ? (double)done / spent : 0;
    if (rate > 0 && total >= done) put_duration(left, sizeof left, (double)(total - done) / rate);
    int n = snprintf(line, sizeof line, "%s %zu/%zu (%d %%), %.*f/s, %s left", state.what, done,
                     total, total ? (int)(100.0 * (double)done / (double)total) : 0,
                     rate < 10 ? 1 : 0, rate, left);
    if (n > LINE) n = LINE;
    fprintf(stderr, "\r%s%*s", line, state.shown > n ? state.shown - n : 0, "");
    fflush(stderr);
    if (n > state.shown) state.shown = n;
    state.drawn = now;
}

static bool on_progress(void *user, const char *what, size_t done, size_t total)
{
    (void)user;
    if (interrupted()) return false;
    if (!state.live) return true;
    double now = seconds_now();
    if (strncmp(what, state.what, sizeof state.what - 1)) {
        snprintf(state.what, sizeof state.what, "%s", what);
        state.began = now;
        state.drawn = 0;
    }
    if (now - state.drawn >= 0.1) draw(done, total, now);
    return true;
}

void progress_allow_symlinks(bool allow) { state.allow_symlinks = allow; }

qonnx_ctx *progress_ctx(void)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_ctx_allow_symlinks(cx, state.allow_symlinks);
    qonnx_ctx_on_log(cx, on_log, NULL);
    qonnx_ctx_on_progress(cx, on_progress, NULL);
    state.what[0] = 0;
    return cx;
}

/* ---- interrupts ------------------------------------------------------------------------------ */

void say_in_handler(const char *first, const char *second)
{
    const char *const parts[] = {"qonnx: ", first, second, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0) return;
}

/* A plugin's callback is not waited for: it may never return. It runs before anything is written.
 */
static void on_interrupt(int number)
{
    const char *running = qonnx_plugin_running();
    stop_asked = number;
    if (!running) return;
    say_in_handler(running, ": stopped");
    _exit(EXIT_SIGNAL + number);
}

void interrupt_setup(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    action.sa_flags = (int)(SA_RESTART | SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!sigaction(numbers[i], NULL, &before) && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
}

bool interrupted(void)
{
    return stop_asked != 0;
}
