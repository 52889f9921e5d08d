//! A small HTTP server, for stand-ins of real ones.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringmesh_lease::{Clock as _, ManualClock};

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(it, _)| it == name);
        header.map(|(_, value)| value.as_str())
    }
}

/// Status and body.
pub(crate) type Reply = (u16, String);

/// What stands in for a server, by a time of its own.
pub(crate) struct Served<T> {
    pub(crate) state: Arc<Mutex<T>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) server: Server,
}

impl<T: Default + Send + 'static> Served<T> {
    pub(crate) fn start(answer: fn(&mut T, &Request, Duration) -> Reply) -> Self {
        let (state, clock): (Arc<Mutex<T>>, Arc<ManualClock>) = Default::default();
        let (all, time) = (Arc::clone(&state), Arc::clone(&clock));
        let server = Server::start(move |request| {
            let mut state = all.lock().expect("nobody panicked");
            answer(&mut state, request, time.now())
        });
        Self {
            state,
            clock,
            server,
        }
    }
}

/// A server on a port of its own. It serves one connection after the other.
pub(crate) struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(mut answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it listens");
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever went away is not answered.
                let _ = stream.map(|stream| serve(stream, &mut answer));
            }
        });
        Self {
            address,
            is_over,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.expect("it ran").expect("it did not panic");
        }
    }
}

fn serve(stream: TcpStream, answer: &mut impl FnMut(&Request) -> Reply) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(&stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        path,
        headers,
        body: String::new(),
    };
    let bytes = request.header("content-length").map_or(Ok(0), str::parse);
    let body = reader.take(bytes.ok()?).read_to_string(&mut request.body);
    body.ok()?;
    let (status, body) = answer(&request);
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    (&stream).write_all(format!("{head}{body}").as_bytes()).ok()
}

/// An exchange that is expected: the request, what its body holds, and the answer.
pub(crate) struct Exchange {
    pub(crate) request: &'static str,
    pub(crate) holds: &'static [&'static str],
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A server that expects these exchanges, in this order. What it heard is in the list, of which the
/// last entry says what was wrong, if anything was.
pub(crate) fn recorded(exchanges: Vec<Exchange>) -> (Server, Arc<Mutex<Vec<Request>>>) {
    let heard: Arc<Mutex<Vec<Request>>> = Arc::default();
    let (mut exchanges, all) = (exchanges.into_iter(), Arc::clone(&heard));
    let server = Server::start(move |request| {
        all.lock().expect("nobody panicked").push(request.clone());
        let Some(exchange) = exchanges.next() else {
            return (
                500,
                format!("not expected: {} {}", request.method, request.path),
            );
        };
        let line = format!("{} {}", request.method, request.path);
        let missing = exchange
            .holds
            .iter()
            .find(|it| !request.body.contains(**it));
        if line != exchange.request || missing.is_some() {
            let text = format!("expected {} with {missing:?}, not {line}", exchange.request);
            return (500, format!("{text} {}", request.body));
        }
        (exchange.status, exchange.body)
    });
    (server, heard)
}
