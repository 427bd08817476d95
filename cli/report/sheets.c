/* cli/report/sheets.c - the layers of the page: the worst with advice, then each with its values.
 */
#include "cli/output.h"
#include "cli/page.h"
#include "report.h"
#include <qonnx/qonnx.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORST_SHOWN = 8 };

static const char *grade_class(const Sheet *s)
{
    static const char *const classes[] = {"", "e0", "e1", "e2", "e3", "e4"};
    return classes[layer_grade(s) + 1];
}

/* ---- the worst ------------------------------------------------------------------------------- */

static void put_worst(FILE *f, const Sheet *s)
{
    char own[SQNR_ROOM], all[SQNR_ROOM], *why, *option = layer_option(s, &why),
                                               *spread = spread_text(s);
    fprintf(f, "<li><a href=\"#layer-%d\">", s->error->given);
    page_text(f, layer_error_name(s->error));
    fputs("</a> (", f);
    page_text(f, qonnx_node_op(s->error->match->node));
    fprintf(f, "): own error <span class=\"k %s\">%s</span>, %s with what comes before it",
            grade_class(s), sqnr_text(own, &s->error->own), sqnr_text(all, &s->error->all));
    if (s->spread.count > 1) {
        fputs("; ", f);
        page_text(f, spread);
    }
    fputs(".<br>", f);
    if (option) {
        fputs("<code>", f);
        page_text(f, option);
        fputs("</code>: ", f);
    } else fputs("No advice: ", f);
    page_text(f, why);
    fputs(".", f);
    if (!isnan(s->gain)) fprintf(f, " Alone in float: %+.2f dB.", s->gain);
    fputs("</li>\n", f);
    free(option);
    free(why);
    free(spread);
}

static void put_worst_layers(FILE *f, const Report *r)
{
    const int count = r->errors.matches.count < WORST_SHOWN ? r->errors.matches.count : WORST_SHOWN;
    fputs("<section id=\"worst\" aria-labelledby=\"worst-h\">\n<h2 id=\"worst-h\">The worst "
          "layers</h2>\n<ol>\n",
          f);
    for (int i = 0; i < count; i++) put_worst(f, r->worst[i]);
    fputs("</ol>\n</section>\n", f);
}

/* ---- each ------------------------------------------------------------------------------------ */

static void put_value(FILE *f, const Report *r, const Fact *v)
{
    const Laid *l = &v->laid;
    char type[NAME_ROOM];
    const char *used = qonnx_model_metadata(r->subject.source, "qonnx.observer");
    fprintf(f, "<h3>%s <code>", role_word(v->role));
    page_text(f, v->name);
    fputs("</code></h3>\n<p>", f);
    page_text(f, type_text(type, sizeof type, v->value));
    if (l->dtype == QONNX_UNDEFINED) fputs("; in float", f);
    else if (l->scales > 1)
        fprintf(f, "; %s, %d scales from %.4g to %.4g", qonnx_dtype_name(l->dtype), l->scales,
                l->least, l->scale);
    else
        fprintf(f, "; %s, scale %.5g, zero point %d", qonnx_dtype_name(l->dtype), l->scale,
                l->zero_point);
    if (v->seen && (v->seen->nan || v->seen->inf))
        fprintf(f, "; %llu values are not numbers, %llu infinite", (unsigned long long)v->seen->nan,
                (unsigned long long)v->seen->inf);
    if (v->role == ROLE_OUTPUT && v->spread.count > 1 && v->spread.median > 0)
        fprintf(f, "; the largest of %d channels (channel %d) is %.3g times the median",
                v->spread.count, v->spread.widest, v->spread.largest / v->spread.median);
    fputs(".</p>\n", f);
    if (v->seen && v->role != ROLE_BIAS) chart_histogram(f, v, used);
}

static void put_weight(FILE *f, const Sheet *s)
{
    char *text = spread_text(s);
    const Laid *l = &s->weight->laid;
    fputs("<p>Channels of the weight", f);
    fputs(s->before ? ", before it was quantized: " : ": ", f);
    page_text(f, text);
    const double steps = l->scale > 0 ? s->spread.smallest / l->scale : 0;
    if (l->scales == 1 && s->spread.count > 1 && steps < 0.5)
        fprintf(f, "; the least (channel %d) is lost, with less than half a step of the one scale",
                s->spread.narrowest);
    else if (l->scales == 1 && s->spread.count > 1)
        fprintf(f, "; the least (channel %d) has %.3g steps of the one scale", s->spread.narrowest,
                steps);
    fputs(".</p>\n", f);
    chart_channels(f, s);
    free(text);
}

