"""--download against servers that fail: a clear message, and never half a file in the cache. All on this machine."""

import contextlib
import gzip
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hubel.data import builtin
from hubel.errors import UserError

IMAGES, LABELS = 2051, 2049  # the first number of an IDX file of images, of labels


def idx(array, magic):
    head = np.array([magic, *array.shape], dtype=">i4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def files():
    """Four small IDX files in the place of Fashion-MNIST's: {name: unpacked content}."""
    found = {}
    for part, n in (("train", 20), ("t10k", 10)):
        found[f"{part}-images-idx3-ubyte.gz"] = idx(np.arange(n * 784).reshape(n, 28, 28) % 251, IMAGES)
        found[f"{part}-labels-idx1-ubyte.gz"] = idx(np.arange(n) % 10, LABELS)
    return found


@pytest.fixture
def served(tmp_path, monkeypatch):
    """served(how) starts a server; `how(name, content)` is (status, promised length, body). Returns the cache."""
    contents, servers = files(), []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(builtin, "FASHION_SYSTEM", tmp_path / "nowhere")
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(builtin, "FASHION_FILES", hashes)

    def start(how):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                status, length, body = how(name, gzip.compress(contents[name]))
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *words):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(builtin, "FASHION_ORIGIN", f"http://127.0.0.1:{server.server_port}/data/")
        return tmp_path / "hubel" / "fashion-mnist"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def whole(name, body):
    return 200, len(body), body


def test_whole_files_are_kept_and_found_again(served):
    cache = served(whole)
    dataset = builtin.fashion_mnist(download=True)
    assert len(dataset) == 30 and {name: len(index) for name, index in dataset.splits.items()} == {
        "train": 20,
        "test": 10,
    }
    assert sorted(path.name for path in cache.iterdir()) == sorted(files())
    served(lambda name, body: (500, 0, b""))  # nothing is asked of the server any more
    assert builtin.fashion_mnist().hash() == dataset.hash() == builtin.fashion_mnist(download=True).hash()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda name, body: (404, 0, b""), r"could not be downloaded.*404"),
        (lambda name, body: (200, len(body), body[: len(body) // 2]), r"t10k-labels.*(ended after|SHA-256)"),
        (lambda name, body: (200, len(body), body[:-1] + b"?"), r"SHA-256|no gzip"),
        (
            lambda name, body: whole(name, gzip.compress(b"other"))[:3],
            r"unpacks to SHA-256.*expected.*Nothing was kept",
        ),
        (lambda name, body: whole(name, b"<html>sign in first</html>"), r"no gzip file.*expected"),
    ],
    ids=["404", "truncated", "damaged", "other content", "a page"],
)
def test_what_is_not_whole_is_not_kept(served, how, message):
    def last(name, body):
        return how(name, body) if name.startswith("t10k-labels") else whole(name, body)

    cache = served(last)
    with pytest.raises(UserError, match=message):
        builtin.fashion_mnist(download=True)
    assert sorted(path.name for path in cache.iterdir()) == sorted(set(files()) - {"t10k-labels-idx1-ubyte.gz"})
    served(whole)
    assert len(builtin.fashion_mnist(download=True)) == 30  # only what was missing is fetched


def test_no_network(served, monkeypatch):
    cache = served(whole)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(builtin, "FASHION_ORIGIN", f"http://127.0.0.1:{closed.getsockname()[1]}/")
    with pytest.raises(UserError, match=r"could not be downloaded into .*refused.*dataset-fashion-mnist"):
        builtin.fashion_mnist(download=True)
    assert list(cache.iterdir()) == []


def test_nothing_is_asked_of_the_network_without_the_flag(served):
    asked = []
    served(lambda name, body: asked.append(name) or whole(name, body))
    with pytest.raises(UserError, match="--download"):
        builtin.fashion_mnist()
    assert not asked
