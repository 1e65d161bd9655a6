"""doctor finds what is here and what is missing, and works where torch does not."""

import json
import os
import subprocess
import sys

import pytest

from hubel import doctor
from hubel.cli import main
from hubel.training import machine


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def found(tmp_path):
    return doctor.examine(tmp_path / "runs")


def test_a_healthy_machine(found, capsys, tmp_path):
    import torch

    assert found["problems"] == []
    assert found["packages"]["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads() and found["devices"][0]["device"] == "cpu"
    assert found["disk"]["writable"] and found["disk"]["free"] > 0 and found["memory"]["free"] > 0
    assert main(["doctor", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "Ready to train." in out and torch.__version__ in out and max(map(len, out.splitlines())) <= 80


BROKEN = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise OSError("libtorch_cpu.so: cannot open shared object file")
sys.meta_path.insert(0, Broken())
from hubel.cli import main
sys.exit(main(["doctor", *sys.argv[1:]]))
"""


def test_where_torch_is_broken():
    for words in (["--json"], []):
        done = subprocess.run([sys.executable, "-c", BROKEN, *words], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert "torch can't be imported: libtorch_cpu.so" in done.stdout and "Ready" not in done.stdout
    done = subprocess.run(
        [sys.executable, "-c", BROKEN.replace('"doctor", ', '"train", ')], capture_output=True, text=True
    )
    assert done.returncode == 70 or "hubel doctor" in done.stderr


def test_a_missing_package(monkeypatch, tmp_path):
    monkeypatch.setitem(doctor.NEEDED, "nosuchpackage", "nosuchmodule")
    monkeypatch.setitem(doctor.OPTIONAL, "nosuchoption", ("nosuchoption", "--nothing"))
    found = doctor.examine(tmp_path)
    assert any("nosuchpackage is not installed" in problem for problem in found["problems"])
    assert "nosuchoption is not installed; it is for --nothing" in found["hints"]


def test_a_place_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    found = doctor.examine(tmp_path / "file" / "runs")
    assert any("can't be written" in problem for problem in found["problems"])


def test_hints(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1000")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine, "memory", lambda: (10**8, 10**9))
    hints = " ".join(doctor.examine(tmp_path)["hints"])
    for words in ("OMP_NUM_THREADS=1000", "No C++ compiler", "Less than 1 GB of memory"):
        assert words in hints


@pytest.mark.parametrize("mode", ["v2", "nested", "v1", "none", "max"])
def test_quotas_of_containers(tmp_path, mode):
    own = tmp_path / "self"
    own.write_text("0::/a.slice/b\n" if mode == "nested" else "0::/\n")
    (tmp_path / "a.slice" / "b").mkdir(parents=True)
    (tmp_path / "cpu").mkdir()
    if mode == "v2":
        (tmp_path / "cpu.max").write_text("150000 100000\n")
    elif mode == "nested":  # the tightest of the parents' limits holds
        (tmp_path / "a.slice" / "cpu.max").write_text("150000 100000\n")
        (tmp_path / "a.slice" / "b" / "cpu.max").write_text("400000 100000\n")
    elif mode == "v1":
        (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("150000\n")
        (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    elif mode == "max":
        (tmp_path / "cpu.max").write_text("max 100000\n")
        (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
        (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.cpu_quota(tmp_path, own) == (None if mode in ("none", "max") else 1.5)


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (0.5, 1), (1.0, 1), (1.5, 2), (100.0, 8)])
def test_usable_cores(monkeypatch, quota, cores):
    monkeypatch.setattr(machine, "affinity", lambda: 8)
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    assert machine.cores() == cores


def test_a_container_s_memory_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    free, total = machine.memory()
    assert 0 < free <= total
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert machine.memory() == (600000, 1000000)
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory()[1] == total


def test_the_report_is_json(capfd):
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["cores"]["machine"] == os.cpu_count()
