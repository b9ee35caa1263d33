package manifest

import (
	"strings"
	"testing"
)

func TestFormat(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"order and style": {`# yaml-language-server: $schema=swell.json
# The shop.

services:
    web:   # the front
        env: {B: "1",   A: '2'}
        command: [ "./web" , --port,  "${PORT}" ]
        # what it calls
        uses:
        - catalog   # data

        - cart


    # the data
    catalog:
        command:
            - ./catalog
        # resources: {cpu: 1}
gateway:
    routes:
      - to: web # all
        match: {path: /**}
      # second
      - use:
          - retry:
              attempts: 3
        to:
          - {weight: 1, service: web}
        match:
          path: /x
app: shop
# the end
`, `# yaml-language-server: $schema=swell.json
# The shop.

app: shop

gateway:
  routes:
    - match: {path: /**}
      to: web # all
    # second
    - match:
        path: /x
      to:
        - {weight: 1, service: web}
      use:
        - retry:
            attempts: 3

services:
  web: # the front
    command: ["./web", --port, "${PORT}"]
    env: {B: "1", A: '2'}
    # what it calls
    uses:
      - catalog # data

      - cart

  # the data
  catalog:
    command:
      - ./catalog
    # resources: {cpu: 1}

# the end
`},
		"anchors keep the order": {"services:\n  a: &a\n    dir: .\n    command: [x]\n  b:\n    <<: *a\n    dir: b\napp: x\n", "services:\n  a: &a\n    dir: .\n    command: [x]\n  b:\n    <<: *a\n    dir: b\napp: x\n"},
		"text blocks":            {"services:\n   a:\n     command:\n        - sh\n        - -c\n        - |\n            one\n              two\n\n            three\n     env:\n       A: >-\n         folded\n         text\n", "services:\n  a:\n    command:\n      - sh\n      - -c\n      - |\n        one\n          two\n\n        three\n    env:\n      A: \"folded text\"\n"},
		"flow with comments":     {"services:\n  a:\n    command: [x, # why\n      y]\n", "services:\n  a:\n    command:\n      - x # why\n      - y\n"},
		"empty values":           {"app:   x\nservices:\n  a:\n  b: ~\n  c: null\n", "app: x\n\nservices:\n  a:\n  b: ~\n  c: null\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Format([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got\n%s", got)
			}
			again, err := Format(got)
			if err != nil || string(again) != string(got) {
				t.Errorf("again: %v\n%s", err, again)
			}
		})
	}
}

func TestFormatRefuses(t *testing.T) {
	if _, err := Format([]byte("a: [\n")); err == nil || !strings.Contains(err.Error(), "not YAML") {
		t.Errorf("got %v", err)
	}
}
