"""Files that were made to do harm when they are saved, loaded or exported: archives, arrays, pickles, folders."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hostile.inputs import DEEP, JSON, Hostile, ascii_name, spelled, texts

KIB = 1024
MIB = 1 << 20
_NOISE = np.random.default_rng(1).bytes(100 * KIB)
_LINK = (0o120777 << 16, 3)  # the mode of a symbolic link, and Unix, as zip keeps them


def safetensors(header: bytes, data: bytes = _NOISE, length: int | None = None) -> bytes:
    """A file of that header."""
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def npy(header: str, version: bytes = b"\x01\x00", length: int | None = None, data: bytes = _NOISE) -> bytes:
    """A file of that header."""
    raw = header.encode("latin-1", "replace")
    size = (len(raw) if length is None else length).to_bytes(2 if version == b"\x01\x00" else 4, "little", signed=False)
    return b"\x93NUMPY" + version + size + raw + data


def zipped(*members: tuple[str, bytes], link: bool = False, packed: bool = False) -> bytes:
    """An archive of those members, whatever they are called."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, raw in members:
            facts = zipfile.ZipInfo("x")
            facts.filename = name
            facts.compress_type = archive.compression
            if link:
                facts.external_attr, facts.create_system = _LINK
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a name that is there twice
                archive.writestr(facts, raw)
    return out.getvalue()


def _patched(raw: bytes, magic: bytes, at: int, value: bytes) -> bytes:
    place = raw.rindex(magic) + at
    return raw[:place] + value + raw[place + len(value) :]


def _array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.frombuffer(_NOISE, np.uint8))
    return out.getvalue()


