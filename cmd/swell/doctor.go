package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// finding is one thing that doctor looked at.
type finding struct {
	What   string `json:"what"`
	Status string `json:"status"` // "ok", "note": works with less, "missing": swell up can't work
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
}

func doctorCommand(g *globals) *cobra.Command {
	return g.shows(&cobra.Command{
		Use:   "doctor [DIR]",
		Short: "What this machine has and lacks",
		Example: `  swell doctor
  swell doctor examples/shop -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			list := examine(dir, g.admin)
			err := g.show(cmd.OutOrStdout(), list, func(t *grid) {
				for _, f := range list {
					mark := map[string]string{"ok": t.ink.green("ok"), "note": t.ink.yellow("note"), "missing": t.ink.red("missing")}[f.Status]
					text := f.Found
					if f.Advice != "" {
						text += "; " + f.Advice
					}
					t.row(mark, f.What, text)
				}
			})
			if err != nil {
				return err
			}
			for _, f := range list {
				if f.Status == "missing" {
					return withCode(exitFailed, errors.New("this machine lacks what swell up needs: "+f.What))
				}
			}
			return nil
		},
	})
}

// examine looks at the machine. Every check is a real try, not a guess by name.
func examine(dir, admin string) []finding {
	list := []finding{{What: "system", Status: "ok", Found: runtime.GOOS + "/" + runtime.GOARCH + ", " + fmt.Sprint(runtime.NumCPU()) + " cores"}}
	if runtime.GOOS != "linux" {
		list[0].Status, list[0].Advice = "note", "CPU and memory of instances are read on Linux only"
	}

	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		f := finding{What: "open files", Status: "ok", Found: fmt.Sprint(files.Cur)}
		if files.Cur < 4096 {
			f.Status, f.Advice = "note", "a gateway wants at least 4096 (ulimit -n)"
		}
		list = append(list, f)
	}

	list = append(list, writable(dir), listens("loopback", "127.0.0.1:0", ""),
		listens("admin address", admin, "another program has it, perhaps a running swell; choose one with --admin"))

	if runtime.GOOS == "linux" {
		list = append(list, namespaces())
		if _, err := os.ReadFile("/proc/self/stat"); err != nil {
			list = append(list, finding{"/proc", "missing", err.Error(), "mount it: instances are watched there"})
		}
	}
	return list
}

func writable(dir string) finding {
	f := finding{What: "state folder", Status: "ok", Found: filepath.Join(dir, ".swell")}
	tmp, err := os.CreateTemp(dir, ".swell-doctor-*")
	if err != nil {
		f.Status, f.Found, f.Advice = "missing", err.Error(), "swell up keeps run files and logs there; choose another with --state"
		return f
	}
	_ = tmp.Close()
	_ = os.Remove(tmp.Name())
	return f
}

func listens(what, addr, advice string) finding {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		status := "missing"
		if errors.Is(err, syscall.EADDRINUSE) {
			status = "note"
		}
		return finding{what, status, err.Error(), advice}
	}
	defer l.Close()
	return finding{What: what, Status: "ok", Found: strings.TrimSuffix(l.Addr().String(), ":0") + " can be listened on"}
}

// namespaces tells whether processes could be isolated without root, which this
// version does not do yet.
func namespaces() finding {
	f := finding{What: "user namespaces", Status: "ok", Found: "permitted"}
	for path, off := range map[string]string{
		"/proc/sys/kernel/unprivileged_userns_clone":             "0",
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
		"/proc/sys/user/max_user_namespaces":                     "0",
	} {
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == off {
			f.Status, f.Found = "note", path+" is "+off
		}
	}
	f.Advice = "this version does not isolate: services find each other by environment variables"
	return f
}
