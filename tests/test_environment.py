"""Two environments compared: what differs, how grave it is, and what to do; and what a stranger's record may say."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.environment import Distribution, Environment, EnvironmentDiff, Lock, Severity, Source
from modelkeep.machine import Gpu, Hardware
from modelkeep.releasenumbers import local_of, normalized, release_of
from modelkeep.session import Seeds, Session

DIGEST = "0" * 64


def made_of(*distributions: Distribution, **facts: Any) -> Environment:
    facts = {"python": "3.11.7", "abi": "cpython-311", "system": "Linux", "machine": "x86_64", **facts}
    return Environment(**facts, distributions={one.name: one for one in distributions})


def loaded(name: str, version: str, **source: Any) -> Distribution:
    return Distribution(name, version, loaded=True, source=Source(**source) if source else None)


def told(found: EnvironmentDiff) -> list[tuple[str, str]]:
    return [(one.severity.value, one.what) for one in found]


def between(then: str, now: str, name: str = "alpha", **options: Any) -> list[tuple[str, str]]:
    return told(made_of(loaded(name, then)).compare(made_of(loaded(name, now)), **options))


# -- severity --------------------------------------------------------------------------------------------------------


def test_an_environment_does_not_differ_from_itself() -> None:
    full = made_of(loaded("numpy", "2.1.0"), loaded("ourlib", "0.1", kind="editable"), libc="glibc 2.36", cuda="12.4")
    found = full.compare(full)
    assert not found
    assert (found.worst, str(found)) == (None, "no difference")


def test_another_python_release_is_the_interpreter_and_another_patch_is_a_patch() -> None:
    then = made_of()
    assert told(then.compare(made_of(python="3.12.1", abi="cpython-312"))) == [("interpreter", "Python")]
    assert told(then.compare(made_of(python="3.11.9"))) == [("patch", "Python")]
    assert told(then.compare(made_of(implementation="PyPy", abi="pypy311-pp73"))) == [("interpreter", "Python")]


def test_a_python_without_the_global_lock_takes_other_extension_modules() -> None:
    then, now = (made_of(python="3.13.0", abi=abi) for abi in ("cpython-313", "cpython-313t"))
    assert told(then.compare(now)) == [("abi", "Python")]


@pytest.mark.parametrize(
    ("then", "now", "severity"),
    [
        ("1.26.4", "2.1.0", "major"),
        ("2.1.0", "1.26.4", "major"),
        ("1.5.0", "1.6.0", "minor"),
        ("1.5", "1.6", "minor"),
        ("1.5.0", "1.5.2", "patch"),
        ("1.5.0", "1.5.0.post1", "patch"),
        ("1.5.0rc1", "1.5.0", "patch"),
        ("1.5.0+a", "1.5.0+b", "patch"),
        ("1.10.0", "1.9.0", "minor"),
        ("1", "2", "major"),
        ("1!1.0", "1.0", "major"),
        ("2024.1", "2025.2", "minor"),
        ("24.1", "25.2", "major"),
        ("2004d", "2004e", "major"),
    ],
)
def test_the_first_number_that_differs_says_how_grave_it_is(then: str, now: str, severity: str) -> None:
    assert between(then, now) == [(severity, "alpha")]


@pytest.mark.parametrize(("then", "now"), [("1.0", "1.0.0"), ("1.0", "1"), ("v1.0", "1.0"), ("1.0RC1", "1.0rc1")])
def test_two_ways_to_write_a_version_are_one(then: str, now: str) -> None:
    assert between(then, now) == []


def test_numpy_1_and_2_have_another_abi() -> None:
    assert between("1.26.4", "2.1.0", "numpy") == [("abi", "numpy")]
    assert between("2.1.0", "1.26.4", "numpy") == [("abi", "numpy")]
    assert between("2.0.0", "2.1.0", "numpy") == [("minor", "numpy")]


def test_a_minor_release_of_what_the_serializer_names_counts_as_a_major_one() -> None:
    assert between("1.5.0", "1.6.0", "scikit-learn", matters={"scikit-learn"}) == [("major", "scikit-learn")]
    assert between("1.5.0", "1.6.0", "scikit-learn", matters={"Scikit_Learn"}) == [("major", "scikit-learn")]
    assert between("1.5.0", "1.5.1", "scikit-learn", matters={"scikit-learn"}) == [("patch", "scikit-learn")]
    assert between("1.5.0", "1.6.0", "scikit-learn", matters={"scipy"}) == [("minor", "scikit-learn")]


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({"cuda": "12.4"}, {"cuda": "none"}),
        ({"cuda": "12.4"}, {"cuda": "11.8"}),
        ({"cuda": "rocm6.1"}, {"cuda": "12.4"}),
    ],
)
def test_torch_for_another_device_has_another_abi(then: dict[str, str], now: dict[str, str]) -> None:
    torch = loaded("torch", "2.4.0")
    assert told(made_of(torch, **then).compare(made_of(torch, **now))) == [("abi", "torch")]


def test_the_builds_of_torch_are_told_apart_by_their_local_part_where_nothing_else_says() -> None:
    assert between("2.4.0+cu124", "2.4.0+cpu", "torch") == [("abi", "torch")]
    assert told(made_of(loaded("torch", "2.4.0+cu124")).compare(made_of(loaded("torch", "2.4.0"), cuda="12.4"))) == [
        ("patch", "torch")
    ]


def test_another_platform_or_c_library_has_another_abi_and_another_release_of_one_has_not() -> None:
    then = made_of(libc="glibc 2.36")
    assert told(then.compare(made_of(machine="aarch64", libc="glibc 2.36"))) == [("abi", "platform")]
    assert told(then.compare(made_of(system="Darwin", machine="arm64"))) == [("abi", "platform")]
    assert told(then.compare(made_of(libc="musl"))) == [("abi", "platform")]
    assert told(then.compare(made_of(libc="glibc 2.31"))) == []


def test_what_is_missing_here_or_more_here_is_told() -> None:
    one, other = made_of(loaded("alpha", "1.0")), made_of(Distribution("beta", "1.0"))
    assert told(one.compare(other)) == [("missing", "alpha"), ("extra", "beta")]


def test_another_commit_of_one_version_is_told() -> None:
    one, other = ({"kind": "vcs", "vcs": "git", "url": "https://x.org/a", "commit": c * 40} for c in "ab")
    found = made_of(loaded("a", "1.0", **one)).compare(made_of(loaded("a", "1.0", **other)))
    assert told(found) == [("patch", "a")]
    assert "a" * 40 in str(found)


def test_the_gravest_come_first_and_of_equals_what_was_loaded() -> None:
    then = made_of(
        Distribution("a", "1.0"), loaded("b", "1.0"), loaded("c", "1.0"), loaded("numpy", "1.0"), loaded("z", "1")
    )
    now = made_of(
        *(Distribution(name, "2.0") for name in ("a", "b", "numpy")), Distribution("c", "1.1"), python="3.12.0"
    )
    found = then.compare(now)
    assert told(found) == [
        *(
            ("interpreter", "Python"),
            ("abi", "numpy"),
            ("missing", "z"),
            ("major", "b"),
            ("major", "a"),
            ("minor", "c"),
        ),
    ]
    assert found.worst is Severity.INTERPRETER
    assert [one.what for one in found.of("major")] == ["b", "a"]


def test_only_what_was_loaded_and_is_grave_matters_at_a_load() -> None:
    then = made_of(
        Distribution("a", "1.0"), loaded("b", "1.0"), loaded("c", "1.0"), loaded("d", "1.0"), loaded("e", "1.0")
    )
    now = made_of(*(Distribution(n, v) for n, v in {"a": "2.0", "b": "2.0", "c": "1.1", "d": "1.0.1"}.items()))
    found = then.compare(now)
    assert [one.what for one in found.that_matter] == ["b"]
    assert [one.what for one in then.compare(now, matters={"a", "c"}).that_matter] == ["a", "b", "c"]


def test_a_finding_is_a_sentence_with_a_command_that_mends_it() -> None:
    found = made_of(loaded("numpy", "1.26.4"), python="3.11.7").compare(
        made_of(loaded("numpy", "2.1.0"), python="3.12.0")
    )
    python, numpy = found
    assert str(python).startswith("Python is 3.12.0 here and was 3.11.7")
    assert python.fix == "uv venv --python 3.11"
    assert str(numpy).startswith("numpy is 2.1.0 here and was 1.26.4, loaded")
    assert numpy.fix == "python -m pip install numpy==1.26.4"
    assert (numpy.then, numpy.now) == ("1.26.4", "2.1.0")


def test_a_fix_is_there_only_where_a_command_can_mend_it() -> None:
    commit = "0" * 40
    sources = {
        "editable": Source(kind="editable", url="file:///home/a"),
        "repository": Source(kind="vcs", vcs="git", url="https://x.org/a b"[:-2], commit=commit),
        "without": Source(kind="vcs", vcs="git", url="https://x.org/a"),
    }
    then = made_of(*(Distribution(name, "1.0", source=source) for name, source in sources.items()))
    fixes = {one.what: one.fix for one in then.compare(made_of())}
    assert fixes["editable"] is None
    assert fixes["without"] is None
    assert fixes["repository"] == f"python -m pip install 'repository @ git+https://x.org/a@{commit}'"


# -- names and versions ----------------------------------------------------------------------------------------------

NUMBERS = st.lists(st.integers(0, 10**6), min_size=1, max_size=5)
SUFFIXES = st.sampled_from(["", "a1", "rc2", ".post3", ".dev4", "b1.post2.dev3", "-1", "_alpha_1"])


@given(NUMBERS, SUFFIXES, st.sampled_from(["", "1!", "0!"]), st.sampled_from(["", "+cpu", "+cu121.x-1"]))
def test_release_parts_are_those_that_packaging_reads(numbers: list[int], suffix: str, epoch: str, local: str) -> None:
    packaging = pytest.importorskip("packaging.version", reason="packaging, to compare with, is not installed")
    text = f"{epoch}{'.'.join(map(str, numbers))}{suffix}{local}"
    found, theirs = release_of(text), packaging.Version(text)
    assert found is not None
    assert found[0] == theirs.epoch
    padded = (*found[1], *[0] * (len(theirs.release) - len(found[1])))
    assert padded == theirs.release
    assert bool(local_of(text)) == bool(theirs.local)


@given(st.text(max_size=12) | st.text("0123456789.!+-_abcrdevpost ", max_size=12))
def test_what_packaging_refuses_is_no_release_here(text: str) -> None:
    packaging = pytest.importorskip("packaging.version", reason="packaging, to compare with, is not installed")
    try:
        packaging.Version(text)
    except packaging.InvalidVersion:
        assert release_of(text) is None


@given(st.text("aB9-_.", min_size=1, max_size=12))
def test_names_are_written_as_packaging_writes_them(name: str) -> None:
    packaging = pytest.importorskip("packaging.utils", reason="packaging, to compare with, is not installed")
    assert normalized(name) == packaging.canonicalize_name(name)


# -- what a record may say -------------------------------------------------------------------------------------------

FULL = made_of(
    loaded("numpy", "2.1.0"),
    Distribution("ourlib", "0.1", source=Source(kind="editable", url="file:///home/ada/a")),
    loaded("theirs", "1.0", kind="vcs", vcs="git", url="https://x.org/a.git", commit="0" * 40),
    libc="glibc 2.36",
    cuda="12.4",
    os="Debian GNU/Linux 12",
    lock=Lock("uv.lock", DIGEST),
    unknown=("a reason",),
)
MACHINE = Hardware(
    cpu="a", cpus=8, cores=4, usable=2, cpu_limit=1.5, memory=2**34, gpus=(Gpu(name="H100", memory=2**36),)
)
SESSION = Session.from_json({
    "began": "2026-03-01T12:00:00Z", "duration_s": 1.5, "peak_memory": 2**30, "function": "train",
    "hardware": MACHINE.to_json(), "ci": {"provider": "github"},
    "seeds": {"states": {"numpy": DIGEST}, "initial": {"torch": str(2**64 - 1)}, "flags": {"cudnn.benchmark": False}},
})  # fmt: skip


@pytest.mark.parametrize("value", [FULL, MACHINE, SESSION], ids=lambda value: type(value).__name__)
def test_what_is_written_is_read_back_and_words_of_a_later_release_are_left_out(value: Any) -> None:
    kept = json.loads(json.dumps(value.to_json()))
    assert type(value).from_json(kept) == value
    assert type(value).from_json({**kept, "later": [1]}) == value


def test_a_seed_of_64_bits_is_kept_exactly() -> None:
    assert SESSION.seeds == Seeds(
        states={"numpy": DIGEST}, initial={"torch": 2**64 - 1}, flags={"cudnn.benchmark": False}
    )


ODD_ENVIRONMENTS: list[Any] = [
    None, [], "x", {}, {"python": 3}, {"python": "3.11; rm"}, {"python": "3.11.7", "system": 1},
    {"python": "3.11.7", "os": "x" * 501}, {"python": "3.11.7", "distributions": []},
    {"python": "3.11.7", "distributions": {"a b": "1.0"}}, {"python": "3.11.7", "distributions": {"A": "1.0"}},
    {"python": "3.11.7", "distributions": {"a": 1}}, {"python": "3.11.7", "distributions": {"a": "1.0; rm"}},
    {"python": "3.11.7", "distributions": {"a": "1.0\n--index-url x"}},
    {"python": "3.11.7", "distributions": {"-r": "1"}},
    {"python": "3.11.7", "distributions": {}, "loaded": ["a"]}, {"python": "3.11.7", "loaded": {"a": 1}},
    {"python": "3.11.7", "loaded": [["a"]]},
    {"python": "3.11.7", "distributions": {"a": "1"}, "sources": {"a": {"kind": "odd"}}},
    {"python": "3.11.7", "distributions": {"a": "1"}, "sources": {"a": {"kind": ["x"]}}},
    {"python": "3.11.7", "distributions": {"a": "1"}, "sources": {"a": {}}},
    {"python": "3.11.7", "distributions": {"a": "1"}, "sources": {"a": {"kind": "vcs", "url": "ext::sh -c evil"}}},
    {"python": "3.11.7", "distributions": {"a": "1"}, "sources": {"a": {"kind": "vcs", "url": "https://x/a\n-r y"}}},
    {"python": "3.11.7", "distributions": {"a": "1"}, "sources": {"a": {"kind": "vcs", "commit": "--upload-pack=x"}}},
    {"python": "3.11.7", "distributions": {"a": "1"}, "sources": {"a": {"kind": "vcs", "vcs": "sh"}}},
    {"python": "3.11.7", "distributions": {f"a{i}": "1" for i in range(20_001)}},
    {"python": "3.11.7", "lock": {"name": "../x", "digest": DIGEST}}, {"python": "3.11.7", "lock": {"name": "x"}},
    {"python": "3.11.7", "lock": {"name": "x", "digest": "0"}}, {"python": "3.11.7", "unknown": "x"},
    {"python": "3.11.7", "unknown": ["x"] * 101},
]  # fmt: skip
ODD_SESSIONS: list[Any] = [
    None, {}, {"began": 3}, {"began": "today"}, {"began": "0001-01-01T00:00:00+23:59"},
    {"began": "2026-03-01", "duration_s": -1},
    {"began": "2026-03-01", "duration_s": float("nan")}, {"began": "2026-03-01", "duration_s": True},
    {"began": "2026-03-01", "peak_memory": 1.5}, {"began": "2026-03-01", "peak_memory": 2**60},
    {"began": "2026-03-01", "ci": {"a b": "x"}}, {"began": "2026-03-01", "ci": {"url": 1}},
    {"began": "2026-03-01", "ci": {f"a{i}": "x" for i in range(101)}},
    {"began": "2026-03-01", "hardware": {"gpus": {}}}, {"began": "2026-03-01", "hardware": {"gpus": [{}]}},
    {"began": "2026-03-01", "hardware": {"cpus": "8"}}, {"began": "2026-03-01", "hardware": {"gpus": [{}] * 1025}},
    {"began": "2026-03-01", "seeds": {"states": {"numpy": "x"}}},
    {"began": "2026-03-01", "seeds": {"initial": {"a": 1.0}}},
    {"began": "2026-03-01", "seeds": {"initial": {"a": 2**200}}},
    {"began": "2026-03-01", "seeds": {"flags": {"a": []}}},
    {"began": "2026-03-01", "seeds": {"initial": {"a": "9" * 5000}}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("read", "value"),
    [
        *((Environment.from_json, value) for value in ODD_ENVIRONMENTS),
        *((Session.from_json, value) for value in ODD_SESSIONS),
    ],
)
def test_an_odd_record_is_refused(read: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        read(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["python", "distributions", "loaded", "sources", "lock", "unknown", "cuda", "began", "seeds", "ci"]
)


@given(st.dictionaries(KEYS, JSON, max_size=6), st.sampled_from([FULL.to_json(), SESSION.to_json()]))
def test_any_record_is_read_or_refused(changes: dict[str, Any], whole: dict[str, Any]) -> None:
    kind = Environment if "python" in whole else Session
    try:
        found = kind.from_json({**whole, **changes})
    except (ValueError, TypeError, KeyError):
        return
    assert kind.from_json(found.to_json()) == found


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_command_against_a_difference_is_one_word_of_a_shell_whatever_the_record_says(
    name: str, version: str
) -> None:
    try:
        one = Distribution(name, version)
    except (ValueError, TypeError):
        return
    (finding,) = made_of(one).compare(made_of())
    assert shlex.split(finding.fix or "") == ["python", "-m", "pip", "install", f"{name}=={version}"]


def test_views_do_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        FULL.python = "2.7"  # type: ignore[misc]
