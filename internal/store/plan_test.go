package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/mls"
)

// fill writes n conversations' worth of rows fast: 2 users and 4 messages in
// each, and one conversation with much more.
const fill = `
INSERT INTO conversations (id, group_id, creator_did, cipher_suite, epoch, last_seq, created_at, last_activity_at)
SELECT translate(lpad(to_hex(i), 13, '0'), '0189', 'ghij'), lpad(to_hex(i), 32, '0'), 'did:plc:u' || i, 1, 3, 4, 'epoch', timestamptz 'epoch' + i * interval '2 s'
FROM generate_series(1, 5000) i;
INSERT INTO members (convo_id, user_did, mls_did, joined_at, join_epoch, join_seq, is_admin)
SELECT c.id, u, u, 'epoch', 1, 0, true FROM conversations c, LATERAL (VALUES (c.creator_did), ('did:plc:v' || (length(c.id) + c.epoch + substr(c.creator_did, 10)::int % 1000))) x (u);
INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts)
SELECT c.id, s, 'M' || s, CASE s WHEN 4 THEN 3 ELSE 1 END, 3, 'x', 512, timestamptz 'epoch' + s * interval '2 s' FROM conversations c, generate_series(1, 4) s;
INSERT INTO commits (convo_id, epoch, seq, sender_did, created_at) SELECT c.id, 2, 4, c.creator_did, 'epoch' FROM conversations c;
INSERT INTO commits (convo_id, epoch, seq, void_seq, sender_did, created_at) SELECT c.id, 3, 3, 4, c.creator_did, 'epoch' FROM conversations c WHERE substr(c.creator_did, 10)::int % 50 = 0;
INSERT INTO group_states (convo_id, generation, epoch, group_info, proven, depositor_did, leaf_indexes, leaf_users, leaf_devices, created_at, superseded_at, superseded_by) SELECT c.id, 0, e, 'x', true, c.creator_did, '{}', '{}', '{}', 'epoch', CASE e WHEN 3 THEN NULL ELSE timestamptz 'epoch' + e * interval '2 s' END, CASE e WHEN 3 THEN NULL ELSE c.creator_did END FROM conversations c, generate_series(0, 3) e;
INSERT INTO commit_additions (convo_id, seq, user_did, device_id, created_at) SELECT c.id, 4, c.creator_did, '', 'epoch' FROM conversations c;
INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts)
SELECT (SELECT min(id) FROM conversations), s, 'M' || s, 1, 3, 'x', 512, timestamptz 'epoch' + s * interval '2 s' FROM generate_series(5, 20000) s;
INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, message_id, bucket_ts)
SELECT 1, 3 + row_number() OVER (), 1, 1, m.convo_id, m.seq, m.msg_id, m.received_bucket_ts FROM messages m;
INSERT INTO event_stream (generation, log_xid, kind, audience, audience_did, bucket_ts)
SELECT 1, 3 + i, 10, 3, 'did:plc:u' || i, 'epoch' FROM generate_series(1, 5000) i;
INSERT INTO event_stream (generation, log_xid, kind, audience, convo_id, seq, user_did, bucket_ts)
SELECT 1, 3 + row_number() OVER (), 2, 1, m.convo_id, 0, m.user_did, 'epoch' FROM members m;
INSERT INTO user_devices (user_did, device_id, device_name, signature_key, mls_did, created_at)
SELECT 'did:plc:u' || i, gen_random_uuid()::text, 'd', sha256(i::text::bytea), 'x', now() FROM generate_series(1, 5000) i;
INSERT INTO key_packages (owner_did, device_id, ref, sha256, cipher_suite, key_package, expires_at, last_resort, created_at)
SELECT u.user_did, u.device_id, sha256((u.device_id || k)::bytea), sha256((u.device_id || k)::bytea), 1, 'x', now() + k * interval '1 day', k = 5, now() FROM user_devices u, generate_series(1, 5) k;
INSERT INTO used_init_keys SELECT sha256 FROM key_packages;
INSERT INTO welcomes (convo_id, epoch, welcome, created_at) SELECT id, 1, 'x', 'epoch' FROM conversations;
INSERT INTO welcome_routes (welcome_id, convo_id, user_did, device_id, key_package_ref) SELECT w.id, w.convo_id, c.creator_did, '', 'r' FROM welcomes w JOIN conversations c ON c.id = w.convo_id;
INSERT INTO pending_welcomes (id, convo_id, user_did, device_id, kind, status, created_at) SELECT 'p' || c.id, c.id, c.creator_did, '', 'rejoin', CASE WHEN substr(c.creator_did, 10)::int % 2 = 0 THEN 'open' ELSE 'confirmed' END, now() FROM conversations c;
INSERT INTO removal_debts (id, convo_id, user_did, created_at) SELECT 'd' || id, id, 'x', 'epoch' FROM conversations;
INSERT INTO removal_debts (id, convo_id, user_did, created_at, settled_epoch, settled_at) SELECT 's' || id, id, 'x', 'epoch', 1, timestamptz '2000-01-01 00:00:00+00' + (row_number() OVER ()) * interval '2 s' FROM conversations;
INSERT INTO deleted_devices SELECT user_did, overlay(device_id PLACING 'f' FROM 1), signature_key || 'x', timestamptz '2000-01-01 00:00:00+00' + (row_number() OVER () % 50) * interval '1 day', row_number() OVER () % 100 = 0 FROM user_devices;
INSERT INTO user_days SELECT user_did, timestamptz '2000-01-01 00:00:00+00' + (row_number() OVER () % 50) * interval '1 day' FROM user_devices;
INSERT INTO user_days SELECT 'a' || i, timestamptz '2000-01-01 00:00:00+00' + (i % 50) * interval '1 day' FROM generate_series(1, 20000) i;
INSERT INTO invitations (convo_id, user_did, inviter_did, created_at, ended_at, outcome) SELECT c.id, 'did:plc:v' || i, c.creator_did, 'epoch', CASE i WHEN 1 THEN NULL ELSE timestamptz 'epoch' + substr(c.creator_did, 10)::int * interval '2 s' END, CASE i WHEN 1 THEN NULL ELSE 'declined' END FROM conversations c, generate_series(1, 4) i;
INSERT INTO convo_resets SELECT c.id, g, g, c.creator_did, false, 'epoch' FROM conversations c, generate_series(1, 4) g;
INSERT INTO commit_reports SELECT c.id, 0, 'did:plc:r' || i, '', 4, 'epoch' FROM conversations c, generate_series(1, 4) i;
INSERT INTO send_keys SELECT id, 0, 3, 1, decode(repeat('00', 128), 'hex'), decode(repeat('00', 128), 'hex'), '{}', 1 FROM conversations;
INSERT INTO cursors SELECT convo_id, user_did, 1 FROM members;
INSERT INTO idempotency_keys SELECT sha256(i::text::bytea), sha256('b'), 200, 'x', now() FROM generate_series(1, 20000) i;
INSERT INTO used_jtis SELECT sha256(i::text::bytea), now() FROM generate_series(1, 20000) i;
INSERT INTO reports (id, convo_id, reporter_did, reported_did, category, encrypted_content, created_at) SELECT 'r' || i, translate(lpad(to_hex(1 + i % 5000), 13, '0'), '0189', 'ghij'), 'a' || i, 'b', 'spam', 'x', now() - i * interval '1 s' FROM generate_series(1, 20000) i;
INSERT INTO admin_actions (convo_id, actor_did, action, created_at) SELECT id, 'x', 'remove', now() FROM conversations;
INSERT INTO bsky_blocks SELECT 'a' || i, 'b' || i, 'u', 'k', now(), now() FROM generate_series(1, 20000) i;
INSERT INTO block_conflicts SELECT id, creator_did, 'b', 'k' || id, 'epoch' FROM conversations;
INSERT INTO ended_conflicts SELECT id, creator_did, 'k' || id, 'epoch' FROM conversations;
INSERT INTO lost_events SELECT id, '', 1, 1, 1 FROM conversations;
INSERT INTO lost_events SELECT id, creator_did, 1, 1, 1 FROM conversations;
INSERT INTO block_checks SELECT 'a' || i, 'b' || i, now() FROM generate_series(1, 20000) i;
INSERT INTO account_states SELECT 'a' || i, i % 3 = 0, false, CASE i % 3 WHEN 1 THEN 'deleted' END, timestamptz '2000-01-01 00:00:00+00' + i * interval '2 s', i FROM generate_series(1, 20000) i;
INSERT INTO did_documents SELECT 'a' || i, 'k', 'p', date_trunc('hour', now(), 'UTC') FROM generate_series(1, 20000) i;
ANALYZE`

