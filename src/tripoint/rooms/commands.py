"""What can be asked of rooms: frozen, serialisable values, one per intention.

Each names the acting user and the session that asked, so that the session can recognise its own echo in the
change that follows. What a command does, and how it can be refused, is in writer.py and its neighbours.
docs/mapping.md says which words of each protocol become which command.
"""

from enum import Enum
from typing import Final

from msgspec import Struct

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from tripoint.core.power import Rank

# What the ids of sessions begin with whose clients see rooms as IRC and XMPP have them.
VIEWS: Final = ("irc-", "xmpp-")


class Origin(Struct, frozen=True):
    """The session that asked, and the mark by which it knows its own echo again.

    `session` is unique over all users (user and device for Matrix, the connection's id else). `token` is the
    transaction id, the stanza id or the label. `once`: a repeated command with the same session and token
    answers with the first result instead of doing it twice, over a restart too (Matrix transaction ids).
    `scope`: within what a `once` token stands for one request; Matrix: the rest of the request's path.
    `keep`: the token is stored with the event and comes back in history (the `id` of an XMPP stanza). `unlimited`: an
    application service asks, for which no limits hold.
    """

    session: str
    token: str | None = None
    once: bool = False
    keep: bool = False
    scope: str = ""
    unlimited: bool = False


class Secret(Struct, frozen=True):
    """A password on its way. It does not show itself in a trace or a log."""

    value: str

    def __repr__(self) -> str:
        return "Secret(...)"


class StateDraft(Struct, frozen=True):
    """A state event to be made: initial state of a new room."""

    type: str
    state_key: str
    content: JsonObject


class Template(Enum):
    """Where a room's first power levels and rules come from (docs/mapping.md 7.8)."""

    PRIVATE_CHAT = "private_chat"
    TRUSTED_PRIVATE_CHAT = "trusted_private_chat"
    PUBLIC_CHAT = "public_chat"
    CHANNEL = "channel"  # made by JOIN on IRC: public, history from joining on
    MUC = "muc"  # made by entering on XMPP: public, shared history
    TEMPORARY = "temporary"  # made by a guest: never federated, gone with its last member


class Command(Struct, frozen=True, tag=True, tag_field="command", kw_only=True):
    """Base of all commands. `actor` is a local user. `ts_ms`: the time that the event bears which is said, or says a
    membership, where it is not now (Matrix application-service-api "Timestamp massaging")."""

    actor: UserId
    origin: Origin | None = None
    ts_ms: int | None = None


class CreateRoom(Command, frozen=True):
    """Make a room. The actor is its creator and first member.

    `alias_localpart` is folded and published as the canonical alias. `locked` makes the join rule `invite`
    until UnlockRoom, or ten minutes, as XEP-0045 10.1.1 has it. Refused: ALIAS_TAKEN, BAD_ALIAS,
    VERSION_UNSUPPORTED, BAD_CONTENT, TOO_MANY_ROOMS, GUESTS_FORBIDDEN, RATE_LIMITED.
    """

    template: Template = Template.PRIVATE_CHAT
    alias_localpart: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: tuple[UserId, ...] = ()
    room_version: str | None = None
    is_direct: bool = False
    listed: bool = False
    creation_content: JsonObject = {}
    initial_state: tuple[StateDraft, ...] = ()
    power_levels_override: JsonObject | None = None
    locked: bool = False
    nick: str | None = None


class UnlockRoom(Command, frozen=True):
    """Open a room made with `locked`: its join rule becomes `join_rule`, or what its template says. Owner only."""

    room_id: RoomId
    join_rule: str | None = None


class Join(Command, frozen=True):
    """Become a member. Joining again is not an error: the result names the present member event.

    `guise`: how IRC shows the actor where the user id does not say it, `@nick:host`; masks are held against it too.

    `nick` becomes the per-room display name where it is free and valid (docs/mapping.md 2.7); NICK_TAKEN if
    another member holds it. `content` is merged into the member event (Matrix clients may add keys). `via`: servers
    through which the room may be entered where this one is not in it. `whole`: such a room is entered with all of its
    members, however long that takes. Refused besides: REMOTE_TIMEOUT.
    """

    room_id: RoomId
    nick: str | None = None
    reason: str | None = None
    content: JsonObject = {}
    via: tuple[ServerName, ...] = ()
    guise: str | None = None
    password: Secret | None = None
    whole: bool = False


