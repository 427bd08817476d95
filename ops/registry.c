/* ops/registry.c - finds rows; the list of families is meson.build's. */
#include "lower/quantized.h"
#include "op_families.h"
#include <string.h>

const Op *op_find(const char *domain, const char *name)
{
    for (size_t f = 0; f < sizeof op_families / sizeof *op_families; f++)
        for (const Op *op = op_families[f]; op->name; op++)
            if (!strcmp(op->name, name) && !strcmp(op->domain ? op->domain : "", domain)) return op;
    return NULL;
}

const Op *op_at(int i)
{
    for (size_t f = 0; f < sizeof op_families / sizeof *op_families; f++)
        for (const Op *op = op_families[f]; op->name; op++)
            if ((op->lower || op->unbundle || op->bundles || op->host) && !i--) return op;
    return NULL;
}

const Op *op_find_qlinear(const char *domain, const char *name)
{
    for (size_t f = 0; f < sizeof op_families / sizeof *op_families; f++)
        for (const Op *op = op_families[f]; op->name; op++) {
            const QLinear *k = op->quantized ? &op->quantized->qlinear : NULL;
            if (k && k->op && !strcmp(k->op, name) && !strcmp(k->domain, domain)) return op;
        }
    return NULL;
}

bool op_shape(Ctx *cx, Node *n)
{
    return n->quant ? quantized_shape(cx, n) : n->row->shape(cx, n);
}

bool qonnx_node_kept_float(const Node *n) { return n->in_float; }
void qonnx_node_keep_float(Node *n, bool keep) { n->in_float = keep; }

qonnx_rule qonnx_node_rule(const Node *n)
{
    if (!n->row || n->quant || n->inside)
        return (qonnx_rule)RULE(QONNX_RULE_FLOAT, 0, .inside = n->inside);
    qonnx_rule rule = n->row->rule;
    if (n->row->refine) n->row->refine(n, &rule);
    return rule;
}

int64_t qonnx_node_macs(const Node *n)
{
    return n->row && n->row->macs ? n->row->macs(n) : n->row ? 0 : -1;
}
