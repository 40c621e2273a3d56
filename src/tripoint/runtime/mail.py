"""Mail, wired: the operator's mail server as the configuration names it."""

import time

from tripoint.config.load import ConfigError, read_letter_words, read_password
from tripoint.config.options import Config
from tripoint.core.letter_words import LetterWords
from tripoint.net.outbound import client_context
from tripoint.net.smtp import MailServer, Postman


def letter_words(config: Config) -> LetterWords:
    """What letters say. Raises ValueError where a file cannot be used any more."""
    try:
        return LetterWords(read_letter_words(config.mail.words))
    except ConfigError as error:
        raise ValueError(f"mail.words: {error}") from error


def build_postman(config: Config) -> Postman | None:
    """Who sends letters; None where none are sent. Raises ValueError where the password cannot be read any more."""
    mail = config.mail
    if not mail.host:
        return None
    try:
        password = read_password(mail.password_file) if mail.password_file else ""
    except ConfigError as error:
        raise ValueError(f"mail.password_file: {error}") from error
    server = MailServer(
        mail.host,
        mail.port,
        mail.security,
        mail.user,
        password,
        mail.sender,
        mail.sender_name or config.server.name,
    )
    return Postman(server, client_context(config.tls.extra_authorities), time.time)
