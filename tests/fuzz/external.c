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

/* The path of `name` in the directory; valid until the next call but one. */
static const char *in_directory(const char *name)
{
    static char paths[2][256];
    static int turn;
    turn = !turn;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", directory, name);
    return paths[turn];
}

static void make_file(const char *name, const char *text)
{
    int fd = open(in_directory(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t bytes = (ssize_t)strlen(text);
    if (fd < 0 || write(fd, text, (size_t)bytes) != bytes || close(fd)) abort();
}

static void clean_up(void)
{
    static const char *const names[] = {"w/a",    "w/sub/b", "w/link", "w/up", "w/pipe",
                                        "secret", "w/sub",   "w",      ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) remove(in_directory(names[i]));
}

/* A directory "w" with what a model may and may not reach. */
static void make_directory(void)
{
    if (!mkdtemp(directory) || mkdir(in_directory("w"), 0700) || mkdir(in_directory("w/sub"), 0700))
        abort();
    make_file("w/a", "qonnxqonnxqonnxqonnxqonnx");
    make_file("w/sub/b", "qonnxqonnxqonnxqonnxqonnx");
    make_file("secret", "forbidden forbidden!");
    if (symlink("../secret", in_directory("w/link")) || symlink("..", in_directory("w/up")) ||
        mkfifo(in_directory("w/pipe"), 0600))
        abort();
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
    ExternalFiles *x = external_new(in_directory("w"));
    const void *found;
    if (t && external_open(cx, x, t, WANTED, &found) && memmem(found, WANTED, "forbidden", 9))
        abort();
    external_free(x);
    arena_free(a);
    qonnx_ctx_free(cx);
    return 0;
}
