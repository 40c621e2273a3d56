"""Negotiation before 001, as transcripts against the pure state machine.

spec: IRCv3 capability-negotiation, sasl-3.1, account-registration; RFC2812 3.1
"""

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.irc.connection import (
    PHASES,
    SASL_STATES,
    Close,
    Complete,
    IrcConnection,
    Phase,
    RegisterAccount,
    Reply,
    SaslAbort,
    SaslResponse,
    SaslStart,
    SaslState,
    Step,
)
from tripoint.irc.wire import Line, LineReader, build_line, parse_line

OFFERED = {
    "batch": "",
    "cap-notify": "",
    "draft/account-registration": "before-connect",
    "multi-prefix": "",
    "sasl": "SCRAM-SHA-256,PLAIN",
}


def connection(**options: bool) -> IrcConnection:
    return IrcConnection("irc.example", OFFERED, ("SCRAM-SHA-256", "PLAIN"), **options)


def say(irc: IrcConnection, text: str) -> list[str | Step]:
    """Replies as text without CR LF; other steps as they are."""
    line = parse_line(text.encode())
    assert isinstance(line, Line)
    return show(irc.receive(line))


def show(steps: list[Step]) -> list[str | Step]:
    return [
        build_line(step.command, *step.params).decode().removesuffix("\r\n") if isinstance(step, Reply) else step
        for step in steps
    ]


def run(irc: IrcConnection, script: str) -> None:
    """``C:`` lines go in; the ``S:`` lines after each must be exactly the replies; ``!`` lines the other steps."""
    got: list[str | Step] = []
    for raw in script.strip().splitlines():
        mark, _, text = raw.strip().partition(" ")
        if mark == "C:":
            assert not got
            got = say(irc, text)
        else:
            assert got, f"nothing came where {text} was expected"
            first = got.pop(0)
            assert (first if isinstance(first, str) else repr(first)) == text
    assert not got


def test_without_capabilities() -> None:
    irc = connection()
    assert say(irc, "NICK dan") == []
    assert say(irc, "USER d * 0 :A name") == [Complete("dan", "d", "A name", None)]
    assert irc.phase is Phase.CHECKING
    irc.accepted("dan")
    assert irc.phase is Phase.REGISTERED


def test_negotiation() -> None:
    # spec: capability-negotiation "Example with capability negotiation"
    irc = connection()
    run(
        irc,
        """
        C: CAP LS 302
        S: CAP * LS :batch cap-notify draft/account-registration=before-connect multi-prefix sasl=SCRAM-SHA-256,PLAIN
        C: NICK dan
        C: USER d * 0 :This is a really good name
        C: CAP REQ :multi-prefix
        S: CAP dan ACK multi-prefix
        C: CAP LIST
        S: CAP dan LIST :cap-notify multi-prefix
        C: CAP END
        ! Complete(nick='dan', username='d', realname='This is a really good name', login=None)
        """,
    )
    assert irc.caps == {"cap-notify", "multi-prefix"}


def test_values_are_for_302_alone() -> None:
    run(
        connection(),
        """
        C: CAP LS
        S: CAP * LS :batch cap-notify draft/account-registration multi-prefix sasl
        C: CAP LIST
        S: CAP * LIST :
        C: CAP LS 307
        S: CAP * LS :batch cap-notify draft/account-registration=before-connect multi-prefix sasl=SCRAM-SHA-256,PLAIN
        C: CAP LS
        S: CAP * LS :batch cap-notify draft/account-registration multi-prefix sasl
        C: CAP LIST
        S: CAP * LIST cap-notify
        """,
    )


def test_a_request_is_taken_whole_or_not_at_all() -> None:
    irc = connection()
    run(
        irc,
        """
        C: CAP REQ :multi-prefix ex3 sasl
        S: CAP * NAK :multi-prefix ex3 sasl
        C: CAP REQ :multi-prefix -batch
        S: CAP * ACK :multi-prefix -batch
        C: CAP REQ :-multi-prefix sasl
        S: CAP * ACK :-multi-prefix sasl
        C: CAP REQ :
        S: CAP * ACK :
        """,
    )
    assert irc.caps == {"sasl"}


