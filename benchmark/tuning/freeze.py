"""Writes the suite in which each attack has the settings that a search found best."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from benchmark.machine.durable_files import replace_file
from benchmark.planning.models_of_suite import ExternalModel
from benchmark.planning.suite import Suite, load_suite, parse_suite
from benchmark.spec import SpecError
from benchmark.trials.provenance import versions
from benchmark.tuning.objective import Score
from benchmark.tuning.session import Session, Tuned
from benchmark.user_files.yaml_file import plain

_NAME = re.compile(r"^name:.*$", re.MULTILINE)


def check_place(out: Path, source: Path, suite: Suite) -> None:
    """Raise SpecError, before any work, if the file could not be written or could not find what it names."""
    if out.suffix not in (".yaml", ".yml"):
        raise SpecError(f"--out: {str(out)!r} is no suite file; allowed: a name that ends in .yaml")
    if out.resolve() == source.resolve():
        raise SpecError(f"--out: {str(out)!r} is the suite itself; allowed: another file")
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise SpecError(f"--out: {str(out)!r} cannot be written; allowed: a file in a folder that exists")
    if out.resolve().parent != source.resolve().parent:
        for name in _named_files(suite):
            if not Path(name).is_absolute():
                where = f"relative to its own folder; allowed: a file in {str(source.parent)!r}"
                raise SpecError(f"--out: the suite names {name!r} {where}")


def _named_files(suite: Suite) -> Iterator[str]:
    for model in suite.models:
        if isinstance(model, ExternalModel):
            yield model.checkpoint.path
            if isinstance(model.checkpoint.members, str) and model.checkpoint.members != "all":
                yield model.checkpoint.members


def freeze(out: Path, source: Path, session: Session, results: Sequence[Tuned]) -> Suite:
    """Write the suite with the settings found. Returns it as it is read back."""
    suite, text = load_suite(str(source))
    label = session.label
    tuned = {name: dict(models) for name, models in suite.tuned.items() if name != label}
    found = {result.model: dict(result.settings) for result in results if result.settings}
    if found:
        tuned[label] = found
    name = out.stem if out.stem != suite.name else f"{suite.name}-tuned"
    wanted = suite.model_copy(update={"name": name, "tuned": tuned})
    body = _edited(text, name, tuned, wanted)
    if body is None:  # tuned before, or in a layout of its own: what it says is kept, its comments are not
        data = {**plain(text), "name": name, "tuned": tuned}
        body = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
    replace_file(out, (_header(session, list(results)) + body).encode())
    written, _ = load_suite(str(out))
    assert written.hash == wanted.hash
    return written


def _edited(text: str, name: str, tuned: dict[str, Any], wanted: Suite) -> str | None:
    """The suite's own text, comments and all, with its name changed and the settings behind; None if that fails."""
    line = yaml.safe_dump({"name": name}, allow_unicode=True).strip()
    body = _NAME.sub(lambda _: line, text, count=1).rstrip() + "\n"
    if tuned:
        body += "\n# What differs from the settings above, for each attack and model.\n"
        body += yaml.safe_dump(
            {"tuned": tuned}, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=None
        )
    try:
        same = parse_suite(plain(body)).hash == wanted.hash
    except SpecError:
        return None
    return body if same else None


def _header(session: Session, results: list[Tuned]) -> str:
    """Where the settings are from, as comments."""
    suite = session.suite
    lines = [
        f"Made by `bench tune`: {session.label} of suite {suite.name} ({suite.hash[:16]}), its settings frozen.",
        f"For each model searched with {session.search.budget} {session.unit}, at the most {session.passes(results)}",
        f"passes through it, seed {session.seed}: on models and judges of that seed, with other members.",
        *(f"{name}, which was not trained here, itself, from other starts." for name in session.external),
        f"{versions()}; {datetime.now(UTC).date()}.",
        "Searched:",
        *(f"  {setting}: {values}" for setting, values in session.space.items()),
        f"{session.objective} on a second such model, with the suite's settings -> with those found:",
    ]
    for result in results:
        kept = "" if result.settings else ", the suite's are kept"
        lines.append(f"  {result.model}: {interval(result.untuned)} -> {interval(result.tuned)}{kept}")
    return "".join(f"# {line}\n" for line in lines)


def interval(score: Score) -> str:
    """A score for people: `0.425 (0.30-0.55)`."""
    return f"{score.value:.3f} ({score.low:.2f}-{score.high:.2f})"
