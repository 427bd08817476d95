"""qonnx report: its figures are those of evaluate and NumPy, the page says them in headless Chromium, loads nothing and holds
whatever a model's names are."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess

import numpy as np
import onnx
import pytest
from conftest import run_command
from onnx import helper, numpy_helper
from test_choice import files, quantize  # noqa: F401: a fixture
from test_placement import Net
from test_preview import Page

pytestmark = pytest.mark.usefixtures("qonnx")
EVIL = '<script>alert(1)</script>"&\'><img src=x onerror=alert(1)>'


def report(files, *options, quantized="q.onnx"):  # noqa: F811
    """The page, and what --json says of the same run."""
    out = files / "r.html"
    result = run_command("report", files / "m.onnx", files / quantized, "--data", files / "data", "-o", out, "--json", *options)
    assert result.rc == 0, result.stderr
    return out.read_text(encoding="utf-8"), json.loads(result.stdout)


@pytest.fixture
def wild(files):  # noqa: F811
    """A model that one scale for all weights of a tensor spoils, as quantize warns."""
    shutil.copy(files / "wild.onnx", files / "m.onnx")
    result = quantize(files, "--weights", "per-tensor")
    assert result.rc == 0 and "--weights per-channel is more exact" in result.stderr
    return files


# ---- the figures ---------------------------------------------------------------------------------


def test_figures(files, done):  # noqa: F811
    """They are evaluate's, of the models and of their layers."""
    assert quantize(files).rc == 0
    _, r = report(files)
    both = ["evaluate", files / "m.onnx", files / "q.onnx", "--data", files / "data", "--json"]
    models = json.loads(done(*both, "--costs"))["models"]
    for side, m in zip((r["before"], r["after"]), models):
        assert side["bytes"] == m["bytes"] and side["costs"] == m["costs"]
    assert r["outputs"][0]["sqnr_db"] == models[1]["sqnr_db"] and r["outputs"][0]["agreement"] == models[1]["agreement"]
    layers = json.loads(done(*both, "--layers"))["layers"]
    for mine, theirs in zip(r["layers"], layers, strict=True):
        assert {k: mine[k] for k in theirs} == theirs
    own = {x["name"]: x["own"]["sqnr_db"] for x in layers}
    assert r["worst"] == min(own, key=own.get) and r["verdict"] == "Good"
    assert [x["name"] for x in sorted(r["layers"], key=lambda x: x["place"])] == sorted(own, key=own.get)


def test_classes(files, done):  # noqa: F811
    """Accuracy, where the samples have classes."""
    assert quantize(files).rc == 0
    (files / "data" / "labels.txt").write_text("".join(f"{i:02}.npy {i % 10}\n" for i in range(24)))
    page, r = report(files)
    models = json.loads(done("evaluate", files / "m.onnx", files / "q.onnx", "--data", files / "data", "--json"))["models"]
    assert [r[k]["metrics"]["top1"] for k in ("before", "after")] == [m["top1"] for m in models]
    assert any(row[0] == "top-1" and row[1] == f"{100 * models[0]['top1']:.2f} %" for row in Page(page).rows)


def test_channels(wild):
    """The spread is that of the weight before it was quantized."""
    page, r = report(wild)
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(wild / "m.onnx").graph.initializer}
    for x in r["layers"]:
        if x["type"] != "Conv":
            continue
        most = np.abs(weights[x["name"][2:] + "_w"]).max((1, 2, 3))
        c = x["channels"]
        assert (c["count"], c["axis"], c["widest"], c["before_quantization"]) == (8, 0, most.argmax(), True)
        assert (c["largest"], c["median"]) == pytest.approx((most.max(), np.sort(most)[4]), rel=1e-6)
        if x["place"] == 1:
            assert f"is {most.max() / np.sort(most)[4]:.3g} times the median" in html.unescape(page)


def test_verdict_and_remedy(wild):
    """They are the self-check's, and what mends it was tried: made that way, the model is good."""
    _, r = report(wild)
    assert r["verdict"] == "Damaged" and "--weights per-channel" in r["remedy"]["option"]
    tried = {t["option"]: t["sqnr_db"] for t in r["tried"]}
    assert tried["--weights per-channel"] > r["tried_from_db"] + 10
    assert quantize(wild).stderr.count("warning") == 0
    _, mended = report(wild)
    assert mended["verdict"] == "Good" and not mended["tried"]


