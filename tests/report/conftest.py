"""Run folders as the infer engine writes them, made from the published spectrum without any sampling."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

QUANTILES = (2.5, 25, 50, 75, 97.5)
LOG_EVIDENCE = {1: 49.20, 2: 147.57, 3: 244.20, 4: 243.97, 5: 242.18}
"""Of the published spectrum, K = 1..5, to the 0.02 that the independent C code states."""


class FakeRun:
    """Writes one run folder whose arrays agree: curves and tables come from the draws."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self.folder, self.rng = folder, rng
        (folder / "posterior").mkdir(parents=True)

    def spectrum(
        self,
        numbers=(1, 2, 3, 4, 5),
        x_name="energy / eV",
        y_name="intensity / a.u.",
        background=0.0,
        stretch=1,
    ):
        x = np.linspace(0, 3, 300 * stretch + 1)
        truth = np.array([[0.587, 1.522, 1.183], [1.210, 1.455, 1.703], [95.689, 146.837, 164.469]])
        noise = self.rng.normal(0, 0.1, x.size)
        y = components(x, *truth).sum(axis=0) + background * (1 + x) + noise
        weights = np.exp([LOG_EVIDENCE[number] - 244.2 for number in numbers])
        models = []
        for number, share in zip(numbers, weights / weights.sum(), strict=True):
            groups = self._peaks(x, y, truth, number, background)
            models.append(self._model(f"K={number}", groups, LOG_EVIDENCE[number], share))
        best = numbers[int(np.argmax(weights))]
        return self._finish("spectrum", models, f"K={best}", x.size, x_name, y_name)

    def user_model(self, name="decay", count=8):
        centre, spread = self.rng.uniform(1, 5, count), self.rng.uniform(0.05, 0.4, count)
        draws = {f"rate_{i}": self.rng.normal(centre[i], spread[i], (2, 500)) for i in range(count)}
        entry = self._model(name, {"posterior": draws, **self._ladder()}, -12.34, 1.0)
        return self._finish("decay.py:decay", [entry], name, 40, "t / s", "activity / Bq")

    def line(self, missing=None):
        """y = x and y = 1 + x, with their closed forms: fits without components, along an axis of another name."""
        x = np.linspace(-1, 1, 40)
        y = 0.3 + 1.4 * x + self.rng.normal(0, 0.2, x.size)
        models = []
        for name, value, share in (("x", -55.46, 0.1), ("1 + x", 5.23, 0.9)):
            slope = self.rng.normal(1.4, 0.05, (1, 1000))
            fit = np.percentile(slope[0, :, None] * x, QUANTILES, axis=0)
            groups = {
                "posterior": {"slope": slope},
                "observed_data": {"y": y},
                "constant_data": {"x": np.zeros_like(x), "sigma": np.full(x.size, 0.2)},
                "curves": {"x": x, "x_name": "fitted volt", "fit": fit, "residual": y - fit[2]},
            }
            models.append(self._model(name, groups | self._ladder(), value, share))
        folder = self._finish("linear", models, "1 + x", x.size, "t", "volt")
        summary = json.loads((folder / "summary.json").read_text())
        summary["closed_form"] = closed_form(missing)
        self.write("summary.json", json.dumps(summary))
        return folder

    def _peaks(self, x, y, truth, number, background):
        theta = {1: [[1.2], [1.56], [26.0]], 2: [[1.32, 1.1], [1.44, 1.7], [60.0, 150.0]]}.get(number, truth)
        spread = np.array([[0.03], [0.006], [9.0]])
        draws = (
            np.asarray(theta)[:, None, None, :]
            + spread[:, None, None] * self.rng.normal(size=(3, 2, 600, 1))[..., :1]
        )
        draws = draws + 0.6 * spread[:, None, None] * self.rng.normal(size=(3, 2, 600, np.shape(theta)[1]))
        for _ in range(number - draws.shape[-1]):
            extra = [
                self.rng.gamma(2, 0.03, (2, 600)),
                self.rng.normal(1.5, 0.4, (2, 600)),
                self.rng.gamma(5, 25, (2, 600)),
            ]
            draws = np.concatenate((draws, np.array(extra)[..., None]), axis=-1)
        order = np.argsort(draws[1], axis=-1)
        amplitude, position, precision = np.take_along_axis(draws, order[None], axis=-1)
        flat = [part.reshape(1200, number)[::6, :, None] for part in (amplitude, position, precision)]
        alone = np.moveaxis(components(x, *flat, axis=None), 1, 0)
        floor = background * (1 + x) * self.rng.normal(1, 0.01, (200, 1))
        fit = np.percentile(alone.sum(axis=0) + floor, QUANTILES, axis=0)
        return {
            "posterior": {
                "amplitude": amplitude,
                "position": position,
                "precision": precision,
                "noise": self.rng.normal(0.0994, 0.004, (2, 600)),
            },
            "observed_data": {"y": y},
            "constant_data": {"x": x, "sigma": np.full(x.size, np.nan)},
            "curves": {
                "x": x,
                "quantile": np.array(QUANTILES),
                "fit": fit,
                "residual": y - fit[2],
                "background": np.percentile(floor, QUANTILES, axis=0),
                "component": np.moveaxis(np.percentile(alone, QUANTILES, axis=1), 0, 1),
            },
            **self._ladder(),
        }

    def _ladder(self, levels=20):
        beta = np.concatenate(([0.0], np.geomspace(1e-5, 1, levels - 1)))
        rejection = np.clip(0.24 + 0.04 * self.rng.normal(size=levels - 1), 0.05, 0.9)
        barrier = np.concatenate(([0.0], np.cumsum(rejection)))
        ladder = {
            "beta": beta,
            "mean_log_likelihood": -400 * (1 - beta),
            "rejection": rejection,
            "barrier": barrier,
        }
        return {"ladder": {name: values[None] for name, values in ladder.items()}}

    def _model(self, name, groups, log_evidence, share):
        with h5py.File(self.folder / "posterior" / f"{name}.h5", "w") as file:
            for group, arrays in groups.items():
                for key, values in arrays.items():
                    file.create_dataset(f"{group}/{key}", data=values)
        barrier = float(groups["ladder"]["barrier"].max())
        parameters = {}
        for key, values in groups["posterior"].items():
            parts = values.reshape(*values.shape[:2], -1)
            for index in range(parts.shape[-1]):
                label = key if values.ndim == 2 else f"{key}[{index + 1}]"
                parameters[label] = row(parts[..., index])
        return {
            "name": name,
            "log_evidence": log_evidence,
            "log_evidence_error": 0.031,
            "free_energy": -log_evidence,
            "probability": share,
            "prior_probability": 0.2,
            "parameters": parameters,
            "derived": {},
            "evidence": {
                "mbar": log_evidence,
                "stepping_stone_forward": log_evidence + 0.02,
                "stepping_stone_backward": log_evidence - 0.03,
                "thermodynamic_integration": log_evidence + 0.11,
            },
            "diagnostics": {
                "replicas": 20,
                "copies": 1,
                "scans": 16384,
                "tuning_scans": 16382,
                "barrier": barrier,
                "min_swap_rate": 0.68,
                "mean_swap_rate": 0.76,
                "round_trips": 1234,
                "round_trip_rate": 0.62 / (2 + 2 * barrier),
                "round_trip_rate_theory": 1 / (2 + 2 * barrier),
            },
            "verdict": {"trust": True, "text": "trust this"},
        }

    def _finish(self, model, models, best, size, x_name, y_name):
        summary = {
            "format": 1,
            "kind": "infer",
            "model": model,
            "best": best,
            "settings": {"seed": 1},
            "models": models,
            "data": {"path": "data/nagata2012.csv", "n": size, "x_name": x_name, "y_name": y_name},
        }
        provenance = {
            "versions": {"hpc_ds": "0.1.0", "python": "3.11.7", "numpy": "2.4.6"},
            "host": "cn1042",
            "ranks": 4,
            "format": 1,
            "kind": "infer",
            "git": "0123abcd",
            "pid": 4711,
            "command": ["hpc-ds", "infer", "spectrum", "data/nagata2012.csv", "--peaks", "1:5"],
            "seed": 1,
            "started": "2025-01-01T12:00:00+00:00",
            "sessions": [{"ranks": 4}],
        }
        self.write("summary.json", json.dumps(summary))
        self.write("provenance.json", json.dumps(provenance))
        self.write("state.json", json.dumps({"format": 1, "state": "done"}))
        self.write("config.toml", f'model = "{model}"\nseed = 1\n')
        return self.folder

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")


