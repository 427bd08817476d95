/* cli/compiled.c - see compiled.h. */
#include "compiled.h"
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

typedef int entry_fn(const void *const *in, void *const *out, void *arena);

/* A model that was compiled and loaded. */
typedef struct Compiled {
    qonnx_scratch *directory;     /* everything is made there */
    void *library;                /* dlopen's */
    entry_fn *entry;              /* runs it once */
    const unsigned long *inputs;  /* bytes of each fed input */
    const unsigned long *outputs; /* bytes of each output */
    const int *sizes;             /* two for each of the model's outputs: the output that is the
                                     size of an axis of it, -1 for none, and the axis */
    void *arena;                  /* working memory */
    const void **in;              /* fed inputs */
    qonnx_tensor *out;            /* one per output of the model */
    void **memory;                /* [nout] of each output */
    int nout;                     /* outputs of its function: behind the model's are sizes */
} Compiled;

static bool is_fed(const qonnx_value *v) { return !qonnx_value_constant(v); }

static int fed_inputs(const qonnx_graph *g)
{
    int count = 0;
    for (int i = 0; i < qonnx_graph_inputs(g); i++) count += is_fed(qonnx_graph_input(g, i));
    return count;
}

/* "DIRECTORY/name" into path[size]. */
static const char *path_of(const Compiled *c, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", qonnx_scratch_path(c->directory), name);
    return path;
}

/* Writes entry.c: the model's function with its pointers in arrays, and their sizes. */
static bool write_entry(qonnx_ctx *cx, const Compiled *c, int nin, int outputs)
{
    int nout = c->nout;
    char path[PATH_MAX];
    FILE *f = fopen(path_of(c, "entry.c", path, sizeof path), "w");
    if (!f) return qonnx_fail(cx, NULL, "%s: %s", path, strerror(errno));
    fputs("#include \"model.h\"\nconst unsigned long entry_arena = MODEL_ARENA_BYTES;\n"
          "const unsigned long entry_inputs[] = {",
          f);
    for (int i = 0; i < nin; i++) fprintf(f, "MODEL_INPUT%d_BYTES, ", i);
    fputs("0};\nconst unsigned long entry_outputs[] = {", f);
    for (int i = 0; i < nout; i++) fprintf(f, "MODEL_OUTPUT%d_BYTES, ", i);
    fputs("0};\nconst int entry_sizes[] = {\n", f);
    for (int i = 0; i < outputs; i++)
        fprintf(f,
                "#ifdef MODEL_OUTPUT%d_SIZE\nMODEL_OUTPUT%d_SIZE, MODEL_OUTPUT%d_SIZE_AXIS,\n"
                "#else\n-1, -1,\n#endif\n",
                i, i, i);
    fputs("0};\nint entry(const void *const *in, void *const *out, void *arena)\n{\n"
          "    (void)in;\n    return model_run(",
          f);
    for (int i = 0; i < nin; i++) fprintf(f, "in[%d], ", i);
    for (int i = 0; i < nout; i++) fprintf(f, "out[%d], ", i);
    fputs("arena);\n}\n", f);
    return !fclose(f) || qonnx_fail(cx, NULL, "%s: %s", path, strerror(errno));
}

/* Runs $CC, or cc. */
static bool build(qonnx_ctx *cx, const Compiled *c)
{
    static const char command[] = "cd \"$1\" && exec ${CC:-cc} -std=c99 -ffp-contract=off -O2 "
                                  "-shared -fPIC -o model.so model.c entry.c";
    const char *directory = qonnx_scratch_path(c->directory);
    char *const argv[] = {
        "sh", "-c", (char *)(uintptr_t)command, "sh", (char *)(uintptr_t)directory, NULL};
    pid_t pid;
    int status = -1;
    if (posix_spawnp(&pid, "sh", NULL, NULL, argv, environ))
        return qonnx_fail(cx, NULL, "the shell cannot be run: %s", strerror(errno));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0 ||
           qonnx_fail(cx, NULL, "the C compiler failed; the variable CC names another");
}

static bool load(qonnx_ctx *cx, Compiled *c)
{
    char path[PATH_MAX];
    c->library = dlopen(path_of(c, "model.so", path, sizeof path), RTLD_NOW | RTLD_LOCAL);
    if (!c->library) return qonnx_fail(cx, NULL, "%s", dlerror());
    void *entry = dlsym(c->library, "entry");
    memcpy(&c->entry, &entry, sizeof entry); /* ISO C has no cast from data to functions */
    c->inputs = dlsym(c->library, "entry_inputs");
    c->outputs = dlsym(c->library, "entry_outputs");
    c->sizes = dlsym(c->library, "entry_sizes");
    const unsigned long *arena = dlsym(c->library, "entry_arena");
    return (entry && c->inputs && c->outputs && c->sizes && arena &&
            (c->arena = aligned_alloc(64, (*arena + 63) / 64 * 64))) ||
           qonnx_fail(cx, NULL, "%s: cannot be used", path);
}

