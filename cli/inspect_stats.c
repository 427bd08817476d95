/* cli/inspect_stats.c - qonnx inspect of a .qcal file: what was counted, of which values. */
#include "inspect.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <string.h>

bool is_statistics(const char *path)
{
    static const char *const endings[] = {".qcal", ".qcal.part"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t e = strlen(endings[i]);
        if (n > e && !strcmp(path + n - e, endings[i])) return true;
    }
    return false;
}

static void print_text(const char *path, const qonnx_stats *s)
{
    char name[NAME_ROOM], graph[NAME_ROOM], size[SIZE_ROOM];
    print_line("file         %s, %s", path, size_text(size, file_size(path)));
    print_line("pipeline     %s", qonnx_stats_pipeline(s));
    print_line("engine       %s", qonnx_stats_engine(s));
    printf("samples      %llu\n", (unsigned long long)qonnx_stats_samples(s));
    printf("data         %s\n", qonnx_stats_data_hash(s));
    printf("activations  %d\n", qonnx_stats_count(s));
    for (int i = 0; i < qonnx_stats_count(s); i++) {
        const qonnx_histogram *h = qonnx_stats_histogram(s, i);
        clean_name(name, sizeof name, qonnx_stats_name(s, i));
        clean_name(graph, sizeof graph, qonnx_stats_graph(s, i));
        printf("  %-32s ", name);
        if (h->nbins)
            printf("%12llu values in [%g, %g]", (unsigned long long)h->count, h->min, h->max);
        else printf("%12llu values, none finite", (unsigned long long)h->count);
        printf("%s%s\n", *graph ? ", in " : "", graph);
    }
}

static json_t *activation_json(const qonnx_stats *s, int i)
{
    const qonnx_histogram *h = qonnx_stats_histogram(s, i);
    return json_pack("{so so sI sI sI sI so so}", "name", json_text(qonnx_stats_name(s, i)),
                     "graph", json_text(qonnx_stats_graph(s, i)), "values", (json_int_t)h->count,
                     "nan", (json_int_t)h->nan, "infinite", (json_int_t)h->inf, "zero",
                     (json_int_t)h->zero, "min", h->nbins ? json_number(h->min) : json_null(),
                     "max", h->nbins ? json_number(h->max) : json_null());
}

static void print_json(const char *path, const qonnx_stats *s)
{
    json_t *list = json_array();
    for (int i = 0; i < qonnx_stats_count(s); i++)
        json_array_append_new(list, activation_json(s, i));
    json_print(json_pack(
        "{so sI so so sI ss so}", "file", json_text(path), "bytes", (json_int_t)file_size(path),
        "pipeline", json_text(qonnx_stats_pipeline(s)), "engine", json_text(qonnx_stats_engine(s)),
        "samples", (json_int_t)qonnx_stats_samples(s), "data", qonnx_stats_data_hash(s),
        "activations", list));
}

int inspect_statistics(const char *path, bool json)
{
    qonnx_ctx *cx = progress_ctx();
    qonnx_stats *s = qonnx_stats_load(cx, path);
    int status = s ? EXIT_DONE : report_failure(cx);
    if (s) (json ? print_json : print_text)(path, s);
    qonnx_stats_free(s);
    qonnx_ctx_free(cx);
    return status;
}
