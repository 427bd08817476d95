/* passes/qoperator.c - the QOperator form: QLinearConv, QLinearAdd and the like in the place of
 * what stands between DequantizeLinear and QuantizeLinear, as older runtimes and some tools read
 * it. What has no such form stays as it is.
 */
#include <qonnx/pass.h>

static bool qoperator(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    const qonnx_target *t = qonnx_job_target(job);
    if (!t->quantize_outputs)
        return qonnx_fail(cx, NULL, "target %s reads QuantizeLinear and DequantizeLinear alone",
                          t->name);
    qonnx_graph_gather_qlinear(g);
    return true;
}

const qonnx_pass pass_qoperator = {
    .size = sizeof(qonnx_pass),
    .name = "qoperator",
    .brief = "QLinear operators in the place of QuantizeLinear/DequantizeLinear around operators",
    .run = qoperator,
};
