-- Nobody is dragged in: a user whom a stranger adds to a conversation is invited until it accepts.
--
-- Who is on a roster by now is a member. Servers of before take invited users for members.
-- Each statement locks one table for a moment, and may be run again after a try that was cut off.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE members ADD COLUMN IF NOT EXISTS invited_by text COLLATE "C";
COMMENT ON COLUMN members.invited_by IS 'Who has invited the user, as long as it has not accepted; NULL for a member. It is equal over all active rows of a user, and stays when the user goes without having accepted.';
COMMENT ON COLUMN members.confirmed IS 'No longer read: a user who has accepted has no invited_by.';
ALTER TABLE members
    DROP CONSTRAINT IF EXISTS members_invited_is_no_admin,
    ADD CONSTRAINT members_invited_is_no_admin CHECK (invited_by IS NULL OR NOT is_admin) NOT VALID;
ALTER TABLE members VALIDATE CONSTRAINT members_invited_is_no_admin;

ALTER TABLE removal_debts ADD COLUMN IF NOT EXISTS withheld boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN removal_debts.withheld IS 'The user never accepted its invitation: nobody is told which device it is.';

-- +goose Down
ALTER TABLE removal_debts DROP COLUMN withheld;
ALTER TABLE members DROP COLUMN invited_by;
