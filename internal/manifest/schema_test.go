package manifest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema(testOptions())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("swell.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("swell.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	j, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// TestSchemaAgrees: the schema takes what Parse takes.
func TestSchemaAgrees(t *testing.T) {
	s := compiledSchema(t)
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse([]File{{Name: path, Data: data}}, testOptions()); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if err := validate(t, s, string(data)); err != nil {
			t.Errorf("%s: %#v", path, err)
		}
	}
}

// TestSchemaRefuses: where a value is wrong in itself, both say so.
func TestSchemaRefuses(t *testing.T) {
	s := compiledSchema(t)
	for _, line := range []string{
		"prot: 80", "port: eighty", "port: 0", "port: 70000", "command: ./web", "image: x", "protocol: http3", "tls: 3", "proxy-protocol: v3", "spread: {zones: near}", "isolation: namespace",
		"health: {interval: soon}", "health: 3", "health: {interval: 3}", "resources: {cpu: -1}", "resources: {cpu: lots}", "scale: {min: -1}", "scale: {min: 1.5}", "scale: {targets: {cpu: 70}}",
		"scale: {predict: false}", "use: [nope]", "use: [{retry: {attempts: 11}}]", "use: [{retry: {wiat: 1}}]", "use: [{retry: {}, jwt: {}}]",
		"balance: {maglv: {}}", "balance: [p2c]", "stop: 15s", "env: {A: [1]}", "uses: catalog",
	} {
		text := "services:\n  web:\n    " + line + "\n    dir: .\n"
		if line != "command: ./web" {
			text += "    command: [./web]\n"
		}
		var invalid *jsonschema.ValidationError
		if err := validate(t, s, text); !errors.As(err, &invalid) {
			t.Errorf("the schema takes %s: %v", line, err)
		}
		if _, err := Parse([]File{{Name: "swell.yaml", Data: []byte(text)}}, testOptions()); err == nil {
			t.Errorf("Parse takes %s", line)
		}
	}
}

func TestSchemaDescribes(t *testing.T) {
	text, err := Schema(testOptions())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"$schema": "https://json-schema.org/draft/2020-12/schema"`, "Tries again.", "How often.", `"default": "15s"`, `"default": 2`, "The fewest instances."} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the schema has no %s", want)
		}
	}
	if strings.Contains(string(text), `"description": ""`) {
		t.Error("a field has no description")
	}
}
