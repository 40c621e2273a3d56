"""What letters say, about addresses and about what is unread, in English and in the languages that an operator gives.
Pure.

A language may lack sentences: those are in English. Placeholders are names in braces and nothing else, each of a
sentence as in the English one, so that a file of sentences can say nothing but what it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Final

ENGLISH: Final[Mapping[str, str]] = {
    "good_hour": "The link is good for an hour, once.",
    "good_hours": "The link is good for {hours} hours, once.",
    "not_you": "If that was not you, there is nothing to do: without this link nothing happens.",
    "nothing_to_do": "If that was not you, there is nothing to do.",
    "reset_subject": "A new password at {server}",
    "reset_text": "Somebody, hopefully you, has asked for a new password for {account}.",
    "reset_link": "Choose a new password",
    "add_subject": "Confirm your e-mail address at {server}",
    "add_text": "Somebody, hopefully you, wants this address to be one of their account at {server}.",
    "add_link": "Confirm the address",
    "register_subject": "Make your account at {server}",
    "register_text": "Somebody, hopefully you, wants to make an account at {server} with this address.",
    "register_link": "Go on with the account",
    "in_use_subject": "You have an account at {server} already",
    "in_use_text": "Somebody, hopefully you, wanted to use this address at {server}. An account there has it already.",
    "in_use_password": (
        "If you do not remember its password, ask your client, or the page where you log in, for a new one."
    ),
    "unknown_subject": "No account at {server} has this address",
    "unknown_text": "Somebody, hopefully you, has asked for a new password at {server}.",
    "unknown_perhaps": "No account there has this address; perhaps yours has another, or is at another server.",
    "unread_subject_invitation": "{sender} invites you to {room} ({server})",
    "unread_subject_message": "A message from {sender} in {room} ({server})",
    "unread_subject_messages": "{number} messages in {room} ({server})",
    "unread_subject_two_rooms": "Messages in {room} and {other} ({server})",
    "unread_subject_three_rooms": "Messages in {room}, {other} and 1 other room ({server})",
    "unread_subject_rooms": "Messages in {room}, {other} and {number} other rooms ({server})",
    "unread_conversation": "a conversation with {sender}",
    "unread_one_earlier": "1 earlier message not shown here.",
    "unread_earlier": "{number} earlier messages not shown here.",
    "unread_invites": "invites you",
    "unread_encrypted": "(an encrypted message)",
    "unread_open": "Open the room",
    "unread_one_more_room": "There is more in 1 other room.",
    "unread_more_rooms": "There is more in {number} other rooms.",
    "unread_why": "You get letters like this because a client of yours at {server} asked for them.",
    "unread_leave": "No more letters like this",
}

# A sentence by its name, with its placeholders filled.
Say = Callable[..., str]


class LetterWords:
    """`others`: language -> sentences by name, as check_words() has passed them."""

    def __init__(self, others: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._languages = {tag.lower(): words for tag, words in (others or {}).items()}

    def in_language(self, wanted: Sequence[str]) -> Say:
        """The sentences in the first of these languages that there is: de-AT is met by itself, then by de."""
        words: Mapping[str, str] = {}
        for tag in wanted:
            exact, language = tag.lower(), tag.partition("-")[0].lower()
            if exact in self._languages or language in self._languages:
                words = self._languages.get(exact) or self._languages.get(language, {})
                break
            if language == "en":
                break

        def say(name: str, **values: str) -> str:
            return words.get(name, ENGLISH[name]).format_map(values)

        return say


def check_words(given: Mapping[str, object]) -> list[str]:
    """What is wrong with a language's sentences; nothing where they can be used."""
    mistakes = []
    for name, text in given.items():
        if name not in ENGLISH:
            mistakes.append(f"there is no sentence {name}; known are {', '.join(ENGLISH)}")
        elif not isinstance(text, str) or not text.strip() or not text.isprintable() or len(text) > 1000:
            mistakes.append(f"{name} is a line of text")
        elif _placeholders(text) != _placeholders(ENGLISH[name]):
            wanted = ", ".join(f"{{{one}}}" for one in sorted(_placeholders(ENGLISH[name]) or ())) or "none"
            mistakes.append(f"{name} has other placeholders than the English sentence, which has {wanted}")
    return mistakes


def _placeholders(text: str) -> set[str] | None:
    """Their names; None where a brace is no placeholder, or one asks for more than a name."""
    try:
        fields = [(field, form, how) for _, field, form, how in Formatter().parse(text) if field is not None]
    except ValueError:
        return None
    if any(form or how or not field.isidentifier() for field, form, how in fields):
        return None
    return {field for field, _, _ in fields}
