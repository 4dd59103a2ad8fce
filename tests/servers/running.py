"""Real servers on free ports of this machine: each is started, waited for, and gone with everything of it afterwards.

Start them on the main thread: the system ends a server when the thread that started it ends, so that a test run that
is killed leaves none behind.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # gcsfs reads it when imported; no emulator knows gRPC

KEY, SECRET, REGION = "test", "testtest", "us-east-1"
PATIENCE = 60  # seconds for a server to get ready
SOCKETS = Path("/tmp")  # where SeaweedFS puts its sockets, whatever TMPDIR says
TESTS = Path(__file__).parent.parent

# Asks the system to kill this process when its parent goes, then becomes the server.
ORPHANS_DIE = """
import os, sys
if sys.platform == "linux":
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent has gone already")
os.execv(sys.argv[2], sys.argv[2:])
"""


class NotInstalledError(Exception):
    """A server is missing from the environment."""


class NotReadyError(Exception):
    """A server ended, or took too long, before it answered."""


@attrs.frozen
class Server:
    """A server that answers, and how to reach it."""

    kind: str
    endpoint: str
    options: dict[str, Any]

    @property
    def protocol(self) -> str:
        return "gs" if self.kind.startswith("gc") else "s3"

    def at(self, endpoint: str) -> Server:
        """The same server behind another address, that of a proxy."""
        return attrs.evolve(self, endpoint=endpoint, options={**self.options, "endpoint_url": endpoint})

    def filesystem(self, **more: Any) -> Any:
        """A new fsspec file system without caches, of s3fs or gcsfs."""
        options = {**self.options, "skip_instance_cache": True, "use_listings_cache": False, **more}
        return importlib.import_module("fsspec").filesystem(self.protocol, **options)

    def bucket(self, name: str) -> None:
        """Make an empty bucket; an S3 name has at least three characters."""
        if self.protocol == "s3":
            with s3_client(self.endpoint) as client:
                client.create_bucket(Bucket=name)
        else:
            self.filesystem().mkdir(name)


@contextlib.contextmanager
def s3_client(endpoint: str) -> Iterator[Any]:
    """A botocore client that tries once and waits for little."""
    config = importlib.import_module("botocore.config").Config(
        retries={"max_attempts": 0}, connect_timeout=5, read_timeout=20, proxies={}
    )
    client = (
        importlib.import_module("botocore.session")
        .Session()
        .create_client(
            "s3", REGION, endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, config=config
        )
    )
    try:
        yield client
    finally:
        client.close()


def s3_server(kind: str, port: int) -> Server:
    endpoint = f"http://127.0.0.1:{port}"
    options = {"key": KEY, "secret": SECRET, "endpoint_url": endpoint, "client_kwargs": {"region_name": REGION}}
    return Server(kind, endpoint, options)


def gcs_server(kind: str, port: int) -> Server:
    endpoint = f"http://127.0.0.1:{port}"
    return Server(kind, endpoint, {"endpoint_url": endpoint, "token": "anon", "project": "p"})


# -- the servers -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def moto() -> Iterator[Server]:
    """S3 as moto has it: in memory, with AWS-shaped errors, and conditions that hold, see `servers.moto`."""
    needs("moto", "flask")
    server = s3_server("moto", port := free_ports(1)[0])
    command = [sys.executable, "-m", "servers.moto", "-H", "127.0.0.1", "-p", str(port)]
    with scratch() as folder, child(command, folder, lambda: answers(server.endpoint), PYTHONPATH=str(TESTS)):
        yield server


@contextlib.contextmanager
def seaweedfs(volumes: int = 300) -> Iterator[Server]:
    """S3 as SeaweedFS has it: on disk, with signatures checked, and conditions that hold with errors of their own.

    It holds *volumes* times 64 MiB; each bucket takes some volumes of its own.
    """
    ports = free_ports(4)
    server = s3_server("seaweedfs", ports[0])
    with (
        scratch() as folder,
        without_sockets(ports),
        s3_client(server.endpoint) as client,
        child(seaweedfs_command(folder, volumes, *ports), folder, lambda: stores(client)),
    ):
        yield server


def seaweedfs_command(folder: Path, volumes: int, s3: int, master: int, volume: int, filer: int) -> list[str]:
    keys = [{"accessKey": KEY, "secretKey": SECRET}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [{"name": "admin", "credentials": keys, "actions": actions}]}))
    options = {
        "dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.port": s3, "s3.config": config,
        "master.port": master, "volume.port": volume, "filer.port": filer, "volume.max": volumes,
        "master.volumeSizeLimitMB": 64, "s3.port.iceberg": 0, "s3.port.lance": 0, "master.telemetry": "false",
    }  # fmt: skip
    return [program("weed"), "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[Server]:
    """S3 over *folder* as rclone has it: conditions are ignored, so two writers are both told yes."""
    server = s3_server("rclone", port := free_ports(1)[0])
    with scratch() as own:
        paths = ["--config", str(own / "rclone.conf"), "--cache-dir", str(own)]
        command = [program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
        with child([*command, *paths, str(folder)], own, lambda: answers(server.endpoint)):
            yield server


@contextlib.contextmanager
def gcs_fake(page_size: int = 1000) -> Iterator[Server]:
    """GCS as `servers.gcs` has it: in memory, with conditions that hold; no page lists more than *page_size*."""
    needs("aiohttp", "google_crc32c")
    server = gcs_server("gcs", port := free_ports(1)[0])
    command = [sys.executable, "-m", "servers.gcs", "--port", str(port), "--page-size", str(page_size)]
    with scratch() as folder, child(command, folder, lambda: answers(server.endpoint), PYTHONPATH=str(TESTS)):
        yield server


@contextlib.contextmanager
def gcp_storage_emulator() -> Iterator[Server]:
    """GCS as gcp-storage-emulator has it: conditions are ignored, so two writers are both told yes."""
    server = gcs_server("gcp-storage-emulator", port := free_ports(1)[0])
    command = [program("gcp-storage-emulator"), "start", "-H", "127.0.0.1", "--port", str(port), "--in-memory"]
    with scratch() as folder, child(command, folder, lambda: answers(server.endpoint)):
        yield server


# -- starting and stopping ---------------------------------------------------------------------------------------------


def program(name: str) -> str:
    """Where the environment has the program *name*, or else the system."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise NotInstalledError(f"the program {name!r} is not installed")
    return found


