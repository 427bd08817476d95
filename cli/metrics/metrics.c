/* cli/metrics/metrics.c - see metric.h: the table, options, and metrics at work. */
#include "metric.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/tensor.h"
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const Metric *const table[] = {&metric_top1,   &metric_top5, &metric_miou,   &metric_map,
                                      &metric_mse,    &metric_psnr, &metric_cosine,
                                      &metric_spearman, &metric_tokens, &metric_wer};
enum { METRICS = sizeof table / sizeof *table, MOST_OPTIONS = 16 };

/* What those that are scored without --metric are. */
static const char *const usual[] = {"top1", "top5"};

static const MetricOption output_option = {"output", NULL, "which; default: the first"};
static const MetricOption labels_option = {"labels", NULL,
                                           "of arrays, pairs and boxes: PATH, "
                                           "instead of --labels"};
static const MetricOption to_option = {"to", NULL,
                                       "of arrays: labels, input or first, what outputs are "
                                       "compared with; default: the\n             labels, else the "
                                       "first model's"};
static const MetricOption *const shared[] = {&output_option, &labels_option, &to_option};

/* Whether a metric has that one of the shared options. Boxes are in several outputs. */
static bool shares(const Metric *m, const MetricOption *o)
{
    if (o == &to_option) return m->labels == LABEL_ARRAY;
    if (o == &labels_option) return m->labels > LABEL_CLASS;
    return m->labels != LABEL_BOXES;
}

/* Option i of a metric: its own, then those of several. NULL past the end. */
static const MetricOption *option_at(const Metric *m, int i)
{
    int own = 0;
    while (m->options && m->options[own].name) own++;
    if (i < own) return &m->options[i];
    i -= own;
    for (size_t k = 0; k < sizeof shared / sizeof *shared; k++)
        if (shares(m, shared[k]) && i-- == 0) return shared[k];
    return NULL;
}

static const char *option_name(const void *metric, int i)
{
    const MetricOption *o = option_at(metric, i);
    return o ? o->name : NULL;
}

static const char *name_at(const void *from, int i)
{
    (void)from;
    return i < METRICS ? table[i]->name : NULL;
}

/* Whether a text is a program, perhaps with arguments: a path, or words. */
static bool is_program(const char *text)
{
    size_t n = qonnx_pipeline_span(text, "{"), to = strcspn(text, "/ ");
    return to < n;
}

/* The metric of "NAME{...}", or of a program; NULL: there is none. */
static const Metric *find(const char *text)
{
    size_t n = qonnx_pipeline_span(text, "{");
    for (int i = 0; i < METRICS; i++)
        if (strlen(table[i]->name) == n && !strncmp(table[i]->name, text, n)) return table[i];
    return is_program(text) ? &metric_program : NULL;
}

void metrics_help(FILE *f)
{
    const MetricOption *o;
    fprintf(f, "\nMetrics, with OPTION=VALUE (default) in braces:\n");
    for (int m = 0; m < METRICS; m++) {
        fprintf(f, "  %-9s %s\n", table[m]->name, table[m]->brief);
        for (o = table[m]->options; o && o->name; o++)
            fprintf(f, "    %-8s %s%s%s%s\n", o->name, o->help, o->preset ? " (" : "",
                    o->preset ? o->preset : "", o->preset ? ")" : "");
    }
    fprintf(f, "Those of all:\n");
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        fprintf(f, "    %-8s %s\n", shared[i]->name, shared[i]->help);
}

/* ---- what the command line says -------------------------------------------------------------- */

/* Checks "a=b, c=d" up to its closing brace. */
static int check_options(const Verb *verb, const Metric *m, const char *text, const char *at)
{
    const char *end = at + qonnx_pipeline_span(at, "}");
    if (!*end || end[1])
        return options_misuse(verb, "--metric: '%s' wants its options as NAME{OPTION=VALUE,...}",
                              text);
    while (at < end) {
        size_t n = qonnx_pipeline_span(at, ",}"), eq = qonnx_pipeline_span(at, "=,}");
        char name[64];
        at += strspn(at, " ");
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, " =,}"), at);
        const char *known;
        int i = 0;
        while ((known = option_name(m, i)) && strcmp(known, name)) i++;
        if (!known) {
            const char *near = nearest_word(name, option_name, m);
            return options_misuse(verb, "--metric: %s has no option '%s'%s%s%s", m->name, name,
                                  near ? "; did you mean '" : "", near ? near : "",
                                  near ? "'?" : "");
        }
        if (eq >= n) return options_misuse(verb, "--metric: '%s' in '%s' has no value", name, text);
        at += n + (at + n < end);
    }
    return -1;
}

