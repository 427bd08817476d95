/* tests/kernel_run.h - what the tests of float kernels share: random inputs, a kernel run on every
 * instruction set, comparing with a reference.
 */
#ifndef TESTS_KERNEL_RUN_H
#define TESTS_KERNEL_RUN_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "kernels/kernel.h"
#include "kernels/params.h"

#ifndef SEED
#define SEED 1
#endif

static uint64_t seed; /* of rnd() */

/* Before each test, so that one does not change the shapes of the next. */
static inline int reseed(void **state)
{
    (void)state;
    seed = SEED;
    return 0;
}

static inline uint32_t rnd(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

static inline int32_t between(int32_t lo, int32_t hi)
{
    return (int32_t)((uint32_t)lo + rnd() % ((uint32_t)hi - (uint32_t)lo + 1));
}

static inline void *alloc(size_t bytes)
{
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, 64, bytes + !bytes), 0);
    return p;
}

/* n floats in -1..1. */
static inline float *floats(size_t n)
{
    float *x = alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)between(-4096, 4096) / 4096.0f;
    return x;
}

static inline const Kernel *find(const Kernel *table, const char *name)
{
    while (strcmp(table->name, name) != 0) table++;
    return table;
}

/* Runs the kernel on every level this machine has, input 1 packed where the kernel wants it, and
 * demands the same bytes. Returns the output. */
static inline void *run(const char *name, const void *p, const void *in0, const void *in1,
                        const void *in2, size_t bytes)
{
    unsigned char *first = NULL;
    for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
        const Kernel *table = kernel_table((KernelLevel)level);
        if (!table) continue;
        const Kernel *k = find(table, name);
        unsigned char *y = alloc(bytes);
        void *packed = k->pack ? alloc(k->pack_bytes(p)) : NULL;
        memset(y, 0xa5, bytes);
        if (k->pack) k->pack(p, in1, packed);
        const void *const in[] = {in0, packed ? packed : in1, in2};
        void *const out[] = {y};
        k->run(p, in, out);
        free(packed);
        if (!first) {
            first = y;
            continue;
        }
        if (memcmp(first, y, bytes) != 0) fail_msg("%s: level %d gives other bytes", name, level);
        free(y);
    }
    return first;
}

/* The same for any number of inputs; out[0] is returned, the others, which are of so many bytes,
 * are freed. */
static inline void *run_many(const char *name, const void *p, const void *const *in,
                             const size_t *bytes, int nout)
{
    unsigned char *first = NULL;
    for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
        const Kernel *table = kernel_table((KernelLevel)level);
        if (!table) continue;
        const Kernel *k = find(table, name);
        const void *given[8] = {NULL};
        void *out[4] = {NULL}, *packed = k->pack ? alloc(k->pack_bytes(p)) : NULL;
        assert_true(k->nout == nout && nout <= 4 && k->nin <= 8);
        for (int i = 0; i < k->nin; i++) given[i] = in[i];
        for (int i = 0; i < nout; i++) memset(out[i] = alloc(bytes[i]), 0xa5, bytes[i]);
        if (packed) k->pack(p, in[1], packed), given[1] = packed;
        k->run(p, given, out);
        free(packed);
        for (int i = 1; i < nout; i++) free(out[i]);
        if (!first) {
            first = out[0];
            continue;
        }
        if (memcmp(first, out[0], bytes[0]) != 0)
            fail_msg("%s: level %d gives other bytes", name, level);
        free(out[0]);
    }
    return first;
}

/* The greatest |want|. */
static inline double greatest(const double *want, size_t n)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(want[i]));
    return most;
}

/* |y - want| <= allowed. */
static inline void close_to(const char *what, const float *y, const double *want, size_t n,
                            double allowed)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)y[i] - want[i]) <= allowed))
            fail_msg("%s: [%zu] is %.9g, want %.9g", what, i, (double)y[i], want[i]);
}

#endif
