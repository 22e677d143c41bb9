package sealed_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"mls-server/client/sealed"
	"mls-server/internal/mls"
)

type vectors struct {
	Proofs []struct {
		Name             string `json:"name"`
		SendKey          string `json:"sendKey"`
		ConvoID          string `json:"convoId"`
		Epoch            int64  `json:"epoch"`
		MsgID            string `json:"msgId"`
		CiphertextByte   string `json:"ciphertextByte"`
		CiphertextLength int    `json:"ciphertextLength"`
		Proof            string `json:"proof"`
	} `json:"proofs"`
}

// TestVectors: the client's proofs and the server's are those of the vectors, which were made by
// neither.
func TestVectors(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil || len(v.Proofs) < 4 {
		t.Fatal(err, len(v.Proofs))
	}
	for _, p := range v.Proofs {
		key, ciphertext := unhex(t, p.SendKey), bytes.Repeat(unhex(t, p.CiphertextByte), p.CiphertextLength)
		if got := hex.EncodeToString(sealed.Proof(key, p.ConvoID, p.Epoch, p.MsgID, ciphertext)); got != p.Proof {
			t.Errorf("%s: the client proves %s, want %s", p.Name, got, p.Proof)
		}
		statement := mls.NewSealedStatement(p.ConvoID, mls.Epoch(p.Epoch), mls.MessageID(p.MsgID), ciphertext)
		if got := hex.EncodeToString(statement.Prove(mls.ParseSendKey(key))); got != p.Proof {
			t.Errorf("%s: the server proves %s, want %s", p.Name, got, p.Proof)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
