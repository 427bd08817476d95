/* cli/lint.c - qonnx lint: what a target's runtime makes of a model, node by node, and why. */
#include "calibrate.h"
#include "options.h"
#include "output.h"
#include "pipeline.h"
#include "placed.h"
#include "progress.h"
#include "statistics.h"
#include "tally.h"
#include <qonnx/qonnx.h>
#include <string.h>

/* What was found. */
typedef struct Report {
    const char *path;              /* of the model */
    const qonnx_target *target;    /* what it is for */
    const qonnx_finding *findings; /* [count], of the graph */
    int count;                     /* of them */
    bool quantized;                /* the model has integers already */
    long in[3];                    /* findings by fate */
    long broken, overflows;        /* findings that are */
    long heavy;                    /* products in float */
} Report;

/* ---- the model ------------------------------------------------------------------------------- */

static void count_findings(Report *r)
{
    for (const qonnx_finding *f = r->findings; f < r->findings + r->count; f++) {
        r->in[f->fate]++;
        r->broken += f->broken;
        r->overflows += f->overflow != NULL;
        r->heavy += f->heavy && f->fate == QONNX_FATE_FLOAT;
    }
}

/* ---- as text --------------------------------------------------------------------------------- */

/* "NAME (Conv)". */
static const char *node_text(char *out, size_t size, const qonnx_node *n)
{
    char name[NAME_ROOM], op[NAME_ROOM];
    clean_name(op, sizeof op, qonnx_node_op(n));
    snprintf(out, size, "%s (%s)", clean_name(name, sizeof name, qonnx_node_label(n)), op);
    return out;
}

static void print_text(const Report *r, bool all)
{
    char node[3 * NAME_ROOM], why[2 * NAME_ROOM];
    for (const qonnx_finding *f = r->findings; f < r->findings + r->count; f++) {
        node_text(node, sizeof node, f->node);
        const char *reason = f->why ? clean_name(why, sizeof why, f->why) : "";
        if (f->fate == QONNX_FATE_FLOAT)
            printf("%s  %s: %s\n", f->broken ? "broken   " : "float    ", node, reason);
        else if (all)
            printf("%s  %s%s%s\n", f->fate == QONNX_FATE_FOLLOWS ? "follows  " : "integers ", node,
                   *reason ? ": " : "", reason);
        if (f->overflow)
            printf("overflow   %s: %s\n", node, clean_name(why, sizeof why, f->overflow));
    }
    print_line(
        "%s for %s: %ld of %d operators %s in integers, %ld with their neighbours, %ld in float",
        r->path, r->target->name, r->in[QONNX_FATE_INTEGERS], r->count,
        r->quantized ? "run" : "will run", r->in[QONNX_FATE_FOLLOWS], r->in[QONNX_FATE_FLOAT]);
    if (r->broken)
        printf("%ld stay in float though the file has integers for them: broken\n", r->broken);
    if (r->overflows) printf("%ld sums may overflow\n", r->overflows);
    else if (r->in[QONNX_FATE_INTEGERS]) printf("no sum can overflow, whatever the input\n");
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static json_t *finding_json(const qonnx_finding *f)
{
    return json_pack("{so so so ss sb sb so so}", "name", json_text(qonnx_node_label(f->node)),
                     "type", json_text(qonnx_node_op(f->node)), "domain",
                     json_text(qonnx_node_domain(f->node)), "runs", fate_word(f->fate), "product",
                     f->heavy, "broken", f->broken, "why", f->why ? json_text(f->why) : json_null(),
                     "overflow", f->overflow ? json_text(f->overflow) : json_null());
}

static void print_json(const Report *r)
{
    json_t *nodes = json_array();
    for (int i = 0; i < r->count; i++) json_array_append_new(nodes, finding_json(&r->findings[i]));
    json_print(json_pack(
        "{so ss sb sI sI sI sI sI so}", "file", json_text(r->path), "target", r->target->name,
        "quantized", r->quantized, "integers", (json_int_t)r->in[QONNX_FATE_INTEGERS], "follows",
        (json_int_t)r->in[QONNX_FATE_FOLLOWS], "float", (json_int_t)r->in[QONNX_FATE_FLOAT],
        "broken", (json_int_t)r->broken, "overflows", (json_int_t)r->overflows, "nodes", nodes));
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int lint_model(qonnx_ctx *cx, const Args *args, Report *r)
{
    int status = EXIT_DONE;
    qonnx_stats *stats = NULL;
    qonnx_graph *g = shaped_load(cx, args, args->operands[0]);
    if (g && qonnx_graph_inline_functions(cx, g) && placed_prepare(cx, args, g, &stats)) {
        r->findings = qonnx_graph_lint(g, r->target, stats, &r->count);
        r->quantized = qonnx_graph_quantized(g);
        count_findings(r);
        if (args->json) print_json(r);
        else print_text(r, args->verbose);
        if (args->strict && (r->heavy || r->broken || r->overflows)) status = EXIT_BAD;
    } else {
        status = report_failure(cx);
    }
    qonnx_stats_free(stats);
    qonnx_graph_free(g);
    return status;
}

static int lint(const Verb *verb, const Args *args)
{
    Report r = {.path = args->operands[0], .target = qonnx_target_find(args->target)};
    int status = check_target(verb, args->target);
    if (status >= 0) return status;
    qonnx_ctx *cx = progress_ctx();
    status = lint_model(cx, args, &r);
    qonnx_ctx_free(cx);
    return status;
}

static const Option options[] = {
    {"target", 0, OPTION_TEXT, offsetof(Args, target), "T", "ort-x86",
     "what the model is for; 'qonnx passes' lists them"},
    {"calibration", 0, OPTION_LIST, offsetof(Args, calibrations), "M.qcal", NULL,
     "statistics of 'qonnx calibrate' of a model in float:\n"
     "what its ranges decide counts, too; again for more"},
    OPTION_FORCE,
    {"strict", 0, OPTION_FLAG, offsetof(Args, strict), NULL, NULL,
     "status 1 where a matrix product stays in float, what is\n"
     "quantized does, or a sum may overflow"},
    {.name = NULL},
};

const Verb verb_lint = {
    .name = "lint",
    .brief = "what a target makes of a model: which operators stay in float, and why",
    .forms = "MODEL [--target T] [--calibration M.qcal] [--strict] [--json]",
    .text =
        "Of a quantized model: which operators the runtime of the target will not run in\n"
        "integers, what is missing (broken: the file has integers for it, but the runtime does\n"
        "not find them), and which sums may overflow in some input. Of a model in float: what\n"
        "'qonnx quantize' will keep in float for that target. -v names all operators.",
    .examples = "qonnx lint model.int8.onnx\n"
                "qonnx lint model.onnx --target openvino\n"
                "qonnx lint model.onnx --target tensorrt --calibration model.qcal\n"
                "qonnx lint theirs.onnx --target ort-x86-avx2 --strict\n"
                "qonnx lint model.int8.onnx --json | jq '.nodes[] | select(.broken)'",
    .options = options,
    .json = true,
    .least = 1,
    .most = 1,
    .run = lint,
};
