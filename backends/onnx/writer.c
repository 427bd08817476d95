/* backends/onnx/writer.c - a Graph to an ONNX file. Messages that came from the source file are
 * written again, field by field as they were; only what the graph changed is built anew. So a graph
 * that nobody edited gives the bytes it was read from, when its writer was canonical.
 */
#include "backends/atomic_file.h"
#include "ir/bundle.h"
#include "onnx.pb-c.h"
#include <string.h>

typedef struct Writer {
    Arena *arena; /* of the messages being built */
} Writer;

/* protobuf-c's strings are not const. */
static char *str(const char *s) { return (char *)(uintptr_t)s; }

static void *list(Writer *w, size_t n)
{
    return n ? arena_array(w->arena, n, sizeof(void *)) : NULL;
}

/* ---- tensors and attributes ------------------------------------------------------------------ */

static void write_strings(Writer *w, const Tensor *t, Onnx__TensorProto *p)
{
    p->n_string_data = (size_t)tensor_count(t);
    p->string_data = arena_array(w->arena, p->n_string_data + 1, sizeof *p->string_data);
    for (size_t i = 0; i < p->n_string_data; i++) {
        qonnx_string s = qonnx_tensor_string(t, (int64_t)i);
        p->string_data[i] = (ProtobufCBinaryData){s.bytes, (uint8_t *)(uintptr_t)s.text};
    }
}

static Onnx__TensorProto *write_tensor(Writer *w, const Tensor *t, const char *name)
{
    Onnx__TensorProto *p = arena_alloc(w->arena, sizeof *p);
    onnx__tensor_proto__init(p);
    p->name = str(name);
    p->has_data_type = 1;
    p->data_type = (int32_t)t->dtype;
    p->n_dims = (size_t)t->rank;
    p->dims = arena_copy(w->arena, t->dims, (size_t)t->rank * sizeof *t->dims);
    if (t->dtype == QONNX_STRING) {
        write_strings(w, t, p);
        return p;
    }
    p->has_raw_data = 1;
    p->raw_data.len = t->bytes;
    p->raw_data.data = (uint8_t *)(uintptr_t)t->data;
    return p;
}

/* A tensor as it was in the file, with external data brought in. */
static Onnx__TensorProto *write_as_read(Writer *w, const Onnx__TensorProto *s, const Tensor *t)
{
    Onnx__TensorProto *p = arena_copy(w->arena, s, sizeof *s);
    if (s->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) return p;
    p->has_data_location = 0;
    p->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    p->n_external_data = 0;
    p->has_raw_data = 1;
    p->raw_data.len = t->bytes;
    p->raw_data.data = (uint8_t *)(uintptr_t)t->data;
    return p;
}

static Onnx__TensorProto *write_constant(Writer *w, const Value *v)
{
    return v->source ? write_as_read(w, v->source, v->data) : write_tensor(w, v->data, v->name);
}

static Onnx__GraphProto *write_graph(Writer *w, const Graph *g);

static Onnx__AttributeProto *write_attr(Writer *w, const Attr *a)
{
    Onnx__AttributeProto *p = arena_alloc(w->arena, sizeof *p);
    if (a->source) {
        *p = *(const Onnx__AttributeProto *)a->source;
        if (a->type == ATTR_TENSOR) p->t = write_as_read(w, p->t, a->tensor);
        if (a->type == ATTR_GRAPH) p->g = write_graph(w, a->graphs[0]);
        if (a->type == ATTR_GRAPHS) {
            p->graphs = list(w, p->n_graphs);
            for (size_t i = 0; i < p->n_graphs; i++) p->graphs[i] = write_graph(w, a->graphs[i]);
        }
        return p;
    }
    onnx__attribute_proto__init(p);
    p->name = str(a->name);
    p->has_type = 1;
    p->type = (Onnx__AttributeProto__AttributeType)a->type;
    switch (a->type) {
    case ATTR_FLOAT: p->has_f = 1, p->f = a->f; break;
    case ATTR_INT: p->has_i = 1, p->i = a->i; break;
    case ATTR_STRING:
        p->has_s = 1;
        p->s.len = strlen(a->s);
        p->s.data = (uint8_t *)(uintptr_t)a->s;
        break;
    case ATTR_INTS:
        p->n_ints = (size_t)a->count;
        p->ints = arena_copy(w->arena, a->ints, p->n_ints * sizeof *a->ints);
        break;
    case ATTR_FLOATS:
        p->n_floats = (size_t)a->count;
        p->floats = arena_copy(w->arena, a->floats, p->n_floats * sizeof *a->floats);
        break;
    case ATTR_TENSOR: p->t = write_tensor(w, a->tensor, ""); break;
    default: break;
    }
    return p;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static char **write_names(Writer *w, Value *const *values, int n)
{
    char **names = list(w, (size_t)n);
    for (int i = 0; i < n; i++) names[i] = str(values[i] ? values[i]->name : "");
    return names;
}

static Onnx__NodeProto *write_node(Writer *w, const Node *n)
{
    Onnx__NodeProto *p = arena_alloc(w->arena, sizeof *p);
    if (n->source) {
        *p = *(const Onnx__NodeProto *)n->source;
    } else {
        onnx__node_proto__init(p);
        if (n->domain[0]) p->domain = str(n->domain);
    }
    if (n->name[0] && (!p->name || strcmp(p->name, n->name))) p->name = str(n->name);
    if (!p->op_type || strcmp(p->op_type, n->op)) p->op_type = str(n->op);
    p->n_input = (size_t)n->nin;
    p->input = write_names(w, n->in, n->nin);
    p->n_output = (size_t)n->nout;
    p->output = write_names(w, n->out, n->nout);
    p->n_attribute = (size_t)n->nattr;
    p->attribute = list(w, p->n_attribute);
    for (int i = 0; i < n->nattr; i++) p->attribute[i] = write_attr(w, &n->attrs[i]);
    return p;
}

/* ---- values ---------------------------------------------------------------------------------- */

static Onnx__TypeProto *write_tensor_type(Writer *w, const Value *v)
{
    Onnx__TypeProto *t = arena_alloc(w->arena, sizeof *t);
    Onnx__TypeProto__Tensor *x = arena_alloc(w->arena, sizeof *x);
    onnx__type_proto__init(t);
    onnx__type_proto__tensor__init(x);
    t->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    t->tensor_type = x;
    x->has_elem_type = 1;
    x->elem_type = (int32_t)bundle_element(v->dtype);
    if (v->shape.rank < 0) return t;
    Onnx__TensorShapeProto *s = x->shape = arena_alloc(w->arena, sizeof *s);
    onnx__tensor_shape_proto__init(s);
    s->n_dim = (size_t)v->shape.rank;
    s->dim = list(w, s->n_dim);
    for (size_t i = 0; i < s->n_dim; i++) {
        Onnx__TensorShapeProto__Dimension *d = s->dim[i] = arena_alloc(w->arena, sizeof *d);
        onnx__tensor_shape_proto__dimension__init(d);
        if (v->shape.dim[i] >= 0) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = v->shape.dim[i];
        } else if (v->shape.sym[i]) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = str(v->shape.sym[i]);
        }
    }
    return t;
}

