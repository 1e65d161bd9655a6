"""What libtiff says of a damaged file: kept for the message, where else it would be printed past every handler.

Pillow reports "decoder error -2"; the reason ("Decoding error at scanline 0, incorrect data check") goes to standard
error. Where Pillow's libtiff can't be reached, nothing changes.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading

from PIL import Image

MOST = 200  # bytes of a message
_heard, _once = threading.local(), threading.Lock()
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)  # module, format, va_list


def listen() -> None:
    """Forget what was said before in this thread, and keep what will be."""
    with _once:
        _install()
    _heard.text = ""


def said() -> str:
    """The first words since `listen` in this thread; "" where there were none."""
    return getattr(_heard, "text", "")


@functools.cache
def _install() -> tuple:
    """Handlers for errors and warnings; returned, so that they live as long as the process."""
    with contextlib.suppress(Exception):
        library, c = ctypes.CDLL(Image.core.__file__), ctypes.CDLL(None)  # names are looked up in what Pillow loaded

        def keep(module: bytes | None, form: bytes | None, arguments: int | None) -> None:
            if not said() and form:
                text = ctypes.create_string_buffer(MOST)
                c.vsnprintf(text, ctypes.c_size_t(MOST), form, ctypes.c_void_p(arguments))
                _heard.text = text.value.decode("utf-8", "replace").strip().rstrip(".")

        handlers = _Handler(keep), _Handler(lambda *_: None)
        for name, handler in zip(("TIFFSetErrorHandler", "TIFFSetWarningHandler"), handlers, strict=True):
            function = library[name]
            function.argtypes, function.restype = (ctypes.c_void_p,), ctypes.c_void_p
            function(ctypes.cast(handler, ctypes.c_void_p))
        return handlers
    return ()
