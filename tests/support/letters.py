"""A letter box for tests: what was sent by e-mail, without a mail server."""

from dataclasses import dataclass, field

from tripoint.core.letter_form import as_text
from tripoint.core.letters import Letter, MailFailed


@dataclass
class LetterBox:
    """core.letters.SendLetter. With `failing` it takes nothing."""

    letters: list[Letter] = field(default_factory=list)
    failing: bool = False
    for_good: bool = False

    async def send(self, letter: Letter) -> None:
        if self.failing:
            raise MailFailed("the mail server is away", for_good=self.for_good)
        self.letters.append(letter)

    @property
    def text(self) -> str:
        """What the last one says."""
        return as_text(self.letters[-1].lines)

    def link(self, containing: str = "/mail/") -> str:
        """The address in the last letter that has this in it, without the server's own."""
        found = next(word for word in self.text.split() if word.startswith("http") and containing in word)
        return found.removeprefix("https://chat.example.org")