static Onnx__TypeProto *write_type(Writer *w, const Value *v)
{
    Onnx__TypeProto *inner = write_tensor_type(w, v), *t = inner;
    if ((unsigned)v->dtype & QONNX_SEQUENCE) {
        t = arena_alloc(w->arena, sizeof *t);
        onnx__type_proto__init(t);
        t->value_case = ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE;
        t->sequence_type = arena_alloc(w->arena, sizeof *t->sequence_type);
        onnx__type_proto__sequence__init(t->sequence_type);
        t->sequence_type->elem_type = inner;
        inner = t;
    }
    if ((unsigned)v->dtype & QONNX_OPTIONAL) {
        t = arena_alloc(w->arena, sizeof *t);
        onnx__type_proto__init(t);
        t->value_case = ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE;
        t->optional_type = arena_alloc(w->arena, sizeof *t->optional_type);
        onnx__type_proto__optional__init(t->optional_type);
        t->optional_type->elem_type = inner;
    }
    return t;
}

/* An entry of the file with the value's type and shape, where these are others now. */
static Onnx__ValueInfoProto *retype_info(Writer *w, const Value *v, Onnx__ValueInfoProto *entry)
{
    if (!v->retyped || !v->dtype) return entry;
    Onnx__ValueInfoProto *p = arena_copy(w->arena, entry, sizeof *p);
    p->type = write_type(w, v);
    if (entry->type) p->type->denotation = entry->type->denotation;
    return p;
}

/* The value's entry as it was in `entries`, else a new one. It is looked for from `*next` on, since
 * they are in the order of the values, and `*next` is then behind it. */
static Onnx__ValueInfoProto *write_info(Writer *w, const Value *v, size_t n,
                                        Onnx__ValueInfoProto *const *entries, size_t *next)
{
    for (size_t k = 0; k < n; k++) {
        size_t i = *next + k < n ? *next + k : *next + k - n;
        if (!entries[i]->name || strcmp(entries[i]->name, v->name)) continue;
        *next = i + 1;
        return retype_info(w, v, entries[i]);
    }
    Onnx__ValueInfoProto *p = arena_alloc(w->arena, sizeof *p);
    onnx__value_info_proto__init(p);
    p->name = str(v->name);
    if (v->dtype) p->type = write_type(w, v);
    return p;
}

/* Writes the value_info entries that still speak of something in the graph. */
static void write_infos(Writer *w, const Graph *g, size_t n, Onnx__ValueInfoProto *const *entries,
                        Onnx__GraphProto *p)
{
    p->n_value_info = 0;
    p->value_info = list(w, n);
    for (size_t i = 0; i < n; i++) {
        const Value *v = graph_own(g, entries[i]->name ? entries[i]->name : "");
        if (v && !v->def && !v->data && !v->input_count) continue;
        p->value_info[p->n_value_info++] = v ? retype_info(w, v, entries[i]) : entries[i];
    }
}

