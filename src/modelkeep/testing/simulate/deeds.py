"""What actors do next, and to what: all of it by chance, which follows from the seed."""

from __future__ import annotations

from typing import Any

from modelkeep.errors import UnknownLabelError, UnknownVersionError
from modelkeep.failedrun import FailedRun
from modelkeep.modelversion import ModelVersion
from modelkeep.testing.simulate.history import History
from modelkeep.testing.simulate.operations import Operations
from modelkeep.testing.simulate.oracle import Oracle
from modelkeep.testing.simulate.world import Intent, World

ALIASES = ("production", "production", "production", "production", "staging")
POLICIES = tuple(f"[retention]\nlast = {last}\naliased = false\nlabelled = false\n" for last in (2, 3))
# what a promotion takes in the schedules with such policies; all of them keep the last two versions, too
GATES = (
    "approvals = 1\nby_author = true",
    'gates = [{ metric = "m", least = 2 }]',
    'gates = [{ metric = "m", margin = 0 }]',
    'approvals = 1\nby_author = true\ngates = [{ metric = "m", margin = 0 }]',
)
RULED = tuple(f'{POLICIES[0]}[models."*".aliases.production]\n{gates}\n' for gates in GATES)
KINDS = ("int8", "int8", "half")
_ALIKE = 48  # chances that far apart give equal tensors
_SAYS = 0.125  # share of promotes and deletes that give a reason


