package manifest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"swell/internal/plug"
	"swell/internal/unit"
)

var update = flag.Bool("update", false, "write the golden files")

// retry, jwt and maglev stand for filters and balancers in tests.
type retryOptions struct {
	Attempts int           `json:"attempts" min:"1" max:"10" doc:"How often."`
	On       []string      `json:"on" doc:"After what."`
	Budget   unit.Percent  `json:"budget" doc:"Share of all requests."`
	Wait     unit.Duration `json:"wait" doc:"Between two."`
}

type jwtOptions struct {
	Issuer string            `json:"issuer" doc:"Who signs."`
	Key    string            `json:"key" doc:"The key."`
	Claims map[string]string `json:"claims" doc:"What must be there."`
}

func testOptions() Options {
	return Options{
		Filters: plug.NewKind("filter",
			plug.Named("retry", "Tries again.", retryOptions{Attempts: 2, On: []string{"connect"}, Budget: 0.2}, func(o retryOptions) (int, error) {
				if len(o.On) == 0 {
					return 0, errors.New("on names nothing to try again after")
				}
				return 1, nil
			}),
			plug.Named("jwt", "Wants a token.", jwtOptions{}, func(o jwtOptions) (int, error) {
				if !strings.HasPrefix(o.Issuer, "https://") {
					return 0, fmt.Errorf("issuer %q must be an https address (key %s)", o.Issuer, o.Key)
				}
				return 2, nil
			}),
		),
		Balancers: plug.NewKind("balancer",
			plug.Named("p2c", "The better of two.", struct{}{}, func(struct{}) (int, error) { return 1, nil }),
			plug.Named("maglev", "By a key.", struct {
				By string `json:"by" doc:"The key."`
			}{By: "client-ip"}, func(struct {
				By string `json:"by" doc:"The key."`
			}) (int, error) {
				return 1, nil
			}),
		),
		Env:         noEnv,
		Secret:      lookupTestSecret,
		FindProgram: func(string, string) error { return nil },
	}
}

const theSecret = "hunter2-do-not-show"

func lookupTestSecret(name string) (string, error) {
	if name == "missing" {
		return "", errors.New("it is nowhere")
	}
	return theSecret, nil
}

// TestErrors compares what is said of each testdata/errors/*.yaml, errors and
// else warnings, with the .err file beside it.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			o := testOptions()
			if strings.Contains(string(data), "# profile: ") {
				_, rest, _ := strings.Cut(string(data), "# profile: ")
				o.Profile, _, _ = strings.Cut(rest, "\n")
			}
			if strings.Contains(path, "program") {
				o.FindProgram = nil
			}
			var got string
			r, err := Parse([]File{{Name: filepath.Base(path), Data: data}}, o)
			var problems Problems
			switch {
			case errors.As(err, &problems):
				got = problems.Error() + "\n"
			case err != nil:
				t.Fatal(err)
			case len(r.Warnings) == 0:
				t.Fatal("nothing was found wrong")
			default:
				got = Problems(r.Warnings).Error() + "\n"
			}
			if strings.Contains(got, theSecret) {
				t.Error("the secret is shown")
			}
			if dir, err := os.Getwd(); err == nil {
				got = strings.ReplaceAll(got, dir, "DIR")
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".err"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
