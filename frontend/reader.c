/* frontend/reader.c - an ONNX file to a Graph: map, unpack, then build, checking each thing once,
 * here. The messages stay in the graph's arena, and the file stays mapped: what we do not read is
 * written back from them, and tensors are never copied.
 */
#include "frontend/reader.h"
#include "frontend/file.h"
#include "frontend/tensor.h"
#include "frontend/wire.h"
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

static const char *text(const char *s) { return s ? s : ""; }

/* The name of a value as the model has it, where it is read. */
static const char *value_name(const Reader *r, const char *s)
{
    return r->call ? call_value(r, text(s)) : text(s);
}

/* The same where it is made; NULL on failure. */
static const char *new_name(const Reader *r, const char *s)
{
    return r->call ? call_new_value(r, text(s)) : text(s);
}

/* ---- tensors and types ----------------------------------------------------------------------- */

static void *tensor_alloc(void *user, size_t bytes)
{
    return arena_aligned(((Reader *)user)->arena, bytes);
}

static void close_external(void *files) { external_free(files); }

static bool external_data(void *user, const Onnx__TensorProto *t, size_t bytes, const void **data)
{
    Reader *r = user;
    if (!r->external) {
        r->external = external_new(dirname(arena_string(r->arena, r->path)));
        arena_on_free(r->arena, close_external, r->external);
    }
    return external_open(r->cx, r->external, t, bytes, data);
}

/* `node` is the one it is an attribute of; NULL: an initializer. */
static const Tensor *read_tensor(Reader *r, const Node *node, const Onnx__TensorProto *p)
{
    Tensor *t = arena_alloc(r->arena, sizeof *t);
    const char *what = node
                           ? arena_printf(r->arena, "tensor '%s'", text(p->name))
                           : arena_printf(r->arena, "%s: initializer '%s'", r->path, text(p->name));
    return tensor_from_proto(r->cx, node, what, p, tensor_alloc, external_data, r, t) ? t : NULL;
}

static bool read_shape(Reader *r, Value *v, const Onnx__TensorShapeProto *p)
{
    if (p->n_dim > QONNX_MAX_RANK)
        return qonnx_fail(r->cx, NULL, "%s: '%s' has rank %zu, at most %d are supported", r->path,
                          v->name, p->n_dim, QONNX_MAX_RANK);
    v->shape.rank = (int)p->n_dim;
    for (size_t i = 0; i < p->n_dim; i++) {
        const Onnx__TensorShapeProto__Dimension *d = p->dim[i];
        v->shape.dim[i] = -1;
        v->shape.sym[i] = NULL;
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM)
            v->shape.sym[i] = d->dim_param;
        if (d->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) continue;
        if (d->dim_value > INT32_MAX)
            return qonnx_fail(r->cx, NULL,
                              "%s: dimension %zu of '%s' is %lld, want at most 2^31 - 1", r->path,
                              i, v->name, (long long)d->dim_value);
        if (d->dim_value >= 0) v->shape.dim[i] = d->dim_value; /* exporters write -1 for open */
    }
    return true;
}

