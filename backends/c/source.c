/* backends/c/source.c - NAME.c: the kernels that are used, constants, parameters, and the run
 * function, which is a list of calls.
 */
#include "backends/c/model.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- kernels ----------------------------------------------------------------------------------
 */

/* Headers that were printed, in the order of kernel_sources. */
typedef struct Printed {
    bool done[256];
} Printed;

static void print_kernel(FILE *f, const char *name, Printed *printed)
{
    const Source *s = source_find(name);
    size_t at = (size_t)(s - kernel_sources);
    assert(s && at < sizeof printed->done);
    if (printed->done[at]) return;
    printed->done[at] = true;
    for (int i = 0; s->needs[i]; i++) print_kernel(f, s->needs[i], printed);
    fwrite(s->text, 1, s->bytes, f);
    putc('\n', f);
}

/* The function that the calls of a kernel go through: one copy of its code, since kernels
 * themselves are always inlined. */
static void print_function(const Prototype *k, FILE *f)
{
    const Kernel *row = kernel_find(k->kernel);
    fprintf(f, "KERNEL_CALLED void call_%s(const %s *p", k->kernel, k->params);
    for (int i = 0; i < row->nin; i++) fprintf(f, ", const %s *in%d", k->types[i], i);
    for (int i = 0; i < row->nout; i++)
        fprintf(f, ",%s%s *out%d", !i && row->nin > 2 ? "\n    " : " ", k->types[row->nin + i], i);
    fprintf(f, ")\n{\n    %s(p", k->kernel);
    for (int i = 0; i < row->nin; i++) fprintf(f, ", in%d", i);
    for (int i = 0; i < row->nout; i++) fprintf(f, ", out%d", i);
    fputs(");\n}\n\n", f);
}

/* Whether an earlier call has the same kernel. */
static bool called_before(const Program *p, int call)
{
    for (int i = 0; i < call; i++)
        if (p->calls[i].kernel == p->calls[call].kernel) return true;
    return false;
}

/* Whether the program has a call of the same kernel with that value of an int32_t field before. */
static bool valued_before(const Program *p, int call, int field)
{
    const Call *c = &p->calls[call];
    for (int i = 0; i < call; i++)
        if (p->calls[i].kernel == c->kernel &&
            ((const int32_t *)p->calls[i].params)[field] == ((const int32_t *)c->params)[field])
            return true;
    return false;
}

/* The macros that say which values of a parameter there are, of those that the kernel's header asks
 * for: `USES_KERNEL_FIELD(value)`. The rest of its code is left out. */
static void print_uses(const Program *p, int call, FILE *f)
{
    const Prototype *k = prototype_find(p->calls[call].kernel->name);
    const Source *s = source_find(k->source);
    const Fields *fields = fields_find(k->params);
    for (int i = 0; i < p->calls[call].kernel->nint; i++) {
        char name[160];
        int length = snprintf(name, sizeof name, "USES_%s_%s(", k->kernel, fields->names[i]);
        if (!memmem(s->text, s->bytes, name, (size_t)length)) continue;
        fprintf(f, "#define %svalue) (", name);
        for (int c = call; c < p->ncall; c++)
            if (p->calls[c].kernel == p->calls[call].kernel && !valued_before(p, c, i))
                fprintf(f, "%s(value) == %d", c > call ? " || " : "",
                        (int)((const int32_t *)p->calls[c].params)[i]);
        fputs(")\n", f);
    }
}

static void print_kernels(const CModel *m, FILE *f)
{
    Printed printed = {{false}};
    const Program *p = m->program;
    fputs("/* ---- kernels ---- */\n\n", f);
    for (int i = 0; i < p->ncall; i++)
        if (!called_before(p, i)) print_uses(p, i, f);
    print_kernel(f, "support.h", &printed);
    for (int i = 0; i < p->ncall; i++)
        print_kernel(f, prototype_find(p->calls[i].kernel->name)->source, &printed);
    for (int i = 0; i < p->ncall; i++)
        if (!called_before(p, i)) print_function(prototype_find(p->calls[i].kernel->name), f);
}

/* ---- constants and parameters -----------------------------------------------------------------
 */

/* "3: Conv block1/conv": a call's number, the operator and its name in the model. */
static void print_origin(const Program *p, int call, FILE *f)
{
    const Node *n = p->calls[call].node;
    fprintf(f, "/* %d: ", call);
    text_name(f, n ? n->op : p->calls[call].kernel->name, false);
    if (n && n->name[0]) putc(' ', f), text_name(f, n->name, false);
    fputs(" */\n", f);
}

static void print_params(const Call *c, int number, FILE *f)
{
    const char *type = prototype_find(c->kernel->name)->params;
    const Fields *fields = fields_find(type);
    int column = 4;
    fprintf(f, "static const %s p%d = {\n    ", type, number);
    for (int i = 0; fields->names[i]; i++) {
        bool is_float = i >= c->kernel->nint;
        char *text = NULL;
        size_t size = 0;
        FILE *field = open_memstream(&text, &size);
        fprintf(field, ".%s = ", fields->names[i]);
        if (is_float) text_float(field, ((const float *)c->params)[i]);
        else text_element(field, "int32_t", c->params, (size_t)i);
        putc(',', field);
        fclose(field);
        if (column + (int)size + 1 > 100) fputs("\n    ", f), column = 4;
        column += fprintf(f, "%s%s", column > 4 ? " " : "", text);
        free(text);
    }
    fputs("\n};\n", f);
}

