"""Files .npz and Parquet of images, with arrays, labels and names of every kind. What is accepted keeps its labels."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import strategies as st

from benchmark.data.images import ImageData
from benchmark.data.members.pools import PoolsSpec, make_pools
from benchmark.data.npz import NPZ
from benchmark.data.parquet import Parquet

from .harness import Surface, asked, wrong
from .members import DTYPES, array_of
from .pictures import SIZE, level, picture, sound
from .values import odd_json, odd_scalars, spliced, splices

_array_names = (
    "images", "labels", "test_images", "test_labels", "class_names", "x_train", "y_train", "x_test", "test_image",
    "val_images", "arr_0", "mask", "Images",
)  # fmt: skip
_array = st.tuples(
    st.sampled_from(DTYPES),
    st.sampled_from(
        [
            (10, 8, 8),
            (10, 8, 8, 3),
            (10, 3, 8, 8),
            (10,),
            (10, 1),
            (0,),
            (0, 8, 8),
            (),
            (10, 0, 8),
            (2, 2),
            (10, 3, 8, 3),
        ]
    ),
    st.lists(st.one_of(st.integers(0, 3), st.sampled_from([-1, 255, 256, 2**31, -(2**63)])), min_size=1, max_size=4),
)
_npz = st.fixed_dictionaries(
    {"num": st.sampled_from([10, 10, 20, 2]), "test": st.booleans(), "copies": st.booleans(), "names": st.booleans()},
    optional={
        "arrays": st.dictionaries(st.sampled_from(_array_names), _array, max_size=2),
        "gone": st.sampled_from(_array_names),
    },
)
_label = st.one_of(st.sampled_from(["cat", "dog", "10", "2", ""]), st.integers(-1, 12), odd_scalars())
_labels = st.one_of(
    st.lists(st.sampled_from(["cat", "dog", "cow"]), min_size=8, max_size=12),
    st.lists(st.integers(0, 2), min_size=8, max_size=12),
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 10.0]), min_size=8, max_size=12),
    st.lists(_label, max_size=6),
)
_parquet = st.fixed_dictionaries(
    {"labels": _labels, "as": st.sampled_from(["struct", "struct", "bytes", "path", "text", "number", "none", "cut"])},
    optional={
        "names": st.one_of(st.permutations(["cat", "dog", "cow"]), odd_json()),
        "split": st.lists(
            st.sampled_from(["train", "test", "validation", "val", "TRAIN", None, "x"]), min_size=1, max_size=4
        ),
        "metadata": st.one_of(st.binary(max_size=9), odd_json()),
        "columns": st.permutations(["image", "label"]).map(tuple),
        "size": st.sampled_from([(8, 8), (8, 9), (1, 1)]),
        "again": st.booleans(),
    },
)
_file_names = st.sampled_from(
    ["train.parquet", "test.parquet", "train-00000.parquet", "valid.parquet", "val-00000.parquet", "validation.parquet",
     "Train.parquet", "data/train-0.parquet", "x.parquet", "dev.parquet"]
)  # fmt: skip
_broken = st.one_of(st.just([]), st.just([]), splices([b"PAR1", b"PK\x01\x02", b"\x00" * 8, b"(9999999999999,)"]))
CASES = st.one_of(
    st.tuples(st.just("npz"), _npz, _broken),
    st.tuples(st.just("parquet"), st.dictionaries(_file_names, _parquet, min_size=1, max_size=2), _broken),
)


def check(case: Any, folder: Path) -> None:
    kind, what, changes = case
    place = folder / "data"
    if kind == "npz":
        place.write_bytes(spliced(_npz_of(what), changes))
    for name, described in what.items() if kind == "parquet" else ():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(spliced(_parquet_of(described), changes))
    images = asked((NPZ if kind == "npz" else Parquet)(path=str(place)).load, None)
    sound(images)
    if "nan" in images.class_names:
        wrong("what is no label names no class", str(images.class_names))
    drawn = [what] if kind == "npz" else what.values()
    if not changes and not any(
        "arrays" in each or any(type(x) is bool for x in each.get("labels", ())) for each in drawn
    ):
        _is_coloured(images, kind)
    asked(make_pools, images, PoolsSpec(), torch.Generator().manual_seed(0))


def _is_coloured(images: ImageData, kind: str) -> None:
    """The grey of a picture is that of its own class rather than of another."""
    greys = [level(_meant(images, label)) for label in range(len(images.class_names))]
    for pixels, labels in ((images.images, images.labels), (images.test_images, images.test_labels)):
        for one, label in zip(pixels, labels.tolist(), strict=True):
            far = [abs(float(one.float().mean()) - grey) for grey in greys]
            if one.shape[1:] == (SIZE, SIZE) and far[label] > min(far) + 1:
                wrong(f"pictures of {kind} keep their labels", f"{images.class_names} {greys}: {label} is off by {far}")


def _meant(images: ImageData, label: int) -> str:
    """The class as it was written: whole numbers have the names `class 0`, `class 1`."""
    name = images.class_names[label]
    return str(label) if name == f"class {label}" else name.removesuffix(".0")


def _npz_of(what: dict[str, Any]) -> bytes:
    num = what["num"]
    labels = np.arange(num) % 2
    noise = np.random.default_rng(0).integers(-30, 31, (num, SIZE, SIZE))
    images = (np.array([level(str(label)) for label in labels])[:, None, None] + noise).astype(np.uint8)
    arrays: dict[str, Any] = {"images": images, "labels": labels}
    if what["test"]:
        test = images if what["copies"] else np.flip(images, axis=2)
        arrays |= {"test_images": test, "test_labels": labels}
    if what["names"]:
        arrays["class_names"] = np.array(["0", "1"])
    arrays |= {name: array_of(array) for name, array in what.get("arrays", {}).items()}
    arrays.pop(what.get("gone", ""), None)
    written = io.BytesIO()
    np.savez(written, allow_pickle=True, **arrays)
    return written.getvalue()


def _parquet_of(what: dict[str, Any]) -> bytes:
    names, labels = what.get("names"), what["labels"]
    try:
        pa.array(labels)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # no column has these values
        labels = [f"label {i % 2}" for i in range(len(labels))]
    told = isinstance(names, list) and len(names) == 3 and "metadata" not in what
    numbered = told and all(type(label) is int and 0 <= label < 3 for label in labels)
    meant = [str(names[label] if numbered else label).removesuffix(".0") for label in labels]
    pictures = [picture(".png", "L", what.get("size", (SIZE, SIZE)), level(name)) for name in meant]
    cells: list[Any] = {
        "struct": [{"bytes": one, "path": None} for one in pictures],
        "bytes": pictures,
        "path": [{"bytes": None, "path": "/etc/passwd"} for _ in pictures],
        "text": ["0.png" for _ in pictures],
        "number": list(range(len(pictures))),
        "none": [None for _ in pictures],
        "cut": [one[:40] for one in pictures],
    }[what["as"]]
    columns: dict[str, Any] = {"image": cells, "label": labels}
    if "split" in what and labels:
        columns["split"] = [what["split"][i % len(what["split"])] for i in range(len(labels))]
    table = pa.table({name: columns[name] for name in (*what.get("columns", ("image", "label")), *columns)})
    features = {"features": {"label": {"_type": "ClassLabel", "names": names}}} if "names" in what else None
    metadata = what.get("metadata", {"info": features} if features else None)
    if metadata is not None:
        text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode("utf-8", "surrogatepass")
        table = table.replace_schema_metadata({"huggingface": text})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


SURFACE = Surface("tables", CASES, check, examples=150)
