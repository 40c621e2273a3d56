"""A user's push rules: reading and changing them.

spec: Matrix client-server module push, "Push Rules: API". What rules are is core/push_rules.py's.
"""

from collections.abc import Callable

from tripoint.accounts.ports import AccountService
from tripoint.core import push_changes
from tripoint.core.json_view import object_at
from tripoint.core.push_changes import BadRule, NoSuchNeighbour, NoSuchRule, TooManyRules
from tripoint.core.push_rules import PushRule, PushRules
from tripoint.matrix.errors import EMPTY, MatrixError, bad_json, invalid, json_response, missing
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response

_RULE = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}"


class PushRuleEndpoints:
    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    @endpoint("GET", "/_matrix/client/v3/pushrules", "/_matrix/client/r0/pushrules")
    async def rules(self, call: Call) -> Response:
        return json_response((await self._accounts.push_rules.of(call.user_id)).content())

    @endpoint("GET", "/_matrix/client/v3/pushrules/global")
    async def global_rules(self, call: Call) -> Response:
        rules = await self._accounts.push_rules.of(call.user_id)
        return json_response(object_at(rules.content(), "global"))

    @endpoint("GET", _RULE)
    async def rule(self, call: Call) -> Response:
        return json_response((await self._rule(call)).json(call.path["kind"]))

    @endpoint("PUT", _RULE)
    async def put(self, call: Call) -> Response:
        body, before, after = call.json(), call.query("before"), call.query("after")
        kind, rule_id = _names(call)
        return await self._change(
            call, lambda rules: push_changes.put_rule(rules, kind, rule_id, body, before=before, after=after)
        )

    @endpoint("DELETE", _RULE)
    async def delete(self, call: Call) -> Response:
        kind, rule_id = _names(call)
        return await self._change(call, lambda rules: push_changes.delete_rule(rules, kind, rule_id))

    @endpoint("GET", f"{_RULE}/enabled")
    async def enabled(self, call: Call) -> Response:
        return json_response({"enabled": (await self._rule(call)).enabled})

    @endpoint("PUT", f"{_RULE}/enabled")
    async def set_enabled(self, call: Call) -> Response:
        enabled = call.json().get("enabled")
        if not isinstance(enabled, bool):
            raise missing("enabled") if enabled is None else bad_json("enabled is true or false")
        kind, rule_id = _names(call)
        on = enabled
        return await self._change(call, lambda rules: push_changes.set_enabled(rules, kind, rule_id, on))

    @endpoint("GET", f"{_RULE}/actions")
    async def actions(self, call: Call) -> Response:
        return json_response({"actions": list((await self._rule(call)).actions)})

    @endpoint("PUT", f"{_RULE}/actions")
    async def set_actions(self, call: Call) -> Response:
        body = call.json()
        if "actions" not in body:
            raise missing("actions")
        kind, rule_id = _names(call)
        return await self._change(
            call, lambda rules: push_changes.set_actions(rules, kind, rule_id, body["actions"])
        )

    async def _rule(self, call: Call) -> PushRule:
        kind, rule_id = _names(call)
        rule = (await self._accounts.push_rules.of(call.user_id)).find(kind, rule_id)
        if rule is None:
            raise _not_found()
        return rule

    async def _change(self, call: Call, change: Callable[[PushRules], PushRules]) -> Response:
        try:
            await self._accounts.push_rules.change(call.user_id, change)
        except NoSuchRule:
            raise _not_found() from None
        except NoSuchNeighbour as error:
            raise MatrixError(400, "M_UNKNOWN", f"before/after rule not found: {str(error)[:100]}") from None
        except BadRule as error:
            raise invalid(str(error)) from None
        except TooManyRules:
            text = (
                f"All push rules together have at most {push_changes.MAX_BYTES} bytes, and at most "
                f"{push_changes.MAX_PATTERNS} of them look for words"
            )
            raise MatrixError(413, "M_TOO_LARGE", text) from None
        return EMPTY


def _names(call: Call) -> tuple[str, str]:
    return call.path["kind"], call.path["ruleId"]


def _not_found() -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", "There is no such push rule")
