/* kernels/q_vec.h - sixteen 32-bit lanes in the registers of the instruction set.
 *
 * Two things are done on them: adding four products to each lane (the step of a dot product), and
 * requantization by float instructions. x86 from SSE2 to AVX512-VNNI, AArch64 NEON with or without
 * its dot products, ARM's 16-bit pairs (Cortex-M4), and plain C. All give the same bytes.
 */
#ifndef KERNELS_Q_VEC_H
#define KERNELS_Q_VEC_H

#include "common.h"

enum { Q_LANES = 16 }; /* output channels in a block */

/* Q_VECS: vectors for all lanes. A register tile is Q_TILE rows of Q_ABREAST vectors, Q_CHAINS
 * times where one sum after the other would wait for its predecessor. */
#if defined(__SSE2__)
#define Q_FLOAT_LANES 1
#include <emmintrin.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512BW__)
enum { Q_VECS = 1, Q_ABREAST = 1, Q_TILE = 8, Q_CHAINS = 2 };
typedef __m512i q_vec;
#define Q_MM(op)      _mm512_##op
#define Q_LOAD(p)     _mm512_loadu_si512(p)
#define Q_STORE(p, v) _mm512_storeu_si512(p, v)
#elif defined(__AVX2__)
enum { Q_VECS = 2, Q_ABREAST = 2, Q_TILE = 4, Q_CHAINS = 1 };
typedef __m256i q_vec;
#define Q_MM(op)      _mm256_##op
#define Q_LOAD(p)     _mm256_loadu_si256((const __m256i *)(p))
#define Q_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#else
enum { Q_VECS = 4, Q_ABREAST = 4, Q_TILE = 2, Q_CHAINS = 1 };
typedef __m128i q_vec;
#define Q_MM(op)      _mm_##op
#define Q_LOAD(p)     _mm_loadu_si128((const __m128i *)(p))
#define Q_STORE(p, v) _mm_storeu_si128((__m128i *)(p), v)
#endif

#if defined(__AVX512BW__) && defined(__AVX512VNNI__)
#define Q_DPBUSD _mm512_dpbusd_epi32
#elif !defined(__AVX512BW__) && defined(__AVXVNNI__)
#define Q_DPBUSD _mm256_dpbusd_avx_epi32
#endif

/* Four bytes a lane: as they are, or bytes 0, 2 and 1, 3 as pairs of 16 bits. */
typedef struct q_quad {
    q_vec a, b;
} q_quad;

typedef struct q_columns {
    q_quad v[Q_ABREAST];
} q_columns;

KERNEL q_vec q_vec_load(const void *p) { return Q_LOAD(p); }

KERNEL void q_vec_store(void *p, q_vec v) { Q_STORE(p, v); }

KERNEL q_vec q_vec_zero(void) { return Q_MM(set1_epi32)(0); }

KERNEL q_vec q_vec_add(q_vec a, q_vec b) { return Q_MM(add_epi32)(a, b); }

KERNEL q_quad q_quad_split(q_vec v, int is_signed)
{
    const q_vec high = Q_MM(slli_epi16)(v, 8);
    if (is_signed) return (q_quad){Q_MM(srai_epi16)(high, 8), Q_MM(srai_epi16)(v, 8)};
    return (q_quad){Q_MM(srli_epi16)(high, 8), Q_MM(srli_epi16)(v, 8)};
}

/* The bytes of x in v. */
KERNEL q_quad q_quad_of(q_vec v, int is_signed)
{
#if defined(Q_DPBUSD)
    if (!is_signed) return (q_quad){v, v};
#endif
    return q_quad_split(v, is_signed);
}

/* The same four bytes of x for every lane. */
KERNEL q_quad q_quad_x(const uint8_t *x, int is_signed)
{
    int32_t word;
    __builtin_memcpy(&word, x, 4);
#if defined(__AVX2__)
    const q_vec v = Q_MM(broadcastd_epi32)(_mm_cvtsi32_si128(word));
#else
    const q_vec v = _mm_set1_epi32(word);
#endif
    return q_quad_of(v, is_signed);
}

