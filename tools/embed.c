/* tools/embed.c - reads the kernels' headers while building, and writes
 *
 *   embed TEXTS.c LIST.h UNIT.c... -- HEADER...
 *
 * TEXTS.c holds the headers as byte arrays, for backends/c, with what that needs to know of them
 * (backends/c/sources.h). LIST.h lists the kernels, for kernels/kernels.c. The units compile the
 * kernels of a header each, the last ones of the list.
 *
 * It understands just the form that kernel headers have: `#include "x.h"` lines, functions that
 * begin in the first column and end with a brace there, kernels `KERNEL_RUN void x(const x_p
 * *restrict p, ...)`, their traits `KERNEL_TRAITS(x, WORD...)` (kernels/common.h), and parameter
 * structs `typedef struct x_p { ... } x_p;`.
 */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64, MOST = 256 }; /* length of a word, and the most of anything in a list */

/* Words of the text, ended by an empty one. */
typedef struct Words {
    char word[MOST][WORD];
    int count;
} Words;

/* A parameter struct. */
typedef struct Params {
    char name[WORD];
    Words fields;
    int nint, nfloat; /* fields of either type */
} Params;

/* A kernel. */
typedef struct Kernel {
    char name[WORD], params[WORD]; /* params: the name of its struct */
    const char *source;            /* its header, without the directory */
    Words types;                   /* what its arguments behind the first point to */
    int nin, nout;                 /* how many of them are inputs, and outputs behind them */
    unsigned in_place;             /* bit i: output 0 may be the memory of input i */
    bool packs;                    /* NAME_pack() and NAME_packed() are beside it */
    bool asks;                     /* NAME_in_place() is */
    bool contracts;                /* its bytes need -ffp-contract=off */
    char onednn[WORD];             /* what it is in oneDNN, or "" */
    Words packs_by;                /* fields that decide the packing; none: all */
} Kernel;

static Params structs[MOST];
static Kernel kernels[MOST];
static int nstruct, nkernel;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "embed: %s: %s\n", which, what);
    exit(1);
}

