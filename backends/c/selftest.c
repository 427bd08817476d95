/* backends/c/selftest.c - NAME_test.c and the Makefile: one sample, the bytes it gives, and how
 * that is checked on any machine with a C compiler.
 */
#include "backends/c/model.h"

static void print_embedded(const char *name, FILE *f)
{
    const Source *s = source_find(name);
    fwrite(s->text, 1, s->bytes, f);
    putc('\n', f);
}

static void print_data(const CModel *m, const Tensor *inputs, const Tensor *outputs, FILE *f)
{
    char name[24];
    for (int i = 0; i < m->program->ninput; i++) {
        size_t count = inputs[i].bytes / text_type_bytes(m->in[i].ctype);
        snprintf(name, sizeof name, "in%d", i);
        if (m->pixels && m->pixels->input == i) {
            text_array(f, "", "uint8_t", "pixels", m->pixels->sample, count);
            fprintf(f, "static %s %s[%zu];\n", m->in[i].ctype, name, count ? count : 1);
        } else {
            text_array(f, "", m->in[i].ctype, name, inputs[i].data, count);
        }
    }
    for (int i = 0; i < m->program->noutput; i++) {
        const CPort *c = &m->out[i];
        size_t count = outputs[i].bytes / text_type_bytes(c->ctype);
        snprintf(name, sizeof name, "want%d", i);
        text_array(f, "", c->ctype, name, outputs[i].data, count);
        fprintf(f, "static %s out%d[%zu];\n", c->ctype, i, count ? count : 1);
    }
}

static void print_main(const CModel *m, FILE *f)
{
    const Program *p = m->program;
    fputs("\nint main(void)\n{\n    int bad = 0;\n", f);
    fputs("    memset(arena, 0xa5, sizeof arena);\n", f);
    if (m->weights_apart)
        fprintf(f, "    bad |= load(\"%s.bin\", weights, sizeof weights);\n", m->prefix);
    if (m->pixels) fprintf(f, "    %s_image(pixels, in%d);\n", m->prefix, m->pixels->input);
    fprintf(f, "    bad |= %s_run(", m->prefix);
    for (int i = 0; i < p->ninput; i++) fprintf(f, "in%d, ", i);
    for (int i = 0; i < p->noutput; i++) fprintf(f, "out%d, ", i);
    fprintf(f, "%sarena);\n", m->weights_apart ? "weights, " : "");
    for (int i = 0; i < p->noutput; i++) {
        fprintf(f, "    bad |= differs(\"%s: out%d '", m->prefix, i);
        text_name(f, m->out[i].name, true);
        fprintf(f, "'\", out%d, want%d, %s_OUTPUT%d_BYTES);\n", i, i, m->upper, i);
    }
    fputs("    return bad;\n}\n", f);
}

void c_print_selftest(const CModel *m, const Tensor *inputs, const Tensor *outputs, FILE *f)
{
    fprintf(f,
            "/* %s_test.c - runs %s.c on one sample and compares every byte of the outputs; exit "
            "status\n"
            " * 0 when all are right. Made by qonnx %s; do not edit. */\n",
            m->prefix, m->prefix, qonnx_version());
    fprintf(f, "#include \"%s.h\"\n#include <math.h>\n", m->prefix);
    if (m->weights_apart) fputs("#define SELFTEST_WEIGHTS\n", f);
    print_embedded("support.h", f);
    print_embedded("selftest.h", f);
    print_data(m, inputs, outputs, f);
    fprintf(f, "static ALIGNED(%d) unsigned char arena[%s_ARENA_BYTES];\n", C_ALIGN, m->upper);
    if (m->weights_apart)
        fprintf(f, "static ALIGNED(%d) unsigned char weights[%s_WEIGHTS_BYTES];\n", C_ALIGN,
                m->upper);
    print_main(m, f);
}

void c_print_makefile(const CModel *m, FILE *f)
{
    fprintf(
        f,
        "# Made by qonnx %s.\n#\n"
        "#   make test [CC=...] [CFLAGS=...] [RUN=...]\n#\n"
        "# builds the self-test and runs it, by the command RUN when that is given (an emulator);\n"
        "# it fails unless every byte of the outputs is right.%s\n\n",
        qonnx_version(),
        c_is_integer(m) ? ""
                        : " This model computes in float: its\n"
                          "# bytes are those promised without -ffp-contract=fast.");
    fprintf(f,
            "CFLAGS ?= -O2\n\n.PHONY: test clean\n\ntest:\n"
            "\t$(CC) -std=c99 -ffp-contract=off $(CFLAGS) -o %s_test %s.c %s_test.c $(LDFLAGS) "
            "$(LDLIBS)\n"
            "\t$(RUN) ./%s_test\n\nclean:\n\trm -f %s_test\n",
            m->prefix, m->prefix, m->prefix, m->prefix, m->prefix);
}
