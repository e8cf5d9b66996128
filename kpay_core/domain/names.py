"""The names of objects (contract, section 1): a charge is a UUID, the rest have a prefix before 32 hex digits."""

import re

CHARGE = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def prefixed(prefix: str, uuid: str) -> str:
    """Name an object: `re_` and the digits of its UUIDv7, so that names sort by creation time."""
    return f"{prefix}_{uuid.replace('-', '')}"


def is_charge(name: str) -> bool:
    """Tell whether a name has the shape of a charge's."""
    return CHARGE.fullmatch(name) is not None


def has_prefix(prefix: str, name: str) -> bool:
    """Tell whether a name has the shape of those with this prefix."""
    return re.fullmatch(f"{prefix}_[0-9a-f]{{32}}", name) is not None
