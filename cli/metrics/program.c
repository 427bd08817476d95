/* cli/metrics/program.c - a metric that is a program: it is given the folder of the outputs, as
 * `qonnx run -o` writes them, and the labels, and prints one number. It has a time limit and one of
 * what it may print, runs in a process group of its own, and nothing of that outlives it.
 */
#include "cli/progress.h"
#include "cli/tensor.h"
#include "metric.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { ANSWER = 4096 };

typedef struct Program {
    qonnx_scratch *folder; /* of outputs */
    FILE *list;            /* samples.txt in it: what the numbers of the files stand for */
    size_t samples;        /* written */
} Program;

bool program_is_path(const char *text) { return !strchr(text, ' ') || !access(text, X_OK); }

static bool begin(Scoring *s)
{
    Program *p = s->state;
    const char *tmp = getenv("TMPDIR");
    char path[PATH_MAX];
    struct stat file = {.st_mode = 0};
    bool named = program_is_path(s->text); /* what is wrong is said before samples run */
    if (named && (access(s->text, X_OK) || stat(s->text, &file)))
        return metric_fail(s, "cannot be run as a program: %s", strerror(errno));
    if (named && !S_ISREG(file.st_mode))
        return metric_fail(s, "cannot be run as a program: it is no file");
    qonnx_ctx *cx = progress_ctx();
    p->folder = qonnx_scratch_new(cx, tmp && *tmp ? tmp : P_tmpdir);
    bool good = p->folder || (report_failure(cx), false);
    qonnx_ctx_free(cx);
    if (!good) return false;
    snprintf(path, sizeof path, "%s/samples.txt", qonnx_scratch_path(p->folder));
    p->list = fopen(path, "we");
    good = p->list != NULL;
    for (int i = 0; good && i < qonnx_graph_outputs(s->g); i++) {
        snprintf(path, sizeof path, "%s/output_%d", qonnx_scratch_path(p->folder), i);
        good = !mkdir(path, 0777);
    }
    return good || metric_fail(s, "%s: cannot be written: %s", path, strerror(errno));
}

static bool add(Scoring *s, const Outputs *o)
{
    Program *p = s->state;
    char path[PATH_MAX];
    for (int i = 0; i < qonnx_graph_outputs(s->g); i++) {
        snprintf(path, sizeof path, "%s/output_%d/%06zu.npy", qonnx_scratch_path(p->folder), i,
                 p->samples);
        if (!npy_write(path, &o->all[i])) return false;
    }
    p->samples++;
    int class = qonnx_dataset_class(s->d, o->sample);
    fprintf(p->list, "%s", qonnx_dataset_name(s->d, o->sample));
    if (class >= 0) fprintf(p->list, " %d", class);
    putc('\n', p->list);
    return true;
}

/* ---- running it ------------------------------------------------------------------------------ */

/* A program that runs. */
typedef struct Child {
    pid_t pid;               /* and of its group */
    int from;                /* its standard output */
    double until;            /* when its time is over; infinite: never */
    char answer[ANSWER + 1]; /* what it has printed */
    size_t bytes;            /* of it */
    bool late;               /* its time is over */
} Child;

