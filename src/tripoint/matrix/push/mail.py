"""E-mail: how pushers of this kind are told. What a letter says is letter.py's, when it is written fanout/digests.py's.

spec: Matrix client-server POST /pushers/set, kind email
"""

from collections.abc import Sequence

import structlog

from tripoint.accounts.contacts import Contacts
from tripoint.accounts.leaving import Leaving
from tripoint.accounts.pushers import Pusher
from tripoint.core.email_address import EmailAddress
from tripoint.core.ids import ServerName
from tripoint.core.letters import MailFailed
from tripoint.fanout.told import Told
from tripoint.matrix.push.letter import letter_about
from tripoint.rooms.pushing import Alert

log = structlog.get_logger()


class MailChannel:
    """fanout.digests.LetterChannel."""

    def __init__(self, server: ServerName, contacts: Contacts, leaving: Leaving) -> None:
        self._server = server
        self._contacts = contacts
        self._leaving = leaving

    async def write(self, pusher: Pusher, alerts: Sequence[Alert]) -> Told:
        send = self._contacts.send
        if send is None or not self._contacts.is_on:
            return Told.LATER  # it may be switched on again
        if not await self._contacts.has(pusher.user_id, pusher.pushkey):
            return Told.GONE
        to, lang = EmailAddress(pusher.pushkey), pusher.settings.get("lang")
        # spec: POST /pushers/set `lang`: "The preferred language for receiving notifications"
        say = self._contacts.words.in_language((lang,) if isinstance(lang, str) else ())
        try:
            await send(letter_about(alerts, to, self._server, self._leaving.url(pusher), say))
        except MailFailed as failed:
            if not failed.for_good:
                return Told.LATER
            # It would be refused again; what comes next may not be.
            log.info("push.letter_refused", user_id=pusher.user_id, reason=failed.reason)
        return Told.DONE
