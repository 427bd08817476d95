/* cli/run.c - qonnx run: a model's outputs for samples, printed, written, or checked against the
 * ones that stand beside the inputs, as in ONNX's backend tests.
 */
#include "calibrate.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "tensor.h"
#include <qonnx/qonnx.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Run {
    const Args *args;
    qonnx_ctx *cx;
    const qonnx_graph *g;
    const qonnx_dataset *d; /* NULL: one set of inputs */
    size_t samples;         /* how many there are */
    qonnx_tensor *want;     /* --check: one per graph output */
    int different;          /* --check: outputs that are not as wanted */
    json_t *report;         /* --check --json: one object per output */
    size_t written;         /* -o: samples whose outputs were written, or begun */
    bool made;              /* -o: the directory was not there */
    qonnx_scratch *stage;   /* -o: where they are until all are there; NULL: nowhere */
    bool failed;            /* a message has been printed */
} Run;

/* ---- check ----------------------------------------------------------------------------------- */

/* How one output compares with what is wanted. */
typedef struct Comparison {
    bool alike;        /* type and shape are those wanted */
    int64_t different; /* elements that are not as wanted */
    int64_t worst;     /* the one that is farthest beyond what is allowed; -1: all are equal */
    double beyond;     /* by how much */
    double error;      /* largest absolute error, of the equal ones too */
} Comparison;

/* Whether element i has the very same bits. */
static bool same_bits(const qonnx_tensor *a, const qonnx_tensor *b, int64_t i)
{
    size_t width = (size_t)qonnx_dtype_bits(a->dtype) / 8;
    if (!width) /* they are packed, and integers */
        return element(a, i) == element(b, i);
    return !memcmp((const char *)a->data + (size_t)i * width,
                   (const char *)b->data + (size_t)i * width, width);
}

/* A relative tolerance is at least two steps of bfloat16, as ONNX's own tests have it. */
static double relative(const Args *args, qonnx_dtype t)
{
    bool coarse = t == QONNX_BFLOAT16 && args->rtol > 0 && args->rtol < 0x1p-6;
    return coarse ? 0x1p-6 : args->rtol;
}

static void compare_element(Comparison *c, const Args *args, const qonnx_tensor *got,
                            const qonnx_tensor *want, int64_t i)
{
    double x = element(got, i), y = element(want, i);
    bool real = is_real(got->dtype), finite = isfinite(x) && isfinite(y);
    if (real ? x == y || (isnan(x) && isnan(y)) : same_bits(got, want, i)) return;
    double error = finite ? fabs(x - y) : INFINITY;
    double allowed = real && finite ? args->atol + relative(args, got->dtype) * fabs(y) : 0;
    if (error > c->error) c->error = error;
    if (real && error <= allowed) return;
    c->different++;
    if (c->worst >= 0 && error - allowed <= c->beyond) return;
    c->worst = i;
    c->beyond = error - allowed;
}

/* The first string that is not as wanted is the worst. */
static void compare_strings(Comparison *c, const qonnx_tensor *got, const qonnx_tensor *want)
{
    int64_t count = qonnx_tensor_elements(got);
    for (int64_t i = count; i-- > 0;) {
        qonnx_string x = qonnx_tensor_string(got, i), y = qonnx_tensor_string(want, i);
        if (x.bytes == y.bytes && !memcmp(x.text, y.text, x.bytes)) continue;
        c->different++;
        c->worst = i;
    }
}

static Comparison compare(const Args *args, const qonnx_tensor *got, const qonnx_tensor *want)
{
    Comparison c = {.alike = got->dtype == want->dtype && got->rank == want->rank, .worst = -1};
    for (int i = 0; c.alike && i < got->rank; i++) c.alike = got->dims[i] == want->dims[i];
    if (!c.alike) return c;
    if (holds_tensors(got->dtype)) return c;
    if (got->dtype == QONNX_STRING) {
        compare_strings(&c, got, want);
        return c;
    }
    if (!is_number(got->dtype)) {
        c.different =
            got->bytes != want->bytes || (got->bytes && memcmp(got->data, want->data, got->bytes));
        return c;
    }
    int64_t count = qonnx_tensor_elements(got);
    for (int64_t i = 0; i < count; i++) compare_element(&c, args, got, want, i);
    return c;
}

