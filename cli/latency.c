/* cli/latency.c - see latency.h. */
#include "latency.h"
#include "output.h"
#include "progress.h"
#include <stdlib.h>

enum { LEAST = 5, MOST = 101 /* runs */ };
/* Seconds after which more than LEAST runs are not made, and after which no run is. */
#define SHORT 0.5
#define LONG  10.0

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool on_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    (void)user;
    (void)sample;
    (void)outputs;
    return true;
}

/* Runs a sample again and again. */
static Latency repeat(qonnx_ctx *cx, qonnx_session *s, const qonnx_tensor *sample)
{
    Latency l = {.runs = 0};
    double took[MOST];
    bool good = qonnx_session_run_one(cx, s, sample, on_outputs, NULL); /* makes the program */
    for (double all = 0; good && l.runs < MOST && all < (l.runs < LEAST ? LONG : SHORT);) {
        const double began = seconds_now();
        good = qonnx_session_run_one(cx, s, sample, on_outputs, NULL) && !interrupted();
        took[l.runs] = seconds_now() - began;
        all += took[l.runs++];
    }
    if (!good) return (Latency){.runs = 0};
    qsort(took, (size_t)l.runs, sizeof *took, compare);
    l.seconds = (took[(l.runs - 1) / 2] + took[l.runs / 2]) / 2;
    return l;
}

Latency latency_measure(qonnx_session *s, const qonnx_dataset *d)
{
    Latency l = {.runs = 0};
    qonnx_ctx *quiet = qonnx_ctx_new(); /* what fails has been said, or fails this alone */
    qonnx_tensor *sample = needed(calloc((size_t)qonnx_dataset_inputs(d) + 1, sizeof *sample));
    const size_t count = qonnx_dataset_count(d);
    size_t i = 0;
    while (i < count && !qonnx_dataset_read(quiet, d, i, sample)) i++;
    if (i < count) {
        l = repeat(quiet, s, sample);
        qonnx_sample_free(sample, qonnx_dataset_inputs(d));
    }
    free(sample);
    qonnx_ctx_free(quiet);
    return l;
}

const char *latency_text(char *out, const Latency *l)
{
    const double ms = 1000 * l->seconds;
    if (l->runs) snprintf(out, SIZE_ROOM, "%.*f ms", ms < 1 ? 3 : ms < 10 ? 2 : 1, ms);
    else snprintf(out, SIZE_ROOM, "-");
    return out;
}
