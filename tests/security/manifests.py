"""Versions whose record names a loader that is none, or another one, or one that is handed what it should refuse."""

from __future__ import annotations

import io
import json
import marshal
import pickle
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from hostile.archives import safetensors, zipped
from hostile.packed import SERIALIZERS
from security.assembling import Call, Name, pickled
from security.attack import CANARY, MAKE, MARK, TOUCH, Attack

_RUN = Call(Name("os", "system"), (TOUCH,))
PICKLE = pickled(_RUN)
_JSON = json.dumps
Made = dict[str, bytes]


def _array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(3))
    return out.getvalue()


def _named() -> Iterator[Attack]:
    names: tuple[Any, ...] = (
        *(name for name in SERIALIZERS if ":" in name or name in ("builtins", "", "os", "../tree", "\x1b[2J")),
        *("os:system", "os.system", "../x", "sklearn.base", "sklearn:serializer", "SKLEARN", "sklearn ", "unknown"),
        *("modelkeep.integrations.pickles", CANARY, f"{CANARY}:serializer", "pickle", "joblib", "eval", "subprocess"),
        *("numpy.testing._private.utils:runstring", "collections", "torch.load", "file:///etc/passwd", "__main__"),
    )
    for name in dict.fromkeys(names):
        yield Attack("manifest", f"serializer {name[:60]!a}", files=lambda: {"model.pkl": PICKLE}, serializer=name)


_BODIES: dict[str, Callable[[], Mapping[str, bytes]]] = {
    "a pickle for a model": lambda: {"model.pkl": PICKLE},
    "a pickle for weights": lambda: {"model.safetensors": PICKLE},
    "a pickle for a module": lambda: {"module.pkl": PICKLE},
    "a pickle for a tree": lambda: {"model.json": PICKLE, "model.safetensors": PICKLE},
    "a pickle beside buffers": lambda: {"model.pkl": PICKLE, "buffers.safetensors": safetensors(b"{}", b"")},
    "a pickle beside a pickle": lambda: {"model.pkl": PICKLE, "buffers.safetensors": PICKLE},
    "a pickle beside old buffers": lambda: {"model.pkl": PICKLE, "buffers.bin": b"x", "buffers.json": PICKLE},
    "an archive of torch": lambda: {"model.pkl": zipped(("a/data.pkl", PICKLE), ("a/version", b"3"))},
    "an archive of torch for a file": lambda: {"model.pt": zipped(("a/data.pkl", PICKLE), ("a/version", b"3"))},
    "a module beside a state": lambda: {"module.pkl": PICKLE, "model.safetensors": safetensors(b"{}", b"")},
    "garbage": lambda: {"model.pkl": b"\xff" * 999, "module.pkl": b"\xff" * 999, "model.safetensors": b"\xff" * 999},
    "a script": lambda: {"model.py": MAKE.encode()},
}


def _mixed() -> Iterator[Attack]:
    """Serializers that are here, handed files of another, in layouts older and newer than they know."""
    for serializer in ("sklearn", "files", "tree", "torch", "cloudpickle"):
        for told, files in _BODIES.items():
            for number in (1, 0, 2, 99):
                name = f"{serializer} in format {number} with {told}"
                # a tree reads its own file, which is sound there, and leaves the other alone
                kind = "inert" if serializer == "tree" and told == "a module beside a state" else "manifest"
                yield Attack(kind, name, files=files, serializer=serializer, format=number)


# -- frameworks that come later --------------------------------------------------------------------------------------


def _only(path: str, raw: bytes, *empty: str) -> Callable[[], Made]:
    """One file, and some that hold an empty object."""
    return lambda: {path: raw, **dict.fromkeys(empty, b"{}")}


