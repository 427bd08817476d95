/* runtime/count_loops.c - the counting loops in portable C, and the choice between instruction
 * sets.
 */
#include "runtime/count.h"

#include <math.h>
#include <string.h>

static size_t keys_portable(const float *x, size_t n, uint32_t clip, uint32_t *keys, size_t *zeros)
{
    size_t kept = 0, zero = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bool is_zero = (bits << 1) == 0;
        keys[kept] = bits >> COUNT_SHIFT;
        kept += !is_zero & (bits != clip);
        zero += is_zero;
    }
    *zeros += zero;
    return kept;
}

static void columns_portable(const float *x, size_t rows, size_t cols, size_t stride, Columns acc)
{
    for (size_t r = 0; r < rows; r++, x += stride) {
        for (size_t c = 0; c < cols; c++) {
            float v = x[c];
            acc.sum[c] += v;
            acc.square[c] += (double)v * v;
            acc.min[c] = v < acc.min[c] ? v : acc.min[c];
            acc.max[c] = v > acc.max[c] ? v : acc.max[c];
        }
    }
}

void count_columns_finite(const float *x, size_t rows, size_t cols, size_t stride, Columns acc)
{
    for (size_t r = 0; r < rows; r++, x += stride) {
        for (size_t c = 0; c < cols; c++) {
            if (!isfinite(x[c])) continue;
            Columns one = {acc.sum + c, acc.square + c, acc.min + c, acc.max + c};
            columns_portable(x + c, 1, 1, 1, one);
        }
    }
}

static bool always(void)
{
    return true;
}

const CountLoops count_portable = {"portable", always, keys_portable, columns_portable};

const CountLoops *count_loops_at(int i)
{
    static const CountLoops *const all[] = {
#ifdef __x86_64__
        &count_avx512, &count_avx2,
#endif
        &count_portable, NULL};
    return all[i];
}

const CountLoops *count_loops_best(void)
{
    int i = 0;
    while (!count_loops_at(i)->usable()) i++;
    return count_loops_at(i);
}
