/* ops/string_cast.c - see string_cast.h. */
#include "ops/string_cast.h"
#include "kernels/elements.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- to strings ------------------------------------------------------------------------------ */

/* Element i as text. */
static int print(const Tensor *t, int64_t i, char text[64])
{
    uint64_t whole;
    if (t->dtype == QONNX_UINT64 || t->dtype == QONNX_INT64) {
        memcpy(&whole, (const char *)t->data + (size_t)i * sizeof whole, sizeof whole);
        return t->dtype == QONNX_INT64 ? snprintf(text, 64, "%lld", (long long)whole)
                                       : snprintf(text, 64, "%llu", (unsigned long long)whole);
    }
    double x = qonnx_tensor_get(t, i);
    if (!has_type(FLOATS, t->dtype)) return snprintf(text, 64, "%.0f", x);
    if (isnan(x)) return snprintf(text, 64, "NaN");
    if (isinf(x)) return snprintf(text, 64, x < 0 ? "-INF" : "INF");
    return snprintf(text, 64, "%.8g", x);
}

static bool to_strings(Host *h, const Tensor *x)
{
    char text[64];
    int64_t count = tensor_count(x);
    void *y = host_out(h, 0, QONNX_STRING, x->rank, x->dims);
    bool ok = y != NULL;
    for (int64_t i = 0; ok && i < count; i++)
        ok = host_string(h, y, i, text, (size_t)print(x, i, text));
    return ok;
}

/* ---- from strings ---------------------------------------------------------------------------- */

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* What is left behind a number, blanks left out. */
static const char *rest(const char *at)
{
    while (is_blank(*at)) at++;
    return at;
}

/* Reads a real number that is all of the text. */
static bool read_real(const char *text, double *x)
{
    char *end;
    errno = 0;
    *x = strtod(text, &end);
    return end != text && !*rest(end) && !(errno == ERANGE && isinf(*x));
}

/* Reads a whole number; what stands behind a point is cut off. */
static bool read_whole(const char *text, bool *negative, uint64_t *x)
{
    bool any = false;
    text = rest(text);
    *negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    for (*x = 0; *text >= '0' && *text <= '9'; text++, any = true)
        if (__builtin_mul_overflow(*x, 10, x) ||
            __builtin_add_overflow(*x, (uint64_t)(*text - '0'), x))
            return false;
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9'; text++) any = true;
    return any && !*rest(text);
}

/* Whether a whole number is one of the type. */
static bool whole_fits(DType t, bool negative, uint64_t x)
{
    int bits = qonnx_dtype_bits(t);
    if (t == QONNX_BOOL) return true;
    if (has_type(UNSIGNED, t)) return (!negative || !x) && (bits == 64 || x >> bits == 0);
    return x <= (UINT64_C(1) << (bits - 1)) - !negative;
}

/* Writes the number that a text is as element i. */
static bool read_number(DType t, const char *text, void *y, int64_t i)
{
    bool negative;
    uint64_t u[F_CHUNK];
    double v[F_CHUNK];
    if (has_type(FLOATS, t)) {
        if (!read_real(text, &v[0])) return false;
        if (t != QONNX_DOUBLE) v[0] = (float)v[0];
        arith_store_reals(v, (int32_t)t, y, i, 1);
        return true;
    }
    if (!read_whole(text, &negative, &u[0]) || !whole_fits(t, negative, u[0])) return false;
    if (negative) u[0] = 0 - u[0];
    if (t == QONNX_BOOL) u[0] = u[0] != 0;
    arith_store_integers(u, (int32_t)t, y, i, 1);
    return true;
}

static bool from_strings(Host *h, const Tensor *x, DType to)
{
    int64_t count = tensor_count(x);
    void *y = host_out(h, 0, to, x->rank, x->dims);
    bool ok = y != NULL;
    for (int64_t i = 0; ok && i < count; i++) {
        qonnx_string s = qonnx_tensor_string(x, i);
        char *text = xstrndup(s.text, s.bytes);
        ok = (strlen(text) == s.bytes && read_number(to, text, y, i)) ||
             qonnx_fail(h->cx, h->node, "'%.60s' is no number that %s has", text,
                        qonnx_dtype_name(to));
        ok = ok && host_spend(h, 64 + (int64_t)s.bytes);
        free(text);
    }
    return ok;
}

static bool copy_strings(Host *h, const Tensor *x)
{
    int64_t count = tensor_count(x);
    void *y = host_out(h, 0, QONNX_STRING, x->rank, x->dims);
    for (int64_t i = 0; y && i < count; i++) host_same(y, i, x, i);
    return y != NULL;
}

bool host_cast(Host *h, const Node *n)
{
    const Tensor *x = host_in(h, 0), *like = host_in(h, 1);
    DType to = like ? like->dtype : (DType)qonnx_node_int(n, "to", 0);
    bool from = x->dtype == QONNX_STRING;
    DType other = from ? to : x->dtype;
    if (from && to == QONNX_STRING) return copy_strings(h, x);
    if (!has_type(NUMBERS | BOOL, other))
        return qonnx_fail(h->cx, n, "strings and %s are not cast to each other",
                          qonnx_dtype_name(other));
    locale_t numbers = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = uselocale(numbers);
    bool ok = from ? from_strings(h, x, to) : to_strings(h, x);
    uselocale(before);
    freelocale(numbers);
    return ok;
}
