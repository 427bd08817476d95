/* cli/report/words.c - the figures of a report in words: the verdict, and what helps. */
#include "cli/judge.h"
#include "cli/progress.h"
#include "report.h"
#include <qonnx/qonnx.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* As asprintf has it. */
static char *text_of(const char *fmt, ...) QONNX_PRINTF(1, 2);
static char *text_of(const char *fmt, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, fmt);
    if (vasprintf(&text, fmt, list) < 0) needed(NULL);
    va_end(list);
    return text;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

const char *verdict_word(const Report *r)
{
    static const char *const words[] = {"Good", "Fair", "Damaged"};
    return words[r->verdict];
}

char *verdict_text(const Report *r)
{
    static const char *const meanings[] = {
        "the outputs are near the float model's",
        "the outputs are not near the float model's, but its classes are",
        "the outputs are too far from the float model's to be used as they are"};
    char ratio[SQNR_ROOM];
    if (r->output < 0) return text_of("There is no output of floats to compare.");
    const Likeness *l = &r->all.likeness[r->output];
    if (!l->paired || r->verdict == VERDICT_GOOD)
        return text_of("%s: %s: an SQNR of %s.", verdict_word(r), meanings[r->verdict],
                       sqnr_text(ratio, l));
    return text_of("%s: %s: an SQNR of %s, and the same class for %.4g %% of the samples.",
                   verdict_word(r), meanings[r->verdict], sqnr_text(ratio, l),
                   100 * (double)l->agreeing / (double)l->paired);
}

/* ---- options --------------------------------------------------------------------------------- */

/* Writes ' WORD', in quotes for a shell where it needs some. */
static void put_word(FILE *f, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,+%@";
    const bool quoted = !*word || strspn(word, plain) != strlen(word);
    fputs(quoted ? " '" : " ", f);
    for (const char *p = word; *p; p++)
        if (*p == '\'') fputs("'\\''", f);
        else putc(*p, f);
    if (quoted) putc('\'', f);
}

char *exclude_option(const Sheet *s)
{
    char *pattern = NULL, *option = NULL;
    size_t size;
    FILE *f = needed(open_memstream(&pattern, &size));
    putc('^', f);
    for (const char *p = layer_error_name(s->error); *p; p++) {
        if (strchr("\\^$.[]|()*+?{}", *p)) putc('\\', f);
        putc(*p, f);
    }
    putc('$', f);
    fclose(f);
    f = needed(open_memstream(&option, &size));
    fputs("--exclude", f);
    put_word(f, needed(pattern));
    fclose(f);
    free(pattern);
    return needed(option);
}

/* ---- what helps ------------------------------------------------------------------------------ */

/* The sheet that gains most where it alone stays in float; NULL: none gains much. */
static const Sheet *best_alone(const Report *r)
{
    const Sheet *best = NULL;
    for (int i = 0; i < r->errors.matches.count; i++)
        if (r->sheets[i].gain >= DEAR && (!best || r->sheets[i].gain > best->gain))
            best = &r->sheets[i];
    return best;
}

/* The same without having tried it: what the self-check would say. */
static char *remedy_untried(const Report *r, char **why)
{
    const Sheet *worst = r->errors.matches.count ? r->worst[0] : NULL;
    const bool made = r->passes.count;
    const Remedy remedy = made ? passes_remedy(&r->passes) : REMEDY_EXCLUDE;
    if (remedy == REMEDY_CHANNELS ||
        (!made && worst && worst->weight && worst->weight->laid.scales == 1)) {
        *why = text_of("it gives each channel of a weight a scale of its own");
        return text_of("--weights per-channel");
    }
    if (remedy == REMEDY_BIAS) {
        *why = text_of("biases are not corrected: leave out --no-correct-bias");
        return text_of("correct-bias");
    }
    if (remedy == REMEDY_OBSERVER) {
        *why = text_of("it is safer than the observer that chose the ranges");
        return text_of("--observer mse");
    }
    if (worst) {
        *why = text_of("it keeps that layer in float; --max-drop 1%% chooses as few layers as it "
                       "takes");
        return exclude_option(worst);
    }
    *why = text_of("it tries what brings the result nearer");
    return text_of("--optimize");
}

