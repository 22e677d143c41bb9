package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
	"mls-server/lexrt"
)

// role is what a caller is to a conversation.
type role string

const (
	anonymous role = "anonymous"
	stranger  role = "stranger" // was never in it
	former    role = "former member"
	kicked    role = "kicked"
	invited   role = "invited" // and has not accepted
	member    role = "member"
	reported  role = "reported admin" // an admin that a member has reported
	admin     role = "admin"
)

// roles lists those that have no standing first: their calls change nothing.
var roles = []role{anonymous, stranger, former, kicked, invited, member, reported, admin}

// scene is a conversation with a user in each role.
type scene struct {
	*e2e.Server
	chat  *e2e.Chat
	users map[role]*e2e.Device
	// spare are plain members for the roles to act upon.
	spare map[role]*e2e.Device
	// message is a message of the conversation, report one about the reported admin.
	message, report string
}

// newScene makes a conversation with a past.
func newScene(t *testing.T, s *e2e.Server) *scene {
	t.Helper()
	c := &scene{Server: s, users: map[role]*e2e.Device{}, spare: map[role]*e2e.Device{}}
	var others []*e2e.User
	for i, u := range s.Users(2*len(roles) - 1) {
		d := u.Register(t, 4)
		if i < len(roles) {
			c.users[roles[i]] = d
			if r := roles[i]; r != anonymous && r != stranger && r != admin {
				others = append(others, u)
			}
			continue
		}
		c.spare[roles[i-len(roles)+1]] = d
		others = append(others, u)
	}
	boss := c.users[admin].User
	c.chat = boss.Invite(t, others...)
	for _, u := range others {
		if u != c.users[invited].User {
			u.Accept(t, c.chat).OK(t)
		}
	}
	boss.Promote(t, c.chat, c.users[reported].User).OK(t)
	c.users[former].Leave(t, c.chat, nil).OK(t)
	boss.Remove(t, c.chat, c.users[kicked].User, nil).OK(t)
	c.message = c.users[member].Send(t, c.chat).MessageID
	id, a := c.users[member].Report(t, c.chat, c.users[reported].User, "spam")
	a.OK(t)
	c.report = id
	return c
}

// text makes an answer comparable with an expectation such as "404 ConvoNotFound".
func text(a e2e.Answer) string {
	if a.Status == http.StatusOK {
		return "200"
	}
	return strconv.Itoa(a.Status) + " " + a.Error
}

// convoMethods are the methods that name a conversation, by their lexicons.
func convoMethods(t *testing.T) []*lexrt.Method {
	t.Helper()
	var list []*lexrt.Method
	for _, m := range mlsapi.Methods() {
		if _, ok := requestProperties(t, m)["convoId"]; ok {
			list = append(list, m)
		}
	}
	return list
}

// property is what the sweep needs to know of a parameter or a field.
type property struct {
	Type    string    `json:"type"`
	Format  string    `json:"format"`
	Minimum int       `json:"minimum"`
	Items   *property `json:"items"`
}

