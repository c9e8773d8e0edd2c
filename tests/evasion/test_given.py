"""Handed-in images come back for what was classified right, and nothing else is made of them."""

import pytest
import torch
from toy_networks import trained

from benchmark import registry
from benchmark.evasion.given import Given
from benchmark.planning.labels import label, labelled
from benchmark.spec import SpecError

BALL = {"method": "given", "norm": "linf", "epsilon": "8/255"}


def given(**settings: object) -> Given:
    made = registry.parse("evasion", {**BALL, **settings})
    assert isinstance(made, Given)
    return made


def test_images_that_were_right_are_those_handed_in() -> None:
    network, x, y = trained()
    moved = (x + 0.01).clamp(0, 1)
    with torch.no_grad():
        right = network(x).argmax(1) == y
    found = given(files={"m": "f.npz"}).with_images(moved).perturb(network, x, y, torch.Generator())
    assert torch.equal(found.images[right], moved[right]) and torch.equal(found.images[~right], x[~right])
    assert 0 < int(right.sum()) < len(x) and found.loss.shape == (1,)


def test_it_makes_no_images_by_itself() -> None:
    with pytest.raises(SpecError, match=r"^evasion 'given' makes no images; allowed: in a suite, with files$"):
        given(files={"m": "f.npz"}).perturb(*trained(), torch.Generator())


def test_a_trial_is_of_the_content_alone() -> None:
    one, other = given(files={"m": "a.npz"}, name="ann"), given(files={"n": [None, "b.npz"]})
    dumped = [registry.dump("evasion", attack.of_content("a" * 64)) for attack in (one, other)]
    assert dumped[0] == dumped[1] and registry.parse("evasion", dumped[0]) == one.of_content("a" * 64)
    assert registry.dump("evasion", one.of_content("b" * 64)) != dumped[0]


def test_the_label_names_who_made_them() -> None:
    assert label("evasion", given(files={"m": "f.npz"})) == "given-linf-0.03137"
    two = [given(files={"m": "f.npz"}, name=name) for name in ("ann", "bob")]
    assert list(labelled("evasion", two)) == ["given-linf-0.03137-ann", "given-linf-0.03137-bob"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "^files: nothing is given; allowed: {MODEL: FILE, ...}$"),
        ({"files": {"m": []}}, r"^files.m: \[\] is not allowed: "),
        ({"files": {"m": 3}}, "^files.m: 3 is not allowed: "),
        ({"files": "f.npz"}, "^files: 'f.npz' is not allowed: "),
        ({"files": {"m": "f.npz"}, "sha256": "a" * 64}, "^sha256: 'aa.* is for trials; allowed: files alone$"),
        ({"file": "f.npz"}, r"^unknown key 'file' \(did you mean 'files'\?\); allowed: "),
        ({"files": {"m": "f.npz"}, "steps": 3}, "^unknown key 'steps'; allowed: "),
        ({"files": {"m": "f.npz"}, "epsilon": 8}, "^epsilon: 8 is not allowed; pixels are in "),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        given(**settings)