static Onnx__GraphProto *write_graph(Writer *w, const Graph *g)
{
    Onnx__GraphProto *p = arena_alloc(w->arena, sizeof *p), s;
    if (g->source) *p = *(const Onnx__GraphProto *)g->source;
    else onnx__graph_proto__init(p);
    s = *p;

    size_t nodes = 0;
    for (const Node *n = g->first; n; n = n->next) nodes++;
    p->node = list(w, nodes);
    p->n_node = 0;
    for (const Node *n = g->first; n; n = n->next) p->node[p->n_node++] = write_node(w, n);

    p->n_initializer = (size_t)g->nconstant;
    p->initializer = list(w, p->n_initializer);
    for (int i = 0; i < g->nconstant; i++) p->initializer[i] = write_constant(w, g->constants[i]);

    p->n_input = (size_t)g->ninput;
    p->input = list(w, p->n_input);
    size_t next = 0;
    for (int i = 0; i < g->ninput; i++)
        p->input[i] = write_info(w, g->inputs[i], s.n_input, s.input, &next);

    p->n_output = (size_t)g->noutput;
    p->output = list(w, p->n_output);
    next = 0;
    for (int i = 0; i < g->noutput; i++)
        p->output[i] = write_info(w, g->outputs[i], s.n_output, s.output, &next);

    write_infos(w, g, s.n_value_info, s.value_info, p);
    return p;
}

/* ---- the model ------------------------------------------------------------------------------- */

static void write_opsets(Writer *w, const Model *m, Onnx__ModelProto *p)
{
    size_t from_file = p->n_opset_import;
    Onnx__OperatorSetIdProto **all = list(w, (size_t)m->nopset);
    for (int i = 0; i < m->nopset; i++) {
        bool kept = (size_t)i < from_file;
        all[i] = kept ? p->opset_import[i] : NULL;
        if (kept && all[i]->version == m->opsets[i].version) continue;
        Onnx__OperatorSetIdProto *o = arena_alloc(w->arena, sizeof *o);
        if (kept) *o = *all[i];
        else onnx__operator_set_id_proto__init(o);
        if (!kept) o->domain = str(m->opsets[i].domain);
        o->has_version = 1;
        o->version = m->opsets[i].version;
        all[i] = o;
    }
    p->opset_import = all;
    p->n_opset_import = (size_t)m->nopset;
}

static void write_props(Writer *w, const Model *m, Onnx__ModelProto *p)
{
    size_t from_file = p->n_metadata_props;
    Onnx__StringStringEntryProto **props = list(w, (size_t)m->nprop);
    for (int i = 0; i < m->nprop; i++) {
        bool kept = (size_t)i < from_file;
        if (kept) {
            props[i] = p->metadata_props[i];
            const char *value = props[i]->value ? props[i]->value : "";
            if (!strcmp(value, m->props[i].value)) continue;
        }
        Onnx__StringStringEntryProto *e = arena_alloc(w->arena, sizeof *e);
        if (kept) *e = *props[i];
        else onnx__string_string_entry_proto__init(e);
        e->key = str(m->props[i].key);
        e->value = str(m->props[i].value);
        props[i] = e;
    }
    p->metadata_props = props;
    p->n_metadata_props = (size_t)m->nprop;
}

static Onnx__ModelProto *write_model(Writer *w, const Graph *g)
{
    const Model *m = g->model;
    Onnx__ModelProto *p = arena_copy(w->arena, m->source, sizeof *p);
    if (p->ir_version != m->ir_version) {
        p->has_ir_version = 1;
        p->ir_version = m->ir_version;
    }
    if (m->inlined) p->n_functions = 0;
    write_opsets(w, m, p);
    write_props(w, m, p);
    p->graph = write_graph(w, g);
    return p;
}

/* A protobuf-c sink that writes on to a file. */
typedef struct Sink {
    ProtobufCBuffer base;
    AtomicFile *file;
    bool failed;
} Sink;

static void sink_append(ProtobufCBuffer *base, size_t len, const uint8_t *data)
{
    Sink *s = (Sink *)base;
    if (!s->failed && !atomic_write(s->file, data, len)) s->failed = true;
}

size_t qonnx_model_size(const Graph *g)
{
    Writer w = {arena_new()};
    const size_t bytes = protobuf_c_message_get_packed_size(&write_model(&w, g)->base);
    arena_free(w.arena);
    return bytes;
}

bool qonnx_model_save(Ctx *cx, const Graph *g, const char *path)
{
    Writer w = {arena_new()};
    Onnx__ModelProto *p = write_model(&w, g);
    size_t bytes = protobuf_c_message_get_packed_size(&p->base);
    bool ok =
        bytes <= INT32_MAX ||
        qonnx_fail(
            cx, NULL,
            "%s: the model would take %zu bytes, an ONNX file at most 2 GiB; nothing was written",
            path, bytes);
    AtomicFile *file = ok ? atomic_open(cx, path) : NULL;
    if (file) {
        Sink sink = {{sink_append}, file, false};
        protobuf_c_message_pack_to_buffer(&p->base, &sink.base);
        ok = !sink.failed;
        if (!ok) atomic_abort(file);
        else ok = atomic_commit(file);
    }
    arena_free(w.arena);
    return ok && file;
}
