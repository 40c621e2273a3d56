"""What the pages say, by language: words/<language>.toml. English has every sentence; others may lack some.

Adding a language is adding a file; a test compares its names and placeholders with the English ones.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

from tripoint.core.languages import read_accept_language

DEFAULT: Final = "en"


def load_words() -> dict[str, dict[str, str]]:
    """Language -> name -> sentence."""
    found: dict[str, dict[str, str]] = {}
    for entry in (files("tripoint.oauth") / "words").iterdir():
        name, dot, ending = entry.name.partition(".")
        if dot and ending == "toml":
            found[name] = {key: str(value) for key, value in tomllib.loads(entry.read_text("utf-8")).items()}
    return found


WORDS: Final[Mapping[str, Mapping[str, str]]] = load_words()
LANGUAGES: Final = tuple(sorted(WORDS, key=lambda name: (name != DEFAULT, name)))


class Words:
    """The sentences of one language. `wanted`: its tags as the person has them, for what clients say of themselves."""

    def __init__(self, language: str, wanted: Sequence[str] = ()) -> None:
        self.language = language
        self.wanted = tuple(wanted)
        self._own = WORDS[language]

    def __call__(self, name: str, /, **values: str) -> str:
        """A sentence with its placeholders filled. KeyError for a name that English does not have."""
        text = self._own.get(name)
        return (WORDS[DEFAULT][name] if text is None else text).format_map(values)

    def refusal(self, name: str, text: str) -> str:
        """The sentence for a refusal; `text`, which is English, where there is none of its own."""
        return self._own.get(f"refused_{name.lower()}", text)


def choose_words(ui_locales: str | None, accept_language: str | None) -> Words:
    """By what the client says the person reads (ui_locales), then by what the browser does. spec: RFC9110 12.5.4"""
    wanted = wanted_languages(ui_locales, accept_language)
    for tag in wanted:
        language = tag.partition("-")[0].lower()
        if language in WORDS:
            return Words(language, [one for one in wanted if one.partition("-")[0].lower() == language])
    return Words(DEFAULT)


def wanted_languages(ui_locales: str | None, accept_language: str | None) -> list[str]:
    """Language tags, the dearest first."""
    return (ui_locales or "")[:200].split() + read_accept_language(accept_language)
