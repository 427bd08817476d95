/* backends/c/constants.c - the constants of a program as the kernels' C functions take them. */
#include "backends/c/model.h"
#include <string.h>

const Source *source_find(const char *name)
{
    const Source *s = kernel_sources;
    while (s->name && strcmp(s->name, name)) s++;
    return s->name ? s : NULL;
}

const Prototype *prototype_find(const char *kernel)
{
    const Prototype *p = kernel_prototypes;
    while (p->kernel && strcmp(p->kernel, kernel)) p++;
    return p->kernel ? p : NULL;
}

const Fields *fields_find(const char *params)
{
    const Fields *f = kernel_fields;
    while (f->params && strcmp(f->params, params)) f++;
    return f->params ? f : NULL;
}

/* The parameter of that name; `absent` when the kernel has none. */
static int32_t field_of(const Call *c, const char *name, int32_t absent)
{
    const Fields *f = fields_find(prototype_find(c->kernel->name)->params);
    for (int i = 0; f->names[i]; i++)
        if (!strcmp(f->names[i], name)) return ((const int32_t *)c->params)[i];
    return absent;
}

/* The type of an input that the kernel takes as void: bytes, or as a parameter says. */
static const char *untyped(const Call *c)
{
    int bits = qonnx_dtype_bits((DType)field_of(c, "dtype", 0));
    int32_t bytes = field_of(c, "size", bits ? bits / 8 : 1);
    return bytes == 8 ? "int64_t" : bytes == 4 ? "int32_t" : bytes == 2 ? "int16_t" : "int8_t";
}

/* The kernel that packs for every machine, not for this one. */
static const Kernel *portable(const Kernel *k)
{
    const Kernel *p = kernel_table(KERNEL_BASE);
    while (strcmp(p->name, k->name)) p++;
    return p;
}

/* The number of the constant with this content, which is noted when it is new. */
static int constant_of(CModel *m, const char *ctype, const void *data, size_t bytes, int call)
{
    size_t count = bytes / text_type_bytes(ctype);
    for (int i = 0; i < m->nconstant; i++) {
        const CConstant *k = &m->constants[i];
        if (k->count == count && !strcmp(k->ctype, ctype) &&
            (k->data == data || !memcmp(k->data, data, bytes)))
            return i;
    }
    m->constants =
        arena_grow(m->arena, m->constants, m->nconstant, &m->constant_cap, sizeof *m->constants);
    m->constants[m->nconstant] = (CConstant){ctype, data, count, m->weights, call};
    m->weights += (bytes + C_ALIGN - 1) / C_ALIGN * C_ALIGN;
    return m->nconstant++;
}

/* The constant at input i of the call. */
static int constant_at(CModel *m, int call, int i)
{
    const Call *c = m->calls[call];
    const Buf *b = c->in[i];
    const char *type = prototype_find(c->kernel->name)->types[i];
    const Kernel *k = portable(c->kernel);
    if (i != 1 || !k->pack)
        return constant_of(m, strcmp(type, "void") ? type : untyped(c), b->data, b->bytes, call);
    size_t bytes = k->pack_bytes(c->params);
    void *packed = arena_aligned(m->arena, bytes);
    k->pack(c->params, b->data, packed);
    return constant_of(m, strcmp(type, "void") ? type : "int8_t", packed, bytes, call);
}

/* What a body reads of constants: bytes of any type. */
static void body_constants(CModel *m, int call)
{
    const Call *c = m->calls[call];
    m->used[call] = arena_array(m->arena, (size_t)c->nin + 1, sizeof *m->used[call]);
    for (int k = 0; k < c->nin; k++) {
        const Buf *b = c->in[k];
        const char *type = b->bytes % 8 ? b->bytes % 4 ? "int8_t" : "int32_t" : "int64_t";
        m->used[call][k] = b->data ? constant_of(m, type, b->data, b->bytes, call) : -1;
    }
}

bool c_constants(CModel *m)
{
    m->used = arena_array(m->arena, (size_t)m->ncall, sizeof *m->used);
    for (int i = 0; i < m->ncall; i++) {
        const Call *c = m->calls[i];
        if (!c->kernel) {
            body_constants(m, i);
            continue;
        }
        m->used[i] = arena_array(m->arena, (size_t)c->nin + 1, sizeof *m->used[i]);
        for (int k = 0; k < c->nin; k++)
            m->used[i][k] = c->in[k] && c->in[k]->data ? constant_at(m, i, k) : -1;
        if (c->kernel->pack && !c->in[1]->data)
            return qonnx_fail(m->cx, c->node,
                              "its weights are computed while the model runs, which "
                              "compiled code cannot do; make them an initializer");
    }
    if (!m->weights) m->weights = C_ALIGN; /* C has no empty arrays */
    return true;
}

bool c_is_integer(const CModel *m)
{
    for (int i = 0; i < m->ncall; i++)
        if (m->calls[i]->kernel && prototype_find(m->calls[i]->kernel->name)->contracts)
            return false;
    return true;
}

void c_print_weights(const CModel *m, FILE *f)
{
    static const char zeros[C_ALIGN];
    size_t at = 0;
    for (int i = 0; i < m->nconstant; i++) {
        const CConstant *k = &m->constants[i];
        size_t bytes = k->count * text_type_bytes(k->ctype);
        fwrite(zeros, 1, k->offset - at, f);
        fwrite(k->data, 1, bytes, f);
        at = k->offset + bytes;
    }
    fwrite(zeros, 1, m->weights - at, f);
}