def test_cap_notify_cannot_be_disabled_with_302() -> None:
    run(
        connection(),
        """
        C: CAP REQ cap-notify
        S: CAP * ACK cap-notify
        C: CAP REQ -cap-notify
        S: CAP * ACK -cap-notify
        C: CAP LS 302
        S: CAP * LS :batch cap-notify draft/account-registration=before-connect multi-prefix sasl=SCRAM-SHA-256,PLAIN
        C: CAP REQ -cap-notify
        S: CAP * NAK -cap-notify
        """,
    )


def test_errors_before_registration() -> None:
    run(
        connection(),
        """
        C: CAP
        S: 461 * CAP :Not enough parameters
        C: CAP FOO
        S: 410 * FOO :Invalid CAP command
        C: JOIN #tea
        S: 451 * :You have not registered
        C: NICK
        S: 431 * :No nickname given
        C: NICK 0wn:er
        S: 432 * 0wn:er :Erroneous nickname
        C: NICK :a b
        S: 432 * * :Erroneous nickname
        C: USER a
        S: 461 * USER :Not enough parameters
        C: NICK jw
        C: CAP FOO
        S: 410 jw FOO :Invalid CAP command
        C: PING
        S: 409 jw :No origin specified
        C: PING x
        S: PONG irc.example x
        C: PASS
        S: 461 jw PASS :Not enough parameters
        C: PASS secret
        S: 464 jw :Send PASS account:password
        """,
    )


def test_quit_closes() -> None:
    irc = connection()
    assert say(irc, "QUIT :bye") == [Close("Quit: bye")]
    assert irc.phase is Phase.CLOSED


def test_pass_is_handed_over_with_the_registration() -> None:
    irc = connection()
    say(irc, "PASS alice:se:cret")
    say(irc, "NICK alice")
    assert say(irc, "USER a 0 * :A") == [Complete("alice", "a", "A", ("alice", "se:cret"))]


def test_pass_needs_tls_where_passwords_are_not_allowed() -> None:
    irc = connection(passwords_allowed=False)
    assert say(irc, "PASS alice:x") == ["464 * :Passwords need TLS here: connect to the TLS port"]
    say(irc, "NICK alice")
    assert say(irc, "REGISTER * * x") == [
        "FAIL REGISTER TEMPORARILY_UNAVAILABLE * :Passwords need TLS here: connect to the TLS port"
    ]
    assert say(irc, "USER a 0 * :A") == [Complete("alice", "a", "A", None)]


def test_a_refused_nick_is_asked_for_again() -> None:
    irc = connection()
    say(irc, "NICK dan")
    say(irc, "USER d * 0 :D")
    irc.nick_refused()
    assert say(irc, "CAP LIST") == ["CAP * LIST :"]
    assert say(irc, "NICK dan2") == [Complete("dan2", "d", "D", None)]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_sasl_plain() -> None:
    # spec: sasl-3.1 "Example protocol exchange"
    irc = connection()
    run(
        irc,
        """
        C: CAP REQ :sasl
        S: CAP * ACK sasl
        C: NICK jilles
        C: USER jilles cheetah.stack.nl 1 :Jilles Tjoelker
        C: AUTHENTICATE PLAIN
        ! SaslStart(mechanism='PLAIN')
        """,
    )
    assert show(irc.sasl_challenge(b"")) == ["AUTHENTICATE +"]
    assert say(irc, "AUTHENTICATE amlsbGVzAGppbGxlcwBzZXNhbWU=") == [SaslResponse(b"jilles\0jilles\0sesame")]
    assert show(irc.sasl_succeeded("jilles")) == [
        "900 jilles jilles!jilles@irc.example jilles :You are now logged in as jilles",
        "903 jilles :SASL authentication successful",
    ]
    assert say(irc, "AUTHENTICATE PLAIN") == ["907 jilles :You have already authenticated using SASL"]
    assert say(irc, "CAP END") == [Complete("jilles", "jilles", "Jilles Tjoelker", None)]


