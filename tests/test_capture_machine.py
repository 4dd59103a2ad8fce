"""What is told of the machine, of seeds and of CI: as the system and the frameworks tell it, and no secret of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkeep.capture import ci, hardware, seeds
from modelkeep.machine import Hardware
from modelkeep.session import Seeds, Session

SECRET = "s3cret-Zx81qQ"
COMMIT = "a" * 40


# -- machine ---------------------------------------------------------------------------------------------------------


def test_the_machine_is_told_as_the_system_tells_it() -> None:
    found = Hardware.from_json(hardware.captured())
    assert found.cpus == os.cpu_count()
    assert found.cpu
    if hasattr(os, "sched_getaffinity"):
        assert found.usable == len(os.sched_getaffinity(0))
        assert found.memory == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    held = hardware.peak_memory()
    assert held is not None
    assert 1 << 20 < held < (found.memory or 1 << 50)


def test_peak_memory_is_in_bytes() -> None:
    code = "from modelkeep.capture.hardware import peak_memory; x = b'x' * (64 << 20); print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # a process begins with the peak of the one that started it
    assert 64 << 20 < int(done.stdout) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("text", "said"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("-1 100000", None), ("x y", None)]
)
def test_a_quota_of_time_is_in_processors(text: str, said: float | None) -> None:
    assert hardware._quota(text) == said


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for a program that calls itself nvidia-smi: none of these machines need have a real one."""
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a driver, so the program is not asked")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    hardware._asked_program.cache_clear()
    yield tmp_path / "nvidia-smi"
    hardware._asked_program.cache_clear()


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_without_the_files_of_a_driver_its_program_is_asked(program: Path) -> None:
    write_program(program, 'echo "NVIDIA H100 80GB HBM3, 81559"; echo "Odd, name, 100"; echo broken')
    found = hardware.captured()
    assert found["gpus"] == [
        {"name": "NVIDIA H100 80GB HBM3", "memory": 81559 << 20},
        {"name": "Odd, name", "memory": 100 << 20},
    ]
    assert len(Hardware.from_json(found).gpus) == 2


