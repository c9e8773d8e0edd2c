"""Checks a suite file against its data and plans it: all mistakes of the user are found here, before anything runs."""

import math
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmark import data
from benchmark.data.images import ImageData
from benchmark.data.members import narrowed, pools
from benchmark.evasion.attack import Evasion
from benchmark.inversion.attack import Inversion
from benchmark.machine.devices import num_gpus
from benchmark.models.classifier import Architecture, InputInfo
from benchmark.planning import handed_in_files, membership_trials
from benchmark.planning.costs import Sizes
from benchmark.planning.given_model import Given, examine
from benchmark.planning.models_of_suite import ExternalModel, ModelEntry
from benchmark.planning.plan import Plan, build_plan
from benchmark.planning.suite import Place, Suite, load_suite, recipes, with_architecture
from benchmark.planning.suite_description import describe
from benchmark.regimes.regime import Regime
from benchmark.spec import SpecError
from benchmark.stages.shared.network_check import check_users_network
from benchmark.user_files import include


@dataclass(frozen=True)
class Prepared:
    """about: what the page needs of the suite, see `suite_description.describe`. files: see `trial.Settings`."""

    suite: Suite
    plan: Plan
    about: dict[str, object]
    files: tuple[tuple[str, str], ...] = ()

    def data(self, data_root: str | None) -> tuple[data.Dataset, ImageData]:
        """The data set of the plan, and its images, still in memory."""
        return cast(data.Dataset, self.suite.data), data.load(self.suite.data, data_root)


def prepare(path: str, data_root: str | None, files: Sequence[str]) -> Prepared:
    """Read a suite file and its data set, check one against the other, and plan the trials.

    Raises ValueError, in one line, for whatever the user must mend.
    """
    for file in files:
        include.load(file)
    suite, text = load_suite(path)
    return prepare_suite(suite, text, path, data_root, files)


def prepare_suite(
    suite: Suite, text: str, path: str, data_root: str | None = None, files: Sequence[str] = ()
) -> Prepared:
    """The same for a suite that is in memory. text: its YAML. path: where it lies, or would, for its checkpoints'.

    files: those of `--include`, run already.
    """
    images = data.load(suite.data, data_root)
    membership_trials.check(suite)
    handed_in_files.check(suite)
    pools.check(images, suite.pools, suite.replicas + suite.shadow_replicas)
    pools.check_repeats(images, suite.pools)
    _check_narrow(suite, images)
    sizes = _sizes(images, suite.pools)
    _check_samples(suite, images, sizes)
    _check_radii(suite, sizes.info)
    _check_networks(suite, sizes.info)
    suite = _trainable(suite, sizes)
    given = _given(suite, Path(path).parent, images, sizes.info)
    handed_in = handed_in_files.examine(suite, Path(path).parent, images, sizes.info.num_classes)
    plan = build_plan(suite, images.fingerprint, sizes, given, handed_in)
    sources = {file: include.source(file) for file in files}
    named = {file for found in given.values() for file in found.files}
    named |= {(file.sha256, file.path) for file in handed_in}
    return Prepared(suite, plan, describe(suite, text, path, images.card, given, sources), tuple(sorted(named)))


def _check_narrow(suite: Suite, images: ImageData) -> None:
    """As `pools.check`, of the models that have fewer members than the suite's."""
    for index, model in enumerate(suite.models):
        if isinstance(model, ModelEntry) and model.num_members is not None:
            try:
                narrowed.check(images, suite.pools, model.num_members, suite.replicas + suite.shadow_replicas)
            except ValueError as error:
                raise SpecError(str(error), ("models", index)) from error


def _given(suite: Suite, folder: Path, images: ImageData, info: InputInfo) -> dict[str, Given]:
    """Model name -> its checkpoint, found and read; for every external model of the suite."""
    found = {}
    for index, model in enumerate(suite.models):
        if isinstance(model, ExternalModel):
            try:
                found[model.name] = examine(model.architecture, model.checkpoint, folder, images, info)
            except SpecError as error:
                raise SpecError(error.message, ("models", index, "checkpoint", *error.path)) from error
    return found


def _check_networks(suite: Suite, info: InputInfo) -> None:
    """Networks of the user's own are tried before anything is trained; a checkpoint is, with its weights, when it is
    imported.
    """
    for place, recipe in recipes(suite):
        try:
            check_users_network(recipe.architecture, recipe.regime, info)
        except SpecError as error:
            raise SpecError(error.message, (*place, "architecture", *error.path)) from error


