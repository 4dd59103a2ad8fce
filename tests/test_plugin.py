"""A serializer in a distribution of its own: installed, held to the contract, and used where its name is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed it."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--disable-pip-version-check", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(PLUGIN)], check=True, capture_output=True)
    return folder


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=site
    )


def test_it_inherits_the_contract_in_ten_lines_and_passes(site: Path) -> None:
    suite = PLUGIN / "tests/test_contract.py"
    lines = [line for line in suite.read_text().partition("class ")[2].splitlines() if line.strip()]
    assert len(lines) <= 10
    copy = shutil.copy(suite, site)  # apart from the fixtures of this suite
    ran = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(site), str(copy))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
    assert "skipped" not in ran.stdout


def test_what_it_saves_loads_where_its_name_is_allowed_and_only_there(site: Path) -> None:
    ran = run(
        site,
        "-c",
        """
import sys
import modelkeep as mk
from modelkeep.serializers.discovery import installed
assert "thresholds" in [one.name for one in installed()] and "thresholds" not in sys.modules

allowed, other = mk.Registry("registry", trust=["thresholds"]), mk.Registry("registry")
try:
    other.load(other.save(object, "churn", serializer="cloudpickle").ref, trust="thresholds")
except mk.TrustError:
    print("a grant for one serializer is none for another")

from thresholds import Threshold
try:
    other.save(Threshold(0.5), "churn")
except mk.TrustError as error:
    print(error)
assert allowed.save(Threshold(0.5), "churn").serializer == "thresholds"
assert other.save(Threshold(0.7), "churn", serializer="thresholds").number == 3
for name in [name for name in sys.modules if name.startswith("thresholds")]:
    del sys.modules[name]
from modelkeep.serializers import discovery
discovery.forget()
try:
    other.load("churn")
except mk.TrustError as error:
    print(error)
assert "thresholds" not in sys.modules
print(other.load("churn", trust="thresholds").predict([0.6, 0.8]), allowed.load("churn:2").cut)
""",
    )
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    assert said[0] == "a grant for one serializer is none for another"
    assert all("'thresholds' is of thresholds" in line and "trust=['thresholds']" in line for line in said[1:3])
    assert said[3] == "[False, True] 0.5"
