"""A stranger reads the frozen registry, without modelkeep, after ``docs/reference/format.md``."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

from blake3 import blake3

zstd: Any = __import__("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", fromlist=["zstd"])
ROOT = Path(__file__).parent / "data" / "v1"


def digest_of(*lines: str) -> str:
    return blake3("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def operations(prefix: str, registry: str) -> list[dict[str, Any]]:
    raws = [path.read_bytes() for path in sorted((ROOT / prefix).glob("*.json"))]
    for tile in (ROOT / prefix).glob("t1/*.zst"):
        assert zstd.decompress(tile.read_bytes()) == b"".join(raws[int(tile.stem) * 100 :][:100])
    prevs = [digest_of("modelkeep journal 1", registry, prefix), *(blake3(raw).hexdigest() for raw in raws)]
    told: list[dict[str, Any]] = []
    for number, raw in enumerate(raws, 1):
        line, _, signature = raw.decode().partition("\n")
        sound = signature == digest_of(line) + "\n"
        told.append(json.loads(line) if sound else {"lost": number, "ops": []})
        assert not sound or (told[-1]["n"] == number and (told[-1]["prev"] == prevs[number - 1] or "lost" in told[-2]))
    found = [op for entry in told for op in entry["ops"]]
    assert [e["lost"] for e in told if "lost" in e] == [op["n"] for op in found if op["op"] == "seal"]
    return found


def test_a_stranger_reads_the_registry() -> None:
    registry = json.loads((ROOT / "modelkeep.json").read_text("utf-8").splitlines()[0])["id"]
    for prefix, model in json.loads(ROOT.with_suffix(".json").read_text("utf-8"))["models"].items():
        creates = [op for op in operations(f"{prefix}versions/", registry) if op["op"] == "create"]
        assert [str(op["number"]) for op in creates] == list(model["versions"])
        for op in creates:
            packs = {pack: (ROOT / f"{prefix}data/{pack}.pack").read_bytes() for pack in op["packs"]}
            raw = packs[op["at"][0]][op["at"][1] :][: op["at"][2]]
            (magic, h, r, _), files = struct.unpack_from("<8sIII", raw), {}
            assert (magic, blake3(raw[:-32]).digest()) == (b"MKMANIF1", raw[-32:])
            head, record = zstd.decompress(raw[20 : 20 + h]), zstd.decompress(raw[20 + h : 20 + h + r])
            table = struct.iter_unpack("<32s32sHBBIQI4s", raw[20 + h + r : -32])
            for path, size, count in json.loads(head)["files"]:  # every file here has one piece, or is empty
                for _, _, pack, codec, _, stored, at, _, _ in [next(table) for _ in range(count)] or [(0,) * 9]:
                    piece = packs[json.loads(head)["packs"][pack]][at : at + stored]
                    files[path] = [size, blake3(zstd.decompress(piece) if codec else piece).hexdigest()]
            content = digest_of("modelkeep content 1", *(f"{size} {own} {path}" for path, (size, own) in files.items()))
            identity = digest_of("modelkeep version 1", content, blake3(record).hexdigest(), str(op["number"]))
            assert (op["content"], op["identity"], files) == (content, identity, model["versions"][str(op["number"])])
        stacks: dict[str, list[int]] = {}
        for op in [op for op in operations(f"{prefix}releases/", registry) if "alias" in op]:
            stack = stacks.setdefault(op["alias"], [])
            at = 0 if op["op"] == "unalias" else stack.index(op["number"]) if op["how"] == "rollback" else len(stack)
            stack[at:] = [op["number"]] if op["op"] == "alias" else []
        assert {alias: stack[-1] for alias, stack in stacks.items() if stack} == model["aliases"]