int metrics_check(const Verb *verb, const Args *args)
{
    int status = -1;
    for (int i = 0; status < 0 && i < args->metrics.count; i++) {
        const char *text = args->metrics.text[i];
        const Metric *m = find(text);
        char typed[80];
        size_t n = qonnx_pipeline_span(text, "{");
        snprintf(typed, sizeof typed, "%.*s", (int)n, text);
        const char *near = m ? NULL : nearest_word(typed, name_at, NULL);
        for (int k = 0; k < i; k++)
            if (!strcmp(args->metrics.text[k], text))
                return options_misuse(verb, "--metric '%s' is given twice", text);
        bool braces = m && m != &metric_program && text[n];
        if (braces) status = check_options(verb, m, text, text + n + 1);
        else if (!m)
            status = options_misuse(verb, "--metric: there is no '%s'%s%s%s", typed,
                                    near ? "; did you mean '"
                                         : "; see qonnx evaluate --help; a "
                                           "program is given with its folder, "
                                           "as in ./score",
                                    near ? near : "", near ? "'?" : "");
    }
    return status;
}

bool metrics_class(const Args *args)
{
    bool wanted = !args->metrics.count;
    for (int i = 0; i < args->metrics.count; i++) {
        const Metric *m = find(args->metrics.text[i]);
        wanted |= m && (m->labels == LABEL_CLASS || (m == &metric_program && !args->labels));
    }
    return wanted;
}

/* ---- for metrics ----------------------------------------------------------------------------- */

const char *metric_option(const Scoring *s, const char *name)
{
    const MetricOption *o;
    for (int i = 0; (o = option_at(s->metric, i)); i++)
        if (!strcmp(o->name, name)) return s->values[i] ? s->values[i] : o->preset;
    return NULL;
}

bool metric_fail(const Scoring *s, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    complain("%s: %s: %s", s->model, s->text, text);
    return false;
}

bool metric_real(const Scoring *s, const char *name, double least, double most, double *out)
{
    const char *text = metric_option(s, name);
    char *end = NULL;
    double x = text ? strtod(text, &end) : NAN;
    *out = x;
    if (text && end > text && !*end && x >= least && x <= most) return true;
    return metric_fail(s, "option '%s' is '%s'; want a number from %g to %g", name,
                       text ? text : "", least, most);
}

bool metric_whole(const Scoring *s, const char *name, int64_t least, int64_t most, int64_t *out)
{
    const char *text = metric_option(s, name);
    char *end = NULL;
    long long x = text ? strtoll(text, &end, 10) : 0;
    *out = x;
    if (text && end > text && !*end && x >= least && x <= most) return true;
    return metric_fail(s, "option '%s' is '%s'; want a whole number from %lld to %lld", name,
                       text ? text : "", (long long)least, (long long)most);
}

int metric_choice(const Scoring *s, const char *name, const char *const *words)
{
    const char *text = metric_option(s, name);
    char all[200] = "";
    for (int i = 0; words[i]; i++) {
        if (text && !strcmp(words[i], text)) return i;
        size_t n = strlen(all);
        snprintf(all + n, sizeof all - n, "%s%s", i ? " or " : "", words[i]);
    }
    metric_fail(s, "option '%s' is '%s'; want %s", name, text ? text : "", all);
    return -1;
}

bool metric_alike(const Scoring *s, const Outputs *o)
{
    char is[200], should[200];
    if (qonnx_tensor_elements(o->y) == qonnx_tensor_elements(o->want) && is_number(o->y->dtype) &&
        is_number(o->want->dtype))
        return true;
    return metric_fail(s,
                       "the output of '%s' is %s, what it is compared with is %s; want as many "
                       "numbers",
                       qonnx_dataset_name(s->d, o->sample), tensor_text(is, sizeof is, o->y),
                       tensor_text(should, sizeof should, o->want));
}

