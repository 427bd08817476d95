/* passes/widen_floats.c - float16 and bfloat16 become float, so that all other passes meet float.
 */
#include <qonnx/qonnx.h>

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)cx, (void)job;
    qonnx_graph_widen(g);
    return true;
}

const qonnx_pass pass_widen_floats = {
    .size = sizeof(qonnx_pass),
    .name = "widen-floats",
    .brief = "float16 and bfloat16 inside the model become float",
    .run = run,
};
