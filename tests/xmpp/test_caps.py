"""Entity capabilities: XEP-0115's own examples, and answers that are not what was promised."""

import pytest

from tripoint.xmpp.caps import Caps, caps_in, is_as_promised, verification, verification2, wanted_nodes
from tripoint.xmpp.wire import Element, parse_fragment

DISCO = "http://jabber.org/protocol/disco#info"
# spec: XEP-0115 5.2
EXODUS = (
    "<identity category='client' type='pc' name='Exodus 0.9.1'/><feature var='http://jabber.org/protocol/muc'/>"
    "<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>"
    "<feature var='http://jabber.org/protocol/disco#items'/>"
)
# spec: XEP-0115 5.3
FORM = (
    "<x xmlns='jabber:x:data' type='result'>"
    "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>"
    "<field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>"
    "<field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>"
    "<field var='software'><value>Psi</value></field><field var='software_version'><value>0.11</value></field></x>"
)
PSI = (
    "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>"
    "<identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>"
    "<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>"
    "<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>" + FORM
)


def query(inside: str) -> Element:
    return parse_fragment(f"<query xmlns='{DISCO}'>{inside}</query>")[0]


@pytest.mark.parametrize(
    ("inside", "ver"),
    [(EXODUS, "QgayPKawpkPSDYmwT/WM94uAlu0="), (PSI, "q07IKJEyjvHSyhy//CH0CxmKi8w=")],
)
def test_verification_strings_of_the_specification(inside: str, ver: str) -> None:
    assert verification(query(inside), "sha-1") == ver
    assert is_as_promised(query(inside), Caps("n", ver, "sha-1"))
    assert not is_as_promised(query(inside + "<feature var='more'/>"), Caps("n", ver, "sha-1"))
    assert not is_as_promised(query(inside), Caps("n", ver, "sha-256"))
    assert not is_as_promised(query(inside), Caps("n", ver, None))


# spec: XEP-0390 4.5.1
BOMBUS = "<identity category='client' name='BombusMod' type='mobile'/>" + "".join(
    [
        f"<feature var='{var}'/>"
        for var in (
            *("http://jabber.org/protocol/si", "http://jabber.org/protocol/bytestreams"),
            *("http://jabber.org/protocol/chatstates", DISCO, "http://jabber.org/protocol/disco#items"),
            *("urn:xmpp:ping", "jabber:iq:time", "jabber:iq:privacy", "jabber:iq:version"),
            *("http://jabber.org/protocol/rosterx", "urn:xmpp:time", "jabber:x:oob"),
            *("http://jabber.org/protocol/ibb", "http://jabber.org/protocol/si/profile/file-transfer"),
            *("urn:xmpp:receipts", "jabber:iq:roster", "jabber:iq:last"),
        )
    ]
)


