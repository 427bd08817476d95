"""What a plugin's pass can do: keep nodes in float, ask for samples and watch values on them, clear ranges, run a changed copy
of the graph, set types and attributes; and what an observer sees."""

import numpy as np
import onnx
import pytest
from conftest import run_command
from ort import session
from plugin_source import PLUGIN, compile_source
from test_choice import files, in_integers, quantize  # noqa: F401: a fixture
from test_overrides import grids

pytestmark = pytest.mark.usefixtures("qonnx")
FIELDS = {k: "" for k in ("top", "range", "options", "pass", "observer", "passes", "plugin", "query")}


def plugin(folder, **fields):
    return compile_source(folder / "mine.so", PLUGIN % (FIELDS | {"name": "mine", "run": "return true;", "range": "return true;"} | fields))


WATCH = """
#include <stdio.h>
static double sums[2]; static size_t seen;
static bool watch(void *user, size_t sample, const qonnx_tensor *t)
{
    const float *a = t[0].data, *b = t[1].data;
    if (sample != seen++) abort();
    for (int64_t i = 0; i < qonnx_tensor_elements(&t[0]); i++) sums[0] += a[i];
    for (int64_t i = 0; i < qonnx_tensor_elements(&t[1]); i++) sums[1] += b[i];
    return true;
}
"""


def watching(values, body=""):
    return f"""const char *names[] = {{{values}}}; {body}
        if (!qonnx_watch(cx, g, names, 2, qonnx_job_samples(job), qonnx_job_session_options(job), watch, NULL)) return false;
        qonnx_note(cx, NULL, "watched %zu: %.9g %.9g", seen, sums[0], sums[1]); return true;"""


def sums(files, names, model="m.onnx"):  # noqa: F811
    """ONNX Runtime's sums of values over all samples."""
    m = onnx.load(files / model)
    del m.graph.output[:]
    m.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    s = session(m)
    outs = [s.run(None, {"x": np.load(f)}) for f in sorted((files / "data").glob("*.npy"))]
    return [sum(float(y[k].astype(float).sum()) for y in outs) for k in range(len(names))]


@pytest.mark.parametrize("where", ["mine", "mine@calibrate"])
@pytest.mark.parametrize("options", [[], ["-j", 3], ["--engine", "portable"]], ids=str)
def test_watch(files, tmp_path, where, options):  # noqa: F811
    """Every sample, in order, whatever the threads; before the calibration and behind it."""
    so = plugin(tmp_path, top=WATCH, run=watching('"r1", "p"'), **{"pass": ".samples = true,"})
    result = quantize(files, "--plugin", so, "--pass", where, "-v", *options)
    assert result.rc == 0, result.stderr
    line, = (s for s in result.stderr.splitlines() if "watched" in s)
    count, *got = line.split("watched ")[1].replace(":", "").split()
    assert count == "24"
    np.testing.assert_allclose([float(x) for x in got], sums(files, ["r1", "p"]), rtol=1e-4)


def test_watch_inputs_and_twice(files, tmp_path):  # noqa: F811
    so = plugin(tmp_path, top=WATCH, run=watching('"x", "x"'), **{"pass": ".samples = true,"})
    result = quantize(files, "--plugin", so, "--pass", "mine", "-v")
    want = sum(float(np.load(f).astype(float).sum()) for f in (files / "data").glob("*.npy"))
    got = result.stderr.split("watched 24: ")[1].split()[:2]
    np.testing.assert_allclose([float(x) for x in got], [want, want], rtol=1e-4)


def test_watch_an_edited_graph(files, tmp_path):  # noqa: F811
    """In the middle of an edit: a Relu more behind r1 changes nothing, a Neg turns the sign."""
    edit = """qonnx_value *v = qonnx_graph_find(g, "r1"), *y = qonnx_graph_add_value(g, "turned");
              qonnx_graph_add_node(g, NULL, "Neg", "", "turn", &v, 1, &y, 1);"""
    so = plugin(tmp_path, top=WATCH, run=watching('"r1", "turned"', edit), **{"pass": ".samples = true,"})
    result = quantize(files, "--plugin", so, "--pass", "mine", "-v")
    assert result.rc == 0, result.stderr
    a, b = (float(x) for x in result.stderr.split("watched 24: ")[1].split()[:2])
    assert a == -b and a > 0


@pytest.mark.parametrize("values, words", [('"nope", "r1"', "'nope' is no value that is computed"),
                                           ('"c1_w", "r1"', "'c1_w' is no value that is computed")])