static size_t bytes_of(const qonnx_tensor *t)
{
    return ((size_t)qonnx_tensor_elements(t) * (size_t)qonnx_dtype_bits(t->dtype) + 7) / 8;
}

/* Outputs with the graph's shapes, batch 1 where that is open; an axis whose size is data has the
 * most that it can. */
static bool make_outputs(qonnx_ctx *cx, const qonnx_graph *g, Compiled *c)
{
    int count = qonnx_graph_outputs(g);
    c->in = calloc((size_t)fed_inputs(g) + 1, sizeof *c->in);
    c->out = calloc((size_t)count + 1, sizeof *c->out);
    c->memory = calloc((size_t)c->nout + 1, sizeof *c->memory);
    for (int i = 0; i < c->nout; i++) c->memory[i] = calloc(1, c->outputs[i] + 1);
    for (int i = 0; i < count; i++) {
        const qonnx_value *v = qonnx_graph_output(g, i);
        qonnx_tensor *t = &c->out[i];
        *t = (qonnx_tensor){.dtype = qonnx_value_dtype(v), .rank = qonnx_value_rank(v)};
        if (t->rank < 0) t->rank = 0;
        for (int k = 0; k < t->rank; k++) {
            int64_t dim = qonnx_value_dim(v, k);
            t->dims[k] = dim < 0 ? 1 : dim;
        }
        int axis = c->sizes[2 * i + 1];
        if (axis >= 0 && axis < t->rank) t->dims[axis] = 1;
        if (axis >= 0 && axis < t->rank && bytes_of(t))
            t->dims[axis] = (int64_t)(c->outputs[i] / bytes_of(t));
        t->bytes = c->outputs[i];
        t->data = c->memory[i];
        if (bytes_of(t) != t->bytes)
            return qonnx_fail(cx, NULL,
                              "the shape of output '%s' is not known; it has to be for "
                              "--compiled",
                              qonnx_value_name(v));
    }
    return true;
}

static bool prepare(qonnx_ctx *cx, const qonnx_graph *g, Compiled *c)
{
    const char *tmp = getenv("TMPDIR");
    const qonnx_compile_options o = {.prefix = "model"};
    qonnx_compile_report report;
    c->directory = qonnx_scratch_new(cx, tmp && *tmp ? tmp : P_tmpdir);
    return c->directory &&
           qonnx_model_compile(cx, g, qonnx_scratch_path(c->directory), &o, &report) &&
           (c->nout = report.outputs, true) &&
           write_entry(cx, c, fed_inputs(g), qonnx_graph_outputs(g)) && build(cx, c) &&
           load(cx, c) && make_outputs(cx, g, c);
}

static void release(Compiled *c)
{
    if (c->library) dlclose(c->library);
    qonnx_scratch_free(c->directory);
    for (int i = 0; c->memory && i < c->nout; i++) free(c->memory[i]);
    free(c->memory);
    free(c->out);
    free(c->in);
    free(c->arena);
}

/* Runs one sample and hands its outputs on. */
static bool run_sample(qonnx_ctx *cx, const qonnx_graph *g, Compiled *c, const qonnx_tensor *sample)
{
    int count = 0;
    for (int i = 0; i < qonnx_graph_inputs(g); i++) {
        const qonnx_value *v = qonnx_graph_input(g, i);
        if (!is_fed(v)) continue;
        if (sample[i].bytes != c->inputs[count])
            return qonnx_fail(cx, NULL,
                              "a sample has %zu bytes for input '%s', the compiled model "
                              "takes %lu",
                              sample[i].bytes, qonnx_value_name(v), c->inputs[count]);
        c->in[count++] = sample[i].data;
    }
    if (c->entry(c->in, c->memory, c->arena))
        return qonnx_fail(cx, NULL, "the compiled model failed");
    for (int i = 0; i < qonnx_graph_outputs(g); i++) {
        qonnx_tensor *t = &c->out[i];
        if (c->sizes[2 * i] < 0) continue;
        memcpy(&t->dims[c->sizes[2 * i + 1]], c->memory[c->sizes[2 * i]], sizeof t->dims[0]);
        t->bytes = bytes_of(t);
    }
    return true;
}

bool compiled_run(qonnx_ctx *cx, const qonnx_graph *g, const qonnx_dataset *d, qonnx_output_fn *fn,
                  void *user)
{
    Compiled c = {.directory = NULL};
    int room = qonnx_dataset_inputs(d);
    qonnx_tensor *sample = calloc((size_t)room + 1, sizeof *sample);
    bool good = prepare(cx, g, &c);
    for (size_t i = 0, more = 1; good && more && i < qonnx_dataset_count(d); i++) {
        good = qonnx_dataset_read(cx, d, i, sample);
        if (!good) break;
        good = run_sample(cx, g, &c, sample);
        more = good && fn(user, i, c.out);
        qonnx_sample_free(sample, room);
    }
    free(sample);
    release(&c);
    return good;
}
