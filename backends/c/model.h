/* backends/c/model.h - a Program being printed: its parts, named. */
#ifndef BACKENDS_C_MODEL_H
#define BACKENDS_C_MODEL_H

#include "backends/c/sources.h"
#include "backends/c/text.h"
#include "lower/program.h"
#include "lower/quantized.h"

enum { C_ALIGN = 16 }; /* of the arena, of what lies in it, and of weights apart */

/* An input or output of the run function. */
typedef struct CPort {
    const Port *port;
    const char *name;   /* of the model's input or output */
    const char *ctype;  /* of its elements */
    bool quantized;     /* it takes or gives the integers behind the model's float tensor */
    QuantParams params; /* then */
    int size;           /* the output that says how much of this one there is; -1: all of it */
    int size_axis;      /* along that axis */
} CPort;

/* A constant, as the generated code holds it. */
typedef struct CConstant {
    const char *ctype; /* of its elements */
    const void *data;
    size_t count;  /* elements */
    size_t offset; /* in the file of weights */
    int call;      /* the first call that reads it */
} CConstant;

/* A program, the model's or one that a call runs, which is a function in C. */
typedef struct CProgram {
    const Program *program;
    int first; /* the number of its first call among all */
} CProgram;

/* How pixels become an input. */
typedef struct CPixels {
    int input;                 /* its number */
    const struct Table *table; /* a pixel's byte to an element, by channel of the input */
    int channels;              /* of both: 1 or 3 */
    bool bgr;                  /* the input's order; pixels are RGB */
    bool last;                 /* the input's channels are its last axis */
    size_t width, height;      /* pixels */
    const char *line;          /* the preprocessing in words */
    uint8_t *sample;           /* [height][width][channels], the self-test's */
} CPixels;

typedef struct CModel {
    Ctx *cx;
    Arena *arena; /* the strings and lists below */
    Program *program;
    const char *file;   /* the model's file, without directories */
    const char *prefix; /* "resnet8" */
    const char *upper;  /* "RESNET8" */
    bool weights_apart; /* in NAME.bin instead of NAME.c */
    CPort *in, *out;    /* [program->ninput], [program->noutput] */
    CPixels *pixels;    /* there is a NAME_image; NULL: there is none */
    CProgram
        *programs; /* [nprogram]; those that calls run come before these, the model's is last */
    int nprogram, program_cap;
    const Call **calls; /* [ncall], of all programs */
    int ncall, call_cap;
    CConstant *constants;
    int nconstant, constant_cap;
    int **used; /* by call and input: the constant that is read there, -1 for none */
    size_t weights;           /* bytes of all constants; those of NAME.bin */
    uint64_t weights_hash;    /* of NAME.bin */
    size_t arena_bytes;       /* what the run function wants, at least C_ALIGN */
} CModel;

/* source.c: numbers the calls of a program and of those that it runs. */
void c_list_calls(CModel *m, const Program *p);

/* constants.c: finds the constants, packs weights. False: one cannot be a constant in C. */
bool c_constants(CModel *m);

/* Whether its bytes are the same however a compiler contracts float expressions. */
bool c_is_integer(const CModel *m);

/* What the generated files hold. */
void c_print_header(const CModel *m, FILE *f);
void c_print_source(const CModel *m, FILE *f);
void c_print_weights(const CModel *m, FILE *f);
void c_print_makefile(const CModel *m, FILE *f);
/* `inputs` and the outputs that they give: [ninput] and [noutput]. */
void c_print_selftest(const CModel *m, const Tensor *inputs, const Tensor *outputs, FILE *f);

/* pixels.c: makes m->pixels of the text of a preprocessing. */
bool c_pixels(CModel *m, const char *text);
/* NAME_image in NAME.h and NAME.c; nothing where there is none. */
void c_print_pixels_header(const CModel *m, FILE *f);
void c_print_pixels(const CModel *m, FILE *f);
/* Does here what NAME_image does. */
void c_fill_pixels(const CPixels *px, const uint8_t *pixels, void *input);

/* files.c: one of the files, in memory, in the order in which they get into their places. */
enum { C_HEADER, C_WEIGHTS, C_SOURCE, C_MAKEFILE, C_TEST, C_FILES };
typedef struct CFile {
    char *text;   /* [size], malloc'd; NULL: there is no such file */
    size_t size;  /* bytes of text */
    FILE *stream; /* writes text */
} CFile;

/* Begins a file, and ends it; false: memory was out. */
FILE *c_file_begin(CFile *f);
bool c_file_end(CFile *f);
/* XXH3 of what was written so far. */
uint64_t c_file_hash(CFile *f);
/* Fails when one of the files in that directory is an input. */
bool c_files_spared(const CModel *m, const char *directory);
/* Puts all files into their places, or none. A NAME.bin that is of no use any more goes, if qonnx
 * made it. */
bool c_files_write(const CModel *m, const char *directory, const CFile files[C_FILES]);
/* Says by what NAME.bin is known again: a sentence behind `lead`; nothing where there is none. */
void c_print_weights_line(const CModel *m, const char *lead, FILE *f);

/* The prototype of NAME_run, without what follows it; with the arena, or without. */
void c_print_signature(const CModel *m, bool with_arena, FILE *f);

/* The embedded header of that name, the kernel's prototype, its parameters' fields. */
const Source *source_find(const char *name);
const Prototype *prototype_find(const char *kernel);
const Fields *fields_find(const char *params);

#endif
