"""NickServ CERT: the certificates with which an account logs in by SASL EXTERNAL, on IRC and XMPP alike.

spec: docs/mapping.md 18.1; IRCv3 sasl-3.1.  What they are is tripoint/accounts/certificates.py's.
"""

from __future__ import annotations

from tripoint.irc.services import Request, service_command

_USAGE = "CERT ADD [<fingerprint>], CERT DEL <fingerprint> and CERT LIST is what I know"


@service_command(
    "NickServ", "CERT", "ADD|DEL|LIST [<fingerprint>]: the certificates with which you log in", min_words=1
)
async def certificates(request: Request) -> None:
    """CERT ADD [<fingerprint>]; CERT DEL <fingerprint>; CERT LIST. ADD without one is for the connection's own."""
    session = request.session
    if session.account.guest:
        request.say("You have no account here; REGISTER makes one")
        return
    what, wish, shown = request.word(0).upper(), request.word(1), session.negotiation.certificate
    known = session.accounts.certificates
    if what == "LIST":
        mine = await known.of(session.user_id)
        for fingerprint in mine:
            request.say(fingerprint + (" (of this connection)" if fingerprint == shown else ""))
        request.say(f"End of certificates ({len(mine)})")
    elif what == "ADD" and not (wish or shown):
        request.say("You have shown no certificate: say its fingerprint, or connect with it")
    elif what == "ADD":
        own = not wish or wish.replace(":", "").lower() == shown
        added = await known.add(session.user_id, wish or shown, shown=own)
        request.say(f"You log in with certificate {added} now")
    elif what == "DEL" and wish:
        gone = await known.drop(session.user_id, wish)
        request.say("You do not log in with that certificate any more" if gone else "That is none of your certificates")
    else:
        request.say(_USAGE)
