package main

// These are the parts of the reference page that a schema can't say. In them
// ´ stands for `, which a raw string can't hold. Every manifest in them is read
// by the tests, without a warning.

const referenceIntro = `
<!-- Written by: swell schema --markdown. Change cmd/swell/referencetext.go or the doc tags of the structs, not this page. -->
# The manifest: ´swell.yaml´

A manifest names the services of one application, how each is run, who calls whom, and which requests from outside go where. A name, a command and a route are enough: everything else has a default. The program listens on ´$PORT´; it needs to know nothing of Swell.

´´´yaml
app: hello
gateway:
  routes:
    - to: web
services:
  web:
    command: [./bin/web]
´´´

´swell validate´ checks a manifest and says every error at once with its line; an unknown field is an error. ´swell fmt´ formats it and keeps its comments. Editors complete and check it by the JSON Schema, which the manifest's first line names: ´# yaml-language-server: $schema=swell.schema.json´.

´´´sh
swell schema > swell.schema.json
swell validate
swell fmt --check
´´´

## A worked example

A shop: ´web´ calls ´catalog´, ´cart´ and ´payments´, ´catalog´ calls ´pricing´, and payments run elsewhere. Every field is explained below.

´´´yaml
app: shop

gateway:
  listen: ":8080"
  use: [access-log]                            # for every route
  routes:
    - name: catalog-api
      match: {host: shop.example, path: /api/products/**, methods: [GET, HEAD]}
      to: catalog
      rewrite: {prefix: /products}             # /api/products/7 arrives as /products/7
      use:
        - timeout: {request: 2s}
        - headers: {response: {set: {Cache-Control: "max-age=30"}}}
    - name: shop
      match: {host: shop.example}
      to: web
    - name: old-address
      match: {host: www.shop.example}
      redirect: {host: shop.example, status: 308}

services:
  web:
    command: [./bin/web]                       # listens on $PORT
    env:
      LOG_LEVEL: ${LOG_LEVEL:-info}
      CATALOG: ${edge:catalog.url}             # CATALOG_URL is set anyway
    uses: [catalog, cart, payments]
    health: {path: /healthz}
    scale:
      min: 2
      max: 20
      slo: {latency: {p95: 200ms}}             # what an instance can carry is learned

  catalog:
    command: [./bin/catalog, --listen, "127.0.0.1:${PORT}"]
    uses: [pricing]
    health: {path: /healthz, interval: 2s}
    resources: {cpu: 500m, memory: 256Mi}
    balance: least-connections
    use:                                       # for every call to it, from anyone
      - timeout: {request: 1s, attempt: 400ms}
      - retry: {attempts: 3, on: [connect, reset, timeout, 503]}
    scale:
      targets: {concurrency: 20, cpu: 70%}
      behavior:
        up: {percent: 100, pods: 4, period: 15s}
        down: {stabilization: 5m}

  pricing:
    command: [./bin/pricing]
    health: {tcp: true}
    scale: {min: 0, idle: 10m, hold: {max: 500, timeout: 20s}}

  cart:
    command: [node, server.js]
    dir: cart
    stop: {drain: 30s, grace: 5s}
    scale: {max: 1}                            # it keeps the carts in its memory

  payments:
    address: ["10.0.0.7:8080", "10.0.0.8:8080"]

profiles:
  dev:
    gateway: {listen: "127.0.0.1:8080"}
    services:
      web: {scale: {min: 1}}
´´´

## Fields

NAME stands for a name of your own, [] for each entry of a list. A field without a default is empty, or what its meaning says. Where text is wanted, a number or ´true´ is taken as it is written; where another value is wanted, ´${…}´ may stand for it.
`

