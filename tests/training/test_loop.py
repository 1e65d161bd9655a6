"""What the loop does when things go well and when they don't."""

import numpy as np
import pytest
import torch
from small_trainings import blobs, train_small
from torch import nn

import hubel
from hubel.errors import UserError
from hubel.training import checkpoint
from hubel.training.callbacks import Callback


def last(run) -> dict:
    return checkpoint.load(run.path / "checkpoints" / "last")


class Poisoned(nn.Module):
    """A small network whose middle layer gives NaN in a range of passes, unless computed in fp32."""

    def __init__(self, start=7, stop=9, always=False):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(64, 8), Poison(start, stop, always), nn.Linear(8, 3)

    def forward(self, images):
        return self.last(self.middle(self.first(images.flatten(1))))


class Poison(nn.Module):
    def __init__(self, start, stop, always):
        super().__init__()
        self.start, self.stop, self.always, self.passes = start, stop, always, 0

    def forward(self, x):
        if not self.training:
            return x
        self.passes += 1
        bad = self.passes >= self.start and (self.always or x.dtype == torch.bfloat16)
        return x * float("nan") if bad else x


def test_nan_names_the_module_and_goes_on_in_fp32(small):
    run = small(model=Poisoned(), precision="bf16")
    assert run.state == "finished" and np.isfinite(run.metrics["test"]["loss"])
    assert any("'middle' (Poison)" in note and "fp32" in note for note in run.notes)
    assert last(run)["rescue"] == {"micro_batch": None, "precision": "fp32", "lr_scale": 1.0}


def test_nan_that_stays_stops_with_the_reason(small, tmp_path):
    with pytest.raises(UserError, match=r"diverged: the output of 'middle'.*tenth of the learning rate") as fault:
        small(model=Poisoned(always=True), precision="bf16")
    path = next((tmp_path / "runs").glob("*/1"))
    assert hubel.Run.open(path).state == "failed" and fault.value.run == path
    page = fault.value.report.read_text()  # of the weights that were kept, not of those that are NaN
    assert fault.value.report == path / "report.html" and "This run failed. The training diverged" in page
    assert "Accuracy" in page or "accuracy" in page
    assert torch.isfinite(last(hubel.Run.open(path))["network"]["first.weight"]).all()


