/* cli/report/page.c - the report as a page: the verdict first, what can be read without scripts. */
#include "cli/calibrate.h"
#include "cli/page.h"
#include "cli/output.h"
#include "report.h"
#include <qonnx/qonnx.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- before and after ------------------------------------------------------------------------ */

static void put_pair(FILE *f, const char *what, const char *before, const char *after)
{
    fputs("<tr><th scope=\"row\">", f);
    page_text(f, what);
    fputs("</th><td>", f);
    page_text(f, before);
    fputs("</td><td>", f);
    page_text(f, after);
    fputs("</td></tr>\n", f);
}

static void put_scores(FILE *f, const Report *r)
{
    const Scorings *a = &r->sides[0].metrics, *b = &r->sides[1].metrics;
    char title[SCORE_ROOM], before[SCORE_ROOM], after[SCORE_ROOM];
    for (int i = 0; i < a->count && i < b->count; i++)
        if (a->of[i].score.known || b->of[i].score.known)
            put_pair(f, metric_title(title, &b->of[i]), score_text(before, &a->of[i]),
                     score_text(after, &b->of[i]));
}

static void put_likeness(FILE *f, const Report *r)
{
    char ratio[SQNR_ROOM], agree[PERCENT_ROOM];
    const Likeness *l = r->output < 0 ? NULL : &r->all.likeness[r->output];
    if (!l) return;
    put_pair(f, "SQNR", "", sqnr_text(ratio, l));
    if (l->paired) put_pair(f, "same class", "", percent_text(agree, true, l->agreeing, l->paired));
}

/* "300.8 M, 32 x 32 bits": the widths that have most. */
static void macs_text(char out[64], const Costs *c)
{
    int a = 5, b = 5;
    for (int i = 0; i < COST_WIDTHS; i++)
        for (int k = 0; k <= i; k++)
            if (c->multiplies[i][k] > c->multiplies[a][b]) a = i, b = k;
    snprintf(out, 64, "%.4g M, %d x %d bits", c->macs / 1e6, 1 << a, 1 << b);
}

static void put_costs(FILE *f, const Report *r)
{
    const Side *a = &r->sides[0], *b = &r->sides[1];
    char before[SIZE_ROOM], after[SIZE_ROOM], macs[2][64];
    put_pair(f, "file", size_text(before, a->bytes), size_text(after, b->bytes));
    put_pair(f, "weights", size_text(before, a->costs.weights), size_text(after, b->costs.weights));
    if (a->memory && b->memory)
        put_pair(f, "memory of a run", size_text(before, (double)a->memory),
                 size_text(after, (double)b->memory));
    macs_text(macs[0], &a->costs);
    macs_text(macs[1], &b->costs);
    put_pair(f, "multiplications", macs[0], macs[1]);
    put_pair(f, "energy, estimated", energy_text(before, a->costs.energy),
             energy_text(after, b->costs.energy));
    if (r->args->no_times) return;
    put_pair(f, "time, one thread", latency_text(before, &a->latency),
             latency_text(after, &b->latency));
}

static void put_before_after(FILE *f, const Report *r)
{
    fputs("<table class=\"pairs\">\n<tr><th scope=\"col\">of a sample</th><th "
          "scope=\"col\">before</th><th scope=\"col\">after</th></tr>\n",
          f);
    put_scores(f, r);
    put_likeness(f, r);
    put_costs(f, r);
    fputs("</table>\n", f);
}

/* ---- the first screen ------------------------------------------------------------------------ */

