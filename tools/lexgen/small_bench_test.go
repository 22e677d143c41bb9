package main

import (
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/mailru/easyjson"
	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"
)

// The same structs with tags, for json/v2 by reflection and for easyjson, which makes
// small_easyjson_test.go of a file with them alone (easyjson -no_std_marshalers).

//easyjson:json
type taggedMetadata struct {
	Name        *string `json:"name,omitempty"`
	Description *string `json:"description,omitempty"`
}

//easyjson:json
type taggedMember struct {
	DID        string  `json:"did"`
	UserDID    string  `json:"userDid"`
	DeviceID   *string `json:"deviceId,omitempty"`
	DeviceName *string `json:"deviceName,omitempty"`
	JoinedAt   string  `json:"joinedAt"`
	IsAdmin    bool    `json:"isAdmin"`
	PromotedAt *string `json:"promotedAt,omitempty"`
	PromotedBy *string `json:"promotedBy,omitempty"`
	LeafIndex  *int64  `json:"leafIndex,omitempty"`
	Credential []byte  `json:"credential,omitempty"`
}

//easyjson:json
type taggedRequest struct {
	RequestID     string  `json:"requestId"`
	Kind          string  `json:"kind"`
	UserDID       string  `json:"userDid"`
	DeviceID      *string `json:"deviceId,omitempty"`
	CreatedAt     string  `json:"createdAt"`
	AssignedTo    *string `json:"assignedTo,omitempty"`
	AssignedUntil *string `json:"assignedUntil,omitempty"`
}

//easyjson:json
type taggedConvo struct {
	ID              string          `json:"id"`
	GroupID         string          `json:"groupId"`
	Creator         string          `json:"creator"`
	Members         []taggedMember  `json:"members"`
	Epoch           int64           `json:"epoch"`
	CipherSuite     string          `json:"cipherSuite"`
	CreatedAt       string          `json:"createdAt"`
	LastMessageAt   *string         `json:"lastMessageAt,omitempty"`
	Metadata        *taggedMetadata `json:"metadata,omitempty"`
	PendingRequests []taggedRequest `json:"pendingRequests,omitempty"`
	Assurance       *string         `json:"assurance,omitempty"`
	Generation      *int64          `json:"generation,omitempty"`
	CommitID        *string         `json:"commitId,omitempty"`
}

//easyjson:json
type taggedConvos struct {
	Convos []taggedConvo `json:"conversations"`
	Cursor *string       `json:"cursor,omitempty"`
}

// BenchmarkSmallObjectsDecode reads a page of 50 small objects, where the cost
// is that of members rather than of bytes.
func BenchmarkSmallObjectsDecode(b *testing.B) {
	var page mlsapi.GetConvosOutput
	for i := range 50 {
		name, at := "Friends of \"tea\"\n", lexrt.Datetime("2026-11-20T10:00:02Z")
		page.Conversations = append(page.Conversations, mlsapi.DefsConvoView{
			ID: "3kznmn7xqxl22", GroupID: "a1b2c3d4e5f60718293a4b5c6d7e8f90", Creator: "did:plc:z72i7hdynmk6r22z27h6tvur",
			Members: []mlsapi.DefsMemberView{}, Epoch: int64(i), CipherSuite: mlsapi.DefsConvoViewCipherSuiteMLS128DHKEMX25519AES128GCMSHA256Ed25519,
			CreatedAt: "2026-11-20T10:00:00.000Z", LastMessageAt: &at, Metadata: &mlsapi.DefsConvoMetadata{Name: &name},
		})
	}
	body := page.AppendJSON(nil)
	b.Run("lexgen", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var v mlsapi.GetConvosOutput
			if err := v.UnmarshalJSON(body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("easyjson", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var v taggedConvos
			if err := easyjson.Unmarshal(body, &v); err != nil || len(v.Convos) != 50 {
				b.Fatal(len(v.Convos), err)
			}
		}
	})
	// Turn by turn, so that a busy machine is as busy for both.
	b.Run("lexgen-beside-easyjson", func(b *testing.B) {
		beside(b, 100, func() error { return new(mlsapi.GetConvosOutput).UnmarshalJSON(body) }, func() error { return easyjson.Unmarshal(body, new(taggedConvos)) })
	})
	b.Run("json-v2", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var v taggedConvos
			if err := jsonv2.Unmarshal(body, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			body = page.AppendJSON(body[:0])
		}
	})
}
