"""Any operator of docs/operators.md's table in a random graph, drawn by its signature: what a schema allows and the table
says runs is tried until ONNX Runtime takes it and its results are fit to be compared. An operator whose inputs are
particular has a recipe. So a new row is drawn as soon as it is there; test_random_graphs.py says which could not be.
"""

import json
from functools import cache
from typing import NamedTuple

import numpy as np
from conftest import run_command
from onnx import TensorProto, checker, defs, helper
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema
from ort import session

ATTEMPTS = 40
MOST = 3000  # elements of a result
MOST_VECTOR = 300  # of one that a matrix may stand behind
ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"
# Types that are drawn; those of 16 bits and fewer differ by more than floats may, and have test_types.py.
TYPES = {"float": np.float32, "double": np.float64, "bool": np.bool_, "string": np.str_}
TYPES |= {f"{u}int{bits}": np.dtype(f"{u}int{bits}").type for u in ("", "u") for bits in (8, 16, 32, 64)}
FRACTIONS = ("float", "double")

# Operators that are not drawn, each with the reason.
LEFT_OUT = {}
for reason, names in {
    "its results are random": "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
    "graphs within graphs: test_control.py, test_turns.py": "If Loop Scan SequenceMap",
    "no tensors: test_sequences.py": "Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct SequenceEmpty "
                                     "SequenceErase SequenceInsert SequenceLength SplitToSequence ConcatFromSequence",
    "texts: test_strings.py": "StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer",
    "many weights that fit one another: test_ml.py":
        "TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor SVMClassifier SVMRegressor LinearClassifier ZipMap "
        "CategoryMapper",
    "what ONNX Runtime's optimizer and quantizer write: test_microsoft.py, test_microsoft_quantized.py, test_patterns.py":
        f"{MICROSOFT}.Attention {MICROSOFT}.EmbedLayerNormalization {MICROSOFT}.QAttention {MICROSOFT}.DynamicQuantizeLSTM "
        f"{MICROSOFT}.GroupQueryAttention {MICROSOFT}.MultiHeadAttention {MICROSOFT}.RotaryEmbedding {MICROSOFT}.MatMulNBits "
        f"{MICROSOFT}.DynamicQuantizeMatMul {MICROSOFT}.MatMulIntegerToFloat {MICROSOFT}.QGemm {MICROSOFT}.CausalConvWithState "
        f"{MICROSOFT}.LinearAttention {MICROSOFT}.GridSample {MICROSOFT}.BiasSoftmax {MICROSOFT}.FusedConv {MICROSOFT}.GatherND",
    "made of sizes and constants alone, and folded": "Constant ConstantOfShape Range BlackmanWindow HammingWindow HannWindow "
                                                      "MelWeightMatrix",
    "ONNX Runtime has no kernel of its float form": f"GlobalLpPool Swish SwiGLU {MICROSOFT}.SimplifiedLayerNormalization "
                                                    "SimplifiedLayerNormalization",
    "states beside what flows: test_operators.py": "CausalConvWithState LinearAttention",
    "its result is a list of indices: test_operators.py": "NonMaxSuppression",
    "integers in, integers out: test_integer_operators.py, test_forms.py": "QLinearConv QLinearMatMul ConvInteger MatMulInteger "
        "DequantizeLinear QuantizeLinear DynamicQuantizeLinear",
}.items():
    LEFT_OUT |= dict.fromkeys(names.split(), reason)


class Row(NamedTuple):
    """An operator of the table."""
    domain: str
    name: str
    types: list  # of each input
    in_c: bool

    @property
    def key(self):
        return f"{self.domain}.{self.name}" if self.domain == MICROSOFT else self.name


@cache
def catalog():
    """What the command says that it runs."""
    return [Row(o["domain"], o["name"], o["types"], o["in_c"] == "yes")
            for o in json.loads(run_command("operators", "--json").stdout)["operators"]]


def table():
    """The operators that are drawn."""
    return [row for row in catalog() if row.key not in LEFT_OUT]


@cache
def runtimes():
    return {(s.domain, s.name): s for s in get_all_operator_schema()}


def form(row, opset):
    """The schema of an operator in an operator set; None where there is none."""
    if row.domain == MICROSOFT or not defs.has(row.name, row.domain):
        return runtimes().get((row.domain, row.name))
    try:
        schema = defs.get_schema(row.name, opset if row.domain == "" else 3, row.domain)
    except defs.SchemaError:
        return None
    return None if schema.deprecated else schema


# ---- values --------------------------------------------------------------------------------------


class Value(NamedTuple):
    """A value of the graph: its name, and what it is for some samples."""
    name: str
    arrays: list

    @property
    def shape(self):
        return self.arrays[0].shape


