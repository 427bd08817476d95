/* cli/remembered.c - see remembered.h. */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "remembered.h"
#include "calibrate.h"
#include "output.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What such a file says of itself. */
static const char kind[] = "qonnx sensitivities 1";

enum { LARGEST = 1 << 24 }; /* bytes: a file of more is none of ours */

/* ---- the key --------------------------------------------------------------------------------- */

/* A text, with its end. */
static void add_text(XXH3_state_t *key, const char *text)
{
    XXH3_64bits_update(key, text, strlen(text) + 1);
}

static void add_tensor(XXH3_state_t *key, const qonnx_tensor *t)
{
    const int64_t head[] = {t->dtype, t->rank, (int64_t)t->bytes};
    XXH3_64bits_update(key, head, sizeof head);
    XXH3_64bits_update(key, t->dims, (size_t)t->rank * sizeof *t->dims);
    if (t->dtype != QONNX_STRING) XXH3_64bits_update(key, t->data, t->bytes);
}

/* The model: its text, and the constants, which are not in it. */
static void add_graph(XXH3_state_t *key, const qonnx_graph *g)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = needed(open_memstream(&text, &size));
    qonnx_graph_dump(g, f);
    fclose(f);
    XXH3_64bits_update(key, text, size);
    free(text);
    for (; g; g = qonnx_graph_next(g))
        for (int i = 0; i < qonnx_graph_values(g); i++) {
            const qonnx_tensor *t = qonnx_value_constant(qonnx_graph_value(g, i));
            if (t) add_tensor(key, t);
        }
}

static void add_statistics(qonnx_ctx *cx, XXH3_state_t *key, const qonnx_stats *s)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = needed(open_memstream(&text, &size));
    (void)!qonnx_stats_write(cx, s, f);
    fclose(f);
    XXH3_64bits_update(key, text, size);
    free(text);
}

/* What the model makes of the samples that judge: they are in it, and the engine. */
static void add_outputs(XXH3_state_t *key, Judge *j)
{
    qonnx_tensor t;
    reference_rewind(&j->reference);
    for (size_t i = 0; i < 2 * j->ran * (size_t)j->outputs && reference_read(&j->reference, &t);
         i++)
        add_tensor(key, &t);
}

Remembered remembered_of(const Maker *m, const Passes *p)
{
    const Args *args = m->with->args;
    const qonnx_session_options session = session_options(args);
    Remembered r = {NULL, 0};
    if (!args->calibrations.count) return r;
    XXH3_state_t key;
    XXH3_64bits_reset(&key);
    if (asprintf(&r.path, "%s.sens", args->calibrations.text[0]) < 0) needed(NULL);
    char *pipeline = passes_join(p, 0, p->count), *plugins = qonnx_pipeline_plugins(pipeline);
    const char *const words[] = {qonnx_version(), args->target, pipeline, plugins ? plugins : "",
                                 qonnx_engine_name(&session)};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) add_text(&key, words[i]);
    add_graph(&key, m->with->g);
    add_statistics(m->cx, &key, m->with->stats);
    add_outputs(&key, m->judge);
    r.key = XXH3_64bits_digest(&key);
    free(pipeline);
    free(plugins);
    return r;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* What is there, if it is of this kind; NULL: it is not. */
static json_t *load(const char *path)
{
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode) || st.st_size > LARGEST) return NULL;
    json_t *root = json_load_file(path, 0, NULL);
    const char *says = json_string_value(json_object_get(root, "kind"));
    if (says && !strcmp(says, kind)) return root;
    json_decref(root);
    return NULL;
}

/* Whether a row is of the layer, with numbers that can be. */
static bool fits(const json_t *row, const Layered *l)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const json_t *gain = json_object_get(row, "gain"), *bytes = json_object_get(row, "bytes");
    const json_t *wide = json_object_get(row, "wide");
    return name && !strcmp(name, l->name) && json_is_boolean(wide) &&
           json_is_true(wide) == l->wide && json_is_number(gain) && json_is_number(bytes) &&
           isfinite(json_number_value(gain)) && isfinite(json_number_value(bytes));
}

static void key_text(char out[17], uint64_t key) { snprintf(out, 17, "%016" PRIx64, key); }

bool remembered_read(const Remembered *r, Sensitivities *s)
{
    char key[17];
    json_t *root = r->path ? load(r->path) : NULL;
    const json_t *layers = json_object_get(root, "layers");
    const char *says = json_string_value(json_object_get(root, "key"));
    key_text(key, r->key);
    bool good = says && !strcmp(says, key) && json_array_size(layers) == (size_t)s->count;
    for (int i = 0; i < s->count && good; i++)
        good = fits(json_array_get(layers, (size_t)i), &s->of[i]);
    for (int i = 0; i < s->count && good; i++) {
        const json_t *row = json_array_get(layers, (size_t)i);
        s->of[i].gain = json_number_value(json_object_get(row, "gain"));
        s->of[i].bytes = json_number_value(json_object_get(row, "bytes"));
    }
    json_decref(root);
    return good;
}

static bool fill(void *user, FILE *f)
{
    return json_dumpf(user, f, JSON_INDENT(1)) == 0 && fputc('\n', f) != EOF;
}

void remembered_write(const Remembered *r, const Sensitivities *s)
{
    char key[17];
    struct stat st;
    json_t *ours = r->path ? load(r->path) : NULL;
    const bool free_place = r->path && (ours || lstat(r->path, &st));
    json_decref(ours);
    if (!free_place) return;
    json_t *layers = json_array();
    for (int i = 0; i < s->count; i++)
        json_array_append_new(layers, json_pack("{so sb sf sf}", "name", json_text(s->of[i].name),
                                                "wide", s->of[i].wide, "gain", s->of[i].gain,
                                                "bytes", s->of[i].bytes));
    key_text(key, r->key);
    json_t *root = json_pack("{ss ss so}", "kind", kind, "key", key, "layers", layers);
    qonnx_ctx *quiet = qonnx_ctx_new();
    (void)!qonnx_output_write(quiet, r->path, fill, root);
    qonnx_ctx_free(quiet);
    json_decref(root);
}
