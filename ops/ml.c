/* ops/ml.c - what the operators of ai.onnx.ml share. */
#include "ops/ml.h"
#include <string.h>

bool ml_tensor(Ctx *cx, const Node *n, const char *name, Numbers *list)
{
    *list = (Numbers){.tensor = qonnx_node_tensor(n, name)};
    if (!list->tensor) return true;
    if (!has_type(NUMBERS, list->tensor->dtype) || list->tensor->rank > 1)
        return qonnx_fail(cx, n, "%s is %s of rank %d, want a list of numbers", name,
                          qonnx_dtype_name(list->tensor->dtype), list->tensor->rank);
    list->count = tensor_count(list->tensor);
    return true;
}

bool ml_numbers(Ctx *cx, const Node *n, const char *name, Numbers *list)
{
    char wide[80];
    snprintf(wide, sizeof wide, "%s_as_tensor", name);
    if (!ml_tensor(cx, n, wide, list)) return false;
    const float *floats;
    int count = qonnx_node_floats(n, name, &floats);
    if (count && list->count) return qonnx_fail(cx, n, "%s and %s are both given", name, wide);
    if (count) *list = (Numbers){.floats = floats, .count = count};
    return true;
}

double number_at(const Numbers *list, int64_t i)
{
    return list->floats ? (double)list->floats[i] : qonnx_tensor_get(list->tensor, i);
}

bool ml_count(Ctx *cx, const Node *n, const char *name, int64_t count, int64_t want,
              const char *like)
{
    return count == want || qonnx_fail(cx, n, "%s has %lld elements, want %lld, as %s", name,
                                       (long long)count, (long long)want, like);
}

bool ml_ints(Ctx *cx, const Node *n, const char *name, int64_t want, const char *like,
             const int64_t **values)
{
    return ml_count(cx, n, name, qonnx_node_ints(n, name, values), want, like);
}

int64_t ml_opset(const Node *n)
{
    const Model *m = n->graph->model;
    for (int i = 0; i < m->nopset; i++)
        if (!strcmp(m->opsets[i].domain, "ai.onnx.ml")) return m->opsets[i].version;
    return 0;
}

bool ml_transform(Ctx *cx, const Node *n, int32_t *last)
{
    static const char *const names[] = {
        [SCORES_NONE] = "NONE",
        [SCORES_SOFTMAX] = "SOFTMAX",
        [SCORES_LOGISTIC] = "LOGISTIC",
        [SCORES_SOFTMAX_ZERO] = "SOFTMAX_ZERO",
        [SCORES_PROBIT] = "PROBIT",
    };
    const char *given = qonnx_node_string(n, "post_transform", "NONE");
    for (*last = 0; *last <= SCORES_PROBIT; ++*last)
        if (!strcmp(given, names[*last])) return true;
    return qonnx_fail(cx, n,
                      "post_transform is '%.40s', want NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or "
                      "PROBIT",
                      given);
}

/* ---- rows ------------------------------------------------------------------------------------ */

bool ml_check_rows(Ctx *cx, const Node *n) { return check_rank(cx, n, 0, 1, 2); }

int64_t ml_rows(const Node *n)
{
    const Shape *x = in_shape(n, 0);
    return !x ? -1 : x->rank == 1 ? 1 : x->dim[0];
}

int64_t ml_features(const Node *n)
{
    const Shape *x = in_shape(n, 0);
    return x ? x->dim[x->rank - 1] : -1;
}

int64_t ml_elements(const Node *n) { return shape_elements(in_shape(n, 0)); }

Buf *ml_input(Lower *l, const Node *n, bool wide)
{
    return lower_cast(l, n, in_dtype(n, 0), wide ? QONNX_DOUBLE : QONNX_FLOAT,
                      ml_elements(n), lower_in(l, n, 0, PLAIN));
}

Buf *ml_const(Lower *l, const float *values, int64_t count)
{
    float *copy = lower_array(l, (size_t)count + 1, sizeof *copy);
    memcpy(copy, values, (size_t)count * sizeof *copy);
    return lower_const(l, copy, (size_t)count * sizeof *copy);
}

