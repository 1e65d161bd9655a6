"""Pretrained weights: read without running code, renamed, fitted; downloads from a server on this machine only."""

import contextlib
import hashlib
import json
import os
import pickle
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hubel.errors import UserError
from hubel.models import published, put_weights, weights
from hubel.models.conventions import convention_in, convention_of
from hubel.models.inverted_residual import ConvUnit, InvertedResidual, Stage
from hubel.models.renaming import Renaming, known_to
from hubel.models.resnet_cifar import resnet8
from hubel.models.weight_files import read_tensors

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
import peers

THEIRS = Renaming(("stem", "features.0"), ("stages.{i}", "features.{i+1}"), ("head.1", "classifier"))


@known_to("torchvision", THEIRS, "alexnet")  # a published name, so that the table has a file for it
def small(*, classes, input):
    return resnet8(classes=classes, input=input, widths=(4, 8))


small.size = 32


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hubel" / "weights"


def network(classes=5, seed=0, channels=3):
    torch.manual_seed(seed)
    return small(classes=classes, input=(channels, 32, 32))


def refuse(url):
    raise AssertionError(f"nobody asked for {url}")


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [
    lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": {"net": s}},
    lambda s: {f"module.{k}": v for k, v in s.items()},
])  # fmt: skip
def test_a_pickle_gives_the_tensors_in_it_and_is_converted_once(tmp_path, cache, monkeypatch, wrap):
    state = network().state_dict()
    path = tmp_path / "net.pth"
    torch.save(wrap(state), path)
    found, _ = read_tensors(path)
    assert found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = cache / "converted" / f"{digest}.safetensors"
    assert [file.name for file in kept.parent.iterdir()] == [kept.name]
    monkeypatch.setattr(torch, "load", refuse)
    assert all(torch.equal(v, state[k]) for k, v in read_tensors(path)[0].items())
    kept.write_bytes(b"half")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert read_tensors(path)[0].keys() == state.keys(), "a damaged cache is read anew"


def test_a_pickle_that_would_run_code_is_not_run(tmp_path):
    mark = tmp_path / "was here"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    path = tmp_path / "net.pth"
    torch.save({"state_dict": network().state_dict(), "extra": Bomb()}, path)
    with pytest.raises(UserError, match="tensors only"):
        read_tensors(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"not read|no whole file"):
        read_tensors(path)
    assert not mark.exists()


def test_files_that_are_no_weights_are_named(tmp_path):
    path = tmp_path / "net.pth"
    torch.save(network().state_dict(), path)
    for content in (path.read_bytes()[:-200], b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"net\.pth is no"):
            read_tensors(path)
    torch.save({"epoch": 3, "note": "nothing"}, path)
    with pytest.raises(UserError, match="epoch, note"):
        read_tensors(path)
    safe = tmp_path / "net.safetensors"
    save_file(network().state_dict(), safe)
    safe.write_bytes(safe.read_bytes()[:-20])
    with pytest.raises(UserError, match="no whole"):
        read_tensors(safe)
    with pytest.raises(UserError, match="There is no file"):
        weights.load(str(tmp_path / "other.pth"), small)
    with pytest.raises(UserError, match=r"lite0, torchvision.*--from RUN"):
        weights.load("imagenet", small)


# Into a network -------------------------------------------------------------------------------------------------------


def test_names_of_another_library_and_another_number_of_classes(tmp_path):
    theirs, ours = network(classes=1000, seed=1), network(classes=5, seed=2)
    path = tmp_path / "net.safetensors"
    save_file(THEIRS.state_to_theirs(theirs.state_dict()), path)
    before = ours.head[1].weight.clone()
    found = put_weights.renamed(weights.load(str(path), small), small, ours)
    assert put_weights.put(ours, found) == ("head.1.weight", "head.1.bias")
    assert torch.equal(ours.head[1].weight, before)
    state = theirs.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in ours.state_dict().items() if not k.startswith("head."))
    images = torch.randn(2, 3, 32, 32)
    for a, b in zip(ours.eval().maps(images), theirs.eval().maps(images), strict=True):
        assert torch.equal(a, b)


