-- Whose word about a removal was contradicted.

-- +goose Up
ALTER TABLE removal_debts ADD COLUMN spent_by text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN removal_debts.spent_by IS 'Users who have said that the leaf is gone, and were contradicted: they are heard again about another commit.';

-- +goose Down
ALTER TABLE removal_debts DROP COLUMN spent_by;
