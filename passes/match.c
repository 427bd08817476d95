/* passes/match.c - see qonnx/match.h. All that is wanted and not looked at yet is a list of goals:
 * a name or a number that some value must be. Each choice solves what is left of the list, so that
 * one that was wrong is taken back wherever that shows.
 */
#include <qonnx/match.h>
#include <qonnx/quant.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEAR 1e-3

/* What a row reads, and the value that must be that. */
typedef struct Goal {
    const char *want;
    qonnx_value *value;
} Goal;

typedef struct Search {
    const qonnx_match_row *rows;
    int count;
    bool moved; /* data movement is looked past */
    qonnx_match *m;
} Search;

static bool solve(const Search *s, const Goal *goals, int count);

/* Whether `text`, "Div|Mul", names the operator. */
static bool names_op(const char *text, const qonnx_node *n)
{
    char op[64];
    while (*text) {
        size_t length = strcspn(text, "|");
        if (length < sizeof op) {
            memcpy(op, text, length);
            op[length] = 0;
            if (qonnx_node_is(n, op)) return true;
        }
        text += length + (text[length] == '|');
    }
    return false;
}

static bool is_near(double x, double want) { return fabs(x - want) <= NEAR * fabs(want); }

/* Whether the value is a constant of one element that is in the list, "1.414|0.707". */
static bool is_number(const qonnx_value *v, const char *list)
{
    const qonnx_tensor *t = qonnx_value_constant(v);
    if (!t || qonnx_tensor_elements(t) != 1) return false;
    double x = qonnx_tensor_get(t, 0);
    for (char *end; *list; list = *end ? end + 1 : end)
        if (is_near(x, strtod(list, &end))) return true;
        else if (end == list) return false;
    return false;
}

static bool has_attribute(const qonnx_node *n, const char *text)
{
    char name[32];
    const char *sign = text ? strchr(text, '=') : NULL;
    if (!text) return true;
    if (!sign || (size_t)(sign - text) >= sizeof name) return false;
    memcpy(name, text, (size_t)(sign - text));
    name[sign - text] = 0;
    return is_near((double)qonnx_node_float(n, name, NAN), strtod(sign + 1, NULL));
}

static bool may_change_places(const qonnx_node *n)
{
    return qonnx_node_inputs(n) == 2 && names_op("Add|Mul|Max|Min|Sum|And|Or|Equal", n);
}

/* Gives a value a name; solves the rest. */
static bool solve_name(const Search *s, const char *name, qonnx_value *v, const Goal *rest,
                       int count)
{
    qonnx_match *m = s->m;
    for (int i = 0; i < m->nnames; i++)
        if (!strcmp(m->names[i], name)) return m->values[i] == v && solve(s, rest, count);
    if (m->nnames == QONNX_MATCH_NAMES) return false;
    m->names[m->nnames] = name;
    m->values[m->nnames++] = v;
    if (solve(s, rest, count)) return true;
    m->nnames--;
    return false;
}

/* The goals of what the node reads behind the rest of the list; how many there are then. */
static int add_goals(const qonnx_match_row *row, const qonnx_node *n, bool turned, const Goal *rest,
                     int count, Goal *goals)
{
    if (count) memcpy(goals, rest, (size_t)count * sizeof *goals);
    for (int i = 0; i < QONNX_MATCH_INPUTS; i++) {
        int from = turned && i < 2 ? 1 - i : i;
        if (row->inputs[i]) goals[count++] = (Goal){row->inputs[i], qonnx_node_input(n, from)};
    }
    return count;
}

/* Takes the node for the row; solves the rest. */
static bool solve_row(const Search *s, int row, qonnx_node *n, const Goal *rest, int count)
{
    const qonnx_match_row *r = &s->rows[row];
    Goal goals[QONNX_MATCH_ROWS * QONNX_MATCH_INPUTS];
    if (s->m->nodes[row]) return s->m->nodes[row] == n && solve(s, rest, count);
    if (!n || !names_op(r->ops, n) || !has_attribute(n, r->attribute)) return false;
    if (s->m->nodes[s->count - 1] &&
        qonnx_node_graph(n) != qonnx_node_graph(s->m->nodes[s->count - 1]))
        return false;
    s->m->nodes[row] = n;
    for (int turned = 0; turned <= may_change_places(n); turned++)
        if (solve(s, goals, add_goals(r, n, turned, rest, count, goals))) return true;
    s->m->nodes[row] = NULL;
    return false;
}

