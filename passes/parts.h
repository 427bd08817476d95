/* passes/parts.h - which passes and observers of plugins a pipeline uses: what is recorded of a
 * pipeline beside its text, and is compared with what is loaded when the pipeline runs again.
 */
#ifndef PASSES_PARTS_H
#define PASSES_PARTS_H

#include <qonnx/run.h>

/* A pass or an observer of a plugin; owns its texts. */
typedef struct Part {
    bool observer; /* else a pass */
    char *name;    /* of it */
    char *plugin;  /* the name of the plugin that brought it */
    char *version; /* of that plugin */
} Part;

/* Zeroed: none. */
typedef struct Parts {
    Part *part; /* [count] in the order in which the pipeline names them, each once */
    int count;  /* of them */
} Parts;

/* Those that the text uses, as they are loaded now. */
Parts parts_of(const char *pipeline);
/* Adds a copy, unless it is there. */
void parts_add(Parts *parts, bool observer, const char *name, const char *plugin,
               const char *version);
bool parts_same(const Parts *a, const Parts *b);
void parts_free(Parts *parts);

/* Whether all that the text uses is loaded. `made` is what was recorded of the pipeline in `file`;
 * the message names both. A plugin that is not the recorded one is warned of. */
QONNX_CHECKED bool parts_loaded(qonnx_ctx *cx, const char *file, const Parts *made,
                                const char *pipeline);

#endif
