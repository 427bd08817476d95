/* cli/options.c - see options.h. */
#include "options.h"
#include "progress.h"
#include <qonnx/run.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_LONG = 256 };

static const Option sample_options[] = {
    {"jobs", 'j', OPTION_COUNT, offsetof(Args, jobs), "N", "0",
     "samples in parallel; 0: one per core"},
    {"engine", 0, OPTION_CHOICE, offsetof(Args, engine), "auto|onednn|portable", "auto",
     "what computes in float; `portable` gives the same\n"
     "bytes on every machine, `auto` is oneDNN if built in"},
    {"limit", 0, OPTION_COUNT, offsetof(Args, limit), "N", "0",
     "take N samples, spread evenly; 0: all"},
    OPTION_RANDOM,
    OPTION_NPY,
    MAX_MEMORY_OPTION,
    {.name = NULL},
};

/* How pictures become samples. */
static const Option picture_options[] = {
    {"preset", 0, OPTION_TEXT, offsetof(Args, preset), "NAME", NULL,
     "prepare pictures as a library does: torchvision, tf,\n"
     "caffe, clip, yolo, ...; 'qonnx presets' lists them"},
    {"preprocess", 0, OPTION_TEXT, offsetof(Args, preprocess), "FILE.json", NULL,
     "prepare pictures as a file says: our own form, a\n"
     "preprocessor_config.json, timm's config.json"},
    {"resize", 0, OPTION_TEXT, offsetof(Args, resize), "RULE", NULL,
     "short:256, 256x192 (width x height), long:640,\n"
     "letterbox:640 or none; {engine=pillow|opencv|tf|\n"
     "torchvision,filter=bilinear|...,round=down|even}\n"
     "may stand behind it"},
    {"crop", 0, OPTION_TEXT, offsetof(Args, crop), "SIZE", NULL,
     "cut out of the middle: 224, 256x192 or none;\n"
     "{round=down|even} may stand behind it"},
    {"pad", 0, OPTION_TEXT, offsetof(Args, pad), "N", NULL,
     "value around a letterbox, or what is smaller than the\n"
     "crop; {at=center|end} may stand behind it"},
    {"color", 0, OPTION_TEXT, offsetof(Args, color), "rgb|bgr|gray", NULL,
     "order of the channels; default: gray for one, else RGB"},
    {"scale", 0, OPTION_TEXT, offsetof(Args, scale), "1/N", NULL,
     "first divide values, 0 to 255, by N; or multiply"},
    {"mean", 0, OPTION_TEXT, offsetof(Args, mean), "N[,N,N]", NULL,
     "then subtract, by channel of the input"},
    {"std", 0, OPTION_TEXT, offsetof(Args, std), "N[,N,N]", NULL,
     "then divide, by channel of the input"},
    {"input-layout", 0, OPTION_TEXT, offsetof(Args, input_layout), "nchw|nhwc", NULL,
     "where the input's shape does not tell"},
    {"input-type", 0, OPTION_TEXT, offsetof(Args, input_type), "TYPE", NULL,
     "float, float16, bfloat16, uint8 or int8; behind\n"
     "integers {scale=S,zero=Z}: value / S + Z"},
    {"no-exif", 0, OPTION_FLAG, offsetof(Args, no_exif), NULL, NULL,
     "do not turn pictures as their EXIF data says"},
    {"background", 0, OPTION_TEXT, offsetof(Args, background), "R,G,B", NULL,
     "what transparent pixels are laid on; default: their\n"
     "colour without alpha"},
    {.name = NULL},
};

static const Option json_options[] = {
    {"json", 0, OPTION_FLAG, offsetof(Args, json), NULL, NULL,
     "print one JSON object instead of text"},
    {.name = NULL},
};

static const Option plugin_options[] = {
    {"plugin", 0, OPTION_LIST, offsetof(Args, plugins), "FILE", NULL,
     "load the passes and observers of a shared object"},
    {.name = NULL},
};

/* Every verb that takes a model has these. */
static const Option model_options[] = {
    {"shape", 0, OPTION_LIST, offsetof(Args, shapes), "[INPUT=]SIZES", NULL,
     "give open dimensions of an input a size, as in\n"
     "--shape x=1,3,640,640; INPUT= may be left out where\n"
     "there is one; once per input"},
    {"allow-symlinks", 0, OPTION_FLAG, offsetof(Args, allow_symlinks), NULL, NULL,
     "read external data behind symbolic links, wherever\n"
     "they lead (-v tells)"},
    {.name = NULL},
};

