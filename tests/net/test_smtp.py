"""Letters over real SMTP: what arrives, how it is protected, and what is said where it does not.

spec: RFC5321, RFC3207, RFC4954, RFC8058
"""

import asyncio
import ssl
from pathlib import Path

import pytest
import structlog

from tests.net.https import make_certificate
from tests.support.mail import PASSWORD, USER, MailHouse, mail_house
from tests.support.middle import run
from tripoint.core.email_address import EmailAddress, parse_email_address
from tripoint.core.errors import PeerError
from tripoint.core.letters import Heading, Letter, Link, MailFailed, Quote, Text
from tripoint.net.outbound import client_context
from tripoint.net.smtp import PLAIN, STARTTLS, TLS, MailServer, Postman

ALICE = EmailAddress("alice@home.example")
LETTER = Letter(
    ALICE,
    "Tea\r\nBcc: eve@evil.example",
    (
        Heading("#tea"),
        Text("It is <b>ready</b> & hot"),
        Quote("Bob", "first\nsecond <3"),
        Link("Look", "https://chat.example.org/?a=1&b=2"),
    ),
    "https://chat.example.org/leave?token=s3cret",
)


def postman(
    house: MailHouse, context: ssl.SSLContext, security: str = STARTTLS, *, password: str = PASSWORD, send_s: float = 10
) -> Postman:
    user = "" if security == PLAIN else USER
    server = MailServer("localhost", house.port, security, user, password, "chat@example.org", "The tea house")
    return Postman(server, context, lambda: 1_700_000_000.0, send_s=send_s)


def trusting(path: Path) -> ssl.SSLContext:
    return client_context([str(path)])


def test_a_letter_arrives_in_two_forms_that_say_the_same(tmp_path: Path) -> None:
    async def work() -> None:
        certificate = make_certificate(tmp_path, "localhost")
        async with mail_house(certificate.context()) as house:
            await postman(house, trusting(certificate.path)).send(LETTER)
            (letter,) = house.letters
            assert house.recipients == [["alice@home.example"]] and house.encrypted == [True]
            assert letter["To"] == "alice@home.example" and letter["From"] == "The tea house <chat@example.org>"
            # No header of its own began in the subject.
            assert letter["Subject"] == "Tea Bcc: eve@evil.example" and letter["Bcc"] is None
            assert letter["Date"] == "Tue, 14 Nov 2023 22:13:20 -0000"
            assert letter["Message-ID"].endswith("@example.org>")
            assert letter["Auto-Submitted"] == "auto-generated"
            assert letter["List-Unsubscribe"] == "<https://chat.example.org/leave?token=s3cret>"
            assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert letter.get_content_type() == "multipart/alternative"
            assert [part.get_content_type() for part in letter.iter_parts()] == ["text/plain", "text/html"]
            assert house.text().split("\n\n") == [
                "#tea\n----",
                "It is <b>ready</b> & hot",
                "Bob:\n> first\n> second <3",
                "Look:\nhttps://chat.example.org/?a=1&b=2\n",
            ]
            html = house.html()
            assert "<p>It is &lt;b&gt;ready&lt;/b&gt; &amp; hot</p>" in html
            assert "<strong>Bob</strong><br>first<br>second &lt;3" in html
            assert '<a href="https://chat.example.org/?a=1&amp;b=2">Look</a>' in html
            assert "<img" not in html and "<script" not in html

    run(work)


def test_tls_from_the_first_byte_and_none_at_all(tmp_path: Path) -> None:
    async def work() -> None:
        certificate = make_certificate(tmp_path, "localhost")
        async with mail_house(certificate.context(), direct=True) as house:
            await postman(house, trusting(certificate.path), TLS).send(LETTER)
            assert len(house.letters) == 1
        async with mail_house() as house:
            await postman(house, trusting(certificate.path), PLAIN).send(LETTER)
            assert house.encrypted == [False]

    run(work)


