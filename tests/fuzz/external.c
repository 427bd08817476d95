/* tests/fuzz/external.c - a TensorProto says where its data is: only whole pieces of files beneath
 * the model's directory may come of it.
 */
#include "frontend/external.h"
#include "frontend/wire.h"
#include "tests/fuzz/fuzz.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const ProtobufCMessageDescriptor *const fuzz_type = &onnx__tensor_proto__descriptor;

enum { WANTED = 16 };

static char directory[] = "/tmp/qonnx-fuzz-XXXXXX";

static void make_file(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "qonnxqonnxqonnxqonnxqonnx", 25) != 25 || close(fd)) abort();
}

static void clean_up(void)
{
    static const char *const names[] = {"w/a", "w/sub/b", "w/link", "w/up", "w/pipe", "secret"};
    if (chdir(directory)) return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(names[i]);
    rmdir("w/sub");
    rmdir("w");
    rmdir(directory);
}

/* A directory "w" with what a model may and may not reach. */
static void make_directory(void)
{
    if (!mkdtemp(directory) || chdir(directory) || mkdir("w", 0700) || mkdir("w/sub", 0700))
        abort();
    make_file("w/a");
    make_file("w/sub/b");
    int fd = open("secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "forbidden forbidden!", 20) != 20 || close(fd)) abort();
    if (symlink("../secret", "w/link") || symlink("..", "w/up") || mkfifo("w/pipe", 0600)) abort();
    atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    if (!made) make_directory();
    made = true;
    qonnx_ctx *cx = qonnx_ctx_new();
    Arena *a = arena_new();
    const Onnx__TensorProto *t = wire_unpack(cx, "F", fuzz_type, data, size, a);
    ExternalFiles *x = external_new("w");
    const void *found;
    if (t && external_open(cx, x, t, WANTED, &found) && memmem(found, WANTED, "forbidden", 9))
        abort();
    external_free(x);
    arena_free(a);
    qonnx_ctx_free(cx);
    return 0;
}