def test_watch_refused(files, tmp_path, values, words):  # noqa: F811
    so = plugin(tmp_path, top=WATCH, run=watching(values), **{"pass": ".samples = true,"})
    result = quantize(files, "--plugin", so, "--pass", "mine")
    assert result.rc == 1 and words in result.stderr and not (files / "q.onnx").exists()


def test_samples_are_missing(files, tmp_path, done):  # noqa: F811
    """With statistics alone a pass that asks for samples cannot run; with --data beside them it can."""
    so = plugin(tmp_path, top=WATCH, run=watching('"r1", "p"'), **{"pass": ".samples = true,"})
    done("calibrate", files / "m.onnx", files / "data", "-o", files / "m.qcal")
    given = ["quantize", files / "m.onnx", "--calibration", files / "m.qcal", "-o", files / "q.onnx", "--plugin", so,
             "--pass", "mine@calibrate"]
    result = run_command(*given)
    assert result.rc == 1 and "pass 'mine' asks for samples; give them with --data, too" in result.stderr
    assert run_command(*given, "--data", files / "data").rc == 0
    plain = plugin(tmp_path, top=WATCH, run="return !qonnx_job_samples(job);")
    assert run_command(*given[:-4], "--plugin", plain, "--pass", "mine@calibrate", "--data", files / "data").rc == 0


def test_keep_clear_and_types(files, tmp_path):  # noqa: F811
    """A node in float, a range that is cleared, the type of an added value, attributes of floats and tensors."""
    run = """for (qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n))
                 if (!strcmp(qonnx_node_name(n), "n_c2")) qonnx_node_keep_float(n, true);
             qonnx_value_clear_range(qonnx_graph_find(g, "p")); return true;"""
    so = plugin(tmp_path, top="#include <string.h>", run=run)
    assert quantize(files, "--plugin", so, "--pass", "mine@calibrate").rc == 0
    assert in_integers(files / "q.onnx") == {"n_c1", "n_c3", "n_y"}
    assert "p" not in grids(files / "q.onnx")

    run = """const float three[] = {1, 2, 3}; const int64_t dims[] = {1, 3}; int64_t found[QONNX_MAX_RANK];
             qonnx_tensor t = {QONNX_FLOAT, 1, {3}, three, sizeof three};
             qonnx_value *v = qonnx_graph_find(g, "r1"), *y = qonnx_graph_add_value(g, "odd");
             qonnx_node *n = qonnx_graph_add_node(g, NULL, "Odd", "my.domain", "odd", &v, 1, &y, 1);
             qonnx_node_set_floats(n, "f", three, 3); qonnx_node_set_tensor(n, "t", &t);
             qonnx_value_set_type(y, QONNX_FLOAT16, 2, dims);
             const float *f; const qonnx_tensor *u = qonnx_node_tensor(n, "t");
             if (qonnx_node_floats(n, "f", &f) != 3 || f[2] != 3 || u->dims[0] != 3 || u->data == three) abort();
             if (qonnx_value_dtype(y) != QONNX_FLOAT16 || qonnx_value_rank(y) != 2 || qonnx_value_dim(y, 1) != 3) abort();
             (void)found; qonnx_node_remove(n); return true;"""
    assert quantize(files, "--plugin", plugin(tmp_path, run=run), "--pass", "mine").rc == 0


def test_copy_with_an_output(files, tmp_path):  # noqa: F811
    """A session of one's own on a copy that gives one value more; the model itself must keep its outputs."""
    top = """#include <stdio.h>
    static int outputs; static double sum;
    static bool see(void *user, size_t sample, const qonnx_tensor *t)
    { const float *x = t[1].data; for (int64_t i = 0; i < qonnx_tensor_elements(&t[1]); i++) sum += x[i]; return true; }"""
    run = """qonnx_graph *c = qonnx_graph_copy(g);
             qonnx_graph_add_output(c, qonnx_graph_find(c, "r2"));
             outputs = qonnx_graph_outputs(c);
             qonnx_session *s = qonnx_session_new(cx, c, qonnx_job_session_options(job));
             bool good = s && qonnx_session_run(cx, s, qonnx_job_samples(job), see, NULL);
             qonnx_session_free(s); qonnx_graph_free(c);
             qonnx_note(cx, NULL, "copy %d %d %.9g", outputs, qonnx_graph_outputs(g), sum); return good;"""
    so = plugin(tmp_path, top=top, run=run, **{"pass": ".samples = true,"})
    result = quantize(files, "--plugin", so, "--pass", "mine", "-v")
    assert result.rc == 0, result.stderr
    a, b, total = result.stderr.split("copy ")[1].split()[:3]
    assert (a, b) == ("2", "1")
    np.testing.assert_allclose(float(total), sums(files, ["r2"])[0], rtol=1e-4)
    so = plugin(tmp_path, run='qonnx_graph_add_output(g, qonnx_graph_find(g, "r2")); return true;')
    assert "left 1 inputs and 2 outputs" in quantize(files, "--plugin", so, "--pass", "mine").stderr