// planCase is what a statement's plan has to look like.
type planCase struct {
	query   string
	indexes []string
	// scans are tables that may be read whole, as event_log, which has one row.
	scans []string
	// arguments of a custom plan, which retention has made; "" is the generic
	// plan that every other statement runs with.
	arguments string
}

// Every hot query goes through the index that was made for it, and none reads a
// table whole, in the generic plan that the pool's connections are told to use.
func TestPlans(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	conn, err := s.pool.Acquire(t.Context())
	must(t, err)
	defer conn.Release()
	for statement := range strings.SplitSeq(fill, ";\n") {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	cases := []planCase{
		{"sendMessage", []string{"conversations_pkey", "members_pkey", "messages_msg_id_key"}, []string{"event_log"}, ""},
		{"sendMessages", []string{"conversations_pkey", "convo_groups_pkey", "members_pkey", "messages_msg_id_key"}, []string{"event_log"}, ""},
		{"getStanding", []string{"conversations_pkey", "convo_groups_pkey", "members_pkey"}, nil, ""},
		{"lockConversation", []string{"conversations_pkey", "convo_groups_pkey"}, nil, ""},
		{"acceptCommit", []string{"conversations_pkey"}, []string{"event_log"}, ""},
		{"getReadingStanding", []string{"conversations_pkey", "members_pkey", "messages_msg_id_key"}, nil, ""},
		{"listMessages", []string{"messages_pkey", "commits_void_idx"}, nil, ""},
		{"listCommits", []string{"commits_standing_key", "messages_pkey"}, nil, ""},
		{"findLastReads", []string{"members_pkey", "messages_pkey", "commits_pkey"}, nil, ""},
		{"listLastCommits", []string{"commits_pkey", "messages_pkey"}, nil, ""},
		{"findMessage", []string{"messages_msg_id_key", "commits_void_idx"}, nil, ""},
		{"setCursor", nil, nil, ""},
		{"listConversations", []string{"members_active_user_idx", "conversations_pkey"}, nil, ""},
		{"listMembers", []string{"members_pkey"}, nil, ""},
		{"listOpenRequests", []string{"pending_welcomes_one_open_key", "removal_debts_one_open_key"}, nil, ""},
		{"lockConversationsOf", []string{"members_active_user_idx", "conversations_pkey"}, nil, ""},
		{"weighInvitations", []string{"invitations_inviter_idx"}, nil, ""},
		{"acceptInvitation", []string{"invitations_one_open_key", "members_active_user_idx"}, []string{"event_log"}, ""},
		{"listSurplus", []string{"invitations_open_user_idx", "invitations_inviter_idx"}, nil, ""},
		{"claimKeyPackages", []string{"key_packages_claim_idx", "key_packages_last_resort_idx", "key_packages_pkey", "user_devices_pkey"}, []string{"event_log"}, ""},
		{"resolveKeyPackages", []string{"key_packages_ref_idx", "key_packages_sha256_key"}, nil, ""},
		{"countLiveKeyPackages", []string{"key_packages_claim_idx"}, nil, ""},
		{"countKeyPackages", []string{"key_packages_owner_idx"}, nil, ""},
		{"findDeviceByKey", []string{"user_devices_signature_key_key"}, nil, ""},
		{"findWaitingWelcome", []string{"welcome_routes_waiting_idx", "welcomes_pkey"}, nil, ""},
		{"listWaitingWelcomes", []string{"welcome_routes_waiting_idx"}, nil, ""},
		{"readLog", []string{"event_stream_pkey"}, []string{"event_log"}, ""},
		{"readConversationLogs", []string{"event_stream_convo_idx", "event_stream_personal_idx"}, nil, ""},
		{"getLogEnd", []string{"event_stream_pkey"}, []string{"event_log"}, ""},
		{"listStreamConversations", []string{"event_stream_membership_idx", "members_active_user_idx"}, nil, ""},
		{"hasLostEvents", []string{"lost_events_pkey", "lost_events_user_idx", "event_stream_membership_idx"}, nil, ""},
		{"readStreamMessages", []string{"messages_pkey", "commits_void_idx"}, nil, ""},
		{"findProposals", []string{"messages_proposals_idx", "commits_void_idx"}, nil, ""},
		{"hasVoidCommit", []string{"commits_void_idx"}, nil, ""},
		{"getGroupState", []string{"group_states_pkey"}, nil, ""},
		{"supersedeGroupStates", []string{"group_states_pkey"}, nil, ""},
		{"setLeaves", []string{"members_pkey"}, nil, ""},
		{"findGroup", []string{"convo_groups_pkey"}, nil, ""},
		{"listNotedGroups", []string{"convo_groups_first_idx"}, nil, ""},
		{"listAdditions", []string{"commit_additions_pkey"}, nil, ""},
		{"settleDebts", []string{"removal_debts"}, nil, ""},
		{"findRequest", []string{"idempotency_keys_pkey"}, nil, ""},
		{"useJTI", nil, nil, ""},
		{"listReports", []string{"reports_convo_idx"}, nil, ""},
		{"countRecentReports", []string{"reports_pair_idx"}, nil, ""},
		{"findBlockConflict", []string{"block_conflicts_pkey"}, nil, ""},
		{"isConflictOver", []string{"ended_conflicts_pkey"}, nil, ""},
		{"listBlockedByRecord", []string{"block_conflicts_record_idx"}, nil, ""},
		{"listBlocks", []string{"bsky_blocks_pkey", "block_checks_pkey"}, nil, ""},
		{"deleteMessages", []string{"messages_received_brin"}, nil, "'1970-01-01 00:00:02Z', 1000"},
		{"deleteEvents", []string{"event_stream_bucket_brin"}, []string{"event_log"}, "'1969-01-01', 1000"},
		{"deleteCommits", []string{"messages_received_brin"}, nil, "'1970-01-01 00:00:02Z', '1969-01-01', 1000"},
		{"deleteWelcomes", []string{"welcomes_created_idx"}, nil, "'1969-01-01', 1000"},
		{"deleteKeyPackages", []string{"key_packages_expires_idx"}, nil, "'1969-01-01', 1000"},
		{"deleteIdempotencyKeys", []string{"idempotency_keys_created_idx"}, nil, "'1969-01-01', 1000"},
		{"deleteJTIs", []string{"used_jtis_expires_idx"}, nil, "'1969-01-01', 1000"},
		{"deleteDIDDocuments", []string{"did_documents_fetched_idx"}, nil, "'1969-01-01', 1000"},
		{"deleteGroupStates", []string{"group_states_superseded_idx"}, nil, "'1970-01-01 00:00:02Z', 1000"},
		{"deleteAdditions", []string{"commit_additions_created_idx"}, nil, "'1969-01-01', 1000"},
		{"deleteInvitations", []string{"invitations_ended_idx"}, nil, "'1969-01-01', '1969-01-01', 1000"},
		{"deleteRequests", []string{"pending_welcomes_created_idx"}, nil, "'1969-01-01', 1000"},
		{"deleteAccountStates", []string{"account_states_served_idx"}, nil, "'1999-01-01', 1000"},
		{"listAccountStates", []string{"account_states_changed_idx"}, nil, ""},
		{"deleteDebts", []string{"removal_debts_settled_at_idx"}, nil, "'1999-01-01', 1000"},
		{"deleteEndedConflicts", []string{"ended_conflicts_ended_idx"}, nil, "'1969-01-01', 1000"},
		{"deleteBlockChecks", []string{"block_checks_checked_idx"}, nil, "'1969-01-01', 1000"},
		// What has to do with every row: once after a restore, and in the background.
		{"resetConversationStamps", nil, []string{"conversations"}, ""},
		{"countActiveConversations", nil, []string{"conversations"}, ""},
		{"listUsers", nil, []string{"members"}, ""},
		// The operator's commands, which hold no lock while they look for what names an account.
		{"listConvosOfAccount", nil, []string{
			"members", "conversations", "commits", "convo_resets", "cursors", "welcome_routes", "pending_welcomes", "removal_debts",
			"commit_reports", "block_conflicts", "ended_conflicts", "group_states", "commit_additions", "admin_actions", "reports", "event_stream",
		}, ""},
		{"countRemains", nil, []string{"removal_debts", "group_states", "commit_additions", "event_stream"}, ""},
		{"listMemberships", nil, []string{"members"}, ""},
		{"eraseBlockChecks", nil, []string{"block_checks"}, ""},
		{"eraseInvitations", nil, []string{"invitations"}, ""},
		{"describeDatabase", nil, []string{"pg_authid", "pg_database"}, ""},
		{"insertClosure", nil, []string{"operator_actions"}, ""},
		{"eraseOperatorAudit", nil, []string{"operator_actions"}, ""},
	}
	queries := generated(t)
	// No other statement reads a table whole.
	for name := range queries {
		if strings.HasPrefix(name, "export") {
			continue // the operator's, who asks for all there is
		}
		if !slices.ContainsFunc(cases, func(c planCase) bool { return c.query == name }) {
			cases = append(cases, planCase{name, nil, []string{"event_log", "account_changes", "feed_position"}, ""})
		}
	}
	for _, c := range cases {
		plan := explain(t, conn.Conn(), queries[c.query], c.arguments)
		for _, index := range c.indexes {
			if !strings.Contains(plan, index) {
				t.Errorf("%s does not use %s:\n%s", c.query, index, plan)
			}
		}
		for _, scan := range regexp.MustCompile(`Seq Scan on (\w+)`).FindAllStringSubmatch(plan, -1) {
			if !strings.Contains(strings.Join(c.scans, " "), scan[1]) {
				t.Errorf("%s reads all of %s:\n%s", c.query, scan[1], plan)
			}
		}
	}
}

// generated is the statements of gen/db by name.
func generated(tb testing.TB) map[string]string {
	tb.Helper()
	files, err := filepath.Glob("../gen/db/*.sql.go")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no generated queries: %v", err)
	}
	queries := map[string]string{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		must(tb, err)
		for _, match := range regexp.MustCompile("(?s)const (\\w+) = `(.*?)`").FindAllSubmatch(source, -1) {
			queries[string(match[1])] = string(match[2])
		}
	}
	return queries
}

