/* cli/merge.c - qonnx merge: statistics of several runs, as of shards, made one. */
#include "options.h"
#include "output.h"
#include "progress.h"
#include "samples.h"
#include "statistics.h"
#include <qonnx/qonnx.h>

static int merge_files(qonnx_ctx *cx, const Args *args)
{
    qonnx_stats *s = NULL;
    bool good = statistics_check(cx, args);
    if (good) s = statistics_read(cx, args, (const char *const *)args->operands, args->noperand);
    good = s && !interrupted() && statistics_save(cx, args, s);
    if (good) {
        char lines[48];
        snprintf(lines, sizeof lines, "files        %d\n", args->noperand);
        statistics_summary(args, s, lines, json_pack("{si}", "files", args->noperand));
    }
    qonnx_stats_free(s);
    return good ? EXIT_DONE : report_failure(cx);
}

static int merge(const Verb *verb, const Args *args)
{
    int status = statistics_usage(verb, args);
    if (status >= 0) return status;
    qonnx_ctx *cx = progress_ctx();
    status = merge_files(cx, args);
    qonnx_ctx_free(cx);
    return status;
}

static const Option options[] = {
    {"output", 'o', OPTION_TEXT, offsetof(Args, output), "M.qcal", NULL,
     "the file to write, - for standard output; required"},
    OPTION_FORCE,
    {.name = NULL},
};

const Verb verb_merge = {
    .name = "merge",
    .brief = "statistics of several runs, as of shards, made one",
    .forms = "A.qcal B.qcal... -o M.qcal",
    .text =
        "Adds what 'qonnx calibrate' counted in several runs: of the shards of one list of\n"
        "samples (--shard I/N), on one machine or many, or of other samples. In any order, all\n"
        "shards give the bytes of one run over all samples. Refuses what does not belong\n"
        "together: another model, other passes, another engine, samples that would count twice.",
    .examples = "qonnx merge a.qcal b.qcal c.qcal -o model.qcal\n"
                "qonnx merge shards/*.qcal -o - | ssh elsewhere 'cat > model.qcal'",
    .options = options,
    .json = true,
    .modelless = true,
    .streams = true,
    .least = 1,
    .most = -1,
    .run = merge,
};
