"""What is advertised is what is answered: disco comes from the table of handlers."""

import tripoint.xmpp.c2s
import tripoint.xmpp.muc
import tripoint.xmpp.pep  # noqa: F401
from tripoint.xmpp.registry import IQS, MESSAGES, PRESENCES, At, features_at

# Features that promise something else than the answer to a request of their own namespace, and where they stand.
PROMISES = {
    "http://jabber.org/protocol/muc": {At.ROOMS, At.ROOM},  # entering and talking: muc/enter.py, muc/messages.py
    "http://jabber.org/protocol/muc#stable_id": {At.ROOMS, At.ROOM},
    "http://jabber.org/protocol/muc#register": {At.ROOM},  # muc/registering.py
    "http://jabber.org/protocol/muc#roomconfig": {At.ROOM},  # muc/config.py
    "http://jabber.org/protocol/muc#roominfo": {At.ROOM},  # muc/discovery.py
    "http://jabber.org/protocol/muc#self-ping-optimization": {At.ROOM},
    "http://jabber.org/protocol/rsm": {At.ROOMS},
    "urn:xmpp:carbons:2": {At.SERVER, At.ACCOUNT},  # c2s/carbons.py: asked of the account
    "urn:xmpp:mam:2#extended": {At.ROOM, At.ACCOUNT},  # muc/archive.py: ids, flipped pages, metadata
    "urn:xmpp:mentions:0": {At.ROOM},  # muc/explicit.py
    "urn:xmpp:mentions:0#associations": {At.ROOM},
    "urn:xmpp:mentions:0#channel": {At.ROOM},
    "urn:xmpp:occupant-id:0": {At.ROOMS, At.ROOM},
    "urn:xmpp:message-retract:1": {At.ROOM, At.ACCOUNT},
    "urn:xmpp:message-retract:1#tombstone": {At.ROOM, At.ACCOUNT},  # what archives give
    "urn:xmpp:fulltext:0": {At.ROOM, At.ACCOUNT},  # a field of what is asked of archives
    "urn:xmpp:reporting:1": {At.SERVER, At.ACCOUNT},  # what a blocking command may hold
    "urn:xmpp:pubsub-filter:0": {At.ACCOUNT},  # pep/discovery.py
    "http://jabber.org/protocol/caps": {At.SERVER},  # features.py: with those of the stream
    "urn:xmpp:message-moderate:0": {At.ROOM},  # muc/retraction.py: in what is fastened
    "urn:xmpp:caps": {At.SERVER},  # c2s/discovery.py: in the features of the stream
    "urn:xmpp:hashes:2": {At.SERVER},  # files.py: of files
    "urn:xmpp:http:upload:purpose:0#message": {At.SERVER},  # c2s/upload.py: in requests for slots
    "urn:xmpp:hash-function-text-names:sha-256": {At.SERVER},
    "urn:xmpp:muc:affiliations:1": {At.ROOM},  # muc/versions.py: in presence
    "urn:xmpp:hats:0": {At.ROOM},  # muc/view.py: in presence
    "urn:xmpp:rai:0": {At.ROOMS},  # muc/activity.py: in presence
    "urn:xmpp:reply:0": {At.ROOM},  # replies.py
    "urn:xmpp:sid:0": {At.ROOM, At.ACCOUNT},  # router.py: those of others do not come through
    "msgoffline": {At.SERVER},  # c2s/missed.py
    "jabber:x:data": {At.ROOM},  # muc/voice.py, muc/registering.py: in messages
    "http://jabber.org/protocol/muc#request": {At.ROOM},  # muc/voice.py
    "vcard-temp": {At.ROOMS},  # muc/vcard.py: of its rooms
    "urn:xmpp:pep-vcard-conversion:0": {At.ACCOUNT},  # pep/avatars.py
    "urn:xmpp:mds:server-assist:0": {At.ACCOUNT},  # pep/displayed.py
    "urn:xmpp:chat-markers:0": {At.ROOM},  # muc/markers.py
    "urn:xmpp:receipts": {At.ACCOUNT},  # c2s/markers.py
    "urn:xmpp:bookmarks:1#compat": {At.ACCOUNT},  # pep/bookmarks.py
    "urn:xmpp:bookmarks:1#compat-pep": {At.ACCOUNT},
    "urn:xmpp:bookmarks-conversion:0": {At.ACCOUNT},
}

def test_every_feature_is_answered_where_it_is_advertised():
    for place in At:
        # What a service of XEP-0060 can is many features of one namespace.
        pubsub = "http://jabber.org/protocol/pubsub"
        answered = {namespace for _, namespace, _, at in IQS if at is place}
        for feature in features_at(place):
            if place is At.ACCOUNT and feature.partition("#")[0] == pubsub:
                feature = pubsub
            assert feature in answered or place in PROMISES.get(feature, set()), f"{feature} at {place}"


def test_every_handler_says_what_it_follows():
    for entry in (*IQS.values(), *PRESENCES.values(), *MESSAGES.values()):
        assert entry.spec.startswith(("RFC", "XEP-")), entry
        assert entry.handle.__doc__, entry


def test_discovery_is_answered_everywhere():
    for place in (At.SERVER, At.ACCOUNT, At.ROOMS, At.ROOM):
        assert "http://jabber.org/protocol/disco#info" in features_at(place)
