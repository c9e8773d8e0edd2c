"""Rows whose primary evasion attack is beaten: by how much, by which attack, and how often."""

from collections.abc import Sequence
from typing import Any

from leaderboard.columns import BY_NAME, show
from leaderboard.parquet_rows import Row, number

MOST_GAP = 0.01
"""Of robust accuracy above the best known one, that a row may have without being flagged: one point."""


def beaten(row: Row, results: Sequence[Row]) -> dict[str, str] | None:
    """By how many points in words, and a sentence with the numbers; None for a row that is not flagged.

    row: of the leaderboard. results: the model's rows of results.parquet.
    """
    gap, best = number(row["attack_gap"]), number(row["best_known_robust_accuracy"])
    if gap is None or best is None or gap <= MOST_GAP + 1e-9:
        return None
    points = f"{100 * gap:.1f} points"
    # Worst first: the one that fools most beyond the primary attack.
    ahead = sorted((line for line in attacks(row, results) if line["beyond"]), key=lambda line: -line["beyond"])
    named = ", ".join(f"{line['method']} ({100 * line['beyond']:.1f})" for line in ahead)
    by = f"; fooled beyond the primary attack, in points: {named}" if named else ""
    best_known = show(BY_NAME["best_known_robust_accuracy"], best)
    tip = f"all attacks on the same images leave {best_known}%, {points} less than the primary one alone{by}"
    return {"points": points, "tip": tip}


def attacks(row: Row, results: Sequence[Row]) -> list[dict[str, Any]]:
    """A line for each attack in the primary one's ball that has results, the primary one first.

    beyond, missed: shares of the images that it fools and the primary one does not, and the other way round; None for
    the primary one. note: of what was handed in, if it was.
    """
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        if result["stage"] == "evade":
            line = found.setdefault(result["method"] or "", {"notes": []})
            if result["replica"] is None:
                line[result["metric"]] = result
            elif result["metric"] == "robust_accuracy" and result["note"]:
                line["notes"].append(f"replica {result['replica']}: {result['note']}")
    ordered = sorted(found.items(), key=lambda item: "attack_gap" not in item[1])
    return [_line(method, line) for method, line in ordered if "attack_gap" in line or "beats_primary" in line]


def _line(method: str, line: dict[str, Any]) -> dict[str, Any]:
    column, robust = BY_NAME["robust_accuracy"], line.get("robust_accuracy", {})
    ends = [show(column, robust.get(end)) for end in ("low", "high")]
    shares = [number(line.get(metric, {}).get("value")) for metric in ("beats_primary", "loses_to_primary")]
    return {
        "method": method,
        "primary": "attack_gap" in line,
        "text": show(column, robust.get("value")),
        "interval": ", ".join(ends) if all(ends) else "",
        "beyond": shares[0],
        "missed": shares[1],
        "note": "; ".join(line["notes"]),
    }
