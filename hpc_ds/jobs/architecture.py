"""For which processors a program was built, as the head of its file says."""

from __future__ import annotations

from pathlib import Path

_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x15: "ppc64le", 0xF3: "riscv64"}
"""e_machine of the ELF specification."""


def architecture(program: Path) -> str | None:
    """Return what ``uname -m`` says where `program` runs, None if that cannot be told."""
    try:
        with program.open("rb") as file:
            head = file.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF" or head[5] != 1:
        return None
    return _MACHINES.get(int.from_bytes(head[18:20], "little"))
