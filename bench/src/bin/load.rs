//! A load generator: keep-alive HTTP/1.1 on N connections for T seconds, one request at a time on each.
//!
//! `load ADDRESS HOST PATH CONNECTIONS SECONDS [STATUS [HEADERS BODY]]`; any other status than 200, or the one named, is
//! an error. With a body it is a POST; headers have a line feed between. A connection is made anew after an answer that says `Connection: close`. Prints one JSON object: requests, errors, requests per second and
//! the latencies in microseconds. It is one thread, so that on two cores one is left to the server.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

#[derive(Default)]
struct Tally {
    latencies_us: Vec<u32>,
    errors: u64,
    first_error: Option<String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, host, path, connections, seconds, more @ ..] = &arguments[..] else {
        panic!("usage: load ADDRESS HOST PATH CONNECTIONS SECONDS [STATUS [HEADERS BODY]]")
    };
    let wanted: u16 = more.first().map_or(200, |status| status.parse().expect("a status"));
    let connections: usize = connections.parse().expect("a number of connections");
    let seconds: f64 = seconds.parse().expect("a number of seconds");
    let head = format!("{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n");
    let request = match more {
        [_, headers, body] => {
            let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
            format!("POST {head}{headers}Content-Length: {}\r\n\r\n{body}", body.len())
        }
        _ => format!("GET {head}\r\n"),
    };
    let tally = Rc::new(RefCell::new(Tally::default()));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = LocalSet::new();
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    for _ in 0..connections {
        let (tally, address, request) = (Rc::clone(&tally), address.clone(), request.clone());
        local.spawn_local(async move {
            while Instant::now() < end {
                if let Err(error) = drive(&address, request.as_bytes(), wanted, end, &tally).await {
                    let mut tally = tally.borrow_mut();
                    tally.errors += 1;
                    tally.first_error.get_or_insert(error);
                }
            }
        });
    }
    runtime.block_on(local);
    print(&mut tally.borrow_mut(), start.elapsed());
}

/// Sends requests on one connection until the end, or until the server wants another.
async fn drive(
    address: &str,
    request: &[u8],
    wanted: u16,
    end: Instant,
    tally: &Rc<RefCell<Tally>>,
) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut buffer = vec![0; 64 * 1024];
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(request).await.map_err(|error| error.to_string())?;
        let (status, closes) = read_answer(&mut stream, &mut buffer).await?;
        let elapsed = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
        if status != wanted {
            return Err(format!("status {status}"));
        }
        tally.borrow_mut().latencies_us.push(elapsed);
        if closes {
            break;
        }
    }
    Ok(())
}

/// Reads one whole answer with a content length; gives its status and whether the connection ends with it.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<(u16, bool), String> {
    let mut held = 0;
    loop {
        let length = stream.read(&mut buffer[held..]).await.map_err(|error| error.to_string())?;
        if length == 0 {
            return Err("the server closed the connection".to_owned());
        }
        held += length;
        let Some(head) = buffer[..held].windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let status =
            text.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse().ok())
            .ok_or("no content length")?;
        if held >= head + 4 + length {
            return Ok((status, text.contains("\r\nconnection: close")));
        }
    }
}

fn print(tally: &mut Tally, elapsed: Duration) {
    tally.latencies_us.sort_unstable();
    let sorted = &tally.latencies_us;
    let at = |per_mille: usize| sorted.get(sorted.len() * per_mille / 1000).copied().unwrap_or(0);
    #[allow(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
    let rate = sorted.len() as f64 / elapsed.as_secs_f64();
    let report = serde_json::json!({
        "requests": sorted.len(), "errors": tally.errors, "first_error": tally.first_error, "per_second": rate,
        "p50_us": at(500), "p90_us": at(900), "p99_us": at(990), "max_us": sorted.last(),
    });
    println!("{report}");
}
