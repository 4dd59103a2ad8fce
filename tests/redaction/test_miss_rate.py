"""How many planted secrets the rules miss, and how often they are wrong; also as a command."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the script; the suite has it there already

from modelkeep.errors import SecretError
from modelkeep.redaction import check_params, redacted
from redaction.harmless import ODD, parameters
from redaction.planted import Planted, held_out, tuning

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "secrets.md"
SHARE = 6  # letters of a secret in a row that give it away


def seen(secret: str, text: str) -> bool:
    """Whether *text* still has the secret, or the half of it."""
    half = max(SHARE, len(secret) // 2)
    return any(secret[at : at + half] in text for at in range(len(secret) - half + 1))


def refused(name: str, value: object) -> bool:
    try:
        check_params({name: value})
    except SecretError:
        return True
    return False


def missed_in_texts(planted: Iterable[Planted]) -> list[Planted]:
    return [one for one in planted if seen(one.secret, redacted(one.text))]


def missed_in_parameters(planted: Iterable[Planted]) -> list[Planted]:
    return [one for one in planted if one.name and not refused(one.name, one.value)]


def false_alarms() -> tuple[list[str], int]:
    unique = {(name, repr(value)): (name, value) for name, value in parameters()}
    return sorted({name for name, value in unique.values() if refused(name, value)}), len(unique)


def lines_spoiled(package: str) -> tuple[int, int]:
    """Lines of the source of a package that change when it is redacted, and all of its lines."""
    found = __import__(package).__file__
    changed = total = 0
    for file in sorted(Path(str(found)).parent.rglob("*.py")):
        lines = file.read_text(encoding="utf-8").split("\n")
        after = redacted("\n".join(lines)).split("\n")
        total += len(lines)
        changed += sum(a != b for a, b in zip(lines, after, strict=False)) + abs(len(lines) - len(after))
    return changed, total


def rate(missed: list[Any], total: int) -> str:
    return f"{len(missed)} of {total} ({100 * len(missed) / total:.1f} %)"


def table() -> list[str]:
    rows = ["list | missed in texts | missed as parameters"]
    for name, planted in (("tuning", tuning()), ("held out", held_out())):
        named = [one for one in planted if one.name]
        texts, values = missed_in_texts(planted), missed_in_parameters(planted)
        rows.append(f"{name} | {rate(texts, len(planted))} | {rate(values, len(named))}")
    return rows


def main() -> int:
    print("\n".join(table()))  # noqa: T201  a command
    for name, planted in (("tuning", tuning()), ("held out", held_out())):
        print(f"{name}, missed in texts: {', '.join(one.kind for one in missed_in_texts(planted)) or 'none'}")  # noqa: T201  a command
        print(f"{name}, missed as parameters: {', '.join(one.kind for one in missed_in_parameters(planted)) or 'none'}")  # noqa: T201  a command
    wrong, total = false_alarms()
    print(f"false alarms in parameters: {rate(wrong, total)} {', '.join(wrong)}".rstrip())  # noqa: T201  a command
    for package in ("sklearn", "modelkeep"):
        changed, lines = lines_spoiled(package)
        print(f"lines of {package} that a redaction changes: {changed} of {lines:,}")  # noqa: T201  a command
    return 1 if missed_in_texts(tuning()) or missed_in_parameters(tuning()) else 0


def test_every_secret_of_the_tuning_list_is_replaced_in_texts() -> None:
    assert [one.kind for one in missed_in_texts(tuning())] == []


def test_every_parameter_of_the_tuning_list_is_refused() -> None:
    assert [(one.kind, one.name) for one in missed_in_parameters(tuning())] == []


def test_the_tuning_list_has_60_secrets_of_20_kinds_and_no_two_are_equal() -> None:
    planted = tuning()
    assert len(planted) == len({one.secret for one in planted}) == 60
    assert len({one.kind for one in planted}) == 20


def test_a_secret_that_stands_in_the_open_is_seen() -> None:
    one = tuning()[0]
    assert seen(one.secret, one.text)
    assert seen(one.secret, one.secret[: len(one.secret) // 2 + 1])
    assert not seen(one.secret, "[redacted: AWS key id]")


@pytest.mark.parametrize("name", ODD)
def test_a_harmless_parameter_with_an_odd_name_or_value_passes(name: str) -> None:
    check_params({name: ODD[name]})


def test_the_page_has_the_rates_that_the_command_prints() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for row in table()[1:]:
        assert re.search(re.escape(row.replace(" | ", "|")), re.sub(r" *\| *", "|", page)), row


if __name__ == "__main__":
    sys.exit(main())
