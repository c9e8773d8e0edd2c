"""Checkpoints that are no weights, or are made to do harm: one line each, at once, in little memory."""

import gzip
import json
import os
import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from benchmark import registry
from benchmark.models.checkpoint import fit, read
from benchmark.models.classifier import Architecture, Classifier, InputInfo

Make = Callable[[Path], object]


def refusal(path: Path) -> str:
    """The one line that a file is refused with, soon and without much memory."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(ValueError) as caught:
        read(path)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < 100 * 2**20 + 4 * path.stat().st_size
    assert time.perf_counter() - began < 10
    message = str(caught.value)
    assert message.startswith(f"checkpoint {str(path)!r} cannot be read: ")
    assert "\n" not in message and len(message) < 500 + len(str(path)) and message.isprintable()
    return message.removeprefix(f"checkpoint {str(path)!r} cannot be read: ")


def saved(content: Any) -> Make:
    return lambda path: torch.save(content, path)


def written(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def zipped(**files: bytes) -> Make:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name.replace("__", "/"), content)

    return make


def scripted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # the layout of `torch.jit.save`
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "version"):
            archive.writestr(f"net/{name}", b"\x80\x02}q\x00.")


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        with archive.open("archive/data/0", "w") as entry:
            for _ in range(100):
                entry.write(bytes(2**20))


def safetensors(header: Any, content: bytes = bytes(64)) -> Make:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return written(struct.pack("<Q", len(text)) + text + content)


def tensor(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def calling(module: str) -> bytes:
    """A pickle that calls `bytearray(10**10)`."""
    return b"\x80\x02c" + module.encode() + b"\nbytearray\n\x8a\x05" + (10**10).to_bytes(5, "little") + b"\x85R."


def packed(data: bytes) -> Make:
    """What torch takes for an archive of its own, with this pickle."""
    return zipped(archive__data=b"", **{"archive__data.pkl": data, "archive__version": b"3\n"})


def itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def holding_itself() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["model"] = found["state_dict"] = found
    return found


def thousandfold() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(7):
        found = {f"part{i}": found for i in range(1000)}
    return found


def deep(path: Path) -> None:
    wrapper = b"}X\x05\x00\x00\x00model"
    packed(b"\x80\x02" + wrapper * 10_000 + b"}" + b"s" * 10_000 + b".")(path)


def ones(**settings: Any) -> dict[str, torch.Tensor]:
    return {"a.weight": torch.ones(4, **settings)}


TRAPS: dict[str, tuple[Make, str]] = {
    "expanded": (saved({"a.weight": torch.ones(1).expand(10**6, 10**6)}), "its tensors have 4,000,000,000,000 bytes"),
    "meta": (saved(ones(device="meta")), "'a.weight' is a shape without numbers (device meta)"),
    "sparse": (saved({"a.weight": torch.eye(3).to_sparse()}), "'a.weight' is sparse (sparse_coo)"),
    "list that holds itself": (saved(itself()), "it holds no weights, but a value of type list"),
    "mapping that holds itself": (saved(holding_itself()), "it holds no weights, but a mapping with the keys model"),
    "a thousandfold": (saved(thousandfold()), "it holds no weights, but a mapping with the keys part0, part1"),
    "deep": (deep, "it holds no weights, but a mapping with the keys model"),
    "name": (saved({"n" * 10**6: torch.ones(1)}), "is a name of 1,000,000 characters; allowed: up to 1,024"),
    "escape": (saved({"\x1b[2J": torch.tensor(torch.nan)}), "'\\x1b[2J' holds NaN or infinity"),
    "bomb": (bomb, "it unpacks to 104,857,6"),
    "bytearray": (packed(calling("builtins")), "it is more than weights (bytearray)"),
    "bytearray, Python 2": (packed(calling("__builtin__")), "it is more than weights (bytearray)"),
    "bytearray, alone": (written(calling("builtins")), "it is more than weights (bytearray)"),
    "array": (written(pickle.dumps({"a": np.ones(3)}, protocol=2)), "it is more than weights (numpy"),
    "long header": (
        safetensors(b"{" + b" " * 20 * 2**20),
        "its header has 20,971,521 bytes; allowed: up to 16",
    ),
    "header beyond the file": (
        written(struct.pack("<Q", 2**62) + b"{}"),
        "truncated, or no safetensors: a header of",
    ),
    "overlapping": (safetensors({"a": tensor([16], 0, 64), "b": tensor([8], 32, 64)}), "truncated, or no file of"),
    "huge offsets": (safetensors({"a": tensor([2**40], 0, 2**42)}), "truncated, or no file of torch or safetensors ("),
    "huge shape": (
        safetensors({"a": tensor([2**62, 2**62], 0, 64)}),
        "truncated, or no file of torch or safetensors (",
    ),
    "no JSON": (safetensors(b"{" + b"\x1b" * 9), "truncated, or no file of torch or safetensors ("),
    "empty": (written(b""), "it is empty"),
    "pointer": (written(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "it is a pointer of Git LFS"),
    "page": (written(b"\n<!DOCTYPE html>\n<html><title>Sign in</title>"), "it is a web page, saved in place of a"),
    "answer": (written(b"<?xml version='1.0'?><Error><Code>AccessDenied"), "it is XML, maybe a server's answer"),
    "gzip": (written(gzip.compress(save(ones()))), "it is packed with gzip; unpack it first"),
    "keras": (written(b"\x89HDF\r\n\x1a\n"), "it is an HDF5 file, as Keras writes them"),
    "script": (scripted, "it is a TorchScript archive, which is a program; save torch.jit.load(FILE).state_dict()"),
    "export": (zipped(archive_format=b"pt2", m__archive_format=b"pt2"), "it is an archive of torch.export"),
    "zip": (
        zipped(**{"notes.txt": b"", "w.pt": b""}),
        "it is a zip archive of other files ('notes.txt', 'w.pt'); unpack",
    ),
    "cut zip": (
        written(b"PK\3\4" + bytes(90)),
        "truncated, or no file of torch or safetensors (File is not a zip file)",
    ),
    "text": (written(b"weights: none\x1b"), "no file of torch or safetensors, it begins with b'weights: none\\x1b'"),
}


@pytest.mark.parametrize("name", TRAPS)
def test_traps_are_named_in_one_line(name: str, tmp_path: Path) -> None:
    make, said = TRAPS[name]
    make(tmp_path / "w.pt")
    assert said in refusal(tmp_path / "w.pt")


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pt")
    assert refusal(tmp_path / "w.pt") == "it is no file"


@pytest.mark.filterwarnings("ignore")  # of torch, about kinds of tensor that it gives up
def test_nested_and_quantised(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, tmp_path / "w.pt")
    assert "'a.weight' is nested" in refusal(tmp_path / "w.pt")
    torch.save({"a.weight": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)}, tmp_path / "w.pt")
    assert "'a.weight' is quantised (qint8)" in refusal(tmp_path / "w.pt")


def linear() -> Classifier:
    architecture = registry.parse("architecture", "softmax_regression")
    assert isinstance(architecture, Architecture)
    return architecture.build(InputInfo(1, 2, 2, 3, (0.0,), (1.0,)))


def given(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {"head.weight": torch.ones(3, 4).to(dtype), "head.bias": torch.ones(3)}


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.bool, torch.int8, torch.int64])
def test_numbers_that_are_no_weights(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save(given(dtype), tmp_path / "w.pt")
    name = str(dtype).removeprefix("torch.")
    said = f"does not fit the architecture: 1 of another kind of number: head.weight {name} for float32$"
    with pytest.raises(ValueError, match=said):
        fit(linear(), read(tmp_path / "w.pt").weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_short_and_long_floats_are_converted(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save(given(dtype), tmp_path / "w.pt")
    model = linear()
    fit(model, read(tmp_path / "w.pt").weights)
    assert torch.equal(model.state_dict()["head.weight"], torch.ones(3, 4))


def test_shared_numbers_are_no_trap(tmp_path: Path) -> None:
    shared = torch.ones(2**20)
    torch.save({"state_dict": {f"{i}.weight": shared for i in range(5)}}, tmp_path / "w.pt")
    assert len(read(tmp_path / "w.pt").weights) == 5


@pytest.mark.parametrize("kind", ["torch", "older torch", "safetensors"])
def test_damage_anywhere_is_a_refusal_or_other_numbers(kind: str, tmp_path: Path) -> None:
    path, generator = tmp_path / "w.pt", torch.Generator().manual_seed(0)
    weights = {"a.weight": torch.ones(3, 4), "a.bias": torch.ones(3)}
    if kind == "safetensors":
        path.write_bytes(save(weights))
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "torch")
    whole = path.read_bytes()
    places = torch.randint(len(whole) * 8, (150,), generator=generator).tolist()
    for place in places:
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << place % 8
        path.write_bytes(broken[: len(whole) - place % 7 * 40])
        try:
            read(path)
        except ValueError as error:
            assert "\n" not in str(error)
