package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

var errNotOnPath = errors.New("no folder of PATH has it")

// findProgram reports why program can't be run in dir.
func findProgram(dir, program string) error {
	if !strings.Contains(program, "/") {
		return onPath(program, dir)
	}
	if !filepath.IsAbs(program) {
		program = filepath.Join(dir, program)
	}
	return executable(program)
}

func onPath(program, dir string) error {
	for _, d := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		if executable(filepath.Join(d, program)) == nil {
			return nil
		}
	}
	return errNotOnPath
}

// executable reports why the file at path can't be run as a program.
func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s", path)
	case err != nil:
		return fmt.Errorf("look at %s: %w", path, err)
	case info.IsDir():
		return fmt.Errorf("%s is a folder", path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable", path)
	}
	return nil
}
