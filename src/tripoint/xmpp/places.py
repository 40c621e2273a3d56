"""Where something is: the place of a location message for clients that show maps. Pure.

spec: XEP-0080 3; geo URIs; Matrix m.location; docs/mapping.md 10.11
"""

import re
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import text_at

_NUMBER: Final = r"-?\d{1,3}(?:\.\d{1,12})?"
_GEO: Final = re.compile(rf"geo:({_NUMBER}),({_NUMBER})(?:,(-?\d{{1,6}}(?:\.\d{{1,12}})?))?((?:;[^;]+)*)", re.ASCII)
_ACCURACY: Final = re.compile(r";u=(\d{1,9}(?:\.\d{1,9})?)(?:;|$)", re.ASCII)


def geoloc(content: JsonObject) -> str:
    """<geoloc/> for a location message whose place can be read; "" for everything else."""
    if content.get("msgtype") != "m.location":
        return ""
    found = _GEO.fullmatch(text_at(content, "geo_uri") or "")
    # Another system of coordinates is nothing that latitude and longitude could say.
    if found is None or ";crs=" in found[4].replace(";crs=wgs84", ""):
        return ""
    lat, lon, alt = found[1], found[2], found[3]
    accuracy = _ACCURACY.search(found[4])
    xml = f"<lat>{lat}</lat><lon>{lon}</lon>"
    if alt is not None:
        xml = f"<alt>{alt}</alt>{xml}"
    if accuracy is not None:
        xml = f"<accuracy>{accuracy[1]}</accuracy>{xml}"
    return f"<geoloc xmlns='http://jabber.org/protocol/geoloc'>{xml}</geoloc>"
