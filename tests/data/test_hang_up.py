"""A main process that is interrupted while it takes a batch hangs up on the worker: that is no fault to print."""

import multiprocessing
import socket
import time
from multiprocessing import resource_sharer

import pytest

from hubel.data import decoded


def _share(pipe):
    decoded._start_worker(0)
    sharer = resource_sharer._resource_sharer
    sharer._start()
    pipe.send(sharer._address)
    pipe.recv()  # until the caller has hung up


def _started():
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=_share, args=(theirs,), daemon=True)
    process.start()
    return process, ours


@pytest.mark.parametrize("reset", [True, False])
def test_a_caller_that_hangs_up_is_no_fault(capfd, reset):
    process, pipe = _started()
    address = pipe.recv()
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(address)
            if not reset:  # the challenge is read: an orderly end, EOFError; left unread: ECONNRESET
                caller.recv(4096)
    time.sleep(0.3)
    pipe.send("done")
    process.join(30)
    assert process.exitcode == 0 and capfd.readouterr().err == ""


def test_a_message_cut_short_is_no_fault(capfd):
    fault = OSError("got end of file during message")
    decoded._fault_of_worker(type(fault), fault, None)
    assert capfd.readouterr().err == ""


def test_other_faults_of_a_thread_are_printed(capfd):
    for fault in (ZeroDivisionError("by nothing"), OSError(24, "Too many open files")):
        decoded._fault_of_worker(type(fault), fault, None)
        assert str(fault) in capfd.readouterr().err
