"""Models that were trained elsewhere: what a suite says of them, and whether their files agree."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from benchmark.data.images import ImageData
from benchmark.data.members.declared import SMALLEST
from benchmark.data.members.member_lists import read_members
from benchmark.evasion.norms import LARGEST_L2, NormName, check_length
from benchmark.models import checkpoint
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.reading.text import shown
from benchmark.spec import Fraction, Spec, SpecError


def _of_pixels(value: float) -> float:
    if value > 1:
        raise SpecError(f"{value:.4g} is not allowed; pixels are in [0, 1]: allowed: up to 1, such as {value:.4g}/255")
    return value


OfPixels = Annotated[Fraction, AfterValidator(_of_pixels)]


class Normalisation(Spec):
    """(x - mean) / std of pixels in [0, 1], a number a channel."""

    mean: list[Annotated[OfPixels, Field(ge=0, le=1)]] = Field(min_length=1)
    std: list[Annotated[OfPixels, Field(gt=0, le=1)]] = Field(min_length=1)


class First(Spec):
    """The first training images of the data set."""

    first: int = Field(ge=1, le=1_000_000_000)


class Adversary(Spec):
    """What it was trained against: for the table alone."""

    norm: NormName
    epsilon: Fraction = Field(gt=0, le=LARGEST_L2)

    @model_validator(mode="after")
    def _in_pixel_units(self) -> Self:
        check_length(self.norm, self.epsilon)
        return self


def _normalisation(value: Any) -> Any:
    if value in ("none", "data"):
        return value
    if isinstance(value, dict | Normalisation):
        return Normalisation.parse(value)
    raise SpecError(f"{shown(value)} is not allowed; allowed: none, data, or {{mean: [...], std: [...]}}")


def _members(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, dict | First):
        return First.parse(value)
    raise SpecError(
        f"{shown(value)} is not allowed; allowed: all, {{first: NUMBER}}, or a file of training-image indices"
    )


class Checkpoint(Spec):
    """A file of weights, and what is known of their training.

    path, and members where it names a file: relative to the suite file, or absolute. normalisation: of the pixels;
    default: what the file says, else the architecture's, which mostly is the data set's. members: training images of
    the data set that the model was trained on; `all`, the first so many, or a file of their indices (see
    `read_members`). clean_accuracy: declared; checked before anything is measured. adversary: of its training, if any.
    """

    path: str = Field(min_length=1)
    normalisation: Annotated[Normalisation | str | None, BeforeValidator(_normalisation)] = None
    members: Annotated[First | str, BeforeValidator(_members)] = "all"
    clean_accuracy: Annotated[Fraction, Field(gt=0, le=1)] | None = None
    adversary: Adversary | None = None


@dataclass(frozen=True)
class Given:
    """A checkpoint whose files were found and read. Nothing in it depends on where they are, but `files`.

    sha256: of the content of the checkpoint. members: fields of the stage `declare_members`. num_members: as
    declared. files: (sha256, absolute path). left_out: what of the checkpoint's file is no part of the model, in words.
    """

    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    members: dict[str, Any]
    num_members: int
    files: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...] = ()


def examine(architecture: Spec, declared: Checkpoint, folder: Path, data: ImageData, info: InputInfo) -> Given:
    """Read the files of a checkpoint and see whether they fit architecture and data.

    folder: of the suite file. info: of the suite's images. Raises SpecError with one line: the key, what is there,
    and what is allowed.
    """
    file = folder / declared.path
    sha256 = digest(file, ("path",))
    try:
        content = checkpoint.read(file)
    except ValueError as error:
        raise SpecError(str(error), ("path",)) from error
    assert isinstance(architecture, Architecture)
    model = architecture.build(info)
    try:
        found = checkpoint.fit(model, content.weights)
    except ValueError as error:
        raise SpecError(f"{declared.path!r}: {error}", ("path",)) from error
    mean, std = _constants(declared, content.weights, set(found.pairs.values()), info, model)
    members, num_members, files = _declared_members(declared, folder, data, info.num_classes)
    left_out = (*content.left_out, *found.left_out)
    return Given(sha256, mean, std, members, num_members, ((sha256, str(file.absolute())), *files), left_out)


def digest(file: Path, place: tuple[str | int, ...]) -> str:
    """sha256 of a file's content. Raises SpecError at `place` if it cannot be read."""
    try:
        if file.exists() and not file.is_file() and not file.is_dir():  # a pipe or a device may never end
            raise SpecError(
                f"{shown(str(file), 300)} is no file; allowed: a file, relative to the suite file or absolute", place
            )
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        allowed = "a file, relative to the suite file or absolute"
        raise SpecError(
            f"{shown(str(file), 300)} cannot be read ({error.strerror}); allowed: {allowed}", place
        ) from error


