"""The error tree. The class says who is to blame, the code is stable, the sentence says what to do.

    BellandeMeshError
      ConfigError       the operator; raised before anything starts
      UsageError        our caller: a wrong call, or a wrong call for this state
      RequestError      the answer to a well-formed request is no (not found, conflict, denied, timed out)
      PeerError         the other node; it never stops ours
      TransportError    the network
      StorageError      the disk
      InternalError     us, as a client of a node hears of it

Each class carries its `code` and whether trying again can help; facts are attributes. The same
codes are used by Python, HTTP and the command line.
"""

from __future__ import annotations

import functools
import string
from typing import Any, ClassVar


class BellandeMeshError(Exception):
    """Base of all errors raised on purpose.

    Facts are keyword arguments, kept in `facts` (JSON-ready) and readable as attributes; the
    sentence is `template` filled with them.
    """

    code: ClassVar[str] = "mesh_error"
    retryable: ClassVar[bool] = False
    template: ClassVar[str] = "something went wrong"

    def __init__(self, message: str = "", **facts: Any) -> None:
        self.facts = facts
        self._message = message
        super().__init__(str(self))

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(name)

    def __str__(self) -> str:
        return self._message or self.template.format(**self.facts)


# -- the operator ------------------------------------------------------------------------------


class ConfigError(BellandeMeshError):
    """A setting is unknown, of the wrong type or out of range. Nothing was started."""

    code = "config_invalid"
    template = "setting {field}: {reason}"


class MissingExtraError(ConfigError):
    """This needs a package that a small installation goes without."""

    code = "missing_extra"
    template = "{what} needs {package}: pip install 'bellande-mesh-sync[{extra}]'"


class HomeInUseError(ConfigError):
    code = "home_in_use"
    template = "{home} is in use by a running node (pid {pid}); stop it, or choose another --home"


class PortInUseError(ConfigError):
    code = "port_in_use"
    template = "{address} is in use; choose another --listen address, or port 0 for any free one"


class NotAMemberError(ConfigError):
    code = "not_a_member"
    template = "{home} holds no identity; run 'bms init' for a new mesh, or 'bms join TOKEN' for one there is"


class AlreadyAMemberError(ConfigError):
    code = "already_a_member"
    template = "{home} already holds the identity of node {node}; choose another --home"


class IdentityConflictError(ConfigError):
    """Two nodes run with one identity, as after cloning a disk. This one stopped; its data is kept."""

    code = "identity_conflict"
    template = "{reason}"


class RevokedError(ConfigError):
    """This node was revoked by its mesh: it stopped, and its data is kept. A new identity is needed."""

    code = "revoked"
    template = "{reason}"


class IdentityError(ConfigError):
    """A key or certificate file is missing, unreadable, readable by others, or does not fit."""

    code = "identity_invalid"
    template = "{path}: {reason}"


class StoreRefusedError(ConfigError):
    """The database server answered and said no: a wrong password, no such database, a version that is
    too old, a setting that loses data. Nothing was started."""

    code = "store_refused"
    template = "{server} cannot be used: {reason}"


# -- our caller --------------------------------------------------------------------------------


class UsageError(BellandeMeshError):
    """The call is wrong, or wrong for this state. Nothing changed."""

    code = "usage"
    template = "{reason}"


class InvalidKeyError(UsageError):
    code = "invalid_key"
    template = "key {key!r} is not allowed: {reason}"


class NotRunningError(UsageError):
    code = "not_running"
    template = "the node is not running; call start() first"


class UnsupportedError(UsageError):
    """Planned; this version does not have it yet."""

    code = "unsupported"
    template = "{what} is not supported by this version"


class InvalidValueError(UsageError):
    """The key's space has a conflict policy that can make nothing of this value. Nothing was written."""

    code = "invalid_value"
    template = "space {space} ({policy}) cannot take this value for {key!r}: {reason}"


class MessageTooLargeError(UsageError):
    code = "message_too_large"
    template = "the message has {size} bytes; {limit} are allowed: put large values, and send their key"


class BodyTooLargeError(UsageError):
    code = "body_too_large"
    template = "{what} may have {limit} bytes at most"


class InvalidRangeError(UsageError):
    code = "invalid_range"
    template = "the range {range!r} lies outside the value, which has {size} bytes"


