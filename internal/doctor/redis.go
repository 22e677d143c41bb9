package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"
)

func examineRedis(ctx context.Context, p *Patient, r *report) {
	if p.Redis == nil {
		r.add(Fine, "connection", "none is configured", "")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	asked := p.Clock.Now()
	theirs, err := p.Redis.Time(ctx).Result()
	if err != nil {
		r.add(Fault, "connection", "it does not answer", "bring it up, or correct REDIS_URL; until then limits hold per server")
		return
	}
	now := p.Clock.Now()
	behind := asked.Add(now.Sub(asked) / 2).Sub(theirs)
	r.add(Fine, "connection", "it answers", "")
	if info, err := p.Redis.Info(ctx, "cluster").Result(); err == nil {
		alone := !strings.Contains(info, "cluster_enabled:1")
		r.judge(alone, Fault, "single node", said("a node of a cluster", !alone), "name a primary that stands alone, or a proxy that speaks for the cluster")
	}
	r.judge(behind.Abs() < skew, Fault, "clock", fmt.Sprintf("differs from ours by %v", behind.Abs().Round(time.Millisecond)), "keep both by NTP")
	for _, setting := range []struct {
		name string
		fine func(string) bool
		want string
		v    Verdict
	}{
		{"save", func(s string) bool { return s == "" }, `CONFIG SET save "": snapshots keep when whose tokens were used`, Fault},
		{"appendonly", func(s string) bool { return s == "no" }, "CONFIG SET appendonly no: the file has the time of each request", Fault},
		{"maxmemory-policy", func(s string) bool { return s == "noeviction" }, "CONFIG SET maxmemory-policy noeviction: a used token that is evicted can be used again", Fault},
		{"slowlog-log-slower-than", func(s string) bool { return s == "-1" }, "CONFIG SET slowlog-log-slower-than -1: its entries have the time of requests", Notice},
	} {
		values, err := p.Redis.ConfigGet(ctx, setting.name).Result()
		if err != nil {
			r.add(Notice, setting.name, "CONFIG is refused", "see by hand: "+setting.want)
			continue
		}
		value := values[setting.name]
		r.judge(setting.fine(value), setting.v, setting.name, quoted(value), setting.want)
	}
}

func quoted(value string) string {
	if value == "" {
		return "empty"
	}
	return value
}