/* Where element `at` stands in the tensor: one index a dimension. */
static void index_of(int64_t index[QONNX_MAX_RANK], const qonnx_tensor *t, int64_t at)
{
    for (int i = t->rank; i-- > 0; at /= t->dims[i]) index[i] = at % t->dims[i];
}

static void print_worst(const qonnx_tensor *got, const qonnx_tensor *want, const Comparison *c)
{
    int64_t index[QONNX_MAX_RANK];
    index_of(index, got, c->worst);
    printf("DIFFERS: %lld of %lld elements; worst at [", (long long)c->different,
           (long long)qonnx_tensor_elements(got));
    for (int i = 0; i < got->rank; i++) printf("%s%lld", i ? "," : "", (long long)index[i]);
    char is[NAME_ROOM], should[NAME_ROOM];
    if (got->dtype == QONNX_STRING)
        printf("]: got \"%s\", want \"%s\"\n", string_text(is, sizeof is, got, c->worst),
               string_text(should, sizeof should, want, c->worst));
    else printf("]: got %.9g, want %.9g\n", element(got, c->worst), element(want, c->worst));
}

static void print_comparison(const char *name, const qonnx_tensor *got, const qonnx_tensor *want,
                             const Comparison *c)
{
    char clean[NAME_ROOM], is[NAME_ROOM], should[NAME_ROOM];
    printf("%s %s: ", clean_name(clean, sizeof clean, name), tensor_text(is, sizeof is, got));
    if (!c->alike)
        printf("DIFFERS: want %s\n", tensor_text(should, sizeof should, want));
    else if (!c->different)
        printf("equal (largest error %.3g)\n", c->error);
    else if (c->worst < 0)
        printf("DIFFERS\n");
    else
        print_worst(got, want, c);
}

static json_t *worst_json(const qonnx_tensor *got, const qonnx_tensor *want, const Comparison *c)
{
    int64_t index[QONNX_MAX_RANK];
    if (c->worst < 0) return json_null();
    index_of(index, got, c->worst);
    json_t *list = json_array();
    for (int i = 0; i < got->rank; i++) json_array_append_new(list, json_integer(index[i]));
    char is[NAME_ROOM], should[NAME_ROOM];
    if (got->dtype == QONNX_STRING)
        return json_pack("{so so so}", "index", list, "got",
                         json_text(string_text(is, sizeof is, got, c->worst)), "want",
                         json_text(string_text(should, sizeof should, want, c->worst)));
    return json_pack("{so so so}", "index", list, "got", json_number(element(got, c->worst)),
                     "want", json_number(element(want, c->worst)));
}

static json_t *comparison_json(const char *name, const qonnx_tensor *got, const qonnx_tensor *want,
                               const Comparison *c)
{
    char is[NAME_ROOM], should[NAME_ROOM];
    return json_pack("{so ss ss sb sI sI so so}", "name", json_text(name), "type",
                     tensor_text(is, sizeof is, got), "wanted_type",
                     tensor_text(should, sizeof should, want), "equal", c->alike && !c->different,
                     "elements", (json_int_t)qonnx_tensor_elements(got), "different",
                     (json_int_t)c->different, "largest_error", json_number(c->error), "worst",
                     worst_json(got, want, c));
}

/* The name of part i of an output that is no tensor, "boxes[2]", into out[size]. */
static const char *part_name(char *out, size_t size, const char *name, int64_t i)
{
    snprintf(out, size, "%s[%lld]", name, (long long)i);
    return out;
}

