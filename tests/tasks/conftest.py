"""What the tests of tasks share."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """So small a network only waits for a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
