/* frontend/overrides.c - JSON files that say how single tensors and nodes are quantized: ours, or
 * ONNX Runtime's TensorQuantOverrides. They become passes `override`, so that a model's metadata
 * has all that it was made with.
 */
#include "frontend/file.h"
#include "ir/ir.h"
#include <jansson.h>
#include <qonnx/run.h>
#include <stdlib.h>
#include <string.h>

enum { OVERRIDES_MAX = 64 << 20 }; /* bytes of a file */

/* A file being read. */
typedef struct Overrides {
    Ctx *cx;
    const char *path;  /* of the file */
    const char *entry; /* whose keys are read: the tensor or the node */
    FILE *out;         /* the passes */
    int passes;        /* written */
} Overrides;

/* A key, and the option of the pass that it becomes. */
typedef struct Key {
    const char *key, *option;
    enum { KEY_TEXT, KEY_TYPE, KEY_TRUTH, KEY_PER, KEY_NUMBER } kind;
} Key;

static const Key keys[] = {
    {"dtype", "dtype", KEY_TYPE},
    {"quant_type", "dtype", KEY_TYPE},
    {"symmetric", "symmetric", KEY_TRUTH},
    {"reduce_range", "reduce-range", KEY_TRUTH},
    {"per_channel", "per", KEY_PER},
    {"method", "method", KEY_TEXT},
    {"axis", "axis", KEY_NUMBER},
    {"scale", "scale", KEY_NUMBER},
    {"zero_point", "zero-point", KEY_NUMBER},
    {"rmin", "rmin", KEY_NUMBER},
    {"rmax", "rmax", KEY_NUMBER},
    {"observer", "observer", KEY_TEXT},
    {"float", "float", KEY_TRUTH},
};
enum { KEYS = sizeof keys / sizeof *keys };

static bool refuse(const Overrides *o, const char *key, const char *why)
{
    return qonnx_fail(o->cx, NULL, "%s: '%s' of '%s' %s", o->path, key, o->entry, why);
}

/* ---- passes ---------------------------------------------------------------------------------- */

static void put_option(const Overrides *o, bool first, const char *option, const char *value)
{
    char *quoted = qonnx_pipeline_quote(value);
    fprintf(o->out, "%s%s=%s", first ? "" : ",", option, quoted);
    free(quoted);
}

/* A type's name in ONNX Runtime's words ("QUInt8", "QuantType.QUInt8") or in ours. */
static bool put_type(const Overrides *o, const Key *k, const json_t *v)
{
    static const char *const theirs[] = {"QUInt8", "QInt8", "QUInt16", "QInt16"};
    static const char *const ours[] = {"uint8", "int8", "uint16", "int16"};
    const char *text = json_string_value(v);
    if (!text) return refuse(o, k->key, "is no text");
    if (!strncmp(text, "QuantType.", 10)) text += 10;
    for (int i = 0; i < 4; i++)
        if (!strcasecmp(text, theirs[i]) || !strcmp(text, ours[i])) {
            put_option(o, false, k->option, ours[i]);
            return true;
        }
    return refuse(o, k->key, "is none of uint8, int8, uint16 and int16 (QUInt8, QInt8, ...)");
}

/* The key's numbers in the objects of the list, one after another. */
static bool put_numbers(const Overrides *o, const Key *k, const json_t *list)
{
    char *text = NULL;
    size_t bytes, i;
    const json_t *item;
    FILE *f = open_memstream(&text, &bytes);
    bool good = f != NULL;
    for (i = 0; good && i < json_array_size(list); i++) {
        const json_t *v = json_object_get(json_array_get(list, i), k->key);
        size_t at, count = json_is_array(v) ? json_array_size(v) : 1;
        for (at = 0; good && at < count; at++) {
            item = json_is_array(v) ? json_array_get(v, at) : v;
            good = json_is_number(item);
            if (good) fprintf(f, "%s%.17g", i || at ? " " : "", json_number_value(item));
        }
        good = good && count > 0;
        if (!strcmp(k->key, "axis")) break; /* the same for all channels */
    }
    if (f) fclose(f);
    if (good) put_option(o, false, k->option, text);
    free(text);
    return good || refuse(o, k->key, "is not a number in each entry");
}

/* Whether each entry has the key as the first has it. */
static bool is_alike(const json_t *list, const char *key)
{
    const json_t *first = json_object_get(json_array_get(list, 0), key);
    for (size_t i = 1; i < json_array_size(list); i++)
        if (!json_equal(json_object_get(json_array_get(list, i), key), first)) return false;
    return true;
}

static bool put_key(const Overrides *o, const Key *k, const json_t *list)
{
    const json_t *v = json_object_get(json_array_get(list, 0), k->key);
    if (k->kind == KEY_NUMBER) return put_numbers(o, k, list);
    if (!is_alike(list, k->key)) return refuse(o, k->key, "is not the same in each entry");
    if (k->kind == KEY_TYPE) return put_type(o, k, v);
    if (k->kind == KEY_TEXT && !json_is_string(v)) return refuse(o, k->key, "is no text");
    if (k->kind != KEY_TEXT && !json_is_boolean(v))
        return refuse(o, k->key, "is not true or false");
    const char *const words[2][2] = {{"false", "true"}, {"tensor", "channel"}};
    put_option(o, false, k->option,
               k->kind == KEY_TEXT ? json_string_value(v)
                                   : words[k->kind == KEY_PER][json_is_true(v)]);
    return true;
}

static const Key *find_key(const char *name)
{
    for (int i = 0; i < KEYS; i++)
        if (!strcmp(keys[i].key, name)) return &keys[i];
    return NULL;
}

