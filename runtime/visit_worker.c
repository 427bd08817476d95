/* runtime/visit_worker.c - one thread of a visit: takes samples, reads them, runs them together
 * where the model has a batch, and hands on what comes out.
 */
#include "runtime/visit.h"
#include "ir/size.h"
#include "runtime/stages.h"
#include <stdlib.h>
#include <string.h>

/* One thread's own things. */
typedef struct Worker {
    Job *job;
    Ctx *cx;
    void *state; /* the visitor's */
    Stages *stages;
    size_t taken;  /* samples that it works on */
    size_t valid;  /* of these, those that could be read: they run together */
    size_t *index; /* [valid] which they are */
    Tensor **samples; /* [valid] these: outputs may be what they hold */
} Worker;

static void see_tap(void *user, const Tap *t, const void *data)
{
    Worker *w = user;
    int64_t batch = w->job->s->batch, size = t->outer * t->channels * t->inner;
    if (batch == 1 || t->batch != batch || t->outer % batch) {
        w->job->v->tap(w->state, w->index[0], t, data, t->outer);
        return;
    }
    size_t rows = w->job->group > 1 ? w->valid : (size_t)batch;
    for (size_t k = 0; k < rows; k++)
        w->job->v->tap(w->state, w->index[w->job->group > 1 ? k : 0], t,
                       (const float *)data + (int64_t)k * (size / batch), t->outer / batch);
}

/* Joins the tensors of `valid` samples along axis 0, the last one repeated to fill the batch. */
static void join_batch(const Worker *w, Tensor *const *samples, Tensor *joined)
{
    const qonnx_session *s = w->job->s;
    for (int i = 0; i < s->fed; i++) {
        joined[i] = samples[0][i];
        joined[i].dims[0] = s->batch;
        joined[i].bytes = samples[0][i].bytes * (size_t)s->batch; /* or less, where it is packed */
        char *data = xcalloc(joined[i].bytes, 1);
        int64_t count = tensor_count(&samples[0][i]);
        for (int64_t k = 0; k < s->batch; k++) {
            size_t from = (size_t)k < w->valid ? (size_t)k : w->valid - 1;
            tensor_move(data, k * count, samples[from][i].data, 0, count, joined[i].dtype);
        }
        joined[i].data = data;
    }
}

/* Makes a tensor of a batch that of its sample `k`. Returns memory that is to be freed, or NULL. */
static void *take_row(Tensor *t, int64_t batch, int64_t k)
{
    t->dims[0] = 1;
    if (!dtype_is_packed(t->dtype)) {
        t->bytes /= (size_t)batch;
        t->data = (const char *)t->data + (size_t)k * t->bytes;
        return NULL;
    }
    int64_t count = tensor_count(t);
    t->bytes = elements_bytes(count, t->dtype);
    void *data = xcalloc(t->bytes, 1);
    tensor_move(data, 0, t->data, k * count, count, t->dtype);
    t->data = data;
    return data;
}

/* Hands the outputs of sample `k` of the batch on. */
static bool deliver(Worker *w, size_t sample, size_t k)
{
    int64_t batch = (int64_t)w->job->group;
    int count = w->job->s->graph->noutput;
    Tensor *out = xmalloc_array((size_t)count, sizeof *out);
    void **rows = xcalloc((size_t)count + 1, sizeof *rows);
    for (int i = 0; i < count; i++) {
        out[i] = stages_output(w->stages, i);
        if (batch != 1 && out[i].rank && out[i].dims[0] == batch)
            rows[i] = take_row(&out[i], batch, (int64_t)k);
    }
    bool more = w->job->v->output(w->job->v->user, sample, out);
    for (int i = 0; i < count; i++) free(rows[i]);
    free(rows);
    free(out);
    return more;
}

/* Runs inputs that lie ready, on this worker's memory. */
static bool run_inputs(Worker *w, const Tensor *inputs)
{
    return stages_run(w->cx, w->stages, inputs, w->job->v->tap ? see_tap : NULL, w);
}

