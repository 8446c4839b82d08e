"""Stars of a user's own: numbers, grids and samples in a TOML file, published ones by name, and what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest

from hpc_ds.infer.models.neutron_star import (
    EosOptions,
    GaussianStar,
    chosen_stars,
    eos_models,
    log_likelihoods,
    parameter_names,
    prior_share,
    published_stars,
    read_stars,
)
from hpc_ds.infer.models.neutron_star.options import largest_radius, parse_segments
from hpc_ds.infer.models.neutron_star.prior import EosPrior, share_of
from hpc_ds.infer.request import build_request
from hpc_ds.physics.neutron_star.curves import mass_radius_curves
from hpc_ds.physics.neutron_star.families import sly_below
from hpc_ds.runtime.errors import InputError

NUMBERS = 'name = "A"\nmass = 1.4\nmass_errors = 0.1\nradius = 12.0\nradius_errors = 0.5\n'
THETA = np.random.default_rng(0).uniform(0.02, 0.98, (40, 5))


def write(folder: Path, *stars: str) -> Path:
    file = folder / "stars.toml"
    file.write_text("".join(f"[[star]]\n{star}\n" for star in stars))
    return file


def gaussian_grid(folder: Path, name: str = "grid.txt") -> Path:
    """The density of the star of `NUMBERS` at 141 x 161 points."""
    radius, mass = np.linspace(8.5, 15.5, 141), np.linspace(0.8, 2.0, 161)
    r, m = np.meshgrid(radius, mass, indexing="ij")
    density = np.exp(-0.5 * (((r - 12.0) / 0.5) ** 2 + ((m - 1.4) / 0.1) ** 2))
    np.savetxt(folder / name, np.column_stack([r.ravel(), m.ravel(), density.ravel()]))
    return folder / name


def gaussian_samples(folder: Path, count: int = 20_000) -> Path:
    rng = np.random.default_rng(1)
    rows = [rng.uniform(size=count), -rng.uniform(size=count), rng.normal(1.4, 0.1, count)]
    np.savetxt(folder / "samples.txt", np.column_stack([*rows, rng.normal(12.0, 0.5, count)]), delimiter=",")
    return folder / "samples.txt"


def of(stars) -> np.ndarray:
    (model,) = eos_models([star.likelihood for star in stars], [5], least_maximum_mass=0.0)
    return log_likelihoods(model, THETA)


# ---- one star, told in three ways ------------------------------------------------------------------------------


def test_a_grid_of_a_gaussian_is_that_gaussian(tmp_path):
    gaussian_grid(tmp_path)
    grid = of(read_stars(write(tmp_path, 'name = "A"\ngrid = "grid.txt"')))
    numbers = of(read_stars(write(tmp_path, NUMBERS)))
    near = numbers > numbers.max() - 8.0
    assert near.sum() >= 3
    assert grid[near] == pytest.approx(numbers[near], abs=0.02)


def test_samples_of_a_gaussian_are_that_gaussian(tmp_path):
    gaussian_samples(tmp_path)
    table = 'name = "A"\nsamples = "samples.txt"\ncolumns = ["-", "-", "mass", "radius"]'
    samples, numbers = of(read_stars(write(tmp_path, table))), of(read_stars(write(tmp_path, NUMBERS)))
    near = numbers > numbers.max() - 2.0
    assert samples[near] == pytest.approx(numbers[near], abs=0.1)


def test_weights_may_stand_in_any_column_or_behind_the_others(tmp_path):
    rng = np.random.default_rng(2)
    mass, radius, weight = rng.normal(1.4, 0.1, 500), rng.normal(12.0, 0.5, 500), rng.uniform(size=500)
    np.savetxt(tmp_path / "first.txt", np.column_stack([weight, mass, radius]))
    np.savetxt(tmp_path / "last.txt", np.column_stack([mass, radius, weight]))
    first, last = read_stars(
        write(
            tmp_path,
            'name = "A"\nsamples = "first.txt"\ncolumns = ["weight", "mass", "radius"]',
            'name = "B"\nsamples = "last.txt"\nweighted = true',
        )
    )
    assert np.array_equal(first.likelihood.likelihood, last.likelihood.likelihood)
    assert first.describe()["mass"] == pytest.approx(np.average(mass, weights=weight), abs=1e-3)


def test_a_correlation_makes_a_correlated_gaussian(tmp_path):
    (star,) = read_stars(write(tmp_path, NUMBERS + "correlation = 0.7"))
    assert star.likelihood == GaussianStar("A", 1.4, 0.1, 12.0, 0.5, 0.7)
    (zero,) = read_stars(write(tmp_path, NUMBERS + "correlation = 0.0"))
    assert of([zero]) == pytest.approx(of(read_stars(write(tmp_path, NUMBERS))))


def test_stars_say_what_they_are(tmp_path):
    gaussian_grid(tmp_path)
    first, second, third = read_stars(
        write(
            tmp_path,
            NUMBERS + 'source = "here"',
            'name = "B"\ngrid = "grid.txt"\nkind = "burster"',
            'name = "C"\nmass = 2.0\nmass_errors = [0.1, 0.2]',
        )
    )
    told = first.describe()
    assert (told["mass"], told["radius_errors"], told["source"]) == (1.4, [0.5, 0.5], "here")
    assert (first.form, second.form, second.kind) == ("errors", "grid", "burster")
    told = second.describe()
    assert [told["radius"], *told["radius_errors"]] == pytest.approx([12.0, 0.5, 0.5], abs=1e-3)
    told = third.describe()
    assert (told["kind"], told["radius"], told["radius_errors"]) == ("mass", None, None)
    assert not third.has_radius and second.has_radius


def test_paths_are_relative_to_the_toml_file(tmp_path, monkeypatch):
    gaussian_grid(tmp_path)
    monkeypatch.chdir("/")
    assert len(read_stars(write(tmp_path, 'name = "A"\ngrid = "grid.txt"'))) == 1


def test_published_stars_are_chosen_by_kind_and_name():
    stars = published_stars(["pulse profile", "mass"])
    assert [star.name for star in chosen_stars(stars, ["J0740+6620", "J0030+0451"])] == [
        "J0030+0451",
        "J0740+6620",
    ]
    assert chosen_stars(stars, []) == stars
    with pytest.raises(InputError, match=r"--stars 'J0740': did you mean 'J0740\+6620'\?"):
        chosen_stars(stars, ["J0740"])


# ---- options and what they leave ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"), [("5", (5,)), ("3:5,7,5", (3, 4, 5, 7)), ([3, 5], (3, 5)), (4, (4,))]
)
def test_segments_are_read(text, found):
    assert parse_segments(text) == found


@pytest.mark.parametrize("causal", [False, True])
def test_equations_of_state_that_meet_the_cuts_are_those_with_a_likelihood(causal):
    options = EosOptions((5,), causal=causal, least_maximum_mass=2.2)
    (model,) = options.models(published_stars(["pulse profile"]))
    prior = model.finish.args[0]
    eos = prior.eos(THETA)
    met = prior.meets_cuts(eos, mass_radius_curves(eos))
    assert np.array_equal(met, np.isfinite(log_likelihoods(model, THETA)))
    assert 0 < met.sum() < len(THETA)
    share, error = share_of(prior.sample(1000)[2])
    other, its_error = prior_share(model, 1000)
    assert abs(share - other) < 4.0 * math.hypot(error, its_error)


def test_presentation_has_bands_of_the_prior_and_numbers_for_the_summary():
    options = EosOptions((3,))
    (model,) = options.models(published_stars(["mass"]))
    draws = np.random.default_rng(0).uniform(0.02, 0.98, (1, 300, 3))
    shown = model.finish({name: draws[..., i] for i, name in enumerate(parameter_names(3))})
    band = shown.groups["mass_radius"]["prior_radius"][1]
    posterior = shown.groups["mass_radius"]["radius"][1]
    at = 32  # 1.4 solar masses
    assert shown.groups["mass_radius"]["mass"][1][at] == pytest.approx(1.4)
    assert np.diff(band[:, at]).min() > 0.0
    assert posterior[2, at] == pytest.approx(band[2, at], abs=0.5)  # these draws are of the prior
    assert shown.facts["information_gain"] == pytest.approx([0.0] * 3, abs=0.1)
    assert abs(shown.facts["prior_share"] - 0.94) < 5.0 * shown.facts["prior_share_error"]


def test_cut_and_pulsars_that_count_twice_are_told():
    request = build_request("neutron-star", "observed", {"kinds": "mass", "segments": "3"})
    assert len(request.warnings) == 1 and "J0348+0432, J0740+6620, J1614-2230" in request.warnings[0]
    request = build_request(
        "neutron-star", "observed", {"kinds": "mass", "segments": "3", "least_maximum_mass": 0}
    )
    assert request.warnings == []
    request = build_request("neutron-star", "observed", {"kinds": "burster", "segments": "3"})
    assert request.warnings == []


def test_a_changed_grid_is_another_run(tmp_path):
    path = gaussian_grid(tmp_path)
    file = write(tmp_path, 'name = "A"\ngrid = "grid.txt"')
    first = build_request("neutron-star", str(file), {"segments": "3"})
    rows = np.loadtxt(path)
    rows[11_000, 2] *= 1.01
    np.savetxt(path, rows)
    second = build_request("neutron-star", str(file), {"segments": "3"})
    assert first.config["data"]["sha256"] != second.config["data"]["sha256"]
    del first.config["data"], second.config["data"]
    assert first.config == second.config


# ---- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (NUMBERS.replace("mass_errors", "mass_error"), "did you mean 'mass_errors'"),
        (NUMBERS.replace("radius_errors = 0.5\n", ""), "radius 12 has no error; give radius_errors"),
        (NUMBERS + 'grid = "grid.txt"', "'mass' does not go with its grid"),
        (NUMBERS + "weighted = true", "'weighted' does not go with numbers with errors"),
        (NUMBERS + "correlation = 1.0", "correlation 1.0: between -1 and 1"),
        (NUMBERS + 'correlation = "big"', "correlation 'big': a number between"),
        (NUMBERS.replace("= 0.1", "= [0.1, 0.2]") + "correlation = 0.5", "one error each"),
        (NUMBERS.replace("= 0.1", "= 1e-7"), "error 1e-07: a standard deviation of at least 0.0001"),
        ('name = "A"\nmass = 2.0\nmass_errors = 0.1\ncorrelation = 0.5', "needs a mass and a radius"),
        ('name = "A"\ngrid = "grid.txt"\nkind = "bursts"', "kind 'bursts': did you mean 'burster'"),
        ('name = "A"\ngrid = "nowhere.txt"', r"nowhere\.txt: cannot be read \(No such file"),
        ('name = "A"\ngrid = 3', "grid = 3: the name of a file"),
        ('name = "A"\ngrid = "grid.txt"\ngrid_source = "a"', "only npz files have sources"),
        ('name = "A"\nsamples = "nowhere.txt"', r"nowhere\.txt: cannot be read"),
        ('name = "A"\nsamples = "s"\ncolumns = ["mass"]', r"columns \['mass'\]: radius is needed once"),
        ('name = "A"\nsamples = "s"\ncolumns = ["mass", "radii"]', "'radii': did you mean 'radius'"),
        ('name = "A"\nsamples = "s"\ncolumns = "mass"', "columns = 'mass': a list"),
        ('name = "A"\nsamples = "s"\nweighted = 1', "weighted = 1: true or false"),
        (
            'name = "A"\nsamples = "s"\nweighted = true\ncolumns = ["mass", "radius", "weight"]',
            "name the weight already",
        ),
        ('name = ""', "name '': a text"),
        ("name = 3", "name 3: a text"),
    ],
)
def test_a_star_that_cannot_be_is_refused_in_one_line(tmp_path, table, said):
    gaussian_grid(tmp_path)
    file = write(tmp_path, table)
    with pytest.raises(InputError, match=said) as refusal:
        read_stars(file)
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith(f"{file}, star 1: ")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ((None, None, "nan"), "must be finite"),
        ((None, None, "inf"), "must be finite"),
        ((None, None, "-1"), "the density is -1 at 8.5 km, 0.83 Msun"),
        ((None, "0.9375", None), "each pair is needed once"),
        ((None, None, ""), "line 5: found 2 columns"),
        (("eight", None, None), "line 5: found 'eight .*numbers are needed"),
    ],
)
def test_a_grid_that_is_none_is_refused_in_one_line(tmp_path, cells, said):
    lines = gaussian_grid(tmp_path).read_text().splitlines()
    lines[4] = " ".join(old if new is None else new for old, new in zip(lines[4].split(), cells, strict=True))
    (tmp_path / "grid.txt").write_text("\n".join(lines))
    with pytest.raises(InputError, match=said) as refusal:
        read_stars(write(tmp_path, 'name = "A"\ngrid = "grid.txt"'))
    assert "\n" not in str(refusal.value) and "star 1" in str(refusal.value)


def test_columns_that_were_mistaken_are_noticed(tmp_path):
    gaussian_samples(tmp_path, 300)
    file = write(tmp_path, 'name = "A"\nsamples = "samples.txt"\ncolumns = ["radius", "-", "mass", "-"]')
    with pytest.raises(InputError, match=r"'A': its radii -?0\.\d+ to 1\.\d+ lie outside"):
        EosOptions((3,)).models(read_stars(file))
    file = write(tmp_path, 'name = "A"\nsamples = "samples.txt"\ncolumns = ["-", "-", "radius", "mass"]')
    with pytest.raises(InputError, match=r"'A': its masses .* lie outside"):
        EosOptions((3,)).models(read_stars(file))


RADII = {
    "metres": ("radius = 12000.0\nradius_errors = 100.0", "radius 12000 .- 100 lies"),
    "metres, split errors": ("radius = 12000\nradius_errors = [500, 700]", "radius 12000 .- 500 lies"),
    "metres, correlated": (
        "radius = 12000\nradius_errors = 100\ncorrelation = 0.5",
        "radius 12000 .- 100 lies",
    ),
    "metres, hardly measured": ("radius = 12000\nradius_errors = 3000", "radius 12000 .- 3000 lies"),
    "thousands of km": ("radius = 0.012\nradius_errors = [0.002, 0.001]", "radius 0.012 .- 0.001 lies"),
}


@pytest.mark.parametrize(("numbers", "said"), RADII.values(), ids=RADII)
def test_radius_that_no_equation_of_state_gives_is_refused(tmp_path, numbers, said):
    file = write(tmp_path, f'name = "A"\nmass = 1.4\nmass_errors = 0.1\n{numbers}')
    with pytest.raises(InputError, match=rf"'A': {said} outside .* 3\.32 to 16\.1 km; km are needed$"):
        EosOptions((3,)).models(read_stars(file))


def test_samples_in_metres_are_refused(tmp_path):
    rng = np.random.default_rng(2)
    np.savetxt(
        tmp_path / "s.txt", np.stack([rng.normal(1.4, 0.1, 300), rng.normal(12e3, 900.0, 300)], axis=1)
    )
    file = write(tmp_path, 'name = "A"\nsamples = "s.txt"')
    with pytest.raises(InputError, match=r"'A': its radii \d+.* to 1\d+.* lie outside .* km; km are needed$"):
        EosOptions((3,)).models(read_stars(file))


@pytest.mark.parametrize(
    "numbers", ["radius = 7.0\nradius_errors = 0.1", "radius = 22.0\nradius_errors = [2.0, 9.0]"]
)
def test_odd_radius_that_some_equation_of_state_may_give_is_taken(tmp_path, numbers):
    file = write(tmp_path, f'name = "A"\nmass = 1.4\nmass_errors = 0.1\n{numbers}')
    assert len(EosOptions((3,)).models(read_stars(file))) == 1


def test_every_published_star_is_taken():
    assert len(EosOptions((1, 5)).models(published_stars())) == 2


def test_no_drawn_star_is_larger_than_those_of_the_stiffest_matter():
    for segments in (1, 3, 20):
        prior = EosPrior(segments, 0.02, 8.0, sly_below(), 0.0, False)
        curves = prior.sample(300)[1]
        assert curves.radius[curves.mass >= 1.0].max() <= largest_radius(prior)


def test_cuts_that_leave_nothing_are_refused():
    stars = published_stars(["burster"])
    with pytest.raises(InputError, match=r"--least-maximum-mass 3\.9: none of 400 .* 5 segments .* lower"):
        EosOptions((5,), least_maximum_mass=3.9).models(stars)
    with pytest.raises(
        InputError, match=r"least_maximum_mass 4\.5: with 5 segments maximum masses are below"
    ):
        EosOptions((5,), least_maximum_mass=4.5).models(stars)


# ---- published likelihoods ------------------------------------------------------------------------------------

QUIESCENT = "compare/qLMXB_{}.txt"


@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("grid", "source", "radius", "mass"),
    [
        *((("lmxb_mr_histograms_bamr.npz", name, *numbers)) for name, numbers in {
            "1608": (9.76, 1.89), "1702": (11.73, 1.50), "1724": (10.89, 1.43), "1731": (9.09, 1.60),
            "1745": (8.74, 1.50), "1748": (9.67, 1.66), "1810": (10.97, 1.44), "1820": (8.81, 1.80),
        }.items()),
        (QUIESCENT.format("M13_qLMXB_2018_massradius_helium_1"), None, 12.965, 1.908),
        (QUIESCENT.format("M13_qLMXB_2018_massradius_hydrogen_1"), None, 12.35, 1.46),
        (QUIESCENT.format("M30-qLMXB_2020-massradius-helium-1-pdf_pdf"), None, 10.67, 1.10),
        (QUIESCENT.format("M30-qLMXB_2020-massradius-hydrogen-1-pdf_pdf"), None, 7.79, 0.82),
    ],
)  # fmt: skip
def test_published_grids_are_stars_of_the_table(data_folder, tmp_path, grid, source, radius, mass):
    path = data_folder / "neutron_star_obs" / grid
    if not path.exists():
        pytest.skip(f"needs {path}")
    named = f'\ngrid_source = "{source}"' if source else ""
    stars = read_stars(write(tmp_path, f'name = "X"\ngrid = "{path}"{named}'))
    told = stars[0].describe()
    assert (told["radius"], told["mass"]) == pytest.approx((radius, mass), abs=0.0051)
    (model,) = EosOptions((5,)).models(stars)
    found = log_likelihoods(model, THETA)
    assert not np.isnan(found).any() and (np.isfinite(found).any() or radius < 8.0)


@pytest.mark.needs_data
def test_published_contours_are_no_grids(data_folder, tmp_path):
    for name in ("47TucX5_qLMXB_2016_massradius_hydrogen_1", "NGC6397_qLMXB_2014_massradius_helium_1"):
        path = data_folder / "neutron_star_obs" / QUIESCENT.format(name)
        if not path.exists():
            pytest.skip(f"needs {path}")
        with pytest.raises(InputError, match="a contour is no grid"):
            read_stars(write(tmp_path, f'name = "X"\ngrid = "{path}"'))
