"""Places for clients that show maps.  spec: XEP-0080 3, geo URIs"""

import pytest

from tripoint.xmpp.places import geoloc


def place(uri: object) -> str:
    return geoloc({"msgtype": "m.location", "geo_uri": uri})  # type: ignore[dict-item]  # whatever a client sent


def test_latitude_longitude_and_what_else_is_known() -> None:
    ns = "xmlns='http://jabber.org/protocol/geoloc'"
    assert place("geo:52.5,-13.4") == f"<geoloc {ns}><lat>52.5</lat><lon>-13.4</lon></geoloc>"
    known = "<accuracy>35</accuracy><alt>-2.5</alt><lat>1</lat><lon>2</lon>"
    assert place("geo:1,2,-2.5;crs=wgs84;u=35") == f"<geoloc {ns}>{known}</geoloc>"


@pytest.mark.parametrize("uri", ["geo:1", "geo:1,2;crs=nad27", "geo:<a>,2", "52.5,13.4", "", None, 5, "geo:١,٢"])
def test_what_cannot_be_read_is_left_out(uri: object) -> None:
    assert place(uri) == ""
    assert geoloc({"msgtype": "m.text", "geo_uri": "geo:1,2"}) == ""
