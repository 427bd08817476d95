"""Random legal graphs, one a seed: chains of the operators that qonnx knows, in the form of a random
operator set, with branches that meet again, on pictures or vectors, the batch open or 1.

    python tests/random_graphs.py SEED OUT.onnx     writes one of them
"""

import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from random_operators import MICROSOFT, ML, MOST_VECTOR, Value, operator, table

OLDEST, NEWEST = 7, 27
SAMPLES = 24  # the most that are asked for
FLOAT = TensorProto.FLOAT


class Graph:
    """A graph that grows: `x` names the last value, `shape` is its shape for batch 1."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.opset = int(self.random.integers(OLDEST, NEWEST + 1))
        self.batch = "N" if self.random.random() < 0.5 else 1
        self.nodes, self.constants, self.count = [], [], 0
        self.picture = self.random.random() < 0.7
        self.shape = (1, int(self.random.choice([1, 2, 3, 4, 8])), *map(int, self.random.integers(5, 13, 2))) \
            if self.picture else (1, int(self.random.integers(4, 33)))
        self.input_shape = self.shape
        self.x = "x"
        self.domains = set()  # that nodes are of beside ONNX's own
        self.inputs = None  # samples, where there had to be some to draw it
        self.in_c = True  # whether generated C has it
        self.doubles = True  # whether it may have them; it is not quantized then
        self.probe = np.random.default_rng(seed)  # of inputs that are tried while drawing

    def pick(self, *choices):
        return choices[self.random.integers(len(choices))]

    def chance(self, share):
        return self.random.random() < share

    def constant(self, array, name="k"):
        self.count += 1
        name = f"{name}{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape, spread=None):
        array = self.random.normal(size=shape) * (spread or 1 / np.sqrt(max(np.prod(shape[1:]), 1)))
        if self.chance(0.2) and shape and shape[0] > 1:
            array *= np.exp(self.random.normal(size=(shape[0], *[1] * (len(shape) - 1))))  # uneven channels
        return self.constant(array.astype(np.float32), "w")

    def ints(self, *values):
        return self.constant(np.array(values, np.int64), "i")

    def add(self, op, *inputs, shape=None, **attributes):
        """A node behind the last value, or on the given inputs; it becomes the last value."""
        self.count += 1
        name = f"{op.lower()}{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs) or [self.x], [name], name, **attributes))
        self.x = name
        self.shape = shape or self.shape

    def wrap(self, graph):
        """A graph as a model of this operator set."""
        sets = [helper.make_opsetid(d, {"": self.opset, ML: 3, MICROSOFT: 1}[d]) for d in sorted({"", *self.domains})]
        return helper.make_model(graph, opset_imports=sets, ir_version=4 if self.opset < 10 else 8 if self.opset < 20 else 10)

    def model(self):
        dims = [self.batch, *self.input_shape[1:]]
        graph = helper.make_graph(self.nodes, f"g{self.opset}", [helper.make_tensor_value_info("x", FLOAT, dims)],
                                  [helper.make_tensor_value_info(self.x, FLOAT, [self.batch, *self.shape[1:]])], self.constants)
        return self.wrap(graph)


# ---- operators -----------------------------------------------------------------------------------


def conv(g):
    _, c, h, w = g.shape
    group = g.pick(1, 1, c, *([2] if c % 2 == 0 else []))
    out = group * int(g.random.integers(1, 9 if group == 1 else 3))
    k = [int(g.random.integers(1, min(5, d) + 1)) for d in (h, w)]
    stride, dilation = [g.pick(1, 1, 2), g.pick(1, 1, 2)], [g.pick(1, 1, 2) if (k[0] - 1) * 2 < h and (k[1] - 1) * 2 < w else 1] * 2
    more = {}
    reach = [(k[i] - 1) * dilation[i] + 1 for i in (0, 1)]
    if g.chance(0.25):
        more["auto_pad"] = g.pick("SAME_UPPER", "SAME_LOWER", "VALID")
        size = [-(-d // s) if more["auto_pad"] != "VALID" else (d - r) // s + 1
                for d, s, r in zip((h, w), stride, reach)]
        if more["auto_pad"] != "VALID" and dilation != [1, 1]:
            dilation = [1, 1]
    else:
        pads = [int(p) for p in g.random.integers(0, 3, 4)]
        more["pads"] = pads
        size = [(d + pads[i] + pads[i + 2] - reach[i]) // stride[i] + 1 for i, d in enumerate((h, w))]
    inputs = [g.x, g.weight(out, c // group, *k)] + ([g.weight(out)] if g.chance(0.7) else [])
    g.add("Conv", *inputs, shape=(1, out, *size), kernel_shape=k, strides=stride, dilations=dilation, group=group, **more)


def batch_norm(g):
    c = g.shape[1]
    scale, bias, mean = g.weight(c, spread=1), g.weight(c, spread=1), g.weight(c, spread=1)
    variance = g.constant(np.abs(g.random.normal(size=c)).astype(np.float32) + np.float32(0.1))
    g.add("BatchNormalization", g.x, scale, bias, mean, variance, epsilon=g.pick(1e-5, 1e-3))


def pool(g):
    _, c, h, w = g.shape
    k = [int(g.random.integers(1, min(4, d) + 1)) for d in (h, w)]
    stride = [g.pick(1, 2, 2), g.pick(1, 2, 2)]
    pads = [int(g.random.integers(0, k[i % 2])) for i in range(4)] if g.chance(0.4) else [0] * 4
    op, more = g.pick("MaxPool", "AveragePool"), {}
    ceil = g.opset >= 10 and g.chance(0.3)
    spans = [d + pads[i] + pads[i + 2] - k[i] for i, d in enumerate((h, w))]
    # ONNX's inference counts a last window that begins behind the input, which the operator leaves out
    ceil = ceil and not any(-(-s // stride[i]) * stride[i] >= d + pads[i] for i, (s, d) in enumerate(zip(spans, (h, w))))
    if ceil:
        more["ceil_mode"] = 1
    if op == "AveragePool" and g.chance(0.4):
        more["count_include_pad"] = 1
    size = [(-(-s // stride[i]) if ceil else s // stride[i]) + 1 for i, s in enumerate(spans)]
    g.add(op, shape=(1, c, *size), kernel_shape=k, strides=stride, pads=pads, **more)


def global_pool(g):
    g.add(g.pick("GlobalAveragePool", "GlobalMaxPool") if g.chance(0.2) else "GlobalAveragePool",
          shape=(*g.shape[:2], *[1] * (len(g.shape) - 2)))


def activation(g):
    op = g.pick("Relu", "Relu", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "Elu", "Softplus", "Clip", "HardSwish",
                "Gelu", "Erf", "Abs", "Neg")
    least = {"HardSwish": 14, "Gelu": 20, "Erf": 9}.get(op, 7)
    if g.opset < least:
        op = "Relu"
    if op == "Clip":
        lo, hi = g.pick((0.0, 6.0), (-1.0, 1.0), (-0.5, 3.0))
        if g.opset < 11:
            g.add(op, min=lo, max=hi)
        else:
            g.add(op, g.x, g.constant(np.float32(lo)), g.constant(np.float32(hi)))
        return
    g.add(op, **({"alpha": 0.1} if op in ("LeakyRelu", "Elu") else {}))


def arithmetic(g):
    op = g.pick("Add", "Mul", "Sub", "Div")
    form = g.pick((), g.shape[1:], (g.shape[1], *[1] * (len(g.shape) - 2)))
    array = g.random.normal(size=form).astype(np.float32)
    if op == "Div":
        array = np.float32(1.5) + np.abs(array)
    other = g.constant(array)
    g.add(op, *((other, g.x) if op in ("Add", "Mul") and g.chance(0.3) else (g.x, other)))


def residual(g):
    """A branch of the same shape, added, multiplied or joined to what it branches from."""
    start, shape = g.x, g.shape
    for _ in range(int(g.random.integers(1, 3))):
        if len(shape) == 4 and g.chance(0.7):
            g.add("Conv", g.x, g.weight(shape[1], shape[1], 3, 3), g.weight(shape[1]), kernel_shape=[3, 3], pads=[1] * 4)
        else:
            activation(g)
    if g.chance(0.4):
        g.add("Concat", *((start, g.x) if g.chance(0.5) else (g.x, start)), axis=1,
              shape=(1, shape[1] * 2, *shape[2:]))
    else:
        g.add(g.pick("Add", "Add", "Mul", "Max", "Sum") if g.opset >= 8 else "Add", start, g.x)


def move(g):
    form = g.pick("transpose", "slice", "identity", "dropout", "gather", "unsqueeze", "pad", "tile", "depth")
    rank = len(g.shape)
    if form == "transpose" and rank == 4:
        perm = [0, *(1 + int(i) for i in g.random.permutation(3))]
        g.add("Transpose", perm=perm, shape=tuple(g.shape[i] for i in perm))
    elif form == "slice" and g.shape[1] > 2:
        end = g.shape[1] - 1
        shape = (1, end - 1 if g.opset >= 10 and False else end, *g.shape[2:])
        if g.opset < 10:
            g.add("Slice", axes=[1], starts=[0], ends=[end], shape=shape)
        else:
            g.add("Slice", g.x, g.ints(0), g.ints(end), g.ints(1), shape=shape)
    elif form == "gather":
        order = [int(i) for i in g.random.integers(0, g.shape[1], int(g.random.integers(1, 9)))]
        g.add("Gather", g.x, g.ints(*order), axis=1, shape=(1, len(order), *g.shape[2:]))
    elif form == "pad" and rank == 4 and min(g.shape[2:]) > 2:
        front, behind = ([0, 0, *(int(i) for i in g.random.integers(-1, 3, 2))] for _ in range(2))
        mode = dict(mode=g.pick("constant", "constant", "edge", "reflect"))
        if mode["mode"] == "reflect":  # of more than one axis: what is cut off is not there to be reflected
            front, behind = [abs(i) % 2 for i in front], [abs(i) % 2 for i in behind]
        shape = tuple(a + b + d for a, b, d in zip(front, behind, g.shape))
        if g.opset < 11:
            g.add("Pad", pads=front + behind, shape=shape, **mode)
        else:
            g.add("Pad", g.x, g.ints(*front, *behind), shape=shape, **mode)
    elif form == "tile" and int(np.prod(g.shape)) < 2000:
        axis = int(g.random.integers(1, rank))
        repeats = [2 if i == axis else 1 for i in range(rank)]
        g.add("Tile", g.x, g.ints(*repeats), shape=tuple(d * r for d, r in zip(g.shape, repeats)))
    elif form == "depth" and rank == 4 and g.shape[1] % 4 == 0:
        mode = dict(mode=g.pick("DCR", "CRD")) if g.opset >= 11 else {}
        g.add("DepthToSpace", blocksize=2, shape=(1, g.shape[1] // 4, g.shape[2] * 2, g.shape[3] * 2), **mode)
    elif form == "dropout":
        g.add("Dropout")
    elif form == "unsqueeze":
        axes = [2]
        if g.opset < 13:
            g.add("Unsqueeze", axes=axes)
            g.add("Squeeze", axes=axes)
        else:
            g.add("Unsqueeze", g.x, g.ints(*axes))
            g.add("Squeeze", g.x, g.ints(*axes))
    else:
        g.add("Identity")


def reduce(g):
    op, axes = g.pick("ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin"), g.pick([2, 3], [3], [1])
    if len(g.shape) != 4:
        return
    shape = tuple(1 if i in axes else d for i, d in enumerate(g.shape))
    if g.opset >= (13 if op == "ReduceSum" else 18):
        g.add(op, g.x, g.ints(*axes), keepdims=1, shape=shape)
    else:
        g.add(op, axes=axes, keepdims=1, shape=shape)


def flatten(g):
    """To vectors."""
    count = int(np.prod(g.shape[1:]))
    form = g.pick("flatten", "reshape", "view")
    if form == "flatten" or len(g.shape) == 2:
        g.add("Flatten", shape=(1, count))
    elif form == "reshape":
        g.add("Reshape", g.x, g.ints(g.pick(0, -1), count), shape=(1, count))
    else:  # x.view(x.size(0), -1)
        x = g.x
        g.add("Shape")
        g.add("Gather", g.x, g.ints(0), axis=0)
        g.add("Concat", g.x, g.ints(-1), axis=0)
        g.add("Reshape", x, g.x, shape=(1, count))


def dense(g):
    inner, out = g.shape[1], int(g.random.integers(2, 17))
    if g.chance(0.5):
        transposed = g.chance(0.5)
        w = g.weight(out, inner) if transposed else g.weight(inner, out)
        bias = [g.weight(out)] if g.chance(0.7) or g.opset < 11 else []
        g.add("Gemm", g.x, w, *bias, transB=int(transposed), shape=(1, out))
    else:
        g.add("MatMul", g.x, g.weight(inner, out, spread=1 / np.sqrt(inner)), shape=(1, out))
        if g.chance(0.5):
            g.add("Add", g.x, g.weight(out))


def softmax(g):
    g.add("Softmax", axis=g.pick(1, -1) if g.opset >= 11 else 1)


PICTURE = [(conv, 6), (batch_norm, 2), (pool, 2), (activation, 4), (arithmetic, 2), (residual, 2), (move, 2), (reduce, 1),
           (global_pool, 1)]
VECTOR = [(dense, 5), (activation, 3), (arithmetic, 2), (residual, 1), (softmax, 1), (move, 1)]


def from_table(g):
    """Some operators of docs/operators.md, whatever they are, behind the input; pictures or vectors come of them."""
    g.batch, g.doubles = 1, g.chance(0.2)
    g.inputs = samples(g, SAMPLES)
    v, exact = Value("x", g.inputs), True
    for _ in range(int(g.random.integers(1, 5))):
        rows = table()
        made = operator(g, rows[g.random.integers(len(rows))], v, exact)
        v, exact = made or (v, exact)
    g.x, g.shape = v.name, v.shape
    if len(g.shape) not in (2, 4) or g.shape[0] != 1 or (len(g.shape) == 2 and g.shape[1] > MOST_VECTOR):
        size = int(np.prod(g.shape))
        width = g.pick(*(d for d in range(1, 17) if size % d == 0))
        g.add("Reshape", g.x, g.ints(1, 1, -1, width), shape=(1, 1, size // width, width))


def random_graph(seed):
    """The graph of that seed."""
    g = Graph(seed)
    if seed // 16 % 2:
        from_table(g)
    for _ in range(int(g.random.integers(2, 9))):
        steps = PICTURE if len(g.shape) == 4 else VECTOR
        weights = np.array([w for _, w in steps], float)
        steps[g.random.choice(len(steps), p=weights / weights.sum())][0](g)
        if len(g.shape) == 4 and min(g.shape[2:]) > 0 and max(g.shape[2:]) == 1 and g.chance(0.7):
            flatten(g)
    if g.chance(0.6):
        if len(g.shape) == 4:
            flatten(g)
        dense(g)
        if g.chance(0.3):
            softmax(g)
    return g


def samples(g, count):
    """Inputs of a graph."""
    if g.inputs:
        return g.inputs[:count]
    return [g.random.normal(size=g.input_shape).astype(np.float32) * np.float32(1.5) for _ in range(count)]


if __name__ == "__main__":
    with open(sys.argv[2], "wb") as f:
        f.write(random_graph(int(sys.argv[1])).model().SerializeToString())
