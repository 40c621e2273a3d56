"""Messages that only some clients know, in words.  spec: docs/mapping.md 10.11, 10.12"""

from typing import Any

import pytest

from tripoint.core.in_words import in_words, poll_in, vote_content

UNSTABLE = "org.matrix.msc3381.poll.start"
TEXT = "org.matrix.msc1767.text"


def old_poll(*answers: object) -> dict[str, Any]:
    return {UNSTABLE: {"question": {TEXT: "Tea?"}, "answers": list(answers)}, TEXT: "Tea? 1. yes"}


def new_poll() -> dict[str, Any]:
    return {
        "m.poll": {
            "question": {"m.text": [{"body": "<b>Tea?</b>", "mimetype": "text/html"}, {"body": "Tea?"}]},
            "answers": [{"m.id": "y", "m.text": [{"body": "Yes"}]}, {"m.id": "n", "m.text": [{"body": "No"}]}],
        }
    }


def test_a_poll_is_a_question_and_numbered_lines() -> None:
    for content in (old_poll({"id": "y", TEXT: "Yes"}, {"id": "n", TEXT: "No"}), new_poll()):
        assert in_words(content)["body"] == "Tea?\n1. Yes\n2. No"


def test_a_vote_has_the_form_of_its_poll() -> None:
    poll = poll_in(old_poll({"id": "y", TEXT: "Yes"}))
    assert poll is not None
    reference = {"rel_type": "m.reference", "event_id": "$p"}
    kind = "org.matrix.msc3381.poll.response"
    assert vote_content(poll, "$p", "y") == (kind, {"m.relates_to": reference, kind: {"answers": ["y"]}})
    poll = poll_in(new_poll())
    assert poll is not None
    assert vote_content(poll, "$p", "y") == ("m.poll.response", {"m.relates_to": reference, "m.selections": ["y"]})


@pytest.mark.parametrize(
    "content",
    [
        old_poll(),
        old_poll("yes", {"id": 5, TEXT: "Yes"}, {"id": "y"}),
        {UNSTABLE: {"question": "Tea?", "answers": [{"id": "y", TEXT: "Yes"}]}},
        {UNSTABLE: {"question": {TEXT: "Tea?"}, "answers": {"id": "y"}}},
        {UNSTABLE: []},
        {},
    ],
)
def test_what_cannot_be_read_is_no_poll(content: dict[str, Any]) -> None:
    assert poll_in(content) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"msgtype": "m.location", "body": "Home", "geo_uri": "geo:1,2"}, "Home\ngeo:1,2"),
        ({"msgtype": "m.location", "body": "At geo:1,2", "geo_uri": "geo:1,2"}, "At geo:1,2"),
        ({"msgtype": "m.location", "geo_uri": "geo:1,2"}, "geo:1,2"),
        ({"org.matrix.msc3381.poll.end": {}, TEXT: "The poll has ended"}, "The poll has ended"),
        ({"msgtype": "m.text", "body": "x", TEXT: "y"}, "x"),
        ({"msgtype": [], "body": "x"}, "x"),
        ({"body": 5}, 5),
        ({}, None),
    ],
)
def test_what_is_said(content: dict[str, Any], words: object) -> None:
    assert in_words(content).get("body") == words
