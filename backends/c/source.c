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
static bool called_before(const CModel *m, int call)
{
    for (int i = 0; i < call; i++)
        if (m->calls[i]->kernel == m->calls[call]->kernel) return true;
    return false;
}

static const Prototype *prototype_of(const Call *c) { return prototype_find(c->kernel->name); }

static int32_t value_of(const Call *c, int field) { return ((const int32_t *)c->params)[field]; }

/* Whether there is a call of the same kernel with that value of an int32_t field before. */
static bool valued_before(const CModel *m, int call, int field)
{
    const Call *c = m->calls[call];
    for (int i = 0; i < call; i++)
        if (m->calls[i]->kernel == c->kernel && value_of(m->calls[i], field) == value_of(c, field))
            return true;
    return false;
}

/* The macros that say which values of a parameter there are, of those that the kernel's header asks
 * for: `USES_KERNEL_FIELD(value)`. The rest of its code is left out. */
static void print_uses(const CModel *m, int call, FILE *f)
{
    const Kernel *kernel = m->calls[call]->kernel;
    const Prototype *k = prototype_find(kernel->name);
    const Source *s = source_find(k->source);
    const Fields *fields = fields_find(k->params);
    for (int i = 0; i < kernel->nint; i++) {
        char name[160];
        int length = snprintf(name, sizeof name, "USES_%s_%s(", k->kernel, fields->names[i]);
        if (!memmem(s->text, s->bytes, name, (size_t)length)) continue;
        fprintf(f, "#define %svalue) (", name);
        for (int c = call; c < m->ncall; c++)
            if (m->calls[c]->kernel == kernel && !valued_before(m, c, i))
                fprintf(f, "%s(value) == %d", c > call ? " || " : "",
                        (int)value_of(m->calls[c], i));
        fputs(")\n", f);
    }
}

static void print_kernels(const CModel *m, FILE *f)
{
    Printed printed = {{false}};
    fputs("/* ---- kernels ---- */\n\n", f);
    for (int i = 0; i < m->ncall; i++)
        if (m->calls[i]->kernel && !called_before(m, i)) print_uses(m, i, f);
    print_kernel(f, "support.h", &printed);
    for (int i = 0; i < m->ncall; i++)
        if (m->calls[i]->kernel) print_kernel(f, prototype_of(m->calls[i])->source, &printed);
    for (int i = 0; i < m->ncall; i++)
        if (m->calls[i]->kernel && !called_before(m, i))
            print_function(prototype_of(m->calls[i]), f);
}

/* ---- constants and parameters -----------------------------------------------------------------
 */

