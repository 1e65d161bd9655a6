"""Transfer: what learns when, at which rate; frozen features are those of the frozen network; nothing else changes."""

import gc
import json
import os
import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_parts import assert_same
from small_trainings import InterruptAt, blobs, train_small
from torch import nn

import hubel
from hubel import announce
from hubel.errors import UserError
from hubel.models.resnet_cifar import resnet8
from hubel.training import checkpoint, plan
from hubel.training.callbacks import Callback
from hubel.training.feature_cut import cut_of
from hubel.training.feature_table import make_room
from hubel.training.transfer import head_names

NET = {"model": "resnet8", "model.widths": (4, 8), "model.pool": "average", "precision": "fp32"}
PLAIN = {"augment": "none", "views": "single"}
KINDS = ("head", "staged", "two_rates", "groups", "unfreeze")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hubel" / "features"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights for NET, with another number of classes; its body is not the one that a seed draws."""
    torch.manual_seed(99)
    network = resnet8(classes=7, input=(1, 8, 8), widths=(4, 8), pool="average")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    config = '{"input_size": [1, 8, 8], "mean": [0.4], "std": [0.3], "crop_pct": 1}'
    save_file(network.state_dict(), path, metadata={"config": config})
    return path


def last(run):
    return checkpoint.load(run.path / "checkpoints" / "last")


class States(Callback):
    """The network's state at the start and after each epoch, and the rate of each."""

    def __init__(self):
        self.seen, self.rates = [], []

    def on_start(self, loop):
        self.seen.append({k: v.clone() for k, v in loop.network.state_dict().items()})

    def on_epoch(self, loop, row):
        self.seen.append({k: v.clone() for k, v in loop.network.state_dict().items()})
        self.rates.append(row["lr"])

    def changed(self, epoch):
        """Names of what an epoch changed, from 1."""
        before, after = self.seen[epoch - 1], self.seen[epoch]
        return {name for name in after if not torch.equal(before[name], after[name])}


# In a training --------------------------------------------------------------------------------------------------------


def test_the_head_alone_and_the_same_from_kept_features_as_from_images(small, weights):
    """Weights, and statistics of batch norm, before the head stay bit for bit; kept features change nothing."""
    file = load_file(weights)
    runs, seen = [], []
    for views in (1, 0):
        seen.append(States())
        options = {"weights": str(weights), "transfer.views": views, **NET, **PLAIN, "callbacks": [seen[-1]]}
        runs.append(small(transfer="head", **options))
    for run, states in zip(runs, seen, strict=True):
        state = last(run)["network"]
        body = [name for name in file if not name.startswith("head.")]
        assert all(torch.equal(state[name], file[name]) for name in body) and len(body) > 10
        assert all(states.changed(epoch) == {"head.1.weight", "head.1.bias"} for epoch in (1, 2, 3))
    a, b = (last(run)["network"] for run in runs)
    assert all(torch.allclose(a[k], b[k], atol=1e-5) for k in a)
    assert runs[0].metrics["dev"]["loss"] == pytest.approx(runs[1].metrics["dev"]["loss"], abs=1e-5)
    assert [row["dev.loss"] for row in runs[0].history] == pytest.approx([r["dev.loss"] for r in runs[1].history])


def test_augmented_views_are_kept_too(small, weights, cache, quiet):
    run = small(weights=str(weights), transfer="head", **{**NET, "transfer.views": 2})
    assert len(list(cache.glob("*.npz"))) == 2
    assert sum("augmented" in text for text in quiet.said) == 1
    one = small(weights=str(weights), transfer="head", **{**NET, "transfer.views": 1})
    a, b = (last(r)["network"]["head.1.weight"] for r in (run, one))
    assert not torch.equal(a, b)


def test_where_no_features_are_kept_it_is_said(small, weights, cache, quiet):
    """Where views are asked for; all that forbids them is in test_kept_targets.py."""
    for views in (0, 1):
        options = {**NET, "epochs": 1, "transfer.views": views, "augment.mixup": 0.2}
        small(weights=str(weights), transfer="head", **options)
    (said,) = [text for text in quiet.said if "No features are kept" in text]
    assert "mixed with others" in said and not list(cache.glob("*.npz"))


