/* passes/registry.h - the passes and observers there are: the built-in ones, then the plugins' in
 * the order of loading. QONNX_NO_BUILTINS=1 leaves the built-in ones out, so that plugins can take
 * their names. All functions may be called from any thread.
 */
#ifndef PASSES_REGISTRY_H
#define PASSES_REGISTRY_H

#include <qonnx/run.h>

/* The pass or observer of that name. One that is not there yet is looked for in the plugins of the
 * search path, whose warnings go to `cx`. NULL, without a message, when there is none. */
const qonnx_pass *registry_pass(qonnx_ctx *cx, const char *name);
const qonnx_observer *registry_observer(qonnx_ctx *cx, const char *name);

/* Adds all that a checked plugin brings, or, where one of its names is taken, nothing: the message
 * says by whom. `file` is its real path; both pointers are kept. */
bool registry_add(qonnx_ctx *cx, const qonnx_plugin *plugin, const char *file);
/* Notes that this thread runs code of a plugin, for qonnx_plugin_running(), until plugin_leave():
 * the pass or the observer of that name; NULL and NULL: loading it. */
typedef struct PluginMark {
    char *text;        /* what is told */
    const char *outer; /* what was told before */
} PluginMark;
PluginMark plugin_enter(const char *kind, const char *name, const char *file);
void plugin_leave(PluginMark mark);

/* Whether the plugin of that real path was added. */
bool registry_has_file(const char *file);

#endif
