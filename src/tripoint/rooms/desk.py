"""What the administrators' front end holds of rooms: one value, as runtime wires it."""

from dataclasses import dataclass

from tripoint.rooms.closing import Closing
from tripoint.rooms.deleting import Deleting
from tripoint.rooms.inspection import Inspection
from tripoint.rooms.jobs import Jobs
from tripoint.rooms.own_limits import OwnLimits
from tripoint.rooms.purging import Purging


@dataclass(frozen=True, slots=True)
class Desk:
    inspection: Inspection
    jobs: Jobs
    own_limits: OwnLimits
    closing: Closing
    deleting: Deleting
    purging: Purging
