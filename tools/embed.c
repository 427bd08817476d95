/* tools/embed.c - puts the kernels' headers into the library as byte arrays, for backends/c, with
 * what that needs to know of them (backends/c/sources.h): built and run while building.
 *
 *   embed OUT.c HEADER...
 *
 * It understands just the form that kernel headers have: `#include "x.h"` lines, functions that
 * begin in the first column and end with a brace there, and parameter structs
 * `typedef struct x_p { ... } x_p;`.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64, MOST = 128 }; /* length of a word, and how many of them in a list */

/* Words of the text, ended by an empty one. */
typedef struct Words {
    char word[MOST][WORD];
    int count;
} Words;

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

static void print_list(FILE *out, const char *name, int number, const Words *w)
{
    fprintf(out, "static const char *const %s_%d[] = {", name, number);
    for (int i = 0; i < w->count; i++) fprintf(out, "\"%s\", ", w->word[i]);
    fprintf(out, "NULL};\n");
}

/* Reads "const T *restrict name, ..." after the first argument: what each points to. False where an
 * argument is something else: then it is no kernel. */
static bool read_types(const Words *w, int at, Words *types)
{
    while (at < w->count) {
        if (!strcmp(w->word[at], ",")) at++;
        if (at < w->count && !strcmp(w->word[at], "const")) at++;
        if (at + 2 >= w->count || strcmp(w->word[at + 1], "*")) return false;
        add(types, w->word[at], strlen(w->word[at]));
        at += 2;
        if (!strcmp(w->word[at], "restrict")) at++;
        if (++at < w->count && strcmp(w->word[at], ",")) return false;
    }
    return true;
}

/* Prints a row for every kernel in the text into `rows`, its list of types into `out`. */
static void find_kernels(FILE *out, FILE *rows, const char *text, const char *source, int *number)
{
    static const char lead[] = "KERNEL void ";
    for (const char *at = text; (at = strstr(at, lead)); at += sizeof lead) {
        const char *open = strchr(at, '('), *close = strchr(at, ')');
        const char *name = at + sizeof lead - 1;
        Words w = words_of(open + 1, close), types = {.count = 0};
        if (w.count < 5 || strcmp(w.word[0], "const") || strcmp(w.word[2], "*") ||
            strcmp(w.word[4], "p") || !read_types(&w, 5, &types))
            continue;
        print_list(out, "types", *number, &types);
        fprintf(rows, "    {\"%.*s\", \"%s\", \"%s\", types_%d},\n", (int)(open - name), name,
                source, w.word[1], (*number)++);
    }
}

/* The same for every parameter struct. */
static void find_fields(FILE *out, FILE *rows, const char *text, int *number)
{
    static const char lead[] = "\ntypedef struct ";
    for (const char *at = text; (at = strstr(at, lead)); at += sizeof lead) {
        const char *name = at + sizeof lead - 1, *open = strchr(name, '{'),
                   *close = strstr(at, "\n}");
        if (open - name < 4 || !starts(open - 3, "_p ")) continue;
        Words w = words_of(open + 1, close), names = {.count = 0};
        for (int i = 0; i < w.count; i++) {
            bool type = !strcmp(w.word[i], "int32_t") || !strcmp(w.word[i], "float");
            if (!type && isalpha((unsigned char)w.word[i][0]))
                add(&names, w.word[i], strlen(w.word[i]));
        }
        print_list(out, "fields", *number, &names);
        fprintf(rows, "    {\"%.*s\", fields_%d},\n", (int)(open - 1 - name), name, (*number)++);
    }
}

static void print_bytes(FILE *out, int number, const char *text)
{
    fprintf(out, "static const unsigned char text_%d[] = {", number);
    for (size_t i = 0; text[i]; i++)
        fprintf(out, "%s%d,", i % 24 ? "" : "\n", (unsigned char)text[i]);
    fprintf(out, "\n};\n");
}

/* ---- tables -----------------------------------------------------------------------------------
 */

/* Rows that are printed after what they refer to. */
static FILE *rows_open(void)
{
    FILE *f = tmpfile();
    if (!f) die("cannot be made", "a temporary file");
    return f;
}

static void rows_print(FILE *out, FILE *rows, const char *type, const char *table)
{
    fprintf(out, "\nconst %s %s[] = {\n", type, table);
    rewind(rows);
    for (int c; (c = getc(rows)) != EOF;) putc(c, out);
    fprintf(out, "    {.%s = NULL},\n};\n",
            !strcmp(type, "Source")      ? "name"
            : !strcmp(type, "Prototype") ? "kernel"
                                         : "params");
    fclose(rows);
}

int main(int argc, char **argv)
{
    FILE *out = argc > 1 ? fopen(argv[1], "w") : NULL;
    if (!out) die("cannot be written", argc > 1 ? argv[1] : "OUT.c");
    FILE *sources = rows_open(), *prototypes = rows_open(), *fields = rows_open();
    int kernels = 0, structs = 0;
    fprintf(out, "/* written by tools/embed.c */\n#include \"backends/c/sources.h\"\n\n");
    for (int i = 2; i < argc; i++) {
        char *text = read_file(argv[i]);
        const char *name = base_name(argv[i]);
        Words needs = {.count = 0};
        find_kernels(out, prototypes, text, name, &kernels);
        find_fields(out, fields, text, &structs);
        cut_includes(text, &needs);
        cut_host_functions(text);
        print_list(out, "needs", i, &needs);
        print_bytes(out, i, text);
        fprintf(sources, "    {\"%s\", text_%d, sizeof text_%d, needs_%d},\n", name, i, i, i);
        free(text);
    }
    rows_print(out, sources, "Source", "kernel_sources");
    rows_print(out, prototypes, "Prototype", "kernel_prototypes");
    rows_print(out, fields, "Fields", "kernel_fields");
    if (fclose(out)) die("cannot be written", argv[1]);
    return 0;
}
