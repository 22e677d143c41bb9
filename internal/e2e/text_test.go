package e2e_test

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/gen/mlsapi/mlsapifake"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/lexrt"
)

// textParams are the parameters of a method that are text, by name: those that take
// more than one value, and those that must be given.
func textParams(t *testing.T, m *lexrt.Method) (names []string, lists, required map[string]bool) {
	t.Helper()
	lists, required = map[string]bool{}, map[string]bool{}
	for name, newValue := range mlsapifake.Params {
		if !strings.EqualFold(name, short(m)+"Params") {
			continue
		}
		v := newValue()
		for _, f := range reflect.ValueOf(v).Elem().Fields() {
			switch f.Kind() {
			case reflect.Pointer:
				f.Set(reflect.New(f.Type().Elem()))
			case reflect.Slice:
				f.Set(reflect.MakeSlice(f.Type(), 2, 2))
			default:
			}
		}
		for name, values := range v.EncodeQuery() {
			if values[0] == "" { // numbers and booleans are not
				names = append(names, name)
			}
			lists[name] = len(values) > 1
		}
		if invalid, ok := errors.AsType[*lexrt.InvalidError](newValue().DecodeQuery(nil)); ok {
			for _, is := range invalid.Issues {
				required[strings.TrimPrefix(is.Pointer, "/")] = is.Rule == "required"
			}
		}
	}
	return names, lists, required
}

// Text that a database cannot hold is refused where it is, in every parameter; the
// fields of bodies are broken in TestSweepConstraints.
func TestTextOfParameters(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u := s.Users(1)[0]
	tried := 0
	for _, m := range mlsapi.Methods() {
		names, lists, _ := textParams(t, m)
		for _, name := range names {
			place := "/" + name
			if lists[name] {
				place += "/0"
			}
			for text, problem := range map[string]string{"%00": "U+0000", "a%00b": "U+0000", "%ff": "UTF-8", "a%c3%28": "UTF-8", "%ed%a0%80": "UTF-8"} {
				query := name + "=" + text
				if lists[name] {
					query += "&" + query
				}
				a := u.Call(t, m, e2e.Request{RawQuery: query}, nil)
				if m == mlsapi.MethodSubscribeConvoEvents && name == "ticket" {
					// It stands for a token, and is judged as one.
					a.Want(t, http.StatusUnauthorized, "BadJwt")
					continue
				}
				if a.Status != http.StatusBadRequest || a.Error != "InvalidRequest" || !strings.Contains(a.Message, place+" must") ||
					!strings.Contains(a.Message, problem) || !strings.HasPrefix(a.Message, "invalid params") {
					t.Errorf("%s?%s=%s: %d %s %q", short(m), name, text, a.Status, a.Error, a.Message)
				}
				tried++
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d requests: where are the parameters?", tried)
	}
}

// An optional parameter without a value is one that is not given.
func TestEmptyParametersAreAbsent(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(1)
	u := users[0]
	u.Register(t, 1)
	convo := u.Create(t).ID
	tried := 0
	for _, m := range mlsapi.Methods() {
		names, _, required := textParams(t, m)
		for _, name := range names {
			if required[name] || m.Output != "application/json" {
				continue
			}
			query := url.Values{"convoId": {convo}}
			query.Del(name)
			before := u.Call(t, m, e2e.Request{Query: query}, nil)
			query.Set(name, "")
			if after := u.Call(t, m, e2e.Request{Query: query}, nil); after.Status != before.Status || after.Error != before.Error || after.Message != before.Message {
				t.Errorf("%s: %s= is answered with %d %s %q, without it %d %s", short(m), name, after.Status, after.Error, after.Message, before.Status, before.Error)
			}
			tried++
		}
	}
	if tried < 8 {
		t.Errorf("only %d requests", tried)
	}
}

// A conversation begins in an epoch that JSON can hold and that a commit can leave.
func TestEpochsHaveRoom(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice := s.Users(1)[0].Register(t, 1)
	const last = 1 << 52
	for _, epoch := range []int64{math.MaxInt64, 1 << 53, 1<<53 - 1, last + 1} {
		in := creation(e2e.Key())
		in.CurrentEpoch = &epoch
		if a := alice.Post(t, mlsapi.MethodCreateConvo, in, nil).Want(t, bad, "InvalidRequest"); !strings.Contains(a.Message, "/currentEpoch") {
			t.Errorf("epoch %d: %s", epoch, a.Message)
		}
	}
	group := mlstest.NewGroup(mls.SuiteX25519AES128).At(last)
	in := creation(e2e.Key())
	in.GroupID, in.CurrentEpoch = string(group.GroupID()), new(int64(last))
	var out mlsapi.CreateConvoOutput
	alice.Post(t, mlsapi.MethodCreateConvo, in, &out).OK(t)
	chat := &e2e.Chat{ID: out.ID, Group: group}
	for range 3 {
		alice.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
		chat.Next()
	}
	if epoch := alice.Epoch(t, chat); epoch != last+3 {
		t.Errorf("the conversation is in epoch %d", epoch)
	}

	// The same of an epoch that a GroupInfo says.
	verified := func(epoch uint64) (*mlsapi.CreateConvoInput, *mlstest.VerifiedGroup) {
		group := mlstest.NewVerifiedGroup(alice.Client)
		group.Epoch = mls.Epoch(epoch) // as it stands in eight bytes
		return &mlsapi.CreateConvoInput{
			GroupID: string(group.GroupID()), IdempotencyKey: e2e.Key(), GroupInfo: e2e.Text(group.GroupInfo(0)),
			CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
		}, group
	}
	for _, epoch := range []uint64{math.MaxUint64, 1 << 63, math.MaxInt64, 1 << 53, last + 1} {
		in, _ := verified(epoch)
		if a := alice.Post(t, mlsapi.MethodCreateConvo, in, nil).Want(t, bad, "InvalidGroupInfo"); !strings.Contains(a.Message, "EpochTooLarge") {
			t.Errorf("epoch %d of a GroupInfo: %s", epoch, a.Message)
		}
	}
	in, known := verified(last)
	alice.Post(t, mlsapi.MethodCreateConvo, in, &out).OK(t)
	followed := &e2e.VerifiedChat{Chat: &e2e.Chat{ID: out.ID}}
	followed.Move(known)
	for range 2 {
		alice.SendCommit(t, followed, mlstest.Draft{})
	}
	if epoch := alice.Epoch(t, followed.Chat); epoch != last+2 {
		t.Errorf("the verified conversation is in epoch %d", epoch)
	}
}
