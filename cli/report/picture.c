/* cli/report/picture.c - the graph of the quantized model as a picture: a box for each operator, in
 * the colour of its error; what only changes between floats and integers is left out.
 */
#include "cli/nodes.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/progress.h"
#include "layout.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum BoxKind { BOX_NODE, BOX_INPUT, BOX_OUTPUT } BoxKind;

typedef struct Box {
    BoxKind kind;
    const void *of;     /* a node, or a value that the model takes or gives */
    const Sheet *sheet; /* NULL: there is none */
    bool activated;     /* it runs together with the Relu or the like behind it */
    const char *behind; /* that one's operator */
} Box;

/* A node or value, and its box: to find it. */
typedef struct Known {
    const void *of;
    int box;
} Known;

typedef struct Picture {
    const Report *r;
    Box *box; /* [boxes] */
    int boxes;
    long left;    /* nodes that are not drawn: there are too many */
    Known *known; /* [nknown] by address */
    int nknown;
    Edge *edge; /* [edges] */
    int edges, room;
} Picture;

/* ---- what is drawn --------------------------------------------------------------------------- */

static int compare_known(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Known *)a)->of, y = (uintptr_t)((const Known *)b)->of;
    return (x > y) - (x < y);
}

static int box_of(const Picture *p, const void *of)
{
    const Known key = {of, 0};
    const Known *k = bsearch(&key, p->known, (size_t)p->nknown, sizeof key, compare_known);
    return k ? k->box : -1;
}

static bool is_pair(const qonnx_node *n)
{
    return qonnx_node_is(n, "QuantizeLinear") || qonnx_node_is(n, "DequantizeLinear");
}

/* What a value was made of: a node, or an input of the model. */
static const void *origin(qonnx_value *v)
{
    for (qonnx_value *front; (front = in_front_of_pair(v)) != v;) v = front;
    const qonnx_node *n = qonnx_value_producer(v);
    return n ? (const void *)n : (const void *)v;
}

static int add_box(Picture *p, BoxKind kind, const void *of)
{
    p->box[p->boxes] = (Box){.kind = kind, .of = of};
    p->known[p->nknown++] = (Known){of, p->boxes};
    return p->boxes++;
}

/* The box of the node in front, if it runs together with that. */
static int joined(const Picture *p, const qonnx_node *n)
{
    const qonnx_finding *f = subject_finding(&p->r->subject, n);
    if (!f || f->fate != QONNX_FATE_FOLLOWS || qonnx_node_rule(n).kind != QONNX_RULE_ACTIVATE ||
        !qonnx_node_input(n, 0))
        return -1;
    const void *front = origin(qonnx_node_input(n, 0));
    for (int i = p->boxes - 1; i >= 0 && i >= p->boxes - 16; i--)
        if (p->box[i].of == front && p->box[i].kind == BOX_NODE && !p->box[i].activated) return i;
    return -1;
}

static bool is_drawn(const qonnx_node *n)
{
    return !is_pair(n) && !qonnx_node_is(n, "Constant") && qonnx_node_outputs(n);
}

static void add_boxes(Picture *p, const qonnx_graph *g)
{
    for (int i = 0; i < qonnx_graph_inputs(g) && p->boxes < MOST_NODES; i++)
        if (!qonnx_value_constant(qonnx_graph_input(g, i)))
            add_box(p, BOX_INPUT, qonnx_graph_input(g, i));
    for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) {
        if (!is_drawn(n)) continue;
        const int front = joined(p, n);
        if (front >= 0) {
            p->box[front].activated = true;
            p->box[front].behind = qonnx_node_op(n);
            p->known[p->nknown++] = (Known){n, front};
        } else if (p->boxes < MOST_NODES) add_box(p, BOX_NODE, n);
        else p->left++;
    }
    qsort(p->known, (size_t)p->nknown, sizeof *p->known, compare_known);
    for (int i = 0; i < p->r->errors.matches.count; i++) {
        const int at = p->r->sheets[i].node ? box_of(p, p->r->sheets[i].node) : -1;
        if (at >= 0) p->box[at].sheet = &p->r->sheets[i];
    }
}

