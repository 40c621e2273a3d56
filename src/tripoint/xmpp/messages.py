"""A message stanza as the content of a room's message, and back. Pure.

spec: docs/mapping.md 10.0-10.6, 10.9, 11.6-11.8; XEP-0245 (/me), XEP-0393, XEP-0071 (reading only).
What the mapping does not know is kept as XML with the event and given to XMPP readers again; elements that only
a room or a server may write are taken out on both ways. Who gets it, and from which address: muc/, c2s/direct.py.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tripoint.core.attachment import attachment_in
from tripoint.core.canonical_json import JsonObject
from tripoint.core.in_words import in_words
from tripoint.core.json_view import object_at, text_at
from tripoint.core.message import Mentions, MessageKind, edit_in, message_content, view_message
from tripoint.core.message_profile import KEYS, profile_name
from tripoint.core.message_profile import without_fallback as without_profile
from tripoint.core.relations import NOTHING, Relation, relation_in
from tripoint.core.richtext import RichText, from_html, from_plain, mentioned_users, with_line_feeds
from tripoint.core.vendor import V
from tripoint.xmpp.fastening import is_forged
from tripoint.xmpp.files import UrlOf, file_inside
from tripoint.xmpp.places import geoloc
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.render import body as render_body
from tripoint.xmpp.replies import Answer, without_fallback
from tripoint.xmpp.spoilers import hidden, hint_in, spoiler_xml
from tripoint.xmpp.stanza_facts import KEY as FACTS_KEY
from tripoint.xmpp.stanza_facts import StanzaFacts, facts_in
from tripoint.xmpp.styling import Naming, parse_styling, render_plain, render_styling
from tripoint.xmpp.tables import (
    CARBONS_NS,
    CLIENT_NS,
    CONFERENCE_NS,
    CORRECT_NS,
    DELAY_NS,
    FALLBACK_NS,
    HATS_NS,
    MENTIONS_NS,
    MODERATE_NS,
    MUC_ADMIN_NS,
    MUC_NS,
    MUC_OWNER_NS,
    MUC_USER_NS,
    NOTICE_NS,
    OCCUPANT_ID_NS,
    OLD_MODERATE_NS,
    OLD_RETRACT_NS,
    OOB_NS,
    REACTIONS_NS,
    REFERENCE_NS,
    REPLY_NS,
    RETRACT_NS,
    SFS_NS,
    SPOILER_NS,
    STANZA_ID_NS,
    STYLING_NS,
)
from tripoint.xmpp.wire import Element, StreamError, parse_fragment, render

PAYLOAD_KEY: Final = V + ".xmpp.payload"
THREAD_KEY: Final = V + ".xmpp.thread"
# docs/mapping.md 10.0: what is kept beside the text is at most 8 KiB.
MAX_PAYLOAD_BYTES: Final = 8192
# Of a message without a text, and of one that is encrypted, which may say so in a text: there is a key in it for each
# client of everybody in the room, so this is for some hundred people. An event has at most 64 KiB.
MAX_BARE_BYTES: Final = 49_152
OMEMO_NAMESPACES: Final = frozenset({"eu.siacs.conversations.axolotl", "urn:xmpp:omemo:1", "urn:xmpp:omemo:2"})
OPENPGP_NS: Final = "urn:xmpp:openpgp:0"
# What a part of a text stands for that XMPP has no element for (docs/mapping.md 10.14).
PROFILE: Final = KEYS[0]
_XHTML_IM_NS: Final = "http://jabber.org/protocol/xhtml-im"
_XHTML_NS: Final = "http://www.w3.org/1999/xhtml"
_ADDRESS_NS: Final = "http://jabber.org/protocol/address"
_LEGACY_DELAY_NS: Final = "jabber:x:delay"

# Written by rooms and servers alone, or said in the text already: never kept, never let through.
_NOT_PAYLOAD: Final = frozenset(
    {
        CARBONS_NS,
        CLIENT_NS,
        CONFERENCE_NS,
        CORRECT_NS,
        DELAY_NS,
        HATS_NS,
        MUC_NS,
        MUC_ADMIN_NS,
        MUC_OWNER_NS,
        MUC_USER_NS,
        MODERATE_NS,
        NOTICE_NS,
        MENTIONS_NS,
        OCCUPANT_ID_NS,
        OLD_MODERATE_NS,
        OLD_RETRACT_NS,
        REACTIONS_NS,
        REPLY_NS,
        RETRACT_NS,
        STYLING_NS,
        _ADDRESS_NS,
        _LEGACY_DELAY_NS,
        _XHTML_IM_NS,
    }
)
_EMOTE: Final = "/me "
_INVISIBLE: Final = "\u200b"


def is_payload(element: Element) -> bool:
    """Whether a child of a message is relayed as it is (origin-id is, stanza-id is not)."""
    if element.namespace == STANZA_ID_NS:
        return element.name == "origin-id"
    if element.namespace == FALLBACK_NS:
        return element.get("for") not in (REPLY_NS, PROFILE)
    if is_forged(element):
        return False
    return element.namespace not in _NOT_PAYLOAD and element.namespace != ""


def _is_translation(element: Element) -> bool:
    """Whether this is a text in a language that it names: the first one is the message. spec: RFC6121 5.2.3"""
    return element.name == "body" and element.namespace == CLIENT_NS and bool(element.get("xml:lang"))


def text_of(stanza: Element, relation: Relation = NOTHING) -> tuple[MessageKind, RichText] | None:
    """Kind and text of a message with a body; None for one without. What is answered is not said again."""
    found, hint = _text_of(stanza, relation), hint_in(stanza)
    return found if found is None or hint is None else (found[0], hidden(found[1], hint))


def _text_of(stanza: Element, relation: Relation) -> tuple[MessageKind, RichText] | None:
    text = stanza.child_text("body", CLIENT_NS)
    if text is None:
        return None
    whole = text
    if relation.answers is not None:
        text = without_fallback(stanza, text)
    kind = MessageKind.TEXT
    if stanza.child("notice", NOTICE_NS) is not None:
        kind = MessageKind.NOTICE
    if text.startswith(_EMOTE):
        # spec: XEP-0245 2: exactly these four characters at the beginning
        kind, text = MessageKind.EMOTE, text[len(_EMOTE) :]
    html = stanza.child("html", _XHTML_IM_NS)
    marked_up = None if html is None else html.child("body", _XHTML_NS)
    if marked_up is not None and kind is not MessageKind.EMOTE and text == whole:
        return kind, from_html(render(marked_up, _XHTML_NS).decode())
    if stanza.child("unstyled", STYLING_NS) is not None:
        return kind, from_plain(text)
    return kind, parse_styling(text)


def file_content(stanza: Element, file: JsonObject, caption: str, relation: Relation = NOTHING) -> JsonObject:
    """The content of the message for a stanza that is a file (media.ports.Received). What stands beside the address
    says the same, but for a caption."""
    content = dict(file)
    if caption:
        said = message_content(MessageKind.TEXT, parse_styling(caption))
        content |= {key: value for key, value in said.items() if key != "msgtype"}
    if relation is not NOTHING:
        content["m.relates_to"] = relation.content()
    thread = stanza.child_text("thread", CLIENT_NS) if relation.thread is None else None
    if thread:
        content[THREAD_KEY] = thread[:MAX_PAYLOAD_BYTES]
    kept = "".join([render(child).decode() for child in stanza.elements() if is_payload(child) and _is_beside(child)])
    if kept:
        _check_size(kept, "", MAX_PAYLOAD_BYTES)
        content[PAYLOAD_KEY] = kept
    return content


def _is_beside(element: Element) -> bool:
    """Whether what stands beside a file says something else than which file it is."""
    if element.namespace == FALLBACK_NS:
        return element.get("for") not in (SFS_NS, OOB_NS)
    if element.namespace == REFERENCE_NS and element.get("type") == "data":
        return False  # XEP-0385: the same once more, with the address that is for its writer
    return element.namespace not in (SFS_NS, OOB_NS)


def _check_size(kept: str, thread: str, most: int) -> None:
    if len(kept.encode()) + len(thread) > most:
        raise Problem("policy-violation", f"The message carries more than {most // 1024} KiB beside its text")


def _is_sealed(element: Element) -> bool:
    return element.namespace in OMEMO_NAMESPACES or element.namespace == OPENPGP_NS


def content_of(stanza: Element, kind: MessageKind, text: RichText, relation: Relation = NOTHING) -> JsonObject:
    """The content of the m.room.message for a stanza with this text.

    Raises Problem where what would be kept beside the text is too large.
    """
    content = message_content(kind, text, Mentions(mentioned_users(text)))
    thread = stanza.child_text("thread", CLIENT_NS) if relation.thread is None else None
    if relation is not NOTHING:
        content["m.relates_to"] = relation.content()
    if thread:
        content[THREAD_KEY] = thread
    if len(stanza.children) > 1:
        # That it is hidden is said in the text.
        beside = [child for child in stanza.elements() if is_payload(child) and child.namespace != SPOILER_NS]
        bodies = [child for child in stanza.elements() if child.name == "body" and child.namespace == CLIENT_NS]
        beside += filter(_is_translation, bodies[1:])
        kept = "".join([render(child).decode() for child in beside])
        if kept:
            content[PAYLOAD_KEY] = kept
        _check_size(kept, thread or "", MAX_BARE_BYTES if any(map(_is_sealed, beside)) else MAX_PAYLOAD_BYTES)
    return content


Calls = Callable[[Mentions, str], str]
# What the content of a message without formatting, relation, file or place is made of.
_OF_WORDS: Final = frozenset({"body", "m.mentions", "msgtype", PAYLOAD_KEY, FACTS_KEY})


def is_words(content: JsonObject) -> bool:
    """Whether a message is words and nothing else, as most are: what else it might be need not be asked."""
    return content.get("msgtype") == "m.text" and content.keys() <= _OF_WORDS and type(content.get("body")) is str


def inside_of(
    content: JsonObject,
    naming: Naming,
    answer: Answer | None = None,
    url_of: UrlOf | None = None,
    *,
    whole: bool = True,
    calls: Calls | None = None,
) -> str | None:
    """What stands inside a message stanza that says this content; None where it says nothing.

    `answer` is what it answers, for readers to see. `url_of` gives the addresses of files. Without `whole` the caption
    of a file is left out: it is caption_of().
    `calls` says who is meant, given the text as readers have it.
    Of an edit the new content is said; the <replace/> that goes with it is corrections.py's.
    """
    if answer is None and calls is None and is_words(content):
        return words_inside(content)
    edit = edit_in(content)
    relation, facts = relation_in(content), facts_in(content)
    if edit is not None:
        content = edit[1]
    name = profile_name(content)
    if name is not None:
        content = without_profile(content, name)
    content = in_words(content)
    view = view_message(content)
    attachment = attachment_in(content)
    if attachment is not None:
        caption = render_styling(view.text, naming).body if view is not None and attachment.has_caption else ""
        url = None if url_of is None else url_of(attachment)
        small = attachment.thumbnail
        thumbnail = None if url_of is None or small is None else url_of(small.as_file())
        xml = facts.subject_xml + file_inside(attachment, url, caption if whole else "", thumbnail)
        # The body has to be the address alone, so what is answered is not quoted before it.
        xml += _around(content, relation, None if answer is None else replace(answer, quoted=""), facts)
        return xml + _payload_of(content)
    if view is None:
        # docs/mapping.md 10.0: a message without a text, for clients of XMPP alone
        payload = _payload_of(content)
        return facts.subject_xml + payload + _around(content, relation, answer, facts) if payload else None
    styled = render_styling(view.text, naming)
    text = styled.body
    if name is not None:
        text = f"{name}: {text}"
    if view.kind is MessageKind.EMOTE:
        text = _EMOTE + text
    elif text.startswith(_EMOTE):
        text = _INVISIBLE + text
    if answer is not None and view.kind is MessageKind.EMOTE:
        # spec: XEP-0245 2: nothing may stand before the /me
        answer = replace(answer, quoted="")
    if answer is not None:
        text = answer.quoted + text
    xml = facts.subject_xml + render_body(text, unstyled=styled.unstyled, notice=view.kind is MessageKind.NOTICE)
    if name is not None and view.kind is not MessageKind.EMOTE:
        xml += _profile_fallback(name, 0 if answer is None else len(answer.quoted))
    if calls is not None and (view.mentions.user_ids or view.mentions.room):
        xml += calls(view.mentions, text)
    xml += spoiler_xml(view.text) + geoloc(content)
    return xml + _around(content, relation, answer, facts) + _payload_of(content)


def words_inside(content: JsonObject) -> str:
    """inside_of() for what is_words()."""
    styled = render_plain(with_line_feeds(str(content["body"])))
    text = _INVISIBLE + styled.body if styled.body.startswith(_EMOTE) else styled.body
    xml = render_body(text, unstyled=styled.unstyled)
    if "subject" in object_at(content, FACTS_KEY):
        xml = facts_in(content).subject_xml + xml
    return xml + _payload_of(content) if PAYLOAD_KEY in content else xml


def _profile_fallback(name: str, start: int) -> str:
    """Which part of the body says under whose name it is. spec: XEP-0428 2.2; docs/mapping.md 10.14"""
    where = f"<body start='{start}' end='{start + len(name) + 2}'/>"
    return f"<fallback xmlns='{FALLBACK_NS}' for='{PROFILE}'>{where}</fallback>"


def caption_of(content: JsonObject, naming: Naming) -> str | None:
    """What stands inside the message with the caption of a file, behind the one with the file; None without one.

    spec: docs/mapping.md 12.1
    """
    edit = edit_in(content)
    if edit is not None:
        content = edit[1]
    attachment = attachment_in(content)
    if attachment is None or not attachment.has_caption:
        return None
    view = view_message(content)
    if view is None:
        return None
    styled = render_styling(view.text, naming)
    return render_body(styled.body, unstyled=styled.unstyled)


def _around(content: JsonObject, relation: Relation, answer: Answer | None, facts: StanzaFacts) -> str:
    """What a message refers to."""
    xml = "" if answer is None else answer.xml()
    thread = relation.thread or text_at(content, THREAD_KEY)
    if thread is not None:
        xml += facts.thread_xml(thread)
    return xml


def _payload_of(content: JsonObject) -> str:
    """Payload from an event, as it may be sent: the event may be anybody's, so it is read with the wire's rules."""
    payload = text_at(content, PAYLOAD_KEY)
    if payload is None or len(payload) > MAX_BARE_BYTES:
        return ""
    try:
        elements = parse_fragment(payload)
    except StreamError:
        return ""
    return "".join([render(one).decode() for one in elements if is_payload(one) or _is_translation(one)])
