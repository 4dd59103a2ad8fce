"""A report in the XML of JUnit, as GitHub's actions, GitLab and Jenkins read it: one suite, one case for each question.

There is no standard, only what all of these read: ``testsuites/testsuite/testcase/failure``, with counts and seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import attrs

from modelkeep.markup import readable


@attrs.frozen
class Case:
    """One question, and what came of it.

    Args:
        name: what was asked.
        said: what was found, in words.
        failed: whether that is a failure.
        seconds: how long it took.
    """

    name: str
    said: str = ""
    failed: bool = attrs.field(default=False, kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)


def report(suite: str, group: str, cases: Sequence[Case]) -> str:
    """The report as XML; a character that XML cannot hold becomes a mark.

    Args:
        suite: what was looked at this time.
        group: the same without what changes from time to time, so that a server finds the cases again.
        cases: each question.

    Example:
        >>> print(report("churn:7", "churn", [Case("auc at least 0.9", "auc is 0.87", failed=True)]))
        <?xml version="1.0" encoding="utf-8"?>
        <testsuites name="modelkeep" tests="1" failures="1" errors="0" time="0.000">
          <testsuite name="churn:7" tests="1" failures="1" errors="0" skipped="0" time="0.000">
            <testcase classname="churn" name="auc at least 0.9" time="0.000">
              <failure message="auc is 0.87" type="failed">auc at least 0.9: auc is 0.87</failure>
            </testcase>
          </testsuite>
        </testsuites>
        <BLANKLINE>
    """
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.failed for case in cases)),
        "errors": "0",
    }
    seconds = _seconds(sum(case.seconds for case in cases))
    root = Element("testsuites", {"name": "modelkeep", **counts, "time": seconds})
    under = SubElement(root, "testsuite", {"name": readable(suite), **counts, "skipped": "0", "time": seconds})
    for case in cases:
        _add(under, group, case)
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _add(under: Element, group: str, case: Case) -> None:
    name, said = readable(case.name), readable(case.said)
    facts = {"classname": readable(group), "name": name, "time": _seconds(case.seconds)}
    element = SubElement(under, "testcase", facts)
    if case.failed:
        failure = SubElement(element, "failure", {"message": said or "not so", "type": "failed"})
        failure.text = f"{name}: {said}" if said else name
    elif said:
        SubElement(element, "system-out").text = said


def _seconds(number: float) -> str:
    return f"{number:.3f}"