class Unfit(Exception):
    """What was drawn cannot be."""


def evaluate(g, node, name, values, moved=False):
    """What a node makes of values, or of values a little moved, in ONNX Runtime; Unfit where it has no such form. Moved, each
    is another by a thousandth, and by a millionth of the largest: what should be 0 is a rounding error in some engines."""
    kind = lambda a: TensorProto.STRING if a.dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(a.dtype)  # noqa: E731
    inputs = [helper.make_tensor_value_info(v.name, kind(v.arrays[0]), v.shape) for v in values]
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info(name)],
                              [c for c in g.constants if c.name in node.input])

    def noise(a):
        if a.dtype.kind != "f":
            return a
        return (a + 1e-3 * g.probe.uniform(-1, 1, a.shape) * (np.abs(a) + 1e-3 * np.max(np.abs(a), initial=0))).astype(a.dtype)

    try:
        s = session(g.wrap(graph), optimized=False)
        return [s.run(None, {v.name: noise(v.arrays[i]) if moved else v.arrays[i] for v in values})[0]
                for i in range(len(values[0].arrays))]
    except Exception as problem:  # the runtime's own, of many kinds
        raise Unfit(str(problem)) from None


def put(g, op, inputs, values, domain="", outputs=1, which=0, **attributes):
    """Adds a node; gives its output `which` as a Value. `values` are those of its inputs that are no constants."""
    g.count += 1
    names = [f"{op.lower()}{g.count}_{i}" for i in range(outputs)]
    node = helper.make_node(op, inputs, names, names[0], domain=domain, **attributes)
    made = Value(names[which], evaluate(g, node, names[which], values))
    if any(a.shape != made.shape for a in made.arrays):
        raise Unfit("sizes")
    g.nodes.append(node)
    return made


def cast(g, v, kind):
    """A value as one of another type; only such are made of floats as are far from a step."""
    if kind == "float":
        return v
    if kind == "double":
        return put(g, "Cast", [v.name], [v], to=TensorProto.DOUBLE)
    if kind == "bool":
        return put(g, "Greater", [v.name, g.constant(np.float32(0.3))], [v])
    if kind[0] == "u":
        v = put(g, "Abs", [v.name], [v])
    v = put(g, "Mul", [v.name, g.constant(np.float32(3))], [v])
    return put(g, "Cast", [v.name], [v], to=helper.np_dtype_to_tensor_dtype(np.dtype(TYPES[kind])))


def fit(arrays):
    """Whether results can be compared: finite, and not of another size."""
    return all(np.issubdtype(a.dtype, np.number) or a.dtype == bool for a in arrays) and \
        all(np.isfinite(a.astype(np.float64)).all() and np.abs(a.astype(np.float64)).max(initial=0) < 1e4 for a in arrays)


def steady(g, node, made, of):
    """Whether inputs that are a little different give results that are."""
    pairs = zip(evaluate(g, node, made.name, [of], True), made.arrays)
    return all(a.shape == b.shape and np.max(np.abs(a.astype(float) - b), initial=0) <= 0.02 * np.max(np.abs(b), initial=0)
               for a, b in pairs)


def ints(g, *values):
    return g.constant(np.array(values, np.int64), "i")


def whole(g, low, high):
    return int(g.random.integers(low, high))


# ---- by signature --------------------------------------------------------------------------------

WORDS = {"mode": ["constant", "edge", "reflect", "wrap", "linear", "nearest", "bilinear", "DCR", "CRD", "MEAN", "avg", "max"],
         "approximate": ["none", "tanh"], "reduction": ["none", "mean", "sum", "add", "mul", "max", "min"],
         "direction": ["LEFT", "RIGHT"], "norm": ["MAX", "L1", "L2"], "padding_mode": ["zeros", "border", "reflection"],
         "equation": ["...ij->...ji", "...i->...", "...ij->...i"], "post_transform": ["NONE"],
         "auto_pad": ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]}


