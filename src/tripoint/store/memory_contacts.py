"""E-mail addresses of accounts and letters that wait, in memory; a part of memory.MemoryStore."""

from collections.abc import Sequence

from tripoint.core.ids import UserId
from tripoint.store.contact_writes import (
    ContactWrite,
    PutAccepted,
    PutBinding,
    PutDigest,
    PutThreePid,
    PutValidation,
    TrimValidations,
)
from tripoint.store.memory_devices import put


class ContactsInMemory:
    """store.contact_store.ContactStore in dictionaries."""

    def __init__(self) -> None:
        self.threepids: dict[tuple[str, str], PutThreePid] = {}
        self.validations: dict[str, PutValidation] = {}
        self.digests: dict[tuple[UserId, str, str], PutDigest] = {}
        self.bindings: dict[tuple[UserId, str, str], PutBinding] = {}
        self.accepted: dict[tuple[UserId, str, str], PutAccepted] = {}

    def apply_contact(self, write: ContactWrite) -> None:
        match write:
            case PutThreePid():
                put(self.threepids, (write.medium, write.address), write, write.user_id is None)
            case PutValidation():
                put(self.validations, write.sid, write, write.purpose is None)
            case TrimValidations():
                for sid, validation in list(self.validations.items()):
                    if validation.expires_ts_ms <= write.now_ms:
                        del self.validations[sid]
            case PutDigest():
                put(self.digests, (write.user_id, write.app_id, write.pushkey), write, write.content is None)
            case PutBinding():
                key = (write.user_id, write.medium, write.address)
                put(self.bindings, key, write, write.id_server is None)
            case PutAccepted():
                self.accepted.setdefault((write.user_id, write.document, write.version), write)

    def drop_contacts_of(self, user_id: UserId) -> None:
        """What goes with an account."""
        for name, threepid in list(self.threepids.items()):
            if threepid.user_id == user_id:
                del self.threepids[name]
        for sid, validation in list(self.validations.items()):
            if validation.user_id == user_id:
                del self.validations[sid]
        for key in list(self.digests):
            if key[0] == user_id:
                del self.digests[key]
        for one in list(self.bindings):
            if one[0] == user_id:
                del self.bindings[one]
        for one in list(self.accepted):
            if one[0] == user_id:
                del self.accepted[one]

    async def load_threepid(self, medium: str, address: str) -> PutThreePid | None:
        return self.threepids.get((medium, address))

    async def load_threepids(self, user_id: UserId) -> Sequence[PutThreePid]:
        return [one for _, one in sorted(self.threepids.items()) if one.user_id == user_id]

    async def load_validation(self, sid: str) -> PutValidation | None:
        return self.validations.get(sid)

    async def load_validations_of(self, address: str) -> Sequence[PutValidation]:
        return [one for _, one in sorted(self.validations.items()) if one.address == address]

    async def count_validations(self) -> int:
        return len(self.validations)

    async def load_digests(self) -> Sequence[PutDigest]:
        return list(self.digests.values())

    async def load_accepted(self, user_id: UserId) -> Sequence[PutAccepted]:
        found = [one for one in self.accepted.values() if one.user_id == user_id]
        return sorted(found, key=lambda one: (one.accepted_ts_ms, one.document, one.version))

    async def load_bindings(self, user_id: UserId) -> Sequence[PutBinding]:
        return [one for key, one in sorted(self.bindings.items()) if key[0] == user_id]
