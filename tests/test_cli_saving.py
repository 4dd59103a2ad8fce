"""``init``, ``save`` and ``adopt``: what they make, on a disk and in a bucket, and what they refuse."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.exits import Exit
from servers.sites import Site


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model and its data; the registry is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELKEEP_REGISTRY", "registry")
    monkeypatch.setenv("MODELKEEP_ACTOR", "ada@example.org")
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "train.csv").write_text("x\n1\n", encoding="utf-8")
    return tmp_path


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def version(ref: str) -> mk.ModelVersion:
    return mk.Registry("registry").get(ref)


# -- init ----------------------------------------------------------------------------------------------------------


def test_init_makes_a_registry_once_and_says_how_to_name_it(folder: Path) -> None:
    made = run("init", "mine")
    url = (folder / "mine").as_uri()
    assert made.stdout.splitlines()[0] == f"{url} is a registry now"
    assert made.stdout.splitlines()[-1] == f"  export MODELKEEP_REGISTRY={url}"
    marker = (folder / "mine/modelkeep.json").read_bytes()
    assert [path.name for path in (folder / "mine").iterdir()] == ["modelkeep.json"]
    assert run("init", "mine").stdout == f"{url} is a registry already\n"
    assert (folder / "mine/modelkeep.json").read_bytes() == marker


def test_without_a_url_init_takes_the_place_that_other_commands_take(folder: Path) -> None:
    assert run("init").stdout == f"{(folder / 'registry').as_uri()} is a registry now\n"
    assert run("show").stdout == f"0 models in {(folder / 'registry').as_uri()}\n"


def test_looking_at_a_place_makes_no_registry_there(folder: Path) -> None:
    assert run("show").exit_code == Exit.OK
    assert run("policy", "show").exit_code == Exit.OK
    assert not (folder / "registry").exists()


# -- save ----------------------------------------------------------------------------------------------------------


def test_save_keeps_a_file_with_all_that_is_said_of_it() -> None:
    first = run("save", "model.bin", "churn")
    assert first.stdout == "saved churn:1: 7 bytes\n"
    said = [
        *("--param", "depth=6", "--param", "layers=[64, 8]", "--param", "kind=a=b", "--metric", "auc=0.9"),
        *("--metric", "loss=nan", "--tag", "team=risk", "--notes", "two words", "--bump", "minor"),
        *("--parent", "churn:1", "--data", "train=train.csv"),
    ]
    assert run("save", "model.bin", "churn", *said).stdout == "saved churn:2 (1.0.0): 7 bytes\n"
    saved = version("churn:2")
    assert saved.params == {"depth": 6, "layers": [64, 8], "kind": "a=b"}
    assert (saved.metrics["auc"], math.isnan(saved.metrics["loss"])) == (0.9, True)
    assert (saved.tags, saved.notes, saved.label) == ({"team": "risk"}, "two words", "1.0.0")
    assert [str(parent) for parent in saved.parents] == ["churn:1"]
    assert saved.data["train"].source["name"] == "train.csv"
    assert version("churn:1").parents == ()


def test_save_keeps_a_folder(folder: Path) -> None:
    (folder / "bundle/inner").mkdir(parents=True)
    (folder / "bundle/inner/weights").write_bytes(b"abc")
    assert run("save", "bundle", "churn").exit_code == Exit.OK
    assert [file.path for file in version("churn:1").files] == ["inner/weights"]


def test_data_may_be_a_version_of_a_dataset(folder: Path) -> None:
    mk.Registry("registry").save_dataset(folder / "train.csv", "sales")
    run("save", "model.bin", "churn", "--data", "train=sales:1")
    assert version("churn:1").record.made["data"][0]["dataset"] == "sales:1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metric", "auc=high"], "'high' is no number"),
        (["--metric", "auc"], "no key=value"),
        (["--param", "=6"], "no key=value"),
        (["--param", "depth=6", "--param", "depth=7"], "'depth' is given twice"),
        (["--label", "1.0.0", "--bump", "minor"], "not both"),
        (["--label", "first"], "'first'"),
        (["--param", "api_key=sk-12345678901234567890abcd"], "looks like a secret"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_saved(folder: Path, options: list[str], said: str) -> None:
    refused = run("save", "model.bin", "churn", *options)
    assert (refused.exit_code, said in refused.stderr) == (Exit.USAGE, True)
    assert "sk-1234" not in refused.output
    assert not (folder / "registry").exists()


def test_a_parameter_that_is_no_secret_is_kept_if_that_is_said() -> None:
    options = ("--param", "token=abcdef0123456789abcdef", "--allow-secret-like", "token")
    assert run("save", "model.bin", "churn", *options[:2]).exit_code == Exit.USAGE
    assert run("save", "model.bin", "churn", *options).exit_code == Exit.OK


def test_a_label_in_use_and_a_parent_that_is_not_there_have_their_status() -> None:
    assert run("save", "model.bin", "churn", "--label", "1.0.0").exit_code == Exit.OK
    assert run("save", "model.bin", "churn", "--label", "1.0.0").exit_code == Exit.CONFLICT
    assert run("save", "model.bin", "churn", "--parent", "other:1").exit_code == Exit.NOT_FOUND
    assert run("save", "nothing.bin", "churn").exit_code == Exit.USAGE


# -- adopt ---------------------------------------------------------------------------------------------------------


def test_adopt_makes_files_versions_oldest_first_and_again_only_what_is_new(folder: Path) -> None:
    for time, name in enumerate(("b.pkl", "a.pkl")):
        (folder / name).write_text(name, encoding="utf-8")
        os.utime(folder / name, (time, time))
    shown = run("adopt", "*.pkl", "old").stdout.splitlines()
    assert [line.split()[:2] for line in shown[2:4]] == [["1", "b.pkl"], ["2", "a.pkl"]]
    assert shown[-1] == "2 versions of old"
    (folder / "c.pkl").write_text("c", encoding="utf-8")
    run("adopt", "*.pkl", "old")
    assert len(mk.Registry("registry").model("old").versions()) == 3


def test_a_pattern_that_the_shell_has_read_is_asked_for_in_quotes() -> None:
    refused = run("adopt", "runs/a.pkl", "runs/b.pkl", "old")
    assert refused.exit_code == Exit.USAGE
    assert "modelkeep adopt 'runs/*.pkl' old" in refused.stderr
    assert run("adopt", "*.nothing", "old").exit_code == Exit.NOT_FOUND


# -- in a bucket ---------------------------------------------------------------------------------------------------


def test_a_story_by_command_line_alone_in_a_bucket(folder: Path, moto_site: Site) -> None:
    url = moto_site.url(f"cli-{uuid.uuid4().hex}")
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": moto_site.server.endpoint,
        "AWS_ACCESS_KEY_ID": moto_site.server.options["key"],
        "AWS_SECRET_ACCESS_KEY": moto_site.server.options["secret"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "MODELKEEP_REGISTRY": url,
    }

    def shell(*args: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "modelkeep", *args], capture_output=True, text=True, check=False, env=environment
        )
        return done.returncode, done.stdout + done.stderr

    assert shell("init", url)[1].startswith(f"{url} is a registry now")
    assert shell("save", "model.bin", "churn", "--metric", "auc=0.9") == (0, "saved churn:1: 7 bytes\n")
    assert shell("promote", "churn:1", "production", "--expect", "none")[0] == Exit.OK
    assert shell("promote", "churn:1", "production", "--expect", "none")[0] == Exit.CONFLICT
    assert shell("export", "churn@production", "out")[0] == Exit.OK
    assert (folder / "out/model.bin").read_bytes() == b"weights"
    assert shell("verify")[0] == Exit.OK