def test_the_second_view_is_the_mirrored_image(small, weights, cache, quiet):
    """Where a mirrored image keeps its label: features of the images turned round, of the training part."""
    run = small(weights=str(weights), transfer="head", **{**NET, "transfer.views": 2, "augment.flip": "random"})
    assert sum("mirrored images" in text for text in quiet.said) == 1
    network = resnet8(classes=7, input=(1, 8, 8), widths=(4, 8), pool="average").eval()
    network.load_state_dict(load_file(weights))
    index = np.sort(np.load(run.path / "predictions" / "train.npz")["index"])
    pixels = torch.from_numpy(blobs().images.array[index]).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        wanted = network.head[0](network.maps((pixels.flip(-1) - 0.4) / 0.3)[-1])
    views = [np.load(file)["features0"] for file in cache.glob("*.npz")]
    (found,) = (view for view in views if len(view) == len(index))
    assert np.allclose(found, wanted, atol=1e-5) and len(views) == 2


def test_staged_first_the_head_then_all_at_a_tenth(small, weights):
    states = States()
    small(weights=str(weights), transfer="staged", schedule="constant", **{**NET, "transfer.head_epochs": 2}, epochs=4,
          callbacks=[states])  # fmt: skip
    head = {"head.1.weight", "head.1.bias"}
    assert states.changed(1) == states.changed(2) == head
    learnt = {name for name in states.seen[0] if "running" not in name and "num_batches" not in name}
    assert states.changed(3) == states.changed(4) == learnt, "but for the running statistics"
    assert states.rates == pytest.approx([0.05, 0.05, 0.005, 0.005])


def test_a_training_leaves_nothing_behind_in_memory(small, weights):
    class Watch(Callback):
        def __init__(self):
            self.watched = {}

        def on_epoch(self, loop, row):
            self.watched[loop.epoch] = [weakref.ref(part) for part in (loop, loop.network, loop.descent)]

    options = {**NET, "transfer.head_epochs": 1, "epochs": 2}
    small(weights=str(weights), transfer="staged", **options)  # what is imported on the way keeps frames for a while
    watch = Watch()
    gc.collect()
    gc.disable()
    try:
        small(weights=str(weights), transfer="staged", callbacks=[watch], **options)
        alive = [ref() for refs in watch.watched.values() for ref in refs]
    finally:
        gc.enable()
    assert alive == [None] * 6, "loop, network and descent of both stages are freed without the collector's help"


def test_a_stage_is_announced_after_the_epoch_before_it(small, weights, quiet):
    said = []
    quiet.say, quiet.epoch = said.append, lambda row: said.append(row["epoch"])
    run = small(weights=str(weights), transfer="staged", **{**NET, "transfer.head_epochs": 1, "epochs": 2})
    (place,) = (i for i, word in enumerate(said) if str(word).startswith("From epoch 2 on"))
    assert said[place - 1] == 1 and said[place + 1 :].count(2) == 1
    page = (run.path / "report.html").read_text()
    assert page.index('id="curves"') < page.index("From epoch 2 on"), "it is said with the curves, and warns of nothing"
    assert 'aria-label="Warnings"' not in page


def test_unfreezing_from_the_head_towards_the_input(small, weights):
    states = States()
    options = {**NET, "transfer.head_epochs": 1, "epochs": 3, "model.widths": (4, 8), "callbacks": [states]}
    small(weights=str(weights), transfer="unfreeze", **options)
    trained = [{n for n in states.changed(e) if "num_batches" not in n} for e in (1, 2, 3)]
    assert trained[0] == {"head.1.weight", "head.1.bias"}
    assert trained[0] < trained[1]
    assert all(name.startswith(("stem", "stages", "head")) for name in trained[1])


def test_rates_by_group_fall_towards_the_input(small, weights):
    class Rates(Callback):
        def on_epoch(self, loop, row):
            self.found = [g["lr"] for g in loop.descent.movers[0].optimizer.param_groups]

    rates = Rates()
    small(weights=str(weights), transfer="groups", schedule="constant", callbacks=[rates],
          **{**NET, "transfer.head_epochs": 1, "transfer.decay": 0.5})  # fmt: skip
    assert sorted(set(rates.found)) == pytest.approx([0.05 * 0.5**i for i in range(len(set(rates.found)))][::-1])
    assert len(set(rates.found)) >= 2