/* Every verb has these. */
static const Option common_options[] = {
    {"quiet", 'q', OPTION_FLAG, offsetof(Args, quiet), NULL, NULL,
     "no progress, no warnings, no summary"},
    {"verbose", 'v', OPTION_FLAG, offsetof(Args, verbose), NULL, NULL,
     "notes, and where the time went"},
    {"help", 'h', OPTION_FLAG, offsetof(Args, help), NULL, NULL, "print this help"},
    {.name = NULL},
};

/* The rows of a verb, its own first: [*count], malloc'd. */
static const Option **rows_of(const Verb *verb, int *count)
{
    const Option *const tables[] = {verb->options, verb->samples ? sample_options : NULL,
                                    verb->pictures ? picture_options : NULL,
                                    verb->plugins ? plugin_options : NULL,
                                    verb->most && !verb->modelless ? model_options : NULL,
                                    verb->json ? json_options : NULL, common_options};
    enum { TABLES = sizeof tables / sizeof *tables };
    size_t room = 1;
    for (size_t i = 0; i < TABLES; i++)
        for (const Option *o = tables[i]; o && o->name; o++) room++;
    const Option **rows = needed(calloc(room, sizeof *rows));
    *count = 0;
    for (size_t i = 0; i < TABLES; i++)
        for (const Option *o = tables[i]; o && o->name; o++) rows[(*count)++] = o;
    return rows;
}

/* ---- words ----------------------------------------------------------------------------------- */

/* Levenshtein's distance; words longer than the table are compared by their beginnings. */
static int edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    int row[LONGEST + 1], na = (int)strnlen(a, LONGEST), nb = (int)strnlen(b, LONGEST);
    for (int j = 0; j <= nb; j++) row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            int add = row[j] + 1, drop = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < add ? change : add;
            if (drop < row[j]) row[j] = drop;
        }
    }
    return row[nb];
}

const char *nearest_word(const char *typed, word_at_fn *word_at, const void *from)
{
    int best = 1 + (int)(strlen(typed) / 3);
    const char *found = NULL;
    const char *word;
    for (int i = 0; (word = word_at(from, i)); i++) {
        int d = edit_distance(typed, word);
        bool begins = typed[0] && typed[1] && !strncmp(word, typed, strlen(typed));
        if (begins) d = 0;
        if (d <= best && (!found || d < best)) {
            best = d;
            found = word;
        }
    }
    return found;
}

int options_misuse(const Verb *verb, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    complain_list(fmt, list);
    va_end(list);
    fprintf(stderr, "Try 'qonnx %s%s--help'.\n", verb ? verb->name : "", verb ? " " : "");
    return EXIT_USAGE;
}

/* ---- help ------------------------------------------------------------------------------------ */

/* Prints lines, each behind `first` or `next`. */
static void print_lines(FILE *f, const char *first, const char *next, const char *lines)
{
    for (const char *lead = first; lines; lead = next) {
        const char *end = strchr(lines, '\n');
        fprintf(f, "%s%.*s\n", lead, end ? (int)(end - lines) : (int)strlen(lines), lines);
        lines = end ? end + 1 : NULL;
    }
}

static void print_option(FILE *f, const Option *o)
{
    enum { COLUMN = 30 };
    static const char indent[] = "                              ";
    char head[96];
    int n = snprintf(head, sizeof head, "  %c%c%s --%s%s%s", o->letter ? '-' : ' ',
                     o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                     o->value ? " " : "", o->value ? o->value : "");
    if (n > COLUMN - 2)
        fprintf(f, "%s\n%s", head, indent);
    else
        fprintf(f, "%-*s", COLUMN, head);
    print_lines(f, "", indent, o->help);
    bool telling = o->preset && strcmp(o->preset, "0");
    if (telling) fprintf(f, "%s(default: %s)\n", indent, o->preset);
}

void options_help(const Verb *verb, FILE *f)
{
    char lead[64], next[64];
    snprintf(lead, sizeof lead, "Usage: qonnx %s ", verb->name);
    snprintf(next, sizeof next, "       qonnx %s ", verb->name);
    print_lines(f, lead, next, verb->forms);
    fprintf(f, "\n%s\n\nOptions:\n", verb->text);
    int count;
    const Option **rows = rows_of(verb, &count);
    for (int i = 0; i < count; i++) print_option(f, rows[i]);
    free(rows);
    if (verb->more) verb->more(f);
    fprintf(f, "\nExamples:\n");
    print_lines(f, "  ", "  ", verb->examples);
}

