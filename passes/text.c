/* passes/text.c - see text.h. */
#include "passes/text.h"
#include "ir/ir.h"
#include "passes/registry.h"
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t\n"; /* allowed around names and values */

/* ---- braces and quotes ----------------------------------------------------------------------- */

/* A reader of the text, character by character. */
typedef struct Scan {
    const char *at; /* the next character */
    int depth;      /* open braces; negative behind one that closes nothing */
    bool quoted;    /* inside quotes */
    bool value;     /* a value may begin here: a quote opens nowhere else */
} Scan;

/* What a backslash inside quotes stands for: 2 when it takes the next character with it, else 1. */
static size_t escape_length(const char *at)
{
    return *at == '\\' && (at[1] == '"' || at[1] == '\\') ? 2 : 1;
}

static void scan_step(Scan *s)
{
    char c = *s->at;
    bool begins = !s->quoted && c == '"' && s->value, ends = s->quoted && c == '"';
    size_t n = s->quoted ? escape_length(s->at) : 1;
    if (!s->quoted) {
        s->depth += (c == '{') - (c == '}');
        s->value = c == '=' || (s->value && strchr(blanks, c));
    }
    s->quoted = begins || (s->quoted && !ends);
    s->at += n;
}

size_t qonnx_pipeline_span(const char *text, const char *stop)
{
    Scan s = {.at = text};
    while (*s.at && (s.quoted || s.depth > 0 || !strchr(stop, *s.at))) scan_step(&s);
    return (size_t)(s.at - text);
}

char *qonnx_pipeline_quote(const char *value)
{
    const size_t length = strlen(value);
    const bool blank = length && (strchr(blanks, value[0]) || strchr(blanks, value[length - 1]));
    if (!blank && !value[strcspn(value, ",\"{}")]) return xstrdup(value);
    char *out = xcalloc(length + 2, 2), *end = out;
    *end++ = '"';
    for (const char *at = value; *at; at++) {
        if (*at == '"' || *at == '\\') *end++ = '\\';
        *end++ = *at;
    }
    *end = '"';
    return out;
}

/* Whether all that is opened is closed. */
static bool balanced(Ctx *cx, const char *text)
{
    Scan s = {.at = text};
    while (*s.at && s.depth >= 0) scan_step(&s);
    const char *what = s.quoted      ? "a quote (\") that is not closed"
                       : s.depth > 0 ? "a brace ({) that is not closed"
                                     : "a brace (}) that closes nothing";
    return (!s.quoted && !s.depth) || qonnx_fail(cx, NULL, "pipeline: '%s' has %s", text, what);
}

/* ---- one pass -------------------------------------------------------------------------------- */

static char *trim(char *s)
{
    s += strspn(s, blanks);
    for (char *e = s + strlen(s); e > s && strchr(blanks, e[-1]);) *--e = 0;
    return s;
}

/* Takes the quotes off a value, in place; false when something stands behind them. */
static bool unquote(char *value)
{
    if (*value != '"') return true;
    const char *from = value + 1;
    char *to = value;
    while (*from && *from != '"') {
        from += escape_length(from) - 1;
        *to++ = *from++;
    }
    bool good = *from == '"' && !from[1];
    *to = 0;
    return good;
}

/* Reads "name=value" into the item; the text is changed. */
static bool parse_setting(Ctx *cx, char *text, const char *all, Item *item)
{
    size_t eq = qonnx_pipeline_span(text, "=");
    if (!text[eq])
        return qonnx_fail(cx, NULL, "pipeline: '%s' in '%s' is no name=value", trim(text), all);
    text[eq] = 0;
    char *name = trim(text), *value = trim(text + eq + 1);
    if (item->nsetting == MAX_SETTINGS)
        return qonnx_fail(cx, NULL, "pipeline: '%s' has more than %d options", all, MAX_SETTINGS);
    if (!unquote(value))
        return qonnx_fail(cx, NULL,
                          "pipeline: '%s': the value of '%s' goes on behind its closing quote; "
                          "write \\\" for a quote inside it",
                          all, name);
    item->settings[item->nsetting++] = (Setting){name, value};
    return true;
}

/* Reads what stands behind the opening brace. */
static bool parse_settings(Ctx *cx, char *s, const char *all, Item *item)
{
    size_t close = qonnx_pipeline_span(s, "}");
    if (s[close + 1])
        return qonnx_fail(cx, NULL, "pipeline: '%s' goes on behind its closing brace; put a comma "
                                    "between passes",
                          all);
    s[close] = 0;
    bool good = true;
    while (good && *s) {
        size_t n = qonnx_pipeline_span(s, ",");
        char *next = s + n + (s[n] != 0);
        s[n] = 0;
        good = parse_setting(cx, s, all, item);
        s = next;
    }
    return good;
}

bool item_parse(Ctx *cx, const char *text, size_t length, Item *item)
{
    *item = (Item){.text = xstrndup(text, length), .name = ""};
    char *whole = xstrdup(trim(item->text)); /* for messages */
    char *s = trim(item->text);
    item->blank = !*s;
    bool good = balanced(cx, s);
    size_t n = qonnx_pipeline_span(s, "{");
    bool settings = good && s[n] == '{';
    s[n] = 0;
    item->name = trim(s);
    if (settings) good = parse_settings(cx, s + n + 1, whole, item);
    free(whole);
    return good;
}

void item_free(Item *item)
{
    free(item->text);
    item->text = NULL;
}

const char *item_setting(const Item *item, const char *option)
{
    for (int i = item->nsetting - 1; i >= 0; i--)
        if (!strcmp(item->settings[i].name, option)) return item->settings[i].value;
    return NULL;
}

char *qonnx_pipeline_setting(const char *pass, const char *option)
{
    Ctx *cx = ctx_quiet();
    Item item;
    const char *value = NULL;
    if (item_parse(cx, pass, strlen(pass), &item)) {
        value = item_setting(&item, option);
        const qonnx_pass *p = value ? NULL : registry_pass(cx, item.name);
        for (const qonnx_option *o = p ? p->options : NULL; o && o->name; o++)
            if (!strcmp(o->name, option)) value = o->value;
    }
    char *copy = value ? xstrdup(value) : NULL;
    item_free(&item);
    qonnx_ctx_free(cx);
    return copy;
}