@pytest.mark.parametrize("text", ["exec sleep 60", "exit 9", "echo nonsense"])
def test_a_program_that_hangs_or_fails_costs_seconds_and_is_said(
    program: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_TIMEOUT", 0.3)
    write_program(program, text)
    found = hardware.captured()
    assert "gpus" not in found
    assert found["unknown"] == ["nvidia-smi told nothing within 0.3 seconds"]


# -- seeds -----------------------------------------------------------------------------------------------------------


def told(code: str) -> dict[str, Any]:
    """What a fresh process tells after *code*, from which it imports nothing more."""
    code += "\nimport sys\nfrom modelkeep.capture import seeds\nbefore = set(sys.modules)\n"
    code += "found = seeds.captured()\nimport json\n"
    code += "assert not {'numpy', 'torch', 'jax'} & (set(sys.modules) - before); print(json.dumps(found))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    Seeds.from_json(found)
    return found


def test_equal_states_have_equal_digests_and_looking_draws_nothing() -> None:
    state = random.getstate()
    first = seeds.captured()["states"]["random"]
    assert random.getstate() == state
    random.random()
    assert seeds.captured()["states"]["random"] != first
    random.setstate(state)
    assert seeds.captured()["states"]["random"] == first


def test_nothing_is_told_of_what_is_not_loaded() -> None:
    assert set(told("pass")["states"]) == {"random"}


def test_the_seed_of_numpy_is_told_while_it_can_be_proved() -> None:
    numpy = pytest.importorskip("numpy")

    def initial() -> dict[str, int]:
        found: dict[str, int] = seeds.captured().get("initial", {})
        return found

    state = numpy.random.get_state()
    try:
        for seed in (0, 42, 2**32 - 1):
            numpy.random.seed(seed)
            assert initial()["numpy"] == seed
        numpy.random.random()
        assert "numpy" not in initial()
        numpy.random.seed(7)
        numpy.random.bytes(624 * 4)  # all of a round is drawn: the position is as at the beginning
        assert numpy.random.get_state()[2] == 624
        assert "numpy" not in initial()
        numpy.random.seed([1, 2])
        assert "numpy" not in initial()
        first = seeds.captured()["states"]["numpy"]
        numpy.random.normal()
        assert seeds.captured()["states"]["numpy"] != first
    finally:
        numpy.random.set_state(state)
    assert "initial" not in told("import numpy.random")


def test_seed_state_and_flags_of_torch_are_told() -> None:
    code = "import torch; torch.manual_seed({seed}); torch.use_deterministic_algorithms({flag})\n"
    code += "torch.backends.cudnn.benchmark = {flag}; {more}"
    first = told(code.format(seed=2**64 - 1, flag=True, more="pass"))
    other = told(code.format(seed=7, flag=False, more="torch.rand(1); torch.manual_seed(2**64 - 1); torch.rand(1)"))
    assert first["initial"]["torch"] == other["initial"]["torch"] == str(2**64 - 1)
    assert first["states"]["torch"] != other["states"]["torch"]
    for name in ("torch.deterministic_algorithms", "cudnn.benchmark"):
        assert (first["flags"][name], other["flags"][name]) == (True, False)


def test_flags_of_jax_are_told() -> None:
    pytest.importorskip("jax")
    flags = told("import jax; jax.config.update('jax_enable_x64', True)")["flags"]
    assert flags["jax.enable_x64"] is True
    assert flags["jax.default_prng_impl"]


def test_how_python_hashes_is_told_as_it_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, str] = {}
    for seed in ("0", "1", "1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        flags = told("pass")["flags"]
        assert flags["python.hash_randomization"] is (seed != "0")
        assert found.setdefault(seed, flags["python.hash"]) == flags["python.hash"]
    assert len(set(found.values())) == 3


def test_a_framework_that_is_half_loaded_is_said_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    monkeypatch.setitem(sys.modules, "jax", types.ModuleType("jax"))
    assert "jax: AttributeError" in seeds.captured()["unknown"]


# -- CI --------------------------------------------------------------------------------------------------------------

RUNS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "github": (
        {
            "GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/ml",
            "GITHUB_RUN_ID": "77", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_SHA": COMMIT, "GITHUB_REF": "refs/heads/main",
            "GITHUB_ACTOR": "dependabot[bot]", "GITHUB_TOKEN": SECRET, "ACTIONS_RUNTIME_TOKEN": SECRET,
        },
        {
            "provider": "github", "repository": "acme/ml", "run": "77", "attempt": "2", "commit": COMMIT,
            "ref": "refs/heads/main", "actor": "dependabot[bot]",
            "url": "https://github.com/acme/ml/actions/runs/77/attempts/2",
        },
    ),
    "gitlab": (
        {
            "GITLAB_CI": "true", "CI_SERVER_URL": f"https://ada:{SECRET}@git.acme.org", "CI_PROJECT_PATH": "a/b/ml",
            "CI_PIPELINE_ID": "5", "CI_JOB_ID": "6", "CI_JOB_NAME": "train: [a, b]", "CI_JOB_TOKEN": SECRET,
            "CI_REPOSITORY_URL": f"https://gitlab-ci-token:{SECRET}@git.acme.org/a/b/ml.git",
        },
        {
            "provider": "gitlab", "repository": "a/b/ml", "run": "5", "job": "train: [a, b]", "job_id": "6",
            "url": "https://git.acme.org/a/b/ml/-/jobs/6",
        },
    ),
    "jenkins": (
        {
            "JENKINS_URL": "https://ci.acme.org/", "BUILD_URL": f"https://ada:{SECRET}@ci.acme.org/job/ml/12/",
            "JOB_NAME": "ml", "BUILD_NUMBER": "12", "GIT_URL": f"https://ada:{SECRET}@git.acme.org/ml.git",
        },
        {"provider": "jenkins", "job": "ml", "number": "12", "url": "https://ci.acme.org/job/ml/12/"},
    ),
    "odd values": (
        {
            "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": f"7 {SECRET}", "GITHUB_REPOSITORY": "../a b",
            "GITHUB_SHA": SECRET, "GITHUB_REF": f"x\n{SECRET}", "GITHUB_SERVER_URL": "javascript:x",
        },
        {"provider": "github"},
    ),
    "none": ({"CI": "true", "GITHUB_RUN_ID": "7", "HOME": "/root"}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("environ", "expected"), RUNS.values(), ids=list(RUNS))
def test_a_run_is_told_by_the_public_variables_and_by_no_other(
    environ: dict[str, str], expected: dict[str, str]
) -> None:
    found = ci.captured(environ)
    assert found == expected
    assert SECRET not in repr(found)
    assert Session.from_json({"began": "2026-03-01", "ci": found}).ci == found
