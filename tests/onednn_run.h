/* tests/onednn_run.h - oneDNN's form of a kernel beside what the kernel gives. */
#ifndef TESTS_ONEDNN_RUN_H
#define TESTS_ONEDNN_RUN_H

#include "tests/kernel_run.h"
#ifdef HAVE_ONEDNN
#include "runtime/onednn.h"

enum { GUARD = 4096 }; /* bytes before and behind what oneDNN may write; 64-byte aligned */

static int onednn_ops; /* operators that oneDNN had a fast form of */

static inline unsigned char *guarded(size_t bytes)
{
    unsigned char *p = alloc(bytes + 2 * GUARD);
    memset(p, 0xab, bytes + 2 * GUARD);
    return p;
}

/* Nothing was written outside. oneDNN's code is made at run time: sanitizers do not see it. */
static inline void guards_hold(const char *what, const unsigned char *p, size_t bytes)
{
    for (size_t i = 0; i < GUARD; i++)
        if (p[i] != 0xab || p[GUARD + bytes + i] != 0xab)
            fail_msg("oneDNN's %s wrote outside its memory", what);
}

/* oneDNN's form of a kernel of up to three inputs, where it has one, is as near as allowed to the
 * portable result y. */
static inline void onednn_agrees(const char *name, const void *p, const float *x, const float *w,
                                 const float *bias, const float *y, size_t count, double allowed)
{
    Buf weights = {.data = w}, shift = {.data = bias};
    Buf *const in[] = {NULL, w ? &weights : NULL, bias ? &shift : NULL};
    const void *const data[] = {x, w, bias};
    OnednnOp *op = onednn_op_new(kernel_find(name), p, in, NULL);
    if (!op) return;
    onednn_ops++;
    const size_t room = onednn_op_scratch(op), bytes = count * sizeof(float);
    unsigned char *scratch = guarded(room), *got = guarded(bytes);
    double *want = alloc(count * sizeof *want);
    for (size_t i = 0; i < count; i++) want[i] = (double)y[i];
    memset(got + GUARD, 0xff, bytes); /* NaN */
    onednn_op_run(op, data, got + GUARD, scratch + GUARD);
    guards_hold(name, got, bytes);
    guards_hold(name, scratch, room);
    close_to(name, (const float *)(const void *)(got + GUARD), want, count, allowed);
    onednn_op_free(op);
    free(scratch);
    free(got);
    free(want);
}
#else
static inline void onednn_agrees(const char *name, const void *p, const float *x, const float *w,
                                 const float *bias, const float *y, size_t count, double allowed)
{
    (void)name, (void)p, (void)x, (void)w, (void)bias, (void)y, (void)count, (void)allowed;
}
#endif

#endif
