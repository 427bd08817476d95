/* tests/fuzz/compile.c - an ONNX file is compiled to C when it is small work, and the text is
 * looked at: printable, its comments and strings closed, and nothing of the model outside of them.
 */
#include "onnx.pb-c.h"
#include "tests/fuzz/fuzz.h"
#include <ctype.h>
#include <qonnx/qonnx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const ProtobufCMessageDescriptor *const fuzz_type = &onnx__model_proto__descriptor;

static char directory[64];
static const char *const names[] = {"m.h", "m.c", "m_test.c", "Makefile", "m.bin"};

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void remove_directory(void)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(path_of(names[i]));
    rmdir(directory);
}

/* Makes the directory, in memory where there is such a place. */
static void make_directory(void)
{
    strcpy(directory, "/dev/shm/qonnx-fuzz-XXXXXX");
    if (!mkdtemp(directory)) {
        strcpy(directory, "/tmp/qonnx-fuzz-XXXXXX");
        if (!mkdtemp(directory)) abort();
    }
    atexit(remove_directory);
}

/* Whether every comment and string ends, no comment begins in another, and all is printable. The
 * hostile words that mutate.c gives end in "pwned": what stands before it must have been escaped.
 */
static bool is_sound(const char *text)
{
    char inside = 0; /* '*' in a comment, '"' or '\'' in a literal */
    for (const char *p = text; *p; p++) {
        if (!isprint((unsigned char)*p) && *p != '\n' && *p != '\t') return false;
        if (p[0] == '?' && p[1] == '?') return false;
        if (!strncmp(p, "*/pwned", 7) || !strncmp(p, "\"pwned", 6) || !strncmp(p, "\npwned", 6))
            return false;
        if (inside == '*') {
            if (p[0] == '/' && p[1] == '*') return false;
            if (p[0] == '*' && p[1] == '/') inside = 0, p++;
        } else if (inside) {
            if (*p == '\n') return false;
            if (*p == '\\' && p[1]) p++;
            else if (*p == inside) inside = 0;
        } else if (p[0] == '/' && p[1] == '*') {
            inside = '*', p++;
        } else if (*p == '"' || *p == '\'') {
            inside = *p;
        }
    }
    return !inside;
}

static void check_text(const char *name)
{
    enum { MOST_TEXT = 1 << 20 }; /* behind it are weights */
    FILE *f = fopen(path_of(name), "r");
    char *text = NULL;
    size_t room = 0;
    if (!f || getdelim(&text, &room, 0, f) < 0 || !feof(f)) abort(); /* it is there, with no NUL */
    if (strlen(text) < MOST_TEXT && !is_sound(text)) {
        fprintf(stderr, "%s is not sound:\n%s", name, text);
        abort();
    }
    free(text);
    fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*directory) make_directory();
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_graph *g = qonnx_model_load(cx, fuzz_file(data, size));
    qonnx_compile_options o = {
        .prefix = "m", .weights_bin = size & 1, .integer_io = (size & 6) == 6};
    if (g && fuzz_is_small(g) && qonnx_pipeline_run(cx, g, "raise-opset,fold-constants", NULL) &&
        fuzz_is_small(g) && qonnx_model_compile(cx, g, directory, &o, NULL))
        for (int i = 0; i < 3; i++) check_text(names[i]);
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
    return 0;
}
