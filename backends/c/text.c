/* backends/c/text.c - see text.h. */
#include "backends/c/text.h"
#include "backends/c/sources.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 80, PREFIX_MOST = 40 };

/* ---- names ------------------------------------------------------------------------------------
 */

static bool plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_.:/ -", c));
}

void text_name(FILE *f, const char *name, bool in_string)
{
    int left = NAME_MOST - 3;
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        left -= plain(c) ? 1 : 4;
        if (left < 0) break;
        if (plain(c)) putc(c, f);
        else fprintf(f, in_string ? "\\\\x%02X" : "\\x%02X", c);
    }
    if (*name) fputs("...", f);
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

void text_float(FILE *f, float x)
{
    if (isnan(x)) {
        fputs("NAN", f);
    } else if (isinf(x)) {
        fputs(x < 0 ? "-INFINITY" : "INFINITY", f);
    } else {
        char text[40];
        for (int digits = 6; digits <= 9; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, (double)x);
            if (strtof(text, NULL) == x) break;
        }
        fprintf(f, "%s%sf", text, strpbrk(text, ".e") ? "" : ".0");
    }
}

typedef struct CType {
    const char *name;
    size_t bytes;
    bool is_signed;
} CType;

static const CType ctypes[] = {
    {"float", 4, true},     {"int8_t", 1, true},    {"uint8_t", 1, false},  {"int16_t", 2, true},
    {"uint16_t", 2, false}, {"int32_t", 4, true},   {"uint32_t", 4, false}, {"q_scale", 4, false},
    {"int64_t", 8, true},   {"uint64_t", 8, false}, {"double", 8, true},
};

static const CType *find_type(const char *name)
{
    const CType *t = ctypes;
    while (strcmp(t->name, name)) t++;
    return t;
}

size_t text_type_bytes(const char *ctype) { return find_type(ctype)->bytes; }

const char *text_type(DType t)
{
    switch (t) {
    case QONNX_FLOAT: return "float";
    case QONNX_DOUBLE: return "double";
    case QONNX_BOOL:
    case QONNX_FLOAT8E4M3FN:
    case QONNX_FLOAT8E4M3FNUZ:
    case QONNX_FLOAT8E5M2:
    case QONNX_FLOAT8E5M2FNUZ:
    case QONNX_FLOAT8E8M0:
    case QONNX_UINT4:
    case QONNX_INT4:
    case QONNX_UINT2:
    case QONNX_INT2:
    case QONNX_FLOAT4E2M1:
    case QONNX_FLOAT6E2M3:
    case QONNX_FLOAT6E3M2:
    case QONNX_UINT8: return "uint8_t";
    case QONNX_INT8: return "int8_t";
    case QONNX_UINT16:
    case QONNX_FLOAT16:
    case QONNX_BFLOAT16: return "uint16_t";
    case QONNX_INT16: return "int16_t";
    case QONNX_UINT32: return "uint32_t";
    case QONNX_INT32: return "int32_t";
    case QONNX_UINT64: return "uint64_t";
    case QONNX_INT64: return "int64_t";
    default: return NULL;
    }
}

void text_element(FILE *f, const char *ctype, const void *data, size_t i)
{
    const CType *t = find_type(ctype);
    const char *at = (const char *)data + i * t->bytes;
    if (!strcmp(ctype, "float")) {
        float x;
        memcpy(&x, at, sizeof x);
        if (isfinite(x)) fprintf(f, "%af", (double)x);
        else text_float(f, x);
        return;
    }
    uint64_t u = 0;
    memcpy(&u, at, t->bytes);
    int unused = 64 - 8 * (int)t->bytes;
    int64_t s = (int64_t)(u << unused) >> unused;
    if (!strcmp(ctype, "double")) {
        double x;
        memcpy(&x, at, sizeof x);
        if (isfinite(x)) fprintf(f, "%a", x);
        else text_float(f, (float)x);
    } else if (!t->is_signed) {
        fprintf(f, "%lluu%s", (unsigned long long)u, t->bytes == 8 ? "ll" : "");
    } else if (s == INT64_MIN || s == INT32_MIN) {
        fprintf(f, "(-%lld - 1)", (long long)-(s + 1));
    } else {
        fprintf(f, "%lld", (long long)s);
    }
}

