"""A service asks whether it can be reached. spec: Matrix application-service-api "Pinging", POST /appservice/ping"""

from typing import Final

from tripoint.core.errors import RemoteFailed
from tripoint.matrix.appservice.services import Bridges
from tripoint.matrix.errors import MatrixError, invalid, json_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response
from tripoint.net.outbound import TimedOut

TIMEOUT_S: Final = 30.0
# Of an answer that was wrong, for who looks into it.
_SHOWN: Final = 4096


class PingEndpoints:
    def __init__(self, bridges: Bridges) -> None:
        self._bridges = bridges

    @endpoint("POST", "/_matrix/client/v1/appservice/{appserviceId}/ping")
    async def ping(self, call: Call) -> Response:
        service = call.caller.service
        if service is None or service.service_id != call.path["appserviceId"]:
            raise MatrixError(403, "M_FORBIDDEN", "This is for the application service itself, with its as_token")
        txn_id = call.json_or_empty().get("transaction_id")
        if txn_id is not None and not isinstance(txn_id, str):
            raise invalid("transaction_id must be a text")
        link = self._bridges.links.get(service.service_id)
        if link is None:
            raise MatrixError(400, "M_URL_NOT_SET", "This service has no url in its registration")
        began_s = self._bridges.clock_s()
        try:
            answer = await link.ping(txn_id, TIMEOUT_S)
        except TimedOut as failed:
            raise MatrixError(504, "M_CONNECTION_TIMEOUT", failed.reason) from failed
        except RemoteFailed as failed:
            raise MatrixError(502, "M_CONNECTION_FAILED", failed.reason) from failed
        if answer.status // 100 != 2:
            body = answer.body[:_SHOWN].decode("utf-8", "replace")
            text = f"The service answered with status {answer.status}"
            error = MatrixError(502, "M_BAD_STATUS", text, body=body)
            error.extra["status"] = answer.status
            raise error
        self._bridges.heard_from(service)
        return json_response({"duration_ms": int((self._bridges.clock_s() - began_s) * 1000)})
