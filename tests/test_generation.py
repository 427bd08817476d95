"""Operators of models that generate text step by step, against ONNX Runtime; compiled models against the command."""

import numpy as np
import onnx
import pytest
from conftest import run_command
from many_forms import Model, agrees, build, compiles, form
from onnx import helper
from test_microsoft import MICROSOFT, numbers

ERROR = 3e-6


def check(forms, x, tmp_path, qonnx, opset=23, error=ERROR):
    got = agrees(m := build(forms, x, opset), tmp_path, error)
    compiles(m, tmp_path, got, qonnx)
    return got


def tables(places, half):
    angles = np.arange(places)[:, None] * 1.3 ** -np.arange(half)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


# ---- RotaryEmbedding -----------------------------------------------------------------------------


def test_rotary(tmp_path, qonnx):
    """Heads as an axis or in rows; all of a head or a part, in halves or in neighbours; tables for each row."""
    cos, sin = tables(20, 4)
    own = np.stack([cos[:5], cos[7:12]]), np.stack([sin[:5], sin[7:12]])
    x = {"x4": numbers(2, 3, 5, 8), "x3": numbers(2, 5, 24, seed=2), "wide4": numbers(2, 3, 5, 12, seed=3),
         "wide3": numbers(2, 5, 36, seed=4), "ids": np.random.default_rng(1).integers(0, 20, (2, 5))}
    forms = []
    for turns in ({}, {"interleaved": 1}):
        forms += [form("RotaryEmbedding", "x4", cos, sin, "ids", **turns), form("RotaryEmbedding", "x4", *own, **turns),
                  form("RotaryEmbedding", "x3", cos, sin, "ids", num_heads=3, **turns),
                  form("RotaryEmbedding", "x3", *own, num_heads=3, **turns),
                  form("RotaryEmbedding", "wide4", cos, sin, "ids", rotary_embedding_dim=8, **turns),
                  form("RotaryEmbedding", "wide3", *own, rotary_embedding_dim=8, num_heads=3, **turns)]
    check(forms, x, tmp_path, qonnx)


def test_rotary_microsoft(tmp_path, qonnx):
    """Ids for each row, or one for the first row."""
    cos, sin = tables(20, 4)
    x = {"x4": numbers(2, 3, 5, 8), "x3": numbers(2, 5, 24, seed=2), "wide3": numbers(2, 5, 36, seed=4),
         "wide4": numbers(2, 3, 5, 12, seed=3),
         "ids": np.random.default_rng(1).integers(0, 20, (2, 5)), "first": np.array([6])}
    forms = []
    for turns in ({}, {"interleaved": 1}):
        for ids in ("ids", "first"):
            forms += [form("RotaryEmbedding", "x4", ids, cos, sin, **MICROSOFT, **turns),
                      form("RotaryEmbedding", "x3", ids, cos, sin, **MICROSOFT, **turns),
                      form("RotaryEmbedding", "x3", ids, cos, sin, num_heads=3, **MICROSOFT, **turns),
                      form("RotaryEmbedding", "wide3", ids, cos, sin, rotary_embedding_dim=8, num_heads=3, **MICROSOFT, **turns),
                      form("RotaryEmbedding", "wide4", ids, cos, sin, rotary_embedding_dim=8, num_heads=3, **MICROSOFT, **turns)]
    check(forms, x, tmp_path, qonnx)


# ---- GroupQueryAttention -------------------------------------------------------------------------

B, S, H, KV, D = 2, 4, 6, 2, 16


def group(*operands, outputs=3, **attributes):
    return form("GroupQueryAttention", *operands, outputs=outputs, num_heads=H, kv_num_heads=KV, **MICROSOFT, **attributes)


ATTRIBUTES = [{}, {"scale": 0.2}, {"softcap": 1.5}, {"local_window_size": 2}, {"local_window_size": 3, "softcap": 0.8},
              {"smooth_softmax": 1}, {"causal": 0}]
ROTARY = [{"do_rotary": 1}, {"do_rotary": 1, "rotary_interleaved": 1}, {"do_rotary": 1, "local_window_size": 2}]


