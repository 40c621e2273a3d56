"""Which state of a room a client wants. Pure.

spec: MSC4186 "RequiredStateRequest", "Lazy loaded memberships", "Combining required_state"; as deployed before it was
merged: "RequiredStateTuple", "Special values", "Wildcards" of the earlier text.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from tripoint.matrix.errors import invalid

StateKey = tuple[str, str]
MEMBER: Final = "m.room.member"
_ANY: Final = "*"
_LAZY: Final = "$LAZY"
_ME: Final = "$ME"


class Element(Struct, frozen=True):
    """spec: RequiredStateElement; what is not named matches everything."""

    type: str | UnsetType = UNSET
    state_key: str | UnsetType = UNSET


class Rule(Struct, frozen=True):
    """The state that one room config names. `narrowed`: types that `everything` leaves out."""

    everything: bool = False
    types: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    pairs: frozenset[StateKey] = frozenset()
    narrowed: frozenset[str] = frozenset()
    without: tuple[Element, ...] = ()
    lazy: bool = False

    def wants(self, key: StateKey) -> bool:
        type_, state_key = key
        if self.without and any(_matches(element, key) for element in self.without):
            return False
        if key in self.pairs or state_key in self.keys or type_ in self.types:
            return True
        return self.everything and type_ not in self.narrowed

    @property
    def _all_members(self) -> bool:
        return MEMBER in self.types or (self.everything and MEMBER not in self.narrowed)

    @property
    def by_name(self) -> bool:
        """Whether it names every key that it wants."""
        return not (self.everything or self.types or self.keys)


class RequiredState(Struct, frozen=True):
    """The union of the rules of all configs that a room matches."""

    rules: frozenset[Rule] = frozenset()

    def wants(self, key: StateKey) -> bool:
        return any(rule.wants(key) for rule in self.rules)

    @property
    def lazy_members(self) -> bool:
        """spec: where one of the configs has it, and none without it returns all members"""
        lazy = any(rule.lazy for rule in self.rules)
        return lazy and not any(rule._all_members and not rule.lazy for rule in self.rules)

    def select(self, present: Mapping[StateKey, object]) -> list[StateKey]:
        """The wanted ones among the keys of a state."""
        found: dict[StateKey, None] = {}
        for rule in self.rules:
            keys: Iterable[StateKey] = rule.pairs if rule.by_name else present
            found.update((key, None) for key in keys if key in present and rule.wants(key))
        return list(found)


def _matches(element: Element, key: StateKey) -> bool:
    return element.type in (UNSET, key[0]) and element.state_key in (UNSET, key[1])


def rule_of_elements(include: Sequence[Element], exclude: Sequence[Element], *, lazy: bool) -> Rule:
    """A rule as the merged text has it. With `lazy` members are wanted that are named, and those alone."""
    everything, types, keys, pairs = False, set(), set(), set()
    for element in include:
        if element.type is UNSET and element.state_key is UNSET:
            everything = True
        elif isinstance(element.type, str) and isinstance(element.state_key, str):
            pairs.add((element.type, element.state_key))
        elif isinstance(element.type, str):
            types.add(element.type)
        elif isinstance(element.state_key, str):
            keys.add(element.state_key)
    return _rule(everything, types, keys, pairs, set(), tuple(exclude), lazy)


def rule_of_tuples(wanted: Sequence[StateKey], me: str) -> Rule:
    """A rule as the earlier text has it. M_INVALID_PARAM where it forbids the combination."""
    everything = (_ANY, _ANY) in wanted
    lazy = (MEMBER, _LAZY) in wanted
    types, keys, pairs, narrowed = set(), set(), set(), set()
    for type_, state_key in wanted:
        if (type_, state_key) in ((_ANY, _ANY), (MEMBER, _LAZY)):
            continue
        key = me if state_key == _ME else state_key
        if everything and _ANY in (type_, key):
            raise invalid('Beside ["*", "*"] no other wildcard has a meaning')
        if everything:
            narrowed.add(type_)
        if type_ == _ANY:
            keys.add(key)
        elif key == _ANY:
            types.add(type_)
        else:
            pairs.add((type_, key))
    return _rule(everything, types, keys, pairs, narrowed, (), lazy)


def _rule(
    everything: bool,
    types: set[str],
    keys: set[str],
    pairs: set[StateKey],
    narrowed: set[str],
    without: tuple[Element, ...],
    lazy: bool,
) -> Rule:
    if lazy:
        types.discard(MEMBER)
        narrowed.add(MEMBER)
    return Rule(
        everything, frozenset(types), frozenset(keys), frozenset(pairs), frozenset(narrowed), without, lazy
    )
