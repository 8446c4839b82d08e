"""Observed stars: the table against the files it came from, errors on two sides, readers and what they refuse."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from hpc_ds.physics.neutron_star.likelihoods import (
    contour_moments,
    read_contours,
    read_grid,
    read_samples,
)
from hpc_ds.physics.neutron_star.observed import (
    FOURTEEN,
    OBSERVED,
    Observation,
    observed_stars,
    read_observations,
    split_normal,
)
from hpc_ds.runtime.errors import InputError

needs_data = pytest.mark.needs_data
QUIESCENT = "compare/qLMXB_{}_massradius_{}_1.txt"


def star(name: str, method: str = "") -> Observation:
    return next(one for one in OBSERVED if one.name == name and one.method.startswith(method))


# The table


def test_each_star_counts_once():
    stars = observed_stars()
    names = [one.name for one in stars]
    assert len(set(names)) == len(names) == len({one.name for one in OBSERVED})
    radius_of = {one.name: one.radius for one in stars}
    assert radius_of["J0740+6620"] == 12.39 and radius_of["J0348+0432"] is None
    assert [one.name for one in observed_stars(["mass"])] == ["J0348+0432", "J0740+6620", "J1614-2230"]
    with pytest.raises(InputError, match=r"kind 'bursters': did you mean 'burster'\?"):
        observed_stars(["bursters"])


def test_fourteen_are_eight_quiescent_stars_and_six_bursters():
    kinds = [star(name).kind for name in FOURTEEN]
    assert kinds == ["quiescent"] * 8 + ["burster"] * 6
    assert {"4U 1724-307", "omega Cen", "47 Tuc X7"} < set(FOURTEEN)


def test_every_measurement_says_where_it_is_from():
    assert all(one.source and one.method for one in OBSERVED)
    assert all(0.5 < one.mass < 2.5 and (one.radius is None or 7.0 < one.radius < 15.0) for one in OBSERVED)


# Errors on two sides


def test_split_normal_is_a_density_with_its_errors_on_either_side():
    errors = (0.63, 0.95)
    density = lambda x: float(np.exp(split_normal(x, 11.36, errors)))  # noqa: E731
    below, above = quad(density, 5.0, 11.36)[0], quad(density, 11.36, 20.0)[0]
    assert below + above == pytest.approx(1.0, abs=1e-9)
    assert below / above == pytest.approx(0.63 / 0.95)
    assert np.log(density(11.36) / density(11.36 - 0.63)) == pytest.approx(0.5)
    assert np.log(density(11.36) / density(11.36 + 2 * 0.95)) == pytest.approx(2.0)


def test_split_normal_of_equal_errors_is_gaussian():
    expected = -0.5 * 1.5**2 - math.log(0.1 * math.sqrt(2.0 * math.pi))
    assert split_normal([1.55, 1.25], 1.4, (0.1, 0.1)) == pytest.approx([expected] * 2)


def test_likelihood_is_that_of_mass_and_radius_or_of_the_mass_alone():
    both, heavy = star("J0437-4715"), star("J0348+0432")
    assert (both.radius_sd, both.mass_sd) == pytest.approx((0.79, 0.037))
    apart = split_normal(1.4, 1.418, (0.037, 0.037)) + split_normal([11.0, 12.0], 11.36, (0.63, 0.95))
    assert both.log_likelihood(1.4, [11.0, 12.0]) == pytest.approx(apart)
    assert heavy.log_likelihood([1.9, 2.1], [9.0, 15.0]) == pytest.approx(
        split_normal([1.9, 2.1], 2.01, (0.04, 0.04))
    )


# One's own stars


def test_own_stars_are_read(tmp_path):
    file = tmp_path / "stars.toml"
    file.write_text(
        '[[star]]\nname = "A"\nmass = 1.4\nmass_errors = 0.1\nradius = 12\nradius_errors = [0.5, 0.7]\n'
        '[[star]]\nname = "B"\nmass = 2.0\nmass_errors = 0.04\nsource = "mine"\n'
    )
    first, second = read_observations(file)
    assert (first.kind, second.kind) == ("pulse profile", "mass")
    assert first.mass_errors == (0.1, 0.1) and first.radius_errors == (0.5, 0.7)
    assert second.radius is None and second.radius_sd is None and second.source == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has no \[\[star\]\]"),
        ("[[star]]\nmass = 1", "star 1: has no name"),
        ('[[star]]\nname = "A"', "star 1: has no mass"),
        ('[[star]]\nname = "A"\nmass = 1.4', "star A: its mass 1.4 has no error; give mass_errors"),
        ('[[star]]\nname = "A"\nmass = -1.4\nmass_errors = 0.1', "mass -1.4: a positive number"),
        ('[[star]]\nname = "A"\nmass = 1.4\nmass_errors = -0.1', r"mass_errors \(-0.1, -0.1\): a positive"),
        ('[[star]]\nname = "A"\nmass = 1.4\nmass_errors = [0.1]', r"mass_errors \(0.1,\)"),
        ('[[star]]\nname = "A"\nmass = "big"\nmass_errors = 0.1', "mass 'big'"),
        ('[[star]]\nname = "A"\nmass = nan\nmass_errors = 0.1', "mass nan"),
        ('[[star]]\nname = "A"\nmass = 1.4\nmass_errors = 0.1\nradius = 12', "radius 12 has no error"),
        ('[[star]]\nname = "A"\nmass = 1.4\nmass_errors = 0.1\nradius_errors = 1', "no radius"),
        ('[[star]]\nname = "A"\nmass = 1.4\nmass_errors = 0.1\nkind = "guess"', "kind 'guess'"),
        ('[[star]]\nname = "A"\nmass = 1.4\nmass_error = 0.1', "did you mean 'mass_errors'"),
        ('[[star]]\nname = "A"\nmass = 1.4\nmass_errors = 0.1\n' * 2, "star A stands twice"),
        ("star = 3", r"has no \[\[star\]\]"),
        ("star = [3]", "star 1: a table"),
    ],
)
def test_a_star_that_cannot_be_is_refused_in_one_line(tmp_path, text, message):
    file = tmp_path / "stars.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as refusal:
        read_observations(file)
    assert "\n" not in str(refusal.value) and str(file) in str(refusal.value)


# Grids


def gaussian() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    radius, mass = np.linspace(6.0, 18.0, 121), np.linspace(0.4, 2.6, 111)
    density = np.exp(-0.5 * (((radius - 12.0) / 1.2)[:, None] ** 2 + ((mass - 1.5) / 0.2) ** 2))
    return radius, mass, density


def write_grid(folder: Path, layout: str) -> Path:
    radius, mass, density = gaussian()
    if layout == "npz":
        np.savez(folder / "grid.npz", H_a=density, R_a=radius, M_a=mass)
        return folder / "grid.npz"
    if layout == "matrix":
        for what, values in (("pdf", density.T), ("mass", mass), ("rad", radius)):
            np.savetxt(folder / f"grid_{what}.txt", values, header=f"pdf {what}")
        return folder / "grid_pdf.txt"
    columns = [np.repeat(radius, len(mass)), np.tile(mass, len(radius)), density.ravel()]
    rows = np.random.default_rng(0).permutation(np.stack(columns, axis=1))
    np.savetxt(folder / "grid.txt", rows, header="R M Likelihood")
    return folder / "grid.txt"


@pytest.mark.parametrize("layout", ["npz", "matrix", "columns"])
def test_grid_is_a_density_with_its_moments(tmp_path, layout):
    grid = read_grid(write_grid(tmp_path, layout))
    assert grid.moments() == pytest.approx((12.0, 1.2, 1.5, 0.2), rel=1e-5)
    height = -math.log(2.0 * math.pi * 1.2 * 0.2)
    assert grid.log_likelihood(1.5, 12.0) == pytest.approx(height, abs=1e-4)
    off = grid.log_likelihood([1.7, 1.7], [13.2, 13.25])
    assert off == pytest.approx([height - 1.0, height - 0.5 - 0.5 * (1.25 / 1.2) ** 2], abs=3e-3)
    assert (grid.log_likelihood([1.5, 1.5, 0.3, 3.0], [5.9, 18.1, 12.0, 12.0]) == -np.inf).all()
    assert np.isfinite(grid.log_likelihood([0.4, 2.6], [6.0, 18.0])).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no numbers"),
        ("10 1\n11 1", "found 2 columns"),
        ("10 1 1\n11 1 1", "at least two of both"),
        ("10 1 1\n10 2 1\n11 1 1", "each pair is needed once"),
        ("10 1 1\n10 2 1\n11 1 1\n11 1 2", "each pair is needed once"),
        ("10 1 1\n10 2 1\n11 1 -1\n11 2 1", "the density is -1 at 11 km, 1 Msun"),
        ("10 1 0\n10 2 0\n11 1 0\n11 2 0", "somewhere positive"),
        ("10 1 1\n10 2 1\n11 1 inf\n11 2 1", "must be finite"),
        ("-10 1 1\n-10 2 1\n11 1 1\n11 2 1", "radii must be positive"),
        ("10 1 1\n10 2 x", "line 2: found '10 2 x'"),
        ("10 1 1\n10 2", "line 2: found 2 columns"),
    ],
)
def test_no_grid_is_refused_in_one_line(tmp_path, text, message):
    file = tmp_path / "grid.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as refusal:
        read_grid(file)
    assert "\n" not in str(refusal.value) and str(file) in str(refusal.value)


def test_sources_of_an_archive_are_named(tmp_path):
    radius, mass, density = gaussian()
    np.savez(tmp_path / "two.npz", H_a=density, R_a=radius, M_a=mass, H_b=density, R_b=radius, M_b=mass)
    assert read_grid(tmp_path / "two.npz", "b").density.shape == density.shape
    for source, message in (
        (None, "no source was named; there are a, b"),
        ("c", "source 'c'; there are a, b"),
    ):
        with pytest.raises(InputError, match=message):
            read_grid(tmp_path / "two.npz", source)
    with pytest.raises(InputError, match="only npz files have sources"):
        read_grid(write_grid(tmp_path, "columns"), "a")
    np.savez(tmp_path / "part.npz", H_a=density)
    with pytest.raises(InputError, match="cannot be read as a grid"):
        read_grid(tmp_path / "part.npz")
    with pytest.raises(InputError, match="cannot be read"):
        read_grid(tmp_path / "none.txt")


# Contours and samples


def test_contour_of_a_gaussian_gives_it_back(tmp_path):
    angle = np.linspace(0.0, 2.0 * np.pi, 400)
    k = math.sqrt(-2.0 * math.log(1.0 - 0.68))
    corners = np.stack([11.0 + 1.3 * k * np.cos(angle), 1.4 + 0.2 * k * np.sin(angle)], axis=1)
    assert contour_moments(corners, 0.68) == pytest.approx((11.0, 1.3, 1.4, 0.2), rel=1e-3)
    assert contour_moments(corners[::-1], 0.68) == pytest.approx((11.0, 1.3, 1.4, 0.2), rel=1e-3)
    file = tmp_path / "contours.txt"
    np.savetxt(file, np.hstack([corners, np.vstack([corners[:9], np.full((391, 2), np.nan)])]))
    file.write_text("# R_68 M_68 R_2s M_2s\n" + file.read_text())
    found = read_contours(file)
    assert list(found) == pytest.approx([0.68, 0.9545], abs=1e-4)
    assert [len(one) for one in found.values()] == [400, 9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n1 3", "line 1: found '1 2'"),
        ("# R_x M_x\n1 2\n", "contour x has 1 corners"),
        ("# R_x M_x\n1 2\n2 2\n2 3", "line 1: contour 'x'"),
        ("# R_68 M_68\n1 2 3\n", "found 3 columns; line 1 names 2"),
    ],
)
def test_no_contour_is_refused_in_one_line(tmp_path, text, message):
    file = tmp_path / "contours.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_contours(file)


def test_samples_have_names_and_weights(tmp_path):
    np.save(tmp_path / "merger.npy", [[1.2, 0.9, 300.0, 500.0, 1.0], [1.2, 0.8, 200.0, 700.0, 3.0]])
    found = read_samples(tmp_path / "merger.npy")
    assert found.weights == pytest.approx([0.25, 0.75])
    assert found["tidal_2"] == pytest.approx([500.0, 700.0])
    np.savetxt(tmp_path / "stars.txt", [[1.4, 12.0], [1.5, 12.5], [1.3, 11.5]])
    plain = read_samples(tmp_path / "stars.txt", ("mass", "radius"), weighted=False)
    assert plain.weights == pytest.approx([1.0 / 3.0] * 3) and plain["radius"][1] == 12.5


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.4, 12.0]], r"found shape \(1, 2\); rows of 3 columns \(mass, radius, weight\)"),
        ([[1.4, 12.0, 1.0], [1.4, np.nan, 1.0]], "row 2 has a number that is negative or not finite"),
        ([[1.4, 12.0, -1.0]], "row 1 has"),
        ([[1.4, 12.0, 0.0]], "all weights are zero"),
    ],
)
def test_no_samples_are_refused_in_one_line(tmp_path, rows, message):
    np.save(tmp_path / "samples.npy", rows)
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / "samples.npy", ("mass", "radius"))


def test_pickled_samples_are_not_opened(tmp_path):
    np.save(tmp_path / "samples.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read as numbers"):
        read_samples(tmp_path / "samples.npy")


# The files that the table came from


@pytest.fixture
def files(data_folder) -> Path:
    folder = data_folder / "neutron_star_obs"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


def agrees(found: tuple[float, ...], one: Observation, tolerance: float = 0.0055) -> None:
    assert found == pytest.approx((one.radius, one.radius_sd, one.mass, one.mass_sd), abs=tolerance)


@needs_data
@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("1608", "4U 1608-52"),
        ("1731", "KS 1731-260"),
        ("1745", "EXO 1745-248"),
        ("1748", "SAX J1748.9-2021"),
        ("1820", "4U 1820-30"),
        ("1702", "4U 1702-429"),
        ("1724", "4U 1724-307"),
        ("1810", "SAX J1810.8-2609"),
    ],
)
def test_bursters_of_the_table_are_those_of_the_histograms(files, source, name):
    agrees(read_grid(files / "lmxb_mr_histograms_bamr.npz", source).moments(), star(name))


@needs_data
@pytest.mark.parametrize(
    ("file", "name", "atmosphere"),
    [
        (QUIESCENT.format("M13_qLMXB_2018", "hydrogen"), "M13", "hydrogen"),
        (QUIESCENT.format("M13_qLMXB_2018", "helium"), "M13", "helium"),
        ("compare/qLMXB_M30-qLMXB_2020-massradius-helium-1-pdf_pdf.txt", "M30", "helium"),
        ("compare/qLMXB_M30-qLMXB_2020-massradius-hydrogen-1-pdf_pdf.txt", "M30", "hydrogen"),
    ],
)
def test_quiescent_stars_of_the_table_are_those_of_the_grids(files, file, name, atmosphere):
    agrees(read_grid(files / file).moments(), star(name, atmosphere))


@needs_data
@pytest.mark.parametrize(
    ("file", "name", "atmosphere"),
    [
        ("M28_qLMXB_2022", "M28", "hydrogen"),
        ("M28_qLMXB_2022", "M28", "helium"),
        ("NGC6304_qLMXB_2017", "NGC 6304", "hydrogen"),
        ("NGC6397_qLMXB_2014", "NGC 6397", "helium"),
        ("NGC6397_qLMXB_2014", "NGC 6397", "hydrogen"),
        ("NGC5139_qLMXB_2014", "omega Cen", "hydrogen"),
        ("47TucX5_qLMXB_2016", "47 Tuc X5", "hydrogen"),
        ("47TucX7_qLMXB_2016", "47 Tuc X7", "hydrogen"),
        ("47TucX7_qLMXB_2016", "47 Tuc X7", "helium"),
    ],
)
def test_quiescent_stars_of_the_table_are_those_of_the_contours(files, file, name, atmosphere):
    contours = read_contours(files / QUIESCENT.format(file, atmosphere))
    inner = min(contours)
    agrees(contour_moments(contours[inner], inner), star(name, atmosphere))


@needs_data
@pytest.mark.parametrize(
    ("file", "name"),
    [("J0030+0451", "Miller et al. 2019"), ("J0740+6620", "Miller et al. 2021"), ("J0437-4715", "Choudhury")],
)
def test_pulse_profiles_of_the_table_are_the_published_numbers(files, file, name):
    row = next(
        line.split(",")
        for line in (files / f"nicer_{file}.dat").read_text().splitlines()
        if line.strip().startswith("1,")
    )
    radius, above, below, mass, mass_above, mass_below = map(float, row[1:7])
    one = next(star for star in OBSERVED if star.name == file and star.source.startswith(name))
    assert (one.radius, *one.radius_errors) == pytest.approx((radius, below, above), abs=0.0051)
    assert (one.mass, *one.mass_errors) == pytest.approx((mass, mass_below, mass_above), abs=1e-9)


@needs_data
def test_merger_samples_have_the_published_chirp_mass(files):
    found = read_samples(files / "GW170817.npy")
    assert found.weights @ found["chirp_mass"] == pytest.approx(1.187, abs=2e-3)
    assert found["mass_ratio"].max() <= 1.0
    # The lighter star is the more deformable one.
    assert found.weights @ found["tidal_2"] > found.weights @ found["tidal_1"]
