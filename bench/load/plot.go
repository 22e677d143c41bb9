package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

const (
	plotWidth, plotHeight = 640.0, 300.0
	margin                = 50.0
)

var colours = []string{"#1b6ca8", "#c2452d", "#2e8b57", "#8a5fb0", "#b8860b", "#555555", "#d1598f"}

// series is one curve; both values run from 0 to 1.
type series struct {
	name   string
	points [][2]float64
}

type tick struct {
	at   float64
	text string
}

// plot draws curves with ticks, and their names below.
func plot(title string, curves []series, across, up []tick) string {
	var b strings.Builder
	height := plotHeight + 2*margin + 18*float64(len(curves))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="11"><rect width="100%%" height="100%%" fill="white"/><text x="%.0f" y="24" font-size="14">%s</text>`,
		plotWidth+2*margin, height, margin, html.EscapeString(title))
	x := func(v float64) float64 { return margin + v*plotWidth }
	y := func(v float64) float64 { return margin + (1-v)*plotHeight }
	for _, t := range across {
		fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x(t.at), y(0), y(1), x(t.at), y(0)+16, t.text)
	}
	for _, t := range up {
		fmt.Fprintf(&b, `<path d="M%.1f %.1fH%.1f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`, x(0), y(t.at), x(1), x(0)-4, y(t.at)+4, t.text)
	}
	for i, c := range curves {
		colour := colours[i%len(colours)]
		b.WriteString(`<polyline fill="none" stroke-width="2" stroke="` + colour + `" points="`)
		for _, p := range c.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(p[0]), y(p[1]))
		}
		fmt.Fprintf(&b, `"/><text x="%.1f" y="%.1f" fill="%s">%s</text>`, margin, plotHeight+2*margin+18*float64(i), colour, html.EscapeString(c.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// latencyPlot is latency over quantile, both logarithmic: the tail shows.
func latencyPlot(loads []*outcome) string {
	const decades = 4 // 0.1 ms to 1 s
	quantiles := []float64{0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99}
	across := func(q float64) float64 { return -math.Log10(1-q/100) / decades }
	up := func(ms float64) float64 { return min(1, max(0, (math.Log10(ms)+1)/decades)) }
	var curves []series
	for _, o := range loads {
		s := series{name: o.name}
		for _, q := range quantiles {
			s.points = append(s.points, [2]float64{across(q), up(max(0.1, o.quantile(q)))})
		}
		curves = append(curves, s)
	}
	return plot("Latency in ms by quantile", curves,
		[]tick{{0, "0"}, {across(90), "90 %"}, {across(99), "99 %"}, {across(99.9), "99.9 %"}, {1, "99.99 %"}},
		[]tick{{0, "0.1"}, {0.25, "1"}, {0.5, "10"}, {0.75, "100"}, {1, "1000"}})
}

// ratePlot is answers a second over the measurement.
func ratePlot(loads []*outcome) string {
	highest, seconds := int64(1), 1
	for _, o := range loads {
		seconds = max(seconds, len(o.seconds)-2)
		for _, n := range o.seconds {
			highest = max(highest, n)
		}
	}
	var curves []series
	for _, o := range loads {
		s := series{name: o.name}
		for i := range max(0, len(o.seconds)-1) { // the last second is not a whole one
			s.points = append(s.points, [2]float64{float64(i) / float64(seconds), float64(o.seconds[i]) / float64(highest)})
		}
		curves = append(curves, s)
	}
	return plot("Answers a second", curves, []tick{{0, "0 s"}, {1, fmt.Sprintf("%d s", seconds)}},
		[]tick{{0, "0"}, {0.5, fmt.Sprint(highest / 2)}, {1, fmt.Sprint(highest)}})
}