// explain is the plan of a statement: the generic one, or that for arguments.
func explain(tb testing.TB, conn *pgx.Conn, sql, arguments string) string {
	tb.Helper()
	if sql == "" {
		tb.Fatal("no such query")
	}
	ctx := tb.Context()
	prepared, err := conn.Prepare(ctx, "explained", sql)
	must(tb, err)
	mode := "force_custom_plan"
	if arguments == "" {
		mode = "force_generic_plan"
		arguments = strings.TrimSuffix(strings.Repeat("NULL, ", len(prepared.ParamOIDs)), ", ")
	}
	if arguments != "" {
		arguments = "(" + arguments + ")"
	}
	defer func() {
		if err := conn.Deallocate(context.WithoutCancel(ctx), "explained"); err != nil {
			tb.Error(err)
		}
	}()
	_, err = conn.Exec(ctx, "SET plan_cache_mode = "+mode)
	must(tb, err)
	// A name that SQL reaches: the protocol's statement has it as well.
	rows, err := conn.Query(ctx, fmt.Sprintf("EXPLAIN (COSTS OFF) EXECUTE explained%s", arguments), pgx.QueryExecModeSimpleProtocol)
	must(tb, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(tb, err)
	return strings.Join(lines, "\n")
}

// A page of conversations costs three statements, however long it is.
func TestListConvosCostsThreeStatements(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	for range 30 {
		newConvo(t, s, alice, bob)
	}
	ctx, counter := WithCounter(t.Context())
	page, err := s.ListConvos(ctx, alice, AllConvos, ConvoCursor{}, 20)
	must(t, err)
	if n := counter.Statements(); n != 3 {
		t.Errorf("%d statements, want 3", n)
	}
	if len(page.Convos) != 20 || page.Next == nil || len(page.Convos[0].Members) != 2 {
		t.Fatalf("a page of %d", len(page.Convos))
	}
	seen := map[mls.ConvoID]bool{}
	for _, c := range page.Convos {
		seen[c.ID] = true
	}
	page, err = s.ListConvos(t.Context(), alice, AllConvos, *page.Next, 20)
	must(t, err)
	for _, c := range page.Convos {
		seen[c.ID] = true
	}
	if len(page.Convos) != 10 || page.Next != nil || len(seen) != 30 {
		t.Errorf("second page of %d, %d conversations in all", len(page.Convos), len(seen))
	}
}