class PathError(UsageError):
    """A question of the search path that has no answer as it stands. Nothing changed."""

    code = "path_error"


class DimensionMismatchError(PathError):
    code = "dimension_mismatch"
    template = "{what} has {have} dimensions; {need} are expected"


class InvalidNumberError(PathError):
    """A number is missing, not finite, or out of its range."""

    code = "invalid_number"
    template = "{what} must be {wanted}"


class InvalidSceneError(PathError):
    """What is to be planned cannot be: shapes differ, or start or goal is where nothing can be."""

    code = "invalid_scene"
    template = "the scene's {what}: {reason}"


class InvalidExpressionError(PathError):
    code = "invalid_expression"
    template = "the formula {text!r} cannot be used: {reason}"


class QuestionTooLargeError(UsageError):
    """A node answers for everybody: what would keep it busy for long is for a program of your own."""

    code = "question_too_large"
    template = "the question takes {work:.2g} steps, and {limit:.2g} are allowed; ask for less at once"


class MethodNotAllowedError(UsageError):
    code = "method_not_allowed"
    template = "{method} is not possible on {path}; allowed are {allowed}"


# -- a well-formed request whose answer is no --------------------------------------------------


class RequestError(BellandeMeshError):
    code = "request_failed"


class NotFoundError(RequestError):
    code = "not_found"
    template = "there is no {what} {name!r}"


class HistoryGoneError(RequestError):
    """What was there then is not known: this node never had it, or has forgotten it. Nothing changed."""

    code = "history_gone"
    template = "this node's history of {key!r} does not reach back to {what}; another node's may"


class CursorGoneError(RequestError):
    """What a watcher has missed since its cursor is no longer known. Go on with an empty cursor: it tells all
    there is, then what happens. Nothing changed."""

    code = "cursor_gone"
    template = (
        "the watch cannot go on from this cursor: {reason}; watch from the beginning, with an empty one"
    )


class ConflictError(RequestError):
    """`if_match` names another version than the visible one. Nothing was written."""

    code = "precondition_failed"
    template = "key {key!r} has another version than the one asked for; read it again and decide"


class ConflictLimitError(RequestError):
    """A write that replaces nothing would add a sibling too many. Nothing was written, nothing dropped."""

    code = "conflict_limit"
    template = (
        "key {key!r} has {limit} siblings; read it and write with its context, or with none, to settle them"
    )


class NoPathError(RequestError):
    """The search ended before it found a path. There may be one."""

    code = "no_path"
    retryable = True
    template = (
        "no path was found in {samples} samples and {seconds:g} s; there may be one: allow more of both"
    )


class ReservedError(RequestError):
    """A tube in space and time was not granted. The claim is withdrawn."""

    code = "reserved"
    retryable = True
    template = "the reservation was not granted: {reason}"


class StillMemberError(RequestError):
    """A member that is not down cannot be removed: it would be back with its next word. Nothing changed."""

    code = "still_member"
    template = "node {node} is {state}; only a member that is down can be removed"


class AckTimeoutError(RequestError):
    """Fewer nodes than asked for confirmed in time. The write itself is kept and goes on spreading."""

    code = "ack_timeout"
    retryable = True
    template = (
        "ack={level} was not reached in {timeout_s:g} s: {have} of {need} nodes have it on disk; "
        "the write is kept and goes on spreading"
    )


class IncompleteValueError(RequestError):
    """A value's stream ended early. Nothing was written under the key."""

    code = "value_incomplete"
    retryable = True
    template = "the value's stream ended early; nothing was written under {key!r}"


class ChunkMissingError(RequestError):
    code = "chunk_missing"
    retryable = True
    template = "chunk {chunk} of {key!r} is not on this node's disk"


class UnauthorizedError(RequestError):
    code = "unauthorized"
    template = "a valid token is needed: {reason}"


class ForbiddenError(RequestError):
    code = "forbidden"
    template = "this needs the role {needed}; the token has {role}"


class InvalidTokenError(RequestError):
    """A join token cannot be read, is not known here, or its proof is wrong."""

    code = "invalid_token"
    template = "the join token is not valid: {reason}"


