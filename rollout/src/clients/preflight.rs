//! One request of each kind before the load: a wrong path or protocol is no loss, but no run either.

use tokio::time::timeout;

use super::http1::connection::Connection;
use super::load::Clients;
use super::mix::Mix;
use super::target::{Target, method_of};
use super::tls::Transport;
use crate::record::kind::Kind;
use crate::unable::{OrUnable, Unable};

/// A request that was answered with anything but a 2xx.
struct Refused {
    request: String,
    status: u16,
    kinds: Vec<Kind>,
}

/// Sends one request of each kind in the mix, and one as the libraries do; fails unless each is answered with a 2xx.
pub(crate) async fn check(target: &Target, clients: &Clients) -> Result<(), Unable> {
    let Clients { mix, h2_streams, libraries, .. } = clients;
    let posts = (!libraries.is_empty()).then_some(Kind::Post);
    let mut refused: Vec<Refused> = Vec::new();
    for kind in mix.0.iter().filter(|group| group.count > 0).map(|group| group.kind).chain(posts) {
        let request = format!("{} {}", method_of(kind), target.path_of(kind));
        let response = async {
            match kind {
                Kind::H2 => http2(target, *h2_streams).await,
                Kind::H2Idle | Kind::H2Blocking => http2(target, 1).await,
                kind => http1(target, kind).await,
            }
        };
        let status = match timeout(target.connect_timeout + target.response_timeout, response).await {
            Ok(status) => status?,
            Err(_) => return Err(Unable(format!("{}: no response to {request} in time", target.authority))),
        };
        let wanted = if kind == Kind::Websocket { 101..102 } else { 200..300 };
        if wanted.contains(&status) {
            continue;
        }
        match refused.iter_mut().find(|other| other.request == request && other.status == status) {
            Some(other) => other.kinds.push(kind),
            None => refused.push(Refused { request, status, kinds: vec![kind] }),
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Unable(explain(&refused, mix))),
    }
}

/// Names every kind that has no path, the flag that gives it one, and the mix without these kinds.
fn explain(refused: &[Refused], mix: &Mix) -> String {
    let mut text = String::from("the service does not have what the clients ask for:");
    for Refused { request, status, kinds } in refused {
        let names = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let flag = match kinds[0] {
            Kind::Post | Kind::Upload => "--post PATH and --post-body JSON",
            Kind::Download => "--download PATH",
            Kind::Websocket => "--websocket PATH",
            Kind::Stream => "--stream PATH",
            _ => "--path PATH",
        };
        let token = if matches!(status, 401 | 403) { ", or a token with --header" } else { "" };
        text += &format!("\n  {names}: {request} responded {status}; pass {flag}{token}");
    }
    let rest = mix.0.iter().filter(|group| refused.iter().all(|other| !other.kinds.contains(&group.kind)));
    let rest = Mix(rest.copied().collect());
    if rest.0.iter().any(|group| group.count > 0) {
        text += &format!("\nor leave them out: --clients {rest}");
    }
    text
}

async fn connect(target: &Target, http2: bool) -> Result<Transport, Unable> {
    let tried = format!("no route to {}", target.origin());
    match timeout(target.connect_timeout, target.connect(http2)).await {
        Ok(stream) => stream.or_unable(tried),
        Err(_) => Err(Unable(format!("{tried}: no connection in time"))),
    }
}

async fn http1(target: &Target, kind: Kind) -> Result<u16, Unable> {
    let tried = format!("asking {}", target.url_of(kind));
    let mut connection = Connection::new(connect(target, false).await?);
    let head = connection.send(&target.http1(kind)).await.or_unable(&tried)?;
    Ok(head.status)
}

async fn http2(target: &Target, streams: u32) -> Result<u16, Unable> {
    let tried = format!(
        "{} does not speak HTTP/2{} (if it need not, leave h2, h2-idle and h2-blocking out of --clients)",
        target.origin(),
        if target.tls.is_some() { "" } else { " without TLS" }
    );
    let stream = connect(target, true).await?;
    let (sender, connection) = h2::client::handshake(stream).await.or_unable(&tried)?;
    let driving = tokio::spawn(connection);
    let mut sender = sender.ready().await.or_unable(&tried)?;
    let (response, _) = sender.send_request(target.http2()?, true).or_unable(&tried)?;
    let status = response.await.or_unable(&tried)?.status().as_u16();
    let allowed = sender.current_max_send_streams();
    driving.abort();
    if allowed < streams as usize {
        return Err(Unable(format!(
            "{} allows {allowed} streams on a connection: pass --h2-streams {allowed}",
            target.origin()
        )));
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::net::TcpListener;

    use super::*;
    use crate::args::{Args, Command};
    use crate::clients::mix;

    #[test]
    fn each_kind_is_told_the_flag_that_gives_it_a_path() {
        for (kinds, flag) in [
            (vec![Kind::Busy, Kind::H2], "--path PATH"),
            (vec![Kind::Post], "--post PATH and --post-body JSON"),
            (vec![Kind::Upload], "--post PATH and --post-body JSON"),
            (vec![Kind::Download], "--download PATH"),
            (vec![Kind::Websocket], "--websocket PATH"),
            (vec![Kind::Stream], "--stream PATH"),
        ] {
            let refused = [Refused { request: "GET /x".into(), status: 404, kinds }];
            let text = explain(&refused, &mix::parse("idle=2,post=0").unwrap());
            assert!(text.contains(&format!("responded 404; pass {flag}\n")), "{text}");
            assert!(text.contains("or leave them out: --clients idle=2"), "{text}");
        }
        let refused = [Refused { request: "GET /".into(), status: 403, kinds: vec![Kind::Idle] }];
        let text = explain(&refused, &mix::parse("idle=2,post=0").unwrap());
        assert!(text.ends_with("pass --path PATH, or a token with --header"), "{text}");
    }

    #[tokio::test]
    async fn a_server_has_to_allow_as_many_streams_as_are_sent() {
        for (allowed, enough) in [(3, false), (4, true), (5, true)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let serving = tokio::spawn(async move {
                let (client, _) = listener.accept().await.unwrap();
                let mut server = h2::server::Builder::new();
                let server = server.max_concurrent_streams(allowed).handshake::<_, bytes::Bytes>(client);
                let mut server = server.await.unwrap();
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    respond.send_response(http::Response::new(()), true).unwrap();
                }
            });
            let args = Args::parse_from(["rollout", "drive", "--url", &url, "--", "true"]);
            let Command::Drive(drive) = args.command else { panic!("it is `drive`") };
            let mut target = drive.load.target();
            target.aim(&url).await.unwrap_or_else(|unable| panic!("{}", unable.0));
            assert_eq!(http2(&target, 4).await.is_ok(), enough, "{allowed} of 4 are allowed");
            serving.abort();
        }
    }
}