/* The value is what the row gives, or what has the name, where no row has it. */
static bool solve_here(const Search *s, int row, const char *name, qonnx_value *v,
                       const Goal *rest, int count)
{
    qonnx_node *n = v ? qonnx_value_producer(v) : NULL;
    if (!v || row == s->count - 1) return v && solve_name(s, name, v, rest, count);
    return n && qonnx_node_output(n, 0) == v && solve_row(s, row, n, rest, count);
}

/* The same for the value, or, where it may have been moved, what it was before. */
static bool solve_moved(const Search *s, int row, const char *name, qonnx_value *v,
                        const Goal *rest, int count)
{
    qonnx_match *m = s->m;
    const int moves = m->nmoves;
    while (!solve_here(s, row, name, v, rest, count)) {
        qonnx_node *n = v ? qonnx_value_producer(v) : NULL;
        if (!s->moved || !n || qonnx_node_rule(n).kind != QONNX_RULE_SAME ||
            m->nmoves == QONNX_MATCH_ROWS) {
            m->nmoves = moves;
            return false;
        }
        m->moves[m->nmoves++] = n;
        v = qonnx_node_input(n, 0);
    }
    return true;
}

static bool solve(const Search *s, const Goal *goals, int count)
{
    if (!count) return true;
    Goal g = goals[--count];
    if (!g.value) return false;
    if (*g.want == '=') return is_number(g.value, g.want + 1) && solve(s, goals, count);
    if (*g.want == '#')
        return qonnx_value_constant(g.value) && solve_name(s, g.want + 1, g.value, goals, count);
    int row = 0;
    while (row < s->count - 1 && strcmp(s->rows[row].name, g.want) != 0) row++;
    return solve_moved(s, row, g.want, g.value, goals, count);
}

bool qonnx_match_at(qonnx_node *last, const qonnx_match_row *rows, int count, bool moved,
                    qonnx_match *m)
{
    *m = (qonnx_match){.nnodes = count};
    if (count < 1 || count > QONNX_MATCH_ROWS) return false;
    return solve_row(&(Search){rows, count, moved, m}, count - 1, last, NULL, 0);
}

qonnx_value *qonnx_match_value(const qonnx_match *m, const qonnx_match_row *rows, const char *name)
{
    for (int i = 0; i < m->nnodes; i++)
        if (!strcmp(rows[i].name, name)) return qonnx_node_output(m->nodes[i], 0);
    for (int i = 0; i < m->nnames; i++)
        if (!strcmp(m->names[i], name)) return m->values[i];
    return NULL;
}

static bool has_node(qonnx_node *const *nodes, int count, const qonnx_node *n)
{
    for (int i = 0; i < count; i++)
        if (nodes[i] == n) return true;
    return false;
}

bool qonnx_match_keeps(const qonnx_match *m, const qonnx_value *v)
{
    if (qonnx_value_is_output(v)) return false;
    for (int i = 0; i < qonnx_value_uses(v); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        if (!has_node(m->nodes, m->nnodes, n) && !has_node(m->moves, m->nmoves, n)) return false;
    }
    return true;
}

/* Whether what the node gives stays inside. */
static bool keeps_all(const qonnx_match *m, const qonnx_node *n)
{
    for (int i = 0; i < qonnx_node_outputs(n); i++)
        if (qonnx_node_output(n, i) && !qonnx_match_keeps(m, qonnx_node_output(n, i))) return false;
    return true;
}

bool qonnx_match_closed(const qonnx_match *m)
{
    for (int i = 0; i + 1 < m->nnodes; i++)
        if (!keeps_all(m, m->nodes[i])) return false;
    for (int i = 0; i < m->nmoves; i++)
        if (!keeps_all(m, m->moves[i])) return false;
    return true;
}
