"""The answer no of the authorisation rules."""

from __future__ import annotations


class NotAllowed(Exception):
    """The rules forbid the event.

    `rule` names the rule for programs and tests ("member.join.banned"), `reason` says it to people.
    """

    rule: str
    reason: str

    def __init__(self, rule: str, reason: str = "") -> None:
        super().__init__(f"{rule}: {reason}" if reason else rule)
        self.rule = rule
        self.reason = reason or rule
