//! What each proxy is told: no retries, streams as they come, and idle connections to the pods closed before the pods do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::slice;
use std::time::Duration;

use serde_json::{Value, json};

/// How many endpoints haproxy has room for.
pub(super) const SLOTS: usize = 60;

/// How one proxy is to run.
pub(super) struct Settings {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The Service's address.
    pub(super) service: SocketAddr,
    pub(super) http2: bool,
    /// How long it keeps an idle connection to a pod.
    pub(super) keep_alive: Duration,
    pub(super) checks: Option<Checks>,
    /// Where its files are.
    pub(super) directory: PathBuf,
}

/// How long a check may take: as long as a probe.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Requests by which a proxy finds out which pods take requests; one that fails is enough.
pub(crate) struct Checks {
    pub(crate) path: String,
    /// Where every pod answers them.
    pub(crate) port: u16,
    pub(crate) period: Duration,
    /// Where pods can be: it is told once.
    pub(crate) pool: Vec<SocketAddr>,
}

impl Settings {
    /// The endpoints that it begins with.
    pub(super) fn pool(&self) -> &[SocketAddr] {
        self.checks.as_ref().map_or(&[], |checks| &checks.pool)
    }

    pub(super) fn nginx(&self) -> String {
        let Self { address, service, directory, .. } = self;
        let (directory, keep_alive) = (directory.display(), self.keep_alive.as_millis());
        format!(
            r#"daemon off;
master_process off;
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream service {{
        server {service};
        keepalive 100;
        keepalive_timeout {keep_alive}ms;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://service;
            proxy_set_header Host $http_host;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream off;
            proxy_buffering off;
        }}
    }}
}}
"#
        )
    }

    pub(super) fn haproxy(&self) -> String {
        let Self { address, directory, .. } = self;
        let (directory, keep_alive) = (directory.display(), self.keep_alive.as_millis());
        let protocol = if self.http2 { "proto h2" } else { "" };
        let servers = match &self.checks {
            None => format!(
                "    server-template pod 1-{SLOTS} 127.0.0.1:1 disabled pool-purge-delay {keep_alive}ms {protocol}"
            ),
            Some(Checks { path, port, period, pool }) => {
                let (timeout, period) = (CHECK_TIMEOUT.as_millis(), period.as_millis());
                let check = format!("check port {port} inter {period}ms fall 1 rise 1");
                let server = |pod: &SocketAddr| {
                    format!("    server {pod} {pod} pool-purge-delay {keep_alive}ms {check}")
                };
                let servers: Vec<String> = pool.iter().map(server).collect();
                format!(
                    "    timeout check {timeout}ms\n    option httpchk GET {path}\n{}",
                    servers.join("\n")
                )
            }
        };
        format!(
            "global
    stats socket {directory}/socket level admin
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    retries 0
    option http-no-delay
frontend clients
    bind {address}
    default_backend pods
backend pods
{servers}
"
        )
    }

    pub(super) fn envoy(&self) -> String {
        let Self { address, directory, .. } = self;
        let version = if self.http2 { "http2_protocol_options" } else { "http_protocol_options" };
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
        let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "pods", "timeout": "0s"}}]);
        let filter = json!({
            "name": "clients",
            "typed_config": {
                "@type": manager,
                "stat_prefix": "clients",
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
                "http_filters": [{"name": "router", "typed_config": {"@type": router}}],
            },
        });
        json!({
            "node": {"id": "rollout", "cluster": "rollout"},
            "static_resources": {
                "listeners": [{"address": envoy_address(*address), "filter_chains": [{"filters": [filter]}]}],
                "clusters": [{
                    "name": "pods",
                    // With few healthy ones it would send to the others too.
                    "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
                    "health_checks": self.checks.iter().map(envoy_check).collect::<Vec<_>>(),
                    "type": "EDS",
                    "connect_timeout": "5s",
                    "eds_cluster_config": {"eds_config": {
                        "resource_api_version": "V3",
                        "path_config_source": {"path": directory.join("endpoints.json")},
                    }},
                    "typed_extension_protocol_options": {options: {
                        "@type": format!("type.googleapis.com/{options}"),
                        "common_http_protocol_options": {"idle_timeout": seconds(self.keep_alive)},
                        "explicit_http_config": {version: {}},
                    }},
                }],
            },
        })
        .to_string()
    }

    /// The endpoints, as Envoy reads them.
    pub(super) fn envoy_endpoints(&self, endpoints: &[SocketAddr]) -> String {
        let endpoints: Vec<Value> = endpoints
            .iter()
            .map(|endpoint| {
                let checked = self.checks.as_ref().map(|checks| json!({"port_value": checks.port}));
                json!({"endpoint": {"address": envoy_address(*endpoint), "health_check_config": checked}})
            })
            .collect();
        json!({"resources": [{
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": "pods",
            "endpoints": [{"lb_endpoints": endpoints}],
        }]})
        .to_string()
    }

    /// The arguments; Traefik's endpoints are a file of their own.
    pub(super) fn traefik(&self, throttle: Duration) -> Vec<String> {
        vec![
            format!("--entryPoints.clients.address={}", self.address),
            format!("--providers.file.directory={}", self.directory.display()),
            format!("--providers.providersThrottleDuration={}ms", throttle.as_millis()),
            "--log.level=ERROR".into(),
            "--global.checkNewVersion=false".into(),
            "--global.sendAnonymousUsage=false".into(),
        ]
    }

    /// The endpoints, as Traefik reads them: JSON is YAML too.
    pub(super) fn traefik_endpoints(&self, endpoints: &[SocketAddr]) -> String {
        let scheme = if self.http2 { "h2c" } else { "http" };
        let servers: Vec<Value> =
            endpoints.iter().map(|endpoint| json!({"url": format!("{scheme}://{endpoint}")})).collect();
        let mut balancer = json!({"servers": servers, "serversTransport": "pods"});
        if let Some(Checks { path, port, period, .. }) = &self.checks {
            let (period, timeout) = (seconds(*period), seconds(CHECK_TIMEOUT));
            balancer["healthCheck"] = json!({
                "path": path, "port": port, "interval": period, "unhealthyInterval": period, "timeout": timeout,
            });
        }
        json!({"http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "pods"}},
            "services": {"pods": {"loadBalancer": balancer}},
            "serversTransports": {"pods": {"forwardingTimeouts": {"idleConnTimeout": seconds(self.keep_alive)}}},
        }})
        .to_string()
    }

    pub(super) fn caddy(&self) -> String {
        let version = if self.http2 { "h2c" } else { "1.1" };
        let checks = self.checks.as_ref().map(|Checks { path, port, period, .. }| {
            let (period, timeout) = (seconds(*period), seconds(CHECK_TIMEOUT));
            json!({"active": {"uri": path, "port": port, "interval": period, "timeout": timeout}})
        });
        let upstreams = self.checks.as_ref().map_or(slice::from_ref(&self.service), |checks| &checks.pool);
        let upstreams: Vec<Value> =
            upstreams.iter().map(|upstream| json!({"dial": upstream.to_string()})).collect();
        let proxy = json!({
            "handler": "reverse_proxy",
            "upstreams": upstreams,
            "health_checks": checks,
            "transport": {
                "protocol": "http",
                "versions": [version],
                "keep_alive": {"idle_timeout": seconds(self.keep_alive)},
            },
            "flush_interval": -1,
        });
        json!({
            "admin": {"disabled": true},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {"http": {"servers": {"clients": {
                "listen": [self.address.to_string()],
                "protocols": ["h1", "h2c"],
                "automatic_https": {"disable": true},
                "routes": [{"handle": [proxy]}],
            }}}},
        })
        .to_string()
    }
}

fn envoy_check(checks: &Checks) -> Value {
    let period = seconds(checks.period);
    json!({
        "timeout": seconds(CHECK_TIMEOUT),
        "interval": period,
        // Otherwise only each minute while there are no requests.
        "no_traffic_interval": period,
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "http_health_check": {"path": checks.path},
    })
}

fn envoy_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}s", duration.as_secs_f64())
}
