/* backends/c/compile.c - a graph to a directory of C: prepare, lower, plan, print, and put all
 * files in their places at once.
 */
#include "backends/atomic_file.h"
#include "backends/c/model.h"
#include "ir/bundle.h"
#include "ir/size.h"
#include "kernels/packed.h"
#include "kernels/tiny.h"
#include "ops/op.h"
#include "runtime/cut.h"
#include "runtime/exec.h"
#include "runtime/prepare.h"
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- inputs and outputs -----------------------------------------------------------------------
 */

/* The integers that alone are made of a float input, or NULL: its QuantizeLinear is taken out. */
static Value *take_quantizer(Value *v, QuantParams *params)
{
    Node *n = qonnx_value_only_user(v);
    bool cast = n && qonnx_node_is(n, "Cast") && n->graph == v->graph; /* from float16 */
    if (cast && n->out[0]->dtype == QONNX_FLOAT) {
        v = n->out[0];
        n = qonnx_value_only_user(v);
    }
    if (!n || n->graph != v->graph || !qonnx_node_is(n, "QuantizeLinear") || n->in[0] != v ||
        !quant_read(n->in[1], qonnx_node_input(n, 2), params))
        return NULL;
    Value *q = n->out[0];
    q->dtype = params->dtype;
    q->shape = v->shape;
    qonnx_node_remove(n);
    return q;
}

/* The integers that a float output is made of, or NULL. */
static Value *behind_output(const Value *v, QuantParams *params)
{
    const Node *n = v->def;
    bool narrow = v->dtype == QONNX_FLOAT16 || v->dtype == QONNX_BFLOAT16;
    if (n && narrow && qonnx_node_is(n, "Cast") && n->in[0]->dtype == QONNX_FLOAT)
        n = n->in[0]->def;
    if (!n || !qonnx_node_is(n, "DequantizeLinear") || n->in[0]->data) return NULL;
    const Value *zero = qonnx_node_input(n, 2);
    if (!quant_read(n->in[1], zero, params) || n->in[0]->dtype != params->dtype) return NULL;
    return n->in[0];
}

static void name_ports(CModel *m, Graph *g)
{
    m->in = arena_array(m->arena, (size_t)g->ninput, sizeof *m->in);
    m->out = arena_array(m->arena, (size_t)g->noutput, sizeof *m->out);
    for (int i = 0, k = 0; i < g->ninput; i++)
        if (graph_is_fed(g, i)) m->in[k++] = (CPort){.name = g->inputs[i]->name, .size = -1};
    for (int i = 0; i < g->noutput; i++) {
        const Value *v = g->outputs[i];
        m->out[i] = (CPort){.name = v->name, .size = -1, .size_axis = counted_axis(v)};
        for (int k = 0; m->out[i].size_axis >= 0 && k < g->noutput; k++)
            if (value_is_size(g->outputs[k]) && g->outputs[k]->def == v->def) m->out[i].size = k;
    }
}

/* Outputs whose size is data have the most that it can be, and the size is one more output. */
static void put_sizes(Graph *g)
{
    for (Node *n = g->first; n; n = n->next) {
        Value *size = node_count(n);
        if (size) graph_put_output(g, size);
    }
}

/* Makes the graph take and give integers where it quantizes at its border. Returns how many. */
static int integer_ports(CModel *m, Graph *g)
{
    int count = 0;
    for (int i = 0, k = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        CPort *c = &m->in[k++];
        Value *v = g->inputs[i], *q = take_quantizer(v, &c->params);
        if (!q) continue;
        v->input_count--;
        q->input_count++;
        g->inputs[i] = q;
        c->quantized = true;
        count++;
    }
    for (int i = 0; i < g->noutput; i++) {
        Value *v = g->outputs[i], *q = behind_output(v, &m->out[i].params);
        if (!q) continue;
        v->output_count--;
        q->output_count++;
        g->outputs[i] = q;
        m->out[i].quantized = true;
        count++;
    }
    qonnx_graph_sweep(g);
    return count;
}

