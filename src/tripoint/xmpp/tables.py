"""Names and tables of XMPP: namespaces, the legal order of a stream's negotiation, MUC status codes.

spec: RFC6120 4.3 (negotiation), RFC6121, XEP-0045 16.6 (status codes), XEP-0030 and others as named.
Nothing here acts. Read next: connection.py, which walks the table.
"""

from enum import Enum
from typing import Final

from tripoint.core.vendor import NS
from tripoint.xmpp.wire import CLIENT_NS, STREAMS_NS

__all__ = ["CLIENT_NS", "STREAMS_NS"]

STREAM_ERRORS_NS: Final = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERRORS_NS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
TLS_NS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
SASL_NS: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND_NS: Final = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION_NS: Final = "urn:ietf:params:xml:ns:xmpp-session"
SEARCH_NS: Final = "jabber:iq:search"
COMPONENT_NS: Final = "jabber:component:accept"
BIDI_NS: Final = "urn:xmpp:bidi"
BIDI_FEATURE_NS: Final = "urn:xmpp:features:bidi"
SASL2_NS: Final = "urn:xmpp:sasl:2"
FAST_NS: Final = "urn:xmpp:fast:0"
BIND2_NS: Final = "urn:xmpp:bind:0"
SM_NS: Final = "urn:xmpp:sm:3"
CSI_NS: Final = "urn:xmpp:csi:0"
CHANNEL_BINDING_NS: Final = "urn:xmpp:sasl-cb:0"
PRE_APPROVAL_NS: Final = "urn:xmpp:features:pre-approval"
ROSTER_NS: Final = "jabber:iq:roster"
REGISTER_NS: Final = "jabber:iq:register"
REGISTER_FEATURE_NS: Final = "http://jabber.org/features/iq-register"
PREAUTH_NS: Final = "urn:xmpp:pars:0"
PREAUTH_FEATURE_NS: Final = "urn:xmpp:ibr-token:0"
VERSION_NS: Final = "jabber:iq:version"
PING_NS: Final = "urn:xmpp:ping"
TIME_NS: Final = "urn:xmpp:time"
LIMITS_NS: Final = "urn:xmpp:stream-limits:0"
ROSTER_VERSIONS_NS: Final = "urn:xmpp:features:rosterver"
EXTERNAL_NS: Final = "urn:xmpp:extdisco:2"
OUTAGE_NS: Final = "urn:xmpp:sos:0"
SERVER_INFO: Final = "http://jabber.org/network/serverinfo"
DISCO_INFO_NS: Final = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS_NS: Final = "http://jabber.org/protocol/disco#items"
DATA_FORMS_NS: Final = "jabber:x:data"
BLOCKING_NS: Final = "urn:xmpp:blocking"
REPORTING_NS: Final = "urn:xmpp:reporting:1"
BLOCKING_ERRORS_NS: Final = "urn:xmpp:blocking:errors"
ADHOC_NS: Final = "http://jabber.org/protocol/commands"
CAPS_NS: Final = "http://jabber.org/protocol/caps"
ADDRESS_NS: Final = "http://jabber.org/protocol/address"
PUBSUB_NS: Final = "http://jabber.org/protocol/pubsub"
PUBSUB_FILTER_NS: Final = "urn:xmpp:pubsub-filter:0"
PUBSUB_OWNER_NS: Final = "http://jabber.org/protocol/pubsub#owner"
PUBSUB_EVENT_NS: Final = "http://jabber.org/protocol/pubsub#event"
PUBSUB_ERRORS_NS: Final = "http://jabber.org/protocol/pubsub#errors"
PUBLISH_OPTIONS: Final = "http://jabber.org/protocol/pubsub#publish-options"
HATS_NS: Final = "urn:xmpp:hats:0"
RAI_NS: Final = "urn:xmpp:rai:0"
MUC_AFFILIATIONS_NS: Final = "urn:xmpp:muc:affiliations:1"
MENTION_NOTIFICATIONS_NS: Final = "urn:xmpp:mmn:0"
PUSH_NS: Final = "urn:xmpp:push:0"
PUSH_SUMMARY: Final = "urn:xmpp:push:summary"
BOOKMARKS_NS: Final = "urn:xmpp:bookmarks:1"
OLD_BOOKMARKS_NS: Final = "storage:bookmarks"
BOOKMARKS_CONVERSION_NS: Final = "urn:xmpp:bookmarks-conversion:0"
PRIVATE_NS: Final = "jabber:iq:private"
DISPLAYED_NS: Final = "urn:xmpp:mds:displayed:0"
DISPLAYED_ASSIST_NS: Final = "urn:xmpp:mds:server-assist:0"
CHAT_MARKERS_NS: Final = "urn:xmpp:chat-markers:0"
RECEIPTS_NS: Final = "urn:xmpp:receipts"
NICK_NS: Final = "http://jabber.org/protocol/nick"
VCARD_NS: Final = "vcard-temp"
VCARD4_NS: Final = "urn:ietf:params:xml:ns:vcard-4.0"
VCARD4_NODE: Final = "urn:xmpp:vcard4"
AVATAR_NS: Final = "urn:xmpp:avatar:metadata"
AVATAR_DATA_NS: Final = "urn:xmpp:avatar:data"
PEP_VCARD_NS: Final = "urn:xmpp:pep-vcard-conversion:0"
VCARD_UPDATE_NS: Final = "vcard-temp:x:update"
RSM_NS: Final = "http://jabber.org/protocol/rsm"
MAM_NS: Final = "urn:xmpp:mam:2"
MAM_EXTENDED_NS: Final = "urn:xmpp:mam:2#extended"
CARBONS_NS: Final = "urn:xmpp:carbons:2"
FORWARD_NS: Final = "urn:xmpp:forward:0"
DATA_VALIDATE_NS: Final = "http://jabber.org/protocol/xdata-validate"
DELAY_NS: Final = "urn:xmpp:delay"
STANZA_ID_NS: Final = "urn:xmpp:sid:0"
MENTIONS_NS: Final = "urn:xmpp:mentions:0"
OCCUPANT_ID_NS: Final = "urn:xmpp:occupant-id:0"
STYLING_NS: Final = "urn:xmpp:styling:0"
CHAT_STATES_NS: Final = "http://jabber.org/protocol/chatstates"

