"""Is a file all there? What decoders let pass: a JPEG without its end, a PNG whose checksums are wrong.

A decoder fills what is missing with grey or black and says nothing; the formats themselves tell.
"""

from __future__ import annotations

import zlib

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of a frame's header
SEQUENTIAL = (0xC0, 0xC1)  # with all components in its first scan such a frame has no other
SCANS, WORK = 32, 10**9  # of a JPEG: scans that are always decoded, and scans · pixels of more


def fault_of(form: str | None, data: bytes) -> str | None:
    """Why the content of a file of this format (Pillow's name) is not whole; None where nothing is found."""
    if form in ("JPEG", "MPO"):
        return _jpeg(data)
    return _png(data) if form == "PNG" else None


def _jpeg(data: bytes) -> str | None:
    at, pixels, several, components = 2, 0, True, b""
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in FRAMES:
            pixels = int.from_bytes(data[at + 5 : at + 7], "big") * int.from_bytes(data[at + 7 : at + 9], "big")
            several = marker not in SEQUENTIAL
            components = data[at + 9 : at + 10]
        start, at = at, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:  # start of scan: what follows is entropy-coded, where 0xFF is escaped
            several = several or data[start + 4 : start + 5] != components
            break
    scans = data.count(b"\xff\xda") if several else 1  # slow to count
    if scans > SCANS and scans * pixels > WORK:  # each scan goes over all pixels: a small file takes minutes
        return f"too large: {scans:,} scans of {pixels:,} pixels each"
    return None if data.rfind(b"\xff\xd9") >= at else "truncated: the JPEG's end marker is missing"


def _png(data: bytes) -> str | None:
    view, at = memoryview(data), 8  # after the signature: chunks of length, name, content, checksum
    while at + 12 <= len(data):
        length, name = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            break
        needed = not name[0] & 0x20  # an upper-case first letter: no decoder may skip this chunk
        if needed and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return f"damaged: the checksum of the PNG's {name.decode('latin-1')} chunk is wrong"
        if name == b"IEND":
            return None
        at = end + 4
    return "truncated: the PNG's last chunk is missing"