/* Compares an output, or a tensor of one, and reports it. Whether it is as wanted. */
static bool check_output(Run *run, const char *name, const qonnx_tensor *got,
                         const qonnx_tensor *want)
{
    char part[NAME_ROOM];
    Comparison c = compare(run->args, got, want);
    bool same = c.alike && !c.different;
    if (same && holds_tensors(got->dtype) && got->dims[0]) {
        const qonnx_tensor *is = got->data, *should = want->data;
        for (int64_t i = 0; i < got->dims[0]; i++)
            if (!check_output(run, part_name(part, sizeof part, name, i), &is[i], &should[i]))
                same = false;
        return same;
    }
    if (run->report) json_array_append_new(run->report, comparison_json(name, got, want, &c));
    else print_comparison(name, got, want, &c);
    return same;
}

static bool check_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    Run *run = user;
    (void)sample;
    for (int i = 0; i < qonnx_graph_outputs(run->g); i++)
        run->different += !check_output(run, qonnx_value_name(qonnx_graph_output(run->g, i)),
                                        &outputs[i], &run->want[i]);
    return true;
}

/* ---- print and write ------------------------------------------------------------------------- */

/* The five largest elements of a vector, largest first. */
static void print_top(const qonnx_tensor *t)
{
    int64_t top[5], count = vector_length(t);
    int n = 0;
    for (int64_t i = 0; i < count; i++) {
        int at = n;
        for (; at > 0 && element(t, i) > element(t, top[at - 1]); at--)
            if (at < 5) top[at] = top[at - 1];
        if (at < 5) top[at] = i;
        if (n < 5) n++;
    }
    if (n) printf("    top:");
    for (int i = 0; i < n; i++) printf(" %lld (%.6g)", (long long)top[i], element(t, top[i]));
    if (n) putchar('\n');
}

static void print_tensor(const char *name, const qonnx_tensor *t)
{
    char clean[NAME_ROOM], type[NAME_ROOM];
    int64_t count = qonnx_tensor_elements(t);
    const qonnx_tensor *parts = t->data;
    if (holds_tensors(t->dtype)) {
        print_line("  %s %s", clean_name(clean, sizeof clean, name),
                   tensor_text(type, sizeof type, t));
        for (int64_t i = 0; i < count; i++)
            print_tensor(part_name(clean, sizeof clean, name, i), &parts[i]);
        return;
    }
    printf("  %s %s:", clean_name(clean, sizeof clean, name), tensor_text(type, sizeof type, t));
    for (int64_t i = 0; i < count && i < 8 && is_number(t->dtype); i++)
        printf(is_real(t->dtype) ? " %.6g" : " %.0f", element(t, i));
    for (int64_t i = 0; i < count && i < 8 && t->dtype == QONNX_STRING; i++)
        printf(" \"%s\"", string_text(type, sizeof type, t, i));
    printf("%s\n", count > 8 ? " ..." : "");
    print_top(t);
}

static bool print_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    Run *run = user;
    if (run->d) print_line("%s", qonnx_dataset_name(run->d, sample));
    for (int i = 0; i < qonnx_graph_outputs(run->g); i++)
        print_tensor(qonnx_value_name(qonnx_graph_output(run->g, i)), &outputs[i]);
    return !ferror(stdout) && !interrupted();
}

/* ---- write: beside their place first, so that all outputs come or none ------------------------
 */

/* Makes a directory unless it is there; *made: it was not. */
static bool make_directory(const char *path, bool *made)
{
    struct stat s;
    *made = !mkdir(path, 0777);
    int why = errno;
    if (*made || (why == EEXIST && !stat(path, &s) && S_ISDIR(s.st_mode))) return true;
    complain("%s: can not be made a directory: %s", path, strerror(why));
    return false;
}

/* Makes the directory of the outputs, and in it the one that they are written to at first. */
static bool stage_open(Run *run)
{
    if (!make_directory(run->args->output, &run->made)) return false;
    run->stage = qonnx_scratch_new(run->cx, run->args->output);
    if (!run->stage) report_failure(run->cx);
    if (!run->stage && run->made) rmdir(run->args->output);
    return run->stage != NULL;
}