@pytest.mark.parametrize("size", [0, 1, 299, 300, 301, 600, 2000])
def test_responses_are_cut_into_chunks_of_400(size: int) -> None:
    irc = connection()
    say(irc, "CAP REQ sasl")
    say(irc, "AUTHENTICATE SCRAM-SHA-256")
    sent = [step for step in irc.sasl_challenge(b"x" * size) if isinstance(step, Reply)]
    texts = [step.params[0] for step in sent]
    assert all(len(text) == 400 for text in texts[:-1])
    assert len(texts[-1]) < 400
    assert base64.b64decode("".join(texts).replace("+", "" if texts[-1] == "+" else "+")) == b"x" * size
    got: list[str | Step] = []
    for text in texts:
        assert not got
        got = say(irc, f"AUTHENTICATE {text}")
    assert got == [SaslResponse(b"x" * size)]


def test_sasl_errors() -> None:
    irc = connection()
    run(
        irc,
        """
        C: AUTHENTICATE PLAIN
        S: 904 * :SASL authentication failed: ask for the sasl capability first
        C: CAP REQ sasl
        S: CAP * ACK sasl
        C: AUTHENTICATE
        S: 461 * AUTHENTICATE :Not enough parameters
        C: AUTHENTICATE FOO
        S: 908 * SCRAM-SHA-256,PLAIN :are available SASL mechanisms
        S: 904 * :SASL authentication failed
        C: AUTHENTICATE *
        S: 906 * :SASL authentication aborted
        C: AUTHENTICATE plain
        ! SaslStart(mechanism='PLAIN')
        """,
    )
    irc.sasl_challenge(b"")
    assert say(irc, "AUTHENTICATE *") == [SaslAbort(), "906 * :SASL authentication aborted"]
    assert irc.sasl is SaslState.IDLE
    say(irc, "AUTHENTICATE PLAIN")
    irc.sasl_challenge(b"")
    assert say(irc, "AUTHENTICATE " + "a" * 401) == [SaslAbort(), "905 * :SASL message too long"]
    say(irc, "AUTHENTICATE PLAIN")
    irc.sasl_challenge(b"")
    assert say(irc, "AUTHENTICATE !!!") == [
        SaslAbort(),
        "904 * :SASL authentication failed: that is not base64",
    ]


def test_a_response_is_bounded() -> None:
    irc = connection()
    say(irc, "CAP REQ sasl")
    say(irc, "AUTHENTICATE PLAIN")
    irc.sasl_challenge(b"")
    for _ in range(8):
        assert say(irc, "AUTHENTICATE " + "a" * 400) == []
    assert say(irc, "AUTHENTICATE " + "a" * 400) == [SaslAbort(), "905 * :SASL message too long"]


def test_too_many_failures_close() -> None:
    irc = connection()
    say(irc, "CAP REQ sasl")
    replies: list[str | Step] = []
    for _ in range(3):
        say(irc, "AUTHENTICATE PLAIN")
        irc.sasl_challenge(b"")
        say(irc, f"AUTHENTICATE {b64(b'x')}")
        replies = show(irc.sasl_failed())
    assert replies == ["904 * :SASL authentication failed", Close("Too many SASL authentication failures")]
    assert irc.phase is Phase.CLOSED


def test_registration_does_not_wait_for_sasl() -> None:
    # spec: sasl-3.1: "the server SHOULD abort it and send a 906 numeric, then register the client"
    irc = connection()
    say(irc, "CAP REQ sasl")
    say(irc, "NICK a")
    say(irc, "USER a 0 * :A")
    say(irc, "AUTHENTICATE PLAIN")
    irc.sasl_challenge(b"")
    assert say(irc, "CAP END") == [
        SaslAbort(),
        "906 a :SASL authentication aborted",
        Complete("a", "a", "A", None),
    ]