static void add_edge(Picture *p, int from, int to, int first)
{
    for (int i = first; i < p->edges; i++)
        if (p->edge[i].from == from) return;
    if (from < 0 || from >= to) return;
    if (p->edges == p->room)
        p->edge =
            needed(reallocarray(p->edge, (size_t)(p->room = 2 * p->room + 64), sizeof *p->edge));
    p->edge[p->edges++] = (Edge){.from = from, .to = to};
}

/* Lines from what a node reads, in its bodies, too: what these make themselves has no box. */
static void add_inputs(Picture *p, const qonnx_node *n, int to, int first)
{
    for (int k = 0; k < qonnx_node_inputs(n); k++) {
        qonnx_value *v = qonnx_node_input(n, k);
        if (v) add_edge(p, box_of(p, origin(v)), to, first);
    }
    for (int i = 0; i < qonnx_node_subgraphs(n); i++) {
        const qonnx_graph *g = qonnx_node_subgraph(n, i);
        for (const qonnx_node *m = qonnx_graph_first(g); m; m = qonnx_node_next(m))
            add_inputs(p, m, to, first);
        for (int k = 0; k < qonnx_graph_outputs(g); k++)
            add_edge(p, box_of(p, origin(qonnx_graph_output(g, k))), to, first);
    }
}

static void add_edges(Picture *p)
{
    for (int i = 0; i < p->boxes; i++)
        if (p->box[i].kind == BOX_NODE) add_inputs(p, p->box[i].of, i, p->edges);
}

/* Outputs of the model, which stand last. */
static void add_outputs(Picture *p, const qonnx_graph *g)
{
    for (int i = 0; i < qonnx_graph_outputs(g); i++) {
        qonnx_value *v = qonnx_graph_output(g, i);
        const int from = box_of(p, origin(v)), first = p->edges;
        if (from < 0) continue;
        p->box[p->boxes] = (Box){.kind = BOX_OUTPUT, .of = v};
        add_edge(p, from, p->boxes++, first);
    }
}

/* ---- drawing --------------------------------------------------------------------------------- */

static int top_of(const Layout *l, int spot) { return 12 + l->rank[spot] * BOX_STEP; }

/* All lines are one path: curves that leave and reach boxes and bends upright. */
static void put_edges(FILE *f, const Layout *l)
{
    fputs("<path class=\"lines\" d=\"", f);
    for (const Edge *e = l->edge; e < l->edge + l->edges; e++) {
        fprintf(f, "M%.0f %d", l->x[e->from], top_of(l, e->from) + BOX_HEIGHT);
        for (int k = 0; k <= e->bends; k++) {
            const int above = k ? e->first + k - 1 : e->from,
                      to = k < e->bends ? e->first + k : e->to;
            const int y = top_of(l, above) + BOX_HEIGHT, z = top_of(l, to), bow = (z - y) / 2;
            fprintf(f, "C%.0f %d %.0f %d %.0f %d", l->x[above], y + bow, l->x[to], z - bow,
                    l->x[to], z);
            if (k < e->bends) fprintf(f, "v%d", BOX_HEIGHT);
        }
    }
    fputs("\"/>\n", f);
}

/* The end of a name, as much as a box has room for: that is where names differ. */
static void put_short(FILE *f, const char *name)
{
    enum { ROOM = 20 };
    size_t characters = 0;
    const char *p = name + strlen(name);
    while (p > name && characters < ROOM) {
        p--;
        while (p > name && ((unsigned char)*p & 0xc0) == 0x80) p--;
        characters++;
    }
    if (p > name) fputs("&#8230;", f);
    page_text(f, p);
}

static void put_node_text(FILE *f, const Box *b, double x, int y)
{
    char own[SQNR_ROOM];
    const Sheet *s = b->sheet;
    const bool node = b->kind == BOX_NODE;
    const qonnx_node *n = b->of;
    const char *name = node ? qonnx_node_label(n) : qonnx_value_name(b->of);
    fprintf(f, "<text x=\"%.0f\" y=\"%d\">", x, y + 15);
    put_short(f, name);
    fprintf(f, "</text><text class=\"op\" x=\"%.0f\" y=\"%d\">", x, y + 29);
    page_text(f, node ? qonnx_node_op(n) : b->kind == BOX_INPUT ? "input" : "output");
    if (b->behind) {
        fputs(" + ", f);
        page_text(f, b->behind);
    }
    if (s && likeness_known(&s->error->own)) fprintf(f, ", %s", sqnr_text(own, &s->error->own));
    fputs("</text><title>", f);
    page_text(f, name);
    if (s && likeness_known(&s->error->own)) fprintf(f, ": own error %s", own);
    if (s && s->found && s->found->fate == QONNX_FATE_FLOAT) fputs(", in float", f);
    fputs("</title>", f);
}

