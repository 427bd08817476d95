"""Plugins for tests, compiled against include/ and the libqonnx.so beside the command."""

import os
import subprocess

from conftest import COMMAND, ROOT

BUILD = COMMAND.parent
CC = os.environ.get("CC", "cc")

PLUGIN = """
#include <qonnx/qonnx.h>
#include <math.h>
#include <stdlib.h>
%(top)s
static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{ (void)cx, (void)g, (void)job; %(run)s }
static bool range(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi)
{ (void)cx, (void)grid, (void)job; *lo = h->min; *hi = h->max; %(range)s }
static const qonnx_option options[] = { %(options)s {0} };
static const qonnx_pass pass = {
    .size = sizeof(qonnx_pass), .name = "%(name)s", .brief = "a pass", .options = options, .run = run, %(pass)s };
static const qonnx_observer observer = {
    .size = sizeof(qonnx_observer), .name = "%(name)s-range", .brief = "an observer", .range = range, %(observer)s };
static const qonnx_pass *const passes[] = {&pass, %(passes)s NULL};
static const qonnx_observer *const observers[] = {&observer, NULL};
static const qonnx_plugin plugin = {
    .abi = QONNX_ABI, .name = "%(name)s", .version = "2.1",
    .passes = passes, .observers = observers, %(plugin)s };
const qonnx_plugin *qonnx_plugin_query(uint32_t abi) { (void)abi; %(query)s return &plugin; }
"""


def compile_source(path, source):
    """Compiles C into the shared object `path`."""
    command = [CC, "-shared", "-fPIC", "-w", "-I", ROOT / "include", "-xc", "-", "-o", path]
    subprocess.run([*command, f"-L{BUILD}", f"-Wl,-rpath,{BUILD}", "-lqonnx", "-lm"], input=source, text=True,
                   check=True)
    return path


def make_plugin(path, name="mine", run="return true;", range="return true;", **parts):
    """Compiles a plugin of one pass, NAME, and one observer, NAME-range; returns its path."""
    empty = dict.fromkeys(("top", "options", "pass", "observer", "passes", "plugin", "query"), "")
    fields = empty | parts | {"name": name, "run": run, "range": range}
    return compile_source(path, PLUGIN % fields)