def test_account_registration_before_connect() -> None:
    # spec: account-registration "before-connect"
    irc = connection()
    assert say(irc, "REGISTER * * pw") == ["FAIL REGISTER NEED_NICK * :Send NICK first"]
    say(irc, "NICK tester")
    assert say(irc, "REGISTER *") == ["461 tester REGISTER :Not enough parameters"]
    assert say(irc, "REGISTER * tester@example.org hunter2") == [RegisterAccount("tester", "hunter2")]
    assert show(irc.account_made("tester")) == [
        "REGISTER SUCCESS tester :Account successfully registered",
        "900 tester tester!tester@irc.example tester :You are now logged in as tester",
    ]
    assert say(irc, "REGISTER other * pw") == ["FAIL REGISTER ALREADY_AUTHENTICATED tester :You are already logged in"]


def test_long_lists_are_continued() -> None:
    # spec: capability-negotiation "Multiline replies": all but the last have an asterisk before the list
    offered = {f"example.org/capability-number-{number}": "value" for number in range(60)}
    irc = IrcConnection("irc.example", offered)
    line = parse_line(b"CAP LS 302")
    assert isinstance(line, Line)
    steps = [step for step in irc.receive(line) if isinstance(step, Reply)]
    assert [step.params[2] for step in steps[:-1]] == ["*"] * (len(steps) - 1)
    words = " ".join(step.params[-1] for step in steps).split()
    assert words == [f"{name}=value" for name in offered]
    assert all(len(build_line(step.command, *step.params, source="irc.example")) <= 512 for step in steps)


def test_tables_are_closed() -> None:
    """Nothing leaves CLOSED or DONE, and every other state can be left."""
    assert all(phase is not Phase.CLOSED for phase, _ in PHASES)
    assert {phase for phase, _ in PHASES} == set(Phase) - {Phase.CLOSED}
    assert all(state is not SaslState.DONE for state, _ in SASL_STATES)
    assert {state for state, _ in SASL_STATES} == set(SaslState) - {SaslState.DONE}


WORDS = ("CAP", "LS", "302", "REQ", "sasl", "END", "NICK", "a", "USER", "AUTHENTICATE", "PLAIN", "*", "+", "YQ==")


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), max_size=30))
def test_any_order_of_commands_is_answered(script: list[str]) -> None:
    irc = connection()
    for text in script:
        if not isinstance(parse_line(text.encode()), Line):
            continue
        for step in say(irc, text):
            if isinstance(step, SaslStart):
                irc.sasl_challenge(b"")
            elif isinstance(step, SaslResponse):
                irc.sasl_failed()
            elif isinstance(step, Complete):
                irc.nick_refused()
            elif isinstance(step, RegisterAccount):
                irc.account_made("a")
        if irc.phase is Phase.CLOSED:
            break


@given(st.binary(max_size=300))
def test_garbage_is_answered(data: bytes) -> None:
    irc = connection()
    for line in itertools.islice(LineReader().receive(data + b"\n"), 10):
        if isinstance(line, Line):
            show(irc.receive(line))
            if irc.phase is Phase.CHECKING:
                irc.nick_refused()
            if irc.sasl is SaslState.DRIVER:
                irc.sasl_challenge(b"")


def test_a_subcommand_with_spaces_is_not_repeated() -> None:
    """Found by fuzzing: a trailing parameter is not fit for the middle of the answer."""
    assert say(connection(), "CAP :a b ") == ["410 * * :Invalid CAP command"]


