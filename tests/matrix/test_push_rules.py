"""Push rules and tags over the API.  spec: Matrix client-server modules push, tags"""

from pathlib import Path
from typing import Any

from tests.matrix.client import Client, matrix, q
from tests.support.middle import run
from tripoint.store.sqlite import SqliteStore

G = "/pushrules/global"


def rules_in(answer: Any) -> Any:
    """The rules that a sync tells of, or None."""
    events = answer.get("account_data", {}).get("events", [])
    found = [event["content"]["global"] for event in events if event["type"] == "m.push_rules"]
    assert len(found) <= 1
    return found[0] if found else None


def named(rules: Any, kind: str) -> list[str]:
    return [rule["rule_id"] for rule in rules[kind] if not rule["default"]]


def test_rules_are_written_read_and_told(tmp_path: Path) -> None:
    async def work() -> None:
        async with matrix(store=SqliteStore(tmp_path / "t.db")) as server:
            alice = await server.register("alice")
            assert rules_in(await alice.sync())["override"][0]["rule_id"] == ".m.rule.master"
            assert rules_in(await alice.sync()) is None
            cake = {"pattern": "cake", "actions": ["notify", {"set_tweak": "sound", "value": "x"}]}
            await alice.call("PUT", f"{G}/content/cake", cake)
            await alice.call("PUT", f"{G}/content/tea", {"pattern": "tea", "actions": []})
            await alice.call("PUT", f"{G}/content/milk", {"pattern": "milk", "actions": []}, after="tea")
            told = rules_in(await alice.sync())
            assert named(told, "content") == ["tea", "milk", "cake"]
            assert (await alice.call("GET", "/pushrules/"))["global"] == told == await alice.call("GET", f"{G}/")
            data = await alice.call("GET", f"/user/{q(alice.user_id)}/account_data/m.push_rules")
            assert data["global"] == told
            whole = {"rule_id": "cake", "default": False, "enabled": True, **cake}
            assert await alice.call("GET", f"{G}/content/cake") == whole
            await alice.call("PUT", f"{G}/content/cake/enabled", {"enabled": False})
            await alice.call("PUT", f"{G}/override/.m.rule.master/enabled", {"enabled": True})
            await alice.call("PUT", f"{G}/underride/.m.rule.message/actions", {"actions": ["dont_notify"]})
            assert await alice.call("GET", f"{G}/content/cake/enabled") == {"enabled": False}
            assert await alice.call("GET", f"{G}/underride/.m.rule.message/actions") == {"actions": []}
            await alice.call("DELETE", f"{G}/content/tea")
            assert named(rules_in(await alice.sync()), "content") == ["milk", "cake"]
            token = alice.token
        async with matrix(store=SqliteStore(tmp_path / "t.db")) as server:
            again = Client(server, {"user_id": alice.user_id, "device_id": alice.device_id, "access_token": token})
            rules = rules_in(await again.sync())
            assert named(rules, "content") == ["milk", "cake"] and rules["override"][0]["enabled"] is True

    run(work)


def test_what_is_refused_says_why() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            body = {"actions": []}
            for method, path, given, wanted in (
                ("GET", "/override/none", None, (404, "M_NOT_FOUND")),
                ("GET", "/nothing/none", None, (404, "M_NOT_FOUND")),
                ("DELETE", "/override/none", None, (404, "M_NOT_FOUND")),
                ("DELETE", "/override/.m.rule.master", None, (400, "M_INVALID_PARAM")),
                ("PUT", "/override/.own", body, (400, "M_INVALID_PARAM")),
                ("PUT", "/nothing/own", body, (400, "M_INVALID_PARAM")),
                ("PUT", f"/override/{q('a/b')}", body, (400, "M_INVALID_PARAM")),
                ("PUT", "/content/own", body, (400, "M_INVALID_PARAM")),
                ("PUT", "/override/own", {}, (400, "M_INVALID_PARAM")),
                ("PUT", "/override/own", [], (400, "M_BAD_JSON")),
                ("PUT", "/override/.m.rule.master/enabled", {}, (400, "M_MISSING_PARAM")),
                ("PUT", "/override/.m.rule.master/enabled", {"enabled": 1}, (400, "M_BAD_JSON")),
                ("PUT", "/override/none/enabled", {"enabled": True}, (404, "M_NOT_FOUND")),
                ("PUT", "/override/.m.rule.master/actions", {}, (400, "M_MISSING_PARAM")),
                ("PUT", "/override/none/actions", body, (404, "M_NOT_FOUND")),
            ):
                assert await alice.refused(method, G + path, given) == wanted, (method, path, given)
            beside = await alice.refused("PUT", f"{G}/override/own", body, before="none")
            assert beside == (400, "M_UNKNOWN")
            large = {"pattern": "x" * 140_000, "actions": []}
            assert await alice.refused("PUT", f"{G}/content/own", large) == (413, "M_TOO_LARGE")
            assert named((await alice.call("GET", "/pushrules"))["global"], "override") == []

    run(work)


def test_a_rule_about_a_room_goes_over_to_the_one_that_replaces_it() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice = await server.register("alice")
            room = await alice.create()
            await alice.call("PUT", f"{G}/room/{q(room)}", {"actions": []})
            await alice.call("PUT", f"/user/{q(alice.user_id)}/rooms/{q(room)}/tags/m.favourite", {"order": 0.5})
            new = (await alice.call("POST", f"/rooms/{q(room)}/upgrade", {"new_version": "12"}))["replacement_room"]
            await server.party.middle.following.settled()
            assert named((await alice.call("GET", "/pushrules"))["global"], "room") == [new, room]
            tags = await alice.call("GET", f"/user/{q(alice.user_id)}/rooms/{q(new)}/tags")
            assert tags == {"tags": {"m.favourite": {"order": 0.5}}}

    run(work)


def test_tags() -> None:
    async def work() -> None:
        async with matrix() as server:
            alice, bob = await server.register("alice"), await server.register("bob")
            room = await alice.create()
            await alice.sync()
            tags = f"/user/{q(alice.user_id)}/rooms/{q(room)}/tags"
            assert await alice.call("GET", tags) == {"tags": {}}
            await alice.call("PUT", f"{tags}/m.favourite", {"order": 0.25})
            await alice.call("PUT", f"{tags}/u.work", {})
            both = {"tags": {"m.favourite": {"order": 0.25}, "u.work": {}}}
            assert await alice.call("GET", tags) == both
            told = (await alice.sync())["rooms"]["join"][room]["account_data"]["events"]
            assert told == [{"type": "m.tag", "content": both}]
            await alice.call("DELETE", f"{tags}/m.favourite")
            await alice.call("DELETE", f"{tags}/m.favourite")
            assert await alice.call("GET", tags) == {"tags": {"u.work": {}}}
            assert await bob.refused("GET", tags) == (403, "M_FORBIDDEN")
            assert await alice.refused("PUT", f"{tags}/{'x' * 256}", {}) == (400, "M_INVALID_PARAM")
            for order in ("1", 2, True, None):
                assert await alice.refused("PUT", f"{tags}/u.x", {"order": order}) == (400, "M_INVALID_PARAM")
            path = f"/user/{q(alice.user_id)}/rooms/tea/tags"
            assert await alice.refused("GET", path) == (400, "M_INVALID_PARAM")

    run(work)
