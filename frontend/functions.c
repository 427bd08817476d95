/* frontend/functions.c - local functions, operators that a model defines by nodes: a call becomes a
 * copy of its function's nodes. The body is read as a subgraph of the calling node, with what it
 * names renamed on the way (reader.h), and then takes the node's place.
 */
#include "frontend/reader.h"
#include "ir/arena.h"
#include <stdlib.h>
#include <string.h>

enum {
    MOST_DEPTH = 100,      /* functions that call one another */
    MOST_GROWTH = 64,      /* bytes of memory for a byte of the file ... */
    MOST_BYTES = 256 << 20 /* ... and so many more */
};

/* A formal input of a function. */
typedef struct Formal {
    const char *name;
    size_t number; /* which it is */
} Formal;

typedef struct Function {
    const Onnx__FunctionProto *proto;
    const char *domain, *name, *overload;
    Formal *formals; /* [proto->n_input] in order of their names; NULL before it is called */
} Function;

struct Call {
    const Node *node;
    Function *function;
    int number; /* of the call: what is new of it has this behind its name */
};

/* The functions whose calls led to a call. */
typedef struct Chain {
    const Function *function;
    const struct Chain *outer; /* NULL: the model's own graph */
    int depth;
} Chain;

typedef struct Inliner {
    Reader reader;
    int number;             /* of the last call */
    size_t most_bytes;      /* of the graph's memory */
    int64_t oldest, newest; /* of ONNX's operator sets that are imported; 0: none */
} Inliner;

static const char *text(const char *s) { return s ? s : ""; }
static const char *domain_of(const char *s) { return s && strcmp(s, "ai.onnx") ? s : ""; }

/* ---- the functions --------------------------------------------------------------------------- */

static int compare_functions(const void *a, const void *b)
{
    const Function *f = a, *g = b;
    int order = strcmp(f->name, g->name);
    if (!order) order = strcmp(f->domain, g->domain);
    return order ? order : strcmp(f->overload, g->overload);
}

static Function function_of(const Onnx__FunctionProto *p)
{
    return (Function){.proto = p,
                      .domain = domain_of(p->domain),
                      .name = text(p->name),
                      .overload = text(p->overload)};
}

/* "domain.name" or "domain.name:overload" */
static const char *function_text(const Reader *r, const Function *f)
{
    return arena_printf(r->arena, "%.80s%s%.80s%s%.80s", f->domain, *f->domain ? "." : "", f->name,
                        *f->overload ? ":" : "", f->overload);
}

/* Puts the functions in order; false where one is there twice. */
static bool list_functions(Reader *r, const Onnx__ModelProto *m)
{
    Function *all = arena_array(r->arena, m->n_functions + 1, sizeof *all);
    for (size_t i = 0; i < m->n_functions; i++) all[i] = function_of(m->functions[i]);
    qsort(all, m->n_functions, sizeof *all, compare_functions);
    for (size_t i = 1; i < m->n_functions; i++)
        if (!compare_functions(&all[i - 1], &all[i]))
            return qonnx_fail(r->cx, NULL, "%s: function %s is there twice", r->path,
                              function_text(r, &all[i]));
    r->functions = all;
    r->function_count = m->n_functions;
    return true;
}

