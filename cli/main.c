/* cli/main.c - the command `qonnx`: finds the verb, and makes sure that what was printed arrived.
 */
#include "options.h"
#include "pictures.h"
#include "pipeline.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const Verb *const verbs[] = {&verb_inspect,   &verb_calibrate,
                             &verb_merge,     &verb_quantize,
                             &verb_compile,   &verb_run,
                             &verb_evaluate,  &verb_preview,
                             &verb_report,    &verb_lint,
                             &verb_explain,   &verb_passes,
                             &verb_presets,   &verb_operators,
                             NULL};

static const Verb *find_verb(const char *name)
{
    for (int i = 0; verbs[i]; i++)
        if (!strcmp(verbs[i]->name, name)) return verbs[i];
    return NULL;
}

/* The words that may stand first: the verbs, then the others. */
static const char *first_word(const void *from, int i)
{
    static const char *const others[] = {"help", "--help", "--version", NULL};
    int count = 0;
    (void)from;
    while (verbs[count]) count++;
    return i < count ? verbs[i]->name : others[i - count];
}

static int unknown_verb(const char *typed)
{
    const char *near = nearest_word(typed, first_word, NULL);
    const char *what = typed[0] == '-' ? "option" : "verb";
    return near ? options_misuse(NULL, "unknown %s '%s'; did you mean '%s'?", what, typed, near)
                : options_misuse(NULL, "unknown %s '%s'", what, typed);
}

static int help(const char *topic)
{
    const Verb *verb = topic ? find_verb(topic) : NULL;
    if (topic && !verb) return unknown_verb(topic);
    if (verb)
        options_help(verb, stdout);
    else
        options_overview(stdout);
    return EXIT_DONE;
}

static int run_verb(const Verb *verb, int argc, char **argv)
{
    Args args;
    int status = options_parse(verb, argc, argv, &args);
    if (status < 0) {
        progress_setup(args.quiet, args.verbose);
        progress_allow_symlinks(args.allow_symlinks);
        interrupt_setup();
        status = verb->pictures ? pictures_read(verb, &args) : -1;
        if (status < 0) status = plugins_load(&args) ? verb->run(verb, &args) : EXIT_BAD;
        progress_clear();
    }
    options_release(&args);
    return status;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        options_overview(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) return help(NULL);
    if (!strcmp(word, "help")) return help(argc > 2 ? argv[2] : NULL);
    if (!strcmp(word, "--version")) {
        printf("qonnx %s\n", qonnx_version());
        return EXIT_DONE;
    }
    const Verb *verb = find_verb(word);
    return verb ? run_verb(verb, argc - 1, argv + 1) : unknown_verb(word);
}

/* Fills closed standard streams, so that no file of ours gets their numbers: opened the wrong way
 * round, so that using them stays an error. */
static void fill_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF &&
            open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
            _exit(EXIT_BAD);
}

/* The signals of a crash, and who handled them before. */
static struct Crash {
    int number;
    const char *what; /* for people */
    struct sigaction before;
} crashes[] = {{.number = SIGSEGV, .what = ": crashed (segmentation fault)"},
               {.number = SIGFPE, .what = ": crashed (arithmetic fault)"},
               {.number = SIGILL, .what = ": crashed (illegal instruction)"},
               {.number = SIGABRT, .what = ": crashed (aborted)"},
               {.number = SIGBUS, .what = ": crashed (bus error)"}};
enum { CRASHES = sizeof crashes / sizeof *crashes };

/* The end, from a handler: what lies half written goes. */
static _Noreturn void leave(void)
{
    qonnx_scratch_remove_all();
    _exit(EXIT_BAD);
}

/* oneDNN has crashed: where it gets no memory, it throws what C cannot catch, or goes on without.
 * Memory is as short now as it was then, but for what a single piece asked for. */
