"""Whole trainings through `hpc_ds.learn.train` whose results are known beforehand."""

import numpy as np
import pytest
import torch

from hpc_ds.learn import load_network, train


def silent(line):
    pass


def saved(path, **splits):
    np.savez(
        path, **{f"{name}_{split}": array for split, pair in splits.items() for name, array in pair.items()}
    )
    return path


def test_the_90_percent_band_of_heteroscedastic_noise_covers_90_percent(tmp_path):
    rng = np.random.default_rng(5)

    def drawn(n):
        x = rng.uniform(-3.0, 3.0, (n, 1))
        return {"x": x, "y": np.sin(x) + (0.1 + 0.2 * np.abs(x)) * rng.normal(size=(n, 1))}

    data = saved(tmp_path / "noise.npz", train=drawn(4000), valid=drawn(1000), test=drawn(20_000))
    outcome = train(
        "mlp",
        data,
        folder=tmp_path / "run",
        options={"layers": "32-32"},
        tell=silent,
        task="scalars",
        loss="gaussian",
        epochs=30,
        batch=200,
        lanes=1,
        learning_rate=0.01,
    )
    reached = outcome.metrics["test"]
    assert 0.88 <= reached["coverage_90"] <= 0.92
    # The least that a Gaussian log-likelihood can be here: 1/2 + <log sigma> + log(2 pi)/2.
    x = np.linspace(-3.0, 3.0, 100_001)
    least = 0.5 + np.log(0.1 + 0.2 * np.abs(x)).mean() + 0.5 * np.log(2.0 * np.pi)
    assert least - 0.02 <= reached["nll"] <= least + 0.05


@pytest.fixture(scope="module")
def unequal(tmp_path_factory):
    """Two normal distributions, 2 apart, of which one is 30 times rarer."""
    rng = np.random.default_rng(6)

    def drawn(n, rare):
        label = (np.arange(n) % rare == 0).astype(np.int64)
        return {"x": rng.normal(size=(n, 1)) + 2.0 * label[:, None], "kind": label}

    place = tmp_path_factory.mktemp("unequal") / "unequal.npz"
    return saved(place, train=drawn(6000, 30), valid=drawn(3000, 30), test=drawn(6000, 30))


@pytest.mark.parametrize("sampling", ["balanced", "over", "under"])
def test_sampling_by_class_finds_the_rare_class_as_bayes_rule_does(unequal, tmp_path, sampling):
    words = {"input": "x", "target": "kind", "epochs": 10, "batch": 100, "lanes": 1, "learning_rate": 0.03}

    def recall(name):
        words_of = {**words, "sampling": name, "metrics": "cross_entropy,recall,balanced_accuracy"}
        outcome = train(
            "mlp", unequal, folder=tmp_path / name, options={"layers": "8"}, tell=silent, **words_of
        )
        return outcome.metrics["test"]

    # With equal classes the border is half way, where each is found with Phi(1) = 0.841; with 1 : 29 it lies at
    # 1 + log(29)/2, and the rare class is found with Phi(1 - log(29)/2) = 0.247.
    assert recall(sampling)["balanced_accuracy"] == pytest.approx(0.841, abs=0.03)
    if sampling == "balanced":
        assert recall("uniform")["balanced_accuracy"] == pytest.approx((0.247 + 0.9964) / 2, abs=0.04)


def waves(rng, points, n):
    """Sums of four waves, and the same a tenth of a length further on."""
    k, x = np.arange(1, 5)[:, None], np.arange(points) / points
    a, b = rng.normal(size=(2, n, 4, 1))

    def at(x):
        return (a * np.sin(2 * np.pi * k * x) + b * np.cos(2 * np.pi * k * x)).sum(1)

    return {"x": at(x), "y": at(x + 0.1)}


def test_a_fourier_network_learns_a_shift_and_does_it_on_finer_grids(tmp_path):
    rng = np.random.default_rng(7)
    data = saved(tmp_path / "waves.npz", train=waves(rng, 32, 200), test=waves(rng, 32, 50))
    # Without positions: a saw tooth has other waves on another grid.
    options = {
        "positions": False,
        "width": 8,
        "layers": 1,
        "channel_mlp": 0,
        "lifting": 0,
        "projection": 0,
        "modes": 12,
    }
    words = {"epochs": 60, "batch": 20, "lanes": 2, "learning_rate": 0.02, "weight_decay": 0.0}
    outcome = train("fno", data, folder=tmp_path / "run", options=options, tell=silent, **words)
    coarse = outcome.metrics["test"]["relative_l2"]
    assert coarse < 0.02
    network = load_network(tmp_path / "run")
    for points in (64, 128):
        fine = waves(rng, points, 50)
        said = network(torch.from_numpy(fine["x"][:, None]).float()).numpy()[:, 0]
        error = np.linalg.norm(said - fine["y"], axis=1) / np.linalg.norm(fine["y"], axis=1)
        assert error.mean() < 1.5 * coarse
