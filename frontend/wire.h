/* frontend/wire.h - protobuf bytes to messages, without trust and without copying tensors.
 *
 * protobuf-c recurses without a limit, allocates whatever a few bytes claim, copies every tensor
 * and does not say what is wrong. So the bytes are walked along the schema's descriptors first;
 * what would hurt is refused by field and byte offset, and the parser gets a skeleton, in which a
 * small token stands for each piece of tensor data. The tokens then become pointers into `data`.
 */
#ifndef FRONTEND_WIRE_H
#define FRONTEND_WIRE_H

#include <protobuf-c/protobuf-c.h>
#include <qonnx/base.h>
#include "ir/arena.h"

/* The message of that type in data[0..bytes), NULL with a message when it is not well-formed:
 * lengths inside their messages, wire types as the schema has them, no tag 0, messages at most 100
 * deep, no NUL in strings, and the unpacked form within a memory budget of max(256 MiB, 32 * what
 * is not tensor data). `file` is for the message.
 *
 * The message lives in `arena`. Its fields of type bytes, and packed floats and doubles, point into
 * `data` (as unaligned as they lie there), which must live as long: they are not to be written to.
 */
void *wire_unpack(qonnx_ctx *cx, const char *file, const ProtobufCMessageDescriptor *type,
                  const uint8_t *data, size_t bytes, Arena *arena);

#endif
