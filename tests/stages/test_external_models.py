"""A model of the tiny run, exported and given back as a checkpoint: its numbers must be those it had."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import command
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from finished import Finished
from safetensors.torch import save_file

from benchmark import registry
from benchmark.data.members.pools import Pools
from benchmark.inversion.attack import Victim
from benchmark.inversion.injected import Injected
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.neighbors import cosine_knn
from benchmark.results.store import Store
from benchmark.schema import LEADERBOARD
from benchmark.stages.shared.clean_check import check_clean_accuracy, normalise_with
from benchmark.trials import trial
from benchmark.user_files import include

MODEL = ("hardened", 1)
ARCHITECTURE = {"method": "small_vgg", "width": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, finished: Finished) -> Path:
    """A suite folder with the exported model and the list of its members."""
    place = tmp_path_factory.mktemp("external")
    (place / "given").mkdir()
    save_file(finished.tensors("train", *MODEL), place / "given" / "shipped.safetensors")
    np.save(place / "given" / "members.npy", finished.pools.members(MODEL[1]).numpy()[::-1])
    return place


def entry(name: str = "shipped", **checkpoint: Any) -> dict[str, Any]:
    settings = {"path": "given/shipped.safetensors", "members": "given/members.npy", **checkpoint}
    return {"name": name, "architecture": ARCHITECTURE, "checkpoint": settings}


def suite(*models: Mapping[str, Any]) -> dict[str, Any]:
    return command.tiny(("models", [*command.tiny()["models"], *models]))


@pytest.fixture(scope="module")
def ran(folder: Path, finished: Finished) -> "Given":
    """The tiny run, and what the external models add to it."""
    accuracy = finished.values("train", *MODEL)["test_accuracy"]
    shutil.copytree(finished.store.root, folder / "results")
    good = entry(clean_accuracy=accuracy, adversary={"norm": "l2", "epsilon": "1/2"})
    everyone = entry("everyone", members="all")
    misread = entry("misread", clean_accuracy=accuracy, normalisation={"mean": [0], "std": ["1/255"]})
    path = command.write(folder, suite(good, everyone, misread))
    places = ("--results", folder / "results", "--site", folder / "site")
    only = [word for name in ("shipped", "everyone", "misread") for word in ("--only", name)]
    done = command.bench("run", path, *command.ONE, *only, *places)
    assert done.returncode == 1, done.stdout + done.stderr  # one of them is misread
    again = command.bench("run", path, *command.ONE, *only, *places)
    assert again.stdout.splitlines()[-1].startswith("0 trials run,") and " 1 failed," in again.stdout.splitlines()[-1]
    return Given(Store(folder / "results"))


class Given(Finished):
    """The trials of the external models, beside those of the tiny run."""

    def declared(self, model: str) -> Pools:
        return Pools(self.tensors("declare_members", model, 0), self.key("declare_members", model, 0))


def test_the_exported_model_is_the_trained_one(ran: Given) -> None:
    here, there = ran.tensors("train", *MODEL), ran.tensors("import", "shipped", 0)
    assert here.keys() == there.keys() and all(torch.equal(here[name], there[name]) for name in here)
    own, given = ran.values("predict", *MODEL), ran.values("predict", "shipped", 0)
    assert given["clean_accuracy"] == own["clean_accuracy"] == ran.values("import", "shipped", 0)["test_accuracy"]
    assert given["member_accuracy"] == own["member_accuracy"]
    for attack in ("pgd-l2-0.5", "fgsm-l2-0.5"):
        before, after = ran.tensors("evade", *MODEL, attack), ran.tensors("evade", "shipped", 0, attack)
        assert torch.equal(before["test_clean"], after["test_clean"]), "the same test images"
        differ = before["test_robust"] != after["test_robust"]
        assert float(differ.double().mean()) <= 0.05, "its random starts alone are others"


def test_members_are_those_declared_and_non_members_are_as_many_of_each_class(ran: Given) -> None:
    pools, suite_pools, labels = ran.declared("shipped"), ran.pools, ran.images.labels
    assert torch.equal(pools.members(0), suite_pools.members(MODEL[1]))
    out = pools.non_members(0)
    assert len(out) == len(out.unique()) == 300 and int(out.max()) < len(labels), "the private pool has enough"
    assert torch.isin(out, suite_pools.private).all() and not torch.isin(out, pools.members(0)).any()
    assert labels[out].bincount().tolist() == labels[pools.members(0)].bincount().tolist()
    assert not torch.isin(suite_pools.group[out], suite_pools.group[pools.members(0)]).any()
    assert torch.equal(pools.private, torch.cat([pools.members(0), out]).sort().values)


def test_where_all_are_members_test_images_stand_against_them(ran: Given) -> None:
    pools, suite_pools, images = ran.declared("everyone"), ran.pools, ran.images
    inside, out = pools.members(0), pools.non_members(0)
    assert torch.isin(inside, suite_pools.private).all() and not torch.isin(inside, suite_pools.auxiliary).any()
    assert bool((out >= len(images.labels)).all()) and len(out) == len(inside) == 300
    assert images.classes(out).tolist().count(1) == images.classes(inside).tolist().count(1) > 1
    assert images.classes(out).bincount().tolist() == images.classes(inside).bincount().tolist()
    row = ran.rows("declare_members", "everyone", 0)["pixel", "auxiliary_in_rate"]
    assert 0.3 < row["value"] < 0.7 and row["n"] == len(suite_pools.auxiliary) and " p = " in row["note"]
    nearest = ran.store.table(ran.key("leakage", "everyone", 0, "gradient"), "neighbours").to_pylist()
    for side, ids in (("in", inside), ("out", out)):
        shown = {row["image_id"] for row in nearest if row["side"] == side}
        assert shown and shown <= set(ids.tolist())


@pytest.mark.parametrize("model", ["shipped", "everyone"])
def test_copies_of_either_side_are_nearest_to_it(ran: Given, model: str) -> None:
    """The control of the construction: IN images as reconstructions have in_rate 1, OUT images 0."""
    pools, data = ran.declared(model), ran.images
    sides = {
        name: (data.pixels(ids), data.classes(ids))
        for name, ids in (("members", pools.members(0)), ("non_members", pools.non_members(0)))
    }
    victim = Victim(torch.nn.Identity(), (1, 28, 28), 3, torch.device("cpu"), **sides, auxiliary=sides["members"])
    mean = data.pixels(pools.auxiliary).float().mean(0).flatten()
    gallery = {name: found[0].float().flatten(1) - mean for name, found in sides.items()}
    for what, rate in (("members", 1.0), ("non_members", 0.0)):
        made = Injected(what=what, samples_per_class=8).reconstruct(victim, trial.generator("k", what))  # type: ignore[arg-type]
        queries = 255 * made.flatten(1) - mean
        s_in, s_out = (cosine_knn(queries, gallery[name], 1)[0][:, 0] for name in ("members", "non_members"))
        assert float((s_in > s_out).double().mean()) == rate


def test_a_misread_model_is_not_attacked(ran: Given) -> None:
    failures = {failure["model"]: failure for failure in ran.store.failures().values()}
    assert set(failures) == {"misread"} and failures["misread"]["stage"] == "import"
    line = failures["misread"]["traceback"].strip().splitlines()[-1]
    assert line.startswith("ValueError: checkpoint: clean accuracy is 0.")
    assert "; normalisation: data gives 0." in line and "nothing else was measured on it" in line
    states = {(n["stage"], ran.store.has(n["key"])) for n in ran.nodes.values() if n["model"] == "misread"}
    run = {stage for stage, there in states if there}
    assert run == {"declare_members", "embed"}


def test_the_table_has_it_beside_the_others(ran: Given, folder: Path) -> None:
    rows = {row["model"]: row for row in pq.read_table(folder / "site" / "leaderboard.parquet").to_pylist()}
    shipped, trained = rows["shipped"], rows["hardened"]
    assert (shipped["architecture"], shipped["regime"]) == ("small_vgg", "checkpoint")
    assert (shipped["train_norm"], shipped["train_epsilon"]) == ("l2", 0.5)
    assert (shipped["num_replicas"], shipped["num_members"]) == (1, 300)
    assert (trained["num_replicas"], trained["num_members"], trained["checkpoint"]) == (2, 300, None)
    assert rows["everyone"]["num_members"] == int((ran.images.labels < 3).sum())
    digest = ran.store.trial(ran.key("import", "shipped", 0)).stage["sha256"]
    assert digest in shipped["checkpoint"] and "declared members: given/members.npy" in shipped["checkpoint"]
    empty = {name for name in LEADERBOARD.names if shipped[name] is None and trained[name] is not None}
    gap = {f"paired_generalization_gap{end}" for end in ("", "_low", "_high")}
    assert empty == {"empirical_epsilon", "in_rate_power"} | gap, "they need two halves, cut by chance"
    assert trained["tpr_at_0_1pct_fpr"] is shipped["tpr_at_0_1pct_fpr"] is None, "300 non-members resolve no 0.1%"
    assert rows["misread"]["robust_accuracy"] is None
    page = next((folder / "site" / "models").glob("*shipped*.html")).read_text()
    assert digest in page and "1 replica: its intervals say nothing of other trainings" in page
    results = pq.read_table(folder / "site" / "results.parquet").to_pylist()
    notes = {(r["metric"], r["note"]) for r in results if r["model"] == "shipped" and r["note"]}
    assert ("num_replicas", "1 replica: its intervals say nothing of other trainings") in notes
    assert any(m == "membership_balanced_accuracy" and "there are 0" in note for m, note in notes)
    missing = {(r["metric"], r["note"]) for r in results if r["model"] == "misread" and r["value"] is None}
    assert any(m == "in_rate" and note.startswith("import failed: ValueError: checkpoint:") for m, note in missing)


def test_the_page_says_that_a_checkpoint_is_one_replica(ran: Given, folder: Path) -> None:
    assert "<strong>2 replicas</strong> a model (1 for a checkpoint);" in (folder / "site" / "index.html").read_text()


def test_a_file_is_known_by_its_content_and_not_by_its_place(ran: Given, folder: Path, tmp_path: Path) -> None:
    given, elsewhere = ran.store.trial(ran.key("import", "shipped", 0)), tmp_path / "renamed.safetensors"
    shutil.copyfile(folder / "given" / "shipped.safetensors", elsewhere)

    def again(files: tuple[tuple[str, str], ...]) -> dict[str, torch.Tensor]:
        settings = trial.Settings(str(ran.store.root), device="cpu", files=files)
        return trial.execute(given, ran.store, settings).tensors

    sha256 = given.stage["sha256"]
    weights = again(((sha256, str(elsewhere)),))
    assert all(torch.equal(weights[name], w) for name, w in ran.tensors("import", "shipped", 0).items())
    with pytest.raises(ValueError, match="no file with sha256 .* was given to this run"):
        again(())
    save_file({name: w + 1 for name, w in weights.items()}, elsewhere)
    with pytest.raises(ValueError, match="renamed.safetensors' has changed: its sha256 is"):
        again(((sha256, str(elsewhere)),))
    elsewhere.unlink()
    with pytest.raises(ValueError, match="renamed.safetensors' cannot be read on this machine"):
        again(((sha256, str(elsewhere)),))


def checked(finished: Finished, model: Classifier, declared: float | None) -> float:
    """Its accuracy on the test pool, if it passes."""
    data, test = finished.images, finished.pools.test
    images, labels = data.test_images[test], data.test_labels[test]
    info, halves = InputInfo(1, 28, 28, 3, data.mean, data.std), trial.generator("k", "halves")
    correct = check_clean_accuracy(model, images, labels, info, declared, torch.device("cpu"), halves)
    return float(correct.double().mean())


def test_a_clean_accuracy_is_checked(finished: Finished) -> None:
    network = finished.network(finished.key("train", *MODEL))
    accuracy = finished.values("train", *MODEL)["test_accuracy"] or 0.0
    assert accuracy > 0.6, "else this test says nothing"
    assert checked(finished, network, None) == checked(finished, network, accuracy + 0.015) == accuracy
    with pytest.raises(ValueError, match=r"declared is 0\.300; of other .* is this the right file, architecture and"):
        checked(finished, network, 0.3)
    normalise_with(network, [0.0], [1 / 255])
    for declared in (accuracy, None):
        with pytest.raises(ValueError, match="; normalisation: data gives|and normalisation: data gives") as error:
            checked(finished, network, declared)
        assert "\n" not in str(error.value)
    assert network.mean.item() == 0 and network.std.item() == pytest.approx(1 / 255)


def test_an_order_of_the_classes_is_recognised(finished: Finished) -> None:
    network = finished.network(finished.key("train", *MODEL))
    accuracy = finished.values("train", *MODEL)["test_accuracy"]
    with torch.no_grad():
        network.head.weight.copy_(network.head.weight[[1, 2, 0]])
        network.head.bias.copy_(network.head.bias[[1, 2, 0]])
    for declared in (accuracy, None):
        with pytest.raises(ValueError, match=r"outputs in another order of the classes \(0 for 1, 1 for 2, 2 for 0\)"):
            checked(finished, network, declared)


def test_a_network_that_knows_nothing_is_refused(finished: Finished) -> None:
    network = finished.network(finished.key("train", *MODEL))
    with torch.no_grad():
        network.head.weight.zero_()
    with pytest.raises(ValueError, match=r"chance is 0\.333; of other normalisations and orders .* right file"):
        checked(finished, network, None)


ODD = """
import torch
from torch import nn
class Odd(nn.Module):
    def __init__(self, pixels, num_classes, kind):
        super().__init__()
        self.linear, self.kind, self.seen = nn.Linear(pixels, num_classes), kind, 0
    def forward(self, x):
        self.seen += len(x)
        if self.kind == "noise":
            x = x + 0.3 * torch.randn_like(x)
        if self.kind == "batch":
            x = (x - x.mean()) / x.std()
        logits = self.linear(x.flatten(1))
        if self.kind == "nan" and self.seen > 10:  # of many images, one
            logits = torch.cat([logits[:-1], logits[-1:] * torch.nan])
        return logits
