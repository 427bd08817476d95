/* backends/c/text.h - what may stand in generated code: identifiers that were checked, names from a
 * model only inside comments and made harmless, numbers that are read back exactly.
 */
#ifndef BACKENDS_C_TEXT_H
#define BACKENDS_C_TEXT_H

#include <stdio.h>
#include "ir/ir.h"

/* Prints a name from a model for use inside a comment or a string: [A-Za-z0-9_.:/ -] as they are,
 * every other byte as \xHH; at most 80 characters, "..." at the end of what was longer. In a string
 * the backslash is doubled. */
void text_name(FILE *f, const char *name, bool in_string);

/* Prints a float as a constant expression that has exactly its value, in decimal. */
void text_float(FILE *f, float x);

/* Prints element i of an array of the type: "float", or an integer type of <stdint.h>. Floats are
 * hexadecimal: compilers read them in two thirds of the time. */
void text_element(FILE *f, const char *ctype, const void *data, size_t i);
/* Bytes of an element of that type. */
size_t text_type_bytes(const char *ctype);
/* The C type of a tensor's elements; NULL where there is none. */
const char *text_type(DType t);

/* Prints "static const WHERE TYPE NAME[count] = {...};", about 100 columns a line; `where` is a
 * macro of support.h, or "". */
void text_array(FILE *f, const char *where, const char *ctype, const char *name, const void *data,
                size_t count);

/* Whether the files NAME.h and NAME.c, and the identifiers NAME_..., can be called so; the message
 * says why not. */
bool text_prefix_ok(Ctx *cx, const char *name);
/* A prefix from a file's name: "my net.int8.onnx" gives "my_net_int8". In the arena. */
char *text_prefix(Arena *a, const char *path);

#endif