class Explosive(nn.Module):
    """Its output overflows where a weight has moved far: a rate that is too high, not a number format."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 3)
        self.register_buffer("start", self.layer.weight.detach().clone())

    def forward(self, images):
        far = (self.layer.weight - self.start).abs().max() > 0.5
        return self.layer(images.flatten(1)) * torch.where(far, float("inf"), 1.0)


@pytest.mark.parametrize("watchful", [True, False])  # on a GPU losses are looked at now and then only
def test_nan_goes_on_at_a_lower_rate(small, watchful):
    class Eyes(Callback):
        def on_start(self, loop):
            loop.descent.watchful = watchful

    run = small(model=Explosive(), precision="bf16", optimizer={"name": "sgd", "lr": 1.0}, callbacks=[Eyes()])
    assert run.state == "finished" and np.isfinite(run.metrics["test"]["loss"])
    went_back = [note for note in run.notes if note.startswith("Not finite")]
    assert ["fp32" in note for note in went_back] == [True, False]
    assert "the output of the network (Explosive) is not finite" in went_back[0]
    assert "going on at a tenth of the learning rate" in went_back[1]
    assert last(run)["rescue"] == {"micro_batch": None, "precision": "fp32", "lr_scale": 0.1}
    assert all(np.isfinite(row["train.loss"]) for row in run.history) and len(run.history) == 3


@pytest.mark.parametrize(("sigma", "gain"), [(0.2, None), (None, 5 / 3)])
def test_the_numbers_of_an_initialiser_reach_the_weights(small, sigma, gain):
    found = []

    class First(Callback):
        def on_start(self, loop):
            found.append(next(loop.network.parameters()).detach().clone())

    options = {"init_sigma": sigma} if sigma else {"init_gain": gain}
    run = small(
        **{"model.hidden": (400,)}, init="normal" if sigma else "lecun", epochs=1, callbacks=[First()], **options
    )
    assert float(found[0].std()) == pytest.approx(sigma or gain / 8, rel=0.05)  # 64 inputs
    assert run.settings["init_sigma" if sigma else "init_gain"].value == (sigma or gain)


def test_the_numbers_of_another_initialiser_are_refused(small):
    with pytest.raises(UserError, match="'init_sigma' belongs to --init normal; init is he"):
        small(init="he", init_sigma=0.1)
    with pytest.raises(UserError, match="'init_gain' belongs to --init xavier or he or lecun; init is left open"):
        small(init_gain=2.0)


class Greedy(nn.Module):
    """Runs out of memory with more than a few images."""

    def __init__(self, most=5):
        super().__init__()
        self.most, self.layer = most, nn.Linear(64, 3)

    def forward(self, images):
        if self.training and len(images) > self.most and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return self.layer(images.flatten(1))


def test_out_of_memory_halves_and_follows_the_same_path(small, tmp_path):
    options = {"precision": "fp32", "optimizer": {"name": "sgd", "lr": 0.1}}
    torch.manual_seed(0)
    first = Greedy(most=1000)
    second = Greedy(most=5)
    second.load_state_dict(first.state_dict())
    whole = small(model=first, **options)
    cut = small(model=second, out=tmp_path / "cut", **options)
    assert any("Out of memory with 16 images" in note for note in cut.notes)
    assert last(cut)["rescue"]["micro_batch"] == 4
    for name, weight in last(whole)["network"].items():
        torch.testing.assert_close(weight, last(cut)["network"][name], rtol=1e-5, atol=1e-6)


def test_other_errors_are_not_swallowed(small):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 3)

        def forward(self, images):
            if self.training:
                raise RuntimeError("shapes do not fit")
            return self.layer(images.flatten(1))

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        small(model=Broken())


class Scores(Callback):
    """Makes dev scores to order, by overwriting what the loop measured."""

    def __init__(self, scores):
        self.scores = scores

    def on_start(self, loop):
        real = loop.score

        def score(split):
            return real(split) | {"accuracy": self.scores[loop.epoch]}

        loop.score = score


def test_early_stopping_returns_the_best_weights(small):
    scores = [0.1, 0.9, 0.3, 0.2, 0.1, 0.1]
    kept = []

    class Keep(Callback):
        def on_epoch(self, loop, row):
            kept.append({k: v.clone() for k, v in loop.network.state_dict().items()})

    run = small(epochs=6, regularize={"patience": 2}, callbacks=[Scores(scores), Keep()])
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4] and run.best_epoch == 2
    for name, weight in run.network.state_dict().items():
        assert torch.equal(weight.cpu(), kept[1][name])


def test_keep_last_returns_the_last_weights(small):
    run = small(keep="last", callbacks=[Scores([0.9, 0.1, 0.1])])
    for name, weight in run.network.state_dict().items():
        assert torch.equal(weight.cpu(), last(run)["network"][name])


def test_the_history_has_one_row_per_epoch_and_its_loss_is_the_mean(small):
    losses = []

    class Sum(Callback):
        def on_step(self, loop, found):
            losses.append(float(found["cross_entropy"]))

    run = small(callbacks=[Sum()])
    assert [row["epoch"] for row in run.history] == [1, 2, 3]
    assert run.history[0]["train.loss"] == pytest.approx(np.mean(losses[:5]), rel=1e-5)
    assert {"dev.accuracy", "dev.loss", "train.accuracy", "lr", "seconds"} <= run.history[0].keys()


def test_batch_gradient_descent_takes_one_step_an_epoch(small):
    run = small(batch_size=0)
    assert [row["step"] for row in run.history] == [1, 2, 3]


def test_running_average_is_what_is_judged(small):
    run = small(regularize={"ema": 0.9}, keep="last")
    state = last(run)
    for name, weight in run.network.state_dict().items():
        assert torch.equal(weight.cpu(), state["ema"]["average"][name])
        assert not torch.equal(weight.cpu(), state["network"][name])


@pytest.mark.parametrize(
    "options",
    [
        {"regularize": {"clip_norm": 0.5}},
        {"regularize": {"clip_value": 0.01}},
        {"regularize": {"max_norm": 0.5}},
        {"optimizer": {"name": "sgd", "lr": 0.05, "l1": 0.01}},
        {"sampling": "replacement"},
        {"balance": "sampler"},
        {"balance": "loss"},
        {"init": "he"},
        {"views": "mirror"},
        {"micro_batch": 5},
        {"split": {"train_dev": 0.2}},
        {"task.smoothing": 0.1},
    ],
    ids=str,
)
def test_every_option_changes_something(small, plain, options):
    changed = outcome(small(precision="fp32", **options))
    if "micro_batch" in options:  # the one that must not
        assert changed[1] == pytest.approx(plain[1], rel=1e-4)
    else:
        assert changed != plain


def test_nothing_else_changes_something(small, plain):
    assert outcome(small(precision="fp32")) == plain


def outcome(run):
    return [v for split in sorted(run.metrics) for v in run.metrics[split].values()], run.history[-1]["train.loss"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What the training without any of the options comes to."""
    return outcome(train_small(out=tmp_path_factory.mktemp("plain"), progress="quiet", precision="fp32"))


