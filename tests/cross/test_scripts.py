"""Every file in scripts/: three protocols in one script, in memory and over real sockets.

A script is lines of `who protocol sign text`; with `# servers: remote.org` above them there is another server too,
whose people are called `who@remote.org`:
  =   logs in: `account [caps]`, `admin [caps]` (an administrator) or `guest [caps]`; for XMPP `account [silent]`;
      `stranger` has only connected
  >   sends: a line, a stanza, or for Matrix `say #alias words` or `METHOD path [body]`; «x*9» is nine times an x,
      \\xe9 a byte that is not UTF-8
  <   is the next thing that must come; `*` stands for anything, «name» for an id that is the same wherever
      the name stands. JSON of Matrix needs to hold at least what is written
  ~   comes, perhaps after other things
  -   nothing has come
  .   what came so far does not matter
  ?   the status (and a part of the body) of the last Matrix answer, or of what the last address on the web answered:
      `who web > METHOD address [type filename text]`, with the account's password or token
  link > cut, link > mend (whoever says it): what the servers ask each other waits meanwhile
  ??  as ? of Matrix, for what is done behind an answer: it is asked again until it is so
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cross.world import PATIENCE_S, SERVER, MatrixPerson, Person, WebPerson, World, world, worlds

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
NAMES = dict[str, str]


def matches(wanted: str, got: str, names: NAMES) -> bool:
    """Whether `got` is what the script says; ids that stand here for the first time are remembered."""
    if wanted.startswith("{"):
        found = dict(names)
        if not holds(orjson.loads(wanted), orjson.loads(got), found):
            return False
        names.update(found)
        return True
    return _text(wanted, got, names)


def _text(wanted: str, got: str, names: NAMES) -> bool:
    pattern, fresh = "", []
    for part in re.split(r"(\*|«\w+»)", wanted):
        if part == "*":
            pattern += ".*?"
        elif part.startswith("«"):
            name = part[1:-1]
            if name in names:
                pattern += re.escape(names[name])
            elif name in fresh:
                pattern += f"(?P={name})"
            else:
                fresh.append(name)
                pattern += rf"(?P<{name}>[^\s;\"'<>]+)"
        else:
            pattern += re.escape(part)
    found = re.fullmatch(pattern, got, re.S)
    if found is None:
        return False
    names.update(found.groupdict())
    return True


def holds(wanted: Any, got: Any, names: NAMES) -> bool:
    """Whether `got` holds at least `wanted`."""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(key in got and holds(wanted[key], got[key], names) for key in wanted)
    if isinstance(wanted, list):
        return (
            isinstance(got, list)
            and len(got) == len(wanted)
            and all(holds(one, other, names) for one, other in zip(wanted, got, strict=True))
        )
    if isinstance(wanted, str) and isinstance(got, str):
        return _text(wanted, got, names)
    return bool(wanted == got)


def other_servers(text: str) -> list[str]:
    """The servers besides the first that a script has people on."""
    return [line.removeprefix("# servers:").strip() for line in text.splitlines() if line.startswith("# servers:")]


def unescaped(text: str) -> str:
    """What a script cannot hold as it is: controls, and bytes that are no UTF-8."""
    text = text.replace("\\x02", "\x02").replace("\\x1d", "\x1d").replace("\\x01", "\x01")
    return re.sub(r"\\x([89a-f][0-9a-f])", lambda found: chr(0xDC00 + int(found[1], 16)), text)


async def play(at: World, text: str, others: Mapping[str, World] | None = None) -> None:
    people: dict[tuple[str, str], Person] = {}
    names: NAMES = {}
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.startswith("#"):
            continue
        who, protocol, sign, rest = [*raw.split(None, 3), ""][:4]
        rest = unescaped(rest)
        if rest.startswith("<"):
            rest = rest.replace("\\n", "\n")
        try:
            server = who.partition("@")[2]
            await _step((others or {})[server] if server else at, people, names, (who, protocol), sign, rest)
        except (AssertionError, TimeoutError, EOFError) as error:
            came = type(error).__name__ if not str(error) else str(error)
            raise AssertionError(f"line {number}: {raw}\n{came}") from error


async def _step(
    at: World, people: dict[tuple[str, str], Person], names: NAMES, key: tuple[str, str], sign: str, rest: str
) -> None:
    if key[1] == "link":
        # What the servers have to say to each other waits while it is cut.
        {"cut": at.link.cut, "mend": at.link.mend}[rest]()
        return
    if sign == "=":
        kind, *caps = rest.split()
        people[key] = await at.person(key[0].partition("@")[0].rstrip("0123456789"), key[1], kind, caps)
        return
    person = people[key]
    if sign == ">":
        rest = re.sub(r"«(\w)\*(\d+)»", lambda found: found[1] * int(found[2]), rest)
        for name, value in names.items():
            rest = rest.replace(f"«{name}»", value)
        await person.send(rest)
    elif sign == "<":
        got = await person.next()
        assert matches(rest, got, names), f"there came {got!r}"
    elif sign == "~":
        async with asyncio.timeout(PATIENCE_S):
            passed = []
            while True:
                passed.append(await person.next())
                if matches(rest, passed[-1], names):
                    return
    elif sign == "-":
        pending = await person.pending()
        assert not pending, f"there came {pending}"
    elif sign == ".":
        await person.pending()
    elif sign == "?":
        wanted, _, part = rest.partition(" ")
        if isinstance(person, WebPerson):
            code, text = person.answer
            assert code == int(wanted), f"{code} {text}"
            assert not part or matches(part, text, names), text
            return
        assert isinstance(person, MatrixPerson)
        assert _is_answer(person, rest, names), f"{person.answer}"
    elif sign == "??":
        assert isinstance(person, MatrixPerson)
        async with asyncio.timeout(PATIENCE_S):
            while not _is_answer(person, rest, dict(names)):
                await asyncio.sleep(0.02)
                await person.send(person.asked)
    else:
        raise AssertionError(f"{sign} is no sign of a script")


def _is_answer(person: MatrixPerson, rest: str, names: NAMES) -> bool:
    status, body = person.answer
    wanted, _, part = rest.partition(" ")
    for name, value in names.items():
        part = part.replace(f'"«{name}»":', f'"{value}":')  # a key that is an id
    return status == int(wanted) and (not part or holds(orjson.loads(part), body, names))


@pytest.mark.parametrize("sockets", [False, True], ids=["memory", "sockets"])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path, sockets: bool, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    assert "spec:" in text.splitlines()[0], "the first line names the spec"

    async def run() -> None:
        others = other_servers(text)
        if others:
            async with worlds(tmp_path, [SERVER, *others], sockets=sockets) as made:
                await play(made[SERVER], text, made)
        else:
            async with world(tmp_path / "data", sockets=sockets) as at:
                await play(at, text)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_script_can_fail(tmp_path: Path) -> None:
    """The checks themselves: a line that does not come, one that should not, another id."""
    ids: NAMES = {}
    assert matches("@msgid=«a»;* :x", "@msgid=$1;time=2 :x", ids)
    assert not matches("@msgid=«a» :x", "@msgid=$2 :x", ids)
    assert not matches('{"event_id": "«a»"}', '{"event_id": "$2"}', ids)
    assert not matches('{"content": {"a": 1}}', '{"content": {"b": 1}}', ids)

    async def run(text: str) -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            await play(at, text)

    for text in (
        "alice irc = account\nalice irc > JOIN #tea\nalice irc -",
        "alice irc = account\nalice irc > JOIN #tea\nalice irc < :alice PART #tea",
        "alice matrix = account\nalice matrix > GET /nothing\nalice matrix ? 200",
    ):
        with pytest.raises(AssertionError, match="line "):
            asyncio.run(run(text))
