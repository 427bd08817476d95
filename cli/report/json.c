/* cli/report/json.c - the report as a JSON object. */
#include "cli/output.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>

static json_t *side_json(const Report *r, const Side *s)
{
    json_t *costs = costs_json(&s->costs);
    json_object_set_new(costs, "memory_bytes",
                        s->memory ? json_integer((json_int_t)s->memory) : json_null());
    json_t *o = json_pack("{so sI sI sI so}", "file", json_text(s->path), "bytes",
                          (json_int_t)s->bytes, "in_integers", (json_int_t)s->placed.integer,
                          "in_float", (json_int_t)s->placed.left.total, "costs", costs);
    scores_json(o, &s->metrics);
    if (!r->args->no_times)
        json_object_set_new(o, "latency_seconds",
                            s->latency.runs ? json_number(s->latency.seconds) : json_null());
    return o;
}

static json_t *remedy_json(const Report *r)
{
    char *why, *option = remedy_option(r, &why);
    json_t *o = json_pack("{so so}", "option", json_text(option), "why", json_text(why));
    free(option);
    free(why);
    return o;
}

/* Channels of the weight. */
static json_t *channels_json(const Sheet *s)
{
    json_t *o = spread_json(&s->spread);
    if (s->spread.count) json_object_set_new(o, "before_quantization", json_boolean(s->before));
    return o;
}

static json_t *values_json(const Sheet *s)
{
    json_t *values = json_array();
    for (const Fact *f = s->facts; f && f < s->facts + s->nfacts; f++)
        json_array_append_new(values, fact_json(f));
    return values;
}

static json_t *sheet_json(const Sheet *s)
{
    char *why, *option = layer_option(s, &why);
    json_t *o = layer_error_json(s->error);
    json_object_set_new(o, "place", json_integer(s->place));
    json_object_set_new(o, "channels", channels_json(s));
    json_object_set_new(o, "values", values_json(s));
    json_object_set_new(o, "option", option ? json_text(option) : json_null());
    json_object_set_new(o, "advice", json_text(why));
    json_object_set_new(o, "gain_in_float_db", isnan(s->gain) ? json_null() : json_number(s->gain));
    free(option);
    free(why);
    return o;
}

static json_t *outputs_json(const Report *r)
{
    json_t *outputs = json_array();
    for (int i = 0; i < r->all.outputs; i++) {
        json_t *o = json_object();
        likeness_json(o, &r->all.likeness[i]);
        json_array_append_new(outputs, o);
    }
    return outputs;
}

json_t *report_json(const Report *r)
{
    json_t *layers = json_array(), *tried = json_array();
    char *command = report_command(r);
    for (int i = 0; i < r->errors.matches.count; i++)
        json_array_append_new(layers, sheet_json(&r->sheets[i]));
    for (const Tried *t = r->tried; t < r->tried + r->ntried; t++)
        json_array_append_new(tried, json_pack("{so so}", "option", json_text(t->option), "sqnr_db",
                                               json_number(t->db)));
    json_t *o = json_pack(
        "{ss sI so so so so so so sI so so}", "verdict", verdict_word(r), "samples",
        (json_int_t)r->all.samples, "before", side_json(r, &r->sides[0]), "after",
        side_json(r, &r->sides[1]), "outputs", outputs_json(r), "worst",
        r->errors.matches.count ? json_text(layer_error_name(r->worst[0]->error)) : json_null(),
        "remedy", remedy_json(r), "tried", tried, "tried_on", (json_int_t)r->judged, "layers",
        layers, "command", command ? json_text(command) : json_null());
    if (r->judged) json_object_set_new(o, "tried_from_db", json_number(r->plain));
    free(command);
    return o;
}