def test_max_norm_holds_after_every_step(small):
    run = small(regularize={"max_norm": 0.5}, keep="last")
    for name, weight in run.network.named_parameters():
        if weight.ndim > 1:
            assert weight.flatten(1).norm(dim=1).max() <= 0.5 + 1e-5, name


def test_an_option_that_does_not_apply_is_an_error(small):
    with pytest.raises(UserError, match=r"does not apply to optimizer 'adam'"):
        small(optimizer={"name": "adam", "momentum": 0.9})
    with pytest.raises(UserError, match="did you mean 'hidden'"):
        small(**{"model.hiden": (3,)})
    with pytest.raises(UserError, match="smoothing"):
        small(task="binary", dataset=blobs(classes=2), **{"task.smoothing": 0.1})


def test_restarts_keep_the_best_on_dev(small):
    run = small(restarts=3, epochs=1)
    children = [hubel.Run.open(p) for p in sorted((run.path / "restarts").iterdir())]
    scores = [child.metrics["dev"]["accuracy"] for child in children]
    weights = {tuple(torch.cat([w.flatten() for w in last(c)["network"].values()]).tolist()) for c in children}
    assert len(weights) == 3, "each restart begins elsewhere"
    assert run.metrics["dev"]["accuracy"] == max(scores)


def test_folds_use_each_example_once_for_dev(small):
    run = small(folds=3, epochs=1)
    children = [hubel.Run.open(p) for p in sorted((run.path / "folds").iterdir())]
    held = np.concatenate([np.load(c.path / "splits.npz")["dev"] for c in children])
    data = blobs()
    assert sorted(held) == sorted(np.concatenate([data.splits["train"], data.splits["dev"]]))
    scores = [child.metrics["dev"]["accuracy"] for child in children]
    assert run.metrics["dev"]["accuracy"] == pytest.approx(np.mean(scores))


def test_refit_learns_from_dev_too(small, tmp_path):
    """The parts it saves are those that its network knew: an evaluation shows no dev part that was learnt."""
    plain = np.load(small(epochs=1, out=tmp_path / "plain").path / "splits.npz")
    run = small(refit=True, epochs=1)
    saved = np.load(run.path / "splits.npz")
    assert run.metrics.keys() == {"train", "test"} == set(saved.files)
    assert sorted(saved["train"]) == sorted([*plain["train"], *plain["dev"]])
    assert sorted(np.load(run.path / "predictions" / "train.npz")["index"]) == sorted(saved["train"])


def test_warm_start_with_other_classes(small, quiet, tmp_path):
    first = small(model="mlp")
    second = small(blobs(classes=4), model="mlp", from_run=first.path, out=tmp_path / "second", epochs=1)
    assert any("come from" in text and "fresh: head" in text for text in quiet.said)
    assert second.metrics["test"]["accuracy"] >= 0
