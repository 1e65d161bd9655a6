"""The ways to run a trained network: each agrees with eager fp32; the rule between them; what happens in a fault."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from hubel.data.preprocess import Preprocess
from hubel.errors import UserError
from hubel.models.alive import peak_bytes
from hubel.models.convnet import convnet
from hubel.models.densenet import densenet_bc40
from hubel.models.preact_cifar import preact_resnet20
from hubel.models.surgery.lean import working_bytes
from hubel.prediction import inference
from hubel.prediction.inference import TOLERANCE, Prepared, Way, choose, prepared
from hubel.rebuild import Parts
from hubel.tasks.classification import Classification
from hubel.tasks.joint import Joint

KINDS = ("a", "b", "c", "d", "e")


def make_parts(precision="fp32", side=20):
    torch.manual_seed(0)
    network = convnet(classes=5, input=(3, side, side), widths=(8, 16)).train()
    with torch.no_grad():
        network(torch.randn(16, 3, side, side))  # statistics that are not 0 and 1
    task = Classification(KINDS)
    return Parts(network.eval(), task, Preprocess((side, side), 3), torch.device("cpu"), KINDS, precision)


def images(n, side=20):
    torch.manual_seed(1)
    return torch.randn(n, 3, side, side)


def run(way, n=7, batch=4, parts=None):
    parts = parts or make_parts()
    network = Prepared(parts.network, way, batch).eval()
    with torch.no_grad():
        found = torch.cat([network(part) for part in images(n).split(batch)])  # the last pass is smaller
        return parts.network(images(n)), found, network


@pytest.mark.parametrize("name", ["folded", "fused", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_way_agrees_with_eager_within_its_tolerance(name, precision):
    if name == "openvino":
        pytest.importorskip("openvino")
    expected, found, network = run(Way(name, precision, ""))
    assert network.way.name == name, network.way.why
    assert found.dtype == torch.float32
    difference = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert 0 < difference < TOLERANCE[precision]
    if precision == "fp32":
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", [partial(densenet_bc40, growth=2), partial(preact_resnet20, width=0.5)])
@pytest.mark.parametrize("name", ["folded", "fused"])
def test_networks_whose_norms_only_fold_in_part(function, name):
    torch.manual_seed(0)
    network = function(classes=5, input=(3, 20, 20)).train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, -1.5, 1.5)
                nn.init.normal_(module.bias)
        network(torch.randn(16, 3, 20, 20))
    expected, found, prepared_one = run(Way(name, "fp32", ""), parts=replace(make_parts(), network=network.eval()))
    assert prepared_one.way.name == name, prepared_one.way.why
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_the_network_itself_stays_as_it_is():
    parts = make_parts()
    before = {name: value.clone() for name, value in parts.network.state_dict().items()}
    run(Way("folded", "bf16", ""), parts=parts)
    assert {name: value.dtype for name, value in parts.network.state_dict().items()} == {
        name: value.dtype for name, value in before.items()
    }
    assert all(torch.equal(value, before[name]) for name, value in parts.network.state_dict().items())


def test_outputs_beyond_the_tolerance_are_not_used(monkeypatch):
    monkeypatch.setattr(inference, "folded", lambda network, precision, most: lambda images: network(images) * 1.01)
    expected, found, network = run(Way("folded", "fp32", ""))
    assert torch.equal(found[:4], expected[:4]) or torch.allclose(found, expected)
    assert network.way.name == "eager"
    assert network.way.why == "folded differed by 1.00%, more than 0.1%"


def test_a_way_that_fails_gives_way_to_eager(monkeypatch):
    def fail(*given):
        raise RuntimeError("no such kernel\nat line 3")

    monkeypatch.setattr(inference, "fused", fail)
    expected, found, network = run(Way("fused", "fp32", ""))
    torch.testing.assert_close(found, expected)
    assert (network.way.name, network.way.why) == ("eager", "fused failed (no such kernel)")


def test_nan_is_not_within_the_tolerance(monkeypatch):
    monkeypatch.setattr(
        inference, "folded", lambda network, precision, most: lambda images: network(images) * float("nan")
    )
    _, found, network = run(Way("folded", "fp32", ""))
    assert network.way.name == "eager"
    assert torch.isfinite(found).all()


# The rule ------------------------------------------------------------------------------------------------------


@pytest.fixture
def costs(monkeypatch):
    """A network of a billion multiply-adds on a CPU with native bf16, without OpenVINO."""
    monkeypatch.setattr(inference, "multiply_adds", lambda network, shape: 10**9)
    monkeypatch.setattr(inference, "native_bf16", lambda device: (True, "native"))
    monkeypatch.setattr(inference, "installed", lambda: "fused")


def test_the_more_work_the_more_preparation(costs, monkeypatch):
    parts = make_parts()
    assert choose(parts, 40).name == "eager"
    assert choose(parts, 60) == Way("folded", "bf16", "native")
    assert choose(parts, 600).name == "fused"
    monkeypatch.setattr(inference, "installed", lambda: "openvino")
    assert choose(parts, 600).name == "openvino"
    assert choose(parts, 40).name == "eager"


def test_bf16_only_where_it_is_native_and_pays(costs, monkeypatch):
    parts = make_parts()
    monkeypatch.setattr(inference, "native_bf16", lambda device: (False, "not native"))
    assert choose(parts, 600) == Way("fused", "fp32", "not native")
    monkeypatch.setattr(inference, "native_bf16", lambda device: (True, "native"))
    monkeypatch.setattr(inference, "multiply_adds", lambda network, shape: 10**5)
    assert choose(parts, 10**7).precision == "fp32"


def test_on_a_gpu_folding_is_all(costs):
    parts = replace(make_parts(), device=torch.device("cuda"))
    assert choose(parts, 600).name == "folded"
    with pytest.raises(UserError, match="is for the CPU"):
        choose(parts, 600, "fused")


def test_what_is_asked_for_is_taken_or_refused(costs):
    parts = make_parts("bf16")
    assert choose(parts, 10**6, "eager") == Way("eager", "bf16", "asked for")
    assert choose(parts, 1, "fused").name == "fused"
    with pytest.raises(UserError, match="OpenVINO is not installed"):
        choose(parts, 1, "openvino")
    with pytest.raises(UserError, match="did you mean 'fused'"):
        choose(parts, 1, "fuse")


def test_several_heads_stay_eager(costs):
    parts = replace(make_parts(), task=Joint({"kind": Classification(KINDS)}))
    assert choose(parts, 10**6).name == "eager"


def test_eager_parts_are_the_same_and_others_run_without_autocast():
    parts = make_parts("bf16")
    same, way = prepared(parts, 3, 64)
    assert replace(same, network=parts.network) == parts
    assert all(a is b for a, b in zip(same.network.parameters(), parts.network.parameters(), strict=True))
    assert way.tolerance is None
    other, way = prepared(parts, 3, 64, "folded")
    assert isinstance(other.network, Prepared)
    assert (other.precision, other.network.batch) == ("fp32", 3)
    assert not list(other.network.parameters())
    assert "within" in way.words()


@pytest.fixture
def little_memory(monkeypatch):
    """Half of it holds the maps of two images (and a bit) of the network that `make_parts` makes."""
    one = working_bytes(make_parts().network, (3, 20, 20))
    monkeypatch.setattr(inference, "free_memory", lambda device: 5 * one)


@pytest.mark.parametrize(("asked", "name"), [("eager", "eager"), ("folded", "folded"), ("fused", "folded")])
def test_where_memory_is_short_a_batch_runs_in_parts(little_memory, asked, name):
    parts = make_parts()
    found, way = prepared(parts, 7, 7, asked)
    assert way.name == name
    assert way.why == ("2 of 7 images at once fit into memory" if asked == "fused" else way.why)
    with torch.no_grad():
        torch.testing.assert_close(found.network(images(7)), parts.network(images(7)), rtol=1e-4, atol=1e-5)
        assert torch.equal(found.network(images(1)), found.network(images(1)))
    if name == "folded":
        assert found.network.way.name == "folded", found.network.way.why
    most = peak_bytes(found.network, images(7))
    assert most < images(7).nbytes * (2 if name == "folded" else 1) + 2.5 * working_bytes(parts.network, (3, 20, 20))
    assert most < 0.6 * peak_bytes(parts.network, images(7))


def test_much_memory_asks_for_no_counting(monkeypatch):
    monkeypatch.setattr(inference, "free_memory", lambda device: 10**12)
    monkeypatch.setattr(inference, "images_at_once", None)
    assert prepared(make_parts(), 7, 7, "eager")[1].name == "eager"


def test_a_task_sees_no_difference():
    """Through the task: probabilities of every way, batches of two sizes."""
    from hubel.training.evaluate import evaluating, predict

    parts = make_parts()
    from small_parts import make_batch

    batch = make_batch(images(6), torch.zeros(6, dtype=torch.int64))
    with evaluating(parts.network):
        expected = predict(parts.network, parts.task, batch, "mirror", parts.autocast)
    fast, _ = prepared(parts, 6, 64, "fused")
    with evaluating(fast.network):
        found = predict(fast.network, fast.task, batch, "mirror", fast.autocast)
    assert fast.network.way.name == "fused", fast.network.way.why
    assert isinstance(fast.network, nn.Module)
    torch.testing.assert_close(found.probabilities, expected.probabilities, rtol=0, atol=1e-2)
