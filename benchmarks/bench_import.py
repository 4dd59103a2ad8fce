"""What `import modelkeep` costs over bare Python, what it loads, and how many distributions a bare install brings."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from _measure import Row, in_turn, machine, table

BARE = "pass"
NUMPY = "import numpy"
CACHE = os.path.join(tempfile.gettempdir(), "modelkeep-bench-bytecode")  # noqa: PTH118  it goes into a variable
PLAIN = "import modelkeep"
DOOR = "from modelkeep import Registry"
TOPS = "import json, sys; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
COUNT = "import importlib.metadata as m; print(*sorted({d.name for d in m.distributions()} - {'pip', 'setuptools'}))"


def run(code: str, python: str = sys.executable) -> str:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": CACHE}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every run would compile what is installed without bytecode
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, env=environment).stdout


def tops(code: str) -> set[str]:
    return set(json.loads(run(f"{code}\n{TOPS}")))


def installed_bare() -> list[str]:
    """The distributions of a fresh environment that holds modelkeep and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        project = str(Path(__file__).parent.parent)
        subprocess.run([python, "-m", "pip", "install", "--quiet", project], check=True, capture_output=True)
        return run(COUNT, python).split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=41)
    parser.add_argument("--install", action="store_true", help="also count what a bare install brings; needs an index")
    options = parser.parse_args()
    print(machine())

    for code in (BARE, PLAIN, DOOR, NUMPY):  # bytecode is compiled once
        run(code)
    bare, plain, door, numpy = in_turn(
        [lambda: run(BARE), lambda: run(PLAIN), lambda: run(DOOR), lambda: run(NUMPY)], options.times
    )
    table("fresh processes, wall", "bare", [
        Row("python -c pass", bare),
        Row(PLAIN, plain, bare),
        Row(DOOR, door, bare),
        Row(NUMPY, numpy, bare),
    ])  # fmt: skip
    table("over the bare Python of the same round", "numpy", [
        Row(PLAIN, over(plain, bare), over(numpy, bare), 0.060),
        Row(DOOR, over(door, bare), over(numpy, bare), 0.060),
    ])  # fmt: skip

    before = tops(BARE)
    for code in (PLAIN, DOOR):
        loaded = sorted(name for name in tops(code) - before if name not in sys.stdlib_module_names)
        print(f"{code} loads: {', '.join(loaded)}")
    if options.install:
        names = installed_bare()
        print(f"a bare install has {len(names)} distributions (limit 10): {', '.join(names)}")


def over(seconds: list[float], bare: list[float]) -> list[float]:
    return [max(0.0, one - base) for one, base in zip(seconds, bare, strict=True)]


if __name__ == "__main__":
    main()
