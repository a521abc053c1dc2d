//! Requests that are worked on to their end, on routes that say so, though their caller leaves.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::response::Response;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::ResponseFuture;

/// A request that goes on in a task of its own when it is dropped.
pub(super) struct Outliving<F: Handler> {
    // None when it has its response.
    request: Option<Pin<Box<ResponseFuture<F>>>>,
    _drain_waits: TaskTrackerToken,
}

/// What a handler's future has to be to go on in a task.
pub(super) trait Handler: Future<Output = Result<Response, Infallible>> + Send + 'static {}

impl<F: Future<Output = Result<Response, Infallible>> + Send + 'static> Handler for F {}

impl<F: Handler> Outliving<F> {
    pub(super) fn new(request: ResponseFuture<F>) -> Self {
        let _drain_waits = request.guard.route.shared.drain.token();
        Self { request: Some(Box::pin(request)), _drain_waits }
    }
}

impl<F: Handler> Future for Outliving<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let request = self.request.as_mut().expect("it is not polled after its end");
        let response = ready!(request.as_mut().poll(cx));
        self.request = None;
        Poll::Ready(response)
    }
}

impl<F: Handler> Drop for Outliving<F> {
    fn drop(&mut self) {
        // One that nobody has begun to work on is forgotten.
        if let Some(request) = self.request.take_if(|request| request.is_judged) {
            let shared = request.guard.route.shared;
            shared.metrics.outlived.inc();
            shared.drain.spawn(async {
                let _ = request.await;
            });
        }
    }
}
