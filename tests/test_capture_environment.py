"""What is told of what is installed and loaded here, and of locks; however odd the folders are."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.capture import distributions, environment, loaded, locks
from modelkeep.capture.addresses import without_credentials
from modelkeep.digest import digest
from modelkeep.environment import Environment
from modelkeep.releasenumbers import normalized

SECRET = "s3cret-Zx81qQ"


def installed(site: Path, name: str, version: str, *, direct: object = None, files: str = "") -> Path:
    """Fabricate a distribution's metadata folder."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    if files:
        (folder / "RECORD").write_text(files)
    if direct is not None:
        raw = direct if isinstance(direct, bytes) else json.dumps(direct).encode()
        (folder / "direct_url.json").write_bytes(raw)
    return folder


def found_in(*path: Path) -> dict[str, str]:
    return {name: one.version for name, one in distributions.scan([str(one) for one in path]).found.items()}


# -- distributions ---------------------------------------------------------------------------------------------------


def test_all_that_is_installed_here_is_found_as_importlib_finds_it() -> None:
    expected: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        expected.setdefault(normalized(one.metadata["Name"]), one.version)
    assert environment.captured()["distributions"] == dict(sorted(expected.items()))


def test_what_is_loaded_is_told_as_importlib_tells_it() -> None:
    code = (
        "import json, yaml, dateutil, PIL, attr, sklearn, google.auth; from modelkeep.capture import environment as e\n"
    )
    code += "import sys, importlib.metadata as m; from modelkeep.releasenumbers import normalized as n\n"
    code += "found = e.captured()['loaded']; owners = m.packages_distributions()\n"
    code += "tops = {x.partition('.')[0] for x in sys.modules} - sys.stdlib_module_names\n"
    code += "print(json.dumps([found, sorted({n(d) for t in tops if t[0] != '_' for d in owners.get(t, ())})]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, expected = json.loads(done.stdout)
    assert {"pyyaml", "python-dateutil", "pillow", "attrs", "scikit-learn", "numpy", "google-auth"} <= set(found)
    # all that share a namespace count there, and here only the one that is loaded; modelkeep may be run from elsewhere
    namespaces = {
        name for name in expected if name.startswith(("google", "grpc-google", "protobuf", "backports", "gcp"))
    }
    assert set(found) - {"modelkeep", "google-auth", "backports-zstd"} == set(expected) - namespaces - {"modelkeep"}


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("Odd_Name.x-1.0.dist-info", {"odd-name-x": "1.0"}),
        ("torch-2.13.0+cpu.dist-info", {"torch": "2.13.0+cpu"}),
        ("alpha-1!2.0rc1.dist-info", {"alpha": "1!2.0rc1"}),
        ("alpha-1.0-py3.11.egg-info", {"alpha": "1.0"}),
        ("alpha-1.0-py3.11-linux-x86_64.egg-info", {"alpha": "1.0"}),
        ("~lpha-1.0.dist-info", {}),
        (".dist-info", {}),
        ("-.dist-info", {}),
        ("alpha.dist-info", {}),
        ("alpha-.dist-info", {}),
        ("alpha-1.0; rm -rf.dist-info", {}),
        ("álpha-1.0.dist-info", {}),
        ("alpha-1.0.dist-info.bak", {}),
    ],
)
def test_the_name_of_a_folder_tells_name_and_version_or_is_left_out(
    tmp_path: Path, folder: str, found: dict[str, str]
) -> None:
    (tmp_path / folder).mkdir()
    assert found_in(tmp_path) == found


