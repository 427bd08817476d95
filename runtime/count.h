/* runtime/count.h - the hot loops of the statistics: what is done to every element of every
 * activation. One table per instruction set; all of them give the same bytes.
 */
#ifndef RUNTIME_COUNT_H
#define RUNTIME_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A key is the top 17 bits of a float: sign, exponent, 8 bits of mantissa. */
enum { COUNT_SHIFT = 15, COUNT_KEYS = 1 << 17, COUNT_LANES = 16 };

/* Running sums and extremes of the columns of a matrix, one element a column. */
typedef struct Columns {
    double *sum;    /* of x, rows ascending */
    double *square; /* of x^2: exact in double before it is added, so fused or not is the same */
    float *min;     /* a NaN is skipped; which of -0 and +0 is open */
    float *max;
} Columns;

/* Adds rows [0, rows) of x[r * stride + c], c in [0, cols), to the columns' sums. */
typedef void ColumnsFn(const float *x, size_t rows, size_t cols, size_t stride, Columns acc);

typedef struct CountLoops {
    const char *name;     /* "avx512" */
    bool (*usable)(void); /* whether this machine has the instructions */
    /* Writes the keys of x[0..n) that are neither zero nor of the bits `clip` to `keys`, which has
     * room for n + 16, and returns how many. Adds the number of zeros (+0, -0) to *zeros. */
    size_t (*keys)(const float *x, size_t n, uint32_t clip, uint32_t *keys, size_t *zeros);
    ColumnsFn *columns;
} CountLoops;

extern const CountLoops count_portable;
#ifdef __x86_64__
extern const CountLoops count_avx2, count_avx512;
#endif

/* The i-th table, the best first, whether usable or not; NULL past the end. */
const CountLoops *count_loops_at(int i);
/* The best that this machine can run. */
const CountLoops *count_loops_best(void);

/* As the tables' columns, but leaves out what is not finite. */
ColumnsFn count_columns_finite;

#endif
