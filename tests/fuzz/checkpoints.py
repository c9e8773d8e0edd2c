"""Files of weights: damaged ones, and state dicts with tensors, names and wrappers of every kind.

What is read and fitted is finite, and is what the file holds under those names.
"""

import collections
import functools
import io
import json
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from benchmark import registry
from benchmark.models.checkpoint import fit, normalisation_in, read
from benchmark.models.classifier import Architecture, Classifier, InputInfo

from .harness import Surface, asked, safe, wrong
from .values import chosen, edited, edits, odd_json, odd_texts, spliced, splices

INFO = InputInfo(1, 8, 8, 3, (0.5,), (0.25,))


@functools.cache
def _architecture() -> Architecture:
    return cast(Architecture, registry.parse("architecture", {"method": "small_vgg", "width": 2}))


def network() -> Classifier:
    return _architecture().build(INFO)


@functools.cache
def weights() -> dict[str, Tensor]:
    model = network()
    model.initialise(torch.Generator().manual_seed(0))
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


NAMES = tuple(weights())
WRAPPERS = (
    "state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_state", "best", "ema", "weights",
    "params", "optimizer", "epoch", "", "x",
)  # fmt: skip
PREFIXES = (
    "",
    "module.",
    "module.model.",
    "_orig_mod.",
    "0.",
    "1.",
    "attacker.model.",
    "net.",
    "body.",
    "é.",
    ".",
    "a" * 300 + ".",
)
TENSORS = (
    "same", "nan", "inf", "double", "half", "bfloat16", "float8", "int", "bool", "complex", "quantised", "sparse",
    "meta", "expanded", "nested", "empty", "scalar", "transposed", "strided", "other shape", "parameter", "shared",
    "huge expanded", "csr", "mkldnn", "requires grad", "subclass",
)  # fmt: skip
FORMATS = ("zip", "zip", "legacy", "safetensors", "pickle")
SUFFIXES = (".pt", ".pth", ".pt", ".safetensors", ".bin", ".ckpt", ".tar", ".PT", "")
TOKENS = (
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x80\x02", b"cos\nsystem\n", b".", b"}", b"\xff" * 8, b"\x00" * 8,
    b"storage", b"ctorch._utils\n_rebuild_tensor_v2\n", b"FloatStorage", b"HalfStorage", b"cpu", b"cuda:7", b"meta",
    b"F32", b"F64", b"BF16", b"[2,3]", b"[99999999999999]", b"[-1]", b"data_offsets",
    b"version https://git-lfs.github.com/spec/v1\n", b"\x1f\x8b\x08", b"data.pkl", b"constants.pkl", b"byteorder",
    b"big", b"__metadata__", b"\x00\x00\x00\x40\x00\x00\x00\x00", b"\x94", b"h\x00",
)  # fmt: skip


def tensor_of(kind: str, like: Tensor) -> Any:
    """A tensor in place of one of the network's, of another kind."""
    with warnings.catch_warnings(action="ignore"):  # prototypes
        try:
            return _tensor(kind, like)
        except RuntimeError:  # there is no such tensor of this shape
            return like


def _tensor(kind: str, like: Tensor) -> Any:
    real = like.float()
    flat = real.reshape(max(1, real.shape[0] if real.ndim else 1), -1)
    made = {
        "nan": lambda: torch.full_like(real, float("nan")),
        "inf": lambda: torch.full_like(real, float("inf")),
        "double": real.double,
        "half": real.half,
        "bfloat16": real.bfloat16,
        "float8": lambda: real.to(torch.float8_e4m3fn),
        "int": real.int,
        "bool": real.bool,
        "complex": lambda: real.to(torch.complex64),
        "quantised": lambda: torch.quantize_per_tensor(real, 0.1, 0, torch.qint8),
        "sparse": real.to_sparse,
        "csr": flat.to_sparse_csr,
        "mkldnn": real.to_mkldnn,
        "meta": lambda: real.to("meta"),
        "expanded": lambda: torch.zeros(1).expand(like.shape),
        "huge expanded": lambda: torch.zeros(1).expand(10**6, 10**6),
        "nested": lambda: torch.nested.nested_tensor([flat[0], flat[0][:1]]),
        "empty": lambda: torch.zeros(0, *like.shape[1:]),
        "scalar": lambda: torch.tensor(1.0),
        "transposed": real.T.contiguous if real.ndim == 2 else real.clone,
        "strided": lambda: torch.zeros(3 * real.numel()).as_strided(real.shape, [3 * s for s in real.stride()]),
        "other shape": lambda: torch.zeros((*like.shape, 2)),
        "parameter": lambda: torch.nn.Parameter(real),
        "requires grad": lambda: real.clone().requires_grad_(),
        "shared": lambda: weights()[NAMES[0]].view(-1)[: real.numel()],
        "subclass": lambda: torch.nn.UninitializedParameter(),
    }.get(kind)
    return like if made is None else made()


