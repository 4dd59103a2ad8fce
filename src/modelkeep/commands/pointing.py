"""The command ``modelkeep pointer``: small files that stand in Git for models, and a hook that keeps models out."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, reference, registry_option
from modelkeep.exits import Exit
from modelkeep.pages import Page, print_json, size, waiting

MAX_SIZE = 500_000  # bytes, as the hook check-added-large-files of pre-commit
_SUFFIXES = (
    *(".bin", ".cbm", ".ckpt", ".dill", ".engine", ".ggml", ".gguf", ".h5", ".hdf5", ".joblib", ".keras", ".mar"),
    *(".mlmodel", ".model", ".msgpack", ".npy", ".npz", ".onnx", ".ort", ".pb", ".pickle", ".pkl", ".pmml", ".pt"),
    *(".pt2", ".pth", ".safetensors", ".skops", ".tflite", ".ubj", ".weights"),
)


@click.group(short_help="Small files that stand in Git for models.")
def pointer() -> None:
    """Small text files, such as churn.pkl.mk, that stand in Git for versions.

    Where a command takes REF it takes such a file, too: modelkeep show churn.pkl.mk.
    """


@pointer.command("write", short_help="Write a pointer to the version REF.")
@click.argument("ref", type=reference)
@click.argument("file", type=click.Path(path_type=Path))
@registry_option
@json_option
def write_pointer(ref: str | Path, file: Path, registry: str | None, as_json: bool) -> None:
    """Write a pointer to the version REF to FILE, which ends in .mk; over another pointer, and over nothing else."""
    from modelkeep.pointer import Pointer

    version = mk.Registry(registry).get(ref)
    Pointer.of(version).write(file)
    if as_json:
        print_json({"ref": version.ref, "digest": version.digest, "file": str(file)})
    else:
        Page().say(f"{file} points to {version}")


@pointer.command("check", short_help="Refuse large model files: a pre-commit hook.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--max-size", metavar="BYTES", type=click.IntRange(0), default=MAX_SIZE, show_default=True, help="Allowed."
)
@click.option("--suffix", "suffixes", metavar=".X", multiple=True, help="A further suffix of model files.")
@click.option("--write", is_flag=True, help="Save each, write a pointer beside it, and let Git ignore it.")
@registry_option
@json_option
@click.pass_context
def check_files(
    ctx: click.Context,
    files: tuple[Path, ...],
    max_size: int,
    suffixes: tuple[str, ...],
    write: bool,
    registry: str | None,
    as_json: bool,
) -> None:
    """Exit with 1 if one of FILES is a large model file, and say what to do; a hook of Git or pre-commit runs this.

    With --write each is saved to the registry, which has to be named: as the next version of the model that the
    pointer beside it names, else as a new model. No file is deleted, and nothing is staged.
    """
    if write and not (registry or os.environ.get("MODELKEEP_REGISTRY")):
        raise click.UsageError("--write needs --registry URL or MODELKEEP_REGISTRY: a place that others can read, too")
    rows: list[dict[str, Any]] = [
        {"path": str(path), "size": number, "ref": None, "pointer": None, "ignored_in": None, "why": None}
        for path, number in _large(files, max_size, (*_SUFFIXES, *suffixes))
    ]
    if write and rows:
        opened = mk.Registry(registry)
        with waiting("saving"):
            for row in rows:
                row.update(_kept(Path(row["path"]), opened))
    if as_json:
        print_json({"ok": not rows, "files": rows})
    elif rows:
        _show(rows, Page())
    ctx.exit(Exit.GATE if rows else Exit.OK)


def _large(files: Iterable[Path], most: int, suffixes: Iterable[str]) -> Iterable[tuple[Path, int]]:
    from modelkeep.commands.gitfiles import sizes

    known = {suffix.lower() for suffix in suffixes}
    found = sizes([path for path in files if path.suffix.lower() in known])
    return ((path, number) for path, number in found.items() if number > most)


def _kept(path: Path, registry: mk.Registry) -> dict[str, str | None]:
    """Save a file, write its pointer, and let Git ignore it; or say why not."""
    from modelkeep.commands.gitfiles import ignore
    from modelkeep.pointer import SUFFIX, Pointer

    beside = path.with_name(path.name + SUFFIX)
    if not path.is_file():
        return {"why": "is left: it is staged, and not on the disk any more"}
    has_pointer = os.path.lexists(beside)
    name = Pointer.read(beside).name if has_pointer else path.stem
    if not has_pointer and (why := _why_not(registry, name)):
        return {"why": f"is left: {why}. Save it by modelkeep save, and then: modelkeep pointer write NAME {beside}"}
    version = registry.save(path, name, reuse=True)
    Pointer.of(version).write(beside)
    changed = ignore(path)
    return {"ref": version.ref, "pointer": str(beside), "ignored_in": None if changed is None else str(changed)}


def _why_not(registry: mk.Registry, name: str) -> str | None:
    """Why a file cannot be the first version of a model called so."""
    try:
        registry.model(name).versions(deleted=True)
    except mk.NotFoundError:
        return None
    except mk.InvalidError as error:
        return str(error)
    return f"the registry has a model {name!r} already, and no pointer beside the file says that it is this one"


def _show(rows: list[dict[str, Any]], page: Page) -> None:
    for row in rows:
        told = f"is kept as {row['ref']}, to which {row['pointer']} points" if row["ref"] else row["why"]
        page.say(f"{row['path']} ({size(row['size'])}) {told or 'is a model too large for Git'}")
    if left := [row["path"] for row in rows if not row["ref"] and not row["why"]]:
        page.say("keep it in a registry, and commit a pointer in its place:")
        page.command(f"modelkeep pointer check --write --registry URL -- {shlex.join(left)}")
    if kept := [row for row in rows if row["ref"]]:
        instead = [row[key] for row in kept for key in ("pointer", "ignored_in") if row[key]]
        page.say("commit the pointer in its place; the file itself stays on the disk:")
        page.command(f"git rm -q --cached --ignore-unmatch -- {shlex.join(row['path'] for row in kept)}")
        page.command(f"git add -- {shlex.join(dict.fromkeys(instead))}")
