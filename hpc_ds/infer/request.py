"""From what a user asks for, by flags or a TOML file, to models: everything is checked before work starts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpc_ds.infer.model import Model, load_models, models_of
from hpc_ds.infer.models import BUILT_IN
from hpc_ds.infer.priors import Prior, parse
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.plugins import plugin
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.user_code import source_hash

if TYPE_CHECKING:
    from hpc_ds.infer.models.neutron_star import Star

SPECTRUM_KEYS = ("peaks", "shape", "background", "noise", "priors", "prior")
LINEAR_KEYS = ("terms", "noise", "prior")
NEUTRON_STAR_KEYS = (
    "segments",
    "delta",
    "least_maximum_mass",
    "causal",
    "density_ratio",
    "stars",
    "kinds",
)
KEYS = {"spectrum": SPECTRUM_KEYS, "linear": LINEAR_KEYS, "neutron-star": NEUTRON_STAR_KEYS}

PUBLISHED = "observed"
"""The DATA of neutron-star that means the package's own table of published stars."""


@dataclass(frozen=True)
class Request:
    """Models to sample, and what the run folder must know of where they come from."""

    models: list[Model]
    config: dict[str, Any]
    """What makes a run another one: model, options, a hash of the data."""
    extra: dict[str, Any]
    """Entries for the summary."""
    warnings: list[str] = field(default_factory=list)


def build_request(model: str, data: str | None, options: Mapping[str, Any]) -> Request:
    """Return the models that `model` and `options` describe.

    Parameters
    ----------
    model : str
        A built-in name or ``path/to/file.py:name``.
    data : str or None
        File of measurements; a model of the user's own may do without.
    options : mapping
        What was set, by flag or file: one of `KEYS` of a built-in model, nothing for the user's own.

    Raises
    ------
    InputError
        One line naming what is wrong.
    """
    given = {
        key: value for key, value in options.items() if value is not None and value != [] and value != {}
    }
    if model not in BUILT_IN:
        return _own(model, data, given)
    if data is None:
        published = f", or '{PUBLISHED}'" if model == "neutron-star" else ""
        raise InputError(f"hpc-ds infer {model}: a data file is needed{published}")
    _only(given, KEYS[model], model)
    return _BUILDERS[model](data, given)


def keys_of(model: str) -> tuple[str, ...]:
    """Return the options that a model has beside those of the sampler."""
    return KEYS.get(model, ())


def parse_overrides(values: Sequence[str] | Mapping[str, str]) -> dict[str, Prior]:
    """Read ``name=prior`` texts, or a table of them, as priors by parameter."""
    pairs: dict[str, str] = {}
    if isinstance(values, Mapping):
        pairs.update(values)
    else:
        for text in values:
            name, equals, prior = str(text).partition("=")
            if not equals:
                raise InputError(f"--prior '{text}': write name=prior, such as 'position=normal(1.5, 0.447)'")
            pairs[name.strip()] = prior.strip()
    return {name: parse(str(prior)) for name, prior in pairs.items()}


def parse_noise(value: Any) -> str | float:
    """Read a noise option: a number as float, a word as it is."""
    try:
        return float(value)
    except ValueError:
        return str(value).strip().lower()


def _only(given: Mapping[str, Any], known: Sequence[str], model: str) -> None:
    for key in given:
        if key not in known:
            listed = ", ".join("--" + name.replace("_", "-") for name in known) or "none"
            raise InputError(f"--{key.replace('_', '-')}: no option of model {model}; it has {listed}")


def _spectrum(data: str, given: Mapping[str, Any]) -> Request:
    from hpc_ds.infer.models import spectrum
    from hpc_ds.store.table import read_xy

    options = spectrum.SpectrumOptions(
        peaks=spectrum.parse_peaks(given.get("peaks", "1:6")),
        shape=str(given.get("shape", "gaussian")).lower().replace("_", "-"),
        background=str(given.get("background", "none")).lower(),
        noise=parse_noise(given.get("noise", "auto")),
        priors=str(given.get("priors", "scaled")).lower(),
        overrides=parse_overrides(given.get("prior", {})),
    )
    table = read_xy(data)
    models = spectrum.spectrum_models(table, options)
    config = {
        "model": "spectrum",
        "peaks": list(options.peaks),
        "shape": options.shape,
        "background": options.background,
        "noise": options.noise,
        "priors": options.priors,
        "prior": {name: str(prior) for name, prior in options.overrides.items()},
        "data": {"path": data, "sha256": _hash(table.x, table.y, table.sigma)},
    }
    extra = {
        "model": "spectrum",
        "data": {"path": data, "n": int(table.x.size), "x_name": table.x_name, "y_name": table.y_name},
    }
    return Request(models, config, extra, spectrum.warnings_for(table, models))


