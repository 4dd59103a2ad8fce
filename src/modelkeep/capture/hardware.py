"""What the process runs on: processor, memory, limits of its control group, graphics processors.

No framework is imported, and none is made to start its device: a process that has begun to use CUDA can no longer fork.
So torch is asked only where it has begun already; else the driver's own files are read, and ``nvidia-smi`` is called,
with a time-out, only where there are none.
"""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

_TIMEOUT = 2.0  # seconds; nvidia-smi hangs where a driver does
_MAX_GPUS = 1024
_MAX_READ = 64 << 10  # bytes
_UNLIMITED = 1 << 60  # bytes; control groups of version 1 write no limit as 2^63 less a page
_DRIVER = re.compile(r"Kernel Module.*?\s([0-9]+\.[0-9]+(?:\.[0-9]+)?)\s")


def captured() -> dict[str, Any]:
    """What this process runs on, for `modelkeep.machine.Hardware`; what stays the same is looked up once."""
    unknown: list[str] = []
    found = {**_machine(), **_limits(), "usable": _usable(), **_gpus(unknown), "unknown": unknown}
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def peak_memory() -> int | None:
    """The most memory that this process ever held, in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@lru_cache(maxsize=1)
def _machine() -> dict[str, Any]:
    described = _processor()
    return {
        "cpu": described.get("name", ""),
        "cpus": os.cpu_count(),
        "cores": described.get("cores"),
        "memory": _memory(),
    }


def _processor() -> dict[str, Any]:
    if sys.platform == "darwin":
        answer = _answer("sysctl", "-n", "machdep.cpu.brand_string", "hw.physicalcpu").splitlines()
        return {"name": answer[0][:200], "cores": int(answer[1])} if len(answer) == 2 else {}  # noqa: PLR2004
    first = _text("/proc/cpuinfo", 4096).partition("\n\n")[0]  # all of it takes long where there are many processors
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    if not said.get("model name"):
        import platform

        return {"name": (said.get("Model") or platform.processor() or platform.machine())[:200]}
    return {"name": said["model name"][:200], "cores": _cores(said)}


def _cores(said: dict[str, str]) -> int | None:
    """Physical processors of the machine, from how many of one socket are siblings."""
    try:
        return (os.cpu_count() or 1) * int(said["cpu cores"]) // int(said["siblings"]) or None
    except (KeyError, ValueError, ZeroDivisionError):
        return None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _usable() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _limits() -> dict[str, Any]:
    """The tightest limits of the control groups that the process is in (version 2, else 1)."""
    groups = _groups()
    memory = [_number(_text(f"{group}/memory.max")) for group in groups]
    memory.append(_number(_text("/sys/fs/cgroup/memory/memory.limit_in_bytes")))
    times = [_quota(_text(f"{group}/cpu.max")) for group in groups]
    old = f"{_text('/sys/fs/cgroup/cpu/cpu.cfs_quota_us')} {_text('/sys/fs/cgroup/cpu/cpu.cfs_period_us')}"
    times.append(_quota(old))
    return {
        "memory_limit": min((one for one in memory if one is not None and one < _UNLIMITED), default=None),
        "cpu_limit": min((one for one in times if one is not None), default=None),
    }


def _groups() -> list[str]:
    for line in _text("/proc/self/cgroup").splitlines():
        if line.startswith("0::/"):
            parts = [part for part in line[4:].split("/") if part and part != ".."][:20]
            return ["/".join(["/sys/fs/cgroup", *parts[:depth]]) for depth in range(len(parts) + 1)]
    return []


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _quota(text: str) -> float | None:
    quota, period = [*map(_number, text.split()), None, None][:2]
    return round(quota / period, 3) if quota and period else None


def _gpus(unknown: list[str]) -> dict[str, Any]:
    try:
        from_torch = _from_torch()
    except Exception as error:  # noqa: BLE001  a driver may fail in any way, and no training with it
        unknown.append(f"torch does not tell its devices: {type(error).__name__}")
        from_torch = None
    driver = _text("/proc/driver/nvidia/version")
    version = found[1] if (found := _DRIVER.search(driver)) else ""
    return {"gpus": from_torch or _from_driver() or _from_program(unknown, there=bool(driver)), "driver": version}


def _from_torch() -> list[dict[str, Any]] | None:
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    devices = (cuda.get_device_properties(index) for index in range(min(cuda.device_count(), _MAX_GPUS)))
    return [{"name": str(one.name)[:200], "memory": int(one.total_memory)} for one in devices]


def _from_driver() -> list[dict[str, Any]]:
    found = []
    try:
        folders = sorted(path.name for path in Path("/proc/driver/nvidia/gpus").iterdir())[:_MAX_GPUS]
    except OSError:
        return []
    for folder in folders:
        model = re.search(r"^Model:\s*(.+)$", _text(f"/proc/driver/nvidia/gpus/{folder}/information"), re.MULTILINE)
        if model:
            found.append({"name": model[1].strip()[:200]})
    return found


@lru_cache(maxsize=2)
def _asked_program() -> tuple[list[dict[str, Any]], str]:
    import shutil

    if shutil.which("nvidia-smi") is None:
        return [], ""
    answer = _answer("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
    rows = [line.rpartition(",") for line in answer.splitlines()[:_MAX_GPUS]]
    found = [{"name": name.strip()[:200], "memory": mebibytes << 20} for name, _, text in rows
             if name and (mebibytes := _number(text)) is not None]  # fmt: skip
    return found, "" if found else f"nvidia-smi told nothing within {_TIMEOUT:g} seconds"


def _from_program(unknown: list[str], *, there: bool) -> list[dict[str, Any]]:
    found, reason = ([], "") if there else _asked_program()
    if reason:
        unknown.append(reason)
    return found


def _answer(*command: str) -> str:
    import subprocess

    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:_MAX_READ].decode(errors="replace")


def _text(path: str, most: int = _MAX_READ) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(most).decode(errors="replace")
    except OSError:
        return ""