static void put_box(FILE *f, const Picture *p, const Box *b, double x, int y)
{
    const Sheet *s = b->sheet;
    const qonnx_finding *found =
        b->kind == BOX_NODE ? subject_finding(&p->r->subject, b->of) : NULL;
    const bool in_float = found && found->fate == QONNX_FATE_FLOAT;
    const int grade = s ? layer_grade(s) : -1;
    static const char *const grades[] = {"", " e0", " e1", " e2", " e3", " e4"};
    char class[24];
    snprintf(class, sizeof class, "n%s%s", b->kind == BOX_NODE ? grades[grade + 1] : " port",
             in_float ? " float" : "");
    if (s) fprintf(f, "<a class=\"%s\" href=\"#layer-%d\">", class, s->error->given);
    else fprintf(f, "<g class=\"%s\">", class);
    fprintf(f, "<rect x=\"%.0f\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\"/>",
            x - BOX_WIDTH / 2.0, y, BOX_WIDTH, BOX_HEIGHT, b->kind == BOX_NODE ? 4 : 18);
    put_node_text(f, b, x, y);
    fputs(s ? "</a>\n" : "</g>\n", f);
}

static void put_legend(FILE *f)
{
    fputs(
        "<p class=\"legend\"><span class=\"k e0\">35 dB and more</span> <span class=\"k e1\">28 to "
        "35</span> <span class=\"k e2\">22 to 28</span> <span class=\"k e3\">15 to 22</span> "
        "<span class=\"k e4\">less than 15</span> <span class=\"k float\">dashed: in "
        "float</span></p>\n",
        f);
}

static void put_tools(FILE *f)
{
    fputs("<p class=\"tools\" hidden><label>Find a layer <input id=\"find\" type=\"search\" "
          "autocomplete=\"off\"></label> <output id=\"found\" for=\"find\"></output> "
          "<button type=\"button\" id=\"in\" aria-label=\"Zoom in\">+</button> "
          "<button type=\"button\" id=\"out\" aria-label=\"Zoom out\">&#8722;</button> "
          "<button type=\"button\" id=\"fit\">Fit</button></p>\n",
          f);
}

void report_picture(FILE *f, const Report *r)
{
    const qonnx_graph *g = r->subject.model;
    Picture p = {.r = r};
    size_t most = (size_t)qonnx_graph_outputs(g) + (size_t)qonnx_graph_inputs(g) + 2;
    for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) most++;
    p.box = needed(calloc(most, sizeof *p.box));
    p.known = needed(calloc(most, sizeof *p.known));
    add_boxes(&p, g);
    add_edges(&p);
    add_outputs(&p, g);
    Layout l = layout_make(p.boxes, p.edge, p.edges);
    fputs("<section id=\"graph\" aria-labelledby=\"graph-h\">\n<h2 id=\"graph-h\">The "
          "graph</h2>\n<p>Each box is an operator of the quantized model, in the colour of its own "
          "error: the SQNR of "
          "what it gives where it is fed with the float model's values. It leads to the layer "
          "below.</p>\n",
          f);
    if (p.left)
        fprintf(f,
                "<p class=\"note\">The graph is large: the first %d boxes are drawn, %ld more "
                "operators are not.</p>\n",
                MOST_NODES, p.left);
    put_legend(f);
    put_tools(f);
    fprintf(
        f,
        "<div id=\"view\" tabindex=\"0\" role=\"group\" aria-label=\"The graph; arrow keys go from "
        "box "
        "to box, plus and minus zoom, Enter opens the layer\">\n<svg id=\"picture\" width=\"%.0f\" "
        "height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n",
        l.width, l.height, l.width, l.height);
    put_edges(f, &l);
    for (int i = 0; i < p.boxes; i++) put_box(f, &p, &p.box[i], l.x[i], top_of(&l, i));
    fputs("</svg>\n</div>\n</section>\n", f);
    layout_free(&l);
    free(p.box);
    free(p.known);
}
