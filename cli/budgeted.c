/* cli/budgeted.c - what a budget has chosen, see budget.h. */
#include "budget.h"
#include "compare.h"
#include "output.h"
#include "progress.h"
#include <math.h>
#include <stdlib.h>

const char *mix_wide_text(char *out, const Budgeted *b, const Mix *c)
{
    *out = 0;
    if (b->mixed) snprintf(out, WIDE_ROOM, ", %d at 16 bits", c->wide);
    return out;
}

static void names_free(char **names)
{
    for (int i = 0; names && names[i]; i++) free(names[i]);
    free(names);
}

void budgeted_free(Budgeted *b)
{
    names_free(b->kept);
    names_free(b->wide);
    free(b->choices);
    *b = (Budgeted){0};
}

/* ---- the summary ----------------------------------------------------------------------------- */

void budgeted_print(const Budgeted *b)
{
    char drop[40] = "", name[NAME_ROOM], db[SQNR_ROOM], size[SIZE_ROOM], wide[WIDE_ROOM];
    if (!b->samples) return;
    for (int i = 0; i < b->count; i++) {
        const Mix *c = &b->choices[i];
        if (!isnan(c->drop)) snprintf(drop, sizeof drop, ", %.2f points of top-1 lost", c->drop);
        print_line("%s %d layers in float, %.1f %% of the multiplications%s: %s, %s%s%s",
                   i ? "            " : "budget      ", c->layers, 100 * c->macs,
                   mix_wide_text(wide, b, c), size_text(size, c->bytes), decibels_text(db, c->sqnr),
                   drop, i == b->taken ? ", taken" : "");
    }
    for (int i = 0; b->kept[i]; i++)
        print_line("%s %s", i ? "            " : "kept float  ",
                   clean_name(name, sizeof name, b->kept[i]));
    for (int i = 0; b->wide[i]; i++)
        print_line("%s %s", i ? "            " : "at 16 bits  ",
                   clean_name(name, sizeof name, b->wide[i]));
}

json_t *budgeted_json(const Budgeted *b)
{
    if (!b->samples) return json_null();
    json_t *choices = json_array(), *kept = json_array(), *wide = json_array();
    for (int i = 0; i < b->count; i++) {
        const Mix *c = &b->choices[i];
        json_array_append_new(choices,
                              json_pack("{si so si so sI so so sb}", "layers", c->layers, "macs",
                                        json_number(c->macs), "layers_16", c->wide, "macs_16",
                                        json_number(c->macs16), "bytes", (json_int_t)c->bytes,
                                        "sqnr_db", json_number(c->sqnr), "drop",
                                        json_number(c->drop), "taken", i == b->taken));
    }
    for (int i = 0; b->kept[i]; i++) json_array_append_new(kept, json_text(b->kept[i]));
    for (int i = 0; b->wide[i]; i++) json_array_append_new(wide, json_text(b->wide[i]));
    return json_pack("{sI so so so}", "samples", (json_int_t)b->samples, "choices", choices,
                     "kept_float", kept, "at_16_bits", wide);
}
