"""The tables on the server. People may read them; only a node may write them."""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 2
SERVER_VERSION_MIN: Final = 13

# `store` has one row. Keys are ordered by code points, as everywhere else.
TABLES: Final = """
CREATE TABLE store(
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    mesh text NOT NULL,
    node text NOT NULL,
    clock bigint NOT NULL DEFAULT 0,
    commit_id bytea NOT NULL,
    previous_commit_id bytea NOT NULL
);
CREATE TABLE logs(
    log integer PRIMARY KEY,
    shard text NOT NULL,
    author bytea NOT NULL,
    UNIQUE (shard, author)
);
CREATE TABLE records(
    log integer NOT NULL,
    sequence bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    stamp bigint NOT NULL,
    size bigint NOT NULL,
    digest bytea NOT NULL,
    content_type text NOT NULL,
    expires_ms bigint NOT NULL,
    context bytea NOT NULL,
    value bytea,
    manifest bytea,
    PRIMARY KEY (log, sequence)
);
CREATE INDEX records_key ON records(key);
CREATE TABLE history(
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    until bigint NOT NULL,
    kept_until_ms bigint NOT NULL,
    author bytea NOT NULL,
    sequence bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    stamp bigint NOT NULL,
    size bigint NOT NULL,
    digest bytea NOT NULL,
    content_type text NOT NULL,
    expires_ms bigint NOT NULL,
    context bytea NOT NULL,
    value bytea,
    manifest bytea
);
CREATE INDEX history_of_key ON history(key, until);
CREATE INDEX history_expiry ON history(kept_until_ms) WHERE kept_until_ms > 0;
CREATE TABLE set_aside(LIKE records INCLUDING INDEXES);
CREATE TABLE damaged(
    log integer NOT NULL,
    sequence bigint NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (log, sequence)
);
CREATE TABLE knowledge(
    log integer NOT NULL,
    low bigint NOT NULL,
    high bigint NOT NULL,
    PRIMARY KEY (log, low)
);
CREATE TABLE collected(
    log integer PRIMARY KEY,
    number bigint NOT NULL
);
CREATE TABLE shards(
    shard text PRIMARY KEY,
    fingerprint bytea NOT NULL
);
CREATE TABLE members(
    node bytea PRIMARY KEY,
    body bytea NOT NULL
);
CREATE TABLE statements(
    id bytea PRIMARY KEY,
    body bytea NOT NULL
);
CREATE VIEW live_values AS
    SELECT key,
           to_timestamp((stamp >> 16) / 1000.0) AS written_at,
           encode(substr(author, 1, 32), 'hex') AS written_by,
           size,
           content_type,
           CASE WHEN expires_ms > 0 THEN to_timestamp(expires_ms / 1000.0) END AS expires_at,
           value
    FROM records JOIN logs USING (log)
    WHERE kind = 0;
COMMENT ON TABLE store IS 'One row: the node that writes here, and its last commit.';
COMMENT ON TABLE logs IS 'The authors of each shard; `log` stands for both in the other tables.';
COMMENT ON TABLE records IS 'Live records: kind 0 is a value, 1 a tombstone; large values are in chunks.';
COMMENT ON TABLE history IS 'Replaced versions, as in `records`; `until` is the stamp of what replaced them.';
COMMENT ON TABLE damaged IS 'Records that were found damaged on the node and have not come back.';
COMMENT ON TABLE set_aside IS 'What the server has of these.';
COMMENT ON TABLE knowledge IS 'Which numbers of each log this node has taken.';
COMMENT ON TABLE collected IS 'Up to which number of each log tombstones have been dropped here.';
COMMENT ON TABLE shards IS 'The sum of the live values of each shard, modulo 2^256.';
COMMENT ON TABLE members IS 'The members of the mesh as this node knows them, MessagePack.';
COMMENT ON TABLE statements IS 'What the mesh has agreed on for ever, signed, MessagePack.';
COMMENT ON VIEW live_values IS 'What people read: keys and their values; several rows of a key are siblings.';
"""