REACTIONS_NS: Final = "urn:xmpp:reactions:0"
HINTS_NS: Final = "urn:xmpp:hints"
CORRECT_NS: Final = "urn:xmpp:message-correct:0"
RETRACT_NS: Final = "urn:xmpp:message-retract:1"
OLD_RETRACT_NS: Final = "urn:xmpp:message-retract:0"
OLD_MODERATE_NS: Final = "urn:xmpp:message-moderate:0"
EME_NS: Final = "urn:xmpp:eme:0"
FASTEN_NS: Final = "urn:xmpp:fasten:0"
TOMBSTONE_FEATURE: Final = "urn:xmpp:message-retract:1#tombstone"
MODERATE_NS: Final = "urn:xmpp:message-moderate:1"
REPLY_NS: Final = "urn:xmpp:reply:0"
FALLBACK_NS: Final = "urn:xmpp:fallback:0"
OOB_NS: Final = "jabber:x:oob"
SFS_NS: Final = "urn:xmpp:sfs:0"
REFERENCE_NS: Final = "urn:xmpp:reference:0"
SPOILER_NS: Final = "urn:xmpp:spoiler:0"
CAPS2_NS: Final = "urn:xmpp:caps"
ENCRYPTED_FILES_NS: Final = "urn:xmpp:esfs:0"
HASHES_NS: Final = "urn:xmpp:hashes:2"
HASH_NAMES: Final = "urn:xmpp:hash-function-text-names:"
THUMBS_NS: Final = "urn:xmpp:thumbs:1"
FILE_METADATA_NS: Final = "urn:xmpp:file:metadata:0"
URL_DATA_NS: Final = "http://jabber.org/protocol/url-data"
UPLOAD_NS: Final = "urn:xmpp:http:upload:0"
CONFERENCE_NS: Final = "jabber:x:conference"
MUC_NS: Final = "http://jabber.org/protocol/muc"
MUC_USER_NS: Final = "http://jabber.org/protocol/muc#user"
MUC_ADMIN_NS: Final = "http://jabber.org/protocol/muc#admin"
MUC_OWNER_NS: Final = "http://jabber.org/protocol/muc#owner"
MUC_ROOMCONFIG: Final = "http://jabber.org/protocol/muc#roomconfig"
MUC_REGISTER: Final = "http://jabber.org/protocol/muc#register"
MUC_REQUEST: Final = "http://jabber.org/protocol/muc#request"
MUC_ROOMINFO: Final = "http://jabber.org/protocol/muc#roominfo"
MUC_STABLE_ID_NS: Final = "http://jabber.org/protocol/muc#stable_id"
CHANNEL_SEARCH_NS: Final = "urn:xmpp:channel-search:0:search"
MUC_SELF_PING_NS: Final = "http://jabber.org/protocol/muc#self-ping-optimization"
SAME_IDENTITY_NS: Final = NS + "#same_identity"
NOTICE_NS: Final = NS + "#notice"
FOREIGN_VAR: Final = NS + "#foreign"
HISTORY_VISIBILITY_VAR: Final = NS + "#history_visibility"
FEDERATE_VAR: Final = NS + "#federate"


