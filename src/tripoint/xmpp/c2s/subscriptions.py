"""Presence subscriptions as a state machine: RFC 6121 appendix A, one function per side. Pure.

A subscription is seen from each side on its own: `outbound` is what a user's stanza does to his roster item,
`inbound` what it does to the contact's. Storing, pushing and delivering is in presence.py.
"""

from dataclasses import dataclass, replace

from msgspec.structs import replace as replace_struct

from tripoint.accounts.ports import RosterItem


@dataclass(frozen=True, slots=True)
class Subscription:
    """`to`: we see the contact; `from_`: he sees us; `asked`: our request is pending; `asks`: his is.

    `approved`: his next request is granted without asking (RFC6121 3.4).
    """

    to: bool = False
    from_: bool = False
    asked: bool = False
    asks: bool = False
    approved: bool = False

    @property
    def name(self) -> str:
        """The value of the `subscription` attribute."""
        return {(False, False): "none", (True, False): "to", (False, True): "from", (True, True): "both"}[
            self.to, self.from_
        ]


NOTHING = Subscription()


def subscription_of(item: RosterItem | None) -> Subscription:
    if item is None:
        return NOTHING
    return Subscription(
        to=item.subscription in ("to", "both"),
        from_=item.subscription in ("from", "both"),
        asked=item.ask,
        asks=item.pending_in,
        approved=item.approved,
    )


def with_subscription(item: RosterItem | None, jid: str, state: Subscription) -> RosterItem:
    """The roster item with this state.

    One that is there only because of `asks` has no name at all, which keeps it hidden (users.is_shown); once it
    was shown it has at least an empty name and stays.
    """
    base = item if item is not None else RosterItem(jid, None, "none", False, ())
    shown = state.to or state.from_ or state.asked or state.approved
    return replace_struct(
        base,
        name="" if base.name is None and shown else base.name,
        subscription=state.name,
        ask=state.asked,
        pending_in=state.asks,
        approved=state.approved,
        request=base.request if state.asks else "",
        request_id=base.request_id if state.asks else None,
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """`state` afterwards; `pass_on`: route it to the contact, or deliver it to the user; `reply`: answer with
    this type on the user's behalf."""

    state: Subscription
    pass_on: bool
    reply: str | None = None


def outbound(kind: str, state: Subscription) -> Outcome:
    """What a user's own subscription stanza does. spec: RFC6121 A.2"""
    if kind == "subscribe":
        return Outcome(state if state.to else replace(state, asked=True), True)
    if kind == "unsubscribe":
        return Outcome(replace(state, to=False, asked=False), True)
    if kind == "subscribed":
        if state.asks:
            return Outcome(replace(state, asks=False, from_=True), True)
        return Outcome(state if state.from_ else replace(state, approved=True), False)
    changes = state.asks or state.from_
    return Outcome(replace(state, asks=False, from_=False, approved=False), changes)


def inbound(kind: str, state: Subscription) -> Outcome:
    """What a contact's subscription stanza does to the user's side. spec: RFC6121 A.3"""
    if kind == "subscribe":
        if state.from_:
            return Outcome(state, False, "subscribed")
        if state.approved:
            return Outcome(replace(state, from_=True, approved=False), False, "subscribed")
        return Outcome(replace(state, asks=True), not state.asks)
    if kind == "unsubscribe":
        if not (state.asks or state.from_):
            return Outcome(state, False)
        return Outcome(replace(state, asks=False, from_=False), True, "unsubscribed")
    if kind == "subscribed":
        if not state.asked or state.to:
            return Outcome(state, False)
        return Outcome(replace(state, asked=False, to=True), True)
    if not (state.asked or state.to):
        return Outcome(state, False)
    return Outcome(replace(state, asked=False, to=False), True)