@pytest.mark.parametrize(
    ("kind", "step"), [("head", 7), ("staged", 3), ("staged", 10), ("staged", 12), ("unfreeze", 8)]
)
def test_resume_equals_uninterrupted(small, weights, tmp_path, quiet, kind, step):
    """In mid-stage, at the step where a stage ends (10), and in the next one; a running average goes through."""
    head = {} if kind == "head" else {"transfer.head_epochs": 2 if kind == "staged" else 1}
    options = {**NET, **head, "weights": str(weights), "transfer": kind, "epochs": 4, "regularize": {"ema": 0.9}}
    whole = small(**options)
    with pytest.raises(KeyboardInterrupt):
        small(**options, out=tmp_path / "cut", callbacks=[InterruptAt(step)])
    resumed = hubel.resume(next((tmp_path / "cut").glob("*/1")), source=blobs(), progress=quiet)
    assert_same(last(whole), last(resumed))
    assert whole.metrics == resumed.metrics
    assert last(whole)["ema"]["steps"] == whole.history[-1]["step"] == 20, "no stage begins it anew"


def test_a_start_from_a_run_folds_restarts_and_predictions(small, quiet, tmp_path):
    first = small(**NET, epochs=1)
    body = {k: v for k, v in last(first)["network"].items() if not k.startswith("head.")}
    for more in ({"folds": 2}, {"restarts": 2}):
        run = small(from_run=first, transfer="head", **{**NET, **more}, epochs=1)
        children = [hubel.Run.open(path.parent) for path in run.path.glob("*/*/config.json")]
        assert len(children) == 2
        for child in children:
            state = last(child)["network"]
            assert all(torch.equal(state[k], v) for k, v in body.items())
    found = run.predict([np.zeros((8, 8, 1), np.uint8)])
    assert found[0]["prediction"] in "abc"
    assert "are frozen" in (run.path / "restarts" / "1" / "report.html").read_text()


# What is refused, and said --------------------------------------------------------------------------------------------


def test_options_that_do_not_fit(small, weights):
    with pytest.raises(UserError, match="there are none"):
        small(transfer="head", **NET)
    with pytest.raises(UserError, match="does not apply to transfer 'head'"):
        small(transfer="head", weights=str(weights), **{**NET, "transfer.decay": 0.5})
    with pytest.raises(UserError, match="normalize image does not fit"):
        small(weights=str(weights), normalize="image", **NET)
    with pytest.raises(UserError, match="Say which"):
        small(weights=str(weights), model=None)
    with pytest.raises(UserError, match="got 'lite1'"):
        small(weights="lite1", model=None)  # a slip is named before a network is asked for
    with pytest.raises(UserError, match="cyclic"):
        small(weights=str(weights), transfer="staged", schedule="cyclic", **NET)
    with pytest.raises(UserError, match="features of images at --size"):
        small(weights=str(weights), transfer="head", train_size=6, **{**NET, "augment.crop": 0.5})


def test_preprocessing_comes_with_the_weights_and_the_size_may_be_another(small, weights):
    for size in (None, 12):
        run = small(weights=str(weights), transfer="head", epochs=1, **({} if size is None else {"size": size}), **NET)
        found = run.parts().preprocess
        assert (found.mean, found.std, found.size) == ((0.4,), (0.3,), (size or 8, size or 8))
    assert run.settings["weights"].value == str(weights)


def test_grey_images_become_three_equal_channels(tmp_path):
    torch.manual_seed(1)
    colour = resnet8(classes=7, input=(3, 8, 8), widths=(4, 8))
    config = '{"input_size": [3, 8, 8], "mean": [0.4, 0.5, 0.6], "std": [0.3, 0.3, 0.3], "crop_pct": 1}'
    save_file(colour.state_dict(), tmp_path / "net.safetensors", metadata={"config": config})
    run = train_small(weights=str(tmp_path / "net.safetensors"), transfer="head", epochs=1, out=tmp_path / "runs",
                      progress="quiet", **{**NET, "model.pool": "max"})  # fmt: skip
    assert run.parts().preprocess.channels == 3
    assert run.predict([np.zeros((8, 8, 1), np.uint8)])


# The cache ------------------------------------------------------------------------------------------------------------


def test_features_are_computed_once_and_anew_where_anything_changed(small, weights, tmp_path, cache, quiet):
    def computed(data=None, **more):
        quiet.said.clear()
        small(data, weights=str(more.pop("weights", weights)), transfer="head", **{**NET, **PLAIN, "epochs": 1, **more})
        return sum("computed once" in text for text in quiet.said)

    assert computed() == 1
    assert computed(seed=1, optimizer="adam") == 0, "another head, the same features"
    assert computed(blobs(seed=1)) == 1, "other pixels"
    assert computed(size=12) == 1
    state = load_file(weights)
    state["stem.0.0.weight"] = state["stem.0.0.weight"] * 1.001
    save_file(state, tmp_path / "other.safetensors", metadata={"config": '{"input_size": [1, 8, 8], "mean": [0.4], '
              '"std": [0.3], "crop_pct": 1}'})  # fmt: skip
    assert computed(weights=tmp_path / "other.safetensors") == 1
    for file in cache.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert computed() == 1, "a damaged file"
    assert computed() == 0