def test_a_folder_name_that_is_no_text_is_left_out_and_said(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe-1.0.dist-info")).mkdir()
    except OSError:
        pytest.skip("this file system takes only names that are text")
    installed(tmp_path, "alpha", "1.0")
    site = distributions.scan([str(tmp_path)])
    assert list(site.found) == ["alpha"]
    assert len(site.unknown) == 1
    json.dumps(site.unknown).encode()


def test_thousands_of_distributions_are_found(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"dist_{number}-{number}.0.dist-info").mkdir()
    found = found_in(tmp_path)
    assert len(found) == 3000
    assert found["dist-2999"] == "2999.0"


def test_the_first_on_the_path_counts(tmp_path: Path) -> None:
    installed(tmp_path / "a", "alpha", "1.0")
    installed(tmp_path / "b", "Alpha", "2.0")
    assert found_in(tmp_path / "a", tmp_path / "b") == {"alpha": "1.0"}
    assert found_in(tmp_path / "b", tmp_path / "nowhere", tmp_path / "a") == {"alpha": "2.0"}


def test_of_two_in_one_folder_the_one_with_metadata_counts_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "alpha-2.0.dist-info").mkdir()
    installed(tmp_path, "alpha", "1.0")
    site = distributions.scan([str(tmp_path)])
    assert site.found["alpha"].version == "1.0"
    assert site.unknown == ["alpha has two metadata folders in one folder"]


def test_what_develop_leaves_beside_the_source_is_editable(tmp_path: Path) -> None:
    (tmp_path / "ourlib.egg-info").mkdir()
    (tmp_path / "ourlib.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: ourlib\nVersion: 0.3\n")
    site = distributions.scan([str(tmp_path)])
    assert site.found["ourlib"].version == "0.3"
    assert site.direct == {"ourlib": {"kind": "editable"}}


