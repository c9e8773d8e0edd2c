import math

import pytest
import torch
from safetensors.torch import load, save

from benchmark.models.classifier import InputInfo
from benchmark.models.memoriser import Memoriser, StoredMembers
from benchmark.regimes.memorise import Memorise
from benchmark.spec import SpecError

INFO = InputInfo(1, 4, 4, 3, (0.5,), (0.5,))


def memoriser(sigma: float = 0.7) -> tuple[StoredMembers, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 1, 4, 4), generator=generator, dtype=torch.uint8)
    labels = torch.arange(12) % 3
    model = Memoriser(sigma=sigma).build(INFO)
    assert isinstance(model, StoredMembers)
    assert Memorise().fit(model, images, labels, generator) == []
    return model, images.float() / 255, labels


def test_logits_by_hand() -> None:
    model, images, labels = memoriser()
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    logits = model(x)
    for n in range(5):
        for c in range(3):
            terms = [-(x[n] - images[i]).square().sum().item() / (2 * 0.7**2) for i in range(12) if labels[i] == c]
            assert logits[n, c].item() == pytest.approx(math.log(sum(map(math.exp, terms))), rel=1e-4)


def test_members_get_their_own_class() -> None:
    model, images, labels = memoriser(sigma=0.2)
    assert torch.equal(model(images).argmax(1), labels)
    assert torch.equal(model.features(images), images.flatten(1))


def test_members_survive_safetensors() -> None:
    model, images, _ = memoriser()
    fresh = Memoriser(sigma=0.7).build(INFO)
    fresh.load(load(save(model.state_dict())))
    assert torch.equal(fresh(images), model(images))


def test_members_are_copied_not_shared() -> None:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.arange(6) % 3
    model = Memoriser().build(INFO)
    Memorise().fit(model, images, labels, generator)
    images.fill_(255)
    labels.fill_(0)
    assert isinstance(model, StoredMembers)
    assert model.members.max() == 0 and model.member_labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_other_networks_cannot_memorise() -> None:
    from benchmark.models.softmax_regression import SoftmaxRegression

    with pytest.raises(SpecError, match="needs the architecture 'memoriser'"):
        Memorise().fit(SoftmaxRegression().build(INFO), torch.zeros(0), torch.zeros(0), torch.Generator())