# spec: XEP-0390 4.5.2
TKABBER = (
    "<identity category='client' name='Tkabber' type='pc' xml:lang='en'/>"
    "<identity category='client' name='Ткаббер' type='pc' xml:lang='ru'/>"
    "<x xmlns='jabber:x:data' type='result'>"
    "<field type='hidden' var='FORM_TYPE'><value>urn:xmpp:dataforms:softwareinfo</value></field>"
    "<field var='software'><value>Tkabber</value></field>"
    "<field var='software_version'><value>0.11.1-svn-20111216-mod (Tcl/Tk 8.6b2)</value></field>"
    "<field var='os'><value>Windows</value></field>"
    "<field var='os_version'><value>XP</value></field>"
    "</x>"
    + "".join(
        [
            f"<feature var='{var}'/>"
            for var in (
                "games:board",
                "http://jabber.org/protocol/activity",
                "http://jabber.org/protocol/activity+notify",
                "http://jabber.org/protocol/bytestreams",
                "http://jabber.org/protocol/chatstates",
                "http://jabber.org/protocol/commands",
                "http://jabber.org/protocol/disco#info",
                "http://jabber.org/protocol/disco#items",
                "http://jabber.org/protocol/evil",
                "http://jabber.org/protocol/feature-neg",
                "http://jabber.org/protocol/geoloc",
                "http://jabber.org/protocol/geoloc+notify",
                "http://jabber.org/protocol/ibb",
                "http://jabber.org/protocol/iqibb",
                "http://jabber.org/protocol/mood",
                "http://jabber.org/protocol/mood+notify",
                "http://jabber.org/protocol/rosterx",
                "http://jabber.org/protocol/si",
                "http://jabber.org/protocol/si/profile/file-transfer",
                "http://jabber.org/protocol/tune",
                "http://www.facebook.com/xmpp/messages",
                "http://www.xmpp.org/extensions/xep-0084.html#ns-metadata+notify",
                "jabber:iq:avatar",
                "jabber:iq:browse",
                "jabber:iq:dtcp",
                "jabber:iq:filexfer",
                "jabber:iq:ibb",
                "jabber:iq:inband",
                "jabber:iq:jidlink",
                "jabber:iq:last",
                "jabber:iq:oob",
                "jabber:iq:privacy",
                "jabber:iq:roster",
                "jabber:iq:time",
                "jabber:iq:version",
                "jabber:x:data",
                "jabber:x:event",
                "jabber:x:oob",
                "urn:xmpp:avatar:metadata+notify",
                "urn:xmpp:ping",
                "urn:xmpp:receipts",
                "urn:xmpp:time",
            )
        ]
    )
)


def test_the_second_form_of_the_specification() -> None:
    assert verification2(query(BOMBUS)) == "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8="
    assert verification2(query(TKABBER)) == "u79ZroNJbdSWhdSp311mddz44oHHPsEBntQ5b1jqBSY="
    # what has no form of its own in the hash cannot be hashed
    assert verification2(query(BOMBUS + "<other xmlns='urn:x'/>")) is None
    assert verification2(query(BOMBUS + "<x xmlns='jabber:x:data' type='result'/>")) is None


@pytest.mark.parametrize(
    "twice",
    ["<identity category='client' type='pc' name='Exodus 0.9.1'/>", "<feature var='http://jabber.org/protocol/caps'/>"],
)
def test_what_is_said_twice_is_ill_formed(twice: str) -> None:
    assert verification(query(EXODUS + twice), "sha-1") is None


def test_forms_that_do_not_count() -> None:
    """spec: XEP-0115 5.4 steps 3.5, 3.6"""
    assert verification(query(PSI + FORM), "sha-1") is None
    open_type = FORM.replace(" type='hidden'", "")
    assert verification(query(EXODUS + open_type), "sha-1") == verification(query(EXODUS), "sha-1")
    assert verification(query(EXODUS + "<x xmlns='jabber:x:data'/>"), "sha-1") == verification(query(EXODUS), "sha-1")


def test_what_a_presence_says() -> None:
    def said(c: str) -> Caps | None:
        return caps_in(parse_fragment(f"<presence>{c}</presence>")[0])

    ns = "xmlns='http://jabber.org/protocol/caps'"
    assert said(f"<c {ns} hash='sha-1' node='http://n' ver='v='/>") == Caps("http://n", "v=", "sha-1")
    assert said(f"<c {ns} node='http://n' ver='0.9'/>") == Caps("http://n", "0.9", None)
    assert said(f"<c {ns} ver='0.9'/>") is said(f"<c {ns} node='n'/>") is said("<c xmlns='x'/>") is said("") is None


def test_what_a_client_wants_to_hear_of() -> None:
    found = wanted_nodes(query("<feature var='a+notify'/><feature var='b'/><feature var='urn:c:0+notify'/>"))
    assert found == {"a", "urn:c:0"}
    many = "".join([f"<feature var='n{number}+notify'/>" for number in range(300)])
    assert len(wanted_nodes(query(many))) == 100
