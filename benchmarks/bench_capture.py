"""What it costs to look at the environment: in fresh processes, with what scikit-learn and torch load, CPU time."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile

from _measure import Row, machine, table

CACHE = os.path.join(tempfile.gettempdir(), "modelkeep-bench-bytecode")  # noqa: PTH118  it goes into a variable
LOADED = {"nothing": "pass", "scikit-learn": "import sklearn.ensemble", "torch": "import torch"}
MEASURE = """
import json, sys, time
import modelkeep.registry
{loaded}
sys.path[0] = {folder!r}
clock, seconds = time.process_time, {{}}
def timed(what, work):
    start = clock()
    given = work()
    seconds[what] = clock() - start
    return given
def look():
    from modelkeep.capture import environment
    return environment
environment = timed("import", look)
found = timed("cold", environment.captured)
start = clock()
for _ in range(20):
    environment.captured()
seconds["warm"] = (clock() - start) / 20
from modelkeep.capture import ci, hardware, seeds
timed("hardware", hardware.captured)
timed("seeds", seeds.captured)
timed("ci", ci.captured)
import importlib.metadata
timed("versions by importlib.metadata", lambda: [(one.name, one.version) for one in importlib.metadata.distributions()])
timed("packages_distributions", importlib.metadata.packages_distributions)
seconds["distributions"], seconds["found"] = len(found["distributions"]), len(found["loaded"])
print(json.dumps(seconds))
"""


def measured(loaded: str) -> dict[str, float]:
    code = MEASURE.format(loaded=loaded, folder=os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    surroundings = {**os.environ, "PYTHONPYCACHEPREFIX": CACHE}
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)  # else every run would compile what is installed without bytecode
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=surroundings)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15)
    options = parser.parse_args()
    print(machine())
    for name, loaded in LOADED.items():
        measured(loaded)  # byte code is compiled once
        runs = [measured(loaded) for _ in range(options.times)]
        each = {what: [run[what] for run in runs] for what in runs[0]}
        first = [one + other for one, other in zip(each["import"], each["cold"], strict=True)]
        peer = each["versions by importlib.metadata"]
        title = (
            f"{name} loaded: {runs[0]['distributions']:.0f} distributions, {runs[0]['found']:.0f} of them loaded; CPU"
        )
        table(title, "importlib.metadata", [
            Row("environment, first time, with the import", first, peer, 0.020),
            Row("environment, first time", each["cold"], peer, 0.020),
            Row("environment, again", each["warm"], peer),
            Row("hardware", each["hardware"], peer),
            Row("seeds", each["seeds"], peer),
            Row("ci", each["ci"], peer),
            Row("importlib.metadata: names and versions", peer),
            Row("importlib.metadata: packages_distributions", each["packages_distributions"], peer),
        ])  # fmt: skip


if __name__ == "__main__":
    main()
