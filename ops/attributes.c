/* ops/attributes.c - whether a node has the form that its operator set gives it: the operator and
 * its attributes, by a table for each domain.
 */
#include "ops/op.h"
#include <stdlib.h>
#include <string.h>

/* An operator in a table, which is sorted by names.
 *
 * An attribute is NAME:TYPE[SINCE][-UNTIL], both operator sets included: from the operator's first
 * on without SINCE, to its last without UNTIL. Types: f i s t g are one float, integer, string,
 * tensor, graph; F I S lists of them; p a sparse tensor; y a type. An attribute that has changed is
 * there twice. */
typedef struct Listed {
    const char *name;
    int since, until;       /* operator sets in which it exists; until 0: it is there still */
    const char *attributes; /* between blanks */
} Listed;

#include "ops/microsoft_operators.h"
#include "ops/ml_operators.h"
#include "ops/onnx_operators.h"

/* A domain whose operators are known. */
typedef struct Domain {
    const char *name;
    const Listed *operators;
    size_t count;   /* of them */
    int newest;     /* operator set that the table is of */
    const char *of; /* what stands behind the number of a set in messages */
} Domain;

#define LIST(rows) rows, sizeof rows / sizeof *rows
static const Domain domains[] = {
    {"", LIST(onnx_operators), NEWEST_OPSET, ""},
    {"ai.onnx.ml", LIST(ml_operators), 5, " of ai.onnx.ml"},
    {"com.microsoft", LIST(microsoft_operators), 1, " of com.microsoft"},
};

/* One form of an attribute. */
typedef struct Form {
    int type; /* ATTR_... */
    int64_t since, until;
} Form;

static const char *type_name(int type)
{
    static const char *const names[] = {
        "of no known type", "a float",         "an integer",     "a string", "a tensor",
        "a graph",          "floats",          "integers",       "strings",  "tensors",
        "graphs",           "a sparse tensor", "sparse tensors", "a type",   "types"};
    return type > 0 && (size_t)type < sizeof names / sizeof *names ? names[type] : names[0];
}

static int type_of(char letter)
{
    static const char letters[] = "fistgFIS__p_y"; /* by ATTR_... - 1 */
    return (int)(strchr(letters, letter) - letters) + 1;
}

static int compare_names(const void *name, const void *row)
{
    return strcmp(name, ((const Listed *)row)->name);
}

/* What the tables have of a node. */
typedef struct Found {
    const Domain *domain; /* NULL: it has no table */
    const Listed *op; /* NULL: nothing is known of it */
} Found;

static Found find_name(const char *domain, const char *name)
{
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
        const Domain *d = &domains[i];
        if (!strcmp(d->name, domain))
            return (Found){d, bsearch(name, d->operators, d->count, sizeof *d->operators,
                                      compare_names)};
    }
    return (Found){NULL, NULL};
}

void op_sets(const Op *op, int *since, int *until)
{
    const Listed *o = find_name(op->domain ? op->domain : "", op->name).op;
    *since = o ? o->since : 0;
    *until = o ? o->until : 0;
}

/* Reads the next form of the attribute behind *at; false when there is none. */
static bool next_form(const Listed *op, const char *name, const char **at, Form *f)
{
    size_t length = strlen(name);
    while (**at) {
        const char *word = *at;
        size_t n = strcspn(word, ": ");
        *at += strcspn(*at, " ");
        *at += strspn(*at, " ");
        if (n != length || memcmp(word, name, n)) continue;
        char *end = (char *)word + n + 2;
        f->type = type_of(word[n + 1]);
        f->since = *end >= '0' && *end <= '9' ? strtol(end, &end, 10) : op->since;
        f->until = *end == '-' ? strtol(end + 1, NULL, 10) : op->until ? op->until : INT64_MAX;
        return true;
    }
    return false;
}

/* Whether any operator set has the attribute with that type, or none has the attribute at all. */
static bool type_exists(const Listed *op, const Attr *a, int *want)
{
    Form f;
    *want = 0;
    for (const char *at = op->attributes; next_form(op, a->name, &at, &f);) {
        if (f.type == a->type) return true;
        *want = f.type;
    }
    return !*want;
}

