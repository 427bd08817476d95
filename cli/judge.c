/* cli/judge.c - see judge.h. */
#include "judge.h"
#include "calibrate.h"
#include "nodes.h"
#include "progress.h"
#include "tensor.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Samples on which a gain is hardly luck. */
enum { MANY = 32 };
/* Beyond these many dB an output counts as no nearer. */
#define EXACT 80.0

/* ---- what is judged -------------------------------------------------------------------------- */

/* The value by which an output is judged: what a last Softmax reads, and else the output itself;
 * NULL: none can be. `scores`: it is the former. */
static const qonnx_value *judged(const qonnx_graph *g, int output, bool *scores)
{
    qonnx_value *out = qonnx_graph_output(g, output);
    const qonnx_node *n = qonnx_value_producer(in_front_of_pair(out));
    const bool softmax = n && (qonnx_node_is(n, "Softmax") || qonnx_node_is(n, "LogSoftmax"));
    *scores = softmax && qonnx_value_producer(qonnx_node_input(n, 0));
    if (*scores) return qonnx_node_input(n, 0);
    return qonnx_value_producer(out) && is_real(qonnx_value_dtype(out)) ? out : NULL;
}

/* A copy of a tensor of floats, the mean of each row taken off: a Softmax does not see it. The data
 * is the caller's to free. */
static float *centred(const qonnx_tensor *t, qonnx_tensor *out)
{
    const int64_t count = qonnx_tensor_elements(t), row = t->dims[t->rank - 1];
    float *x = memcpy(needed(malloc(t->bytes + 1)), t->data, t->bytes);
    for (int64_t at = 0; at < count; at += row) {
        double mean = 0;
        for (int64_t i = 0; i < row; i++) mean += (double)x[at + i] / (double)row;
        for (int64_t i = 0; i < row; i++) x[at + i] -= (float)mean;
    }
    *out = *t;
    out->data = x;
    return x;
}

/* Compares what is judged of output i with its reference. */
static void compare(Judge *j, int i, const qonnx_tensor *y, const qonnx_tensor *ref)
{
    Likeness *l = &j->likeness[i];
    if (!j->scores[i] || y->dtype != QONNX_FLOAT || y->bytes != ref->bytes || !y->rank) {
        likeness_add(l, y, ref, false);
        return;
    }
    qonnx_tensor a, b;
    float *here = centred(y, &a), *there = centred(ref, &b);
    likeness_add(l, &a, &b, false);
    free(here);
    free(there);
}

/* Counts the sample if it has a class. */
static void classify(Judge *j, size_t sample, const qonnx_tensor *y)
{
    const int class = qonnx_dataset_class(j->samples, sample);
    const int64_t count = vector_length(y);
    if (class < 0 || !count) return;
    const bool right = class < count && class_rank(y, count, class) == 0;
    if (j->likeness) j->right += right;
    else j->right_float += right;
    if (!j->likeness) j->classed++;
}

/* `values` are what is judged of each output, then the outputs. */
static bool on_outputs(void *user, size_t sample, const qonnx_tensor *values)
{
    Judge *j = user;
    qonnx_tensor ref;
    classify(j, sample, &values[j->outputs]);
    for (int i = 0; i < 2 * j->outputs; i++) {
        if (!(j->likeness ? reference_read(&j->reference, &ref)
                          : reference_write(&j->reference, &values[i])))
            return false;
        if (!j->likeness) continue;
        const double before = j->likeness[i].noise;
        if (i < j->outputs) compare(j, i, &values[i], &ref);
        else likeness_add(&j->likeness[i], &values[i], &ref, false);
        if (i < j->outputs)
            j->noise[j->ran * (size_t)j->outputs + (size_t)i] = j->likeness[i].noise - before;
    }
    j->ran++;
    return !interrupted();
}

/* Runs a graph as far as what is judged. */
static bool run(Judge *j, const qonnx_graph *g)
{
    qonnx_session_options o = session_options(j->args);
    o.damaged = 1; /* whether there are too many of them is said elsewhere */
    const char **names = needed(calloc(2 * (size_t)j->outputs + 1, sizeof *names));
    for (int i = 0; i < j->outputs; i++) {
        bool scores;
        const qonnx_value *v = judged(g, j->of[i], &scores), *y = qonnx_graph_output(g, j->of[i]);
        names[i] = qonnx_value_name(v ? v : y);
        names[j->outputs + i] = qonnx_value_name(y);
    }
    bool good = qonnx_watch(j->cx, g, names, 2 * j->outputs, j->samples, &o, on_outputs, j);
    free(names);
    return good;
}

