"""The forms of a check for pipelines: JUnit, read by a parser of others, and Markdown."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Failure, JUnitXml, TestCase, TestSuite

from modelkeep.evidence import Check, Difference, Finding

CHECK = Check(
    "churn:7",
    "production",
    (
        Finding("auc at least 0.9", False, 0.87, said="auc is 0.87", seconds=0.25),
        Finding("golden", True, 0, said="20 rows as ever", seconds=1.5),
        Finding("description recorded", False),
    ),
    holder=6,
    risk="high",
    policy=3,
)
HOSTILE = [
    "a<b>&amp;\"'c</failure></testcase>",
    "]]>",
    "<![CDATA[x]]>",
    "<?xml?><!DOCTYPE a [<!ENTITY b 'c'>]>&b;",
    "\x00\x1b[2J\x08\x0b\ufffe\ud800\x85",
    "\u202egnihton",
    "two\r\nlines\tand a tab",
    "καλύτερο 🦊",
    "| a | b |\n# head\n**bold** [x](javascript:alert(1)) ![y](z)",
]


def parsed(xml: str) -> TestSuite:
    """The one suite of a report, as it comes from a file."""
    (suite,) = JUnitXml.fromstring(xml.encode())
    return suite


def cases(check: Check) -> list[TestCase]:
    return list(parsed(check.to_junit()))


def failures(case: TestCase) -> list[Failure]:
    return [one for one in case.result if isinstance(one, Failure)]


def seen(text: str) -> str:
    """*text* as a reader of XML sees it, if what it cannot hold became a mark."""
    marked = "".join("\ufffd" if one in "\x00\x1b\x08\x0b\ufffe\ud800\x85\u202e" else one for one in text)
    return marked.replace("\r\n", "\n")


def test_each_gate_is_a_case_and_each_that_failed_a_failure_with_what_was_said() -> None:
    first, second, third = cases(CHECK)
    assert [case.name for case in (first, second, third)] == ["auc at least 0.9", "golden", "description recorded"]
    assert {case.classname for case in (first, second, third)} == {"churn@production"}
    assert [(one.message, one.text) for one in failures(first)] == [("auc is 0.87", "auc at least 0.9: auc is 0.87")]
    assert [(one.message, one.text) for one in failures(third)] == [("not so", "description recorded")]
    assert (failures(second), second.system_out) == ([], "20 rows as ever")


def test_counts_and_seconds_are_those_of_the_gates() -> None:
    suite, whole = parsed(CHECK.to_junit()), JUnitXml.fromstring(CHECK.to_junit().encode())
    for one in (suite, whole):
        assert (one.tests, one.failures, one.errors, one.time) == (3, 2, 0, 1.75)
    assert (suite.name, suite.skipped) == ("churn:7 under production", 0)
    assert [case.time for case in suite] == [0.25, 1.5, 0]


def test_where_nothing_is_asked_there_is_no_case() -> None:
    suite = parsed(Check("churn:7", "production").to_junit())
    assert (list(suite), suite.tests, suite.failures) == ([], 0, 0)


def test_cases_have_the_same_names_for_the_next_version() -> None:
    named = [
        {(case.classname, case.name) for case in cases(Check(f"churn:{number}", "production", CHECK.findings))}
        for number in (7, 8)
    ]
    assert named[0] == named[1]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_gates_are_called_and_say_arrives_as_text(text: str) -> None:
    (case,) = cases(Check("churn:7", "production", (Finding(text, passed=False, said=text),)))
    (failure,) = failures(case)
    wanted = seen(text)
    assert failure.text == f"{wanted}: {wanted}"
    assert " ".join(case.name.split()) == " ".join(failure.message.split()) == " ".join(wanted.split())
    assert cases(Check("churn:7", "production", (Finding("a", passed=True, said=text),)))[0].system_out == wanted


def test_names_that_no_model_can_have_are_text_too() -> None:
    suite = parsed(Check("\x00<churn>:7", "\x1b]]>", (Finding("a", True),)).to_junit())
    (case,) = suite
    assert (suite.name, case.classname) == ("\ufffd<churn>:7 under \ufffd]]>", "\ufffd<churn>@\ufffd]]>")


@given(st.text(), st.text(), st.booleans())
def test_a_report_of_any_text_can_be_read_and_adds_no_element(asked: str, said: str, passed: bool) -> None:
    root = ET.fromstring(Check("churn:7", "production", (Finding(asked, passed, said=said),)).to_junit().encode())
    under = "failure" if not passed else "system-out" if said else None
    assert [one.tag for one in root.iter()] == ["testsuites", "testsuite", "testcase", *filter(None, [under])]


# -- Markdown ----------------------------------------------------------------------------------------------------------


def test_markdown_has_the_verdict_a_row_for_each_gate_and_by_what_it_was() -> None:
    assert CHECK.to_markdown() == (
        "**churn:7 may not stand under production**\n\n"
        "|  | gate | found |\n| --- | --- | --- |\n"
        "| FAILED | auc at least 0.9 | auc is 0.87 |\n"
        "| passed | golden | 20 rows as ever |\n"
        "| FAILED | description recorded |  |\n\n"
        "policy 3, risk high, compared with churn:6\n"
    )


def test_markdown_of_a_check_that_asked_nothing_is_a_line() -> None:
    assert Check("churn:7", "production").to_markdown() == (
        "**churn:7 may stand under production: no policy asks anything**\n"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_text_in_markdown_adds_no_row_no_element_and_no_link(text: str) -> None:
    lines = Check("churn:7", "production", (Finding(text, passed=False, said=text),)).to_markdown().splitlines()
    assert len(lines) == 5
    assert lines[4].count("|") == 4
    assert not set("<>[]*#\x1b\u202e") & set(lines[4].replace("&#", ""))


# -- what entries have kept --------------------------------------------------------------------------------------------


def test_what_an_entry_keeps_is_read_back_but_for_words_and_seconds() -> None:
    findings = (Finding("a", False, float("-inf"), said="low"), Finding("b", True, 3), Finding("c", True, "nan?"))
    kept = Check("churn:7", "production", findings, 6, "high", 3, "ab").to_entry()
    read = Check.from_entry("churn:7", "production", kept)
    bare = tuple(Finding(one.asked, one.passed, one.measured) for one in findings)
    assert read == Check("churn:7", "production", bare, 6, "high", 3, "ab")
    assert read.to_entry() == kept


@pytest.mark.parametrize("low", [0.25, 0, float("-inf")])
def test_a_paired_difference_is_read_back_and_anything_else_is_none(low: float) -> None:
    paired = Difference(difference=0.5, low=low, high=0.75, level=0.95, rows=40, how="paired bootstrap")
    assert Difference.from_entry(paired.to_entry()) == paired
    found = Finding("auc", True, 0.9, paired=paired)
    assert Finding.from_entry(found.to_entry()) == found
    wrong: list[object] = [None, [], {}, {**paired.to_entry(), "rows": "40"}, {**paired.to_entry(), "low": None}]
    assert [Difference.from_entry(one) for one in wrong] == [None] * len(wrong)


def test_a_word_for_no_number_is_that_again() -> None:
    read = Finding.from_entry(Finding("a", False, float("nan")).to_entry())
    assert read is not None
    assert read.found == "nan"
    assert isinstance(read.measured, float)


@pytest.mark.parametrize(
    "kept",
    [
        None,
        "evidence",
        [],
        {},
        {"policy": 1},
        {"policy": "1", "findings": []},
        {"policy": 1, "findings": "none"},
        {"policy": 1, "findings": ["a"]},
        {"policy": 1, "findings": [{"asked": "a", "passed": 1}]},
        {"policy": 1, "findings": [{"asked": 1, "passed": True}]},
    ],
)
def test_evidence_of_another_shape_is_none(kept: object) -> None:
    assert Check.from_entry("churn:7", "production", kept) is None


def test_facts_of_another_kind_beside_sound_findings_are_left_out() -> None:
    odd = {"holder": "six", "risk": 3, "digest": None, "more": [1]}
    kept = {"policy": 1, "findings": [{"asked": "a", "passed": True, "measured": [1]}], **odd}
    assert Check.from_entry("churn:7", "production", kept) == Check(
        "churn:7", "production", (Finding("a", True),), policy=1
    )


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (CHECK.findings[:1], "FAILED auc at least 0.9 (auc is 0.87); 0 of 1 passed, policy 3"),
        (CHECK.findings[1:2], "1 of 1 passed, policy 3"),
        ((Finding("a", False, 0.1 + 0.2), Finding("b", False)), "FAILED a (0.3), b; 0 of 2 passed, policy 3"),
        ((), "nothing was asked, policy 3"),
    ],
)
def test_a_summary_says_what_failed_how_many_passed_and_by_which_policy(
    findings: tuple[Finding, ...], said: str
) -> None:
    assert Check("churn:7", "production", findings, policy=3).summary == said
