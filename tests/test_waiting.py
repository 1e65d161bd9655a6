"""Threads of torch wait briefly: what the library itself says that it was told."""

import os
import subprocess
import sys

import pytest

from hubel.waiting import wait_briefly

ASK = "import hubel, torch; torch.ones(100, 100) @ torch.ones(100, 100)"


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
def test_the_library_heard_it():
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    ran = subprocess.run(
        [sys.executable, "-c", ASK], env=clean | {"OMP_DISPLAY_ENV": "verbose"}, capture_output=True, text=True
    )
    assert ran.returncode == 0 and "GOMP_SPINCOUNT = '10000'" in ran.stderr


@pytest.mark.parametrize("theirs", [{"GOMP_SPINCOUNT": "5"}, {"OMP_WAIT_POLICY": "active"}])
def test_what_users_set_stays(theirs):
    environment = dict(theirs)
    wait_briefly(environment)
    assert environment == theirs