/* "3: Conv block1/conv": a call's number, the operator and its name in the model. */
static void print_origin(const CModel *m, int call, FILE *f)
{
    const Node *n = m->calls[call]->node;
    fprintf(f, "/* %d: ", call);
    text_name(f, n ? n->op : m->calls[call]->kernel->name, false);
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

/* ---- programs: calls in order -----------------------------------------------------------------
 */

/* The function of a program that calls run. */
static int number_of(const CModel *m, const Program *p)
{
    int i = 0;
    while (m->programs[i].program != p) i++;
    return i;
}

static void print_place(const CModel *m, const CProgram *p, const Buf *b, FILE *f)
{
    const char *end = p->program == m->program ? "" : "]", *open = *end ? "[" : "";
    if (b->port > 0) fprintf(f, "in%s%d%s", open, b->port - 1, end);
    else if (b->port < 0) fprintf(f, "out%s%d%s", open, -b->port - 1, end);
    else fprintf(f, "ARENA(%zu)", b->offset);
}

/* A buffer that the call reads, which may be constant. */
static void print_argument(const CModel *m, const CProgram *p, int call, int i, FILE *f)
{
    const Buf *b = m->calls[call]->in[i];
    int constant = m->used[call][i];
    if (!b) fputs("NULL", f);
    else if (constant < 0) print_place(m, p, b, f);
    else if (m->weights_apart) fprintf(f, "WEIGHTS(%zu)", m->constants[constant].offset);
    else fprintf(f, "c%d", constant);
}

static void print_call(const CModel *m, const CProgram *p, int number, FILE *f)
{
    const Call *c = m->calls[number];
    fprintf(f, "    call_%s(&p%d, ", c->kernel->name, number);
    for (int i = 0; i < c->nin; i++) {
        print_argument(m, p, number, i, f);
        fputs(", ", f);
    }
    for (int i = 0; i < c->nout; i++) {
        if (i) fputs(", ", f);
        if (c->out[i]) print_place(m, p, c->out[i], f);
        else fputs("NULL", f);
    }
    fputs(");\n", f);
}

/* ---- bodies -----------------------------------------------------------------------------------
 */

/* Any buffer of the call that has a body. */
static void print_buffer(const CModel *m, const CProgram *p, int call, const Buf *b, FILE *f)
{
    const Call *c = m->calls[call];
    for (int i = 0; i < c->nin; i++)
        if (c->in[i] == b) {
            print_argument(m, p, call, i, f);
            return;
        }
    print_place(m, p, b, f);
}

static void print_ports(const CModel *m, const CProgram *p, int call, const BodyPort *ports,
                        int count, const char *name, const char *type, int indent, FILE *f)
{
    if (!count) return;
    fprintf(f, "%*s%svoid *%s[%d];\n", indent, "", type, name, count);
    for (int i = 0; i < count; i++) {
        const BodyPort *at = &ports[i];
        fprintf(f, "%*s%s[%d] = ", indent, "", name, i);
        if (at->step) fprintf(f, "(%schar *)", type);
        print_buffer(m, p, call, at->buf, f);
        if (at->step)
            fprintf(f, " + (%lld + (ptrdiff_t)turn * %lld)", (long long)at->start,
                    (long long)at->step);
        fputs(";\n", f);
    }
}

/* Runs one of a body's programs; on a failure of it so does the function. */
static void print_branch(const CModel *m, const CProgram *p, int call, int which, int indent,
                         FILE *f)
{
    const Body *b = m->calls[call]->body;
    const Program *inner = b->program[which];
    if (!inner) {
        fprintf(f, "%*sreturn 2; /* this branch cannot run with the shapes of the inputs */\n",
                indent, "");
        return;
    }
    print_ports(m, p, call, b->in[which], inner->ninput, "from", "const ", indent, f);
    print_ports(m, p, call, b->out[which], inner->noutput, "to", "", indent, f);
    fprintf(f, "%*sif (body%d(%s, %s, %sARENA(%zu))) return 2;\n", indent, "", number_of(m, inner),
            inner->ninput ? "from" : "NULL", inner->noutput ? "to" : "NULL",
            m->weights_apart ? "weights, " : "", b->memory->offset);
}

static void print_choice(const CModel *m, const CProgram *p, int call, FILE *f)
{
    fputs("    if (*(const uint8_t *)", f);
    print_buffer(m, p, call, m->calls[call]->body->test, f);
    fputs(") {\n", f);
    print_branch(m, p, call, 0, 8, f);
    fputs("    } else {\n", f);
    print_branch(m, p, call, 1, 8, f);
    fputs("    }\n", f);
}

/* "for (...) {", with what ends the turns. A number of turns that is not known before is limited as
 * it is where the model is run: no input can make it go on for ever. */
static void print_turns(const CModel *m, const CProgram *p, int call, FILE *f)
{
    const Body *b = m->calls[call]->body;
    bool known = !b->trip && !b->test;
    if (b->trip) {
        fputs("    int64_t turns;\n    memcpy(&turns, ", f);
        print_buffer(m, p, call, b->trip, f);
        fputs(", sizeof turns);\n", f);
    }
    fputs("    for (int64_t turn = 0; turn < ", f);
    if (b->trip) fputs("turns", f);
    else fprintf(f, "%lld", (long long)b->turns);
    if (b->test) {
        fputs(" && *(const uint8_t *)", f);
        print_buffer(m, p, call, b->test, f);
    }
    fputs("; turn++) {\n", f);
    if (!known) fprintf(f, "        if (turn == %lld) return 2;\n", (long long)b->most);
}

static void print_cycle(const CModel *m, const CProgram *p, int call, FILE *f)
{
    const Body *b = m->calls[call]->body;
    fputs("    {\n", f);
    print_turns(m, p, call, f);
    if (b->counter) {
        fputs("        memcpy(", f);
        print_buffer(m, p, call, b->counter, f);
        fputs(", &turn, sizeof turn);\n", f);
    }
    print_branch(m, p, call, 0, 8, f);
    for (int i = 0; i < b->ncarried; i++) {
        const BodyCopy *k = &b->carried[i];
        if (!k->bytes) continue;
        fputs("        memcpy(", f);
        print_buffer(m, p, call, k->to, f);
        fputs(", ", f);
        print_buffer(m, p, call, k->from, f);
        fprintf(f, ", %zu);\n", k->bytes);
    }
    fputs("    }\n    }\n", f);
}

static void print_calls(const CModel *m, const CProgram *p, FILE *f)
{
    for (int i = p->first; i < p->first + p->program->ncall; i++) {
        fputs("    ", f);
        print_origin(m, i, f);
        if (m->calls[i]->kernel) print_call(m, p, i, f);
        else if (m->calls[i]->body->chooses) print_choice(m, p, i, f);
        else print_cycle(m, p, i, f);
    }
}

/* The function of a program that a call runs: 0, or 2 where it does not end. */
static void print_body(const CModel *m, int number, FILE *f)
{
    static const char *const names[] = {"in", "out", "arena"};
    fprintf(f, "static int body%d(const void *const *in, void *const *out, %svoid *arena)\n{\n",
            number, m->weights_apart ? "const void *weights, " : "");
    for (int i = 0; i < 3; i++) fprintf(f, "    (void)%s;\n", names[i]);
    if (m->weights_apart) fputs("    (void)weights;\n", f);
    print_calls(m, &m->programs[number], f);
    fputs("    return 0;\n}\n\n", f);
}

void c_list_calls(CModel *m, const Program *p)
{
    for (int i = 0; i < p->ncall; i++)
        for (int k = 0; p->calls[i].body && k < 2; k++)
            if (p->calls[i].body->program[k]) c_list_calls(m, p->calls[i].body->program[k]);
    m->programs =
        arena_grow(m->arena, m->programs, m->nprogram, &m->program_cap, sizeof *m->programs);
    m->programs[m->nprogram++] = (CProgram){p, m->ncall};
    for (int i = 0; i < p->ncall; i++) {
        m->calls = arena_grow(m->arena, m->calls, m->ncall, &m->call_cap, sizeof *m->calls);
        m->calls[m->ncall++] = &p->calls[i];
    }
}

/* ---- the run function -------------------------------------------------------------------------
 */

/* Says of the program's inputs that no call reads, and of the outputs that none writes, for they
 * have no elements, that they are meant to be so. */
static void print_unused(const Program *p, FILE *f)
{
    bool *read = xcalloc((size_t)p->ninput + 1, sizeof *read);
    bool *written = xcalloc((size_t)p->noutput + 1, sizeof *written);
    for (const Call *c = p->calls; c < p->calls + p->ncall; c++) {
        for (int k = 0; k < c->nin; k++)
            if (c->in[k] && c->in[k]->port > 0) read[c->in[k]->port - 1] = true;
        for (int k = 0; k < c->nout; k++)
            if (c->out[k] && c->out[k]->port < 0) written[-c->out[k]->port - 1] = true;
    }
    for (int i = 0; i < p->ninput; i++)
        if (!read[i]) fprintf(f, "    (void)in%d;\n", i);
    for (int i = 0; i < p->noutput; i++)
        if (!written[i]) fprintf(f, "    (void)out%d;\n", i);
    free(read);
    free(written);
}

static void print_run(const CModel *m, FILE *f)
{
    fputs("/* ---- the model ---- */\n\n", f);
    for (int i = 0; i + 1 < m->nprogram; i++) print_body(m, i, f);
    c_print_signature(m, true, f);
    fprintf(f, "\n{\n    CHECK_POINTER(arena, %d);\n", C_ALIGN);
    if (m->weights_apart) fprintf(f, "    CHECK_POINTER(weights, %d);\n", C_ALIGN);
    print_unused(m->program, f);
    print_calls(m, &m->programs[m->nprogram - 1], f);
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
    fprintf(f, "#include \"%s.h\"\n#include <math.h> /* INFINITY, no function */\n", m->prefix);
    fputs(m->nprogram > 1 ? "#include <string.h>\n\n" : "\n", f);
    print_kernels(m, f);
    fputs("/* ---- constants and parameters ---- */\n\n", f);
    for (int i = 0; i < m->ncall; i++) {
        print_origin(m, i, f);
        print_constants(m, i, f);
        if (m->calls[i]->kernel) print_params(m->calls[i], i, f);
        putc('\n', f);
    }
    print_run(m, f);
    print_static_run(m, f);
    c_print_pixels(m, f);
}
