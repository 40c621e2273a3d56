"""What the server says about itself: ISUPPORT tokens, capabilities, case mapping, limits. Pure data.

The values are those of docs/mapping.md section 0; the limits that a client may rely on are the ones that the
handlers enforce, because both read them here.  spec: Modern IRC "RPL_ISUPPORT", IRCv3 capability-negotiation.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import lru_cache

from tripoint.core.vendor import IRC_VENDOR

NICKLEN = 64
NAMELEN = 200
CHANNELLEN = 200
TOPICLEN = 390
AWAYLEN = 200
KICKLEN = 300
MAX_SILENCED = 100
MAX_CHANNELS = 500
MAX_TARGETS = 10
MAX_MODES = 20
# Lines of one CHATHISTORY answer (MAPPING 0).
MAX_HISTORY = 100
ZNC_PLAYBACK = "znc.in/playback"
# Nicks that one connection watches (MAPPING 0).
MAX_MONITOR = 100
# A message of several lines, both ways (MAPPING 10.7).
MULTILINE_MAX_BYTES = 16_384
MULTILINE_MAX_LINES = 128
# Keys that one client hears of, that one user has, and how long their values are as he sets them.
MAX_METADATA_SUBS = 50
MAX_METADATA_KEYS = 50
MAX_METADATA_BYTES = 300
CHANTYPES = "#"
# Rank letter and sign, highest first: MAPPING 7.
PREFIX_MODES = "qaohv"
PREFIX_SIGNS = "~&@%+"
CHANMODES = "beI,k,l,CRScimnpst"

# What a user can have (user_modes.py).
USER_MODES = "BRZiosw"
BOT_MODE = "B"

CHANNEL_RENAME = "draft/channel-rename"
PRE_AWAY = "draft/pre-away"
STS = "sts"
EXTENDED_ISUPPORT = "draft/extended-isupport"
ISUPPORT_BATCH = "draft/isupport"

_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(name: str) -> str:
    """CASEMAPPING=ascii: A-Z only; ``{}|^`` and all beyond ASCII are letters of their own (MAPPING 1.10)."""
    return name.lower() if name.isascii() else name.translate(_FOLD)


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability that can be asked for. `value` is shown to clients of CAP version 302 and later."""

    name: str
    spec: str
    value: str = ""


# `sasl`, `sts` and `draft/account-registration` get their values from the configuration, at start.
CAPABILITIES: dict[str, Capability] = {
    capability.name: capability
    for capability in (
        Capability("account-notify", "IRCv3 account-notify"),
        Capability("account-tag", "IRCv3 account-tag"),
        Capability("away-notify", "IRCv3 away-notify"),
        Capability("batch", "IRCv3 batch"),
        Capability("cap-notify", "IRCv3 capability-negotiation"),
        Capability("chghost", "IRCv3 chghost"),
        Capability("draft/account-registration", "IRCv3 account-registration"),
        Capability(CHANNEL_RENAME, "IRCv3 channel-rename"),
        Capability("draft/chathistory", "IRCv3 chathistory"),
        Capability("draft/search", "IRCv3 search"),
        # COMPAT: the name under which clients ask for it today.
        Capability("soju.im/search", "IRCv3 search"),
        Capability("draft/event-playback", "IRCv3 chathistory"),
        Capability(EXTENDED_ISUPPORT, "IRCv3 extended-isupport"),
        Capability("draft/message-redaction", "IRCv3 message-redaction"),
        Capability(
            "draft/metadata-2",
            "IRCv3 metadata",
            f"before-connect,max-subs={MAX_METADATA_SUBS},max-keys={MAX_METADATA_KEYS},max-value-bytes={MAX_METADATA_BYTES}",
        ),
        Capability(
            "draft/multiline",
            "IRCv3 multiline",
            f"max-bytes={MULTILINE_MAX_BYTES},max-lines={MULTILINE_MAX_LINES}",
        ),
        Capability("draft/oper-tag", "IRCv3 oper-tag"),
        Capability(PRE_AWAY, "IRCv3 pre-away"),
        Capability("draft/sasl-ir", "IRCv3 proposal-520-sasl-ir"),
        Capability("draft/read-marker", "IRCv3 read-marker"),
        Capability("draft/relaymsg", "IRCv3 proposal-417-relaymsg", "/"),
        Capability("draft/webpush", "IRCv3 webpush"),
        Capability("echo-message", "IRCv3 echo-message"),
        Capability("extended-monitor", "IRCv3 extended-monitor"),
        Capability("extended-join", "IRCv3 extended-join"),
        Capability("invite-notify", "IRCv3 invite-notify"),
        Capability("labeled-response", "IRCv3 labeled-response"),
        Capability("message-tags", "IRCv3 message-tags"),
        Capability("multi-prefix", "IRCv3 multi-prefix"),
        Capability("no-implicit-names", "IRCv3 no-implicit-names"),
        # COMPAT: the name under which it was a draft (MAPPING 4.7).
        Capability("draft/no-implicit-names", "IRCv3 no-implicit-names"),
        Capability("sasl", "IRCv3 sasl-3.2"),
        Capability("server-time", "IRCv3 server-time"),
        Capability("setname", "IRCv3 setname"),
        Capability("standard-replies", "IRCv3 standard-replies"),
        Capability(STS, "IRCv3 sts"),
        # The project's own: messages tagged with it edit what they name (MAPPING 11.2, 26).
        Capability(f"{IRC_VENDOR}/edit", "docs/mapping.md 11.2"),
        Capability("userhost-in-names", "IRCv3 userhost-in-names"),
        Capability(ZNC_PLAYBACK, "docs/mapping.md 14.4"),
    )
}


