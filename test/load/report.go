package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// summary is the machine-readable report.
type summary struct {
	Date     string   `json:"date"`
	Machine  string   `json:"machine"`
	Command  string   `json:"command"`
	Database string   `json:"database"`
	Seconds  float64  `json:"seconds"`
	Figures  []figure `json:"figures"`
}

// report prints the table and writes the file.
func (b *bench) report(out io.Writer) error {
	sum := summary{
		Date: time.Now().Format(time.DateOnly), Machine: machine(), Command: "load " + strings.Join(os.Args[1:], " "),
		Database: b.database, Seconds: time.Since(b.began).Seconds(), Figures: b.figures,
	}
	if _, err := fmt.Fprintf(out, "%s, %s, %s, %.0f s\n\n| what | unit | measured | budget | Dendrite | |\n|---|---|---|---|---|---|\n",
		sum.Date, sum.Machine, sum.Database, sum.Seconds); err != nil {
		return err
	}
	for _, f := range b.figures {
		if _, err := fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", f.Name, f.Unit, number(f.Value), f.bound(), number(f.Other), f.verdict()); err != nil {
			return err
		}
	}
	if b.json == "" {
		return nil
	}
	raw, err := json.MarshalIndent(sum, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.json, append(raw, '\n'), 0o644)
}

// String is a line while the run goes on.
func (f figure) String() string {
	return fmt.Sprintf("%-36s %8s %-7s budget %s %s %s", f.Name, number(f.Value), f.Unit, f.bound(), f.verdict(), f.Note)
}

func (f figure) bound() string {
	switch {
	case f.Budget == 0:
		return ""
	case f.floor:
		return "≥ " + number(f.Budget)
	}
	return "≤ " + number(f.Budget)
}

// verdict is empty for what is as it should be.
func (f figure) verdict() string {
	switch {
	case f.Budget == 0, f.floor && f.Value >= f.Budget, !f.floor && f.Value <= f.Budget:
		return ""
	case f.Other != 0 && (f.floor && f.Value < f.Other || !f.floor && f.Value > f.Other):
		return "above Dendrite"
	}
	return "missed"
}

func number(v float64) string {
	switch {
	case v == 0:
		return ""
	case v < 1:
		return fmt.Sprintf("%.3f", v)
	case v < 100:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// machine names the processor and how many of them there are.
func machine() string {
	name := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer func() { _ = f.Close() }()
		for scan := bufio.NewScanner(f); scan.Scan(); {
			if key, value, ok := strings.Cut(scan.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), name, runtime.Version())
}
