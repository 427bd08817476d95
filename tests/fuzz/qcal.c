/* tests/fuzz/qcal.c - calibration files: whatever is read can be merged, written and read again.
 * The checksum is made right first, since no fuzzer would.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "qcal.pb-c.h"
#include "runtime/stats.h"
#include "tests/fuzz/fuzz.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

/* The file with the checksum that belongs to its payload; NULL when it is no such file. Freed by
 * the caller. */
static uint8_t *sign(const uint8_t *data, size_t size, size_t *bytes)
{
    Qonnx__Qcal__File *f = size < 1 << 20 ? qonnx__qcal__file__unpack(NULL, size, data) : NULL;
    if (!f) return NULL;
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(f->payload.data, f->payload.len));
    ProtobufCBinaryData own = f->checksum;
    f->checksum = (ProtobufCBinaryData){sizeof sum.digest, sum.digest};
    *bytes = qonnx__qcal__file__get_packed_size(f);
    uint8_t *out = malloc(*bytes + 1);
    qonnx__qcal__file__pack(f, out);
    f->checksum = own;
    qonnx__qcal__file__free_unpacked(f, NULL);
    return out;
}

static void load(const uint8_t *data, size_t size)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    const char *path = fuzz_file(data, size);
    qonnx_stats *s = qonnx_stats_load(cx, path), *again = s ? qonnx_stats_load(cx, path) : NULL;
    if (s && !qonnx_stats_save(cx, s, "/dev/null")) abort();
    if (s && qonnx_stats_merge(cx, s, again, true) && !qonnx_stats_save(cx, s, "/dev/null"))
        abort();
    qonnx_stats_free(s);
    qonnx_stats_free(again);
    s = stats_load_checkpoint(cx, path);
    if (s && !qonnx_stats_save(cx, s, "/dev/null")) abort();
    qonnx_stats_free(s);
    qonnx_ctx_free(cx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t bytes;
    load(data, size);
    uint8_t *right = sign(data, size, &bytes);
    if (right) load(right, bytes);
    free(right);
    return 0;
}
