"""Attention, and com.microsoft's operators of transformers, against ONNX Runtime; compiled models against the command."""

import numpy as np
import onnx
import pytest
from conftest import run_command
from many_forms import agrees, build, compiles, form, runtime
from onnx import helper
from ort import session

MICROSOFT = {"domain": "com.microsoft"}
ERROR = 3e-6


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def integers(*shape, most=2, seed=1):
    return np.random.default_rng(seed).integers(0, most, shape, np.int32)


def check(forms, x, tmp_path, qonnx, opset=18, error=ERROR):
    got = agrees(m := build(forms, x, opset), tmp_path, error)
    compiles(m, tmp_path, got, qonnx)
    return got


# ---- ONNX's Attention ----------------------------------------------------------------------------

B, H, S, D, L = 2, 6, 5, 8, 7


def test_attention_heads(tmp_path, qonnx):
    """Heads as an axis, or in rows; fewer of keys than of queries; values of another size."""
    x = {"q": numbers(B, H, S, D), "k": numbers(B, H, L, D, seed=2), "v": numbers(B, H, L, 9, seed=3),
         "k2": numbers(B, 2, L, D, seed=4), "v2": numbers(B, 2, L, D, seed=5),
         "rows": numbers(B, S, H * D), "krows": numbers(B, L, 2 * D, seed=6), "vrows": numbers(B, L, 2 * 3, seed=7)}
    heads = {"q_num_heads": H, "kv_num_heads": 2}
    forms = [form("Attention", "q", "k", "v"), form("Attention", "q", "k2", "v2"), form("Attention", "q", "k", "v", scale=0.3),
             form("Attention", "q", "k2", "v2", softcap=0.7), form("Attention", "rows", "krows", "vrows", **heads),
             form("Attention", "q", "k", "v", is_causal=1), form("Attention", "rows", "krows", "vrows", is_causal=1, **heads),
             form("Attention", "q", "k2", "v2", outputs=3)]
    check(forms, x, tmp_path, qonnx, 23)


def test_attention_masks(tmp_path, qonnx):
    """Of every rank and type, beside the place; rows that see nothing give 0."""
    flags = np.random.default_rng(3).random((B, H, S, L)) < 0.7
    flags[1, 2, 3] = False
    flags[..., 0] |= flags[..., 1:].any(-1) & (np.arange(S) > 0)
    x = {"q": numbers(B, H, S, D), "k": numbers(B, H, L, D, seed=2), "v": numbers(B, H, L, D, seed=3), "full": flags,
         "two": flags[0, 0], "one": flags[:, :1], "f4": numbers(B, H, S, L, seed=8), "f2": numbers(S, L, seed=9)}
    forms = [form("Attention", "q", "k", "v", m, is_causal=c, softcap=s) for m in ("full", "two", "one", "f4", "f2")
             for c, s in ((0, 0.0), (1, 0.0), (0, 2.0))]
    check(forms, x, tmp_path, qonnx, 23)


def test_attention_past(tmp_path, qonnx):
    """Keys and values of steps before, with outputs for the next, and each stage of the scores."""
    x = {"q": numbers(B, H, S, D), "k": numbers(B, 3, S, D, seed=2), "v": numbers(B, 3, S, D, seed=3),
         "pk": numbers(B, 3, 4, D, seed=4), "pv": numbers(B, 3, 4, D, seed=5), "mask": numbers(B, 1, S, 9, seed=6),
         "rows": numbers(B, S, H * D), "krows": numbers(B, S, 3 * D, seed=6)}
    heads = {"q_num_heads": H, "kv_num_heads": 3}
    forms = [form("Attention", "q", "k", "v", None, "pk", "pv", outputs=3),
             form("Attention", "rows", "krows", "krows", "mask", "pk", "pv", outputs=3, **heads),
             form("Attention", "q", "k", "v", None, "pk", "pv", outputs=3, is_causal=1)]
    forms += [form("Attention", "q", "k", "v", "mask", "pk", "pv", outputs=4, qk_matmul_output_mode=m) for m in range(4)]
    check(forms, x, tmp_path, qonnx, 23)