def test_sensitivities(files, done):  # noqa: F811
    """What a layer gains alone in float is what quantize --exclude of it gives."""
    assert quantize(files, "--weights", "per-tensor", "--calibration", done_calibration(files, done)).rc == 0
    page, r = report(files, "--calibration", files / "m.qcal", "--limit", 16, "--sensitivities", 2)
    gains = {x["name"]: x["gain_in_float_db"] for x in r["layers"] if x["gain_in_float_db"] is not None}
    assert len(gains) == 2
    for name, gain in gains.items():
        assert f"--exclude '^{name}$'" in html.unescape(page)
        assert quantize(files, "--weights", "per-tensor", "--calibration", files / "m.qcal", "--exclude", f"^{name}$").rc == 0
        m = json.loads(done("evaluate", files / "m.onnx", files / "q.onnx", "--data", files / "data", "--limit", 16, "--json"))
        assert m["models"][1]["sqnr_db"] - r["tried_from_db"] == pytest.approx(gain, abs=1e-6)


def done_calibration(files, done):  # noqa: F811
    done("calibrate", files / "m.onnx", files / "data", "-o", files / "m.qcal")
    return files / "m.qcal"


def test_command_makes_it_again(wild):
    """The settings, as they stand there, give the same file."""
    _, r = report(wild)
    words = subprocess.run(["sh", "-c", f"printf '%s\\n' {r['command']}"], capture_output=True, text=True).stdout.splitlines()
    names = {"MODEL": wild / "m.onnx", "DATA": wild / "data", "OUT.onnx": wild / "again.onnx"}
    assert words[:2] == ["qonnx", "quantize"]
    assert run_command(*(names.get(w, w) for w in words[1:])).rc == 0
    assert (wild / "again.onnx").read_bytes() == (wild / "q.onnx").read_bytes()


def test_same_bytes(files):  # noqa: F811
    """Whatever the threads; times are in one place, and can be left out."""
    assert quantize(files).rc == 0
    first, r = report(files, "--no-times", "-j", 1)
    second, s = report(files, "--no-times", "-j", 4)
    assert first == second and r == s
    assert "latency_seconds" not in r["after"] and "time, one thread" not in first
    timed, r = report(files)
    assert r["after"]["latency_seconds"] > 0 and "time, one thread" in timed


def test_thresholds(files, done):  # noqa: F811
    """Every observer's thresholds stand beside the histogram, as explain has them."""
    assert quantize(files, "--calibration", done_calibration(files, done)).rc == 0
    page, _ = report(files, "--calibration", files / "m.qcal")
    assert "the statistics given with --calibration (24 samples)" in page
    rows = Page(page).rows
    answer = json.loads(done("explain", files / "q.onnx", "n_c2", "--calibration", files / "m.qcal", "--json"))
    output = next(v for v in answer["values"] if v["role"] == "output")
    for name, laid in [("in the file", output["integers"]), *((o["name"], o) for o in output["observers"])]:
        want = [f"{laid['lo']:.4g}", f"{laid['hi']:.4g}", f"{100 * laid['clipped']:.3g} %"]
        assert any(row[0] in (name, f"{name} (used)") and row[1:] == want for row in rows), name
    observed, r = report(files)
    assert "values observed on the samples given" in observed
    mine = next(x for x in r["layers"] if x["name"] == "n_c2")["values"]
    assert mine == answer["values"]  # there are 24 samples in both


# ---- the page ------------------------------------------------------------------------------------


def test_page_loads_nothing(files):  # noqa: F811
    """Proper HTML, with a policy that lets only its own style and script be."""
    assert quantize(files).rc == 0
    page, _ = report(files)
    tags = Page(page).tags
    policy = next(a["content"] for t, a in tags if t == "meta" and "http-equiv" in a)
    for kind in ("style", "script"):
        for text in re.findall(f"<{kind}>(.*?)</{kind}>", page, re.S):
            assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not any(a.get("src") or a.get("style") or any(k.startswith("on") for k in a) for _, a in tags)
    assert all(a["href"].startswith("#") for _, a in tags if a.get("href"))
    ids = [a["id"] for _, a in tags if a.get("id")]
    assert len(set(ids)) == len(ids) and {a["href"][1:] for _, a in tags if a.get("href")} <= set(ids)
    assert "http:" not in page and "https:" not in page


def renamed(path, old, new):
    m = onnx.load(path)
    for n in m.graph.node:
        n.name = new if n.name == old else n.name
        n.input[:] = [new if i == old[2:] else i for i in n.input]
        n.output[:] = [new if o == old[2:] else o for o in n.output]
    del m.graph.value_info[:]
    onnx.save(m, path)


