"""Secrets stay out of texts, parameters and remotes; `redaction/test_miss_rate.py` has how many are missed."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep import redaction, secretshapes
from modelkeep.errors import InvalidValueError, SecretError
from modelkeep.redaction import check_params, looks_secret, redacted, remote_without_credentials
from redaction.planted import tuning

PASSWORD = "maple-4711"


@pytest.mark.parametrize(
    "text",
    [
        f"DB_PASSWORD={PASSWORD}",
        f"export DB_PASSWORD={PASSWORD}\nx=1",
        f"  password: {PASSWORD}",
        f"password: str = '{PASSWORD}'",
        f'config["password"] = "{PASSWORD}"',
        f"connect(host='db', password='{PASSWORD}')",
        f"{{'password': '{PASSWORD}'}}",
        json.dumps(json.dumps({"password": PASSWORD})),
        f"os.getenv('DB_PASSWORD', '{PASSWORD}')",
        f"train.py --db-password {PASSWORD} -v",
        f"<password>{PASSWORD}</password>",
        f"Server=db;Password={PASSWORD};Encrypt=yes",
        f"https://ada:{PASSWORD}@git.example.org/x",
        f"https://ada:a@{PASSWORD}@git.example.org/x",
        f"GET /x?password={PASSWORD}&y=1",
        f"passwords = ['{PASSWORD}']",
    ],
)
def test_a_password_is_replaced_where_its_name_stands_before_it(text: str) -> None:
    assert PASSWORD not in redacted(text)
    assert "[redacted: " in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "password = getpass()",
        "connect(password=args.password, token=None)",
        "def login(user: str, password: str) -> None:",
        "api_key = os.environ['API_KEY']",
        "if token == '<pad>': tokens.append(token)",
        "pad_token = '<pad>'; max_tokens=512",
        "model = AutoModel.from_pretrained('bert-base-uncased', revision='" + "0f" * 20 + "')",
        "see https://example.org:8080/a@b and ada@example.org",
        "password=${DB_PASSWORD} and token: <your token>",
        "sha256:" + "ab12" * 16,
        "basic classification of a bearer",
    ],
)
def test_code_that_says_where_a_secret_comes_from_is_left_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    assert redacted(f"a = 1\npassword = '{PASSWORD}'  # why\nb = 2\n") == (
        "a = 1\npassword = '[redacted: password]'  # why\nb = 2\n"
    )


@given(st.text(max_size=300))
def test_a_text_is_redacted_once_and_for_all(text: str) -> None:
    once = redacted(text)
    assert redacted(once).count("[redacted") <= once.count("[redacted") + 1
    assert isinstance(once, str)


@given(before=st.text(" \n;,a", max_size=20), after=st.text(" \n;,", max_size=20), which=st.integers(0, 59))
def test_what_stands_beside_a_secret_does_not_hide_it(before: str, after: str, which: int) -> None:
    one = tuning()[which]
    assert one.secret not in redacted(f"{before}\n{one.text}\n{after}")


@pytest.mark.parametrize("module", [redaction, secretshapes])
def test_no_rule_has_a_possessive_group_which_python_got_wrong_up_to_3_11_4(module: ModuleType) -> None:
    rules = [rule.pattern for rule in vars(module).values() if isinstance(rule, re.Pattern)]
    assert rules
    assert [rule for rule in rules if re.search(r"\)(?:[?*+]|\{[0-9,]+\})\+", rule)] == []


def test_a_text_without_end_is_cut_and_says_so() -> None:
    text = redacted("a " * redaction.MAX_TEXT)
    assert len(text) < redaction.MAX_TEXT + 100
    assert text.endswith(f"[cut: {redaction.MAX_TEXT} more characters]")


@pytest.mark.parametrize(
    "part",
    ["a=", "password='", '"password", ', "://a:", "-----BEGIN RSA PRIVATE KEY-----", "sk-", "aB1", "?sig=", "\\'"],
)
def test_repeated_beginnings_of_secrets_end(part: str) -> None:
    # every rule has bounds; with one that went back and forth these would take days, not a moment
    assert redacted(part * (redaction.MAX_TEXT // 4 // len(part)))


# -- parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"password": PASSWORD}, "params.password"),
        ({"hub": {"token": "hf_" + "aB3" * 12}}, "params.hub.token"),
        ({"steps": [{"a": 1}, {"client_secret": "x"}]}, "params.steps[1].client_secret"),
        ({"tokens": ["a", "ghp_" + "aB3" * 12]}, "params.tokens[1]"),
        ({"login": ("ada", "lovelace")}, "params.login"),
        ({"raw": b"AKIA" + b"Q7" * 8}, "params.raw"),
        ({"file": Path("/data") / ("ghp_" + "aB3" * 12)}, "params.file"),
        ({"ghp_" + "aB3" * 12: 1}, "params.[a key]"),
        ({"password": 47110815}, "params.password"),
        ({"kinds": {"ghp_" + "aB3" * 12}}, "params.kinds[0]"),
        ({"long": "x " * redaction.MAX_TEXT + "ghp_" + "aB3" * 12}, "params.long"),
    ],
)
def test_a_parameter_that_looks_like_a_secret_is_an_error_that_names_it(params: dict[str, Any], key: str) -> None:
    with pytest.raises(SecretError) as caught:
        check_params(params)
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{key} looks like a secret (")
    assert "allow_secret_like={" in str(caught.value)


def test_the_error_never_has_the_value_and_survives_its_travels() -> None:
    for one in (one for one in tuning() if one.name):
        with pytest.raises(InvalidValueError) as caught:
            check_params({"outer": [{one.name: one.value}]})
        arrived = pickle.loads(pickle.dumps(copy.deepcopy(caught.value)))
        shown = f"{arrived} {arrived!r} {arrived.facts} {arrived.__cause__!r} {arrived.__context__!r}"
        assert one.secret not in shown
        assert arrived.kind == "secret"


@pytest.mark.parametrize("allowed", [{"token"}, {"hub.token"}, {"hub"}, {"a", "token"}])
def test_what_is_allowed_by_name_or_path_passes(allowed: set[str]) -> None:
    params = {"hub": {"token": "0a1b2c3d4e5f6a7b8c9d"}}
    with pytest.raises(SecretError):
        check_params(params)
    check_params(params, allow_secret_like=allowed)


def test_what_is_allowed_does_not_allow_its_neighbours() -> None:
    with pytest.raises(SecretError, match=r"params\.password"):
        check_params({"token": "0a1b2c3d4e5f6a7b8c9d", "password": PASSWORD}, allow_secret_like={"token"})


def test_circles_depth_and_odd_keys_are_no_trouble() -> None:
    circle: dict[Any, Any] = {"depth": 6, 3: "three", None: [1, 2]}
    circle["self"] = circle
    deep: Any = PASSWORD
    for _ in range(500):
        deep = [deep]
    check_params(circle | {"deep": deep})


@pytest.mark.parametrize(
    ("name", "value"),
    [("password", None), ("password", ""), ("password", True), ("password", "***"), ("token", 50256), ("secret", 0.5),
     ("password", "${PASSWORD}"), ("api_key", "<your key>"), ("eos_token", "</s>"), ("token_count", "0a1b2c3d4e5f")],
)  # fmt: skip
def test_a_value_that_cannot_be_a_secret_is_none(name: str, value: object) -> None:
    assert looks_secret(name, value) is None


def test_a_class_that_says_that_it_holds_a_secret_is_believed() -> None:
    class SecretStr:
        pass

    assert looks_secret("anything", SecretStr()) == "it is a SecretStr"


# -- remotes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://github.com/ada/churn.git", "https://github.com/ada/churn.git"),
        ("https://ada@github.com/ada/churn.git", "https://github.com/ada/churn.git"),
        (f"https://ada:{PASSWORD}@github.com/ada/churn.git", "https://github.com/ada/churn.git"),
        ("https://ada:map/le@github.com/ada/churn.git", "https://github.com/ada/churn.git"),
        (f"https://ada:a@{PASSWORD}@github.com/churn.git", "https://github.com/churn.git"),
        (f"HTTPS://x.org:8443/c.git?private_token={PASSWORD}#x", "https://x.org:8443/c.git"),
        (f"ssh://git:{PASSWORD}@x.org:22/c.git", "ssh://git@x.org:22/c.git"),
        (f"ssh://ada:{PASSWORD}@x.org/c.git", "ssh://x.org/c.git"),
        ("git@x.org:ada/churn.git", "git@x.org:ada/churn.git"),
        ("ada@x.org:ada/churn.git", "x.org:ada/churn.git"),
        ("https://x.org/@scope/c.git", "https://x.org/@scope/c.git"),
        (f"https://x.org?private_token=a/{PASSWORD}", "https://x.org"),
        (f"https://ada:map/le@x.org/c.git?private_token=a@{PASSWORD}", "https://x.org/c.git"),
        (f"https://ada:a:80/{PASSWORD}@x.org/c.git", "https://x.org/c.git"),
        ("https://[::1]:8080/c.git", "https://[::1]:8080/c.git"),
        ("/home/ada/churn.git/", "a local path: churn.git"),
        ("file:///home/ada/churn.git", "a local path: churn.git"),
        ("C:\\Users\\ada\\churn.git", "a local path: churn.git"),
        (f"ext::sh -c curl%20{PASSWORD}", "unknown: a remote of another program than Git"),
        ("https://x.org/ghp_" + "aB3" * 12 + "/c.git", "https://x.org/[redacted: GitHub token]/c.git"),
        ("", ""),
    ],
)
def test_a_remote_is_shown_without_credentials(url: str, shown: str) -> None:
    assert remote_without_credentials(url) == shown


@given(st.text(max_size=200))
def test_any_text_can_be_a_remote(url: str) -> None:
    assert isinstance(remote_without_credentials(url), str)