/* DIR/output_K.npy for one sample, DIR/output_K/SAMPLE.npy for several; DIR/output_K for -1. */
static const char *output_path(char path[PATH_MAX], const Run *run, const char *directory, int k,
                               long sample)
{
    int n = snprintf(path, PATH_MAX, "%s/output_%d", directory, k);
    if (run->samples == 1) snprintf(path + n, PATH_MAX - (size_t)n, ".npy");
    else if (sample >= 0) snprintf(path + n, PATH_MAX - (size_t)n, "/%06ld.npy", sample);
    return path;
}

/* Whether the outputs would not be samples of the next run, known before anything is made there:
 * the directory alone may be taken for a class. */
static bool place_spared(Run *run)
{
    char path[PATH_MAX];
    if (strlen(run->args->output) + 128 > PATH_MAX)
        return qonnx_fail(run->cx, NULL, "%s: the path is too long", run->args->output);
    run->samples = 1;
    return output_spared(run->cx, run->g, run->args->data.text, run->args->data.count,
                         output_path(path, run, run->args->output, 0, -1));
}

/* Whether no output is to take the place of an input. */
static bool outputs_spared(Run *run)
{
    char path[PATH_MAX];
    bool good = true;
    for (int i = 0; run->stage && good && i < qonnx_graph_outputs(run->g); i++)
        for (size_t k = 0; good && k < run->samples; k++)
            good = qonnx_output_spares(
                run->cx, output_path(path, run, run->args->output, i, (long)k));
    return good;
}

static bool write_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    Run *run = user;
    const char *stage = qonnx_scratch_path(run->stage);
    char path[PATH_MAX];
    bool made;
    run->written = sample + 1;
    for (int i = 0; i < qonnx_graph_outputs(run->g) && !run->failed; i++) {
        if (!sample && run->samples > 1)
            run->failed = !make_directory(output_path(path, run, stage, i, -1), &made);
        output_path(path, run, stage, i, (long)sample);
        if (!run->failed) run->failed = !npy_write(path, &outputs[i]);
    }
    return !run->failed && !interrupted();
}

/* The paths of output i of sample k where it is at first, and in its place. */
static void output_paths(const Run *run, int i, size_t k, char from[PATH_MAX], char to[PATH_MAX])
{
    output_path(from, run, qonnx_scratch_path(run->stage), i, (long)k);
    output_path(to, run, run->args->output, i, (long)k);
}

/* Puts one output into its place. What stood there takes the other's, where the file system can
 * exchange files, so that it can come back. */
static bool put(const char *from, const char *to)
{
    if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE)) return true;
    if ((errno == ENOENT || errno == EINVAL || errno == ENOSYS) && !rename(from, to)) return true;
    complain("%s: can not be written: %s", to, strerror(errno));
    return false;
}

static void take_back(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE)) (void)!rename(to, from);
}

/* Puts all outputs into their places, or none. */
static bool put_all(Run *run)
{
    size_t count = (size_t)qonnx_graph_outputs(run->g) * run->written, done = 0;
    char from[PATH_MAX], to[PATH_MAX];
    bool good = true;
    for (; good && done < count; done += good) {
        output_paths(run, (int)(done / run->written), done % run->written, from, to);
        good = put(from, to);
    }
    for (; !good && done > 0; done--) {
        output_paths(run, (int)((done - 1) / run->written), (done - 1) % run->written, from, to);
        take_back(from, to);
    }
    return good;
}