def _linear(data: str, given: Mapping[str, Any]) -> Request:
    from hpc_ds.infer.models import linear

    terms = given.get("terms", linear.DEFAULT_TERMS)
    terms = [terms] if isinstance(terms, str) else list(terms)
    noise, priors = parse_noise(given.get("noise", "auto")), parse_overrides(given.get("prior", {}))
    seen = linear.read_observations(data, terms)
    models = linear.linear_models(seen, terms, noise, priors)
    config = {
        "model": "linear",
        "terms": [model.name for model in models],
        "noise": noise,
        "prior": {name: str(prior) for name, prior in priors.items()},
        "data": {"path": data, "sha256": _hash(*seen.columns.values())},
    }
    extra = {
        "model": "linear",
        "data": {"path": data, "n": int(seen.y.size), "x_name": seen.x_name, "y_name": seen.y_name},
        "closed_form": linear.closed_form(models).to_dict(),
    }
    return Request(models, config, extra, linear.warnings_for(seen, models))


def _neutron_star(data: str, given: Mapping[str, Any]) -> Request:
    from hpc_ds.infer.models import neutron_star as ns
    from hpc_ds.infer.models.neutron_star.observations import encode

    options = ns.EosOptions.read(given)
    stars = _stars(data, _words(given.get("stars", ())), _words(given.get("kinds", ())))
    models = options.models(stars)
    config = {
        "model": "neutron-star",
        **options.to_dict(),
        "stars": [star.name for star in stars],
        "data": {"path": data, "sha256": _hash(encode([star.likelihood for star in stars], 0))},
    }
    extra = {
        "model": "neutron-star",
        "data": {"path": data, "n": len(stars)},
        "options": options.to_dict(),
        "observations": [star.describe() for star in stars],
    }
    return Request(models, config, extra, options.warnings(stars))


def _stars(data: str, names: Sequence[str], kinds: Sequence[str]) -> list[Star]:
    """Return the stars that were asked for: published ones, or those of a file."""
    from hpc_ds.infer.models import neutron_star as ns

    if data != PUBLISHED:
        if kinds:
            raise InputError(
                f"--kinds: of the published stars ('{PUBLISHED}') only; choose those of {data} by --stars"
            )
        return ns.chosen_stars(ns.read_stars(data), names)
    for kind in kinds:
        if kind not in ns.KINDS:
            raise InputError(f"--kinds '{kind}': {unknown(kind, ns.KINDS)}")
    return ns.chosen_stars(ns.published_stars(kinds or ns.KINDS), names)


def _words(value: Any) -> list[str]:
    """Read ``a, b`` or a list of texts."""
    parts = value.split(",") if isinstance(value, str) else [str(part) for part in value]
    return [part.strip() for part in parts if part.strip()]


_BUILDERS: dict[str, Callable[[str, Mapping[str, Any]], Request]] = {
    "spectrum": _spectrum,
    "linear": _linear,
    "neutron-star": _neutron_star,
}


def _own(model: str, data: str | None, given: Mapping[str, Any]) -> Request:
    offered = None if ":" in model else plugin("infer", model)
    if ":" not in model and offered is None:
        raise InputError(f"model '{model}': {unknown(model, BUILT_IN)}, or give path/to/file.py:name")
    _only(given, (), model)
    columns = None
    described: dict[str, Any] = {}
    if data is not None:
        from hpc_ds.store.table import read_columns

        names, columns = read_columns(data)
        described = {"path": data, "n": int(columns.shape[1]), "columns": list(names)}
    models = load_models(model, columns) if offered is None else models_of(offered, model, columns)
    config = {
        "model": model,
        "source": None if offered is not None else source_hash(model.rpartition(":")[0]),
        "data": {"path": data, "sha256": _hash(columns)},
    }
    return Request(models, config, {"model": model, "data": described})


def _hash(*arrays: Any) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(array.tobytes())
    return digest.hexdigest()