void options_overview(FILE *f)
{
    fprintf(f, "Usage: qonnx VERB [OPTION]... MODEL [OPERAND]...\n\n"
               "Turns float ONNX models into models that run in integers.\n\nVerbs:\n");
    for (int i = 0; verbs[i]; i++) fprintf(f, "  %-11s %s\n", verbs[i]->name, verbs[i]->brief);
    fprintf(f, "\n'qonnx VERB --help' and 'qonnx help VERB' tell the options of a verb;\n"
               "'qonnx --version' prints the version.\n\nExamples:\n"
               "  qonnx quantize model.onnx --data photos/ -o model.int8.onnx\n"
               "  qonnx evaluate model.onnx model.int8.onnx --data test/\n"
               "  qonnx inspect model.onnx\n\n"
               "Exit status: 0 done, 1 bad input or a check failed, 2 usage.\n");
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Whether `word` is one of the words of "a|b|c". */
static bool is_choice(const char *choices, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = choices; p && n; p = strchr(p, '|'), p = p ? p + 1 : NULL)
        if (!strncmp(p, word, n) && (p[n] == '|' || !p[n])) return true;
    return false;
}

static bool read_count(const char *text, long *out)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < 0 || value > 1000000000) return false;
    *out = value;
    return true;
}

/* "1024", "800M", "1.5G", "2GiB": powers of 1024. */
static bool read_size(const char *text, size_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(text, &end);
    const char *unit = end > text && *end ? strchr(units, *end & ~0x20) : NULL;
    for (const char *u = units; unit && u <= unit; u++) value *= 1024;
    if (unit) end += strcasecmp(end + 1, "iB") ? strcasecmp(end + 1, "B") ? 1 : 2 : 3;
    if (end == text || *end || !(value >= 0 && value < 0x1p62)) return false;
    *out = (size_t)value;
    return true;
}

static bool read_real(const char *text, double *out)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0)) return false;
    *out = value;
    return true;
}

/* "2/7": the second of seven. */
static bool read_shard(const char *text, ShardArg *out)
{
    const char *slash = strchr(text, '/');
    char first[16];
    if (!slash || (size_t)(slash - text) >= sizeof first) return false;
    snprintf(first, sizeof first, "%.*s", (int)(slash - text), text);
    return read_count(first, &out->index) && read_count(slash + 1, &out->of) && out->index >= 1 &&
           out->index <= out->of && out->of <= QONNX_MOST_SHARDS;
}

static void list_add(Args *args, List *l, const char *text)
{
    if (!l->text) {
        l->next = args->lists;
        args->lists = l;
    }
    l->text = needed(reallocarray(l->text, (size_t)l->count + 1, sizeof *l->text));
    l->text[l->count++] = text;
}

/* Puts one option's text into its field. */
static bool assign(Args *args, const Option *o, const char *text)
{
    char *field = (char *)args + o->field;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case OPTION_CHOICE:
        if (!is_choice(o->value, text)) return false;
        *(const char **)field = text;
        return true;
    case OPTION_TEXT:
        *(const char **)field = text;
        return true;
    case OPTION_LIST: list_add(args, (List *)field, text); return true;
    case OPTION_COUNT:
        return read_count(text, (long *)field);
    case OPTION_SIZE:
        return read_size(text, (size_t *)field);
    case OPTION_SHARD:
        return read_shard(text, (ShardArg *)field);
    case OPTION_REAL:
        return read_real(text, (double *)field);
    }
    return false;
}

/* A verb's rows in the forms that getopt_long wants; all malloc'd. */
typedef struct Parser {
    const Option **rows;  /* [count] */
    const char **given;   /* [count] what the command line gave a row last; NULL: nothing */
    struct option *longs; /* [count + 1]; val is FIRST_LONG + index into rows */
    char *shorts;         /* begins with ':' */
    int count;            /* rows */
} Parser;

static Parser parser_of(const Verb *verb)
{
    Parser p = {0};
    p.rows = rows_of(verb, &p.count);
    size_t room = (size_t)p.count + 1, at = 1;
    p.given = needed(calloc(room, sizeof *p.given));
    p.longs = needed(calloc(room, sizeof *p.longs));
    p.shorts = needed(calloc(room + 1, 2));
    p.shorts[0] = ':';
    for (int i = 0; i < p.count; i++) {
        const Option *o = p.rows[i];
        int takes = o->kind == OPTION_FLAG ? no_argument : required_argument;
        if (o->letter) p.shorts[at++] = o->letter;
        if (o->letter && takes) p.shorts[at++] = ':';
        p.longs[i] = (struct option){o->name, takes, NULL, FIRST_LONG + i};
    }
    return p;
}

