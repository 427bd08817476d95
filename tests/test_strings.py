"""Strings: what moves them runs in programs, what looks into them between the parts of a graph. Outputs are ONNX
Runtime's, for samples that differ in the number of strings; calibrated and quantized, too.
"""
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from ort import session
from test_control import model
from test_sequences import check
from test_turns import float32, floats, int64

RANDOM = np.random.default_rng(31)
WORDS = ["", "a", "blank space", " two  blanks ", "straße", "ÀÉÎ", "Ωμέγα", "Привет", "日本語", "🙂", "tab\tand\nline", "a,b,,c", "x" * 300]


def strings(*texts):
    return np.array(texts, object)


def some(*shape):
    return np.array(RANDOM.choice(WORDS, shape), object)


# Text of the model, constants, samples.
MODELS = {
    "what is moved": ("""g (string[N,3] x, int64[M] i, bool[N,1] c, string z) => (string[N,M] a, string[3,N] b, string[K] d, string[N,3] w, int64[2] s) {
        a = Gather <axis = 1> (x, i)
        b = Transpose <perm = [1, 0]> (x)
        flat = Reshape(x, minus)
        d = Concat <axis = 0> (flat, words, flat)
        w = Where(c, x, z)
        s = Shape(x) }""", {"minus": int64([-1]), "words": strings("constant", "", "ß")},
        [dict(x=some(n, 3), i=int64(RANDOM.integers(0, 3, 4)), c=RANDOM.integers(0, 2, (n, 1)) > 0, z=np.array("else", object))
         for n in (1, 4)]),
    "slices and parts": ("""g (string[4,N] x) => (string[2,N] a, string[4,1,N] b, string[8,N] t, string[4,N] e, string[1,N] p, string[3,N] q) {
        a = Slice(x, one, three, zero)
        b = Unsqueeze(x, one)
        t = Tile(x, times)
        y = Slice(x, zero, one, zero)
        e = Expand(y, shape)
        p, q = Split <axis = 0> (x, sizes) }""",
        {"one": int64([1]), "three": int64([3]), "zero": int64([0]), "times": int64([2, 1]), "shape": int64([4, 1]), "sizes": int64([1, 3])},
        [dict(x=some(4, n)) for n in (1, 3)]),
    "equal or not": ("""g (string[N,1] x, string[M] y) => (bool[N,M] e, float[N,M] z, int64[2,K] at) {
        e = Equal(x, y)
        z = Cast <to = 1> (e)
        at = NonZero(z) }""", {}, [dict(x=some(n, 1), y=some(m)) for n, m in ((6, 7), (1, 1))]),
    "texts put together": ("""g (string[N,1] x, string[M] y) => (string[N,M] z, string[N,M] u) {
        z = StringConcat(x, y)
        u = StringConcat(z, tail) }""", {"tail": strings("!")}, [dict(x=some(n, 1), y=some(m)) for n, m in ((3, 4), (1, 1))]),
    "texts that are split": ("""g (string[N] x) => (string[N,K] a, int64[N] n, string[N,L] b, int64[N] m, string[N,J] c, int64[N] k, string[1,H] d, int64[1] h) {
        a, n = StringSplit(x)
        b, m = StringSplit <delimiter = ","> (x)
        c, k = StringSplit <maxsplit = 1> (x)
        d0 = Slice(x, zero, one)
        d, h = StringSplit <delimiter = " ", maxsplit = 2> (d0) }""", {"zero": int64([0]), "one": int64([1])},
        [dict(x=strings(*texts)) for texts in (WORDS, (" a b  c d ", "x", "", "   ", ",", ",,", "a,", ",a"), ("", "  "))]),
    "names for classes": ("""g (float[N,4] x) => (string[N] name, string[N,2] two) {
        i = ArgMax <axis = 1, keepdims = 0> (x)
        name = Gather(names, i)
        v, k = TopK <axis = 1> (x, best)
        two = Gather(names, k) }""", {"names": strings("cat", "dog", "Löwe", ""), "best": int64([2])}, [dict(x=floats(n, 4)) for n in (1, 5)]),
    "a branch and turns": ("""g (string[N] x, int64 n, bool c) => (string[M] y, string[K] z, bool e) {
        y = Loop (n, , x) <body = b (int64 i, bool go, string[A] s) => (bool go, string[B] t) {
            u = StringConcat(s, mark)
            t = Concat <axis = 0> (u, x) }>
        z = If(c) <then_branch = a () => (string[P] p) { p = Identity(x) }, else_branch = d () => (string[Q] q) { q = StringConcat(y, mark) }>
        y0 = Gather(y, zero)
        z0 = Gather(z, zero)
        e = Equal(y0, z0) }""", {"mark": strings("."), "zero": int64(0)},
        [dict(x=some(2), n=int64(n), c=np.array(c)) for n, c in ((3, True), (0, False), (1, False))]),
    "numbers as text": ("""g (float[N] x, double[N] d, int64[M] i, bool[2] b) => (string[N] s, string[N] t, string[M] u, string[2] v) {
        s = Cast <to = 8> (x)
        t = Cast <to = 8> (d)
        u = Cast <to = 8> (i)
        v = Cast <to = 8> (b) }""", {},
        [dict(x=float32(v), d=np.array(v, np.float64), i=int64([0, -7, 2**63 - 1, -2**63]), b=np.array([True, False]))
         for v in ([0.47892547, 1 / 3, 1e10, 1e-5, 123456789, 0.1, 1, -0.0, np.nan, np.inf, -np.inf, 1e38, 16777216, 1e-45, 1e7, 1e8],
                   [100000, 1234567.8, 0.0001, 99999999, 0.5])]),
    "text as numbers": ("""g (string[N] x, string[M] i) => (float[N] f, double[N] d, int64[M] k, int32[M] j, bool[M] b) {
        f = Cast <to = 1> (x)
        d = Cast <to = 11> (x)
        k = Cast <to = 7> (i)
        j = Cast <to = 6> (i)
        b = Cast <to = 9> (i) }""", {},
        [dict(x=strings("1.5", " 2", "-3.25e-2", "nan", "-INF", "Infinity", "+4", "0.1", "16777217"), i=strings("0", "12", "-5", " 7", "+3", "4.9"))]),
    "a normalizer": ("""g (string[N] x) => (string[M] a, string[K] b, string[L] c, string[J] d) {
        a = StringNormalizer <case_change_action = "UPPER", is_case_sensitive = 1, stopwords = ["a", "x"], locale = "C"> (x)
        b = StringNormalizer <case_change_action = "LOWER", stopwords = ["ABC"], locale = "C"> (x)
        c = StringNormalizer <case_change_action = "NONE", stopwords = ["aBc", "two"], locale = "C"> (x)
        d = StringNormalizer <locale = "C"> (x) }""", {}, [dict(x=strings(*t)) for t in (("a", "abc", "Two", "ABC", "x y"), ("Abc",), ("a", "x", "a"))]),
    "a sequence of strings": ("""g (seq(string[N]) s, string[M] x) => (seq(string[K]) t, string[L] y, int64 n) {
        u = StringConcat(x, tail)
        t = SequenceInsert(s, u)
        y = ConcatFromSequence <axis = 0> (t)
        n = SequenceLength(t) }""", {"tail": strings("-")}, [dict(s=[some(k) for k in range(1, n)], x=some(2)) for n in (2, 4)]),
}


