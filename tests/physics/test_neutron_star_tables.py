"""Equations of state from files: layouts, refusals, and published tables against published stars."""

from pathlib import Path

import numpy as np
import pytest

from hpc_ds.physics import neutron_star as ns
from hpc_ds.physics.neutron_star.tables import LAYOUTS
from hpc_ds.physics.neutron_star.units import GRAM_PER_CM3, MEV_PER_FM3
from hpc_ds.runtime.errors import InputError

needs_data = pytest.mark.needs_data


def matter_rows(count: int = 150) -> np.ndarray:
    """Energy density and pressure of H4 in MeV/fm3, (count, 2), up to beyond its heaviest star."""
    e = np.geomspace(1e-7, 1500.0, count)
    return np.stack([e, ns.pressure_at(ns.read_2009("H4"), e)[0]], axis=1)


def in_layout(name: str, rows: np.ndarray) -> np.ndarray:
    """The columns of a file of this layout, those that are not read filled with ones."""
    layout = LAYOUTS[name]
    columns = np.ones((len(rows), layout.columns[-1]))
    columns[:, layout.energy_density] = rows[:, 0] / layout.density_unit
    columns[:, layout.pressure] = rows[:, 1] / layout.pressure_unit
    return columns


def write(path: Path, columns: np.ndarray, head: str = "") -> Path:
    lines = [" ".join(f"{value:.12e}" for value in row) for row in columns]
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_found_out_from_the_pressures(name, tmp_path):
    head = f"{150}\n" if name == "rns" else "# a comment\n\n"
    path = write(tmp_path / "table", in_layout(name, matter_rows()), head)
    found, given = ns.read_table(path), ns.read_table(path, name)
    assert np.array_equal(found.pieces, given.pieces)
    curves, exact = ns.mass_radius_curves(found), ns.mass_radius_curves(ns.read_2009("H4"))
    assert curves.ok[0] and curves.maximum_mass == pytest.approx(exact.maximum_mass, rel=1e-4)
    assert ns.radius_at(curves, [1.4]) == pytest.approx(ns.radius_at(exact, [1.4]), rel=1e-3)


def test_cubics_between_rows_are_nearer_to_smooth_matter_than_lines(tmp_path):
    fit = ns.fitted_sly()
    e = np.geomspace(1e-5, 1900.0, 60)
    path = write(tmp_path / "table", in_layout("mev", np.stack([e, ns.pressure_at(fit, e)[0]], axis=1)))
    exact = ns.mass_radius_curves(fit).maximum_mass
    cubic, linear = (
        abs(ns.mass_radius_curves(ns.read_table(path, interpolation=way)).maximum_mass / exact - 1.0)[0]
        for way in ("cubic", "linear")
    )
    assert cubic < 2e-3 and cubic < 0.5 * linear


def test_smoothed_rows_keep_the_rows_and_the_edges_of_a_transition():
    e, p = matter_rows(60).T
    e[40:] += 100.0
    p[40] = p[39]
    finer, pressure = ns.smooth_rows(e, p)
    assert np.isin(np.round(np.log(e), 9), np.round(np.log(finer), 9)).all()
    assert np.all(np.diff(finer) > 0.0) and np.count_nonzero(np.diff(pressure) == 0.0) == 1


def test_table_of_self_bound_matter_begins_at_its_surface(tmp_path):
    pressure = np.linspace(0.0, 900.0, 100)
    path = write(tmp_path / "quarks", np.stack([pressure, 250.0 + 3.0 * pressure], axis=1))
    read = ns.read_table(path, "mev", interpolation="linear")
    star, exact = (ns.integrate_stars(eos, [0.3]) for eos in (read, ns.self_bound(250.0, 1.0 / 3.0)))
    assert star.mass == pytest.approx(exact.mass, rel=5e-3)
    assert star.tidal == pytest.approx(exact.tidal, rel=2e-2)


def refusal(tmp_path: Path, rows: np.ndarray, **options) -> str:
    path = write(tmp_path / "table", in_layout("mev", rows))
    with pytest.raises(InputError) as error:
        ns.read_table(path, **options)
    message = str(error.value)
    assert message.count("\n") == 0 and message.startswith(str(path))
    return message


