"""<notify/> in bookmarks.  spec: XEP-0492 2, 3"""

import pytest

from tripoint.core.push_levels import RoomLevel
from tripoint.xmpp.pep.notification_settings import level_in, with_level

NS = "xmlns='urn:xmpp:notification-settings:1'"


def ext(inside: str, more: str = "") -> str:
    return f"<extensions><notify {NS}>{inside}</notify>{more}</extensions>"


@pytest.mark.parametrize(
    ("inside", "level"),
    [
        ("<never/>", RoomLevel.NEVER),
        ("<on-mention/>", RoomLevel.MENTIONS),
        ("<always/>", RoomLevel.ALWAYS),
        ("<never identity-category='client' identity-type='pc'/><always/>", RoomLevel.ALWAYS),
        ("<never identity-category='client'/>", None),
        ("<loud/>", None),
        ("<never xmlns='urn:other'/>", None),
        ("", None),
    ],
)
def test_the_fallback_element_counts(inside: str, level: RoomLevel | None) -> None:
    assert level_in(ext(inside)) is level


def test_without_any() -> None:
    assert level_in("") is level_in("<extensions/>") is level_in("<broken") is None
    assert with_level("", None) == "" and with_level("<extensions/>", None) == "<extensions/>"


@pytest.mark.parametrize("level", list(RoomLevel))
def test_a_level_is_read_as_it_was_written(level: RoomLevel) -> None:
    written = with_level("", level)
    assert written == ext(f"<{level.value}/>") and level_in(written) is level
    assert with_level(written, None) == ""


def test_what_is_not_ours_stays() -> None:
    own = "<never identity-category='client'><advanced><x xmlns='urn:x'>1</x></advanced></never>"
    advanced = "<advanced><y xmlns='urn:y'/></advanced>"
    other = "<pinned xmlns='urn:xmpp:bookmarks-pinning:0'/>"
    before = ext(f"{own}<always>{advanced}</always>", other)
    after = with_level(before, RoomLevel.NEVER)
    assert level_in(after) is RoomLevel.NEVER
    assert own in after and other in after and f"<never>{advanced}</never>" in after and "<always" not in after
    assert with_level(before, RoomLevel.ALWAYS) == before
    assert with_level(before, None) == f"<extensions>{other}<notify {NS}>{own}</notify></extensions>"