_changes = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(TENSORS), max_size=2)
_more = st.dictionaries(
    st.one_of(
        st.sampled_from(["criterion.weight", "mean", "std", "normalize.mean", "0.mean", "fc.weight"]),
        odd_texts(),
        st.integers(),
    ),
    st.one_of(st.sampled_from(TENSORS), odd_json()),
    max_size=2,
)
_state = st.fixed_dictionaries(
    {"format": st.sampled_from(FORMATS), "suffix": st.sampled_from(SUFFIXES)},
    optional={
        "tensors": _changes,
        "gone": st.lists(st.sampled_from(NAMES), max_size=2),
        "more": _more,
        "prefix": st.sampled_from(PREFIXES),
        "plain": st.booleans(),
        "wrappers": st.lists(st.sampled_from(WRAPPERS), max_size=3),
        "beside": st.dictionaries(st.one_of(st.sampled_from(WRAPPERS), odd_texts()), odd_json(), max_size=2),
        "as": st.sampled_from(["ordered", "list", "tuple", "tensor", "itself", "deep", "defaultdict", "both"]),
    },
)
_header = {
    name: {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [64 * i, 64 * i + 4 * tensor.numel()]}
    for i, (name, tensor) in enumerate(list(weights().items())[:3])
}
CASES = st.one_of(
    st.tuples(st.just("state"), _state, st.just([])),
    st.tuples(st.just("state"), _state, st.just([])),
    st.tuples(st.just("state"), _state, splices(TOKENS, most=2)),
    st.tuples(
        st.just("broken"),
        st.fixed_dictionaries({"format": st.sampled_from(FORMATS), "suffix": st.sampled_from(SUFFIXES)}),
        splices(TOKENS),
    ),
    st.tuples(
        st.just("header"),
        edits(
            _header,
            st.one_of(odd_json(), st.sampled_from(["F32", "F8_E5M2", "I64", "BOOL", "C64", "F4", [0, 4], [2**60, 2]])),
        ),
        st.one_of(st.none(), st.sampled_from([0, 1, 7, 2**31, 2**40, 2**63, 2**64 - 1])),
    ),
    st.tuples(st.just("bytes"), st.one_of(st.binary(max_size=50), chosen(TOKENS)), st.sampled_from(SUFFIXES)),
)


def check(case: Any, folder: Path) -> None:
    path, content = file_of(case)
    (folder / path).write_bytes(content)
    found = asked(read, folder / path).weights
    for name in found:
        if not isinstance(name, str):
            wrong("names are texts", repr(name))
    model = network()
    match = asked(fit, model, found)
    asked(normalisation_in, found, match.pairs.values())
    fitted = {name: value for name, value in model.state_dict().items() if name not in ("mean", "std")}
    if any(value.is_floating_point() and not bool(value.isfinite().all()) for value in fitted.values()):
        wrong(
            "fitted weights are finite",
            str([name for name, value in fitted.items() if not bool(value.isfinite().all())]),
        )
    if (
        case[0] == "state"
        and not case[2]
        and set(case[1]) <= {"format", "suffix", "wrappers", "beside", "prefix", "plain", "as"}
    ):
        changed = [name for name, value in fitted.items() if not torch.equal(value, weights()[name])]
        if changed:
            wrong("weights are fitted as they were written", ", ".join(changed))
    logits = model.eval()(torch.zeros(1, 1, 8, 8))
    safe(str(logits.shape), "logits")


def file_of(case: Any) -> tuple[str, bytes]:
    kind, what, changes = case
    if kind == "bytes":
        return f"weights{changes}", what
    if kind == "header":
        text = json.dumps(edited(_header, what)).encode("utf-8", "surrogatepass")
        length = len(text) if changes is None else changes
        return "weights.safetensors", struct.pack("<Q", length) + text + bytes(4096)
    return f"weights{what['suffix']}", spliced(_written(what), changes)


def _written(what: dict[str, Any]) -> bytes:
    state: dict[Any, Any] = {}
    for name, tensor in weights().items():
        if name not in what.get("gone", ()):
            plain = name.removeprefix("body.") if what.get("plain") else name
            state[what.get("prefix", "") + plain] = tensor_of(what.get("tensors", {}).get(name, "same"), tensor)
    for name, value in what.get("more", {}).items():
        made = isinstance(value, str) and value in TENSORS
        state[name] = tensor_of(value, torch.ones(3, 2)) if made else value
    if what["format"] == "safetensors":
        kept = {str(name): tensor.contiguous().clone() for name, tensor in state.items() if _can_be_kept(tensor)}
        return bytes(save(kept))
    content = _shaped(state, what.get("as", ""))
    for key in what.get("wrappers", ()):
        content = {**what.get("beside", {}), key: content}
    written = io.BytesIO()
    try:
        if what["format"] == "pickle":
            pickle.dump({"weights": list(state)}, written)
        else:
            torch.save(content, written, _use_new_zipfile_serialization=what["format"] == "zip")
    except (
        RuntimeError,
        NotImplementedError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.PicklingError,
        UnicodeEncodeError,
    ):
        torch.save(weights(), written)  # torch itself does not write such tensors
    return written.getvalue()


def _can_be_kept(tensor: Any) -> bool:
    if not isinstance(tensor, Tensor) or isinstance(tensor, torch.nn.UninitializedParameter):
        return False
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
    return plain and not tensor.is_quantized and tensor.numel() < 10**6


def _shaped(state: dict[Any, Any], kind: str) -> Any:
    if kind == "ordered":
        return collections.OrderedDict(state)
    if kind == "defaultdict":
        return collections.defaultdict(list, state)
    if kind in ("list", "tuple"):
        return list(state.items()) if kind == "list" else tuple(state.items())
    if kind == "tensor":
        return next(iter(state.values()), None)
    if kind == "both":
        return {**{f"model.{name}": value for name, value in state.items()}, **state}
    if kind == "itself":
        state["model"] = state
    if kind == "deep":
        for _ in range(400):
            state = {"model": state}
    return state


SURFACE = Surface("checkpoints", CASES, check, examples=150)
