"""Entity capabilities: what a presence says of a client's features, and whether an answer is what was promised. Pure.

spec: XEP-0115 4, 5; XEP-0390 4 (of this server alone); XEP-0163 4.2, XEP-0060 9.2 (features ending in +notify). Read
next: pep/capabilities.py.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from tripoint.xmpp.tables import CAPS_NS, CORRECT_NS, DATA_FORMS_NS, DISCO_INFO_NS, REACTIONS_NS, RETRACT_NS
from tripoint.xmpp.wire import Element

NOTIFY: Final = "+notify"
SHOWN: Final = frozenset({CORRECT_NS, REACTIONS_NS, RETRACT_NS})
# spec: XEP-0115 5.1 step 9; names of the IANA registry of textual hash function names
_HASHES: Final = {"md5": "md5", "sha-1": "sha1", "sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
# A client that wants to hear of more nodes than this is none.
MAX_WANTED: Final = 100


@dataclass(frozen=True, slots=True)
class Caps:
    """The <c/> of a presence. `hash` None: the form from before 2008, of which nothing can be checked."""

    node: str
    ver: str
    hash: str | None


def caps_in(presence: Element) -> Caps | None:
    """What a presence says about its sender's features. spec: XEP-0115 4"""
    c = presence.child("c", CAPS_NS)
    if c is None or not c.get("node") or not c.get("ver"):
        return None
    return Caps(c.get("node") or "", c.get("ver") or "", c.get("hash"))


def can_check(caps: Caps) -> bool:
    """Whether the hash is one that is known here. spec: XEP-0115 5.4 steps 1, 2"""
    return caps.hash in _HASHES


def wanted_nodes(query: Element) -> frozenset[str]:
    """The nodes that a client wants to hear of. spec: XEP-0060 9.2"""
    wanted = [feature.removesuffix(NOTIFY) for feature in _features(query) if feature.endswith(NOTIFY)]
    return frozenset(wanted[:MAX_WANTED])


def understood(query: Element) -> frozenset[str]:
    """Which of the features that change how a message looks a client has. docs/mapping.md 22.5"""
    return frozenset(_features(query)) & SHOWN


def is_as_promised(query: Element, caps: Caps) -> bool:
    """Whether a disco#info result is well-formed and hashes to the verification string. spec: XEP-0115 5.4 step 3"""
    return can_check(caps) and verification(query, caps.hash or "") == caps.ver


def verification(query: Element, hash_name: str) -> str | None:
    """The verification string of a disco#info result; None where it is ill-formed. spec: XEP-0115 5.1, 5.4"""
    identities = [
        "/".join(identity.get(key) or "" for key in ("category", "type", "xml:lang", "name"))
        for identity in query.elements()
        if (identity.name, identity.namespace) == ("identity", DISCO_INFO_NS)
    ]
    features = _features(query)
    forms: dict[str, str] = {}
    for form in query.elements():
        if (form.name, form.namespace) != ("x", DATA_FORMS_NS):
            continue
        found = _form(form)
        if found is None:
            continue
        if found[0] in forms:
            return None
        forms[found[0]] = found[1]
    if len(set(identities)) != len(identities) or len(set(features)) != len(features):
        return None
    parts = [f"{one}<" for one in [*_sorted(identities), *_sorted(features)]]
    text = "".join(parts) + "".join([forms[name] for name in _sorted(list(forms))])
    return base64.b64encode(hashlib.new(_HASHES[hash_name], text.encode()).digest()).decode()


def verification2(query: Element) -> str | None:
    """The SHA-256 of a disco#info result as XEP-0390 4.1 has it; None where it is ill-formed."""
    features, identities, forms = [], [], []
    for child in query.elements():
        if (child.name, child.namespace) == ("feature", DISCO_INFO_NS):
            features.append(f"{child.get('var') or ''}\x1f".encode())
        elif (child.name, child.namespace) == ("identity", DISCO_INFO_NS):
            keys = ("category", "type", "xml:lang", "name")
            identities.append("".join([f"{child.get(key) or ''}\x1f" for key in keys]).encode() + b"\x1e")
        elif (child.name, child.namespace) == ("x", DATA_FORMS_NS) and _form(child) is not None:
            forms.append(_form2(child))
        else:
            return None
    parts = (b"".join(sorted(one)) + b"\x1c" for one in (features, identities, forms))
    return base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode()


def _form2(form: Element) -> bytes:
    fields = []
    for field in form.elements():
        if (field.name, field.namespace) == ("field", DATA_FORMS_NS):
            values = [f"{value.text}\x1f".encode() for value in field.elements() if value.name == "value"]
            fields.append(f"{field.get('var') or ''}\x1f".encode() + b"".join(sorted(values)) + b"\x1e")
    return b"".join(sorted(fields)) + b"\x1d"


def _features(query: Element) -> list[str]:
    return [
        feature.get("var") or ""
        for feature in query.elements()
        if (feature.name, feature.namespace) == ("feature", DISCO_INFO_NS)
    ]


def _form(form: Element) -> tuple[str, str] | None:
    """(FORM_TYPE, the form's part of the string); None for a form to be ignored. spec: XEP-0115 5.4 step 3.6"""
    type_ = None
    fields: list[tuple[str, list[str]]] = []
    for field in form.elements():
        if (field.name, field.namespace) != ("field", DATA_FORMS_NS):
            continue
        values = [value.text for value in field.elements() if value.name == "value"]
        if field.get("var") != "FORM_TYPE":
            fields.append((field.get("var") or "", values))
        elif field.get("type") == "hidden" and values:
            type_ = values[0]
    if type_ is None:
        return None
    said = [
        f"{name}<" + "".join([f"{value}<" for value in _sorted(values)])
        for name, values in sorted(fields, key=lambda field: field[0].encode())
    ]
    return type_, f"{type_}<" + "".join(said)


def _sorted(texts: list[str]) -> list[str]:
    """spec: XEP-0115 5.1: i;octet"""
    return sorted(texts, key=str.encode)
