//! The bare library's loop: what tokio-tungstenite alone takes to send one message to many connections.
//!
//! `websocket_floor PORT CONNECTIONS ROUNDS`. Takes so many connections, waits for a message of the first, and sends 100
//! bytes to each in turn, so many times, from one thread. Its read buffers are as small as the library lets them be.

use tokio::net::TcpListener;
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use futures_util::{SinkExt as _, StreamExt as _};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments =
        std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let mut next = || arguments.next().expect("PORT CONNECTIONS ROUNDS");
    let (port, connections, rounds) = (next(), next(), next());
    let port = u16::try_from(port).expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
    println!("ready");
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let mut sockets = Vec::new();
    while sockets.len() < connections {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP socket");
        let socket = accept_async_with_config(stream, Some(config)).await;
        sockets.push(socket.expect("a handshake"));
    }
    // Whichever was told to speak first.
    let mut firsts: futures_util::stream::FuturesUnordered<_> =
        sockets.iter_mut().map(|socket| socket.next()).collect();
    firsts.next().await;
    drop(firsts);
    let message = Message::text("x".repeat(100));
    for _ in 0..rounds {
        for socket in &mut sockets {
            socket.send(message.clone()).await.expect("an open connection");
        }
    }
    std::future::pending::<()>().await;
}
