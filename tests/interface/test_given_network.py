"""What may be given as a network, and what is said of the rest."""

from typing import Any

import pytest
import torch
from given_networks import NUM_CLASSES, SHAPE, convolutional, images
from torch import Tensor, nn

from benchmark.interface.given_network import check_gradient, given_network, normalisation
from benchmark.spec import SpecError


class Through(nn.Module):
    """A network with something done to what it gives."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.network, self.change = convolutional(), change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.network(x))


def part_in_train_mode() -> nn.Module:
    model = convolutional()
    model[1].train()
    return model


class AlwaysDropout(nn.Module):
    """Forgets the mode that it is in."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


WRONG = {
    "train mode": (lambda: convolutional().train(), "it is in train mode; call model.eval"),
    "a part in train mode": (part_in_train_mode, r"its part '1' is in train mode; call model.eval"),
    "no network": (lambda: torch.relu, "a builtin_function_or_method is not allowed; allowed: a torch.nn.Module"),
    "a class": (lambda: nn.Linear, "a type is not allowed"),
    "a tuple": (lambda: Through(lambda logits: (logits,)).eval(), "it gives a tuple for 3 images"),
    "one number": (lambda: Through(lambda logits: logits[:, :1]).eval(), "it gives one number an image"),
    "classes alone": (lambda: Through(lambda logits: logits.argmax(1)).eval(), r"it gives int64 of \(3,\)"),
    "dropout": (lambda: Through(AlwaysDropout()).eval(), "two passes over the same images differ"),
    "batch statistics": (lambda: Through(lambda x: x - x.mean(0)).eval(), "depend on the other images of its batch"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_classifier_is_refused_in_one_line(name: str) -> None:
    make, message = WRONG[name]
    with pytest.raises(SpecError, match=f"^model: .*{message}") as error:
        given_network(make(), SHAPE)
    assert "\n" not in str(error.value)


def test_the_number_of_classes_is_found_or_must_fit() -> None:
    assert given_network(convolutional(), SHAPE).num_classes == NUM_CLASSES
    with pytest.raises(SpecError, match=r"model: it gives float32 of \(3, 4\).*allowed: float logits of \(3, 5\)"):
        given_network(convolutional(), SHAPE, num_classes=5)


def test_a_network_without_gradients_is_found() -> None:
    check_gradient(given_network(convolutional(), SHAPE))
    given = given_network(Through(lambda logits: logits.detach()).eval(), SHAPE)
    with torch.no_grad(), pytest.raises(SpecError, match="no gradient by the images; is there a no_grad"):
        check_gradient(given)


def test_it_computes_what_the_network_does() -> None:
    model, x = convolutional(), images()
    with torch.no_grad():
        torch.testing.assert_close(given_network(model, SHAPE)(x), model(x))
        torch.testing.assert_close(given_network(model, SHAPE, value_range=(-1, 1))(x), model(2 * x - 1))
        torch.testing.assert_close(given_network(model, SHAPE, value_range=(0, 255))(x), model(255 * x))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, ((0.0, 0.0), (1.0, 1.0))),
        ({"mean": 0.5, "std": 0.25}, ((0.5, 0.5), (0.25, 0.25))),
        ({"mean": (0.5, 0.25), "std": torch.tensor([0.5, 1.0])}, ((0.5, 0.25), (0.5, 1.0))),
        ({"value_range": (-1, 1)}, ((0.5, 0.5), (0.5, 0.5))),
        ({"value_range": (0, 255)}, ((0.0, 0.0), (1 / 255, 1 / 255))),
        ({"value_range": (-3, 1)}, ((0.75, 0.75), (0.25, 0.25))),
    ],
)
def test_normalisations_by_hand(said: dict[str, Any], expected: object) -> None:
    assert normalisation(2, **said) == expected


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"mean": 0.5}, "mean: not allowed alone"),
        ({"std": 0.5}, "std: not allowed alone"),
        ({"mean": 0.5, "std": 0.5, "value_range": (0, 1)}, "value_range: not allowed beside"),
        ({"mean": (0.5, 0.5, 0.5), "std": 0.5}, r"mean: \(0.5, 0.5, 0.5\) is not allowed; allowed: 2 finite"),
        ({"mean": 125, "std": 0.5}, "mean: .* divide it by 255"),
        ({"mean": 0.5, "std": 0}, "std: .*allowed: above 0, up to 1"),
        ({"mean": float("nan"), "std": 0.5}, "mean: nan is not allowed"),
        ({"mean": "grey", "std": 0.5}, "mean: 'grey' is not allowed; allowed: 2 numbers"),
        ({"value_range": (1, 0)}, "value_range: .* low below high"),
        ({"value_range": 255}, "value_range: 255 is not allowed; allowed: 2 finite"),
    ],
)
def test_what_is_no_normalisation_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        normalisation(2, **said)
