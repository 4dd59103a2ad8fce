"""The lists that ship are those that the reviewed rules make."""

from __future__ import annotations

import inspect
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from modelkeep.pickles import names, review, reviewed

FILES = sorted(names.FOLDER.glob("*.txt"))
pytestmark = pytest.mark.filterwarnings("ignore")


def head_of(path: Path) -> tuple[str, str]:
    """For which distribution a list was made, and for which version of it."""
    words = path.read_text(encoding="utf-8").splitlines()[0].partition("trust: ")[2].split()
    return words[0].rstrip(","), words[4]


def installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def test_the_lists_are_what_the_script_makes_of_the_installed_versions() -> None:
    for path in FILES:
        distribution, made_for = head_of(path)
        if made_for != "any" and installed(distribution) != made_for:
            pytest.skip(f"{path.name} was made for {distribution} {made_for}; {installed(distribution)} is here")
    assert {path.name: path.read_text(encoding="utf-8") for path in FILES} == review.made()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_list_is_sorted_and_names_nothing_twice(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    assert lines == sorted(lines)
    listed = [tuple(line.split()[:2]) for line in lines]
    assert len(set(listed)) == len(listed)


def test_a_class_with_code_of_its_own_is_listed_only_if_that_code_was_read() -> None:
    class Loud:
        def __setstate__(self, state: object) -> None:
            raise AssertionError(state)

    class Quiet:
        pass

    assert list(review._plain_class(Loud)) == []
    assert len(list(review._plain_class(Quiet))) == 1
    for full in reviewed.OWN_CODE:
        module, _, member = full.rpartition(".")
        assert (module, member) in names.allowed()


def test_a_check_goes_along_with_every_class_that_derives_from_a_checked_one() -> None:
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.feature_extraction.text import TfidfVectorizer

    for cls, check in ((ExtraTreesRegressor, "forest"), (TfidfVectorizer, "columns")):
        assert inspect.isclass(cls)
        assert names.allowed()[cls.__module__, cls.__name__].check == check
