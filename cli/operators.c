/* cli/operators.c - qonnx operators: what the library runs. */
#include "options.h"
#include "output.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

/* How it is quantized, in a word. */
static const char *rule_name(const qonnx_operator *o)
{
    static const char *const names[] = {"float", "own", "same", "unify", "fixed", "activate"};
    return names[o->rule];
}

static const char *in_c(const qonnx_operator *o)
{
    return o->counted ? "at the end" : o->subgraphs ? "where turns are alike" : "yes";
}

/* By domain and name, ONNX's own first. */
static int compare(const void *a, const void *b)
{
    const qonnx_operator *x = a, *y = b;
    int domain = strcmp(x->domain, y->domain);
    return domain ? domain : strcmp(x->name, y->name);
}

/* All of them, in order; the caller frees them. */
static qonnx_operator *sorted(int *count)
{
    qonnx_operator o, *all;
    for (*count = 0; qonnx_operator_at(*count, &o);) ++*count;
    all = needed(calloc((size_t)*count + 1, sizeof *all));
    for (int i = 0; i < *count; i++) qonnx_operator_at(i, &all[i]);
    qsort(all, (size_t)*count, sizeof *all, compare);
    return all;
}

static json_t *types_json(uint32_t types)
{
    json_t *list = json_array();
    for (int t = 1; t < 32; t++)
        if (types >> t & 1)
            json_array_append_new(list, json_string(qonnx_dtype_name((qonnx_dtype)t)));
    return list;
}

static json_t *operator_json(const qonnx_operator *o)
{
    json_t *types = json_array();
    int last = QONNX_OPERATOR_INPUTS;
    while (last > 0 && !o->types[last - 1]) last--;
    for (int i = 0; i < last; i++) json_array_append_new(types, types_json(o->types[i]));
    return json_pack("{ss ss si si si si so ss sb s:s? s:s? ss}", "domain", o->domain, "name",
                     o->name, "since", o->since, "until", o->until, "least_inputs", o->least,
                     "most_inputs", o->most, "types", types, "rule", rule_name(o), "integers",
                     o->integers, "qlinear", o->qlinear, "qlinear_domain", o->qlinear_domain,
                     "in_c", in_c(o));
}

static void print_text(const qonnx_operator *all, int count)
{
    for (int i = 0; i < count; i++) {
        const qonnx_operator *o = &all[i];
        char sets[40] = "";
        if (o->until) snprintf(sets, sizeof sets, " %d to %d", o->since, o->until);
        else if (o->since) snprintf(sets, sizeof sets, " from %d on", o->since);
        printf("%s%s%s:%s%s%s\n", o->domain, *o->domain ? "." : "", o->name, sets,
               o->since ? "; " : " ", o->rule ? rule_name(o) : "float");
    }
}

static int operators(const Verb *verb, const Args *args)
{
    int count;
    qonnx_operator *all = sorted(&count);
    (void)verb;
    if (args->json) {
        json_t *list = json_array();
        for (int i = 0; i < count; i++) json_array_append_new(list, operator_json(&all[i]));
        json_print(json_pack("{so}", "operators", list));
    } else {
        print_text(all, count);
    }
    free(all);
    return EXIT_DONE;
}

static const Option options[] = {{.name = NULL}};

const Verb verb_operators = {
    .name = "operators",
    .brief = "the operators that are run, with their types",
    .forms = "[--json]",
    .text =
        "Lists every operator that is run: the operator sets of ONNX that have it, and how it is\n"
        "quantized (float: it is not). With --json also the types that each input may have. What\n"
        "a model's own nodes lack is what 'qonnx inspect' says of it.",
    .examples = "qonnx operators\n"
                "qonnx operators --json | jq '.operators[] | select(.rule != \"float\").name'",
    .options = options,
    .json = true,
    .least = 0,
    .most = 0,
    .run = operators,
};
