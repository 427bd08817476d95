/* cli/options.h - the command line: one table of options a verb, from which the help is printed,
 * getopt's arrays are built and the defaults are set, so that none can drift from the others.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Exit statuses of the command. */
enum { EXIT_DONE = 0, EXIT_BAD = 1, EXIT_USAGE = 2, EXIT_SIGNAL = 128 /* and its number */ };

/* An option that may be given again, in order. */
typedef struct List {
    const char **text; /* [count]; NULL: none */
    int count;         /* times it was given */
    struct List *next; /* of those that were */
} List;

/* --shard I/N. */
typedef struct ShardArg {
    long index; /* from 1 */
    long of;    /* how many there are; 0: not given */
} ShardArg;

/* What the command line says, for all verbs; a verb reads the fields its options name. */
typedef struct Args {
    char **operands;         /* what is no option, in order */
    int noperand;            /* number of operands */
    List *lists;             /* those below that were given, for options_release */
    List data;               /* --data */
    List shapes;             /* --shape: SIZES or INPUT=SIZES */
    List passes;             /* --pass: PASS or PASS@AFTER */
    List plugins;            /* --plugin: files */
    List calibrations;       /* --calibration: .qcal files */
    List exclude, only;      /* --exclude, --only: patterns of nodes */
    List overrides;          /* --overrides: JSON files */
    List metrics;            /* --metric: NAME or NAME{...} */
    ShardArg shard;          /* --shard */
    const char *output;      /* -o */
    const char *labels;      /* --labels */
    const char *engine;      /* --engine */
    const char *target;      /* --target */
    const char *observer;    /* --observer; NULL: the pass's default */
    const char *format;      /* --format: "qdq" or "qoperator" */
    const char *activations; /* --activations; NULL: the target's */
    const char *weights;     /* --weights; NULL: the target's, a scale per channel */
    const char *prefix;      /* --prefix: of the files and functions of compiled C */
    const char *io;          /* --io: "float" or "int8" */
    const char *pipeline;    /* --pipeline; NULL: made from the other options */
    const char *dump_after;  /* --dump-after: name of a pass */
    const char *preset;      /* --preset: name of a preprocessing */
    const char *preprocess;  /* --preprocess: a JSON file of one */
    const char *resize, *crop, *pad, *color, *scale, *mean, *std; /* fields of one, as they are */
    const char *input_layout, *input_type, *background;           /* called in its text */
    bool no_exif;            /* --no-exif */
    char *pictures;          /* all that as text; NULL: nothing of it is given; malloc'd */
    char *origin;            /* and in a few words, "preset tf"; malloc'd */
    bool of_model;           /* it is what a model says, not the user */
    long jobs;               /* -j; 0: one per core */
    long limit;              /* --limit; 0: all samples */
    long random;             /* --random: the seed; -1: not given */
    const char *npy;         /* --npy: "shape", "sample" or "batch" */
    long check_samples;      /* --check-samples; 0: none */
    bool strict;             /* --strict */
    size_t max_memory;       /* --max-memory, bytes; 0: the library's limits */
    double rtol, atol;       /* --rtol, --atol */
    double max_bad;          /* --max-bad, percent */
    double metric_timeout;   /* --metric-timeout, seconds; 0: none */
    bool costs;              /* --costs */
    double checkpoint;       /* --checkpoint, seconds; 0: none is written */
    bool allow_nonfinite;    /* --allow-nonfinite */
    bool no_correct_bias;    /* --no-correct-bias */
    bool optimize;           /* --optimize */
    bool mixed;              /* --mixed */
    double min_sqnr;         /* --min-sqnr, dB; 0: any */
    size_t max_size;         /* --max-size, bytes; 0: any */
    const char *max_drop;    /* --max-drop, per cent; NULL: any */
    bool requantize;         /* --requantize */
    bool fix_shape;          /* --fix-shape */
    bool check;              /* --check */
    bool force;              /* --force */
    bool resume;             /* --resume */
    bool fake_quant;         /* --fake-quant */
    bool compiled;           /* --compiled */
    bool layers;             /* --layers */
    long sensitivities;      /* --sensitivities */
    bool no_times;           /* --no-times */
    bool allow_symlinks;     /* --allow-symlinks */
    bool json;               /* --json */
    bool quiet;              /* -q */
    bool verbose;            /* -v */
    bool help;               /* -h */
} Args;

typedef enum OptionKind {
    OPTION_FLAG,   /* bool, set to true */
    OPTION_TEXT,   /* const char * */
    OPTION_CHOICE, /* const char *, one of the words in `value` */
    OPTION_LIST,   /* List: may be given again */
    OPTION_COUNT,  /* long, >= 0 */
    OPTION_SIZE,   /* size_t, bytes: a number, or one with K, M, G or T behind it */
    OPTION_SHARD,  /* ShardArg: I/N */
    OPTION_REAL    /* double, >= 0 */
} OptionKind;

