//! A server on loopback that answers as its path says and counts.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The server. Its threads end with the process.
pub(crate) struct Web {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Web {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, requests) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || answer(stream, &counted));
            }
        });
        Ok(Self { address, requests })
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that have arrived.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

fn answer(mut stream: TcpStream, requests: &AtomicUsize) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.extend(byte);
    }
    let number = requests.fetch_add(1, SeqCst) + 1;
    let head = String::from_utf8_lossy(&head).into_owned();
    let (status, more, body) = match head.split(' ').nth(1) {
        Some("/big") => ("200 OK", "", "x".repeat(300 << 10)),
        Some("/moved") => ("302 Found", "location: /count\r\n", "moved".to_owned()),
        Some("/broken") => ("500 Internal Server Error", "", format!("broken {number}")),
        // Ends when the other side has closed.
        Some("/silent") => return drop(stream.read(&mut byte)),
        _ => ("200 OK", "", format!("answer {number}")),
    };
    let length = body.len();
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{more}content-length: {length}\r\n\r\n{body}").as_bytes());
}
