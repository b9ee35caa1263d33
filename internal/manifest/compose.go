package manifest

import (
	"path/filepath"
	"slices"
)

// composeNames are the names of Compose files, the preferred first.
var composeNames = []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}

// isCompose reports whether a file is a Compose file by its name.
func isCompose(name string) bool { return slices.Contains(composeNames, filepath.Base(name)) }

// LoadCompose
func LoadCompose(paths []string, o Options) (*Result, error) { return nil, nil }
