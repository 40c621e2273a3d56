"""Keys of metadata and fields of profiles; and channels whose members are too many to be told of at once."""

import asyncio

import pytest

from tests.irc.server import serve
from tripoint.irc import metadata
from tripoint.irc.metadata import field_of, is_key, key_of, value_of


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("display-name", "displayname"),
        ("url", "dev.tripoint.irc.url"),
        ("im.xmpp", "im.xmpp"),
        ("m.tz", "m.tz"),
        ("avatar", "avatar_url"),
        ("2fa.state", "dev.tripoint.irc.2fa.state"),
    ],
)
def test_keys_are_fields_and_the_other_way_round(key: str, field: str) -> None:
    assert is_key(key) and field_of(key) == field and key_of(field) == key


def test_what_has_no_other_form() -> None:
    assert field_of("soju.im/pinned") is field_of("a" * 250) is None
    assert key_of("x" * 201) is None
    assert not any(map(is_key, ("", "A", "a b", "a$", "ä", "a\n")))
    assert value_of("UTC") == "UTC" and value_of({"a": 1}) == '{"a":1}'


def test_a_large_channel_is_told_of_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            bob.send("JOIN #tea")
            await bob.expect(":bob!bob@example.org JOIN #tea")
            alice = await server.account("alice", metadata.CAPABILITY, "batch", "no-implicit-names")
            alice.send("METADATA * SUB display-name")
            await alice.expect(":example.org 770 alice :display-name")
            alice.send("JOIN #tea")
            await alice.expect(":alice!alice@example.org JOIN #tea")
            await alice.expect(":example.org 774 alice #tea 4")
            await alice.expect(":example.org NOTICE alice :[#tea] *")
            alice.send("METADATA #tea SYNC")
            await alice.expect(":example.org BATCH +b* metadata #tea")
            await alice.expect("@batch=b* :example.org METADATA bob display-name * bob")
            await alice.expect("@batch=b* :example.org METADATA alice display-name * alice")
            await alice.expect(":example.org BATCH -b*")

    monkeypatch.setattr(metadata, "SYNC_AT_ONCE", 1)
    asyncio.run(work())


def test_values_are_utf8() -> None:
    async def work() -> None:
        async with serve() as server:
            alice = await server.account("alice", metadata.CAPABILITY, "batch", "standard-replies")
            alice.send_bytes(b"METADATA * SET url :caf\xe9\r\n")
            await alice.expect(":example.org WARN METADATA INVALID_UTF8 :*")
            await alice.expect(":example.org FAIL METADATA VALUE_INVALID :Metadata is UTF-8")
            alice.send("METADATA * GET url")
            await alice.until(" 766 alice alice url ")

    asyncio.run(work())


def test_subscriptions_are_bounded() -> None:
    async def work() -> None:
        async with serve() as server:
            alice = await server.account("alice", metadata.CAPABILITY, "batch", "standard-replies")
            for start in range(0, 50, 10):
                keys = [f"k{number}" for number in range(start, start + 10)]
                alice.send(f"METADATA * SUB {' '.join(keys)}")
                await alice.expect(":example.org 770 alice *")
            alice.send("METADATA * SUB more and k1")
            await alice.expect(":example.org FAIL METADATA TOO_MANY_SUBS more :Too many subscriptions")
            alice.send("METADATA * SUBS")
            await alice.expect(":example.org BATCH +b* metadata-subs")
            for _ in range(5):
                await alice.expect("@batch=b* :example.org 772 alice *")
            await alice.expect(":example.org BATCH -b*")

    asyncio.run(work())