def test_names_are_text(files, chromium):  # noqa: F811
    """A node that is called as a script is runs none."""
    renamed(files / "m.onnx", "n_r1", EVIL)
    renamed(files / "m.onnx", "n_c2", EVIL + "2")
    assert quantize(files).rc == 0
    page, r = report(files, "--sensitivities", 9)
    assert any(x["name"] == EVIL + "2" for x in r["layers"])
    tags = Page(page).tags
    assert [t for t, _ in tags].count("script") == 1 and "img" not in [t for t, _ in tags]
    dom = chromium(files / "r.html", "--dump-dom")
    assert "<img" not in dom and dom.count("<script") == 1 and "alert(1)&lt;/script&gt;" in dom


def test_model_of_others(files):  # noqa: F811
    """A quantized file that does not say how it was made."""
    assert quantize(files, "--weights", "per-tensor").rc == 0
    m = onnx.load(files / "q.onnx")
    del m.metadata_props[:]
    onnx.save(m, files / "q.onnx")
    page, r = report(files)
    assert r["command"] is None and not r["tried"] and r["remedy"]["option"] == "--weights per-channel"
    assert "Nothing was tried" in page and "does not say how it was made" in page


def test_bodies(tmp_path, done):
    """What a branch reads is drawn as a line to the If."""
    n = Net([1, 4])
    m = n.op("MatMul", ["x", n.weight("w", 4, 4)], "m")
    branches = [helper.make_graph([helper.make_node(op, [m], [f"{op}_out"], name=f"n_{op}")], op, [],
                                  [helper.make_tensor_value_info(f"{op}_out", 1, None)]) for op in ("Neg", "Abs")]
    n.constants.append(numpy_helper.from_array(np.array(True), "yes"))
    n.op("If", ["yes"], "y", then_branch=branches[0], else_branch=branches[1])
    onnx.save(n.model("y"), tmp_path / "m.onnx")
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "0.npy", np.ones((1, 4), np.float32))
    done("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "q.onnx", "-q", "--pipeline",
         "raise-opset,calibrate,insert-qdq,quantize-weights")
    page, _ = report(tmp_path)
    lines = re.search(r'class="lines" d="(.*?)"', page)[1]
    assert lines.count("M") == 3 and page.count("<rect") == 4  # x, MatMul, If, y: one after the other


def test_operators_in_float(files):  # noqa: F811
    assert quantize(files, "--exclude", "c2").rc == 0
    page, _ = report(files)
    assert "stay in float for ort-x86" in page and "dashed: in float" in page and 'class="n e' in page and " float\"" in page


