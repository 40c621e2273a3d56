"""Every cell of the tables in RFC 6121 appendix A."""

import pytest

from tripoint.xmpp.c2s.subscriptions import Subscription, inbound, outbound

STATES = {
    "None": Subscription(),
    "None + Pending Out": Subscription(asked=True),
    "None + Pending In": Subscription(asks=True),
    "None + Pending Out+In": Subscription(asked=True, asks=True),
    "To": Subscription(to=True),
    "To + Pending In": Subscription(to=True, asks=True),
    "From": Subscription(from_=True),
    "From + Pending Out": Subscription(from_=True, asked=True),
    "Both": Subscription(to=True, from_=True),
}
SAME = "no state change"

# spec: RFC6121 A.2, tables 2-5: existing state: (route?, new state)
OUTBOUND = {
    "subscribe": {
        "None": (True, "None + Pending Out"),
        "None + Pending Out": (True, SAME),
        "None + Pending In": (True, "None + Pending Out+In"),
        "None + Pending Out+In": (True, SAME),
        "To": (True, SAME),
        "To + Pending In": (True, SAME),
        "From": (True, "From + Pending Out"),
        "From + Pending Out": (True, SAME),
        "Both": (True, SAME),
    },
    "unsubscribe": {
        "None": (True, SAME),
        "None + Pending Out": (True, "None"),
        "None + Pending In": (True, SAME),
        "None + Pending Out+In": (True, "None + Pending In"),
        "To": (True, "None"),
        "To + Pending In": (True, "None + Pending In"),
        "From": (True, SAME),
        "From + Pending Out": (True, "From"),
        "Both": (True, "From"),
    },
    "subscribed": {
        "None": (False, "pre-approval"),
        "None + Pending Out": (False, "pre-approval"),
        "None + Pending In": (True, "From"),
        "None + Pending Out+In": (True, "From + Pending Out"),
        "To": (False, "pre-approval"),
        "To + Pending In": (True, "Both"),
        "From": (False, SAME),
        "From + Pending Out": (False, SAME),
        "Both": (False, SAME),
    },
    "unsubscribed": {
        "None": (False, SAME),
        "None + Pending Out": (False, SAME),
        "None + Pending In": (True, "None"),
        "None + Pending Out+In": (True, "None + Pending Out"),
        "To": (False, SAME),
        "To + Pending In": (True, "To"),
        "From": (True, "None"),
        "From + Pending Out": (True, "None + Pending Out"),
        "Both": (True, "To"),
    },
}
# spec: RFC6121 A.3, tables 6-9: existing state: (deliver?, new state)
INBOUND = {
    "subscribe": {
        "None": (True, "None + Pending In"),
        "None + Pending Out": (True, "None + Pending Out+In"),
        "None + Pending In": (False, SAME),
        "None + Pending Out+In": (False, SAME),
        "To": (True, "To + Pending In"),
        "To + Pending In": (False, SAME),
        "From": (False, SAME),
        "From + Pending Out": (False, SAME),
        "Both": (False, SAME),
    },
    "unsubscribe": {
        "None": (False, SAME),
        "None + Pending Out": (False, SAME),
        "None + Pending In": (True, "None"),
        "None + Pending Out+In": (True, "None + Pending Out"),
        "To": (False, SAME),
        "To + Pending In": (True, "To"),
        "From": (True, "None"),
        "From + Pending Out": (True, "None + Pending Out"),
        "Both": (True, "To"),
    },
    "subscribed": {
        "None": (False, SAME),
        "None + Pending Out": (True, "To"),
        "None + Pending In": (False, SAME),
        "None + Pending Out+In": (True, "To + Pending In"),
        "To": (False, SAME),
        "To + Pending In": (False, SAME),
        "From": (False, SAME),
        "From + Pending Out": (True, "Both"),
        "Both": (False, SAME),
    },
    "unsubscribed": {
        "None": (False, SAME),
        "None + Pending Out": (True, "None"),
        "None + Pending In": (False, SAME),
        "None + Pending Out+In": (True, "None + Pending In"),
        "To": (True, "None"),
        "To + Pending In": (True, "None + Pending In"),
        "From": (False, SAME),
        "From + Pending Out": (True, "From"),
        "Both": (True, "From"),
    },
}


def cells(tables):
    return [(kind, before, *cell) for kind, rows in tables.items() for before, cell in rows.items()]


def expected(before: Subscription, after: str) -> Subscription:
    if after == SAME:
        return before
    if after == "pre-approval":
        return Subscription(before.to, before.from_, before.asked, before.asks, True)
    return STATES[after]


@pytest.mark.parametrize(("kind", "before", "route", "after"), cells(OUTBOUND))
def test_outbound(kind, before, route, after):
    outcome = outbound(kind, STATES[before])
    assert (outcome.pass_on, outcome.state) == (route, expected(STATES[before], after))


@pytest.mark.parametrize(("kind", "before", "deliver", "after"), cells(INBOUND))
def test_inbound(kind, before, deliver, after):
    outcome = inbound(kind, STATES[before])
    assert (outcome.pass_on, outcome.state) == (deliver, expected(STATES[before], after))


def test_auto_replies():
    # spec: RFC6121 A.3.1 [1] [2], A.3.2 [1], 3.4.2
    assert inbound("subscribe", STATES["From"]).reply == "subscribed"
    assert inbound("unsubscribe", STATES["Both"]).reply == "unsubscribed"
    approved = inbound("subscribe", Subscription(approved=True))
    assert (approved.reply, approved.state) == ("subscribed", STATES["From"])