def closed_form(missing=None):
    """What `hpc_ds.infer` says of y = x (sampler 0.3 errors below it) and y = 1 + x (4 errors above it)."""
    if missing:
        return {"models": [], "comparisons": [], "missing": missing}
    slope = {"slope": {"mean": 1.4, "sd": 0.05}}
    values = {"x": -55.46 + 0.3 * 0.031, "1 + x": 5.23 - 4 * 0.031}
    comparison = {
        "smaller": "x",
        "larger": "1 + x",
        "F1": -values["x"],
        "F2": -values["1 + x"],
        "delta_F": values["1 + x"] - values["x"],
        "selection_probability": 0.873,
        "false_positive_rate": 0.000782,
    }
    models = [
        {"name": name, "log_evidence": value, "parameters": slope, "covariance": [[0.0025]]}
        for name, value in values.items()
    ]
    return {"models": models, "comparisons": [comparison], "missing": {}}


def components(x, amplitude, position, precision, axis=-1):
    """The peaks a exp(-b (x - mu)^2 / 2) one by one: (..., peaks, points)."""
    if axis is not None:
        amplitude, position, precision = (part[..., None] for part in (amplitude, position, precision))
    return amplitude * np.exp(-precision * (x - position) ** 2 / 2)


def row(draws):
    low, middle, high = np.percentile(draws, (2.5, 50, 97.5))
    return {
        "mean": draws.mean(),
        "sd": draws.std(),
        "2.5%": low,
        "50%": middle,
        "97.5%": high,
        "ess": 0.9 * draws.size,
        "ess_tail": 0.8 * draws.size,
        "r_hat": 1.001,
    }


