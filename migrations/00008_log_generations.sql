-- A log that survives every restore, and waits for writers of this database only.
--
-- A generation is one stretch of history. A new one begins with every start of
-- the postmaster, with every promotion, and in every restored or copied
-- database; its number is at least the seconds of the clock, so that two
-- restores of one backup do not give the same number to different events.
--
-- A cursor's events are all still ahead of it exactly when the last event of its
-- generation that this database has is not before it. Else the cursor was given
-- out in a history that was lost.

-- +goose Up
-- life is the start of the postmaster under which the generation began, begun_at
-- when it began, in seconds since 1970, 0 for the one under which this migration ran.
ALTER TABLE event_log ADD COLUMN life double precision NOT NULL DEFAULT 0;
ALTER TABLE event_log ADD COLUMN begun_at bigint NOT NULL DEFAULT 0;

-- What identifies a history of the database: the cluster, the timeline, the
-- start of the postmaster (which every restored copy and every promoted replica
-- has of its own), the database and the table (which a dump that is restored
-- into a running cluster makes anew).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION event_log_origin() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE concat_ws('/',
        c.system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8),
        (date_part('epoch', pg_postmaster_start_time()) * 1000000)::bigint, d.oid, 'event_log'::regclass::oid) END
    FROM pg_control_system() c, pg_database d
    WHERE d.datname = current_database()
$$;
-- +goose StatementEnd

-- The last event of a generation, those that retention removed included; zeros
-- for a generation that this database knows nothing of.
-- +goose StatementBegin
CREATE FUNCTION event_log_last(of_generation bigint, OUT log_xid bigint, OUT "position" bigint)
LANGUAGE sql STABLE AS $$
    SELECT e.log_xid, e.position
    FROM (
        (SELECT x.log_xid, x.position FROM event_stream x WHERE x.generation = of_generation ORDER BY x.log_xid DESC, x.position DESC LIMIT 1)
        UNION ALL SELECT l.compacted_log_xid, l.compacted_position FROM event_log l WHERE l.compacted_generation = of_generation
        UNION ALL SELECT 0, 0
    ) e
    ORDER BY e.log_xid DESC, e.position DESC
    LIMIT 1
$$;
-- +goose StatementEnd

-- The history goes on: this migration begins no generation.
UPDATE event_log SET origin = event_log_origin(), life = date_part('epoch', pg_postmaster_start_time());

-- Whoever begins a generation, its beginning is noted. A dump makes triggers
-- last: a database without this one is still being restored.
-- +goose StatementBegin
CREATE FUNCTION event_log_begin() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.life := date_part('epoch', pg_postmaster_start_time());
    NEW.begun_at := floor(date_part('epoch', clock_timestamp()));
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER event_log_begin BEFORE UPDATE OF generation ON event_log
FOR EACH ROW WHEN (OLD.generation IS DISTINCT FROM NEW.generation) EXECUTE FUNCTION event_log_begin();

-- +goose StatementBegin
CREATE FUNCTION event_log_complete() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = 'event_log'::regclass AND t.tgname = 'event_log_begin')
$$;
-- +goose StatementEnd

-- Nothing is written in a generation of another start of the postmaster. A
-- connection sees to that when it is made; one through a pooler may outlive the
-- server behind it. object_not_in_prerequisite_state: repeat it a moment later.
-- +goose StatementBegin
CREATE FUNCTION event_log_ended() RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RAISE EXCEPTION 'the generation of the event log has ended' USING ERRCODE = '55000';
END
$$;
-- +goose StatementEnd

-- What writers take the generation from.
CREATE VIEW event_head AS
SELECT CASE WHEN g.life = date_part('epoch', pg_postmaster_start_time()) THEN g.generation ELSE event_log_ended() END AS generation
FROM event_log g;

-- The bound below which the log is complete in a snapshot: the smallest id of a
-- transaction that was open then and may be of this database. A transaction is
-- left out only when it is seen, still open, in another database; a role
-- without any privilege sees that much of everybody's sessions. One that ended
-- meanwhile counts, which delays an event by one more look.
-- +goose StatementBegin
CREATE FUNCTION event_log_horizon(seen pg_snapshot) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    here oid := (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
    oldest bigint;
BEGIN
    SELECT min(o.xid) INTO oldest
    FROM (SELECT i::text::bigint AS xid FROM pg_snapshot_xip(seen) i) o
    WHERE (o.xid & 4294967295) NOT IN (
        SELECT a.backend_xid::text::bigint FROM pg_stat_get_activity(NULL) a
        WHERE a.backend_xid IS NOT NULL AND a.datid <> 0 AND a.datid <> here
        UNION ALL
        SELECT p.transaction::text::bigint FROM pg_prepared_xact() p
        WHERE p.transaction IS NOT NULL AND p.dbid <> here
    );
    RETURN coalesce(oldest, pg_snapshot_xmax(seen)::text::bigint);
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP VIEW event_head;
DROP FUNCTION event_log_horizon(pg_snapshot);
DROP FUNCTION event_log_ended();
DROP TRIGGER event_log_begin ON event_log;
DROP FUNCTION event_log_begin();
DROP FUNCTION event_log_complete();
DROP FUNCTION event_log_last(bigint);
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION event_log_origin() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()
$$;
-- +goose StatementEnd
ALTER TABLE event_log DROP COLUMN begun_at;
ALTER TABLE event_log DROP COLUMN life;
