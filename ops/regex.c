/* ops/regex.c - see regex.h. A pattern becomes a tree, the tree a program of states, and a text is
 * matched by all states that can be reached at once.
 */
#include "ops/regex.h"
#include <string.h>

enum {
    DEEPEST = 100,        /* groups in each other */
    MOST_STATES = 10000,  /* of a program */
    MOST_STEPS = 1000000, /* of making it: what is repeated may be empty */
    MOST_REPEATS = 1000,  /* that RE2 takes */
    LAST = 0x10ffff
};

/* ---- characters ------------------------------------------------------------------------------ */

bool utf8_read(const char **at, const char *end, uint32_t *c)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const uint8_t *p = (const uint8_t *)*at, *stop = (const uint8_t *)end;
    if (p == stop) return false;
    int more = *p < 0x80 ? 0 : *p >> 5 == 6 ? 1 : *p >> 4 == 14 ? 2 : *p >> 3 == 30 ? 3 : -1;
    if (more < 0 || stop - p <= more) return false;
    *c = more ? *p & (0x3fu >> more) : *p;
    for (int i = 1; i <= more; i++) {
        if (p[i] >> 6 != 2) return false;
        *c = *c << 6 | (p[i] & 0x3f);
    }
    *at = (const char *)p + more + 1;
    return *c >= least[more] && *c <= LAST && (*c < 0xd800 || *c > 0xdfff);
}

typedef struct Range {
    uint32_t lo, hi;
} Range;

/* A set of characters. */
typedef struct Set {
    Range *ranges; /* [count] */
    int count, cap;
    bool negated;
} Set;

/* ---- the tree -------------------------------------------------------------------------------- */

typedef enum Kind { EMPTY, SET, JOIN, CHOICE, REPEAT, BEGIN, END, EDGE, NO_EDGE } Kind;

typedef struct Tree {
    Kind kind;
    Set set;              /* of SET */
    struct Tree *a, *b;   /* of JOIN and CHOICE; a alone of REPEAT */
    int least, most;      /* of REPEAT; most -1: no end */
} Tree;

typedef struct Parser {
    Arena *arena;
    Why *why;
    const char *at, *end;
    int depth;
} Parser;

static Tree *tree(Parser *p, Kind kind, Tree *a, Tree *b)
{
    Tree *t = arena_alloc(p->arena, sizeof *t);
    *t = (Tree){.kind = kind, .a = a, .b = b};
    return t;
}

static void add(Parser *p, Set *s, uint32_t lo, uint32_t hi)
{
    s->ranges = arena_grow(p->arena, s->ranges, s->count, &s->cap, sizeof *s->ranges);
    s->ranges[s->count++] = (Range){lo, hi};
}

/* Adds what is in ranges of bytes, "AZaz", or what is not. */
static void add_class(Parser *p, Set *s, const char *ranges, bool negated)
{
    uint32_t from = 0;
    for (; *ranges; ranges += 2) {
        uint32_t lo = (uint8_t)ranges[0], hi = (uint8_t)ranges[1];
        if (!negated) add(p, s, lo, hi);
        else if (lo > from) add(p, s, from, lo - 1);
        from = hi + 1;
    }
    if (negated) add(p, s, from, LAST);
}

/* \d \w \s, as RE2 has them, in the order of characters. */
static const char *perl_class(char c)
{
    return c == 'd' ? "09" : c == 'w' ? "09AZ__az" : c == 's' ? "\t\n\f\r  " : NULL;
}

static const struct {
    const char *name, *ranges;
} classes[] = {
    {"alnum", "09AZaz"},   {"alpha", "AZaz"},      {"blank", "\t\t  "},     {"digit", "09"},
    {"graph", "!~"},       {"lower", "az"},        {"print", " ~"},         {"punct", "!/:@[`{~"},
    {"space", "\t\r  "},   {"upper", "AZ"},        {"word", "09AZ__az"},    {"xdigit", "09AFaf"},
};

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Behind "\x": two digits, or some in braces. */
static bool read_hex(Parser *p, uint32_t *c)
{
    bool braces = p->at < p->end && *p->at == '{';
    int count = 0;
    p->at += braces;
    for (*c = 0; p->at < p->end && hex(*p->at) >= 0 && count < (braces ? 6 : 2); count++)
        *c = *c << 4 | (uint32_t)hex(*p->at++);
    bool closed = !braces || (p->at < p->end && *p->at == '}');
    p->at += braces && closed;
    return (closed && count >= (braces ? 1 : 2) && *c <= LAST) ||
           why_not(p->why, "\\x wants two digits, or digits in braces");
}