def made(name):
    """Constants of strings are initializers that numpy_helper makes of objects."""
    text, constants, samples = MODELS[name]
    return model(text, opset=20, constants=constants), samples


@pytest.mark.parametrize("name", MODELS)
def test_as_the_runtime(run, tmp_path, name):
    m, samples = made(name)
    for i, sample in enumerate(samples):
        check(run, tmp_path / str(i), m, sample)


def one(op, inputs, outputs, **attributes):
    """A model of one node: inputs by name, (type, shape)."""
    graph = helper.make_graph([helper.make_node(op, list(inputs), list(outputs), **attributes)], "g",
                              [helper.make_tensor_value_info(k, *v) for k, v in inputs.items()],
                              [helper.make_tensor_value_info(k, t, None) for k, t in outputs.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


PATTERNS = {
    r"a*": "aaa b", r"(ab|c)+d?": "abcd cd d abab", r"[a-c-]x{2,3}": "axx bxxx -xx cxxxx dxx", r"\w+@\w+\.(com|org)": "me@x.com me@x.net @x.com",
    r"^\d{3}-\d{4}$": "555-1234 5555-123 555-12345", r"[^aeiou\s]+": "xyz x7 xaz", r".": "a ä 日 ab", r"(?:x|y)?z": "xz z yz xyz",
    r"[[:upper:]][[:lower:]]*": "Abc ABC a A", r"\bfoo\b.*": "foo foo! food", r"a\Bb": "ab a", r"": "a", r"x{0}y": "y xy",
    r"(?P<n>a+)(?<m>b)": "aab b", r"[\w.-]+": "a.b-c a+b", r"\x41\x{1F642}\t?": "A\U0001f642 A", r"(a?){20}a{20}": "a" * 20 + " " + "a" * 41,
    r"[]x]+": "]x x] y", r"a{2}": "aa a{2}", r"a{,2}": "a{,2} aa", r"\D\W\S": "a.b 1.b", r"(|a)+b": "b aab", r"\Aab\z": "ab abc", r"[^\n]*": "abc",
    r"ä+|ö": "ää ö a", r".*\.": "end. end", r"(a*)*b": "aaab " + "a" * 200, r"[a-]": "a - b", r"\[\]\.\*": "[].*",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(run, tmp_path, pattern):
    x = strings(*PATTERNS[pattern].split(" "), "", "\n", "äöü")
    m = one("RegexFullMatch", {"x": (TensorProto.STRING, ["N"])}, {"y": TensorProto.BOOL}, pattern=pattern)
    check(run, tmp_path, m, dict(x=x))


def pattern(depth=0):
    """A pattern of few letters, at random."""
    kind = RANDOM.integers(0, 9 if depth < 3 else 4)
    if kind < 4:
        return str(RANDOM.choice(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\b", "", "ä"]))
    if kind < 6:
        return pattern(depth + 1) + pattern(depth + 1)
    if kind < 7:
        return f"({pattern(depth + 1)}|{pattern(depth + 1)})"
    return f"({pattern(depth + 1)})" + str(RANDOM.choice(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?"]))


def test_random_patterns(run, tmp_path):
    """As ONNX Runtime's RE2 has them: many in one model."""
    patterns = [pattern() for _ in range(150)]
    x = strings(*{"".join(RANDOM.choice(["a", "b", "ä", " "], RANDOM.integers(0, 7))) for _ in range(60)})
    nodes = [helper.make_node("RegexFullMatch", ["x"], [f"y{i}"], pattern=p) for i, p in enumerate(patterns)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.STRING, ["N"])],
                              [helper.make_tensor_value_info(f"y{i}", TensorProto.BOOL, None) for i in range(len(patterns))])
    check(run, tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), dict(x=x))


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("least, most, skip", [(1, 1, 0), (1, 2, 0), (2, 2, 3), (1, 3, 2), (2, 3, 5), (3, 3, 1)])
def test_vectorizer(run, tmp_path, mode, texts, least, most, skip):
    names = np.array(["the", "cat", "Straße", "", "sat", "on"], object)
    pool, starts, grams = [], [], 0
    for size in (1, 2, 3):
        starts.append(len(pool))
        found = {tuple(RANDOM.integers(0, 4, size)) for _ in range(7)}
        pool += [w for gram in sorted(found) for w in gram]
        grams += len(found)
    x = RANDOM.integers(0, 6, (2, 11))
    words = {"pool_strings": [names[w] for w in pool]} if texts else {"pool_int64s": [int(w) for w in pool]}
    m = one("TfIdfVectorizer", {"x": (TensorProto.STRING if texts else TensorProto.INT64, ["N", "C"])}, {"y": TensorProto.FLOAT},
            mode=mode, min_gram_length=least, max_gram_length=most, max_skip_count=skip, ngram_counts=starts,
            ngram_indexes=[int(i) for i in RANDOM.permutation(grams)], **({"weights": [float(w) for w in floats(grams)]} if mode != "TF" else {}),
            **words)
    check(run, tmp_path, m, dict(x=names[x] if texts else x))


@pytest.mark.parametrize("action", ["UPPER", "LOWER"])
def test_case_of_all_letters(run, tmp_path, action):
    """Of the scripts that are known here, as Python has it where that is one character for one, and Turkish I left out."""
    known = [*range(0x20, 0x180), *range(0x386, 0x387), *range(0x388, 0x3cf), *range(0x400, 0x530), *range(0x5d0, 0x5ea), 0x3042, 0x4e00, 0xac00]
    known = [c for c in known if c not in (0x130, 0x131, 0x149, 0x38b, 0x38d, 0x3a2) and not 0x7f <= c < 0xa0]
    texts = [chr(c) for c in known]
    changed = [t.upper() if action == "UPPER" else t.lower() for t in texts]
    kept = [(t, c) for t, c in zip(texts, changed, strict=True) if len(c) == 1]
    m = one("StringNormalizer", {"x": (TensorProto.STRING, ["N"])}, {"y": TensorProto.STRING}, case_change_action=action, is_case_sensitive=1)
    check(run, tmp_path, m, dict(x=strings(*(t for t, _ in kept))), want=[strings(*(c for _, c in kept))])


def classifier():
    """Words to a vector, two layers behind it, and the name of the best class."""
    pool = ["good", "bad", "film", "not", "very"]
    graph = helper.make_graph(
        [helper.make_node("StringNormalizer", ["x"], ["w"], case_change_action="LOWER", stopwords=["the", "a"], locale="C"),
         helper.make_node("TfIdfVectorizer", ["w"], ["v"], mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=0,
                          ngram_counts=[0, 5], ngram_indexes=[0, 1, 2, 3, 4, 5, 6], pool_strings=[*pool, "not", "good", "very", "bad"]),
         helper.make_node("Unsqueeze", ["v", "zero"], ["u"]), helper.make_node("Gemm", ["u", "w1", "b1"], ["h"]),
         helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Gemm", ["r", "w2"], ["y"]),
         helper.make_node("ArgMax", ["y"], ["k"], axis=1, keepdims=0), helper.make_node("Gather", ["names", "k"], ["name"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3]), helper.make_tensor_value_info("name", TensorProto.STRING, [1])],
        [numpy_helper.from_array(np.asarray(a), k) for k, a in
         {"zero": int64([0]), "w1": floats(7, 16), "b1": floats(16), "w2": floats(16, 3), "names": strings("good", "bad", "neither")}.items()])
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    text = ["The film not good", "a very BAD film", "Good good film", "not a bad film very bad", "film", "nothing that is known"]
    return m, [strings(*t.split()) for t in text]


def test_quantized(done, run, tmp_path):
    """Samples of strings calibrate what stands behind them; strings of the file are written back."""
    m, samples = classifier()
    onnx.save(m, tmp_path / "m.onnx")
    for i, sample in enumerate(samples):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / f"{i}.pb").write_bytes(numpy_helper.from_array(sample).SerializeToString())
    files = []
    for jobs in ("1", "3"):
        done("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "x", "-o", tmp_path / f"q{jobs}.onnx", "--jobs", jobs)
        files.append((tmp_path / f"q{jobs}.onnx").read_bytes())
    assert files[0] == files[1]
    q = onnx.load(tmp_path / "q1.onnx")
    assert sum(n.op_type == "QuantizeLinear" for n in q.graph.node) >= 2
    names = {i.name: i for i in q.graph.initializer}["names"]
    assert list(names.string_data) == [b"good", b"bad", b"neither"]
    reference = session(q, "ort-x86")
    for i, sample in enumerate(samples):
        want = reference.run(None, {"x": sample})
        (tmp_path / str(i)).mkdir()
        check(run, tmp_path / str(i), q, dict(x=sample), want=want)


def test_folded_and_written(done, run, tmp_path):
    """What is moved of constant strings is a constant, too."""
    m = model("""g (int64[N] i) => (string[N] y) {
        a = Concat <axis = 0> (p, q)
        b = Gather(a, order)
        y = Gather(b, i) }""", constants={"p": strings("x", "ä\u0000b"), "q": strings("", "z"), "order": int64([3, 1, 0, 2])})
    onnx.save(m, tmp_path / "m.onnx")
    done("quantize", "-q", tmp_path / "m.onnx", "--pipeline", "raise-opset,fold-constants", "-o", tmp_path / "n.onnx")
    n = onnx.load(tmp_path / "n.onnx")
    assert [node.op_type for node in n.graph.node] == ["Gather"] and list(n.graph.initializer[0].string_data) == [b"z", b"\xc3\xa4\0b", b"x", b""]
    check(run, tmp_path / "n", n, dict(i=int64([0, 1, 3, 2])), want=[strings("z", "ä\u0000b", "", "x")])


@pytest.mark.parametrize("name, why", [
    ("names for classes", "compiled code gives tensors of numbers, and output 'name' of the model is string"),
    ("equal or not", "compiled code takes tensors of numbers, and input 'x' is string")])
def test_compiled_code_refuses(run, tmp_path, name, why):
    m, _ = made(name)
    m.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(m, tmp_path / "m.onnx")
    end = run("compile", tmp_path / "m.onnx", "-o", tmp_path / "c")
    assert end.rc == 1 and why in end.stderr, end.stderr


def test_compiled_code_has_no_vectorizer(run, tmp_path):
    m = one("TfIdfVectorizer", {"x": (TensorProto.INT64, [4])}, {"y": TensorProto.FLOAT}, mode="TF", min_gram_length=1, max_gram_length=1,
            max_skip_count=0, ngram_counts=[0], ngram_indexes=[0, 1], pool_int64s=[3, 4])
    onnx.save(m, tmp_path / "m.onnx")
    end = run("compile", tmp_path / "m.onnx", "-o", tmp_path / "c")
    assert end.rc == 1 and re.search(r"\(TfIdfVectorizer\): compiled code cannot run it, only the command can", end.stderr), end.stderr


def test_written_as_numpy_has_texts(done, tmp_path):
    """All as long as the longest; what is no UTF-8, as a character that says so, a byte each."""
    good = [w.encode() for w in WORDS] + ["\U0010ffff\u07ff\uffff\u0800".encode()]
    bad = [b"\x80", b"a\xff", b"\xc0\x80", b"\xc3", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x99", b"\xf8"]
    x = np.array(good + bad, object)
    onnx.save(model("g (string[N] x) => (string[N] y, string[0] e) { y = Identity(x)  e = Slice(x, z, z) }", constants={"z": int64([0])}),
              tmp_path / "m.onnx")
    (tmp_path / "x.pb").write_bytes(TensorProto(dims=x.shape, data_type=TensorProto.STRING, string_data=x).SerializeToString())
    done("run", tmp_path / "m.onnx", "--data", tmp_path / "x.pb", "-o", tmp_path / "out")
    got = np.load(tmp_path / "out" / "output_0.npy")
    np.testing.assert_array_equal(got[:len(good)], [*WORDS, "\U0010ffff\u07ff\uffff\u0800"])
    assert got[len(good):].tolist() == ["\ufffd" * n if b[:1] != b"a" else "a\ufffd" for b, n in zip(bad, (1, 2, 2, 1, 3, 3, 4, 3, 1), strict=True)]
    assert np.load(tmp_path / "out" / "output_1.npy").shape == (0,)


def test_printed(done, tmp_path):
    """Without what a terminal would obey."""
    m = model("g (string[N] x) => (string[N] y) { y = Identity(x) }")
    onnx.save(m, tmp_path / "m.onnx")
    (tmp_path / "x.pb").write_bytes(numpy_helper.from_array(strings("a b", "\x1b[31mred", "")).SerializeToString())
    assert 'y string[3]: "a b" "?[31mred" ""' in done("run", tmp_path / "m.onnx", "--data", tmp_path / "x.pb")