def test_attention_lengths(tmp_path, qonnx):
    x = {"q": numbers(B, H, S, D), "k": numbers(B, H, L, D, seed=2), "v": numbers(B, H, L, D, seed=3),
         "length": np.array([7, 5], np.int64)}
    forms = [form("Attention", "q", "k", "v", None, None, None, "length"),
             form("Attention", "q", "k", "v", None, None, None, "length", is_causal=1)]
    check(forms, x, tmp_path, qonnx, 24)


# ---- com.microsoft's -----------------------------------------------------------------------------


def projected(*operands, outputs=1, **attributes):
    return form("Attention", *operands, outputs=outputs, num_heads=4, **MICROSOFT, **attributes)


def test_projected(tmp_path, qonnx):
    """Attention that projects its input: masks of all forms, a past, sizes of its own."""
    w, bias = numbers(12, 48, seed=2) / 4, numbers(48, seed=3)
    x = {"x": numbers(2, 5, 12), "computed": w, "ends": np.array([4, 5], np.int32), "both": np.array([4, 5, 0, 2], np.int32),
         "keys": integers(2, 5, seed=4), "all": integers(2, 5, 5, seed=5), "past": numbers(2, 2, 4, 3, 4, seed=6),
         "longer": integers(2, 8, seed=7), "scores": numbers(2, 4, 5, 5, seed=8), "shared": numbers(1, 4, 5, 5, seed=9)}
    masks = [None, "ends", "both", "keys", "all"]
    forms = [projected("x", w, bias, m) for m in masks]
    forms += [projected("x", w, bias, m, unidirectional=1, mask_filter_value=-3.0) for m in masks]
    forms += [projected("x", w, bias, scale=0.2), projected("x", "computed", bias), projected("x", w, bias, outputs=2),
              projected("x", w, bias, "keys", mask_filter_value=-50.0), projected("x", w, bias, None, None, "scores"),
              projected("x", w, bias, "longer", "past", outputs=2), projected("x", w, bias, None, "past", outputs=2, unidirectional=1),
              projected("x", w, bias, None, None, "shared", unidirectional=1),
              projected("x", numbers(12, 44), numbers(44), qkv_hidden_sizes=[16, 16, 12])]
    check(forms, x, tmp_path, qonnx)


def multi(*operands, outputs=1, **attributes):
    return form("MultiHeadAttention", *operands, outputs=outputs, num_heads=4, **MICROSOFT, **attributes)


def test_multi_head(tmp_path, qonnx):
    bias = numbers(16 + 16 + 24, seed=9)
    x = {"q": numbers(2, 5, 16), "k": numbers(2, 7, 16, seed=2), "v": numbers(2, 7, 24, seed=3), "same": numbers(2, 5, 16, seed=4),
         "k4": numbers(2, 4, 7, 4, seed=5), "v4": numbers(2, 4, 7, 4, seed=6), "mask": integers(2, 7, seed=7),
         "ends": np.array([6, 7], np.int32), "scores": numbers(2, 4, 5, 7, seed=8), "past": numbers(2, 4, 3, 4, seed=9)}
    forms = [multi("q", "k", "v"), multi("q", "k", "v", bias), multi("q", "k4", "v4"), multi("q", "k", "v", None, "mask"),
             multi("q", "k", "v", bias, "ends"), multi("q", "k", "v", None, None, "scores", scale=0.4),
             multi("q", "same", "same", None, None, None, "past", "past", outputs=3),
             multi("q", "same", "same", unidirectional=1), multi("q", "same", "same", outputs=3)]
    check(forms, x, tmp_path, qonnx)


