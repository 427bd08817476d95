/* ops/takes.c - whether a node can be run, as far as can be said before sizes are known. */
#include "ir/bundle.h"
#include "ops/op.h"
#include <stdarg.h>
#include <stdio.h>

bool why_not(Why *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    return false;
}

unsigned op_lists(const Node *n)
{
    if (!n->row) return 0;
    return n->row->lists_now ? n->row->lists_now(n) : n->row->lists;
}

bool out_used(const Node *n, int i)
{
    const Value *v = qonnx_node_output(n, i);
    return v && (v->nuse || v->output_count);
}

bool node_has_bundles(const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && is_bundle(n->in[i]->dtype)) return true;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && is_bundle(n->out[i]->dtype)) return true;
    return false;
}

static bool has_strings(Value *const *values, int n)
{
    for (int i = 0; i < n; i++)
        if (values[i] && values[i]->dtype == QONNX_STRING) return true;
    return false;
}

bool node_is_hosted(const Node *n)
{
    if (n->quant || !n->row || !n->row->host) return false;
    return !n->row->lower || has_strings(n->in, n->nin) || has_strings(n->out, n->nout);
}

/* Kernels move bytes. What samples or subgraphs feed, and has no type, is no tensor. Bundles are
 * for those that `open` them. */
static bool has_elements(Why *why, const char *what, int i, const Value *v, bool open,
                         bool strings)
{
    DType t = open ? bundle_element(v->dtype) : v->dtype;
    if (v->input_count && !v->data && !v->dtype && !v->graph->parent)
        return why_not(why, "%s '%.60s' is no tensor of numbers", what, v->name);
    if (bundle_element(v->dtype) == QONNX_STRING && !strings)
        return why_not(why, "%s %d is string", what, i);
    return !v->dtype || dtype_size(t) ||
           why_not(why, "%s %d is %s", what, i, qonnx_dtype_name(v->dtype));
}

bool op_takes(Why *why, const Node *n)
{
    why->text[0] = 0;
    if (n->quant) return true;
    const Op *row = n->row;
    if (!row || !(row->lower || row->bundles || row->unbundle || row->host)) return false;
    if (!op_has_form(why, n)) return false;
    if (node_is_hosted(n)) return true;
    bool strings = n->row->strings;
    bool open = n->row->bundles || n->row->unbundle || n->row->flow;
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && !has_elements(why, "input", i, n->in[i], open, strings)) return false;
    for (int i = 0; i < n->nout; i++)
        if (out_used(n, i) && !has_elements(why, "output", i, n->out[i], open, strings))
            return false;
    return !n->row->takes || n->row->takes(why, n);
}

bool takes_type(Why *why, const Node *n, int i, DType t)
{
    DType has = in_dtype(n, i);
    return !has || has == t ||
           why_not(why, "input %d is %s, this library runs it on %s only", i, qonnx_dtype_name(has),
                   qonnx_dtype_name(t));
}

bool has_type(unsigned types, DType t) { return t < 32 && types >> t & 1; }

bool takes_types(Why *why, const Node *n, int i, unsigned types)
{
    DType t = in_dtype(n, i);
    return !t || has_type(types, t) ||
           why_not(why, "input %d is %s, which cannot be run", i, qonnx_dtype_name(t));
}

bool takes_floats(Why *why, const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (!takes_type(why, n, i, QONNX_FLOAT)) return false;
    return true;
}

bool takes_float_data(Why *why, const Node *n) { return takes_type(why, n, 0, QONNX_FLOAT); }

bool takes_moved(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    return qonnx_dtype_bits(t) <= 64 ||
           why_not(why, "elements of type %s are too large to be moved", qonnx_dtype_name(t));
}
