"""Files that would run code, through every way in: refused with an error that says why, and nothing was run.

``python tests/security/test_malicious.py --all`` loads the whole corpus, malicious and benign, and sums it up;
``--prove`` grants trust instead, to see which payloads are alive and whether they would be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a command, it finds what lies beside it
import attrs
import pytest

from security.attack import Attack
from security.benign import benign, warm
from security.corpus import corpus, gadgets, plain_keys, possible, share
from security.watched import BATCH, Outcome, Watched, ready
from security.ways_in import READER, reader

HERE = Path(__file__).resolve()
SHARE = 480  # one in so many attacks runs with the other tests
SHOWN = 40  # faults of a kind
FEW = 0.01  # of the benign files may be refused
MAY_LOAD = ("inert", "lie")  # these hold nothing that runs: as data they may load, if that is all that happens


# -- the verdict -----------------------------------------------------------------------------------------------------


def faults(attacks: list[Attack], outcomes: Iterable[Outcome], *, reads: bool) -> dict[str, list[str]]:
    """What was wrong, by kind.

    Args:
        attacks: what was let in.
        outcomes: how each way in ended.
        reads: whether a restricted reader stands behind the gate, so that a refusal must say what it refuses.
    """
    found: dict[str, list[str]] = {kind: [] for kind in ("marker", "violation", "not refused", "silent", "unnamed")}
    for one in outcomes:
        attack = attacks[one.attack]
        told = f"{attack} | {one.way}: {one.end} {one.error} {one.said[:160]!a}"
        if one.marked:
            found["marker"].append(told)
        if one.heard:
            found["violation"].append(f"{told} {one.heard[:3]}")
        if one.end != "refused" and not (one.end == "loaded" and attack.kind in MAY_LOAD):
            found["not refused"].append(told)
        if one.end == "refused" and not one.said.strip():
            found["silent"].append(told)
        if reads and one.end == "refused" and not _named(attack, one):
            found["unnamed"].append(told)
    return found


def _named(attack: Attack, one: Outcome) -> bool:
    """Whether a refusal says what it refuses."""
    if one.error != "TrustError":
        return attack.name not in plain_keys()
    if not attack.says:
        return True
    said = one.said.lower()
    return any(text.lower() in said for text in attack.says if text.strip())


def sum_up(attacks: list[Attack], outcomes: list[Outcome]) -> None:
    """How each kind ended."""
    rows: dict[str, Counter[str]] = {}
    for one in outcomes:
        row = rows.setdefault(attacks[one.attack].kind, Counter())
        row[f"{one.end} {one.error}" if one.end == "refused" else one.end] += 1
        row["marked"] += one.marked
        row["heard"] += bool(one.heard)
    for kind, row in rows.items():
        tell(f"  {kind}: " + ", ".join(f"{count} {what}" for what, count in sorted(row.items()) if count))


def tell(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# -- runs ------------------------------------------------------------------------------------------------------------


def let_in(attacks: list[Attack], *, trust: bool = False) -> list[Outcome]:
    """Let attacks in, in children of this process; no framework is imported before it is called."""
    os.environ.update(KERAS_BACKEND="torch", HF_HUB_OFFLINE="1")
    place = Path(tempfile.mkdtemp(prefix="malicious-")).resolve()  # no TemporaryDirectory: a payload may run its exit
    try:
        ready(place)
        warm(place, {need for attack in attacks for need in attack.needs})
        return Watched(attacks, place, trust, batch=1 if trust else BATCH).run()
    finally:
        os.chdir("/")
        tempfile.tempdir = None
        shutil.rmtree(place, ignore_errors=True)


def main() -> int:
    """Run as the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--all", action="store_true", help="the whole corpus, malicious and benign")
    options.add_argument("--product", action="store_true", help="every gadget in every spelling")
    options.add_argument("--every", type=int, default=1, help="take one in so many attacks of each kind")
    options.add_argument("--kind", action="append", help="only these kinds")
    options.add_argument("--match", action="append", help="only attacks whose name holds this")
    options.add_argument("--prove", action="store_true", help="grant trust, and tell which payloads are alive")
    options.add_argument("--no-benign", action="store_true", help="leave the benign files out")
    options.add_argument("--outcomes", type=Path, help="a file for the outcomes, as JSON")
    chosen = options.parse_args()
    whole = corpus(product=chosen.product)
    attacks = possible(whole)
    waiting = len(whole) - len(attacks)
    picked = [one for one in attacks if not chosen.kind or one.kind in chosen.kind]
    picked = [one for one in picked if not chosen.match or any(text in one.name for text in chosen.match)]
    picked = picked if chosen.every == 1 else share(picked, chosen.every)
    outcomes = let_in(picked, trust=chosen.prove)
    if chosen.outcomes:
        listed = [{**attrs.asdict(one), "name": str(picked[one.attack])} for one in outcomes]
        chosen.outcomes.write_text(json.dumps(listed))
    sum_up(picked, outcomes)
    if chosen.prove:
        return _told_alive(picked, outcomes)
    wrong = _told_faults(picked, outcomes)
    refused = sum(one.end == "refused" for one in outcomes)
    kept = "" if chosen.no_benign else _told_benign(chosen.every)
    wrong += kept.endswith("TOO MANY")
    tell(
        f"{len(picked)} attacks ({waiting} wait for a serializer), {len(gadgets())} gadgets, {len(outcomes)} ways in: "
        f"{refused} refused, {sum(o.marked for o in outcomes)} markers, {sum(bool(o.heard) for o in outcomes)} "
        f"violations, {wrong} faults{kept}; {'FAULTS' if wrong else 'ok'}"
    )
    return 1 if wrong else 0