def test_an_initial_response_comes_with_the_mechanism() -> None:
    # spec: IRCv3 proposal-520-sasl-ir "Implementation", "Example protocol exchange"
    irc = connection()
    say(irc, "CAP REQ :sasl")
    token = base64.b64encode(b"\0dan\0pw").decode()
    assert say(irc, f"AUTHENTICATE PLAIN {token}") == [SaslStart("PLAIN")]
    assert irc.sasl_challenge(b"") == [SaslResponse(b"\0dan\0pw")]
    assert irc.sasl is SaslState.DRIVER
    # "+" is an empty one; what is no base64 fails as it does in a line of its own.
    irc = connection()
    say(irc, "CAP REQ :sasl")
    say(irc, "AUTHENTICATE PLAIN +")
    assert irc.sasl_challenge(b"") == [SaslResponse(b"")]
    irc = connection()
    say(irc, "CAP REQ :sasl")
    say(irc, "AUTHENTICATE PLAIN !!")
    assert isinstance(irc.sasl_challenge(b"")[0], SaslAbort)
    assert irc.sasl is SaslState.IDLE
    # A response of more than 400 bytes goes on in lines of its own.
    irc = connection()
    say(irc, "CAP REQ :sasl")
    long = base64.b64encode(b"x" * 400).decode()
    say(irc, f"AUTHENTICATE PLAIN {long[:400]}")
    assert irc.sasl_challenge(b"") == []
    assert say(irc, f"AUTHENTICATE {long[400:]}") == [SaslResponse(b"x" * 400)]
    # What was said with a mechanism that there is not is forgotten.
    irc = connection()
    say(irc, "CAP REQ :sasl")
    say(irc, f"AUTHENTICATE X-NOTHING {token}")
    say(irc, "AUTHENTICATE PLAIN")
    assert show(irc.sasl_challenge(b"")) == ["AUTHENTICATE +"]


def test_what_the_server_supports_before_001() -> None:
    # spec: IRCv3 extended-isupport "Examples"
    offered = {"batch": "", "draft/extended-isupport": ""}
    tokens = tuple(f"T{number}" for number in range(14))
    irc = IrcConnection("irc.example", offered, isupport=tokens)
    assert say(irc, "ISUPPORT") == ["451 * :You have not registered"]
    say(irc, "CAP REQ :draft/extended-isupport")
    assert say(irc, "ISUPPORT") == [
        f"005 * {' '.join(tokens[:13])} :are supported by this server",
        "005 * T13 :are supported by this server",
    ]
    say(irc, "CAP REQ :batch")
    line = parse_line(b"ISUPPORT")
    assert isinstance(line, Line)
    steps = irc.receive(line)
    assert show(steps)[0] == "BATCH +isupport draft/isupport"
    assert show(steps)[-1] == "BATCH -isupport"
    assert [step.batch for step in steps if isinstance(step, Reply)] == ["", "isupport", "isupport", ""]


def test_away_before_001() -> None:
    # spec: IRCv3 pre-away
    irc = IrcConnection("irc.example", {"draft/pre-away": ""})
    assert say(irc, "AWAY :lunch") == ["451 * :You have not registered"]
    assert irc.away is None
    say(irc, "CAP REQ :draft/pre-away")
    assert say(irc, "AWAY :lunch") == ["306 * :You have been marked as being away"]
    assert irc.away == "lunch"
    assert say(irc, "AWAY *") == ["306 * :You have been marked as being away"]
    assert irc.away == "*"
    assert say(irc, "AWAY") == ["305 * :You are no longer marked as being away"]
    assert irc.away is None


def test_what_is_not_done_before_001() -> None:
    run(
        connection(),
        """
        C: VERIFY dan 1234
        S: FAIL VERIFY INVALID_CODE dan :Accounts need no verification here: REGISTER is all
        C: VERIFY dan
        S: 461 * VERIFY :Not enough parameters
        C: SERVICE dict * *.org 0 0 :French
        S: 421 * SERVICE :Services cannot register here
        C: OPER dan pw
        S: 451 * :You have not registered
        """,
    )
