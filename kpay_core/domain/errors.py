"""
Everything that can be wrong with a request, as facts. What it means over HTTP is the HTTP adapter's business.

    KpayError
    ├── Invalid                 fields of the request that cannot stand, all of them
    ├── NotFound                no such object in this scope
    ├── Unauthenticated         no key that opens this scope
    ├── IdempotencyKeyReused    the key was used for another request
    ├── IdempotencyKeyInUse     the key's first request is still being worked on
    ├── NoProcessor             this mode has nobody to take charges to
    ├── Undone                  what the request had begun was undone; asking again is safe
    └── Contention              too many writers on one object; asking again is safe

A declined card is not here: it is an outcome, saved and announced, and comes back as an answer.
A message never holds a submitted value.
"""

from collections.abc import Mapping, Sequence

FieldErrors = Mapping[str, Sequence[str]]


class KpayError(Exception):
    """A request that was not carried out."""

    message = "The request could not be carried out."

    def __init__(self) -> None:
        super().__init__(self.message)

    @property
    def details(self) -> dict[str, object]:
        """Machine-readable facts for the caller."""
        return {}


class Invalid(KpayError):
    """Fields that cannot stand: {"source.exp_month": ["max 12"]}."""

    message = "Validation failed."

    def __init__(self, fields: FieldErrors, *, code: str | None = None, message: str | None = None) -> None:
        if message:
            self.message = message
        super().__init__()
        self.fields = fields
        self.code = code

    @property
    def details(self) -> dict[str, object]:
        code = {"code": self.code} if self.code else {}
        return {**code, "fieldErrors": {name: list(errors) for name, errors in self.fields.items()}}


class NotFound(KpayError):
    """Unknown, another merchant's or the other mode's: the caller cannot tell which."""

    message = "No such object."


class Unauthenticated(KpayError):
    """No key, or one that is malformed, unknown, revoked, expired or of the wrong kind."""

    message = "Invalid API key. Send a secret key as 'Authorization: Bearer sk_…'."


class IdempotencyKeyReused(KpayError):
    """The key belongs to a request with another body or another endpoint."""

    message = "This idempotency key was used before with another request."

    @property
    def details(self) -> dict[str, object]:
        return {"code": "idempotency_key_reused"}


class IdempotencyKeyInUse(KpayError):
    """The first request with this key has no answer yet."""

    message = "A request with this idempotency key is still being worked on."
    retry_after_seconds = 5

    @property
    def details(self) -> dict[str, object]:
        return {"code": "idempotency_key_in_use"}


class NoProcessor(KpayError):
    """Nobody takes charges in this mode."""

    def __init__(self, mode: str) -> None:
        self.message = f"No processor is configured for {mode} mode."
        super().__init__()

    @property
    def details(self) -> dict[str, object]:
        return {"code": "no_processor"}


class Undone(KpayError):
    """The outcome came too late to be told, so it was undone: nothing was captured."""

    message = "The request was undone. It is safe to try again."


class Contention(KpayError):
    """Too many requests change the same object; this one changed nothing."""

    message = "Too many requests for the same object. It is safe to try again."
