"""What a message stanza says of itself, beside what it says: its type, language and subject, the parent of its thread,
and between two the client that it comes from. Kept with the event and given to clients of XMPP again. Pure.

spec: RFC6120 8.1.5 (xml:lang is not taken away), RFC6121 5.2.2-5.2.5; docs/mapping.md 10.0
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import object_at, text_at
from tripoint.core.vendor import V
from tripoint.xmpp.jid import InvalidJid, prepare_resource
from tripoint.xmpp.tables import CLIENT_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

KEY: Final = V + ".xmpp.stanza"
MAX_FACT: Final = 1024
NORMAL: Final = "normal"


class StanzaFacts(Struct, frozen=True):
    """`normal`: it is of this type, and not chat; `subject` beside a body, in a room it is no change of the room's.
    `resource`: of the sender, between two; `to`: the one that it was sent to."""

    normal: bool = False
    lang: str = ""
    subject: str = ""
    parent: str = ""
    resource: str = ""
    to: str = ""

    def content(self) -> JsonObject:
        """What stands in the event; nothing for what goes without saying."""
        facts: JsonObject = {"type": NORMAL} if self.normal else {}
        for name, value in (
            ("lang", self.lang),
            ("subject", self.subject),
            ("parent", self.parent),
            ("resource", self.resource),
            ("to", self.to),
        ):
            if value:
                facts[name] = value
        return {KEY: facts} if facts else {}

    @property
    def attributes(self) -> str:
        """For the element of the message: its language."""
        return f" xml:lang='{escape_attribute(self.lang)}'" if self.lang else ""

    @property
    def subject_xml(self) -> str:
        return f"<subject>{escape_text(self.subject)}</subject>" if self.subject else ""

    def thread_xml(self, thread: str) -> str:
        """<thread/>, with its parent. spec: RFC6121 5.2.5"""
        parent = f" parent='{escape_attribute(self.parent)}'" if self.parent else ""
        return f"<thread{parent}>{escape_text(thread)}</thread>"


NO_FACTS: Final = StanzaFacts()


def facts_between_two(stanza: Element, *, resource: str, to: str, stays: bool) -> StanzaFacts:
    """What a one-to-one message says of itself. Where it does not stay on this server, between which clients it goes is
    left out: all who read the event there, now or later, would learn where somebody is and by what. docs/mapping.md
    10.0"""
    normal = stanza.get("type") not in ("chat", "groupchat")
    facts = facts_of_stanza(stanza)
    return replace(facts, normal=normal, resource=resource if stays else "", to=to if stays else "")


def facts_of_stanza(stanza: Element) -> StanzaFacts:
    """What a message of a client says of itself; what is longer than anybody writes is left out."""
    thread, body = stanza.child("thread", CLIENT_NS), stanza.child("body", CLIENT_NS)
    own_lang = None if body is None else body.get("xml:lang")
    return StanzaFacts(
        lang=_short(own_lang or stanza.get("xml:lang")),
        subject=_short(stanza.child_text("subject", CLIENT_NS)),
        parent="" if thread is None else _short(thread.get("parent")),
    )


def facts_in(content: JsonObject) -> StanzaFacts:
    """What an event keeps of it, or the new content of an edit. The event may be anybody's."""
    facts = object_at(content, KEY) or object_at(object_at(content, "m.new_content"), KEY)
    if not facts:
        return NO_FACTS
    lang, subject, parent = (_short(text_at(facts, name)) for name in ("lang", "subject", "parent"))
    resource, to = (_resource(text_at(facts, name)) for name in ("resource", "to"))
    return StanzaFacts(text_at(facts, "type") == NORMAL, lang, subject, parent, resource, to)


def _resource(text: str | None) -> str:
    try:
        return prepare_resource(text) if text else ""
    except InvalidJid:
        return ""


def _short(text: str | None) -> str:
    return text if text is not None and len(text.encode()) <= MAX_FACT else ""
