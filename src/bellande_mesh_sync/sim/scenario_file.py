"""scenario.toml: a fleet, its links, what its programs do, what goes wrong, and what is expected of it."""

from __future__ import annotations

import re
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import msgspec

from bellande_mesh_sync.config_model import (
    CONFLICT_WORDS,
    SpacePolicy,
    config_error,
    policy_of,
)
from bellande_mesh_sync.errors import BellandeMeshError, ConfigError
from bellande_mesh_sync.keys import check_key
from bellande_mesh_sync.loading import load_function
from bellande_mesh_sync.sim.links import LINK_CLASSES, LinkClass
from bellande_mesh_sync.sim.mesh_world import NODES_MAX
from bellande_mesh_sync.sim.quantities import decode_quantity
from bellande_mesh_sync.sim.scenario_model import Fleet, ScenarioFile
from bellande_mesh_sync.sim.spaces import check_simulated_space
from bellande_mesh_sync.sim.troubles import FAULT_KINDS

WITHOUT_NODES: Final = ("partition", "heal")
_RANGE: Final = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")


class Plan:
    """A scenario file that makes sense: names are numbers of nodes, classes are figures, functions are there.

    Raises:
        ConfigError: naming the field that does not.
    """

    def __init__(self, file: ScenarioFile, folder: Path) -> None:
        self.file = file
        self.names = _node_names(file.fleet)
        self._members = _members(file.fleet)
        self.link = self._link(file.links.default, "links.default")
        self.pairs = self._pairs()
        self.spaces, self.merge = _policies(file.spaces, folder)
        self.programs = [
            load_function(each.program, f"workload[{index}].program", folder) if each.program else None
            for index, each in enumerate(file.workload)
        ]
        self.workers = [
            self.find(each.on or tuple(self._members), f"workload[{index}].on")
            for index, each in enumerate(file.workload)
        ]
        self._check_keys()
        self._check_faults()

    @property
    def nodes(self) -> int:
        return len(self.names)

    def find(self, names: tuple[str, ...], field: str) -> list[int]:
        """The nodes that these names of nodes and groups stand for, in order."""
        found: dict[int, None] = {}
        for name in names:
            if name in self._members:
                found.update(dict.fromkeys(self._members[name]))
            elif name in self.names:
                found[self.names.index(name)] = None
            else:
                known = ", ".join(self._members)
                raise ConfigError(field=field, reason=f"{name!r} is no node and no group ({known})")
        return sorted(found)

    def _link(self, name: str, field: str) -> LinkClass:
        own = self.file.links.classes.get(name)
        if own is not None:
            if own.drop_every > 0 and own.drop_lasts <= 0:
                raise ConfigError(field=f"links.classes.{name}.drop_lasts", reason="drop_every needs it")
            return LinkClass(
                own.latency * 1000, own.jitter * 1000, own.loss,
                own.bandwidth, own.drop_every, own.drop_lasts,
            )  # fmt: skip
        if name not in LINK_CLASSES:
            known = ", ".join([*LINK_CLASSES, *self.file.links.classes])
            raise ConfigError(field=field, reason=f"{name!r} is no class of links; there are {known}")
        return LINK_CLASSES[name]

    def _pairs(self) -> list[tuple[int, int, LinkClass]]:
        found: dict[tuple[int, int], LinkClass] = {}
        for index, each in enumerate(self.file.links.between):
            link = self._link(each.link, f"links.between[{index}].link")
            first, second = (
                self.find((name,), f"links.between[{index}].groups[{place}]")
                for place, name in enumerate(each.groups)
            )
            pairs = {(min(a, b), max(a, b)) for a in first for b in second if a != b}
            found.update(dict.fromkeys(sorted(pairs), link))
        return [(a, b, link) for (a, b), link in found.items()]

    def _check_keys(self) -> None:
        for index, each in enumerate(self.file.workload):
            if each.every <= 0:
                raise ConfigError(field=f"workload[{index}].every", reason="must be longer than 0")
            for place, pattern in enumerate(each.keys):
                field = f"workload[{index}].keys[{place}]"
                key = _RANGE.sub("0", pattern).replace("{node}", self.names[0])
                try:
                    check_key(key)
                except BellandeMeshError as error:
                    raise ConfigError(field=field, reason=str(error)) from None
                if "{" in key:
                    raise ConfigError(
                        field=field, reason=f"{pattern!r}: only {{node}} and {{0..9}} are filled in"
                    )

    def _check_faults(self) -> None:
        for kind in self.file.faults.every:
            if self.file.faults.every[kind] <= 0:
                raise ConfigError(
                    field=f"faults.every.{kind}", reason="must be longer than 0; leave it out for none"
                )
            if kind not in FAULT_KINDS:
                known = ", ".join(FAULT_KINDS)
                raise ConfigError(field=f"faults.every.{kind}", reason=f"no such kind; there are {known}")
        for index, step in enumerate(self.file.faults.script):
            field = f"faults.script[{index}]"
            if step.at >= self.file.duration:
                raise ConfigError(field=f"{field}.at", reason="it lies after the end of the run (duration)")
            self.find(step.nodes, f"{field}.nodes")
            for place, group in enumerate(step.groups):
                self.find(group, f"{field}.groups[{place}]")
            if step.do == "partition" and len(step.groups) < 2:
                raise ConfigError(field=f"{field}.groups", reason="a partition names two groups or more")
            if step.do not in WITHOUT_NODES and not step.nodes:
                raise ConfigError(field=f"{field}.nodes", reason=f"{step.do} needs the names of its nodes")
            if step.do == "one_way" and len(step.nodes) != 2:
                raise ConfigError(field=f"{field}.nodes", reason="one_way names a sender and a receiver")