/* Whether each entry is an object of known keys. */
static bool check_keys(const Overrides *o, const json_t *list)
{
    size_t i;
    const char *name;
    json_t *entry, *v;
    json_array_foreach((json_t *)(uintptr_t)list, i, entry)
    {
        if (!json_is_object(entry))
            return qonnx_fail(o->cx, NULL, "%s: '%s' is neither an object nor a list of objects",
                              o->path, o->entry);
        json_object_foreach(entry, name, v)
        {
            if (!strcmp(name, "convert"))
                return refuse(o, name,
                              "is not supported: a tensor has one type for all that read "
                              "it");
            if (!find_key(name))
                return refuse(o, name,
                              "is not known; known are dtype (or quant_type), symmetric, "
                              "reduce_range, per_channel, method, axis, scale, zero_point, rmin, "
                              "rmax, observer and float");
        }
    }
    return true;
}

/* One pass: `what` is the option that names the tensor or node, `role` which of a node's values;
 * NULL: none. The entry is an object, or a list of them, one per channel. */
static bool put_pass(Overrides *o, const char *what, const char *name, const char *role,
                     const json_t *entry)
{
    json_t *list = json_is_array(entry) ? json_copy((json_t *)(uintptr_t)entry)
                                        : json_pack("[O]", (json_t *)(uintptr_t)entry);
    bool good = list && check_keys(o, list);
    fprintf(o->out, "%soverride{", o->passes++ ? "," : "");
    put_option(o, true, what, name);
    if (role) put_option(o, false, "role", role);
    for (int i = 0; good && i < KEYS && json_array_size(list); i++)
        if (json_object_get(json_array_get(list, 0), keys[i].key))
            good = put_key(o, &keys[i], list);
    fputc('}', o->out);
    json_decref(list);
    return good;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool put_tensors(Overrides *o, const json_t *tensors)
{
    const char *name;
    json_t *entry;
    json_object_foreach((json_t *)(uintptr_t)tensors, name, entry)
    {
        o->entry = name;
        if (!put_pass(o, "value", name, NULL, entry)) return false;
    }
    return true;
}

/* A node: "float": true, or what is wanted of its "output", "input" and "weight". */
static bool put_node(Overrides *o, const char *name, const json_t *node)
{
    bool operators = !strncmp(name, "op:", 3);
    const char *what = operators ? "ops" : "node", *meant = operators ? name + 3 : name, *key;
    json_t *entry;
    o->entry = name;
    if (!json_is_object(node))
        return qonnx_fail(o->cx, NULL, "%s: '%s' is no object", o->path, name);
    json_object_foreach((json_t *)(uintptr_t)node, key, entry)
    {
        bool role = !strcmp(key, "output") || !strcmp(key, "input") || !strcmp(key, "weight");
        if (!role && strcmp(key, "float"))
            return refuse(o, key, "is not known; known are output, input, weight and float");
        if (role && !put_pass(o, what, meant, key, entry)) return false;
        if (!role && !json_is_boolean(entry)) return refuse(o, key, "is not true or false");
        if (!role && json_is_true(entry)) {
            json_t *pass = json_pack("{sb}", "float", 1);
            bool good = put_pass(o, what, meant, NULL, pass);
            json_decref(pass);
            if (!good) return false;
        }
    }
    return true;
}

static bool put_nodes(Overrides *o, const json_t *nodes)
{
    const char *name;
    json_t *node;
    json_object_foreach((json_t *)(uintptr_t)nodes, name, node)
    {
        if (!put_node(o, name, node)) return false;
    }
    return true;
}

/* Whether the file is of our form: nothing but "tensors" and "nodes", which are objects. */
static bool is_own(const json_t *o)
{
    const json_t *tensors = json_object_get(o, "tensors"), *nodes = json_object_get(o, "nodes");
    size_t known = (size_t)json_is_object(tensors) + (size_t)json_is_object(nodes);
    return known && known == json_object_size(o);
}

static bool put_all(Overrides *o, const json_t *from)
{
    if (!json_is_object(from)) return qonnx_fail(o->cx, NULL, "%s: holds no JSON object", o->path);
    if (!is_own(from)) return put_tensors(o, from);
    const json_t *tensors = json_object_get(from, "tensors"),
                 *nodes = json_object_get(from, "nodes");
    return (!tensors || put_tensors(o, tensors)) && (!nodes || put_nodes(o, nodes));
}

char *qonnx_overrides_load(Ctx *cx, const char *path)
{
    FileMap m;
    json_error_t error;
    char *text = NULL;
    size_t bytes;
    input_add(cx, path, "the overrides");
    if (!file_map(cx, path, &m)) return NULL;
    bool large = m.bytes > OVERRIDES_MAX;
    json_t *from =
        large ? NULL : json_loadb((const char *)m.data, m.bytes, JSON_REJECT_DUPLICATES, &error);
    file_unmap(&m);
    Overrides o = {cx, path, "", open_memstream(&text, &bytes), 0};
    bool good = o.out != NULL;
    if (large) good = qonnx_fail(cx, NULL, "%s: is larger than %d bytes", path, OVERRIDES_MAX);
    else if (!from)
        good = qonnx_fail(cx, NULL, "%s: is no JSON: line %d: %s", path, error.line, error.text);
    else if (!good) qonnx_fail(cx, NULL, "out of memory");
    else good = put_all(&o, from);
    if (o.out) fclose(o.out);
    json_decref(from);
    if (good) return text;
    free(text);
    return NULL;
}
