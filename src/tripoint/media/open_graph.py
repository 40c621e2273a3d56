"""What a page says of itself: its Open Graph tags, and what stands for those that it lacks. Pure.

Pages come from strangers: everything that is read has a bound, and nothing but texts and addresses comes out. Parsing
takes long for some of them, so it is done in a process that can be killed (page_worker.py).
spec: Matrix client-server-api GET /media/preview_url ("additional properties as per the OpenGraph protocol")
"""

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

# What is read of a page; the tags stand at its beginning.
PAGE_BYTES: Final = 1_048_576
# Elements that are looked at, tags that are taken, characters of one.
MAX_ELEMENTS: Final = 5000
MAX_TAGS: Final = 40
MAX_VALUE: Final = 1000
MAX_DESCRIPTION: Final = 500
MAX_URL: Final = 2048
MAX_PARAGRAPHS: Final = 50
MIN_PARAGRAPH: Final = 20
# The picture is named by the server, when it has it.
_PICTURES: Final = ("og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINKED: Final = "image_src"
_STAND_INS: Final = {
    "twitter:title": "og:title",
    "twitter:description": "og:description",
    "description": "og:description",
}
_PROPERTY: Final = re.compile(r"og:[a-z_]{1,30}(?::[a-z_]{1,30})?\Z")
_META_CHARSET: Final = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)


def read_page(data: bytes, charset: str | None, url: str) -> dict[str, Any]:
    """{"tags": Open Graph properties without pictures, "image": its address or None, "oembed": an address or None}.

    `charset`: what the answer's Content-Type says; `url`: where the page is. Never raises for what a page is like.
    """
    from lxml import etree

    text = decoded(data[:PAGE_BYTES], charset)
    parser = etree.HTMLParser(encoding="utf-8", recover=True, no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        root = None
    return _Reader(url).read(root) if root is not None else {"tags": {}, "image": None, "oembed": None}


class _Reader:
    """One page. The first of several tags of a name counts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._base: str | None = None
        self._tags: dict[str, str] = {}
        self._instead: dict[str, str] = {}
        self._images: dict[str, str] = {}
        self._oembed: str | None = None

    def read(self, root: Any) -> dict[str, Any]:
        for element in islice(root.iter("meta", "link", "title", "base"), MAX_ELEMENTS):
            match element.tag:
                case "meta":
                    self._read_meta(element)
                case "link":
                    self._read_link(element)
                case "title":
                    self._stand_in("og:title", clean("".join(_texts(element)), MAX_VALUE))
                case "base":
                    self._base = self._base or urljoin_or(self._url, element.get("href"))
        self._read_body(root)
        for name, value in self._instead.items():
            self._tags.setdefault(name, value)
        image = next((self._images[name] for name in (*_PICTURES, _LINKED) if name in self._images), None)
        base = self._base or self._url
        return {"tags": self._tags, "image": urljoin_or(base, image), "oembed": urljoin_or(base, self._oembed)}

    def _read_meta(self, element: Any) -> None:
        content = element.get("content")
        name = (element.get("property") or element.get("name") or "").strip().lower()
        if not content or not name:
            return
        if name in _PICTURES:
            self._images.setdefault(name, content)
        elif name in _STAND_INS:
            self._stand_in(_STAND_INS[name], clean(content, MAX_DESCRIPTION))
        elif _PROPERTY.match(name) and not name.startswith("og:image") and len(self._tags) < MAX_TAGS:
            value = clean(content, MAX_VALUE)
            if value:
                self._tags.setdefault(name, value)

    def _read_link(self, element: Any) -> None:
        rel, href = (element.get("rel") or "").lower().split(), element.get("href")
        if not href:
            return
        if "alternate" in rel and (element.get("type") or "").strip().lower() == "application/json+oembed":
            self._oembed = self._oembed or href
        elif "image_src" in rel:
            self._images.setdefault(_LINKED, href)

    def _read_body(self, root: Any) -> None:
        """What stands for a page that says nothing of itself: its first heading and its first words."""
        said: list[str] = []
        for element in islice(root.iter("h1", "p"), MAX_PARAGRAPHS):
            text = clean("".join(_texts(element)), MAX_DESCRIPTION)
            if element.tag == "h1":
                self._stand_in("og:title", text)
            elif len(text) >= MIN_PARAGRAPH and sum(map(len, said)) < MAX_DESCRIPTION:
                said.append(text)
        if said:
            self._stand_in("og:description", clean(" ".join(said), MAX_DESCRIPTION))

    def _stand_in(self, name: str, text: str) -> None:
        if text:
            self._instead.setdefault(name, text)


def _texts(element: Any) -> Iterator[str]:
    """The text in an element, as far as it is shown and wanted."""
    length = 0
    for node in element.iter():
        shown = node is element or node.tag not in ("script", "style", "template", "noscript")
        for text in (node.text if shown else None, None if node is element else node.tail):
            if text:
                yield text
                length += len(text)
        if length > 4 * MAX_VALUE:
            return


def clean(text: str, limit: int) -> str:
    """On one line, without what cannot be seen, and no longer than this."""
    seen = "".join(char if char.isprintable() else " " for char in text[: 8 * limit])
    joined = " ".join(seen.split())
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"


def urljoin_or(base: str, href: str | None) -> str | None:
    """A web address, from where it stands; None for what is none."""
    if not href or len(href) > MAX_URL:
        return None
    try:
        url = urljoin(base, href.strip())
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname and len(url) <= MAX_URL else None


def decoded(data: bytes, charset: str | None) -> str:
    """A page as text. What it is written in is said, as for browsers, by a byte order mark, the answer, or the page."""
    for mark, by_mark in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(by_mark, "replace")
    said = _META_CHARSET.search(data[:2048])
    for name in (charset, said[1].decode("ascii") if said else None):
        codec = _codec(name)
        if codec is not None:
            return data.decode(codec, "replace")
    try:
        # Cut off at the end, a character may be half there.
        return data.decode("utf-8") if len(data) < PAGE_BYTES else data[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _codec(name: str | None) -> str | None:
    """A codec for text by the name that the web has for it; None for what is none."""
    if not name:
        return None
    label = name.strip().strip("\"'").lower()
    if label in ("iso-8859-1", "latin1", "ascii", "us-ascii"):
        return "cp1252"  # what browsers take it for
    try:
        found = codecs.lookup(label)
    except (LookupError, ValueError):
        return None
    # Python has codecs that are none for text (zip, rot13).
    return found.name if getattr(found, "_is_text_encoding", True) else None
