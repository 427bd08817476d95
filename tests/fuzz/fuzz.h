/* tests/fuzz/fuzz.h - what fuzz targets share. A target is one file with LLVMFuzzerTestOneInput;
 * libFuzzer drives it (tools/fuzz.sh), or replay.c, in every check, over testdata/fuzz/TARGET.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <protobuf-c/protobuf-c.h>
#include <qonnx/graph.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A path that names a file with these bytes until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);

/* Whether every value and every operator's work is small: symbolic axes count as 3, what is not
 * known as small. */
bool fuzz_is_small(const qonnx_graph *g);

/* The type of message that the target's inputs are: what mutate.c changes them by. Defined by
 * targets that are linked with it. */
extern const ProtobufCMessageDescriptor *const fuzz_type;

#endif