def test_all_of_it_where_the_classes_are_as_many(tmp_path):
    theirs, ours = network(seed=1), network(seed=2)
    torch.save(theirs.state_dict(), tmp_path / "net.pt")
    found = put_weights.renamed(weights.load(str(tmp_path / "net.pt"), small), small, ours)
    assert put_weights.put(ours, found) == ()
    assert torch.equal(ours.head[1].weight, theirs.head[1].weight)


def test_a_dense_layer_that_is_written_as_a_convolution(tmp_path):
    """timm's resnetv2 keeps its classifier as a 1×1 convolution, (K, F, 1, 1)."""
    theirs, ours = network(seed=1), network(seed=2)
    state = {k: v[:, :, None, None] if k == "head.1.weight" else v for k, v in theirs.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "net.safetensors")
    found = put_weights.renamed(weights.load(str(tmp_path / "net.safetensors"), small), small, ours)
    assert put_weights.put(ours, found) == ()
    assert all(torch.equal(v, ours.state_dict()[k]) for k, v in theirs.state_dict().items())


def test_weights_of_another_network_are_refused_and_nothing_is_changed(tmp_path):
    save_file(network(channels=1).state_dict(), tmp_path / "grey.safetensors")
    ours = network()
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    with pytest.raises(UserError, match=r"'stem.0.0.weight' with shape \(4, 1, 3, 3\); this one has \(4, 3, 3, 3\)"):
        put_weights.put(ours, weights.load(str(tmp_path / "grey.safetensors"), small))
    save_file(nn.Linear(3, 3).state_dict(), tmp_path / "linear.safetensors")
    with pytest.raises(UserError, match="no tensor 'stem"):
        put_weights.put(ours, weights.load(str(tmp_path / "linear.safetensors"), small))
    assert all(torch.equal(v, before[k]) for k, v in ours.state_dict().items())


