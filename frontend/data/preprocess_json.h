/* frontend/data/preprocess_json.h - what readers of JSON forms are made of. */
#ifndef FRONTEND_DATA_PREPROCESS_JSON_H
#define FRONTEND_DATA_PREPROCESS_JSON_H

#include "frontend/data/preprocess.h"

/* The object that is being read. */
typedef struct Json {
    qonnx_ctx *cx;
    const char *path;   /* for messages */
    const json_t *from; /* an object */
    Preprocess *to;
} Json;

/* Fails: "FILE: 'key' why". */
bool form_refuse(const Json *j, const char *key, const char *why);
/* What the key has; NULL where it is absent or null. */
const json_t *form_get(const Json *j, const char *key);
/* Whether the key is there and true, or not there and `absent`. */
bool form_is_on(const Json *j, const char *key, bool absent);
/* Sets a field from what the key has; without the key nothing changes. */
bool form_set(const Json *j, const char *key, const char *field);
/* A whole number of pixels; `key` is for messages. */
bool form_pixels(const Json *j, const char *key, const json_t *v, int *out);
/* {"height": H, "width": W}, [H, W] or one number for both. */
bool form_both_sides(const Json *j, const char *key, const json_t *v, Extent *out);
Extent form_square(int n);
/* A filter by Pillow's number or by a name, "InterpolationMode." in front and in any case. */
bool form_set_filter(const Json *j, const char *key, const char *absent);
/* Refuses keys that are none of `known` and are on: true, or any value that is no false and no
 * null. Names that begin with '_' are comments. */
bool form_nothing_else(const Json *j, const char *const *known);

/* ---- Hugging Face (preprocess_hugging.c) ----------------------------------------------------- */

/* Whether the object is such a file, by its keys. */
bool hugging_is(const json_t *o);
bool hugging_read(const Json *j);

#endif