/* ---- at work --------------------------------------------------------------------------------- */

/* Reads the options that are given. */
static void take_options(Scoring *s)
{
    const char *name;
    s->values = needed(calloc(MOST_OPTIONS, sizeof *s->values));
    for (int i = 0; (name = option_name(s->metric, i)); i++)
        if (s->metric != &metric_program) s->values[i] = qonnx_pipeline_setting(s->text, name);
}

static bool find_output(Scoring *s)
{
    const char *name = metric_option(s, "output");
    int count = qonnx_graph_outputs(s->g), i = 0;
    while (name && i < count && strcmp(qonnx_value_name(qonnx_graph_output(s->g, i)), name)) i++;
    s->output = i;
    if (!count) return !s->given || metric_fail(s, "the model has no output");
    return i < count || metric_fail(s, "the model has no output '%s'; its first is '%s'", name,
                                    qonnx_value_name(qonnx_graph_output(s->g, 0)));
}

/* Decides what outputs are compared with; `labels`: there are some. */
static bool choose_to(Scoring *s, bool labels)
{
    static const char *const words[] = {"labels", "input", "first", NULL};
    if (s->metric->labels != LABEL_ARRAY) return true;
    s->to = labels ? TO_LABELS : TO_FIRST;
    if (!metric_option(s, "to")) return true;
    int to = metric_choice(s, "to", words);
    s->to = (To)(TO_LABELS + to);
    if (s->to == TO_INPUT)
        s->sample = needed(calloc((size_t)qonnx_dataset_inputs(s->d) + 1, sizeof *s->sample));
    return to >= 0;
}

static bool begin(qonnx_ctx *cx, const Args *args, Scoring *s)
{
    const Metric *m = s->metric;
    take_options(s);
    s->state = needed(calloc(1, m->state + 1));
    const char *path = m->labels > LABEL_CLASS ? metric_option(s, "labels") : NULL;
    if (!path) path = args->labels;
    s->labels_path = path ? needed(strdup(path)) : NULL;
    if (!path && (m->labels == LABEL_PAIRS || m == &metric_program))
        s->labels_path = qonnx_dataset_labels_file(s->d);
    bool good = find_output(s) && choose_to(s, s->labels_path != NULL);
    bool wanted = s->to == TO_LABELS || m->labels > LABEL_ARRAY;
    if (good && wanted && !s->labels_path)
        good = metric_fail(s, "wants labels; give them with --labels");
    if (good && wanted && m->labels != LABEL_BOXES) {
        s->labels = labels_open(cx, s->d, s->labels_path, m->labels);
        good = s->labels || (report_failure(cx), false);
    }
    return good && (!m->begin || m->begin(s));
}

bool metrics_begin(qonnx_ctx *cx, const Args *args, const char *model, const qonnx_graph *g,
                   const qonnx_dataset *d, bool first, Scorings *out)
{
    bool given = args->metrics.count > 0, good = true;
    int count = given ? args->metrics.count : (int)(sizeof usual / sizeof *usual);
    out->of = needed(calloc((size_t)count, sizeof *out->of));
    for (out->count = 0; good && out->count < count; out->count++) {
        const char *text = given ? args->metrics.text[out->count] : usual[out->count];
        Scoring *s = &out->of[out->count];
        *s = (Scoring){.metric = find(text),
                       .text = text,
                       .model = model,
                       .g = g,
                       .d = d,
                       .first = first,
                       .labels_given = args->labels != NULL,
                       .given = given,
                       .seconds = args->metric_timeout};
        good = begin(cx, args, s);
        if (good && s->to == TO_FIRST && args->noperand < 2)
            good = metric_fail(s,
                               "has nothing to compare with: give labels with --labels, a model "
                               "in front of this one, or %s{to=input}",
                               s->metric->name);
    }
    return good;
}

/* The input that the output is compared with: the first one that samples are read for. */
static bool read_input(Scoring *s, size_t sample, const qonnx_tensor **want)
{
    qonnx_ctx *cx = progress_ctx();
    bool good = qonnx_dataset_read(cx, s->d, sample, s->sample);
    if (!good) report_failure(cx);
    qonnx_ctx_free(cx);
    for (int i = 0; good && i < qonnx_dataset_inputs(s->d); i++) {
        *want = &s->sample[i];
        if (s->sample[i].data) break;
    }
    return good;
}