COMMIT = "a" * 40
GIT = {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"}
DIRECT: list[tuple[object, dict[str, str]]] = [
    ({"url": "file:///home/a", "dir_info": {"editable": True}}, {"kind": "editable", "url": "file:///home/a"}),
    ({"url": "file:///home/a", "dir_info": {}}, {"kind": "folder", "url": "file:///home/a"}),
    (
        {"url": f"https://ada:{SECRET}@x.org/a.git", "vcs_info": GIT},
        {"kind": "vcs", "url": "https://x.org/a.git", "vcs": "git", "commit": COMMIT},
    ),
    (
        {"url": "ssh://git@x.org/a.git", "vcs_info": GIT},
        {"kind": "vcs", "url": "ssh://git@x.org/a.git", "vcs": "git", "commit": COMMIT},
    ),
    (
        {"url": f"https://x.org/a.whl?token={SECRET}", "archive_info": {"hashes": {"sha256": "0" * 64}}},
        {"kind": "archive", "url": "https://x.org/a.whl", "sha256": "0" * 64},
    ),
    ({"url": f"https://ada:{SECRET}/x@x.org/a", "archive_info": {}}, {"kind": "archive"}),
    ({"url": f"https:{SECRET}@x.org/a", "archive_info": {}}, {"kind": "archive"}),
    ({"url": 7, "vcs_info": {"vcs": "git", "commit_id": "-x"}}, {"kind": "vcs", "vcs": "git"}),
    ({"url": "https://x.org/a", "vcs_info": {"vcs": "evil"}}, {"kind": "unknown", "url": "https://x.org/a"}),
    ([], {"kind": "unknown"}),
    (b"{", {"kind": "unknown"}),
    (b"", {"kind": "unknown"}),
    (b'{"url": "https://x.org/\xff\xfe"}', {"kind": "unknown"}),
    (b"[" * 60_000, {"kind": "unknown"}),
    (b" " * (70 << 10) + b"{}", {"kind": "unknown"}),
]


@pytest.mark.parametrize(("direct", "kept"), DIRECT)
def test_where_a_distribution_is_from_is_kept_without_what_is_secret(
    tmp_path: Path, direct: object, kept: dict[str, str]
) -> None:
    installed(tmp_path, "alpha", "1.0", direct=direct)
    site = distributions.scan([str(tmp_path)])
    assert site.direct == {"alpha": kept}
    assert SECRET not in repr(site)
    Environment.from_json({"python": "3.11.7", "distributions": {"alpha": "1.0"}, "sources": site.direct})


USERS = st.text("abc:@/?#%[]\\ é", max_size=6)
SCHEMES = st.sampled_from(["https://", "git+https://", "ssh://", "git+ssh://", "http:", "https:/", "HTTPS://", ""])
TAILS = st.sampled_from(["x.org/a", "x.org:80/a.git", "x.org", "[::1]/a", "x.org/a?b=c#d"])


@given(SCHEMES, USERS, USERS, TAILS)
def test_no_part_of_a_password_is_in_an_address_that_is_shown(scheme: str, before: str, after: str, tail: str) -> None:
    shown = without_credentials(f"{scheme}ada:{before}{SECRET}{after}@{tail}")
    assert shown is None or SECRET not in shown


@given(st.text(max_size=60) | st.text("htps:/@.?#[]a1", max_size=40))
def test_any_text_as_an_address_gives_one_that_stays_as_it_is_or_none(text: str) -> None:
    shown = without_credentials(text)
    assert shown is None or without_credentials(shown) == shown


# -- which are loaded ------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; what is imported from it is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def module(site: Path, path: str, text: str = "") -> str:
    file = site / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return path


def loaded_here() -> set[str]:
    importlib.invalidate_caches()
    return set(environment.captured()["loaded"])


def test_a_module_is_of_the_distribution_that_lists_it(site: Path) -> None:
    installed(site, "zz-learn", "1.0", files=module(site, "zzl/__init__.py") + ",,\n")
    installed(site, "zz_other", "1.0", files="zzlx/__init__.py,,\n" + module(site, "zzmod.py") + ",sha256=x,0\n")
    installed(site, "zz_compiled", "1.0", files="zzc.cpython-311-x86_64-linux-gnu.so,,\n")
    for name in ("zzl", "zzmod"):
        assert not {"zz-learn", "zz-other"} <= loaded_here()
        importlib.import_module(name)
    assert {"zz-learn", "zz-other"} <= loaded_here()
    assert "zz-compiled" not in loaded_here()


def test_a_module_of_the_same_name_from_elsewhere_is_not_the_distribution(site: Path, tmp_path: Path) -> None:
    installed(site, "zzsame", "1.0")
    module(tmp_path / "own", "zzsame.py")
    sys.path.insert(0, str(tmp_path / "own"))
    try:
        importlib.import_module("zzsame")
        assert "zzsame" not in loaded_here()
    finally:
        sys.path.remove(str(tmp_path / "own"))


def test_of_a_namespace_only_the_part_that_is_loaded_counts(site: Path) -> None:
    for part in ("one", "two"):
        installed(site, f"zzspace-{part}x", "1.0", files=module(site, f"zzspace/{part}/__init__.py") + ",,\n")
    importlib.import_module("zzspace.two")
    assert {name for name in loaded_here() if name.startswith("zzspace")} == {"zzspace-twox"}


def test_an_editable_one_is_loaded_from_the_folder_of_its_source(site: Path, tmp_path: Path) -> None:
    source = tmp_path / "my source"
    module(source / "src", "zzedit/__init__.py")
    installed(site, "zzedit", "1.0", direct={"url": source.as_uri(), "dir_info": {"editable": True}})
    sys.path.append(str(source / "src"))
    try:
        importlib.import_module("zzedit")
        assert "zzedit" in loaded_here()
    finally:
        sys.path.remove(str(source / "src"))


def test_modules_that_are_odd_are_passed_over_and_lazy_ones_stay_unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Touchy:
        def __getattribute__(self, name: str) -> Any:
            raise SystemError(f"somebody asked for {name}")

    monkeypatch.setitem(sys.modules, "zztouchy", Touchy())
    monkeypatch.setitem(sys.modules, "zznone", None)
    monkeypatch.setitem(sys.modules, "zznumber", 7)
    assert not {root.module for root in loaded.roots()} & {"zztouchy", "zznone", "zznumber"}
    assert "unknown" not in environment.captured()


# -- again -----------------------------------------------------------------------------------------------------------


def test_what_a_notebook_installs_or_removes_shows(site: Path) -> None:
    assert "zznew" not in environment.captured()["distributions"]
    folder = installed(site, "zznew", "1.0")
    assert environment.captured()["distributions"]["zznew"] == "1.0"
    folder.rename(site / "zznew-2.0.dist-info")
    assert environment.captured()["distributions"]["zznew"] == "2.0"


def test_folders_that_did_not_change_are_not_looked_through_again(tmp_path: Path) -> None:
    installed(tmp_path, "alpha", "1.0")
    os.utime(tmp_path, (1, 1))
    first = distributions.scan([str(tmp_path)])
    assert distributions.scan([str(tmp_path)], first.folders).folders[str(tmp_path)] is first.folders[str(tmp_path)]
    installed(tmp_path, "beta", "1.0")
    assert set(distributions.scan([str(tmp_path)], first.folders).found) == {"alpha", "beta"}


def test_a_folder_that_changed_a_moment_ago_is_looked_through_again_whatever_its_time_says(tmp_path: Path) -> None:
    installed(tmp_path, "alpha", "1.0")
    first = distributions.scan([str(tmp_path)])
    changed = tmp_path.stat().st_mtime_ns
    installed(tmp_path, "beta", "1.0")
    os.utime(tmp_path, ns=(changed, changed))  # as where clocks of file systems are coarse
    assert set(distributions.scan([str(tmp_path)], first.folders).found) == {"alpha", "beta"}


def test_what_is_replaced_after_it_was_loaded_is_told_in_the_version_that_runs(tmp_path: Path) -> None:
    if loaded.process_start() is None:
        pytest.skip("this system does not tell when a process began")
    folder = installed(tmp_path, "zzrun", "1.0")
    module(tmp_path, "zzrun.py", "__version__ = '1.0'")
    code = "import sys, time, os, json; sys.path.insert(0, sys.argv[1]); import zzrun\n"
    code += "from modelkeep.capture import environment as e\n"
    code += (
        "newer = sys.argv[2].replace('1.0', '2.0'); time.sleep(0.1); os.rename(sys.argv[2], newer); os.utime(newer)\n"
    )
    code += "found = e.captured(); print(json.dumps([found['distributions']['zzrun'], found['unknown']]))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path, folder], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["1.0", ["zzrun 2.0 was installed after 1.0 was loaded"]]


def test_a_careless_version_in_a_module_is_not_believed(site: Path) -> None:
    os.utime(installed(site, "zzwrong", "1.0"), (1, 1))
    module(site, "zzwrong.py", "__version__ = '7.0'")
    importlib.import_module("zzwrong")
    assert environment.captured()["distributions"]["zzwrong"] == "1.0"


def test_each_answer_is_the_callers_own() -> None:
    first = environment.captured()
    first["distributions"].clear()
    first["loaded"].clear()
    second = environment.captured()
    assert second["distributions"]
    assert second["loaded"]


def test_what_is_captured_is_plain_json_and_the_views_read_it() -> None:
    found = json.loads(json.dumps(environment.captured(), allow_nan=False))
    made = Environment.from_json(found)
    assert made.python == ".".join(map(str, sys.version_info[:3]))
    assert not made.compare(Environment.from_json(environment.captured()))
    assert "attrs" in {one.name for one in made.loaded}


def test_an_odd_path_gives_less_and_no_exception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    odd: list[Any] = ["", "\x00", str(tmp_path / "a.zip"), None, 7, b"bytes", "/nowhere", "x" * 5000, *sys.path]
    monkeypatch.setattr(sys, "path", odd)
    assert environment.captured()["distributions"]


def test_no_environment_variable_and_no_argument_is_captured() -> None:
    code = "import json; from modelkeep.capture import ci, environment, hardware, seeds\n"
    code += "print(json.dumps([f.captured() for f in (ci, environment, hardware, seeds)]))"
    surroundings = {
        **os.environ,
        "TOKEN": SECRET,
        "GITHUB_ACTIONS": "true",
        "GITHUB_TOKEN": SECRET,
        "CI_JOB_TOKEN": SECRET,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, SECRET], capture_output=True, text=True, check=True, env=surroundings
    )
    assert "python" in done.stdout
    assert SECRET not in done.stdout