def needs(*modules: str) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise NotInstalledError(f"not installed: {', '.join(missing)}")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes when its server has gone; those that killed test runs left go first."""
    for left in Path(tempfile.gettempdir()).glob("servers-*-*"):
        if not lives(left.name.split("-")[1]):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"servers-{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):  # another user's, or not a name of ours
        return True
    return True


@contextlib.contextmanager
def child(command: Sequence[str], folder: Path, ready: Callable[[], bool], **variables: str) -> Iterator[None]:
    """*command* as a child process, from when it is *ready*; *folder* takes its output and its temporary files."""
    log = folder / "output.log"
    environment = {**os.environ, "TMPDIR": str(folder), **variables}
    launch = [sys.executable, "-I", "-S", "-c", ORPHANS_DIE, str(os.getpid()), *command]
    with log.open("wb") as output:
        started = subprocess.Popen(
            launch, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait(started, ready, log)
        yield
    finally:
        started.kill()  # no farewell: what it kept goes with its folder, and SeaweedFS takes 15 s to say goodbye
        started.wait()


def wait(started: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    give_up = time.monotonic() + PATIENCE
    while started.poll() is None and time.monotonic() < give_up:
        if ready():
            return
        time.sleep(0.02)
    last = log.read_text(errors="replace")[-2000:]
    state = "took too long" if started.poll() is None else f"ended with {started.returncode}"
    raise NotReadyError(f"{started.args!r} {state}; its last output:\n{last}")


def answers(endpoint: str) -> bool:
    connection = http.client.HTTPConnection(str(urlsplit(endpoint).netloc), timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()


def stores(client: Any) -> bool:
    """Whether an S3 server takes an object: SeaweedFS opens its port, and lists buckets, before it does."""
    errors = importlib.import_module("botocore.exceptions")
    try:
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket="ready-or-not")
        client.put_object(Bucket="ready-or-not", Key="probe", Body=b"probe")
        client.delete_object(Bucket="ready-or-not", Key="probe")
        client.delete_bucket(Bucket="ready-or-not")
    except (errors.ClientError, errors.BotoCoreError):
        return False
    return True


@contextlib.contextmanager
def without_sockets(ports: Sequence[int]) -> Iterator[None]:
    """Remove the socket files that SeaweedFS leaves behind for these ports, and for those 10000 above."""
    try:
        yield
    finally:
        for port in ports:
            for found in (
                *SOCKETS.glob(f"seaweedfs-*-{port}.sock"),
                *SOCKETS.glob(f"seaweedfs-*-{port + 10_000}.sock"),
            ):
                found.unlink(missing_ok=True)


def free_ports(count: int) -> list[int]:
    """Ports that are free, as are those 10000 above, which SeaweedFS takes too; below those that the system gives."""
    candidates = random.SystemRandom().sample(range(10_000, 20_000), 200)
    found = [port for port in candidates[: 50 * count] if is_free(port) and is_free(port + 10_000)]
    return found[:count]


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