bool ml_out(Ctx *cx, Node *n, int i, DType t, int64_t count)
{
    const Shape *x = in_shape(n, 0);
    Shape y = {.rank = count ? 2 : 1, .dim = {ml_rows(n), count}};
    if (x && x->rank == 2) y.sym[0] = x->sym[0];
    return out_shape(cx, n, i, t, x ? &y : NULL);
}

bool ml_takes(Why *why, const Node *n)
{
    return takes_types(why, n, 0,
                       1u << QONNX_FLOAT | 1u << QONNX_DOUBLE | 1u << QONNX_INT32 |
                           1u << QONNX_INT64);
}

/* ---- labels ---------------------------------------------------------------------------------- */

bool ml_labels(Ctx *cx, const Node *n, const char *ints, Labels *labels)
{
    labels->count = node_strings(n, "classlabels_strings", &labels->strings);
    int count = qonnx_node_ints(n, ints, &labels->ints);
    if (labels->count && count)
        return qonnx_fail(cx, n, "classlabels_strings and %s are both given", ints);
    if (labels->count) labels->ints = NULL;
    else labels->count = count, labels->strings = NULL;
    return true;
}

bool ml_classes(Ctx *cx, Node *n, const Labels *labels, int64_t scores)
{
    return ml_out(cx, n, 0, labels->strings ? QONNX_STRING : QONNX_INT64, 0) &&
           ml_out(cx, n, 1, QONNX_FLOAT, scores);
}

Buf *ml_label_out(Lower *l, Node *n)
{
    if (out_used(n, 0) && n->out[0]->dtype == QONNX_INT64) return lower_out(l, n->out[0], PLAIN);
    return lower_temp(l, (size_t)ml_rows(n) * sizeof(int64_t));
}

void ml_name_labels(Lower *l, Node *n, const Labels *labels, Buf *numbers)
{
    if (!labels->strings || !out_used(n, 0)) return;
    size_t count = (size_t)labels->count;
    qonnx_string *texts = lower_array(l, count, sizeof *texts);
    const qonnx_string **table = lower_array(l, count, sizeof *table);
    for (size_t i = 0; i < count; i++) {
        texts[i] = (qonnx_string){strlen(labels->strings[i]), labels->strings[i]};
        table[i] = &texts[i];
    }
    lower_rows(l, n, lower_const(l, table, count * sizeof *table), labels->count, 1, sizeof *table,
               numbers, true, ml_rows(n), lower_out(l, n->out[0], PLAIN));
}

Buf *ml_score_out(Lower *l, Node *n, int64_t count)
{
    return out_used(n, 1) ? lower_out(l, n->out[1], PLAIN)
                          : lower_temp(l, (size_t)(ml_rows(n) * count) * sizeof(float));
}

void ml_scores(Lower *l, Node *n, int i, scores_p *p, Buf *sums)
{
    if (!out_used(n, i)) return;
    p->rows = (int32_t)ml_rows(n);
    p->wide = n->out[i]->dtype == QONNX_DOUBLE;
    lower_call(l, n, "scores", p, &sums, 1, lower_out(l, n->out[i], PLAIN));
}

void ml_lower_labels(Lower *l, Node *n, const Labels *labels, labels_p *p, Buf *scores, Buf *has)
{
    size_t count = (size_t)labels->count;
    int64_t *ids = lower_array(l, count, sizeof *ids);
    for (size_t i = 0; i < count; i++) ids[i] = labels->ints ? labels->ints[i] : (int64_t)i;
    Buf *in[3] = {scores, has, lower_const(l, ids, count * sizeof *ids)};
    p->rows = (int32_t)ml_rows(n);
    if (!out_used(n, 0)) return;
    Buf *numbers = ml_label_out(l, n);
    lower_call(l, n, "labels", p, in, 3, numbers);
    ml_name_labels(l, n, labels, numbers);
}