def test_a_fork_while_a_thread_looks_does_not_hang() -> None:
    code = "import os, sys, threading; from modelkeep.capture import environment as e\n"
    code += "stop, look = [], e.captured\n"
    code += "t = threading.Thread(target=lambda: [look() for _ in iter(lambda: not stop, False)]); t.start()\n"
    code += "for _ in range(10):\n    pid = os.fork()\n"
    code += "    if not pid:\n        os._exit(0 if look()['distributions'] else 1)\n"
    code += "    assert os.waitpid(pid, 0)[1] == 0\nstop.append(1); t.join()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


# -- locks -----------------------------------------------------------------------------------------------------------


def lock_at(folder: Path) -> dict[str, str] | None:
    return locks.own_lock(lambda: str(folder))


def test_the_nearest_lock_up_to_the_root_of_the_repository_is_told_by_digest(tmp_path: Path) -> None:
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    below = tmp_path / "repository" / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "uv.lock").write_text("outside")
    assert lock_at(below) is None
    (tmp_path / "repository" / "poetry.lock").write_bytes(b"first")
    assert lock_at(below) == {"name": "poetry.lock", "digest": digest(b"first")}
    (below / "requirements-dev.txt").write_text("numpy==2.1.0 \\\n    --hash=sha256:00\n")
    found = lock_at(below)
    assert found is not None
    assert found["name"] == "requirements-dev.txt"


