"""The names of objects (contract, section 1): a charge is a UUID, the rest have a prefix before 32 hex digits."""


def prefixed(prefix: str, uuid: str) -> str:
    """Name an object: `re_` and the digits of its UUIDv7, so that names sort by creation time."""
    return f"{prefix}_{uuid.replace('-', '')}"
