"""`VersionEnvironment`: the environment of a version, beside the one that runs here, and made anew elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import attrs

from modelkeep import surroundings, venvs
from modelkeep.environment import Distribution, Environment, EnvironmentDiff
from modelkeep.errors import InvalidValueError, shown
from modelkeep.releasenumbers import is_distribution_name, local_of, normalized

Instead = Mapping[str, str | os.PathLike[str] | None]

_FETCHED = frozenset({"https", "http", "ssh", "git"})  # what a command that installs may fetch from
_TORCH = re.compile(r"cpu|cu[0-9]{2,4}|rocm[0-9.]{1,8}|xpu")


@attrs.frozen
class VersionEnvironment:
    """The environment that made a version: what differs here, and how to have it again.

    Args:
        made: what was recorded.

    Example:
        >>> from modelkeep.environment import Distribution, Environment
        >>> found = Environment(python="3.11.7", distributions={"numpy": Distribution("numpy", "2.1.0", loaded=True)})
        >>> print(VersionEnvironment(found).requirements(), end="")
        # Python 3.11.7
        numpy==2.1.0
    """

    made: Environment

    def here(self) -> Environment:
        """The environment of this process.

        Raises:
            ValueError: it is larger than any environment.
        """
        return surroundings.here()

    def compare(self, *, matters: Collection[str] = ()) -> EnvironmentDiff:
        """What differs in the running process, the gravest first.

        Args:
            matters: distributions whose minor releases count as major ones.
        """
        return self.made.compare(self.here(), matters=matters)

    def warn_if_it_matters(self, *, matters: Collection[str] = ()) -> EnvironmentDiff:
        """Warn if the interpreter, the ABI or a major release of what was loaded differs; return all that does.

        The first load of a version in a process does so by itself.

        Args:
            matters: distributions whose minor releases count as major ones.

        Warns:
            EnvironmentWarning: names up to five differences, and the command against each.
        """
        found = self.compare(matters=matters)
        surroundings.warn_of(found)
        return found

    def requirements(self, *, loaded_only: bool = False) -> str:
        """The text of a requirements file: exact versions; what no index has stands in it as a comment with the reason.

        Args:
            loaded_only: leave out what was installed and not loaded.
        """
        lines = [f"# Python {self.made.python}"]
        chosen = self._chosen(loaded_only=loaded_only)
        lines += sorted({f"--extra-index-url {index}" for one in chosen if (index := _torch_index(one))})
        for one in chosen:
            reason = why_not(one)
            lines.append(f"# {one.name} {one.version}: {reason}" if reason else requirement(one))
        return "\n".join(lines) + "\n"

    def dockerfile(self, *, loaded_only: bool = False) -> str:
        """The text of a Dockerfile (for BuildKit) with the same Python and exact requirements.

        Args:
            loaded_only: leave out what was installed and not loaded; what that needs is then resolved anew.
        """
        image = "pypy" if self.made.implementation == "PyPy" else "python"
        options = "--no-cache-dir" if loaded_only else "--no-cache-dir --no-deps"
        texts = self.requirements(loaded_only=loaded_only)
        git = "RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*\n"
        return (
            "# syntax=docker/dockerfile:1\n"
            f"# made on {' '.join(re.findall(r'[A-Za-z0-9_.-]+', f'{self.made.system} {self.made.machine}'))}\n"
            f"FROM {image}:{python_of(self.made)}-slim\n"
            f"{git if ' @ git+' in texts else ''}"
            "COPY <<'EOF' /tmp/requirements.txt\n"
            f"{texts}"
            "EOF\n"
            f"RUN python -m pip install {options} -r /tmp/requirements.txt\n"
        )

    def create(
        self,
        folder: str | os.PathLike[str],
        *,
        loaded_only: bool = False,
        instead: Instead | None = None,
        build: bool = False,
    ) -> Path:
        """Make a virtual environment with the same Python release and exactly the same versions.

        It is made beside *folder* and renamed at the end, so that nothing half-made is left. With ``uv`` on the PATH it
        takes seconds; else ``python -m venv`` and pip do the work. A record names what is installed: do this for
        versions of people whom you trust.

        Args:
            folder: where; nothing may be there.
            loaded_only: only what was loaded; what that needs besides comes in the versions of then, where they fit.
            instead: what to install for distributions that cannot be restored: a path or a requirement; None leaves
                one out.
            build: also build from source, and fetch from the repositories and archives that the record names. Both run
                code of theirs while they are installed.

        Returns:
            The path of the environment.

        Raises:
            InvalidValueError: something cannot be restored, or *folder* is there; names each, and why.
            RestoreError: the Python is not there, or the index does not have a version; says what the program said.

        Example:
            ``version.environment.create(".venv", instead={"ourlib": "../ourlib"})``
        """
        target = Path(os.path.abspath(folder))  # noqa: PTH100  `resolve` would follow a link that is to be replaced
        if target.exists() or target.is_symlink():
            raise InvalidValueError(f"{target} is there already; remove it, or give another folder", path=str(target))
        chosen = self._chosen(loaded_only=loaded_only)
        others = _read_instead(instead or {}, {one.name for one in self.made.distributions.values()})
        kept = [one for one in chosen if one.name not in others]
        _refuse(kept, build=build)
        plan = venvs.Plan(
            python=python_of(self.made),
            pins=tuple(requirement(one) for one in kept),
            others=tuple(text for text in others.values() if text is not None),
            constraints=tuple(_constraints(self.made, others)) if loaded_only else None,
            build=build,
        )
        return venvs.make(target, plan)

    def _chosen(self, *, loaded_only: bool) -> list[Distribution]:
        return [one for one in self.made.distributions.values() if one.loaded or not loaded_only]


def python_of(made: Environment) -> str:
    """The release of Python to look for: ``3.11``, ``3.13t`` without the global lock."""
    return ".".join(made.python.split(".")[:2]) + ("t" if made.abi.endswith("t") else "")


def requirement(one: Distribution) -> str:
    """How a requirements file names exactly this distribution.

    Example:
        >>> from modelkeep.environment import Source
        >>> source = Source(kind="vcs", vcs="git", url="https://example.org/a.git", commit="a" * 40)
        >>> requirement(Distribution("a", "1.0", source=source))
        'a @ git+https://example.org/a.git@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    """
    source = one.source
    if source is None or source.url is None:
        return f"{one.name}=={one.version}"
    if source.kind == "vcs":
        return f"{one.name} @ {source.vcs}+{source.url}@{source.commit}"
    return f"{one.name} @ {source.url}" + (f"#sha256={source.sha256}" if source.sha256 else "")


