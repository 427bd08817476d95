/* cli/provenance.c - see provenance.h. */
#include "provenance.h"
#include <qonnx/qonnx.h>
#include <stdio.h>
#include <stdlib.h>

static void set_metadata(qonnx_graph *g, const char *key, const char *value)
{
    if (value) qonnx_model_set_metadata(g, key, value);
}

static void record_statistics(qonnx_graph *g, const Passes *p, const qonnx_stats *stats)
{
    char data[96];
    char *observer = passes_option(p, "calibrate", "observer");
    snprintf(data, sizeof data, "%.48s, %llu samples", qonnx_stats_data_hash(stats),
             (unsigned long long)qonnx_stats_samples(stats));
    set_metadata(g, "qonnx.observer", observer);
    set_metadata(g, "qonnx.data", data);
    set_metadata(g, "qonnx.engine", qonnx_stats_engine(stats));
    const char *pictures = qonnx_stats_preprocess(stats);
    bool other = qonnx_model_metadata(g, QONNX_PREPROCESS_KEY) != NULL;
    set_metadata(g, QONNX_PREPROCESS_KEY, *pictures || other ? pictures : NULL);
    free(observer);
}

void provenance_record(qonnx_graph *g, const Args *args, const Passes *p, const qonnx_stats *stats)
{
    char *pipeline = passes_join(p, 0, p->count);
    set_metadata(g, "qonnx.version", qonnx_version());
    set_metadata(g, "qonnx.pipeline", pipeline);
    set_metadata(g, "qonnx.target", args->target);
    char *plugins = qonnx_pipeline_plugins(pipeline);
    bool stale = qonnx_model_metadata(g, "qonnx.plugins") != NULL; /* of an earlier pipeline */
    set_metadata(g, "qonnx.plugins", plugins || !stale ? plugins : "");
    free(plugins);
    free(pipeline);
    if (stats) record_statistics(g, p, stats);
}
