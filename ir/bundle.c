/* ir/bundle.c - see bundle.h. */
#include "ir/bundle.h"
#include "ir/size.h"
#include <string.h>

enum { ALIGN = 16 }; /* of what a bundle holds */

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

DType bundle_of(DType inner, DType kind)
{
    bool optional = kind == QONNX_OPTIONAL;
    if (!bundle_element(inner) || (is_bundle(inner) && !optional) ||
        ((unsigned)inner & QONNX_OPTIONAL))
        return QONNX_UNDEFINED;
    return (DType)((unsigned)inner | (unsigned)kind);
}

Tensor bundle_make(DType t, const Tensor *parts, int64_t count)
{
    size_t bytes = aligned((size_t)count * sizeof *parts);
    for (int64_t i = 0; i < count; i++) bytes += aligned(parts[i].bytes);
    return (Tensor){.dtype = t, .rank = 1, .dims = {count}, .data = parts, .bytes = bytes};
}

int64_t bundle_leaves(const Tensor *t)
{
    int64_t count = 0;
    if (!is_bundle(t->dtype)) return 1;
    for (int64_t i = 0; i < t->dims[0]; i++)
        count = size_plus(count, bundle_leaves(&bundle_parts(t)[i]));
    return count;
}

Tensor *bundle_flatten(const Tensor *t, Tensor *to)
{
    if (!is_bundle(t->dtype)) {
        *to = *t;
        return to + 1;
    }
    for (int64_t i = 0; i < t->dims[0]; i++) to = bundle_flatten(&bundle_parts(t)[i], to);
    return to;
}

void bundle_copy(void *to, const Tensor *t)
{
    if (!is_bundle(t->dtype)) {
        if (t->bytes) memcpy(to, t->data, t->bytes);
        return;
    }
    Tensor *parts = to;
    uint8_t *at = (uint8_t *)to + aligned((size_t)t->dims[0] * sizeof *parts);
    for (int64_t i = 0; i < t->dims[0]; i++) {
        parts[i] = bundle_parts(t)[i];
        bundle_copy(at, &parts[i]);
        parts[i].data = at;
        at += aligned(parts[i].bytes);
    }
}
