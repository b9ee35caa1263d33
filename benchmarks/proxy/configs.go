//go:build linux

package main

// The proxies' configurations. In each, /large and gRPC lead to another origin.

const swellConfig = `app: bench
gateway:
  listen: 127.0.0.1:{plain}
  tls: {listen: "127.0.0.1:{tls}", http3: false, certificates: [{cert: "{crt}", key: "{key}"}]}
  routes:
    - match: {path: /**}
      to: origin
    - match: {path: /large}
      to: server
    - match: {path: /bench.Echo/**}
      to: grpc
services:
  origin:
    address: ["{origin}"]
  server:
    address: ["{server}"]
  grpc:
    address: ["{server}"]
    protocol: grpc
`

const nginxConfig = `{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 40000;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 30000; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  http2_max_concurrent_streams 256;
  ssl_certificate {crt};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache none;
  upstream origin { server {origin}; keepalive 256; keepalive_requests 1000000000; }
  upstream server { server {server}; keepalive 256; keepalive_requests 1000000000; }
  upstream grpc { server {server}; keepalive 256; keepalive_requests 1000000000; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  server {
    listen 127.0.0.1:{plain};
    location / { proxy_pass http://origin; }
    location /large { proxy_pass http://server; }
  }
  server {
    listen 127.0.0.1:{h2c} http2;
    location / { proxy_pass http://origin; }
  }
  server {
    listen 127.0.0.1:{tls} ssl http2;
    location / { proxy_pass http://origin; }
  }
  server {
    listen 127.0.0.1:{grpc} http2;
    location / { grpc_pass grpc://grpc; grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }
  }
}
`

const haproxyConfig = `global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
  option http-keep-alive
  option forwardfor
  http-reuse always
frontend plain
  bind 127.0.0.1:{plain}
  http-request set-header X-Forwarded-Proto http
  use_backend server if { path /large }
  default_backend origin
frontend h2c
  bind 127.0.0.1:{h2c} proto h2
  http-request set-header X-Forwarded-Proto http
  default_backend origin
frontend tls
  bind 127.0.0.1:{tls} ssl crt {pem} alpn h2,http/1.1 ssl-min-ver TLSv1.2
  http-request set-header X-Forwarded-Proto https
  default_backend origin
frontend grpc
  bind 127.0.0.1:{grpc} proto h2
  default_backend grpc
backend origin
  server origin {origin}
backend server
  server server {server}
backend grpc
  server grpc {server} proto h2
`

const caddyConfig = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
	servers {
		protocols h1 h2 h2c
	}
}
http://:{plain} {
	bind 127.0.0.1
	reverse_proxy /large {server}
	reverse_proxy {origin} {
		transport http {
			keepalive_idle_conns_per_host 256
		}
	}
}
https://:{tls} {
	bind 127.0.0.1
	tls {crt} {key}
	reverse_proxy {origin} {
		transport http {
			keepalive_idle_conns_per_host 256
		}
	}
}
http://:{grpc} {
	bind 127.0.0.1
	reverse_proxy h2c://{server}
}
`

const traefikConfig = `global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: ERROR}
entryPoints:
  plain: {address: "127.0.0.1:{plain}"}
  tls: {address: "127.0.0.1:{tls}"}
  grpc: {address: "127.0.0.1:{grpc}"}
providers: {file: {filename: dynamic.yaml}}
serversTransport: {maxIdleConnsPerHost: 256}
`

const traefikDynamic = `http:
  routers:
    plain: {entryPoints: [plain], rule: "PathPrefix(` + "`" + `/` + "`" + `)", service: origin}
    large: {entryPoints: [plain], rule: "Path(` + "`" + `/large` + "`" + `)", service: server}
    tls: {entryPoints: [tls], rule: "PathPrefix(` + "`" + `/` + "`" + `)", service: origin, tls: {}}
    grpc: {entryPoints: [grpc], rule: "PathPrefix(` + "`" + `/` + "`" + `)", service: grpc}
  services:
    origin: {loadBalancer: {servers: [{url: "http://{origin}"}]}}
    server: {loadBalancer: {servers: [{url: "http://{server}"}]}}
    grpc: {loadBalancer: {servers: [{url: "h2c://{server}"}]}}
tls:
  stores: {default: {defaultCertificate: {certFile: "{crt}", keyFile: "{key}"}}}
`