bool op_check_attributes(Ctx *cx, const Node *n)
{
    const Listed *op = find_name(n->domain, n->op).op;
    int want;
    for (int i = 0; op && i < n->nattr; i++)
        if (!type_exists(op, &n->attrs[i], &want))
            return qonnx_fail(cx, n, "attribute %s is %s, want %s", n->attrs[i].name,
                              type_name(n->attrs[i].type), type_name(want));
    return true;
}

/* ---- by operator set ------------------------------------------------------------------------- */

static bool operator_exists(Why *why, Found at, int64_t opset)
{
    const Listed *op = at.op;
    const char *of = at.domain->of;
    if (opset < op->since)
        return why_not(why,
                       "operator set %lld%s has no %s, which came with %d; export the model with "
                       "operator set %d or newer",
                       (long long)opset, of, op->name, op->since, op->since);
    return !op->until || opset <= op->until ||
           why_not(why,
                   "operator set %lld%s has no %s, which went after %d; export the model again",
                   (long long)opset, of, op->name, op->until);
}

static bool attribute_exists(Why *why, Found at, const Attr *a, int64_t opset)
{
    const char *of = at.domain->of;
    Form f, best = {0, 0, 0};
    for (const char *next = at.op->attributes; next_form(at.op, a->name, &next, &f);) {
        if (opset < f.since || opset > f.until) {
            best = f;
            continue;
        }
        return f.type == a->type ||
               why_not(why, "attribute %s is %s, want %s at operator set %lld%s", a->name,
                       type_name(a->type), type_name(f.type), (long long)opset, of);
    }
    if (!best.type)
        return why_not(why,
                       "it has no attribute '%.60s' at operator set %lld%s, nor at any other that "
                       "is known (up to %d); correct its name or remove it",
                       a->name, (long long)opset, of, at.domain->newest);
    return why_not(why,
                   "it has no attribute '%s' at operator set %lld%s, only %s %lld; export the "
                   "model again, with the operator set that it is written for",
                   a->name, (long long)opset, of, opset < best.since ? "from" : "up to",
                   (long long)(opset < best.since ? best.since : best.until));
}

/* What ONNX Runtime has had in ONNX's domain from the first operator set on, in the form that ONNX
 * gave it later: its optimizer writes it into models of any. */
static bool is_in_every_set(const Listed *op)
{
    return !strcmp(op->name, "LayerNormalization");
}

/* The operator set of its domain that a node is of. One that is not imported, as where a pass made
 * the node, is the newest, but for ONNX's own, whose first sets had no number. */
static int64_t opset_of(const Node *n, Found at)
{
    int64_t opset = model_opset_of(n->graph, n->domain);
    if (opset < 1) opset = *n->domain ? at.domain->newest : 1;
    return opset < at.op->since && is_in_every_set(at.op) ? at.op->since : opset;
}

bool op_has_form(Why *why, const Node *n)
{
    Found at = find_name(n->domain, n->op);
    if (!at.op || n->called) return true;
    int64_t opset = opset_of(n, at);
    if (!operator_exists(why, at, opset)) return false;
    for (int i = 0; i < n->nattr; i++)
        if (!attribute_exists(why, at, &n->attrs[i], opset)) return false;
    return true;
}

bool graph_has_form(Ctx *cx, const Graph *g)
{
    Why why;
    for (const Node *n = g->first; n; n = n->next) {
        if (!op_has_form(&why, n)) return qonnx_fail(cx, n, "%s", why.text);
        for (int i = 0; i < n->nsub; i++)
            if (!graph_has_form(cx, n->subs[i])) return false;
    }
    return true;
}

void graph_warn_form(Ctx *cx, const Graph *g)
{
    Why why;
    for (const Node *n = g->first; n; n = n->next) {
        if (!op_has_form(&why, n)) qonnx_warn(cx, n, "%s", why.text);
        for (int i = 0; i < n->nsub; i++) graph_warn_form(cx, n->subs[i]);
    }
}