static bool elsewhere(const Onnx__TensorProto *t)
{
    return t && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* Functions are carried as they are while nothing is done with the model: they hold their data. */
static bool holds_its_data(Reader *r, const Function *f)
{
    const Onnx__FunctionProto *p = f->proto;
    for (size_t i = 0; i < p->n_node; i++)
        for (size_t k = 0; k < p->node[i]->n_attribute; k++)
            if (elsewhere(p->node[i]->attribute[k]->t))
                return qonnx_fail(r->cx, NULL,
                                  "%s: function %s has a tensor in another file, which is not "
                                  "supported; save the model with all data in one file",
                                  r->path, function_text(r, f));
    return true;
}

bool functions_check(Reader *r, const Onnx__ModelProto *m)
{
    if (!m->n_functions) return true;
    if (!list_functions(r, m)) return false;
    for (size_t i = 0; i < m->n_functions; i++)
        if (!holds_its_data(r, &r->functions[i])) return false;
    return true;
}

int qonnx_model_functions(const Graph *g)
{
    const Onnx__ModelProto *m = g->model->source;
    return m && !g->model->inlined ? (int)m->n_functions : 0;
}

/* The function that a node calls; NULL: it calls none. */
static Function *find_function(const Reader *r, const Node *n)
{
    const Onnx__NodeProto *s = n->source;
    Function key = {
        .domain = domain_of(n->domain), .name = n->op, .overload = s ? text(s->overload) : ""};
    return r->functions ? bsearch(&key, r->functions, r->function_count, sizeof key,
                                  compare_functions)
                        : NULL;
}

bool function_is_called(const Reader *r, const Node *n) { return find_function(r, n) != NULL; }

/* ---- names ----------------------------------------------------------------------------------- */

static int compare_formals(const void *a, const void *b)
{
    return strcmp(((const Formal *)a)->name, ((const Formal *)b)->name);
}

/* Puts the formal inputs of a function in order, when it is called for the first time. */
static bool sort_formals(Reader *r, Function *f)
{
    size_t count = f->proto->n_input;
    if (f->formals) return true;
    f->formals = arena_array(r->arena, count + 1, sizeof *f->formals);
    for (size_t i = 0; i < count; i++) f->formals[i] = (Formal){text(f->proto->input[i]), i};
    qsort(f->formals, count, sizeof *f->formals, compare_formals);
    for (size_t i = 1; i < count; i++)
        if (!compare_formals(&f->formals[i - 1], &f->formals[i]))
            return qonnx_fail(r->cx, NULL, "%s: function %s has input '%s' twice", r->path,
                              function_text(r, f), f->formals[i].name);
    return true;
}

static const Formal *find_formal(const Call *c, const char *name)
{
    const Function *f = c->function;
    return bsearch(&(Formal){.name = name}, f->formals, f->proto->n_input, sizeof *f->formals,
                   compare_formals);
}

static const char *numbered(const Reader *r, const char *name)
{
    return arena_printf(r->arena, "%s__%d", name, r->call->number);
}

const char *call_value(const Reader *r, const char *name)
{
    if (!*name) return "";
    const Formal *formal = find_formal(r->call, name);
    if (!formal) return numbered(r, name);
    const Value *v = qonnx_node_input(r->call->node, (int)formal->number);
    return v ? v->name : "";
}

const char *call_new_value(const Reader *r, const char *name)
{
    if (!find_formal(r->call, name)) return numbered(r, name);
    qonnx_fail(r->cx, r->call->node,
               "its function %s gives '%s', an input of the function, another value",
               function_text(r, r->call->function), name);
    return NULL;
}

const char *call_node(const Reader *r, const char *name) { return *name ? numbered(r, name) : ""; }

/* ---- attributes ------------------------------------------------------------------------------ */

static const Onnx__AttributeProto *find_default(const Onnx__FunctionProto *p, const char *name)
{
    for (size_t i = 0; i < p->n_attribute_proto; i++)
        if (!strcmp(text(p->attribute_proto[i]->name), name)) return p->attribute_proto[i];
    return NULL;
}

static bool declares(const Onnx__FunctionProto *p, const char *name)
{
    for (size_t i = 0; i < p->n_attribute; i++)
        if (!strcmp(p->attribute[i], name)) return true;
    return find_default(p, name) != NULL;
}

bool call_attr(const Reader *r, const Node *n, const char *ref, const Attr **given,
               const Onnx__AttributeProto **dflt)
{
    const Function *f = r->call->function;
    *given = node_attr(r->call->node, ref);
    *dflt = *given ? NULL : find_default(f->proto, ref);
    return *given || declares(f->proto, ref) ||
           qonnx_fail(r->cx, n, "it refers to attribute '%s', which function %s does not have", ref,
                      function_text(r, f));
}

/* ---- operator sets --------------------------------------------------------------------------- */

/* Operators that a newer set has given another meaning in the same form. What has got another form
 * is refused by its form. */
static const struct {
    const char *op;
    int64_t since;
} changed[] = {{"GridSample", 20}, {"GroupNormalization", 21}, {"RoiAlign", 16}, {"Split", 18}};

/* Whether the nodes mean the same in all sets that the model and its functions import. */
static bool means_one(const Inliner *in, const Graph *g)
{
    for (const Node *n = g->first; n; n = n->next) {
        for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
            if (in->oldest < changed[i].since && changed[i].since <= in->newest &&
                qonnx_node_is(n, changed[i].op))
                return qonnx_fail(in->reader.cx, n,
                                  "the model and its functions import operator sets %lld to %lld, "
                                  "and this operator has another meaning from %lld on; export the "
                                  "model with one operator set",
                                  (long long)in->oldest, (long long)in->newest,
                                  (long long)changed[i].since);
        for (int i = 0; i < n->nsub; i++)
            if (!means_one(in, n->subs[i])) return false;
    }
    return true;
}

static bool import_own(Inliner *in, const Call *c, int64_t version)
{
    enum { SINGLE = 13 }; /* before it, forms differ that only raise-opset knows */
    Ctx *cx = in->reader.cx;
    const char *name = function_text(&in->reader, c->function);
    if (version < 1 || version > NEWEST_OPSET)
        return qonnx_fail(cx, c->node,
                          "function %s imports operator set %lld, want 1 to at most %d", name,
                          (long long)version, NEWEST_OPSET);
    bool first = !in->newest;
    if (first || version < in->oldest) in->oldest = version;
    if (first || version > in->newest) in->newest = version;
    return in->oldest == in->newest || in->oldest >= SINGLE ||
           qonnx_fail(cx, c->node,
                      "function %s imports operator set %lld, and the model %lld; below %d they "
                      "must be the same: export the model with one operator set",
                      name, (long long)version,
                      (long long)(version == in->oldest ? in->newest : in->oldest), SINGLE);
}

static bool imports(const Model *m, const char *domain)
{
    for (int i = 0; i < m->nopset; i++)
        if (!strcmp(m->opsets[i].domain, domain)) return true;
    return false;
}

/* What a function imports, the model imports from now on. */
static bool import_opsets(Inliner *in, const Call *c)
{
    const Onnx__FunctionProto *p = c->function->proto;
    Model *m = c->node->graph->model;
    for (size_t i = 0; i < p->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *o = p->opset_import[i];
        const char *domain = domain_of(o->domain);
        if (!*domain && !import_own(in, c, o->version)) return false;
        if (imports(m, domain)) continue;
        Opset *all = arena_array(in->reader.arena, (size_t)m->nopset + 1, sizeof *all);
        memcpy(all, m->opsets, (size_t)m->nopset * sizeof *all);
        all[m->nopset++] = (Opset){domain, o->version};
        m->opsets = all;
    }
    return true;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Whether the call has the form of its function. */
static bool check_call(const Inliner *in, const Node *n, const Function *f, const Chain *chain)
{
    Ctx *cx = in->reader.cx;
    const char *name = function_text(&in->reader, f);
    const Onnx__FunctionProto *p = f->proto;
    for (const Chain *c = chain; c; c = c->outer)
        if (c->function == f) return qonnx_fail(cx, n, "function %s calls itself", name);
    if (chain && chain->depth >= MOST_DEPTH)
        return qonnx_fail(cx, n, "functions call one another more than %d deep", MOST_DEPTH);
    if ((size_t)n->nin > p->n_input || (size_t)n->nout > p->n_output)
        return qonnx_fail(cx, n, "%d inputs and %d outputs, function %s has %zu and %zu", n->nin,
                          n->nout, name, p->n_input, p->n_output);
    for (int i = 0; i < n->nattr; i++) {
        if (!declares(p, n->attrs[i].name))
            return qonnx_fail(cx, n, "function %s has no attribute '%s'", name, n->attrs[i].name);
        if (n->attrs[i].graphs)
            return qonnx_fail(cx, n,
                              "attribute '%s' of function %s is a graph, which is not "
                              "supported",
                              n->attrs[i].name, name);
    }
    return true;
}

/* The function's body as a graph of the calling node. */
static Graph *read_body(Inliner *in, Node *n, Function *f)
{
    const Onnx__FunctionProto *p = f->proto;
    Arena *a = in->reader.arena;
    const Call call = {n, f, ++in->number};
    if (!sort_formals(&in->reader, f) || !import_opsets(in, &call)) return NULL;
    Onnx__GraphProto body;
    onnx__graph_proto__init(&body);
    body.n_node = p->n_node;
    body.node = p->node;
    body.n_output = (size_t)n->nout;
    body.output = arena_array(a, body.n_output, sizeof *body.output);
    for (size_t i = 0; i < body.n_output; i++) {
        body.output[i] = arena_alloc(a, sizeof **body.output);
        onnx__value_info_proto__init(body.output[i]);
        body.output[i]->name = p->output[i];
    }
    in->reader.call = &call;
    Graph *g = reader_graph(&in->reader, &body, n->graph, n);
    in->reader.call = NULL;
    return g;
}

static bool inline_nodes(Inliner *in, Node *from, const Node *to, const Chain *chain);

static bool inline_call(Inliner *in, Node *n, Function *f, const Chain *chain)
{
    const Chain inner = {f, chain, chain ? chain->depth + 1 : 1};
    Node *before = n->prev, *behind = n->next;
    Graph *g = n->graph;
    if (!check_call(in, n, f, chain)) return false;
    Graph *body = read_body(in, n, f);
    if (!body) return false;
    if (arena_bytes(in->reader.arena) > in->most_bytes)
        return qonnx_fail(in->reader.cx, n,
                          "the model's functions come to more than %d times its bytes and %d MiB; "
                          "inline them before it is given to this program",
                          MOST_GROWTH, MOST_BYTES >> 20);
    graph_splice(n, body);
    return inline_nodes(in, before ? before->next : g->first, behind, &inner);
}

/* Inlines all calls among the nodes from one up to another, those in subgraphs included. */
static bool inline_nodes(Inliner *in, Node *from, const Node *to, const Chain *chain)
{
    for (Node *n = from, *next; n != to; n = next) {
        next = n->next;
        for (int i = 0; i < n->nsub; i++)
            if (!inline_nodes(in, n->subs[i]->first, NULL, chain)) return false;
        Function *f = find_function(&in->reader, n);
        if (f && !inline_call(in, n, f, chain)) return false;
    }
    return true;
}

static bool inline_all(Inliner *in, Graph *g)
{
    Model *m = g->model;
    const Onnx__ModelProto *source = m->source;
    in->number = name_last_number(g);
    in->most_bytes = arena_bytes(m->arena) + MOST_BYTES + MOST_GROWTH * m->bytes;
    in->oldest = in->newest = qonnx_model_opset(g);
    if (!list_functions(&in->reader, source) || !inline_nodes(in, g->first, NULL, NULL))
        return false;
    m->inlined = true;
    m->node_names = NULL; /* they are counted again when one is chosen */
    if (in->oldest != in->newest && !means_one(in, g)) return false;
    if (in->newest > qonnx_model_opset(g)) qonnx_model_set_opset(g, in->newest);
    return graph_verify(in->reader.cx, g) && qonnx_graph_refresh(in->reader.cx, g);
}

bool qonnx_graph_inline_functions(Ctx *cx, Graph *g)
{
    Model *m = g->model;
    if (!qonnx_model_functions(g)) return true;
    Inliner in = {.reader = {.cx = cx,
                             .path = m->path,
                             .arena = m->arena,
                             .external = (ExternalFiles *)(uintptr_t)m->external}};
    return inline_all(&in, m->main);
}
