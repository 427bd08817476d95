/* cli/layer_table.c - qonnx evaluate --layers: the table of layer_errors.h. */
#include "layer_errors.h"
#include "output.h"
#include "progress.h"
#include <string.h>

static void print_text(const LayerErrors *e)
{
    char name[NAME_ROOM], op[NAME_ROOM], all[SQNR_ROOM], own[SQNR_ROOM];
    int width = 5, ops = 2;
    for (const LayerError *r = e->rows; r < e->rows + e->matches.count; r++) {
        int n = (int)strlen(clean_name(name, sizeof name, layer_error_name(r)));
        int k = (int)strlen(clean_name(op, sizeof op, qonnx_node_op(r->match->node)));
        if (n > width) width = n;
        if (k > ops) ops = k;
    }
    printf("%-*s  %-*s  %11s  %9s  runs in\n", width, "layer", ops, "op", "accumulated", "own");
    for (const LayerError *r = e->rows; r < e->rows + e->matches.count; r++)
        printf("%-*s  %-*s  %11s  %9s  %s%s\n", width,
               clean_name(name, sizeof name, layer_error_name(r)), ops,
               clean_name(op, sizeof op, qonnx_node_op(r->match->node)), sqnr_text(all, &r->all),
               sqnr_text(own, &r->own), layer_error_runs(r), r->worst ? "  <- worst" : "");
    printf("%zu samples\n", e->compared.samples);
}

static void print_json(const LayerErrors *e)
{
    json_t *layers = json_array();
    for (int i = 0; i < e->matches.count; i++)
        json_array_append_new(layers, layer_error_json(&e->rows[i]));
    json_print(json_pack("{so so ss sI so}", "file", json_text(e->files[0]), "quantized",
                         json_text(e->files[1]), "target", e->target->name, "samples",
                         (json_int_t)e->compared.samples, "layers", layers));
}

int layer_errors(const Args *args)
{
    LayerErrors e;
    qonnx_ctx *cx = progress_ctx();
    int status = EXIT_DONE;
    if (layer_errors_measure(cx, args, &e)) {
        if (args->json) print_json(&e);
        else print_text(&e);
    } else if (e.reference.fault) {
        complain("temporary file: %s", e.reference.fault);
        status = EXIT_BAD;
    } else status = report_failure(cx);
    layer_errors_release(&e);
    qonnx_ctx_free(cx);
    return status;
}
