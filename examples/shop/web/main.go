// Command web is the shop's front: a page, and the same as JSON, made of what
// catalog and cart say.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
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

// Item is a number of one product.
type Item struct {
	ID       string `json:"id"`
	Quantity int    `json:"quantity"`
}

// Cart is what a user wants to buy.
type Cart struct {
	User  string `json:"user"`
	Items []Item `json:"items"`
	Count int    `json:"count"`
}

// Home is all that the first page shows.
type Home struct {
	Products []Product `json:"products"`
	Cart     Cart      `json:"cart"`
	Total    int       `json:"total"` // of the cart, in cents
	Currency string    `json:"currency"`
}

//go:embed page.html
var page string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"money": money}).Parse(page))

func money(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

func main() {
	service.Main(service.Options{
		Name: "web", Workers: 2, Work: 15 * time.Millisecond, CPU: 100 * time.Microsecond, Startup: 300 * time.Millisecond,
	}, handler)
}

func handler(s *service.Service) (http.Handler, error) {
	catalog, err := service.Address("catalog")
	if err != nil {
		return nil, err
	}
	cart, err := service.Address("cart")
	if err != nil {
		return nil, err
	}
	f := &front{Service: s, catalog: catalog, cart: cart}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", f.page)
	mux.HandleFunc("POST /{$}", f.form)
	mux.HandleFunc("GET /api/home", f.api)
	mux.HandleFunc("POST /api/cart/items", f.add)
	return mux, nil
}

type front struct {
	*service.Service
	catalog, cart string // URLs
}

// user returns who asks: the header X-User, else the cookie, else the guest.
func user(r *http.Request) string {
	var cookie string
	if c, err := r.Cookie("user"); err == nil {
		cookie = c.Value
	}
	u := cmp.Or(r.Header.Get("X-User"), cookie, "guest")
	return u[:min(len(u), 100)]
}

// home asks catalog and cart at the same time.
func (f *front) home(ctx context.Context, r *http.Request) (*Home, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := &Home{}
	got := make(chan error, 1)
	go func() {
		got <- f.Call(ctx, r, http.MethodGet, f.cart+"/carts/"+url.PathEscape(user(r)), nil, &h.Cart)
	}()
	var list struct{ Products []Product }
	err := f.Call(ctx, r, http.MethodGet, f.catalog+"/products", nil, &list)
	if err != nil {
		cancel()
		<-got
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if err := <-got; err != nil {
		return nil, fmt.Errorf("cart: %w", err)
	}
	h.Products = list.Products
	prices := make(map[string]int, len(list.Products))
	for _, p := range list.Products {
		prices[p.ID] = p.Price
		h.Currency = p.Currency
	}
	for _, i := range h.Cart.Items {
		h.Total += prices[i.ID] * i.Quantity
	}
	return h, nil
}

func (f *front) api(w http.ResponseWriter, r *http.Request) {
	if !f.Work(w, r) {
		return
	}
	h, err := f.home(r.Context(), r)
	if err != nil {
		f.Fail(w, r, service.Status(err), err)
		return
	}
	service.Send(w, http.StatusOK, h)
}

func (f *front) page(w http.ResponseWriter, r *http.Request) {
	if !f.Work(w, r) {
		return
	}
	h, err := f.home(r.Context(), r)
	var b bytes.Buffer
	if err == nil {
		err = pageTemplate.Execute(&b, h)
	}
	if err != nil {
		f.Fail(w, r, service.Status(err), err)
		return
	}
	if _, err := r.Cookie("user"); err != nil {
		http.SetCookie(w, &http.Cookie{Name: "user", Value: rand.Text(), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// add puts an item into the cart and answers with the cart.
func (f *front) add(w http.ResponseWriter, r *http.Request) {
	var item Item
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096))
	d.DisallowUnknownFields()
	if err := d.Decode(&item); err != nil {
		f.Fail(w, r, http.StatusBadRequest, fmt.Errorf(`the body is not an item, as in {"id": "rope", "quantity": 2}: %w`, err))
		return
	}
	if item.Quantity == 0 {
		item.Quantity = 1
	}
	if !f.Work(w, r) {
		return
	}
	cart, err := f.put(r, item)
	if err != nil {
		f.Fail(w, r, service.Status(err), err)
		return
	}
	service.Send(w, http.StatusCreated, cart)
}

// form is add for the page's forms.
func (f *front) form(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	quantity, err := strconv.Atoi(cmp.Or(r.PostFormValue("quantity"), "1"))
	if err == nil {
		_, err = f.put(r, Item{ID: r.PostFormValue("id"), Quantity: quantity})
	}
	if err != nil {
		f.Fail(w, r, service.Status(err), err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (f *front) put(r *http.Request, item Item) (*Cart, error) {
	// The catalog knows whether there is such a product.
	var p Product
	if err := f.Call(r.Context(), r, http.MethodGet, f.catalog+"/products/"+url.PathEscape(item.ID), nil, &p); err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	var cart Cart
	if err := f.Call(r.Context(), r, http.MethodPost, f.cart+"/carts/"+url.PathEscape(user(r))+"/items", item, &cart); err != nil {
		return nil, fmt.Errorf("cart: %w", err)
	}
	return &cart, nil
}
