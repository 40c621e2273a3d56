"""Every store keeps the promises of store/contact_store.py and preview_store.py."""

from tests.contract.test_store import OnStore, on_store, write
from tripoint.core.ids import UserId
from tripoint.store.contact_writes import (
    PutAccepted,
    PutBinding,
    PutDigest,
    PutThreePid,
    PutValidation,
    TrimValidations,
)
from tripoint.store.interface import Store
from tripoint.store.preview_store import PutPreview
from tripoint.store.writes import DropAccount

__all__ = ["on_store"]
ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")


def test_third_party_identifiers_are_one_accounts(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        assert await store.load_threepid("email", "a@b.example") is None
        one = PutThreePid("email", "a@b.example", ALICE, 5, 6)
        two = PutThreePid("email", "z@b.example", ALICE, 7, 8)
        other = PutThreePid("email", "o@b.example", BOB, 9, 10)
        await write(store, two, one, other)
        assert await store.load_threepid("email", "a@b.example") == one
        assert await store.load_threepids(ALICE) == [one, two]
        await write(store, PutThreePid("email", "z@b.example", None))
        assert await store.load_threepids(ALICE) == [one]
        await write(store, DropAccount(ALICE))
        assert await store.load_threepid("email", "a@b.example") is None
        assert await store.load_threepids(BOB) == [other]

    on_store(work)


def test_validations_expire(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        assert await store.load_validation("one") is None
        one = PutValidation("one", "add", "a@b.example", b"s", b"t", 1, "https://b.example/", ALICE, None, 50)
        two = PutValidation("two", "reset", "a@b.example", b"s", None, 2, None, None, 40, 60)
        other = PutValidation("other", "add", "o@b.example", b"s", b"t", 1, None, BOB, None, 70)
        await write(store, two, one, other)
        assert await store.load_validation("one") == one
        assert await store.load_validations_of("a@b.example") == [one, two]
        assert await store.count_validations() == 3
        await write(store, PutValidation("two", None))
        assert await store.load_validations_of("a@b.example") == [one]
        await write(store, TrimValidations(50))
        assert await store.load_validation("one") is None
        assert await store.load_validation("other") == other
        await write(store, DropAccount(BOB))
        assert await store.count_validations() == 0

    on_store(work)


def test_digests_go_with_their_accounts(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        one, other = PutDigest(ALICE, "m.email", "a@b.example", b"1"), PutDigest(BOB, "m.email", "b@b.example", b"2")
        await write(store, one, other, PutDigest(ALICE, "m.email", "gone@b.example", b"3"))
        await write(store, PutDigest(ALICE, "m.email", "gone@b.example", None))
        assert {row.user_id: row for row in await store.load_digests()} == {ALICE: one, BOB: other}
        await write(store, DropAccount(ALICE))
        assert await store.load_digests() == [other]

    on_store(work)


def test_previews_go_the_oldest_first(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        assert await store.load_preview("https://a.example/", "en") is None
        english = PutPreview("https://a.example/", "en", b"{}", "cat", 10, 90)
        german = PutPreview("https://a.example/", "de", b"{}", None, 11, 80)
        await write(store, english, german)
        assert await store.load_preview("https://a.example/", "en") == english
        assert await store.load_preview("https://a.example/", "de") == german
        assert await store.count_previews() == 2
        assert await store.load_old_previews(90, 5) == [german]
        assert await store.load_old_previews(91, 5) == [german, english]
        assert await store.load_old_previews(91, 1) == [german]
        await write(store, PutPreview("https://a.example/", "de", None))
        assert await store.load_preview("https://a.example/", "de") is None
        assert await store.count_previews() == 1

    on_store(work)


def test_what_was_accepted_is_kept_once_and_goes_with_the_account(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        first = PutAccepted(ALICE, "terms", "1", 5)
        newer = PutAccepted(ALICE, "terms", "2", 9)
        privacy = PutAccepted(ALICE, "privacy", "1", 5)
        await write(store, newer, first, privacy, PutAccepted(BOB, "terms", "1", 6))
        # The first time counts.
        await write(store, PutAccepted(ALICE, "terms", "1", 7))
        assert await store.load_accepted(ALICE) == [privacy, first, newer]
        await write(store, DropAccount(ALICE))
        assert await store.load_accepted(ALICE) == []
        assert len(await store.load_accepted(BOB)) == 1

    on_store(work)


def test_what_identity_servers_say_is_kept_for_each_address(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        one = PutBinding(ALICE, "email", "a@b.example", "id.example")
        phone = PutBinding(ALICE, "msisdn", "491701", "id.example")
        await write(store, phone, one, PutBinding(BOB, "email", "a@b.example", "id.example"))
        assert await store.load_bindings(ALICE) == [one, phone]
        moved = PutBinding(ALICE, "email", "a@b.example", "other.example")
        await write(store, moved, PutBinding(ALICE, "msisdn", "491701", None))
        assert await store.load_bindings(ALICE) == [moved]
        await write(store, DropAccount(ALICE))
        assert await store.load_bindings(ALICE) == []
        assert len(await store.load_bindings(BOB)) == 1

    on_store(work)
