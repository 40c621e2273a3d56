"""What of an event can be searched: the one text of it that is put into an index.  Pure.

spec: client-server search "room_events": bodies of messages, names and topics of rooms. Of an edit it is what the
message says from then on; what a reply quotes is not its own.
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import object_at, text_at
from tripoint.core.message import without_reply_fallback

BODY, NAME, TOPIC = "content.body", "content.name", "content.topic"
KEYS = {"m.room.message": BODY, "m.room.name": NAME, "m.room.topic": TOPIC}


def searchable_text(type_: str, content: JsonObject) -> str:
    """The text; empty where there is none, which redaction leaves too."""
    if type_ == "m.room.message":
        if object_at(content, "m.relates_to").get("rel_type") == "m.replace":
            content = {**content, **object_at(content, "m.new_content")}
        body = text_at(content, "body") or ""
        return without_reply_fallback(body) if body.startswith(">") else body
    if type_ == "m.room.name":
        return text_at(content, "name") or ""
    if type_ == "m.room.topic":
        return _topic(content)
    return ""


def _topic(content: JsonObject) -> str:
    """spec: client-server search: the plain text of m.topic as well."""
    forms = object_at(content, "m.topic").get("m.text")
    rich = [
        text_at(form, "body") or ""
        for form in (forms if isinstance(forms, list) else ())
        if isinstance(form, dict) and form.get("mimetype", "text/plain") == "text/plain"
    ]
    plain = text_at(content, "topic") or ""
    return " ".join(dict.fromkeys([plain, *rich])).strip()
