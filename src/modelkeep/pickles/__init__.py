"""Pickles from strangers: read by a closed list, scanned whole before the first opcode is run."""

from modelkeep.pickles.reader import loads
from modelkeep.pickles.scan import Scanned, scan

__all__ = ["Scanned", "loads", "scan"]
