"""From the first byte to 001: capabilities, SASL framing and registration as a state machine. Pure.

Lines go in, values come out: `Reply` is a line for the peer; `SaslStart`, `SaslResponse`, `SaslAbort`,
`RegisterAccount` and `Complete` ask whoever drives this to do what needs accounts, and to come back with
`sasl_challenge`, `sasl_succeeded`, `sasl_failed`, `account_made`, `accepted` or `nick_refused`.
The driver hands in one line at a time and answers before it hands in the next.

What is legal when stands in PHASES and SASL_STATES and nowhere else.  Does not know passwords, rooms or nicks
of others.  spec: IRCv3 capability-negotiation, IRCv3 sasl-3.1, IRCv3 sasl-3.2, RFC2812 3.1,
IRCv3 account-registration.  Read next: tripoint/irc/session.py.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Callable, Mapping

import msgspec

from tripoint.irc import numerics as n
from tripoint.irc.names import is_nick
from tripoint.irc.render import cut, one_line
from tripoint.irc.tables import AWAYLEN, EXTENDED_ISUPPORT, ISUPPORT_BATCH, PRE_AWAY, STS, isupport_lines
from tripoint.irc.wire import MAX_BODY_BYTES, Line

CAP_VALUES_VERSION = 302
# Older clients have one line for the whole list. multiline is useless without its value, which they are not shown;
# renaming, metadata, searching and the like came long after 302, and are asked for by nobody else.
ONLY_FROM_302 = frozenset(
    {
        *("draft/multiline", "draft/channel-rename", "draft/metadata-2", "draft/search", "soju.im/search"),
        *("draft/event-playback", "draft/read-marker"),
        *("draft/oper-tag", "draft/relaymsg", "draft/webpush", "draft/sasl-ir", EXTENDED_ISUPPORT, PRE_AWAY, STS),
    }
)
# spec: IRCv3 sasl-3.1: chunks of 400 bytes; "the server MAY place a limit on the total length of a response".
SASL_CHUNK = 400
SASL_MAX_RESPONSE = 8 * SASL_CHUNK
# More than any client's own retries; then it must reconnect, which the listener's limits slow down.
MAX_SASL_FAILURES = 3
_NO_CAPS: frozenset[str] = frozenset()
# spec: Modern IRC "QUIT message": before the reason of who went by himself, which may be none.
QUIT = "Quit: "
NEEDS_TLS = "Passwords need TLS here: connect to the TLS port"
NO_CODES = "Accounts need no verification here: REGISTER is all"


class Phase(enum.Enum):
    """Where a connection stands. READY waits for NICK and USER; CHECKING waits for the driver."""

    READY = "ready"
    NEGOTIATING = "negotiating"
    CHECKING = "checking"
    REGISTERED = "registered"
    CLOSED = "closed"


class PhaseInput(enum.Enum):
    """What can move a connection from one phase to another."""

    CAP_OPENED = "CAP LS or CAP REQ"
    CAP_END = "CAP END"
    ENOUGH = "NICK and USER are known"
    ACCEPTED = "the driver accepted"
    NICK_REFUSED = "the driver refused the nick"
    CLOSE = "QUIT, or a fatal refusal"


# (phase, input) -> phase. What is not here changes nothing.
PHASES: Mapping[tuple[Phase, PhaseInput], Phase] = {
    # spec: IRCv3 capability-negotiation: LS and REQ suspend registration until END.
    (Phase.READY, PhaseInput.CAP_OPENED): Phase.NEGOTIATING,
    (Phase.NEGOTIATING, PhaseInput.CAP_END): Phase.READY,
    (Phase.READY, PhaseInput.ENOUGH): Phase.CHECKING,
    (Phase.CHECKING, PhaseInput.ACCEPTED): Phase.REGISTERED,
    (Phase.CHECKING, PhaseInput.NICK_REFUSED): Phase.READY,
    (Phase.READY, PhaseInput.CLOSE): Phase.CLOSED,
    (Phase.NEGOTIATING, PhaseInput.CLOSE): Phase.CLOSED,
    (Phase.CHECKING, PhaseInput.CLOSE): Phase.CLOSED,
    (Phase.REGISTERED, PhaseInput.CLOSE): Phase.CLOSED,
}


class SaslState(enum.Enum):
    """IDLE: none runs. DRIVER: the driver has the word. CLIENT: the client has it. DONE: logged in."""

    IDLE = "idle"
    DRIVER = "driver"
    CLIENT = "client"
    DONE = "done"


class SaslInput(enum.Enum):
    """What can happen in a SASL exchange."""

    MECHANISM = "AUTHENTICATE mechanism"
    RESPONSE = "a whole response"
    ABORT = "AUTHENTICATE *, or registration without waiting"
    CHALLENGE = "the driver's challenge"
    SUCCESS = "the driver's success"
    FAILURE = "the driver's failure"


SASL_STATES: Mapping[tuple[SaslState, SaslInput], SaslState] = {
    (SaslState.IDLE, SaslInput.MECHANISM): SaslState.DRIVER,
    (SaslState.DRIVER, SaslInput.CHALLENGE): SaslState.CLIENT,
    (SaslState.DRIVER, SaslInput.SUCCESS): SaslState.DONE,
    (SaslState.DRIVER, SaslInput.FAILURE): SaslState.IDLE,
    (SaslState.DRIVER, SaslInput.ABORT): SaslState.IDLE,
    (SaslState.CLIENT, SaslInput.RESPONSE): SaslState.DRIVER,
    (SaslState.CLIENT, SaslInput.FAILURE): SaslState.IDLE,
    (SaslState.CLIENT, SaslInput.ABORT): SaslState.IDLE,
    # REGISTER or PASS logged the client in without SASL.
    (SaslState.IDLE, SaslInput.SUCCESS): SaslState.DONE,
}


class Reply(msgspec.Struct, frozen=True):
    """A line from the server; the driver adds the source, and a label if there is one.

    `batch`: the one that an earlier line opened and in which this one stands. `inner`: it stands in, or closes, such.
    """

    command: str
    params: tuple[str, ...]
    batch: str = ""
    inner: bool = False


class SaslStart(msgspec.Struct, frozen=True):
    """Begin `mechanism` (offered, upper case). Come back with a challenge (empty if client-first)."""

    mechanism: str


class SaslResponse(msgspec.Struct, frozen=True):
    """The client's next message, decoded."""

    data: bytes


