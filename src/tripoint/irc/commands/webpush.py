"""WEBPUSH: where to push what notifies while nobody is connected.

A subscription is the account's: it stays when the connection ends, and goes when it is taken away, when its push server
does not know it any more, or when nobody renews it.
spec: IRCv3 webpush; docs/mapping.md 18.5
"""

from __future__ import annotations

from typing import Final

from tripoint.accounts.pushers import Pusher
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.irc import numerics as n
from tripoint.irc.refusals import Failed, IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.web_push import APP_ID, CAPABILITY, KIND, check_endpoint
from tripoint.irc.wire import Line, parse_tags
from tripoint.net.web_push import BadKeys, check_keys

MAX_ENDPOINT: Final = 500
MAX_SUBSCRIPTIONS: Final = 10


@command("WEBPUSH", cost=2, spec="IRCv3 webpush")
async def webpush(session: IrcSession, line: Line) -> None:
    """WEBPUSH REGISTER <endpoint> <keys> | WEBPUSH UNREGISTER <endpoint>."""
    if CAPABILITY not in session.caps:
        raise IrcRefused(n.ERR_UNKNOWNCOMMAND, "WEBPUSH", f"Ask for the {CAPABILITY} capability first")
    subcommand, endpoint = line.param(0).upper(), line.param(1)
    wanted = {"REGISTER": 3, "UNREGISTER": 2}.get(subcommand)
    context = (echo(subcommand or "*"), echo(endpoint or "*"))
    if wanted is None or len(line.params) != wanted or not endpoint:
        raise Failed("INVALID_PARAMS", *context, text="WEBPUSH REGISTER <endpoint> <keys>, or UNREGISTER <endpoint>")
    if session.account.guest:
        raise Failed("INVALID_PARAMS", *context, text="Only accounts are pushed to; log in first")
    try:
        if subcommand == "REGISTER":
            await _register(session, endpoint, line.params[2], context)
        else:
            await session.accounts.pushers.delete((session.user_id, APP_ID, endpoint))
    except AccountRefused as refused:
        full = refused.refusal is AccountRefusal.TOO_MANY_PUSHERS
        raise Failed("MAX_REGISTRATIONS" if full else "INTERNAL_ERROR", *context, text=refused.text) from refused
    session.reply("WEBPUSH", subcommand, endpoint)


async def _register(session: IrcSession, endpoint: str, keys: str, context: tuple[str, str]) -> None:
    if len(endpoint) > MAX_ENDPOINT or not check_endpoint(endpoint):
        raise Failed("INVALID_PARAMS", *context, text="The endpoint is an https address")
    found = parse_tags(keys.encode())
    p256dh, auth = found.get("p256dh", ""), found.get("auth", "")
    try:
        check_keys(p256dh, auth)
    except BadKeys as error:
        raise Failed("INVALID_PARAMS", *context, text=f"Those keys cannot be used: {error}") from None
    pushers = session.accounts.pushers
    mine = [one for one in pushers.of(session.user_id) if one.kind == KIND]
    if len(mine) >= MAX_SUBSCRIPTIONS and all(one.pushkey != endpoint for one in mine):
        raise Failed("MAX_REGISTRATIONS", *context, text=f"An account has up to {MAX_SUBSCRIPTIONS} subscriptions")
    # spec: "The messages follow the same capabilities ... as when the client registered"
    data: JsonObject = {"url": endpoint, "p256dh": p256dh, "auth": auth, "caps": [*sorted(session.caps)]}
    settings: JsonObject = {"kind": KIND, "data": data}
    position = session.reader.stream_position().of()
    now_ms = session.network.now_ms()
    pusher = Pusher(session.user_id, APP_ID, endpoint, "", settings, now_ms, position)
    await pushers.set(pusher, append=True)