def test_a_lock_that_changes_in_place_has_another_digest(tmp_path: Path) -> None:
    for text in (b"first", b"other", b"longer"):
        (tmp_path / "uv.lock").write_bytes(text)
        assert lock_at(tmp_path) == {"name": "uv.lock", "digest": digest(text)}
        time.sleep(0.02)  # the clock of a file system


def test_without_a_repository_only_the_working_folder_is_looked_at(tmp_path: Path) -> None:
    if any((parent / ".git").exists() for parent in tmp_path.parents):
        pytest.skip("the temporary folder lies in a repository")
    (tmp_path / "a").mkdir()
    (tmp_path / "uv.lock").write_text("x")
    assert lock_at(tmp_path / "a") is None
    assert lock_at(tmp_path) is not None


def test_requirements_without_hashes_are_no_lock(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==2.1.0\n")
    assert lock_at(tmp_path) is None


def test_a_working_folder_that_is_gone_has_no_lock() -> None:
    def gone() -> str:
        raise FileNotFoundError

    assert locks.own_lock(gone) is None


def test_uv_makes_a_lock_with_hashes_of_what_came_from_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    if shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    found = environment.captured()
    sources = {"ourlib": {"kind": "editable"}}
    few = {"python": found["python"], "sources": sources,
           "distributions": {"attrs": found["distributions"]["attrs"], "ourlib": "0.1"}}  # fmt: skip
    made, reason = locks.made_lock(few)
    assert reason == ""
    assert made is not None
    assert f"attrs=={found['distributions']['attrs']}" in made["text"]
    assert "--hash=sha256:" in made["text"]
    assert "ourlib" not in made["text"]
    assert made["digest"] == digest(made["text"].encode())
    none, reason = locks.made_lock({**few, "distributions": {"attrs": "0.0.1"}})
    assert none is None
    assert reason.startswith("no lock was made: uv ended with status")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert locks.made_lock(few) == (None, "no lock was made: uv is not on the PATH")