def attribute_of(g, name, kind, rank, channels):
    """A value for an attribute; None where nothing is known of it."""
    if kind == "INT":
        if "axis" in name:
            return whole(g, -rank, rank) if rank else 0
        if name in ("to", "dtype", "output_datatype"):
            return helper.np_dtype_to_tensor_dtype(np.dtype(TYPES[g.pick("float", "double", "int32", "int64", "uint8", "bool")]))
        return g.pick(0, 1, 1, 2) if name in ("p", "size", "batch_dims", "k") else g.pick(0, 1)
    if kind == "FLOAT":
        return float(np.float32(g.random.uniform(0.05, 1.5)))
    if kind == "STRING" and name in WORDS:
        return g.pick(*WORDS[name])
    if kind == "INTS":
        if not rank:
            raise Unfit("a list of axes of a scalar is empty, and has no type")
        if name == "perm":
            return [int(i) for i in g.random.permutation(rank)]
        if name == "axes":
            return sorted({whole(g, 0, rank) for _ in range(whole(g, 1, 4))}) if rank else []
        if name in ("kernel_shape", "strides", "dilations"):
            return [whole(g, 1, 3) for _ in range(max(rank - 2, 1))]
        if name == "pads":
            return [whole(g, 0, 2) for _ in range(2 * max(rank - 2, 1))]
        return [whole(g, 0, 2) for _ in range(g.pick(1, max(rank, 1)))]
    if kind == "FLOATS":
        return [float(np.float32(v)) for v in g.random.uniform(0.1, 1.5, g.pick(1, channels))]
    return None


def attributes_of(g, schema, rank, channels):
    found = {}
    for name, a in schema.attributes.items():
        if a.required or g.chance(0.35):
            value = attribute_of(g, name, getattr(a.type, "name", str(a.type)).split(".")[-1], rank, channels)
            if value is not None:
                found[name] = value
    return found


def operand(g, kind, shape, least):
    """A constant beside a value of that shape."""
    rank = len(shape)
    of = g.pick(shape, shape, (), (1,), shape[-1:], shape[1:2], (rank,), (*shape[:-2], *shape[:-3:-1]),
                (*shape[1:2], *[1] * (rank - 2)), (whole(g, 1, 5),))
    dtype = TYPES[kind]
    if kind == "string":
        raise Unfit("texts")
    if kind == "bool":
        return g.constant(g.random.random(of) < 0.5)
    if np.issubdtype(dtype, np.integer):
        low = 0 if kind[0] == "u" or least >= 0 else -2
        return g.constant(g.random.integers(low, g.pick(1, 2, 3, 4), of).astype(dtype) + dtype(max(least, 0)))
    array = g.random.normal(size=of)
    return g.constant((np.abs(array) + 0.5 if g.chance(0.5) else array).astype(dtype))


def allowed(g, schema, row, i):
    """The types that input i can be drawn in, those of the schema that the table has."""
    port = schema.inputs[min(i, len(schema.inputs) - 1)]
    types = {t.removeprefix("tensor(").removesuffix(")") for t in port.types}
    if row.types and row.types[min(i, len(row.types) - 1)]:
        types &= set(row.types[min(i, len(row.types) - 1)])
    if row.name in ("ReduceLogSum", "ReduceLogSumExp"):  # of integers, ONNX Runtime cuts off every exponential and logarithm
        types &= set(FRACTIONS)
    return sorted(t for t in types if t in TYPES and (g.doubles or t != "double"))


def prepared(g, v):
    """The value in another range, as what has poles or borders wants it."""
    way = g.pick("as it is", "as it is", "positive", "small", "above one")
    if way == "as it is":
        return v
    v = put(g, "Tanh" if way == "small" else "Abs", [v.name], [v])
    if way == "small":
        return put(g, "Mul", [v.name, g.constant(np.float32(0.9))], [v])
    return put(g, "Add", [v.name, g.constant(np.float32(0.5 if way == "positive" else 1.5))], [v])


def by_signature(g, row, schema, v, exact):
    """A node of an operator on a value; a Value, or Unfit."""
    if not schema.inputs:
        raise Unfit("no inputs")
    ports = list(schema.inputs)
    count = sum("Optional" not in str(p.option) for p in ports)
    while count < len(ports) and g.chance(0.3):
        count += 1
    if "Variadic" in str(ports[-1].option):
        count = len(ports) - 1 + int(g.random.integers(1, 4))
    ports += ports[-1:] * (count - len(ports))
    of = [getattr(p, "type_str", None) or p.typeStr for p in ports[:count]]  # the parameter that the type of each is
    bound = {}
    for i in range(count):
        kinds = allowed(g, schema, row, i)
        if not kinds:
            raise Unfit("no type")
        bound.setdefault(of[i], "float" if "float" in kinds and g.chance(0.6) else g.pick(*kinds))
    at = 0 if g.chance(0.8) else g.pick(*(i for i in range(count) if of[i] == of[0]))  # which input is the value
    kind = bound[of[at]]
    if row.domain == ML:
        v = reshaped(g, v, g.pick(1, 2, 5), whole(g, 1, 5))
    if kind not in FRACTIONS and not exact:
        raise Unfit("a step behind floats")
    if kind in FRACTIONS:
        v = prepared(g, v)
    v = cast(g, v, kind)
    least = g.pick(-1, 0, 1)
    inputs = [v.name if i == at or (of[i] == of[at] and g.chance(0.2)) else
              ints(g, *attribute_of(g, "axes", "INTS", len(v.shape), 1)) if ports[i].name == "axes" else
              operand(g, bound[of[i]], v.shape, least) for i in range(count)]
    outputs = whole(g, max(schema.min_output, 1), min(schema.max_output, len(schema.outputs)) + 1)
    attributes = attributes_of(g, schema, len(v.shape), v.shape[1] if len(v.shape) > 1 else 1)
    return put(g, row.name, inputs, [v], row.domain, outputs, whole(g, 0, outputs), **attributes), v


