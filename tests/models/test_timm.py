"""Networks of timm follow our contract and stay the functions that they are there."""

import copy
import pickle
import signal

import pytest
import torch
from parity import peers
from small_runs import Quiet, save_npz
from torch import nn

import hubel
from hubel import names
from hubel.errors import UserError
from hubel.models import put_weights, weights
from hubel.models import timm as ours
from hubel.models.renaming import renaming_of
from hubel.training.callbacks import Callback

SMALL = {  # sides at which they are quick, strides
    "test_resnet": (64, (2, 4, 8, 16, 32)),
    "test_convnext": (64, (4, 8, 16, 32)),
    "test_mambaout": (64, (4, 8, 16, 32)),  # channels in the last place
    "mobilenetv3_small_050": (64, (2, 4, 8, 16, 32)),  # its head has a convolution
    "vit_tiny_patch16_224": (64, ()),  # made for another size
}


@pytest.fixture(scope="module")
def timm():
    return peers.timm()


def make(name, classes=5, channels=3, **options):
    side = SMALL[name][0]
    return names.resolve(names.MODELS, f"timm:{name}")(classes=classes, input=(channels, side, side), **options)


@pytest.fixture(params=SMALL)
def case(request, timm):
    return request.param


def test_logits_are_timms_to_the_bit_and_names_go_both_ways(case, timm):
    side = SMALL[case][0]
    network = make(case).eval()
    renaming = renaming_of(ours.function_of(case), "timm")
    more = {"img_size": side} if case == "vit_tiny_patch16_224" else {}
    theirs = timm.create_model(case, num_classes=5, **more).eval()
    theirs.load_state_dict(renaming.state_to_theirs(network.state_dict()))
    images = torch.randn(2, 3, side, side)
    assert torch.equal(network(images), theirs(images))
    assert renaming.state_to_ours(theirs.state_dict()).keys() == network.state_dict().keys()


def test_maps_are_what_channels_and_strides_say(case):
    network, (side, strides) = make(case, channels=1), SMALL[case]
    maps = network.eval().maps(torch.randn(2, 1, side, side))
    assert network.strides == strides
    if strides:
        expected = [(2, c, side // s, side // s) for c, s in zip(network.channels, strides, strict=True)]
        assert [tuple(found.shape) for found in maps] == expected
    else:
        assert len(maps) == 1 and maps[0].shape[-1] == network.channels[0]
    assert network.default_head(9).eval()(maps).shape == (2, 9)


def test_gradients_reach_every_parameter(case):
    network, side = make(case), SMALL[case][0]
    network(torch.randn(4, 3, side, side)).pow(2).sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []


def test_the_head_holds_no_weights_of_the_body(timm):
    network = make("mobilenetv3_small_050")
    assert {name.split(".")[0] for name, _ in network.head.model.named_parameters()} == {"conv_head", "classifier"}
    assert not any(name.startswith(("conv_head", "classifier")) for name, _ in network.body.named_parameters())
    count = sum(p.numel() for p in timm.create_model("mobilenetv3_small_050", num_classes=5).parameters())
    assert sum(p.numel() for p in network.parameters()) == count
    assert len(network.state_dict()) == len(timm.create_model("mobilenetv3_small_050").state_dict())


def test_a_seed_gives_the_same_network_and_it_can_be_copied(timm):
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(make("test_resnet"))
    images = torch.randn(2, 3, 64, 64)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(found[1]))).eval()
    assert torch.equal(found[0].eval()(images), copied(images))


def test_dropout_and_stochastic_depth_are_options(timm):
    network = make("test_resnet", drop_rate=0.4, drop_path_rate=0.2)
    assert network.head.model.drop_rate == 0.4
    assert any(type(module).__name__ == "DropPath" for module in network.modules())
    with pytest.raises(UserError, match="'drop_rate' needs rates from 0"):
        make("test_resnet", drop_rate=1.0)


def test_the_size_is_the_one_that_timms_weights_want(timm):
    assert ours.function_of("resnet18").size == 224
    assert ours.function_of("inception_v3").size == 299


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet8", "timm has no network 'resnet8'; did you mean 'resnet"),
        ("resnet18.imagenet99", "timm's resnet18 has no variant 'imagenet99'.*a1_in1k"),
        ("hf-hub:timm/resnet18", "timm has no network 'hf-hub:timm/resnet18'"),
        ("", "timm has no network ''"),
    ],
)
def test_an_unknown_name(timm, name, message):
    with pytest.raises(UserError, match=message):
        names.resolve(names.MODELS, f"timm:{name}")


def test_a_size_that_the_network_does_not_take(timm):
    with pytest.raises(UserError, match=r"timm's test_vit can't be made for images of 3×8×8: .* \(--size 160\)"):
        ours.function_of("test_vit")(classes=5, input=(3, 8, 8))


def test_without_timm_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(names.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'timm:resnet18' comes with timm, .*: pip install timm"):
        names.check(names.MODELS, "timm:resnet18")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ModuleNotFoundError("No module named 'timm'", name="timm"), "not installed: pip install timm"),
        (ModuleNotFoundError("No module named 'yaml'", name="yaml"), "lacks yaml: pip install yaml"),
        (RuntimeError("operator nms does not exist"), "can't be imported: RuntimeError: operator nms"),
    ],
)
def test_a_timm_that_can_not_be_imported(monkeypatch, fault, message):
    def broken(name):
        raise fault

    ours.library.cache_clear()
    monkeypatch.setattr(ours.importlib, "import_module", broken)
    with pytest.raises(UserError, match=message):
        ours.library()
    ours.library.cache_clear()


def test_features_that_share_weights_with_the_head_are_refused():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward_features(self, x):
            return self.layer(x)

        forward_head = forward_features

    with pytest.raises(UserError, match="features and head both use layer"):
        ours._children_of_head(Shared(), torch.zeros(1, 4))


def test_weights_of_timm_fit(timm, tmp_path):
    theirs = timm.create_model("test_resnet").eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    function = ours.function_of("test_resnet")
    network = function(classes=5, input=(3, 64, 64)).eval()
    found = put_weights.renamed(weights.load(str(tmp_path / "theirs.pth"), function), function, network)
    assert set(put_weights.put(network, found)) == {"head.model.fc.weight", "head.model.fc.bias"}
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(network.maps(images)[-1], theirs.forward_features(images))


class CtrlC(Callback):
    def on_step(self, loop, losses):
        if loop.step == 3:
            signal.raise_signal(signal.SIGINT)


def test_a_training_is_resumed_exactly_and_its_run_opened(timm, tmp_path):
    data = save_npz(tmp_path / "squares.npz", n=48, side=32, channels=3)
    options = {"model": "timm:test_resnet", "model.drop_path_rate": "0.2", "epochs": "2", "batch_size": "8",
               "augment": "none", "workers": "0", "progress": Quiet()}  # fmt: skip
    whole = hubel.train(data, out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt) as stop:
        hubel.train(data, out=tmp_path / "cut", callbacks=[CtrlC()], **options)
    resumed = hubel.resume(stop.value.run, progress=Quiet())
    assert resumed.metrics == whole.metrics
    opened = hubel.Run.open(resumed.path)
    assert opened.evaluate("test")["test"] == whole.metrics["test"]
    state = whole.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in opened.network.state_dict().items())
