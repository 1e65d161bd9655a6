"""Which images of an evaluation the report calls mistakes."""

from types import SimpleNamespace

import torch

from hubel.galleries import wrong
from hubel.tasks.dense import SegmentationPredictions
from hubel.tasks.segmentation import Segmentation
from hubel.types import PixelClasses


def test_a_map_of_the_same_shares_in_other_places_is_a_mistake():
    """Truth: left half road, right half car. The answers: the same, the halves exchanged; all unknown."""
    truth = torch.zeros(3, 4, 4, dtype=torch.uint8)
    truth[:2, :, 2:] = 1
    truth[2] = 255
    answers = torch.stack([truth[0], 1 - truth[1], truth[0]]).long()
    found = torch.nn.functional.one_hot(answers, 2).permute(0, 3, 1, 2).float()
    task = Segmentation(("road", "car"))
    places = torch.eye(3).expand(3, 3, 3), torch.full((3, 2), 4)
    predictions, targets = task.condensed(SegmentationPredictions(found, *places), PixelClasses(truth))
    assert task.describe(predictions, 1)["prediction"] == task.truth(targets, 1)  # in words no difference
    scores = task.scores(predictions, targets)
    seen = SimpleNamespace(predictions=predictions, targets=targets, scores=scores, index=range(3))
    assert wrong(SimpleNamespace(task=task), seen).tolist() == [False, True, False]
