/* ops/attributes.c - whether a node has the form that its operator set gives it: the operator and
 * its attributes, by the table of onnx_operators.h.
 */
#include "ops/op.h"
#include <stdlib.h>
#include <string.h>

/* An operator of ONNX's own domain, as onnx_operators.h describes it. */
typedef struct OnnxOperator {
    const char *name;
    int since, until;       /* operator sets in which it exists; until 0: it is there still */
    const char *attributes; /* between blanks */
} OnnxOperator;

#include "ops/onnx_operators.h"

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
    return strcmp(name, ((const OnnxOperator *)row)->name);
}

static const OnnxOperator *find_name(const char *name)
{
    return bsearch(name, onnx_operators, sizeof onnx_operators / sizeof *onnx_operators,
                   sizeof *onnx_operators, compare_names);
}

/* NULL for other domains, and for what ONNX does not have. */
static const OnnxOperator *find_operator(const Node *n)
{
    return n->domain[0] ? NULL : find_name(n->op);
}

void op_sets(const Op *op, int *since, int *until)
{
    const OnnxOperator *o = op->domain && *op->domain ? NULL : find_name(op->name);
    *since = o ? o->since : 0;
    *until = o ? o->until : 0;
}

/* Reads the next form of the attribute behind *at; false when there is none. */
static bool next_form(const OnnxOperator *op, const char *name, const char **at, Form *f)
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
static bool type_exists(const OnnxOperator *op, const Attr *a, int *want)
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
    const OnnxOperator *op = find_operator(n);
    int want;
    for (int i = 0; op && i < n->nattr; i++)
        if (!type_exists(op, &n->attrs[i], &want))
            return qonnx_fail(cx, n, "attribute %s is %s, want %s", n->attrs[i].name,
                              type_name(n->attrs[i].type), type_name(want));
    return true;
}

/* ---- by operator set ------------------------------------------------------------------------- */

static bool operator_exists(Why *why, const OnnxOperator *op, int64_t opset)
{
    if (opset < op->since)
        return why_not(why,
                       "operator set %lld has no %s, which came with %d; export the model with "
                       "operator set %d or newer",
                       (long long)opset, op->name, op->since, op->since);
    return !op->until || opset <= op->until ||
           why_not(why, "operator set %lld has no %s, which went after %d; export the model again",
                   (long long)opset, op->name, op->until);
}

static bool attribute_exists(Why *why, const OnnxOperator *op, const Attr *a, int64_t opset)
{
    Form f, best = {0, 0, 0};
    for (const char *at = op->attributes; next_form(op, a->name, &at, &f);) {
        if (opset < f.since || opset > f.until) {
            best = f;
            continue;
        }
        return f.type == a->type ||
               why_not(why, "attribute %s is %s, want %s at operator set %lld", a->name,
                       type_name(a->type), type_name(f.type), (long long)opset);
    }
    if (!best.type)
        return why_not(why,
                       "it has no attribute '%.60s' at operator set %lld, nor at any other that is "
                       "known (1 to %d); correct its name or remove it",
                       a->name, (long long)opset, NEWEST_OPSET);
    return why_not(why,
                   "it has no attribute '%s' at operator set %lld, only %s %lld; export the model "
                   "again, with the operator set that it is written for",
                   a->name, (long long)opset, opset < best.since ? "from" : "up to",
                   (long long)(opset < best.since ? best.since : best.until));
}

/* What ONNX Runtime has had in ONNX's domain from the first operator set on, in the form that ONNX
 * gave it later: its optimizer writes it into models of any. */
static bool is_in_every_set(const OnnxOperator *op)
{
    return !strcmp(op->name, "LayerNormalization");
}

bool op_has_form(Why *why, const Node *n)
{
    const OnnxOperator *op = find_operator(n);
    int64_t opset = qonnx_model_opset(n->graph);
    if (!op) return true;
    if (opset < 1) opset = 1;
    if (opset < op->since && is_in_every_set(op)) opset = op->since;
    if (!operator_exists(why, op, opset)) return false;
    for (int i = 0; i < n->nattr; i++)
        if (!attribute_exists(why, op, &n->attrs[i], opset)) return false;
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
