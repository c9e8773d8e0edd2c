"""GPU shares are settings of a run: checked in one line, in no key, overridden from the command line."""

from typing import Any

import command
import pytest

from benchmark.planning.gpu_shares import DEFAULT_GPUS, check_gpus, gpu_shares, gpus_of
from benchmark.planning.suite import parse_suite
from benchmark.registry import STAGE
from benchmark.spec import SpecError


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"train": {"gpus": 1.5}}, "resources.train.gpus: 1.5 is no share of GPUs; allowed: 0 to 1 in steps of 0.0001"),
        ({"train": {"gpus": "1/3"}}, "resources.train.gpus: 0.333"),
        ({"train": {"gpus": -1}}, "resources.train.gpus: -1.0 is no share"),
        ({"train": {"gpus": 65}}, "resources.train.gpus: 65.0 is no share"),
        ({"trian": {"gpus": 1}}, "resources: unknown stage 'trian' (did you mean 'train'?)"),
        ({"train": {"gpu": 1}}, "resources.train: unknown key 'gpu' (did you mean 'gpus'?)"),
        ({"train": {}}, "resources.train.gpus: this key is required"),
        (1, "resources: 1 is not allowed"),
    ],
)
def test_a_wrong_share_is_refused_in_one_line(resources: Any, message: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_suite(command.tiny(("resources", resources)))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_shares_are_no_part_of_a_suite() -> None:
    plain = parse_suite(command.tiny())
    chosen = parse_suite(command.tiny(("resources", {"train": {"gpus": "1/4"}, "leakage": {"gpus": 2}})))
    assert chosen.hash == plain.hash
    shares = dict(gpu_shares(chosen.resources))
    assert (shares["train"], shares["leakage"], shares["evade"]) == (0.25, 2.0, DEFAULT_GPUS["evade"])


def test_every_stage_has_a_default() -> None:
    assert DEFAULT_GPUS.keys() == {name for name, path in STAGE.items() if path.startswith("benchmark.")}
    assert gpus_of("a stage of the user's", {}) == 1.0


def test_one_share_for_all_leaves_the_cpus_trials_alone() -> None:
    shares = dict(gpu_shares({}, every=0.1))
    assert shares == {stage: 0.1 if share else 0.0 for stage, share in DEFAULT_GPUS.items()}


@pytest.mark.parametrize(("every", "device"), [(1.5, "auto"), (0.33333, "cuda"), (-0.5, "auto"), (0.0, "cuda:1")])
def test_a_share_that_nobody_can_hold(every: float, device: str) -> None:
    with pytest.raises(SpecError, match=r"^--gpus-per-trial: .*; allowed: "):
        check_gpus(every, device)


def test_shares_that_somebody_can_hold() -> None:
    for every, device in ((None, "auto"), (0.0, "auto"), (0.3, "cuda"), (2.0, "cuda"), (1.0, "cuda:0")):
        check_gpus(every, device)
