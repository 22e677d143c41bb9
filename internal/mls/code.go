package mls

import (
	"errors"
	"strconv"
)

// Code names what is wrong with an MLS object. The set is closed, and the names
// (String) are shared by the API's messages, metrics and documentation: a name is
// never changed or reused. A Code is an error itself, so that
// errors.Is(err, CodeExpired) works on every error of this package that carries it.
type Code uint8 //nolint:errname // like syscall.Errno, a code that can also be returned

// The codes. Zero is no code.
//
//nolint:errname // a code is first of all a name; being an error lets errors.Is take it
const (
	_ Code = iota
	// CodeBadEncoding: the text is not base64.
	CodeBadEncoding
	// CodeTruncated: the bytes end inside a value.
	CodeTruncated
	// CodeTrailingBytes: bytes follow where nothing may follow.
	CodeTrailingBytes
	// CodeLengthNotMinimal: a vector's length is not in its shortest form (RFC 9420 2.1.2).
	CodeLengthNotMinimal
	// CodeLengthPrefix: a vector's length starts with the bits 11.
	CodeLengthPrefix
	// CodeBadOptional: an optional's presence byte is neither 0 nor 1.
	CodeBadOptional
	// CodeTooLarge: a list or value exceeds a cap of this server.
	CodeTooLarge
	// CodeEpochTooLarge: an epoch needs more than 63 bits.
	CodeEpochTooLarge
	// CodeUnsupportedVersion: the protocol version is not mls10.
	CodeUnsupportedVersion
	// CodeUnsupportedWireFormat: the wire format is not one of the five.
	CodeUnsupportedWireFormat
	// CodeWireFormatMismatch: an MLSMessage, but of another wire format than asked for.
	CodeWireFormatMismatch
	// CodeUnsupportedSuite: the cipher suite is unknown or not accepted.
	CodeUnsupportedSuite
	// CodeUnsupportedCredential: the credential type is unknown, or not basic where it must be.
	CodeUnsupportedCredential
	// CodeUnsupportedProposal: the proposal type is unknown; what follows cannot be read.
	CodeUnsupportedProposal
	// CodeUnsupportedContent: content, sender, node, PSK or reference type is not one of RFC 9420.
	CodeUnsupportedContent
	// CodeDuplicateExtension: an extension type stands twice in a list.
	CodeDuplicateExtension
	// CodeBadLeafSource: a leaf node's source is unknown or wrong in its place.
	CodeBadLeafSource
	// CodeBadKeySize: a public key does not have the size of its suite.
	CodeBadKeySize
	// CodeBadPoint: a public key is not a point of its curve.
	CodeBadPoint
	// CodeCompressedPoint: an ECDSA or ECDH key is compressed (RFC 9420 5.1.1 wants uncompressed).
	CodeCompressedPoint
	// CodeInitKeyReused: the init key was published before.
	CodeInitKeyReused
	// CodeInitKeyEqualsEncryptionKey: init key and encryption key are equal.
	CodeInitKeyEqualsEncryptionKey
	// CodeBadLifetime: not_before lies after not_after.
	CodeBadLifetime
	// CodeLifetimeTooLong: the lifetime exceeds the policy's maximum.
	CodeLifetimeTooLong
	// CodeNotYetValid: not_before lies in the future.
	CodeNotYetValid
	// CodeExpired: not_after has passed.
	CodeExpired
	// CodeCapabilityMissing: the leaf uses something that its capabilities do not list.
	CodeCapabilityMissing
	// CodeIdentityMismatch: the credential's identity is not the expected DID.
	CodeIdentityMismatch
	// CodeSignatureKeyMismatch: the leaf's signature key is not the registered one.
	CodeSignatureKeyMismatch
	// CodeLeafSignature: a LeafNode's signature does not verify.
	CodeLeafSignature
	// CodeKeyPackageSignature: a KeyPackage's signature does not verify.
	CodeKeyPackageSignature
	// CodeGroupInfoSignature: a GroupInfo's signature does not verify.
	CodeGroupInfoSignature
	// CodeContentSignature: a PublicMessage's signature does not verify.
	CodeContentSignature
	// CodeBadTree: a ratchet tree is malformed.
	CodeBadTree
	// CodeTreeHash: a ratchet tree does not have the hash that the GroupContext names.
	CodeTreeHash
	// CodeWrongGroup: the message belongs to another group.
	CodeWrongGroup
	// CodeWrongEpoch: the message belongs to another epoch.
	CodeWrongEpoch
	// CodeWrongSuite: the object is of another cipher suite than the conversation or the request.
	CodeWrongSuite
	// CodeWrongContentType: the message is not the kind (commit, proposal, application) it must be.
	CodeWrongContentType
	// CodeMissingExternalPub: a GroupInfo for external joins lacks external_pub.
	CodeMissingExternalPub
	// CodeMissingTree: the ratchet tree is needed and not there.
	CodeMissingTree
	// CodeRosterMismatch: what a tree or a commit shows is not what the request says of the
	// members.
	CodeRosterMismatch
	// CodeMissingUpdatePath: a commit lacks the UpdatePath that it needs (RFC 9420 12.4).
	CodeMissingUpdatePath
	// CodeUnknownProposalRef: a commit refers to a proposal that is not known.
	CodeUnknownProposalRef
	// CodeWelcomeRefMismatch: a Welcome's references are not those of the commit's Adds.
	CodeWelcomeRefMismatch
	// CodeDuplicateWelcomeRef: a Welcome names a key package twice.
	CodeDuplicateWelcomeRef
	// CodeForbiddenProposal: a proposal may not stand where it stands (RFC 9420 12.1.8, 12.2).
	CodeForbiddenProposal
	// CodeSelfRemoval: a commit removes its own sender.
	CodeSelfRemoval
	// CodeDuplicateRemoval: a commit removes or updates a leaf twice.
	CodeDuplicateRemoval
	// CodeDuplicateKey: a commit adds a signature, init or encryption key twice.
	CodeDuplicateKey
	// CodeBadExternalCommit: an external commit breaks RFC 9420 12.4.3.2.
	CodeBadExternalCommit
	// CodePublicMessageRequired: a handshake of a verified conversation is encrypted.
	CodePublicMessageRequired
	// CodeUnknownProposal: a proposal of a verified conversation is of a type that the server does
	// not know.
	CodeUnknownProposal
	// CodeUnknownLeaf: a proposal or a sender names a leaf that is not there.
	CodeUnknownLeaf
	// CodeBadPSK: a pre-shared key's nonce does not have the size of the suite's hash.
	CodeBadPSK
	// CodeBadParentHash: parent hashes or unmerged leaves of a tree do not fit each other (RFC 9420
	// 7.9).
	CodeBadParentHash
	// CodeBadUpdatePath: an UpdatePath does not have one node for each ancestor that needs one, or
	// not one secret for each member below it (RFC 9420 7.5, 7.6).
	CodeBadUpdatePath
	// CodeTreeHashMismatch: a GroupInfo's tree is not the one that the commit leads to.
	CodeTreeHashMismatch
	// CodeTranscriptMismatch: a GroupInfo's confirmed transcript hash is not the one that the
	// commit leads to.
	CodeTranscriptMismatch
	// CodeGroupInfoMismatch: a GroupInfo's extensions or confirmation tag are not those of the
	// commit.
	CodeGroupInfoMismatch
	// CodeSmallOrderKey: a public key is a point of small order.
	CodeSmallOrderKey
	// CodeNotTheCaller: the leaf that a commit or proposal gives its sender names another user than
	// the caller.
	CodeNotTheCaller
	// CodeMisplacedExtension: an extension stands where RFC 9420 17.3 does not put its type, or a
	// last_resort extension is not empty.
	CodeMisplacedExtension
	// CodeGroupInfoMissing: a commit of a verified conversation comes without the GroupInfo of the
	// epoch that it leads to.
	CodeGroupInfoMissing
	// CodeForbiddenExtension: a group's extensions name external senders other than this server's
	// own.
	CodeForbiddenExtension
	// CodeDeletedDevice: the signature key is that of a device that its user has deleted.
	CodeDeletedDevice
	// CodeCommitMissing: a request that makes a commit does not have one.
	CodeCommitMissing
	codeEnd
)