""" + "".join(
    f"def {kind}(channels, height, width, num_classes):\n"
    f"    return Odd(channels * height * width, num_classes, {kind!r})\n"
    for kind in ("noise", "batch", "nan")
)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("noise", r"^checkpoint: two passes over the same images differ by .*; nothing else was measured on it$"),
        (
            "batch",
            r"^checkpoint: its logits of an image depend on the other images of its batch, by .* was measured on",
        ),
        ("nan", r"^the network gives NaN or infinity for 1 of 120 images$"),
    ],
)
def test_logits_are_numbers_of_one_image_or_the_import_fails(
    tmp_path: Path, finished: Finished, kind: str, said: str
) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    include.load(str(tmp_path / "odd.py"))
    weights = tmp_path / "odd.safetensors"
    generator = torch.Generator().manual_seed(0)
    save_file({"linear.weight": torch.randn(3, 784, generator=generator), "linear.bias": torch.zeros(3)}, weights)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    function = {"method": "function", "function": f"odd:{kind}"}
    stage = {"method": "import", "architecture": function, "sha256": sha256, "mean": [0.0], "std": [1.0]}
    given = registry.dump("stage", registry.parse("stage", stage))
    settings = trial.Settings(str(finished.store.root), device="cpu", files=((sha256, str(weights)),))
    with pytest.raises((ValueError, FloatingPointError), match=said):
        trial.execute(trial.Trial(given, 0, {"pools": finished.key("pools")}), finished.store, settings)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"path": "given/absent.safetensors"}, "models[2].checkpoint.path: "),
    ({"path": "given"}, "models[2].checkpoint.path: "),
    ({"path": "given/hostile.pt"}, "models[2].checkpoint.path: "),
    ({"path": "given/code.pt"}, "it is more than weights"),
    (
        {"path": "given/narrow.safetensors"},
        "models[2].checkpoint.path: 'given/narrow.safetensors': the checkpoint does not fit the",
    ),
    ({"path": "given/nan.safetensors"}, "holds NaN or infinity"),
    ({"normalisation": "imagenet"}, "models[2].checkpoint.normalisation: 'imagenet' is not allowed; allowed: none, da"),
    ({"normalisation": {"mean": [0, 0], "std": [1]}}, "models[2].checkpoint.normalisation.mean: [0.0, 0.0] has 2 num"),
    ({"normalisation": {"mean": [0], "std": [0]}}, "models[2].checkpoint.normalisation.std[0]: 0 is not allowed"),
    ({"clean_accuracy": 93}, "models[2].checkpoint.clean_accuracy: 93 is not allowed"),
    ({"members": []}, "models[2].checkpoint.members: [] is not allowed; allowed: all, {first: NUMBER}, or a file"),
    ({"members": {"first": 10**6}}, "models[2].checkpoint.members.first: 1000000 is not allowed; the data set has 110"),
    ({"members": "given/absent.txt"}, "models[2].checkpoint.members: "),
    ({"members": "given/twice.txt"}, "models[2].checkpoint.members: "),
    ({"members": "given/one.txt"}, "models[2].checkpoint.members: class 1 has 0 members; needed: 2"),
    ({"epochs": 3}, "models[2].checkpoint: unknown key 'epochs'"),
]


@pytest.mark.parametrize(("checkpoint", "said"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_ends_in_one_line_before_anything_runs(
    tmp_path: Path, folder: Path, finished: Finished, checkpoint: dict[str, Any], said: str
) -> None:
    shutil.copytree(folder / "given", tmp_path / "given")
    weights = finished.tensors("train", *MODEL)
    name = next(name for name, w in weights.items() if w.is_floating_point())
    save_file({**weights, name: weights[name] * float("nan")}, tmp_path / "given" / "nan.safetensors")
    save_file({n: w for n, w in weights.items() if "head" not in n}, tmp_path / "given" / "narrow.safetensors")
    hostile = tmp_path / "owned"
    code = f"cposix\nsystem\n(S'touch {hostile}'\ntR.".encode()
    (tmp_path / "given" / "hostile.pt").write_bytes(code)
    torch.save({"state_dict": weights, "trap": Trap(str(hostile))}, tmp_path / "given" / "code.pt")
    (tmp_path / "given" / "twice.txt").write_text("1\n2\n1\n")
    (tmp_path / "given" / "one.txt").write_text(str(int((finished.images.labels == 0).nonzero()[0])))
    path = command.write(tmp_path, suite(entry(**checkpoint)))
    line = command.refusal(command.call("run", path, "--results", tmp_path / "results"))
    assert said in line
    assert not hostile.exists() and not (tmp_path / "results").exists()


def test_a_model_has_a_regime_or_a_checkpoint(tmp_path: Path) -> None:
    for keys, there in ((("regime", "checkpoint"), "both"), ((), "neither")):
        whole = {**entry(), "regime": "standard"}
        model = {k: v for k, v in whole.items() if k in (*keys, "name", "architecture")}
        line = command.refusal(command.call("plan", command.write(tmp_path, suite(model))))
        assert line.startswith(f"models[2]: 'shipped' has {there}; allowed: one of 'regime' (trained here) and")