bool visit_read(Ctx *cx, const Job *j, size_t i, Tensor **out)
{
    int all = qonnx_dataset_inputs(j->d), fed = 0;
    Tensor *t = *out = xcalloc((size_t)all + (size_t)j->s->fed + 1, sizeof *t);
    if (!qonnx_dataset_read(cx, j->d, i, t)) return false;
    for (int k = 0; k < all; k++)
        if (t[k].data) t[fed++] = t[k];
    if (fed == j->s->fed) return true;
    qonnx_sample_free(t, fed);
    return qonnx_fail(cx, NULL, "%s: the samples feed %d inputs, %s has %d",
                      qonnx_dataset_name(j->d, i), fed, j->s->graph->model->path, j->s->fed);
}

void visit_free(const Job *j, Tensor *t)
{
    if (t) qonnx_sample_free(t, j->s->fed);
    free(t);
}

/* Outputs whose size is data cannot be dealt out to the samples of a batch. */
static bool can_deal(const Worker *w)
{
    const Graph *g = w->job->s->graph;
    for (int i = 0; w->job->v->output && i < g->noutput; i++)
        if (stages_output_depends(w->stages, i))
            return qonnx_fail(w->cx, g->outputs[i]->def,
                              "the size of output '%s' is computed for a whole batch, so single "
                              "samples cannot share one; give samples that fill the model's batch "
                              "of %lld",
                              g->outputs[i]->name, (long long)w->job->s->batch);
    return true;
}

static bool same_shape_as(const Tensor *a, const Tensor *b)
{
    return a->rank == b->rank && a->dtype == b->dtype &&
           !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
}

/* Whether the samples are single ones of one shape. */
static bool can_join(const Worker *w, Tensor *const *samples)
{
    const char *path = w->job->s->graph->model->path;
    long long batch = (long long)w->job->s->batch;
    for (size_t k = 0; k < w->valid; k++)
        for (int i = 0; i < w->job->s->fed; i++) {
            if (samples[k][i].rank < 1 || samples[k][i].dims[0] != 1)
                return qonnx_fail(w->cx, NULL,
                                  "%s: some samples fill the model's batch of %lld, "
                                  "others are single; give one kind",
                                  path, batch);
            if (!same_shape_as(&samples[k][i], &samples[0][i]))
                return qonnx_fail(w->cx, NULL,
                                  "%s: samples of several shapes cannot share the model's batch of "
                                  "%lld; give samples that fill it",
                                  path, batch);
        }
    return true;
}

/* Runs samples that were read: joined to a batch where the model has one. */
static bool run_samples(Worker *w, Tensor *const *samples)
{
    int fed = w->job->s->fed;
    if (w->job->group == 1) return run_inputs(w, samples[0]);
    if (!can_join(w, samples)) return false;
    Tensor *joined = xcalloc((size_t)fed, sizeof *joined);
    join_batch(w, samples, joined);
    bool ok = run_inputs(w, joined) && can_deal(w);
    for (int i = 0; i < fed; i++) free((void *)(uintptr_t)joined[i].data);
    free(joined);
    return ok;
}

/* Whether sample i, which could not be read, may be left out: it is damaged, and so are not too
 * many. Its failure is kept. */
static bool leave_out(Worker *w, size_t i)
{
    Job *j = w->job;
    if (!j->spare || !dataset_damaged(j->d, i)) return false;
    pthread_mutex_lock(&j->lock);
    lost_add(&j->tour->lost, i, qonnx_error(w->cx));
    qonnx_ctx_free(w->cx);
    w->cx = qonnx_ctx_new();
    bool may = j->tour->lost.count <= j->spare;
    pthread_mutex_unlock(&j->lock);
    return may;
}

