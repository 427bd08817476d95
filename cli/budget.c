/* cli/budget.c - see budget.h. */
#include "budget.h"
#include "calibrate.h"
#include "judge.h"
#include "output.h"
#include "progress.h"
#include <qonnx/lint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { JUDGES = 512 }; /* samples, at most */

/* A layer that may stay in float. */
typedef struct Candidate {
    char *name;
    double macs; /* its share of the multiplications */
    double gain; /* dB, where it alone stays in float */
} Candidate;

typedef struct Meeting {
    qonnx_ctx *cx;
    const Optimization *with;
    const Passes *passes;
    qonnx_dataset *fit, *judging;
    Judge judge;
    double min_sqnr;   /* -INFINITY: any */
    double max_drop;   /* INFINITY: any */
    Candidate *layers; /* [count] by what is gained for a multiplication */
    int count;
    Budgeted *out;
} Meeting;

/* ---- the options ----------------------------------------------------------------------------- */

/* "1%" or "1", in points. */
static bool read_drop(const char *text, double *points)
{
    char *end;
    *points = strtod(text, &end);
    if (*end == '%') end++;
    return end != text && !*end && *points >= 0 && *points <= 100;
}

bool budget_given(const Args *args) { return args->min_sqnr > 0 || args->max_drop; }

