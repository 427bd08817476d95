/* cli/budget.c - see budget.h. */
#include "budget.h"
#include "calibrate.h"
#include "output.h"
#include "progress.h"
#include "sensitivity.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    JUDGES = 512, /* samples, at most, unless a small drop asks for more */
    TELLING = 5   /* samples that a drop must be of, for less may be luck */
};

typedef struct Meeting {
    qonnx_ctx *cx;
    const Optimization *with;
    const Passes *passes;
    qonnx_dataset *fit, *judging;
    Judge judge;
    Maker maker;
    double min_sqnr;      /* -INFINITY: any */
    double max_drop;      /* INFINITY: any */
    double max_size;      /* INFINITY: any */
    Sensitivities layers; /* by what is gained for what they cost, once they are measured */
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

bool budget_given(const Args *args)
{
    return args->min_sqnr > 0 || args->max_drop || args->max_size;
}

int budget_check(const Verb *verb, const Args *args)
{
    double points;
    if (args->max_drop && !read_drop(args->max_drop, &points))
        return options_misuse(verb, "quantize: --max-drop is '%s', want per cent, as in 1%%",
                              args->max_drop);
    if (!budget_given(args)) return -1;
    const char *option = args->max_drop       ? "--max-drop"
                         : args->min_sqnr > 0 ? "--min-sqnr"
                                              : "--max-size";
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

/* ---- choices --------------------------------------------------------------------------------- */

/* Whether it is near enough to the model. */
static bool is_near(const Meeting *m, const Mix *c)
{
    return c->sqnr >= m->min_sqnr && (m->max_drop == INFINITY || c->drop <= m->max_drop + 1e-9);
}

/* Whether the i-th of the first so many steps stands: a layer at 16 bits may come to float later.
 */
static bool stands(const Meeting *m, int i, int steps)
{
    const Layered *l = &m->layers.of[i];
    for (int k = 0; l->wide && k < steps; k++)
        if (!m->layers.of[k].wide && !strcmp(m->layers.of[k].name, l->name)) return false;
    return true;
}

/* The pipeline with the first so many steps. */
static Passes with_layers(const Meeting *m, int steps)
{
    Passes p = passes_copy(m->passes);
    for (int i = 0; i < steps; i++)
        if (stands(m, i, steps)) passes_insert(&p, m->layers.of[i].passes);
    return p;
}

static void count_layers(const Meeting *m, Mix *c)
{
    for (int i = 0; i < c->steps; i++) {
        const Layered *l = &m->layers.of[i];
        if (!stands(m, i, c->steps)) continue;
        c->layers += !l->wide;
        c->wide += l->wide;
        *(l->wide ? &c->macs16 : &c->macs) += l->macs;
    }
}

/* Makes a choice; its place among them, by steps, is *at. */
static bool choose(Meeting *m, int steps, int *at)
{
    double score;
    char db[SQNR_ROOM], size[SIZE_ROOM], wide[WIDE_ROOM];
    Budgeted *out = m->out;
    const Judge *j = &m->judge;
    Mix c = {.steps = steps, .drop = NAN};
    Passes p = with_layers(m, steps);
    bool good = maker_try(&m->maker, &p, &score, &c.bytes);
    passes_free(&p);
    if (!good) return false;
    c.sqnr = judge_worst(j);
    count_layers(m, &c);
    if (j->classed) c.drop = 100 * ((double)j->right_float - (double)j->right) / (double)j->classed;
    out->choices = needed(reallocarray(out->choices, (size_t)out->count + 1, sizeof *out->choices));
    for (*at = out->count; *at > 0 && out->choices[*at - 1].steps > steps; --*at)
        out->choices[*at] = out->choices[*at - 1];
    out->choices[*at] = c;
    out->count++;
    tell("budget: %d layers in float%s: %s, %s", c.layers, mix_wide_text(wide, out, &c),
         decibels_text(db, c.sqnr), size_text(size, c.bytes));
    return true;
}

static void take(Meeting *m, int steps)
{
    for (m->out->taken = 0; m->out->choices[m->out->taken].steps != steps;) m->out->taken++;
}

/* ---- refusals -------------------------------------------------------------------------------- */

static bool refuse(const Meeting *m)
{
    int all = 0;
    for (int i = 0; i < m->layers.count; i++) all += !m->layers.of[i].wide;
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
                      best->layers, all, decibels_text(db, best->sqnr), drop,
                      m->with->args->optimize ? "" : "; --optimize may reach more");
}

/* What makes the file smaller. */
static const char *shrinking(const Args *args, int layers)
{
    if (layers && !args->optimize)
        return "a lower --min-sqnr or a higher --max-drop takes fewer of them, and so may "
               "--optimize";
    if (layers) return "a lower --min-sqnr or a higher --max-drop takes fewer of them";
    if (args->exclude.count || args->only.count || args->overrides.count)
        return "layers that --exclude, --only and --overrides keep in float take 4 bytes a weight: "
               "leave out what you can";
    return "nothing else here makes it smaller: give it that room, or take a smaller model";
}

static bool refuse_size(qonnx_ctx *cx, const Args *args, double bytes, int layers)
{
    char what[80] = "with no layer in float";
    if (layers)
        snprintf(what, sizeof what, "with the %d layers in float that the accuracy takes", layers);
    return qonnx_fail(cx, NULL,
                      "no choice of layers in float fits into the %zu bytes of --max-size: the "
                      "smallest that was reached, %s, has %.0f; %s",
                      args->max_size, what, bytes, shrinking(args, layers));
}

bool budget_fits(qonnx_ctx *cx, const Args *args, const qonnx_graph *made)
{
    const double bytes = args->max_size ? (double)qonnx_model_size(made) : 0;
    return bytes <= (double)args->max_size ||
           qonnx_fail(cx, NULL, "the result has %.0f bytes, more than the %zu of --max-size", bytes,
                      args->max_size);
}

/* ---- the order of layers --------------------------------------------------------------------- */

/* By falling `value`, then by their names, and 16 bits before float. */
typedef struct Ranked {
    Layered layer;
    double value;
} Ranked;

static int compare_ranked(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    return x->value != y->value                   ? (x->value < y->value) - (x->value > y->value)
           : strcmp(x->layer.name, y->layer.name) ? strcmp(x->layer.name, y->layer.name)
                                                  : y->layer.wide - x->layer.wide;
}

/* What a layer gains for what it costs: bytes where these are scarce, else its share of the
 * multiplications, and that it is one more. Of those that gain nothing by themselves, as long as
 * the noise of others is all that can be seen, the cheap ones come first. */
static double worth(const Meeting *m, const Layered *l)
{
    const double cost = m->max_size < INFINITY ? fmax(l->bytes, 1) : l->cost + 0.01;
    return l->gain > 0 ? l->gain / cost : l->gain * cost;
}

/* Whether the layer, in float, is to come to 16 bits first, which the next one is: that gains more
 * for its cost. */
static bool widens_first(const Meeting *m, int i)
{
    const Layered *l = &m->layers.of[i];
    return i + 1 < m->layers.count && !l->wide && l[1].wide && worth(m, &l[1]) > worth(m, l);
}

/* Float behind 16 bits: what comes to both. */
static Layered beyond(const Layered *l, const Layered *wide)
{
    Layered more = *l;
    more.cost -= wide->cost;
    more.gain -= wide->gain;
    more.bytes -= wide->bytes;
    return more;
}

/* Measures the layers and puts them in order; 16 bits that gain no more for their cost than float
 * are left out. */
static bool rank_layers(Meeting *m)
{
    Sensitivities *s = &m->layers;
    if (!sensitivities_measure(&m->maker, m->passes, s)) return false;
    Ranked *r = needed(calloc((size_t)s->count + 1, sizeof *r));
    int count = 0;
    for (int i = 0; i < s->count; i++) {
        Layered *l = &s->of[i];
        const bool first = widens_first(m, i), drops = l->wide && !widens_first(m, i - 1);
        const Layered more = first ? beyond(l, l + 1) : *l;
        if (drops) layered_free(l);
        else r[count++] = (Ranked){more, worth(m, &more)};
        if (first) r[count - 1].value = fmin(r[count - 1].value, worth(m, l + 1));
    }
    qsort(r, (size_t)count, sizeof *r, compare_ranked);
    for (int i = 0; i < count; i++) s->of[i] = r[i].layer;
    s->count = count;
    free(r);
    return true;
}

/* ---- as few as it takes ---------------------------------------------------------------------- */

/* The fewest layers with which the result is near enough: doubled until enough, then halved. `at`
 * is the choice of none. */
static bool search_few(Meeting *m, int at)
{
    int enough = 0, few = -1;
    bool good = true, met = is_near(m, &m->out->choices[at]);
    if (!met) good = rank_layers(m);
    for (int next = 1; good && !met && enough < m->layers.count; next *= 2) {
        few = enough;
        enough = next < m->layers.count ? next : m->layers.count;
        good = choose(m, enough, &at);
        met = good && is_near(m, &m->out->choices[at]);
    }
    if (good && !met) return refuse(m);
    while (good && enough - few > 1) {
        const int middle = few + (enough - few) / 2;
        good = choose(m, middle, &at);
        if (good && is_near(m, &m->out->choices[at])) enough = middle;
        else few = middle;
    }
    if (!good) return false;
    take(m, enough);
    const Mix *c = &m->out->choices[m->out->taken];
    return c->bytes <= m->max_size || refuse_size(m->cx, m->with->args, c->bytes, c->layers);
}

/* ---- as many as there is room for ------------------------------------------------------------ */

/* Puts layer i at place `to`, those between one further. */
static void move_layer(Sensitivities *s, int i, int to)
{
    const Layered l = s->of[i];
    memmove(s->of + to + 1, s->of + to, (size_t)(i - to) * sizeof *s->of);
    s->of[to] = l;
}

/* Moves the layers that fit together in front of the others, in their order: *fitting. */
static bool find_fitting(Meeting *m, double bytes, int *fitting)
{
    bool good = true;
    *fitting = 0;
    for (int i = 0; i < m->layers.count && good && !interrupted(); i++) {
        const Layered *l = &m->layers.of[i];
        double larger;
        if (bytes + l->bytes > m->max_size) continue;
        move_layer(&m->layers, i, *fitting);
        Passes p = with_layers(m, *fitting + 1);
        good = maker_size(&m->maker, &p, &larger);
        passes_free(&p);
        if (!good || larger > m->max_size) continue; /* a later one may come in front of it */
        bytes = larger;
        ++*fitting;
    }
    return good && !interrupted();
}

/* All that fits, unless that is no nearer to the model than none of it. `at` is the choice of
 * none. */
static bool spend(Meeting *m, int at)
{
    int layers;
    const Mix none = m->out->choices[at];
    bool good = rank_layers(m) && find_fitting(m, none.bytes, &layers);
    if (good && layers) good = choose(m, layers, &at);
    const Mix *all = &m->out->choices[at];
    const bool better = good && all->bytes <= m->max_size && all->sqnr > none.sqnr;
    if (good) take(m, better ? layers : 0);
    return good;
}

static bool search(Meeting *m)
{
    int at;
    const Args *args = m->with->args;
    if (!choose(m, 0, &at)) return false;
    const double bytes = m->out->choices[at].bytes;
    if (bytes > m->max_size) return refuse_size(m->cx, args, bytes, 0);
    return args->min_sqnr > 0 || args->max_drop ? search_few(m, at) : spend(m, at);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* How many samples judge: of a drop as many as it takes to tell it, where there are so many. */
static size_t judges(const Meeting *m)
{
    const bool small = m->max_drop > 0 && m->max_drop < INFINITY;
    const double telling = small ? ceil(100 * TELLING / m->max_drop) : 0;
    return telling > JUDGES ? (size_t)fmin(telling, 1e9) : JUDGES;
}

/* Warns where so few samples judge that one or a few of them are the whole drop. */
static void warn_of_drop(const Meeting *m, bool parted)
{
    const double classed = (double)m->judge.classed;
    if (!(m->max_drop > 0) || m->max_drop == INFINITY ||
        classed * m->max_drop >= 100 * TELLING - 1e-9)
        return;
    warn("--max-drop %s: %zu samples judge, one of them is %.2g points of top-1, and whether a few "
         "more are right may be luck; give at least %.0f with --data",
         m->with->args->max_drop, m->judge.classed, 100 / classed,
         (parted ? 2 : 1) * ceil(100 * TELLING / m->max_drop));
}

static bool prepare(Meeting *m)
{
    const Args *args = m->with->args;
    const size_t all = qonnx_dataset_count(m->with->samples);
    const bool parted = args->optimize; /* then passes look at samples: others judge */
    m->min_sqnr = args->min_sqnr > 0 ? args->min_sqnr : -INFINITY;
    m->max_size = args->max_size ? (double)args->max_size : INFINITY;
    m->max_drop = INFINITY;
    if (args->max_drop) (void)read_drop(args->max_drop, &m->max_drop);
    m->fit = qonnx_dataset_part(m->with->samples, 0, parted ? 2 : 1, all);
    m->judging = qonnx_dataset_part(m->with->samples, parted, parted ? 2 : 1, judges(m));
    m->maker = (Maker){m->cx, m->with, m->fit, &m->judge};
    if (!judge_open(&m->judge, m->cx, args, m->with->g, m->judging)) return false;
    if (args->max_drop && !m->judge.classed)
        return qonnx_fail(
            m->cx, NULL,
            "--max-drop wants samples with classes, a folder for each or a labels.txt "
            "beside them, and an output with a score for each");
    warn_of_drop(m, parted);
    m->out->samples = m->judge.ran;
    m->out->mixed = args->mixed;
    return true;
}

/* The names of the layers in float, or at 16 bits, of the first steps; NULL ends them. */
static char **layer_names(const Meeting *m, int steps, bool wide)
{
    char **names = needed(calloc((size_t)steps + 1, sizeof *names));
    for (int i = 0, count = 0; i < steps; i++)
        if (m->layers.of[i].wide == wide && stands(m, i, steps))
            names[count++] = needed(strdup(m->layers.of[i].name));
    return names;
}

bool budget_meet(qonnx_ctx *cx, const Optimization *with, Passes *passes, Budgeted *out)
{
    qonnx_ctx *quiet = qonnx_ctx_new(); /* what is to be said, the passes that are taken say */
    Meeting m = {.cx = quiet, .with = with, .passes = passes, .out = out};
    bool good = prepare(&m) && search(&m);
    if (!good && qonnx_error(quiet)) qonnx_fail(cx, NULL, "%s", qonnx_error(quiet));
    if (good) {
        const int steps = out->choices[out->taken].steps;
        Passes p = with_layers(&m, steps);
        passes_free(passes);
        *passes = p;
        out->kept = layer_names(&m, steps, false);
        out->wide = layer_names(&m, steps, true);
    }
    judge_close(&m.judge);
    sensitivities_free(&m.layers);
    qonnx_dataset_free(m.fit);
    qonnx_dataset_free(m.judging);
    qonnx_ctx_free(quiet);
    return good;
}