/* Reads the samples [first, first + taken) and runs them. */
static bool run_batch(Worker *w, size_t first)
{
    Job *j = w->job;
    w->samples = xcalloc(w->taken, sizeof *w->samples);
    bool ok = true;
    w->valid = 0;
    for (size_t k = 0; ok && k < w->taken; k++) {
        Tensor **next = &w->samples[w->valid];
        if (visit_read(w->cx, j, first + k, next)) {
            if (j->v->sample) j->v->sample(w->state, *next, j->s->fed);
            w->index[w->valid++] = first + k;
        } else {
            ok = leave_out(w, first + k);
            free(*next);
            *next = NULL;
        }
    }
    return ok && w->valid ? run_samples(w, w->samples) : ok;
}

static void drop_samples(Worker *w)
{
    for (size_t k = 0; k < w->valid; k++) visit_free(w->job, w->samples[k]);
    free(w->samples);
    w->samples = NULL;
}

size_t visit_part(const Job *j, size_t i, size_t *first)
{
    *first = (j->tour->shard.index + i * j->tour->shard.of) * j->group;
    return *first >= j->all ? 0 : j->all - *first < j->group ? j->all - *first : j->group;
}

/* Rests until nobody wants it any more, without a state meanwhile. [the job is locked] */
static void rest(Worker *w)
{
    Job *j = w->job;
    j->v->end(j->v->user, w->state);
    j->resting++;
    pthread_cond_broadcast(&j->turn);
    while (j->rest && !j->stop) pthread_cond_wait(&j->turn, &j->lock);
    j->resting--;
    w->state = j->v->begin(j->v->user);
}

/* Takes the samples of the next part. False: there are none left. */
static bool take(Worker *w, size_t *first)
{
    Job *j = w->job;
    pthread_mutex_lock(&j->lock);
    if (j->rest && !j->stop) rest(w);
    w->taken = j->stop ? 0 : visit_part(j, j->next, first);
    j->next += w->taken > 0;
    pthread_mutex_unlock(&j->lock);
    return w->taken > 0;
}

/* Notes a failure: the earliest sample's is the one that is told. */
static void note_error(Job *j, Worker *w, size_t sample)
{
    j->stop = j->failed = true;
    if (ctx_failed(w->cx) && (!j->error || sample < j->error_sample)) {
        qonnx_ctx_free(j->error);
        j->error = w->cx;
        j->error_sample = sample;
        w->cx = qonnx_ctx_new();
    }
}

/* Waits until all earlier samples were handed on, then hands these on. */
static void finish(Worker *w, size_t first, bool ok)
{
    Job *j = w->job;
    pthread_mutex_lock(&j->lock);
    if (!ok) note_error(j, w, first);
    while (j->v->output && !j->stop && j->delivered != first) pthread_cond_wait(&j->turn, &j->lock);
    bool go = j->v->output && !j->stop;
    pthread_mutex_unlock(&j->lock);
    for (size_t k = 0; go && k < w->valid; k++) go = deliver(w, w->index[k], k);
    pthread_mutex_lock(&j->lock);
    if (j->v->output && !go) j->stop = true;
    j->delivered += w->taken;
    pthread_cond_broadcast(&j->turn);
    pthread_mutex_unlock(&j->lock);
}

void *visit_work(void *user)
{
    Job *j = user;
    Worker w = {.job = j,
                .cx = qonnx_ctx_new(),
                .stages = stages_new(j->s->variants),
                .index = xcalloc(j->group, sizeof *w.index)};
    engine_thread_init(j->s->engine);
    if (j->v->begin) w.state = j->v->begin(j->v->user);
    for (size_t first = 0; take(&w, &first);) {
        bool ok = run_batch(&w, first);
        finish(&w, first, ok);
        drop_samples(&w);
    }
    stages_free(w.stages); /* before memory is taken to add up what was seen */
    pthread_mutex_lock(&j->lock);
    if (j->v->end) j->v->end(j->v->user, w.state);
    j->running--;
    pthread_cond_broadcast(&j->turn);
    pthread_mutex_unlock(&j->lock);
    free(w.index);
    qonnx_ctx_free(w.cx);
    return NULL;
}
