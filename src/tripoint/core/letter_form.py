"""Letters as messages of e-mail: one text in two forms, and headers that say that a program wrote it.

There are no pictures and nothing that tells anybody that it was read.
spec: RFC5322 3.6; RFC2046 5.1.4 (multipart/alternative); RFC3834 5 (Auto-Submitted); RFC2369 3.2, RFC8058 3.1 (leaving)
"""

import html
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final

from tripoint.core.letters import Heading, Letter, Line, Link, Quote, Text, shortened

# Of a subject; what people called a room may be longer.
MAX_SUBJECT: Final = 120
_STYLE: Final = "font-family:sans-serif;line-height:1.5;max-width:36em"


def compose(letter: Letter, *, sender: str, sender_name: str, message_id: str, now_s: float) -> EmailMessage:
    """The message as it is sent. `message_id`: with its angle brackets; `now_s`: seconds since 1970."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(_one_line(sender_name), addr_spec=sender)
    message["To"] = Address(addr_spec=letter.to)
    message["Subject"] = shortened(_one_line(letter.subject), MAX_SUBJECT)
    message["Date"] = formatdate(now_s)
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    # COMPAT: Exchange knows Auto-Submitted not, and answers "out of office" unless it is told so.
    message["X-Auto-Response-Suppress"] = "All"
    if letter.leave_url is not None:
        message["List-Unsubscribe"] = f"<{letter.leave_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(as_text(letter.lines), cte="quoted-printable")
    message.add_alternative(as_html(letter.subject, letter.lines), subtype="html", cte="quoted-printable")
    return message


def as_text(lines: Sequence[Line]) -> str:
    return "\n\n".join(map(_text_of, lines)) + "\n"


def _text_of(line: Line) -> str:
    match line:
        case Text():
            return line.text
        case Heading():
            return f"{line.text}\n{'-' * min(len(line.text), 60)}"
        case Quote():
            return f"{line.who}:\n" + "\n".join(f"> {part}" for part in line.text.splitlines() or [""])
        case Link():
            return f"{line.text}:\n{line.url}"


def as_html(title: str, lines: Sequence[Line]) -> str:
    body = "\n".join(map(_html_of, lines))
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body style="{_STYLE}">\n{body}\n</body></html>\n'


def _html_of(line: Line) -> str:
    match line:
        case Text():
            return f"<p>{html.escape(line.text)}</p>"
        case Heading():
            return f"<h2>{html.escape(line.text)}</h2>"
        case Quote():
            said = "<br>".join(map(html.escape, line.text.splitlines()))
            return f"<p><strong>{html.escape(line.who)}</strong><br>{said}</p>"
        case Link():
            return f'<p><a href="{html.escape(line.url)}">{html.escape(line.text)}</a></p>'


def _one_line(text: str) -> str:
    """Without what would begin another header, or hide."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
