// Command catalog knows the shop's products, and asks pricing what they cost.
package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"swell/examples/shop/internal/service"
)

// Product is one product, with its price in cents.
type Product struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Text     string `json:"text"`
	Price    int    `json:"price"`
	Currency string `json:"currency"`
}

//go:embed products.json
var products []byte

func main() {
	service.Main(service.Options{
		Name: "catalog", Workers: 3, Work: 60 * time.Millisecond, CPU: 100 * time.Microsecond, Startup: 500 * time.Millisecond,
	}, handler)
}

func handler(s *service.Service) (http.Handler, error) {
	var all []Product
	if err := json.Unmarshal(products, &all); err != nil {
		return nil, fmt.Errorf("read the products: %w", err)
	}
	pricing, err := service.Address("pricing")
	if err != nil {
		return nil, err
	}
	c := &catalog{Service: s, all: all, pricing: pricing}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products", func(w http.ResponseWriter, r *http.Request) { c.answer(w, r, c.all, true) })
	mux.HandleFunc("GET /products/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		for i := range c.all {
			if c.all[i].ID == id {
				c.answer(w, r, c.all[i:i+1], false)
				return
			}
		}
		s.Fail(w, r, http.StatusNotFound, fmt.Errorf("no product is named %q", id))
	})
	return mux, nil
}

type catalog struct {
	*service.Service
	all     []Product
	pricing string
}

// answer sends products with their prices: a list, or the one alone.
func (c *catalog) answer(w http.ResponseWriter, r *http.Request, of []Product, list bool) {
	if !c.Work(w, r) {
		return
	}
	ids := make([]string, len(of))
	for i, p := range of {
		ids[i] = p.ID
	}
	var prices struct {
		Currency string
		Prices   []struct {
			ID    string
			Total int
		}
	}
	err := c.Call(r.Context(), r, http.MethodGet, c.pricing+"/prices?ids="+url.QueryEscape(strings.Join(ids, ",")), nil, &prices)
	if err == nil && len(prices.Prices) != len(of) {
		err = fmt.Errorf("pricing told %d prices of %d", len(prices.Prices), len(of))
	}
	if err != nil {
		c.Fail(w, r, service.Status(err), err)
		return
	}
	out := make([]Product, len(of))
	for i, p := range of {
		p.Price, p.Currency = prices.Prices[i].Total, prices.Currency
		out[i] = p
	}
	if list {
		service.Send(w, http.StatusOK, map[string][]Product{"products": out})
		return
	}
	service.Send(w, http.StatusOK, out[0])
}