class Leave(Command, frozen=True):
    """Leave, decline an invitation or take back a knock."""

    room_id: RoomId
    reason: str | None = None


class Invite(Command, frozen=True):
    """`content` is merged into the member event. `third_party`: the proof that an invitation by address is theirs
    (third_party_invites.py), which stands for the actor's rights of now."""

    room_id: RoomId
    target: UserId
    reason: str | None = None
    is_direct: bool = False
    content: JsonObject = {}
    third_party: JsonObject | None = None


class InviteByAddress(Command, frozen=True):
    """Invite whoever has an e-mail address or phone number, as an identity server knows, or will know.

    `access_token`: the actor's at the identity server, which is named as host or host:port.
    """

    room_id: RoomId
    id_server: str
    access_token: Secret
    medium: str
    address: str
    reason: str | None = None


class RedeemInvite(Command, frozen=True):
    """The actor shows that an invitation by address, which `sender` made, is theirs. `signed`: as it came."""

    room_id: RoomId
    sender: UserId
    signed: JsonObject


class Kick(Command, frozen=True):
    """Remove a member, or take back an invitation."""

    room_id: RoomId
    target: UserId
    reason: str | None = None
    sweep: bool = False


class Ban(Command, frozen=True):
    """`sweep`, here and in Kick: what they said since they came in goes too, where the actor may take it back."""

    room_id: RoomId
    target: UserId
    reason: str | None = None
    sweep: bool = False


class Unban(Command, frozen=True):
    room_id: RoomId
    target: UserId
    reason: str | None = None


class Knock(Command, frozen=True):
    """Ask to be let in. `via` as for Join. `nick`: what one wants to be called in the room."""

    room_id: RoomId
    reason: str | None = None
    via: tuple[ServerName, ...] = ()
    nick: str | None = None


class Forget(Command, frozen=True):
    """Take a room that one has left out of one's own list of rooms."""

    room_id: RoomId


class SetRoomNick(Command, frozen=True):
    """Change one's own display name in one room. None takes the override away (docs/mapping.md 2.8)."""

    room_id: RoomId
    nick: str | None


class SendEvent(Command, frozen=True):
    """Say something: any event that is not state. Content is as Matrix has it. `sticky_ms`: core/sticky.py."""

    room_id: RoomId
    type: str
    content: JsonObject
    sticky_ms: int | None = None


class SendState(Command, frozen=True):
    """Write any state event. Member events are turned into the membership command they stand for, and cannot be
    sticky."""

    room_id: RoomId
    type: str
    state_key: str
    content: JsonObject
    sticky_ms: int | None = None


class SetTopic(Command, frozen=True):
    room_id: RoomId
    topic: str


class CloseRoom(Command, frozen=True):
    """Shut a room for good: everybody whom the actor may put out goes, and all users of this server; its names and its
    place in the directory go; nobody of this server gets in any more (docs/mapping.md 4.9).

    `replacement`: the room that takes its place, for a tombstone; `venue`: an address where the talk goes on that is
    none of a room known here, for those who can be told of it. `venue_password`: lets them in there; nothing keeps it.
    Refused: POWER_TOO_LOW, NOT_JOINED (by him, or by anybody any more: another room has taken its place).
    """

    room_id: RoomId
    reason: str | None = None
    replacement: RoomId | None = None
    venue: str | None = None
    venue_password: Secret | None = None


class UpgradeRoom(Command, frozen=True):
    """Put a new room in the place of another one: its state, names and people go over, the old one leads to it.

    `room_version` None: the version that the room has. `creators`: who is a creator beside its maker, where the
    version knows that. `owner`: a member of this server who makes the new room instead of the actor; the actor keeps
    no rights of his own there then. `federate`: whether other servers may take part, None: as it was (a room's first
    event says it, so only a new room can say something else). The result's room_id is the new room. Asked again by
    who has done it, it names the room that is there. Refused: VERSION_UNSUPPORTED, POWER_TOO_LOW, NOT_JOINED,
    NOT_SUPPORTED, BAD_CONTENT, INVALID_ROOM_STATE, SERVER_BUSY (not all of the room is known here yet), and what
    sending events is refused with.
    """

    room_id: RoomId
    room_version: str | None = None
    creators: tuple[UserId, ...] = ()
    owner: UserId | None = None
    federate: bool | None = None


