"""The static scan: every opcode of a pickle is followed before the first is run; nothing is imported.

It is the machine of `pickle` over objects of which only the kind is known. What it cannot follow it refuses. The order
of the opcodes, the frames, the stack and the memo are here; what names may do is in `calls` and `states`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType

import attrs

from modelkeep.digest import Buffer
from modelkeep.pickles.machine import Machine
from modelkeep.pickles.names import Name
from modelkeep.pickles.opcodes import HANDLERS, OPCODES, REFUSED
from modelkeep.pickles.rules import refuse

_PROTOCOLS = (3, 4, 5)
_PROTO, _FRAME, _STOP = 0x80, 0x95, 0x2E


@attrs.frozen
class Scanned:
    """What a scan saw."""

    protocol: int
    opcodes: int
    names: tuple[Name, ...]
    memory: int  # bytes beyond the pickle's own that building it takes, at most


def scan(raw: Buffer, buffers: int | Sequence[Buffer] = ()) -> Scanned:
    """Follow the pickle *raw* to its end; *buffers* are those that lie apart, or their number.

    Runs nothing, imports nothing, and takes about half a microsecond per opcode.

    Raises:
        TrustError: a rule refuses it; ``rule`` and ``what`` say which, and what was found.

    Example:
        >>> import pickle
        >>> scan(pickle.dumps({"a": [1, 2]}, 5)).names
        ()
    """
    view = bytes(raw) if not isinstance(raw, bytes) else raw
    sizes = [None] * buffers if isinstance(buffers, int) else [memoryview(buffer).nbytes for buffer in buffers]
    if len(view) < 2 or view[0] != _PROTO or view[1] not in _PROTOCOLS:  # noqa: PLR2004
        refuse("protocol", f"it does not begin as protocols 3 to 5 do, but with {view[:2]!r}")
    machine = Machine(view, sizes)
    count = _follow(machine, [_bound(machine, code) for code in range(256)])
    machine.finish()
    return Scanned(view[1] if len(view) > 1 else 0, count, tuple(machine.used.values()), machine.memory)


def _bound(machine: Machine, code: int) -> Callable[[int], int]:
    handler = HANDLERS.get(code)
    if handler is not None:
        return MethodType(handler, machine)
    return lambda at: _unknown(code, at)


def _unknown(code: int, at: int) -> int:
    name = OPCODES.get(code, f"{code:#04x}")
    why = REFUSED.get(name, "protocols 3 to 5 do not use it")
    refuse("opcode", f"opcode {name} at byte {at - 1} ({why})", opcode=name, at=at - 1)
    return at


def _follow(machine: Machine, steps: list[Callable[[int], int]]) -> int:
    """Run the loop, frame by frame; give back the number of opcodes."""
    raw, end = machine.raw, len(machine.raw)
    at, limit, count, framed = 2, end, 1, False
    while True:
        while at < limit:
            code = raw[at]
            if code == _FRAME or code == _STOP:  # noqa: PLR1714, SIM109  half as long as `in`, at every opcode
                break
            count += 1
            at = steps[code](at + 1)
        else:
            if not framed:
                refuse("stop", f"it ends at byte {end} without STOP")
                return count
            if at != limit:
                refuse("frame-cut", f"the opcode that ends at byte {at} lies across the end of its frame at {limit}")
            limit, framed = end, False
            continue
        count += 1
        if code == _STOP:
            _stopped(at, limit if framed else at + 1, end)
            return count
        if framed:
            refuse("frame-in-frame", f"a frame begins at byte {at}, inside another one")
        limit, framed = _frame(machine, at + 1, end), True
        at += 9


def _frame(machine: Machine, at: int, end: int) -> int:
    size = int.from_bytes(machine.take(at, 8), "little")
    if size > end - at - 8:
        refuse(
            "frame-past-end",
            f"the frame at byte {at - 1} is to be {size} bytes long, of which {end - at - 8} are there",
        )
        return end
    return at + 8 + size


def _stopped(at: int, limit: int, end: int) -> None:
    if at + 1 != end:
        refuse("behind", f"{end - at - 1} bytes stand behind its end", bytes=end - at - 1)
    elif at + 1 != limit:
        refuse("frame-cut", f"it ends at byte {at + 1}, before its frame does")