def fill_in(pattern: str, node: str, draw: Any) -> str:
    """A key from its pattern; `draw(low, high)` gives the numbers."""
    return _RANGE.sub(lambda found: str(draw(int(found[1]), int(found[2]))), pattern.replace("{node}", node))


def load_scenario(path: str | Path) -> Plan:
    """The scenario in a TOML file; functions that it names are looked for beside it.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or a field of it is wrong, with its name.
    """
    source = str(path)
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(field=source, reason=f"cannot be read: {reason}") from None
    return scenario_of_text(text, source, Path(path).resolve().parent)


def scenario_of_text(text: str, source: str, folder: Path) -> Plan:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(field=source, reason=f"not valid TOML: {error}") from None
    try:
        return Plan(msgspec.convert(table, ScenarioFile, dec_hook=decode_quantity), folder)
    except msgspec.ValidationError as error:
        wrong = _named(table, config_error(str(error)))
    except ConfigError as error:
        wrong = error
    raise ConfigError(field=wrong.field, reason=f"{wrong.reason} ({source})")


def _named(table: dict[str, Any], error: ConfigError) -> ConfigError:
    """With the name in place of the `[...]` that msgspec writes for any entry of a table."""
    head, unnamed, tail = error.field.partition("[...]")
    if not unnamed:
        return error
    entries = _at(table, head)
    for name in entries:
        trial = deepcopy(table)
        for other in [other for other in entries if other != name]:
            del _at(trial, head)[other]
        try:
            msgspec.convert(trial, ScenarioFile, dec_hook=decode_quantity)
        except msgspec.ValidationError:
            return ConfigError(field=f"{head}.{name}{tail}", reason=error.reason)
    return error


def _at(table: dict[str, Any], path: str) -> dict[str, Any]:
    found: Any = table
    for word in re.findall(r"[^.\[\]]+", path):
        found = found[int(word)] if isinstance(found, list) else found[word]
    assert isinstance(found, dict)
    return found


def _members(fleet: Fleet) -> dict[str, list[int]]:
    """The nodes of each group, numbered through."""
    groups = fleet.groups if fleet.nodes is None else {"node": fleet.nodes}
    if not groups or (fleet.groups and fleet.nodes is not None):
        raise ConfigError(field="fleet", reason="give either nodes = 5 or groups = { robots = 3, docks = 2 }")
    members: dict[str, list[int]] = {}
    count = 0
    for name, size in groups.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
            raise ConfigError(
                field=f"fleet.groups.{name}", reason="a group's name is a short word of a-z, 0-9 and _"
            )
        members[name] = list(range(count, count + size))
        count += size
    if count > NODES_MAX:
        raise ConfigError(field="fleet", reason=f"{count} nodes; {NODES_MAX} are possible")
    return members


def _node_names(fleet: Fleet) -> list[str]:
    return [f"{group}-{place}" for group, nodes in _members(fleet).items() for place in range(len(nodes))]


def _policies(
    tables: dict[str, dict[str, Any]], folder: Path
) -> tuple[dict[str, SpacePolicy], dict[str, Any]]:
    """Policies by space, and what settles conflicts there. A node keeps to all of it but the latter."""
    policies: dict[str, SpacePolicy] = {}
    merge: dict[str, Any] = {}
    for name, table in tables.items():
        policies[name] = policy_of(name, table)
        check_simulated_space(name, policies[name])
        how = policies[name].conflict
        is_word = how in CONFLICT_WORDS
        merge[name] = how if is_word else load_function(how, f"spaces.{name}.conflict", folder)
    return policies, merge
