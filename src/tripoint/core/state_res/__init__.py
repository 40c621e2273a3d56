"""State resolution: one room state out of several, the same on every server. Pure: load first, then resolve.

spec: Matrix rooms/v2 (algorithm 2), rooms/v12 (2.1). Start with resolve.py; v2.py has the algorithm.
Algorithm 1 (room version 1) has its place beside it and is not there yet: resolve() says so with ValueError.
"""

from tripoint.core.graph import MissingEvents
from tripoint.core.state_res.resolve import missing_events, resolve

__all__ = ["MissingEvents", "missing_events", "resolve"]