class AcceptDirect(Command, frozen=True):
    """Enter a direct room that a local, unblocked user has invited into, if that is what this room is; for who comes
    by IRC or XMPP (docs/mapping.md 15.5). `created` says that he has entered with it."""

    room_id: RoomId


class FollowRoom(Command, frozen=True):
    """Go where a room leads that was replaced (docs/mapping.md 21.4): the actor, a member of it, joins the room that
    took its place, and the next one if that was replaced too.

    The result's room_id is where it ended: `room_id` itself where no room says that it has taken its place. Refused as
    Join, where the rules keep the actor out.
    """

    room_id: RoomId


class KeepRoom(Command, frozen=True):
    """Make a temporary channel permanent, with the actor as its owner: who is it already, or as long as the guest who
    made it is there (docs/mapping.md 4.8). Refused: POWER_TOO_LOW, NOT_JOINED, NOT_SUPPORTED."""

    room_id: RoomId


class Redact(Command, frozen=True):
    room_id: RoomId
    event_id: EventId
    reason: str | None = None


class SetRanks(Command, frozen=True):
    """Grant or take ranks, all in one power_levels event or none (docs/mapping.md 7.1).

    `absent`: of people who are not in the room too; their rank waits for them. Without it: TARGET_NOT_JOINED.
    """

    room_id: RoomId
    ranks: tuple[tuple[UserId, Rank], ...]
    absent: bool = False


class SetLevels(Command, frozen=True):
    """Write the exact power levels of users, all in one event or none (docs/mapping.md 7.7). None takes an entry away.

    Refused: POWER_TOO_LOW, SAME_POWER, NOT_JOINED.
    """

    room_id: RoomId
    levels: tuple[tuple[UserId, int | None], ...]


class SetPassword(Command, frozen=True):
    """Let a password give entry to the room, another one than before, or none any more.

    Without one the join rule is again what it was before. Refused: BAD_CONTENT, NOT_SUPPORTED (the room's version),
    POWER_TOO_LOW, NOT_JOINED.
    """

    room_id: RoomId
    password: Secret | None


class AllowInvites(Command, frozen=True):
    """Take invitations, or refuse and hide them all (docs/mapping.md 16.4)."""

    allowed: bool


class BlockUsers(Command, frozen=True):
    """Hear no more of users, or of all whom masks mean, or hear of them again (docs/mapping.md 16).

    `addresses` are those of XMPP that are nobody's account: one client of somebody, a room, one in a room, a service.
    Refused: BAD_MASK, LIST_FULL.
    """

    users: tuple[UserId, ...] = ()
    masks: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    on: bool = True


class MaskList(Enum):
    """The three lists of masks of a room (docs/mapping.md 9.2, 9.3, 9.5)."""

    BAN = "ban"
    EXEMPT = "exempt"  # whom bans by mask do not meet
    INVITE = "invite"  # who needs no invitation


class SetMask(Command, frozen=True):
    """Put a mask on a list of the room, or take it off. Bans of one user are Ban and Unban.

    A ban of a whole server is an entry of the access control list where the actor may write that, and a rule of
    the room otherwise. What is there already, or is not, changes nothing. Refused: BAD_MASK, NO_SUCH_MASK,
    LIST_FULL, POWER_TOO_LOW, NOT_JOINED.
    """

    room_id: RoomId
    list: MaskList
    mask: str
    on: bool = True


class FollowList(Command, frozen=True):
    """Have a room follow a policy list, in the actor's name, or not any more (docs/mapping.md 9.14).

    `list_id`: a room that this server is in, and that the actor may read. Refused: NOT_JOINED, POWER_TOO_LOW (whoever
    may not ban), LIST_FULL, NO_SUCH_MASK (it does not follow that one), NO_SUCH_ROOM.
    """

    room_id: RoomId
    list_id: RoomId
    on: bool = True


