/* runtime/visit.c - visits of a session to a data set: one worker per thread, samples handed out in
 * order, and times of rest in between.
 */
#include "frontend/data/data.h"
#include "runtime/session.h"
#include "runtime/stages.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One run over a data set, shared by its workers. */
typedef struct Job {
    qonnx_session *s;
    const qonnx_dataset *d;
    const Visitor *v;
    Tour *tour;           /* which parts of the data set are run; with what is lost of them */
    size_t all;           /* samples in the data set */
    size_t count;         /* of these, those of the shard */
    size_t group;         /* samples that run together: the model's batch, or 1 where each sample
                             fills a batch by itself */
    size_t spare;         /* samples that may be damaged; they are left out */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t turn;  /* one of what follows changed */
    size_t next;         /* parts of the shard that somebody has taken */
    size_t delivered;    /* samples whose outputs were handed on: they go in order */
    int running;         /* workers */
    int resting;         /* of these, those that wait while all rest */
    bool rest;           /* all are to rest */
    bool stop;           /* a failure, or the visitor has seen enough */
    bool failed;         /* a sample could not be read or run */
    Ctx *error;          /* failure of the earliest sample that failed, or NULL */
    size_t error_sample;
} Job;

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
        joined[i].bytes = samples[0][i].bytes * (size_t)s->batch;
        char *data = xmalloc(joined[i].bytes);
        for (size_t k = 0; k < (size_t)s->batch; k++)
            memcpy(data + k * samples[0][i].bytes, samples[k < w->valid ? k : w->valid - 1][i].data,
                   samples[0][i].bytes);
        joined[i].data = data;
    }
}

/* Hands the outputs of sample `k` of the batch on. */
static bool deliver(Worker *w, size_t sample, size_t k)
{
    int64_t batch = (int64_t)w->job->group;
    int count = w->job->s->graph->noutput;
    Tensor *out = xmalloc_array((size_t)count, sizeof *out);
    for (int i = 0; i < count; i++) {
        out[i] = stages_output(w->stages, i);
        if (batch == 1 || !out[i].rank || out[i].dims[0] != batch) continue;
        out[i].dims[0] = 1;
        out[i].bytes /= (size_t)batch;
        out[i].data = (const char *)out[i].data + k * out[i].bytes;
    }
    bool more = w->job->v->output(w->job->v->user, sample, out);
    free(out);
    return more;
}

/* Runs inputs that lie ready, on this worker's memory. */
static bool run_inputs(Worker *w, const Tensor *inputs)
{
    return stages_run(w->cx, w->stages, inputs, w->job->v->tap ? see_tap : NULL, w);
}

/* Reads a sample: its fed inputs, in order. Freed by qonnx_sample_free. */
static bool read_sample(Ctx *cx, const Job *j, size_t i, Tensor **out)
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

static void free_sample(const Job *j, Tensor *t)
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
        if (read_sample(w->cx, j, first + k, next)) {
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
    for (size_t k = 0; k < w->valid; k++) free_sample(w->job, w->samples[k]);
    free(w->samples);
    w->samples = NULL;
}

/* The samples of part `i` of the shard: from *first on, how many. */
static size_t part_samples(const Job *j, size_t i, size_t *first)
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
    w->taken = j->stop ? 0 : part_samples(j, j->next, first);
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
    for (size_t k = 0; go && k < w->taken; k++) go = deliver(w, first + k, k);
    pthread_mutex_lock(&j->lock);
    if (j->v->output && !go) j->stop = true;
    j->delivered += w->taken;
    pthread_cond_broadcast(&j->turn);
    pthread_mutex_unlock(&j->lock);
}

static void *work(void *user)
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

/* Waits for a change, or a tenth of a second. [the job is locked] */
static void wait_a_while(Job *j)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 100000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    pthread_cond_timedwait(&j->turn, &j->lock, &t);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Has the workers rest when it is time, and lets them go on when all did: what was taken is done
 * then, so that another tour could go on behind it. [the job is locked] */
static void rest_when_due(Job *j, double *last)
{
    if (!j->v->rest || j->stop) return;
    if (!j->rest) j->rest = seconds_now() - *last >= j->tour->interval;
    if (!j->rest || !j->running || j->resting < j->running) return;
    j->tour->done = j->next;
    j->v->rest(j->v->user);
    j->rest = false;
    pthread_cond_broadcast(&j->turn);
    *last = seconds_now();
}

/* Waits for the workers, telling progress now and then. False: the user wants to stop. */
static bool watch(Ctx *cx, Job *j)
{
    bool go = true;
    double last = seconds_now();
    pthread_mutex_lock(&j->lock);
    while (j->running) {
        wait_a_while(j);
        rest_when_due(j, &last);
        size_t done = j->delivered;
        pthread_mutex_unlock(&j->lock);
        if (go && !ctx_progress(cx, "samples", done, j->count)) go = false;
        pthread_mutex_lock(&j->lock);
        if (!go) j->stop = true, pthread_cond_broadcast(&j->turn);
    }
    pthread_mutex_unlock(&j->lock);
    return go;
}

