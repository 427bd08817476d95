/* frontend/wire.h - a look at protobuf bytes before the parser gets them.
 *
 * protobuf-c recurses without a limit, allocates whatever a few bytes claim and does not say what
 * is wrong. This scanner walks the same bytes along the schema's descriptors and refuses what would
 * hurt, naming the field and the byte offset.
 */
#ifndef FRONTEND_WIRE_H
#define FRONTEND_WIRE_H

#include <protobuf-c/protobuf-c.h>
#include <qonnx/base.h>

/* Whether `data` is a well-formed message of that type: lengths inside their messages, wire types
 * as the schema has them, no tag 0, messages at most 100 deep, no NUL in strings, and the unpacked
 * form within a memory budget of max(256 MiB, 32 * bytes). `file` is for the message. */
bool wire_scan(qonnx_ctx *cx, const char *file, const ProtobufCMessageDescriptor *type,
               const uint8_t *data, size_t bytes);

#endif