void text_array(FILE *f, const char *where, const char *ctype, const char *name, const void *data,
                size_t count)
{
    size_t width = !strcmp(ctype, "float") ? 8 : 16;
    fprintf(f, "static const %s%s%s %s[%zu] = {", where, *where ? " " : "", ctype, name,
            count ? count : 1);
    if (!count) putc('0', f);
    for (size_t i = 0; i < count; i++) {
        fputs(i % width ? " " : "\n    ", f);
        text_element(f, ctype, data, i);
        putc(',', f);
    }
    fputs(count ? "\n};\n" : "};\n", f);
}

/* ---- prefixes ---------------------------------------------------------------------------------
 */

/* Keywords of C and C++ and, because NAME.h and NAME.c are files, the names of standard headers. */
static const char *const taken[] = {
    "alignas",   "alignof",   "and",      "asm",      "assert",   "auto",     "bool",
    "break",     "case",      "catch",    "char",     "class",    "complex",  "const",
    "continue",  "ctype",     "default",  "delete",   "do",       "double",   "else",
    "enum",      "errno",     "explicit", "export",   "extern",   "false",    "fenv",
    "float",     "for",       "friend",   "goto",     "if",       "inline",   "int",
    "inttypes",  "iso646",    "limits",   "locale",   "long",     "main",     "math",
    "mutable",   "namespace", "new",      "not",      "nullptr",  "operator", "or",
    "private",   "protected", "public",   "register", "restrict", "return",   "setjmp",
    "short",     "signal",    "signed",   "sizeof",   "static",   "stdalign", "stdarg",
    "stdatomic", "stdbool",   "stddef",   "stdint",   "stdio",    "stdlib",   "stdnoreturn",
    "string",    "struct",    "switch",   "template", "tgmath",   "this",     "thread",
    "threads",   "throw",     "time",     "true",     "try",      "typedef",  "typeid",
    "typename",  "typeof",    "uchar",    "union",    "unistd",   "unsigned", "using",
    "virtual",   "void",      "volatile", "wchar",    "wctype",   "while",    "xor",
};

/* Whether a kernel's source has the identifier NAME_run. */
static bool in_kernels(const char *name)
{
    char word[PREFIX_MOST + 8];
    size_t n = (size_t)snprintf(word, sizeof word, "%s_run", name);
    for (const Source *s = kernel_sources; s->name; s++)
        if (memmem(s->text, s->bytes, word, n)) return true;
    return false;
}

/* Some file systems do not tell cases apart. */
static bool is_taken(const char *name)
{
    if (in_kernels(name)) return true;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (!strcasecmp(name, taken[i])) return true;
    return false;
}

bool text_prefix_ok(Ctx *cx, const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const char others[] = "_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t n = strlen(name);
    if (!n || !strchr(letters, name[0]) || strspn(name, others) != n)
        return qonnx_fail(cx, NULL,
                          "the prefix is no C identifier that begins with a letter; "
                          "choose another with --prefix");
    if (n > PREFIX_MOST)
        return qonnx_fail(cx, NULL, "the prefix '%.20s...' has more than %d characters", name,
                          PREFIX_MOST);
    if (is_taken(name))
        return qonnx_fail(
            cx, NULL,
            "the prefix '%s' is a word of C or C++, a standard header or a kernel; choose "
            "another with --prefix",
            name);
    return true;
}

char *text_prefix(Arena *a, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *end = name + strlen(name), *ending = strstr(name, ".onnx");
    if (ending && ending + strlen(".onnx") == end) end = ending;
    char out[PREFIX_MOST + 1] = "";
    size_t n = 0;
    for (; name < end && n < PREFIX_MOST - strlen("model_"); name++) {
        bool fits = isascii((unsigned char)*name) && isalnum((unsigned char)*name);
        if (fits || (n && out[n - 1] != '_')) out[n++] = fits ? *name : '_';
    }
    while (n && out[n - 1] == '_') n--;
    out[n] = 0;
    bool plain_start = isalpha((unsigned char)out[0]);
    if (plain_start && !is_taken(out)) return arena_string(a, out);
    return arena_printf(a, n ? "model_%s" : "model", out);
}
