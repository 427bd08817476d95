"""Rows: If, Loop and Scan that are none, and loops that do not end."""

import onnx
from bad_inputs.table import run_row


def text(graph):
    """A model of that graph; {x} stands for the input that every row is given."""
    graph = graph.replace("{x}", "float[1,3,8,8] x")
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 16]>\n{graph}')


def rows(what, table, **more):
    for name, (message, graph) in table.items():
        run_row(f"{what}: {name}", message, lambda graph=graph: text(graph), **more)


def loop(body, start="n = Constant <value_int = 3> ()", trip="n", go="", state="x", outputs="y"):
    """A loop around a body: what stands in {} of it is in front."""
    return f"""g ({{x}}) => (float y) {{ {start}
        {outputs} = Loop ({trip}, {go}, {state}) <body = b {body}> }}"""


KEEPS = "(int64 i, bool go, float[1,3,8,8] s) => (bool go, float[1,3,8,8] t) { t = Neg(s) }"
GROWS = "(int64 i, bool go, float[1,3,A,8] s) => (bool go, float[1,3,B,8] t) { t = Concat <axis = 2> (s, s) }"

rows("Loop", {
    "of a body of two inputs": (r"\(Loop\): its body has 2 inputs, want 3", loop(
        "(int64 i, bool go) => (bool go, float[1,3,8,8] t) { t = Neg(x) }")),
    "of a body of four inputs": (r"\(Loop\): its body has 4 inputs, want 3", loop(
        "(int64 i, bool go, float s, float u) => (bool go, float t) { t = Neg(s) }")),
    "of a body without outputs of its states": (r"\(Loop\): its body has 1 outputs, which does not fit 1 states", loop(
        "(int64 i, bool go, float s) => (bool go) { }")),
    "whose state changes its type": (r"\(Loop\): output 0 would be float \('s'\) or int64 \('t'\)", loop(
        "(int64 i, bool go, float s) => (bool go, int64 t) { t = Cast <to = 7> (s) }")),
    "of a body that takes another type": (r"\(Loop\): input 's' of its body is int64, and gets float", loop(
        "(int64 i, bool go, int64 s) => (bool go, int64 t) { t = Identity(s) }")),
    "whose body gives a number as the condition": (
        r"\(Loop\): what the body gives as the condition 'f' is float, want bool",
        loop("(int64 i, bool go, float s) => (float f, float t) { f = Cast <to = 1> (i) t = Neg(s) }")),
    "whose body gives two conditions": (r"\(Loop\): what the body gives as the condition 'f' has 2 elements, want one", loop(
        "(int64 i, bool go, float s) => (bool[2] f, float t) { f = Concat <axis = 0> (one, one) t = Neg(s) }",
        "n = Constant <value_int = 3> () two = Constant <value_ints = [2]> () one = Cast <to = 9> (two)")),
    "whose body gives as many conditions as there are": (
        r"\(Loop\): what its body gives as the condition is \d+ elements of bool, want one of bool", loop(
            """(int64 i, bool go, float s) => (bool[Q] f, float t) {
                places = NonZero(s) f0 = Cast <to = 9> (places) minus = Constant <value_ints = [-1]> ()
                f = Reshape(f0, minus) t = Neg(s) }""")),
    "whose body gives a condition that is made of itself": (r"cycle", loop(
        "(int64 i, bool go, float s) => (bool f, float t) { f = Identity(f) t = Neg(s) }")),
    "of a trip count that is no integer": (r"\(Loop\): the trip count 'n' is float, want int64", loop(
        KEEPS, "n = Constant <value_float = 3.0> ()")),
    "of two trip counts": (r"\(Loop\): the trip count 'n' is not one number", loop(
        KEEPS, "n = Constant <value_ints = [3, 4]> ()")),
    "of a condition that is a number": (r"\(Loop\): the condition 'c' is int64, want bool", loop(
        KEEPS, "c = Constant <value_int = 1> ()", "", "c")),
    "of two conditions": (r"\(Loop\): the condition 'c' has 2 elements, want one", loop(
        KEEPS, "two = Constant <value_ints = [1, 1]> () c = Cast <to = 9> (two)", "", "c")),
    "whose parts have several shapes": (
        r"\(Loop\): the parts of its output 'p' have several shapes: that of turn 1 is another", loop(
            "(int64 i, bool go, float[A] s) => (bool go, float[B] t, float[C] u) { t = Concat <axis = 0> (s, s) u = Neg(t) }",
            """n = Constant <value_int = 3> () minus = Constant <value_ints = [-1]> () flat = Reshape(x, minus)""",
            state="flat", outputs="y, p").replace("(float y)", "(float[D,E] p)")),
})
rows("Loop without end", {
    "that says so": (r"cannot run operator Loop \(node 'y': it has no end: neither a trip count nor its condition ends it\)",
                     loop(KEEPS, "", "")),
    "that says so and grows": (r"cannot run operator Loop \(node 'y': it has no end", loop(GROWS, "", "")),
    "of almost as many turns as there are numbers": (r"\(Loop\): it has not ended after \d+ turns", loop(
        """(int64 i, bool go, float[1,3,8,8] s) => (bool go, float[1,3,8,8] t) {
            places = NonZero(s) c = Size(places) f = Cast <to = 1> (c) t = Mul(s, f) }""",
        "n = Constant <value_int = 9223372036854775806> ()")),
    "whose condition stays true": (r"\(Loop\): it has not ended after \d+ turns", loop(
        """(int64 i, bool go, float[1,3,8,8] s) => (bool more, float[1,3,8,8] t) {
            more = Equal(i, i) places = NonZero(s) c = Size(places) f = Cast <to = 1> (c) t = Mul(s, f) }""", "", "")),
    "whose turns are all alike": (r"\(Loop\): it has not ended after \d+ turns", loop(
        "(int64 i, bool go, float[1,3,8,8] s) => (bool more, float[1,3,8,8] t) { more = Equal(i, i) t = Neg(s) }", "", "")),
    "of states that change places": (r"\(Loop\): it has not ended after \d+ turns", loop(
        "(int64 i, bool go, float[A,B,C,D] s, float[E,F] t) => (bool go, float[E,F] t, float[A,B,C,D] s) { }",
        "n = Constant <value_int = 9223372036854775806> () z = Flatten(x)", state="x, z", outputs="y, u")),
    "that doubles its state": (r"one run of the model takes .* of memory, most of it (here|for what \d+ turns have made here)", loop(
        GROWS, "n = Constant <value_int = 9223372036854775806> ()")),
    "that has a row more each turn": (r"(\(Loop\): it has not ended after \d+ turns|takes .* of memory, most of it)", loop(
        """(int64 i, bool go, float[1,3,A,8] s) => (bool go, float[1,3,B,8] t) { t = Concat <axis = 2> (s, x) }""",
        "n = Constant <value_int = 9223372036854775806> ()")),
    "that has a part more each turn": (r"\(Loop\): (it has not ended after \d+ turns|one run of the model takes .* of memory, most of it)", loop(
        """(int64 i, bool go, float[1,3,8,8] s) => (bool more, float[1,3,8,8] t, float[1,3,8,8] u) {
            more = Equal(i, i) t = Neg(s) u = Neg(t) }""", "", "", outputs="y, p").replace("(float y)", "(float[N,1,3,8,8] p)")),
    "within a loop without end": (r"\(Loop\): it has not ended after \d+ turns", loop(
        """(int64 i, bool go, float[1,3,8,8] s) => (bool go, float[1,3,8,8] t) {
            places = NonZero(s) c = Size(places) f = Cast <to = 1> (c)
            a = Loop (n, , s) <body = bb (int64 j, bool go1, float[1,3,8,8] u) => (bool go1, float[1,3,8,8] v) {
                places1 = NonZero(u) c1 = Size(places1) f1 = Cast <to = 1> (c1) v = Div(u, f1) }>
            t = Mul(a, f) }""", "n = Constant <value_int = 9223372036854775806> ()")),
}, timeout=300)  # a few seconds; under sanitizers, on a loaded machine, more