def _trainable(suite: Suite, sizes: Sizes) -> Suite:
    """The suite with architectures that their regimes can train. Raises SpecError for a regime that lacks something."""
    for place, recipe in recipes(suite):
        regime, architecture = cast(Regime, recipe.regime), cast(Architecture, recipe.architecture)
        try:
            regime.check(sizes.num_auxiliary if place[0] == "evaluators" else sizes.of(recipe).num_members)
        except SpecError as error:
            raise SpecError(error.message, (*place, "regime", *error.path)) from error
        wanted = regime.trainable(architecture, sizes.info)
        if wanted is not architecture:
            suite = with_architecture(suite, place, wanted)
    return suite


def check_device(name: str) -> None:
    """Raise SpecError for a device that this machine has not."""
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d{1,4}))?", name)
    if match is None:
        raise SpecError(f"--device: {name!r} is no device; allowed: auto, cpu, cuda, cuda:0, cuda:1, ...")
    if name.startswith("cuda"):
        count = num_gpus()
        if int(match[1] or 0) >= count:
            allowed = ["auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
            raise SpecError(f"--device: {name!r} is not here; torch sees {count} GPUs; allowed: {', '.join(allowed)}")


def check_address(address: str) -> None:
    """Raise SpecError if nobody answers at a Ray cluster's address: Ray itself tries for minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise SpecError(f"--address: {address!r} is no address; allowed: auto, HOST:PORT, ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise SpecError(
            f"--address: nobody answers at {address!r} ({error}); allowed: a running Ray cluster"
        ) from error


def _check_samples(suite: Suite, images: ImageData, sizes: Sizes) -> None:
    """No attack may make more images of a class than there are members, or auxiliary images, to compare them with.

    The injected controls need as many as the primary attack makes, since they copy them.
    """
    counts = images.labels.bincount(minlength=sizes.info.num_classes)[: sizes.info.num_classes]
    smallest = int(counts.min()) / int(counts.sum())
    of_models = [sizes.of(model).num_members for model in suite.models]
    allowed = int(min(sizes.num_members, sizes.num_auxiliary, *of_models) * smallest)
    for index, attack in enumerate(suite.inversion):
        wanted = cast(Inversion, attack).samples_per_class
        if wanted > allowed:
            raise SpecError(
                f"{wanted} is more than a class has members or auxiliary images; allowed: up to {allowed}",
                ("inversion", index, "samples_per_class"),
            )


def _check_radii(suite: Suite, info: InputInfo) -> None:
    """No l2 radius may be wider than the cube of all images. In linf the settings know it by themselves."""
    diameter = math.sqrt(info.channels * info.height * info.width)
    for path, norm, radius in _radii(suite):
        if norm == "l2" and radius > diameter:
            image = f"{info.channels} x {info.height} x {info.width}"
            allowed = f"up to {diameter:.4g}, the largest l2 distance of two images of {image} pixels in [0, 1]"
            raise SpecError(f"{radius:.4g} is not allowed; allowed: {allowed}", path)


def _radii(suite: Suite) -> Iterator[tuple[Place, str, float]]:
    """(place, norm, radius) of every ball that the suite names."""
    for index, evasion in enumerate(cast(list[Evasion], suite.evasion)):
        yield ("evasion", index, "epsilon"), evasion.norm, evasion.epsilon
    for place, recipe in recipes(suite):
        if recipe.adversary is not None:
            yield (*place, "regime", "epsilon"), *recipe.adversary
    for index, model in enumerate(suite.models):
        if isinstance(model, ExternalModel) and model.adversary is not None:
            yield ("models", index, "checkpoint", "adversary", "epsilon"), *model.adversary


def _sizes(images: ImageData, spec: pools.PoolsSpec) -> Sizes:
    """Of the pools before near-duplicates are taken out: exact enough for costs."""
    num_classes = spec.num_classes or len(images.class_names)
    num_images = int((images.labels < num_classes).sum())
    num_auxiliary = round(num_images * spec.auxiliary)
    num_private = num_images - num_auxiliary
    _, channels, height, width = images.images.shape
    return Sizes(
        info=InputInfo(channels, height, width, num_classes, images.mean, images.std),
        num_auxiliary=num_auxiliary,
        num_private=num_private,
        num_members=spec.num_members or num_private // 2,
        num_test=spec.num_test or int((images.test_labels < num_classes).sum()),
    )
