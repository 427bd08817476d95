/* frontend/data/preprocess.c - a preprocessing as text, read and printed by the table of its
 * fields. See preprocess.h.
 */
#include "frontend/data/preprocess_fields.h"
#include "ir/arena.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings in braces ---------------------------------------------------------------------- */

static bool bad_setting(const Reader *r, const Field *f, const char *text)
{
    Line known = {.length = 0};
    for (const Setting *s = f->settings; s && s->name; s++) {
        line_add(&known, "%s%s=", s == f->settings ? "" : ", ", s->name);
        for (int i = 0; s->word && s->word(i); i++)
            line_add(&known, "%s%s", i ? "|" : "", s->word(i));
        if (!s->word) line_add(&known, "N");
    }
    return qonnx_fail(r->cx, NULL, "%s: %s is '%s': '%s' is none of its settings; has %s",
                      r->where, r->field, r->value, text, f->settings ? known.text : "none");
}

static bool is_whole(const Setting *s) { return s->word || s->least || s->most; }

static bool read_setting(Reader *r, const Field *f, char *text)
{
    size_t n = strcspn(text, "=");
    const Setting *s = f->settings;
    while (s && s->name && (strlen(s->name) != n || strncmp(s->name, text, n))) s++;
    if (!s || !s->name || !text[n]) return bad_setting(r, f, text);
    const char *value = text + n + 1;
    char *field = (char *)r->to + s->offset;
    double real;
    int whole;
    if (!is_whole(s)) {
        if (!read_number(value, &real) || real <= 0) return bad_setting(r, f, text);
        memcpy(field, &real, sizeof real);
        return true;
    }
    if (!(s->word ? read_word(value, s->word, &whole)
                  : read_int(value, s->least, s->most, &whole)))
        return bad_setting(r, f, text);
    memcpy(field, &whole, sizeof whole);
    return true;
}

static void add_settings(Line *t, const Field *f, const Preprocess *p)
{
    bool open = false;
    for (const Setting *s = f->settings; s && s->name; s++) {
        const char *field = (const char *)p + s->offset;
        const char *other = (const char *)&preprocess_default + s->offset;
        if (!memcmp(field, other, is_whole(s) ? sizeof(int) : sizeof(double))) continue;
        line_add(t, "%s%s=", open ? "," : "{", s->name);
        open = true;
        int n;
        double real;
        memcpy(&n, field, sizeof n);
        if (s->word) line_add(t, "%s", s->word(n));
        else if (is_whole(s)) line_add(t, "%d", n);
        else line_double(t, (memcpy(&real, field, sizeof real), real));
    }
    if (open) line_add(t, "}");
}

/* ---- the whole ------------------------------------------------------------------------------- */

const char *preprocess_field(int i)
{
    const Field *f = field_at(i);
    return f ? f->name : NULL;
}

static const Field *field_of(const char *name)
{
    const Field *f;
    for (int i = 0; (f = field_at(i)); i++)
        if (!strcmp(f->name, name)) return f;
    return NULL;
}

/* Reads what stands before the braces. */
static bool read_head(Reader *r, const Field *f, const char *head)
{
    int word;
    char *field = (char *)r->to + f->offset;
    if (!f->word) return f->read(r, head);
    if (!read_word(head, f->word, &word)) return value_refuse(r);
    if (f->bytes == sizeof(bool)) memcpy(field, &(bool){word != 0}, sizeof(bool));
    else memcpy(field, &word, sizeof word);
    return true;
}

static void print_head(Line *t, const Field *f, const Preprocess *p)
{
    const char *field = (const char *)p + f->offset;
    int word = 0;
    if (!f->word) {
        f->print(t, p);
        return;
    }
    if (f->bytes == sizeof(bool)) word = *(const bool *)field;
    else memcpy(&word, field, sizeof word);
    line_add(t, "%s", f->word(word));
}

