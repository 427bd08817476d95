/* cli/optimize.c - see optimize.h. The changes are tried in an order in which the dear ones come
 * last, and once: what changes the model, ranges, 16 bits, biases, the rounding of the weights.
 */
#include "optimize.h"
#include "calibrate.h"
#include "judge.h"
#include "output.h"
#include "progress.h"
#include <qonnx/quant.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* dB beyond which a model in float counts as the same one. */
#define SAME 40.0

enum {
    LEAST = 8,     /* samples */
    JUDGES = 64,   /* samples that judge, at most */
    MOST_BASES = 3 /* passes that are tried in front of the statistics */
};

typedef struct Search {
    const Optimization *with;
    Base base;
    qonnx_graph *own[MOST_BASES]; /* [nown] bases that changes made, the last in use; each shares
                                     contents with those in front of it */
    int nown;
    qonnx_stats *own_stats; /* of the last */
    qonnx_ctx *quiet;       /* of the trials: what is to be said, the passes that are taken say */
    qonnx_dataset *fit, *judging;
    Judge judge;
    Passes *passes; /* with the changes taken so far */
    double db;      /* what they come to */
    Optimized *out;
} Search;

/* ---- trials ---------------------------------------------------------------------------------- */

/* Tries `changed`, which it lets go, or takes if it gains enough: then *taken. */
static bool try_base(Search *s, const Base *base, Passes changed, const char *what, double least,
                     bool *taken)
{
    Optimized *out = s->out;
    double db;
    bool good = judge_passes(&s->judge, base, s->fit, &changed, &db);
    *taken = good && judge_gains(&s->judge, db - s->db, least);
    if (good) {
        out->trials =
            needed(reallocarray(out->trials, (size_t)out->count + 1, sizeof *out->trials));
        out->trials[out->count++] = (Trial){needed(strdup(what)), db, *taken};
        tell("optimize: %s: %.2f dB, %s", what, db, *taken ? "taken" : "not taken");
    }
    if (*taken) {
        Passes old = *s->passes;
        *s->passes = changed;
        changed = old;
        s->db = db;
        judge_keep(&s->judge);
    }
    passes_free(&changed);
    return good;
}

static bool try_passes(Search *s, Passes changed, const char *what, double least)
{
    bool taken;
    return try_base(s, &s->base, changed, what, least, &taken);
}

/* ---- the changes ----------------------------------------------------------------------------- */

static bool try_observers(Search *s)
{
    static const char *const observers[] = {"percentile{p=99.99}", "minmax"};
    bool good = true;
    for (size_t i = 0; i < sizeof observers / sizeof *observers && good; i++) {
        char what[80];
        snprintf(what, sizeof what, "observer %s", observers[i]);
        Passes p = passes_copy(s->passes);
        passes_set(&p, "calibrate", "observer", observers[i]);
        good = try_passes(s, p, what, FREE);
    }
    return good;
}

static bool try_biases(Search *s)
{
    Passes p = passes_copy(s->passes);
    passes_insert(&p, "match-means@correct-bias");
    passes_drop(&p, "correct-bias");
    return try_passes(s, p, "match-means for correct-bias", FREE);
}

static bool try_rounding(Search *s)
{
    Passes p = passes_copy(s->passes);
    passes_insert(&p, "gptq@fit-scales");
    return try_passes(s, p, "gptq", FREE);
}

/* ---- before the statistics ------------------------------------------------------------------- */

/* Whether a copy that was worked on has other constants than its original. */
static bool differs(const qonnx_graph *copy, const qonnx_graph *g)
{
    if (qonnx_graph_values(copy) != qonnx_graph_values(g)) return true;
    for (int i = 0; i < qonnx_graph_values(g); i++) {
        const qonnx_tensor *a = qonnx_value_constant(qonnx_graph_value(g, i));
        const qonnx_tensor *b = qonnx_value_constant(qonnx_graph_value(copy, i));
        if (!a != !b || (a && a->data != b->data)) return true;
    }
    return false;
}

/* What a pass in front of the statistics did to the model in float, on samples that it did not see.
 */
typedef enum Effect { EFFECT_NONE, EFFECT_SAME, EFFECT_OTHER, EFFECT_FAILED } Effect;

static Effect effect_on_floats(Search *s, const qonnx_graph *g, const char *pass)
{
    double db = 0;
    if (!differs(g, s->base.g)) return EFFECT_NONE;
    if (!judge_graph(&s->judge, g, &db)) return EFFECT_FAILED;
    if (db >= SAME) return EFFECT_SAME;
    tell("optimize: %s: %.2f dB in float, not taken", pass, db);
    return EFFECT_OTHER;
}

/* Tries a pass in front of the statistics, which are then taken anew; not where it changes nothing,
 * or changes the model itself. */
