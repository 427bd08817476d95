/* cli/output.h - what the verbs print and write: sizes, names from a model made harmless for a
 * terminal, JSON.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <qonnx/base.h>
#include <jansson.h>
#include <stdio.h>

/* Room that is enough for a name as it is printed. */
enum { NAME_ROOM = 200, SIZE_ROOM = 24 };

/* Copies a name into out[size], shortened, with control characters shown as '?'. Returns out. */
const char *clean_name(char *out, size_t size, const char *name);

/* "512 B", "26.5 kB", "13.97 MB" into out[SIZE_ROOM]. Returns out. */
const char *size_text(char *out, double bytes);

/* "float[1,3,224,224]" of a value, with the names of symbolic dimensions, into out[size]. */
const char *type_text(char *out, size_t size, const qonnx_value *v);

/* Bytes of a file; -1 when there is none. */
double file_size(const char *path);

/* A JSON string of any bytes: what is not UTF-8 becomes '?'. */
json_t *json_text(const char *s);
/* A JSON number; null when it is not finite. */
json_t *json_number(double x);
/* Prints the object on standard output and lets it go. */
void json_print(json_t *root);

#endif
