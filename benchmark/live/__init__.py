"""What a person sees: of a run while it runs, of its plan and its standing, and the ranking at the end."""

from benchmark.live.following import Follower
from benchmark.live.standing import planned, standing
from benchmark.live.tables import closing, controls, methods, ranking

__all__ = ["Follower", "closing", "controls", "methods", "planned", "ranking", "standing"]
