/* ir/dump.c - the graph as text: one node a line, as assignments. */
#include "ir/ir.h"
#include <inttypes.h>
#include <math.h>

static void dump_type(const Value *v, FILE *f)
{
    fprintf(f, ": %s", qonnx_dtype_name(v->dtype));
    if (v->shape.rank < 0) {
        fputs("[?]", f);
        return;
    }
    fputc('[', f);
    for (int i = 0; i < v->shape.rank; i++) {
        if (i) fputc(',', f);
        if (v->shape.dim[i] >= 0) fprintf(f, "%" PRId64, v->shape.dim[i]);
        else fputs(v->shape.sym[i] ? v->shape.sym[i] : "?", f);
    }
    fputc(']', f);
    if (v->ranged) fprintf(f, " in [%.9g, %.9g]", (double)v->lo, (double)v->hi);
}

static void dump_attr(const Attr *a, FILE *f)
{
    fprintf(f, " %s=", a->name);
    switch (a->type) {
    case ATTR_FLOAT: fprintf(f, "%.9g", (double)a->f); break;
    case ATTR_INT: fprintf(f, "%" PRId64, a->i); break;
    case ATTR_STRING: fprintf(f, "\"%s\"", a->s); break;
    case ATTR_INTS:
        fputc('[', f);
        for (int i = 0; i < a->count; i++) fprintf(f, i ? ",%" PRId64 : "%" PRId64, a->ints[i]);
        fputc(']', f);
        break;
    case ATTR_FLOATS:
        fputc('[', f);
        for (int i = 0; i < a->count; i++) fprintf(f, i ? ",%.9g" : "%.9g", (double)a->floats[i]);
        fputc(']', f);
        break;
    default: fputs("...", f);
    }
}

static void dump_graph(const Graph *g, FILE *f, int indent)
{
    for (int i = 0; i < g->ninput; i++) {
        fprintf(f, "%*sinput %s", indent, "", g->inputs[i]->name);
        dump_type(g->inputs[i], f);
        fputc('\n', f);
    }
    for (int i = 0; i < g->nconstant; i++) {
        fprintf(f, "%*sconstant %s", indent, "", g->constants[i]->name);
        dump_type(g->constants[i], f);
        fputc('\n', f);
    }
    for (const Node *n = g->first; n; n = n->next) {
        fprintf(f, "%*s", indent, "");
        for (int i = 0; i < n->nout; i++) {
            fprintf(f, "%s%s", i ? ", " : "", n->out[i] ? n->out[i]->name : "_");
            if (n->out[i]) dump_type(n->out[i], f);
        }
        fprintf(f, " = %s%s%s(", n->domain, n->domain[0] ? "." : "", n->op);
        for (int i = 0; i < n->nin; i++)
            fprintf(f, "%s%s", i ? ", " : "", n->in[i] ? n->in[i]->name : "_");
        fputc(')', f);
        for (int i = 0; i < n->nattr; i++) dump_attr(&n->attrs[i], f);
        fputc('\n', f);
        for (int i = 0; i < qonnx_node_subgraphs(n); i++)
            dump_graph(qonnx_node_subgraph(n, i), f, indent + 4);
    }
    for (int i = 0; i < g->noutput; i++)
        fprintf(f, "%*soutput %s\n", indent, "", g->outputs[i]->name);
}

void qonnx_graph_dump(const Graph *g, FILE *f) { dump_graph(g, f, 0); }