/* A type without shapes; QONNX_UNDEFINED: one that is only carried. */
static DType read_type(const Onnx__TypeProto *t)
{
    unsigned kinds = 0;
    if (t && t->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE) {
        kinds |= QONNX_OPTIONAL;
        t = t->optional_type->elem_type;
    }
    if (t && t->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE) {
        kinds |= QONNX_SEQUENCE;
        t = t->sequence_type->elem_type;
    }
    if (!t || t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return QONNX_UNDEFINED;
    enum { UNKNOWN = QONNX_SEQUENCE - 1 }; /* a number that no type has */
    int32_t element = t->tensor_type->elem_type;
    if (element < 0 || element > UNKNOWN) element = UNKNOWN;
    return kinds && !element ? QONNX_UNDEFINED : (DType)((unsigned)element | kinds);
}

/* Takes type and shape of a value from a ValueInfoProto; types that are not known are carried. */
static bool read_info(Reader *r, Value *v, const Onnx__ValueInfoProto *p)
{
    v->info = p;
    const Onnx__TypeProto *t = p->type;
    if (!t || v->data) return true;
    v->dtype = read_type(t);
    if (t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return true;
    return !t->tensor_type->shape || read_shape(r, v, t->tensor_type->shape);
}

/* ---- attributes ------------------------------------------------------------------------------ */

static bool read_graphs(Reader *r, Node *n, Attr *a, size_t count, Onnx__GraphProto *const *list)
{
    Graph **graphs = arena_array(r->arena, count, sizeof *graphs);
    for (size_t i = 0; i < count; i++)
        if (!list[i] || !(graphs[i] = reader_graph(r, list[i], n->graph, n))) return false;
    node_set_graphs(n, a, graphs, (int)count);
    return true;
}

/* The type of an attribute from before types were written down: by the field it has. */
static int guess_type(const Onnx__AttributeProto *p)
{
    return p->has_f       ? ATTR_FLOAT
           : p->has_i     ? ATTR_INT
           : p->has_s     ? ATTR_STRING
           : p->t         ? ATTR_TENSOR
           : p->g         ? ATTR_GRAPH
           : p->n_floats  ? ATTR_FLOATS
           : p->n_ints    ? ATTR_INTS
           : p->n_strings ? ATTR_STRINGS
           : p->n_graphs  ? ATTR_GRAPHS
                          : 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whether the attributes of a node have names of their own. */
static bool check_names(Reader *r, const Node *n, const Onnx__NodeProto *s)
{
    const char **names = xmalloc_array(s->n_attribute + 1, sizeof *names), *twice = NULL;
    for (size_t i = 0; i < s->n_attribute; i++) names[i] = text(s->attribute[i]->name);
    qsort(names, s->n_attribute, sizeof *names, compare_names);
    for (size_t i = 1; i < s->n_attribute && !twice; i++)
        if (!strcmp(names[i - 1], names[i])) twice = names[i];
    free(names);
    return !twice || qonnx_fail(r->cx, n, "attribute '%s' is there twice", twice);
}

static bool is_external(const Onnx__TensorProto *t)
{
    return t && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

static bool is_sparse_external(const Onnx__SparseTensorProto *t)
{
    return is_external(t->values) || is_external(t->indices);
}

/* Attributes that are carried as they are take no data from other files along. */
static bool holds_its_data(Reader *r, const Node *n, const Onnx__AttributeProto *p)
{
    bool elsewhere = false;
    for (size_t i = 0; i < p->n_tensors; i++) elsewhere |= is_external(p->tensors[i]);
    for (size_t i = 0; i < p->n_sparse_tensors; i++)
        elsewhere |= is_sparse_external(p->sparse_tensors[i]);
    if (p->sparse_tensor) elsewhere |= is_sparse_external(p->sparse_tensor);
    return !elsewhere ||
           qonnx_fail(r->cx, n,
                      "attribute '%s' has lists or sparse tensors in another file, which is not "
                      "supported; save the model with all data in one file",
                      text(p->name));
}

static char *read_string(Reader *r, const ProtobufCBinaryData *from)
{
    char *s = arena_alloc(r->arena, from->len + 1);
    if (from->len) memcpy(s, from->data, from->len);
    return s;
}

static bool read_attr(Reader *r, Node *n, const Onnx__AttributeProto *p);

static const Onnx__AttributeProto *rename_attr(Reader *r, const Onnx__AttributeProto *from,
                                               char *name)
{
    Onnx__AttributeProto *p = arena_copy(r->arena, from, sizeof *p);
    p->name = name;
    p->ref_attr_name = NULL;
    return p;
}

/* An attribute of a function's body that stands for one of the call. Where the call leaves that
 * out, and there is no default, it is left out, too. */
static bool read_reference(Reader *r, Node *n, const Onnx__AttributeProto *p)
{
    const Attr *given;
    const Onnx__AttributeProto *dflt;
    if (!call_attr(r, n, p->ref_attr_name, &given, &dflt)) return false;
    if (dflt) return read_attr(r, n, rename_attr(r, dflt, p->name));
    if (!given) return true;
    Attr *a = node_add_attr(n, text(p->name));
    const char *name = a->name;
    *a = *given;
    a->name = name;
    if (given->source) a->source = rename_attr(r, given->source, p->name);
    return true;
}

static bool read_attr(Reader *r, Node *n, const Onnx__AttributeProto *p)
{
    if (r->call && *text(p->ref_attr_name)) return read_reference(r, n, p);
    Attr *a = node_add_attr(n, text(p->name));
    a->type = p->has_type && p->type ? (int)p->type : guess_type(p);
    a->source = p;
    switch (a->type) {
    case ATTR_FLOAT: a->f = p->f; return true;
    case ATTR_INT: a->i = p->i; return true;
    case ATTR_STRING: a->s = read_string(r, &p->s); return true;
    case ATTR_STRINGS:
        a->count = (int)p->n_strings;
        a->strings = arena_array(r->arena, p->n_strings + 1, sizeof *a->strings);
        for (size_t i = 0; i < p->n_strings; i++) a->strings[i] = read_string(r, &p->strings[i]);
        return true;
    case ATTR_FLOATS:
        a->count = (int)p->n_floats;
        a->floats = p->n_floats ? p->floats : arena_alloc(r->arena, 1);
        return true;
    case ATTR_INTS:
        a->count = (int)p->n_ints;
        a->ints = p->n_ints ? p->ints : arena_alloc(r->arena, 1);
        return true;
    case ATTR_TENSOR:
        if (!p->t) return qonnx_fail(r->cx, n, "attribute '%s' has no tensor", a->name);
        return (a->tensor = read_tensor(r, n, p->t)) != NULL;
    case ATTR_GRAPH:
        if (!p->g) return qonnx_fail(r->cx, n, "attribute '%s' has no graph", a->name);
        return read_graphs(r, n, a, 1, &p->g);
    case ATTR_GRAPHS: return read_graphs(r, n, a, p->n_graphs, p->graphs);
    case ATTR_TYPE: a->i = read_type(p->tp); return true;
    default: return holds_its_data(r, n, p);
    }
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static bool read_inputs(Reader *r, Graph *g, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = new_name(r, p->input[i]->name);
        if (!name) return false;
        if (graph_own(g, name))
            return qonnx_fail(r->cx, NULL, "%s: graph input '%s' is there twice", r->path, name);
        Value *v = graph_value(g, name);
        graph_put_input(g, v);
        if (!read_info(r, v, p->input[i])) return false;
    }
    return true;
}

static bool same_tensor(const Tensor *a, const Tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank && a->dtype != QONNX_STRING &&
           !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) && a->bytes == b->bytes &&
           (!a->bytes || !memcmp(a->data, b->data, a->bytes));
}

static bool read_initializers(Reader *r, Graph *g, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_initializer; i++) {
        const Onnx__TensorProto *t = p->initializer[i];
        const char *name = new_name(r, t->name);
        const Tensor *data = name ? read_tensor(r, NULL, t) : NULL;
        if (!data) return false;
        Value *v = graph_value(g, name);
        if (v->data && !same_tensor(v->data, data))
            return qonnx_fail(r->cx, NULL, "%s: initializer '%s' is there twice", r->path, v->name);
        if (v->data) {
            qonnx_warn(r->cx, NULL, "%s: initializer '%s' is there twice, the same; one is kept",
                       r->path, v->name);
            continue;
        }
        graph_put_constant(g, v, data);
        if (!r->call) v->source = t;
    }
    return true;
}

/* Makes the nodes and their outputs, so that inputs can be looked up whatever the order. */
static bool read_outputs(Reader *r, Graph *g, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_node; i++) {
        const Onnx__NodeProto *s = p->node[i];
        if (s->n_input > INT16_MAX || s->n_output > INT16_MAX)
            return qonnx_fail(r->cx, NULL, "%s: node '%s' has %zu inputs and %zu outputs", r->path,
                              text(s->name), s->n_input, s->n_output);
        Node *n = graph_append(g, text(s->op_type), text(s->domain),
                               r->call ? call_node(r, text(s->name)) : text(s->name),
                               (int)s->n_input, (int)s->n_output);
        n->source = s;
        n->called = function_is_called(r, n);
        if (n->called) n->row = NULL;
        for (size_t k = 0; k < s->n_output; k++) {
            if (!s->output[k][0]) continue;
            const char *name = new_name(r, s->output[k]);
            if (!name) return false;
            Value *v = graph_value(g, name);
            if (v->def) return qonnx_fail(r->cx, n, "'%s' is an output of two nodes", v->name);
            if (v->input_count || v->data)
                return qonnx_fail(r->cx, n, "output '%s' is also a graph input or initializer",
                                  v->name);
            qonnx_node_set_output(n, (int)k, v);
        }
    }
    return true;
}

static bool is_sparse(const Onnx__GraphProto *p, const char *name)
{
    for (size_t i = 0; i < p->n_sparse_initializer; i++) {
        const Onnx__TensorProto *t = p->sparse_initializer[i]->values;
        if (t && !strcmp(text(t->name), name)) return true;
    }
    return false;
}

/* Wires the inputs. A name that nobody produces gets a value without a source, which verify
 * refuses by name. */
static bool read_nodes(Reader *r, Graph *g, const Onnx__GraphProto *p)
{
    Node *n = g->first;
    for (size_t i = 0; i < p->n_node; i++, n = n->next) {
        const Onnx__NodeProto *s = p->node[i];
        for (size_t k = 0; k < s->n_input; k++) {
            const char *name = value_name(r, s->input[k]);
            if (!name[0]) continue;
            Value *v = qonnx_graph_find(g, name);
            if (!v && is_sparse(p, s->input[k]))
                return qonnx_fail(r->cx, n,
                                  "input '%s' is a sparse initializer, which is not supported; "
                                  "store it as a dense one",
                                  s->input[k]);
            qonnx_node_set_input(n, (int)k, v ? v : graph_value(g, name));
        }
        if (s->n_attribute > 1 && !check_names(r, n, s)) return false;
        for (size_t k = 0; k < s->n_attribute; k++)
            if (!read_attr(r, n, s->attribute[k])) return false;
    }
    return true;
}

static bool read_results(Reader *r, Graph *g, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_value_info; i++) {
        Value *v = graph_own(g, value_name(r, p->value_info[i]->name));
        if (v && !v->input_count && !read_info(r, v, p->value_info[i])) return false;
    }
    for (size_t i = 0; i < p->n_output; i++) {
        const char *name = value_name(r, p->output[i]->name);
        Value *v = qonnx_graph_find(g, name);
        if (!v) v = graph_value(g, name);
        graph_put_output(g, v);
        if (v->graph == g && !v->input_count && !read_info(r, v, p->output[i])) return false;
    }
    return true;
}

