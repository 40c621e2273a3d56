"""Names in a text.  spec: docs/mapping.md 2.10"""

import pytest

from tripoint.core.ids import UserId
from tripoint.core.richtext import mentioned_users
from tripoint.xmpp.muc.mentions import link_mentions
from tripoint.xmpp.styling import parse_styling

BOB = UserId("@bob:example.org")
NAMES = {"bob": BOB, "Bob the Builder": BOB}


@pytest.mark.parametrize("body", ["bob", "@bob", "bob: hi", "hi bob!", "Bob the Builder: hi", "ask bob."])
def test_a_word_that_is_a_name_calls_somebody(body: str) -> None:
    assert mentioned_users(link_mentions(parse_styling(body), NAMES)) == (BOB,)


@pytest.mark.parametrize("body", ["bobby", "`bob`", "> bob", "Bob the Builder hi"])
def test_others_do_not(body: str) -> None:
    assert mentioned_users(link_mentions(parse_styling(body), NAMES)) == ()