/* The shape that the code is made for: the model's, with batch 1 where it is open. */
static bool fix_shape(Ctx *cx, const Graph *g, const Value *v, Tensor *t)
{
    *t = (Tensor){.dtype = v->dtype, .rank = v->shape.rank};
    if (is_bundle(v->dtype) || v->dtype == QONNX_STRING)
        return qonnx_fail(cx, NULL,
                          "%s: compiled code takes tensors of numbers, and input '%s' is %s",
                          g->model->path, v->name, qonnx_dtype_name(v->dtype));
    if (t->rank < 0)
        return qonnx_fail(cx, NULL,
                          "%s: input '%s' has no shape; compiled code needs one: give "
                          "it with --shape '%s=1,...'",
                          g->model->path, v->name, v->name);
    for (int i = 0; i < t->rank; i++) {
        t->dims[i] = v->shape.dim[i] < 0 && i == 0 ? 1 : v->shape.dim[i];
        if (t->dims[i] < 0)
            return qonnx_fail(cx, NULL,
                              "%s: dimension %d of input '%s' is open%s%s%s; compiled code "
                              "needs a size: give it with --shape",
                              g->model->path, i, v->name, v->shape.sym[i] ? " ('" : "",
                              v->shape.sym[i] ? v->shape.sym[i] : "", v->shape.sym[i] ? "')" : "");
    }
    /* has bytes, but no data: what it holds is not known */
    if (!tensor_bytes(t->dims, t->rank, t->dtype, &t->bytes)) t->bytes = SIZE_MAX;
    return true;
}

static bool name_types(CModel *m)
{
    const Program *p = m->program;
    for (int i = 0; i < p->ninput + p->noutput; i++) {
        CPort *c = i < p->ninput ? &m->in[i] : &m->out[i - p->ninput];
        c->port = i < p->ninput ? &p->inputs[i] : &p->outputs[i - p->ninput];
        c->ctype = text_type(c->port->tensor.dtype);
        if (!c->ctype)
            return qonnx_fail(m->cx, NULL, "%s: '%s' has type %s, which C does not have",
                              p->graph->model->path, c->name,
                              qonnx_dtype_name(c->port->tensor.dtype));
    }
    return true;
}

/* ---- program ----------------------------------------------------------------------------------
 */

/* The self-test holds all inputs and outputs as text. */
static bool is_printable(const CModel *m)
{
    enum { MOST_ELEMENTS = 1 << 24 };
    const Program *p = m->program;
    int64_t count = 0;
    for (int i = 0; i < p->ninput; i++) count += tensor_count(&p->inputs[i].tensor);
    for (int i = 0; i < p->noutput; i++) count += tensor_count(&p->outputs[i].tensor);
    return count <= MOST_ELEMENTS ||
           qonnx_fail(m->cx, NULL,
                      "%s: its inputs and outputs have %lld elements; compiled code has room for "
                      "%d: set smaller shapes in the model",
                      p->graph->model->path, (long long)count, MOST_ELEMENTS);
}

/* Gives the prepared graph the shapes that the code is made for. */
static bool specialize(CModel *m, Graph *g)
{
    Tensor *shapes = arena_array(m->arena, (size_t)g->ninput, sizeof *shapes);
    for (int i = 0, k = 0; i < g->ninput; i++)
        if (graph_is_fed(g, i) && !fix_shape(m->cx, g, g->inputs[i], &shapes[k++])) return false;
    g->model->whole = true;
    if (!graph_specialize(m->cx, g, shapes) || !graph_is_whole(m->cx, g)) return false;
    put_sizes(g);
    return true;
}

/* Lowers and plans; `g` is consumed. */
static bool make_program(CModel *m, Graph *g, size_t max_memory)
{
    Limits limits = limits_for(g, max_memory);
    m->program = program_make(m->cx, g, &limits);
    if (!m->program) return false;
    program_align_constants(m->program);
    program_plan(m->program, C_ALIGN);
    c_list_calls(m, m->program);
    m->arena_bytes = m->program->memory ? m->program->memory : C_ALIGN;
    return name_types(m) && is_printable(m) && c_constants(m);
}

static bool make_names(CModel *m, const Graph *g, const char *prefix)
{
    const char *path = g->model->path, *slash = strrchr(path, '/');
    m->file = slash ? slash + 1 : path;
    m->prefix = prefix ? prefix : text_prefix(m->arena, path);
    if (!text_prefix_ok(m->cx, m->prefix)) return false;
    char *upper = arena_string(m->arena, m->prefix);
    for (char *c = upper; *c; c++) *c = (char)toupper((unsigned char)*c);
    m->upper = upper;
    return true;
}

/* ---- the self-test's sample -------------------------------------------------------------------
 */

