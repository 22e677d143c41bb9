-- Which Welcome has taken the place of another: when it is withdrawn, the other one waits again.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE welcome_routes ADD COLUMN IF NOT EXISTS superseded_by bigint;
COMMENT ON COLUMN welcome_routes.superseded_by IS 'The Welcome that has taken its place; NULL where none did.';
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS welcome_routes_superseded_idx; -- left by a try that was cut off
CREATE INDEX CONCURRENTLY welcome_routes_superseded_idx ON welcome_routes (superseded_by) WHERE superseded_by IS NOT NULL;

-- +goose Down
DROP INDEX CONCURRENTLY welcome_routes_superseded_idx;
ALTER TABLE welcome_routes DROP COLUMN superseded_by;
