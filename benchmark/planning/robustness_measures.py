"""What a suite may ask of robustness beyond its attacks: curves against epsilon, and common corruptions."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from benchmark.data.corruptions import CORRUPTIONS, SEVERITIES
from benchmark.evasion.fab import FAB
from benchmark.evasion.norms import LARGEST_L2, NormName, check_length
from benchmark.reading.text import shown
from benchmark.spec import Fraction, Spec, SpecError, suggest

_MOST_RADII = 100
Radii = Annotated[list[Annotated[Fraction, Field(gt=0, le=LARGEST_L2)]], Field(min_length=1, max_length=_MOST_RADII)]


class Curves(Spec):
    """Robust accuracy at each of some radii, from one search for the smallest perturbation of every image.

    linf, l2: radii, ascending, pixel units; a norm without any is not measured. The cost does not depend on how many
    there are. search: fmn, or fab, which tries every rival class by itself at as many times the cost, and half as much
    again. steps: of the search. num_images: of the test images that evasion attacks get, the first so many; all of
    them where it is not set.
    """

    linf: Radii | None = None
    l2: Radii | None = None
    search: Literal["fmn", "fab"] = "fmn"
    steps: int = Field(default=40, ge=1, le=100_000)
    num_images: int | None = Field(default=None, ge=1, le=1_000_000_000)

    @model_validator(mode="after")
    def _some_ascending_radii(self) -> Self:
        if not self.epsilons:
            raise SpecError("no radii; allowed: a list of them for linf, l2 or both")
        for norm, radii in self.epsilons.items():
            for index, (radius, before) in enumerate(zip(radii, [0.0, *radii], strict=False)):
                check_length(norm, radius, norm)
                if radius <= before:
                    allowed = f"more than {before:.4g}, as radii ascend"
                    raise SpecError(f"{radius:.4g} is not allowed; allowed: {allowed}", (norm, index))
        return self

    @property
    def epsilons(self) -> dict[NormName, list[float]]:
        """Norm -> its radii, of the norms that have some."""
        given: dict[NormName, list[float] | None] = {"linf": self.linf, "l2": self.l2}
        return {norm: radii for norm, radii in given.items() if radii}

    def passes(self, num_classes: int) -> float:
        """With gradients, an image, over all norms; FAB has a forward pass for each, which costs half as much."""
        each = 1.5 * min(FAB.model_fields["targets"].default, num_classes - 1) if self.search == "fab" else 1.0
        return each * self.steps * len(self.epsilons)

    def stage(self, num_images: int) -> dict[str, Any]:
        """The stage that measures them on one replica. num_images: that evasion attacks get."""
        most = min(self.num_images or num_images, num_images)
        settings = {"epsilons": self.epsilons, "search": self.search, "steps": self.steps, "num_images": most}
        return {"method": "robustness_curve", **settings}


def _known(names: Any) -> Any:
    if names == "all":
        return list(CORRUPTIONS)
    for index, name in enumerate(names if isinstance(names, list) else ()):
        if name not in CORRUPTIONS:
            raise SpecError(f"unknown corruption {shown(name)}{suggest(str(name), CORRUPTIONS)}", (index,))
        if name in names[:index]:
            raise SpecError(f"{shown(name)} is there twice; allowed: once", (index,))
    return names


def _severities(values: Any) -> Any:
    for index, value in enumerate(values if isinstance(values, list) else ()):
        if value not in SEVERITIES or isinstance(value, bool) or value in values[:index]:
            raise SpecError(f"{shown(value)} is not allowed; allowed: 1 to 5, each once", (index,))
    return values


class Corruptions(Spec):
    """Accuracy under common corruptions. names: some of them, or `all`. severities: of 1 to 5.

    num_images: of the test images that evasion attacks get, the first so many; all of them where it is not set.
    """

    names: Annotated[list[str], BeforeValidator(_known), Field(min_length=1)] = list(CORRUPTIONS)
    severities: Annotated[
        list[Annotated[int, Field(ge=1, le=5)]], BeforeValidator(_severities), Field(min_length=1)
    ] = list(SEVERITIES)
    num_images: int | None = Field(default=None, ge=1, le=1_000_000_000)

    def stage(self, num_images: int) -> dict[str, Any]:
        """The stage that measures it on one replica. num_images: that evasion attacks get."""
        most = min(self.num_images or num_images, num_images)
        return {"method": "corrupt", "names": self.names, "severities": self.severities, "num_images": most}


def _from_names(value: Any) -> Any:
    """`all` and a list of names stand for a mapping."""
    return {"names": value} if value == "all" or isinstance(value, list) else value


CorruptionsField = Annotated[Corruptions | None, BeforeValidator(_from_names)]
"""What a suite may write: `all`, a list of names, or a mapping."""