typedef struct Option {
    const char *name;   /* long name, without the dashes; the table ends with NULL */
    char letter;        /* short name; 0: none */
    OptionKind kind;    /* type of the field, and how it is read */
    size_t field;       /* offset in Args */
    const char *value;  /* "FILE" or "a|b|c", as the help shows it; NULL for flags */
    const char *preset; /* default, as one would type it; NULL: zero */
    const char *help;   /* one line or more, separated by \n */
} Option;

/* The row of --max-memory, for verbs that run a model. */
#define MAX_MEMORY_OPTION                                                                          \
    {                                                                                              \
        "max-memory", 0, OPTION_SIZE, offsetof(Args, max_memory), "SIZE", "0",                     \
            "what one run of the model may take in a thread: 800M,\n"                              \
            "2G; 0: what the machine has, and at most 1G and 256\n"                                \
            "times the bytes of the model and of one sample"                                       \
    }

/* The rows of --random and --npy, for verbs that read samples. */
#define OPTION_RANDOM                                                                              \
    {                                                                                              \
        "random", 0, OPTION_COUNT, offsetof(Args, random), "SEED", NULL,                           \
            "take those of --limit at random instead; the same ones\n"                             \
            "for a seed on every machine"                                                          \
    }
#define OPTION_NPY                                                                                 \
    {                                                                                              \
        "npy", 0, OPTION_CHOICE, offsetof(Args, npy), "shape|sample|batch", "shape",               \
            "what an array in a .npy or .npz file is: as its shape\n"                              \
            "says, one sample, or samples along its first axis"                                    \
    }

/* The rows of --data and --metric-timeout, for verbs that score models on samples. */
#define OPTION_SCORED_DATA                                                                         \
    {                                                                                              \
        "data", 0, OPTION_LIST, offsetof(Args, data), "DATA", NULL,                                \
            "samples: PATH, or NAME=PATH once per input;\n"                                        \
            "required"                                                                             \
    }
#define OPTION_METRIC_TIMEOUT                                                                      \
    {                                                                                              \
        "metric-timeout", 0, OPTION_REAL, offsetof(Args, metric_timeout), "SECONDS", "600",        \
            "how long a program may take; 0: any time"                                             \
    }

/* The row of --force, for verbs that add statistics. */
#define OPTION_FORCE                                                                               \
    {                                                                                              \
        "force", 0, OPTION_FLAG, offsetof(Args, force), NULL, NULL,                                \
            "add statistics that differ in model, passes or engine,\n"                             \
            "or count samples twice; a warning says in what"                                       \
    }

typedef struct Verb {
    const char *name;      /* "quantize" */
    const char *brief;     /* one line for `qonnx --help` */
    const char *forms;     /* what follows "qonnx NAME ", one form a line */
    const char *text;      /* what it does: a paragraph */
    const char *examples;  /* whole command lines, one a line */
    void (*more)(FILE *f); /* prints what the help tells behind the options; NULL: nothing */
    const Option *options; /* its own */
    bool samples;          /* has those of verbs that run samples: -j, --engine, --limit */
    bool pictures;         /* has the options that say how pictures become samples */
    bool json;             /* has --json */
    bool plugins;          /* has --plugin */
    bool modelless;        /* its operands are no models: it has none of their options */
    bool streams;          /* -o - is standard output */
    bool data_operands;    /* its operands from the second on are as good as --data */
    int least, most;       /* operands; most -1: any number */
    int (*run)(const struct Verb *verb, const Args *args); /* returns the exit status */
} Verb;

extern const Verb verb_inspect, verb_calibrate, verb_merge, verb_quantize, verb_compile, verb_run,
    verb_evaluate, verb_explain, verb_lint, verb_operators, verb_passes, verb_presets, verb_preview,
    verb_report;

/* The verbs in the order of the help; ends with NULL. */
extern const Verb *const verbs[];

/* Reads argv (argv[0] is the verb) into `args`. Returns -1 to go on, else the exit status: usage
 * errors have been printed. */
int options_parse(const Verb *verb, int argc, char **argv, Args *args);
void options_release(Args *args);

/* The help of the command, and of one verb. */
void options_overview(FILE *f);
void options_help(const Verb *verb, FILE *f);

/* Prints a usage error and where the help is; returns EXIT_USAGE. */
int options_misuse(const Verb *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Word i of a list, which `from` holds; NULL past its end. */
typedef const char *word_at_fn(const void *from, int i);

/* The word of the list nearest to what was typed, by edit distance; NULL when none is near. */
const char *nearest_word(const char *typed, word_at_fn *word_at, const void *from);

#endif
