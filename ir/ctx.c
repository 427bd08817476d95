/* ir/ctx.c - the context: the first failure, and where warnings go. */
#include "ir/ir.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qonnx_ctx {
    char *error;       /* the first failure, or NULL */
    qonnx_log_fn *log; /* warnings and notes; NULL: nobody listens */
    void *log_user;
    qonnx_progress_fn *progress; /* NULL: nobody listens */
    void *progress_user;
    Inputs *inputs;      /* what was read */
    bool allow_symlinks; /* to external data */
};

void qonnx_ctx_allow_symlinks(Ctx *cx, bool allow) { cx->allow_symlinks = allow; }

bool ctx_allows_symlinks(const Ctx *cx) { return cx->allow_symlinks; }

const char *qonnx_version(void) { return QONNX_VERSION; }

Ctx *qonnx_ctx_new(void)
{
    Ctx *cx = xcalloc(1, sizeof *cx);
    cx->inputs = inputs_new();
    return cx;
}

Inputs *ctx_inputs(Ctx *cx) { return cx->inputs; }

Ctx *ctx_quiet(void) { return qonnx_ctx_new(); }

void qonnx_ctx_free(Ctx *cx)
{
    if (!cx) return;
    inputs_free(cx->inputs);
    free(cx->error);
    free(cx);
}

void qonnx_ctx_on_log(Ctx *cx, qonnx_log_fn *fn, void *user)
{
    cx->log = fn;
    cx->log_user = user;
}

void qonnx_ctx_on_progress(Ctx *cx, qonnx_progress_fn *fn, void *user)
{
    cx->progress = fn;
    cx->progress_user = user;
}

const char *qonnx_error(const Ctx *cx) { return cx->error ? cx->error : ""; }

bool ctx_failed(const Ctx *cx) { return cx->error != NULL; }

bool ctx_progress(Ctx *cx, const char *what, size_t done, size_t total)
{
    if (cx->progress && !cx->progress(cx->progress_user, what, done, total))
        return qonnx_fail(cx, NULL, "interrupted");
    return true;
}

/* Bytes of the character at `s` in UTF-8, 0 where it is none: wrong bytes, longer forms than
 * needed, surrogates and what lies behind U+10FFFF. */
static int utf8_length(const unsigned char *s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = *s < 0x80                 ? 1
            : *s >= 0xc2 && *s < 0xe0 ? 2
            : *s >= 0xe0 && *s < 0xf0 ? 3
            : *s < 0xf5               ? 4
                                      : 0;
    if (*s >= 0x80 && *s < 0xc2) return 0;
    uint32_t code = n == 1 ? *s : *s & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    return n && code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? n : 0;
}

void qonnx_tame(char *text)
{
    for (unsigned char *s = (unsigned char *)text; *s;) {
        int n = utf8_length(s);
        bool control = n == 1 ? *s < 0x20 || *s == 0x7f : n == 2 && *s == 0xc2 && s[1] < 0xa0;
        if (!n || control) *s = '?';
        if (n == 2 && control) s[1] = '?';
        s += n ? n : 1;
    }
}

/* "FILE: node 'NAME' (OP): MESSAGE"; malloc'd. A node without a name is named by its output. */
static char *compose(const Node *n, const char *fmt, va_list args)
{
    char where[512] = "";
    if (n) {
        const char *name = n->name[0] ? n->name : n->nout && n->out[0] ? n->out[0]->name : "";
        snprintf(where, sizeof where, "%.160s: node '%.240s' (%.60s): ", n->graph->model->path,
                 name, n->op);
    }
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    size_t at = strlen(where), bytes = at + (len > 0 ? (size_t)len : 0) + 1;
    char *text = xmalloc(bytes);
    memcpy(text, where, at + 1);
    if (len > 0) vsnprintf(text + at, bytes - at, fmt, args);
    qonnx_tame(text);
    return text;
}

bool qonnx_fail(Ctx *cx, const Node *node, const char *fmt, ...)
{
    if (cx->error) return false;
    va_list args;
    va_start(args, fmt);
    cx->error = compose(node, fmt, args);
    va_end(args);
    return false;
}

static void say(Ctx *cx, qonnx_level level, const Node *node, const char *fmt, va_list args)
{
    if (!cx->log) return;
    char *text = compose(node, fmt, args);
    cx->log(cx->log_user, level, text);
    free(text);
}

void qonnx_warn(Ctx *cx, const Node *node, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(cx, QONNX_WARNING, node, fmt, args);
    va_end(args);
}

void qonnx_note(Ctx *cx, const Node *node, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(cx, QONNX_NOTE, node, fmt, args);
    va_end(args);
}

void ctx_take_error(Ctx *cx, const Ctx *from)
{
    if (from->error) qonnx_fail(cx, NULL, "%s", from->error);
}

void ctx_prefix_error(Ctx *cx, const char *prefix)
{
    if (!cx->error) return;
    size_t a = strlen(prefix), b = strlen(cx->error);
    char *text = xmalloc(a + b + 1);
    memcpy(text, prefix, a);
    memcpy(text + a, cx->error, b + 1);
    free(cx->error);
    cx->error = text;
}
