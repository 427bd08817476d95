/* runtime/visit.c - visits of a session to a data set: one worker per thread, samples handed out in
 * order, and times of rest in between. What a worker does is in visit_worker.c.
 */
#include "runtime/visit.h"
#include <stdlib.h>
#include <time.h>

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
    bool ok = visit_read(own, j, i, out) || fail_sample(cx, j, i, own);
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
    visit_free(j, t);
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
    visit_free(j, t);
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
    return parts ? (parts - 1) * j->group + visit_part(j, parts - 1, &first) : 0;
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
    while (started < threads && !pthread_create(&ids[started], NULL, visit_work, &j)) started++;
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
