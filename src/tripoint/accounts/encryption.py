"""What the server does for end-to-end encryption, as the Matrix front end is given it."""

from dataclasses import dataclass

from tripoint.accounts.cross_signing import CrossSigning
from tripoint.accounts.dehydration import Dehydration
from tripoint.accounts.device_changes import DeviceChangeLog
from tripoint.accounts.device_keys import DeviceKeys
from tripoint.accounts.key_backups import KeyBackups
from tripoint.accounts.remote_lists import RemoteLists
from tripoint.accounts.to_device import ToDevice


@dataclass(frozen=True, slots=True)
class Encryption:
    """`changes`: the log of changed devices, for readers by position."""

    keys: DeviceKeys
    signing: CrossSigning
    messages: ToDevice
    backups: KeyBackups
    dehydrated: Dehydration
    remote: RemoteLists
    changes: DeviceChangeLog
