"""How long a thread of OpenMP turns in circles for its next piece of work before it goes to sleep.

GNU's OpenMP, which torch computes with on CPUs, tries 300,000 times. Where another program wants the processor too,
each step then waits for a thread that waits: a training beside one busy program took 78 s in place of 13. 10,000 tries
last longer than the pauses inside a step: alone the training takes 13 s as before, beside the busy program 28 s.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

VARIABLE, TRIES = "GOMP_SPINCOUNT", "10000"
THEIRS = (VARIABLE, "OMP_WAIT_POLICY")  # what users set themselves stays


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Say so to the library, which reads it once, when torch is loaded: after that it has no effect."""
    if not any(name in environment for name in THEIRS):
        environment[VARIABLE] = TRIES
