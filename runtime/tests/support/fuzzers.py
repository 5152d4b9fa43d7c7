"""Requests that nobody should send, the same ones in every run."""

import json
import math
import random
from collections.abc import Iterator
from typing import Any

from support.connection import request

TOKENS = (
    b"NaN", b"-Infinity", b"1e400", b"-1e400", b"1e308", b"-0", b"0.0", b"9223372036854775808", b"1" * 400, b"1e9999",
    b"null", b"true", b"[]", b"{}", b'""', b'"\\ud800"', b'"\\u0000"', b"[" * 2_000, b'{"a":' * 500, b"\xff\xfe",
    b"\xef\xbb\xbf", b",", b":", b'"', b"\\", b"//", b"1_000", b"0x10", b"+1", b"01", b".5",
    b'"user_id"', b'"candidates"', b'{"\\ud800":NaN}', b'"\\udfff":1e400',
)  # fmt: skip
METHODS = ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "PROPFIND", "POST", "POST", "POST", "POST")
PATHS = (
    "/rank", "/rank/", "//rank", "/rank/1", "/RANK", "/rank%2f", "/rank?x=1", "/rank?x=" + "a" * 5_000, "/faults",
    "/metrics", "/readyz", "/livez", "/openapi.json", "/", "/..", "/../../etc/passwd", "/%00", "/%ff", "/rank;a=b",
    "/rank%0d%0ax:y", "/" + "a/" * 2_000, "/favicon.ico", "/.git/config", "/rank#x", "/static_content/../x",
)  # fmt: skip
HEADERS = (
    "content-type: text/xml", "content-type: multipart/form-data", "content-type: application/json; charset=utf-16",
    "content-encoding: gzip", "accept: text/html", "accept-encoding: br;q=x", "x-request-id: a b",
    "x-mlsd-role: shadow", "x-mlsd-role: root", "x-mlsd-bucket: 999",
    "x-user-id: \u00ff", "authorization: Basic !!!", "cookie: a=b; c",
    "range: bytes=0-1", "if-none-match: *", "expect: nonsense", "forwarded: for=1", "x-forwarded-for: 1.2.3.4, ::1",
    "traceparent: 00-00-00-00", "tracestate: a", "baggage: a=b", "host: other", "origin: null", "x: " + "y" * 8_000,
)  # fmt: skip
GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 100, b"\r\n" * 50,
    b"HEAD /rank HTTP/1.1\r\nhost: x\r\n\r\n", b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /rank\r\n\r\n",
    b"POST /rank HTTP/1.1\r\n\r\n", b"POST /rank HTTP/9.9\r\nhost: x\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n",
    b"POST /rank HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}",
    b"POST /rank HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
    b"POST /rank HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}}",
    b"POST /rank HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /rank HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    b"POST /rank HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /rank HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /rank HTTP/1.1\r\nhost: x\r\nx:\x00y\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /rank HTTP/1.1\r\nhost : x\r\n folded\r\ncontent-length: 2\r\n\r\n{}",
)  # fmt: skip


def _good(rng: random.Random) -> dict[str, Any]:
    content: dict[str, Any] = {
        "user_id": rng.choice([1, 7, 99, 10**6, 2**63 - 1]),
        "candidates": rng.sample(range(1, 700), rng.choice([1, 3, 10, 40, 200])),
    }
    return content if rng.random() < 0.5 else content | {"device": rng.choice(["mobile", "desktop", "tablet"])}


def _replaced(rng: random.Random) -> bytes:
    """A value or a field of a good request replaced by something else."""
    strange: list[Any] = [
        None,
        True,
        -1,
        0.5,
        1e308,
        "1",
        "x" * 200,
        [],
        {},
        [[1]],
        2**63,
        2**200,
        "\u0000",
        "😀",
        [*range(501)],
    ]
    content, field = _good(rng), rng.choice(["user_id", "candidates", "device", "one", "extra", "lost"])
    if field == "one":
        content["candidates"][rng.randrange(len(content["candidates"]))] = rng.choice(strange)
    elif field == "lost":
        del content[rng.choice(list(content))]
    else:
        content[field] = rng.choice(strange)
    return json.dumps(content).encode()


def _damaged(rng: random.Random) -> bytes:
    """A good request with bytes changed, lost, doubled or put in."""
    body = bytearray(json.dumps(_good(rng)).encode())
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(body) + 1), rng.randint(1, 12)
        match rng.randrange(5):
            case 0:
                body[at : at + 1] = rng.randbytes(1)
            case 1:
                del body[at : at + length]
            case 2:
                body[at:at] = body[at : at + length]
            case 3:
                body[at : at + length] = rng.choice(TOKENS)
            case _:
                del body[at + 1 :]
    return bytes(body)


def bodies(rng: random.Random) -> Iterator[bytes]:
    """Bodies for POST /rank: good ones, strange ones, damaged ones, noise."""
    while True:
        yield json.dumps(_good(rng)).encode()
        yield _replaced(rng)
        yield _damaged(rng)
        yield _damaged(rng)
        yield rng.randbytes(rng.randint(0, 200))


def acceptable(body: bytes) -> bool:
    """Whether the contract allows a 200 for this body; told by the standard library alone."""

    def not_a_number(text: str) -> float:
        raise ValueError(text)

    def finite(text: str) -> float:
        return value if math.isfinite(value := float(text)) else not_a_number(text)

    try:
        content = json.loads(body, parse_constant=not_a_number, parse_float=finite)
        user, items = content.pop("user_id"), content.pop("candidates")
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return False
    if content.pop("device", "mobile") not in ("mobile", "desktop", "tablet") or content or not isinstance(items, list):
        return False
    whole = all(type(each) is int and 0 <= each < 2**63 for each in (user, *items))
    return whole and 1 <= len(items) <= 500 and len({*items}) == len(items)


def routes(rng: random.Random) -> Iterator[bytes]:
    """Well-formed HTTP with methods, paths and headers of all kinds."""
    while True:
        method = rng.choice(METHODS)
        path = rng.choice(PATHS) if rng.random() < 0.7 else "/" + "".join(f"%{each:02x}" for each in rng.randbytes(9))
        body = b"" if method == "GET" else next(bodies(rng))
        yield request(body, *rng.sample(HEADERS, rng.randint(0, 4)), method=method, path=path)


def garbage(rng: random.Random) -> Iterator[bytes]:
    """Bytes that are not, or only almost, HTTP."""
    while True:
        yield rng.choice(GARBAGE)
        yield rng.randbytes(rng.randint(1, 2_000))
        whole = request(json.dumps(_good(rng)).encode())
        yield whole[: rng.randrange(len(whole))]
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(40)] = rng.randrange(256)
        yield bytes(damaged)