class ExpiredTokenError(RequestError):
    code = "token_expired"
    template = "the join token expired {ago} ago; ask for a new one with 'bms invite'"


class UsedTokenError(RequestError):
    code = "token_used"
    template = "the join token was used up; ask for a new one with 'bms invite'"


class TooManyAttemptsError(RequestError):
    code = "too_many_attempts"
    retryable = True
    template = "too many failed attempts from {address}; try again in {wait_s:g} s"


class BusyError(RequestError):
    """A bounded queue is full. Nothing was done."""

    code = "busy"
    retryable = True
    template = "{what} is full ({limit}); slow down and try again"


# -- the other node ----------------------------------------------------------------------------


class PeerError(BellandeMeshError):
    """A peer broke the protocol. Its link is closed; our state is unchanged."""

    code = "peer_error"
    template = "{reason}"


class DecodeError(PeerError):
    code = "bad_frame"
    template = "bytes that are no message: {reason}"


class LimitExceededError(PeerError):
    code = "frame_too_large"
    template = "{what} of {size} exceeds the limit of {limit}"


class AuthenticationError(PeerError):
    code = "authentication_failed"
    template = "{reason}"


class VersionMismatchError(PeerError):
    code = "version_mismatch"
    template = "the peer speaks protocols {theirs}, this node {ours}"


# -- the network -------------------------------------------------------------------------------


class TransportError(BellandeMeshError):
    code = "transport"
    retryable = True


class UnreachableError(TransportError):
    code = "unreachable"
    template = "{address} cannot be reached: {reason}"


class OwnersUnreachableError(TransportError):
    """None of the nodes that hold this, or may, has answered. Whether it exists is not known."""

    code = "owners_unreachable"
    template = "{what} is held by nodes that do not answer; try again when they are in reach"


class DeadlineError(TransportError):
    code = "deadline"
    template = "{what} took longer than {timeout_s:g} s"


# -- the disk ----------------------------------------------------------------------------------


class StorageError(BellandeMeshError):
    """The disk refused. Nothing of the batch was written; what was acknowledged before is kept."""

    code = "storage"
    template = "{reason}"


class DiskFullError(StorageError):
    code = "disk_full"
    retryable = True
    template = "the disk that holds {path} is full; free some space"


class StoreUnavailableError(StorageError):
    """The database server cannot be reached, or cannot write now. Nothing was written; reading goes on."""

    code = "store_unavailable"
    retryable = True
    template = "{server} is not available: {reason}"


class CorruptStoreError(StorageError):
    """A file of the store fails its check. It is left as it is, for repair."""

    code = "corrupt_store"
    template = "{path} is damaged: {reason}; 'bms repair' saves what can be read, the mesh brings the rest"


def damaged_key(key: str) -> CorruptStoreError:
    """A record of this key was found damaged on this node; the rest of its store is well."""
    reason = (
        f"key {key!r} is damaged on this node, and is asked for at other nodes; try again soon. If none "
        "has it, write it again or delete it"
    )
    return CorruptStoreError(reason, reason=reason, key=key)  # As facts they make the same error again.


# -- us ----------------------------------------------------------------------------------------


class InternalError(BellandeMeshError):
    """A fault in this software, as a client of a node hears of it. The node's log has the rest."""

    code = "internal"
    template = "the node failed inside; its log names incident {incident}"


# -- by code -----------------------------------------------------------------------------------


def error_of(code: str, facts: dict[str, Any]) -> BellandeMeshError:
    """The error with this code. Facts that its sentence needs and that are missing read `unknown`.

    For answers that arrive as a code: from a core, over HTTP, from another node.
    """
    kind = _by_code().get(code, BellandeMeshError)
    needed = {name for _, name, _, _ in string.Formatter().parse(kind.template) if name}
    missing = needed - facts.keys()
    message = facts.get("reason", "") if missing else ""
    return kind(str(message), **dict.fromkeys(missing, "unknown"), **facts)


@functools.cache
def _by_code() -> dict[str, type[BellandeMeshError]]:
    found: dict[str, type[BellandeMeshError]] = {}
    kinds: list[type[BellandeMeshError]] = [BellandeMeshError]
    while kinds:
        kind = kinds.pop()
        found[kind.code] = kind
        kinds += kind.__subclasses__()
    return found