static void put_worst(FILE *f, const Report *r)
{
    if (!r->errors.matches.count) return;
    const Sheet *s = r->worst[0];
    char own[SQNR_ROOM], *spread = spread_text(s), *why, *option = remedy_option(r, &why);
    fprintf(f, "<div class=\"call\">\n<p><strong>Worst layer:</strong> <a href=\"#layer-%d\">",
            s->error->given);
    page_text(f, layer_error_name(s->error));
    fputs("</a> (", f);
    page_text(f, qonnx_node_op(s->error->match->node));
    fprintf(f, "), own error %s. Spread: ", sqnr_text(own, &s->error->own));
    page_text(f, spread);
    fprintf(f, ".</p>\n<p><strong>%s:</strong> <code>",
            r->verdict == VERDICT_DAMAGED ? "What mends it" : "What would gain most");
    page_text(f, option);
    fputs("</code> - ", f);
    page_text(f, why);
    fputs(".</p>\n</div>\n", f);
    free(spread);
    free(option);
    free(why);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void put_first_screen(FILE *f, const Report *r)
{
    const qonnx_session_options o = session_options(r->args);
    static const char *const classes[] = {"good", "fair", "damaged"};
    char *sentence = verdict_text(r);
    fprintf(f, "<a class=\"skip\" href=\"#worst\">Skip to the worst layers</a>\n<header>\n<h1>");
    page_text(f, base_name(r->sides[1].path));
    fprintf(f, "</h1>\n<p class=\"verdict %s\">", classes[r->verdict]);
    page_text(f, sentence);
    fputs("</p>\n</header>\n<main>\n", f);
    free(sentence);
    put_before_after(f, r);
    put_worst(f, r);
    fprintf(f, "<p class=\"small\">%zu samples, %ld of %ld operators in integers, for %s.",
            r->all.samples, r->sides[1].placed.integer,
            r->sides[1].placed.integer + r->sides[1].placed.left.total, r->errors.target->name);
    if (!r->args->no_times)
        fprintf(f, " Times are the median of runs of one sample by %s.", qonnx_engine_name(&o));
    fputs(" Energy is an estimate by published figures for 45 nm.</p>\n", f);
}

/* ---- what helps ------------------------------------------------------------------------------ */

static void put_tried_row(FILE *f, const char *what, const char *why, double db, double gain)
{
    char text[SQNR_ROOM];
    fputs("<tr><th scope=\"row\"><code>", f);
    page_text(f, what);
    fprintf(f, "</code></th><td>%s</td><td>%+.2f dB</td><td>", decibels_text(text, db), gain);
    page_text(f, why);
    fputs("</td></tr>\n", f);
}

static void put_tried(FILE *f, const Report *r)
{
    char text[SQNR_ROOM];
    fputs("<section id=\"helps\" aria-labelledby=\"helps-h\">\n<h2 id=\"helps-h\">What would "
          "help</h2>\n",
          f);
    if (!r->judged) {
        fputs("<p>Nothing was tried: ", f);
        fputs(r->passes.count
                  ? "there are no statistics of the model"
                  : "the file does not say how it was made (its metadata has no qonnx.pipeline)",
              f);
        fputs(".</p>\n</section>\n", f);
        return;
    }
    fprintf(
        f,
        "<p>The model made again with one change, and run on %zu samples: the SQNR of the worst "
        "output, as it is %s. Layers alone in float are their sensitivities.</p>\n"
        "<div class=\"wide\"><table>\n<tr><th scope=\"col\">change</th><th "
        "scope=\"col\">SQNR</th><th scope=\"col\">gain</th><th scope=\"col\">what it "
        "does</th></tr>\n",
        r->judged, decibels_text(text, r->plain));
    for (const Tried *t = r->tried; t < r->tried + r->ntried; t++)
        put_tried_row(f, t->option, t->why, t->db, t->db - r->plain);
    for (int i = 0; i < r->errors.matches.count; i++) {
        const Sheet *s = r->worst[i];
        if (isnan(s->gain)) continue;
        char *option = exclude_option(s);
        put_tried_row(f, option, "that layer alone in float", r->plain + s->gain, s->gain);
        free(option);
    }
    fputs("</table></div>\n</section>\n", f);
}

/* ---- how it was made ------------------------------------------------------------------------- */

static void put_settings(FILE *f, const Report *r)
{
    static const char *const keys[] = {"qonnx.version", "qonnx.target", "qonnx.observer",
                                       "qonnx.data",    "qonnx.engine", "qonnx.preprocess",
                                       "qonnx.plugins"};
    char *command = report_command(r);
    fputs("<section id=\"settings\" aria-labelledby=\"settings-h\">\n<h2 "
          "id=\"settings-h\">Settings to "
          "reproduce it</h2>\n",
          f);
    if (!command) fputs("<p>The file does not say how it was made.</p>\n", f);
    else {
        fputs("<pre><code>", f);
        page_text(f, command);
        fputs("</code></pre>\n<ul>\n", f);
    }
    for (size_t i = 0; command && i < sizeof keys / sizeof *keys; i++) {
        const char *value = qonnx_model_metadata(r->subject.source, keys[i]);
        if (!value) continue;
        fprintf(f, "<li>%s: <code>", keys[i]);
        page_text(f, value);
        fputs("</code></li>\n", f);
    }
    if (command) fputs("</ul>\n", f);
    fprintf(f, "<p class=\"small\">Written by qonnx %s.</p>\n</section>\n</main>\n",
            qonnx_version());
    free(command);
}

bool report_page(void *report, FILE *f)
{
    const Report *r = report;
    page_begin(f, base_name(r->sides[1].path), &report_css, &report_js);
    put_first_screen(f, r);
    put_tried(f, r);
    report_picture(f, r);
    report_sheets(f, r);
    put_settings(f, r);
    page_end(f, &report_js);
    return !ferror(f);
}
