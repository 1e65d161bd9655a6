"""A PNG file of rows that come in one after the other: a large picture need not be in memory at once.

The format: W3C PNG, third edition. 8 bits per value, each row preceded by its filter, 0 (none).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


class PngRows:
    """Rows (n, W) uint8, numbers of a palette (K, 3); or, without one, colours (n, W, 3) uint8."""

    def __init__(self, path: Path, height: int, width: int, palette: np.ndarray | None = None):
        self.rows, self._shape = 0, (height, width)
        self._file = path.open("wb")
        self._file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2 if palette is None else 3, 0, 0, 0))
        if palette is not None:
            self._chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        self._stream = zlib.compressobj(6)

    def write(self, rows: np.ndarray) -> None:
        if rows.shape[1] != self._shape[1] or self.rows + len(rows) > self._shape[0]:
            raise ValueError(f"rows {rows.shape} after {self.rows} do not fit a picture of {self._shape}")
        flat = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
        lines = np.zeros((len(rows), 1 + flat.shape[1]), np.uint8)
        lines[:, 1:] = flat
        self.rows += len(rows)
        content = self._stream.compress(lines.tobytes())
        if content:
            self._chunk(b"IDAT", content)

    def close(self) -> None:
        """Whole only when all rows have come."""
        if not self._file.closed:
            self._chunk(b"IDAT", self._stream.flush())
            self._chunk(b"IEND", b"")
            self._file.close()

    def _chunk(self, name: bytes, content: bytes) -> None:
        self._file.write(struct.pack(">I", len(content)) + name + content)
        self._file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))