static void parser_free(Parser *p)
{
    free(p->rows);
    free(p->given);
    free(p->longs);
    free(p->shorts);
}

/* The index of the row of what getopt returned, which knows no others. */
static int parser_row(const Parser *p, int code)
{
    int i = code >= FIRST_LONG ? code - FIRST_LONG : 0;
    if (code < FIRST_LONG)
        while (i < p->count - 1 && p->rows[i]->letter != code) i++;
    return i;
}

/* The name of row i; NULL past the end. */
static const char *row_name(const void *from, int i)
{
    const Parser *p = from;
    return i < p->count ? p->rows[i]->name : NULL;
}

/* Says what is wrong where getopt returned '?'. */
static int unknown_option(const Verb *verb, const Parser *p, const char *word)
{
    if (optopt >= FIRST_LONG)
        return options_misuse(verb, "option '--%s' takes no value",
                              p->rows[parser_row(p, optopt)]->name);
    if (optopt) return options_misuse(verb, "unknown option '-%c'", optopt);
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const char *near = nearest_word(typed, row_name, p);
    return near ? options_misuse(verb, "unknown option '--%s'; did you mean '--%s'?", typed, near)
                : options_misuse(verb, "unknown option '--%s'", typed);
}

static int check_operands(const Verb *verb, const Args *args)
{
    if (args->noperand < verb->least)
        return options_misuse(verb, "%s: too few operands: wants %.*s", verb->name,
                              (int)strcspn(verb->forms, "\n"), verb->forms);
    if (verb->most >= 0 && args->noperand > verb->most)
        return options_misuse(verb, "%s: unexpected operand '%s'", verb->name,
                              args->operands[verb->most]);
    return -1;
}

/* Reads one option. Returns -1, or the status of a usage error. */
static int take_option(const Verb *verb, Parser *p, int i, const char *text, Args *args)
{
    const Option *o = p->rows[i];
    const char *wants = o->kind == OPTION_COUNT  ? "a whole number"
                        : o->kind == OPTION_SIZE ? "a size as 800M or 2G"
                        : o->kind == OPTION_REAL ? "a number >= 0"
                                                 : o->value;
    bool one = o->kind != OPTION_FLAG && o->kind != OPTION_LIST;
    if (one && p->given[i])
        return options_misuse(verb, "option '--%s' is given twice, as '%s' and as '%s'; it has one "
                                    "value",
                              o->name, p->given[i], text);
    p->given[i] = text;
    if (o->field == offsetof(Args, output) && !strcmp(text, "-") && !verb->streams)
        return options_misuse(verb, "option '--%s' wants %s, not '-': nothing is written to "
                                    "standard output; './-' is a file of that name",
                              o->name, wants);
    if (assign(args, o, text)) return -1;
    return options_misuse(verb, "option '--%s' wants %s, not '%s'", o->name, wants, text);
}

/* Reads all options. Returns -1, or the status of a usage error. */
static int take_options(const Verb *verb, Parser *p, int argc, char **argv, Args *args)
{
    opterr = 0;
    optind = 0; /* from the beginning, whatever was parsed before */
    for (int c, status; (c = getopt_long(argc, argv, p->shorts, p->longs, NULL)) != -1;) {
        if (c == '?') return unknown_option(verb, p, argv[optind - 1]);
        int i = parser_row(p, c == ':' ? optopt : c);
        if (c == ':')
            return options_misuse(verb, "option '--%s' wants %s", p->rows[i]->name,
                                  p->rows[i]->value);
        status = take_option(verb, p, i, optarg, args);
        if (status >= 0) return status;
    }
    return -1;
}

int options_parse(const Verb *verb, int argc, char **argv, Args *args)
{
    *args = (Args){.random = -1};
    Parser p = parser_of(verb);
    for (int i = 0; i < p.count; i++)
        if (p.rows[i]->preset) assign(args, p.rows[i], p.rows[i]->preset);
    int status = take_options(verb, &p, argc, argv, args);
    parser_free(&p);
    if (status >= 0) return status;
    args->operands = argv + optind;
    args->noperand = argc - optind;
    for (int i = 1; verb->data_operands && i < args->noperand; i++)
        list_add(args, &args->data, args->operands[i]);
    if (args->help) {
        options_help(verb, stdout);
        return EXIT_DONE;
    }
    return check_operands(verb, args);
}

void options_release(Args *args)
{
    for (List *l = args->lists; l; l = l->next) free(l->text);
    free(args->pictures);
    free(args->origin);
}