const referenceNotations = `
## Quantities

| | notation |
|---|---|
| duration | ´200ms´, ´30s´, ´1m30s´, ´5m´, ´1d´, ´2w´; a bare number is refused but for 0 |
| percent | ´70%´; a bare number is refused, as it could mean both |
| rate | ´100/s´, ´30/m´, ´1000/h´, ´1000/d´; a bare number is per second |
| cpu | cores: ´2´, ´0.5´, ´500m´ |
| bytes | ´64Ki´, ´256Mi´, ´1Gi´, also ´k´, ´M´, ´G´ and ´T´ for powers of ten; a bare number is bytes |
`

// referenceNotes are what a section says before its table, by its path.
var referenceNotes = map[string]string{
	"": `
´services´ is needed, all else is not. ´policy´ is ´enforce´, and ´audit´ for a Compose file. In this version services are not isolated from each other: a program that knows an address by other means is not stopped from calling it.`,
	"gateway.routes[]": `
A route has ´to´ or ´redirect´, one of them. Which route takes a request does not depend on their order but on how exact their matches are: an exact host before ´*.´ before none; then an exact path, before one with ´{id}´, before the longest ´/**´, before a regular expression; then a match with methods; then the most headers; then the most query parameters. Only between equals the first counts.

´´´yaml
gateway:
  routes:
    - match: {path: /api/**}
      to:                                      # one request in twenty goes to the next version
        - {service: api, weight: 95}
        - {service: api-next, weight: 5}
services:
  api: {command: [./bin/api]}
  api-next: {command: [./bin/api-next]}
´´´`,
	"gateway.routes[].match": `
All that is given must fit. ´/a/**´ takes ´/a´ too, and whatever is below it, by whole segments: not ´/ab´. A path with dot segments (´/a/../b´, in any spelling) is refused.`,
	"services.NAME": `
A service has a ´command´, which Swell runs, or an ´address´, where it is already. Whom it calls is in ´uses´; circles are refused. For each of those its program finds the address in its environment, here for ´uses: [price-list]´:

| variable | value |
|---|---|
| ´PRICE_LIST_URL´ | such as ´http://127.0.0.1:41234´ |
| ´PRICE_LIST_HOST´, ´PRICE_LIST_PORT´ | host and port alone |
| ´PRICE_LIST_SERVICE_HOST´, ´PRICE_LIST_SERVICE_PORT´ | the same, under Kubernetes' names |
| ´services__price-list__http__0´ | the URL, under Aspire's name |

´PORT´ is where the program is to listen. With ´port´, the program listens where it likes, and there is one instance of it only. What ´env´ sets wins over what is set anyway.`,
	"services.NAME.scale": `
Without any of it a service has 1 to 10 instances. Goals are a latency (´slo´) or ´targets´ for each instance. ´swell explain SERVICE´ says why there are as many as there are.

´´´yaml
services:
  api:
    command: [./bin/api]
    scale: {min: 1, max: 20, slo: {latency: {p99: 300ms}}}
  reports:                                     # rarely used: none runs while nobody asks
    command: [./bin/reports]
    scale: {min: 0, max: 3, idle: 10m, targets: {concurrency: 2}}
´´´`,
	"use": `
´use´ attaches filters: to the gateway for every route, to a route, or to a service for every call to it from anyone. An entry is a name, or one name with its options; the first entry is the outermost. A request passes those of the gateway, of the route and of the service, in this order, and its answer passes them the other way round. Every service without a ´retry´ of its own has one with the defaults.`,
	"balance": `
´balance´ names how a service's requests are spread over its instances, or over its addresses. Without it, it is ´p2c´. An instance that refuses connections is out at once, whatever the balancer.`,
}

