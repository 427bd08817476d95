/* passes/keep_float.c - marks the nodes that a user wants to stay in float, by name or by operator.
 * A node without a name is called by the first value that it gives. Patterns are POSIX extended
 * regular expressions. One for names may match anywhere in them, as
 * with grep; one for operators is the whole operator.
 */
#include "pattern.h"

static const qonnx_option options[] = {
    {"nodes", "", "nodes to keep in float, by a pattern for their names"},
    {"ops", "", "the same by a pattern for their operators"},
    {"only-nodes", "", "keep all others in float, by a pattern for names"},
    {"only-ops", "", "the same by a pattern for operators"},
    {NULL, NULL, NULL},
};

/* A pattern of one option. */
typedef struct Pattern {
    const char *text; /* as given; "": there is none */
    regex_t regex;    /* compiled, unless there is none */
    long matched;     /* nodes that it has matched */
} Pattern;

enum { NODES, OPS, ONLY_NODES, ONLY_OPS, PATTERNS };

static bool is_of_operators(int i) { return i == OPS || i == ONLY_OPS; }

static bool compile(qonnx_ctx *cx, Pattern *p, const char *text, bool whole)
{
    if (*text && !pattern_compile(cx, text, whole, &p->regex)) return false;
    p->text = text;
    return true;
}

static bool matches(Pattern *p, const char *text)
{
    bool found = *p->text && regexec(&p->regex, text, 0, NULL, 0) == 0;
    p->matched += found;
    return found;
}

static void mark(qonnx_node *n, Pattern p[PATTERNS])
{
    const char *name = qonnx_node_label(n), *op = qonnx_node_op(n);
    bool some = *p[ONLY_NODES].text || *p[ONLY_OPS].text;
    bool wanted = matches(&p[ONLY_NODES], name) | matches(&p[ONLY_OPS], op) | !some;
    bool left = matches(&p[NODES], name) | matches(&p[OPS], op);
    if (left || !wanted) qonnx_node_keep_float(n, true);
}

/* A pattern that matches nothing is most probably a mistake, and a model in which something else is
 * quantized than was asked for. */
static bool check(qonnx_ctx *cx, const Pattern p[PATTERNS])
{
    for (int i = 0; i < PATTERNS; i++)
        if (*p[i].text && !p[i].matched)
            return qonnx_fail(
                cx, NULL,
                "no %s matches '%s'; passes may have joined a node with another: 'qonnx "
                "quantize --dump-after fuse-bias-add' shows those that there are",
                is_of_operators(i) ? "node's operator" : "node's name", p[i].text);
    return true;
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Pattern p[PATTERNS] = {{.text = ""}, {.text = ""}, {.text = ""}, {.text = ""}};
    bool ok = true;
    for (int i = 0; i < PATTERNS && ok; i++)
        ok = compile(cx, &p[i], qonnx_job_text(job, options[i].name), is_of_operators(i));
    for (qonnx_graph *s = ok ? g : NULL; s; s = qonnx_graph_next(s))
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) mark(n, p);
    ok = ok && check(cx, p);
    for (int i = 0; i < PATTERNS; i++)
        if (*p[i].text) regfree(&p[i].regex);
    return ok;
}

const qonnx_pass pass_keep_float = {
    .size = sizeof(qonnx_pass),
    .name = "keep-float",
    .brief = "nodes that the user names stay in float",
    .options = options,
    .run = run,
};
