"""The part of a body that repeats what is answered. spec: XEP-0428 2.2, XEP-0461 3.1, XEP-0426"""

import pytest

from tripoint.core.relations import NOTHING, Relation, relation_in
from tripoint.xmpp.replies import Answer, without_fallback
from tripoint.xmpp.tables import CLIENT_NS
from tripoint.xmpp.wire import parse_fragment


@pytest.mark.parametrize(
    ("body", "region", "left"),
    [
        ("> hi\nyes", "start='0' end='5'", "yes"),
        ("> 🫖\nyes", "start='0' end='4'", "yes"),
        ("yes\n> hi", "start='3' end='8'", "yes"),
        ("> hi\n", "start='0' end='5'", "> hi\n"),  # nothing would be left
        ("yes", "start='0' end='9'", "yes"),
        ("yes", "start='2' end='1'", "yes"),
        ("yes", "start='-1' end='1'", "yes"),
        ("yes", "start='0' end='99999999999999999999'", "yes"),
        ("yes", "", "yes"),
    ],
)
def test_without_fallback(body: str, region: str, left: str) -> None:
    xml = f"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body {region}/></fallback>"
    (stanza,) = parse_fragment(f"<message xmlns='{CLIENT_NS}'>{xml}</message>")
    assert without_fallback(stanza, body) == left
    (other,) = parse_fragment(f"<message xmlns='{CLIENT_NS}'>{xml.replace('reply', 'other')}</message>")
    assert without_fallback(other, body) == body


def test_answer() -> None:
    assert Answer("$a").xml() == "<reply xmlns='urn:xmpp:reply:0' id='$a'/>"
    assert "<body start='0' end='5'/>" in Answer("$a", "x@y/z", "> hi\n").xml()


@pytest.mark.parametrize(
    "relation",
    [NOTHING, Relation("$a"), Relation("$a", "$r"), Relation("$a", "$r", falling_back=True), Relation(None, "$r")],
)
def test_relations_survive(relation: Relation) -> None:
    assert relation_in({"m.relates_to": relation.content()}) == relation


@pytest.mark.parametrize("relates_to", [1, {}, {"rel_type": "m.thread"}, {"m.in_reply_to": 3}, {"event_id": "$a"}])
def test_nonsense_is_no_relation(relates_to: object) -> None:
    assert relation_in({"m.relates_to": relates_to}) == NOTHING
