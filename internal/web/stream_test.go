package web

import (
	"fmt"
	"testing"

	"swell"
)

// busyRoutes says that two routes of very many have traffic.
type busyRoutes struct{ Stats }

func (busyRoutes) Routes() map[string]Traffic {
	return map[string]Traffic{"r7": {Rate: 1}, "r9999": {Inflight: 1}}
}

func TestAFrameHasTheBusyRoutesOfVeryMany(t *testing.T) {
	app := swell.App{Name: "many"}
	for i := range 10_000 {
		app.Gateway.Routes = append(app.Gateway.Routes, swell.Route{Name: fmt.Sprintf("r%d", i), Match: swell.Match{Path: fmt.Sprintf("/r%d", i)}})
	}
	s := New(Options{State: func() State { return State{App: app} }, Stats: busyRoutes{}})
	shown := s.shownRoutes(view{State: State{App: app}, routes: busyRoutes{}.Routes()})
	if len(shown) != mostRoutes || shown[0].Name != "r7" || shown[1].Name != "r9999" || shown[2].Name != "r0" {
		t.Errorf("%d routes, first %s, %s, %s", len(shown), shown[0].Name, shown[1].Name, shown[2].Name)
	}
	app.Gateway.Routes = app.Gateway.Routes[:mostRoutes]
	if shown := s.shownRoutes(view{State: State{App: app}}); len(shown) != mostRoutes || shown[0].Name != "r0" {
		t.Errorf("%d routes", len(shown))
	}
}
