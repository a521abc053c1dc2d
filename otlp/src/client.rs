//! How spans get to the collector: plain HTTP from the exporter's own thread, which may wait for it.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;

/// A client for a collector near by: no proxy, no TLS.
#[derive(Debug)]
pub(crate) struct Client(Agent);

impl Client {
    /// One that gives up on a request after this long.
    pub(crate) fn new(timeout: Duration) -> Self {
        let config = Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
        Self(config.proxy(None).build().into())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        const LARGEST_RESPONSE: u64 = 4 << 20;
        let response = self.0.run(request.map(|body| body.to_vec()))?;
        let (head, mut body) = response.into_parts();
        let body = body.with_config().limit(LARGEST_RESPONSE).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}