def _constants(
    declared: Checkpoint, weights: dict[str, torch.Tensor], parts: set[str], info: InputInfo, model: Classifier
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) to be used: what is declared, else what the file says beside the model's parts, else the model's."""
    said = declared.normalisation
    if said == "none":
        return (0.0,) * info.channels, (1.0,) * info.channels
    if isinstance(said, Normalisation):
        for name, values in (("mean", said.mean), ("std", said.std)):
            if len(values) != info.channels:
                message = f"{values} has {len(values)} numbers; allowed: {info.channels}, one a channel"
                raise SpecError(message, ("normalisation", name))
        return tuple(said.mean), tuple(said.std)
    if said == "data":
        return info.mean, info.std
    # Constants of one channel are meant for all; the architecture's are the data set's, or none if it brings its own.
    try:
        inside = checkpoint.normalisation_in(weights, parts)
    except ValueError as error:
        advice = f"set normalisation for {info.channels} channels"
        raise SpecError(f"{declared.path!r}: {error}; {advice}", ("normalisation",)) from error
    found = inside or (model.mean.flatten().tolist(), model.std.flatten().tolist())
    mean, std = (tuple(values) * (info.channels if len(values) == 1 else 1) for values in found)
    if len(mean) != info.channels or len(std) != info.channels or min(std) <= 0:
        said_there = f"holds mean {shown(mean)} and std {shown(std)}"
        message = f"{declared.path!r} {said_there}; set normalisation for {info.channels} channels"
        raise SpecError(message, ("normalisation",))
    return mean, std


def _declared_members(
    declared: Checkpoint, folder: Path, data: ImageData, num_classes: int
) -> tuple[dict[str, Any], int, tuple[tuple[str, str], ...]]:
    """(fields of the stage, number of members, files)."""
    said, num_train = declared.members, len(data.labels)
    if said == "all":
        return {}, int((data.labels < num_classes).sum()), ()
    if isinstance(said, First):
        if said.first > num_train:
            message = f"{said.first} is not allowed; the data set has {num_train} training images"
            raise SpecError(message, ("members", "first"))
        return {"first": said.first}, _check_classes(torch.arange(said.first), data, num_classes), ()
    file = folder / said
    sha256 = digest(file, ("members",))
    try:
        ids = read_members(file, num_train)
    except ValueError as error:
        raise SpecError(str(error), ("members",)) from error
    return {"sha256": sha256}, _check_classes(ids, data, num_classes), ((sha256, str(file.absolute())),)


def _check_classes(ids: torch.Tensor, data: ImageData, num_classes: int) -> int:
    """Number of members of these classes. What labels alone can tell: the rest shows when the pools have been cut."""
    inside = data.labels[ids].bincount(minlength=num_classes)[:num_classes]
    images = torch.cat([data.labels, data.test_labels]).bincount(minlength=num_classes)[:num_classes]
    for name, counts in (("members", inside), ("images that are no members", images - inside)):
        if int(counts.min()) < SMALLEST:
            message = f"class {int(counts.argmin())} has {int(counts.min())} {name}; needed: {SMALLEST}"
            raise SpecError(message, ("members",))
    return int(inside.sum())
