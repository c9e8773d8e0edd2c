"""Decides which machines Ray's autoscaler asks AWS for: spot, and on-demand while AWS has no spot machines.

Ray of itself forgets that AWS refused a machine and asks for the same type again. The head of `cluster.yaml` names
`score` in RAY_AUTOSCALER_UTILIZATION_SCORER, a variable that Ray's first autoscaler obeys.
"""

from typing import Any

from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer


def score(
    node_resources: dict[str, Any],
    resources: list[dict[str, Any]],
    node_type: str,
    *,
    node_availability_summary: Any,
) -> tuple[Any, ...] | None:
    """Ray's own score, below whether AWS gave the type when it was last asked; None: nothing fits.

    The highest score wins, and of equal ones the name that is last in the alphabet: `spot` before `ondemand`. What
    was refused counts for half an hour (AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S), then it is asked for again.
    """
    own = _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
    if own is None:
        return None
    record = node_availability_summary.node_availabilities.get(node_type)
    return (record is None or bool(record.is_available), *own)
