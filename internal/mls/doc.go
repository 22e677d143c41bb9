// Package mls is what a delivery service knows of MLS (RFC 9420): the wire
// format, the signatures it can check without being a member, the rules that are
// visible from outside, and the ids, rules and errors of this project's domain.
//
// What it keeps:
//   - It reads and never writes: a parsed object refers to the bytes it was read from,
//     by slices whose capacity ends with them. Signatures and references are computed
//     over those bytes, never over a re-encoding. Callers must not change the bytes.
//   - Every length is checked against what is there before anything is allocated.
//   - Errors carry a Code out of a closed set of stable names, and no value of the input.
//
// What it must not do: I/O, logging, reading the clock, a key schedule, decryption. It
// imports no other package of this project.
//
// # Map of the package
//
//	ids        DID ConvoID GroupID DeviceID MessageID Epoch Seq; NewConvoID NewMessageID
//	           ParseMessageID ParseGroupID ParseConvoKey GroupIDFromBytes
//	rules      CheckSizes PaddedSizeOK CheckEpoch CheckEpochRange BaseEpoch
//	text       DecodeText EncodeText CipherSuite ParseCipherSuite
//	errors     Kind (ErrX, one for each name of the contract) Error and its constructors AsError
//	           Code WireError CodeOf
//	parsing    ParseMessage ParseKeyPackage ParseWelcome ParseRatchetTree ParseGroupContext UnwrapPadding
//	checking   KeyPackagePolicy.Validate KeyPackage.Verify LeafNode.Verify RatchetTree.Verify GroupInfo.Verify
//	           PublicMessage.Verify KeyPackage.Ref PublicMessage.ProposalRef SplitIdentity
//	groups     OpenGroup ResumeGroup Group.Apply (Transition) Group.CheckProposal Group.Agrees: the public state of a
//	           group, followed from commit to commit as a member without keys does (RFC 9420 12.4.2)
//	workflows  KeyPackagePolicy.Read and ReadText (PublishedKeyPackage), ReadWelcome (WelcomeView),
//	           ParseCommit and ParseProposal (Candidate.Examine, Candidate.Judge: GroupState, Handshake,
//	           Handshake.CheckWelcome), ParseSend (Submission, Sent)
//
// The functions that read for a workflow return domain errors; parsers and checks return a
// *WireError.
package mls