def _told_faults(attacks: list[Attack], outcomes: list[Outcome]) -> int:
    found = faults(attacks, outcomes, reads=reader() is not None)
    for kind, listed in found.items():
        for line in listed[:SHOWN]:
            tell(f"{kind}: {line}")
        if len(listed) > SHOWN:
            tell(f"{kind}: and {len(listed) - SHOWN} more")
    return sum(len(listed) for listed in found.values())


def _told_alive(attacks: list[Attack], outcomes: list[Outcome]) -> int:
    alive = {one.attack for one in outcomes if one.marked or one.heard or one.end in ("crash", "timeout")}
    marked = {one.attack for one in outcomes if one.marked}
    tell(f"{len(attacks)} attacks with trust: {len(marked)} made their marker, {len(alive)} did something; ok")
    return 0


def _told_benign(every: int) -> str:
    """Load honest files; only a restricted reader can be held to take nearly all of them."""
    files = benign(every)
    outcomes = let_in(files)
    refused = [one for one in outcomes if one.end != "loaded"]
    for one in refused[:SHOWN]:
        if reader() is not None:
            tell(f"benign: {files[one.attack].name} | {one.way}: {one.end} {one.error} {one.said[:160]!a}")
    many = reader() is not None and len(refused) > FEW * len(outcomes)
    return f"; {len(outcomes)} benign, {len(refused)} refused{' TOO MANY' if many else ''}"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """This file, as a command."""
    command = [sys.executable, str(HERE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


# -- tests -----------------------------------------------------------------------------------------------------------


def test_the_corpus_has_three_hundred_gadgets_and_each_attack_is_another() -> None:
    attacks = corpus()
    assert len({gadget.name for gadget in gadgets()}) == len(gadgets()) >= 300
    assert len({(one.kind, one.name) for one in attacks}) == len(attacks)


def test_a_share_of_the_corpus_is_refused_and_nothing_is_run() -> None:
    done = run("--every", str(SHARE))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


ALIVE = ("os.system", "builtins.exec", "subprocess.check_call", "importlib.import_module", "_io.FileIO", "os.symlink")


def test_with_trust_payloads_run_and_each_is_seen(tmp_path: Path) -> None:
    # a watch that sees nothing would find everything safe
    told = tmp_path / "outcomes.json"
    matched = [part for name in (*ALIVE, "os._exit") for part in ("--match", f"{name} by protocol 4")]
    done = run("--prove", "--kind", "gadget", *matched, "--outcomes", str(told))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    found = {one["name"]: one for one in json.loads(told.read_text()) if one["way"] == "adopted"}
    seen = {name: found[f"gadget: {name} by protocol 4"] for name in (*ALIVE, "os._exit")}
    assert [name for name in ALIVE if not seen[name]["marked"]] == []
    assert [name for name in ALIVE if not seen[name]["heard"]] == []
    assert seen["os._exit"]["end"] == "crash"


def test_a_verdict_finds_each_kind_of_fault() -> None:
    attacks = [Attack("gadget", "a", says=("os.system",)), Attack("inert", "b")]
    attacks.append(Attack("gadget", next(iter(sorted(plain_keys()))), says=("os.system",)))
    ended = {
        "marker": Outcome(0, "adopted", "refused", "TrustError", "os.system is refused", marked=True),
        "violation": Outcome(0, "adopted", "refused", "TrustError", "os.system is refused", heard=("exec",)),
        "not refused": Outcome(0, "adopted", "crash", "signal 11"),
        "silent": Outcome(0, "adopted", "refused", "IntegrityError", ""),
        "unnamed": Outcome(0, "adopted", "refused", "TrustError", "no"),
    }
    other = Outcome(2, "straight", "refused", "SerializerError", "it is no model")
    for kind, outcome in ended.items():
        found = faults(attacks, [outcome], reads=True)
        assert [name for name, listed in found.items() if listed] == [kind]
    sound = [Outcome(0, "a", "refused", "TrustError", "os.system is refused"), Outcome(1, "a", "loaded", said="{}")]
    assert not any(faults(attacks, sound, reads=True).values())
    assert not any(faults(attacks, [ended["unnamed"], other], reads=False).values())
    assert faults(attacks, [other], reads=True)["unnamed"]


@pytest.mark.skipif(reader() is None, reason=f"there is no {READER} yet: without trust no pickle loads")
def test_a_share_of_honest_files_loads_without_trust() -> None:
    files = benign(4)
    done = run("--match", "nothing is called this", "--every", "4")
    assert done.returncode == 0, done.stdout
    assert len(files) >= 40


if __name__ == "__main__":
    sys.exit(main())
