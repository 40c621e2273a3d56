"""Errors of OAuth 2.0, with the codes that its RFCs give them.

spec: RFC6749 4.1.2.1, 5.2, RFC7591 3.2.2, RFC8628 3.5
"""


class OAuthError(Exception):
    """A request that is refused. `error` is the code; `description` is for the developer of the client, in printable
    ASCII without quotes and backslashes, since it goes into addresses (RFC6749 4.1.2.1)."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


def invalid_request(description: str) -> OAuthError:
    return OAuthError("invalid_request", description)


def invalid_grant(description: str) -> OAuthError:
    return OAuthError("invalid_grant", description)