/* Behind a backslash: one character. */
static bool read_escape(Parser *p, uint32_t *c)
{
    static const char letters[] = "tnrfva", codes[] = "\t\n\r\f\v\a";
    if (p->at == p->end) return why_not(p->why, "it ends in a backslash");
    char e = *p->at;
    const char *letter = e ? strchr(letters, e) : NULL;
    bool plain = e > ' ' && e < 127 && hex(e) < 0 && !((e | 32) >= 'a' && (e | 32) <= 'z');
    if (letter || plain) {
        *c = (uint8_t)(letter ? codes[letter - letters] : e);
        p->at++;
        return true;
    }
    if (e == 'x') return p->at++, read_hex(p, c);
    return why_not(p->why, "\\%c is not known", e >= ' ' && e < 127 ? e : '?');
}

static bool read_character(Parser *p, uint32_t *c)
{
    return utf8_read(&p->at, p->end, c) || why_not(p->why, "it is no UTF-8");
}

/* "[:alpha:]" within brackets, as far as it stands there. */
static bool named_class(Parser *p, Set *s, bool *found)
{
    *found = p->end - p->at > 2 && p->at[0] == '[' && p->at[1] == ':';
    if (!*found) return true;
    bool negated = p->at[2] == '^';
    const char *name = p->at + 2 + negated;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        size_t n = strlen(classes[i].name);
        if ((size_t)(p->end - name) < n + 2 || memcmp(name, classes[i].name, n) ||
            memcmp(name + n, ":]", 2))
            continue;
        add_class(p, s, classes[i].ranges, negated);
        p->at = name + n + 2;
        return true;
    }
    return why_not(p->why, "a class [:...:] is not known");
}

/* One character of a class, or \d and the like: *whole. */
static bool class_item(Parser *p, Set *s, uint32_t *c, bool *whole)
{
    if (!named_class(p, s, whole)) return false;
    if (*whole) return true;
    if (*p->at != '\\') return read_character(p, c);
    p->at++;
    const char *ranges = p->at < p->end ? perl_class((char)(*p->at | 32)) : NULL;
    *whole = ranges != NULL;
    if (!ranges) return read_escape(p, c);
    add_class(p, s, ranges, *p->at++ < 'a');
    return true;
}

/* Behind "[". */
static Tree *read_class(Parser *p)
{
    Tree *t = tree(p, SET, NULL, NULL);
    if (p->at < p->end && *p->at == '^') p->at++, t->set.negated = true;
    for (bool first = true; p->at < p->end && (first || *p->at != ']'); first = false) {
        uint32_t lo, hi;
        bool whole, range;
        if (!class_item(p, &t->set, &lo, &whole)) return NULL;
        if (whole) continue;
        range = p->end - p->at > 1 && p->at[0] == '-' && p->at[1] != ']';
        hi = lo;
        if (range && (p->at++, !class_item(p, &t->set, &hi, &whole))) return NULL;
        if ((range && whole) || hi < lo) return why_not(p->why, "a range in [...] is none"), NULL;
        add(p, &t->set, lo, hi);
    }
    if (p->at == p->end) return why_not(p->why, "a [ is not closed"), NULL;
    p->at++;
    return t;
}

static Tree *one(Parser *p, uint32_t c)
{
    Tree *t = tree(p, SET, NULL, NULL);
    add(p, &t->set, c, c);
    return t;
}

static Tree *read_choice(Parser *p);

/* Behind "(?": what comes in front of the contents of a group. */
static bool group_head(Parser *p)
{
    if (p->at < p->end && *p->at == ':') return p->at++, true;
    if (p->at < p->end && *p->at == 'P') p->at++;
    const char *close = p->at < p->end && *p->at == '<'
                            ? memchr(p->at, '>', (size_t)(p->end - p->at))
                            : NULL;
    bool named = close && close > p->at + 1 && p->at[1] != '=' && p->at[1] != '!';
    if (!named) return why_not(p->why, "(?...) is only known as (?:...) and with a name");
    p->at = close + 1;
    return true;
}

static Tree *read_group(Parser *p)
{
    if (++p->depth > DEEPEST) return why_not(p->why, "groups are more than 100 deep"), NULL;
    if (p->at < p->end && *p->at == '?' && (p->at++, !group_head(p))) return NULL;
    Tree *t = read_choice(p);
    if (t && p->at == p->end) return why_not(p->why, "a ( is not closed"), NULL;
    p->at++;
    p->depth--;
    return t;
}

static Tree *read_backslash(Parser *p)
{
    uint32_t c;
    char e = p->at < p->end ? *p->at : 0;
    const char *ranges = perl_class((char)(e | 32));
    if (e && ranges) {
        Tree *t = tree(p, SET, NULL, NULL);
        add_class(p, &t->set, ranges, *p->at++ < 'a');
        return t;
    }
    Kind kind = e == 'b' ? EDGE : e == 'B' ? NO_EDGE : e == 'A' ? BEGIN : e == 'z' ? END : EMPTY;
    if (kind != EMPTY) return p->at++, tree(p, kind, NULL, NULL);
    return read_escape(p, &c) ? one(p, c) : NULL;
}

