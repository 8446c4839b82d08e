"""What torch is doing with a network besides computing it: fused functions must then step aside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

_ASKS_BY_DEVICE = hasattr(torch, "get_autocast_dtype")  # from torch 2.4 on


def is_traced() -> bool:
    """Whether torch writes down a program (torch.export, torch.compile, torch.jit, ONNX) instead of computing."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()


def is_transformed() -> bool:
    """Whether torch.func's transforms or forward-mode derivatives are at work."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def is_autocast(x: Tensor) -> bool:
    """Whether autocast chooses the precision of matrix products on the device of x."""
    if _ASKS_BY_DEVICE:
        return torch.is_autocast_enabled(x.device.type)
    return torch.is_autocast_cpu_enabled() if x.device.type == "cpu" else torch.is_autocast_enabled()
