"""What the terminal shows: a run while it runs, a plan, the status of a suite, and the ranking at the end."""

from benchmark.live.closing_table import closing, controls, ranking
from benchmark.live.lines import line
from benchmark.live.method_list import methods
from benchmark.live.plan_and_status import older_lines, planned, standing
from benchmark.live.progress_view import Follower

__all__ = ["Follower", "closing", "controls", "line", "methods", "older_lines", "planned", "ranking", "standing"]
