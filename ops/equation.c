/* ops/equation.c - see equation.h. */
#include "ops/equation.h"
#include <string.h>

/* One term as it is written: letters, and where the ellipsis stands among them. */
typedef struct Written {
    int letters;
    int label[QONNX_MAX_RANK];
    int dots; /* letters before the ellipsis; -1: there is none */
} Written;

/* The label of a letter: in the order of their codes. -1: it is none. */
static int label_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    return c >= 'a' && c <= 'z' ? 26 + c - 'a' : -1;
}

static const char *skip_blanks(const char *s) { return s + strspn(s, " "); }

/* Reads a term up to a comma, an arrow or the end. NULL, with a message, where it is wrong. */
static const char *read_term(Ctx *cx, const Node *n, const char *text, const char *s, Written *w)
{
    *w = (Written){.dots = -1};
    for (s = skip_blanks(s); *s && *s != ',' && strncmp(s, "->", 2) != 0; s = skip_blanks(s)) {
        int label = label_of(*s);
        if (!strncmp(s, "...", 3) && w->dots < 0) {
            w->dots = w->letters;
            s += 3;
        } else if (label >= 0 && w->letters < QONNX_MAX_RANK) {
            w->label[w->letters++] = label;
            s++;
        } else {
            qonnx_fail(cx, n, "the equation is wrong at its character %d%s", (int)(s - text) + 1,
                       label >= 0 ? ": a term has more axes than are supported" : "");
            return NULL;
        }
    }
    return s;
}

/* The term with the last `more` axes of an ellipsis in place of it. */
static Term expanded(const Written *w, int more)
{
    Term t = {.rank = 0};
    for (int i = 0; i <= w->letters; i++) {
        for (int k = 0; i == w->dots && k < more; k++)
            t.label[t.rank++] = EQUATION_LABELS - more + k;
        if (i < w->letters) t.label[t.rank++] = w->label[i];
    }
    return t;
}

/* Joins the size of an axis with what is known of its label; 1 broadcasts. */
static bool join_size(Ctx *cx, const Node *n, int64_t *size, int64_t d, int i)
{
    if (d == *size || d == 1) return true;
    if (*size > 1 || *size == 0) {
        if (d < 0) return true;
        return qonnx_fail(cx, n,
                          "operand %d has size %lld where another axis of that label has %lld", i,
                          (long long)d, (long long)*size);
    }
    if (*size < 0 && d < 0) return true;
    *size = d; /* -1 or 1 before: it may be no more than 1 */
    return true;
}

static bool read_operand(Ctx *cx, const Node *n, const Written *w, int i, Equation *e,
                         int *ellipsis)
{
    const Shape *x = in_shape(n, i);
    int more = x->rank - w->letters;
    if (more < 0 || (more && w->dots < 0))
        return qonnx_fail(cx, n, "operand %d has rank %d, its term has %d axes", i, x->rank,
                          w->letters);
    if (more > *ellipsis) *ellipsis = more;
    e->in[i] = expanded(w, more);
    for (int k = 0; k < x->rank; k++)
        if (!join_size(cx, n, &e->size[e->in[i].label[k]], x->dim[k], i)) return false;
    return true;
}

/* The result where the equation does not say it: the axes of ellipses, then every label that is
 * there once. */
static Written implied(const Equation *e)
{
    Written w = {.dots = 0};
    for (int label = 0; label < EQUATION_LETTERS; label++) {
        int times = 0;
        for (int i = 0; i < e->count; i++)
            for (int k = 0; k < e->in[i].rank; k++) times += e->in[i].label[k] == label;
        if (times != 1) continue;
        if (w.letters < QONNX_MAX_RANK) w.label[w.letters] = label;
        w.letters++;
    }
    return w;
}

uint64_t term_labels(const Term *t)
{
    uint64_t labels = 0;
    for (int i = 0; i < t->rank; i++) labels |= (uint64_t)1 << t->label[i];
    return labels;
}

static bool read_result(Ctx *cx, const Node *n, const Written *w, int ellipsis, Equation *e)
{
    uint64_t there = 0;
    if (w->dots < 0 && ellipsis)
        return qonnx_fail(cx, n, "the result has no ellipsis for %d axes of the operands",
                          ellipsis);
    if (w->letters + ellipsis > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "rank %d, at most %d are supported", w->letters + ellipsis,
                          QONNX_MAX_RANK);
    e->out = expanded(w, ellipsis);
    for (int i = 0; i < e->count; i++) there |= term_labels(&e->in[i]);
    for (int i = 0; i < e->out.rank; i++) {
        uint64_t bit = (uint64_t)1 << e->out.label[i];
        if (!(there & bit))
            return qonnx_fail(cx, n, "axis %d of the result is in no operand, or twice in it", i);
        there &= ~bit;
    }
    return true;
}

bool equation_read(Ctx *cx, const Node *n, Equation *e)
{
    const char *text = qonnx_node_string(n, "equation", NULL), *s = text;
    int ellipsis = 0;
    Written w;
    if (!text) return qonnx_fail(cx, n, "attribute equation is missing");
    if (n->nin > EQUATION_TERMS)
        return qonnx_fail(cx, n, "%d operands, at most %d are supported", n->nin, EQUATION_TERMS);
    e->count = n->nin;
    for (int i = 0; i < EQUATION_LABELS; i++) e->size[i] = 1;
    for (int i = 0; i < n->nin; i++) {
        if (!in_shape(n, i)) return qonnx_fail(cx, n, "operand %d is left out", i);
        s = read_term(cx, n, text, s, &w);
        if (!s || !read_operand(cx, n, &w, i, e, &ellipsis)) return false;
        if (*s == ',' ? i + 1 == n->nin : i + 1 < n->nin)
            return qonnx_fail(cx, n, "the equation has %s terms than there are operands: %d",
                              *s == ',' ? "more" : "fewer", n->nin);
        if (*s == ',') s++;
    }
    if (!*s) {
        w = implied(e);
    } else {
        s = read_term(cx, n, text, s + 2, &w);
        if (s && *s)
            return qonnx_fail(cx, n, "the equation is wrong at its character %d",
                              (int)(s - text) + 1);
    }
    return s && read_result(cx, n, &w, ellipsis, e);
}
