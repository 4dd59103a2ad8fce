"""The command ``modelkeep cache``: what this machine keeps of remote registries, and how to be rid of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelkeep.commands.options import json_option
from modelkeep.pages import Page, count, print_json

if TYPE_CHECKING:
    from modelkeep.cache import Cache


@click.group(short_help="What this machine keeps of remote registries.")
def cache() -> None:
    """Show or delete the copies of journals and packs that this machine keeps of remote registries.

    They lie in $MODELKEEP_CACHE, else in the folder for the user's caches. Deleting them is always safe.
    """


def _here() -> Cache:
    from modelkeep.cache import Cache
    from modelkeep.cachechoice import default_root

    return Cache(default_root())


@cache.command("list", short_help="Show what is kept of each registry.")
@json_option
def list_cache(as_json: bool) -> None:
    """Show of which registries there are copies, how many objects, how many bytes, and when they were last used."""
    import attrs

    found = _here()
    kept = found.kept()
    if as_json:
        print_json({"folder": str(found.root), "registries": [attrs.asdict(one) for one in kept]})
    elif kept:
        rows = [(one.url or "unknown", one.id, one.objects, one.bytes, one.used[:16].replace("T", " ")) for one in kept]
        Page().table(("registry", "id", "objects", "bytes", "last used (UTC)"), rows)
    else:
        Page().say(f"nothing is kept in {found.root}")


@cache.command("clear", short_help="Delete what is kept, of all registries or of the one at URL.")
@click.argument("url", required=False)
@json_option
def clear_cache(url: str | None, as_json: bool) -> None:
    """Delete the copies of the registry at URL, or of all registries."""
    found = _here()
    freed = found.clear(url)
    if as_json:
        print_json({"folder": str(found.root), "freed": freed})
    else:
        Page().say(f"{count(freed, 'byte')} freed in {found.root}")
