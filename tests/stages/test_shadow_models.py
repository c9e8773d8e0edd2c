"""A model that was trained elsewhere and shadow models of it: planned, trained, asked, and LiRA's scores from them."""

import shutil
from typing import Any

import command
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from finished import Finished
from safetensors.torch import save_file
from scipy.stats import norm

from benchmark import stats
from benchmark.data.members.pools import Pools
from benchmark.results.store import Store

MODEL, SHADOWS, NAME = ("hardened", 1), 6, "theirs"
REPLICAS = (0, *range(2, 2 + SHADOWS))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, finished: Finished) -> Finished:
    """The tiny run, and a checkpoint whose shadow models have a simpler architecture than it."""
    folder = tmp_path_factory.mktemp("shadows")
    save_file(finished.tensors("train", *MODEL), folder / "theirs.safetensors")
    np.save(folder / "members.npy", finished.pools.members(MODEL[1]).numpy())
    theirs = {
        "name": NAME,
        "architecture": {"method": "small_vgg", "width": 8},
        "checkpoint": {"path": "theirs.safetensors", "members": "members.npy"},
        "shadow": {"regime": {"method": "standard", "epochs": 1, "lr": 0.02}, "architecture": "softmax_regression"},
    }
    suite = command.tiny(
        ("models", [*command.tiny()["models"], theirs]),
        ("shadow_replicas", SHADOWS),
        ("membership", ["loss_threshold", "lira"]),
    )
    shutil.copytree(finished.store.root, folder / "results")
    places = ("--results", folder / "results", "--site", folder / "site")
    done = command.bench("run", command.write(folder, suite), *command.ONE, "--only", NAME, *places)
    assert done.returncode == 0, done.stdout + done.stderr
    return Finished(Store(folder / "results"))


def queried(ran: Finished) -> dict[int, dict[str, torch.Tensor]]:
    return {replica: ran.tensors("query", NAME, replica) for replica in REPLICAS}


def test_shadow_models_are_trained_and_asked_and_no_more(ran: Finished) -> None:
    own = {place: node for place, node in ran.nodes.items() if place[1] == NAME}
    by_stage = {stage: sorted(place[2] for place in own if place[0] == stage) for stage in {p[0] for p in own}}
    assert by_stage["train"] == list(REPLICAS[1:]) and by_stage["query"] == list(REPLICAS)
    for stage in ("import", "predict", "evade", "invert", "leakage", "infer_membership"):
        assert set(by_stage[stage]) == {0}, "what the checkpoint alone is measured by"
    for replica in REPLICAS[1:]:
        trained = ran.store.trial(ran.key("train", NAME, replica))
        assert trained.stage["architecture"]["method"] == "softmax_regression"
        assert trained.stage["regime"]["method"] == "standard" and trained.stage["replica"] == replica
        assert trained.inputs["pools"] == ran.key("declare_members", NAME, 0)
    for attack in ("loss_threshold", "lira"):
        asked = ran.store.trial(ran.key("infer_membership", NAME, 0, attack)).inputs
        assert asked == {f"query_{replica}": ran.key("query", NAME, replica) for replica in REPLICAS}


def test_each_shadow_model_knows_half_of_what_the_checkpoint_is_judged_by(ran: Finished) -> None:
    pools = Pools(ran.tensors("declare_members", NAME, 0), ran.key("declare_members", NAME, 0))
    asked = queried(ran)
    assert torch.equal(asked[0]["image_id"][asked[0]["is_member"]], ran.pools.members(MODEL[1]))
    for first in REPLICAS[1::2]:
        one, other = asked[first]["is_member"], asked[first + 1]["is_member"]
        assert not (one & other).any() and int(one.sum()) == int(other.sum())
        shares = one[asked[0]["is_member"]].double().mean()
        assert 0.35 < float(shares) < 0.65, "members and non-members of the checkpoint alike"
    assert torch.equal(asked[0]["image_id"], pools.private)


def test_lira_has_scores_of_the_checkpoint_and_they_are_the_papers(ran: Finished) -> None:
    """Algorithm 1 in numpy, one variance for all, from the margins that were kept."""
    asked = queried(ran)
    kept: dict[str, Any] = ran.store.table(ran.key("infer_membership", NAME, 0, "lira"), "scores").to_pydict()
    inside, outside = (np.stack([asked[r][side].numpy() for r in REPLICAS[1:]]) for side in ("is_member", "never_seen"))
    total = np.zeros(len(kept["score"]))
    for query in range(asked[0]["margins"].shape[1]):
        shadows, own = (np.stack([asked[r]["margins"][:, query].numpy() for r in some]) for some in (REPLICAS[1:], [0]))
        found = []
        for side in (inside, outside):
            mean = np.array([shadows[side[:, i], i].mean() for i in range(side.shape[1])])
            residues = np.where(side, shadows - mean, 0.0)
            found.append((mean, np.sqrt((residues**2).sum() / (side.sum() - side.shape[1]))))
        total += norm.logpdf(own[0], *found[0]) - norm.logpdf(own[0], *found[1])
    np.testing.assert_allclose(kept["score"], total, rtol=1e-6, atol=1e-6)
    truth, judged = np.array(kept["is_member"]), np.array(kept["judged"])
    values = ran.values("infer_membership", NAME, 0, "lira")
    assert values["membership_auc"] == pytest.approx(stats.auc(total[judged], truth[judged]), abs=1e-6)
    for metric in ("shadow_auc", "membership_balanced_accuracy", "membership_precision"):
        assert values[metric] is not None, f"{SHADOWS} shadow models are enough for {metric}"


def test_the_table_has_its_strongest_attack(ran: Finished) -> None:
    found = pq.read_table(ran.store.root.parent / "site" / "leaderboard.parquet").to_pylist()  # type: ignore[union-attr]
    (row,) = [row for row in found if row["model"] == NAME]
    areas = [ran.values("infer_membership", NAME, 0, a)["membership_auc"] for a in ("loss_threshold", "lira")]
    assert row["membership_auc"] in areas and row["num_replicas"] == 1 and row["num_members"] == 300
