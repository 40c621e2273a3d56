"""State resolution: one room state out of several, the same on every server. Pure: load first, then resolve.

spec: Matrix rooms/v1 (algorithm 1), rooms/v2 (2), rooms/v12 (2.1). Start with resolve.py; v1.py and v2.py have
the algorithms.
"""

from tripoint.core.graph import MissingEvents
from tripoint.core.state_res.resolve import missing_events, resolve

__all__ = ["MissingEvents", "missing_events", "resolve"]