static bool add(Scoring *s, size_t sample, const qonnx_tensor *outputs,
                const qonnx_tensor *reference)
{
    qonnx_tensor label = {0};
    Outputs o = {.sample = sample, .all = outputs, .y = &outputs[s->output]};
    bool good = true;
    if (s->to == TO_FIRST) o.want = reference;
    if (s->to == TO_INPUT) good = read_input(s, sample, &o.want);
    if (s->to == TO_LABELS) good = labels_array(s->labels, s->d, sample, &label);
    if (s->to == TO_LABELS && label.data) o.want = &label;
    if (good && (s->to == TO_NOTHING || o.want)) good = s->metric->add(s, &o);
    if (s->to == TO_INPUT) qonnx_sample_free(s->sample, qonnx_dataset_inputs(s->d));
    return good;
}

bool metrics_add(Scorings *all, size_t sample, const qonnx_tensor *outputs, int output,
                 const qonnx_tensor *reference)
{
    bool good = true;
    for (int i = 0; good && i < all->count; i++)
        if (all->of[i].output == output) good = add(&all->of[i], sample, outputs, reference);
    return good;
}

bool metrics_end(Scorings *all)
{
    bool good = true;
    for (int i = 0; good && i < all->count; i++) {
        Scoring *s = &all->of[i];
        good = s->metric->end(s, &s->score);
        bool reference = s->to == TO_FIRST && s->first;
        if (good && !s->score.samples && s->given && !reference)
            good = metric_fail(s, s->metric->labels == LABEL_CLASS
                                      ? "no sample has a class that the output may have; see "
                                        "--labels"
                                      : "no sample has a label; see --labels");
    }
    return good;
}

void metrics_let_go(Scorings *all)
{
    for (int i = 0; i < all->count; i++) {
        Scoring *s = &all->of[i];
        if (s->state && s->metric->release) s->metric->release(s);
        for (int k = 0; s->values && k < MOST_OPTIONS; k++) free(s->values[k]);
        labels_free(s->labels);
        free(s->values);
        free(s->sample);
        free(s->state);
        free(s->labels_path);
        s->labels_path = NULL;
        s->labels = NULL;
        s->values = NULL;
        s->sample = NULL;
        s->state = NULL;
    }
}

void metrics_free(Scorings *all)
{
    free(all->of);
    *all = (Scorings){NULL, 0};
}

/* ---- results --------------------------------------------------------------------------------- */

const char *metric_title(char out[SCORE_ROOM], const Scoring *s)
{
    const char *title = strcmp(s->text, s->metric->name) ? s->text : s->metric->title;
    if (s->metric != &metric_program) return clean_name(out, SCORE_ROOM, title);
    char word[PATH_MAX]; /* the program without folders and arguments */
    size_t n = program_is_path(title) ? strlen(title) : strcspn(title, " ");
    snprintf(word, sizeof word, "%.*s", (int)n, title);
    const char *slash = strrchr(word, '/');
    return clean_name(out, SCORE_ROOM, slash ? slash + 1 : word);
}

const char *score_text(char out[SCORE_ROOM], const Scoring *s)
{
    double x = s->score.value;
    if (!s->score.known) return strcpy(out, "-");
    if (s->metric->unit == UNIT_SHARE) snprintf(out, SCORE_ROOM, "%.2f %%", 100 * x);
    else if (s->metric->unit == UNIT_DECIBELS && isinf(x)) strcpy(out, "exact");
    else if (s->metric->unit == UNIT_DECIBELS) snprintf(out, SCORE_ROOM, "%.2f dB", x);
    else snprintf(out, SCORE_ROOM, "%#.5g", x);
    return out;
}

void scores_json(json_t *object, const Scorings *all)
{
    json_t *scores = json_object();
    for (int i = 0; i < all->count; i++) {
        const Scoring *s = &all->of[i];
        json_object_set_new(scores, s->text,
                            s->score.known ? json_number(s->score.value) : json_null());
    }
    json_object_set_new(object, "metrics", scores);
}
