"""Verifies Ed25519 signatures (RFC 8032) where the interpreter has no library for it.

The STM32 image has it in C. A process of the unix port has neither that nor SHA-512, and its time
does not matter, so both are here as the standards write them down: SHA-512 after FIPS 180-4, whose
constants are cube and square roots of primes and are computed.
"""

_P = (1 << 255) - 19
_L = (1 << 252) + 27742317777372353535851937790883648493
_MASK = (1 << 64) - 1
_BLOCK = 128


def _primes(count: int) -> "list[int]":
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _root(value: int, degree: int) -> int:
    low, high = 0, 1
    while high**degree <= value:
        high <<= 1
    while high - low > 1:
        middle = (low + high) >> 1
        if middle**degree <= value:
            low = middle
        else:
            high = middle
    return low


def _constants() -> "tuple[list[int], list[int]]":
    primes = _primes(80)
    cubes = [_root(prime << 192, 3) & _MASK for prime in primes]
    squares = [_root(prime << 128, 2) & _MASK for prime in primes[:8]]
    return cubes, squares


def _turn(word: int, bits: int) -> int:
    return (word >> bits | word << (64 - bits)) & _MASK


def sha512(message: bytes) -> bytes:
    """Return the SHA-512 of a message."""
    constants, state = _constants()
    length = 8 * len(message)
    message += b"\x80"
    message += bytes(-(len(message) + 16) % _BLOCK) + length.to_bytes(16, "big")
    for start in range(0, len(message), _BLOCK):
        words = [
            int.from_bytes(message[start + at : start + at + 8], "big")
            for at in range(0, _BLOCK, 8)
        ]
        for index in range(16, 80):
            near, far = words[index - 15], words[index - 2]
            near = _turn(near, 1) ^ _turn(near, 8) ^ near >> 7
            far = _turn(far, 19) ^ _turn(far, 61) ^ far >> 6
            words.append((words[index - 16] + near + words[index - 7] + far) & _MASK)
        a, b, c, d, e, f, g, h = state
        for index in range(80):
            mixed = _turn(e, 14) ^ _turn(e, 18) ^ _turn(e, 41)
            first = h + mixed + (e & f ^ (_MASK ^ e) & g) + constants[index] + words[index]
            mixed = _turn(a, 28) ^ _turn(a, 34) ^ _turn(a, 39)
            second = mixed + (a & b ^ a & c ^ b & c)
            h, g, f, e = g, f, e, (d + first) & _MASK
            d, c, b, a = c, b, a, (first + second) & _MASK
        mixed_state = (a, b, c, d, e, f, g, h)
        state = [(old + new) & _MASK for old, new in zip(state, mixed_state)]
    return b"".join([word.to_bytes(8, "big") for word in state])


# Points of the curve in extended coordinates (x, y, z, t): RFC 8032, section 5.1.4.


def _inverse(value: int) -> int:
    return pow(value, _P - 2, _P)


_D = -121665 * _inverse(121666) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)


def _add(p: "tuple[int, ...]", q: "tuple[int, ...]") -> "tuple[int, ...]":
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _times(factor: int, point: "tuple[int, ...]") -> "tuple[int, ...]":
    result: tuple[int, ...] = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            result = _add(result, point)
        point = _add(point, point)
        factor >>= 1
    return result


def _point(data: bytes) -> "tuple[int, ...] | None":
    y = int.from_bytes(data, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _P:
        return None
    square = (y * y - 1) * _inverse(_D * y * y + 1) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (not x and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether ``signature`` is the one of ``message`` by the owner of ``public_key``."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key = _point(public_key)
    commitment = _point(signature[:32])
    answer = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or answer >= _L:
        return False
    base = _point((4 * _inverse(5) % _P).to_bytes(32, "little"))
    assert base is not None
    digest = sha512(signature[:32] + public_key + message)
    challenge = int.from_bytes(digest, "little") % _L
    left = _times(answer, base)
    right = _add(commitment, _times(challenge, key))
    return not (
        (left[0] * right[2] - right[0] * left[2]) % _P
        or (left[1] * right[2] - right[1] * left[2]) % _P
    )
