package main

// budget is a row of the design's budgets (section 9), with what Dendrite 0.15.2 took on the same kind of machine.
type budget struct {
	unit             string
	sqlite, postgres float64 // Dendrite's figures; 0 for unknown
	budget           float64 // ours; 0 for none
	floor            bool    // at least the budget, not at most
}

// Units. CPU is of the server and its database together.
const (
	cpuMS     = "ms CPU"
	millis    = "ms"
	perSecond = "per s"
	kib       = "KiB"
	mib       = "MiB"
	seconds   = "s"
)

// The figures of each part, in the order of the report.
var (
	bareFigures    = []string{"bare request"}
	messageFigures = []string{
		"message", "message, p50", "message, p99", "messages, 1 sender",
		"message, 8 rooms", "messages, 8 senders", "message, 64 rooms", "messages, 64 senders",
		"message, 8 in a room", "messages, 8 in a room", "whoami", "login",
	}
	roomFigures = []string{
		"message, 300 members", "delivery to 100", "delivery to 100, last", "delivery to 100, answers",
		"sync, nothing new", "initial sync, 200 rooms", "send and sync", "send and sync, p50",
		"room created", "join, 300 members", "join, 5000 members", "history of 1000",
		"memory, 1000 rooms x 10",
	}
	deviceFigures     = []string{"keys, upload 50", "keys, query 100", "keys, claim 100", "to-device to 100"}
	mediaFigures      = []string{"media, 1 MB up", "media, 1 MB down", "media, thumbnail"}
	federationFigures = []string{
		"PDU received", "PDUs received", "message, 1 server", "message, 1 server, p50", "message, per server of 10",
		"remote join, 2000 members", "remote join, 2000 members, usable", "served join, 2000 events",
	}
	diskFigures   = []string{"disk per message", "start", "start, first sync and send"}
	memoryFigures = []string{"memory, up", "memory per waiting client", "memory per awake domain", "memory per sleeping domain", "start, 10000 domains"}
)

var budgets = map[string]budget{
	"bare request":             {cpuMS, 0, 0, 0, false},
	"message":                  {cpuMS, 10.9, 22, 0.8, false},
	"message, p50":             {millis, 0, 0, 2.5, false},
	"message, p99":             {millis, 0, 0, 8, false},
	"messages, 1 sender":       {perSecond, 0, 0, 0, true},
	"message, 8 rooms":         {cpuMS, 10.9, 22, 0.8, false},
	"messages, 8 senders":      {perSecond, 0, 0, 0, true},
	"message, 64 rooms":        {cpuMS, 10.9, 22, 0.8, false},
	"messages, 64 senders":     {perSecond, 86, 0, 900, true},
	"message, 8 in a room":     {cpuMS, 32, 66, 1.0, false},
	"messages, 8 in a room":    {perSecond, 0, 0, 700, true},
	"whoami":                   {cpuMS, 0.10, 0.18, 0.045, false},
	"login":                    {cpuMS, 0, 0, 0.5, false}, // beside the hash, which is made cheap here
	"message, 300 members":     {cpuMS, 70, 221, 1.2, false},
	"delivery to 100":          {cpuMS, 44, 49, 0.2, false},
	"delivery to 100, last":    {millis, 0, 0, 60, false},
	"delivery to 100, answers": {"per client", 3, 3, 1, false},
	"sync, nothing new":        {cpuMS, 35, 12, 0.1, false},
	"initial sync, 200 rooms":  {cpuMS, 1745, 1094, 50, false},
	"send and sync":            {cpuMS, 74, 68, 1.2, false},
	"send and sync, p50":       {millis, 0, 0, 4, false},
	"room created":             {cpuMS, 108, 210, 3, false},
	"join, 300 members":        {cpuMS, 219, 293, 1.5, false},
	"join, 5000 members":       {cpuMS, 0, 0, 2, false},
	"history of 1000":          {cpuMS, 164, 164, 10, false},
	"memory, 1000 rooms x 10":  {mib, 405, 0, 100, false},
	"keys, upload 50":          {cpuMS, 19, 0, 1, false},
	"keys, query 100":          {cpuMS, 70, 0, 1.5, false},
	"keys, claim 100":          {cpuMS, 75, 0, 3, false},
	"to-device to 100":         {cpuMS, 77, 89, 2.5, false},
	"media, 1 MB up":           {cpuMS, 2.9, 0, 1.6, false},
	"media, 1 MB down":         {cpuMS, 0.43, 0, 0.2, false},
	"media, thumbnail":         {cpuMS, 239, 0, 70, false},

	"PDU received":                      {cpuMS, 25, 36, 0.6, false},
	"PDUs received":                     {perSecond, 0, 0, 1000, true},
	"message, 1 server":                 {cpuMS, 17, 0, 1, false},
	"message, 1 server, p50":            {millis, 0, 0, 6, false},
	"message, per server of 10":         {cpuMS, 2.7, 0, 0.25, false},
	"remote join, 2000 members":         {cpuMS, 9540, 17850, 600, false},
	"remote join, 2000 members, usable": {seconds, 11, 33, 0.5, false},
	"served join, 2000 events":          {cpuMS, 661, 275, 15, false},

	"disk per message":           {kib, 5.1, 6.1, 1.3, false},
	"start":                      {seconds, 0.56, 0.56, 0.08, false},
	"start, first sync and send": {seconds, 17.8, 17.8, 0.2, false},
	"memory, up":                 {mib, 51, 0, 45, false},
	"memory per waiting client":  {kib, 0, 0, 20, false},
	"memory per awake domain":    {kib, 0, 0, 512, false},
	"memory per sleeping domain": {kib, 0, 0, 1, false},
	"start, 10000 domains":       {seconds, 0, 0, 2, false},
}