var codeNames = [codeEnd]string{
	CodeBadEncoding:                "BadEncoding",
	CodeTruncated:                  "Truncated",
	CodeTrailingBytes:              "TrailingBytes",
	CodeLengthNotMinimal:           "LengthNotMinimal",
	CodeLengthPrefix:               "LengthPrefix",
	CodeBadOptional:                "BadOptional",
	CodeTooLarge:                   "TooLarge",
	CodeEpochTooLarge:              "EpochTooLarge",
	CodeUnsupportedVersion:         "UnsupportedVersion",
	CodeUnsupportedWireFormat:      "UnsupportedWireFormat",
	CodeWireFormatMismatch:         "WireFormatMismatch",
	CodeUnsupportedSuite:           "UnsupportedSuite",
	CodeUnsupportedCredential:      "UnsupportedCredential",
	CodeUnsupportedProposal:        "UnsupportedProposal",
	CodeUnsupportedContent:         "UnsupportedContent",
	CodeDuplicateExtension:         "DuplicateExtension",
	CodeBadLeafSource:              "BadLeafSource",
	CodeBadKeySize:                 "BadKeySize",
	CodeBadPoint:                   "BadPoint",
	CodeCompressedPoint:            "CompressedPoint",
	CodeInitKeyReused:              "InitKeyReused",
	CodeInitKeyEqualsEncryptionKey: "InitKeyEqualsEncryptionKey",
	CodeBadLifetime:                "BadLifetime",
	CodeLifetimeTooLong:            "LifetimeTooLong",
	CodeNotYetValid:                "NotYetValid",
	CodeExpired:                    "Expired",
	CodeCapabilityMissing:          "CapabilityMissing",
	CodeIdentityMismatch:           "IdentityMismatch",
	CodeSignatureKeyMismatch:       "SignatureKeyMismatch",
	CodeLeafSignature:              "LeafSignature",
	CodeKeyPackageSignature:        "KeyPackageSignature",
	CodeGroupInfoSignature:         "GroupInfoSignature",
	CodeContentSignature:           "ContentSignature",
	CodeBadTree:                    "BadTree",
	CodeTreeHash:                   "TreeHash",
	CodeWrongGroup:                 "WrongGroup",
	CodeWrongEpoch:                 "WrongEpoch",
	CodeWrongSuite:                 "WrongSuite",
	CodeWrongContentType:           "WrongContentType",
	CodeMissingExternalPub:         "MissingExternalPub",
	CodeMissingTree:                "MissingTree",
	CodeRosterMismatch:             "RosterMismatch",
	CodeMissingUpdatePath:          "MissingUpdatePath",
	CodeUnknownProposalRef:         "UnknownProposalRef",
	CodeWelcomeRefMismatch:         "WelcomeRefMismatch",
	CodeDuplicateWelcomeRef:        "DuplicateWelcomeRef",
	CodeForbiddenProposal:          "ForbiddenProposal",
	CodeSelfRemoval:                "SelfRemoval",
	CodeDuplicateRemoval:           "DuplicateRemoval",
	CodeDuplicateKey:               "DuplicateKey",
	CodeBadExternalCommit:          "BadExternalCommit",
	CodePublicMessageRequired:      "PublicMessageRequired",
	CodeUnknownProposal:            "UnknownProposal",
	CodeUnknownLeaf:                "UnknownLeaf",
	CodeBadPSK:                     "BadPSK",
	CodeBadParentHash:              "BadParentHash",
	CodeBadUpdatePath:              "BadUpdatePath",
	CodeTreeHashMismatch:           "TreeHashMismatch",
	CodeTranscriptMismatch:         "TranscriptMismatch",
	CodeGroupInfoMismatch:          "GroupInfoMismatch",
	CodeSmallOrderKey:              "SmallOrderKey",
	CodeNotTheCaller:               "NotTheCaller",
	CodeMisplacedExtension:         "MisplacedExtension",
	CodeGroupInfoMissing:           "GroupInfoMissing",
	CodeForbiddenExtension:         "ForbiddenExtension",
	CodeDeletedDevice:              "DeletedDevice",
	CodeCommitMissing:              "CommitMissing",
}

// Codes lists all codes, for documentation, metrics and tests.
func Codes() []Code {
	all := make([]Code, 0, codeEnd-1)
	for c := Code(1); c < codeEnd; c++ {
		all = append(all, c)
	}
	return all
}

// String returns the stable name, for example "LengthNotMinimal".
func (c Code) String() string {
	if c == 0 || c >= codeEnd {
		return "Code(" + strconv.Itoa(int(c)) + ")"
	}
	return codeNames[c]
}

// Error returns the name.
func (c Code) Error() string { return c.String() }

// WireError is what the parsers and verifiers return: a code and where in the
// bytes it was found. It unwraps to its Code.
type WireError struct {
	// Code is what is wrong.
	Code Code
	// Offset is the position in the bytes that were given, in bytes; for a failed check, the
	// start of the object that failed.
	Offset int
}

// Error names code and position, never bytes.
func (e *WireError) Error() string {
	return "mls: " + e.Code.String() + " at byte " + strconv.Itoa(e.Offset)
}

// Unwrap returns the code.
func (e *WireError) Unwrap() error { return e.Code }

// CodeOf returns the code that err carries, 0 when it carries none.
func CodeOf(err error) Code {
	c, _ := errors.AsType[Code](err)
	return c
}