def test_falling_table_is_refused_by_its_line_or_read_without_the_row(tmp_path):
    rows = matter_rows()
    rows[100, 1] = 0.5 * rows[99, 1]
    assert "line 101: pressure" in refusal(tmp_path, rows)
    eos = ns.read_table(tmp_path / "table", leave_out_falls=True)
    assert ns.mass_radius_curves(eos).ok[0]
    rows = matter_rows()
    rows[100, 0] = rows[99, 0]
    assert "line 101: energy density" in refusal(tmp_path, rows)


def test_acausal_table_is_refused_unless_allowed(tmp_path):
    rows = matter_rows()
    rows[-1, 1] = rows[-2, 1] + 1.2 * (rows[-1, 0] - rows[-2, 0])
    assert "line 150: the pressure rises 1.2 times" in refusal(tmp_path, rows)
    assert len(ns.read_table(tmp_path / "table", allow_acausal=True)) == 1


def test_negative_pressures_and_short_tables_are_refused(tmp_path):
    rows = matter_rows()
    rows[3, 1] = -1.0
    assert "line 4: energy density and pressure must be positive" in refusal(tmp_path, rows)
    assert "found 9 rows; at least 10" in refusal(tmp_path, matter_rows(9))


def test_unknown_units_are_refused_and_layouts_named(tmp_path):
    rows = matter_rows() * np.array([1.0, 10.0])
    message = refusal(tmp_path, rows)
    assert "unknown units" in message and "lalsimulation" in message
    assert len(ns.read_table(tmp_path / "table", "mev", allow_acausal=True)) == 1
    assert "unknown units" in refusal(tmp_path, matter_rows() * 1e3)  # keV/fm3


SI = (1e3, 0.1)  # kg/m3 and Pa in g/cm3 and dyn/cm2


@pytest.mark.parametrize(
    ("written", "factors", "named", "likely"),
    [
        ("rns", (1.0, 1.0), "mev", "layout 'rns'"),
        ("rns", (1.0, 1.0), "lalsimulation", "layout 'rns'"),
        ("mev", (1.0, 1.0), "rns", "layout 'mev'"),
        ("lalsimulation", (1.0, 1.0), "mev", "layout 'lalsimulation'"),
        ("lalsimulation", (1e6, 1e6), "lalsimulation", "e and p in km-2; convert them"),
        ("rns", SI, "rns", "e/c2 in kg/m3, p in Pa; convert them"),
        ("rns", (1e3, 1.0), "rns", "e/c2 in kg/m3, p in dyn/cm2; convert them"),
        ("rns", (1.0, 1e-12), "rns", "needed are e/c2 (g/cm3), p (dyn/cm2)"),
    ],
)
def test_layout_that_was_named_wrongly_is_refused_with_the_likely_units(
    written, factors, named, likely, tmp_path
):
    columns = in_layout(written, matter_rows() * factors)[:, :2]
    path = write(tmp_path / "table", columns)
    with pytest.raises(InputError, match=r"which no neutron star has") as error:
        ns.read_table(path, named)
    told = str(error.value)
    assert told.startswith(f"{path}: by layout '{named}'") and "\n" not in told
    assert likely in told


def test_tables_of_a_crust_or_to_great_densities_are_read_by_a_named_layout(tmp_path):
    crust = matter_rows()[: np.searchsorted(matter_rows()[:, 0], 0.24)]
    path = write(tmp_path / "crust", in_layout("rns", crust))
    assert len(ns.read_table(path, "rns")) == 1
    e = np.geomspace(1.0, 5e4, 200)  # 9e16 g/cm3
    path = write(tmp_path / "dense", in_layout("mev", np.stack([e, e / 3.0], axis=1)))
    assert len(ns.read_table(path, "mev")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("12\n" + "1 2 3 4\n" * 11, "line 1: found '12' as the number of rows; there are 11"),
        ("1 2\n" * 11 + "1 x\n", "line 12: found '1 x'; numbers are needed"),
        ("1 2\n" * 11 + "1 nan\n", "line 12: found '1 nan'; finite numbers are needed"),
        ("1 2\n" * 11 + "1 2 3\n", "line 12: found 3 columns; the first row has 2"),
        ("", "found 0 rows"),
    ],
)
def test_what_is_no_table_is_refused(text, message, tmp_path):
    (tmp_path / "table").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        ns.read_table(tmp_path / "table")


