"""The sessions of an account, of all protocols: listed, renamed, logged out. A part of the account page.

spec: Matrix client-server-api account-management-url-actions
"""

from datetime import UTC, datetime
from urllib.parse import urlencode

from tripoint.accounts.ports import AccountService, Device
from tripoint.core.oauth.metadata import ACCOUNT, DEVICE_DELETE, DEVICE_VIEW, DEVICES
from tripoint.net.http import Response
from tripoint.oauth.html import Html, el, join
from tripoint.oauth.visitor import Visitor, bullets, button, labelled, paragraph, say

_PROTOCOLS = {"matrix": "Matrix", "irc": "IRC", "xmpp": "XMPP", "app": "IRC, XMPP"}


class SessionPages:
    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def listed(self, visitor: Visitor, done: str | None = None) -> Response:
        words = visitor.words
        devices = sorted(
            await self._accounts.devices(visitor.account.user_id), key=lambda one: -one.last_seen_ts_ms
        )
        rows = [
            join(
                el("a", one.display_name or one.device_id, href=session_address(one.device_id)),
                el("div", f"{_protocol(one)} · {_day(one)}", class_="quiet"),
            )
            for one in devices
        ]
        return visitor.page(
            words("sessions"),
            say(done),
            paragraph(words("sessions_intro")),
            bullets(*rows, class_="rows") if rows else paragraph(words("no_sessions")),
            paragraph(el("a", words("back"), href=ACCOUNT)),
        )

    async def view(self, visitor: Visitor) -> Response:
        words = visitor.words
        device = await self._device(visitor)
        if device is None:
            return await self._unknown(visitor)
        done = None
        if visitor.posted and visitor.field("do") == "rename":
            await self._accounts.rename_device(
                visitor.account.user_id, device.device_id, visitor.field("session_name").strip()
            )
            device, done = await self._device(visitor) or device, words("saved")
        return visitor.page(
            device.display_name or device.device_id,
            say(done),
            _facts(
                (words("session_id"), device.device_id),
                (words("session_protocol"), _protocol(device)),
                (words("session_since"), _day(device)),
            ),
            visitor.form(
                labelled(
                    words("session_name"), "session_name", value=device.display_name or "", required=False
                ),
                button(words("rename"), class_=None),
                do="rename",
            ),
            self._log_out_form(visitor, device),
            _to_list(visitor),
        )

    async def delete(self, visitor: Visitor) -> Response:
        words = visitor.words
        device = await self._device(visitor)
        if device is None:
            return await self._unknown(visitor)
        if visitor.posted:
            await self._accounts.log_out(visitor.account.user_id, [device.device_id])
            return await self.listed(visitor, words("session_gone"))
        return visitor.page(
            words("session_log_out"),
            _facts(
                (words("session"), device.display_name or device.device_id),
                (words("session_id"), device.device_id),
            ),
            self._log_out_form(visitor, device),
            _to_list(visitor),
        )

    async def _unknown(self, visitor: Visitor) -> Response:
        return await self.listed(visitor, visitor.words("session_unknown"))

    async def _device(self, visitor: Visitor) -> Device | None:
        wanted = visitor.query("device_id")
        for device in await self._accounts.devices(visitor.account.user_id):
            if device.device_id == wanted:
                return device
        return None

    def _log_out_form(self, visitor: Visitor, device: Device) -> Html:
        words = visitor.words
        return visitor.form(
            paragraph(words("session_log_out_text"), class_="quiet"),
            button(words("session_log_out"), class_="alarm"),
            do="end",
            action=_address(DEVICE_DELETE, device.device_id),
        )


def _to_list(visitor: Visitor) -> Html:
    return paragraph(el("a", visitor.words("sessions"), href=f"{ACCOUNT}?action={DEVICES}"))


def _facts(*pairs: tuple[str, str]) -> Html:
    return el("dl", join(*(join(el("dt", name), el("dd", value)) for name, value in pairs)))


def session_address(device_id: str) -> str:
    """The page of one session."""
    return _address(DEVICE_VIEW, device_id)


def _address(action: str, device_id: str) -> str:
    return f"{ACCOUNT}?{urlencode({'action': action, 'device_id': device_id})}"


def _protocol(device: Device) -> str:
    return _PROTOCOLS.get(device.protocol, device.protocol)


def _day(device: Device) -> str:
    return datetime.fromtimestamp(device.last_seen_ts_ms / 1000, UTC).date().isoformat()