/* Each lane's four weights. `is_signed` is that of x. */
KERNEL q_quad q_quad_weights(const int8_t *w, int is_signed)
{
    const q_vec v = Q_LOAD(w);
#if defined(Q_DPBUSD)
    if (!is_signed) return (q_quad){v, v};
#endif
    (void)is_signed;
    return q_quad_split(v, 1);
}

/* Lane j has x0[j], x1[j], x2[j], x3[j]. */
KERNEL q_columns q_quad_columns(const uint8_t *x0, const uint8_t *x1, const uint8_t *x2,
                                const uint8_t *x3, int is_signed)
{
    const __m128i r0 = _mm_loadu_si128((const __m128i *)(const void *)x0);
    const __m128i r1 = _mm_loadu_si128((const __m128i *)(const void *)x1);
    const __m128i r2 = _mm_loadu_si128((const __m128i *)(const void *)x2);
    const __m128i r3 = _mm_loadu_si128((const __m128i *)(const void *)x3);
    q_columns c;
#if defined(__AVX512BW__)
    q_vec v = _mm512_inserti32x4(_mm512_castsi128_si512(r0), r1, 1);
    v = _mm512_inserti32x4(_mm512_inserti32x4(v, r2, 2), r3, 3);
    v = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
    v = _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6,
                                                                    10, 14, 3, 7, 11, 15)));
    c.v[0] = q_quad_of(v, is_signed);
#else
    const __m128i low01 = _mm_unpacklo_epi8(r0, r1), low23 = _mm_unpacklo_epi8(r2, r3);
    const __m128i high01 = _mm_unpackhi_epi8(r0, r1), high23 = _mm_unpackhi_epi8(r2, r3);
    const __m128i q[4] = {_mm_unpacklo_epi16(low01, low23), _mm_unpackhi_epi16(low01, low23),
                          _mm_unpacklo_epi16(high01, high23), _mm_unpackhi_epi16(high01, high23)};
#pragma GCC unroll 4
    for (int i = 0; i < Q_VECS; i++)
#if defined(__AVX2__)
        c.v[i] = q_quad_of(
            _mm256_inserti128_si256(_mm256_castsi128_si256(q[2 * i]), q[2 * i + 1], 1), is_signed);
#else
        c.v[i] = q_quad_of(q[i], is_signed);
#endif
#endif
    return c;
}

/* sum + the four products, in each lane. */
KERNEL q_vec q_quad_dot(q_vec sum, q_quad x, q_quad w, int is_signed)
{
#if defined(Q_DPBUSD)
    if (!is_signed) return Q_DPBUSD(sum, x.a, w.a);
#endif
    (void)is_signed;
    const q_vec a = Q_MM(madd_epi16)(x.a, w.a), b = Q_MM(madd_epi16)(x.b, w.b);
    return Q_MM(add_epi32)(sum, Q_MM(add_epi32)(a, b));
}

/* rint(sum * scale limited to [lo, hi]) + zero, by floats. */
KERNEL q_vec q_vec_requant(q_vec sum, const void *scale, float lo, float hi, int32_t zero)
{
    const float *s = (const float *)scale;
    __extension__ __typeof__(Q_MM(setzero_ps)()) v = Q_MM(cvtepi32_ps)(sum);
    v = Q_MM(mul_ps)(v, Q_MM(loadu_ps)(s));
    v = Q_MM(min_ps)(Q_MM(max_ps)(v, Q_MM(set1_ps)(lo)), Q_MM(set1_ps)(hi));
    return Q_MM(add_epi32)(Q_MM(cvtps_epi32)(v), Q_MM(set1_epi32)(zero));
}

/* The low bytes of all lanes, which are in -128..255. */
KERNEL void q_vec_bytes(uint8_t *y, const q_vec v[Q_VECS])
{
#if defined(__AVX512BW__)
    const __m128i bytes = _mm512_cvtepi32_epi8(v[0]);
#else
    __m128i quarter[4];
    for (int i = 0; i < 4; i++) {
#if defined(__AVX2__)
        quarter[i] =
            i & 1 ? _mm256_extracti128_si256(v[i / 2], 1) : _mm256_castsi256_si128(v[i / 2]);
#else
        quarter[i] = v[i];
#endif
        quarter[i] = _mm_and_si128(quarter[i], _mm_set1_epi32(255));
    }
    const __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(quarter[0], quarter[1]),
                                           _mm_packs_epi32(quarter[2], quarter[3]));