char *remedy_option(const Report *r, char **why)
{
    char from[SQNR_ROOM], to[SQNR_ROOM];
    const Sheet *alone = best_alone(r);
    const Tried *best = NULL;
    for (const Tried *t = r->tried; t < r->tried + r->ntried; t++) /* all together stand last */
        if (t->db >= (best ? best->db : r->plain) + (best ? FREE : DEAR)) best = t;
    if (best && (!alone || best->db >= r->plain + alone->gain)) {
        *why = text_of("%s: from %s to %s on %zu samples", best->why, decibels_text(from, r->plain),
                       decibels_text(to, best->db), r->judged);
        return text_of("%s", best->option);
    }
    if (alone) {
        *why = text_of("it alone in float brings the outputs from %s to %s on %zu samples",
                       decibels_text(from, r->plain), decibels_text(to, r->plain + alone->gain),
                       r->judged);
        return exclude_option(alone);
    }
    if (!r->judged) return remedy_untried(r, why);
    *why = text_of("nothing that was tried gains %.1f dB; this tries more, and takes longer", DEAR);
    return text_of("--optimize");
}

/* ---- a layer --------------------------------------------------------------------------------- */

/* A layer's weight is worth scales of its channels where the least has few steps. */
static bool wants_channels(const Sheet *s)
{
    return s->weight && s->weight->laid.scales == 1 && s->spread.count > 1 &&
           s->spread.median > 0 && s->spread.largest >= 2 * s->spread.median;
}

/* The observer that clips least of what is clipped much; NULL: little is. */
static const Choice *wider(const Sheet *s)
{
    const Fact *f = s->output;
    const Choice *best = NULL;
    for (const Choice *c = f ? f->choices : NULL; c && c < f->choices + f->nchoices; c++)
        if (!best || c->laid.clipped < best->laid.clipped) best = c;
    const bool much = f && f->seen && f->laid.scales == 1 && f->laid.clipped > 0.01;
    return much && best && best->laid.clipped < f->laid.clipped / 4 ? best : NULL;
}

char *layer_option(const Sheet *s, char **why)
{
    if (!strcmp(layer_error_runs(s->error), "float")) {
        *why = text_of("it runs in float: its error is that of its operands' integers");
        return NULL;
    }
    if (wants_channels(s)) {
        *why = text_of("its weight has one scale for all of its channels");
        return text_of("--weights per-channel");
    }
    const Choice *other = wider(s);
    if (other) {
        *why = text_of("%.3g %% of its output is clipped", 100 * s->output->laid.clipped);
        return text_of("--observer %s", other->observer);
    }
    if (!isnan(s->gain) && s->gain < DEAR) {
        *why = text_of("the outputs gain %.2f dB where it stays in float: not worth it", s->gain);
        return NULL;
    }
    if (!s->found || !s->found->heavy) {
        *why = text_of("integers of 16 bits are finer, where the target has them");
        return text_of("--mixed");
    }
    *why = text_of("it then stays in float");
    return exclude_option(s);
}

char *spread_text(const Sheet *s)
{
    if (s->spread.count < 2 || !(s->spread.median > 0)) return text_of("no channels to compare");
    return text_of("the largest of its %d channels (channel %d) is %.3g times the median",
                   s->spread.count, s->spread.widest, s->spread.largest / s->spread.median);
}

int layer_grade(const Sheet *s)
{
    const LayerError *e = s->error;
    const Likeness *l = likeness_known(&e->own) ? &e->own : &e->all;
    if (!likeness_known(l)) return -1;
    const double db = likeness_sqnr(l);
    return db >= 35 ? 0 : db >= 28 ? 1 : db >= 22 ? 2 : db >= 15 ? 3 : 4;
}

/* ---- how it was made ------------------------------------------------------------------------- */

/* The options that a preprocessing is, NAME=VALUE parted by blanks; "dct" has none. */
static void put_pictures(FILE *f, const char *fields)
{
    char *copy = needed(strdup(fields)), *rest = copy;
    for (char *field; (field = strtok_r(rest, " ", &rest));) {
        char *equals = strchr(field, '=');
        if (!equals || !strncmp(field, "dct=", 4)) continue;
        *equals = 0;
        if (!strcmp(field, "exif")) fputs(" --no-exif", f);
        else {
            fprintf(f, " --%s", field);
            put_word(f, equals + 1);
        }
    }
    free(copy);
}

char *report_command(const Report *r)
{
    const qonnx_graph *g = r->subject.source;
    const char *pipeline = qonnx_model_metadata(g, "qonnx.pipeline");
    const char *target = qonnx_model_metadata(g, "qonnx.target");
    const char *pictures = qonnx_model_metadata(g, QONNX_PREPROCESS_KEY);
    if (!pipeline) return NULL;
    char *text = NULL;
    size_t size;
    FILE *f = needed(open_memstream(&text, &size));
    fputs("qonnx quantize MODEL --data DATA -o OUT.onnx", f);
    if (target) {
        fputs(" --target", f);
        put_word(f, target);
    }
    if (pictures) put_pictures(f, pictures);
    fputs(" --pipeline", f);
    put_word(f, pipeline);
    fclose(f);
    return needed(text);
}