def test_activations(tmp_path, qonnx):
    x = {"x": numbers(3, 4, 70) * 3, "bias": numbers(70, seed=2)}
    forms = [form("Gelu", "x", **MICROSOFT), form("BiasGelu", "x", "bias", **MICROSOFT), form("FastGelu", "x", **MICROSOFT),
             form("FastGelu", "x", "bias", **MICROSOFT), form("QuickGelu", "x", **MICROSOFT),
             form("QuickGelu", "x", alpha=0.6, **MICROSOFT), form("BiasGelu", "x", numbers(70, seed=3), **MICROSOFT)]
    check(forms, x, tmp_path, qonnx)


def test_embedding(tmp_path, qonnx):
    """Sums of rows of tables, with and without kinds, masks and places of their own."""
    words, places, kinds = numbers(30, 16), numbers(9, 16, seed=2), numbers(2, 16, seed=3)
    scale, shift = numbers(16, seed=4), numbers(16, seed=5)
    x = {"ids": integers(2, 6, most=30), "kinds": integers(2, 6), "mask": integers(2, 6, seed=3), "at": integers(2, 6, most=9)}
    tail = (scale, shift)
    forms = [form("EmbedLayerNormalization", "ids", None, words, places, None, *tail, outputs=2, **MICROSOFT),
             form("EmbedLayerNormalization", "ids", "kinds", words, places, kinds, *tail, "mask", outputs=2, epsilon=0.01, **MICROSOFT),
             form("EmbedLayerNormalization", "ids", "kinds", words, places, kinds, *tail, None, "at", outputs=3, **MICROSOFT)]
    check(forms, x, tmp_path, qonnx)


def test_before_onnx_had_them(tmp_path, qonnx):
    """Operators that are in ONNX's domain by now, in the operator set that exporters wrote them into."""
    x = {"x": numbers(2, 3, 6, 7), "grid": np.clip(numbers(2, 4, 5, 2, seed=2), -1.2, 1.2), "at": integers(4, 2, most=2).astype(np.int64)}
    forms = [form("Trilu", "x", **MICROSOFT), form("Trilu", "x", np.array(1), upper=0, **MICROSOFT), form("GatherND", "x", "at", **MICROSOFT)]
    forms += [form("GridSample", "x", "grid", mode=m, padding_mode=p, align_corners=a, **MICROSOFT)
              for m in ("bilinear", "nearest", "bicubic") for p in ("zeros", "border", "reflection") for a in (0, 1)]
    check(forms, x, tmp_path, qonnx, 12)


def test_fused_conv(tmp_path, qonnx):
    """Every activation, with and without a sum before it, from and to memory channels last."""
    w, bias = numbers(6, 3, 3, 3, seed=2) / 3, numbers(6, seed=3)
    x = {"x": numbers(2, 3, 9, 8), "z": numbers(2, 6, 9, 8, seed=4)}
    acts = [("Relu", []), ("Clip", [-0.3, 0.8]), ("LeakyRelu", [0.2]), ("Tanh", []), ("Sigmoid", []), ("HardSigmoid", [0.3, 0.4])]
    plain = {"pads": [1, 1, 1, 1], **MICROSOFT}
    forms = [form("FusedConv", "x", w, bias, z, activation=a, **({"activation_params": p} if p else {}), **plain)
             for a, p in acts for z in (None, "z")]
    forms += [form("FusedConv", "x", w, **plain), form("FusedConv", "x", w, None, "z", **plain)]
    check(forms, x, tmp_path, qonnx)