async def failure(sent: Postman) -> MailFailed:
    with pytest.raises(MailFailed) as caught:
        await sent.send(LETTER)
    return caught.value


def test_what_goes_wrong_is_said_without_addresses(tmp_path: Path) -> None:
    async def work() -> None:
        certificate, other = make_certificate(tmp_path, "localhost"), make_certificate(tmp_path, "elsewhere.example")
        context = trusting(certificate.path)
        with structlog.testing.capture_logs() as logged:
            async with mail_house(certificate.context()) as house:
                failed = await failure(postman(house, trusting(other.path)))
                assert "certificate" in failed.reason.lower() and not failed.for_good
                failed = await failure(postman(house, context, password="wrong"))
                assert failed.reason.startswith("it does not let mail.user in: 535") and not failed.for_good
                house.refuses = "550 5.1.1 <{address}>: no such user"
                failed = await failure(postman(house, context))
                assert failed.reason == "it does not take the address: 550 5.1.1 <(address)>: no such user"
                assert failed.for_good
                house.refuses = "450 4.2.1 {address} greylisted"
                failed = await failure(postman(house, context))
                assert failed.reason.endswith("450 4.2.1 (address) greylisted") and not failed.for_good
                house.refuses, house.refuses_data = "", "554 5.7.1 no"
                assert (await failure(postman(house, context))).for_good
                house.refuses_data = "452 4.3.1 full"
                assert (await failure(postman(house, context))).reason == "452 4.3.1 full"
                assert house.letters == []
            gone = await failure(postman(house, context))
            assert not gone.for_good
            async with mail_house() as house:
                # What does not offer STARTTLS is not spoken to in the clear.
                failed = await failure(postman(house, context))
                assert "STARTTLS" in failed.reason
        assert logged and all("alice" not in str(entry) and "s3cret" not in str(entry) for entry in logged)
        assert all(PASSWORD not in str(entry) for entry in logged)

    run(work)


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    async def work() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        house = MailHouse(port=server.sockets[0].getsockname()[1])
        try:
            failed = await failure(postman(house, client_context(), send_s=0.05))
            assert not failed.for_good
        finally:
            server.close()

    run(work)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("alice@example.org", "alice@example.org"),
        ("Alice@Example.ORG", "alice@example.org"),
        (" bob+tea@mail.example.co.uk ", "bob+tea@mail.example.co.uk"),
        # spec: appendices "E-Mail": the example of the text
        ("Strauß@Example.com", "strauss@example.com"),
        # The Kelvin sign is a k: the letter goes to the k, whoever asked.
        ("\u212aate@example.org", "kate@example.org"),
    ],
)
def test_addresses_have_one_form(written: str, canonical: str) -> None:
    assert parse_email_address(written) == canonical


@pytest.mark.parametrize(
    "written",
    [
        *("", "alice", "@example.org", "alice@", "alice@localhost", "a@b@example.org"),
        *("alice@example.org, b@example.org", "alice@example.org;b@example.org"),
        *("Alice <alice@example.org>", "alice@example.org\r\nBcc: eve@example.org", "a b@example.org", "a@-b.example"),
        *("mailto:alice@example.org", '"a b"@example.org', ".a@example.org", "a..b@example.org", "alice@[127.0.0.1]"),
        *("ж@example.org", "a@пример.example", "a" * 65 + "@example.org", "a@" + "b" * 64 + ".org"),
        "a@b." + "c." * 130,
    ],
)
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(PeerError):
        parse_email_address(written)


def test_no_more_letters_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr("tripoint.net.smtp.MAX_WAITING", 1)
        async with mail_house() as house:
            one = postman(house, client_context(), PLAIN)
            results = await asyncio.gather(one.send(LETTER), one.send(LETTER), return_exceptions=True)
            assert [type(result) for result in results] == [type(None), MailFailed]
            assert one.results == {"sent": 1, "failed": 0}

    run(work)


