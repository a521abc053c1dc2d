//! The listening socket, whose options each accepted socket inherits, so that none is set per connection.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

#[cfg(target_os = "linux")]
use landfall_frames::pace::SILENCE;

/// How many connections wait in the kernel for `accept`; the kernel takes less if `net.core.somaxconn` is less.
const BACKLOG: i32 = 4096;

/// After so long without a packet from the peer, its kernel is asked whether it is still there. The application is
/// not asked: a blocking client answers no PING while it is idle.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// How often it is asked again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How much the kernel holds of what the peer has no room for yet. Without it that grows to megabytes, and Linux says
/// that there is room again only when a third of it has gone: a slow reader would look like one that does not read.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 64 * 1024;

/// Takes the address, so that clients can queue, without serving yet, unless there is a listener already. A peer with no
/// room for what it is sent has the stall limit at least.
pub(crate) fn bind(
    inherited: Option<TcpListener>,
    address: SocketAddr,
    stall: Duration,
) -> io::Result<TcpListener> {
    let is_inherited = inherited.is_some();
    let socket = match inherited {
        Some(listener) => Socket::from(listener),
        None => Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?,
    };
    // A response must not wait for the acknowledgement of the one before.
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(SILENCE.max(stall)))?;
        socket.set_tcp_notsent_lowat(UNSENT)?;
    }
    socket.set_nonblocking(true)?;
    if !is_inherited {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
    }
    // Again, where it listens already: the queue is as long as ours would be.
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn accepted_sockets_have_the_options_of_their_listener() {
        for (stall, user_timeout) in [(Duration::from_secs(10), SILENCE), (2 * SILENCE, 2 * SILENCE)] {
            let listener = bind(None, (Ipv4Addr::LOCALHOST, 0).into(), stall).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.set_nonblocking(false).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let socket = SockRef::from(&accepted);
            assert!(socket.tcp_nodelay().unwrap());
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(user_timeout));
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), 65_536);
        }
    }
}
