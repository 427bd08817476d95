/* passes/narrow_floats.c - what is not quantized of a float16 or bfloat16 model becomes that again.
 */
#include <qonnx/qonnx.h>

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)cx, (void)job;
    qonnx_graph_narrow(g);
    return true;
}

const qonnx_pass pass_narrow_floats = {
    .size = sizeof(qonnx_pass),
    .name = "narrow-floats",
    .brief = "what widen-floats made float and is not quantized becomes what it was",
    .run = run,
};
