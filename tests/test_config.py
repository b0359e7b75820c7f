"""Wrong settings fail at once and by name; right ones mean what the documentation says."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.addresses import (
    format_address,
    is_loopback,
    is_wildcard,
    parse_address,
)
from bellande_mesh_sync.config import (
    PORT_OFF,
    Config,
    MeshOptions,
    SpacePolicy,
    changed,
    load_config_file,
    load_node_file,
    resolve,
)
from bellande_mesh_sync.config_file import default_node_file, with_bootstrap
from bellande_mesh_sync.config_model import CONFLICT_WORDS
from bellande_mesh_sync.core.data.history import HistoryPolicy
from bellande_mesh_sync.core.data.space_policies import BY_NAME
from bellande_mesh_sync.core.placement.placement import PlacedSpace
from bellande_mesh_sync.errors import BellandeMeshError, ConfigError, UnsupportedError
from bellande_mesh_sync.shell.boot import core_config

DEV = MeshOptions(dev_mode=True)


def _error(make: Any, **values: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make(**values)
    return caught.value


def test_defaults_are_those_of_the_original_library() -> None:
    config, options = Config(), MeshOptions()
    assert (config.listen_address, config.node_timeout, config.bootstrap_nodes) == ("127.0.0.1:8000", 300, ())
    assert (options.metrics_interval, options.max_connections, options.max_retries) == (60, 1000, 3)
    assert (options.enable_discovery, options.enable_encryption, options.enable_replication) == (True,) * 3
    assert (options.enable_persistence, options.replication_factor, options.dev_mode) == (False, 3, False)


def test_an_unknown_name_is_refused_with_the_one_that_was_meant() -> None:
    error = _error(Config, lsten_address="127.0.0.1:1")
    assert (error.field, error.reason) == ("lsten_address", "unknown; did you mean listen_address?")
    error = _error(MeshOptions, devmode=True)
    assert "did you mean dev_mode?" in str(error)
    error = _error(SpacePolicy, zzzz=1)
    assert "known are ack, conflict" in str(error)


@pytest.mark.parametrize(
    ("make", "values", "field"),
    [
        (Config, {"listen_address": 8000}, "listen_address"),
        (Config, {"listen_address": "127.0.0.1"}, "listen_address"),
        (Config, {"listen_address": ":8000"}, "listen_address"),
        (Config, {"listen_address": "127.0.0.1:65536"}, "listen_address"),
        (Config, {"listen_address": "::1:8000"}, "listen_address"),
        (Config, {"listen_address": "[::g]:8000"}, "listen_address"),
        (Config, {"listen_address": "a b:8000"}, "listen_address"),
        (Config, {"node_timeout": 0}, "node_timeout"),
        (Config, {"node_timeout": -1.5}, "node_timeout"),
        (Config, {"node_timeout": float("nan")}, "node_timeout"),
        (Config, {"node_timeout": float("inf")}, "node_timeout"),
        (Config, {"node_timeout": "300"}, "node_timeout"),
        (Config, {"node_timeout": True}, "node_timeout"),
        (Config, {"node_timeout": None}, "node_timeout"),
        (Config, {"bootstrap_nodes": "10.0.0.1:8000"}, "bootstrap_nodes"),
        (Config, {"bootstrap_nodes": ["10.0.0.1:8000", "10.0.0.2"]}, "bootstrap_nodes[1]"),
        (Config, {"bootstrap_nodes": ["10.0.0.1:0"]}, "bootstrap_nodes[0]"),
        (Config, {"bootstrap_nodes": [b"10.0.0.1:8000"]}, "bootstrap_nodes[0]"),
        (Config, {"advertise": ["nowhere"]}, "advertise[0]"),
        (Config, {"sync_interval": 0}, "sync_interval"),
        (Config, {"http_port": 65_536}, "http_port"),
        (Config, {"http_port": -2}, "http_port"),
        (Config, {"https_port": False}, "https_port"),
        (Config, {"http_host": "a b"}, "http_host"),
        (Config, {"name": "x" * 65}, "name"),
        (Config, {"name": "a\nb"}, "name"),
        (Config, {"name": "\U0001f916" * 64}, "name"),
        (Config, {"zone": "x" * 65}, "zone"),
        (Config, {"zone": "a\tb"}, "zone"),
        (Config, {"profile": "slow"}, "profile"),
        (Config, {"capacity": -1}, "capacity"),
        (Config, {"capacity": 1_000_001}, "capacity"),
        (Config, {"labels": {"": "x"}}, "labels"),
        (Config, {"labels": {"floor": 2}}, "labels[...]"),
        (Config, {"labels": {"floor": "x" * 65}}, "labels.floor"),
        (Config, {"labels": {"floor": "\x1b[2J"}}, "labels.floor"),
        (Config, {"db_url": "mysql://localhost/mesh"}, "db_url"),
        (Config, {"db_url": "sqlite:///"}, "db_url"),
        (Config, {"spaces": []}, "spaces"),
        (Config, {"spaces": {"fleet": 3}}, "spaces.fleet"),
        (Config, {"spaces": {"fleet": {"acks": "one"}}}, "spaces.fleet.acks"),
        (Config, {"spaces": {"fleet": {"ack": "most"}}}, "spaces.fleet.ack"),
        (Config, {"spaces": {"fleet": {"replicas": 0}}}, "spaces.fleet.replicas"),
        (Config, {"spaces": {"fleet": {"conflict": "newest"}}}, "spaces.fleet.conflict"),
        (Config, {"spaces": {"fleet": {"conflict": "a:b:c"}}}, "spaces.fleet.conflict"),
        (Config, {"spaces": {"fleet/plans": {}}}, "spaces.fleet/plans"),
        (Config, {"spaces": {"": {}}}, "spaces."),
        (MeshOptions, {"max_connections": 0}, "max_connections"),
        (MeshOptions, {"max_connections": 2.5}, "max_connections"),
        (MeshOptions, {"max_retries": -1}, "max_retries"),
        (MeshOptions, {"replication_factor": 0}, "replication_factor"),
        (MeshOptions, {"metrics_interval": 0}, "metrics_interval"),
        (MeshOptions, {"tcp_port": -1}, "tcp_port"),
        (MeshOptions, {"udp_port": -2}, "udp_port"),
        (MeshOptions, {"udp_port": 65_536}, "udp_port"),
        (MeshOptions, {"dev_mode": "yes"}, "dev_mode"),
        (MeshOptions, {"cert_path": "/x"}, "key_path"),
        (MeshOptions, {"key_path": "/x"}, "cert_path"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(make: Any, values: dict[str, Any], field: str) -> None:
    error = _error(make, **values)
    assert error.field == field
    assert error.reason
    assert error.code == "config_invalid"


@pytest.mark.parametrize(
    ("field", "value"),
    [("ttl", 60), ("encrypt", True)],
)
def test_what_this_version_does_not_do_is_refused_and_never_ignored(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedError) as caught:
        Config(spaces={"fleet": {field: value}})  # type: ignore[dict-item]
    assert caught.value.field == f"spaces.fleet.{field}"
    assert f"spaces.fleet.{field}" in str(caught.value)


def test_a_limit_to_the_age_of_old_versions_needs_old_versions() -> None:
    error = _error(lambda: Config(spaces={"fleet": SpacePolicy(history=0, history_for=60)}))
    assert error.field == "spaces.fleet.history_for"
    for wrong in ({"history": -1}, {"history": 1_001}, {"history_for": 0}):
        _error(SpacePolicy, **wrong)


def test_histories_of_spaces_and_of_all_others_reach_the_core() -> None:
    settings = resolve(Config(spaces={"fleet": SpacePolicy(history=7, history_for=1.5)}), DEV)
    histories = core_config(settings).history
    assert histories.spaces == (("fleet", HistoryPolicy(7, 1_500)),)
    assert histories.default == HistoryPolicy(3, 0)
    assert histories.has_ages
    assert not core_config(resolve(Config(), DEV)).history.has_ages


@given(st.dictionaries(st.text(max_size=12), st.none() | st.integers() | st.text() | st.floats(), max_size=3))
def test_any_other_settings_are_refused_with_an_error_of_ours(values: dict[str, Any]) -> None:
    for make in (Config, MeshOptions, SpacePolicy):
        with contextlib.suppress(BellandeMeshError):
            make(**values)


def test_settings_do_not_change_and_copies_are_checked() -> None:
    config = Config()
    with pytest.raises(AttributeError):
        config.name = "x"  # type: ignore[misc]
    assert changed(config, name="x").name == "x"
    assert _error(lambda: changed(config, node_timeout=0)).field == "node_timeout"


def test_lists_and_paths_are_taken_as_people_give_them(tmp_path: Path) -> None:
    values: dict[str, Any] = {"bootstrap_nodes": ["10.0.0.1:8000"], "persistence_path": tmp_path}
    options = MeshOptions(**values)
    assert options.bootstrap_nodes == ("10.0.0.1:8000",)
    assert options.persistence_path == str(tmp_path)


# -- resolve -----------------------------------------------------------------------------------


def test_ports_follow_the_listen_port() -> None:
    settings = resolve(Config(listen_address="127.0.0.1:9000"), DEV)
    assert (settings.tcp_port, settings.http_port, settings.https_port) == (9000, 9001, 9002)
    assert settings.listen_address == "127.0.0.1:9000"
    free = resolve(Config(listen_address="127.0.0.1:0"), DEV)
    assert (free.tcp_port, free.http_port, free.https_port) == (0, 0, 0)
    own = resolve(Config(http_port=PORT_OFF, https_port=0), MeshOptions(dev_mode=True, tcp_port=7))
    assert (own.tcp_port, own.http_port, own.https_port) == (7, PORT_OFF, 0)


def test_ports_that_clash_or_do_not_exist_are_refused() -> None:
    assert _error(lambda: resolve(Config(http_port=8000), DEV)).field == "http_port"
    assert _error(lambda: resolve(Config(listen_address="127.0.0.1:65535"), DEV)).field == "http_port"
    assert _error(lambda: resolve(Config(listen_address="127.0.0.1:65534"), DEV)).field == "https_port"


def test_datagrams_use_the_number_of_the_tcp_port_unless_told_otherwise() -> None:
    assert resolve(Config(), DEV).datagram_port is None
    assert resolve(Config(), changed(DEV, udp_port=0)).datagram_port == 0
    assert resolve(Config(), changed(DEV, udp_port=PORT_OFF)).datagram_port == PORT_OFF
    # UDP's numbers are not TCP's: the HTTP port's may be used again.
    assert resolve(Config(), changed(DEV, udp_port=8001)).datagram_port == 8001


def test_what_a_node_says_of_itself_is_taken_over_in_order() -> None:
    config = Config(labels={"model": "gantry", "floor": "2"}, zone="hall-3", capacity=7, profile="fast")
    settings = resolve(config, DEV)
    assert settings.labels == (("floor", "2"), ("model", "gantry"))
    assert (settings.zone, settings.capacity, settings.profile) == ("hall-3", 7, "fast")


def test_a_record_that_is_too_large_for_a_datagram_is_refused_by_the_field_that_takes_the_most() -> None:
    labels = {f"label-{number}": "x" * 40 for number in range(8)}
    assert resolve(Config(labels=labels, name="n" * 64), DEV).labels
    many = {f"label-{number}": "x" * 40 for number in range(16)}
    assert _error(lambda: resolve(Config(labels=many), DEV)).field == "labels"
    far = tuple(f"node-{number}.a-rather-long-name-of-a-machine.example.org:8000" for number in range(16))
    assert _error(lambda: resolve(Config(advertise=far), DEV)).field == "advertise"


def test_options_win_where_they_are_given() -> None:
    config = Config(node_timeout=100, bootstrap_nodes=("10.0.0.1:8000",))
    kept = resolve(config, DEV)
    assert (kept.node_timeout_s, kept.bootstrap) == (100, ("10.0.0.1:8000",))
    won = resolve(config, MeshOptions(dev_mode=True, node_timeout=50, bootstrap_nodes=()))
    assert (won.node_timeout_s, won.bootstrap) == (50, ())


def test_encryption_can_be_turned_off_in_dev_mode_on_loopback_only() -> None:
    plain = MeshOptions(dev_mode=True, enable_encryption=False)
    assert not resolve(Config(), plain).encryption
    assert _error(lambda: resolve(Config(), changed(plain, dev_mode=False))).field == "enable_encryption"
    for address in ("0.0.0.0:8000", "192.168.1.5:8000", "[::]:8000", "example.org:8000"):
        assert _error(lambda at=address: resolve(Config(listen_address=at), plain)).field == "listen_address"
    assert _error(lambda: resolve(Config(http_host="0.0.0.0"), DEV)).field == "http_host"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:1"])
def test_dev_mode_runs_on_any_loopback_address(address: str) -> None:
    assert resolve(Config(listen_address=address), DEV).dev_mode


def test_where_things_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMS_HOME", str(tmp_path / "default"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    nothing = resolve(Config(), DEV)
    assert (nothing.persistence, nothing.home, nothing.db_url) == (False, None, "memory:")
    off = resolve(Config())
    assert (off.persistence, off.home, off.db_url) == (False, tmp_path / "default", "memory:")
    on = resolve(Config(), MeshOptions(enable_persistence=True))
    assert (on.persistence, on.home, on.db_url) == (True, tmp_path / "default", "")
    given_home = resolve(Config(), None, tmp_path / "given")
    assert (given_home.persistence, given_home.home) == (True, tmp_path / "given")
    path = resolve(Config(), MeshOptions(persistence_path=str(tmp_path / "path")))
    assert (path.persistence, path.home) == (True, tmp_path / "path")
    dev = resolve(Config(), MeshOptions(dev_mode=True, enable_persistence=True))
    assert dev.home == tmp_path / "data" / "bellande-mesh-sync" / "dev" / "nodes" / "8000"
    memory = resolve(Config(db_url="memory:"), None, tmp_path / "given")
    assert (memory.persistence, memory.db_url) == (False, "memory:")


def test_a_database_file_may_be_named(tmp_path: Path) -> None:
    inside = resolve(Config(db_url="sqlite:///records.db"), None, tmp_path)
    assert inside.db_url == f"sqlite:///{tmp_path}/records.db"
    outside = resolve(Config(db_url="sqlite:////srv/records.db"), None, tmp_path)
    assert outside.db_url == "sqlite:////srv/records.db"


def test_a_database_server_may_be_named_and_its_password_is_not_repeated(tmp_path: Path) -> None:
    url = "postgresql://hub:hushhush@db.example/mesh?schema=hub"
    settings = resolve(Config(db_url=url), None, tmp_path)
    assert (settings.persistence, settings.db_url) == (True, url)
    assert "hushhush" not in repr(settings) + repr(Config(db_url=url))
    error = _error(Config, db_url="mysql://hub:hushhush@db.example/mesh")
    assert "hushhush" not in str(error)


def test_keeping_nothing_and_keeping_everything_is_a_contradiction() -> None:
    error = _error(lambda: resolve(Config(db_url="memory:"), MeshOptions(enable_persistence=True)))
    assert error.field == "db_url"


def test_a_space_without_a_policy_has_the_default_one() -> None:
    settings = resolve(Config(spaces={"fleet": SpacePolicy(ack="quorum")}), DEV)
    assert settings.policy("fleet").ack == "quorum"
    assert settings.policy("other") == SpacePolicy()


def test_a_node_without_a_name_has_the_machines() -> None:
    assert resolve(Config(), DEV).name
    assert resolve(Config(name="dock"), DEV).name == "dock"


# -- node.toml ---------------------------------------------------------------------------------


def test_a_file_holds_all_three_kinds_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(
        'name = "dock"\nsync_interval = 5\nbootstrap_nodes = ["10.0.0.1:8000"]\n'
        '[options]\nmax_retries = 7\n[spaces.fleet]\nack = "one"\n'
    )
    config, options = load_node_file(path)
    assert (config.name, config.sync_interval, config.bootstrap_nodes) == ("dock", 5, ("10.0.0.1:8000",))
    assert options.max_retries == 7
    assert config.spaces == {"fleet": SpacePolicy(ack="one")}
    assert load_config_file(str(path)) == config


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name = \n", ["node.toml", "line 1"]),
        ('name = "a"\n\n[options\n', ["node.toml", "line 3"]),
        ('nme = "a"\n', ["setting nme", "did you mean name?", "node.toml"]),
        ("[options]\nmax_retry = 1\n", ["options.max_retry", "did you mean max_retries?", "node.toml"]),
        ("options = 3\n", ["options", "node.toml"]),
        ("[spaces.fleet]\nack = 3\n", ["spaces.fleet.ack", "node.toml"]),
        ("node_timeout = nan\n", ["node_timeout", "node.toml"]),
        ("node_timeout = 2020-01-01\n", ["node_timeout", "node.toml"]),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "node.toml"
    path.write_text(text)
    error = _error(lambda: load_node_file(path))
    for part in parts:
        assert part in str(error)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "No such file" in str(_error(lambda: load_config_file(tmp_path / "none.toml")))
    assert "directory" in str(_error(lambda: load_config_file(tmp_path)))
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"\n')
    assert "not UTF-8" in str(_error(lambda: load_config_file(tmp_path / "latin.toml")))


def test_the_first_file_states_the_defaults(tmp_path: Path) -> None:
    """What stands there as a comment, taken as a setting, changes nothing."""
    text = default_node_file(name="dock")
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line and not line.endswith(".") else line
        for line in text.splitlines()
        if not line.startswith("# ") or " = " in line
    )
    assert "[spaces.fleet]" not in uncommented
    table = tomllib.loads(uncommented.partition("# A space is")[0].partition('replicas = "all"')[0])
    options = table.pop("options")
    assert resolve(Config(**table), MeshOptions(**options, dev_mode=True)) == resolve(
        Config(name="dock"), DEV
    )
    assert len(table) >= 10
    path = tmp_path / "node.toml"
    path.write_text(text)
    assert load_node_file(path) == (Config(name="dock"), MeshOptions())


def test_the_first_file_may_name_members_to_call() -> None:
    text = default_node_file(name="dock", bootstrap_nodes=["10.0.0.1:8000", "[fd00::1]:8000"])
    assert tomllib.loads(text)["bootstrap_nodes"] == ["10.0.0.1:8000", "[fd00::1]:8000"]


@given(st.text(max_size=64))
def test_any_name_survives_the_file(name: str) -> None:
    assert tomllib.loads(default_node_file(name=name))["name"] == name


@pytest.mark.parametrize(
    "text", ["", "bootstrap_nodes = []\n", '# bootstrap_nodes = []\nname = "x"\n', "[options]\n"]
)
def test_members_to_call_are_added_to_any_file_that_names_none(text: str) -> None:
    assert tomllib.loads(with_bootstrap(text, ["a:1"]))["bootstrap_nodes"] == ["a:1"]


# -- the rest ----------------------------------------------------------------------------------


@given(st.integers(0, 65_535), st.sampled_from(["127.0.0.1", "::1", "fd00::7", "crane-1.example"]))
def test_an_address_is_read_as_it_was_written(port: int, host: str) -> None:
    assert parse_address(format_address(host, port)) == (host, port)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        host, port = parse_address(text)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65_535


def test_special_addresses_are_known() -> None:
    assert is_wildcard("0.0.0.0")
    assert is_wildcard("::")
    assert not is_wildcard("10.0.0.1")
    assert is_loopback("localhost")
    assert not is_loopback("localhost.example.org")


def test_reading_settings_loads_nothing_heavy() -> None:
    """`bms --help` and shell completion import this."""
    script = """
