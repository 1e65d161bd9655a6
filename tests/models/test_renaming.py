"""Names there and back, and what is refused."""

import pytest

from hubel.errors import UserError
from hubel.models.renaming import Renaming, known_to, peer_of, renaming_of

TABLE = Renaming(
    ("stem.0", "conv1"),
    ("stages.{i}.{j}.f.{k}", "layer{i+1}.{j}.part{k+1}"),
    ("stages.{i}", "layer{i+1}"),
    ("head.1", "fc"),
)
PAIRS = {
    "stem.0.weight": "conv1.weight",
    "stem.0": "conv1",
    "stem.00.weight": "stem.00.weight",  # whole parts only
    "stages.0.11.f.2.bias": "layer1.11.part3.bias",
    "stages.3.norm.running_mean": "layer4.norm.running_mean",
    "head.1.bias": "fc.bias",
    "other.weight": "other.weight",
}


@pytest.mark.parametrize("ours, theirs", PAIRS.items())
def test_names_there_and_back(ours, theirs):
    assert TABLE.to_theirs(ours) == theirs
    assert TABLE.to_ours(theirs) == ours


def test_the_first_pair_that_fits_is_used_and_no_number_is_negative():
    assert TABLE.to_ours("layer0.norm") == "layer0.norm"
    swapped = Renaming(("a", "x"), ("a.b", "y"))
    assert swapped.to_theirs("a.b.c") == "x.b.c"
    assert swapped.to_ours("y.c") == "a.b.c"


def test_state_dicts_keep_their_order_and_values():
    state = dict(zip(PAIRS, range(len(PAIRS)), strict=True))
    there = TABLE.state_to_theirs(state)
    assert list(there.items()) == list(zip(PAIRS.values(), range(len(PAIRS)), strict=True))
    assert TABLE.state_to_ours(there) == state
    with pytest.raises(UserError, match=r"Two weights would be called 'conv1.weight'"):
        TABLE.state_to_theirs({"stem.0.weight": 0, "conv1.weight": 1})


def test_a_model_function_knows_its_peers():
    @known_to("timm", Renaming(("a", "b")), "its_name")
    @known_to("torchvision", TABLE)
    def network(*, classes, input):
        return None

    assert renaming_of(network, "torchvision") is TABLE
    assert (peer_of(network, "torchvision").name, peer_of(network, "timm").name) == ("network", "its_name")
    with pytest.raises(UserError, match="'network' is not known to torchvison; did you mean 'torchvision'"):
        peer_of(network, "torchvison")
    with pytest.raises(UserError, match="not known to timm, nor to another library"):
        renaming_of(lambda: None, "timm")
