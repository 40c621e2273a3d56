"""The page at /: what this server is, how to connect each kind of client, and the first account.

It makes accounts exactly as the protocols do (AccountService.register), so it is closed when they are.
"""

import html
from urllib.parse import parse_qs

from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.config.options import Config
from tripoint.core.addresses import is_loopback
from tripoint.core.languages import read_accept_language
from tripoint.core.oauth.metadata import ACCOUNT
from tripoint.net.http import Request, Response
from tripoint.xmpp.web import PATH, websocket_url

_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: with it, browsers say Origin: null of our own form.
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{server}</title>
<style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse}}td,th{{text-align:left;padding:.3rem 1rem .3rem 0;vertical-align:top}}
input{{font:inherit;padding:.3rem;margin:.2rem 0;width:16rem}}input[type=checkbox]{{width:auto}}
.say{{border-left:4px solid #888;padding:.3rem 1rem;background:#f4f4f4}}
</style>
<h1>{server}</h1>
<p>A chat server whose every room is at once a Matrix room, an IRC channel and an XMPP multi-user chat.
One account for all three.</p>
{say}
<p><a href="/account">Your account</a>: profile, password, and where you are logged in.</p>
{form}
<h2>Connect</h2>
<table>
{rows}
</table>
<p>The room <code>#tea</code> on IRC is <code>#tea:{server}</code> on Matrix and
<code>tea@rooms.{server}</code> on XMPP.</p>
"""

_FORM = """<h2>Make an account</h2>
<form method="post" action="/register">
<label>Name<br><input name="name" autocomplete="username" required maxlength="32"></label><br>
<label>Password<br><input name="password" type="password" autocomplete="new-password" required></label><br>
{token}{terms}<button>Make the account</button>
</form>"""

_BY_MAIL = f'<p><a href="{ACCOUNT}?prompt=create">Make an account</a>, with an e-mail address.</p>'
_TOKEN = '<label>Registration token<br><input name="token" required></label><br>\n'
_TERMS = (
    '<label><input type="checkbox" name="terms.{document}" value="{version}" required> I have read and accept: '
    '<a href="{url}" target="_blank" rel="noopener">{name}</a></label><br>\n'
)


class WelcomePage:
    """Answers / and /register. `ports` and `has_websocket` are filled in once the listeners are up."""

    def __init__(self, config: Config, accounts: AccountService) -> None:
        self._server = config.server.name
        self._plaintext_passwords = config.listen.plaintext_passwords
        self._public_url = config.server.public_url
        self._accounts = accounts
        self.ports: dict[str, list[int]] = {}
        self.has_websocket = False

    async def handle(self, request: Request) -> Response | None:
        """The answer, or None for an address that is not this page's."""
        if request.path == "/" and request.method in ("GET", "HEAD"):
            return await self._page(request, "")
        if request.path == "/register" and request.method == "POST":
            return await self._register(request)
        return None

    async def _register(self, request: Request) -> Response:
        origin = request.header(b"origin")
        # A proxy may have put another name into Host than the browser did.
        own = (request.header(b"host"), self._public_url.rstrip("/").split("//")[-1] or None)
        if origin is not None and origin.split("//")[-1] not in own:
            return await self._page(request, "That form came from another site.", 403)
        local = self._plaintext_passwords and is_loopback(request.address)
        if not (request.secure or local):
            return await self._page(request, AccountRefusal.TLS_REQUIRED.value, 403)
        try:
            fields = parse_qs(request.body.decode("utf-8"), max_num_fields=40)
        except (UnicodeDecodeError, ValueError):
            return await self._page(request, "That form could not be read.", 400)
        name, password = _first(fields, "name").lower(), _first(fields, "password")
        try:
            account = await self._accounts.register(
                name,
                password,
                address=request.address,
                registration_token=_first(fields, "token") or None,
                accepted={one.document: _first(fields, f"terms.{one.document}") for one in self._accounts.terms},
            )
        except AccountRefused as refused:
            return await self._page(request, refused.text, 400)
        return await self._page(request, f"The account {account.user_id} is made. Log in with any client.")

    async def _page(self, request: Request, say: str, status: int = 200) -> Response:
        mode = await self._accounts.registration_state()
        form = "" if mode == "closed" else self._form(request, mode)
        if form and self._accounts.email_required:
            form = _BY_MAIL
        if mode == "closed" and not say:
            say = "New accounts are made by the administrator: tripoint user add NAME."
        text = _PAGE.format(
            server=html.escape(self._server),
            say=f'<p class="say">{html.escape(say)}</p>' if say else "",
            form=form,
            rows="\n".join(self._rows(_host_of(request))),
        )
        return Response(status, text.encode(), _HEADERS)

    def _form(self, request: Request, mode: str) -> str:
        wanted = read_accept_language(request.header(b"accept-language"))
        boxes = ""
        for one in self._accounts.terms:
            text = one.text_for(wanted)
            boxes += _TERMS.format(
                document=html.escape(one.document),
                version=html.escape(one.version),
                url=html.escape(text.url),
                name=html.escape(text.name),
            )
        return _FORM.format(token=_TOKEN if mode == "token" else "", terms=boxes)

    def _rows(self, host: str) -> list[str]:
        """A line for each protocol that is spoken here, with the name by which the visitor found this server."""
        server = html.escape(self._server)
        found = []
        if self.ports.get("http"):
            where = self._public_url or f"http://{host}:{self.ports['http'][0]}"
            found.append(_row("Matrix", f"homeserver {_code(where)}", f"user {_code(f'@name:{server}')}"))
        plain, tls = self.ports.get("irc"), self.ports.get("irc_tls")
        if plain or tls:
            ports = _both(plain, "", tls, "TLS ")
            found.append(_row("IRC", f"{_code(host)} {ports}", "SASL account <code>name</code>; or a nick, as guest"))
        plain, tls = self.ports.get("xmpp"), self.ports.get("xmpp_tls")
        if plain or tls:
            ports = _both(plain, "", tls, "direct TLS ")
            found.append(_row("XMPP", f"{_code(host)} {ports}", f"JID {_code(f'name@{server}')}"))
        if self.has_websocket and self.ports.get("http"):
            where = websocket_url(self._public_url) or f"ws://{host}:{self.ports['http'][0]}{PATH}"
            found.append(_row("XMPP on the web", f"WebSocket {_code(where)}", f"JID {_code(f'name@{server}')}"))
        return found


def _row(*cells: str) -> str:
    return f"<tr><th>{cells[0]}" + "".join(f"<td>{cell}" for cell in cells[1:])


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"


def _both(plain: list[int] | None, before_plain: str, tls: list[int] | None, before_tls: str) -> str:
    parts = [f"{before_plain}port {_code(str(plain[0]))}"] if plain else []
    parts += [f"{before_tls}port {_code(str(tls[0]))}"] if tls else []
    return ", ".join(parts)


def _host_of(request: Request) -> str:
    """The name in the Host header without its port; the server is called that by whoever looks."""
    host = request.header(b"host") or "localhost"
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and ":" in host else host


def _first(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]
