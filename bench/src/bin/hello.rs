//! A bare hyper server that answers one fixed body: what the HTTP library alone costs.
//!
//! `hello PORT THREADS`. One current-thread runtime per thread, each with a listener of its own on the same port.

use std::{convert::Infallible, net::SocketAddr, thread};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

const BODY: &[u8] = br#"{"message": "hello", "path": "/hello"}"#;

fn main() {
    let mut arguments =
        std::env::args().skip(1).map(|argument| argument.parse::<u16>().expect("a number"));
    let (port, threads) = (arguments.next().expect("PORT"), arguments.next().expect("THREADS"));
    let servers: Vec<_> = (0..threads).map(|_| thread::spawn(move || serve(port))).collect();
    println!("ready");
    for server in servers {
        server.join().expect("the thread ends with the program");
    }
}

fn serve(port: u16) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = listen(port);
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a TCP socket");
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
}

fn listen(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    socket.set_nonblocking(true).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("a free port");
    socket.listen(1024).expect("a bound socket");
    TcpListener::from_std(socket.into()).expect("a listening socket")
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(BODY)));
    response.headers_mut().insert("content-type", "application/json".parse().expect("a header"));
    Ok(response)
}
