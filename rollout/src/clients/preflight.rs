//! One request of each kind before the load: a wrong path or protocol is no loss, but no run either.

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http1::connection::Connection;
use super::mix::Mix;
use super::target::Target;
use crate::record::outcome::Kind;
use crate::unable::{OrUnable, Unable};

/// Asks once for what each kind of client will ask for; anything but a 2xx is an error.
pub(crate) async fn check(target: &Target, mix: &Mix, h2_streams: u32) -> Result<(), Unable> {
    for group in mix.0.iter().filter(|group| group.count > 0) {
        let asked = async {
            match group.kind {
                Kind::H2 => http2(target, h2_streams).await,
                kind => http1(target, kind).await,
            }
        };
        let (path, name) = (target.path(group.kind), group.kind.name());
        let status = match timeout(target.connect_timeout + target.response_timeout, asked).await {
            Ok(status) => status?,
            Err(_) => {
                return Err(Unable(format!("{} did not answer {path} in time", target.authority)));
            }
        };
        if !(200..300).contains(&status) {
            let flag = match group.kind {
                Kind::Post => "--post-path and --post-body",
                Kind::Stream => "--stream-path",
                _ => "--get-path",
            };
            return Err(Unable(format!(
                "{path} answered {status} before the run began: say with {flag} what the {name} clients \
                 should ask for (--header adds a token), or leave {name} out of --clients"
            )));
        }
    }
    Ok(())
}

async fn connect(target: &Target) -> Result<TcpStream, Unable> {
    let tried = format!("no route to http://{}", target.authority);
    match timeout(target.connect_timeout, TcpStream::connect(&target.addresses[..])).await {
        Ok(stream) => stream.or_unable(tried),
        Err(_) => Err(Unable(format!("{tried}: no connection in time"))),
    }
}

async fn http1(target: &Target, kind: Kind) -> Result<u16, Unable> {
    let tried = format!("asking http://{}{}", target.authority, target.path(kind));
    let mut connection = Connection::new(connect(target).await?).or_unable(&tried)?;
    let head = connection.send(&target.http1(kind)).await.or_unable(&tried)?;
    Ok(head.status)
}

async fn http2(target: &Target, streams: u32) -> Result<u16, Unable> {
    let tried = format!(
        "http://{} does not speak HTTP/2 without TLS (leave h2 out of --clients if it need not)",
        target.authority
    );
    let stream = connect(target).await?;
    let (sender, connection) = h2::client::handshake(stream).await.or_unable(&tried)?;
    let driving = tokio::spawn(connection);
    let mut sender = sender.ready().await.or_unable(&tried)?;
    let (response, _) = sender.send_request(target.http2()?, true).or_unable(&tried)?;
    let status = response.await.or_unable(&tried)?.status().as_u16();
    let allowed = sender.current_max_send_streams();
    driving.abort();
    if allowed < streams as usize {
        return Err(Unable(format!(
            "http://{} allows {allowed} streams on a connection: say --h2-streams {allowed}",
            target.authority
        )));
    }
    Ok(status)
}