#endif
    _mm_storeu_si128((__m128i *)(void *)y, bytes);
}

#elif defined(__aarch64__) && defined(__ARM_NEON)
#define Q_FLOAT_LANES 1
#include <arm_neon.h>

enum { Q_VECS = 4, Q_ABREAST = 4, Q_TILE = 4, Q_CHAINS = 1 };
typedef int32x4_t q_vec;

/* Four bytes a lane: as they are, and as 16 bits of lanes 0, 1 and 2, 3. What is not used costs
 * nothing. */
typedef struct q_quad {
    uint8x16_t bytes;
    int16x8_t a, b;
} q_quad;

typedef struct q_columns {
    q_quad v[Q_ABREAST];
} q_columns;

KERNEL q_vec q_vec_load(const void *p)
{
    return vreinterpretq_s32_u8(vld1q_u8((const uint8_t *)p));
}

KERNEL void q_vec_store(void *p, q_vec v) { vst1q_u8((uint8_t *)p, vreinterpretq_u8_s32(v)); }

KERNEL q_vec q_vec_zero(void) { return vdupq_n_s32(0); }

KERNEL q_vec q_vec_add(q_vec a, q_vec b) { return vaddq_s32(a, b); }

KERNEL q_quad q_quad_split(uint8x16_t bytes, int is_signed)
{
    const int8x16_t s = vreinterpretq_s8_u8(bytes);
    if (is_signed) return (q_quad){bytes, vmovl_s8(vget_low_s8(s)), vmovl_high_s8(s)};
    return (q_quad){bytes, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))),
                    vreinterpretq_s16_u16(vmovl_high_u8(bytes))};
}

KERNEL q_quad q_quad_x(const uint8_t *x, int is_signed)
{
    uint32_t word;
    __builtin_memcpy(&word, x, 4);
    return q_quad_split(vreinterpretq_u8_u32(vdupq_n_u32(word)), is_signed);
}

KERNEL q_quad q_quad_weights(const int8_t *w, int is_signed)
{
    (void)is_signed;
    return q_quad_split(vreinterpretq_u8_s8(vld1q_s8(w)), 1);
}

KERNEL q_columns q_quad_columns(const uint8_t *x0, const uint8_t *x1, const uint8_t *x2,
                                const uint8_t *x3, int is_signed)
{
    const uint8x16x2_t even = vzipq_u8(vld1q_u8(x0), vld1q_u8(x2));
    const uint8x16x2_t odd = vzipq_u8(vld1q_u8(x1), vld1q_u8(x3));
    const uint8x16x2_t low = vzipq_u8(even.val[0], odd.val[0]);
    const uint8x16x2_t high = vzipq_u8(even.val[1], odd.val[1]);
    return (q_columns){{q_quad_split(low.val[0], is_signed), q_quad_split(low.val[1], is_signed),
                        q_quad_split(high.val[0], is_signed),
                        q_quad_split(high.val[1], is_signed)}};
}

KERNEL q_vec q_quad_dot(q_vec sum, q_quad x, q_quad w, int is_signed)
{
#if defined(__ARM_FEATURE_DOTPROD)
    if (is_signed)
        return vdotq_s32(sum, vreinterpretq_s8_u8(x.bytes), vreinterpretq_s8_u8(w.bytes));
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
    if (!is_signed) return vusdotq_s32(sum, x.bytes, vreinterpretq_s8_u8(w.bytes));
#endif
    (void)is_signed;
    const int32x4_t a = vpaddlq_s16(vmulq_s16(x.a, w.a)), b = vpaddlq_s16(vmulq_s16(x.b, w.b));
    return vaddq_s32(sum, vpaddq_s32(a, b));
}

KERNEL q_vec q_vec_requant(q_vec sum, const void *scale, float lo, float hi, int32_t zero)
{
    const float32x4_t s = vreinterpretq_f32_s32(q_vec_load(scale));
    float32x4_t v = vmulq_f32(vcvtq_f32_s32(sum), s);
    v = vminq_f32(vmaxq_f32(v, vdupq_n_f32(lo)), vdupq_n_f32(hi));
    return vaddq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(zero));
}

