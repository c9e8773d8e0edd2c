"""What is checked of a suite is checked of all that it trains: models, shadow models and evaluators."""

import math
from pathlib import Path
from typing import Any

import command
import numpy as np
import pytest
from tiny_plan import SIZES

from benchmark import registry
from benchmark.planning import check
from benchmark.planning.given_model import Given
from benchmark.planning.plan import build_plan
from benchmark.planning.suite import Suite, parse_suite, recipes
from benchmark.spec import SpecError

GIVEN = Given("a" * 64, (0.5,), (0.25,), {}, 1000, ())
DP_SGD = {"method": "dp_sgd", "epochs": 2, "noise_multiplier": 1}


def with_shadow(**shadow: Any) -> Suite:
    """The tiny suite with a model that was trained elsewhere, which has batch norms."""
    external = {"name": "theirs", "architecture": "small_resnet", "checkpoint": {"path": "w.pt"}, "shadow": shadow}
    return parse_suite(command.tiny(("models", [*command.tiny()["models"], external]), ("shadow_replicas", 2)))


def shadow_architectures(suite: Suite) -> list[str]:
    made = build_plan(check._trainable(suite, SIZES), "f" * 64, SIZES, {"theirs": GIVEN})
    trained = [node.trial.stage for node in made.nodes if node.stage == "train" and node.model == "theirs"]
    return [stage["architecture"]["method"] for stage in trained]


def test_every_recipe_has_its_place() -> None:
    assert [place for place, _ in recipes(with_shadow(regime="standard"))] == [
        ("models", 0), ("models", 1), ("models", 2, "shadow"), ("evaluators", "standard"), ("evaluators", "robust"),
    ]  # fmt: skip


def test_shadow_models_have_an_architecture_that_their_regime_can_train() -> None:
    assert shadow_architectures(with_shadow(regime="standard")) == ["small_resnet", "small_resnet"]
    assert shadow_architectures(with_shadow(regime=DP_SGD)) == ["group_norm", "group_norm"]
    assert (
        shadow_architectures(with_shadow(regime=DP_SGD, architecture="softmax_regression"))[0] == "softmax_regression"
    )
    before = with_shadow(regime=DP_SGD)
    changed = check._trainable(before, SIZES)
    assert changed.models[:2] == before.models[:2] and changed.evaluators == before.evaluators
    assert changed.models[2].architecture == before.models[2].architecture, "the model itself is what it was"


@pytest.mark.slow
def test_what_a_shadow_regime_lacks_is_said_before_anything_runs() -> None:
    with pytest.raises(SpecError, match=r"models\[2\].shadow.regime.epsilon: 0.0001 cannot be reached .* allowed: "):
        check._trainable(with_shadow(regime={"method": "dp_sgd", "epochs": 2, "epsilon": 0.0001}), SIZES)


def test_a_shadow_regimes_ball_is_no_wider_than_the_images() -> None:
    wide = with_shadow(regime={"method": "pgd_at", "norm": "l2", "epsilon": 29})
    with pytest.raises(SpecError, match=rf"^models\[2\].shadow.regime.epsilon: 29 .* up to {math.sqrt(28 * 28):.4g}"):
        check._check_radii(wide, SIZES.info)


def test_an_own_architecture_of_shadow_models_counts_in_the_hash_and_no_other_does() -> None:
    plain = with_shadow(regime="standard")
    assert (
        "architecture" not in str(plain.hash) and plain.hash == with_shadow(regime="standard", architecture=None).hash
    )
    assert plain.hash != with_shadow(regime="standard", architecture="small_vgg").hash
    with pytest.raises(SpecError, match=r"^models\[2\].shadow.architecture: 'memoriser' is a control"):
        with_shadow(regime="standard", architecture="memoriser")


def test_whatever_number_of_replicas_a_suite_allows_every_stage_takes() -> None:
    most = parse_suite(command.tiny(("replicas", 1024), ("shadow_replicas", 1024)))
    last = most.replicas + most.shadow_replicas - 1
    recipe = command.tiny()["models"][1]
    train = {"method": "train", "replica": last, "architecture": recipe["architecture"], "regime": recipe["regime"]}
    registry.parse("stage", train)
    registry.parse("stage", {"method": "infer_membership", "attack": "loss_threshold", "replica": last})
    registry.parse("stage", {"method": "memorization", "num_attacked": most.replicas})
    for name in ("replicas", "shadow_replicas"):
        with pytest.raises(SpecError, match=f"^{name}: 1026 is not allowed"):
            parse_suite(command.tiny((name, 1026)))


@pytest.mark.slow
def test_a_class_that_near_duplicates_leave_without_members_is_refused_by_the_command(tmp_path: Path) -> None:
    """Before anything is planned; the images of class 2 are one picture in 20 kinds of faint noise."""
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (60, 28, 28), dtype=np.uint8), np.arange(60) % 3
    images[labels == 2] = images[2].clip(max=250) + draw.integers(0, 3, (20, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "t.npz", images=images, labels=labels)
    own = ("data", {"method": "npz", "path": str(tmp_path / "t.npz")})
    suite = command.write(tmp_path, command.tiny(own, ("pools", {"auxiliary": 0.25})))
    said = command.refusal(command.call("plan", suite, "--results", tmp_path / "results"))
    assert said.startswith("pools: the 16 training images of class 2 are near-duplicates but for 1; needed: 3 ")
    assert not (tmp_path / "results").exists()