class SetAlias(Command, frozen=True):
    """Point a local room alias at a room. ALIAS_TAKEN, BAD_ALIAS, POWER_TOO_LOW."""

    alias: RoomAlias
    room_id: RoomId


class DeleteAlias(Command, frozen=True):
    alias: RoomAlias


class RenameRoom(Command, frozen=True):
    """Give a room another canonical alias of this server, which is made if it is free; the one before stays as an
    alternative (docs/mapping.md 3.7). Its upper case is kept beside it, for IRC. `reason` stands in the event.
    NOT_JOINED, ALIAS_TAKEN, BAD_ALIAS, POWER_TOO_LOW."""

    room_id: RoomId
    alias: RoomAlias
    reason: str | None = None


class SetListed(Command, frozen=True):
    """Publish a room in this server's directory, or take it off (docs/mapping.md 6.2)."""

    room_id: RoomId
    listed: bool


class SetNetworkListed(Command, frozen=True):
    """Publish a room in the directory of a network that an application service reaches, or take it off. `network`: the
    service's id, `|`, the network's; the actor is a user of the service. NO_SUCH_ROOM."""

    room_id: RoomId
    network: str
    listed: bool


class PassOn(Command, frozen=True):
    """Show something to those who are in the room now and understand it; it is not kept.

    `payload` is XML (docs/mapping.md 10.0), `token` the sender's own mark for it.
    """

    room_id: RoomId
    payload: str
    token: str | None = None


class SetTyping(Command, frozen=True):
    room_id: RoomId
    typing: bool
    timeout_ms: int = 30_000


class SetReceipt(Command, frozen=True):
    """Move a read marker. `kind`: m.read, m.read.private or m.fully_read; `thread_id` None = unthreaded.

    `ts_ms`: when, where another server says so.
    """

    room_id: RoomId
    event_id: EventId
    kind: str = "m.read"
    thread_id: str | None = None


class OpenDirect(Command, frozen=True):
    """The canonical direct room of the actor and `target` (docs/mapping.md 15.1), made if there is none.

    The result's room_id is where messages to `target` go; a local target is joined (15.5). Refused(ENCRYPTED) where
    there is an encrypted one alone, unless `plain` asks for another beside it (15.4).
    """

    target: UserId
    plain: bool = False


class SendNotice(Command, frozen=True):
    """Have the server tell a local account something, wherever they are (docs/mapping.md 10.13).

    The actor is the operator who asks for it. Refused: NO_SUCH_USER, TOO_LARGE.
    """

    target: UserId
    text: str


class Report(Command, frozen=True):
    """Tell the administrators of this server of an event, a room or a user: one of the three, or of a user with events.

    Refused: NO_SUCH_EVENT (of an event that the actor cannot see in a room that he is in), NO_SUCH_ROOM, NO_SUCH_USER,
    BAD_CONTENT, RATE_LIMITED. `kind`: spam | abuse | "".
    """

    event_ids: tuple[EventId, ...] = ()
    room_id: RoomId | None = None
    target: UserId | None = None
    kind: str = ""
    reason: str = ""


class SetProfile(Command, frozen=True):
    """Change the global profile. `field`: displayname, avatar_url, whose value is a text and which member events follow
    in every joined room that showed the old value; or any other (core/profile.py). None takes it away.

    Refused: BAD_CONTENT, TOO_LARGE.
    """

    field: str
    value: Json | None


class Forced(Command, frozen=True):
    """Do for an operator of this server, the actor, what somebody in the room may do: in the name of a member of this
    server who may (docs/mapping.md 18.4).

    Whoever is the actor of `wish` does not matter, but with Join: he comes in, invited if need be. Refused besides
    what the wish is refused with: NO_AUTHORITY where no member of this server has the level.
    """

    wish: (
        Ban
        | Invite
        | Join
        | Kick
        | SendState
        | SetLevels
        | SetListed
        | SetMask
        | SetPassword
        | SetRanks
        | SetTopic
        | Unban
    )


class Done(Struct, frozen=True):
    """The result of a command, after its transaction was committed."""

    room_id: RoomId | None = None
    event_id: EventId | None = None
    created: bool = False  # Join on a new room; a membership or state that was not there before
