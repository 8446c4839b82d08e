"""The verbs learn, predict and export as a user types them: exit codes, refusals in one line, and what they leave."""

import hashlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

HPC_DS = [sys.executable, "-c", "from hpc_ds.cli import main; main()"]

AUGMENTATION = """
def shift(inputs, targets, rng):
    return inputs + 0.1, targets
"""

NETWORKS = """
from torch import nn

def plain(inputs, outputs, width=4):
    return nn.Sequential(nn.Conv1d(inputs[0], width, 3, padding=1), nn.BatchNorm1d(width), nn.Dropout(0.1),
                         nn.Conv1d(width, outputs[0], 3, padding=1))

def broken(inputs, outputs):
    return nn.Conv1d(inputs[0], outputs[0] + 1, 3)
"""

QUICK = ("--batch", 8, "--lanes", 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with fields, images of two classes, and networks."""
    place = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(48, 16)).astype(np.float32)
    fields = {"x": x, "y": np.roll(x, 1, axis=1) - x}
    np.savez(place / "fields.npz", **fields)
    np.savez(place / "narrow.npz", x=x[:, :8], y=x[:, :8])
    np.savez(place / "nan.npz", x=x, y=np.where(np.arange(48)[:, None] == 5, np.nan, x))
    named = {f"{name}_{split}": array for name, array in fields.items() for split in ("train", "valid")}
    np.savez(place / "nan-test.npz", **named, x_test=np.full((4, 16), np.nan, np.float32), y_test=x[:4])
    fine = np.repeat(x, 2, axis=1)
    np.savez(place / "fine.npz", x=fine, y=fine)
    kind = np.array(["low", "high"])[np.arange(48) % 2]
    images = rng.normal(size=(48, 1, 16, 16)).astype(np.float32) + (kind == "high")[:, None, None, None]
    np.savez(place / "images.npz", image=images, kind=kind)
    splits = {"image_train": images, "kind_train": kind, "image_valid": images[::2], "kind_valid": kind[::2]}
    np.savez(place / "one-class.npz", **splits)
    (place / "networks.py").write_text(NETWORKS)
    (place / "augment.py").write_text(AUGMENTATION)
    torch.save({"conv1.weight": torch.zeros(3)}, place / "other.pth")
    (place / "empty.npz").touch()
    return place


@pytest.fixture
def place(data, tmp_path):
    for file in data.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    return tmp_path


@pytest.fixture
def hpc_ds(place, plain_environment):
    """Run the command as a process of its own in the folder of the test."""

    def run(*words, code=0):
        done = subprocess.run(
            [*HPC_DS, *map(str, words)],
            cwd=place,
            env=plain_environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def refused(place, monkeypatch, capsys):
    """Give a command that must be refused, having changed nothing; return its one line."""

    def refuse(*words, out="run"):
        from hpc_ds import cli
        from hpc_ds.runtime.leaving import guarded

        monkeypatch.chdir(place)
        before = contents(place)
        monkeypatch.setattr(sys, "argv", ["hpc-ds", *map(str, words), *(["--out", out] if out else [])])
        capsys.readouterr()
        assert guarded(cli._command) == 2
        assert contents(place) == before
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hpc-ds: error")]
        assert len(lines) == 1
        return lines[0].removeprefix("hpc-ds: error: ")

    return refuse


def contents(folder):
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def weights(folder):
    return hashlib.sha256((folder / "network/weights.pt").read_bytes()).hexdigest()


# ---- what a user does -------------------------------------------------------------------------------------------


def test_a_network_is_trained_looked_at_applied_and_exported(hpc_ds, place):
    told = hpc_ds("learn", "networks.py:plain", "fields.npz", "--epochs", 3, *QUICK, "--out", "run").stdout
    assert "3 of 3 epochs" in told and "test: relative_l2" in told and "report.html" in told
    summary = json.loads((place / "run/summary.json").read_text())
    assert (summary["kind"], summary["task"], summary["epochs_done"]) == ("learn", "fields", 3)
    assert set(summary["metrics"]) == {"valid", "test"}
    assert hpc_ds("status", "run").stdout.startswith("run: done")
    hpc_ds("predict", "run", "fields.npz", "--out", "said.h5")
    assert (place / "said.h5").stat().st_size > 0
    hpc_ds("export", "run", "network.pt2")
    assert (place / "report.html").exists() is False and (place / "run/report.html").stat().st_size > 10_000


def test_classes_are_learned_from_words(hpc_ds, place):
    words = ["--input", "image", "--target", "kind", "--option", "stem=small"]
    hpc_ds("learn", "resnet18", "images.npz", *words, "--epochs", 2, *QUICK, "--out", "run")
    summary = json.loads((place / "run/summary.json").read_text())
    assert summary["task"] == "classify" and summary["targets"] == ["high", "low"]
    assert 0.0 <= summary["metrics"]["test"]["accuracy"] <= 1.0


def test_an_ensemble_has_a_spread(hpc_ds, place):
    words = ["--members", 2, "--bootstrap", "--epochs", 2, *QUICK]
    told = hpc_ds("learn", "networks.py:plain", "fields.npz", *words, "--out", "run").stdout
    assert "2 networks of" in told and "coverage_90" in told
    assert weights(place / "run/members/000") != weights(place / "run/members/001")
    hpc_ds("predict", "run", "fields.npz", "--out", "said.h5")


def test_a_time_limit_stops_with_75_and_the_same_command_goes_on_to_the_same_bits(hpc_ds, place):
    words = ["learn", "networks.py:plain", "fields.npz", "--epochs", 40, *QUICK]
    hpc_ds(*words, "--out", "whole")
    stopped = hpc_ds(*words, "--time", "0.01s", "--out", "run", code=75).stdout
    assert "stopped" in stopped and "goes on from here" in stopped
    hpc_ds(*words, "--out", "run")
    assert weights(place / "run") == weights(place / "whole")


def test_a_killed_training_goes_on_to_the_same_bits(hpc_ds, place, plain_environment):
    words = ["learn", "networks.py:plain", "fields.npz", "--epochs", "400", *map(str, QUICK)]
    words += ["--snapshot-every", "0.05"]
    hpc_ds(*words, "--out", "whole")
    command = [*HPC_DS, *words, "--out", "run"]
    with subprocess.Popen(command, cwd=place, env=plain_environment, stderr=subprocess.DEVNULL) as child:
        while not list(place.glob("run/snapshots/*")):
            assert child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    hpc_ds(*words, "--out", "run")
    assert weights(place / "run") == weights(place / "whole")


def test_two_ranks_and_torchrun_train_the_same_network(hpc_ds, mpiexec, place, repository, plain_environment):
    words = ["learn", "networks.py:plain", "fields.npz", "--epochs", "2", *map(str, QUICK)]
    hpc_ds(*words, "--out", "one")
    environment = {"PYTHONPATH": str(repository)}
    done = mpiexec(2, [*HPC_DS, *words, "--out", "two"], cwd=place, env=environment)
    assert done.returncode == 0, done.stderr
    assert weights(place / "one") == weights(place / "two")
    script = place / "command.py"
    script.write_text("from hpc_ds.cli import main; main()")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(script), *words, "--out", "torchrun"],
        cwd=place,
        env={**plain_environment, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert weights(place / "one") == weights(place / "torchrun")


def test_a_loss_that_is_nan_stops_and_names_the_sample(hpc_ds, place):
    words = ["--learning-rate", "1e30", "--optimiser", "sgd", "--no-normalise", "--epochs", 3, *QUICK]
    told = hpc_ds("learn", "networks.py:plain", "fields.npz", *words, "--out", "run", code=1).stderr
    assert "epoch 1, step" in told and "sample" in told and "Traceback" not in told
    assert json.loads((place / "run/state.json").read_text())["state"] == "failed"


def test_a_configuration_file_gives_options_and_flags_win(hpc_ds, place):
    (place / "run.toml").write_text('epochs = 5\nbatch = 8\nlanes = 2\nnormalise = false\nout = "run"\n')
    told = hpc_ds("learn", "networks.py:plain", "fields.npz", "--config", "run.toml", "--epochs", 1).stdout
    assert "1 of 1 epochs" in told
    assert "normalise = false" in (place / "run/config.toml").read_text()


def test_init_prints_a_configuration_that_is_read(hpc_ds, place):
    lines = hpc_ds("init", "learn", "fno").stdout.splitlines()
    settings = [line.removeprefix("# ") for line in lines if line.startswith(("# epochs =", "# batch ="))]
    (place / "run.toml").write_text("\n".join(settings))
    assert len(settings) == 2
    hpc_ds("learn", "fno", "nowhere", "--config", "run.toml", "--out", "run", code=2)


@pytest.mark.parametrize("network", ["fno", "tfno", "unet"])
def test_a_network_of_waves_is_applied_to_a_finer_grid_than_it_was_trained_on(hpc_ds, place, network):
    hpc_ds("learn", network, "fields.npz", "--option", "width=4", "--epochs", 1, *QUICK, "--out", "run")
    hpc_ds("predict", "run", "fine.npz", "--out", "said.h5")
    import h5py

    with h5py.File(place / "said.h5") as said:
        assert said["prediction"].shape[-1] == 32 and np.isfinite(said["prediction"][()]).all()


def test_a_metric_may_need_the_mean_over_the_training_split(hpc_ds, place):
    words = ["--metrics", "acc,relative_l2", "--epochs", 1, *QUICK]
    assert "acc" in hpc_ds("learn", "networks.py:plain", "fields.npz", *words, "--out", "run").stdout


# ---- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fnoo", "fields.npz"], "fno"),
        (["fno", "nowhere"], "nowhere"),
        (["fno", "nowhere.npz"], "nowhere.npz: no such file"),
        (["fno", "empty.npz"], "empty.npz"),
        (["fno", "fields.npz", "--input", "z"], "no array 'z'"),
        (["fno", "fields.npz", "--option", "widht=3"], "width"),
        (["fno", "fields.npz", "--batch", "4"], "--lanes 8"),
        (["fno", "fields.npz", "--loss", "cross-entropy"], "--loss cross-entropy"),
        (["fno", "fields.npz", "--metrics", "accuracy"], "accuracy"),
        (["fno", "fields.npz", "--metrics", "coverage_90", "--loss", "gaussian"], "coverage_90"),
        (["networks.py:plain", "nan-test.npz"], "nan-test.npz"),
        (["fno", "fields.npz", "--epochs", "0"], "--epochs"),
        (["fno", "fields.npz", "--learning-rate", "fast"], "--learning-rate"),
        (["fno", "fields.npz", "--sampling", "balanced"], "--sampling balanced"),
        (["fno", "fields.npz", "--augment", "flap"], "flip"),
        (["resnet18", "fields.npz"], "resnet18"),
        (["networks.py:broken", "fields.npz"], "networks.py:broken"),
        (["networks.py:elsewhere", "fields.npz"], "elsewhere"),
        (["networks.py:plain", "fields.npz", "--freeze", "9"], "--freeze 9"),
        (["networks.py:plain", "fields.npz", "--weights", "other.pth"], "conv1.weight"),
        (["networks.py:plain", "fields.npz", "--weights", "nowhere.pth"], "nowhere.pth: no such file"),
        (["networks.py:plain", "fields.npz", "--device", "cuda"], "--device cuda"),
        (["networks.py:plain", "fields.npz", "--comm", "mpi", "--members", "0"], "--members"),
    ],
)
def test_bad_input_is_refused_in_one_line(refused, words, said):
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is CUDA")
    assert said in refused("learn", *words)


def test_a_sample_with_nan_is_named(hpc_ds, place):
    told = hpc_ds("learn", "networks.py:plain", "nan.npz", *QUICK, "--out", "run", code=2).stderr
    assert "NaN" in told and "nan.npz" in told and "Traceback" not in told


def test_a_class_that_a_split_lacks_is_named(refused):
    told = refused("learn", "resnet18", "one-class.npz", "--input", "image", "--target", "kind")
    assert "high" in told or "low" in told


def test_an_unmerged_set_is_refused(refused, hpc_ds, place):
    (place / "set/data/train").mkdir(parents=True)
    assert "no training set" in refused("learn", "fno", "set")


def test_another_configuration_in_the_same_folder_is_refused(refused, hpc_ds, place):
    hpc_ds("learn", "networks.py:plain", "fields.npz", "--epochs", 1, *QUICK, "--out", "run")
    told = refused("learn", "networks.py:plain", "fields.npz", "--epochs", 1, *QUICK, "--seed", 2)
    assert "seed" in told


def test_fewer_epochs_than_before_are_refused(refused, hpc_ds, place):
    words = ["learn", "networks.py:plain", "fields.npz", "--schedule", "constant", *QUICK]
    hpc_ds(*words, "--epochs", 2, "--out", "run")
    hpc_ds(*words, "--epochs", 3, "--out", "run")
    assert "can only grow" in refused(*words, "--epochs", 1)


def test_another_text_of_the_own_augmentation_is_refused(refused, hpc_ds, place):
    words = [
        "learn",
        "networks.py:plain",
        "fields.npz",
        "--augment",
        "augment.py:shift",
        "--epochs",
        1,
        *QUICK,
    ]
    hpc_ds(*words, "--out", "run")
    (place / "augment.py").unlink()
    (place / "augment.py").write_text(AUGMENTATION.replace("0.1", "9.0"))
    assert "source" in refused(*words)


def test_ranks_that_cannot_share_the_lanes_are_told_which_could(mpiexec, place, repository):
    words = [*HPC_DS, "learn", "networks.py:plain", "fields.npz", "--out", "run"]
    done = mpiexec(3, words, cwd=place, env={"PYTHONPATH": str(repository)}, timeout=100)
    assert done.returncode == 2 and "can be shared by 1, 2, 4 or 8 ranks" in done.stderr
    assert not (place / "run").exists()


def test_new_data_of_another_shape_are_refused(hpc_ds, place):
    hpc_ds("learn", "mlp", "fields.npz", "--epochs", 1, *QUICK, "--out", "run")
    told = hpc_ds("predict", "run", "narrow.npz", code=2).stderr
    assert "narrow.npz" in told and "16" in told and "Traceback" not in told
