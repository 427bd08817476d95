/* cli/samples.c - see samples.h. */
#include "samples.h"
#include "pictures.h"
#include "progress.h"
#include "tensor.h"
#include <qonnx/graph.h>
#include <string.h>

enum { FEW = 20 }; /* fewer samples than this say little about the values that come */

void samples_limit(qonnx_dataset *d, const Args *args)
{
    size_t limit = (size_t)args->limit;
    if (!limit && args->random >= 0) warn("--random chooses those of --limit, which is not given");
    if (!limit) return;
    if (args->random < 0) qonnx_dataset_limit(d, limit);
    else qonnx_dataset_choose(d, limit, (uint64_t)args->random);
}

/* What --npy says; NULL: it was not given. */
static qonnx_arrays arrays_of(const char *npy)
{
    if (npy && !strcmp(npy, "batch")) return QONNX_ARRAYS_BATCH;
    if (npy && !strcmp(npy, "sample")) return QONNX_ARRAYS_SAMPLE;
    return QONNX_ARRAYS_BY_SHAPE;
}

qonnx_dataset *samples_open(qonnx_ctx *cx, const qonnx_graph *g, const Args *args,
                            const char *const *specs, int nspecs)
{
    const qonnx_data_options o = {.arrays = arrays_of(args->npy),
                                  .preprocess = args->pictures,
                                  .origin = args->origin,
                                  .of_model = args->of_model};
    qonnx_dataset *d = qonnx_dataset_open(cx, g, specs, nspecs, &o);
    size_t limit = (size_t)args->limit, count = d ? qonnx_dataset_count(d) : limit;
    if (count < limit) warn("%zu samples are asked for, there are %zu", limit, count);
    if (d) samples_limit(d, args);
    if (d) pictures_tell(d, g);
    return d;
}

void samples_close(qonnx_dataset *d, const qonnx_graph *g)
{
    if (d) pictures_tell(d, g);
    qonnx_dataset_free(d);
}

/* Into how many classes the model sorts, as far as its first output's shape says so: [1,N], also
 * with more axes of 1, or an open batch instead of the first 1. 0: not known. */
static int64_t count_classes(const qonnx_graph *g)
{
    if (!qonnx_graph_outputs(g)) return 0;
    const qonnx_value *v = qonnx_graph_output(g, 0);
    int rank = qonnx_value_rank(v);
    if (!is_real(qonnx_value_dtype(v)) || rank < 2 || qonnx_value_dim(v, 0) > 1) return 0;
    int64_t classes = 1;
    for (int i = 1; i < rank; i++) {
        int64_t size = qonnx_value_dim(v, i);
        if (size < 1 || (size > 1 && classes > 1)) return 0;
        if (size > 1) classes = size;
    }
    return classes > 1 ? classes : 0;
}

/* What one class says may not suit the others. */
static void check_one_class(const qonnx_dataset *d, Use use)
{
    size_t count = qonnx_dataset_count(d);
    int class_index = qonnx_dataset_class(d, 0);
    for (size_t i = 1; i < count; i++)
        if (qonnx_dataset_class(d, i) != class_index) return;
    if (class_index >= 0 && count > 1)
        warn("all %zu samples are of one class (their folder or label); %s", count,
             use == USE_EVALUATE ? "their accuracy says nothing about others"
                                 : "ranges may not suit others");
}

bool samples_classify(qonnx_ctx *cx, qonnx_dataset *d, const qonnx_graph *g, const char *labels,
                      Use use)
{
    if (labels) {
        if (!qonnx_dataset_labels(cx, d, labels)) return false;
    } else {
        qonnx_ctx *silent = qonnx_ctx_new();
        qonnx_dataset_find_labels(use == USE_EVALUATE ? cx : silent, d);
        qonnx_ctx_free(silent);
    }
    const char *output = qonnx_graph_outputs(g) ? qonnx_value_name(qonnx_graph_output(g, 0)) : "";
    qonnx_dataset_check_classes(cx, d, count_classes(g), output);
    if (use != USE_RUN) check_one_class(d, use);
    return true;
}

void warn_few(const char *where, unsigned long long count)
{
    if (count < FEW)
        warn("%s%sonly %llu sample%s to calibrate with: the ranges may not suit others; give at "
             "least %d, better 100 or more",
             where ? where : "", where ? ": " : "", count, count == 1 ? "" : "s", FEW);
}
