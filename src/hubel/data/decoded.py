"""The decoded path: worker processes read, fit and augment whole batches; the main process only moves them.

What an example becomes depends on (seed, epoch, slot) and not on who reads it, so 0, 1 or 4 workers give the same
bits. Workers live on between epochs, and never touch the device.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hubel.data.assemble import Assembler, Request
from hubel.data.read import Examples, Reader
from hubel.data.resident import Fetched, fetched
from hubel.errors import UserError

AHEAD = 4  # batches that each worker has ready


class _Batches(Dataset):
    """A batch per request, read in whichever process asks."""

    def __init__(self, assembler: Assembler):
        self.assembler = assembler

    def __getitem__(self, request: Request) -> tuple[torch.Tensor, Examples]:
        examples = self.assembler.batch(request)
        pixels = torch.from_numpy(examples.pixels)  # a tensor travels by shared memory, and can be pinned
        return pixels, replace(examples, pixels=np.empty(0))


class _Requests(Sampler):
    """What is to be read next; replaced before each epoch. They are made only when a worker is free for them."""

    def __init__(self) -> None:
        self.requests: Iterable[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)


def _start_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which then ends the workers
    sys.excepthook = _fault_of_worker
    cv2.setNumThreads(0)


def _fault_of_worker(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    """Print a fault in one of a worker's threads; but a main process that hung up while it took a batch is none.

    Faults of the reading itself don't come here: they travel to the main process, which raises them.
    """
    half_read = isinstance(fault, OSError) and fault.errno is None  # "got end of file during message"
    if not (half_read or isinstance(fault, ConnectionError | EOFError)):
        sys.__excepthook__(kind, fault, trace)


def _as_it_comes(batch: Any) -> Any:
    return batch


def _refuse_unguarded_script() -> None:
    """Spawned processes import the main script; one that trains as it is imported would never get them started."""
    main = sys.modules.get("__main__")
    path, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if multiprocessing.get_start_method() == "fork" or path is None or (spec and spec.name.endswith("__main__")):
        return
    with contextlib.suppress(OSError):
        if "__main__" not in Path(path).read_text("utf-8", "replace"):
            raise UserError(
                f"{path} starts processes that read images, and each of them begins by running it anew. Put its "
                "training under `if __name__ == '__main__':`, or read in the main process with workers=0."
            )


class Decoded:
    """Batches of a Reader, from `workers` processes (0: in this one)."""

    def __init__(self, reader: Reader, device: torch.device, workers: int):
        self.assembler, self.device, self.workers = Assembler(reader), device, workers
        self.requests = _Requests()
        self.loader: DataLoader | None = None
        self.turn = 0

    def fetch(self, requests: Iterable[Request]) -> Iterator[Fetched]:
        """One batch per request. Worker processes begin to read at once, before the first batch is asked for."""
        found = self._read(requests) if self.workers else self._read_here(requests)
        return (fetched(pixels, rest, self.device) for pixels, rest in found)

    def _read_here(self, requests: Iterable[Request]) -> Iterator[tuple[torch.Tensor, Examples]]:
        source = _Batches(self.assembler)
        return (source[request] for request in requests)

    def _read(self, requests: Iterable[Request]) -> Iterator[tuple[torch.Tensor, Examples]]:
        self.turn += 1
        self.requests.requests = requests
        if self.loader is None:
            self.loader = self._start()
        return self._results(self.turn, self._guarded(iter, self.loader))

    def _results(self, turn: int, results: Iterator[Any]) -> Iterator[tuple[torch.Tensor, Examples]]:
        while True:
            if turn != self.turn:
                raise RuntimeError("these batches ended when others were asked of the same loader; use two loaders")
            try:
                found = self._guarded(next, results)
            except StopIteration:
                return
            yield found

    def _guarded(self, do: Callable[[Any], Any], what: Any) -> Any:
        """`do(what)`, and a sentence in place of the fault where a worker process is gone."""
        try:
            return do(what)
        except (RuntimeError, OSError, EOFError) as fault:
            if isinstance(fault, RuntimeError) and "DataLoader worker (pid" not in str(fault):
                raise  # a fault inside a worker, which names the image
            self.close()
            raise RuntimeError(
                f"a process that reads images was ended from outside ({fault}); mostly memory ran out: use fewer "
                "workers (--workers 0 reads in the main process) or a larger /dev/shm"
            ) from fault

    def _start(self) -> DataLoader:
        _refuse_unguarded_script()
        with warnings.catch_warnings():  # the user asked for so many, or the rule never goes beyond the cores
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            return self._make()

    def _make(self) -> DataLoader:
        return DataLoader(
            _Batches(self.assembler),
            batch_size=None,
            sampler=self.requests,
            num_workers=self.workers,
            collate_fn=_as_it_comes,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # else each epoch would take a number from the training's generator
            prefetch_factor=AHEAD,
            persistent_workers=True,
        )

    def close(self) -> None:
        """End the worker processes."""
        self.turn += 1
        loader, self.loader = self.loader, None
        iterator = getattr(loader, "_iterator", None)
        if iterator is not None:
            iterator._shutdown_workers()
