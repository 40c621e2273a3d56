"""Messages without a text: whether they are kept, and as what. Pure.

What is to be found in archives becomes an event of an own type that only XMPP shows: encrypted messages, fastenings,
files without an address yet, and whatever asks for it by a hint. All else is told to those who are there.
spec: XEP-0334 4; XEP-0313 6.1; XEP-0384 7.1; XEP-0447 3.1; XEP-0422; docs/mapping.md 10.0.
"""

from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.in_words import is_spoken
from tripoint.core.relations import NOTHING, Relation
from tripoint.core.sealed import BARE, SEALED_BY
from tripoint.xmpp.messages import (
    MAX_BARE_BYTES,
    OMEMO_NAMESPACES,
    OPENPGP_NS,
    PAYLOAD_KEY,
    THREAD_KEY,
    is_payload,
)
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import CLIENT_NS, EME_NS, FASTEN_NS, HINTS_NS, SFS_NS
from tripoint.xmpp.wire import Element, render

MAX_THREAD: Final = 1024
# Namespaces of what is a message by itself.
_KEPT: Final = frozenset(
    {
        *OMEMO_NAMESPACES,
        OPENPGP_NS,
        FASTEN_NS,
        SFS_NS,
        "urn:xmpp:esfs:0",
        "urn:xmpp:stickers:0",
    }
)


def is_kept(stanza: Element) -> bool:
    """Whether a message without a text is for the archive, too. spec: XEP-0334 4.1, 4.2, 4.4"""
    if stanza.child("no-store", HINTS_NS) is not None or stanza.child("no-permanent-store", HINTS_NS) is not None:
        return False
    return any(
        child.namespace in _KEPT or (child.name, child.namespace) == ("store", HINTS_NS)
        for child in stanza.elements()
        if is_payload(child)
    )


def payload_of(stanza: Element) -> str:
    """Everything that a message carries beside its text, as it is relayed."""
    return "".join([render(child).decode() for child in stanza.elements() if is_payload(child)])


def bare_content(stanza: Element, relation: Relation = NOTHING) -> JsonObject:
    """The content of the event for a message without a text. Raises Problem where it is too large."""
    payload = payload_of(stanza)
    if len(payload.encode()) > MAX_BARE_BYTES:
        raise Problem("policy-violation", f"A message without a text holds at most {MAX_BARE_BYTES} bytes here")
    content: JsonObject = {PAYLOAD_KEY: payload}
    if (means := _sealed_by(stanza)) is not None:
        content[SEALED_BY] = means
    thread = stanza.child_text("thread", CLIENT_NS) if relation.thread is None else None
    if thread:
        content[THREAD_KEY] = thread[:MAX_THREAD]
    if relation is not NOTHING:
        content["m.relates_to"] = relation.content()
    return content


def _sealed_by(stanza: Element) -> str | None:
    """The means by which a message is encrypted, if it says something.

    spec: XEP-0380 3.1; XEP-0384 5.5.3: what has no payload is about keys alone
    """
    for child in stanza.elements():
        if child.namespace in OMEMO_NAMESPACES:
            told = child.name == "encrypted" and child.child("payload", child.namespace) is not None
            return child.namespace if told else None
        if child.namespace == OPENPGP_NS:
            return child.namespace
    hint = stanza.child("encryption", EME_NS)
    return None if hint is None else (hint.get("namespace") or None)


def is_said(event: Event) -> bool:
    """Whether an event is a message to clients of XMPP: one that says something, or one for them alone."""
    return is_spoken(event) or (event.type == BARE and event.state_key is None)