def draw(g, row, v, exact):
    """One try: what an operator makes of a value, a float again; Unfit where that cannot be compared."""
    schema = form(row, g.opset)
    if not schema:
        raise Unfit("not in this operator set")
    recipe = RECIPES.get(row.key)
    before = len(g.nodes)
    made, of = recipe(g, v) if recipe else by_signature(g, row, schema, v, exact)
    if not 0 < made.arrays[0].size <= MOST:
        raise Unfit("sizes")
    if not fit(made.arrays):
        raise Unfit("values")
    node = next(n for n in g.nodes[before:] if made.name in n.output)
    exact = exact and not any(n.op_type == "Tanh" for n in g.nodes[before:])  # whose last bits are another in each library
    if not exact and of.arrays[0].dtype.kind != "f":
        raise Unfit("a step behind floats")
    moved = all(np.isin(a, np.append(b, [0, 1])).all() for a, b in zip(made.arrays, of.arrays))
    exact = exact and (moved or made.arrays[0].dtype.kind != "f")
    if not exact and not steady(g, node, made, of):
        raise Unfit("steps")
    if made.arrays[0].dtype != np.float32:
        made = put(g, "Cast", [made.name], [made], to=TensorProto.FLOAT)
    return made, exact


def has_strings(nodes, constants):
    return any(t.data_type == TensorProto.STRING for t in constants) or \
        any(a.name == "to" and a.i == TensorProto.STRING for n in nodes for a in n.attribute)


def operator(g, row, v, exact):
    """`draw` until something comes of it: a Value and whether it is exact in every engine; None: nothing did."""
    for _ in range(ATTEMPTS):
        nodes, constants, domains = len(g.nodes), len(g.constants), set(g.domains)
        try:
            if row.domain:
                g.domains.add(row.domain)
            made = draw(g, row, v, exact)
            checker.check_model(g.wrap(helper.make_graph(
                g.nodes[nodes:], "g", [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, v.shape)],
                [helper.make_tensor_value_info(made[0].name, TensorProto.FLOAT, made[0].shape)], g.constants[constants:])))
            g.in_c = g.in_c and row.in_c and not has_strings(g.nodes[nodes:], g.constants[constants:])
            return made
        except (Unfit, checker.ValidationError):
            del g.nodes[nodes:], g.constants[constants:]
            g.domains = domains
    return None


# ---- recipes -------------------------------------------------------------------------------------

RECIPES = {}


def recipe(*names):
    def add(make):
        for name in names:
            RECIPES[name] = lambda g, v, name=name: make(g, v, name)
        return make
    return add


