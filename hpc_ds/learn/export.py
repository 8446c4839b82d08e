"""Write a trained network in a form that other programs run: torch.export's, or ONNX."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from hpc_ds.learn.prediction import card_of, load_run, unfinished
from hpc_ds.learn.prediction_file import check_free
from hpc_ds.learn.predictor import Predictor
from hpc_ds.learn.uncertainty import Ensemble
from hpc_ds.runtime import atomic
from hpc_ds.runtime.errors import InputError

Format = Literal["torch-export", "onnx"]

_SUFFIXES: dict[str, Format] = {".pt2": "torch-export", ".onnx": "onnx"}
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""How far the exported network may be from the original, relative to its largest value."""
_BATCHES = (1, 3, 5)
"""Sizes at which an exported network is tried; it was traced at another one."""
_TRACED = 2


def export_network(
    run: str | os.PathLike[str],
    path: str | os.PathLike[str],
    format: Format | None = None,
    *,
    tell: Callable[[str], None] | None = None,
) -> Path:
    r"""Write the network of a training, with its normalisation, for any number of samples at once.

    What is written takes ``inputs`` (n, \*input_shape) in physical units and gives ``prediction`` (n, \*target_shape)
    in physical units, or ``probability`` (n, classes), and then ``spread`` where the network or an ensemble has one. It
    is read back, run and compared with the original before the file has its name.

    Parameters
    ----------
    run : str or Path
        As of `hpc_ds.learn.prediction.predict`.
    path : str or Path
        The file to be.
    format : {"torch-export", "onnx"}, optional
        By default as the file's name ends: ``.pt2`` or ``.onnx``. The second needs the packages onnx and onnxscript,
        and is run by onnxruntime where that is installed.
    tell : callable, optional
        Told in a line of a training that is not done; by default prints on stderr.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        No such network, an unknown format, a package that is missing, or a network that cannot be exported so.
    StorageError
        The disk refuses.
    """
    target, kind = Path(path), _format(Path(path), format)
    check_free(target)
    network = load_run(run)
    doubt = unfinished(run)
    if doubt:
        (tell or _print)(f"warning: {doubt}")
    module = _Plain(network).eval()
    write, reread = {"torch-export": (_torch_export, _reread), "onnx": (_onnx, _onnx_session)}[kind]
    try:
        with _quietly():
            data = write(module, _inputs(network, _TRACED))
            again = reread(data)
    except InputError:
        raise
    except Exception as error:  # what tracing meets has as many types as networks have operators
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{run}: this network cannot be written as {kind} ({reason})") from error
    if again is not None:
        _compare(module, again, network, kind)
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(target, data)
    return target


class _Plain(nn.Module):
    """A network that gives a tuple of tensors."""

    def __init__(self, network: Predictor | Ensemble) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            self.outputs = len(self(_inputs(network, 1)))

    @property
    def names(self) -> list[str]:
        """Names of what it gives."""
        first = "probability" if card_of(self.network).task == "classify" else "prediction"
        return [first, "spread"][: self.outputs]

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return prediction and, where there is one, spread."""
        values, spread = self.network.with_spread(inputs)
        return (values,) if spread is None else (values, spread)


def _format(path: Path, format: str | None) -> Format:
    if format is None:
        if path.suffix not in _SUFFIXES:
            raise InputError(f"{path}: unknown format; give a name that ends in .pt2 or .onnx")
        return _SUFFIXES[path.suffix]
    if format not in get_args(Format):
        raise InputError(f"format '{format}': unknown; there are {', '.join(get_args(Format))}")
    return format  # type: ignore[return-value]


def _print(line: str) -> None:
    print(f"hpc-ds: {line}", file=sys.stderr, flush=True)


def _inputs(network: Predictor | Ensemble, count: int) -> Tensor:
    """Return inputs such as the network was trained on."""
    first: Any = network.members[0] if isinstance(network, Ensemble) else network
    shape = (count, *first.card.input_shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    if not len(first.input.mean):
        return noise.to(first.dtype)
    return first.input.inverse(noise).to(first.dtype)


# torch.export


def _torch_export(module: _Plain, inputs: Tensor) -> bytes:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module, (inputs,), dynamic_shapes={"inputs": {0: batch}}, strict=False)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _reread(data: bytes) -> Callable[[Tensor], tuple[Tensor, ...]]:
    module = torch.export.load(io.BytesIO(data)).module()
    return lambda inputs: module(inputs)


# ONNX


def _onnx(module: _Plain, inputs: Tensor) -> bytes:
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"ONNX needs the package{'s' if len(missing) > 1 else ''} {' and '.join(missing)}: "
            f"pip install {' '.join(missing)}; .pt2 works without"
        )
    if "dynamic_shapes" not in inspect.signature(torch.onnx.export).parameters:
        raise InputError(f"ONNX needs torch 2.6, this is {torch.__version__}; .pt2 works with it")
    buffer = io.BytesIO()
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        module,
        (inputs,),
        input_names=["inputs"],
        output_names=module.names,
        dynamic_shapes={"inputs": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(buffer)
    return buffer.getvalue()


def _onnx_session(data: bytes) -> Callable[[Tensor], tuple[Tensor, ...]] | None:
    """Return how onnxruntime runs it; None where that is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(inputs: Tensor) -> tuple[Tensor, ...]:
        found = session.run(None, {"inputs": inputs.numpy()})
        return tuple(torch.from_numpy(np.asarray(one)) for one in found)

    return run


# Both


def _compare(
    module: _Plain,
    again: Callable[[Tensor], tuple[Tensor, ...]],
    network: Predictor | Ensemble,
    kind: str,
) -> None:
    """Refuse an exported network that says something else than the original."""
    for count in _BATCHES:
        inputs = _inputs(network, count)
        with torch.no_grad():
            pairs = zip(module(inputs), again(inputs), strict=True)
        for expected, found in pairs:
            apart = float((expected - found).abs().max() / expected.abs().max().clamp(min=1e-30))
            if not apart <= _TOLERANCE.get(expected.dtype, 1e-4):
                raise InputError(
                    f"{card_of(network).reference}: written as {kind} it gives other values ({apart:.1e} apart at "
                    f"{count} samples); nothing is written"
                )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what torch says while it traces from the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