/* An input that is in the range of what the model quantizes it to, or else within -1 .. 1. */
static void arbitrary_input(const CPort *c, const QuantParams *seen, void *data)
{
    const Tensor *t = &c->port->tensor;
    uint32_t state = 1;
    for (int64_t i = 0; i < tensor_count(t); i++) {
        state = state * 1664525u + 1013904223u;
        int byte = (int)(state >> 24);
        float x =
            seen ? (float)(byte + (seen->dtype == QONNX_INT8 ? -128 : 0) - seen->zero) * seen->scale
                 : (float)(byte - 128) / 128;
        if (t->dtype == QONNX_FLOAT) memcpy((char *)data + i * 4, &x, 4);
        else if (t->dtype == QONNX_FLOAT16) ((uint16_t *)data)[i] = arith_to_half((double)x);
        else if (t->dtype == QONNX_BFLOAT16) ((uint16_t *)data)[i] = arith_to_bfloat((double)x);
        else if (dtype_is_packed(t->dtype))
            packed_put(data, qonnx_dtype_bits(t->dtype), (size_t)i, (uint32_t)byte);
        else if (tiny_is_real(t->dtype))
            ((uint8_t *)data)[i] = (uint8_t)tiny_from_real(t->dtype, (double)x, 1, TINY_UP);
        else if (qonnx_dtype_bits(t->dtype) == 8)
            ((uint8_t *)data)[i] = (uint8_t)(t->dtype == QONNX_BOOL ? byte & 1 : byte);
    }
}

/* The sample as the compiled code takes it; its data is in the arena. */
static bool take_sample(CModel *m, const Tensor *given, const CPort *c, Tensor *t)
{
    *t = c->port->tensor;
    void *data = arena_aligned(m->arena, t->bytes);
    t->data = data;
    DType want = c->quantized ? QONNX_FLOAT : t->dtype;
    bool real = has_type(FLOATS, given->dtype);
    if ((c->quantized ? !real : given->dtype != want) || tensor_count(given) != tensor_count(t))
        return qonnx_fail(m->cx, NULL,
                          "the sample for input '%s' has %lld elements of %s, the model "
                          "wants %lld of %s",
                          c->name, (long long)tensor_count(given), qonnx_dtype_name(given->dtype),
                          (long long)tensor_count(t), qonnx_dtype_name(want));
    if (!c->quantized) {
        memcpy(data, given->data, t->bytes);
        return true;
    }
    for (int64_t i = 0; i < tensor_count(t); i++)
        ((uint8_t *)data)[i] = (uint8_t)quant_value(&c->params, (float)qonnx_tensor_get(given, i));
    return true;
}

/* Pixels of all values, and the input that they become. */
static void arbitrary_pixels(CModel *m, Tensor *input)
{
    CPixels *px = m->pixels;
    const CPort *c = &m->in[px->input];
    size_t count = (size_t)tensor_count(&c->port->tensor);
    uint32_t state = 1;
    void *data = arena_aligned(m->arena, c->port->tensor.bytes);
    px->sample = arena_alloc(m->arena, count);
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        px->sample[i] = (uint8_t)(state >> 24);
    }
    c_fill_pixels(px, px->sample, data);
    *input = c->port->tensor;
    input->data = data;
}

/* One tensor a fed input: sample 0 of the data set, or what is plausible. */
static bool make_inputs(CModel *m, const Graph *g, const qonnx_dataset *data, Tensor *inputs)
{
    if (!data) {
        for (int i = 0; i < m->program->ninput; i++) {
            if (m->pixels && m->pixels->input == i) {
                arbitrary_pixels(m, &inputs[i]);
                continue;
            }
            const CPort *c = &m->in[i];
            void *memory = arena_aligned(m->arena, c->port->tensor.bytes);
            arbitrary_input(c, c->params.scale > 0 ? &c->params : NULL, memory);
            inputs[i] = c->port->tensor;
            inputs[i].data = memory;
        }
        return true;
    }
    int room = qonnx_dataset_inputs(data);
    Tensor *given = xcalloc((size_t)room + 1, sizeof *given);
    bool ok = qonnx_dataset_read(m->cx, data, 0, given);
    for (int i = 0, k = 0; i < g->ninput && ok; i++)
        if (graph_is_fed(g, i)) ok = take_sample(m, &given[i], &m->in[k], &inputs[k]), k++;
    qonnx_sample_free(given, room);
    free(given);
    return ok;
}