def why_not(one: Distribution) -> str:
    """Why a distribution cannot be restored; empty if it can.

    Example:
        >>> from modelkeep.environment import Source
        >>> why_not(Distribution("ourlib", "0.1", source=Source(kind="editable")))
        'it was installed as editable from a folder of that machine'
    """
    source = one.source
    if source is None:
        return ""
    scheme = (source.url or "").partition(":")[0]
    if source.kind in ("editable", "folder"):
        return f"it was installed {'as editable ' * (source.kind == 'editable')}from a folder of that machine"
    if source.kind == "unknown" or source.url is None:
        return "it did not come from an index, and its address was not recorded"
    if source.kind == "vcs" and (source.commit is None or source.vcs is None):
        return "it came from a repository, and the commit was not recorded"
    if scheme == "file":
        return "it was installed from a file of that machine"
    return "" if scheme in _FETCHED else f"it came by {scheme}, from which nothing is fetched here"


def _refuse(chosen: list[Distribution], *, build: bool) -> None:
    reasons = {one.name: why_not(one) for one in chosen}
    if not build:
        note = "it was built from an address that the record names; build=True fetches and builds it again"
        reasons |= {one.name: note for one in chosen if one.source is not None and not reasons[one.name]}
    lines = [f"- {name}: {reason}" for name, reason in reasons.items() if reason]
    if lines:
        raise InvalidValueError(
            "\n".join(
                ["this cannot be restored:", *lines, "say what to install for each, or None: instead={'name': 'path'}"]
            ),
            reasons={name: reason for name, reason in reasons.items() if reason},
        )


def _constraints(made: Environment, others: Mapping[str, str | None]) -> Iterator[str]:
    for one in made.distributions.values():
        if one.source is None and one.name not in others:
            yield f"{one.name}=={one.version}"


def _read_instead(instead: Instead, known: set[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, given in instead.items():
        if not is_distribution_name(name) or normalized(name) not in known:
            raise InvalidValueError(f"instead names {shown(name):.80}, which was not installed there", key="instead")
        text = None if given is None else os.fspath(given)
        if text is not None and (isinstance(given, os.PathLike) or os.path.exists(text)):  # noqa: PTH110
            text = os.path.abspath(text)  # noqa: PTH100
        elif text is not None and text.startswith("-"):
            raise InvalidValueError(f"instead has {text!r:.80}, an option; give a path or a requirement", key="instead")
        found[normalized(name)] = text
    return found


def _torch_index(one: Distribution) -> str:
    """Where builds of torch and its family with a local part are: not in the index that everybody has."""
    local = local_of(one.version)
    known = one.name == "torch" or one.name.startswith("torch")
    return f"https://download.pytorch.org/whl/{local}" if known and _TORCH.fullmatch(local) else ""
