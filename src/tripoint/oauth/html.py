"""HTML that is made of values, so that no text becomes markup; and the frame around every page.

Pages have no script: they work everywhere, and there is nothing that could be made to run.
"""

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from tripoint.net.http import Header, Response

_VOID = frozenset({"input", "meta", "br", "hr"})

STYLE: Final = (files("tripoint.oauth") / "style.css").read_text("utf-8")

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


class Html(str):
    """Markup, as it goes out."""

    __slots__ = ()


Child = str | Html | None


def el(name: str, /, *children: Child, **attributes: str | bool | None) -> Html:
    """An element. Texts are escaped; attributes are named as in HTML, with `class_` and `for_` for class and for; True
    stands for one without a value, None and False for none."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """One after the other."""
    return Html("".join(_escaped(child) for child in children if child is not None))


def _escaped(child: str) -> str:
    return str(child) if isinstance(child, Html) else html.escape(child)


def _attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(value)}"'


def page(
    title: str,
    *children: Child,
    language: str,
    status: int = 200,
    headers: Sequence[Header] = (),
    form_targets: Sequence[str] = (),
    script: str | None = None,
) -> Response:
    """A whole page. `form_targets`: where else its forms lead in the end, as a Content-Security-Policy names it;
    `script`: what a specification wants to be run there."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="robots", content="noindex"),
        el("title", title),
        Html(f"<style>{STYLE}</style>"),
    )
    code = None if script is None else Html(f"<script>{script}</script>")
    body = el("body", el("main", el("h1", title), *children), code)
    text = f"<!doctype html>{el('html', head, body, lang=language)}"
    policy = [
        "default-src 'none'",
        f"style-src 'sha256-{_STYLE_HASH}'",
        " ".join(("form-action 'self'", *form_targets)),
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    if script is not None:
        policy.append(f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'")
    return Response(
        status,
        text.encode(),
        (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", "; ".join(policy).encode()),
            (b"x-frame-options", b"DENY"),
            (b"x-content-type-options", b"nosniff"),
            # Not no-referrer: with it, browsers say Origin: null of our own forms.
            (b"referrer-policy", b"same-origin"),
            (b"cache-control", b"no-store"),
            *headers,
        ),
    )


def redirect(location: str, headers: Sequence[Header] = ()) -> Response:
    """303: the browser goes on there with GET."""
    return Response(
        303,
        b"",
        (
            (b"location", location.encode()),
            (b"cache-control", b"no-store"),
            (b"referrer-policy", b"no-referrer"),
            *headers,
        ),
    )
