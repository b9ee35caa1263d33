package sim

import (
	"fmt"
	"html/template"
	"io"
	"math"
)

// WriteHTML writes a page that stands alone: the table, the course of load, capacity
// and bad requests under each policy, and the curve of the sweep. Series are needed
// ([Options.Points]).
func (c *Comparison) WriteHTML(w io.Writer) error {
	type chart struct {
		*Score
		SVG template.HTML
	}
	most := c.Peak
	for _, s := range c.Scores {
		if s.Series != nil {
			for _, x := range s.Series.Capacity {
				most = max(most, min(x, 1.6*c.Peak))
			}
		}
	}
	page := struct {
		*Comparison
		Charts []chart
		Curve  template.HTML
	}{Comparison: c}
	for _, s := range c.Scores {
		page.Charts = append(page.Charts, chart{s, template.HTML(course(s.Series, most))}) //nolint:gosec // drawn here, of numbers alone
	}
	if len(c.Sweep) > 0 {
		page.Curve = template.HTML(curve(c.Sweep)) //nolint:gosec // drawn here, text escaped
	}
	if err := report.Execute(w, page); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

var report = template.Must(template.New("report").Funcs(template.FuncMap{
	"n": func(digits int, x float64) string { return fmt.Sprintf("%.*f", digits, x) },
	"ms": func(seconds float64) string {
		return fmt.Sprintf("%.0f ms", 1000*seconds)
	},
	"days": func(d float64) string {
		if d < 2 {
			return fmt.Sprintf("%.1f hours", 24*d)
		}
		return fmt.Sprintf("%.1f days", d)
	},
	"rate": func(x float64) string {
		if x >= 100 || x == math.Trunc(x) {
			return fmt.Sprintf("%.0f/s", x)
		}
		return fmt.Sprintf("%.3g/s", x)
	},
}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Elasticity: {{.Trace}}</title>
<style>
:root{color-scheme:light dark;--ink:#1c2330;--soft:#667085;--line:#d9dee7;--paper:#fff;--load:#3b82f6;--cap:#0f9d77;--bad:#d92d20}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#333b49;--paper:#12161d;--load:#60a5fa;--cap:#34d399;--bad:#f97066}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .3rem}p{color:var(--soft);margin:.3rem 0 1rem;max-width:75ch}
.wide{overflow-x:auto}table{font-size:13px;border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.35rem .45rem;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--soft);font-weight:500}
th:first-child,td:first-child{text-align:left}
svg{width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
.axis{stroke:var(--line);stroke-width:1}.load{fill:var(--load);fill-opacity:.28;stroke:var(--load);stroke-width:1}
.cap{fill:none;stroke:var(--cap);stroke-width:1.4}.bad{fill:var(--bad)}
.key span{margin-right:1.2rem}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.35em;border-radius:2px}
</style></head><body>
<h1>Elasticity: {{.Trace}}</h1>
<p>{{days .Days}} from {{.Start.Format "2006-01-02 15:04 MST"}}{{if .Warmup}}, after a warm-up that is not scored{{end}}. Peak {{rate .Peak}}; an instance serves {{rate .Capacity}}, takes {{ms .Latency}} a request and {{.Startup}} to start.{{range .Notes}} {{.}}.{{end}}</p>
<div class="wide"><table>
<tr><th>policy</th><th>bad requests</th><th>bad minutes a day</th><th>dropped</th><th>instance-hours</th><th>over ideal</th><th>peak</th><th>θU</th><th>θO</th><th>τU</th><th>τO</th><th>instability</th><th>jitter /h</th><th>actions a day</th><th>reversals a day</th></tr>
{{range .Scores}}<tr><td>{{.Policy}}</td><td>{{n 2 .Bad}} %</td><td>{{n 1 .Violation}}</td><td>{{n 3 .Dropped}} %</td><td>{{n 1 .InstanceHours}}</td><td>{{n 2 .Cost}} ×</td><td>{{.Peak}}</td><td>{{n 2 .ThetaU}} %</td><td>{{n 0 .ThetaO}} %</td><td>{{n 2 .TauU}} %</td><td>{{n 1 .TauO}} %</td><td>{{n 2 .Instability}} %</td><td>{{n 1 .Jitter}}</td><td>{{n 0 .Actions}}</td><td>{{n 0 .Reversals}}</td></tr>
{{end}}</table></div>
<p>A request is bad when it comes in a second in which the ready instances are more than nine tenths busy (mean of 5 s), or have a backlog of more than 0.2 s. The ideal keeps as few instances as are nine tenths busy at most. θ and τ are how far, and for what part of the time, there are too few (U) or too many (O) instances.</p>
<div class="key"><span><i style="background:var(--load)"></i>load</span><span><i style="background:var(--cap)"></i>capacity of ready instances</span><span><i style="background:var(--bad)"></i>bad requests</span></div>
{{range .Charts}}<h2>{{.Policy}}</h2>{{.SVG}}{{end}}
{{if .Curve}}<h2>Every target</h2><p>Each point is a target, from 40 % to 90 % of an instance's capacity. The nearer to the lower left corner, the better.</p>{{.Curve}}{{end}}
</body></html>
`))
