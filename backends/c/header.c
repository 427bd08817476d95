/* backends/c/header.c - NAME.h: how the model is called, what it takes and gives, what it needs. */
#include "backends/c/model.h"
#include <string.h>

void c_print_signature(const CModel *m, bool with_arena, FILE *f)
{
    enum { WIDTH = 96 };
    const Program *p = m->program;
    int indent = fprintf(f, "int %s_run%s(", m->prefix, with_arena ? "" : "_static");
    int column = indent, count = p->ninput + p->noutput + m->weights_apart + with_arena;
    for (int i = 0; i < count; i++) {
        char text[64];
        int out = i - p->ninput;
        if (out < 0) snprintf(text, sizeof text, "const %s *in%d", m->in[i].ctype, i);
        else if (out < p->noutput) snprintf(text, sizeof text, "%s *out%d", m->out[out].ctype, out);
        else if (out == p->noutput && m->weights_apart)
            snprintf(text, sizeof text, "const void *weights");
        else snprintf(text, sizeof text, "void *arena");
        if (i && column + (int)strlen(text) > WIDTH)
            fprintf(f, ",\n%*s", indent, ""), column = indent;
        else if (i) column += fprintf(f, ", ");
        column += fprintf(f, "%s", text);
    }
    putc(')', f);
}

/* "float [1][3][32][32]" of what lies in the caller's memory. */
static void print_shape(const CPort *c, FILE *f)
{
    const Tensor *t = &c->port->tensor;
    fprintf(f, "%s", c->ctype);
    if (dtype_is_packed(t->dtype))
        fprintf(f, "[%zu], of %s, packed, the first element in the lowest bits:", t->bytes,
                qonnx_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++) fprintf(f, "%s[%lld]", i ? "" : " ", (long long)t->dims[i]);
}

/* The comment and the macros of one input or output. */
static void print_port(const CModel *m, const CPort *c, const char *kind, int number, FILE *f)
{
    const Tensor *t = &c->port->tensor;
    fprintf(f, "/* %s%d, '", !strcmp(kind, "INPUT") ? "in" : "out", number);
    text_name(f, c->name, false);
    fputs("': ", f);
    print_shape(c, f);
    if (c->size >= 0) {
        fprintf(f, "; the first *out%d of axis %d are there,\n * as a tensor of that size, ",
                c->size, c->size_axis);
        fputs("and 0 behind it", f);
    }
    if (c->quantized) fputs("; real = (q - ZERO_POINT) * SCALE", f);
    fputs(" */\n", f);
    fprintf(f, "#define %s_%s%d_BYTES %zu\n", m->upper, kind, number, t->bytes);
    fprintf(f, "#define %s_%s%d_COUNT %lld\n", m->upper, kind, number, (long long)tensor_count(t));
    fprintf(f, "#define %s_%s%d_RANK %d\n", m->upper, kind, number, t->rank);
    for (int i = 0; i < t->rank; i++)
        fprintf(f, "#define %s_%s%d_DIM%d %lld\n", m->upper, kind, number, i,
                (long long)t->dims[i]);
    if (c->size >= 0)
        fprintf(f, "#define %s_%s%d_SIZE %d\n#define %s_%s%d_SIZE_AXIS %d\n", m->upper, kind,
                number, c->size, m->upper, kind, number, c->size_axis);
    if (c->quantized) {
        fprintf(f, "#define %s_%s%d_SCALE ", m->upper, kind, number);
        text_float(f, c->params.scale);
        fprintf(f, "\n#define %s_%s%d_ZERO_POINT %d\n", m->upper, kind, number, c->params.zero);
    }
    putc('\n', f);
}

/* Whether a branch is left out, since it cannot run. */
static bool leaves_out(const CModel *m)
{
    for (int i = 0; i < m->ncall; i++) {
        const Body *b = m->calls[i]->body;
        if (b && b->chooses && (!b->program[0] || !b->program[1])) return true;
    }
    return false;
}

static void print_promise(const CModel *m, FILE *f)
{
    fprintf(f,
            "/* Runs the model once and returns 0; 1, having done nothing, where arena%s is NULL\n"
            " * or not aligned%s%s.\n",
            m->weights_apart ? " or weights" : "",
            m->nprogram > 1 ? "; 2 where a loop goes on without end" : "",
            leaves_out(m)
                ? ",\n * or the inputs choose a branch that cannot run with their shapes"
                : "");
    fputs(
        " *\n * Inputs and outputs are arrays in row-major order, as the model has them. They must "
        "be "
        "aligned\n * to their type, and an output must not overlap anything else. The arena's "
        "contents "
        "need not\n * be set before and mean nothing afterwards: models that run one after the "
        "other "
        "can share it.\n * Calls with an arena of their own may run at the same time: there is no "
        "other state. */\n",
        f);
}

static void print_sizes(const CModel *m, FILE *f)
{
    fprintf(f, "/* Working memory of a run; at most %zu bytes of it are in use at once. */\n",
            m->program->alive);
    fprintf(f, "#define %s_ARENA_BYTES %zu\n", m->upper, m->arena_bytes);
    fprintf(f, "#define %s_ARENA_ALIGN %d\n\n", m->upper, C_ALIGN);
    fprintf(f, "/* Constants in %s.%s%s */\n", m->prefix, m->weights_apart ? "bin" : "c",
            m->weights_apart
                ? ", little endian: what `weights` points to, aligned to WEIGHTS_ALIGN."
                : ".");
    fprintf(f, "#define %s_WEIGHTS_BYTES %zu\n", m->upper, m->weights);
    if (m->weights_apart) fprintf(f, "#define %s_WEIGHTS_ALIGN %d\n", m->upper, C_ALIGN);
    putc('\n', f);
}

void c_print_header(const CModel *m, FILE *f)
{
    fprintf(f, "/* %s.h - the model ", m->prefix);
    text_name(f, m->file, false);
    fprintf(f, " in C, made by qonnx %s; do not edit.", qonnx_version());
    c_print_weights_line(m, "\n * ", f);
    fputs(" */\n", f);
    fprintf(f, "#ifndef QONNX_MODEL_%s_H\n#define QONNX_MODEL_%s_H\n\n#include <stdint.h>\n\n",
            m->upper, m->upper);
    fputs("#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n", f);
    fprintf(f, "#define %s_QONNX_VERSION \"%s\"\n\n", m->upper, qonnx_version());
    for (int i = 0; i < m->program->ninput; i++) print_port(m, &m->in[i], "INPUT", i, f);
    for (int i = 0; i < m->program->noutput; i++) print_port(m, &m->out[i], "OUTPUT", i, f);
    print_sizes(m, f);
    c_print_pixels_header(m, f);
    print_promise(m, f);
    c_print_signature(m, true, f);
    fprintf(f,
            ";\n\n#ifdef %s_STATIC_ARENA /* for %s.c and its callers alike */\n"
            "/* The same with an arena of its own, so in one thread at a time. */\n",
            m->upper, m->prefix);
    c_print_signature(m, false, f);
    fputs(";\n#endif\n\n#ifdef __cplusplus\n}\n#endif\n#endif\n", f);
}