def test_missing_files_and_unknown_layouts_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        ns.read_table(tmp_path / "nowhere")
    path = write(tmp_path / "table", in_layout("mev", matter_rows()))
    with pytest.raises(InputError, match="layout 'cgs': one of rns"):
        ns.read_table(path, "cgs")
    with pytest.raises(InputError, match="found 3 columns; layout 'lalsimulation' is p"):
        ns.read_table(path, "lalsimulation")


# Published tables


@pytest.fixture
def tables(data_folder) -> Path:
    folder = data_folder / "neutron_star_eos"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


def published_stars(path: Path) -> np.ndarray:
    """Central energy density (MeV/fm3), mass and radius of the stars without rotation, (3, stars)."""
    rows = np.loadtxt(path)
    static = rows[rows[:, 6] == 1.0]
    return np.stack([static[:, 0] * 1e15 / GRAM_PER_CM3 * MEV_PER_FM3, static[:, 1], static[:, 5]])


@needs_data
def test_apr_makes_the_published_stars(tables):
    density, mass, radius = published_stars(tables / "NS_data_eosAPR.txt")
    eos = ns.read_table(tables / "eosAPR", allow_acausal=True)
    stars = ns.integrate_stars(eos, ns.enthalpy_at(eos, density))
    assert stars.mass[0] == pytest.approx(mass, rel=6e-3)
    assert stars.radius[0] == pytest.approx(radius, rel=3e-3)
    curves = ns.mass_radius_curves(eos)
    middle = (mass > 1.0) & (mass < 2.1)
    assert ns.radius_at(curves, mass[middle])[0] == pytest.approx(radius[middle], rel=5e-3)
    assert curves.maximum_mass == pytest.approx([2.225], rel=3e-3)


@needs_data
def test_coarse_table_of_eos_l_makes_the_published_stars_to_three_per_cent(tables):
    density, mass, radius = published_stars(tables / "NS_data_eosL.txt")
    eos = ns.read_table(tables / "eosL")
    stars = ns.integrate_stars(eos, ns.enthalpy_at(eos, density))
    assert stars.mass[0] == pytest.approx(mass, rel=3.1e-2)
    assert stars.radius[0] == pytest.approx(radius, rel=2e-2)
    assert ns.mass_radius_curves(eos).maximum_mass == pytest.approx([2.71], rel=1e-2)


@needs_data
@pytest.mark.parametrize(
    ("file", "options", "maximum", "radius"),
    [
        # Read et al. (2009), table III, of the tables themselves; APR4's radius is that of another table of it
        ("eosFPS", {}, 1.799, 10.850),
        ("eosAU", {"allow_acausal": True}, 2.133, 10.414),
        ("eosUU", {"allow_acausal": True}, 2.198, 11.159),
        ("eosaapr.dat", {"allow_acausal": True}, None, 11.35),
        ("eossly.dat", {"leave_out_falls": True}, None, 11.736),
        ("eossly_original.dat", {"leave_out_falls": True}, None, 11.736),
    ],
)
def test_tables_make_stars_of_known_size(tables, file, options, maximum, radius):
    curves = ns.mass_radius_curves(ns.read_table(tables / file, **options))
    if maximum:
        assert curves.maximum_mass == pytest.approx([maximum], rel=2e-3)
    assert ns.radius_at(curves, [1.4]) == pytest.approx(np.array([[radius]]), rel=4e-3)


@needs_data
def test_sly_table_has_one_row_that_falls(tables):
    with pytest.raises(
        InputError, match=r"eossly\.dat, line 1462: pressure 0\.283464 MeV/fm3 follows 0\.288675"
    ):
        ns.read_table(tables / "eossly.dat")
