package manifest

import (
	"testing"
)

func TestShortest(t *testing.T) {
	r, err := Parse([]File{{"shop/swell.yaml", []byte("services: {web: {command: [sh]}}\ngateway: {routes: [{to: web}]}\n")}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.App.Name != "shop" || r.App.Gateway.Listen != ":8080" || len(r.App.Services) != 1 || r.App.Services[0].Scale.Max != 10 {
		t.Errorf("got %+v", r.App)
	}
}
