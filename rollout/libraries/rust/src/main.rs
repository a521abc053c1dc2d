//! reqwest, and tonic's Channel with plain HTTP/2 requests: the first argument says which; ROLLOUT_HTTP is 1.1 or 2.

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone)]
struct Post {
    url: http::Uri,
    body: String,
    headers: Vec<(String, String)>,
    timeout: Duration,
}

/// A client with a connection of its own.
enum Client {
    Reqwest(reqwest::Client),
    Tonic(tonic::transport::Channel),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let library = env::args().nth(1).unwrap_or_default();
    let headers = env::var("ROLLOUT_HEADERS").unwrap_or_default();
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    let post = Post {
        url: env::var("ROLLOUT_URL")?.parse()?,
        body: env::var("ROLLOUT_BODY")?,
        headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
        timeout: Duration::from_millis(env::var("ROLLOUT_TIMEOUT_MS")?.parse()?),
    };
    let pause = env::var("ROLLOUT_PAUSE_MS")?;
    let (min, max) = pause.split_once(' ').ok_or("ROLLOUT_PAUSE_MS is not two numbers")?;
    let pause = (min.parse()?, max.parse()?);
    let (stop, stopped) = watch::channel(());
    let mut clients = JoinSet::new();
    for _ in 0..env::var("ROLLOUT_CLIENTS")?.parse()? {
        clients.spawn(run(Client::new(&library, &post)?, post.clone(), pause, stopped.clone()));
    }
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    drop(stop);
    clients.join_all().await;
    // Not at the end of `main`: its runtime would wait for the thread that reads.
    std::process::exit(0)
}

async fn run(client: Client, post: Post, (min, max): (u64, u64), mut stop: watch::Receiver<()>) {
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            () = sleep(Duration::from_millis(fastrand::u64(min..=max))) => {}
        }
        let began = Instant::now();
        let status = match timeout(post.timeout, client.post(&post)).await {
            Ok(status) => status,
            Err(elapsed) => Err(elapsed.into()),
        };
        let took = began.elapsed().as_secs_f64();
        match status {
            Ok(status) => println!("{status} {took:.6}"),
            Err(error) => println!("000 {took:.6} {}", with_causes(&*error)),
        }
    }
}

impl Client {
    fn new(library: &str, post: &Post) -> Result<Self, Failure> {
        let http2 = env::var("ROLLOUT_HTTP").is_ok_and(|version| version == "2");
        match library {
            "reqwest" => {
                let builder = reqwest::Client::builder().no_proxy().retry(reqwest::retry::never());
                let builder = if http2 { builder.http2_prior_knowledge() } else { builder.http1_only() };
                Ok(Self::Reqwest(builder.build()?))
            }
            "tonic" => {
                let endpoint = tonic::transport::Endpoint::from(post.url.clone());
                Ok(Self::Tonic(endpoint.connect_lazy()))
            }
            other => Err(format!("`{other}` is neither reqwest nor tonic").into()),
        }
    }

    async fn post(&self, post: &Post) -> Result<u16, Failure> {
        let mut request = http::Request::post(post.url.clone()).header("content-type", "application/json");
        for (name, value) in &post.headers {
            request = request.header(name, value);
        }
        match self {
            Self::Reqwest(client) => {
                let request = request.body(post.body.clone())?.try_into()?;
                let response = client.execute(request).await?;
                let status = response.status();
                response.bytes().await?;
                Ok(status.as_u16())
            }
            Self::Tonic(channel) => {
                let request = request.body(tonic::body::Body::new(Full::from(post.body.clone())))?;
                let response = channel.clone().oneshot(request).await?;
                let status = response.status();
                response.into_body().collect().await?;
                Ok(status.as_u16())
            }
        }
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text.replace('\n', " ")
}