// referenceExamples are the worked examples of filters and balancers, by name.
var referenceExamples = map[string]string{
	"access-log": `
´´´yaml
gateway:
  use: [{access-log: {format: common}}]
  routes: [{to: web}]
services:
  web: {command: [./bin/web]}
´´´

´swell up --access-log FILE´ says where the lines go; without it, to ´access.log´ in the state folder.`,
	"headers": `
´´´yaml
gateway:
  routes:
    - to: web
      use:
        - headers:
            request: {set: {X-Shop: chandler}, remove: [X-Debug]}
            response: {add: {Vary: Accept-Language}, remove: [Server]}
services:
  web: {command: [./bin/web]}
´´´`,
	"retry": `
A request that no instance can have processed goes on to another instance, whatever its method. One that may have been processed is sent again only if its method is idempotent and its body is still at hand: a POST is never received twice.

´´´yaml
services:
  catalog:
    command: [./bin/catalog]
    use:
      - timeout: {request: 2s, attempt: 500ms}
      - retry: {attempts: 4, on: [connect, reset, timeout, 502, 503], budget: 10%}
  ledger:
    command: [./bin/ledger]
    use: [{retry: {attempts: 1}}]              # never again
´´´`,
	"timeout": `
´´´yaml
services:
  catalog:
    command: [./bin/catalog]
    use: [{timeout: {request: 2s, attempt: 800ms}}]
´´´`,
	"affinity": `
A client stays with the instance that answered it first, by a signed cookie, as long as that instance is there. Without a secret one is made at start, and after a restart clients may be given another instance.

´´´yaml
services:
  sessions:
    command: [./bin/sessions]
    use: [{affinity: {cookie: shop-instance, ttl: 1h}}]
´´´`,
	"body-limit": `
The innermost one counts: a route's takes the place of the gateway's.

´´´yaml
gateway:
  limits: {body: 1Mi}
  routes:
    - {match: {path: /upload}, to: files, use: [{body-limit: {max: 100Mi}}]}
    - {to: files}
services:
  files: {command: [./bin/files]}
´´´`,
	"circuit-breaker": `
While it is open, calls fail at once with 503; then a few probes decide whether it closes.

´´´yaml
services:
  pricing:
    command: [./bin/pricing]
    use: [{circuit-breaker: {errors: 50%, slow: {over: 1s, share: 80%}, window: 10s, open: 5s}}]
´´´`,
	"concurrency": `
For what can do so much at a time and no more. Those that wait are let in in order.

´´´yaml
services:
  reports:
    command: [./bin/reports]
    use: [{concurrency: {limit: 20, queue: 50, wait: 2s}}]
´´´`,
	"fallback": `
An answer in place of a failure: one of the manifest's, another service's, or the last good one of the same request.

´´´yaml
services:
  offers:
    command: [./bin/offers]
    use: [{fallback: {status: 200, body: '{"offers":[]}', headers: {Content-Type: application/json}}}]
  prices:
    command: [./bin/prices]
    use: [{fallback: {last-good: {for: 10m}}}]
´´´`,
	"fault": `
For tests of what callers do when a service is slow or fails.

´´´yaml
services:
  catalog:
    command: [./bin/catalog]
    use: [{fault: {delay: {time: 200ms, share: 10%}, abort: {status: 503, share: 1%}}}]
´´´`,
	"grpc-web": `
Browsers speak gRPC-Web, the service gRPC.

´´´yaml
gateway:
  routes:
    - {match: {path: /shop.Orders/**}, to: orders, use: [grpc-web]}
services:
  orders: {command: [./bin/orders], protocol: grpc}
´´´`,
	"hedge": `
The first good answer counts, and the other attempt is cut.

´´´yaml
services:
  search:
    command: [./bin/search]
    use: [{hedge: {after: p95, budget: 10%}}]
´´´`,
	"mirror": `
The copies' answers are dropped, and neither they nor their failures hold anybody up.

´´´yaml
services:
  search:
    command: [./bin/search]
    use: [{mirror: {to: search-next, share: 10%}}]
  search-next: {command: [./bin/search-next]}
´´´`,
	"random": `
For very many instances that are all alike.

´´´yaml
services:
  thumbnails: {command: [./bin/thumbnails], balance: random}
´´´`,
	"maglev": `
The same key gets the same instance, and few keys move when an instance comes or goes. With a bound, no instance gets more than so much of the mean.

´´´yaml
services:
  carts:
    command: [./bin/carts]
    balance: {maglev: {by: "header:X-User", bound: 125%}}
´´´`,
	"ring-hash": `
As maglev; fewer keys move, and they are spread less evenly.

´´´yaml
services:
  carts:
    command: [./bin/carts]
    balance: {ring-hash: {by: "cookie:session"}}
´´´`,
	"p2c": `
It needs nothing said, and suits most services.

´´´yaml
services:
  catalog: {command: [./bin/catalog], balance: p2c}
´´´`,
	"round-robin": `
For requests that are all alike, on instances that are all alike.

´´´yaml
services:
  thumbnails: {command: [./bin/thumbnails], balance: round-robin}
´´´`,
	"least-connections": `
For requests whose cost differs much, and for long ones.

´´´yaml
services:
  reports: {command: [./bin/reports], balance: least-connections}
´´´`,
	"ip-hash": `
For instances that remember something of a client, such as a cache or a session.

´´´yaml
services:
  sessions: {command: [./bin/sessions], balance: ip-hash}
´´´`,
}