/* Runs the program, which is consumed, and prints the self-test. */
static bool make_selftest(CModel *m, const Graph *g, const qonnx_dataset *data, FILE *f)
{
    const Program *p = m->program;
    Tensor *inputs = arena_array(m->arena, (size_t)p->ninput, sizeof *inputs);
    Tensor *outputs = arena_array(m->arena, (size_t)p->noutput, sizeof *outputs);
    if (!make_inputs(m, g, data, inputs)) return false;
    Exec *x = exec_new(image_new(m->program, ENGINE_PORTABLE, NULL));
    bool ok = exec_run(x, m->cx, inputs, NULL, NULL, NULL);
    for (int i = 0; i < p->noutput; i++) {
        outputs[i] = p->outputs[i].tensor;
        outputs[i].data = exec_output(x, i);
    }
    if (ok) c_print_selftest(m, inputs, outputs, f);
    exec_free(x);
    return ok;
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static void fill_report(const CModel *m, int integers, qonnx_compile_report *r)
{
    *r = (qonnx_compile_report){.arena = m->arena_bytes,
                                .alive = m->program->alive,
                                .weights = m->weights,
                                .calls = m->ncall,
                                .outputs = m->program->noutput,
                                .integer_ports = integers};
    snprintf(r->prefix, sizeof r->prefix, "%s", m->prefix);
}

/* Prints every file into memory. */
static bool print_files(CModel *m, const Graph *g, const qonnx_dataset *data, CFile files[C_FILES])
{
    if (m->weights_apart) {
        c_print_weights(m, c_file_begin(&files[C_WEIGHTS]));
        m->weights_hash = c_file_hash(&files[C_WEIGHTS]);
    }
    c_print_header(m, c_file_begin(&files[C_HEADER]));
    c_print_source(m, c_file_begin(&files[C_SOURCE]));
    c_print_makefile(m, c_file_begin(&files[C_MAKEFILE]));
    bool ok = make_selftest(m, g, data, c_file_begin(&files[C_TEST]));
    for (int i = 0; i < C_FILES; i++)
        if (!c_file_end(&files[i])) ok = qonnx_fail(m->cx, NULL, "out of memory");
    return ok;
}

static bool compile(CModel *m, const Graph *g, const char *directory,
                    const qonnx_compile_options *o, qonnx_compile_report *report)
{
    if (!make_names(m, g, o->prefix) || !c_files_spared(m, directory)) return false;
    Graph *ready = graph_clone(g);
    graph_prepare(m->cx, ready, false);
    if (!specialize(m, ready)) {
        qonnx_graph_free(ready);
        return false;
    }
    name_ports(m, ready);
    int integers = o->integer_io ? integer_ports(m, ready) : 0;
    if (o->integer_io && !integers) {
        qonnx_graph_free(ready);
        return qonnx_fail(m->cx, NULL,
                          "%s: no input or output is quantized directly, so none can be "
                          "integers; quantize the model first",
                          g->model->path);
    }
    if (!make_program(m, ready, o->max_memory)) return false;
    char *said = o->image_io && !o->preprocess ? qonnx_preprocess_of_model(m->cx, g) : NULL;
    bool pixels = !o->image_io || c_pixels(m, o->preprocess ? o->preprocess : said ? said : "");
    free(said);
    if (!pixels) return false;
    CFile files[C_FILES] = {{NULL}};
    bool ok = print_files(m, g, o->data, files) && c_files_write(m, directory, files);
    for (int i = 0; i < C_FILES; i++) free(files[i].text);
    if (ok && report) fill_report(m, integers, report);
    return ok;
}

bool qonnx_model_compile(Ctx *cx, const Graph *g, const char *directory,
                         const qonnx_compile_options *options, qonnx_compile_report *report)
{
    static const qonnx_compile_options defaults;
    const qonnx_compile_options *o = options ? options : &defaults;
    if (o->target && strcmp(o->target, "generic"))
        return qonnx_fail(cx, NULL, "there is no target '%s' for C; there is 'generic'", o->target);
    locale_t numbers = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = uselocale(numbers);
    CModel m = {.cx = cx, .arena = arena_new(), .weights_apart = o->weights_bin};
    bool ok = compile(&m, g, directory, o, report);
    program_free(m.program);
    arena_free(m.arena);
    uselocale(before);
    freelocale(numbers);
    return ok;
}
