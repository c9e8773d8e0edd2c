"""The files of adversarial images that a suite names: found, read and checked against the data before anything runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.images import ImageData
from benchmark.evasion.given import Given
from benchmark.planning.given_model import digest
from benchmark.planning.labels import labelled
from benchmark.planning.models_of_suite import ExternalModel
from benchmark.planning.suite import Place, Suite
from benchmark.reading.text import shown
from benchmark.spec import SpecError, suggest
from benchmark.stages.shared.handed_in import check_ball, read


@dataclass(frozen=True)
class HandedInFile:
    """For one replica of a model. label: of the attack. sha256: of the content. path: absolute."""

    label: str
    model: str
    replica: int
    sha256: str
    path: str


def check(suite: Suite) -> None:
    """Raise SpecError for what the suite file alone shows: no model of this name, more files than replicas."""
    replicas = {model.name: 1 if isinstance(model, ExternalModel) else suite.replicas for model in suite.models}
    for index, attack in enumerate(suite.evasion):
        if not isinstance(attack, Given):
            continue
        if index == 0:
            allowed = "another attack before it, which is made on every model and replica"
            raise SpecError(f"'given' cannot be the primary attack; allowed: {allowed}", ("evasion", 0))
        if not attack.files:
            raise SpecError("'given' names no file; allowed: files: {MODEL: FILE, ...}", ("evasion", index))
        for model, files in attack.files.items():
            place: Place = ("evasion", index, "files", model)
            if model not in replicas:
                message = f"{shown(model)} is no model of the suite{suggest(model, replicas)}"
                raise SpecError(message, place[:-1])
            if len(files) > replicas[model]:
                raise SpecError(f"{len(files)} files; allowed: up to {replicas[model]}, one a replica", place)


def examine(suite: Suite, folder: Path, data: ImageData, num_classes: int) -> list[HandedInFile]:
    """Every file that the suite names. folder: of the suite file.

    Raises SpecError, in one line, for a file that cannot be read, or that holds anything but images in [0, 1] of test
    images of the suite's classes, in the ball of the attack.
    """
    found = []
    for label, attack in labelled("evasion", suite.evasion).items():
        if isinstance(attack, Given):
            for place, model, replica, said in _named(suite, attack):
                file = folder / said
                sha256 = digest(file, place)
                _check(file, place, attack, data, num_classes)
                found.append(HandedInFile(label, model, replica, sha256, str(file.absolute())))
    return found


def _named(suite: Suite, attack: Given) -> Iterator[tuple[Place, str, int, str]]:
    """(place, model, replica, file)."""
    index = suite.evasion.index(attack)
    for model, files in attack.files.items():
        for replica, file in enumerate(files):
            if file is not None:
                yield ("evasion", index, "files", model, replica), model, replica, file


def _check(file: Path, place: Place, attack: Given, data: ImageData, num_classes: int) -> None:
    try:
        handed_in = read(file, data.test_images)
    except ValueError as error:
        raise SpecError(str(error), place) from error
    other = handed_in.ids[data.test_labels[handed_in.ids] >= num_classes]
    if len(other):
        message = f"test id {int(other[0])} is of class {int(data.test_labels[other[0]])}"
        raise SpecError(f"{str(file)!r}: {message}; allowed: 0 to {num_classes - 1}", place)
    try:
        check_ball(handed_in, data.test_images, attack.norm, attack.epsilon)
    except ValueError as error:
        raise SpecError(f"{str(file)!r}: {error}", place) from error