/* Puts the outputs in their place, when `good`, and takes away what is left. */
static bool stage_close(Run *run, bool good)
{
    char path[PATH_MAX];
    int folders = good && run->samples > 1 ? qonnx_graph_outputs(run->g) : 0, i = 0;
    bool *made = needed(calloc((size_t)folders + 1, sizeof *made));
    for (; good && i < folders; i++)
        good = make_directory(output_path(path, run, run->args->output, i, -1), &made[i]);
    good = good && put_all(run);
    while (!good && i-- > 0)
        if (made[i]) rmdir(output_path(path, run, run->args->output, i, -1));
    qonnx_scratch_free(run->stage);
    run->stage = NULL;
    if (!good && run->made) rmdir(run->args->output);
    free(made);
    return good;
}

/* ---- one set of inputs: input_K.pb and output_K.pb ------------------------------------------- */

/* DIR/KIND_INDEX.pb into path[size]; whether it is there. */
static bool set_file(char *path, size_t size, const char *directory, const char *kind, int index)
{
    int n = snprintf(path, size, "%s/%s_%d.pb", directory, kind, index);
    return n > 0 && (size_t)n < size && !access(path, F_OK);
}

static bool is_test_set(const char *directory)
{
    char path[PATH_MAX];
    return set_file(path, sizeof path, directory, "input", 0) ||
           set_file(path, sizeof path, directory, "output", 0);
}

/* Reads DIR/input_K.pb of all inputs, or output_K.pb; there must be no more of them. */
static bool load_set(Run *run, const char *directory, bool outputs, qonnx_tensor *tensors)
{
    const char *kind = outputs ? "output" : "input";
    int count = outputs ? qonnx_graph_outputs(run->g) : qonnx_graph_inputs(run->g);
    char path[PATH_MAX];
    if (set_file(path, sizeof path, directory, kind, count)) {
        complain("%s: there is no such %s; the model has %d", path, kind, count);
        run->failed = true;
        return false;
    }
    for (int i = 0; i < count; i++) {
        const qonnx_value *v =
            outputs ? qonnx_graph_output(run->g, i) : qonnx_graph_input(run->g, i);
        set_file(path, sizeof path, directory, kind, i);
        if (!qonnx_tensor_load(run->cx, path, qonnx_value_dtype(v), &tensors[i])) return false;
    }
    return true;
}