class State(Enum):
    """Where the negotiation of a client's stream stands."""

    AWAIT_HEADER = "no stream header yet"
    OFFERED_TLS = "features sent: TLS only"
    TLS_SWITCH = "proceed sent; bytes are the TLS handshake's"
    OFFERED_SASL = "features sent: SASL, registration"
    REGISTERING = "a registration waits for the accounts"
    SASL_WAITS_FOR_US = "the accounts are asked"
    SASL_WAITS_FOR_PEER = "a challenge is out"
    AWAIT_HEADER_AGAIN = "authenticated; the stream restarts"
    OFFERED_BIND = "features sent: bind"
    BIND_WAITS_FOR_US = "a resource is being bound"
    RESUME_WAITS_FOR_US = "an earlier session is being brought here"
    BOUND = "stanzas flow"
    CLOSED = "over"


class Input(Enum):
    """What may come from the peer, or from the driver on behalf of the accounts."""

    HEADER = "stream header"
    STARTTLS = "<starttls/>"
    TLS_DONE = "driver: TLS is on"
    REGISTER_IQ = "<iq/> with jabber:iq:register"
    REGISTER_ANSWERED = "driver: registration answered"
    AUTH = "<auth/>"
    RESPONSE = "<response/>"
    ABORT = "<abort/>"
    SASL_CHALLENGE = "driver: credentials are here, challenge goes out"
    SASL_FAILED = "driver or exchange: authentication failed"
    SASL_DONE = "driver: authentication succeeded"
    SASL2_DONE = "driver: authentication succeeded, and the stream goes on"
    BIND_IQ = "<iq/> with bind"
    BIND_REFUSED = "driver: no resource for this one"
    BIND_DONE = "driver: the resource is bound"
    RESUME = "<resume/>"
    RESUME_REFUSED = "driver: there is no such session to resume"
    RESUMED = "driver: the earlier session goes on here"
    STANZA = "any other stanza"


# The whole negotiation. What is not in the table is a violation, answered as connection.py says.
# spec: RFC6120 4.3, 5.3, 6.3, 7
TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.OFFERED_TLS, Input.STARTTLS): State.TLS_SWITCH,
    (State.OFFERED_SASL, Input.STARTTLS): State.TLS_SWITCH,
    (State.TLS_SWITCH, Input.TLS_DONE): State.AWAIT_HEADER,
    (State.OFFERED_SASL, Input.REGISTER_IQ): State.REGISTERING,
    (State.REGISTERING, Input.REGISTER_ANSWERED): State.OFFERED_SASL,
    (State.OFFERED_SASL, Input.AUTH): State.SASL_WAITS_FOR_US,
    (State.SASL_WAITS_FOR_US, Input.SASL_CHALLENGE): State.SASL_WAITS_FOR_PEER,
    (State.SASL_WAITS_FOR_PEER, Input.RESPONSE): State.SASL_WAITS_FOR_US,
    (State.SASL_WAITS_FOR_PEER, Input.ABORT): State.OFFERED_SASL,
    (State.SASL_WAITS_FOR_US, Input.SASL_FAILED): State.OFFERED_SASL,
    (State.SASL_WAITS_FOR_US, Input.SASL_DONE): State.AWAIT_HEADER_AGAIN,
    (State.SASL_WAITS_FOR_US, Input.SASL2_DONE): State.OFFERED_BIND,
    (State.AWAIT_HEADER_AGAIN, Input.HEADER): State.OFFERED_BIND,
    (State.OFFERED_BIND, Input.BIND_IQ): State.BIND_WAITS_FOR_US,
    (State.BIND_WAITS_FOR_US, Input.BIND_REFUSED): State.OFFERED_BIND,
    (State.BIND_WAITS_FOR_US, Input.BIND_DONE): State.BOUND,
    (State.OFFERED_BIND, Input.RESUME): State.RESUME_WAITS_FOR_US,
    (State.RESUME_WAITS_FOR_US, Input.RESUME_REFUSED): State.OFFERED_BIND,
    (State.RESUME_WAITS_FOR_US, Input.RESUMED): State.BOUND,
    (State.BOUND, Input.STANZA): State.BOUND,
}


class Status(Enum):
    """MUC status codes that this server sends. spec: XEP-0045 16.6.2"""

    NON_ANONYMOUS = "100"
    CONFIGURATION_CHANGED = "104"
    SELF_PRESENCE = "110"
    LOGGED = "170"
    CREATED = "201"
    NICK_ASSIGNED = "210"
    BANNED = "301"
    NEW_NICK = "303"
    KICKED = "307"
    AFFILIATION_REMOVED = "321"
    SHUTDOWN = "332"
    TECHNICAL = "333"


# spec: XEP-0045 5.1, 5.2 (attributes of <item/>)
AFFILIATIONS: Final = frozenset({"owner", "admin", "member", "outcast", "none"})
ROLES: Final = frozenset({"moderator", "participant", "visitor", "none"})