static _Noreturn void onednn_crashed(int number, const char *what)
{
    const size_t some = (size_t)64 << 20;
    void *memory = mmap(NULL, some, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    qonnx_last_words();
    if (memory == MAP_FAILED || number == SIGABRT)
        say_in_handler("out of memory", "");
    else
        say_in_handler("oneDNN", what);
    leave();
}

/* C++ has no handler for an exception. Its library tells of it in words of its own: right for a
 * plugin, while for oneDNN the signal says enough. */
static void (*unhandled_before)(void);

static void unhandled(void)
{
    if (unhandled_before && !qonnx_onednn_running()) unhandled_before();
    abort();
}

/* std::set_terminate(), where there is a C++ library in the process. An exception that passes
 * through the C library makes that load its unwinder, which fails with a message of its own where
 * memory is out: backtrace() makes it do so now. */
static void exceptions_setup(void)
{
    void (*(*set)(void (*)(void)))(void) = NULL;
    void *here;
    *(void **)&set = dlsym(RTLD_DEFAULT, "_ZSt13set_terminatePFvvE");
    if (!set) return;
    unhandled_before = set(unhandled);
    backtrace(&here, 1);
}

/* A plugin that crashes is named. A bus error of ours is a mapped file that lost the page which is
 * being read: there is nothing to go on with. All else is a bug, left to whoever wants to see it.
 */
static void crashed(int number, siginfo_t *info, void *context)
{
    (void)context;
    const char *cut = number == SIGBUS ? qonnx_file_at(info->si_addr) : NULL;
    const char *running = qonnx_plugin_running();
    for (size_t i = 0; i < CRASHES; i++) {
        if (crashes[i].number != number) continue;
        if (running) say_in_handler(running, crashes[i].what);
        if (!running && number != SIGBUS && qonnx_onednn_running())
            onednn_crashed(number, crashes[i].what);
        if (!running && number == SIGBUS)
            say_in_handler(cut ? cut : "a file", ": was cut short while it was read; try again");
        if (running || number == SIGBUS) leave();
        sigaction(number, &crashes[i].before, NULL); /* and it comes again */
    }
}

/* Handlers on a stack of their own: a plugin may have used up the usual one. */
static void crash_setup(void)
{
    static char room[1 << 16];
    struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaltstack(&(stack_t){.ss_sp = room, .ss_size = sizeof room}, NULL);
    for (size_t i = 0; i < CRASHES; i++)
        sigaction(crashes[i].number, &action, &crashes[i].before);
}

static bool at_its_end; /* main() has a status to return */

/* Whoever calls exit() within a plugin, or ends the thread, leaves work undone: that is no success.
 * Temporary files are gone by now: what removes them was registered later, so it ran before. */
static void exit_seen(int status, void *user)
{
    const char *running = qonnx_plugin_running();
    (void)user;
    if (at_its_end || (!running && status != EXIT_DONE)) return;
    say_in_handler(running ? running : "a thread of a plugin",
                   ": ended the program (exit) or its thread (pthread_exit) instead of returning");
    _exit(EXIT_BAD);
}

/* quick_exit() does without the handlers of exit(): so it goes through them. */
static void quick_exit_seen(void) { exit(EXIT_DONE); }

/* malloc for JSON, whose builders lose a part without a word where memory is out. */
static void *json_memory(size_t bytes)
{
    void *p = malloc(bytes);
    if (!p) qonnx_out_of_memory();
    return p;
}

int main(int argc, char **argv)
{
    fill_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* so that writing past a limit fails as on a full disk */
    crash_setup();
    exceptions_setup();
    on_exit(exit_seen, NULL);
    at_quick_exit(quick_exit_seen);
    json_set_alloc_funcs(json_memory, free);
    int status = dispatch(argc, argv);
    bool lost = ferror(stdout);
    if (fclose(stdout) || lost) {
        complain("standard output: %s", strerror(errno));
        if (status == EXIT_DONE) status = EXIT_BAD;
    }
    at_its_end = true;
    return status;
}