def _safetensors() -> Iterator[tuple[str, bytes]]:
    row = {"dtype": "U8", "shape": [len(_NOISE)], "data_offsets": [0, len(_NOISE)]}
    for name, raw in JSON.items():
        yield f"header {name}", safetensors(raw)
        for field in row:
            yield f"{field} {name}", safetensors(b'{"a":' + spelled(row, **{field: raw}) + b"}")
        yield f"shape of {name}", safetensors(b'{"a":' + spelled(row, shape=b"[" + raw + b"]") + b"}")
        yield f"offsets of {name}", safetensors(b'{"a":' + spelled(row, data_offsets=b"[0," + raw + b"]") + b"}")
        for key in ("format", "order", "tied", "readonly"):
            inner = json.dumps(raw.decode("latin-1")).encode()
            yield (
                f"{key} {name}",
                safetensors(spelled({"a": row, "__metadata__": {}}, __metadata__=b'{"%b":%b}' % (key.encode(), inner))),
            )
    for length in (0, 1, 7, 8, 100 * KIB + 1, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1, 99_999_999):
        yield f"length {length}", safetensors(b'{"a":1}', length=length)
    for text in texts():
        if len(text) < 5_000:
            yield f"tensor {ascii_name(text)}", safetensors(json.dumps({text: row}).encode())
    one = json.dumps(row)
    yield "a tensor twice", safetensors(f'{{"a":{one},"a":{one}}}'.encode())
    yield "on each other", safetensors(f'{{"a":{one},"b":{one}}}'.encode())
    yield (
        "100,000 empty tensors",
        safetensors(
            (
                "{" + ",".join(f'"{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for n in range(100_000)) + "}"
            ).encode(),
            b"",
        ),
    )
    yield "5,000 dimensions", safetensors(json.dumps({"a": {**row, "shape": [1] * 5000}}).encode())
    yield "16 MiB of spaces", safetensors(b"{}" + b" " * (16 * MIB), b"")
    yield "24 MiB of lists", safetensors(b'{"a":[' + b"[]," * (8 * MIB) + b"[]]}", b"")
    yield (
        "24 MiB of text with an emoji",
        safetensors('{"__metadata__":{"a":"😀'.encode() + b"x" * (24 * MIB) + b'"}}', b""),
    )


def _npy() -> Iterator[tuple[str, bytes]]:
    top = 1 << 62
    shapes = (
        "()",
        "(-1,)",
        f"({top},4,4)",
        "(1e9,)",
        "(None,)",
        "('a',)",
        "(True,)",
        "1",
        "[3]",
        f"({'9' * 5000},)",
        "(0,)",
        f"({'1,' * 5000})",
        "((1,),)",
        "(102400,1,1,1)",
        "(" * 90 + ")" * 90,
        "(1<<70,)",
        f"(0,{top})",
    )
    types = (
        "'|O'",
        "'<f8'",
        "'<V100'",
        "'|V0'",
        "'<U0'",
        "'<M8[ns]'",
        "'<M8[2147483648s]'",
        "[]",
        "[('a','<f8'),('a','<f8')]",
        "[('a',('<f8',(99999999,99999999)))]",
        "'<f16'",
        "'" + "x" * 5000 + "'",
        "None",
        "5",
        "{'a':1}",
        "[('a','|O')]",
        "'i8,i8,O'",
        "[('','<f8')]",
        "[('a\\x00','<f8')]",
        "('<f8',(1<<40,))",
        "'numpy.float64'",
        "'>c32'",
    )
    for shape in shapes:
        yield f"shape {shape[:30]} of {len(shape)}", npy(f"{{'descr':'|u1','fortran_order':False,'shape':{shape},}}\n")
    for kind in types:
        for shape in ("(3,)", "(0,)", "()"):
            yield (
                f"type {kind[:40]} of {len(kind)} {shape}",
                npy(f"{{'descr':{kind},'fortran_order':False,'shape':{shape},}}\n"),
            )
    for order in ("1", "None", "'x'", "[]", "True"):
        yield f"order {order}", npy(f"{{'descr':'<f8','fortran_order':{order},'shape':(100,50),}}\n")
    headers = {
        "calls": "__import__('os').system('touch harmed')",
        "lambda": "(lambda: 1)()",
        "nested": "(" * 9000,
        "empty": "",
        "list": "[]",
        "no key": "{'descr':'<f8'}",
        "more keys": "{'descr':'<f8','fortran_order':False,'shape':(1,),'x':1}",
        "power": "9**9**9",
        "walrus": "(x:=1)",
        "NUL": "{'a\0':1}",
        "f-string": "f'{1}'",
        "minus": "-" * 5000 + "1",
        "set": "{1,2}",
        "spaces": " " * 60_000,
        "bytes": "b'" + "\\xff" * 2000 + "'",
        "sum": "+".join(["1"] * 3000),
        "5,000 digits": "9" * 5000,
    }
    for name, header in headers.items():
        for version in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
            yield f"header {name} of version {version[0]}", npy(header, version)
    for version in (b"\x00\x00", b"\x04\x00", b"\xff\xff", b"\x01\x01"):
        yield f"version {version!r}", npy("{}", version)
    for length in (0, 1, 65_535):
        yield f"length {length}", npy("{'descr':'<f8','fortran_order':False,'shape':(3,)}", length=length)
    yield "length 2^32-1", npy("{}", b"\x02\x00", (1 << 32) - 1)
    yield "larger than the file", npy("{'descr':'<f8','fortran_order':False,'shape':(1000000000000,),}")
    yield "a row of 200 MB", npy("{'descr':'|V200000000','fortran_order':False,'shape':(1,),}")


def _zips() -> Iterator[tuple[str, bytes]]:
    array = _array()
    for text in texts():
        if len(text) < 5_000 and not any("\ud800" <= c <= "\udfff" for c in text):
            yield f"member {ascii_name(text)}", zipped((text, array), (f"{text}.npy", array))
    sound = zipped(("a.npy", array), ("b.npy", array))
    top = b"\xff" * 4
    places = {"entry": (b"PK\x01\x02", 46), "local": (b"PK\x03\x04", 30), "end": (b"PK\x05\x06", 22)}
    for where, (magic, size) in places.items():
        for at in range(4, size, 2):
            for value in (b"\x00\x00", b"\xff\xff", b"\x01\x00", b"\x00\x80"):
                yield f"{where} byte {at} {value.hex()}", _patched(sound, magic, at, value)
    yield "end of all ones", _patched(sound, b"PK\x05\x06", 4, top * 4)
    yield "two ends", sound + sound[-22:]
    yield "nested archives", zipped(("a.npy", zipped(("a.npy", zipped(("a.npy", array))))))
    yield "itself in front", sound + sound
    for name, members in {
        "a member twice": [("a.npy", array), ("a.npy", array)],
        "case twins": [("A.npy", array), ("a.npy", array)],
        "normalisation twins": [("é.npy", array), ("e\u0301.npy", array)],
        "a file that is a folder": [("a", b"x"), ("a/b.npy", array)],
        "10,000 members": [(f"{n}.npy", b"") for n in range(10_000)],
        "no members": [],
        "a torch file that is none": [("x/data.pkl", b"cos\nsystem\n")],
        "a torch file of two roots": [("x/data.pkl", b"."), ("y/data.pkl", b"."), ("x/data/0", bytes(40 * KIB))],
        "a torch file by traversal": [("../../x/data.pkl", _CALLS), ("../../x/data/0", bytes(40 * KIB))],
        "a pickle of objects": [("a.npy", npy("{'descr':'|O','fortran_order':False,'shape':(1,),}\n", data=_CALLS))],
    }.items():
        for link in (False, True):
            yield f"{name}{' as links' * link}", zipped(*members, link=link)
    yield "a link to /etc/passwd", zipped(("a.npy", b"/etc/passwd"), link=True)
    yield "a link to the canary", zipped(("link", b"../canary"), ("link/x.npy", array), link=True)
    zeros = npy(f"{{'descr':'|u1','fortran_order':False,'shape':({200 * MIB},),}}\n", data=bytes(200 * MIB))
    yield "200 MiB of zeros", zipped(("a.npy", zeros), packed=True)
    yield (
        "says 1 TiB",
        zipped(
            ("a.npy", npy(f"{{'descr':'|u1','fortran_order':False,'shape':({1 << 40},),}}\n", data=bytes(9 * MIB))),
            packed=True,
        ),
    )
    yield "on each other", _patched(sound, b"PK\x01\x02", 42, bytes(4))
    for count in (1, 17, 18, 21, 22, 40):
        yield f"cut by {count}", sound[:-count]


class _Calls:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


_CALLS = pickle.dumps(_Calls())


def _pickles() -> Iterator[tuple[str, bytes]]:
    for protocol in range(6):
        yield f"calls in protocol {protocol}", pickle.dumps(_Calls(), protocol)
        yield f"calls late in protocol {protocol}", pickle.dumps([bytes(70 * KIB), _Calls()], protocol)
    made = {
        "buffers": b"\x80\x05\x97\x97\x97.",
        "readonly": b"\x80\x05\x97\x98.",
        "a frame of 2^63": b"\x80\x05\x95" + b"\xff" * 8 + b".",
        "bytes of 2^63": b"\x80\x05\x8e" + b"\xff" * 7 + b"\x7f.",
        "bytes of 2^40": b"\x80\x05\x8e" + (1 << 40).to_bytes(8, "little") + b".",
        "text of 2^40": b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b".",
        "array of 2^40": b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",
        "a number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "a negative count": b"\x80\x02\x8b\xff\xff\xff\xff.",
        "100,000 deep": b"\x80\x02" + b"(" * DEEP + b"l" * DEEP + b".",
        "100,000 lists": b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
        "memo of 2^32": b"\x80\x02]r\xff\xff\xff\xff.",
        "no end": b"\x80\x05" + b"N" * 1000,
        "behind its end": b"\x80\x05N." * 1000,
        "unknown opcode": b"\x80\x05\xff.",
        "a text without end": b"\x80\x02cos\nsystem",
        "protocol 99": b"\x80\x63N.",
        "a number of 5,000 digits": b"\x80\x02I" + b"9" * 5000 + b"\n.",
        "a long of 5,000 digits": b"\x80\x02L" + b"9" * 5000 + b"L\n.",
        "NaN": b"\x80\x02Fnan\n.",
        "no UTF-8": b"\x80\x04X\x02\x00\x00\x00\xff\xfe.",
        "bad quotes": b"\x80\x02S'abc\n.",
        "bad escape": b"\x80\x02V\\ud800\\uZZZZ\n.",
        "pop of nothing": b"\x80\x020000.",
        "persistent": b"\x80\x02Px\nQ.",
        "extension": b"\x80\x02\x84\xff\xff\xff\xff.",
        "build of nothing": b"\x80\x02b.",
        "next buffer alone": b"\x80\x05\x97.",
    }
    yield from made.items()
    body = b"\x80\x05" + b"N0" * 1000 + b"N."
    yield "gzip", gzip.compress(_CALLS)
    yield "gzip of zeros", gzip.compress(b"\x80\x05" + bytes(64 * MIB), 9)
    yield "zlib", zlib.compress(_CALLS)
    yield "zlib cut", zlib.compress(body)[:-4]
    yield "xz magic alone", b"\xfd7zXZ\x00" + bytes(100)
    yield "xz with a dictionary of 4 GiB", b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01(\x00\x00\x00" + bytes(100)
    yield "joblib", b"\x80\x05cjoblib.numpy_pickle\nNumpyArrayWrapper\n." + bytes(70 * KIB)


@lru_cache(maxsize=1)
def _all() -> dict[str, bytes]:
    makers: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = {
        "safetensors": _safetensors,
        "npy": _npy,
        "zip": _zips,
        "pickle": _pickles,
    }
    return {f"{kind}: {name}": raw for kind, made in makers.items() for name, raw in made()}


def archives() -> Iterator[Hostile]:
    """One file each."""
    for name, raw in _all().items():
        yield Hostile("archive", name, raw)


def trees() -> Iterator[Hostile]:
    """Versions of several files that one of our serializers is said to have written."""
    row = {"dtype": "U8", "shape": [len(_NOISE)], "data_offsets": [0, len(_NOISE)]}
    tensors = safetensors(json.dumps({"a": row}).encode())
    for name, raw in JSON.items():
        for key in ("$dict", "$list", "$tuple", "$value", "$array"):
            tree = b'{"%b":%b}' % (key.encode(), raw)
            yield Hostile("tree", f"{key} {name}", ("tree", {"model.safetensors": tensors, "tree.json": tree}))
        for field in ("dtype", "shape", "scalar", "torch"):
            tree = spelled({"$array": "a"}, **{field: raw})
            yield Hostile("tree", f"{field} {name}", ("tree", {"model.safetensors": tensors, "tree.json": tree}))
        for field in ("buffers", "other"):
            index = spelled({}, **{field: raw})
            files = {"model.pkl": b"\x80\x05\x97.", "buffers.bin": bytes(100), "buffers.json": index}
            yield Hostile("tree", f"{field} {name}", ("cloudpickle", files))
        rows = b'{"buffers":[[' + raw + b"," + raw + b"," + raw + b"]]}"
        files = {"model.pkl": b"\x80\x05\x97.", "buffers.bin": bytes(100), "buffers.json": rows}
        yield Hostile("tree", f"a buffer of {name}", ("cloudpickle", files))
    for name, raw in _pickles():
        yield Hostile("tree", f"model.pkl {name}", ("cloudpickle", {"model.pkl": raw}))
        yield Hostile(
            "tree", f"buffers and {name}", ("cloudpickle", {"model.pkl": raw, "buffers.safetensors": tensors})
        )
        yield Hostile("tree", f"module.pkl {name}", ("torch", {"module.pkl": raw, "model.safetensors": tensors}))
    for serializer in ("tree", "cloudpickle", "torch", "sklearn", "files"):
        for name in ("x", "model.safetensors", "model.pkl", "tree.json", "module.pkl", "buffers.safetensors"):
            yield Hostile("tree", f"{serializer} with {name} alone", (serializer, {name: b"{}"}))


# -- folders on a disk ---------------------------------------------------------------------------------------------


def _each(*acts: Callable[[], object]) -> None:
    for act in acts:
        act()


def folders() -> Iterator[Hostile]:
    """Folders to be saved or adopted: each is made below an empty one by a function of it and the canary."""
    made: dict[str, Callable[[Path, Path], object]] = {
        "empty": lambda *_: None,
        "a link out": lambda f, c: (f / "l").symlink_to(c / "bait"),
        "a relative link out": lambda f, c: (f / "l").symlink_to("../" * 12 + str(c / "bait").lstrip("/")),
        "a link to a folder out": lambda f, c: (f / "l").symlink_to(c, target_is_directory=True),
        "a link below": lambda f, c: _each((f / "d").mkdir, lambda: (f / "d" / "l").symlink_to(c / "bait")),
        "a link to nothing": lambda f, _: (f / "l").symlink_to("gone"),
        "a link to itself": lambda f, _: (f / "l").symlink_to("l"),
        "links in a ring": lambda f, _: _each(lambda: (f / "a").symlink_to("b"), lambda: (f / "b").symlink_to("a")),
        "a link to its folder": lambda f, _: (f / "l").symlink_to(f, target_is_directory=True),
        "a link to /proc": lambda f, _: (f / "l").symlink_to("/proc/self/environ"),
        "a link to a device": lambda f, _: (f / "l").symlink_to("/dev/zero"),
        "a pipe": lambda f, _: os.mkfifo(f / "p"),
        "a hard link within": lambda f, _: _each(
            lambda: (f / "a").write_bytes(b"x"), lambda: os.link(f / "a", f / "b")
        ),
        "names without UTF-8": lambda f, _: Path(os.fsdecode(os.fsencode(f) + b"/\xff\xfe")).write_text("x") and None,
        "a newline": lambda f, _: (f / "a\nb").write_text("x") and None,
        "an escape": lambda f, _: (f / "a\x1b[2Jb").write_text("x") and None,
        "bidi": lambda f, _: (f / "a\u202egpj.exe").write_text("x") and None,
        "a backslash": lambda f, _: (f / "a\\..\\b").write_text("x") and None,
        "a colon": lambda f, _: (f / "C:x").write_text("x") and None,
        "twins": lambda f, _: [(f / n).write_text("x") for n in ("é", "e\u0301", "W", "w")] and None,
        "a device": lambda f, _: (f / "NUL").write_text("x") and None,
        "hundred deep": lambda f, _: (f / "/".join(["d"] * 100)).mkdir(parents=True),
        "a file hundred deep": lambda f, _: _deep(f, 100),
        "a file 1,500 deep": lambda f, _: _deep(f, 1500),
        "2,000 files": lambda f, _: [(f / f"{n}").write_bytes(b"x") for n in range(2000)] and None,
        "a sparse file": lambda f, _: _sparse(f / "s", 64 * MIB),
        "a folder without rights": lambda f, _: _each(
            (f / "d").mkdir, lambda: (f / "x").write_text("x"), lambda: (f / "d").chmod(0)
        ),
        "globs": lambda f, _: [(f / n).write_text("x") for n in ("[a]", "*", "?")] and None,
        "part files": lambda f, _: (f / ".x.part").write_text("x") and None,
    }
    for name, make in made.items():
        yield Hostile("folder", name, make)


def _deep(folder: Path, levels: int) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):  # by descriptors: the whole path would be longer than a system call takes
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