@lru_cache(maxsize=4)
def isupport_tokens(
    network: str, upload_url: str | None = None, icon_url: str = "", vapid: str = "", *, guests: bool = True
) -> tuple[str, ...]:
    """The tokens of RPL_ISUPPORT, in the order in which they are sent. `upload_url`: where files are uploaded.

    Only what is true of this build. `icon_url`: a picture of the network. `vapid`: the key by which push
    servers know this one. `guests`: whether somebody without an account gets in.
    """
    return (
        "CASEMAPPING=ascii",
        f"CHANTYPES={CHANTYPES}",
        f"PREFIX=({PREFIX_MODES}){PREFIX_SIGNS}",
        f"CHANMODES={CHANMODES}",
        f"MODES={MAX_MODES}",
        f"CHANLIMIT={CHANTYPES}:{MAX_CHANNELS}",
        f"TARGMAX=PRIVMSG:{MAX_TARGETS},NOTICE:{MAX_TARGETS},TAGMSG:{MAX_TARGETS},JOIN:,PART:,"
        f"KICK:{MAX_TARGETS},NAMES:{MAX_TARGETS},WHOIS:{MAX_TARGETS}",
        f"NICKLEN={NICKLEN}",
        f"NAMELEN={NAMELEN}",
        f"CHANNELLEN={CHANNELLEN}",
        f"TOPICLEN={TOPICLEN}",
        f"AWAYLEN={AWAYLEN}",
        f"KICKLEN={KICKLEN}",
        "MAXLIST=beI:500",
        "KNOCK",
        f"SILENCE={MAX_SILENCED}",
        "EXCEPTS=e",
        "INVEX=I",
        "EXTBAN=~,am",
        "ACCOUNTEXTBAN=a,account",
        "ELIST=CMNTU",
        f"CHATHISTORY={MAX_HISTORY}",
        "MSGREFTYPES=msgid,timestamp",
        f"MONITOR={MAX_MONITOR}",
        f"BOT={BOT_MODE}",
        "UTF8ONLY",
        "WHOX",
        f"NETWORK={network}",
        # spec: IRCv3 account-registration "ISUPPORT token"
        *(() if guests else ("draft/ACCOUNTREQUIRED",)),
        *((f"draft/ICON={icon_url}",) if icon_url else ()),
        *((f"VAPID={vapid}",) if vapid else ()),
        # The name that clients know it by, and that of its draft (docs/mapping.md 12.3).
        *(() if upload_url is None else (f"soju.im/FILEHOST={upload_url}", f"draft/FILEHOST={upload_url}")),
    )


# spec: Modern IRC RPL_ISUPPORT: at most 13 tokens a line.
ISUPPORT_TOKENS_PER_LINE = 13
# What a line has for them beside the longest names of servers and nicks that people have. Addresses of files and
# pictures can be long; one that is longer than this has a line of its own.
ISUPPORT_BYTES_PER_LINE = 300


def isupport_lines(tokens: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The parameters of each RPL_ISUPPORT, without the nick."""
    parts: list[list[str]] = []
    size = 0
    for token in tokens:
        size += len(token.encode()) + 1
        if not parts or len(parts[-1]) == ISUPPORT_TOKENS_PER_LINE or size > ISUPPORT_BYTES_PER_LINE:
            parts.append([])
            size = len(token.encode()) + 1
        parts[-1].append(token)
    return [(*part, "are supported by this server") for part in parts]
