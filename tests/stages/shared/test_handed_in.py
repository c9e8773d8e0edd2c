"""Files of adversarial images: both formats are read, and whatever is wrong with one is said in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmark.stages.shared.handed_in import check_ball, read

TEST = torch.randint(0, 256, (20, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
IDS = torch.tensor([17, 3, 5])
MOVED = (TEST[IDS].float() / 255 + 0.05).clamp(0, 1)


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez_compressed(folder / "images.npz", **arrays)
    return folder / "images.npz"


def refused(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        read(path, TEST)
    said = str(error.value)
    assert "\n" not in said and said.startswith(repr(str(path))), said
    return said.removeprefix(f"{str(path)!r}")


def test_both_formats_give_the_same(tmp_path: Path) -> None:
    save_file({"test_ids": IDS, "images": MOVED}, tmp_path / "images.safetensors")
    paths = (npz(tmp_path, test_ids=IDS.numpy(), images=MOVED.numpy()), tmp_path / "images.safetensors")
    for found in (read(path, TEST) for path in paths):
        assert found.ids.tolist() == [17, 3, 5] and torch.equal(found.images, MOVED)


@pytest.mark.parametrize("dtype", [np.float64, ">f4", np.uint8])
def test_numbers_of_other_widths_are_the_same_pixels(tmp_path: Path, dtype: Any) -> None:
    pixels = TEST[IDS].numpy() if dtype == np.uint8 else (TEST[IDS].double() / 255).numpy().astype(dtype)
    found = read(npz(tmp_path, test_ids=IDS.numpy().astype(np.uint16), images=pixels), TEST)
    assert found.ids.dtype == torch.int64 and found.images.dtype == torch.float32
    assert torch.equal(found.images, TEST[IDS].float() / 255)


def test_what_is_not_in_the_file_stays_clean_and_what_is_not_asked_for_is_left_out(tmp_path: Path) -> None:
    found = read(npz(tmp_path, test_ids=IDS.numpy(), images=MOVED.numpy()), TEST)
    asked = torch.tensor([0, 3, 17, 9])
    clean = TEST[asked].float() / 255
    placed, there = found.placed(asked, clean)
    assert there.tolist() == [False, True, True, False]
    assert torch.equal(placed, torch.stack([clean[0], MOVED[1], MOVED[0], clean[3]]))


def changed(place: int, value: float) -> Tensor:
    images = MOVED.clone()
    images[place, 0, 1, 2] = value
    return images


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no ids": ({"test_ids": None}, " holds 'images'; allowed: test_ids and images"),
    "more": ({"labels": IDS + 1}, "; allowed: test_ids and images"),
    "one too many": ({"test_ids": torch.tensor([17, 3, 20])}, ": test_ids hold 20, no test image; allowed: 0 to 19"),
    "negative": ({"test_ids": torch.tensor([17, 3, -1])}, ": test_ids hold -1, no test image; allowed: 0 to 19"),
    "twice": ({"test_ids": torch.tensor([3, 17, 3])}, ": test_ids hold 3 twice; allowed: each test image once"),
    "float ids": ({"test_ids": IDS.float()}, ": test_ids are float32 of (3,); allowed: whole num"),
    "bool ids": ({"test_ids": IDS > 4}, "test_ids is of type bool; allowed: numbers"),
    "a column of ids": ({"test_ids": IDS[:, None]}, ": test_ids are int64 of (3, 1); allowed: "),
    "none": ({"test_ids": IDS[:0], "images": MOVED[:0]}, ": test_ids are int64 of (0,); allowed: "),
    "too few images": ({"images": MOVED[:2]}, ": images have shape (2, 1, 4, 4); allowed: (3, 1, 4, 4)"),
    "channels last": ({"images": MOVED.permute(0, 2, 3, 1)}, ": images have shape (3, 4, 4, 1); allowed: (3, 1, 4, 4)"),
    "halves": ({"images": MOVED.half()}, ": images are float16; allowed: uint8, or float32 or float64 in [0, 1]"),
    "whole numbers": ({"images": MOVED.long()}, ": images are int64; allowed: uint8, or float32 or float64 in [0, 1]"),
    "NaN": ({"images": changed(1, float("nan"))}, ": the image of test id 3 holds NaN or infinity"),
    "infinite": ({"images": changed(0, float("inf"))}, ": the image of test id 17 holds NaN or infinity"),
    "too bright": ({"images": changed(2, 1.5)}, "to 1.5; allowed: [0, 1]"),
    "too dark": ({"images": changed(2, -1e-6)}, "the image of test id 5 has pixels from -1e-06 to "),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, case: str) -> None:
    changes, said = WRONG[case]
    arrays = {"test_ids": IDS, "images": MOVED, **changes}
    there = {name: array.contiguous() for name, array in arrays.items() if array is not None}
    assert said in refused(npz(tmp_path, **{name: array.numpy() for name, array in there.items()}))
    if case != "bool ids":  # which only numpy's reader sees
        save_file(there, tmp_path / "images.safetensors")
        assert said in refused(tmp_path / "images.safetensors")


def test_files_that_hold_no_images_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "images.txt") == " holds no adversarial images; allowed: .npz, .safetensors"
    for name in ("gone.npz", "gone.safetensors"):
        assert " cannot be read: " in refused(tmp_path / name)
    for name in ("broken.npz", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"PK\3\4 or so")
        assert " cannot be read: " in refused(tmp_path / name)
    assert "cannot be read" in refused(npz(tmp_path, test_ids=np.array([object()]), images=MOVED.numpy()))
    bomb = npz(tmp_path, test_ids=IDS.numpy(), images=np.zeros((3, 1, 2000, 2000), np.float32))
    assert "it unpacks to 48,000," in refused(bomb) and bomb.stat().st_size < 100_000


@pytest.mark.parametrize(("norm", "size"), [("linf", 0.25), ("l2", 0.5)])
def test_the_ball_is_that_of_the_claim(tmp_path: Path, norm: str, size: float) -> None:
    """Four pixels move by a quarter: 0.25 in linf, 0.5 in l2."""
    images = torch.full((20, 1, 4, 4), 51, dtype=torch.uint8)  # 0.2
    moved = (images[IDS].float() / 255).clone()
    moved[1, 0, 0] += 0.25
    found = read(npz(tmp_path, test_ids=IDS.numpy(), images=moved.numpy()), images)
    check_ball(found, images, norm, size)
    check_ball(found, images, norm, size - 5e-6)  # rounding of x + delta - x
    with pytest.raises(ValueError, match=rf"^the image of test id 3 is {size} away \({norm}\), 0.1 too far; allowed: "):
        check_ball(found, images, norm, size - 0.1)
