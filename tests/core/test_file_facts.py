"""What is known of a file beside what Matrix has words for.  spec: XEP-0446 2, XEP-0300 3"""

from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.canonical_json import JsonObject
from tripoint.core.file_facts import KEY, MAX_HASHES, NO_FACTS, FileFacts, Preview, facts_in, sha_256

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def test_what_is_written_is_read_again() -> None:
    facts = FileFacts(
        (sha_256("00" * 32), ("sha3-256", "AAAA")),
        "Tea at five",
        "2015-07-26T21:46:00Z",
        (Preview("cid:sha1+ffd7@bob.xmpp.org", "image/png", 9, 6), Preview("data:,x")),
    )
    assert facts_in(facts.content()) == facts
    assert NO_FACTS.content() == {} and facts_in({}) is NO_FACTS


def test_what_cannot_be_is_left_out() -> None:
    hashes: JsonObject = {"sha-256": "x y", "SHA": "AAAA", "md5": "AAAA", "sha-1": 5}
    hashes |= {f"h{number}": "AAAA" for number in range(20)}
    found = facts_in({KEY: {"hashes": hashes, "description": 5, "previews": [{"w": 1}, 3, {"uri": "x" * 5000}]}})
    assert len(found.hashes) == MAX_HASHES and found.hashes[0] == ("md5", "AAAA")
    assert (found.description, found.made, found.previews) == (None, None, ())
    odd = facts_in({KEY: {"previews": [{"uri": "cid:x", "type": "a/b' onload='", "w": -1, "h": True}]}})
    assert odd.previews == (Preview("cid:x"),)


@given(st.dictionaries(st.sampled_from(["hashes", "description", "made", "previews"]), JSON))
def test_anything_can_be_read(content: JsonObject) -> None:
    found = facts_in({KEY: content})
    assert facts_in(found.content()) == found
