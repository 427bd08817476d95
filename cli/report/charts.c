/* cli/report/charts.c - pictures of values: what was seen of one with every observer's thresholds,
 * and the channels of a weight.
 */
#include "cli/page.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDE = 360, LEFT = 66, PLOT = WIDE - LEFT - 6, HIGH = 64, BARS = 96, ROW = 15 };

/* The part of the numbers that a chart shows. */
typedef struct Axis {
    double lo, hi;
} Axis;

static double place(const Axis *a, double x)
{
    const double at = (x - a->lo) / (a->hi - a->lo);
    return LEFT + PLOT * fmin(fmax(at, 0), 1);
}

/* ---- a histogram ----------------------------------------------------------------------------- */

/* What was seen, and the thresholds, as far as they do not make what was seen small. */
static Axis axis_of(const Fact *f)
{
    Axis a = {f->seen->min, f->seen->max};
    const double all = fmax(a.hi - a.lo, 1e-30), lo = a.lo - all / 2, hi = a.hi + all / 2;
    for (int i = -1; i < f->nchoices; i++) {
        const Laid *l = i < 0 ? &f->laid : &f->choices[i].laid;
        if (l->dtype == QONNX_UNDEFINED) continue;
        a.lo = fmax(fmin(a.lo, l->lo), lo);
        a.hi = fmin(fmax(a.hi, l->hi), hi);
    }
    if (!(a.hi > a.lo)) a.hi = a.lo + 1;
    return a;
}

/* Bars as high as the roots of their counts, so that few values show beside many. */
static void put_bars(FILE *f, const qonnx_histogram *h, const Axis *a)
{
    double bars[BARS] = {0}, most = 0;
    const double step = (a->hi - a->lo) / BARS;
    for (int i = 0; i < h->nbins; i++) {
        const qonnx_bin *b = &h->bins[i];
        const double wide = (double)b->hi - b->lo;
        int first = (int)fmax(0, (b->lo - a->lo) / step), last = (int)((b->hi - a->lo) / step);
        if (last >= BARS) last = BARS - 1;
        if (first > last) first = last;
        for (int k = first; k <= last; k++) { /* a bin counts where it lies, in shares */
            const double from = fmax(b->lo, a->lo + k * step),
                         to = fmin(b->hi, a->lo + (k + 1) * step);
            const double share = wide > 0 && last > first ? fmax(to - from, 0) / wide : 1;
            bars[k] += share * (double)b->count;
        }
    }
    for (int k = 0; k < BARS; k++) most = fmax(most, bars[k]);
    fputs("<path class=\"bars\" d=\"", f);
    for (int k = 0; k < BARS; k++)
        if (bars[k] > 0)
            fprintf(f, "M%.1f %dh%.1fv-%.1fh-%.1fz", LEFT + PLOT * k / (double)BARS, HIGH,
                    PLOT / (double)BARS, HIGH * sqrt(bars[k] / most), PLOT / (double)BARS);
    fputs("\"/>", f);
}

/* From the least to the greatest number that the integers stand for. */
static void put_range(FILE *f, const Axis *a, int y, const char *name, const Laid *l, bool mine)
{
    const double from = place(a, l->lo), to = place(a, l->hi);
    fprintf(f, "<g class=\"%s\"><text x=\"0\" y=\"%d\">", mine ? "mine" : "range", y + 4);
    page_text(f, name);
    fprintf(f, "</text><path d=\"M%.1f %dv8M%.1f %dh%.1fM%.1f %dv8\"/>", from, y - 4, from, y,
            to - from, to, y - 4);
    if (mine) fprintf(f, "<path class=\"cut\" d=\"M%.1f 0V%dM%.1f 0V%d\"/>", from, y, to, y);
    fputs("</g>", f);
}

static void put_row(FILE *f, const char *name, const Laid *l)
{
    fputs("<tr><th scope=\"row\">", f);
    page_text(f, name);
    fprintf(f, "</th><td>%.4g</td><td>%.4g</td><td>%.3g %%</td></tr>\n", l->lo, l->hi,
            100 * l->clipped);
}