@pytest.fixture
def measured(monkeypatch):
    """A step takes a second for each 1,000 parameters that learn, whatever its batch; features 10 s an image."""
    found = []

    def probe(network, task, batch, *rest):
        learns = sum(p.numel() for p in network.train().parameters() if p.requires_grad)
        found.append((learns, len(batch)))
        return learns / 1000, 1_000_000

    monkeypatch.setattr(plan, "_probe", probe)
    monkeypatch.setattr(announce, "_forward", lambda features, batch: 10.0)
    return found


@pytest.mark.parametrize("views", [0, 1])
def test_the_estimate_counts_features_and_all_stages(small, weights, quiet, measured, views):
    """Features of each image once; the head's epochs at its own step's time, the others' at that of all layers."""
    options = {"weights": str(weights), "transfer": "staged", "epochs": 5, "batch_size": 20, "optimizer": "momentum"}
    run = small(**NET, **PLAIN, **options, **{"transfer.views": views, "transfer.head_epochs": 2})
    found = json.loads((run.path / "plan.json").read_text())
    parts = {name: len(index) for name, index in run.splits.items()}
    steps, total = -(-parts["train"] // 20), sum(parts.values())
    (head, few), (everything, same) = measured
    network = sum(p.numel() for p in run.network.parameters())
    assert (head, everything, few, same) == (sum(p.numel() for p in run.network.head.parameters()), network, 16, 16)
    looks = [-(-parts["dev"] * 2 // 20), -(-(parts["dev"] * 3 + total) // 20)]
    in_stages = [rate / 1000 * (epochs * steps + look / 3) * 20 / 16
                 for rate, epochs, look in zip((head, everything), (2, 3), looks, strict=True)]  # fmt: skip
    assert found["seconds"] == pytest.approx((10 * total if views else 0) + sum(in_stages))
    assert found["parameters"] == network
    assert found["memory"] == pytest.approx(4 * network * 3 + 1_250_000, abs=4 * 64 * total)
    assert found["disk"] == 4 * network * 5 + 2_000_000
    measured.clear()
    again = small(**NET, **PLAIN, **options, **{"transfer.views": views, "transfer.head_epochs": 2})
    seconds = json.loads((again.path / "plan.json").read_text())["seconds"]
    assert seconds == pytest.approx(sum(in_stages)), "features on disk take no time"


def test_the_estimate_of_a_head_alone_judges_by_whole_passes(small, weights, quiet, measured):
    run = small(**NET, **PLAIN, weights=str(weights), transfer="head", epochs=3, batch_size=20)
    parts = {name: len(index) for name, index in run.splits.items()}
    steps, total = -(-parts["train"] // 20), sum(parts.values())
    ((head, _),) = measured
    found = json.loads((run.path / "plan.json").read_text())["seconds"]
    step = head / 1000 * (3 * steps + -(-parts["dev"] * 3 // 20) / 3) * 20 / 16
    assert found == pytest.approx(10 * total * 2 + step), "once for the features, once to judge"


def test_the_estimate_leaves_the_network_as_it_is(small, weights, quiet):
    """With the real probe: the same weights as without."""
    options = {**NET, **PLAIN, "weights": str(weights), "transfer": "staged", "transfer.head_epochs": 1, "epochs": 2}
    one, two = small(**options), small(**options)
    assert_same(last(one)["network"], last(two)["network"])
    assert json.loads((one.path / "plan.json").read_text())["seconds"] > 0


def test_the_oldest_features_make_room(tmp_path):
    for age in range(4):
        file = tmp_path / f"{age}.npz"
        file.write_bytes(bytes(10))
        os.utime(file, (1000 - age,) * 2)
    make_room(tmp_path, 25)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.npz", "1.npz"]


def test_where_a_head_is_cut():
    network = resnet8(classes=3, input=(1, 8, 8), widths=(4, 8))
    assert head_names(network, ()) == ("head.1.weight", "head.1.bias")
    assert cut_of(network, ("head.1.weight", "head.1.bias")) == 1
    assert cut_of(network, ("head.1.weight",)) is None, "the bias would be frozen behind what learns"
    assert cut_of(network, ("stem.0.0.weight", "head.1.weight", "head.1.bias")) is None
    assert cut_of(nn.Sequential(nn.Linear(2, 2)), ("0.weight", "0.bias")) is None
