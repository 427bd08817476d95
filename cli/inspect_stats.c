/* cli/inspect_stats.c - qonnx inspect of a .qcal file: what was counted, of which values. */
#include "inspect.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <math.h>
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

/* ---- what is shown of an activation ---------------------------------------------------------- */

enum { COLUMNS = 24 };

/* Values in columns of equal width from the least to the greatest. */
static void count_columns(const qonnx_histogram *h, uint64_t columns[COLUMNS])
{
    double width = ((double)h->max - h->min) / COLUMNS;
    memset(columns, 0, COLUMNS * sizeof *columns);
    for (int i = 0; i < h->nbins; i++) {
        double middle = ((double)h->bins[i].lo + h->bins[i].hi) / 2;
        double at = width > 0 ? (middle - h->min) / width : 0;
        columns[at < 0 ? 0 : at >= COLUMNS ? COLUMNS - 1 : (int)at] += h->bins[i].count;
    }
}

/* A character a column: its height is the logarithm of the count, so that few values show too. */
static const char *draw_columns(const qonnx_histogram *h, char text[COLUMNS + 1])
{
    static const char levels[] = " .:-=+*#@";
    enum { TOP = sizeof levels - 2 };
    uint64_t columns[COLUMNS], most = 1;
    count_columns(h, columns);
    for (int i = 0; i < COLUMNS; i++) most = columns[i] > most ? columns[i] : most;
    for (int i = 0; i < COLUMNS; i++) {
        double height = log1p((double)columns[i]) / log1p((double)most) * TOP;
        text[i] = levels[(int)ceil(height)];
    }
    text[COLUMNS] = 0;
    return text;
}

/* Of the finite values: exact where the channels were counted, else from the middles of the bins.
 */
static double mean_of(const qonnx_stats *s, int i)
{
    const qonnx_histogram *h = qonnx_stats_histogram(s, i);
    const qonnx_channels *c = qonnx_stats_channels(s, i);
    double sum = 0, count = 0;
    for (int k = 0; c && !h->nan && !h->inf && k < c->count; k++) {
        sum += c->mean[k];
        count++;
    }
    for (int k = 0; !count && k < h->nbins; k++)
        sum += ((double)h->bins[k].lo + h->bins[k].hi) / 2 * (double)h->bins[k].count;
    return sum / (count ? count : (double)(h->count - h->nan - h->inf));
}

/* ---- printing -------------------------------------------------------------------------------- */

static void print_partial(const qonnx_stats *s)
{
    qonnx_partial list;
    for (int i = 0; qonnx_stats_partial(s, i, &list); i++) {
        printf("shards      ");
        for (int k = 0; k < list.shards && k < 8; k++) {
            uint32_t shard, of;
            qonnx_stats_shard(s, i, k, &shard, &of);
            printf("%s %u/%u", k ? "," : "", shard, of);
        }
        printf("%s of the list %.8s: %llu of %llu parts\n", list.shards > 8 ? ", ..." : "",
               list.list, (unsigned long long)list.seen, (unsigned long long)list.parts);
    }
}

static void print_activation(const qonnx_stats *s, int i)
{
    const qonnx_histogram *h = qonnx_stats_histogram(s, i);
    char name[NAME_ROOM], graph[NAME_ROOM], bars[COLUMNS + 1];
    clean_name(name, sizeof name, qonnx_stats_name(s, i));
    clean_name(graph, sizeof graph, qonnx_stats_graph(s, i));
    if (!h->nbins)
        printf("  %-28s %11s %11s %11s %7s |%-*s|", name, "-", "-", "-", "-", COLUMNS, "");
    else
        printf("  %-28s %11.5g %11.5g %11.5g %5.1f %% |%s|", name, h->min, h->max, mean_of(s, i),
               100 * (double)h->zero / (double)h->count, draw_columns(h, bars));
    if (h->nan || h->inf)
        printf(" %llu NaN, %llu infinite", (unsigned long long)h->nan, (unsigned long long)h->inf);
    printf("%s%s%s\n", h->count ? "" : " never computed", *graph ? ", in " : "", graph);
}

static void print_text(const char *path, const qonnx_stats *s)
{
    char size[SIZE_ROOM];
    print_line("file         %s, %s", path, size_text(size, file_size(path)));
    print_line("pipeline     %s", qonnx_stats_pipeline(s));
    print_line("engine       %s", qonnx_stats_engine(s));
    if (*qonnx_stats_preprocess(s)) print_line("pictures     %s", qonnx_stats_preprocess(s));
    printf("samples      %llu\n", (unsigned long long)qonnx_stats_samples(s));
    printf("data         %s\n", qonnx_stats_data_hash(s));
    print_partial(s);
    printf("activations  %d\n", qonnx_stats_count(s));
    printf("  %-28s %11s %11s %11s %7s  from min to max\n", "", "min", "max", "mean", "zeros");
    for (int i = 0; i < qonnx_stats_count(s); i++) print_activation(s, i);
}

static json_t *columns_json(const qonnx_histogram *h)
{
    uint64_t columns[COLUMNS];
    json_t *list = json_array();
    count_columns(h, columns);
    for (int i = 0; h->nbins && i < COLUMNS; i++)
        json_array_append_new(list, json_integer((json_int_t)columns[i]));
    return list;
}

static json_t *activation_json(const qonnx_stats *s, int i)
{
    const qonnx_histogram *h = qonnx_stats_histogram(s, i);
    const qonnx_channels *c = qonnx_stats_channels(s, i);
    bool any = h->nbins > 0;
    return json_pack(
        "{so so sI sI sI sI so so so so so}", "name", json_text(qonnx_stats_name(s, i)), "graph",
        json_text(qonnx_stats_graph(s, i)), "values", (json_int_t)h->count, "nan",
        (json_int_t)h->nan, "infinite", (json_int_t)h->inf, "zero", (json_int_t)h->zero, "min",
        any ? json_number(h->min) : json_null(), "max", any ? json_number(h->max) : json_null(),
        "mean", any ? json_number(mean_of(s, i)) : json_null(), "channels",
        c ? json_integer(c->count) : json_null(), "histogram", columns_json(h));
}

static json_t *partial_json(const qonnx_stats *s)
{
    qonnx_partial list;
    json_t *all = json_array();
    for (int i = 0; qonnx_stats_partial(s, i, &list); i++) {
        json_t *shards = json_array();
        for (int k = 0; k < list.shards; k++) {
            uint32_t shard, of;
            qonnx_stats_shard(s, i, k, &shard, &of);
            json_array_append_new(shards, json_sprintf("%u/%u", shard, of));
        }
        json_array_append_new(all, json_pack("{ss sI sI so}", "list", list.list, "parts",
                                             (json_int_t)list.parts, "seen", (json_int_t)list.seen,
                                             "shards", shards));
    }
    return all;
}

static void print_json(const char *path, const qonnx_stats *s)
{
    json_t *list = json_array();
    for (int i = 0; i < qonnx_stats_count(s); i++)
        json_array_append_new(list, activation_json(s, i));
    json_print(json_pack(
        "{so sI so so so sI ss so so}", "file", json_text(path), "bytes",
        (json_int_t)file_size(path), "pipeline", json_text(qonnx_stats_pipeline(s)), "engine",
        json_text(qonnx_stats_engine(s)), "preprocess", json_text(qonnx_stats_preprocess(s)),
        "samples", (json_int_t)qonnx_stats_samples(s), "data", qonnx_stats_data_hash(s), "partial",
        partial_json(s), "activations", list));
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
