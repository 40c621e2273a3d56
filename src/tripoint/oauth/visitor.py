"""One request of a browser to a page: who is logged in there, what was typed, whether the form is ours.

A form is ours if it carries the token that was made for this browser, and comes from this origin: neither another site
nor a page that is older than the log-in can make anybody do anything.
"""

import base64
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from tripoint.accounts.oauth.browsers import LIFE_MS, Browsers, Visit
from tripoint.accounts.ports import Account
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.addresses import is_loopback
from tripoint.core.oauth.errors import OAuthError
from tripoint.core.oauth.requests import read_form
from tripoint.net.http import Header, Request, Response
from tripoint.oauth.html import Child, Html, el, join, page, redirect
from tripoint.oauth.words import Words, choose_words, wanted_languages

_SESSION: Final = "tripoint"
_BROWSER: Final = "tripoint-browser"
_FORM_TOKEN: Final = "form"
# What a page takes of the fields of a form; none of ours is longer.
MAX_FIELD: Final = 2048


class Visitor:
    """A browser at a page. `secret` is this server's own; `base`: where browsers reach it, if that is known;
    `plaintext`: passwords may come without TLS from this machine."""

    def __init__(self, request: Request, secret: bytes, *, base: str, plaintext: bool) -> None:
        self.request = request
        self.words: Words = choose_words(request.query("ui_locales"), request.header(b"accept-language"))
        self.visit: Visit | None = None
        # Where else the forms of the page lead in the end.
        self.form_targets: Sequence[str] = ()
        self._secret = secret
        self._base = base
        self._plaintext = plaintext
        self._cookies = _read_cookies(request)
        # spec: the __Host- prefix keeps other hosts of the domain from setting it.
        self._prefix = "__Host-" if request.secure else ""
        self._set: list[Header] = []
        self._browser = self._cookies.get(self._prefix + _BROWSER) or ""
        self._fields: Mapping[str, Sequence[str]] | None = None

    async def recognise(self, browsers: Browsers) -> None:
        """Find out who is logged in here."""
        cookie = self._cookies.get(self._prefix + _SESSION)
        self.visit = None if cookie is None else await browsers.find(cookie)
        if not self._browser:
            self._browser = secrets.token_urlsafe(18)
            self._set_cookie(_BROWSER, self._browser, LIFE_MS // 1000)

    @property
    def account(self) -> Account:
        """Who is logged in, on a page that is shown to nobody else."""
        assert self.visit is not None, "the gate was passed"
        return self.visit.account

    @property
    def posted(self) -> bool:
        return self.request.method == "POST"

    @property
    def browser(self) -> str:
        """The same for everything this browser asks, and known to nobody else."""
        return self._browser

    @property
    def languages(self) -> Sequence[str]:
        """What the person reads, the dearest first, whether the pages have it or not."""
        return wanted_languages(self.request.query("ui_locales"), self.request.header(b"accept-language"))

    def query(self, name: str) -> str | None:
        return self.request.query(name)

    def field(self, name: str) -> str:
        """What was typed into a field; empty where there is none."""
        if self._fields is None:
            try:
                self._fields = read_form(self.request.header(b"content-type"), self.request.body)
            except OAuthError:
                self._fields = {}
        values = self._fields.get(name, ())
        return values[0][:MAX_FIELD] if values else ""

    # -- whose form it is

    def form_token(self) -> str:
        """What a form of this page carries."""
        session = b"" if self.visit is None else self.visit.token_hash
        made = hmac.digest(self._secret, b"form\0" + self._browser.encode() + b"\0" + session, "sha256")
        return base64.urlsafe_b64encode(made[:24]).decode()

    def is_ours(self) -> bool:
        """Whether the form that was sent is one of ours, for this browser as it is logged in now."""
        origin = self.request.header(b"origin")
        # A proxy may have put another name into Host than the browser did.
        own = (self.request.header(b"host"), self._base.partition("://")[2].partition("/")[0] or None)
        if origin is not None and origin.partition("://")[2] not in own:
            return False
        if self.request.header(b"sec-fetch-site") in ("cross-site", "same-site"):
            return False
        return hmac.compare_digest(self.field(_FORM_TOKEN).encode(), self.form_token().encode())

    def check_secure(self) -> None:
        """A password crosses no network in the clear. AccountRefused(TLS_REQUIRED)."""
        if not (self.request.secure or (self._plaintext and is_loopback(self.request.address))):
            raise AccountRefused(AccountRefusal.TLS_REQUIRED, self.words("not_secure"))

    # -- what goes back

    def logged_in(self, cookie: str) -> None:
        """The answer tells the browser who it is from now on."""
        self._set_cookie(_SESSION, cookie, LIFE_MS // 1000)

    def logged_out(self) -> None:
        self._set_cookie(_SESSION, "", 0)

    def _set_cookie(self, name: str, value: str, max_age_s: int) -> None:
        text = f"{self._prefix}{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax"
        if self.request.secure:
            text += "; Secure"
        self._set.append((b"set-cookie", text.encode()))

    def target(self, *, without: Sequence[str] = (), **changed: str) -> str:
        """This page again, with some parameters left out or changed."""
        left = [
            (name, value)
            for name, values in self.request.queries().items()
            if name not in without and name not in changed
            for value in values
        ]
        query = urlencode([*left, *changed.items()])
        return f"{self.request.path}?{query}" if query else self.request.path

    def form(self, *children: Child, do: str, action: str = "", class_: str | None = None) -> Html:
        """A form to this page or to `action`; `do` names it."""
        return el(
            "form",
            el("input", type="hidden", name=_FORM_TOKEN, value=self.form_token()),
            el("input", type="hidden", name="do", value=do),
            *children,
            method="post",
            action=action or self.target(),
            class_=class_,
        )

    def page(
        self,
        title: str,
        *children: Child,
        status: int = 200,
        script: str | None = None,
    ) -> Response:
        """A page in the person's language."""
        return page(
            title,
            *children,
            language=self.words.language,
            status=status,
            headers=self._set,
            form_targets=self.form_targets,
            script=script,
        )

    def problem(self, text: str, status: int = 400) -> Response:
        """A page that says what does not work."""
        return self.page(self.words("wrong"), el("p", text, class_="say alarm", role="alert"), status=status)

    def redirect(self, location: str) -> Response:
        return redirect(location, self._set)

    def refused(self, refused: AccountRefused) -> str:
        """The sentence for a refusal, in the person's language."""
        if refused.refusal is AccountRefusal.RATE_LIMITED:
            return self.words("too_many", seconds=str(-(-(refused.retry_after_ms or 1000) // 1000)))
        if refused.refusal is AccountRefusal.SERVER_BUSY:
            return self.words("busy")
        if refused.refusal is AccountRefusal.BANNED:
            return self.words("banned")
        return self.words.refusal(refused.refusal.name, refused.text)


def say(text: str | None, *, alarm: bool = False) -> Html | None:
    """A sentence above a form, which screen readers say at once."""
    if not text:
        return None
    return el("p", text, class_="say alarm" if alarm else "say", role="alert" if alarm else "status")


def labelled(
    label: str,
    name: str,
    *,
    type_: str = "text",
    hint: str | None = None,
    value: str | None = None,
    complete: str | None = None,
    required: bool = True,
    class_: str | None = None,
    focus: bool = False,
) -> Html:
    """A field with its label and, below, what is to be known of it."""
    hint_id = f"{name}-hint" if hint else None
    field = el(
        "input",
        id=name,
        name=name,
        type=type_,
        value=value,
        autocomplete=complete or "off",
        autocapitalize="none" if type_ == "text" else None,
        spellcheck="false",
        required=required,
        class_=class_,
        autofocus=focus,
        aria_describedby=hint_id,
    )
    below = None if hint is None else el("small", hint, id=hint_id, class_="quiet")
    return el("label", label, field, below, for_=name)


def button(text: str, *, name: str | None = None, value: str | None = None, class_: str | None = "main") -> Html:
    return el("button", text, type="submit", name=name, value=value, class_=class_)


def paragraph(*children: Child, class_: str | None = None) -> Html:
    return el("p", *children, class_=class_)


def bullets(*items: Child, class_: str | None = None) -> Html:
    return el("ul", join(*(el("li", item) for item in items)), class_=class_)


def _read_cookies(request: Request) -> dict[str, str]:
    """spec: RFC6265 5.4: the first of a name counts."""
    found: dict[str, str] = {}
    for header in request.headers(b"cookie"):
        for pair in header[:8192].split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals:
                found.setdefault(name, value[:256])
    return found