/* Starts argv[0], found in $PATH, with its output to `to`; returns what is wrong, 0: nothing. */
static int spawn(Child *c, const char *const *argv, int to)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    int error = posix_spawnp(&c->pid, argv[0], &actions, &attributes,
                             (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

/* Starts it: a path as it is, words by the shell, as a command line that the two arguments end. */
static bool start(Scoring *s, const char *folder, const char *labels, Child *c)
{
    static const char script[] = "eval \"exec $1\" '\"$2\" \"$3\"'";
    const char *const through[] = {"sh", "-c", script, "sh", s->text, folder, labels, NULL};
    const char *const direct[] = {s->text, folder, labels, NULL};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return metric_fail(s, "cannot be run: %s", strerror(errno));
    int error = spawn(c, program_is_path(s->text) ? direct : through, ends[1]);
    close(ends[1]);
    c->from = ends[0];
    if (error) close(ends[0]);
    return !error || metric_fail(s, "cannot be run: %s", strerror(error));
}

/* Whether it is to end before it has ended. */
static bool stopped(Child *c)
{
    c->late |= seconds_now() > c->until;
    return c->late || c->bytes == ANSWER || interrupted();
}

/* Reads what it prints until it closes its output or is to end. */
static void listen_to(Child *c)
{
    while (!stopped(c)) {
        struct pollfd one = {.fd = c->from, .events = POLLIN};
        if (poll(&one, 1, 50) <= 0) continue;
        ssize_t n = read(c->from, c->answer + c->bytes, ANSWER - c->bytes);
        if (n > 0) c->bytes += (size_t)n;
        else if (n == 0 || errno != EINTR) return;
    }
}

/* Waits for its end, asks for it where it is to end, and a second later forces it. Then ends what
 * it has started. Returns its status as waitpid has it. */
static int await_end(Child *c)
{
    enum { PAUSE = 20, PATIENCE = 50 }; /* milliseconds, and pauses */
    siginfo_t info = {.si_pid = 0};
    int status = 0;
    for (int asked = 0; !waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
                        info.si_pid != c->pid;) {
        if (stopped(c)) {
            if (!asked) kill(-c->pid, SIGTERM);
            if (asked++ == PATIENCE) kill(-c->pid, SIGKILL);
        }
        poll(NULL, 0, PAUSE);
    }
    kill(-c->pid, SIGKILL); /* its number is still its own: nobody has waited for it */
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

/* The number that it printed, blanks around it. */
static bool take_number(Scoring *s, Child *c, double *value)
{
    char *end, *text = c->answer + strspn(c->answer, " \t\r\n");
    *value = strtod(text, &end);
    bool more = end[strspn(end, " \t\r\n")] != 0;
    more |= strlen(c->answer) < c->bytes; /* behind a byte of 0 */
    if (end > text && !more && isfinite(*value)) return true;
    text[strcspn(text, "\r\n")] = 0;
    return *text ? metric_fail(s, "printed '%.80s'; want one number, and nothing else, on standard "
                                  "output",
                               text)
                 : metric_fail(s, "printed nothing; want one number on standard output");
}

static bool judge(Scoring *s, Child *c, int status, double *value)
{
    if (interrupted()) return false;
    if (c->late)
        return metric_fail(s, "was ended after %g s; --metric-timeout gives it more", s->seconds);
    if (c->bytes == ANSWER)
        return metric_fail(s,
                           "was ended when it had printed %d bytes; want one number on standard "
                           "output, what else it says on standard error",
                           ANSWER);
    if (WIFSIGNALED(status))
        return metric_fail(s, "was ended by signal %d (%s)", WTERMSIG(status),
                           strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) == 127)
        return metric_fail(s, "is neither a metric nor a command that can be run (status 127)");
    if (WEXITSTATUS(status)) return metric_fail(s, "ended with status %d", WEXITSTATUS(status));
    return take_number(s, c, value);
}

/* Runs the program. */
static bool ask(Scoring *s, double *value)
{
    Program *p = s->state;
    char list[PATH_MAX];
    const char *folder = qonnx_scratch_path(p->folder);
    Child c = {.until = s->seconds > 0 ? seconds_now() + s->seconds : INFINITY};
    snprintf(list, sizeof list, "%s/samples.txt", folder);
    bool good = !ferror(p->list);
    good &= !fclose(p->list);
    p->list = NULL;
    if (!good) return metric_fail(s, "%s: cannot be written: %s", list, strerror(errno));
    if (!start(s, folder, s->labels_path ? s->labels_path : list, &c)) return false;
    listen_to(&c);
    close(c.from);
    return judge(s, &c, await_end(&c), value);
}

static bool end(Scoring *s, Score *out)
{
    Program *p = s->state;
    out->samples = p->samples;
    out->known = true;
    return ask(s, &out->value);
}

static void release(Scoring *s)
{
    Program *p = s->state;
    if (p->list) fclose(p->list);
    qonnx_scratch_free(p->folder);
}

const Metric metric_program = {.name = "program",
                               .title = "program",
                               .brief = "the number that a program prints",
                               .labels = LABEL_NONE,
                               .unit = UNIT_NUMBER,
                               .state = sizeof(Program),
                               .begin = begin,
                               .add = add,
                               .end = end,
                               .release = release};
