-- name: DescribeDatabase :one
-- DescribeDatabase tells what an operator should know of the database: what a session of this role
-- gets when it asks for nothing of its own.
SELECT current_setting('server_version')::text AS version,
  pg_is_in_recovery() AS standby,
  (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)::boolean AS superuser,
  (SELECT pg_has_role(current_user, d.datdba, 'USAGE') FROM pg_catalog.pg_database d WHERE d.datname = current_database())::boolean AS owner,
  current_setting('fsync')::text AS fsync,
  current_setting('synchronous_commit')::text AS synchronous_commit,
  current_setting('track_commit_timestamp')::text AS commit_timestamps,
  current_setting('log_error_verbosity')::text AS log_error_verbosity,
  current_setting('log_statement')::text AS log_statement,
  (current_setting('log_min_duration_statement') <> '-1' OR current_setting('log_min_duration_sample') <> '-1')::boolean AS logs_slow_statements,
  (current_setting('log_parameter_max_length') <> '0')::boolean AS logs_parameters,
  current_setting('archive_mode')::text AS archive_mode,
  (current_setting('idle_in_transaction_session_timeout') <> '0')::boolean AS ends_idle_transactions,
  (SELECT count(*) FROM pg_catalog.pg_prepared_xacts p WHERE p.database = current_database())::bigint AS prepared_transactions,
  (current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer)::integer AS connections,
  clock_timestamp()::timestamptz AS now;