static bool try_before(Search *s, const char *pass, Effect *effect)
{
    const qonnx_session_options session = session_options(s->with->args);
    const qonnx_pipeline_options o = {
        .target = s->with->args->target, .samples = s->fit, .session = &session};
    Passes p = passes_copy(s->passes);
    passes_insert_at(&p, s->base.split, pass);
    Base base = {.split = s->base.split + 1};
    qonnx_stats *stats = NULL;
    qonnx_graph *g = qonnx_graph_copy(s->base.g);
    bool good = passes_run(s->quiet, g, &p, s->base.split, base.split, &o, NULL), taken = false;
    *effect = good ? effect_on_floats(s, g, pass) : EFFECT_FAILED;
    if (*effect == EFFECT_SAME) {
        char *prefix = passes_join(&p, 0, base.split);
        const List *data = &s->with->args->data;
        stats = statistics_collect(s->quiet, g, s->with->args, data->text, data->count, prefix);
        free(prefix);
        good = stats != NULL;
    }
    base.g = g;
    base.stats = stats;
    if (stats) good = try_base(s, &base, p, pass, DEAR, &taken);
    else passes_free(&p);
    if (taken) {
        qonnx_stats_free(s->own_stats);
        s->base = base;
        s->own[s->nown++] = g;
        s->own_stats = stats;
    } else {
        qonnx_graph_free(g);
        qonnx_stats_free(stats);
    }
    return good && *effect != EFFECT_FAILED;
}

/* Those that make channels alike; of the last, where Clips do not let it, what they have no part
 * in. */
static bool try_channels(Search *s)
{
    Effect effect;
    if (!try_before(s, "smooth", &effect) || !try_before(s, "equalize{alpha=1}", &effect))
        return false;
    return try_before(s, effect == EFFECT_OTHER ? "equalize{clips=false}" : "equalize", &effect);
}

/* ---- 16 bits --------------------------------------------------------------------------------- */

/* The name under which the model that is not quantized yet has what a QuantizeLinear reads; NULL:
 * it has none. */
static const char *name_before(const qonnx_graph *g, const qonnx_node *q)
{
    int input;
    const qonnx_value *integers = qonnx_node_output(q, 0);
    const qonnx_node *dq = qonnx_value_uses(integers) ? qonnx_value_use(integers, 0, &input) : NULL;
    const qonnx_value *behind = dq ? qonnx_node_output(dq, 0) : NULL;
    if (behind && qonnx_graph_find(g, qonnx_value_name(behind))) return qonnx_value_name(behind);
    const char *name = qonnx_value_name(qonnx_node_input(q, 0));
    return qonnx_graph_find(g, name) ? name : NULL;
}

static bool is_output(const qonnx_graph *g, const char *name)
{
    const qonnx_value *v = qonnx_graph_find(g, name);
    return v && qonnx_value_is_output(v);
}

char *wide_pass(const char *target, const qonnx_stats *stats, const char *name)
{
    const qonnx_target *t = qonnx_target_find(target);
    const qonnx_histogram *h = qonnx_stats_histogram(stats, qonnx_stats_find(stats, "", name));
    char *text = NULL, *quoted = needed(qonnx_pipeline_quote(name)), range[80] = "";
    const float lo = h ? fminf(h->min, 0) : 0, hi = h ? fmaxf(h->max, 0) : 0, room = (hi - lo) / 2;
    if (isfinite(room) && room > 0)
        snprintf(range, sizeof range, ",rmin=%.6g,rmax=%.6g", (double)(lo < 0 ? lo - room : 0),
                 (double)(hi > 0 ? hi + room : 0));
    if (asprintf(&text, "override{value=%s,dtype=%s%s}", quoted,
                 t->activation.dtype == QONNX_INT8 ? "int16" : "uint16", range) < 0)
        needed(NULL);
    free(quoted);
    return text;
}

/* Puts a value of 16 bits right before `calibrate`. */
static void widen(const Search *s, Passes *p, const char *name)
{
    char *text = wide_pass(s->with->args->target, s->base.stats, name);
    passes_insert(p, text);
    free(text);
}

/* The names of the first `most` values, or of all outputs, that are quantized to 8 bits; owned,
 * with the names. */
static char **quantized(Search *s, bool outputs, int most, int *count)
{
    qonnx_graph *made = candidate_make(&s->judge, &s->base, s->fit, s->passes);
    char **names = needed(calloc((size_t)most + 1, sizeof *names));
    *count = 0;
    const qonnx_node *n = made ? qonnx_graph_first(made) : NULL;
    for (; n && *count < most; n = qonnx_node_next(n)) {
        if (!qonnx_node_is(n, "QuantizeLinear")) continue;
        const qonnx_dtype type = qonnx_value_dtype(qonnx_node_output(n, 0));
        const char *name =
            type == QONNX_UINT8 || type == QONNX_INT8 ? name_before(s->base.g, n) : NULL;
        if (name && is_output(s->base.g, name) == outputs) names[(*count)++] = needed(strdup(name));
    }
    qonnx_graph_free(made);
    return names;
}