def test_copy_with_an_input(files, tmp_path):  # noqa: F811
    """What is behind r1 runs on what the plugin feeds in its place, whatever the model's own input is."""
    top = """static double sum;
    static bool see(void *user, size_t sample, const qonnx_tensor *t)
    { const float *x = t[1].data; for (int64_t i = 0; i < qonnx_tensor_elements(&t[1]); i++) sum += x[i]; return true; }"""
    run = """qonnx_graph *c = qonnx_graph_copy(g);
             qonnx_value *r1 = qonnx_graph_find(c, "r1"); const int64_t dims[] = {1, 8, -1, -1};
             qonnx_value *fed = qonnx_graph_add_input(c, "r1", QONNX_FLOAT, 4, dims);
             qonnx_value_replace_uses(r1, fed); qonnx_graph_add_output(c, qonnx_graph_find(c, "r2"));
             static float x[192], ones[512]; for (int i = 0; i < 512; i++) ones[i] = 1;
             const qonnx_tensor in[] = {{QONNX_FLOAT, 4, {1, 3, 8, 8}, x, sizeof x}, {QONNX_FLOAT, 4, {1, 8, 8, 8}, ones, sizeof ones}};
             qonnx_session *s = qonnx_graph_refresh(cx, c) ? qonnx_session_new(cx, c, qonnx_job_session_options(job)) : NULL;
             bool good = s && qonnx_session_run_one(cx, s, in, see, NULL);
             if (!qonnx_model_save(cx, c, "%s")) good = false;
             qonnx_note(cx, NULL, "fed %%s %%d %%.9g", qonnx_value_name(fed), qonnx_graph_inputs(g), sum);
             qonnx_session_free(s); qonnx_graph_free(c); return good;"""
    so = plugin(tmp_path, top=top, run=run % (files / "fed.onnx"))
    result = quantize(files, "--plugin", so, "--pass", "mine@raise-opset", "-v")
    assert result.rc == 0, result.stderr
    name, inputs, total = result.stderr.split("fed ")[1].split()[:3]
    assert (name, inputs) == ("r1_1", "1")
    fed = {"x": np.zeros((1, 3, 8, 8), np.float32), "r1_1": np.ones((1, 8, 8, 8), np.float32)}
    np.testing.assert_allclose(float(total), session(files / "fed.onnx").run(["r2"], fed)[0].astype(float).sum(), rtol=1e-5)


def test_observer_sees_its_value(files, tmp_path):  # noqa: F811
    """The name, and the means of the channels where there are some."""
    body = """const qonnx_channels *c = qonnx_job_channels(job); const char *v = qonnx_job_value(job);
              if (v && !strcmp(v, "r1")) { if (!c || c->count != 8 || c->axis != 1) abort(); *lo = 0; *hi = 25.5f; }
              return true;"""
    so = plugin(tmp_path, top="#include <string.h>", range=body)
    assert quantize(files, "--plugin", so, "--observer", "mine-range").rc == 0
    made = grids(files / "q.onnx")
    assert made["r1"][1] == pytest.approx(0.1) and made["r2"][1] != pytest.approx(0.1)


@pytest.mark.parametrize("kind, size, good", [
    ("pass", "offsetof(qonnx_pass, samples)", True),
    ("pass", "offsetof(qonnx_pass, run)", False), ("pass", "sizeof(qonnx_pass) + 8", False), ("pass", "0", False),
    ("observer", "offsetof(qonnx_observer, range)", False), ("observer", "sizeof(qonnx_observer) + 8", False),
])
def test_sizes_of_descriptors(files, tmp_path, kind, size, good):  # noqa: F811
    """An older plugin's shorter descriptor has zeros in what came later; another size is refused by name."""
    field = f".size = {size}," + (" .samples = true," if kind == "pass" else "")
    so = plugin(tmp_path, top="#include <stddef.h>", run="return !qonnx_job_samples(job);", **{kind: field})
    result = quantize(files, "--plugin", so, "--pass", "mine")
    if good:
        assert result.rc == 0, result.stderr
    else:
        assert result.rc == 1 and f"set .size = sizeof(qonnx_{kind})" in result.stderr
