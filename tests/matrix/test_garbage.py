"""Every endpoint is fed what nobody should send: the answer is always Matrix's own, never a stack trace.

Paths, queries and bodies are drawn at random over all declared endpoints; a 5xx or an exception fails.
"""

import asyncio
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.matrix.client import Client, Server, matrix
from tripoint.matrix.frontend import ENDPOINT_CLASSES
from tripoint.matrix.registry import Endpoint, declared_endpoints

ENDPOINTS: list[Endpoint] = [
    endpoint for cls in ENDPOINT_CLASSES for _, declared in declared_endpoints(cls) for endpoint in declared
]
# What ends a session is left out: the others would only see M_UNKNOWN_TOKEN after it.
ENDING = ("logout", "deactivate", "password", "delete_devices", "devices")
KEPT = [e for e in ENDPOINTS if not any(word in e.paths[0] for word in ENDING)]

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "ROOM",
            "@alice:example.org",
            "#tea:example.org",
            "EVENT",
            "m.room.message",
            "m.room.member",
            "m.room.power_levels",
            "m.read",
            "..",
            "%00",
            "\x00",
            "!:",
            "@:",
            "#",
            "x" * 300,
        ]
    ),
)
_WORDS = """
membership users events filter room timeline state types limit rooms not_types invite preset
visibility name topic room_alias_name initial_state creation_content power_level_content_override
typing timeout user_id reason auth type session password identifier user username room_id content
displayname avatar_url alias alt_aliases join_rule allow history_visibility m.fully_read thread_id
presence status_msg since generic_search_term device_id room_version is_direct redacts refresh_token
device_keys one_time_keys fallback_keys messages keys signatures algorithms algorithm auth_data sessions rooms
app_id pushkey app_display_name device_display_name lang data url append profile_tag
actions conditions enabled pattern order set_tweak kind key value is
session_data version master_key self_signing_key user_signing_key usage device_data next_batch
lists ranges range required_state timeline_limit room_subscriptions extensions conn_id pos filters to_device enabled
"""
KEYS = st.sampled_from(_WORDS.split())
JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, TEXTS), inner, max_size=5)
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    st.dictionaries(st.one_of(KEYS, TEXTS), JSON, max_size=6).map(lambda value: _encode(value)),
    JSON.map(lambda value: _encode(value)),
    st.binary(max_size=50),
)
CALLS = st.lists(
    st.tuples(
        st.sampled_from(KEPT),
        st.lists(TEXTS, min_size=4, max_size=4),
        BODIES,
        st.dictionaries(
            st.sampled_from(["dir", "from", "to", "limit", "filter", "since", "timeout", "format", "kind", "at"]),
            st.one_of(TEXTS, st.sampled_from(["b", "f", "s1-1", "s1-5~x.1", "0", "{}", '{"room":{}}', "10"])),
            max_size=3,
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def _encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits, lone surrogates: what a hostile client can write all the same
        import json

        return json.dumps(value).encode("utf-8", "surrogatepass")


async def _play(calls: list[tuple[Endpoint, list[str], bytes, dict[str, str], bool]]) -> None:
    async with matrix() as server:
        alice = await server.register("alice")
        room_id = await alice.create(room_alias_name="tea", preset="public_chat")
        event_id = await alice.say(room_id, "hello")
        for endpoint, texts, body, query, with_token in calls:
            words = [t.replace("ROOM", room_id).replace("EVENT", event_id) for t in texts]
            path = endpoint.paths[0]
            while "{" in path:
                start, end = path.index("{"), path.index("}")
                path = path[:start] + quote(words.pop(0).encode("utf-8", "surrogatepass"), safe="") + path[end + 1 :]
            query.pop("timeout", None)
            await _call(server, alice, endpoint.method, path, body, query, with_token)
        # The room is still whole: somebody can speak, unless the garbage was a leave or a change of rules.
        assert (await alice.call("GET", "/account/whoami"))["user_id"] == alice.user_id


async def _call(
    server: Server, alice: Client, method: str, path: str, body: bytes, query: dict[str, str], with_token: bool
) -> None:
    token = alice.token if with_token else None
    response = await server.request(
        method,
        path,
        raw=body if method != "GET" else b"",
        token=token,
        parameters={k: v.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for k, v in query.items()},
    )
    assert response.status < 500, (method, path, body, response.body)
    if response.status in (302, 303):
        # What is for people is a page, elsewhere on this server.
        target = dict(response.headers)[b"location"].decode()
        assert target.startswith(("/", "https://chat.example.org/")) and not target.startswith("//"), target
        return
    answer = orjson.loads(response.body)
    if response.status == 401 and "flows" in answer and "errcode" not in answer:
        # spec: user-interactive-authentication-api: what a client does next is no error, but where a stage failed.
        assert answer["session"], answer
    elif response.status >= 400:
        assert answer["errcode"].startswith("M_"), answer
        assert isinstance(answer["error"], str)


@settings(max_examples=150, deadline=None)
@given(CALLS)
def test_no_endpoint_breaks(calls: list[tuple[Endpoint, list[str], bytes, dict[str, str], bool]]) -> None:
    asyncio.run(_play(calls))


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None)
@given(CALLS)
def test_no_endpoint_breaks_for_long(calls: list[tuple[Endpoint, list[str], bytes, dict[str, str], bool]]) -> None:
    asyncio.run(_play(calls))


def test_all_endpoints_are_drawn_from() -> None:
    assert len(ENDPOINTS) > 60
    assert len(KEPT) > 50
