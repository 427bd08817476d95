/* passes/names.h - names of what passes add. Written on include/qonnx/ alone. */
#ifndef PASSES_NAMES_H
#define PASSES_NAMES_H

#include <qonnx/graph.h>
#include <stdio.h>
#include <string.h>

/* "<base><suffix>", in the graph's memory. */
static inline const char *name_join(qonnx_graph *g, const char *base, const char *suffix)
{
    size_t room = strlen(base) + strlen(suffix) + 1;
    char *name = qonnx_graph_alloc(g, room);
    snprintf(name, room, "%s%s", base, suffix);
    return name;
}

#endif
