"""Which users see a candidate: the Python twin of `edge.lua`, and the regex that a route matches buckets with."""

BUCKETS = 100


def bucket(user_id: str, salt: str) -> int:
    """Bucket 0 to 99 of a user, the same as at the edge.

    FNV-1a (32 bit) over the UTF-8 bytes of "salt:user_id", then MurmurHash3's final mix (A. Appleby, public domain).
    """
    value = 2166136261
    for byte in f"{salt}:{user_id}".encode():
        value = (value ^ byte) * 16777619 % 2**32
    value = (value ^ value >> 16) * 2246822507 % 2**32
    value = (value ^ value >> 13) * 3266489909 % 2**32
    return (value ^ value >> 16) % BUCKETS


def bucket_regex(percent: int) -> str:
    """Regex of the buckets below `percent`, 1 to 99; a larger share holds every bucket of a smaller one."""
    if not 1 <= percent < BUCKETS:
        raise ValueError(f"percent: found {percent}, expected 1 to {BUCKETS - 1}")
    tens, ones = divmod(percent, 10)
    parts = [f"[0-{min(percent, 10) - 1}]"]
    if tens > 1:
        parts.append(f"[1-{tens - 1}][0-9]")
    if tens and ones:
        parts.append(f"{tens}[0-{ones - 1}]")
    return f"^({'|'.join(parts)})$"
