/* cli/latency.h - how long one sample takes. */
#ifndef CLI_LATENCY_H
#define CLI_LATENCY_H

#include <qonnx/run.h>

/* The threads that compute one sample, which is what is measured. */
enum { LATENCY_THREADS = 1 };

typedef struct Latency {
    double seconds; /* the median of the runs */
    int runs;       /* 0: not known */
} Latency;

/* Runs the first sample that can be read alone: once to warm up, then 5 times, and more often as
 * long as that takes a fraction of a second; fewer times where one run takes many seconds. Nothing
 * is known where no sample runs alone, as where the model fixes a larger batch. */
Latency latency_measure(qonnx_session *s, const qonnx_dataset *d);
/* "1.25 ms" into out[SIZE_ROOM] of output.h; "-" where it is not known. Returns out. */
const char *latency_text(char *out, const Latency *l);

#endif
