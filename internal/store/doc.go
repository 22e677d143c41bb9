// Package store is the database: the only user of pgx and of gen/db.
//
// Invariants it keeps (docs/invariants.md): one commit per conversation and
// epoch (I1); an epoch advances by compare-and-set together with all that
// belongs to it (I2); seq is gapless and the orders of seq and of events agree
// (I3); a key package goes out once (I4); every change is committed with its
// event (I5); no row links a person to an application message (I7); times of
// messages, commits, events and Welcomes are floored to 2 seconds before they
// are stored, and CHECKs refuse others (I8); the event that ends what a removed
// user may see is written where it is removed (I10).
//
// It must not decide what a caller may do beyond membership and adminship,
// know HTTP, read the environment, log, or let rows of gen/db out. Errors
// carry no value of a statement (I9): constraint names become domain errors in
// errors.go, everything else is an SQLSTATE.
//
// # Locks
//
// A transaction locks a conversation's row once, FOR NO KEY UPDATE, before any
// other row of it (LockConvo, LockAsMember, LockAsAdmin, CreateConvo). Whoever
// locks a user as well locks the user first. Whoever locks several
// conversations does so in the order of their ids.
//
// # Verbs
//
// On Store and Tx (reads):
//
//	FindStanding RequireMember RequireAdmin        what a user is to a conversation
//	ListConvos FindConvoEntry                      views, three statements a page
//	ListMembers FindActive CountUsers ListAdmins FindSuccessor WasMemberSince ListSharedConvos ListUsers
//	ReadMessages ListCommits FindRepeat FindMessageSeq
//	ListDevices CountKeyPackages FindReservedKeyPackage
//	FindWelcome ListWaitingWelcomes LastConfirmation
//	FindOpenRequest ListRequests CountRejoins ListDebts
//	FindGroupState FindGroupStateAt FindGroup IsVoidCommit ListAdditions
//	ReadLog Replay LogEnd
//	StreamLog StreamConvos StreamMessages StreamAdmins FindConvoID
//	AccountChanges ListAccountStates FindAccountState
//	ListReports FindReport CountReports CountModeration ListBlocks
//
// On Store (one statement each, no transaction around it):
//
//	SendMessage SendMessages ClaimKeyPackages Replays().Use FindDocument
//
// On Store (life):
//
//	New Close Ping Migrate MigrationStatus InTx Retain SaveDocuments SetHostStatus
//
// On Tx (writes):
//
//	LockConvo LockAsMember LockAsAdmin CreateConvo
//	AcceptCommit AcceptProposal                    epoch, message, commit row, group state, event
//	PutGroupState SetLeaves                        what the server knows of a group
//	UpsertMembers RemoveUser SetNeedsRejoin        roster and its events
//	Promote Demote Audit
//	RegisterDevice PublishKeyPackages ReserveKeyPackage ResolveKeyPackages ConsumeKeyPackages
//	RouteWelcome ConfirmWelcome FailWelcome
//	OpenRequest FulfilRequests OweRemovals
//	SettleDebts SettleDeviceDebts SettleLeafDebts
//	ClaimDebts ClaimProposedDebts ConfirmDebt CloseDebt DisputeDebt
//	ResetConvo
//	AppendEvents SetCursor
//	FileReport ResolveReport RecordBlocks DeleteBlockByKey TellBlockConflict EndBlockConflict
//	SuspendAccount RestoreAccount AuditOperator
//	BeginRequest FinishRequest Savepoint AfterCommit
package store
