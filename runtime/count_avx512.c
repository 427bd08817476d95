/* runtime/count_avx512.c - the counting loops for x86-64 with AVX-512 (foundation set only). */
#include "runtime/count.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,popcnt")))

static bool usable(void)
{
    return __builtin_cpu_supports("avx512f");
}

/* One vector of keys(); returns how many were kept. */
AVX512 static inline size_t keys16(__m512i v, __m512i clip, uint32_t *keys, size_t *nonzero)
{
    __mmask16 some = _mm512_test_epi32_mask(v, _mm512_set1_epi32(0x7FFFFFFF));
    __mmask16 keep = _mm512_mask_cmpneq_epi32_mask(some, v, clip);
    __m512i key = _mm512_maskz_compress_epi32(keep, _mm512_srli_epi32(v, COUNT_SHIFT));
    _mm512_storeu_si512(keys, key);
    *nonzero += (size_t)_mm_popcnt_u32(some);
    return (size_t)_mm_popcnt_u32(keep);
}

AVX512 static size_t keys(const float *x, size_t n, uint32_t clip, uint32_t *keys, size_t *zeros)
{
    const __m512i vclip = _mm512_set1_epi32((int)clip);
    size_t kept = 0, nonzero = 0, i = 0;
    for (; i + 16 <= n; i += 16)
        kept += keys16(_mm512_loadu_si512(x + i), vclip, keys + kept, &nonzero);
    __mmask16 rest = (__mmask16)((1u << (n - i)) - 1);
    kept += keys16(_mm512_maskz_loadu_epi32(rest, x + i), vclip, keys + kept, &nonzero);
    *zeros += n - nonzero;
    return kept;
}

/* The sums and extremes of 16 columns, in registers. */
typedef struct Tile {
    __m512d sum0, sum1, square0, square1;
    __m512 min, max;
} Tile;

AVX512 static inline Tile tile_load(Columns acc, size_t c)
{
    return (Tile){_mm512_loadu_pd(acc.sum + c),    _mm512_loadu_pd(acc.sum + c + 8),
                  _mm512_loadu_pd(acc.square + c), _mm512_loadu_pd(acc.square + c + 8),
                  _mm512_loadu_ps(acc.min + c),    _mm512_loadu_ps(acc.max + c)};
}

AVX512 static inline void tile_store(const Tile *t, Columns acc, size_t c)
{
    _mm512_storeu_pd(acc.sum + c, t->sum0);
    _mm512_storeu_pd(acc.sum + c + 8, t->sum1);
    _mm512_storeu_pd(acc.square + c, t->square0);
    _mm512_storeu_pd(acc.square + c + 8, t->square1);
    _mm512_storeu_ps(acc.min + c, t->min);
    _mm512_storeu_ps(acc.max + c, t->max);
}

/* The halves are loaded apart: converting from memory needs no shuffle. */
AVX512 static inline void tile_add(Tile *t, const float *x)
{
    __m512 v = _mm512_loadu_ps(x);
    __m512d a = _mm512_cvtps_pd(_mm256_loadu_ps(x));
    __m512d b = _mm512_cvtps_pd(_mm256_loadu_ps(x + 8));
    t->sum0 = _mm512_add_pd(t->sum0, a);
    t->sum1 = _mm512_add_pd(t->sum1, b);
    t->square0 = _mm512_fmadd_pd(a, a, t->square0);
    t->square1 = _mm512_fmadd_pd(b, b, t->square1);
    t->min = _mm512_min_ps(v, t->min);
    t->max = _mm512_max_ps(v, t->max);
}

AVX512 static void columns(const float *x, size_t rows, size_t cols, size_t stride, Columns acc)
{
    size_t c = 0;
    for (; c + 32 <= cols; c += 32) {
        Tile t0 = tile_load(acc, c), t1 = tile_load(acc, c + 16);
        for (size_t r = 0; r < rows; r++) {
            tile_add(&t0, x + r * stride + c);
            tile_add(&t1, x + r * stride + c + 16);
        }
        tile_store(&t0, acc, c);
        tile_store(&t1, acc, c + 16);
    }
    for (; c + 16 <= cols; c += 16) {
        Tile t = tile_load(acc, c);
        for (size_t r = 0; r < rows; r++) tile_add(&t, x + r * stride + c);
        tile_store(&t, acc, c);
    }
    if (c == cols) return;
    Columns rest = {acc.sum + c, acc.square + c, acc.min + c, acc.max + c};
    count_avx2.columns(x + c, rows, cols - c, stride, rest);
}

const CountLoops count_avx512 = {"avx512", usable, keys, columns};
#endif
