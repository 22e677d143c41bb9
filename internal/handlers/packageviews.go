package handlers

import (
	"fmt"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/store"
)

// statsOfPackages is a user's stock of key packages, and how fast it goes.
func statsOfPackages(stats []store.SuiteInventory, threshold int64, now time.Time) *mlsapi.GetKeyPackageStatsOutput {
	out := &mlsapi.GetKeyPackageStatsOutput{Threshold: threshold}
	var all store.SuiteInventory
	for _, s := range stats {
		out.ByCipherSuite = append(out.ByCipherSuite, mlsapi.GetKeyPackageStatsCipherSuiteStats{
			CipherSuite: s.CipherSuite.String(), Available: s.Available, Consumed: &s.Consumed,
		})
		all.Add(&s)
	}
	daily := (all.ConsumedLastWeek + 6) / 7
	out.Available, out.NeedsReplenish = all.Available, all.Available < threshold
	out.Total, out.Consumed, out.ConsumedLast24h, out.ConsumedLast7d = new(all.Available+all.Consumed), &all.Consumed, &all.ConsumedLately, &all.ConsumedLastWeek
	out.AverageDailyConsumption, out.LastResortUsed = &daily, &all.LastResortUsed
	if daily > 0 {
		out.PredictedDepletionDays = new(all.Available / daily)
	}
	if !all.FirstExpiry.IsZero() {
		hours := int(max(all.FirstExpiry.Sub(now), 0).Hours())
		text := fmt.Sprintf("%dd %dh", hours/24, hours%24)
		out.OldestExpiresIn = &text
	}
	return out
}
