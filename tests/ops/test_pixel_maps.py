"""The most probable class of each pixel, against argmax."""

import torch

from hubel.ops.pixel_maps import most_probable


def test_the_first_of_the_largest_as_argmax_has_it():
    coarse = torch.randint(0, 4, (3, 5, 7, 6), generator=torch.Generator().manual_seed(0)).float()  # many ties
    fine = torch.rand(2, 200, 4, 3, generator=torch.Generator().manual_seed(1))
    for maps in (coarse, fine, coarse.contiguous(memory_format=torch.channels_last)):
        found = most_probable(maps)
        assert found.dtype == torch.uint8
        assert torch.equal(found.long(), torch.from_numpy(maps.numpy().argmax(1)))  # numpy's takes the first
        assert torch.equal(most_probable(maps[0]), found[0])
