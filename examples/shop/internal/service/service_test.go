package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPoolCarriesWorkersPerWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(4, 1000, 20*time.Millisecond, 0)
		began := time.Now()
		var all sync.WaitGroup
		for range 400 {
			all.Go(func() {
				if err := p.Do(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("400 requests took %v; 4 workers of 20ms take 2s", took)
		}
	})
}

func TestAPoolServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1, 100, 10*time.Millisecond, 0)
		var order []int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				if err := p.Do(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait()
		}
		all.Wait()
		for i, n := range order {
			if i != n {
				t.Fatalf("request %d was served as number %d", n, i)
			}
		}
	})
}

func TestAPoolRefusesBeyondItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1, 1, time.Second, 0)
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = p.Do(t.Context()) })
		synctest.Wait()
		all.Go(func() {
			if err := p.Do(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("the one that left got %v", err)
			}
		})
		synctest.Wait()
		if err := p.Do(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("got %v, not ErrFull", err)
		}
		leave()
		synctest.Wait()
		if err := p.Do(t.Context()); err != nil {
			t.Errorf("the place of the one that left is not free: %v", err)
		}
		all.Wait()
	})
}

// start runs a service until the test ends or stop is called, whose result is Run's.
func start(t *testing.T, o Options, h func(*Service) http.Handler) (url string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(o, io.Discard)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l, h(s)) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	url = "http://" + l.Addr().String()
	for {
		resp, err := http.Get(url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return url, stop
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("it never got ready")
		}
	}
}

func TestAServiceFinishesWhatIsInFlight(t *testing.T) {
	entered := make(chan struct{})
	url, stop := start(t, Options{Name: "slow", Workers: 1, Work: 300 * time.Millisecond}, func(s *Service) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			if s.Work(w, r) {
				Send(w, http.StatusOK, "done")
			}
		})
	})
	got := make(chan error, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			got <- err
			return
		}
		b, err := io.ReadAll(resp.Body)
		if err == nil && !bytes.Contains(b, []byte("done")) {
			err = errors.New(resp.Status + " " + string(b))
		}
		got <- errors.Join(err, resp.Body.Close())
	}()
	<-entered
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := <-got; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if _, err := net.Dial("tcp", url[len("http://"):]); err == nil {
		t.Error("it still listens")
	}
}

func TestAServiceRefusesUntilItIsWarm(t *testing.T) {
	s := New(Options{Name: "cold", Workers: 1}, io.Discard)
	for path, h := range map[string]http.Handler{"/healthz": http.HandlerFunc(s.health), "/": s.counted(http.NotFoundHandler())} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestCallPassesTheTraceAndTellsErrors(t *testing.T) {
	url, _ := start(t, Options{Name: "callee", Workers: 1}, func(*Service) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/no" {
				Send(w, http.StatusNotFound, "nothing here")
				return
			}
			Send(w, http.StatusOK, r.Header.Get("Traceparent"))
		})
	})
	s := New(Options{Name: "caller", Workers: 1}, io.Discard)
	defer s.client.CloseIdleConnections()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	var got string
	if err := s.Call(t.Context(), r, http.MethodGet, url, nil, &got); err != nil || got != r.Header.Get("Traceparent") {
		t.Errorf("got %q, %v", got, err)
	}
	err := s.Call(t.Context(), r, http.MethodGet, url+"/no", nil, &got)
	if Status(err) != http.StatusNotFound {
		t.Errorf("got %v, which is answered with %d", err, Status(err))
	}
	if Status(errors.New("refused")) != http.StatusBadGateway {
		t.Error("a broken call is not a bad gateway")
	}
}

func TestAddressSaysWhatIsMissing(t *testing.T) {
	t.Setenv("CATALOG_URL", "")
	if _, err := Address("catalog"); err == nil {
		t.Error("no error without CATALOG_URL")
	}
	t.Setenv("CATALOG_URL", "http://127.0.0.1:9/")
	if a, err := Address("catalog"); err != nil || a != "http://127.0.0.1:9" {
		t.Errorf("%q, %v", a, err)
	}
}
