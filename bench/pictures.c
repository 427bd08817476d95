/* bench/pictures.c - reads pictures as calibration does: decodes them, resizes the short side with
 * Pillow's bilinear filter, and crops the middle. bench/data.py runs it.
 *
 *   bench_pictures SHORT CROP THREADS REPETITIONS OUT FILE...
 *
 * Prints the pictures a second, of the clock and of processor time, without the start of the
 * process. OUT gets the pixels of all pictures, one after the other; "" is none.
 */
#include "frontend/data/resize.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What all threads share. */
typedef struct Job {
    char **files;       /* [nfiles] paths */
    size_t nfiles;      /* more than 0 */
    size_t side, crop;  /* pixels: of the short side, and of what is cropped */
    size_t threads;     /* the i-th takes files i, i + threads, ... */
    size_t repetitions; /* of all files */
    uint8_t *pixels;    /* [nfiles][crop][crop][3] */
} Job;

/* One of the threads. */
typedef struct Worker {
    pthread_t thread; /* itself */
    const Job *job;   /* shared */
    size_t index;     /* which it is */
    double cpu;       /* processor seconds that it took */
} Worker;

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The part in the middle, of a picture whose short side becomes `side`. */
static Resize middle(const Rows *rows, size_t side, size_t crop)
{
    size_t w = rows->width, h = rows->height;
    size_t width = w < h ? side : side * w / h, height = w < h ? side * h / w : side;
    return (Resize){ENGINE_PILLOW,      FILTER_BILINEAR,     width, height,
                    (width - crop) / 2, (height - crop) / 2, crop,  crop};
}

/* Gray pixels become RGB, in place. */
static void triple(uint8_t *pixels, size_t count)
{
    for (size_t i = count; i-- > 0;) memset(pixels + 3 * i, pixels[i], 3);
}

static bool read_one(qonnx_ctx *cx, const Job *job, size_t i)
{
    static const PictureOptions options;
    FileMap file;
    bool damaged, ok = false;
    if (!file_map(cx, job->files[i], &file)) return false;
    Rows *rows = picture_open(cx, job->files[i], &file, &options, &damaged);
    if (rows) {
        Resize r = middle(rows, job->side, job->crop);
        uint8_t *pixels = job->pixels + i * job->crop * job->crop * 3;
        ok = resize_rows(cx, rows, &r, pixels);
        if (ok && rows->channels == 1) triple(pixels, job->crop * job->crop);
        rows->close(rows);
    }
    file_unmap(&file);
    return ok;
}

static void *work(void *arg)
{
    Worker *w = arg;
    qonnx_ctx *cx = qonnx_ctx_new();
    for (size_t k = 0; k < w->job->repetitions; k++) {
        for (size_t i = w->index; i < w->job->nfiles; i += w->job->threads) {
            if (read_one(cx, w->job, i)) continue;
            fprintf(stderr, "bench_pictures: %s\n", qonnx_error(cx));
            exit(1);
        }
    }
    qonnx_ctx_free(cx);
    w->cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void run(const Job *job)
{
    Worker *workers = calloc(job->threads, sizeof *workers);
    double start = seconds(CLOCK_MONOTONIC), cpu = 0;
    for (size_t i = 0; i < job->threads; i++) {
        workers[i] = (Worker){.job = job, .index = i};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) exit(1);
    }
    for (size_t i = 0; i < job->threads; i++) {
        pthread_join(workers[i].thread, NULL);
        cpu += workers[i].cpu;
    }
    double n = (double)(job->nfiles * job->repetitions);
    printf("{\"rate\": %.2f, \"cpu\": %.2f}\n", n / (seconds(CLOCK_MONOTONIC) - start), n / cpu);
    free(workers);
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "usage: bench_pictures SHORT CROP THREADS REPETITIONS OUT FILE...\n");
        return 2;
    }
    size_t n[4];
    for (int i = 0; i < 4; i++) n[i] = strtoul(argv[i + 1], NULL, 10);
    Job job = {argv + 6, (size_t)argc - 6, n[0], n[1], n[2], n[3], NULL};
    size_t bytes = job.nfiles * job.crop * job.crop * 3;
    if (!job.crop || job.side < job.crop || !job.threads || !(job.pixels = malloc(bytes))) return 2;
    run(&job);
    FILE *out = *argv[5] ? fopen(argv[5], "wb") : NULL;
    bool ok = !*argv[5] || (out && fwrite(job.pixels, 1, bytes, out) == bytes);
    if (out) ok = !fclose(out) && ok;
    free(job.pixels);
    return ok ? 0 : 1;
}
