"""Writing what is said of accounts: one place that says what a store that cannot just now means to who asked."""

from collections.abc import Callable, Sequence

from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.store.interface import StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import Write


async def commit(stream: Stream, writes: Sequence[Write], on_commit: Callable[[], None] | None = None) -> None:
    """Returns when it is on disk; nothing is done for no writes. AccountRefused(SERVER_BUSY)."""
    if not writes:
        return
    try:
        await stream.commit(writes, on_commit)
    except StoreError as error:
        raise AccountRefused(AccountRefusal.SERVER_BUSY) from error