/* Values that a layer shares with the one in front of it are shown there: but for what the model
 * takes, its inputs are other layers' outputs. */
static bool is_shown(const Fact *v)
{
    return v->role == ROLE_WEIGHT || v->role == ROLE_OUTPUT ||
           (v->role == ROLE_INPUT && qonnx_value_is_input(v->value));
}

static void put_details(FILE *f, const Report *r, const Sheet *s)
{
    for (const Fact *v = s->facts; v < s->facts + s->nfacts; v++) {
        if (!is_shown(v)) continue;
        put_value(f, r, v);
        if (v == s->weight) put_weight(f, s);
    }
    if (!s->detailed)
        fprintf(f, "<p>Nothing more is told of it: it is not among the worst %d layers.</p>\n",
                MOST_SHEETS);
}

static void put_sheet(FILE *f, const Report *r, const Sheet *s)
{
    char own[SQNR_ROOM], all[SQNR_ROOM];
    const LayerError *e = s->error;
    const qonnx_finding *found = e->match->found;
    fputs("<details class=\"layer\"><summary><span class=\"name\">", f);
    page_text(f, layer_error_name(e));
    fputs("</span> <span class=\"op\">", f);
    page_text(f, qonnx_node_op(e->match->node));
    fprintf(
        f,
        "</span> <span class=\"k %s\">%s</span></summary>\n<div id=\"layer-%d\" tabindex=\"-1\">\n",
        grade_class(s), sqnr_text(own, likeness_known(&e->own) ? &e->own : &e->all), e->given);
    fprintf(f, "<p>Own error %s, accumulated %s; number %d of the worst. Runs in %s",
            sqnr_text(own, &e->own), sqnr_text(all, &e->all), s->place, layer_error_runs(e));
    if (found && found->why) {
        fputs(": ", f);
        page_text(f, found->why);
    }
    fputs(".", f);
    if (!isnan(s->gain)) fprintf(f, " It alone in float changes the outputs by %+.2f dB.", s->gain);
    fputs("</p>\n", f);
    put_details(f, r, s);
    fputs("</div></details>\n", f);
}

/* Operators that stay in float, and why. */
static void put_floats(FILE *f, const Report *r)
{
    long count = 0, shown = 0;
    const Subject *s = &r->subject;
    for (int i = 0; i < s->count; i++) count += s->findings[i].fate == QONNX_FATE_FLOAT;
    fputs("<section id=\"float\" aria-labelledby=\"float-h\">\n<h2 id=\"float-h\">In float</h2>\n",
          f);
    if (!count) fputs("<p>No operator stays in float.</p>\n", f);
    else fprintf(f, "<p>%ld operators stay in float for %s.</p>\n<ul>\n", count, s->target->name);
    for (int i = 0; i < s->count && shown < MOST_SHEETS; i++) {
        const qonnx_finding *found = &s->findings[i];
        if (found->fate != QONNX_FATE_FLOAT) continue;
        shown++;
        fputs("<li><code>", f);
        page_text(f, qonnx_node_label(found->node));
        fputs("</code> (", f);
        page_text(f, qonnx_node_op(found->node));
        fputs("): ", f);
        page_text(f, found->why ? found->why : "it has no form in integers");
        fputs("</li>\n", f);
    }
    if (count) fputs("</ul>\n", f);
    if (shown < count) fprintf(f, "<p>%ld more are not shown.</p>\n", count - shown);
    fputs("</section>\n", f);
}

void report_sheets(FILE *f, const Report *r)
{
    const int all = r->errors.matches.count, count = all < MOST_NODES ? all : MOST_NODES;
    put_worst_layers(f, r);
    fputs("<section id=\"layers\" aria-labelledby=\"layers-h\">\n<h2 id=\"layers-h\">All "
          "layers</h2>\n",
          f);
    fprintf(f, "<p>In the order in which they run, each with its own error, on %zu samples. ",
            r->errors.compared.samples);
    if (r->unobserved) {
        fputs("There are no histograms: ", f);
        page_text(f, r->unobserved);
    } else
        fprintf(f,
                "Histograms are of %s (%llu samples); bars are as high as the square roots of "
                "their counts. Dashed lines are the thresholds in the file",
                r->observed ? "values observed on the samples given"
                            : "the statistics given with --calibration",
                (unsigned long long)qonnx_stats_samples(r->subject.stats));
    fputs(".</p>\n", f);
    if (count < all)
        fprintf(f, "<p class=\"note\">The first %d of %d layers are shown.</p>\n", count, all);
    for (int i = 0; i < count; i++) put_sheet(f, r, &r->sheets[i]);
    fputs("</section>\n", f);
    put_floats(f, r);
}
