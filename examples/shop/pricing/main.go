// Command pricing computes what products cost: list price, rebate for a
// quantity, value-added tax.
package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"swell/examples/shop/internal/service"
)

// Price is what a number of one product costs, in cents.
type Price struct {
	ID       string `json:"id"`
	Quantity int    `json:"quantity"`
	Net      int    `json:"net"`
	Rebate   int    `json:"rebate"`
	Tax      int    `json:"tax"`
	Total    int    `json:"total"`
}

// Prices is the answer.
type Prices struct {
	Currency string  `json:"currency"`
	Prices   []Price `json:"prices"`
}

// list holds the net prices in cents.
var list = map[string]int{
	"anchor": 4900, "barometer": 12900, "bell": 3450, "binoculars": 8900, "cap": 1900, "chart": 2450,
	"compass": 5900, "flag": 1250, "flask": 2190, "jumper": 6900, "lantern": 4290, "rope": 990,
}

const (
	maxIDs = 100
	tax    = 19 // percent
)

// price computes what quantity pieces cost that are net cents each: from ten on
// they are a tenth cheaper. Halves of a cent are rounded up.
func price(id string, net, quantity int) Price {
	p := Price{ID: id, Quantity: quantity, Net: net * quantity}
	if quantity >= 10 {
		p.Rebate = (p.Net + 5) / 10
	}
	p.Tax = ((p.Net-p.Rebate)*tax + 50) / 100
	p.Total = p.Net - p.Rebate + p.Tax
	return p
}

func main() {
	service.Main(service.Options{
		Name: "pricing", Workers: 2, Work: 20 * time.Millisecond, CPU: 100 * time.Microsecond, Startup: 300 * time.Millisecond,
	}, handler)
}

func handler(s *service.Service) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /prices", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		quantity := 1
		if q := query.Get("quantity"); q != "" {
			if _, err := fmt.Sscanf(q, "%d", &quantity); err != nil || quantity < 1 || quantity > 1000 {
				s.Fail(w, r, http.StatusBadRequest, fmt.Errorf("quantity %q is not a number from 1 to 1000", q))
				return
			}
		}
		ids := strings.Split(query.Get("ids"), ",")
		if len(ids) > maxIDs {
			s.Fail(w, r, http.StatusBadRequest, fmt.Errorf("%d ids are more than %d", len(ids), maxIDs))
			return
		}
		if !s.Work(w, r) {
			return
		}
		out := Prices{Currency: "EUR", Prices: make([]Price, 0, len(ids))}
		for _, id := range ids {
			net, ok := list[id]
			if !ok {
				s.Fail(w, r, http.StatusNotFound, fmt.Errorf("no product is named %q", id))
				return
			}
			out.Prices = append(out.Prices, price(id, net, quantity))
		}
		service.Send(w, http.StatusOK, out)
	})
	return mux, nil
}
