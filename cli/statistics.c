/* cli/statistics.c - see statistics.h. */
#include "statistics.h"
#include "output.h"
#include "progress.h"
#include "samples.h"
#include <string.h>
#include <unistd.h>

qonnx_stats *statistics_read(qonnx_ctx *cx, const Args *args, const char *const *paths, int count)
{
    qonnx_stats *all = qonnx_stats_load(cx, paths[0]);
    for (int i = 1; all && i < count; i++) {
        qonnx_stats *next = qonnx_stats_load(cx, paths[i]);
        bool good = next && !interrupted() && qonnx_stats_merge(cx, all, next, args->force);
        qonnx_stats_free(next);
        if (good) continue;
        qonnx_stats_free(all);
        all = NULL;
    }
    return all;
}

void statistics_warn(const char *where, const qonnx_stats *s)
{
    qonnx_partial list;
    warn_few(where, qonnx_stats_samples(s));
    for (int i = 0; qonnx_stats_partial(s, i, &list); i++)
        warn("%s%s%llu of %llu parts of a list of samples are in it; calibrate and merge the other "
             "shards, too",
             where ? where : "", where ? ": " : "", (unsigned long long)list.seen,
             (unsigned long long)list.parts);
}

Args statistics_prepared(const Args *args, const qonnx_stats *s)
{
    static char the_statistics[] = "the statistics";
    Args prepared = *args;
    const char *pictures = qonnx_stats_preprocess(s);
    if (args->pictures || !*pictures) return prepared;
    prepared.pictures = needed(strdup(pictures));
    prepared.of_model = true;
    if (args->calibrations.count) prepared.origin = the_statistics;
    return prepared;
}

void statistics_release(Args *prepared, const Args *args)
{
    if (prepared->pictures != args->pictures) free(prepared->pictures);
}

bool to_stdout(const Args *args) { return !strcmp(args->output, "-"); }

bool statistics_check(qonnx_ctx *cx, const Args *args)
{
    return to_stdout(args) || qonnx_output_check(cx, args->output);
}

int statistics_usage(const Verb *verb, const Args *args)
{
    if (!args->output)
        return options_misuse(verb, "%s: name the output with -o M.qcal", verb->name);
    if (args->json && to_stdout(args))
        return options_misuse(verb, "%s: -o - and --json both want standard output; give one",
                              verb->name);
    if (to_stdout(args) && isatty(STDOUT_FILENO))
        return options_misuse(verb,
                              "%s: -o - would write to a terminal, and statistics are no text; "
                              "give a file, or send them to one: -o - >M.qcal",
                              verb->name);
    return -1;
}

bool statistics_save(qonnx_ctx *cx, const Args *args, const qonnx_stats *s)
{
    return to_stdout(args) ? qonnx_stats_write(cx, s, stdout)
                           : qonnx_stats_save(cx, s, args->output);
}

void statistics_summary(const Args *args, const qonnx_stats *s, const char *lines, json_t *more)
{
    FILE *f = to_stdout(args) ? stderr : stdout;
    json_int_t samples = (json_int_t)qonnx_stats_samples(s);
    char size[SIZE_ROOM];
    if (args->json) {
        json_t *all = json_pack("{so sI si so ss}", "file", json_text(args->output), "samples",
                                samples, "activations", qonnx_stats_count(s), "engine",
                                json_text(qonnx_stats_engine(s)), "data", qonnx_stats_data_hash(s));
        json_object_update(all, more);
        json_object_set_new(all, "bytes", json_integer((json_int_t)file_size(args->output)));
        json_print(all);
    } else if (!args->quiet) {
        char engine[NAME_ROOM];
        fprintf(f, "samples      %llu\n", (unsigned long long)samples);
        fprintf(f, "activations  %d\n", qonnx_stats_count(s));
        fprintf(f, "engine       %s\n", clean_name(engine, sizeof engine, qonnx_stats_engine(s)));
        fprintf(f, "%s", lines);
        if (!to_stdout(args))
            print_line("written      %s, %s", args->output,
                       size_text(size, file_size(args->output)));
    }
    json_decref(more);
}