/* What is written again of a graph of a function's body: what names no values. */
static const Onnx__GraphProto *without_names(Reader *r, const Onnx__GraphProto *p)
{
    Onnx__GraphProto *q = arena_copy(r->arena, p, sizeof *q);
    q->n_input = q->n_output = q->n_initializer = q->n_value_info = 0;
    q->n_sparse_initializer = q->n_quantization_annotation = 0;
    return q;
}

Graph *reader_graph(Reader *r, const Onnx__GraphProto *p, Graph *parent, Node *owner)
{
    Graph *g = graph_new_sub(parent, owner);
    g->source = r->call ? without_names(r, p) : p;
    return read_inputs(r, g, p) && read_initializers(r, g, p) && read_outputs(r, g, p) &&
                   read_nodes(r, g, p) && read_results(r, g, p)
               ? g
               : NULL;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* What a file that is no ONNX model may be, by its first bytes. */
static const char *sniff(const uint8_t *b, size_t n)
{
    static const struct {
        const char *magic;
        size_t at, len;
        const char *what;
    } kinds[] = {
        {"PK\3\4", 0, 4, "a zip archive; unpack it first"},
        {"<!DOCTYPE", 0, 9, "a web page; the download failed"},
        {"<html", 0, 5, "a web page; the download failed"},
        {"version https://git-lfs", 0, 23, "a Git LFS pointer; run `git lfs pull`"},
        {"TFL3", 4, 4, "a TensorFlow Lite model; export it to ONNX"},
        {"GGUF", 0, 4, "a GGUF file; export the model to ONNX"},
        {"\x80\x02", 0, 2, "a Python pickle; export the model to ONNX"},
        {"\x89HDF", 0, 4, "an HDF5 (Keras) file; export the model to ONNX"},
        {"\x93NUMPY", 0, 6, "a NumPy array; name the model first, and the samples behind it"},
        {"\xff\xd8\xff", 0, 3, "a picture; name the model first, and the samples behind it"},
        {"\x89PNG", 0, 4, "a picture; name the model first, and the samples behind it"},
        {"WEBP", 8, 4, "a picture; name the model first, and the samples behind it"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (n >= kinds[i].at + kinds[i].len &&
            !memcmp(b + kinds[i].at, kinds[i].magic, kinds[i].len))
            return kinds[i].what;
    if (n > 10 && b[8] == '{' && b[9] == '"' && !b[4] && !b[5] && !b[6] && !b[7])
        return "a safetensors file; export the model to ONNX"; /* the length of its JSON leads */
    return NULL;
}

enum { NEWEST_IR = 14 }; /* the newest form of the file whose meaning is known here */

static bool read_opsets(Reader *r, Model *model, const Onnx__ModelProto *m)
{
    if (!m->n_opset_import)
        return qonnx_fail(r->cx, NULL,
                          "%s: it imports no operator set; the file is damaged, or "
                          "was made by a broken exporter",
                          r->path);
    model->opsets = arena_array(r->arena, m->n_opset_import, sizeof *model->opsets);
    int64_t own = 0;
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const char *domain = text(m->opset_import[i]->domain);
        int64_t version = m->opset_import[i]->version;
        Opset set = {!strcmp(domain, "ai.onnx") ? "" : domain, version};
        if (!set.domain[0] && (version < 1 || version > NEWEST_OPSET))
            return qonnx_fail(r->cx, NULL,
                              "%s: imports operator set %lld, want 1 to at most %d; export the "
                              "model with one of these",
                              r->path, (long long)version, NEWEST_OPSET);
        if (!set.domain[0] && own) {
            if (version == own) continue; /* some exporters say it again */
            return qonnx_fail(r->cx, NULL,
                              "%s: imports ONNX's operator set twice, as %lld and %lld", r->path,
                              (long long)own, (long long)version);
        }
        if (!set.domain[0]) own = version;
        model->opsets[model->nopset++] = set;
    }
    return true;
}

static bool read_model(Reader *r, Graph *g, const Onnx__ModelProto *m)
{
    Model *model = g->model;
    if (!m->graph)
        return qonnx_fail(r->cx, NULL, "%s: no graph in it; this is no ONNX model", r->path);
    if (!m->graph->n_output)
        return qonnx_fail(r->cx, NULL, "%s: the graph has no outputs; there is nothing to compute",
                          r->path);
    if (!read_opsets(r, model, m) || !functions_check(r, m)) return false;
    model->source = m;
    model->ir_version = m->ir_version;
    if (m->ir_version > NEWEST_IR)
        qonnx_warn(r->cx, NULL,
                   "%s: has IR version %lld, known are those to %d; what is new in it "
                   "is carried along",
                   r->path, (long long)m->ir_version, NEWEST_IR);
    model->producer = text(m->producer_name);
    model->producer_version = text(m->producer_version);
    model->nprop = model->prop_cap = (int)m->n_metadata_props;
    model->props = arena_array(r->arena, m->n_metadata_props, sizeof *model->props);
    for (size_t i = 0; i < m->n_metadata_props; i++)
        model->props[i] =
            (Property){text(m->metadata_props[i]->key), text(m->metadata_props[i]->value)};
    const Onnx__GraphProto *p = m->graph;
    g->source = p;
    return read_inputs(r, g, p) && read_initializers(r, g, p) && read_outputs(r, g, p) &&
           read_nodes(r, g, p) && read_results(r, g, p) && graph_verify(r->cx, g) &&
           qonnx_graph_refresh(r->cx, g);
}

static void unmap(void *file) { file_unmap(file); }

Graph *qonnx_model_load(Ctx *cx, const char *path)
{
    FileMap file;
    if (!file_map(cx, path, &file)) return NULL;
    input_keep(cx, path, "the model");
    Graph *g = graph_new(path);
    Arena *a = g->model->arena;
    arena_on_free(a, unmap, arena_copy(a, &file, sizeof file));
    const char *other = sniff(file.data, file.bytes);
    if (other) qonnx_fail(cx, NULL, "%s: this is no ONNX model but %s", path, other);
    const Onnx__ModelProto *m =
        other ? NULL
              : wire_unpack(cx, path, &onnx__model_proto__descriptor, file.data, file.bytes, a);
    Reader r = {.cx = cx, .path = g->model->path, .arena = a};
    bool ok = m && read_model(&r, g, m);
    g->model->external = r.external;
    g->model->bytes = file.bytes + external_bytes(r.external);
    if (ok) return g;
    qonnx_graph_free(g);
    return NULL;
}
