"""On a GPU only an inversion whose samples leave the batch waits for the device in a step. See `StandIn`."""

from collections import Counter

import pytest
import torch
from stand_in_device import DEVICE, StandIn, on_device
from victims import NUM_CLASSES, PRIOR, SHAPE, pools, prior, trained, victim

from benchmark import registry
from benchmark.inversion.attack import Inversion, Victim

TABLE = [
    ({"method": "gradient"}, 0, 3),
    ({"method": "gradient", "step": "adam", "total_variation": 0.1}, 0, 3),
    ({"method": "multiscale"}, 0, 5),
    ({"method": "deepinversion", "jitter": 1}, 0, 3),
    ({"method": "mi_face", "gamma": 0.0, "beta": 100}, 1, 4),
    ({"method": "generator"}, 0, 23),
    ({"method": "generator", "objective": "margin"}, 0, 23),
]
"""Settings, stalls a step, and stalls of the whole batch: starts, targets and results are copied; of `generator` its
network too, and rounds are checked for numbers.
"""
STEPS = 12


def counted(settings: dict[str, object], steps: int) -> Counter[str]:
    attack = registry.parse("inversion", {"samples_per_class": 3, "steps": steps, **settings})
    if settings["method"] == "generator":
        attack = attack.model_copy(update={"prior": PRIOR})
    assert isinstance(attack, Inversion)
    wanted = attack.reconstruct(victim(), torch.Generator().manual_seed(0))
    with StandIn() as device:
        known = Victim(on_device(trained()), SHAPE, NUM_CLASSES, DEVICE, *pools(), prior())
        device.stalls.clear()
        found = attack.reconstruct(known, torch.Generator().manual_seed(0))
    assert torch.equal(found, wanted), "on the device it gives what it gives on the CPU"
    return device.stalls


@pytest.mark.parametrize(("settings", "most", "once"), TABLE)
def test_stalls_of_a_step(settings: dict[str, object], most: int, once: int) -> None:
    stalls = counted(settings, STEPS)
    assert stalls.total() <= STEPS * most + once, stalls


def test_every_inversion_is_counted() -> None:
    ours = {name for name, path in registry.INVERSION.items() if path.startswith("benchmark.")}
    assert {settings["method"] for settings, _, _ in TABLE} == ours - {"injected"}, "that one has no steps"


def test_the_prior_learns_without_waiting() -> None:
    images, labels = pools()[2]
    stalls = []
    for steps in (4, 8):
        method = PRIOR.model_copy(update={"steps": steps})
        wanted, _ = method.fit(images, labels, NUM_CLASSES, torch.Generator().manual_seed(3))
        with StandIn() as device:
            x, y = images.to(DEVICE), labels.to(DEVICE)
            device.stalls.clear()
            found, _ = method.fit(x, y, NUM_CLASSES, torch.Generator().manual_seed(3))
        for name, weights in wanted.items():  # torch's Adam computes in another order where it is not on the CPU
            torch.testing.assert_close(found[name], weights, rtol=1e-5, atol=1e-6)
        stalls.append(device.stalls)
    assert stalls[1].total() - stalls[0].total() <= 4, "those of parts of which the loss is reported"