def test_group_first(tmp_path, qonnx):
    """Nothing before, as many rows as in use; keys and values apart or behind the queries."""
    cos, sin = tables(30, D // 2)
    x = {"q": numbers(B, S, H * D), "k": numbers(B, S, KV * D, seed=2), "v": numbers(B, S, KV * D, seed=3),
         "all": numbers(B, S, (H + 2 * KV) * D, seed=4), "last": np.array([S - 1, S - 1], np.int32),
         "bias": numbers(1, H, S, S, seed=5)}
    total = np.array(S, np.int32)
    forms = [group("q", "k", "v", None, None, "last", total, **a) for a in ATTRIBUTES]
    forms += [group("all", None, None, None, None, "last", total, **a) for a in ATTRIBUTES[:2]]
    forms += [group("q", "k", "v", None, None, "last", total, cos, sin, **a) for a in ROTARY]
    forms += [group("all", None, None, None, None, "last", total, cos, sin, **a) for a in ROTARY]
    forms += [group("q", "k", "v", None, None, "last", total, None, None, None, "bias")]
    forms += [group("q", "k", "v", None, None, "last", total, None, None, None, None, numbers(H, seed=6))]
    check(forms, x, tmp_path, qonnx)


@pytest.mark.parametrize("B, rows", [(2, 1), (1, 3)])
def test_group_later(tmp_path, qonnx, B, rows):
    """Rows behind those of earlier steps, whose memory may have room for more; each batch with its own length."""
    cos, sin = tables(30, D // 2)
    x = {"q": numbers(B, rows, H * D), "k": numbers(B, rows, KV * D, seed=2), "v": numbers(B, rows, KV * D, seed=3),
         "all": numbers(B, rows, (H + 2 * KV) * D, seed=4), "last": np.array([6, 4][:B], np.int32),
         "pk": numbers(B, KV, 9, D, seed=5), "pv": numbers(B, KV, 9, D, seed=6), "pk6": numbers(B, KV, 7 - rows, D, seed=5),
         "pv6": numbers(B, KV, 7 - rows, D, seed=6), "bias": numbers(B, 1, rows, 7, seed=7),
         "at": np.random.default_rng(1).integers(0, 30, (B, rows))}
    total = np.array(7, np.int32)
    forms = [group("q", "k", "v", *p, "last", total, **a) for a in ATTRIBUTES for p in (("pk", "pv"), ("pk6", "pv6"))]
    forms += [group("all", None, None, "pk", "pv", "last", total, **ATTRIBUTES[3])]
    forms += [group("q", "k", "v", "pk", "pv", "last", total, cos, sin, **a) for a in ROTARY]
    forms += [group("all", None, None, "pk6", "pv6", "last", total, cos, sin, **a) for a in ROTARY]
    forms += [group("q", "k", "v", "pk", "pv", "last", total, cos, sin, "at", do_rotary=1)]
    forms += [group("q", "k", "v", "pk6", "pv6", "last", total, None, None, None, "bias", local_window_size=4)]
    check(forms, x, tmp_path, qonnx)


DECODER = """<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]>
g (float[1,S,16] x, int64[1,T] mask, float[1,2,P,16] pk, float[1,2,P,16] pv) => (float[1,S,32] y, float[1,2,Q,16] k,
    float[1,2,Q,16] v)
<int64[1] axis = {1}, int64 one = {1}, int32 less = {1}> {
  counts = ReduceSum <keepdims = 0> (mask, axis)
  counts32 = Cast <to = 6> (counts)
  last = Sub (counts32, less)
  %s
  q = com.microsoft.MatMulNBits <K = 16, N = 32, bits = 4, block_size = 16> (x, w, scales)
  more = com.microsoft.MatMulNBits <K = 16, N = 32, bits = 4, block_size = 16> (x, w, scales)
  y, k, v = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 2, do_rotary = 1>
    (q, more, more, pk, pv, last, total, cos, sin)
}"""
TOTALS = {"shape": "shape = Shape (mask) size = Gather (shape, one) total = Cast <to = 6> (size)",
          "data": "most = ReduceMax <keepdims = 0> (counts32) total = Identity (most)"}


@pytest.mark.parametrize("total", TOTALS)
def test_decoder(tmp_path, total):
    """As exporters write a decoder: lengths come from the mask, and how many are in use from its shape, or from what is in it."""
    proto = onnx.parser.parse_model(DECODER % TOTALS[total])
    cos, sin = tables(30, D // 2)
    rng = np.random.default_rng(1)
    constants = {"w": rng.integers(0, 256, (32, 1, 8), np.uint8), "scales": rng.uniform(0.01, 0.1, (32, 1)).astype(np.float32),
                 "cos": cos,
                 "sin": sin}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in constants.items())
    for rows, past in ((5, 0), (1, 5), (1, 6)):
        x = {"x": numbers(1, rows, 16), "mask": np.ones((1, rows + past), np.int64), "pk": numbers(1, 2, past, 16, seed=2),
             "pv": numbers(1, 2, past, 16, seed=3)}
        agrees(Model(proto, x, ["y", "k", "v"]), tmp_path, 1e-5)


@pytest.mark.parametrize("name", ["GroupQueryAttention", "RotaryEmbedding", "MatMulNBits"])
def test_half(tmp_path, name):
    """float16 is float inside."""
    cos, sin = (t.astype(np.float16) for t in tables(20, D // 2))
    x = {"q": numbers(B, S, H * D).astype(np.float16), "k": numbers(B, S, KV * D, seed=2).astype(np.float16), "at": np.array([3])}
    op, operands, outputs, domain, attributes = few("q", H * D, 20, 32, zeros="float")
    forms = {"GroupQueryAttention": group("q", "k", "k", None, None, np.array([S - 1] * B, np.int32), np.array(S, np.int32),
                                          cos, sin,
                                          do_rotary=1),
             "RotaryEmbedding": form("RotaryEmbedding", "q", "at", cos, sin, **MICROSOFT),
             "MatMulNBits": (op, [o.astype(np.float16) if o is not None and getattr(o, "dtype", None) == np.float32 else o
                                  for o in operands], outputs, domain, attributes)}
    agrees(build([forms[name]], x, 23), tmp_path, 4e-3)


# ---- states --------------------------------------------------------------------------------------


def test_tensor_scatter(tmp_path, qonnx):
    """Along any axis, round the end, of several types."""
    x = {"past": numbers(2, 3, 6, 5), "put": numbers(2, 3, 2, 5, seed=2), "at": np.array([1, 4]),
         "bytes": numbers(2, 3, 6, 5).astype(np.int8),
         "few": numbers(2, 3, 2, 5, seed=2).astype(np.int8), "side": numbers(2, 3, 6, 2, seed=3)}
    forms = [form("TensorScatter", "past", "put"), form("TensorScatter", "past", "put", "at"),
             form("TensorScatter", "past", "put", "at", mode="circular"), form("TensorScatter", "bytes", "few", "at"),
             form("TensorScatter", "past", "side", "at", axis=-1, mode="circular"),
             form("TensorScatter", "past", "put", np.array([4, 5]), mode="circular")]
    check(forms, x, tmp_path, qonnx, 24)


def test_linear_attention(tmp_path, qonnx):
    """Every rule; decays for each element or head; fewer keys than queries, and fewer queries than keys."""
    x = {"q": numbers(2, 5, 32) / 3, "k": numbers(2, 5, 32, seed=2) / 3, "v": numbers(2, 5, 24, seed=3),
         "past": numbers(2, 4, 8, 6, seed=4),
         "wide": numbers(2, 5, 64, seed=5) / 3, "slow": -np.abs(numbers(2, 5, 32, seed=6)),
         "heads": -np.abs(numbers(2, 5, 4, seed=7)),
         "beta": np.abs(numbers(2, 5, 4, seed=8)), "one": np.abs(numbers(2, 5, 1, seed=9)), "two": numbers(2, 5, 16, seed=10) / 3}

    def linear(*operands, heads=4, **attributes):
        return form("LinearAttention", *operands, outputs=2, q_num_heads=heads, kv_num_heads=4, **MICROSOFT, **attributes)

    forms = [linear("q", "k", "v", update_rule="linear"), linear("q", "k", "v", "past", update_rule="linear", scale=0.4)]
    for decay in ("slow", "heads"):
        forms += [linear("q", "k", "v", "past", decay, update_rule="gated"), linear("q", "k", "v", "past", decay, "beta"),
                  linear("wide", "k", "v", None, decay, "one", heads=8)]
    forms += [linear("q", "k", "v", "past", None, "beta", update_rule="delta"),
              linear("two", "k", "v", "past", "slow", "beta", heads=2)]
    check(forms, x, tmp_path, qonnx)


def test_causal_convolution(tmp_path, qonnx):
    """With and without steps before, an activation, taps that are apart; channels first or last."""
    w, bias = numbers(3, 1, 4, seed=2), numbers(3, seed=3)
    x = {"x": numbers(2, 3, 7), "past": numbers(2, 3, 3, seed=4), "last": numbers(2, 7, 3, seed=5),
         "before": numbers(2, 3, 3, seed=6),
         "short": numbers(2, 3, 1, seed=7), "past6": numbers(2, 3, 6, seed=8)}

    def causal(*operands, **attributes):
        return form("CausalConvWithState", *operands, outputs=2, **MICROSOFT, **attributes)

    forms = [causal("x", w), causal("x", w, bias), causal("x", w, bias, "past"), causal("x", w, bias, "past", activation="silu"),
             causal("short", w, bias, "past", activation="swish"), causal("short", w), causal("x", w, bias, "past6", dilation=2),
             causal("last", w, bias, "before", channels_last=1), causal("last", w, activation="silu", channels_last=1),
             causal("x", numbers(3, 1, 1, seed=4), bias)]
    check(forms, x, tmp_path, qonnx)


# ---- weights of few bits -------------------------------------------------------------------------


def few(x, k, n, block, bits=4, zeros=None, bias=None, seed=1, flat=False):
    """A form of MatMulNBits with random weights; zeros: "packed" or "float"."""
    rng = np.random.default_rng(seed)
    blocks = -(-k // block)
    w = rng.integers(0, 256, (n, blocks, block * bits // 8), np.uint8)
    scales = rng.uniform(0.01, 0.1, n * blocks if flat else (n, blocks)).astype(np.float32)
    packed = rng.integers(0, 256, (n, -(-blocks * bits // 8)), np.uint8)
    zero = {None: None, "packed": packed.ravel() if flat else packed,
            "float": rng.uniform(4, 11, (n, blocks)).astype(np.float32)}[zeros]
    return form("MatMulNBits", x, w, scales, zero, None, bias, K=k, N=n, bits=bits, block_size=block, **MICROSOFT)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_few_bits(tmp_path, qonnx, bits):
    """Blocks of every size, zero points of every form; one row and many; sums that end within a block and within a byte."""
    x = {"many": numbers(2, 9, 160), "row": numbers(1, 160, seed=2), "odd": numbers(3, 75, seed=3), "one": numbers(1, 75, seed=4)}
    forms = [few(name, k, n, block, bits, zeros, seed=n)
             for block, n in ((16, 33), (32, 16), (64, 40), (128, 7), (256, 150))
             for zeros in (None, "packed", "float")[:2 if bits == 8 else 3]
             for name, k in (("many", 160), ("row", 160), ("odd", 75), ("one", 75))]
    forms += [few("many", 160, 40, 32, bits, "packed", numbers(40)), few("row", 160, 40, 32, bits, None, numbers(40))]
    if bits == 4:
        forms += [few("many", 160, 40, 32, bits, "packed", flat=True)]
    check(forms, x, tmp_path, qonnx, error=1e-5)


# ---- wrong operands ------------------------------------------------------------------------------


def node(op, domain, *shapes, types=(), values=(), opset=27, **attributes):
    return op, domain, shapes, dict(types), dict(values), opset, attributes


def microsoft(op, *shapes, **more):
    return node(op, "com.microsoft", *shapes, **more)


GROUP = {"types": {5: 6, 6: 6}, "num_heads": 4, "kv_num_heads": 2}
TOTAL = {"values": {6: np.array(5, np.int32)}}
QKV = ((2, 3, 16), (2, 3, 8), (2, 3, 8))
PAST = ((2, 2, 4, 4), (2, 2, 4, 4))
LINEAR = {"q_num_heads": 4, "kv_num_heads": 2}

WRONG = {
    "odd": (node("RotaryEmbedding", "", (2, 3, 5, 7), (2, 5, 3), (2, 5, 3)),
            "it turns 7 elements of heads of 7, want an even part"),
    "table": (node("RotaryEmbedding", "", (2, 3, 5, 8), (9, 3), (9, 3), (2, 5), types={3: 7}),
              "axis 1 of input 1 has size 3, want 4"),
    "tables": (node("RotaryEmbedding", "", (2, 3, 5, 8), (9, 4), (8, 4), (2, 5), types={3: 7}),
               "axis 0 of input 2 has size 8, want 9"),
    "rotary heads": (node("RotaryEmbedding", "", (2, 5, 24), (2, 5, 4), (2, 5, 4)), "num_heads is 0, want 1 or more"),
    "rotary part": (node("RotaryEmbedding", "", (2, 5, 24), (2, 5, 5), (2, 5, 5), num_heads=3, rotary_embedding_dim=10),
                    "turns 10 elements of heads of 8"),
    "own rows": (node("RotaryEmbedding", "", (2, 3, 5, 8), (2, 4, 4), (2, 4, 4)), "axis 1 of input 1 has size 4, want 5"),
    "place": (node("RotaryEmbedding", "", (1, 1, 2, 4), (9, 2), (9, 2), (1, 2), values={3: np.array([[3, 9]])}),
              "position 9, but the tables have 9 rows"),
    "first place": (microsoft("RotaryEmbedding", (1, 1, 3, 4), (1,), (9, 2), (9, 2), values={1: np.array([7])}),
                    "position 9, but the tables have 9 rows"),
    "no table": (node("RotaryEmbedding", "", (1, 1, 2, 4), (0, 2), (0, 2), (1, 2), types={3: 7}), "input 1 has no rows"),
    "groups": (microsoft("GroupQueryAttention", *QKV, None, None, (2,), (), types={5: 6, 6: 6}, num_heads=4, kv_num_heads=3,
                         **TOTAL), "4 heads of queries, 3 of keys"),
    "one of two": (microsoft("GroupQueryAttention", (2, 3, 16), (2, 3, 8), None, None, None, (2,), (), **GROUP, **TOTAL),
                   "key and value go together"),
    "keys": (microsoft("GroupQueryAttention", (2, 3, 16), (2, 3, 9), (2, 3, 8), None, None, (2,), (), **GROUP, **TOTAL),
             "axis 2 of input 1 has size 9, want 8"),
    "past": (microsoft("GroupQueryAttention", *QKV, (2, 2, 4, 4), (2, 2, 5, 4), (2,), (), **GROUP, **TOTAL),
             "axis 2 of input 4 has size 5, want 4"),
    "lengths": (microsoft("GroupQueryAttention", *QKV, *PAST, (3,), (), **GROUP, **TOTAL), "3 numbers in seqlens_k, want 2"),
    "too few": (microsoft("GroupQueryAttention", *QKV, *PAST, (2,), (), **GROUP, values={6: np.array(2, np.int32)}),
                "total_sequence_length is 2, but there are 3 new rows"),
    "no tables": (microsoft("GroupQueryAttention", *QKV, *PAST, (2,), (), do_rotary=1, **GROUP, **TOTAL),
                  "cos_cache or sin_cache is left out"),
    "huge": (microsoft("GroupQueryAttention", *QKV, *PAST, (2,), (), **GROUP, values={6: np.array(10**8, np.int32)}),
             "are too large to be run"),
    "window cache": (microsoft("GroupQueryAttention", *QKV, *PAST, (2,), (), sliding_window_cache=1, **GROUP, **TOTAL),
                     "sliding_window_cache 1, this library runs 0 only"),
    "scatter axis": (node("TensorScatter", "", (2, 3, 4), (2, 3, 4), axis=0), "axis is 0, which is that of the batch"),
    "scatter mode": (node("TensorScatter", "", (2, 3, 4), (2, 3, 4), mode="Foo"), "mode is 'Foo', want 'linear' or 'circular'"),
    "scatter rows": (node("TensorScatter", "", (2, 3, 4), (2, 5, 4)), "5 rows are put where there are 3"),
    "scatter shape": (node("TensorScatter", "", (2, 3, 4), (2, 2, 5)), "axis 2 of input 1 has size 5, want 4"),
    "scatter place": (node("TensorScatter", "", (2, 3, 4), (2, 2, 4), (2,), values={2: np.array([1, 2])}),
                      "2 rows from row 2 on, but there are 3"),
    "rule": (node("LinearAttention", "", (2, 3, 16), (2, 3, 8), (2, 3, 8), update_rule="Foo", **LINEAR), "update_rule is 'Foo'"),
    "no beta": (node("LinearAttention", "", (2, 3, 16), (2, 3, 8), (2, 3, 8), None, (2, 3, 8), **LINEAR),
                "input 5 is left out, but update_rule 'gated_delta' needs it"),
    "decay": (node("LinearAttention", "", (2, 3, 16), (2, 3, 8), (2, 3, 8), None, (2, 3, 7), update_rule="gated", **LINEAR),
              "axis 2 of input 4 has size 7, want 8"),
    "linear heads": (node("LinearAttention", "", (2, 3, 12), (2, 3, 8), (2, 3, 8), q_num_heads=3, kv_num_heads=2),
                     "3 heads of queries, 2 of keys"),
    "state": (node("LinearAttention", "", (2, 3, 16), (2, 3, 8), (2, 3, 8), (2, 2, 4, 5), update_rule="linear", **LINEAR),
              "axis 3 of input 3 has size 5, want 4"),
    "taps": (node("CausalConvWithState", "", (2, 3, 5), (4, 1, 3)), "axis 0 of input 1 has size 4, want 3"),
    "no taps": (node("CausalConvWithState", "", (2, 3, 5), (3, 1, 0)), "weights of no elements"),
    "steps before": (node("CausalConvWithState", "", (2, 3, 5), (3, 1, 3), None, (2, 3, 3)),
                     "axis 2 of input 3 has size 3, want 2"),
    "dilation": (microsoft("CausalConvWithState", (2, 3, 5), (3, 1, 3), dilation=2**31),
                 "dilation is 2147483648, want 1 or more"),
    "far taps": (microsoft("CausalConvWithState", (1, 1, 1), (1, 1, 3), dilation=2**29), "are too large to be run"),
    "causal activation": (node("CausalConvWithState", "", (2, 3, 5), (3, 1, 3), activation="Foo"),
                          "activation is 'Foo', want none, silu or swish"),
    "bits": (microsoft("MatMulNBits", (2, 64), (5, 2, 12), (5, 2), types={1: 2}, K=64, N=5, bits=3, block_size=32),
             "bits is 3, want 2, 4 or 8"),
    "block": (microsoft("MatMulNBits", (2, 64), (5, 2, 16), (5, 2), types={1: 2}, K=64, N=5, bits=4, block_size=24),
              "block_size is 24, want a power of two"),
    "sizes": (microsoft("MatMulNBits", (2, 64), (5, 2, 16), (5, 2), types={1: 2}, K=64, N=0, bits=4, block_size=32),
              "K is 64 and N 0, want 1"),
    "weights": (microsoft("MatMulNBits", (2, 64), (5, 2, 15), (5, 2), types={1: 2}, K=64, N=5, bits=4, block_size=32),
                "150 numbers in input 1, want 160"),
    "scales": (microsoft("MatMulNBits", (2, 64), (5, 2, 16), (5, 1), types={1: 2}, K=64, N=5, bits=4, block_size=32),
               "5 numbers in input 2, want 10"),
    "zeros": (microsoft("MatMulNBits", (2, 64), (5, 2, 16), (5, 2), (5, 2), types={1: 2, 3: 2}, K=64, N=5, bits=4,
                        block_size=32), "10 numbers in input 3, want 5"),
    "rows": (microsoft("MatMulNBits", (2, 63), (5, 2, 16), (5, 2), types={1: 2}, K=64, N=5, bits=4, block_size=32),
             "axis 1 of input 0 has size 63, want 64"),
    "computed": (microsoft("MatMulNBits", (2, 64), (5, 2, 16), (5, 2), types={1: 2}, K=64, N=5, bits=4, block_size=32),
                 "its weights are computed"),
    "order": (microsoft("MatMulNBits", (2, 64), (5, 2, 16), (5, 2), None, (64,), types={1: 2, 4: 6}, K=64, N=5, bits=4,
                        block_size=32), "it has g_idx"),
    "gate": (node("SwiGLU", "", (2, 3), (2, 4), opset=28), "axis 1 of input 1 has size 4, want 3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(tmp_path, name):
    """One message with the node's name, before anything runs."""
    (op, domain, shapes, types, values, opset, attributes), message = WRONG[name]
    names = ["" if s is None else f"x{i}" for i, s in enumerate(shapes)]
    info = [helper.make_tensor_value_info(f"x{i}", types.get(i, 1), s) for i, s in enumerate(shapes)
            if s is not None and i not in values]
    constants = [onnx.numpy_helper.from_array(v, f"x{i}") for i, v in values.items()]
    made = helper.make_node(op, names, ["y"], "it", domain=domain, **attributes)
    graph = helper.make_graph([made], "g", info, [helper.make_tensor_value_info("y", 1, None)], constants)
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=10), tmp_path / "m.onnx")
    data = []
    for i, s in enumerate(shapes):
        if s is not None and i not in values:
            np.save(tmp_path / f"x{i}.npy", np.zeros(s, helper.tensor_dtype_to_np_dtype(types.get(i, 1))))
            data += ["--data", f"x{i}={tmp_path}/x{i}.npy"]
    done = run_command("run", "-q", tmp_path / "m.onnx", *data)
    assert done.rc == 1 and message in done.stderr and done.stderr.count("\n") == 1, done
    assert "it" in done.stderr
