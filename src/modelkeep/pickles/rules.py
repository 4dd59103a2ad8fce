"""The rules of the scan by name: each refuses one thing, and each has a test that goes red without it."""

from __future__ import annotations

from modelkeep.errors import TrustError

RULES = {
    # the stream
    "protocol": "it begins with PROTO, 3 to 5",
    "second-protocol": "PROTO stands at the beginning only",
    "opcode": "only opcodes that protocols 3 to 5 use for plain objects",
    "length": "no argument is longer than what is left",
    "line": "the names of GLOBAL end with a newline",
    "text": "text is UTF-8",
    "stop": "it ends with STOP",
    "behind": "nothing stands behind STOP",
    "rest": "STOP leaves nothing on the stack",
    "frame-past-end": "a frame ends inside the stream",
    "frame-in-frame": "a frame begins where no other is open",
    "frame-cut": "a frame ends between two opcodes",
    # the stack and the memo
    "underflow": "no opcode takes more than there is",
    "mark": "what closes a MARK finds one",
    "memo-put": "the memo is filled in order",
    "memo-get": "only what was put is taken from the memo",
    "buffers": "it asks for the buffers that there are",
    "readonly": "READONLY_BUFFER follows a buffer",
    # names and what is done with them
    "global-text": "the names of STACK_GLOBAL are texts in the stream itself",
    "dotted": "a name is that of a module's own member",
    "listed": "a name stands on the list",
    "value": "a name that is only called is not handed about",
    "callee": "REDUCE calls a listed name, and nothing else",
    "call": "a listed name is called only if the list says so",
    "arguments": "a call has arguments of the form that its reviewer saw",
    "new": "NEWOBJ makes a listed class, and nothing else",
    "new-arguments": "NEWOBJ takes no arguments",
    "build": "BUILD fills what was just made by a name whose state was reviewed",
    "build-twice": "what was made is filled once",
    "unfilled": "what needs its state gets it",
    "state": "a state is what its class expects",
    "state-key": "a state has no key with two underscores at both ends",
    "append": "only lists are appended to",
    "setitem": "only dictionaries get items",
    "additems": "only sets get members",
    "key": "a key can be hashed without running the code of a class",
    # size
    "key-work": "hashing the keys takes work in proportion to the pickle",
    "wide": "integers of over 64 bits are few",
    "depth": "nesting is no deeper than pickle itself writes",
    "memory": "what it makes is in proportion to the pickle",
}
_waived: frozenset[str] = frozenset()  # for the tests alone: what a stream does where a rule is missing


def refuse(rule: str, message: str, **facts: object) -> None:
    """Refuse by one of the `RULES`.

    Raises:
        TrustError: always; its facts are the rule, what was refused, and those given.
    """
    if rule in _waived:
        return
    raise TrustError(message, **{"rule": rule, "what": message, **facts})