/* The mean over the outputs, in dB. */
static double score(const Judge *j)
{
    double sum = 0;
    for (int i = 0; i < j->outputs; i++) {
        const Likeness *l = &j->likeness[i];
        sum += likeness_known(l) && l->signal > 0 ? fmin(likeness_sqnr(l), EXACT) : 0;
    }
    return sum / j->outputs;
}

/* Whether the noise fell by more than two standard errors of its mean over the samples. */
static bool is_no_luck(const Judge *j)
{
    double sum = 0, squares = 0;
    for (size_t k = 0; k < j->ran; k++) {
        double fell = 0; /* each output by its signal */
        for (int i = 0; i < j->outputs; i++) {
            const size_t at = k * (size_t)j->outputs + (size_t)i;
            fell += (j->taken[at] - j->noise[at]) / fmax(j->likeness[i].signal, 1e-30);
        }
        sum += fell;
        squares += fell * fell;
    }
    const double n = (double)j->ran, mean = sum / n;
    return mean > 2 * sqrt(fmax(squares / n - mean * mean, 0) / fmax(n - 1, 1));
}

bool judge_gains(const Judge *j, double db, double least)
{
    return (db >= least && is_no_luck(j)) || (db >= DEAR && j->ran >= MANY);
}

void judge_keep(Judge *j)
{
    double *noise = j->noise;
    j->noise = j->taken;
    j->taken = noise;
}

/* ---- the judge ------------------------------------------------------------------------------- */

/* Whether the temporary file is at fault; says so. */
static bool fails(const Judge *j)
{
    const char *fault = j->reference.fault;
    if (fault) (void)!qonnx_fail(j->cx, NULL, "temporary file: %s; nothing can be judged", fault);
    return fault;
}

bool judge_open(Judge *j, qonnx_ctx *cx, const Args *args, const qonnx_graph *g,
                const qonnx_dataset *samples)
{
    const size_t most = (size_t)qonnx_graph_outputs(g) + 1;
    *j = (Judge){.cx = cx, .args = args, .samples = samples};
    j->of = needed(calloc(most, sizeof *j->of));
    j->scores = needed(calloc(most, sizeof *j->scores));
    for (int i = 0; i < qonnx_graph_outputs(g); i++)
        if (judged(g, i, &j->scores[j->outputs])) j->of[j->outputs++] = i;
    if (!j->outputs) return qonnx_fail(cx, NULL, "the model has no output of floats to judge by");
    if (!reference_open(&j->reference) || !run(j, g)) {
        fails(j);
        return false;
    }
    const size_t outputs = (size_t)j->outputs;
    j->likeness = needed(calloc(2 * outputs, sizeof *j->likeness));
    j->noise = needed(calloc(j->ran + 1, outputs * sizeof *j->noise));
    j->taken = needed(calloc(j->ran + 1, outputs * sizeof *j->taken));
    return true;
}

qonnx_graph *candidate_make(Judge *j, const Base *base, const qonnx_dataset *samples,
                            const Passes *p)
{
    const qonnx_session_options session = session_options(j->args);
    const qonnx_pipeline_options o = {
        .target = j->args->target, .stats = base->stats, .samples = samples, .session = &session};
    qonnx_graph *g = qonnx_graph_copy(base->g);
    if (passes_run(j->cx, g, p, base->split, p->count, &o, NULL)) return g;
    qonnx_graph_free(g);
    return NULL;
}

bool judge_graph(Judge *j, const qonnx_graph *g, double *db)
{
    reference_rewind(&j->reference);
    memset(j->likeness, 0, 2 * (size_t)j->outputs * sizeof *j->likeness);
    j->ran = j->right = 0;
    bool good = run(j, g) && !fails(j) && !interrupted();
    *db = good ? score(j) : 0;
    return good;
}

bool judge_passes(Judge *j, const Base *base, const qonnx_dataset *samples, const Passes *p,
                  double *db)
{
    qonnx_graph *g = candidate_make(j, base, samples, p);
    bool good = g && judge_graph(j, g, db);
    qonnx_graph_free(g);
    return good;
}

double judge_worst(const Judge *j)
{
    double worst = INFINITY;
    for (int i = j->outputs; i < 2 * j->outputs; i++)
        worst = fmin(worst, likeness_known(&j->likeness[i]) ? likeness_sqnr(&j->likeness[i]) : 0);
    return worst;
}

void judge_close(Judge *j)
{
    reference_close(&j->reference);
    free(j->likeness);
    free(j->noise);
    free(j->taken);
    free(j->of);
    free(j->scores);
    *j = (Judge){0};
}