static Tree *read_atom(Parser *p)
{
    uint32_t c;
    switch (*p->at) {
    case '(': return p->at++, read_group(p);
    case '[': return p->at++, read_class(p);
    case '\\': return p->at++, read_backslash(p);
    case '^': return p->at++, tree(p, BEGIN, NULL, NULL);
    case '$': return p->at++, tree(p, END, NULL, NULL);
    case '*':
    case '+':
    case '?': return why_not(p->why, "a %c has nothing to repeat", *p->at), NULL;
    case '.': {
        Tree *t = one(p, '\n');
        t->set.negated = true;
        return p->at++, t;
    }
    default: return read_character(p, &c) ? one(p, c) : NULL;
    }
}

/* "{n}", "{n,}" or "{n,m}" at p->at; false: it is something else. */
static bool read_counts(Parser *p, int *least, int *most)
{
    const char *at = p->at + 1;
    int number[2] = {0, -1}, digits = 0;
    for (int i = 0; i < 2; i++) {
        for (digits = 0; at < p->end && *at >= '0' && *at <= '9'; at++, digits++) {
            if (number[i] < 0) number[i] = 0;
            if (number[i] <= MOST_REPEATS) number[i] = 10 * number[i] + (*at - '0');
        }
        if (!i && !digits) return false;
        if (i || at == p->end || *at != ',') {
            if (!i) number[1] = number[0];
            break;
        }
        at++;
    }
    if (at == p->end || *at != '}') return false;
    p->at = at + 1;
    *least = number[0];
    *most = number[1];
    return true;
}

static Tree *read_repeated(Parser *p)
{
    Tree *t = read_atom(p);
    int least, most;
    for (int times = 0; t && p->at < p->end; times++) {
        char c = *p->at;
        if (c == '{' ? !read_counts(p, &least, &most) : c != '*' && c != '+' && c != '?') break;
        if (times) return why_not(p->why, "two repetitions stand behind each other"), NULL;
        if (c != '{') p->at++, least = c == '+', most = c == '?' ? 1 : -1;
        if (least > MOST_REPEATS || most > MOST_REPEATS || (most >= 0 && most < least))
            return why_not(p->why, "a repetition is out of range"), NULL;
        if (p->at < p->end && *p->at == '?') p->at++; /* which of them is taken has no say */
        t = tree(p, REPEAT, t, NULL);
        t->least = least;
        t->most = most;
    }
    return t;
}

static Tree *read_choice(Parser *p)
{
    Tree *all = NULL, *branch = tree(p, EMPTY, NULL, NULL);
    for (; p->at < p->end && *p->at != ')';) {
        if (*p->at == '|') {
            p->at++;
            all = all ? tree(p, CHOICE, all, branch) : branch;
            branch = tree(p, EMPTY, NULL, NULL);
            continue;
        }
        Tree *t = read_repeated(p);
        if (!t) return NULL;
        branch = branch->kind == EMPTY ? t : tree(p, JOIN, branch, t);
    }
    return all ? tree(p, CHOICE, all, branch) : branch;
}

/* ---- the program ----------------------------------------------------------------------------- */

/* A state: it takes a character of a set and goes to `next`, or goes to one or two without. */
typedef struct State {
    Kind kind; /* SET; BEGIN, END, EDGE, NO_EDGE; CHOICE: to both; EMPTY: to next; JOIN: the end */
    const Set *set;
    int next, other;
} State;

struct Regex {
    State *states; /* [count] */
    int count, cap;
    int steps;   /* of making it */
    int *now;    /* [count] states that wait for a character */
    int *then;   /* [count] */
    int *stack;  /* [2 * count + 2] */
    int *marked; /* [count] the position in which a state was reached last, from 1 */
    int position;
};

static int state(Regex *r, Arena *a, Kind kind, int next, int other)
{
    if (r->count >= MOST_STATES) return -1;
    r->states = arena_grow(a, r->states, r->count, &r->cap, sizeof *r->states);
    r->states[r->count] = (State){kind, NULL, next, other};
    return r->count++;
}

static int make(Regex *r, Arena *a, const Tree *t, int next);

/* As many as there must be, and then as many as there may be, made from the last one on. */
static int make_repeated(Regex *r, Arena *a, const Tree *t, int next)
{
    int end = next;
    if (t->most < 0) {
        int loop = state(r, a, CHOICE, next, next);
        int body = loop < 0 ? -1 : make(r, a, t->a, loop);
        if (body < 0) return -1;
        r->states[loop].next = body;
        end = loop;
    }
    for (int i = t->least; i < t->most && end >= 0; i++) {
        int body = make(r, a, t->a, end);
        end = body < 0 ? -1 : state(r, a, CHOICE, body, next);
    }
    for (int i = 0; i < t->least && end >= 0; i++) end = make(r, a, t->a, end);
    return end;
}