import importlib.util, sys, types
spec = importlib.util.find_spec("bellande_mesh_sync")
package = types.ModuleType("bellande_mesh_sync")
package.__path__ = spec.submodule_search_locations
sys.modules["bellande_mesh_sync"] = package  # The package's own __init__ is judged elsewhere.
import bellande_mesh_sync.config
heavy = {"cryptography", "asyncio", "ssl", "platformdirs", "tomllib", "secrets"}
print(sorted(heavy & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_conflict_policy_has_a_name_and_every_name_a_policy() -> None:
    assert set(CONFLICT_WORDS) == set(BY_NAME)
    for word in (*CONFLICT_WORDS, "tasks:merge", "fleet.tasks:merge"):
        assert Config(spaces={"fleet": SpacePolicy(conflict=word)}).spaces["fleet"].conflict == word


def test_spaces_with_a_number_of_replicas_reach_the_core() -> None:
    spaces = {
        "fleet": SpacePolicy(replicas=3),
        "maps": SpacePolicy(replicas=2, shards=4096),
        "a": SpacePolicy(),
    }
    config = Config(spaces=spaces, rebalance_rate=1e6, rebalance_after=60)
    core = core_config(resolve(config, DEV))
    assert core.placed == (PlacedSpace("fleet", 3, 256), PlacedSpace("maps", 2, 4096))
    assert core.rebalance_bytes_per_s == 1_000_000
    assert core.rebalance_after_ns == 60 * 10**9
    for wrong in ({"replicas": 0}, {"shards": 63}, {"shards": 16_385}, {"replicas": "some"}):
        _error(SpacePolicy, **wrong)


def test_only_cipher_suites_and_versions_of_tls_1_3_are_taken() -> None:
    assert (
        MeshOptions(tls_ciphers=("TLS_AES_256_GCM_SHA384",), tls_min_version="1.3").tls_min_version == "1.3"
    )
    with pytest.raises(ConfigError, match=r"tls_ciphers.*is none of TLS_AES_256_GCM_SHA384"):
        MeshOptions(tls_ciphers=("ECDHE-RSA-AES128-SHA",))
    for old in ("1.2", "1.0", "ssl3"):
        with pytest.raises(ConfigError, match=r"tls_min_version"):
            MeshOptions(tls_min_version=old)  # type: ignore[arg-type]