// requestProperties reads the parameters or the input of a method out of its lexicon.
func requestProperties(t *testing.T, m *lexrt.Method) map[string]property {
	t.Helper()
	type object struct {
		Properties map[string]property `json:"properties"`
	}
	raw, err := os.ReadFile(filepath.Join("..", "..", "lexicons", "blue", "catbird", "mls", short(m)+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Defs struct {
			Main struct {
				Parameters object `json:"parameters"`
				Input      struct {
					Schema object `json:"schema"`
				} `json:"input"`
			} `json:"main"`
		} `json:"defs"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if m.Kind == lexrt.Procedure {
		return file.Defs.Main.Input.Schema.Properties
	}
	return file.Defs.Main.Parameters.Properties
}

// post and get make requests.
func post(in lexrt.Response) e2e.Request { return e2e.Request{Body: in.AppendJSON(nil)} }

func get(args ...string) e2e.Request {
	query := url.Values{}
	for i := 0; i+1 < len(args); i += 2 {
		query.Add(args[i], args[i+1])
	}
	return e2e.Request{Query: query}
}

// valid makes the request of each method that succeeds where the caller's role
// allows it. A method that is not in it gets a request made from its schema.
var valid = map[*lexrt.Method]func(t *testing.T, c *scene, r role) e2e.Request{
	mlsapi.MethodAddMembers: func(t *testing.T, c *scene, r role) e2e.Request {
		t.Helper()
		newcomer := c.Users(1)[0]
		newcomer.Register(t, 1)
		return post(c.caller(r).Addition(t, c.chat, newcomer))
	},
	mlsapi.MethodSendSealed: func(_ *testing.T, c *scene, _ role) e2e.Request { return post(c.chat.Sealed()) },
	mlsapi.MethodDepositSendKey: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return post(&mlsapi.DepositSendKeyInput{ConvoID: c.chat.ID, Epoch: int64(c.chat.Group.Epoch), SendKey: c.chat.SendKey()})
	},
	mlsapi.MethodLeaveConvo: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return post(&mlsapi.LeaveConvoInput{ConvoID: c.chat.ID})
	},
	mlsapi.MethodAcceptConvo: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return post(&mlsapi.AcceptConvoInput{ConvoID: c.chat.ID})
	},
	mlsapi.MethodGetEpoch: onlyConvo,
	mlsapi.MethodGetCommits: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return get("convoId", c.chat.ID, "fromEpoch", "1")
	},
	mlsapi.MethodSendMessage: func(_ *testing.T, c *scene, _ role) e2e.Request { return post(c.chat.Message()) },
	mlsapi.MethodGetMessages: onlyConvo,
	mlsapi.MethodUpdateCursor: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return post(&mlsapi.UpdateCursorInput{ConvoID: c.chat.ID, Cursor: c.message})
	},
	mlsapi.MethodStreamConvoEvents:    onlyConvo,
	mlsapi.MethodSubscribeConvoEvents: onlyConvo,
	mlsapi.MethodGetSubscriptionTicket: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return post(&mlsapi.GetSubscriptionTicketInput{ConvoID: &c.chat.ID})
	},
	mlsapi.MethodGetWelcome: onlyConvo,
	mlsapi.MethodConfirmWelcome: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return post(&mlsapi.ConfirmWelcomeInput{ConvoID: c.chat.ID, Success: true})
	},
	mlsapi.MethodReportCommit: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return post(&mlsapi.ReportCommitInput{ConvoID: c.chat.ID, Reason: "welcome_invalid"})
	},
	mlsapi.MethodResetConvo: func(t *testing.T, c *scene, r role) e2e.Request {
		t.Helper()
		in, group := (&e2e.Device{User: c.users[admin].User, Client: c.caller(r).Client}).ResetInput(t, c.chat)
		if r == reported || r == admin {
			c.chat.Group = group.Group // where whoever may reset takes the conversation
		}
		return post(in)
	},
	mlsapi.MethodGetGroupInfo: func(t *testing.T, c *scene, r role) e2e.Request {
		t.Helper()
		if r == member { // the first of those who are here
			c.caller(r).Post(t, mlsapi.MethodUpdateGroupInfo, c.deposit(r), nil).OK(t)
		}
		return onlyConvo(t, c, r)
	},
	mlsapi.MethodProcessExternalCommit: func(t *testing.T, c *scene, r role) e2e.Request {
		t.Helper()
		return post(c.join(t, r))
	},
	mlsapi.MethodUpdateGroupInfo: func(t *testing.T, c *scene, r role) e2e.Request {
		t.Helper()
		if r == reported || r == admin { // an epoch of its own
			c.caller(r).SendBytes(t, c.chat, c.chat.Group.PrivateCommit()).OK(t)
			c.chat.Next()
		}
		return post(c.deposit(r))
	},
	mlsapi.MethodRequestRejoin: func(_ *testing.T, c *scene, r role) e2e.Request {
		return post(&mlsapi.RequestRejoinInput{ConvoID: c.chat.ID, KeyPackage: c.caller(r).Client.KeyPackage(time.Now()).Text()})
	},
	mlsapi.MethodPromoteAdmin: func(_ *testing.T, c *scene, r role) e2e.Request {
		return post(&mlsapi.PromoteAdminInput{ConvoID: c.chat.ID, TargetDID: c.target(r).DID})
	},
	mlsapi.MethodDemoteAdmin: func(t *testing.T, c *scene, r role) e2e.Request {
		t.Helper()
		c.users[admin].Promote(t, c.chat, c.target(r).User)
		return post(&mlsapi.DemoteAdminInput{ConvoID: c.chat.ID, TargetDID: c.target(r).DID})
	},
	mlsapi.MethodRemoveMember: func(_ *testing.T, c *scene, r role) e2e.Request {
		return post(&mlsapi.RemoveMemberInput{ConvoID: c.chat.ID, TargetDID: c.target(r).DID, IdempotencyKey: *e2e.Key()})
	},
	mlsapi.MethodReportMember: func(_ *testing.T, c *scene, r role) e2e.Request {
		return post(&mlsapi.ReportMemberInput{
			ConvoID: c.chat.ID, ReportedDID: c.target(r).DID, Category: "spam", EncryptedContent: mlstest.Random(64),
		})
	},
	mlsapi.MethodGetReports:     onlyConvo,
	mlsapi.MethodGetAdminStats:  onlyConvo,
	mlsapi.MethodGetBlockStatus: onlyConvo,
	mlsapi.MethodResolveReport: func(_ *testing.T, c *scene, _ role) e2e.Request {
		return post(&mlsapi.ResolveReportInput{ReportID: c.report, Action: "dismissed"})
	},
}

func onlyConvo(_ *testing.T, c *scene, _ role) e2e.Request { return get("convoId", c.chat.ID) }

// deposit is a role's GroupInfo of the conversation's epoch: the conversation is opaque, and nobody
// contradicts it.
func (c *scene) deposit(r role) *mlsapi.UpdateGroupInfoInput {
	chat := &e2e.VerifiedChat{Chat: c.chat, Tree: c.chat.Group.AsVerified(c.caller(r).Client)}
	return chat.Deposit(chat.Tree.GroupInfo(0))
}

// join is a role's return into the group, as its own GroupInfo shows it.
func (c *scene) join(t *testing.T, r role) *mlsapi.ProcessExternalCommitInput {
	t.Helper()
	chat := &e2e.VerifiedChat{Chat: c.chat, Tree: c.chat.Group.AsVerified(c.caller(r).Client)}
	if slices.Contains([]role{member, reported, admin}, r) {
		c.caller(r).Post(t, mlsapi.MethodUpdateGroupInfo, chat.Deposit(chat.Tree.GroupInfo(0)), nil).OK(t)
	}
	in, _ := c.caller(r).Joining(t, chat, mlstest.Draft{})
	in.GroupInfo = nil // the next role has one of its own
	return in
}

// caller is the user in a role; for a user without a device's keys, a stranger.
func (c *scene) caller(r role) *e2e.Device { return c.users[r] }

// target is a plain member that only this role acts upon.
func (c *scene) target(r role) *e2e.Device {
	if d := c.spare[r]; d != nil {
		return d
	}
	return c.spare[member]
}

// request makes a method's valid request for a role.
func (c *scene) request(t *testing.T, m *lexrt.Method, r role) e2e.Request {
	t.Helper()
	if build, ok := valid[m]; ok {
		return build(t, c, r)
	}
	return fromSchema(t, m, c.chat.ID)
}

// do sends a request in a role. Of a stream only the beginning is read.
func (c *scene) do(t *testing.T, m *lexrt.Method, r role, req e2e.Request) e2e.Answer {
	t.Helper()
	if r == anonymous {
		req.Authorization = "-"
	}
	u := c.caller(r).User
	if m.Output != "text/event-stream" && m.Kind != lexrt.Subscription {
		return u.Call(t, m, req, nil)
	}
	a := u.Peek(t, m, req)
	// Streams follow the log, which may not have come yet to what happened a moment ago.
	for deadline := time.Now().Add(5 * time.Second); text(a) != expected(m, r) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		a = u.Peek(t, m, req)
	}
	return a
}