static void print_constants(const CModel *m, int call, FILE *f)
{
    for (int i = 0; i < m->nconstant && !m->weights_apart; i++) {
        const CConstant *k = &m->constants[i];
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        if (k->call == call) text_array(f, "CONSTANT", k->ctype, name, k->data, k->count);
    }
}

/* ---- the run function -------------------------------------------------------------------------
 */

static void print_place(const Buf *b, FILE *f)
{
    if (b->port > 0) fprintf(f, "in%d", b->port - 1);
    else if (b->port < 0) fprintf(f, "out%d", -b->port - 1);
    else fprintf(f, "ARENA(%zu)", b->offset);
}

static void print_argument(const CModel *m, int call, int i, FILE *f)
{
    const Buf *b = m->program->calls[call].in[i];
    int constant = m->used[call][i];
    if (!b) fputs("NULL", f);
    else if (constant < 0) print_place(b, f);
    else if (m->weights_apart) fprintf(f, "WEIGHTS(%zu)", m->constants[constant].offset);
    else fprintf(f, "c%d", constant);
}

static void print_call(const CModel *m, int number, FILE *f)
{
    const Call *c = &m->program->calls[number];
    fputs("    ", f);
    print_origin(m->program, number, f);
    fprintf(f, "    call_%s(&p%d, ", c->kernel->name, number);
    for (int i = 0; i < c->kernel->nin; i++) {
        print_argument(m, number, i, f);
        fputs(", ", f);
    }
    for (int i = 0; i < c->kernel->nout; i++) {
        if (i) fputs(", ", f);
        if (c->out[i]) print_place(c->out[i], f);
        else fputs("NULL", f);
    }
    fputs(");\n", f);
}

/* Whether a call reads the program's input of that number. */
static bool is_read(const Program *p, int input)
{
    for (int i = 0; i < p->ncall; i++)
        for (int k = 0; k < p->calls[i].kernel->nin; k++)
            if (p->calls[i].in[k] && p->calls[i].in[k]->port == input + 1) return true;
    return false;
}

/* Whether a call writes the program's output of that number: none does where it has no elements. */
static bool is_written(const Program *p, int output)
{
    for (int i = 0; i < p->ncall; i++)
        for (int k = 0; k < p->calls[i].kernel->nout; k++)
            if (p->calls[i].out[k] && p->calls[i].out[k]->port == -output - 1) return true;
    return false;
}

static void print_run(const CModel *m, FILE *f)
{
    fputs("/* ---- the model ---- */\n\n", f);
    c_print_signature(m, true, f);
    fprintf(f, "\n{\n    CHECK_POINTER(arena, %d);\n", C_ALIGN);
    if (m->weights_apart) fprintf(f, "    CHECK_POINTER(weights, %d);\n", C_ALIGN);
    for (int i = 0; i < m->program->ninput; i++)
        if (!is_read(m->program, i)) fprintf(f, "    (void)in%d;\n", i);
    for (int i = 0; i < m->program->noutput; i++)
        if (!is_written(m->program, i)) fprintf(f, "    (void)out%d;\n", i);
    for (int i = 0; i < m->program->ncall; i++) print_call(m, i, f);
    fputs("    return 0;\n}\n", f);
}

static void print_static_run(const CModel *m, FILE *f)
{
    fprintf(f, "\n#ifdef %s_STATIC_ARENA\n", m->upper);
    fprintf(f, "static ALIGNED(%d) unsigned char static_arena[%s_ARENA_BYTES];\n\n", C_ALIGN,
            m->upper);
    c_print_signature(m, false, f);
    fprintf(f, "\n{\n    return %s_run(", m->prefix);
    for (int i = 0; i < m->program->ninput; i++) fprintf(f, "in%d, ", i);
    for (int i = 0; i < m->program->noutput; i++) fprintf(f, "out%d, ", i);
    fprintf(f, "%sstatic_arena);\n}\n#endif\n", m->weights_apart ? "weights, " : "");
}

void c_print_source(const CModel *m, FILE *f)
{
    const Program *p = m->program;
    fprintf(f, "/* %s.c - the model ", m->prefix);
    text_name(f, m->file, false);
    fprintf(f, ", made by qonnx %s; do not edit.", qonnx_version());
    c_print_weights_line(m, "\n * ", f);
    fputs("\n *\n", f);
    fprintf(
        f,
        " * %s.h says how it is called. It needs C99 and nothing of a library but memcpy,\n"
        " * memmove and memset. The same input gives the same bytes whatever the compiler, its\n"
        " * options and the processor%s.\n */\n",
        m->prefix, c_is_integer(m) ? "" : ", as long as it is compiled with -ffp-contract=off");
    fprintf(f, "#include \"%s.h\"\n#include <math.h> /* INFINITY, no function */\n\n", m->prefix);
    print_kernels(m, f);
    fputs("/* ---- constants and parameters ---- */\n\n", f);
    for (int i = 0; i < p->ncall; i++) {
        print_origin(p, i, f);
        print_constants(m, i, f);
        print_params(&p->calls[i], i, f);
        putc('\n', f);
    }
    print_run(m, f);
    print_static_run(m, f);
}