class SaslAbort(msgspec.Struct, frozen=True):
    """The exchange is over; forget it."""


class RegisterAccount(msgspec.Struct, frozen=True):
    """REGISTER before 001. Come back with `account_made` or with a Reply of your own."""

    account: str
    password: str


class Complete(msgspec.Struct, frozen=True):
    """Everything is there. Come back with `accepted`, `nick_refused` or `closed`.

    `login` is what PASS brought (account, password), if no SASL exchange succeeded; it must be verified.
    """

    nick: str
    username: str
    realname: str
    login: tuple[str, str] | None


class Close(msgspec.Struct, frozen=True):
    """Send ERROR with `reason`, then close."""

    reason: str


Step = Reply | SaslStart | SaslResponse | SaslAbort | RegisterAccount | Complete | Close


class IrcConnection:
    """One client's negotiation. `offered` is what CAP LS shows: name -> value ("" for none).

    `mechanisms` are SASL names in order of preference; `passwords_allowed` is False on plain text beyond
    loopback, where PASS and REGISTER are refused and PLAIN is not among the mechanisms.
    """

    __slots__ = (
        "_failures", "_initial", "_isupport", "_login", "_mechanisms", "_offered", "_passwords_allowed",
        "_response", "_server", "_username", "account", "away", "cap_version", "caps", "certificate",
        "gateway", "hostname", "ident", "nick", "phase", "realname", "sasl", "subscribed",
    )

    def __init__(
        self,
        server: str,
        offered: Mapping[str, str],
        mechanisms: tuple[str, ...] = (),
        *,
        passwords_allowed: bool = True,
        isupport: tuple[str, ...] = (),
    ) -> None:
        self._server = server
        self._offered = offered
        self._mechanisms = mechanisms
        self._passwords_allowed = passwords_allowed
        self._isupport = isupport
        self.gateway = ""  # the web gateway by which the client came
        self.certificate = ""  # the fingerprint of the certificate that the client has shown
        self.hostname: str | None = None  # what the DNS calls its address, and what that calls its user
        self.ident: str | None = None
        self._initial: str | None = None
        self.away: str | None = None
        self.subscribed: tuple[str, ...] = ()  # keys of metadata (early.py)
        self.phase = Phase.READY
        self.sasl = SaslState.IDLE
        self.nick = "*"
        self.account = ""
        self.caps = _NO_CAPS
        self.cap_version = 0
        self._username = ""
        self.realname = ""  # what USER said, and a guest since
        self._login: tuple[str, str] | None = None
        self._response = ""
        self._failures = 0

    @property
    def username(self) -> str:
        """What USER said; nobody checks it."""
        return self._username

    # --- lines -------------------------------------------------------------------------------------------

    def receive(self, line: Line) -> list[Step]:
        """What follows from a line that arrived before registration (any command; others get 451)."""
        handler = _COMMANDS.get(line.command)
        if handler is None:
            return [self._numeric(n.ERR_NOTREGISTERED, "You have not registered")]
        return handler(self, line)

    def cap(self, line: Line) -> list[Step]:
        """CAP, which is legal at any time.  spec: IRCv3 capability-negotiation "The CAP command" """
        if not line.params:
            return [self._need_more("CAP")]
        subcommand = line.params[0].upper()
        if subcommand == "LS":
            return self._cap_ls(line.param(1))
        if subcommand == "LIST":
            return self._cap_list("LIST", sorted(self.caps), multiline=self.cap_version >= CAP_VALUES_VERSION)
        if subcommand == "REQ":
            return self._cap_req(line.param(1))
        if subcommand == "END":
            if self._move(PhaseInput.CAP_END):
                return self._enough()
            return []
        return [self._numeric(n.ERR_INVALIDCAPCMD, _echo(line.params[0]), "Invalid CAP command")]

    def authenticate(self, line: Line) -> list[Step]:
        """AUTHENTICATE.  spec: IRCv3 sasl-3.1 "The AUTHENTICATE command" """
        if not line.param(0):
            return [self._need_more("AUTHENTICATE")]
        word = line.params[0]
        if self.sasl is SaslState.DONE:
            return [self._numeric(n.ERR_SASLALREADY, "You have already authenticated using SASL")]
        if "sasl" not in self.caps:
            text = "SASL authentication failed: ask for the sasl capability first"
            return [self._numeric(n.ERR_SASLFAIL, text)]
        if self.sasl is SaslState.IDLE:
            self._initial = line.param(1) or None
            return self._sasl_begin(word)
        return self._sasl_chunk(word)

    # --- answers of the driver ---------------------------------------------------------------------------

    def sasl_challenge(self, data: bytes) -> list[Step]:
        """The mechanism wants the client to have `data` (empty: it is client-first)."""
        self._sasl_move(SaslInput.CHALLENGE)
        initial, self._initial = self._initial, None
        if initial is not None and not data:
            # spec: IRCv3 proposal-520-sasl-ir: as if the client had been asked for it.
            return self._sasl_chunk(initial)
        encoded = base64.b64encode(data).decode("ascii")
        chunks = [encoded[at : at + SASL_CHUNK] for at in range(0, len(encoded), SASL_CHUNK)]
        # spec: IRCv3 sasl-3.1: an empty response, or a last chunk of exactly 400 bytes, is followed by "+".
        if not chunks or len(chunks[-1]) == SASL_CHUNK:
            chunks.append("+")
        return [Reply("AUTHENTICATE", (chunk,)) for chunk in chunks]

    def sasl_succeeded(self, account: str) -> list[Step]:
        """The client is logged in as `account`."""
        self._sasl_move(SaslInput.SUCCESS)
        return [
            self._logged_in(account),
            self._numeric(n.RPL_SASLSUCCESS, "SASL authentication successful"),
        ]

    def sasl_failed(self, text: str = "SASL authentication failed") -> list[Step]:
        """The client may try again, a few times."""
        self._sasl_move(SaslInput.FAILURE)
        self._failures += 1
        steps: list[Step] = [self._numeric(n.ERR_SASLFAIL, text)]
        if self._failures >= MAX_SASL_FAILURES:
            self._move(PhaseInput.CLOSE)
            steps.append(Close("Too many SASL authentication failures"))
        return steps

    def account_made(self, account: str) -> list[Step]:
        """REGISTER succeeded: "the client is assumed to be authenticated as if it used SASL"."""
        self._sasl_move(SaslInput.SUCCESS)
        made = Reply("REGISTER", ("SUCCESS", account, "Account successfully registered"))
        return [made, self._logged_in(account)]

    def accepted(self, nick: str) -> None:
        """001 may go out. `nick` can differ from the one asked for: an account's nick is its name."""
        self._move(PhaseInput.ACCEPTED)
        self.nick = nick

    def nick_refused(self) -> None:
        """The nick is not free. The client must send another; nothing else is asked again."""
        self._move(PhaseInput.NICK_REFUSED)
        self.nick = "*"

    def logged_in(self, account: str) -> Reply:
        """The client logged in by other means (PASS, NickServ)."""
        self._sasl_move(SaslInput.SUCCESS)
        return self._logged_in(account)

    # --- capabilities ------------------------------------------------------------------------------------

    def _cap_ls(self, version_word: str) -> list[Step]:
        version = int(version_word) if version_word.isascii() and version_word.isdigit() else 0
        self._move(PhaseInput.CAP_OPENED)
        # spec: "If a client sends a higher CAP version at any time, the server MUST store" it.
        self.cap_version = max(self.cap_version, version)
        if version >= CAP_VALUES_VERSION:
            self.caps |= {"cap-notify"} & self._offered.keys()
            words = [f"{name}={value}" if value else name for name, value in self._offered.items()]
        else:
            words = [name for name in self._offered if name not in ONLY_FROM_302]
        return self._cap_list("LS", words, multiline=version >= CAP_VALUES_VERSION)

    def _cap_list(self, subcommand: str, words: list[str], *, multiline: bool) -> list[Step]:
        lines = self._wrap(words, 64) if multiline else [" ".join(words)]
        last = len(lines) - 1
        return [
            Reply("CAP", (self.nick, subcommand, text) if at == last else (self.nick, subcommand, "*", text))
            for at, text in enumerate(lines)
        ]

    def _cap_req(self, text: str) -> list[Step]:
        self._move(PhaseInput.CAP_OPENED)
        words = [word for word in text.split(" ") if word]
        caps = set(self.caps)
        for word in words:
            name = word.removeprefix("-")
            # spec: "The capability identifier set must be accepted as a whole, or rejected entirely."
            # spec: "servers MUST NOT disable the cap-notify capability if the client requests CAP LS 302"
            locked = word == "-cap-notify" and self.cap_version >= CAP_VALUES_VERSION
            # spec: IRCv3 sts: it is a policy, which is told and not asked for
            if name not in self._offered or name == STS or locked:
                return [Reply("CAP", (self.nick, "NAK", part)) for part in self._wrap(words, 32)]
            if word[0] == "-":
                caps.discard(name)
            else:
                caps.add(name)
        self.caps = frozenset(caps)
        return [Reply("CAP", (self.nick, "ACK", part)) for part in self._wrap(words, 32)]

    def _wrap(self, words: list[str], spare: int) -> list[str]:
        """Space-separated runs that fit into one line beside the server name, the nick and `spare` bytes."""
        budget = MAX_BODY_BYTES - len(self._server.encode()) - len(self.nick.encode()) - spare
        lines: list[str] = [""]
        for word in words:
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if len(longer.encode()) > budget and lines[-1]:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    # --- SASL --------------------------------------------------------------------------------------------

    def _sasl_begin(self, word: str) -> list[Step]:
        mechanism = word.upper()
        if mechanism == "*":
            return [self._numeric(n.ERR_SASLABORTED, "SASL authentication aborted")]
        if mechanism not in self._mechanisms:
            names = ",".join(self._mechanisms) or "*"
            return [
                self._numeric(n.RPL_SASLMECHS, names, "are available SASL mechanisms"),
                self._numeric(n.ERR_SASLFAIL, "SASL authentication failed"),
            ]
        self._sasl_move(SaslInput.MECHANISM)
        self._response = ""
        return [SaslStart(mechanism)]

    def _sasl_chunk(self, word: str) -> list[Step]:
        if word == "*":
            self._sasl_move(SaslInput.ABORT)
            return [SaslAbort(), self._numeric(n.ERR_SASLABORTED, "SASL authentication aborted")]
        if len(word) > SASL_CHUNK or len(self._response) + len(word) > SASL_MAX_RESPONSE:
            self._sasl_move(SaslInput.FAILURE)
            self._response = ""
            return [SaslAbort(), self._numeric(n.ERR_SASLTOOLONG, "SASL message too long")]
        if word != "+":
            self._response += word
            if len(word) == SASL_CHUNK:
                return []
        encoded, self._response = self._response, ""
        try:
            data = base64.b64decode(encoded.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return [SaslAbort(), *self.sasl_failed("SASL authentication failed: that is not base64")]
        self._sasl_move(SaslInput.RESPONSE)
        return [SaslResponse(data)]

    def _logged_in(self, account: str) -> Reply:
        self.account = account
        self._login = None
        mask = f"{self.nick}!{account}@{self._server}"
        return self._numeric(n.RPL_LOGGEDIN, mask, account, f"You are now logged in as {account}")

    # --- the other commands before 001 -------------------------------------------------------------------

    def _pass(self, line: Line) -> list[Step]:
        if not line.params:
            return [self._need_more("PASS")]
        account, colon, password = line.params[0].partition(":")
        if not colon or not account:
            return [self._numeric(n.ERR_PASSWDMISMATCH, "Send PASS account:password")]
        if not self._passwords_allowed:
            return [self._numeric(n.ERR_PASSWDMISMATCH, NEEDS_TLS)]
        self._login = (account, password)
        return []

    def _nick(self, line: Line) -> list[Step]:
        wish = line.param(0)
        if not wish:
            return [self._numeric(n.ERR_NONICKNAMEGIVEN, "No nickname given")]
        if not is_nick(wish):
            return [self._numeric(n.ERR_ERRONEUSNICKNAME, _echo(wish), "Erroneous nickname")]
        self.nick = wish
        return self._enough()

    def _user(self, line: Line) -> list[Step]:
        if len(line.params) < 4 or not line.params[0]:
            return [self._need_more("USER")]
        if self._username:
            return [self._numeric(n.ERR_ALREADYREGISTERED, "You may not reregister")]
        self._username = line.params[0]
        self.realname = line.params[3]
        return self._enough()

    def _register(self, line: Line) -> list[Step]:
        """REGISTER <account> {<email> | "*"} <password>.  spec: IRCv3 account-registration "Commands" """
        if len(line.params) < 3:
            return [self._need_more("REGISTER")]
        account, _, password = line.params[:3]
        if not self._passwords_allowed or "draft/account-registration" not in self._offered:
            text = "Accounts cannot be made here: ask the operator" if self._passwords_allowed else NEEDS_TLS
            return [Reply("FAIL", ("REGISTER", "TEMPORARILY_UNAVAILABLE", _echo(account), text))]
        if self.nick == "*":
            return [Reply("FAIL", ("REGISTER", "NEED_NICK", "*", "Send NICK first"))]
        if self.account:
            text = "You are already logged in"
            return [Reply("FAIL", ("REGISTER", "ALREADY_AUTHENTICATED", self.account, text))]
        return [RegisterAccount(self.nick if account == "*" else account, password)]

    def _isupport_now(self, line: Line) -> list[Step]:
        """ISUPPORT.  spec: IRCv3 extended-isupport: "MUST accept ISUPPORT commands before connection registration" """
        if EXTENDED_ISUPPORT not in self.caps:
            return [self._numeric(n.ERR_NOTREGISTERED, "You have not registered")]
        lines = [self._numeric(n.RPL_ISUPPORT, *params) for params in isupport_lines(self._isupport)]
        if "batch" not in self.caps:
            return list(lines)
        inside = [Reply(line.command, line.params, "isupport", inner=True) for line in lines]
        return [Reply("BATCH", ("+isupport", ISUPPORT_BATCH)), *inside, Reply("BATCH", ("-isupport",), inner=True)]

    def _away(self, line: Line) -> list[Step]:
        """AWAY [:<text>].  spec: IRCv3 pre-away: "servers MUST accept the AWAY command before" registration"""
        if PRE_AWAY not in self.caps:
            return [self._numeric(n.ERR_NOTREGISTERED, "You have not registered")]
        self.away = cut(one_line(line.param(0)), AWAYLEN) or None
        if self.away is None:
            return [self._numeric(n.RPL_UNAWAY, "You are no longer marked as being away")]
        return [self._numeric(n.RPL_NOWAWAY, "You have been marked as being away")]

    def _verify(self, line: Line) -> list[Step]:
        """VERIFY <account> <code>: no code is ever sent.  spec: IRCv3 account-registration "Responses" """
        if len(line.params) < 2:
            return [self._need_more("VERIFY")]
        if self.account:
            return [Reply("FAIL", ("VERIFY", "ALREADY_AUTHENTICATED", self.account, "You are already logged in"))]
        return [Reply("FAIL", ("VERIFY", "INVALID_CODE", _echo(line.params[0]), NO_CODES))]

    def _service(self, line: Line) -> list[Step]:
        """spec: RFC2812 3.1.6; the services of this server are built in"""
        return [self._numeric(n.ERR_UNKNOWNCOMMAND, "SERVICE", "Services cannot register here")]

    def _ping(self, line: Line) -> list[Step]:
        # COMPAT: clients that measure lag before 001; a PING is harmless.
        if not line.param(0):
            return [self._numeric(n.ERR_NOORIGIN, "No origin specified")]
        return [Reply("PONG", (self._server, line.params[0]))]

    def _pong(self, line: Line) -> list[Step]:
        return []

    def _quit(self, line: Line) -> list[Step]:
        self._move(PhaseInput.CLOSE)
        return [Close(f"{QUIT}{line.param(0)}")]

    # --- machinery ---------------------------------------------------------------------------------------

    def _enough(self) -> list[Step]:
        if self.phase is not Phase.READY or self.nick == "*" or not self._username:
            return []
        self._move(PhaseInput.ENOUGH)
        steps: list[Step] = []
        if self.sasl in (SaslState.CLIENT, SaslState.DRIVER):
            # spec: IRCv3 sasl-3.1: registration while SASL is still in progress aborts it with 906.
            self._sasl_move(SaslInput.ABORT)
            steps += [SaslAbort(), self._numeric(n.ERR_SASLABORTED, "SASL authentication aborted")]
        login = None if self.account else self._login
        steps.append(Complete(self.nick, self._username, self.realname, login))
        return steps

    def _move(self, given: PhaseInput) -> bool:
        target = PHASES.get((self.phase, given))
        if target is None:
            return False
        self.phase = target
        return True

    def _sasl_move(self, given: SaslInput) -> None:
        target = SASL_STATES.get((self.sasl, given))
        if target is None:
            raise RuntimeError(f"{given} in {self.sasl}: the driver broke the order")
        self.sasl = target

    def _numeric(self, numeric: str, *params: str) -> Reply:
        return Reply(numeric, (self.nick, *params))

    def _need_more(self, command: str) -> Reply:
        return self._numeric(n.ERR_NEEDMOREPARAMS, command, "Not enough parameters")


def _echo(word: str) -> str:
    """A peer's word as a middle parameter of our answer; what cannot stand there becomes ``*``."""
    return word if word and " " not in word and word[0] != ":" and len(word) <= 100 else "*"


_COMMANDS: Mapping[str, Callable[[IrcConnection, Line], list[Step]]] = {
    "CAP": IrcConnection.cap,
    "AUTHENTICATE": IrcConnection.authenticate,
    "PASS": IrcConnection._pass,
    "NICK": IrcConnection._nick,
    "USER": IrcConnection._user,
    "REGISTER": IrcConnection._register,
    "PING": IrcConnection._ping,
    "PONG": IrcConnection._pong,
    "ISUPPORT": IrcConnection._isupport_now,
    "AWAY": IrcConnection._away,
    "SERVICE": IrcConnection._service,
    "VERIFY": IrcConnection._verify,
    "QUIT": IrcConnection._quit,
}
