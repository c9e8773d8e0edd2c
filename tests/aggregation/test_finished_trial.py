"""What replicas say beside a number is said of all of them where they agree."""

from typing import Any

import pytest

from benchmark.aggregation.finished_trial import Done, common_note


def done(replica: int, note: str | None) -> Done:
    row: dict[str, Any] = {"metric": "robust_accuracy", "space": "", "value": 0.5, "n": 4, "note": note}
    return Done(str(replica), "evade", "apgd", "model", replica, (row,), {}, "")


@pytest.mark.parametrize(
    ("notes", "expected"), [(("a", "a"), "a"), (("a", "b"), None), (("a", None), None), ((None, None), None)]
)
def test_a_note_is_common_where_every_trial_has_it(notes: tuple[str | None, ...], expected: str | None) -> None:
    trials = {replica: done(replica, note) for replica, note in enumerate(notes)}
    assert common_note(trials, "robust_accuracy") == expected
    assert common_note(trials, "clean_accuracy") is None
