/* cli/facts_json.c - what facts.h knows of values, as JSON. */
#include "facts.h"
#include "output.h"

static json_t *laid_json(const Laid *l, bool seen)
{
    if (l->dtype == QONNX_UNDEFINED) return json_null();
    return json_pack("{ss so so si si so so so}", "type", qonnx_dtype_name(l->dtype), "scale",
                     json_number(l->scale), "least_scale", json_number(l->least), "scales",
                     l->scales, "zero_point", l->zero_point, "lo", json_number(l->lo), "hi",
                     json_number(l->hi), "clipped", seen ? json_number(l->clipped) : json_null());
}

static json_t *seen_json(const qonnx_histogram *h)
{
    if (!h) return json_null();
    return json_pack("{sI sI sI so so}", "values", (json_int_t)h->count, "nan", (json_int_t)h->nan,
                     "infinite", (json_int_t)h->inf, "min", json_number(h->min), "max",
                     json_number(h->max));
}

json_t *spread_json(const Spread *s)
{
    if (!s->count) return json_null();
    return json_pack("{si si so so so si si}", "axis", s->axis, "count", s->count, "largest",
                     json_number(s->largest), "median", json_number(s->median), "smallest",
                     json_number(s->smallest), "widest", s->widest, "narrowest", s->narrowest);
}

json_t *fact_json(const Fact *f)
{
    json_t *observers = json_array();
    for (const Choice *c = f->choices; c < f->choices + f->nchoices; c++) {
        json_t *o = laid_json(&c->laid, true);
        json_object_set_new(o, "name", json_text(c->observer));
        json_object_set_new(o, "default", json_boolean(c->usual));
        json_object_set_new(o, "used", json_boolean(c->used));
        json_array_append_new(observers, o);
    }
    return json_pack("{ss si so so so so so}", "role", role_word(f->role), "place", f->place,
                     "name", json_text(f->name), "integers", laid_json(&f->laid, f->seen), "seen",
                     seen_json(f->seen), "observers", observers, "channels",
                     spread_json(&f->spread));
}