def reshaped(g, v, *dims):
    """As many of the value's elements as a shape takes, again and again where they are too few."""
    size = int(np.prod(dims))
    v = put(g, "Reshape", [v.name, ints(g, 1, -1)], [v])
    times = -(-size // v.shape[1])
    if times > 1:
        v = put(g, "Tile", [v.name, ints(g, 1, times)], [v])
    if v.shape[1] > size:
        v = put(g, "Gather", [v.name, ints(g, *range(size))], [v], axis=1)
    return put(g, "Reshape", [v.name, ints(g, *dims)], [v])


def floats(g, *shape, low=None):
    array = g.random.normal(size=shape)
    return g.constant((array if low is None else np.abs(array) + low).astype(np.float32))


def picture(g, v, least=3):
    return reshaped(g, v, 1, g.pick(1, 2, 4), whole(g, least, 8), whole(g, least, 8))


@recipe("Conv", "ConvTranspose")
def convolution(g, v, op):
    axes = g.pick(1, 2, 2, 3)
    group, size = g.pick(1, 1, 2), [whole(g, 4, 7) for _ in range(axes)]
    v = reshaped(g, v, 1, 2 * group, *size)
    k = [whole(g, 1, 4) for _ in size]
    out = group * whole(g, 1, 4)
    w = floats(g, *((out, 2) if op == "Conv" else (2 * group, out // group)), *k)
    more = {"dilations": [g.pick(1, 1, 2) if i < 3 else 1 for i in k]} if g.chance(0.3) else {}
    if g.chance(0.6):
        more["pads"] = [whole(g, 0, i) for i in k] * 2
    if op == "ConvTranspose" and g.chance(0.4):
        more["output_padding"] = [whole(g, 0, 2) for _ in k]
    strides = [2 if "output_padding" in more else g.pick(1, 2) for _ in k]
    bias = [floats(g, out)] if g.chance(0.5) else []
    return put(g, op, [v.name, w, *bias], [v], group=group, kernel_shape=k, strides=strides, **more), v


@recipe("MaxPool", "AveragePool", "LpPool")
def pool(g, v, op):
    v = reshaped(g, v, 1, g.pick(1, 3), *(whole(g, 4, 7) for _ in range(g.pick(1, 2, 2, 3))))
    k = [whole(g, 1, 4) for _ in v.shape[2:]]
    more = {"pads": [whole(g, 0, i) for i in k] * 2} if g.chance(0.5) else {}
    if op == "AveragePool" and g.chance(0.5):
        more["count_include_pad"] = 1
    return put(g, op, [v.name], [v], kernel_shape=k, strides=[g.pick(1, 2) for _ in k], **more), v


@recipe("LSTM", "GRU", "RNN")
def recurrent(g, v, op):
    time, width, hidden = whole(g, 1, 5), whole(g, 1, 5), whole(g, 1, 5)
    v = reshaped(g, v, time, 1, width)
    direction = g.pick("forward", "reverse", "bidirectional")
    d, gates = 1 + (direction == "bidirectional"), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    inputs = [v.name, floats(g, d, gates * hidden, width), floats(g, d, gates * hidden, hidden)]
    if g.chance(0.6):
        inputs.append(floats(g, d, 2 * gates * hidden))
    more = {"linear_before_reset": 1} if op == "GRU" and g.chance(0.5) else {}
    return put(g, op, inputs, [v], outputs=2, which=whole(g, 0, 2), hidden_size=hidden, direction=direction, **more), v


@recipe("BatchNormalization", "InstanceNormalization", "GroupNormalization")
def normalization(g, v, op):
    v = picture(g, v)
    c = v.shape[1]
    more = {"epsilon": g.pick(1e-5, 1e-2)}
    groups = g.pick(*(i for i in (1, 2, 4) if c % i == 0))
    if op == "GroupNormalization":
        more["num_groups"] = groups
    count = groups if op == "GroupNormalization" and g.opset < 21 else c
    rest = [floats(g, c), floats(g, c, low=0.5)] if op == "BatchNormalization" else []
    return put(g, op, [v.name, floats(g, count), floats(g, count), *rest], [v], **more), v


@recipe("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", f"{MICROSOFT}.SimplifiedLayerNormalization",
        f"{MICROSOFT}.SkipLayerNormalization", f"{MICROSOFT}.SkipSimplifiedLayerNormalization")
def row_normalization(g, v, op):
    domain, _, op = op.rpartition(".")
    v = reshaped(g, v, 1, whole(g, 1, 5), whole(g, 2, 9))
    skip = [floats(g, *v.shape)] if op.startswith("Skip") else []
    bias = [floats(g, v.shape[2])] if op == "LayerNormalization" and g.chance(0.5) else []
    more = {} if skip else {"axis": -1}
    return put(g, op, [v.name, *skip, floats(g, v.shape[2]), *bias], [v], domain, epsilon=1e-3, **more), v


@recipe("Gemm", f"{MICROSOFT}.FusedMatMul")
def gemm(g, v, op):
    domain, _, op = op.rpartition(".")
    m, k, n = (whole(g, 1, 7) for _ in "mkn")
    ta, tb = whole(g, 0, 2), whole(g, 0, 2)
    v = reshaped(g, v, *((k, m) if ta else (m, k)))
    c = [floats(g, *g.pick((m, n), (n,), (1,), (m, 1)))] if op == "Gemm" and (g.opset < 11 or g.chance(0.6)) else []
    more = {"beta": g.pick(1.0, 0.5)} if c else {}
    more |= {"alpha": g.pick(1.0, 0.5, 2.0), "transA": ta, "transB": tb}
    return put(g, op, [v.name, floats(g, *((n, k) if tb else (k, n))), *c], [v], domain, **more), v


@recipe("MatMul")
def product(g, v, op):
    k = whole(g, 1, 6)
    v = reshaped(g, v, *g.pick((k,), (whole(g, 1, 5), k), (2, whole(g, 1, 5), k), (1, 2, 3, k)))
    return put(g, op, [v.name, floats(g, *g.pick((k,), (k, 3), *([(2, k, 3)] if len(v.shape) != 4 else [])))], [v]), v


@recipe("Resize")
def resize(g, v, op):
    v = picture(g, v)
    scales = g.constant(np.array([1, 1, *(g.pick(0.5, 1, 1.5, 2, 2.5) for _ in "hw")], np.float32))
    if g.opset < 11:
        return put(g, op, [v.name, scales], [v], mode=g.pick("nearest", "linear")), v
    mode = g.pick("nearest", "linear", "cubic")
    more = {"nearest_mode": g.pick("floor", "ceil", "round_prefer_floor")} if mode == "nearest" else {}
    more["coordinate_transformation_mode"] = g.pick("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    return put(g, op, [v.name, g.constant(np.zeros(0, np.float32)), scales], [v], mode=mode, **more), v


@recipe("Reshape", "Expand", "Tile", "Slice", "Pad", "Split")
def moved(g, v, op):
    v = picture(g, v)
    _, c, h, w = v.shape
    if op == "Reshape":
        return put(g, op, [v.name, ints(g, *g.pick((1, c, -1), (0, -1, w), (-1,), (h, c, w), (0, 0, w, h)))], [v]), v
    if op == "Expand":
        return put(g, op, [v.name, ints(g, *g.pick((1, c, h, w), (2, 1, 1, 1), (2, 1, c, h, w), (1,)))], [v]), v
    if op == "Tile":
        return put(g, op, [v.name, ints(g, *(g.pick(1, 1, 2) for _ in v.shape))], [v]), v
    if op == "Slice":
        axes = sorted(int(i) for i in g.random.choice([1, 2, 3], g.pick(1, 2), replace=False))
        starts, ends = [g.pick(0, 1, -3) for _ in axes], [g.pick(100, -1, 3) for _ in axes]
        if g.opset < 10:
            return put(g, op, [v.name], [v], axes=axes, starts=starts, ends=ends), v
        steps = [g.pick(1, 2) for _ in axes]
        if g.chance(0.3):
            starts[0], ends[0], steps[0] = -1, -100, -1
        return put(g, op, [v.name, ints(g, *starts), ints(g, *ends), ints(g, *axes), ints(g, *steps)], [v]), v
    if op == "Pad":
        pads = [0, 0, *(g.pick(-1, 0, 1, 2) for _ in "hw")] * 2
        mode = g.pick("constant", "edge", "reflect")
        pads = [abs(p) for p in pads] if mode == "reflect" else pads
        return (put(g, op, [v.name], [v], pads=pads, mode=mode) if g.opset < 11 else
                put(g, op, [v.name, ints(g, *pads)], [v], mode=mode)), v
    first = whole(g, 1, h)
    parts, which = (first, h - first), whole(g, 0, 2)
    if g.opset < 13:
        return put(g, op, [v.name], [v], outputs=2, which=which, axis=2, split=parts), v
    return put(g, op, [v.name, ints(g, *parts)], [v], outputs=2, which=which, axis=2), v


@recipe("DepthToSpace", "SpaceToDepth")
def blocks(g, v, op):
    b = g.pick(1, 2, 3)
    v = reshaped(g, v, 1, g.pick(1, 2) * (b * b if op == "DepthToSpace" else 1), 2 * b, b)
    more = {"mode": g.pick("DCR", "CRD")} if op == "DepthToSpace" and g.opset >= 11 else {}
    return put(g, op, [v.name], [v], blocksize=b, **more), v


@recipe("ScatterND", "ScatterElements", "GatherND", "GatherElements", "TensorScatter")
def indexed(g, v, op):
    v = reshaped(g, v, 4, 3)
    places = g.random.permutation(4)[:2].astype(np.int64)
    if op == "ScatterND":
        return put(g, op, [v.name, g.constant(places[:, None]), floats(g, 2, 3)], [v]), v
    if op == "GatherND":
        return put(g, op, [v.name, g.constant(g.pick(places[:, None], np.stack([places, places % 3], 1)))], [v]), v
    if op == "TensorScatter":
        v = reshaped(g, v, 1, 4, 3)
        return put(g, op, [v.name, floats(g, 1, 2, 3), ints(g, whole(g, 0, 3))], [v], axis=1), v
    table = g.constant(np.stack([g.random.permutation(4)[:2] for _ in range(3)], 1).astype(np.int64))
    rest = [floats(g, 2, 3)] if op == "ScatterElements" else []
    return put(g, op, [v.name, table, *rest], [v], axis=0), v


@recipe("Attention")
def attention(g, v, op):
    heads, size = g.pick(1, 2), g.pick(2, 4)
    v = reshaped(g, v, 1, heads, whole(g, 1, 4), size)
    keys = whole(g, 1, 5)
    mask = [g.constant(g.random.random((v.shape[2], keys)) < 0.8)] if g.chance(0.3) else []
    more = {"softcap": 2.0} if g.chance(0.2) else {}
    return put(g, op, [v.name, floats(g, 1, heads, keys, size), floats(g, 1, heads, keys, size), *mask], [v], **more), v


@recipe("GridSample")
def grid(g, v, op):
    v = picture(g, v)
    points = g.constant(g.random.uniform(-1.2, 1.2, (1, 3, 4, 2)).astype(np.float32))
    mode = g.pick("bilinear", "nearest") if g.opset < 20 else g.pick("linear", "nearest", "cubic")
    return put(g, op, [v.name, points], [v], mode=mode, padding_mode=g.pick("zeros", "border", "reflection"),
               align_corners=whole(g, 0, 2)), v


@recipe("RoiAlign", "MaxRoiPool")
def regions(g, v, op):
    v = picture(g, v, 5)
    if op == "MaxRoiPool":
        rois = g.constant(np.array([[0, 0, 0, 3, 3], [0, 1, 1, 4, 4]], np.float32))
        return put(g, op, [v.name, rois], [v], pooled_shape=[2, 2], spatial_scale=1.0), v
    rois = g.constant(np.array([[0.3, 0.2, 3.1, 3.6], [1.2, 0.9, 4.3, 4.1]], np.float32))
    return put(g, op, [v.name, rois, ints(g, 0, 0)], [v], output_height=2, output_width=3, sampling_ratio=2), v


@recipe("AffineGrid")
def affine(g, v, op):
    v = reshaped(g, v, 2, 2, 3)
    return put(g, op, [v.name, ints(g, 2, 1, whole(g, 2, 5), whole(g, 2, 5))], [v], align_corners=whole(g, 0, 2)), v


@recipe("Col2Im")
def columns(g, v, op):
    h, w, k = whole(g, 3, 6), whole(g, 3, 6), (g.pick(1, 2), g.pick(2, 3))
    v = reshaped(g, v, 1, 2 * k[0] * k[1], (h - k[0] + 1) * (w - k[1] + 1))
    return put(g, op, [v.name, ints(g, h, w), ints(g, *k)], [v]), v


@recipe("DFT", "STFT")
def transform(g, v, op):
    if op == "STFT":
        v = reshaped(g, v, 1, 16, 1)
        rest = [floats(g, 8, low=0.1)] if g.chance(0.5) else ["", g.constant(np.int64(8))]
        return put(g, op, [v.name, g.constant(np.int64(whole(g, 2, 6))), *rest], [v], onesided=whole(g, 0, 2)), v
    v = reshaped(g, v, 1, whole(g, 2, 7), whole(g, 2, 5), g.pick(1, 2))
    more = {"onesided": 1} if v.shape[3] == 1 and g.chance(0.4) else {"inverse": whole(g, 0, 2)}
    if g.opset < 20:
        return put(g, op, [v.name], [v], axis=g.pick(1, 2), **more), v
    return put(g, op, [v.name, "", g.constant(np.int64(g.pick(1, 2, -2)))], [v], **more), v


@recipe("DeformConv")
def deformed(g, v, op):
    v = reshaped(g, v, 1, 2, 4, 4)
    offset = g.constant(g.random.uniform(-0.4, 0.4, (1, 8, 3, 3)).astype(np.float32))
    return put(g, op, [v.name, floats(g, 3, 2, 2, 2), offset], [v], kernel_shape=[2, 2]), v


@recipe("Det")
def determinant(g, v, op):
    n = whole(g, 1, 4)
    v = reshaped(g, v, 2, n, n)
    return put(g, op, [v.name], [v]), v


@recipe("OneHot")
def one_hot(g, v, op):
    v = cast(g, reshaped(g, v, 2, 3), "int64")
    return put(g, op, [v.name, ints(g, whole(g, 2, 6)), floats(g, 2)], [v], axis=g.pick(-1, 0, 1)), v


@recipe("RotaryEmbedding")
def rotary(g, v, op):
    size, time = g.pick(2, 4), whole(g, 1, 5)
    v = reshaped(g, v, 1, 2, time, size)
    return put(g, op, [v.name, floats(g, 1, time, size // 2), floats(g, 1, time, size // 2)], [v], interleaved=whole(g, 0, 2)), v


@recipe("LabelEncoder")
def labels(g, v, op):
    v = cast(g, v, "int64")
    more = {"default_float": 0.5} if g.chance(0.5) else {}
    return put(g, op, [v.name], [v], ML, keys_int64s=[-1, 0, 1, 2], values_floats=[0.5, 2.0, -1.0, 3.0], **more), v


@recipe("Compress")
def compressed(g, v, op):
    axis = g.pick(None, *range(len(v.shape)))
    size = v.arrays[0].size if axis is None else v.shape[axis]
    keep = g.constant(g.random.random(whole(g, 1, size + 1)) < 0.6)
    return put(g, op, [v.name, keep], [v], **({} if axis is None else {"axis": axis})), v


@recipe("ReverseSequence")
def reversed_parts(g, v, op):
    time, batch = g.pick((0, 1), (1, 0))
    v = reshaped(g, v, 3, 3, whole(g, 1, 4))
    return put(g, op, [v.name, ints(g, *g.random.integers(1, 4, 3))], [v], time_axis=time, batch_axis=batch), v


@recipe("OneHotEncoder")
def encoder(g, v, op):
    v = cast(g, reshaped(g, v, 2, 3), "int64")
    return put(g, op, [v.name], [v], ML, cats_int64s=[0, 1, -1, 5], zeros=1), v


@recipe("LinearRegressor", "Scaler", "Normalizer", "Imputer", "Binarizer")
def features(g, v, op):
    n, f, t = g.pick(1, 4), whole(g, 1, 5), whole(g, 1, 4)
    some = lambda count: [float(np.float32(i)) for i in g.random.uniform(-1, 1.5, count)]  # noqa: E731
    v = reshaped(g, v, n, f)
    more = {"LinearRegressor": dict(coefficients=some(f * t), intercepts=some(t), targets=t),
            "Scaler": dict(scale=some(g.pick(1, f)), offset=some(f)), "Normalizer": dict(norm=g.pick("MAX", "L1", "L2")),
            "Imputer": dict(imputed_value_floats=some(g.pick(1, f)), replaced_value_float=0.0),
            "Binarizer": dict(threshold=g.pick(0.0, 1.0))}[op]
    if op == "Scaler" and len(more["scale"]) != len(more["offset"]):
        more["offset"] = more["offset"][:1]
    return put(g, op, [v.name], [v], ML, **more), v


@recipe("MaxUnpool")
def unpooled(g, v, op):
    v = reshaped(g, v, 1, 1, 2, 2)
    places = g.constant(np.array([[[[0, 3], [8, 10]]]], np.int64))
    return put(g, op, [v.name, places], [v], kernel_shape=[2, 2], strides=[2, 2]), v


@recipe("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(g, v, op):
    c, rest = whole(g, 1, 5), g.pick((), (3,), (2, 2))
    v = reshaped(g, v, 2, c, *rest)
    labels = g.constant(g.random.integers(0, c, (2, *rest)).astype(np.int64))
    weight = [floats(g, c, low=0.5)] if g.chance(0.4) else []
    return put(g, op, [v.name, labels, *weight], [v], reduction=g.pick("none", "mean", "sum")), v


@recipe("GlobalAveragePool", "GlobalMaxPool", "LRN", "MeanVarianceNormalization")
def of_pictures(g, v, op):
    v = picture(g, v)
    more = {"size": g.pick(1, 3, 5), "alpha": 0.5, "beta": 0.5, "bias": 1.5} if op == "LRN" else {}
    return put(g, op, [v.name], [v], **more), v


@recipe("EyeLike")
def eye(g, v, op):
    v = reshaped(g, v, whole(g, 1, 6), whole(g, 1, 6))
    return put(g, op, [v.name], [v], k=whole(g, -1, 2)), v


@recipe("CenterCropPad")
def centered(g, v, op):
    v = picture(g, v)
    axes = sorted(int(i) for i in g.random.choice(4, g.pick(1, 2), replace=False))
    return put(g, op, [v.name, ints(g, *(whole(g, 1, 7) for _ in axes))], [v], axes=axes), v


@recipe("TopK")
def largest(g, v, op):
    v = reshaped(g, v, 2, whole(g, 2, 6), 3)
    more = {} if g.opset < 11 else {"largest": whole(g, 0, 2)}
    k = whole(g, 1, v.shape[1])
    if g.opset < 10:
        return put(g, op, [v.name], [v], outputs=2, axis=1, k=k), v
    return put(g, op, [v.name, ints(g, k)], [v], outputs=2, which=whole(g, 0, 2), axis=1, **more), v


@recipe("Dropout")
def dropout(g, v, op):
    return put(g, op, [v.name], [v], **({"ratio": 0.5} if g.opset < 12 else {})), v


@recipe("PRelu")
def slopes(g, v, op):
    """ONNX Runtime takes slopes of larger shapes, ONNX such as broadcast to the value's."""
    v = picture(g, v)
    return put(g, op, [v.name, floats(g, *g.pick(v.shape, (v.shape[1], *[1] * (len(v.shape) - 2)), (1,), v.shape[-1:]))], [v]), v
