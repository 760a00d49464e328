package obs

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are one process's. Few, and named by what an operator asks; labels come from fixed sets, never from requests.
type Metrics struct {
	Registry *prometheus.Registry

	requests *prometheus.HistogramVec
}

// seconds are buckets for what people wait for: from a millisecond, where our budgets are, to a long poll.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30}

// NewMetrics makes a registry with the process's own figures and those of HTTP.
func NewMetrics() *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry()}
	m.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "konsil_http_request_seconds", Help: "Time to answer, by route.", Buckets: seconds,
	}, []string{"api", "method", "route", "status"})
	m.Registry.MustRegister(m.requests, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Requests gives the function that notes the requests of one API: what web.Frame's Observe takes.
func (m *Metrics) Requests(api string) func(method, route string, status int, took time.Duration, bytes int64) {
	return func(method, route string, status int, took time.Duration, _ int64) {
		switch method {
		case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS":
		default:
			method = "other" // clients invent methods
		}
		class := strconv.Itoa(status/100) + "xx"
		m.requests.WithLabelValues(api, method, route, class).Observe(took.Seconds())
	}
}

// Counter registers a count of what has happened.
func (m *Metrics) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "konsil_" + name, Help: help}, labels)
	m.Registry.MustRegister(c)
	return c
}

// Histogram registers a distribution of times.
func (m *Metrics) Histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "konsil_" + name, Help: help, Buckets: seconds}, labels)
	m.Registry.MustRegister(h)
	return h
}

// Gauge registers a value that is asked for when somebody looks: how many there are now.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "konsil_" + name, Help: help}, read))
}