static void names_free(char **names, int count)
{
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
}

static bool try_outputs(Search *s)
{
    int count;
    bool good = true;
    char **names = quantized(s, true, qonnx_graph_outputs(s->with->g), &count);
    for (int i = 0; i < count && good; i++) {
        char what[NAME_ROOM + 40], name[NAME_ROOM];
        snprintf(what, sizeof what, "16 bits for output '%s'",
                 clean_name(name, sizeof name, names[i]));
        Passes p = passes_copy(s->passes);
        widen(s, &p, names[i]);
        good = try_passes(s, p, what, DEAR);
    }
    names_free(names, count);
    return good;
}

/* The first one, the first two, and so on: each such start of the model by itself, for the second
 * one may help only with the first. */
static bool try_firsts(Search *s)
{
    enum { FIRSTS = 3 };
    int count;
    bool good = true;
    char **names = quantized(s, false, FIRSTS, &count);
    Passes wider = passes_copy(s->passes);
    for (int i = 0; i < count && good; i++) {
        char what[80];
        snprintf(what, sizeof what, "16 bits for the first %d activations", i + 1);
        widen(s, &wider, names[i]);
        good =
            try_passes(s, passes_copy(&wider), i ? what : "16 bits for the first activation", DEAR);
    }
    passes_free(&wider);
    names_free(names, count);
    return good;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool search(Search *s)
{
    const Args *args = s->with->args;
    const bool biases = passes_find(s->passes, "correct-bias") >= 0;
    if (!judge_passes(&s->judge, &s->base, s->fit, s->passes, &s->db)) return false;
    judge_keep(&s->judge);
    s->out->first = s->db;
    tell("optimize: as it is: %.2f dB", s->db);
    bool good = (args->calibrations.count || try_channels(s)) &&
                (args->observer || try_observers(s)) &&
                (!args->mixed || (try_firsts(s) && try_outputs(s))) && (!biases || try_biases(s)) &&
                (passes_find(s->passes, "gptq") >= 0 || try_rounding(s));
    s->out->last = s->db;
    return good;
}

/* Parts the samples, and runs the model itself. */
static bool prepare(Search *s)
{
    const Optimization *with = s->with;
    const size_t all = qonnx_dataset_count(with->samples);
    if (all < LEAST)
        return qonnx_fail(s->quiet, NULL,
                          "--optimize tries changes on half of the samples and judges them by the "
                          "others; there are %zu, give at least %d",
                          all, LEAST);
    s->fit = qonnx_dataset_part(with->samples, 0, 2, all);
    s->judging = qonnx_dataset_part(with->samples, 1, 2, JUDGES);
    s->out->samples = qonnx_dataset_count(s->judging);
    return judge_open(&s->judge, s->quiet, with->args, with->g, s->judging);
}

bool optimize(qonnx_ctx *cx, const Optimization *with, Passes *passes, Optimized *out)
{
    Search s = {.with = with,
                .base = {with->g, with->stats, with->split},
                .quiet = qonnx_ctx_new(),
                .passes = passes,
                .out = out};
    bool good = prepare(&s) && search(&s);
    if (!good && qonnx_error(s.quiet)) qonnx_fail(cx, NULL, "%s", qonnx_error(s.quiet));
    judge_close(&s.judge);
    while (s.nown) qonnx_graph_free(s.own[--s.nown]);
    qonnx_stats_free(s.own_stats);
    qonnx_dataset_free(s.fit);
    qonnx_dataset_free(s.judging);
    qonnx_ctx_free(s.quiet);
    return good;
}

void optimized_free(Optimized *o)
{
    for (int i = 0; i < o->count; i++) free(o->trials[i].what);
    free(o->trials);
    *o = (Optimized){0};
}

/* ---- the summary ----------------------------------------------------------------------------- */

void optimized_print(const Optimized *o, bool all)
{
    if (!o->samples) return;
    print_line("optimized    %.2f to %.2f dB, by %zu samples that were kept aside", o->first,
               o->last, o->samples);
    for (int i = 0; i < o->count; i++)
        if (all || o->trials[i].taken)
            print_line("             %s: %.2f dB%s", o->trials[i].what, o->trials[i].db,
                       o->trials[i].taken ? "" : ", not taken");
}

json_t *optimized_json(const Optimized *o)
{
    if (!o->samples) return json_null();
    json_t *trials = json_array();
    for (int i = 0; i < o->count; i++)
        json_array_append_new(
            trials, json_pack("{so so sb}", "change", json_text(o->trials[i].what), "sqnr_db",
                              json_number(o->trials[i].db), "taken", o->trials[i].taken));
    return json_pack("{sI so so so}", "samples", (json_int_t)o->samples, "sqnr_db_before",
                     json_number(o->first), "sqnr_db", json_number(o->last), "trials", trials);
}