def test_what_a_file_says_of_its_images_is_believed_and_else_imagenet_is_taken(tmp_path):
    config = {"input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.9,
              "interpolation": "bicubic"}  # fmt: skip
    save_file(network().state_dict(), tmp_path / "a.safetensors", metadata={"config": json.dumps(config)})
    found = weights.load(str(tmp_path / "a.safetensors"), small)
    assert (found.images.size, found.images.mean, found.images.std) == (96, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (found.images.crop, found.images.interpolation, found.assumed) == (0.9, "bicubic", False)
    save_file(network().state_dict(), tmp_path / "b.safetensors")
    found = weights.load(str(tmp_path / "b.safetensors"), small)
    assert (found.images.size, found.images.mean, found.assumed) == (32, published.MEAN, True)
    torch.save(network().state_dict(), tmp_path / "resnet50-11ad3fa6.pth")
    found = weights.load(str(tmp_path / "resnet50-11ad3fa6.pth"), small)
    assert found.images.crop == 224 / 232 and not found.assumed


# What is published ----------------------------------------------------------------------------------------------------


def test_the_table_is_torchvisions():
    models = peers.torchvision().models
    for name, files in published.TORCHVISION.items():
        theirs = {w.url: w for w in models.get_model_weights(name)}
        best = models.get_model_weights(name).DEFAULT
        assert published.ORIGIN + files[0][0] == best.url, name
        for file, images in files:
            said = theirs[published.ORIGIN + file].transforms()
            assert (images.size, images.interpolation) == (said.crop_size[0], said.interpolation.value), file
            assert images.crop == pytest.approx(said.crop_size[0] / said.resize_size[0]), file
            if name != "googlenet":
                assert (list(images.mean), list(images.std)) == (said.mean, said.std), file


def test_googlenet_normalises_once_more():
    """With its weights torchvision's network maps what it is given to (v − 0.5) / 0.5, whatever was done before."""
    models = peers.torchvision().models
    v = torch.rand(1, 3, 4, 4)
    mean, std = (torch.tensor(x)[:, None, None] for x in (published.MEAN, published.STD))
    seen = models.GoogLeNet(transform_input=True, init_weights=False, aux_logits=False)._transform_input(
        (v - mean) / std
    )
    half = published.HALF
    assert torch.allclose(seen, (v - half.mean[0]) / half.std[0], atol=1e-6)


def test_lite0_comes_with_its_package():
    pytest.importorskip(weights.PACKAGE)
    from hubel.models.efficientnet import efficientnet_b0, efficientnet_lite0

    ours = efficientnet_lite0(classes=7, input=(3, 64, 64))
    found = put_weights.renamed(weights.load("lite0", efficientnet_lite0, opener=refuse), efficientnet_lite0, ours)
    assert found.sha256.startswith("57934424"), "the digits in the file's name"
    assert put_weights.put(ours, found) == ("head.3.weight", "head.3.bias")
    assert (found.images.size, found.images.crop) == (224, 0.875)
    assert found.images.mean == (127 / 255,) * 3
    with pytest.raises(UserError, match="efficientnet_b0"):
        weights.load("lite0", efficientnet_b0)


def test_lite0_without_its_package(monkeypatch):
    monkeypatch.setattr(weights, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(UserError, match=r"hubel\[lite0\]"):
        weights.package_file()


# Downloads ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    """{path: content} that a server on this machine gives; the paths that were asked for are in `asked`."""
    files, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content or b"")

        def log_message(self, *words):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{running.server_port}/"
    monkeypatch.setattr(published, "ORIGIN", place)
    monkeypatch.setattr(weights, "HUB", place)
    yield files, asked
    running.shutdown()
    running.server_close()


def saved(tmp_path, suffix):
    path = tmp_path / f"made{suffix}"
    state = THEIRS.state_to_theirs(network(classes=1000, seed=1).state_dict())
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    return path.read_bytes()


def test_torchvisions_file_is_fetched_once_and_only_when_asked_for(tmp_path, cache, server, monkeypatch):
    files, asked = server
    content = saved(tmp_path, ".pth")
    name = f"alexnet-owt-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setitem(published.TORCHVISION, "alexnet", ((name, published.V1),))
    files[f"/{name}"] = content
    with pytest.raises(UserError, match=r"--download.*Only EfficientNet-Lite0's"):
        weights.load("torchvision", small)
    assert asked == []
    found = weights.load("torchvision", small, download=True)
    assert found.images == published.V1 and put_weights.put(network(), put_weights.renamed(found, small, network()))
    assert weights.load("torchvision", small, opener=refuse).sha256 == hashlib.sha256(content).hexdigest()
    assert asked == [f"/{name}"]


def test_a_file_of_another_content_is_not_kept(tmp_path, cache, server, monkeypatch):
    files, _ = server
    monkeypatch.setitem(published.TORCHVISION, "alexnet", (("alexnet-owt-00000000.pth", published.V1),))
    files["/alexnet-owt-00000000.pth"] = saved(tmp_path, ".pth")
    with pytest.raises(UserError, match=r"SHA-256.*expected 00000000"):
        weights.load("torchvision", small, download=True)
    files.clear()
    with pytest.raises(UserError, match="404"):
        weights.load("torchvision", small, download=True)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(("word", "repository"), [("timm:resnet50.a1_in1k", "timm/resnet50.a1_in1k"),
                                                  ("hf:somebody/net", "somebody/net")])  # fmt: skip
def test_a_repository_of_the_hub(tmp_path, server, word, repository):
    files, asked = server
    content = saved(tmp_path, ".safetensors")
    digest = hashlib.sha256(content).hexdigest()
    config = {"pretrained_cfg": {"input_size": [3, 288, 288], "mean": [0.5] * 3, "std": [0.25] * 3, "crop_pct": 0.95}}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    files[f"/{repository}/raw/main/model.safetensors"] = pointer.encode()
    files[f"/{repository}/raw/main/config.json"] = json.dumps(config).encode()
    files[f"/{repository}/resolve/main/model.safetensors"] = content
    with pytest.raises(UserError, match="--download"):
        weights.load(word, small)
    assert asked == []
    found = weights.load(word, small, download=True)
    assert (found.sha256, found.images.size, found.images.std, found.images.crop) == (digest, 288, (0.25,) * 3, 0.95)
    assert weights.load(word, small, opener=refuse).images == found.images
    assert put_weights.put(network(), put_weights.renamed(found, small, network())) == ("head.1.weight", "head.1.bias")


def test_a_repository_of_timm_is_named_after_its_network(tmp_path, server):
    files, _ = server
    content = saved(tmp_path, ".safetensors")
    pointer = f"oid sha256:{hashlib.sha256(content).hexdigest()}"
    for owner, config in (("timm", {}), ("other", {}), ("third", {"architecture": "tf_efficientnet_b1"})):
        place = f"/{owner}/efficientnet_b0.ra_in1k"
        files[f"{place}/raw/main/model.safetensors"] = pointer.encode()
        files[f"{place}/raw/main/config.json"] = json.dumps(config).encode()
        files[f"{place}/resolve/main/model.safetensors"] = content
    words = ("timm:efficientnet_b0.ra_in1k", "hf:other/efficientnet_b0.ra_in1k", "hf:third/efficientnet_b0.ra_in1k")
    found = [weights.load(word, small, download=True).architecture for word in words]
    assert found == ["efficientnet_b0", "", "tf_efficientnet_b1"]


# Conventions ----------------------------------------------------------------------------------------------------------


def with_conventions(padding, epsilon):
    """A network of one inverted residual, made as EfficientNet makes them."""
    torch.manual_seed(0)
    unit = ConvUnit(nn.SiLU, padding, epsilon)
    return nn.Sequential(InvertedResidual(unit, 4, Stage(2, 3, 2, 8, 1), 2, 0, 0.0))


@pytest.mark.parametrize(
    ("architecture", "right", "wrong", "advice"),
    [
        ("tf_efficientnet_b0", ("same", 1e-3), ("symmetric", 1e-5), "--model timm:tf_efficientnet_b0$"),
        ("tf_efficientnet_b5", ("same", 1e-3), ("symmetric", 1e-3), "--model.padding same, or .*timm:tf_efficientnet"),
        ("tf_mixnet_s", ("same", 1e-3), ("same", 1e-5), "--model timm:tf_mixnet_s$"),
        ("efficientnet_lite0", ("symmetric", 1e-5), ("same", 1e-3), "--model timm:efficientnet_lite0$"),
    ],
)
def test_weights_of_other_padding_are_refused_and_nothing_is_changed(tmp_path, architecture, right, wrong, advice):
    config = {"architecture": architecture}
    save_file(with_conventions(*right).state_dict(), tmp_path / "a.safetensors", {"config": json.dumps(config)})
    found = weights.load(str(tmp_path / "a.safetensors"), small)
    assert put_weights.put(with_conventions(*right), found) == ()
    other = with_conventions(*wrong)
    nn.init.zeros_(other[0].project[0].weight)
    with pytest.raises(UserError, match=f"{architecture}.*ε = .*see badly.*{advice}"):
        put_weights.put(other, found)
    assert other[0].project[0].weight.eq(0).all()


def test_the_name_of_timms_file_tells_its_network_and_others_may_have_any(tmp_path):
    for name, known in (("tf_efficientnet_b0_ns-c0e6a31c.pth", "tf_efficientnet_b0"), ("efficientnet_lite0.pth", "")):
        torch.save(with_conventions("same", 1e-3).state_dict(), tmp_path / name)
        assert weights.load(str(tmp_path / name), small).architecture == known


def test_conventions_of_timms_networks():
    timm = peers.timm()
    for name in ("tf_efficientnet_b0", "efficientnet_b0", "tf_efficientnet_lite0", "efficientnet_lite0"):
        with torch.device("meta"):
            assert convention_in(timm.create_model(name)) == convention_of(name)
    assert convention_of("resnet50") is None


def test_a_repository_without_a_checksum_and_names_that_are_none(server, cache):
    files, asked = server
    files["/a/b/raw/main/model.safetensors"] = b"no pointer"
    with pytest.raises(UserError, match="checksum"):
        weights.load("hf:a/b", small, download=True)
    for word in ("hf:../../etc", "hf:a/b/c", "hf:a"):
        with pytest.raises(UserError, match="OWNER/NAME"):
            weights.load(word, small, download=True)
    assert len(asked) == 1 and not cache.exists()
