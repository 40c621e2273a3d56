"""`tripoint config mail`: a letter by the mail server of the configuration, to find mistakes before people wait."""

import asyncio

import click

from tripoint.config.options import Config
from tripoint.core.email_address import parse_email_address
from tripoint.core.errors import PeerError
from tripoint.core.letters import Letter, MailFailed, Text
from tripoint.runtime.mail import build_postman


def try_mail(config: Config, address: str) -> int:
    """The exit status: 0 where the mail server took the letter."""
    try:
        to = parse_email_address(address)
        postman = build_postman(config)
    except (PeerError, ValueError) as error:
        click.echo(str(error), err=True)
        return 1
    if postman is None:
        click.echo("No mail is sent: mail.host is empty", err=True)
        return 1
    text = f"{config.server.name} can send mail. Nothing else is to be done."
    try:
        asyncio.run(postman.hand_over(Letter(to, f"A letter from {config.server.name}", (Text(text),))))
    except MailFailed as failed:
        click.echo(f"{config.mail.host} did not take the letter: {failed.reason}", err=True)
        return 1
    click.echo(f"{config.mail.host} took the letter")
    return 0
