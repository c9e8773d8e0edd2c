"""What a person sees: of a run while it runs, of its plan and its standing, and the ranking at the end."""

from benchmark.live.following import Follower
from benchmark.live.lines import line
from benchmark.live.standing import older_lines, planned, standing
from benchmark.live.tables import closing, controls, methods, ranking

__all__ = ["Follower", "closing", "controls", "line", "methods", "older_lines", "planned", "ranking", "standing"]