def test_fused_conv_quantizes(tmp_path, done):
    """As a Conv with its activation: in integers from end to end."""
    w = numbers(6, 3, 3, 3, seed=2) / 3
    m = build([form("FusedConv", "x", w, numbers(6, seed=3), activation="Relu", **MICROSOFT)], {"x": numbers(1, 3, 9, 8)}, 13)
    onnx.save(m.proto, tmp_path / "m.onnx")
    (tmp_path / "data").mkdir()
    for i in range(8):
        np.save(tmp_path / "data" / f"{i}.npy", numbers(1, 3, 9, 8, seed=i))
    done("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "q.onnx")
    quantized = onnx.load(tmp_path / "q.onnx")
    assert [n.op_type for n in quantized.graph.node if "Linear" not in n.op_type] in (["Conv"], ["Conv", "Relu"])
    got = session(tmp_path / "q.onnx").run(None, m.inputs)[0]
    want = runtime(m)[0]
    assert np.abs(got - want).mean() < 0.01 * np.abs(want).max()


# ---- wrong operands ------------------------------------------------------------------------------


def attention(*shapes, **attributes):
    return "Attention", "", shapes, {}, attributes


def microsoft(op, *shapes, types=(), **attributes):
    return op, "com.microsoft", shapes, dict(types), attributes


WRONG = {
    "heads": (attention((2, 5, 12), (2, 5, 12), (2, 5, 12), q_num_heads=5, kv_num_heads=4), "no multiple of 5 heads"),
    "no heads": (attention((2, 5, 12), (2, 5, 12), (2, 5, 12)), "q_num_heads is 0, want 1 or more"),
    "groups": (attention((2, 5, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)), "5 heads of queries, 3 of keys"),
    "size": (attention((2, 4, 4, 8), (2, 4, 4, 9), (2, 4, 4, 8)), "heads of 8 queries' and 9 keys' elements"),
    "rank": (attention((2, 4, 4, 8), (2, 4, 8), (2, 4, 4, 8)), "inputs of rank 4, 3 and 4, want one rank"),
    "rows": (attention((2, 4, 4, 8), (2, 4, 6, 8), (2, 4, 5, 8)), "axis 2 of input 2 has size 5, want 6"),
    "mask": (attention((2, 4, 4, 8), (2, 4, 6, 8), (2, 4, 6, 8), (3, 6)), "axis 0 of input 3 has size 3, want 1 or 4"),
    "wide mask": (attention((2, 4, 4, 8), (2, 4, 6, 8), (2, 4, 6, 8), (4, 7)), "the mask has 7 columns for 6 keys"),
    "past": (attention((2, 4, 4, 8), (2, 4, 6, 8), (2, 4, 6, 8), None, (2, 4, 3, 8)), "past_key and past_value go together"),
    "mode": (attention((2, 4, 4, 8), (2, 4, 6, 8), (2, 4, 6, 8), qk_matmul_output_mode=4), "qk_matmul_output_mode is 4, want 0 to 3"),
    "scores": (attention((1, 1, 40000, 1), (1, 1, 40000, 1), (1, 1, 40000, 1)), "its scores, 1 by 1 by 40000 by 40000, are too large"),
    "projections": (microsoft("Attention", (60000, 1, 1), (1, 9003), (9003,), num_heads=1, qkv_hidden_sizes=[4501, 4501, 1]), "its projections, 1 by 60000 by 1 by 9003, are too large"),
    "projection": (microsoft("Attention", (2, 5, 12), (12, 47), (47,), num_heads=4), "weights of 47 columns, want 45"),
    "projected heads": (microsoft("Attention", (2, 5, 12), (12, 48), (48,), num_heads=5), "are no multiple of 5 heads"),
    "projected rows": (microsoft("Attention", (2, 5, 11), (12, 48), (48,), num_heads=4), "axis 0 of input 1 has size 12, want 11"),
    "hidden sizes": (microsoft("Attention", (2, 5, 12), (12, 48), (48,), num_heads=4, qkv_hidden_sizes=[16, 8, 24]), "the first two the same"),
    "4-D mask": (microsoft("Attention", (2, 5, 12), (12, 48), (48,), (2, 1, 5, 5), num_heads=4, types={3: 6}), "input 3 has rank 4, want 1 to 3"),
    "lengths": (microsoft("Attention", (2, 5, 12), (12, 48), (48,), (3,), num_heads=4, types={3: 6}), "a mask of 3 lengths, want 2 or twice as many"),
    "rotary": (microsoft("Attention", (2, 5, 12), (12, 48), (48,), num_heads=4, do_rotary=1), "do_rotary 1, this library runs 0 only"),
    "multi": (microsoft("MultiHeadAttention", (2, 5, 16), (2, 5, 16), (2, 4, 16), num_heads=4), "axis 1 of input 2 has size 4, want 5"),
    "packed": (microsoft("MultiHeadAttention", (2, 5, 16), (2, 5, 16), num_heads=4), "queries, keys and values in one input"),
    "scales": (microsoft("QAttention", (2, 5, 12), (12, 48), (48,), (1,), (5,), num_heads=4, types={0: 2, 1: 3}),
               "5 scales for 48 outputs"),
    "quantized rows": (microsoft("QAttention", (2, 5, 11), (12, 48), (48,), (1,), (1,), num_heads=4, types={0: 2, 1: 3}),
                       "axis 0 of input 1 has size 12, want 11"),
    "quantized types": (microsoft("QAttention", (2, 5, 12), (12, 48), (48,), (1,), (1,), None, (1,), num_heads=4,
                                  types={0: 2, 1: 3, 6: 3}), "input 0 is uint8, its zero point int8"),
    "fused activation": (microsoft("FusedGemm", (2, 5), (5, 3), activation="Foo"), "com.microsoft.FusedGemm"),
    "last pool": (microsoft("NhwcMaxPool", (2, 5), kernel_shape=[2, 2], types={0: 2}), "input of rank 2, want 3 to 5"),
    "last kernel": (microsoft("NhwcMaxPool", (2, 5, 5), kernel_shape=[2, 2], types={0: 2}), "kernel_shape"),
    "bias": (microsoft("BiasGelu", (2, 5), (4,)), "axis 0 of input 1 has size 4, want 5"),
    "activation": (microsoft("FusedConv", (1, 3, 5, 5), (2, 3, 3, 3), activation="Foo"), "activation 'Foo' is none that it may have"),
    "bounds": (microsoft("FusedConv", (1, 3, 5, 5), (2, 3, 3, 3), activation="Clip"), "activation_params has 0 numbers, want 2"),
    "sum": (microsoft("FusedConv", (1, 3, 5, 5), (2, 3, 3, 3), None, (1, 2, 3, 4), activation="Relu"), "axis 3 of input 3 has size 4, want 3"),
    "no table": (microsoft("EmbedLayerNormalization", (2, 4), None, None, (9, 6), None, (6,), (6,), types={0: 6}), "input 2 is left out"),
    "tables": (microsoft("EmbedLayerNormalization", (2, 4), None, (9, 6), (4, 5), None, (6,), (6,), types={0: 6}), "axis 1 of input 3 has size 5, want 6"),
    "positions": (microsoft("EmbedLayerNormalization", (2, 4), None, (9, 6), (3, 6), None, (6,), (6,), types={0: 6}), "3 positions for rows of 4 ids"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(tmp_path, name):
    """One message with the node's name, before anything runs."""
    (op, domain, shapes, types, attributes), message = WRONG[name]
    names = ["" if s is None else f"x{i}" for i, s in enumerate(shapes)]
    info = [helper.make_tensor_value_info(f"x{i}", types.get(i, 1), s) for i, s in enumerate(shapes) if s is not None]
    node = helper.make_node(op, names, ["y"], "it", domain=domain, **attributes)
    graph = helper.make_graph([node], "g", info, [helper.make_tensor_value_info("y", 1, None)])
    sets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=10), tmp_path / "m.onnx")
    data = []
    for i, s in enumerate(shapes):
        if s is not None:
            dtype = helper.tensor_dtype_to_np_dtype(types.get(i, 1))
            np.save(tmp_path / f"x{i}.npy", np.zeros(s, dtype))
            data += ["--data", f"x{i}={tmp_path}/x{i}.npy"]
    done = run_command("run", "-q", tmp_path / "m.onnx", *data)
    assert done.rc == 1 and message in done.stderr and done.stderr.count("\n") == 1, done
    assert "it" in done.stderr