static void add(Words *w, const char *text, size_t n)
{
    if (w->count == MOST || n >= WORD) die("too many words, or one too long", text);
    memcpy(w->word[w->count], text, n);
    w->word[w->count++][n] = 0;
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) die("cannot be read", path);
    long size = ftell(f);
    rewind(f);
    char *text = calloc((size_t)size + 1, 1);
    if (!text || fread(text, 1, (size_t)size, f) != (size_t)size) die("cannot be read", path);
    fclose(f);
    return text;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool starts(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

static char *next_line(char *line)
{
    char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

/* ---- cutting ----------------------------------------------------------------------------------
 */

/* Takes [from, to) out of the text. */
static void cut(char *from, const char *to) { memmove(from, to, strlen(to) + 1); }

/* Takes out `#include "x.h"` lines, and notes the names. */
static void cut_includes(char *text, Words *needs)
{
    for (char *line = text; *line;) {
        if (!starts(line, "#include \"")) {
            line = next_line(line);
            continue;
        }
        char *name = strchr(line, '"') + 1;
        char *end = strchr(name, '"');
        char *slash = end;
        while (slash > name && slash[-1] != '/') slash--;
        add(needs, slash, (size_t)(end - slash));
        cut(line, next_line(line));
    }
}

/* Takes out `KERNEL_TRAITS(...)` lines. */
static void cut_traits(char *text)
{
    for (char *line = text; *line;) {
        if (!starts(line, "KERNEL_TRAITS(")) {
            line = next_line(line);
            continue;
        }
        char *end = next_line(strchr(line, ')'));
        cut(line, *end == '\n' ? end + 1 : end);
    }
}

/* Takes out functions that begin with `static inline`, each with the comment in front of it. */
static void cut_host_functions(char *text)
{
    char *comment = NULL, *last = NULL; /* the last comment in column one; the line before this */
    for (char *line = text; *line;) {
        if (starts(line, "/*")) comment = line;
        if (!starts(line, "static inline ")) {
            last = line;
            line = next_line(line);
            continue;
        }
        bool commented = comment && last && strstr(last, "*/") && strstr(last, "*/") < line;
        char *from = commented ? comment : line, *end = strstr(line, "\n}\n");
        if (!end) die("a function without an end", line);
        cut(from, end[3] == '\n' ? end + 4 : end + 3);
        line = from;
        last = comment = NULL;
    }
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* The words between `from` and `to`, comments left out; punctuation is one word a character. */
static Words words_of(const char *from, const char *to)
{
    Words w = {.count = 0};
    while (from < to) {
        const char *start = from;
        if (starts(from, "/*")) {
            from = strstr(from, "*/") + 2;
        } else if (isalnum((unsigned char)*from) || *from == '_') {
            while (isalnum((unsigned char)*from) || *from == '_') from++;
            add(&w, start, (size_t)(from - start));
        } else {
            if (!isspace((unsigned char)*from)) add(&w, start, 1);
            from++;
        }
    }
    return w;
}

static bool is(const Words *w, int at, const char *word)
{
    return at < w->count && !strcmp(w->word[at], word);
}

/* Reads ", const T *restrict name" and ", T *restrict name" from word `at` on; inputs come first.
 * An input without `restrict` may be the memory of the first output when that has none either. */
static bool read_types(const Words *w, int at, Kernel *k)
{
    unsigned shared = 0; /* inputs without restrict */
    while (at < w->count) {
        if (!is(w, at++, ",")) return false;
        bool input = is(w, at, "const");
        if (input && k->nout) return false;
        at += input;
        if (!is(w, at + 1, "*")) return false;
        add(&k->types, w->word[at], strlen(w->word[at]));
        k->contracts |= is(w, at, "float");
        at += 2;
        bool restricted = is(w, at, "restrict");
        if (input && !restricted && k->nin < 32) shared |= 1u << k->nin;
        if (!input && !k->nout && !restricted) k->in_place = shared;
        ++*(input ? &k->nin : &k->nout);
        at += restricted + 1;
    }
    return k->nout > 0;
}

/* Whether the text defines the host's function NAME_SUFFIX. */
static bool has_beside(const char *text, const char *type, const char *name, const char *suffix)
{
    char lead[2 * WORD + 32];
    snprintf(lead, sizeof lead, "\nstatic inline %s %s_%s(", type, name, suffix);
    return strstr(text, lead) != NULL;
}

/* Reads the words of KERNEL_TRAITS(NAME, ...), if it is there. */
static void read_traits(const char *text, Kernel *k)
{
    static const char form[] = "onednn_";
    char lead[2 * WORD];
    snprintf(lead, sizeof lead, "\nKERNEL_TRAITS(%s,", k->name);
    const char *at = strstr(text, lead);
    if (!at) return;
    Words w = words_of(at + strlen(lead), strchr(at, ')'));
    for (int i = 0; i < w.count; i++) {
        if (is(&w, i, ",")) continue;
        if (is(&w, i, "exact")) k->contracts = false;
        else if (is(&w, i, "floats")) k->contracts = true;
        else if (starts(w.word[i], "packs_"))
            add(&k->packs_by, w.word[i] + 6, strlen(w.word[i] + 6));
        else if (starts(w.word[i], form)) strcpy(k->onednn, w.word[i]);
        else die("no such trait", w.word[i]);
    }
}

/* Notes every kernel in the text. */
static void find_kernels(const char *text, const char *source)
{
    static const char lead[] = "\nKERNEL_RUN void ";
    for (const char *at = text; (at = strstr(at, lead)); at += sizeof lead) {
        const char *name = at + sizeof lead - 1, *open = strchr(name, '('),
                   *close = strchr(at, ')');
        if (nkernel == MOST || open - name >= WORD - 30)
            die("too many kernels, or too long", source);
        Kernel *k = &kernels[nkernel++];
        Words w = words_of(open + 1, close);
        memcpy(k->name, name, (size_t)(open - name));
        if (!is(&w, 0, "const") || !is(&w, 2, "*") || !is(&w, 3, "restrict") || !is(&w, 4, "p") ||
            !read_types(&w, 5, k))
            die("not 'const PARAMS *restrict p', pointers to const, pointers", k->name);
        strcpy(k->params, w.word[1]);
        k->source = source;
        k->packs = has_beside(text, "void", k->name, "pack");
        k->asks = has_beside(text, "int", k->name, "in_place");
        read_traits(text, k);
    }
}

/* Notes every parameter struct in the text. */
static void find_structs(const char *text)
{
    static const char lead[] = "\ntypedef struct ";
    for (const char *at = text; (at = strstr(at, lead)); at += sizeof lead) {
        const char *name = at + sizeof lead - 1, *open = strchr(name, '{'),
                   *close = strstr(at, "\n}");
        if (open - name < 4 || !starts(open - 3, "_p ")) continue;
        if (nstruct == MOST || open - name >= WORD) die("too many structs, or too long", name);
        Params *p = &structs[nstruct++];
        memcpy(p->name, name, (size_t)(open - 1 - name));
        Words w = words_of(open + 1, close);
        bool is_float = false;
        for (int i = 0; i < w.count; i++) {
            if (is(&w, i, "int32_t") || is(&w, i, "float")) {
                is_float = is(&w, i, "float");
            } else if (isalpha((unsigned char)w.word[i][0])) {
                add(&p->fields, w.word[i], strlen(w.word[i]));
                ++*(is_float ? &p->nfloat : &p->nint);
            }
        }
    }
}

static const Params *params_of(const Kernel *k)
{
    for (int i = 0; i < nstruct; i++)
        if (!strcmp(structs[i].name, k->params)) return &structs[i];
    die("no such parameter struct", k->params);
    return NULL;
}

/* ---- texts ------------------------------------------------------------------------------------
 */

static void print_bytes(FILE *out, int number, const char *text)
{
    fprintf(out, "static const unsigned char text_%d[] = {", number);
    for (size_t i = 0; text[i]; i++)
        fprintf(out, "%s%d,", i % 24 ? "" : "\n", (unsigned char)text[i]);
    fprintf(out, "\n};\n");
}

/* Prints "{"a", "b", NULL}" as a compound literal. */
static void print_words(FILE *out, const Words *w)
{
    fprintf(out, "(const char *const[]){");
    for (int i = 0; i < w->count; i++) fprintf(out, "\"%s\", ", w->word[i]);
    fprintf(out, "NULL}");
}

static void print_texts(FILE *out, char **text, char **path, int count)
{
    static Words needs[MOST];
    fprintf(out, "/* written by tools/embed.c */\n#include \"backends/c/sources.h\"\n\n");
    for (int i = 0; i < count; i++) {
        cut_includes(text[i], &needs[i]);
        cut_host_functions(text[i]);
        cut_traits(text[i]);
        print_bytes(out, i, text[i]);
    }
    fprintf(out, "\nconst Source kernel_sources[] = {\n");
    for (int i = 0; i < count; i++) {
        fprintf(out, "    {\"%s\", text_%d, sizeof text_%d, ", base_name(path[i]), i, i);
        print_words(out, &needs[i]);
        fprintf(out, "},\n");
    }
    fprintf(out, "    {.name = NULL},\n};\n\nconst Prototype kernel_prototypes[] = {\n");
    for (int i = 0; i < nkernel; i++) {
        const Kernel *k = &kernels[i];
        fprintf(out, "    {\"%s\", \"%s\", \"%s\", ", k->name, k->source, k->params);
        print_words(out, &k->types);
        fprintf(out, ", %s},\n", k->contracts ? "true" : "false");
    }
    fprintf(out, "    {.kernel = NULL},\n};\n\nconst Fields kernel_fields[] = {\n");
    for (int i = 0; i < nstruct; i++) {
        fprintf(out, "    {\"%s\", ", structs[i].name);
        print_words(out, &structs[i].fields);
        fprintf(out, "},\n");
    }
    fprintf(out, "    {.params = NULL},\n};\n");
}

/* ---- the list ---------------------------------------------------------------------------------
 */

/* Prints the file that compiles a header's kernels (kernels/row.h). */
static void print_unit(FILE *out, const char *source)
{
    fprintf(out, "/* written by tools/embed.c */\n#include \"kernels/%s\"\n", source);
    fprintf(out, "#include \"kernels/row.h\"\n\n");
    for (int i = 0; i < nkernel; i++) {
        const Kernel *k = &kernels[i];
        if (strcmp(k->source, source)) continue;
        const Params *p = params_of(k);
        const char *packed = k->types.word[1];
        fprintf(out, "RUN(%s, %s, %d", k->name, k->params, p->nint + p->nfloat);
        for (int n = 0; n < k->nin; n++) fprintf(out, ", in[%d]", n);
        for (int n = 0; n < k->nout; n++) fprintf(out, ", out[%d]", n);
        fprintf(out, ")\n");
        if (k->packs)
            fprintf(out, "PACK(%s, %s)\n", k->name, strcmp(packed, "void") ? packed : "int8_t");
        if (k->asks) fprintf(out, "ASK(%s)\n", k->name);
    }
}

/* The bits of the fields that decide the packing. */
static unsigned long long pack_fields(const Kernel *k, const Params *p)
{
    unsigned long long bits = 0;
    for (int i = 0; i < k->packs_by.count; i++) {
        int field = 0;
        while (field < p->fields.count && !is(&p->fields, field, k->packs_by.word[i])) field++;
        if (field == p->fields.count || field >= 64) die("no such field", k->packs_by.word[i]);
        bits |= 1ull << field;
    }
    return bits;
}

/* Prints the rows of the table (kernels/kernel.h). */
static void print_list(FILE *out)
{
    fprintf(out, "/* written by tools/embed.c */\n");
    for (int i = 0; i < nkernel; i++) {
        const Kernel *k = &kernels[i];
        fprintf(out, "DECLARE_RUN(%s)\n", k->name);
        if (k->packs) fprintf(out, "DECLARE_PACK(%s)\n", k->name);
        if (k->asks) fprintf(out, "DECLARE_ASK(%s)\n", k->name);
    }
    fprintf(out, "\n#define KERNEL_ROWS");
    for (int i = 0; i < nkernel; i++) {
        const Kernel *k = &kernels[i];
        const Params *p = params_of(k);
        fprintf(out, " \\\n    {.name = \"%s\", .nint = %d, .nfloat = %d, .nin = %d, .nout = %d,",
                k->name, p->nint, p->nfloat, k->nin, k->nout);
        fprintf(out, " .run = AT_LEVEL(run_%s),", k->name);
        if (k->packs)
            fprintf(out, " .pack_bytes = AT_LEVEL(bytes_%s), .pack = AT_LEVEL(pack_%s),", k->name,
                    k->name);
        if (k->in_place) fprintf(out, " .in_place = %uu,", k->in_place);
        if (k->asks) fprintf(out, " .in_place_now = AT_LEVEL(in_place_%s),", k->name);
        if (k->onednn[0]) fprintf(out, " .onednn = KERNEL_%s,", k->onednn);
        if (k->packs_by.count) fprintf(out, " .pack_fields = %lluu,", pack_fields(k, p));
        fprintf(out, "},");
    }
    fprintf(out, "\n");
}

/* A file being written in memory: what is there already with the same text is left alone, so that
 * nothing is compiled again for it. */
typedef struct Output {
    const char *path;
    char *text;
    size_t size;
    FILE *stream;
} Output;

static FILE *begin(Output *o, const char *path)
{
    *o = (Output){.path = path};
    o->stream = open_memstream(&o->text, &o->size);
    if (!o->stream) die("cannot be written", path);
    return o->stream;
}

static void end(Output *o)
{
    if (fclose(o->stream)) die("cannot be written", o->path);
    FILE *old = fopen(o->path, "rb");
    size_t same = 0;
    int c = EOF;
    while (old && (c = getc(old)) != EOF && same < o->size && (char)c == o->text[same]) same++;
    if (old) fclose(old);
    bool there = old && c == EOF && same == o->size;
    FILE *f = there ? NULL : fopen(o->path, "w");
    if (!there && (!f || fwrite(o->text, 1, o->size, f) != o->size || fclose(f)))
        die("cannot be written", o->path);
    free(o->text); /* sanitized, a build looks for what is lost */
}

int main(int argc, char **argv)
{
    static char *text[MOST];
    Output o;
    int bar = 1;
    while (bar < argc && strcmp(argv[bar], "--")) bar++;
    char **headers = argv + bar + 1;
    int count = argc - bar - 1, units = bar - 3;
    if (bar < 3 || count > MOST || units > count)
        die("want TEXTS.c LIST.h UNIT.c... -- HEADER..., units of the last headers", "usage");
    for (int i = 0; i < count; i++) {
        text[i] = read_file(headers[i]);
        find_kernels(text[i], base_name(headers[i]));
        find_structs(text[i]);
    }
    print_list(begin(&o, argv[2]));
    end(&o);
    for (int i = 0; i < units; i++) {
        print_unit(begin(&o, argv[3 + i]), base_name(headers[count - units + i]));
        end(&o);
    }
    print_texts(begin(&o, argv[1]), text, headers, count);
    end(&o);
    return 0;
}
