"""`Page`: a report as a value; it is text, a file, and what a notebook shows."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree.ElementTree import Element

import attrs

from modelkeep.errors import InvalidValueError, shown
from modelkeep.markup import page, view
from modelkeep.wholefile import write_whole


@attrs.frozen
class Page:
    """One page of HTML: it runs nothing, asks nobody for anything, and opens from a disk.

    Args:
        title: what the window is called.

    Example:
        >>> from modelkeep.markup import tag
        >>> made = Page("churn:7", tag("p", "<b>"))
        >>> "<p>&lt;b&gt;</p>" in made.html
        True
    """

    title: str
    _body: Element = attrs.field(repr=False, eq=False)
    html: str = attrs.field(init=False, repr=False)

    @html.default
    def _whole(self) -> str:
        return page(self.title, self._body)

    def __str__(self) -> str:
        return self.html

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the page to a file, whole or not at all.

        Args:
            path: of the file; its folder must be there.
            overwrite: also where a file is there already; it then is the old one or the new one at any moment.

        Returns:
            The path.

        Raises:
            InvalidValueError: something is there already, or nothing can be written there.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidValueError(f"{shown(path)} is no place for a page; give text or a path", key="path")
        target = Path(path)
        try:
            write_whole(target, self.html.encode(), overwrite=overwrite)
        except FileExistsError:
            raise InvalidValueError(
                f"{target} exists already; choose another name, or give overwrite=True", path=str(target)
            ) from None
        except FileNotFoundError:  # of the file beside, which nobody named
            raise InvalidValueError(
                f"{target} cannot be written: make the folder {target.parent} first", path=str(target)
            ) from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in its name
            raise InvalidValueError(
                f"{target} cannot be written: {error}; choose another place", path=str(target)
            ) from error
        return target

    def _repr_html_(self) -> str:
        return view(self._body)
