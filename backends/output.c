/* backends/output.c - whole files of whoever writes on the public API. */
#include "backends/atomic_file.h"
#include "ir/ir.h"
#include <qonnx/graph.h>

/* What a stream writes to. */
typedef struct Sink {
    AtomicFile *file; /* open */
    bool failed;      /* it takes no more */
} Sink;

static ssize_t put(void *cookie, const char *data, size_t bytes)
{
    Sink *s = cookie;
    if (!s->failed) s->failed = !atomic_write(s->file, data, bytes);
    return s->failed ? 0 : (ssize_t)bytes;
}

bool qonnx_output_write(qonnx_ctx *cx, const char *path, qonnx_fill_fn *fill, void *user)
{
    Sink sink = {.file = atomic_open(cx, path)};
    if (!sink.file) return false;
    FILE *f = fopencookie(&sink, "w", (cookie_io_functions_t){.write = put});
    if (!f) qonnx_out_of_memory();
    bool good = fill(user, f);
    if (fclose(f)) sink.failed = true;
    if (good && !sink.failed) return atomic_commit(sink.file);
    atomic_abort(sink.file);
    return false;
}