/* The same as numbers. */
static void put_table(FILE *f, const Fact *fact, const char *used)
{
    fputs(
        "<table class=\"ranges\">\n<tr><th scope=\"col\">thresholds</th><th scope=\"col\">from</th>"
        "<th scope=\"col\">to</th><th scope=\"col\">clipped</th></tr>\n",
        f);
    if (fact->laid.dtype != QONNX_UNDEFINED) put_row(f, "in the file", &fact->laid);
    for (const Choice *c = fact->choices; c < fact->choices + fact->nchoices; c++) {
        char name[64];
        snprintf(name, sizeof name, "%.48s%s", c->observer,
                 used && !strcmp(used, c->observer) ? " (used)" : "");
        put_row(f, name, &c->laid);
    }
    fputs("</table>\n", f);
}

void chart_histogram(FILE *f, const Fact *fact, const char *used)
{
    const Axis a = axis_of(fact);
    const bool laid = fact->laid.dtype != QONNX_UNDEFINED;
    const int rows = fact->nchoices + laid, high = HIGH + 22 + ROW * rows;
    int y = HIGH + 26;
    fprintf(f, "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 %d %d\" aria-label=\"", WIDE, high);
    fprintf(f,
            "Histogram of %llu values from %.4g to %.4g, with thresholds; the table below has them"
            "\">",
            (unsigned long long)fact->seen->count, fact->seen->min, fact->seen->max);
    put_bars(f, fact->seen, &a);
    fprintf(f, "<path class=\"axis\" d=\"M%d %dh%d\"/><text x=\"%d\" y=\"%d\">%.3g</text>", LEFT,
            HIGH, PLOT, LEFT, HIGH + 13, a.lo);
    fprintf(f, "<text class=\"right\" x=\"%d\" y=\"%d\">%.3g</text>", WIDE - 6, HIGH + 13, a.hi);
    if (a.lo < 0 && a.hi > 0 && place(&a, 0) > LEFT + 50 && place(&a, 0) < WIDE - 60)
        fprintf(f, "<text class=\"middle\" x=\"%.1f\" y=\"%d\">0</text>", place(&a, 0), HIGH + 13);
    if (laid) put_range(f, &a, y, "in the file", &fact->laid, true);
    for (int i = 0; i < fact->nchoices; i++)
        put_range(f, &a, y + ROW * (i + laid), fact->choices[i].observer, &fact->choices[i].laid,
                  false);
    fputs("</svg>\n", f);
    put_table(f, fact, used);
}

/* ---- channels -------------------------------------------------------------------------------- */

void chart_channels(FILE *f, const Sheet *s)
{
    enum { MOST = 120 };
    const int count = s->spread.count, columns = count < MOST ? count : MOST;
    const double each = (double)PLOT / columns, most = s->spread.largest;
    if (count < 2 || !(most > 0)) return;
    fprintf(f, "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 %d %d\" aria-label=\"", WIDE,
            HIGH + 18);
    fprintf(f,
            "The largest absolute value of each of %d channels: up to %.4g, channel %d; median "
            "%.4g; least %.4g, channel %d\">",
            count, most, s->spread.widest, s->spread.median, s->spread.smallest,
            s->spread.narrowest);
    fputs("<path class=\"bars\" d=\"", f);
    for (int k = 0; k < columns; k++) { /* of several channels the largest */
        double high = 0;
        for (int64_t i = (int64_t)k * count / columns; i < (int64_t)(k + 1) * count / columns; i++)
            high = fmax(high, s->channels[i]);
        fprintf(f, "M%.1f %dh%.1fv-%.1fh-%.1fz", LEFT + k * each, HIGH, each * 0.8,
                HIGH * high / most, each * 0.8);
    }
    const double median = HIGH - HIGH * s->spread.median / most;
    fprintf(
        f,
        "\"/><path class=\"axis\" d=\"M%d %dh%d\"/><g class=\"mine\"><path class=\"cut\" d=\"M%d "
        "%.1fh%d\"/><text x=\"0\" y=\"%.1f\">median</text></g>",
        LEFT, HIGH, PLOT, LEFT, median, PLOT, fmax(median + 4, 22));
    fprintf(f, "<text x=\"0\" y=\"9\">%.3g</text><text x=\"%d\" y=\"%d\">channel 0</text>", most,
            LEFT, HIGH + 13);
    fprintf(f, "<text class=\"right\" x=\"%d\" y=\"%d\">%d</text></svg>\n", WIDE - 6, HIGH + 13,
            count - 1);
}
