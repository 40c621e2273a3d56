"""Every way of saying no has its form on XMPP, and every form is one that RFC 6120 knows."""

from tripoint.accounts.refusals import AccountRefusal, AccountRefused, NodeRefusal, NodeRefused
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.refusals import (
    ACCOUNT_REFUSALS,
    CONDITIONS,
    NODE_REFUSALS,
    REFUSALS,
    Problem,
    problem_of,
    sasl_condition,
)
from tripoint.xmpp.wire import parse_fragment

TYPES = {"auth", "cancel", "continue", "modify", "wait"}
# spec: RFC6120 6.5
SASL = {
    "account-disabled",
    "credentials-expired",
    "encryption-required",
    "not-authorized",
    "temporary-auth-failure",
}


def test_the_sets_are_the_same():
    assert set(REFUSALS) == set(Refusal)
    assert set(ACCOUNT_REFUSALS) == set(AccountRefusal)
    assert set(NODE_REFUSALS) == set(NodeRefusal)


def test_each_is_a_stanza_error_with_its_text():
    refused = [
        *(Refused(r) for r in Refusal),
        *(AccountRefused(r) for r in AccountRefusal),
        *(NodeRefused(r) for r in NodeRefusal),
    ]
    for each in refused:
        (error,) = parse_fragment(problem_of(each).render("room@rooms.example"))
        condition = error.first()
        assert condition is not None and condition.name in CONDITIONS
        assert error.get("type") in TYPES and error.get("by") == "room@rooms.example"
        assert error.child_text("text", "urn:ietf:params:xml:ns:xmpp-stanzas") == each.text


def test_login_refusals_have_names_in_sasl():
    assert {sasl_condition(AccountRefused(r)) for r in AccountRefusal} <= SASL


def test_texts_cannot_break_out():
    xml = Problem("redirect", "</text><x/>", address="xmpp:a'b?join&c").render()
    (error,) = parse_fragment(xml)
    assert [child.name for child in error.elements()] == ["redirect", "text"]
    assert error.first().text == "xmpp:a'b?join&c"
