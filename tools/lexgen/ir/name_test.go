package ir_test

import (
	"testing"

	"mls-server/tools/lexgen/ir"
)

func TestGoName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"convoId": "ConvoID", "msgId": "MsgID", "dids": "DIDs", "didList": "DIDList", "mlsDid": "MLSDID", "thumbnailURL": "ThumbnailURL",
		"mp4URL": "Mp4URL", "id": "ID", "ids": "IDs", "ok": "OK", "okay": "Okay", "identity": "Identity", "DIDs": "DIDs", "getDIDsOf": "GetDIDsOf",
		"URLParser": "URLParser", "a-b_c.d": "ABCD", "1st": "N1st", "": "X", "*/": "X", "日本": "U65E5U672C", "émoji": "U00E9Moji",
		"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519": "MLS128DHKEMX25519AES128GCMSHA256Ed25519", "device_reinstall": "DeviceReinstall",
	} {
		if got := ir.GoName(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestBase(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"com.example.getNote": "GetNote", "com.example.note.defs": "NoteDefs", "com.examples.getNote": "ComExamplesGetNote", "com.example": "ComExample",
	} {
		if got := ir.Base(in, "com.example"); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}
