"""In-band registration: making an account before login, changing the password, ending the account.

spec: XEP-0077 3, 5; XEP-0445 4; docs/mapping.md 1.2, 18. Where the server asks for a registration token, it is shown
first (XEP-0445), or the form of XEP-0077 4 carries it in the field `token`. Documents to be accepted are boxes of
that form.
"""

from tripoint.accounts.ports import AccountService
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.terms import Terms, all_of, in_words
from tripoint.xmpp.forms import submitted
from tripoint.xmpp.jid import InvalidJid, Jid, prepare_local
from tripoint.xmpp.refusals import Problem, problem_of
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.render import iq_result, stanza_error
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, PREAUTH_NS, REGISTER_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

_TOKEN = "token"


class Registering:
    """What one stream does before it is logged in: registrations, and the token that it has shown for them."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts
        self._token: str | None = None

    async def answer(self, stanza: Element, address: str) -> bytes:
        """The answer to an IQ about registering."""
        payload = stanza.first()
        assert payload is not None  # the connection lets only these two through
        try:
            if payload.namespace == PREAUTH_NS:
                await self._show_token(payload.get("token") or "")
                return iq_result(stanza, "")
            if stanza.get("type") == "get":
                return iq_result(stanza, "", await self._blank_form())
            await self._register(payload, address)
            return iq_result(stanza, "")
        except Problem as problem:
            return stanza_error(stanza, "", problem)
        except AccountRefused as refused:
            return stanza_error(stanza, "", problem_of(refused))

    async def _show_token(self, token: str) -> None:
        """It is used up by the registration alone, and that it expires counts now alone. spec: XEP-0445 4"""
        if await self._accounts.registration_state() == "closed":
            raise AccountRefused(AccountRefusal.REGISTRATION_CLOSED)
        if not token or not await self._accounts.registration_tokens.is_valid(token):
            raise Problem("item-not-found", "The registration token is not valid, or has expired")
        self._token = token

    async def _blank_form(self) -> str:
        state = await self._accounts.registration_state()
        if state == "closed":
            raise AccountRefused(AccountRefusal.REGISTRATION_CLOSED)
        if self._accounts.email_required:
            raise AccountRefused(AccountRefusal.EMAIL_NEEDED)
        wants_token, terms = state == "token" and self._token is None, self._accounts.terms
        if not wants_token and not terms:
            return (
                f"<query xmlns='{REGISTER_NS}'><instructions>Choose a name and a password.</instructions>"
                "<username/><password/></query>"
            )
        instructions = "Choose a name and a password."
        fields = ""
        if wants_token:
            instructions += " This server asks for a registration token."
            fields = f"<field type='text-single' label='Registration token' var='{_TOKEN}'><required/></field>"
        if terms:
            instructions += f" Read and accept first: {in_words(terms)}. Where this client shows no boxes for that,"
            instructions += " make the account in a browser."
            instructions = escape_text(instructions)
            fields += "".join(map(_box, terms))
        return (
            f"<query xmlns='{REGISTER_NS}'><instructions>{instructions}</instructions><username/><password/>"
            f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>New account</title>"
            f"<instructions>{instructions}</instructions>"
            f"<field type='hidden' var='FORM_TYPE'><value>{REGISTER_NS}</value></field>"
            "<field type='text-single' label='Name' var='username'><required/></field>"
            "<field type='text-private' label='Password' var='password'><required/></field>"
            f"{fields}</x></query>"
        )

    async def _register(self, query: Element, address: str) -> None:
        form = query.child("x", DATA_FORMS_NS)
        fields = {} if form is None else submitted(form, REGISTER_NS)
        name = query.child_text("username", REGISTER_NS) or "".join(fields.get("username", []))
        password = query.child_text("password", REGISTER_NS) or "".join(fields.get("password", []))
        given = "".join(fields.get(_TOKEN, [])) or None
        # spec: XEP-0004 3.3: a boolean is "1" or "true"
        ticked = [one for one in self._accounts.terms if "".join(fields.get(_variable(one), [])) in ("1", "true")]
        if not name or not password:
            # spec: XEP-0077 3.1
            raise Problem("not-acceptable", "A name and a password are needed")
        await self._accounts.register(
            _prepared(name),
            password,
            address=address,
            registration_token=given or self._token,
            was_valid=given is None and self._token is not None,
            accepted=all_of(ticked),
        )
        self._token = None


def _variable(terms: Terms) -> str:
    """The version is in it: who ticks the box of a form has read what that form named."""
    return f"terms:{terms.document}:{terms.version}"


def _box(terms: Terms) -> str:
    text = terms.text_for()
    label = escape_attribute(f"I have read and accept: {text.name}, {text.url}")
    return (
        f"<field type='fixed'><value>{escape_text(f'{text.name}: {text.url}')}</value></field>"
        f"<field type='boolean' label='{label}' var='{escape_attribute(_variable(terms))}'><required/></field>"
    )


def _prepared(name: str) -> str:
    """Clients may write capitals; the JID has none. spec: RFC7622 3.3"""
    try:
        return prepare_local(name)
    except InvalidJid:
        raise AccountRefused(AccountRefusal.BAD_NAME) from None


@iq("get", REGISTER_NS, at=(At.SERVER, At.ACCOUNT), feature=REGISTER_NS, spec="XEP-0077 3.1")
async def registered(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Who is logged in has an account."""
    name = escape_text(session.account.name)
    return f"<query xmlns='{REGISTER_NS}'><registered/><username>{name}</username><password/></query>"


@iq("set", REGISTER_NS, at=(At.SERVER, At.ACCOUNT), spec="XEP-0077 3.2, 3.3")
async def change_registration(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """A new password, or the end of the account."""
    query = stanza.first()
    assert query is not None  # the router has looked
    accounts = session.doors.accounts
    if session.let_in_by in {app.device_id for app in await accounts.app_passwords.of(session.user_id)}:
        # spec: docs/mapping.md 18.2: it lets one client in, and gives it no hold on the account
        raise Problem("not-allowed", "An app password is not enough for that: log in with the account's own")
    if query.child("remove", REGISTER_NS) is not None:
        if len(list(query.elements())) != 1:
            # spec: XEP-0077 3.2, table 1: half a request must not end an account
            raise Problem("bad-request", "Who ends an account says nothing else in the same request")
        await accounts.deactivate(session.user_id)
        return ""
    # The fields as they were first, or the same in a form (XEP-0077 4).
    form = query.child("x", DATA_FORMS_NS)
    fields = {} if form is None else submitted(form, REGISTER_NS)
    name = query.child_text("username", REGISTER_NS) or "".join(fields.get("username", []))
    password = query.child_text("password", REGISTER_NS) or "".join(fields.get("password", []))
    if not name or not password:
        raise Problem("bad-request", "A name and a password are needed")
    if _prepared(name) != session.account.name:
        raise Problem("not-allowed", "Only your own password can be changed")
    await accounts.change_password(session.user_id, password, keep_device=session.device_id)
    return ""
