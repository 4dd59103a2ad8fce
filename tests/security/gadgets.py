"""Gadgets of the standard library: what scanners and advisories know, and what they forgot."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Iterator
from typing import Any

from security.assembling import Build, Call, Name, New, Raw, pickled
from security.attack import CANARY, MAKE, MARK, TOUCH, Gadget

N = Name
ARGV = ["sh", "-c", TOUCH]
INNER = pickled(Call(N("os", "system"), (TOUCH,)))
CODE = marshal.dumps(compile(MAKE, "<gadget>", "exec"))


def g(module: str, attr: str, *args: Any, told: str = "") -> Gadget:
    """A name that is called."""
    return Gadget(f"{module}.{attr}{' ' * bool(told)}{told}", Call(Name(module, attr), args))


def only(module: str, *attrs: str) -> Iterator[Gadget]:
    """Names that are looked up and not called."""
    for attr in attrs:
        yield Gadget(f"{module}.{attr} named", Name(module, attr))


def many(module: str, attrs: str, *args: Any) -> Iterator[Gadget]:
    """Several names of one module, called alike."""
    for attr in attrs.split():
        yield g(module, attr, *args)


# fmt: off
def _shells() -> Iterator[Gadget]:
    for module in ("os", "posix"):
        yield g(module, "system", TOUCH)
    yield from many("os", "popen", TOUCH)
    yield from many("os", "execv execvp", "/bin/sh", ARGV)
    yield from many("os", "execl execlp", "/bin/sh", *ARGV)
    yield from many("os", "execve execvpe", "/bin/sh", ARGV, {})
    yield from many("os", "spawnv spawnvp", 0, "/bin/sh", ARGV)
    yield from many("os", "spawnl spawnlp", 0, "/bin/sh", *ARGV)
    yield from many("os", "posix_spawn posix_spawnp", "/bin/sh", ARGV, {})
    yield from many("posix", "execv", "/bin/sh", ARGV)
    yield from many("posix", "posix_spawn", "/bin/sh", ARGV, {})
    yield from many("nt", "system startfile", TOUCH)
    yield from many("commands", "getoutput getstatusoutput", TOUCH)
    yield from many("subprocess", "Popen call run check_call check_output", ARGV)
    yield from many("subprocess", "getoutput getstatusoutput", TOUCH)
    yield g("pty", "spawn", ARGV)
    yield g("_posixsubprocess", "fork_exec", ARGV, [b"/bin/sh"], True, (), None, None, -1, -1, -1, -1, -1, -1, -1, -1,
            True, False, -1, None, None, None, -1, None, False)
    yield g("asyncio.unix_events", "_UnixSubprocessTransport._start", None, ARGV, False, None, None, None, 0)
    yield g("asyncio", "create_subprocess_shell", TOUCH)
    yield g("asyncio.subprocess", "create_subprocess_exec", *ARGV)
    yield g("asyncio", "run", None)
    yield g("distutils.spawn", "spawn", ARGV)
    yield g("setuptools._distutils.spawn", "spawn", ARGV)
    yield g("distutils.file_util", "write_file", MARK, ["x"])
    yield g("setuptools._distutils.file_util", "write_file", MARK, ["x"])
    yield g("pydoc", "pipepager", "x", TOUCH)
    yield g("pydoc", "tempfilepager", "x", "sh -c true")
    yield g("_pyrepl.pager", "pipe_pager", "x", TOUCH)
    yield g("imaplib", "IMAP4_stream", TOUCH)
    yield g("webbrowser", "open", "http://127.0.0.1:9/")
    yield g("webbrowser", "GenericBrowser", "true")
    yield g("multiprocessing.util", "spawnv_passfds", b"/bin/sh", [b"sh", b"-c", TOUCH.encode()], [])
    yield g("multiprocessing", "Process", None, Name("os", "system"), "p", (TOUCH,))
    yield g("multiprocessing.pool", "Pool", 1, Name("os", "system"), (TOUCH,))
    yield g("multiprocessing.managers", "BaseManager")
    yield g("concurrent.futures", "ProcessPoolExecutor", 1, None, Name("os", "system"), (TOUCH,))
    yield g("_osx_support", "_read_output", TOUCH)
    yield g("_aix_support", "_read_cmd_output", TOUCH)
    yield g("uuid", "_get_command_stdout", "sh", "-c", TOUCH)
    yield g("ctypes.util", "_findSoname_ldconfig", "c")
    yield g("ensurepip", "_run_pip", ["--version"])
    yield g("venv", "create", MARK)
    yield g("test.support.script_helper", "assert_python_ok", "-c", MAKE)
    yield g("test.support.script_helper", "spawn_python", "-c", MAKE)
    yield g("xmlrpc.client", "ServerProxy", "http://127.0.0.1:9/")


def _evaluators() -> Iterator[Gadget]:  # noqa: PLR0915  a list reads best whole
    for module in ("builtins", "__builtin__"):
        yield g(module, "eval", MAKE)
        yield g(module, "exec", MAKE)
    yield g("builtins", "compile", MAKE, "<x>", "exec")
    yield g("builtins", "__import__", CANARY)
    yield g("builtins", "open", MARK, "w")
    yield g("io", "open", MARK, "w")
    yield g("_io", "open", MARK, "w")
    yield g("_io", "FileIO", MARK, "w")
    yield g("io", "FileIO", MARK, "w")
    yield g("codecs", "open", MARK, "w")
    yield g("os", "open", MARK, 0o101)
    yield g("builtins", "breakpoint")
    yield g("builtins", "input")
    yield g("builtins", "setattr", Name("json", "JSONEncoder"), "x", Name("os", "system"))
    yield g("builtins", "delattr", Name("json", "JSONEncoder"), "x")
    yield from many("builtins", "globals locals vars dir" )
    yield g("builtins", "type", "T", (), {"__del__": Name("os", "system")})
    yield Gadget("getattr of os", Call(Call(N("builtins", "getattr"), (N("os", "path"), "os")), ()))
    yield Gadget("getattr of a module", Call(Call(N("builtins", "getattr"), (
        Call(N("builtins", "__import__"), ("os",)), "system")), (TOUCH,)))
    for attr in ("map", "filter"):
        yield Gadget(f"builtins.{attr} in a list", Call(N("builtins", "list"), (
            Call(N("builtins", attr), (N("os", "system"), [TOUCH])),)))
    yield Gadget("builtins.map in bytes", New(N("builtins", "bytes"), (
        New(N("builtins", "map"), (N("os", "system"), [TOUCH])),)))
    yield g("builtins", "max", [TOUCH], told="by a key of os.system")
    yield Gadget("builtins.sorted", Call(N("builtins", "sorted"), ([TOUCH],)))
    yield Gadget("builtins.iter", Call(N("builtins", "iter"), (N("os", "getcwd"), "")))
    yield g("code", "interact")
    yield Gadget("code.InteractiveInterpreter.runcode", Call(N("code", "InteractiveInterpreter.runcode"), (
        Call(N("code", "InteractiveInterpreter"), ()), Call(N("builtins", "compile"), (MAKE, "<x>", "exec")))))
    yield g("codeop", "compile_command", MAKE)
    yield g("runpy", "run_path", f"{CANARY}.py")
    yield g("runpy", "run_module", CANARY)
    yield g("runpy", "_run_code", MAKE, {})
    yield g("runpy", "_run_module_code", MAKE, {})
    yield g("importlib", "import_module", CANARY)
    yield g("importlib", "__import__", CANARY)
    yield g("importlib._bootstrap", "_gcd_import", CANARY)
    yield g("importlib.util", "find_spec", f"{CANARY}.x")
    loader = Call(N("importlib.machinery", "SourceFileLoader"), (CANARY, f"{CANARY}.py"))
    yield g("importlib.machinery", "SourceFileLoader.load_module", loader, CANARY)
    yield g("imp", "load_source", CANARY, f"{CANARY}.py")
    yield g("pkgutil", "resolve_name", "os:system")
    yield Gadget("pkgutil.resolve_name called", Call(Call(N("pkgutil", "resolve_name"), ("os:system",)), (TOUCH,)))
    yield g("pkgutil", "get_loader", f"{CANARY}.x")
    yield g("zipimport", "zipimporter", MARK)
    yield g("pydoc", "locate", CANARY)
    yield g("pydoc", "safeimport", CANARY)
    yield g("pydoc", "importfile", f"{CANARY}.py")
    yield g("unittest.mock", "_importer", CANARY)
    yield g("unittest.loader", "TestLoader.loadTestsFromName", Call(N("unittest.loader", "TestLoader"), ()), CANARY)
    yield g("logging.config", "_resolve", CANARY)
    yield g("logging.config", "dictConfig", {"version": 1, "handlers": {"a": {"()": "os.system", "command": TOUCH}}})
    yield g("logging.config", "fileConfig", MARK)
    yield g("logging", "FileHandler", MARK)
    yield g("logging", "_StderrHandler")
    yield g("wsgiref.simple_server", "make_server", "127.0.0.1", 0, None)
    yield g("timeit", "timeit", "pass", MAKE, Name("time", "perf_counter"), 1)
    yield g("timeit", "repeat", "pass", MAKE, Name("time", "perf_counter"), 1, 1)
    yield g("timeit", "main", [MAKE])
    yield g("cProfile", "run", MAKE)
    yield g("cProfile", "runctx", MAKE, {}, {})
    yield g("profile", "run", MAKE)
    yield g("profile", "runctx", MAKE, {}, {})
    yield g("profile", "Profile.run", Call(N("profile", "Profile"), ()), MAKE)
    yield g("pdb", "run", MAKE)
    yield g("pdb", "runeval", MAKE)
    yield g("bdb", "Bdb.run", Call(N("bdb", "Bdb"), ()), MAKE)
    yield g("trace", "Trace.run", Call(N("trace", "Trace"), ()), MAKE)
    yield g("trace", "Trace.runctx", Call(N("trace", "Trace"), ()), MAKE, {}, {})
    yield g("doctest", "debug_script", MAKE)
    yield g("doctest", "debug_src", MAKE)
    yield g("tabnanny", "check", MARK)
    yield g("idlelib.pyshell", "ModifiedInterpreter.runcode")
    yield g("idlelib.run", "Executive.runcode")
    yield g("idlelib.autocomplete", "AutoComplete.get_entity", None, MAKE)
    yield g("idlelib.autocomplete", "AutoComplete.fetch_completions", None, MAKE, 0)
    yield g("idlelib.calltip", "get_entity", MAKE)
    yield g("idlelib.calltip", "Calltip.fetch_tip", None, MAKE)
    yield g("idlelib.debugobj", "ObjectTreeItem.SetText", None, MAKE)
    yield g("lib2to3.pgen2.grammar", "Grammar.loads", None, INNER)
    yield g("lib2to3.pgen2.pgen", "ParserGenerator.make_label", None, None, MAKE)
    yield g("dataclasses", "make_dataclass", "T", [("a", f"[{MAKE}]")])
    yield g("dataclasses", "_create_fn", "f", (), [MAKE])
    yield g("collections", "namedtuple", "T", "a b")
    yield g("typing", "get_type_hints", {"__annotations__": {"a": MAKE}})
    yield g("typing", "ForwardRef._evaluate", Call(N("typing", "ForwardRef"), (MAKE,)), {}, {}, Raw(b"(\x91"))
    yield g("inspect", "getmodulename", MARK)
    yield g("ast", "literal_eval", "1")
    yield g("gettext", "c2py", "n")
    yield g("string", "Formatter.vformat", Call(N("string", "Formatter"), ()), "{0.__class__}", (1,), {})
    yield g("rlcompleter", "Completer.attr_matches", Call(N("rlcompleter", "Completer"), ()), "os.system")
    yield g("smtplib", "SMTP", "127.0.0.1", 9)
    yield g("ctypes", "CDLL", "libc.so.6")
    yield g("ctypes", "PyDLL", None)
    yield g("ctypes", "string_at", 0)
    yield g("ctypes.util", "find_library", "c")
    yield g("_ctypes", "dlopen", "libc.so.6", 2)


def _re_entries() -> Iterator[Gadget]:
    for module in ("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib.numpy_pickle_utils"):
        yield g(module, "loads", INNER)
    yield Gadget("_pickle.Unpickler.load", Call(N("_pickle", "Unpickler.load"), (
        Call(N("_pickle", "Unpickler"), (Call(N("io", "BytesIO"), (INNER,)),)),)))
    yield Gadget("pickle._Unpickler", Call(N("pickle", "_Unpickler.load"), (
        Call(N("pickle", "_Unpickler"), (Call(N("_io", "BytesIO"), (INNER,)),)),)))
    yield Gadget("pickle.load", Call(N("pickle", "load"), (Call(N("io", "BytesIO"), (INNER,)),)))
    made = Call(N("types", "FunctionType"), (Call(N("marshal", "loads"), (CODE,)), {}))
    yield Gadget("marshal.loads in a function", Call(made))
    yield g("marshal", "loads", CODE)
    yield g("shelve", "open", MARK)
    yield g("dbm", "open", MARK, "c")
    yield g("copyreg", "__reduce_ex__", Name("os", "system"), 2)
    yield g("copyreg", "_reconstructor", Name("ctypes", "CDLL"), Name("builtins", "object"), None)
    yield g("copyreg", "_reconstructor", Name("builtins", "int"), Name("builtins", "list"), [1], told="of an odd base")
    yield g("copyreg", "__newobj__", Name("_io", "FileIO"))
    yield g("copyreg", "__newobj_ex__", Name("_io", "FileIO"), (), {})
    yield g("copyreg", "add_extension", "os", "system", 7)
    yield g("copyreg", "pickle", Name("builtins", "dict"), Name("os", "system"))
    yield g("_codecs", "encode", "x", "latin1")
    yield g("codecs", "decode", b"x", "latin1")
    yield g("codecs", "lookup", f"{CANARY}")
    yield g("codecs", "register", Name("os", "system"))
    yield g("encodings", "search_function", CANARY)
    yield g("types", "CodeType", 0, 0, 0, 0, 0, 0, b"", (), (), (), "", "", "", 0, b"", b"")
    yield g("types", "FunctionType", None, {})
    yield g("types", "MethodType", Name("os", "system"), TOUCH)
    yield Gadget("types.MethodType called", Call(Call(N("types", "MethodType"), (N("os", "system"), TOUCH)), ()))
    yield g("types", "new_class", "T")
    yield g("types", "ModuleType", "os")
    yield g("types", "SimpleNamespace")
    yield g("types", "DynamicClassAttribute", Name("os", "system"))
    yield g("copy", "deepcopy", Name("os", "system"))
    yield Gadget("copy._reconstruct", Call(N("copy", "_reconstruct"), ([], None, N("os", "system"), (TOUCH,))))


def _indirect() -> Iterator[Gadget]:  # noqa: PLR0915  a list reads best whole
    for module in ("operator", "_operator"):
        os = Call(N("importlib", "import_module"), ("os",))
        yield Gadget(f"{module}.methodcaller", Call(Call(N(module, "methodcaller"), ("system", TOUCH)), (os,)))
        yield Gadget(f"{module}.attrgetter", Call(Call(Call(N(module, "attrgetter"), ("system",)), (
            Call(N("importlib", "import_module"), ("os",)),)), (TOUCH,)))
        yield g(module, "itemgetter", 0)
        yield g(module, "call", Name("os", "system"), TOUCH)
    yield Gadget("functools.partial", Call(Call(N("functools", "partial"), (N("os", "system"), TOUCH)), ()))
    yield g("functools", "partialmethod", Name("os", "system"), TOUCH)
    yield g("functools", "reduce", Name("os", "execv"), ["/bin/sh", ARGV])
    yield g("functools", "singledispatch", Name("os", "system"))
    yield g("functools", "lru_cache", Name("os", "system"))
    yield g("functools", "cached_property", Name("os", "system"))
    yield Gadget("functools.cmp_to_key", Call(N("functools", "cmp_to_key"), (N("os", "system"),)))
    yield Gadget("functools.partial by state", Build(New(N("functools", "partial"), (N("os", "getcwd"),)),
                                                     (Name("os", "system"), (TOUCH,), {}, None)))
    for attr in ("starmap", "accumulate", "takewhile", "dropwhile", "filterfalse", "groupby"):
        args = (N("os", "system"), [(TOUCH,)]) if attr != "accumulate" else ([TOUCH, TOUCH], N("os", "system"))
        yield Gadget(f"itertools.{attr}", Call(N("builtins", "list"), (Call(N("itertools", attr), args),)))
    yield Gadget("itertools.starmap in a deque", Call(N("collections", "deque"), (
        Call(N("itertools", "starmap"), (N("os", "system"), [(TOUCH,)])),)))
    yield g("threading", "Timer", 0, Name("os", "system"), [TOUCH])
    yield g("threading", "Thread", None, Name("os", "system"), None, (TOUCH,))
    yield g("_thread", "start_new_thread", Name("os", "system"), (TOUCH,))
    yield g("sched", "scheduler")
    yield g("atexit", "register", Name("os", "system"), TOUCH)
    yield g("atexit", "_run_exitfuncs")
    yield g("weakref", "finalize", Name("json", "JSONEncoder"), Name("os", "system"), TOUCH)
    yield g("weakref", "ref", Name("json", "JSONEncoder"), Name("os", "system"))
    yield g("signal", "signal", 14, Name("os", "system"))
    yield from many("sys", "settrace setprofile addaudithook", Name("os", "system"))
    yield from many("sys", "exit", 0)
    yield g("sys", "setrecursionlimit", 10)
    yield g("sys", "set_int_max_str_digits", 0)
    yield g("sys", "__setattr__", "x", 1)
    yield g("sys", "modules.__setitem__", "json", None)
    yield from only("sys", "modules", "path", "meta_path", "stdin")
    yield from many("gc", "get_objects get_referrers collect disable freeze")
    yield g("faulthandler", "_sigsegv")
    yield g("os", "_exit", 0)
    yield g("os", "abort")
    yield g("os", "fork")
    yield g("os", "kill", 0, 0)
    yield g("os", "putenv", "LD_PRELOAD", MARK)
    yield g("os", "chdir", "/")
    yield g("contextlib", "ExitStack.callback", Call(N("contextlib", "ExitStack"), ()), Name("os", "system"), TOUCH)
    yield g("unittest", "main", CANARY)
    yield g("unittest.mock", "patch", "os.system")
    yield g("inspect", "getsource", Name("os", "system"))
    yield g("inspect", "getattr_static", Name("os", "path"), "os")
    yield Gadget("collections.defaultdict(os.system)", Call(N("collections", "defaultdict"), (N("os", "system"),)))
    yield Gadget("defaultdict looked into", Call(N("operator", "getitem"), (
        Call(N("collections", "defaultdict"), (N("os", "getcwd"),)), "x")))
    yield g("collections", "UserDict.__missing__", None, 1)
    yield g("collections", "ChainMap.__missing__", None, 1)
    yield g("enum", "Enum._missing_", MARK)
    yield g("enum", "property", Name("os", "system"))
    yield Gadget("object.__reduce_ex__", Call(N("builtins", "object.__reduce_ex__"), (N("os", "path"), 2)))
    yield Gadget("object.__reduce__", Call(N("builtins", "object.__reduce__"), (3,)))
    yield Gadget("object.__subclasses__", Call(N("builtins", "object.__subclasses__"), ()))
    yield g("builtins", "object.__init_subclass__")
    yield g("builtins", "object.__getattribute__", Name("os", "path"), "os")
    yield Gadget("str.format", Call(N("builtins", "str.format"), ("{0.__class__}", 1)))


def _files() -> Iterator[Gadget]:
    yield from many("os", "remove unlink rmdir mkdir makedirs mkfifo truncate", MARK)
    yield from many("os", "rename replace link symlink", f"{CANARY}.py", MARK)
    yield g("os", "chmod", MARK, 0o777)
    yield from many("shutil", "copy copyfile copy2 move copytree", f"{CANARY}.py", MARK)
    yield from many("shutil", "rmtree chown which", "nothing-here")
    yield g("shutil", "unpack_archive", MARK)
    yield g("shutil", "make_archive", MARK, "zip", ".")
    yield from many("tempfile", "mkdtemp mkstemp NamedTemporaryFile TemporaryFile TemporaryDirectory mktemp")
    yield g("tempfile", "SpooledTemporaryFile")
    for attr in ("touch", "mkdir", "unlink", "read_text"):
        yield g("pathlib", f"Path.{attr}", Call(N("pathlib", "Path"), (MARK,)))
    yield g("pathlib", "Path.write_text", Call(N("pathlib", "Path"), (MARK,)), "x")
    yield g("zipfile", "ZipFile", MARK, "w")
    yield g("zipfile", "PyZipFile", MARK, "w")
    yield g("tarfile", "open", MARK, "w")
    yield g("tarfile", "TarFile", MARK, "w")
    yield from many("gzip", "open GzipFile", MARK, "w")
    yield from many("bz2", "open BZ2File", MARK, "w")
    yield from many("lzma", "open LZMAFile", MARK, "w")
    yield g("sqlite3", "connect", MARK)
    yield g("_sqlite3", "connect", MARK)
    yield g("fileinput", "input", MARK)
    yield g("linecache", "getlines", "/etc/passwd")
    yield g("linecache", "updatecache", "/etc/passwd")
    yield g("mmap", "mmap", -1, 10)
    yield g("wave", "open", MARK, "w")
    yield g("mailbox", "mbox", MARK)
    yield g("configparser", "ConfigParser.read", Call(N("configparser", "ConfigParser"), ()), MARK)
    yield g("argparse", "FileType.__call__", Call(N("argparse", "FileType"), ("w",)), MARK)
    yield g("py_compile", "compile", f"{CANARY}.py", MARK)
    yield g("compileall", "compile_dir", ".")
    yield g("cProfile", "Profile.dump_stats", Call(N("cProfile", "Profile"), ()), MARK)
    yield g("tracemalloc", "Snapshot.load", MARK)
    yield g("netrc", "netrc", MARK)
    yield g("mimetypes", "init", [MARK])
    yield g("site", "addsitedir", ".")
    yield g("site", "addpackage", ".", "x.pth", None)
    yield g("sysconfig", "_init_posix", {})
    yield g("turtle", "config_dict", MARK)
    yield g("xml.etree.ElementTree", "parse", MARK)
    yield g("xml.sax", "parse", MARK, None)
    yield g("xml.dom.minidom", "parse", MARK)
    yield g("plistlib", "load", None)


def _nets() -> Iterator[Gadget]:
    here = "http://127.0.0.1:9/"
    yield from many("socket", "create_connection", ("127.0.0.1", 9))
    yield from many("socket", "socket gethostname")
    yield g("socket", "getaddrinfo", "127.0.0.1", 9)
    yield g("_socket", "socket")
    yield g("ssl", "get_server_certificate", ("127.0.0.1", 9))
    yield from many("urllib.request", "urlopen urlretrieve Request", here)
    yield g("http.client", "HTTPConnection", "127.0.0.1", 9)
    yield g("httplib", "HTTPConnection", "127.0.0.1", 9)
    yield g("ftplib", "FTP", "127.0.0.1")
    yield g("poplib", "POP3", "127.0.0.1", 9)
    yield g("nntplib", "NNTP", "127.0.0.1", 9)
    yield g("telnetlib", "Telnet", "127.0.0.1", 9)
    yield from many("requests", "get post head", here)
    yield from many("requests.api", "get post request", here)
    yield g("aiohttp", "request", "GET", here)
    yield g("aiohttp.client", "ClientSession")
    yield g("urllib3", "PoolManager")
    yield g("multiprocessing.connection", "Client", ("127.0.0.1", 9))
    yield g("asyncio", "open_connection", "127.0.0.1", 9)
    yield g("socketserver", "TCPServer", ("127.0.0.1", 0), None)
    yield g("http.server", "HTTPServer", ("127.0.0.1", 0), None)
    yield g("logging.handlers", "SocketHandler", "127.0.0.1", 9)
# fmt: on


def standard() -> Iterator[Gadget]:
    """All of them."""
    for made in (_shells, _evaluators, _re_entries, _indirect, _files, _nets):
        yield from made()
    assert pickle.loads(INNER[:2] + b"N.") is None  # the bytes inside are a pickle of this Python