def nested(depth):
    """Loops in one another."""
    body = ""
    for k in range(depth):
        body = f"""a{k} = Loop (n, , x) <body = b{k} (int64 i{k}, bool go{k}, float[A,B,C,D] s{k}) => (bool go{k}, float[E,F,G,H] t{k})
            {{ {body} t{k} = Concat <axis = 2> (s{k}, {f"a{k - 1}" if k else "x"}) }}>"""
    return f"g ({{x}}) => (float[A,B,C,D] a{depth - 1}) {{ n = Constant <value_int = 1> () {body} }}"


rows("Loop in loop", {"30 deep": ("", nested(30))}, status=0)

rows("Scan", {
    "of no input to go along": (r"\(Scan\): num_scan_inputs is 0, and it has 1 inputs",
                                "g ({x}) => (float y) { y = Scan <num_scan_inputs = 0, body = b (float[3,8,8] a) => (float[3,8,8] c) { c = Neg(a) }> (x) }"),
    "of more inputs to go along than it has": (r"\(Scan\): num_scan_inputs is 2, and it has 1 inputs",
                                               "g ({x}) => (float y) { y = Scan <num_scan_inputs = 2, body = b (float[3,8,8] a) => (float[3,8,8] c) { c = Neg(a) }> (x) }"),
    "along an axis that is not there": (r"\(Scan\): axis 4 .*4", """g ({x}) => (float y) {
        y = Scan <num_scan_inputs = 1, scan_input_axes = [4], body = b (float[3,8,8] a) => (float[3,8,8] c) { c = Neg(a) }> (x) }"""),
    "that puts parts along an axis that is not there": (r"\(Scan\): axis -5 .*4", """g ({x}) => (float y) {
        y = Scan <num_scan_inputs = 1, scan_output_axes = [-5], body = b (float[3,8,8] a) => (float[3,8,8] c) { c = Neg(a) }> (x) }"""),
    "of too many axes": (r"\(Scan\): scan_input_axes has 2 numbers, want 1", """g ({x}) => (float y) {
        y = Scan <num_scan_inputs = 1, scan_input_axes = [0, 1], body = b (float[3,8,8] a) => (float[3,8,8] c) { c = Neg(a) }> (x) }"""),
    "in a third direction": (r"\(Scan\): scan_input_directions holds 2, want 0 or 1", """g ({x}) => (float y) {
        y = Scan <num_scan_inputs = 1, scan_input_directions = [2], body = b (float[3,8,8] a) => (float[3,8,8] c) { c = Neg(a) }> (x) }"""),
    "of inputs of unequal length": (r"\(Scan\): its inputs have 3 and 8 slices", """g ({x}) => (float y) {
        y = Scan <num_scan_inputs = 2, scan_input_axes = [1, 2], body = b (float[1,8,8] a, float[1,3,8] d) => (float[1,8,8] c) { c = Neg(a) }> (x, x) }"""),
    "whose body lacks an input": (r"\(Scan\): its body has 1 inputs, want 2", """g ({x}) => (float y) {
        y = Scan <num_scan_inputs = 2, body = b (float[3,8,8] a) => (float[3,8,8] c) { c = Neg(a) }> (x, x) }"""),
})
rows("If", {
    "of a condition that is a number": (r"\(If\): the condition 'x' is float, want bool", """g ({x}) => (float y) {
        y = If (x) <then_branch = t () => (float a) { a = Neg(x) }, else_branch = e () => (float c) { c = Exp(x) }> }"""),
    "of many conditions": (r"\(If\): the condition 'k' has 192 elements, want one", """g ({x}) => (float y) {
        k = Cast <to = 9> (x)
        y = If (k) <then_branch = t () => (float a) { a = Neg(x) }, else_branch = e () => (float c) { c = Exp(x) }> }"""),
    "of a branch with two outputs": (r"\(If\): its else_branch has 2 outputs, the node 1", """g ({x}) => (float y) {
        k = Cast <to = 9> (x)
        y = If (k) <then_branch = t () => (float a) { a = Neg(x) }, else_branch = e () => (float c, float d) { c = Exp(x) d = Neg(x) }> }"""),
    "of branches of two types": (r"\(If\): output 0 would be float \('a'\) or int64 \('c'\)", """g ({x}) => (float y) {
        one = Constant <value_int = 1> ()
        k = Cast <to = 9> (one)
        r = Identity(k)
        y = If (r) <then_branch = t () => (float a) { a = Neg(x) }, else_branch = e () => (int64 c) { c = Cast <to = 7> (x) }> }"""),
    "without a branch": (r"\(If\): it has no else_branch", """g ({x}) => (float y) {
        k = ReduceMax <keepdims = 0> (x)
        z = Cast <to = 9> (k)
        y = If (z) <then_branch = t () => (float a) { a = Neg(x) }> }"""),
})