/* Reads "HEAD{NAME=VALUE,...}", of which blanks have been taken out, into its field. */
static bool read_field(Reader *r, const Field *f, char *text)
{
    size_t n = strlen(text);
    char *brace = strchr(text, '{');
    if (brace && text[n - 1] != '}') return value_refuse(r);
    if (brace) text[n - 1] = *brace = 0;
    memcpy((char *)r->to + f->offset, (const char *)&preprocess_default + f->offset, f->bytes);
    if (!read_head(r, f, text)) return false;
    for (char *at = brace ? brace + 1 : text + n; *at;) {
        size_t length = strcspn(at, ",");
        char *next = at + length + (at[length] != 0);
        at[length] = 0;
        if (!read_setting(r, f, at)) return false;
        at = next;
    }
    return true;
}

static bool set_preset(qonnx_ctx *cx, Preprocess *p, const char *where, const char *name)
{
    Line known = {.length = 0};
    const Preset *preset;
    for (int i = 0; (preset = preset_at(i)); i++) {
        if (!strcmp(preset->name, name)) return preprocess_parse(cx, where, preset->text, p);
        line_add(&known, "%s%s", i ? ", " : "", preset->name);
    }
    return qonnx_fail(cx, NULL, "%s: there is no preset '%s'; there are %s", where, name,
                      known.text);
}

bool preprocess_set(qonnx_ctx *cx, Preprocess *p, const char *where, const char *name,
                    const char *value)
{
    char text[VALUE_MAX];
    size_t n = 0;
    if (!strcmp(name, "preset")) return set_preset(cx, p, where, value);
    const Field *f = field_of(name);
    if (!f) return qonnx_fail(cx, NULL, "%s: there is no field '%.40s'", where, name);
    for (const char *at = value; *at && n < sizeof text; at++)
        if (!isspace((unsigned char)*at)) text[n++] = *at;
    if (!n || n == sizeof text)
        return qonnx_fail(cx, NULL, "%s: %s is %s; wants %s", where, name,
                          n ? "too long" : "empty", f->wants);
    text[n] = 0;
    Reader r = {cx, where, name, value, f->wants, p};
    return read_field(&r, f, text);
}

bool preprocess_parse(qonnx_ctx *cx, const char *where, const char *text, Preprocess *p)
{
    *p = preprocess_default;
    char *copy = xstrdup(text), *rest = copy, *word;
    bool good = true;
    while (good && (word = strtok_r(rest, " ", &rest))) {
        char *value = strchr(word, '=');
        if (value) *value++ = 0;
        good = value ? preprocess_set(cx, p, where, word, value)
                     : qonnx_fail(cx, NULL, "%s: '%.40s' is no NAME=VALUE", where, word);
    }
    free(copy);
    return good && preprocess_check(cx, where, p);
}

bool preprocess_check(qonnx_ctx *cx, const char *where, const Preprocess *p)
{
    const ResizeField *f = &p->resize;
    Line known = {.length = 0};
    if (resize_known(f->engine, f->filter)) return true;
    for (ResizeFilter i = 0; resize_filter_name(i); i++)
        if (resize_known(f->engine, i))
            line_add(&known, "%s%s", known.length ? ", " : "", resize_filter_name(i));
    return qonnx_fail(cx, NULL, "%s: resize: engine %s has no filter %s; has %s", where,
                      resize_engine_name(f->engine), resize_filter_name(f->filter), known.text);
}

char *preprocess_value(const Preprocess *p, int i)
{
    const Field *f = field_at(i);
    Line mine = {.length = 0}, other = {.length = 0};
    print_head(&mine, f, p);
    add_settings(&mine, f, p);
    print_head(&other, f, &preprocess_default);
    return xstrdup(strcmp(mine.text, other.text) ? mine.text : "");
}

char *preprocess_text(const Preprocess *p)
{
    char *text = xstrdup("");
    size_t length = 0;
    const char *name;
    for (int i = 0; (name = preprocess_field(i)); i++) {
        char *value = preprocess_value(p, i);
        size_t more = strlen(name) + strlen(value) + 2;
        if (*value) {
            text = xrealloc(text, length + more + 1);
            length += (size_t)snprintf(text + length, more + 1, "%s%s=%s", length ? " " : "", name,
                                       value);
        }
        free(value);
    }
    return text;
}