def _onnx(location: str, **more: str) -> Callable[[], Made]:
    def files() -> Made:
        onnx = import_module("onnx")  # neither it nor pyarrow ships types
        helper, kind = onnx.helper, onnx.TensorProto
        weight = kind(name="w", data_type=kind.FLOAT, dims=[4], data_location=kind.EXTERNAL)
        for key, value in {"location": location, "offset": "0", "length": "16", **more}.items():
            weight.external_data.add(key=key, value=value)
        flows = [helper.make_tensor_value_info(name, kind.FLOAT, [4]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", flows[:1], flows[1:], [weight])
        return {"model.onnx": helper.make_model(graph).SerializeToString(), "w.bin": bytes(16)}

    return files


def _keras(config: dict[str, Any]) -> Callable[[], Made]:
    def files() -> Made:
        meta = _JSON({"keras_version": "3.0.0", "date_saved": "x"}).encode()
        return {"model.keras": zipped(("metadata.json", meta), ("config.json", _JSON(config).encode()))}

    return files


def _layer(module: str, name: str, config: dict[str, Any], registered: str | None = None) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def _keras_configs() -> Iterator[tuple[str, dict[str, Any]]]:
    code = b64encode(marshal.dumps(compile(MAKE, "<lambda>", "exec"))).decode()
    spelled = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    yield "a Lambda", _layer("keras.layers", "Lambda", {"name": "a", "function": spelled})
    yield (
        "an old Lambda",
        {"class_name": "Lambda", "config": {"function": [code, None, None], "function_type": "lambda"}},
    )
    inside = [_layer("keras.layers", "Lambda", {"name": "a", "function": spelled})]
    yield "a Lambda in a Sequential", _layer("keras", "Sequential", {"name": "s", "layers": inside})
    for module, name in (
        ("os", "system"),
        ("builtins", "eval"),
        ("subprocess", "Popen"),
        (CANARY, "X"),
        ("", "os.system"),
    ):
        yield f"module {module!r} {name}", _layer(module, name, {"command": TOUCH})
        yield f"registered {module!r} {name}", _layer(module, name, {"command": TOUCH}, f"{module}>{name}")
    yield (
        "a function os.system",
        _layer("keras.layers", "Activation", {"activation": _layer("os", "system", {}, "system")}),
    )
    yield "a file outside", _layer("keras.layers", "TextVectorization", {"vocabulary": "/etc/passwd"})
    yield "a __class_name__", {"class_name": "__tensor__", "config": {"value": [1] * 9, "dtype": "os.system"}}
    yield "unsafe by its own word", {**_layer("keras.layers", "Lambda", {"function": spelled}), "safe_mode": False}


def _folder(config: dict[str, Any], **files: bytes) -> Callable[[], Made]:
    return lambda: {
        "config.json": _JSON(config).encode(),
        **{name.replace("__", "."): raw for name, raw in files.items()},
    }


def _hubs() -> Iterator[tuple[str, str, Callable[[], Made]]]:
    code = f"{MAKE}\nclass X: pass\n".encode()
    mapped = {
        "model_type": "bert",
        "auto_map": {"AutoModel": "evil.X", "AutoConfig": "evil.X"},
        "trust_remote_code": True,
    }
    yield "transformers", "auto_map", _folder(mapped, evil__py=code)
    yield (
        "transformers",
        "auto_map to a hub",
        _folder({**mapped, "auto_map": {"AutoModel": "x/y--evil.X"}}, evil__py=code),
    )
    yield "transformers", "a pickle for weights", _folder({"model_type": "bert"}, pytorch_model__bin=PICKLE)
    yield "transformers", "an architecture os.system", _folder({"architectures": ["os.system"], "model_type": "os"})
    yield "transformers", "a path outside", _folder({"_name_or_path": "../../etc/passwd", "model_type": "../x"})
    yield (
        "transformers",
        "an optimizer",
        _folder({"model_type": "bert"}, optimizer__pt=PICKLE, training_args__bin=PICKLE),
    )
    jinja = {"chat_template": "{{ cycler.__init__.__globals__.os.system('" + TOUCH + "') }}"}
    yield "transformers", "a template", _folder(jinja, tokenizer_config__json=_JSON(jinja).encode())
    yield "tokenizers", "no tokenizer", lambda: {"tokenizer.json": PICKLE}
    base = {"base_model_name_or_path": "../../etc", "peft_type": "LORA", "auto_mapping": {"parent_library": CANARY}}
    yield "peft", "a base outside", lambda: {"adapter_config.json": _JSON(base).encode(), "adapter_model.bin": PICKLE}
    yield "peft", "a pickle for weights", lambda: {"adapter_config.json": b"{}", "adapter_model.bin": PICKLE}
    for kind in ("os.system", f"{CANARY}.X", "sentence_transformers.models.Pooling.os.system", "builtins.eval"):
        rows = [{"idx": 0, "name": "0", "path": TOUCH, "type": kind}]
        yield (
            "sentence_transformers",
            f"a module of type {kind}",
            _only("modules.json", _JSON(rows).encode()),
        )
    outside = [{"idx": 0, "name": "0", "path": "../../etc", "type": "sentence_transformers.models.Transformer"}]
    yield "sentence_transformers", "a module outside", lambda: {"modules.json": _JSON(outside).encode()}
    for key, value in (("@readers", "srsly.read_json.v1"), ("@misc", "os.system"), ("@architectures", f"{CANARY}.v1")):
        config = f'[nlp]\nlang = "en"\npipeline = ["a"]\n[components.a]\n"{key}" = "{value}"\npath = "{MARK}"\n'
        yield "spacy", f"{key} {value}", _only("config.cfg", config.encode(), "meta.json")
    yield "spacy", "a pickle for a vocabulary", lambda: {"meta.json": b'{"lang":"en"}', "vocab/strings.json": PICKLE}


def _pickled() -> Iterator[tuple[str, str, Callable[[], Made]]]:
    for serializer, path in (
        *(("gensim", "model.gensim"), ("gensim", "model.pkl"), ("skorch", "model.pkl"), ("statsmodels", "model.pkl")),
        *(("river", "model.pkl"), ("lightning", "model.ckpt"), ("prophet", "model.json"), ("catboost", "model.cbm")),
        *(("xgboost", "model.ubj"), ("lightgbm", "model.txt"), ("flax", "model.msgpack"), ("jax", "model.msgpack")),
        *(("orbax", "checkpoint/_METADATA"), ("pandas", "frame.parquet"), ("polars", "frame.parquet")),
        *(("pyarrow", "frame.parquet"), ("faiss", "model.index"), ("scipy", "model.npz"), ("equinox", "model.eqx")),
        *(
            ("json", "model.json"),
            ("imblearn", "model.pkl"),
            ("category_encoders", "model.pkl"),
            ("skops", "model.skops"),
        ),
        *(
            ("onnx", "model.onnx"),
            ("keras", "model.keras"),
            ("tensorflow", "saved_model.pb"),
            ("callables", "model.pkl"),
        ),
    ):
        yield serializer, f"a pickle as {path}", _only(path, PICKLE)
        yield serializer, f"garbage as {path}", _only(path, bytes(range(256)) * 9)
        yield (
            serializer,
            f"giant counts as {path}",
            _only(path, b"\xff" * 64 + struct.pack("<Q", 1 << 60) * 99),
        )
        yield serializer, f"nothing as {path}", _only(path, b"")
    yield (
        "torch",
        "pt2 that re-enters",
        lambda: {"model.pt2": zipped(("a/data.pkl", _re_entry()), ("a/archive_format", b"pt2"))},
    )
    yield "gensim", "an array of objects beside", lambda: {"m": pickle.dumps({}), "m.wv.vectors.npy": _objects()}
    yield "scipy", "npz of objects", lambda: {"model.npz": zipped(("data.npy", _objects()), ("format.npy", _objects()))}


def _re_entry() -> bytes:
    return pickled(Call(Name("torch.storage", "_load_from_bytes"), (pickled(_RUN, 2),)), 2)


def _objects() -> bytes:
    head = _array()
    return head.replace(b"'<i8'", b"'|O' ").replace(b"(3,)", b"(1,)")[: -3 * 8] + PICKLE


def _texts() -> Iterator[tuple[str, str, Callable[[], Made]]]:
    for told, raw in {
        "deep": b"[" * 100_000 + b"]" * 100_000,
        "a million keys": b"{" + b",".join(b'"%d":0' % n for n in range(1_000_000)) + b"}",
        "an integer of 10^6 digits": b"9" * 1_000_000,
        "a key twice": b'{"a":1,"a":2}',
        "NaN": b"[NaN",
    }.items():
        if told != "a key twice":
            yield "json", told, _only("model.json", raw)
        yield "prophet", told, _only("model.json", raw)
    counts = "tree\nversion=v4\nnum_class=1\nmax_feature_idx=999999999\nTree=0\nnum_leaves=2147483647\n"
    yield "lightgbm", "a giant tree", lambda: {"model.txt": counts.encode()}
    ubj = b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{[#L" + struct.pack(">q", 1 << 60)
    yield "xgboost", "a giant array", lambda: {"model.ubj": ubj}
    for told, raw in {"a giant map": b"\xdf\xff\xff\xff\xff", "a giant array": b"\xdd\xff\xff\xff\xff"}.items():
        yield "flax", told, _only("model.msgpack", raw)
        yield "jax", told, _only("model.msgpack", raw)
    yield "pandas", "metadata that is a pickle", _parquet


def _parquet() -> Made:
    pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")
    metadata = {b"pandas": PICKLE, b"ARROW:extension:metadata": PICKLE}
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), out)
    return {"frame.parquet": out.getvalue()}


def _later() -> Iterator[tuple[str, str, Callable[[], Made]]]:
    for where in (
        "../../etc/passwd",
        "/etc/passwd",
        "w.bin/../../../etc/passwd",
        "..\\x",
        "",
        "nul\0x",
        "file:///etc/passwd",
    ):
        yield "onnx", f"external data in {where!r}", _onnx(where)
    for key, value in (("length", str(1 << 60)), ("offset", "-5"), ("length", "-1"), ("basepath", "/etc")):
        yield "onnx", f"external data with {key} {value}", _onnx("w.bin", **{key: value})
    for told, config in _keras_configs():
        yield "keras", told, _keras(config)
    for made in (_hubs, _pickled, _texts):
        yield from made()


def manifests() -> Iterator[Attack]:
    """All of them; what needs a serializer that is not installed names it."""
    yield from _named()
    yield from _mixed()
    for serializer, told, files in _later():
        name = f"{serializer} with {told}"
        yield Attack("manifest", name, files=files, serializer=serializer, needs=(serializer,))