def test_large_graph(tmp_path, done):
    """Of a large graph the first 2,000 boxes are drawn, as a message says; the page stays small."""
    n = Net([1, 4])
    x = n.op("MatMul", ["x", n.weight("w", 4, 4)], "m")
    for i in range(2100):
        x = n.op("Neg", [x], f"v{i}")
    onnx.save(n.model(x), tmp_path / "m.onnx")
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "0.npy", np.ones((1, 4), np.float32))
    done("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "q.onnx", "-q")
    page, _ = report(tmp_path)
    assert "The graph is large: the first 2000 boxes are drawn, 102 more operators are not" in page
    assert len(page) < 3e6 and page.count("<rect") == 2000


# ---- bad input -----------------------------------------------------------------------------------


def test_bad_input(files):  # noqa: F811
    assert quantize(files).rc == 0
    two = onnx.load(files / "m.onnx")
    two.graph.output.append(onnx.ValueInfoProto(name="f"))
    onnx.save(two, files / "two.onnx")
    other = Net([1, 3, 8, 8])
    onnx.save(other.model(other.op("Flatten", ["x"], "z")), files / "other.onnx")
    assert run_command("quantize", files / "two.onnx", "--data", files / "data", "-o", files / "two.q.onnx").rc == 0
    (files / "empty").mkdir()
    page = ["--data", "data", "-o", "r.html"]
    for arguments, status, message in [
        (["m.onnx"], 2, "too few operands"),
        (["m.onnx", "q.onnx", "q.onnx", *page], 2, "unexpected operand"),
        (["m.onnx", "q.onnx", "-o", "r.html"], 2, "--data"),
        (["m.onnx", "q.onnx", "--data", "data"], 2, "-o PAGE.html"),
        (["m.onnx", "q.onnx", *page, "--metric", "acuracy"], 2, "acuracy"),
        (["m.onnx", "q.onnx", *page, "--sensitivities", "many"], 2, "a whole number"),
        (["none.onnx", "q.onnx", *page], 1, "none.onnx"),
        (["m.onnx", "none.onnx", *page], 1, "none.onnx"),
        (["m.onnx", "m.onnx", *page], 1, "named twice"),
        (["q.onnx", "m.onnx", *page], 1, "m.onnx: is not quantized"),
        (["m.onnx", "two.q.onnx", *page], 1, "two.q.onnx: has 2 outputs, and m.onnx has 1"),
        (["other.onnx", "q.onnx", *page], 1, "is it made of that model?"),
        (["m.onnx", "q.onnx", "--data", "empty", "-o", "r.html"], 1, "empty"),
        (["m.onnx", "q.onnx", "--data", "nothing", "-o", "r.html"], 1, "nothing"),
        (["m.onnx", "q.onnx", "--data", "data", "-o", "no/r.html"], 1, "no/r.html"),
        (["m.onnx", "q.onnx", "--data", "data", "-o", "q.onnx"], 1, "q.onnx"),
        (["m.onnx", "q.onnx", *page, "--calibration", "q.onnx"], 1, "q.onnx"),
        (["m.onnx", "q.onnx", *page, "--labels", "none.txt"], 1, "none.txt"),
    ]:
        before = (files / "q.onnx").read_bytes()
        result = run_command("report", *arguments, cwd=files)
        said = [x for x in result.stderr.splitlines() if not x.startswith(("qonnx: warning", "input:"))]
        assert result.rc == status and message in result.stderr, (arguments, result)
        assert len(said) == 1 + (status == 2) and not (files / "r.html").exists(), (arguments, result)
        assert (files / "q.onnx").read_bytes() == before


def test_statistics_of_another_model(files, done):  # noqa: F811
    assert quantize(files).rc == 0
    done("calibrate", files / "wild.onnx", files / "data", "-o", files / "w.qcal")
    result = run_command("report", files / "m.onnx", files / "q.onnx", "--data", files / "data", "-o", files / "r.html",
                         "--calibration", files / "w.qcal")
    assert result.rc == 1 and "taken on another graph" in result.stderr and not (files / "r.html").exists()


def test_help():
    text = run_command("report", "--help").stdout
    assert "Examples:\n  qonnx report model.onnx model.int8.onnx --data test/ -o report.html" in text


# ---- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """chromium(PAGE, OPTION...) gives what headless Chromium prints."""
    command = shutil.which("chromium")
    if not command:
        pytest.skip("no chromium: tools/setup.sh test installs it")
    home = tmp_path_factory.mktemp("chromium")

    def opened(page, *options):
        done = subprocess.run(
            [command, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={home}",
             *options, f"file://{page}"],
            capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return opened


LOOK = """
<script>
addEventListener("load", () => {
  const seen = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const range = document.createRange();
    range.selectNodeContents(n);
    const r = range.getBoundingClientRect();
    if (n.data.trim() && r.width && r.top >= 0 && r.bottom <= 844 && r.left >= 0 && r.right <= 390) seen.push(n.data);
  }
  const size = [innerWidth, innerHeight], wide = document.documentElement.scrollWidth;
  DO;
  parent.postMessage(JSON.stringify({
    size, wide, seen: seen.join(" ").replace(/\\s+/g, " "), result,
    back: getComputedStyle(document.documentElement).backgroundColor, text: getComputedStyle(document.body).color,
    ready: performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart}), "*");
});
</script>
"""
FRAME = """<!DOCTYPE html><meta name="color-scheme" content="light dark"><iframe width="390" height="844" style="border: 0" src="NAME"></iframe>
<script>addEventListener("message", (e) => {
  document.body.append(Object.assign(document.createElement("pre"), {id: "said", textContent: e.data}));
});</script>"""


def look(chromium, page, *options, do="const result = null"):
    """What the page looks like on a phone, said by a script in a copy of it without the policy. It is in a frame, for no window
    of Chromium's is that small."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>\n', "", text)
    inner, outer = page.with_suffix(".look.html"), page.with_suffix(".frame.html")
    inner.write_text(text.replace("</body>", LOOK.replace("DO", do) + "</body>"), encoding="utf-8")
    outer.write_text(FRAME.replace("NAME", inner.name), encoding="utf-8")
    dom = chromium(outer, "--dump-dom", "--virtual-time-budget=5000", *options)
    said = json.loads(html.unescape(re.search(r'<pre id="said">(.*?)</pre>', dom, re.S)[1]))
    assert said["size"] == [390, 844]
    return said


DARK = "--blink-settings=preferredColorScheme=0"


def luminance(color):
    return sum(int(c) * w for c, w in zip(re.findall(r"\d+", color), (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("dark", [False, True])
def test_first_screen(wild, chromium, dark):
    """On a phone the first screen has the verdict, the worst layer, its spread and what mends it; nothing scrolls sideways."""
    _, r = report(wild)
    said = look(chromium, wild / "r.html", *[DARK] * dark)
    worst = next(x for x in r["layers"] if x["place"] == 1)
    c = worst["channels"]
    for text in ("Damaged", worst["name"], f"is {c['largest'] / c['median']:.3g} times the median", r["remedy"]["option"]):
        assert text in said["seen"], (text, said["seen"])
    assert said["wide"] <= 390
    back, text = luminance(said["back"]), luminance(said["text"])
    assert (back < 40 and text > 180) if dark else (back > 230 and text < 60)


def test_without_scripts(wild, chromium):
    """All of it is in the page as it is."""
    report(wild)
    text = (wild / "r.html").read_text(encoding="utf-8")
    (wild / "plain.html").write_text(re.sub("<script>.*?</script>", "", text, flags=re.S), encoding="utf-8")
    dom = chromium(wild / "plain.html", "--dump-dom")
    for text in ("Worst layer:", "What would help", "All layers", "Settings to reproduce it", "thresholds"):
        assert text in dom


def test_search_zoom_and_keys(files, chromium):  # noqa: F811
    """The script finds boxes, zooms, goes from box to box, and opens the layer that a box leads to."""
    assert quantize(files).rc == 0
    report(files)
    result = look(chromium, files / "r.html", do="""
      const picture = document.getElementById("picture"), view = document.getElementById("view"), find = document.getElementById("find");
      const key = (k) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: k, bubbles: true, cancelable: true}));
      const result = {before: +picture.getAttribute("width"), tools: !document.querySelector(".tools").hidden};
      find.value = "C2"; find.dispatchEvent(new Event("input"));
      result.hits = [...document.querySelectorAll(".hit")].map((b) => b.textContent);
      result.found = document.getElementById("found").textContent;
      view.focus(); key("+");
      result.zoomed = +picture.getAttribute("width");
      key("-");
      result.back = +picture.getAttribute("width");
      key("ArrowDown");
      result.first = document.activeElement.textContent;
      key("ArrowDown");
      result.second = document.activeElement.textContent;
      result.tabs = document.querySelectorAll("a.n[tabindex='0']").length;
      location.hash = document.activeElement.getAttribute("href");
      dispatchEvent(new HashChangeEvent("hashchange"));
      result.open = [...document.querySelectorAll("details[open] .name")].map((n) => n.textContent);
      result.focus = document.activeElement.id === location.hash.slice(1)
    """)["result"]
    assert result["tools"] and len(result["hits"]) == 1 and "c2" in result["hits"][0] and result["found"] == "1 found"
    assert result["zoomed"] == pytest.approx(1.25 * result["before"]) and result["back"] == pytest.approx(result["before"])
    assert "n_c1" in result["first"] and "n_c2" in result["second"] and result["tabs"] == 1
    assert result["open"] == ["n_c2"] and result["focus"]


def test_real_model(shared, chromium, tmp_path, done):
    """MobileNetV2 with one scale a tensor: the first screen says what is wrong, and the page is small."""
    model, data = shared / "models" / "mobilenet_v2_imagenet" / "model.onnx", shared / "data" / "imagenet"
    pictures = ["--resize", "short:256", "--crop", 224, "--scale", "1/127.5", "--mean", 1, "--std", 1]
    done("quantize", model, "--data", data / "calibration", *pictures, "--limit", 16, "--check-samples", 0, "-q",
         "--weights", "per-tensor", "--no-correct-bias", "-o", tmp_path / "q.onnx")
    out = json.loads(done("report", model, tmp_path / "q.onnx", "--data", data / "test", "--limit", 8, "--sensitivities", 0,
                          "-o", tmp_path / "r.html", "--json"))
    ready = []
    for options in ([], [DARK]):
        said = look(chromium, tmp_path / "r.html", *options)
        ready.append(said["ready"])
        for text in ("Damaged", out["worst"], "times the median", "--weights per-channel"):
            assert text in said["seen"], (text, said["seen"])
        assert said["wide"] <= 390
    assert min(ready) < 1000
    assert (tmp_path / "r.html").stat().st_size < 3e6