const referenceEnd = `
## References: ´${…}´

| written | stands for |
|---|---|
| ´${NAME}´ | the environment variable of that name, when the manifest is read; an error if there is none |
| ´${NAME:-text}´ | the same; ´text´ if it is empty or not set. References may be within it |
| ´${secret:NAME}´ | a secret: the variable ´SWELL_SECRET_NAME´ (in capitals, dots and dashes as underscores), else the file ´NAME´ in the folder ´$SWELL_SECRETS_DIR´, which is ´/run/secrets´ if not set. A newline at its end is left out. Its value is never shown |
| ´${edge:SERVICE.url}´, ´${edge:SERVICE.host}´, ´${edge:SERVICE.port}´ | where the caller reaches a service that is in its ´uses´. In ´command´ and ´env´ only |
| ´${PORT}´ | the port of an instance. In ´command´ and ´env´ only |
| ´$$´ | a dollar sign. One that neither a brace nor a second one follows may stand alone |

A value that was put in is not read for references again. Names of fields are not expanded.

´´´yaml
services:
  web:
    command: [./bin/web, --listen, "127.0.0.1:${PORT}"]
    env:
      REGION: ${REGION:-eu}
      DATABASE: "postgres://shop:${secret:db-password}@db.example/shop"
      CATALOG_ADDR: "${edge:catalog.host}:${edge:catalog.port}"
      CURRENCY: $$
    uses: [catalog]
  catalog:
    command: [./bin/catalog]
´´´

## Profiles

A profile is a part of a manifest, laid over the rest when it is chosen:

´´´sh
swell up --profile prod
swell validate --profile prod
´´´

´´´yaml
services:
  web:
    command: [./bin/web]
    env: {LOG_LEVEL: debug, DEBUG: "1"}
profiles:
  prod:
    services:
      web:
        env: {LOG_LEVEL: warn, DEBUG: null}    # null takes away
        scale: {min: 3}
´´´

Mappings merge name by name; ´null´ takes away what was there; anything else, a list too, takes the place of what was there. The gateway's routes are the one list that grows: a route with the ´name´ of one that is there merges with it, the others are added.

## Several files

´´´sh
swell up swell.yaml team.yaml
´´´

Later files are laid over earlier ones by the rules of profiles; then the profile is laid over the result. Relative paths are relative to the folder of the file that they are written in. Without an argument it is ´swell.yaml´ in this folder; a folder stands for its ´swell.yaml´, else for its Compose file. All files are watched: a change is checked, shown as a diff and applied; an invalid one is refused, and everything goes on as before.

## Compose files

´´´sh
swell up compose.yaml
´´´

´compose.yaml´, ´compose.yml´, ´docker-compose.yaml´ and ´docker-compose.yml´ are read by the Compose project's own loader, with the ´.env´ file beside the first of them; they can't be mixed with manifests. Services run as commands on this machine, not as containers. ´--profile´ chooses a Compose profile.

| Compose | what it becomes |
|---|---|
| ´name´ | ´app´; the folder's name without it |
| ´entrypoint´, ´command´ | ´command´; a service without either is an error, as images are not run, unless its ´x-swell´ has a ´command´ or ´address´ |
| ´working_dir´ | ´dir´; with a warning the file's folder, if an absolute one is not there |
| ´environment´, ´env_file´ | ´env´; a fixed ´PORT´ and a name without a value are left out with a warning |
| ´depends_on´ | ´uses´; with a warning not if it waits for ´service_completed_successfully´ |
| ´ports´ | the first published port becomes the gateway's ´listen´, with one route to its service; each further one is warned of |
| ´expose´ | nothing. With it or ´ports´, a warning if neither command nor environment mentions ´PORT´ |
| ´healthcheck´ | ´health´: ´curl´ and ´wget´ of a local URL become its ´path´, ´grpc_health_probe´ becomes ´grpc´, ´nc -z´ is the default; others are warned of, and so is ´start_interval´. ´interval´ and ´timeout´ stay, ´retries´ is ´failures´; a ´start_period´ over a minute becomes ´start´ |
| ´deploy.replicas´, ´scale´ | ´scale.min´; ´scale.max´ is 10, or as many if it is more |
| ´deploy.resources.limits´, ´cpus´, ´mem_limit´ | ´resources´, of ´cpus´ and ´memory´; the rest of ´deploy´ is warned of |
| ´stop_grace_period´ | ´stop.grace´ |
| ´profiles´, ´extends´, ´include´ | are the loader's; a service whose profile is not chosen is left out with a warning |
| ´image´, ´build´ | not used, with a warning |
| ´restart´ | an instance that ends is replaced; ´no´ and ´on-failure´ are warned of |
| ´init´, ´version´ | nothing, and mean nothing here |
| ´networks´, ´volumes´, ´configs´, ´secrets´ and all else | no effect, each with a warning of its own |

´x-swell´, on a service or at the top, holds the words of a manifest that Compose has none for; it is laid over what became of the rest. ´policy´ is ´audit´ unless it says otherwise. Compose's own ´${VAR}´ is expanded by its loader; ´${edge:…}´ and ´${secret:…}´ mean what they mean in a manifest, and so does ´${PORT}´ if the environment has no ´PORT´.

´´´yaml
# compose.yaml
name: shop
services:
  web:
    image: shop/web:1.4                        # a warning: it is not used
    command: ["./bin/web", "--listen", "127.0.0.1:${PORT}"]
    ports: ["8080:80"]
    depends_on: [catalog]
    environment: {CATALOG: "${edge:catalog.url}"}
    x-swell:
      health: {path: /healthz}
      scale: {min: 1, max: 20, slo: {latency: {p95: 200ms}}}
  catalog:
    command: ["./bin/catalog"]
    environment: {LISTEN: ":${PORT}"}
    healthcheck: {test: ["CMD", "curl", "-f", "http://localhost/healthz"], interval: 5s}
    deploy: {replicas: 2}
x-swell:
  policy: enforce
´´´

## Not in this version

These words are known and refused with a message, so that nothing is dropped in silence:

| where | words |
|---|---|
| the top | ´egress´ |
| ´gateway.routes[]´ | ´compose´, ´transcode´ |
| ´services.NAME´ | ´image´, ´build´, ´volumes´, ´secrets´, ´egress´ |
| ´services.NAME.isolation´ | ´namespace´ |
| ´services.NAME.address´ | ´dns:HOST:PORT´ |
| ´services.NAME.scale´ | ´predict´, ´schedule´, ´vertical´ |
| ´services.NAME.scale.slo´ | ´errors´ |
| ´services.NAME.scale.targets´ | ´queue´, ´promql´, ´memory´ |
`