@pytest.fixture
def fake_run(tmp_path):
    """Return a `FakeRun` on an empty folder."""
    return FakeRun(tmp_path / "run", np.random.default_rng(1))


@pytest.fixture(scope="session")
def published_run(tmp_path_factory):
    """Return a run folder over K = 1..5 peaks of the published spectrum, not to be changed."""
    return FakeRun(tmp_path_factory.mktemp("published") / "run", np.random.default_rng(1)).spectrum()


@pytest.fixture
def line_summary(fake_run):
    """Return the summary of two linear models with their closed forms."""
    return json.loads((fake_run.line() / "summary.json").read_text())


@pytest.fixture
def summary(published_run):
    """Return the summary of `published_run`."""
    return json.loads((published_run / "summary.json").read_text())


class Browser:
    """Looks at pages with headless Chromium."""

    BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    DRIVER = shutil.which("chromedriver")
    FLAGS = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    )
    MEASURE = """
    document.querySelectorAll('details').forEach(item => { item.open = true; });
    const boxes = [...document.querySelectorAll('svg')].map(item => {
      const box = item.getBoundingClientRect();
      return {label: item.getAttribute('aria-label'), left: box.left, right: box.right, height: box.height};
    });
    const smallest = Math.min(...[...document.querySelectorAll('svg text')].map(item => {
      const plot = item.ownerSVGElement;
      const scale = plot.getBoundingClientRect().width / plot.viewBox.baseVal.width;
      return scale * parseFloat(getComputedStyle(item).fontSize);
    }));
    return {boxes: boxes, smallest: smallest, inner: window.innerWidth,
            page: document.documentElement.scrollWidth};
    """

    def __init__(self, profile):
        import selenium.webdriver
        from selenium.webdriver.chrome.service import Service

        options = selenium.webdriver.ChromeOptions()
        options.binary_location = self.BINARY
        for flag in (*self.FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = selenium.webdriver.Chrome(options=options, service=Service(self.DRIVER))

    def visit(self, path, width, scheme="light"):
        """Open everything on the page and return where the figures stand and how small their text is."""
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(path.as_uri())
        return self.ask(self.MEASURE)

    def ask(self, script):
        return self.driver.execute_script(script)

    def complaints(self):
        return self.driver.get_log("browser")

    def requests(self, path):
        """Return what the page at ``path`` asked for apart from itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        asked = [item["request"]["url"] for item in sent if item["documentURL"] == path.as_uri()]
        assert path.as_uri() in asked
        return [url for url in asked if url != path.as_uri() and not url.startswith("data:")]


@pytest.fixture
def browser(tmp_path):
    """Return a `Browser`."""
    pytest.importorskip("selenium", reason="selenium is not installed: pip install selenium")
    if not (Browser.BINARY and Browser.DRIVER):
        pytest.skip("no Chromium with chromedriver: apt-get install chromium chromium-driver")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.driver.quit()