/* The state from which the tree is matched and then goes to `next`; -1: there are too many. */
static int make(Regex *r, Arena *a, const Tree *t, int next)
{
    int x;
    if (++r->steps > MOST_STEPS) return -1;
    switch (t->kind) {
    case EMPTY: return next;
    case JOIN:
        x = make(r, a, t->b, next);
        return x < 0 ? -1 : make(r, a, t->a, x);
    case CHOICE: {
        int y = make(r, a, t->b, next);
        x = y < 0 ? -1 : make(r, a, t->a, next);
        return x < 0 ? -1 : state(r, a, CHOICE, x, y);
    }
    case REPEAT: return make_repeated(r, a, t, next);
    default:
        x = state(r, a, t->kind, next, next);
        if (x >= 0) r->states[x].set = &t->set;
        return x;
    }
}

Regex *regex_new(Arena *a, Why *why, const char *pattern, size_t bytes)
{
    Parser p = {.arena = a, .why = why, .at = pattern, .end = pattern + bytes};
    Tree *t = read_choice(&p);
    if (!t) return NULL;
    if (p.at < p.end) return why_not(why, "a ) has no ("), NULL;
    Regex *r = arena_alloc(a, sizeof *r);
    int end = state(r, a, JOIN, 0, 0), first = make(r, a, t, end);
    if (first < 0) return why_not(why, "it takes more than %d states", MOST_STATES), NULL;
    int start = state(r, a, EMPTY, first, first);
    if (start < 0) return why_not(why, "it takes more than %d states", MOST_STATES), NULL;
    r->now = arena_array(a, (size_t)r->count, sizeof *r->now);
    r->then = arena_array(a, (size_t)r->count, sizeof *r->then);
    r->stack = arena_array(a, 2 * (size_t)r->count + 2, sizeof *r->stack);
    r->marked = arena_array(a, (size_t)r->count, sizeof *r->marked);
    return r;
}

int regex_states(const Regex *r) { return r->count; }

/* ---- matching -------------------------------------------------------------------------------- */

/* What stands around a position. */
typedef struct Around {
    bool begin, end;   /* of the text */
    bool word[2];      /* whether a letter, digit or _ stands in front, and behind */
} Around;

static bool passes(Kind kind, const Around *p)
{
    return kind == BEGIN  ? p->begin
           : kind == END  ? p->end
           : kind == EDGE ? p->word[0] != p->word[1]
                          : p->word[0] == p->word[1];
}

/* Adds the states that are reached from one without a character to list[count]; returns how many
 * there are then. *matched: the end is among them. */
static int reach(Regex *r, int from, const Around *p, int *list, int count, bool *matched)
{
    int top = 0;
    r->stack[top++] = from;
    while (top) {
        int i = r->stack[--top];
        const State *s = &r->states[i];
        if (r->marked[i] == r->position) continue;
        r->marked[i] = r->position;
        if (s->kind == SET) list[count++] = i;
        else if (s->kind == JOIN) *matched = true;
        else if (s->kind == EMPTY || s->kind == CHOICE || passes(s->kind, p)) {
            r->stack[top++] = s->next;
            if (s->kind == CHOICE) r->stack[top++] = s->other;
        }
    }
    return count;
}

static bool holds(const Set *s, uint32_t c)
{
    bool in = false;
    for (int i = 0; i < s->count && !in; i++) in = c >= s->ranges[i].lo && c <= s->ranges[i].hi;
    return in != s->negated;
}

static bool is_word(const char *at, const char *end)
{
    if (at == end) return false;
    char c = *at;
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool regex_matches(Regex *r, const char *text, size_t bytes)
{
    const char *at = text, *end = text + bytes;
    memset(r->marked, 0, (size_t)r->count * sizeof *r->marked);
    r->position = 0;
    for (int count = -1;;) {
        const char *before = at > text ? at - 1 : end;
        Around p = {at == text, at == end, {is_word(before, end), is_word(at, end)}};
        bool matched = false;
        int *list = r->then, n = 0;
        uint32_t c = 0;
        r->position++;
        if (count < 0) n = reach(r, r->count - 1, &p, list, n, &matched);
        for (int i = 0; i < count; i++)
            n = reach(r, r->states[r->now[i]].next, &p, list, n, &matched);
        if (at == end) return matched;
        if (!n || !utf8_read(&at, end, &c)) return false;
        count = 0;
        for (int i = 0; i < n; i++)
            if (holds(r->states[list[i]].set, c)) r->now[count++] = list[i];
    }
}