static int by_sample(const void *a, const void *b)
{
    const Lost *x = a, *y = b;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

/* Says which samples were left out, or fails where they are too many. All samples before one that
 * was met were met too, so that the text does not depend on the threads. */
static bool tell_damaged(Ctx *cx, Job *j)
{
    enum { LISTED = 5 };
    const LostList *l = &j->tour->lost;
    if (!l->count) return true;
    qsort(l->lost, l->count, sizeof *l->lost, by_sample);
    if (l->count > j->spare && (!j->error || j->error_sample > l->lost[j->spare].sample)) {
        qonnx_ctx_free(j->error);
        j->error = NULL;
        return qonnx_fail(cx, NULL,
                          "more than %zu of %zu samples are damaged; the first: %s; to leave more "
                          "of them out, give a larger --max-bad PERCENT",
                          j->spare, j->count, l->lost[0].why);
    }
    if (j->error) return true;
    for (size_t i = 0; i < l->count && i < LISTED; i++)
        qonnx_warn(cx, NULL, "%s; it is left out", l->lost[i].why);
    qonnx_warn(cx, NULL, "%zu of %zu samples are damaged and left out, as --max-bad allows",
               l->count, j->count);
    return true;
}

/* Fails for the reason `why`, which the samples from `sample` on gave, at most a group. Where a
 * damaged one could have been left out, says so. */
static bool fail_sample(Ctx *cx, const Job *j, size_t sample, const Ctx *why)
{
    bool damaged = false, may = j->v->tap && j->count > 1;
    for (size_t k = sample; may && !damaged && k < sample + j->group && k < j->all; k++)
        damaged = dataset_damaged(j->d, k);
    if (!damaged) {
        ctx_take_error(cx, why);
        return false;
    }
    return qonnx_fail(cx, NULL,
                      "%s; to leave damaged samples out, allow for them: --max-bad PERCENT of all "
                      "%zu",
                      qonnx_error(why), j->count);
}

/* Reads one sample before the others, failing as reading it later would. */
static bool read_ahead(Ctx *cx, const Job *j, size_t i, Tensor **out)
{
    Ctx *own = qonnx_ctx_new();
    bool ok = read_sample(own, j, i, out) || fail_sample(cx, j, i, own);
    qonnx_ctx_free(own);
    return ok;
}

/* Fails at once where a sample is known to be damaged, and none may be left out. */
static bool check_known(Ctx *cx, const Job *j)
{
    size_t i;
    Tensor *t;
    if (j->spare || j->count < j->all || !dataset_known_damaged(j->d, &i)) return true;
    bool ok = read_ahead(cx, j, i, &t);
    free_sample(j, t);
    return ok;
}

/* How many samples run together: a model with a fixed batch takes that many single samples, or
 * samples that fill it. */
static bool find_group(Ctx *cx, Job *j)
{
    if (j->s->batch == 1 || !j->all) return true;
    Tensor *t;
    size_t i = 0;
    while (i < j->spare && dataset_damaged(j->d, i)) i++;
    bool ok = read_ahead(cx, j, i, &t);
    if (ok && j->s->fed && t[0].rank && t[0].dims[0] == 1) j->group = (size_t)j->s->batch;
    free_sample(j, t);
    return ok;
}

/* A condition whose waits do not depend on what time somebody thinks it is. */
static void condition_init(pthread_cond_t *c)
{
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(c, &a);
    pthread_condattr_destroy(&a);
}

/* How many of `count` samples may be damaged; not all. */
static size_t spare_samples(size_t count, double share)
{
    size_t spare = share > 0 ? (size_t)((double)count * share + 1e-9) : 0;
    return spare && spare >= count ? count - 1 : spare;
}

bool session_plan(Ctx *cx, qonnx_session *s, const qonnx_dataset *d, const Visitor *v, Tour *tour)
{
    Job j = {.s = s, .d = d, .v = v, .all = qonnx_dataset_count(d), .group = 1};
    j.count = j.all;
    j.spare = spare_samples(j.all, s->damaged);
    if (!find_group(cx, &j)) return false;
    tour->group = j.group;
    tour->parts = (j.all + j.group - 1) / j.group;
    return true;
}

/* How many samples the first parts of the shard have. */
static size_t samples_of(const Job *j, size_t parts)
{
    size_t first;
    return parts ? (parts - 1) * j->group + part_samples(j, parts - 1, &first) : 0;
}

bool session_visit(Ctx *cx, qonnx_session *s, const qonnx_dataset *d, const Visitor *v, Tour *tour)
{
    Job j = {.s = s, .d = d, .v = v, .tour = tour, .group = tour->group, .next = tour->done};
    size_t parts = shard_parts(tour->shard, tour->parts), left = parts - tour->done;
    j.all = qonnx_dataset_count(d);
    j.count = samples_of(&j, parts);
    j.spare = spare_samples(j.count, s->damaged);
    j.delivered = samples_of(&j, tour->done);
    if (!check_known(cx, &j)) return false;
    int threads = (size_t)s->threads < left ? s->threads : (int)left;
    pthread_mutex_init(&j.lock, NULL);
    condition_init(&j.turn);
    pthread_t *ids = xcalloc((size_t)threads, sizeof *ids);
    int started = 0;
    j.running = threads;
    while (started < threads && !pthread_create(&ids[started], NULL, work, &j)) started++;
    pthread_mutex_lock(&j.lock);
    j.running -= threads - started;
    pthread_mutex_unlock(&j.lock);
    bool ok = started || !threads || qonnx_fail(cx, NULL, "cannot start a thread");
    if (started) ok = watch(cx, &j);
    for (int i = 0; i < started; i++) pthread_join(ids[i], NULL);
    tour->stopped = !ok && started && !j.failed;
    tour->done = j.next;
    if (ok) ok = tell_damaged(cx, &j);
    if (ok && j.error) ok = fail_sample(cx, &j, j.error_sample, j.error);
    if (ok && j.failed)
        ok = qonnx_fail(cx, NULL,
                        "%s: cannot be run, and the library does not say why: please report it",
                        s->graph->model->path);
    qonnx_ctx_free(j.error);
    free(ids);
    pthread_cond_destroy(&j.turn);
    pthread_mutex_destroy(&j.lock);
    return ok;
}