int budget_check(const Verb *verb, const Args *args)
{
    double points;
    if (args->max_drop && !read_drop(args->max_drop, &points))
        return options_misuse(verb, "quantize: --max-drop is '%s', want per cent, as in 1%%",
                              args->max_drop);
    if (!budget_given(args)) return -1;
    const char *option = args->max_drop ? "--max-drop" : "--min-sqnr";
    if (args->pipeline)
        return options_misuse(verb,
                              "quantize: %s chooses layers that stay in float, and --pipeline says "
                              "it all; leave out one of them",
                              option);
    if (!args->data.count && !args->requantize)
        return options_misuse(verb, "quantize: %s judges by samples; give them with --data",
                              option);
    return -1;
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* Keeps a layer in float, in front of the statistics. */
static void keep(Passes *p, const char *layer)
{
    char *text = NULL, *quoted = needed(qonnx_pipeline_quote(layer));
    if (asprintf(&text, "override{node=%s,float=true}", quoted) < 0) needed(NULL);
    passes_insert(p, text);
    free(text);
    free(quoted);
}

static bool judge(Meeting *m, const Passes *p, double *db)
{
    const Base base = {m->with->g, m->with->stats, m->with->split};
    return judge_passes(&m->judge, &base, m->fit, p, db);
}

/* ---- what each layer gains ------------------------------------------------------------------- */

/* The layers that would run in integers. */
static bool find_layers(Meeting *m)
{
    const qonnx_pipeline_options o = {.target = m->with->args->target, .stats = m->with->stats};
    int count, calibrate = passes_find(m->passes, "calibrate");
    qonnx_graph *g = qonnx_graph_copy(m->with->g);
    bool good = passes_run(m->cx, g, m->passes, m->with->split, calibrate, &o, NULL);
    const qonnx_finding *f =
        good ? qonnx_graph_lint(g, qonnx_target_find(o.target), NULL, &count) : NULL;
    if (!f) count = 0;
    double all = 0;
    m->layers = needed(calloc((size_t)count + 1, sizeof *m->layers));
    for (int i = 0; i < count; i++) {
        const int64_t macs = qonnx_node_macs(f[i].node);
        if (!f[i].heavy || f[i].fate != QONNX_FATE_INTEGERS) continue;
        all += macs > 0 ? (double)macs : 0;
        m->layers[m->count++] = (Candidate){needed(strdup(qonnx_node_label(f[i].node))),
                                            macs > 0 ? (double)macs : 0, 0};
    }
    for (int i = 0; i < m->count; i++) m->layers[i].macs /= fmax(all, 1);
    qonnx_graph_free(g);
    return good;
}

/* By falling gain for what it costs: its share of the multiplications, and that it is one more. */
static int compare_layers(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    const double u = x->gain / (x->macs + 0.01), v = y->gain / (y->macs + 0.01);
    return u != v ? (u < v) - (u > v) : strcmp(x->name, y->name);
}

static bool measure_layers(Meeting *m)
{
    double db, plain;
    Passes cheap = passes_copy(m->passes); /* what looks at samples is slow, and helps all alike */
    passes_drop(&cheap, "gptq");
    if (passes_find(&cheap, "match-means") >= 0) passes_insert(&cheap, "correct-bias@match-means");
    passes_drop(&cheap, "match-means");
    bool good = judge(m, &cheap, &plain);
    for (int i = 0; i < m->count && good; i++) {
        Passes p = passes_copy(&cheap);
        keep(&p, m->layers[i].name);
        good = judge(m, &p, &db);
        m->layers[i].gain = db - plain;
        if (good)
            tell("budget: %d of %d: '%s' in float: %+.2f dB", i + 1, m->count, m->layers[i].name,
                 db - plain);
        passes_free(&p);
    }
    passes_free(&cheap);
    qsort(m->layers, (size_t)m->count, sizeof *m->layers, compare_layers);
    return good;
}

/* ---- as few as it takes ---------------------------------------------------------------------- */

static bool meets(const Meeting *m, const Mix *c)
{
    return c->sqnr >= m->min_sqnr && (m->max_drop == INFINITY || c->drop <= m->max_drop + 1e-9);
}

/* The pipeline with the first so many layers in float. */
static Passes with_layers(const Meeting *m, int layers)
{
    Passes p = passes_copy(m->passes);
    for (int i = 0; i < layers; i++) keep(&p, m->layers[i].name);
    return p;
}

/* Makes a choice; its place among them, by layers, is *at. */
static bool choose(Meeting *m, int layers, int *at)
{
    double score;
    char db[SQNR_ROOM];
    Budgeted *out = m->out;
    const Judge *j = &m->judge;
    Passes p = with_layers(m, layers);
    bool good = judge(m, &p, &score);
    passes_free(&p);
    if (!good) return false;
    Mix c = {.layers = layers, .sqnr = judge_worst(j), .drop = NAN};
    for (int i = 0; i < layers; i++) c.macs += m->layers[i].macs;
    if (j->classed) c.drop = 100 * ((double)j->right_float - (double)j->right) / (double)j->classed;
    out->choices = needed(reallocarray(out->choices, (size_t)out->count + 1, sizeof *out->choices));
    for (*at = out->count; *at > 0 && out->choices[*at - 1].layers > layers; --*at)
        out->choices[*at] = out->choices[*at - 1];
    out->choices[*at] = c;
    out->count++;
    tell("budget: %d layers in float: %s", layers, decibels_text(db, c.sqnr));
    return true;
}

static bool refuse(const Meeting *m)
{
    const Mix *best = &m->out->choices[0];
    char drop[60] = "", db[SQNR_ROOM];
    for (int i = 1; i < m->out->count; i++)
        if (m->max_drop == INFINITY ? m->out->choices[i].sqnr > best->sqnr
                                    : m->out->choices[i].drop < best->drop)
            best = &m->out->choices[i];
    if (!isnan(best->drop)) snprintf(drop, sizeof drop, " and a drop of %.2f points", best->drop);
    return qonnx_fail(m->cx, NULL,
                      "no choice of layers in float meets the budget: the best, %d of %d, has an "
                      "SQNR of %s%s%s",
                      best->layers, m->count, decibels_text(db, best->sqnr), drop,
                      m->with->args->optimize ? "" : "; --optimize may reach more");
}

/* The fewest layers that do, from none on: doubled until enough, then halved. */
static bool search(Meeting *m)
{
    int at, enough = 0, few = -1;
    bool good = choose(m, 0, &at), met = good && meets(m, &m->out->choices[at]);
    if (good && !met) good = find_layers(m) && measure_layers(m);
    for (int next = 1; good && !met && enough < m->count; next *= 2) {
        few = enough;
        enough = next < m->count ? next : m->count;
        good = choose(m, enough, &at);
        met = good && meets(m, &m->out->choices[at]);
    }
    if (good && !met) return refuse(m);
    while (good && enough - few > 1) {
        const int middle = few + (enough - few) / 2;
        good = choose(m, middle, &at);
        if (good && meets(m, &m->out->choices[at])) enough = middle;
        else few = middle;
    }
    for (m->out->taken = 0; good && m->out->choices[m->out->taken].layers != enough;)
        m->out->taken++;
    return good;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool prepare(Meeting *m)
{
    const Args *args = m->with->args;
    const size_t all = qonnx_dataset_count(m->with->samples);
    const bool parted = args->optimize; /* then passes look at samples: others judge */
    m->min_sqnr = args->min_sqnr > 0 ? args->min_sqnr : -INFINITY;
    m->max_drop = INFINITY;
    if (args->max_drop) (void)read_drop(args->max_drop, &m->max_drop);
    m->fit = qonnx_dataset_part(m->with->samples, 0, parted ? 2 : 1, all);
    m->judging = qonnx_dataset_part(m->with->samples, parted, parted ? 2 : 1, JUDGES);
    if (!judge_open(&m->judge, m->cx, args, m->with->g, m->judging)) return false;
    if (args->max_drop && !m->judge.classed)
        return qonnx_fail(
            m->cx, NULL,
            "--max-drop wants samples with classes, a folder for each or a labels.txt "
            "beside them, and an output with a score for each");
    m->out->samples = m->judge.ran;
    return true;
}

bool budget_meet(qonnx_ctx *cx, const Optimization *with, Passes *passes, Budgeted *out)
{
    qonnx_ctx *quiet = qonnx_ctx_new(); /* what is to be said, the passes that are taken say */
    Meeting m = {.cx = quiet, .with = with, .passes = passes, .out = out};
    bool good = prepare(&m) && search(&m);
    if (!good && qonnx_error(quiet)) qonnx_fail(cx, NULL, "%s", qonnx_error(quiet));
    if (good) {
        const int layers = out->choices[out->taken].layers;
        Passes p = with_layers(&m, layers);
        passes_free(passes);
        *passes = p;
        out->kept = needed(calloc((size_t)layers + 1, sizeof *out->kept));
        for (int i = 0; i < layers; i++) out->kept[i] = needed(strdup(m.layers[i].name));
    }
    judge_close(&m.judge);
    for (int i = 0; i < m.count; i++) free(m.layers[i].name);
    free(m.layers);
    qonnx_dataset_free(m.fit);
    qonnx_dataset_free(m.judging);
    qonnx_ctx_free(quiet);
    return good;
}

void budgeted_free(Budgeted *b)
{
    for (int i = 0; b->kept && b->kept[i]; i++) free(b->kept[i]);
    free(b->kept);
    free(b->choices);
    *b = (Budgeted){0};
}

/* ---- the summary ----------------------------------------------------------------------------- */

void budgeted_print(const Budgeted *b)
{
    char drop[40] = "", name[NAME_ROOM], db[SQNR_ROOM];
    if (!b->samples) return;
    for (int i = 0; i < b->count; i++) {
        const Mix *c = &b->choices[i];
        if (!isnan(c->drop)) snprintf(drop, sizeof drop, ", %.2f points of top-1 lost", c->drop);
        print_line("%s %d layers in float, %.1f %% of the multiplications: %s%s%s",
                   i ? "            " : "budget      ", c->layers, 100 * c->macs,
                   decibels_text(db, c->sqnr), drop, i == b->taken ? ", taken" : "");
    }
    for (int i = 0; b->kept[i]; i++)
        print_line("%s %s", i ? "            " : "kept float  ",
                   clean_name(name, sizeof name, b->kept[i]));
}

json_t *budgeted_json(const Budgeted *b)
{
    if (!b->samples) return json_null();
    json_t *choices = json_array(), *kept = json_array();
    for (int i = 0; i < b->count; i++) {
        const Mix *c = &b->choices[i];
        json_array_append_new(
            choices,
            json_pack("{si so so so sb}", "layers", c->layers, "macs", json_number(c->macs),
                      "sqnr_db", isfinite(c->sqnr) ? json_number(c->sqnr) : json_null(), "drop",
                      isnan(c->drop) ? json_null() : json_number(c->drop), "taken", i == b->taken));
    }
    for (int i = 0; b->kept[i]; i++) json_array_append_new(kept, json_text(b->kept[i]));
    return json_pack("{sI so so}", "samples", (json_int_t)b->samples, "choices", choices,
                     "kept_float", kept);
}