class Deeds(Operations):
    """The choices of an actor.

    Args:
        world: where it plays.
        oracle: who judges, answer by answer.
        history: where it is noted, for the search.
        index: which actor this is.
    """

    def __init__(self, world: World, oracle: Oracle, history: History, index: int) -> None:
        super().__init__(world, oracle, history, index)
        self.random = world.random
        self._saves = 0
        self._held: list[ModelVersion] = []
        self._failed: list[FailedRun] = []
        self._stays = False  # with the version that it saved last

    # -- saving and loading ----------------------------------------------------------------------------------

    def save(self, name: str) -> None:
        """Save a model that no one else saves."""
        self._saves += 1
        payload = (self.index, self._saves, self._chance(name))
        self.actor.intent.facts["payload"] = payload
        options: dict[str, Any] = self.random.choice(
            [{}, {}, {"bump": "minor"}, {"label": "1.0.0"}, {"label": "2.0.0"}]
        )
        self._held.append(self.keep(name, payload, options))

    def _chance(self, name: str) -> int:
        """What tells tensors apart; often those of the newest version, so that they are shared however they lie."""
        chance, known = self.random.getrandbits(40), self.oracle.model(name).payloads
        if known and self.random.random() < 0.4:  # noqa: PLR2004  the others differ a little
            chance += known[max(known)][2] % _ALIKE - chance % _ALIKE
        return chance

    def load_alias(self, name: str) -> None:
        """Load what stands under an alias."""
        self.read_alias(name, self.random.choice(ALIASES))

    def load_latest(self, name: str) -> None:
        """Load the latest version and look at its facts."""
        self.read(self.read_latest(name))

    def load_some(self, name: str) -> None:
        """Load some version."""
        self.read(self._some(name))

    def add_variant(self, name: str) -> None:
        """Add a variant to some version, often with tensors of the newest one."""
        version = self._some(name)
        self._saves += 1
        payload = (self.index, self._saves, self._chance(name))
        self.actor.intent.facts["payload"] = payload
        self.keep_variant(version, self.random.choice(KINDS), payload)

    def load_variant(self, name: str) -> None:
        """Load a variant of some version, by what is listed or by a reference."""
        version = self._some(name)
        if self.random.random() < 0.5:  # noqa: PLR2004  either way
            self.find_variant(name, version.number, self.random.choice(KINDS))
            return
        for variant in self.read_variants(version).values():
            self.read_variant(version, variant)

    def fail_run(self, name: str) -> None:
        """Have a run fail."""
        self._saves += 1
        payload = (self.index, self._saves, self._mark())
        self.actor.intent.facts["payload"] = payload
        self._failed.append(self.fail(name, payload))

    def read_failed(self, name: str) -> None:
        """List the runs that failed, and read them; or one that this actor holds from some time ago."""
        held = [run for run in self._failed if run.name == name]
        look = not held or self.random.random() < 0.7  # noqa: PLR2004  the others read what they hold
        for run in self.read_runs(name) if look else [self.random.choice(held)]:
            self.read_run(run)

    def drop_run(self, name: str) -> None:
        """Drop some run that failed."""
        found = self.read_runs(name)
        if found:
            self.end(self.random.choice(found))

    def by_label(self, name: str) -> None:
        """Look for a version by its label."""
        try:
            self.read_label(name, self.random.choice(["1.0.0", "1.1.0", "2.0.0"]))
        except UnknownLabelError:
            return

    def look(self, name: str) -> None:
        """Look at how some version stands."""
        self.read_state(self._some(name))

    def list_versions(self, name: str) -> None:
        """List all versions and find those under aliases."""
        self.read_versions(name)
        self.read_aliases(name)

    def list_aliases(self, name: str) -> None:
        """List the versions under aliases."""
        self.read_aliases(name)

    def _some(self, name: str) -> ModelVersion:
        version = self._chosen(name)
        self.actor.intent.facts["number"] = version.number
        return version

    def _chosen(self, name: str) -> ModelVersion:
        held = [version for version in self._held if version.name == name]
        if held and self._stays:
            return held[-1]
        if held and self.random.random() < 0.5:  # noqa: PLR2004  a handle from some time ago, nothing read since
            return self.random.choice(held)
        highest = len(self.oracle.model(name).payloads)
        return self.find(name, self.random.randint(1, max(1, highest)))

    # -- what is in use --------------------------------------------------------------------------------------

    def promote(self, name: str) -> None:
        """Promote some version, sometimes expecting a holder."""
        version = self._some(name)
        alias = self.random.choice(ALIASES)
        said = self._expecting(name, alias)
        self.actor.intent = Intent("promote", name, self.world.step, dict(said))
        self.put(version, alias, said, **self._reason())

    def _expecting(self, name: str, alias: str) -> dict[str, Any]:
        look = self.random.choice(["look", "is told", "does not care"])
        if look == "look":
            return {"expect": self.read_aliases(name).get(alias)}
        if look == "is told":  # by a colleague, while this process may have read long ago
            return {"expect": self.oracle.model(name).holder(alias)}
        return {}

    def _reason(self) -> dict[str, Any]:
        return {"reason": f"said by {self.index}"} if self.random.random() < _SAYS else {}

    def release(self, name: str) -> None:
        """Save a model and promote it at once."""
        self.actor.intent = Intent("save", name, self.world.step)
        self.save(name)
        self.actor.intent = Intent("promote", name, self.world.step)
        self.put(self._held[-1], "production", {})

    def rollback(self, name: str) -> None:
        """Roll an alias back, sometimes from a holder that was seen before."""
        alias = self.random.choice(ALIASES)
        said = self._expecting(name, alias) if self.random.random() < 0.25 else {}  # noqa: PLR2004  most do not look
        if said.get("expect") is None:
            said = {}
        self.actor.intent = Intent("rollback", name, self.world.step, dict(said))
        try:
            self.go_back(name, alias, said)
        except UnknownVersionError:
            return

    def unset(self, name: str) -> None:
        """Take an alias away."""
        self.take_away(name, self.random.choice(ALIASES))

    def delete(self, name: str) -> None:
        """Delete some version."""
        self.change(self._some(name), "delete", **self._reason())

    def restore(self, name: str) -> None:
        """Bring some version back."""
        self.change(self._some(name), "restore")

    def hold(self, name: str) -> None:
        """Hold some version."""
        self.change(self._some(name), "hold")

    def unhold(self, name: str) -> None:
        """Let some version go that was held."""
        self.change(self._some(name), "unhold")

    def label(self, name: str) -> None:
        """Give some version a label."""
        version = self._some(name)
        either = self.random.random() < 0.5  # noqa: PLR2004  either way
        self.give_label(version, {"bump": "minor"} if either else {"label": "1.0.0"})

    def close(self, name: str) -> None:
        """Close the model."""
        self.turn(name, "close")

    def open(self, name: str) -> None:
        """Open the model again."""
        self.turn(name, "open")

    def judge(self, name: str) -> None:
        """Say of some version what is thought of it, or take that back."""
        self.review(self._some(name), self.random.choice(("approve", "approve", "approve", "reject", "withdraw")))

    # -- what people say -------------------------------------------------------------------------------------

    def tag(self, name: str) -> None:
        """Tag some version."""
        self.say(self._some(name), "tag", self._new())

    def note(self, name: str) -> None:
        """Measure or describe some version, or give the model a title; read what others said."""
        field = self.random.choice(["tag", "metric", "metric", "text", "text", "title"])
        writes = self.random.random() < 0.6  # noqa: PLR2004  most write
        if field == "title":
            self.set_title(name, self._new()) if writes else self.read_title(name)
            return
        version = self._some(name)
        if writes:
            self.say(version, field, float(self._mark()) if field == "metric" else self._new())
        else:
            self.hear(version, field)

    def _new(self) -> str:
        """A text that nobody else writes."""
        return f"by {self.index}: {self._mark()}"

    def _mark(self) -> int:
        return self.random.getrandbits(30)

    # -- the bytes -------------------------------------------------------------------------------------------

    def compact(self, name: str) -> None:
        """Store the versions by what they differ from each other."""
        self.store_anew(name)

    def collect(self, name: str) -> None:
        """Take away what nobody needs."""
        self.take_out(name)

    def erase(self, name: str) -> None:
        """Erase some version."""
        self.forget(self._some(name))

    def retain(self, name: str) -> None:
        """Set a policy, or read the one in force."""
        del name
        if self.random.random() < 0.8:  # noqa: PLR2004  few ask
            self.set_policy(self.random.choice((*RULED, *POLICIES[:1]) if self.world.governed else POLICIES))
        else:
            self.read_policy()
