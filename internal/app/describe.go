package app

import (
	"maps"
	"slices"
	"strings"
	"time"

	"mls-server/internal/config"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// subscriptionURL is where clients open a WebSocket, "" where nobody knows.
func subscriptionURL(cfg *config.Config) string {
	if cfg.PublicURL == "" {
		return ""
	}
	base := strings.TrimPrefix(strings.TrimSuffix(cfg.PublicURL, "/"), "http") // https becomes wss
	return "ws" + base + "/xrpc/" + mlsapi.MethodSubscribeConvoEvents.NSID
}

// description is what describeServer tells everybody. Introduce adds the version.
func description(cfg *config.Config) *mlsapi.DescribeServerOutput {
	d := &mlsapi.DescribeServerOutput{
		DID: cfg.ServiceDID, ServiceID: cfg.ServiceID, Version: "devel",
		PaddingBuckets: mls.PaddingBuckets(), MaxMessageBytes: mls.MaxPaddedSize, PageBytes: store.PageBytes,
		KeyPackageMaxLifetimeDays: int64(cfg.MaxLifetime / (24 * time.Hour)), EpochGrace: int64(cfg.EpochGrace),
		MaxMembers: int64(cfg.MaxMembers), MaxDevices: int64(cfg.MaxDevices), MaxKeyPackages: int64(cfg.MaxKeyPackages),
		Handshakes: mlsapi.DescribeServerOutputHandshakes(cfg.Handshakes), ExternalJoin: mlsapi.DescribeServerOutputExternalJoin(cfg.ExternalJoin),
		SealedSends: true, WebSocket: true,
		BytesPadding: cfg.BytesPadding,
	}
	for _, s := range mls.CipherSuites() {
		d.CipherSuites = append(d.CipherSuites, s.String())
	}
	for _, class := range slices.Sorted(maps.Keys(cfg.Rates)) {
		r := cfg.Rates[class]
		d.RateLimits = append(d.RateLimits, mlsapi.DescribeServerRateLimit{Class: class, PerMinute: int64(r.PerMinute), Burst: int64(r.Burst)})
	}
	for _, link := range cfg.Links {
		d.Links = append(d.Links, lexrt.URI(link))
	}
	return d
}