static bool run_set(Run *run, qonnx_session *s, const char *directory, qonnx_output_fn *fn)
{
    int nin = qonnx_graph_inputs(run->g), nout = qonnx_graph_outputs(run->g);
    qonnx_tensor *inputs = calloc((size_t)nin + 1, sizeof *inputs);
    run->want = calloc((size_t)nout + 1, sizeof *run->want);
    run->samples = 1;
    bool good = inputs && run->want && load_set(run, directory, false, inputs) &&
                outputs_spared(run) &&
                (!run->args->check || load_set(run, directory, true, run->want)) &&
                qonnx_session_run_one(run->cx, s, inputs, fn, run);
    if (inputs) qonnx_sample_free(inputs, nin);
    if (run->want) qonnx_sample_free(run->want, nout);
    free(run->want);
    free(inputs);
    return good;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static bool run_samples(Run *run, qonnx_session *s, qonnx_output_fn *fn)
{
    qonnx_dataset *d = samples_open(run->cx, run->g, run->args, run->args->data.text,
                                    run->args->data.count);
    if (!d) return false;
    run->d = d;
    run->samples = qonnx_dataset_count(d);
    bool good = outputs_spared(run) && samples_classify(run->cx, d, run->g, NULL, USE_RUN) &&
                qonnx_session_run(run->cx, s, d, fn, run);
    samples_close(d, run->g);
    return good;
}

/* Prints what a check found. Returns the exit status. */
static int conclude_check(Run *run)
{
    if (run->report)
        json_print(json_pack("{so sb sO}", "file", json_text(run->args->operands[0]), "equal",
                             !run->different, "outputs", run->report));
    if (!run->different) return EXIT_DONE;
    complain("%s: check failed: %d of %d outputs differ", run->args->operands[0], run->different,
             qonnx_graph_outputs(run->g));
    return EXIT_BAD;
}

static int run_model(Run *run)
{
    const Args *args = run->args;
    qonnx_output_fn *fn = args->check    ? check_outputs
                          : args->output ? write_outputs
                                         : print_outputs;
    qonnx_session_options o = session_options(args);
    bool set = args->data.count == 1 && (args->check || is_test_set(args->data.text[0]));
    if (fn == print_outputs) progress_hide(); /* the results are the progress */
    qonnx_session *s = qonnx_session_new(run->cx, run->g, &o);
    bool good = s && (set ? run_set(run, s, args->data.text[0], fn) : run_samples(run, s, fn));
    qonnx_session_free(s);
    progress_clear();
    if (run->failed || ferror(stdout)) return EXIT_BAD;
    if (!good || interrupted()) return report_failure(run->cx);
    if (args->check) return conclude_check(run);
    if (args->output && !stage_close(run, true)) return EXIT_BAD;
    if (args->output && !args->quiet)
        print_line("written      %s, outputs of %zu samples", args->output, run->samples);
    return EXIT_DONE;
}

static int run_verb(const Verb *verb, const Args *args)
{
    if (!args->data.count) return options_misuse(verb, "run: give the samples with --data");
    if (args->check && (args->data.count > 1 || args->output))
        return options_misuse(verb, "run: --check takes one --data DIR and no -o");
    if (args->json && !args->check) return options_misuse(verb, "run: --json goes with --check");
    Run run = {.args = args, .cx = progress_ctx()};
    if (args->json) run.report = json_array();
    qonnx_graph *g = runnable_load(run.cx, args, args->operands[0]);
    run.g = g;
    int status;
    if (!g || (args->output && !place_spared(&run))) status = report_failure(run.cx);
    else status = args->output && !stage_open(&run) ? EXIT_BAD : run_model(&run);
    if (run.stage) stage_close(&run, false);
    json_decref(run.report);
    qonnx_graph_free(g);
    qonnx_ctx_free(run.cx);
    return status;
}

static const Option options[] = {
    {"data", 0, OPTION_LIST, offsetof(Args, data), "DATA", NULL,
     "samples: PATH, or NAME=PATH once per input; a\n"
     "directory of input_K.pb is one sample"},
    {"check", 0, OPTION_FLAG, offsetof(Args, check), NULL, NULL,
     "compare with the output_K.pb beside the inputs;\n"
     "exit 1 when they differ"},
    {"rtol", 0, OPTION_REAL, offsetof(Args, rtol), "R", "1e-3",
     "relative tolerance of --check, for float types"},
    {"atol", 0, OPTION_REAL, offsetof(Args, atol), "A", "1e-7",
     "absolute tolerance of --check, for float types"},
    {"output", 'o', OPTION_TEXT, offsetof(Args, output), "DIR", NULL,
     "write output_K.npy there (output_K/SAMPLE.npy for\n"
     "several samples) instead of printing"},
    {"fake-quant", 0, OPTION_FLAG, offsetof(Args, fake_quant), NULL, NULL,
     "run quantized operators in float between Q and DQ,\n"
     "to debug; the default is integers"},
    {.name = NULL},
};

const Verb verb_run = {
    .name = "run",
    .brief = "a model's outputs for samples: printed, written or checked",
    .forms = "MODEL --data DATA [-o DIR]\n"
             "MODEL --data DIR --check [--rtol R] [--atol A]",
    .text =
        "Without --check, prints each sample's outputs: type, shape, first values, and the five\n"
        "largest of a vector. With it, float elements may differ by A + R * |wanted|, NaN equals\n"
        "NaN, and all other types must be the same.",
    .examples = "qonnx run model.onnx --data cat.jpg\n"
                "qonnx run model.onnx --data photos/ -o outputs/\n"
                "qonnx run model.onnx --data test_data_set_0 --check",
    .options = options,
    .samples = true,
    .pictures = true,
    .json = true,
    .least = 1,
    .most = 1,
    .run = run_verb,
};
