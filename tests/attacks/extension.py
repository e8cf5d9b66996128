"""
Length extension: from the SHA-256 of a secret and a message alone, the SHA-256 of both with more behind them.

It is why a signature is an HMAC and not a hash of secret and message (RFC 2104). Written out here (FIPS 180-4), because
a hash of the standard library cannot be begun in the middle.
"""

from hashlib import sha256

BLOCK_BYTES = 64
MASK = 0xFFFF_FFFF

PRIMES = [n for n in range(2, 312) if all(n % divisor for divisor in range(2, int(n**0.5) + 1))]


def fraction_bits(number: int, root: int) -> int:
    """The first 32 bits behind the point of a square or cube root, by whole numbers alone."""
    low, high = 0, number << 32
    scaled = number << (32 * root)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**root <= scaled else (low, middle - 1)
    return low & MASK


ROUNDS = [fraction_bits(prime, 3) for prime in PRIMES]


def turn(word: int, by: int) -> int:
    return (word >> by | word << (32 - by)) & MASK


def absorb(state: list[int], block: bytes) -> list[int]:
    """Take one block into the state."""
    words = [int.from_bytes(block[place : place + 4]) for place in range(0, BLOCK_BYTES, 4)]
    for place in range(16, 64):
        one, other = words[place - 15], words[place - 2]
        low = turn(one, 7) ^ turn(one, 18) ^ one >> 3
        high = turn(other, 17) ^ turn(other, 19) ^ other >> 10
        words.append((words[place - 16] + low + words[place - 7] + high) & MASK)
    a, b, c, d, e, f, g, h = state
    for constant, word in zip(ROUNDS, words, strict=True):
        mixed = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + constant + word
        added = mixed + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = added & MASK, a, b, c, (d + mixed) & MASK, e, f, g
    return [(old + new) & MASK for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


def padding(length: int) -> bytes:
    """What SHA-256 puts behind a message of so many bytes."""
    return b"\x80" + bytes((55 - length) % BLOCK_BYTES) + (length * 8).to_bytes(8)


def extend(digest: str, *, length: int, more: bytes) -> tuple[bytes, str]:
    """
    Extend a message of `length` bytes, of which only the digest is known.

    Returns what comes behind the message, and the digest of all of it.
    """
    known = bytes.fromhex(digest)
    state = [int.from_bytes(known[place : place + 4]) for place in range(0, 32, 4)]
    glue = padding(length)
    rest = more + padding(length + len(glue) + len(more))
    for place in range(0, len(rest), BLOCK_BYTES):
        state = absorb(state, rest[place : place + BLOCK_BYTES])
    return glue + more, b"".join(word.to_bytes(4) for word in state).hex()


def is_sound() -> bool:
    """Whether the attack works where it should: on a plain hash."""
    secret, message, more = b"secret", b"message", b"more"
    behind, forged = extend(sha256(secret + message).hexdigest(), length=len(secret + message), more=more)
    return forged == sha256(secret + message + behind).hexdigest()