KERNEL void q_vec_bytes(uint8_t *y, const q_vec v[Q_VECS])
{
    const int16x8_t a = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
    const int16x8_t b = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
    vst1q_u8(y, vreinterpretq_u8_s8(vcombine_s8(vmovn_s16(a), vmovn_s16(b))));
}

#else /* one lane a register */

enum { Q_VECS = 16, Q_ABREAST = 4, Q_TILE = 2, Q_CHAINS = 1 };
typedef uint32_t q_vec;

KERNEL q_vec q_vec_load(const void *p) { return *(const uint32_t *)p; }

KERNEL void q_vec_store(void *p, q_vec v) { *(uint32_t *)p = v; }

KERNEL q_vec q_vec_zero(void) { return 0; }

KERNEL q_vec q_vec_add(q_vec a, q_vec b) { return a + b; }

#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>

/* Bytes 0, 2 and 1, 3 as pairs of 16 bits. */
typedef struct q_quad {
    int16x2_t a, b;
} q_quad;

typedef struct q_columns {
    q_quad v[Q_ABREAST];
} q_columns;

KERNEL q_quad q_quad_split(const void *p, int is_signed)
{
    uint32_t word;
    __builtin_memcpy(&word, p, 4);
    if (is_signed) return (q_quad){__sxtb16((int8x4_t)word), __sxtb16((int8x4_t)(word >> 8))};
    return (q_quad){(int16x2_t)__uxtb16(word), (int16x2_t)__uxtb16(word >> 8)};
}

KERNEL q_quad q_quad_join(uint8_t b0, uint8_t b1, uint8_t b2, uint8_t b3, int is_signed)
{
    const uint32_t even = b0 | (uint32_t)b2 << 16, odd = b1 | (uint32_t)b3 << 16;
    if (is_signed) return (q_quad){__sxtb16((int8x4_t)even), __sxtb16((int8x4_t)odd)};
    return (q_quad){(int16x2_t)even, (int16x2_t)odd};
}

KERNEL q_vec q_quad_dot(q_vec sum, q_quad x, q_quad w, int is_signed)
{
    (void)is_signed;
    return (q_vec)__smlad(x.b, w.b, __smlad(x.a, w.a, (int32_t)sum));
}
#else
typedef struct q_quad {
    int32_t v[4];
} q_quad;

typedef struct q_columns {
    q_quad v[Q_ABREAST];
} q_columns;

KERNEL q_quad q_quad_split(const void *p, int is_signed)
{
    const uint8_t *u = (const uint8_t *)p;
    const int8_t *s = (const int8_t *)p;
    if (is_signed) return (q_quad){{s[0], s[1], s[2], s[3]}};
    return (q_quad){{u[0], u[1], u[2], u[3]}};
}

KERNEL q_quad q_quad_join(uint8_t b0, uint8_t b1, uint8_t b2, uint8_t b3, int is_signed)
{
    if (is_signed) return (q_quad){{(int8_t)b0, (int8_t)b1, (int8_t)b2, (int8_t)b3}};
    return (q_quad){{b0, b1, b2, b3}};
}

KERNEL q_vec q_quad_dot(q_vec sum, q_quad x, q_quad w, int is_signed)
{
    (void)is_signed;
    for (int i = 0; i < 4; i++) sum += (uint32_t)(x.v[i] * w.v[i]);
    return sum;
}
#endif

KERNEL q_quad q_quad_x(const uint8_t *x, int is_signed) { return q_quad_split(x, is_signed); }

KERNEL q_quad q_quad_weights(const int8_t *w, int is_signed)
{
    (void)is_signed;
    return q_quad_split(w, 1);
}

KERNEL q_columns q_quad_columns(const uint8_t *x0, const uint8_t *x1, const uint8_t *x2,
                                const uint8_t *x3, int is_signed)
{
    q_columns c;
    for (int j = 0; j < Q_ABREAST; j++) c.v[j] = q_quad_join(x0[j], x1[j], x2[j], x3[j], is_signed);
    return c;
}
#endif

enum { Q_WIDTH = Q_LANES / Q_VECS }; /* lanes of a vector */

#endif
