"""The one table from what is wrong to what HTTP says of it, and the one envelope it says it in."""

from typing import Any

from kpay_core.commit import CommitFailed
from kpay_core.domain import errors
from kpay_core.domain.errors import KpayError
from kpay_core.domain.views import ErrorFacts, ErrorType, ErrorView, encode
from kpay_http.body import BadBody, TooLarge, TooSlow


class RateLimited(KpayError):
    """The merchant sends more than its share."""

    message = "Too many requests. Slow down and try again."


STATUS: dict[type[KpayError], tuple[int, ErrorType]] = {
    errors.Invalid: (400, "invalid_request_error"),
    errors.NotFound: (404, "not_found"),
    errors.Unauthenticated: (401, "authentication_error"),
    errors.IdempotencyKeyReused: (400, "invalid_request_error"),
    errors.IdempotencyKeyInUse: (409, "invalid_request_error"),
    errors.NoProcessor: (503, "internal_error"),
    errors.Undone: (503, "internal_error"),
    errors.Contention: (503, "internal_error"),
    BadBody: (400, "invalid_request_error"),
    TooLarge: (413, "invalid_request_error"),
    TooSlow: (408, "invalid_request_error"),
    RateLimited: (429, "rate_limit_error"),
}

# What a caller may wait before the same request has a chance again.
RETRY_AFTER: dict[type[KpayError], int] = {
    errors.IdempotencyKeyInUse: errors.IdempotencyKeyInUse.retry_after_seconds,
    errors.Undone: 1,
    errors.Contention: 1,
}

UNAVAILABLE_MESSAGE = "The service cannot be reached now. It is safe to try again."
INTERNAL_MESSAGE = "Something went wrong on our side. It is safe to try again."


class Refusal:
    """A status, headers and a body in the envelope."""

    def __init__(
        self,
        status: int,
        type: ErrorType,
        message: str,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self.body = encode(ErrorView(error=ErrorFacts(type=type, message=message, details=details or {})))


def refuse(error: Exception) -> Refusal:
    """Say over HTTP what an error means. What is in no table is ours, and says nothing of itself."""
    if isinstance(error, KpayError):
        status, type = STATUS[error.__class__]
        headers: dict[str, str] = {}
        if error.__class__ in RETRY_AFTER:
            headers["Retry-After"] = str(RETRY_AFTER[error.__class__])
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return Refusal(status, type, error.message, error.details, headers)
    if isinstance(error, CommitFailed):
        return Refusal(503, "internal_error", UNAVAILABLE_MESSAGE, headers={"Retry-After": "1"})
    return Refusal(500, "internal_error", INTERNAL_MESSAGE)


def refuse_status(status: int, headers: dict[str, str]) -> Refusal:
    """Put what the framework itself refuses into the envelope: unknown routes, methods, and the like."""
    match status:
        case 404:
            # The same bytes as for an object that does not exist.
            return refuse(errors.NotFound())
        case 405:
            return Refusal(405, "invalid_request_error", "Method not allowed.", headers=headers)
        case _ if 400 <= status < 500:
            return Refusal(
                status, "invalid_request_error", "The request could not be understood.", headers=headers
            )
        case _:
            return Refusal(500, "internal_error", INTERNAL_MESSAGE)
