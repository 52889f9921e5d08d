//! One client of the control port: commands in, lines of JSON out.

use std::io::{self, BufWriter, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::json::{self, Object};
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::port::Desk;

/// How long a client may be silent between two commands.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long it may take to read an answer.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the cores may take to say what links they have.
const CORES_TIME_MAX: Duration = Duration::from_secs(2);

/// While no event comes: time between two looks whether the client is still there.
const LOOK: Duration = Duration::from_secs(1);

const COMMANDS: [&str; 5] = ["config", "events", "help", "links", "metrics"];

/// Answers the commands of `stream` until it ends, breaks or is silent for too long.
pub(super) fn serve(stream: &TcpStream, desk: &Desk) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE_TIME_MAX))?;
    stream.set_write_timeout(Some(WRITE_TIME_MAX))?;
    stream.set_nodelay(true)?;
    let mut lines = Lines::new(stream);
    loop {
        let answer = match lines.next()? {
            Line::End => return Ok(()),
            Line::Unreadable => {
                let text = format!("a command is text of less than {LINE_BYTES_MAX} bytes");
                return say(stream, json::error(&text));
            }
            Line::Command(command) => match command.as_str() {
                "events" => return tell_events(stream, desk),
                "links" => links(desk),
                "metrics" => json::metrics(&desk.metrics.metrics()),
                "config" => Object::new().text("config", &desk.configuration).end(),
                "help" => help(),
                _ => json::error("there is no such command: try help"),
            },
        };
        say(stream, answer)?;
    }
}

fn say(stream: &TcpStream, mut line: String) -> io::Result<()> {
    line.push('\n');
    (&mut &*stream).write_all(line.as_bytes())
}

fn help() -> String {
    let commands = COMMANDS.map(json::quoted);
    Object::new().plain("commands", json::list(commands)).end()
}

fn links(desk: &Desk) -> String {
    let Some(asked) = desk.requests.ask_for_links() else {
        return json::error("too many others ask: try again");
    };
    match asked.recv_timeout(CORES_TIME_MAX) {
        Ok(links) => json::links(&links),
        Err(_) => json::error("the cores did not answer: one is blocked, or the node is stopping"),
    }
}

/// Tells events until the client or the node ends.
fn tell_events(stream: &TcpStream, desk: &Desk) -> io::Result<()> {
    let mut events = desk.shared.subscribe_to_events();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut out = BufWriter::new(stream);
    let mut missed = 0;
    stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    loop {
        let next = { pin!(events.next()).poll(&mut context) };
        match next {
            Poll::Ready(Some(event)) => {
                if events.missed() > missed {
                    missed = events.missed();
                    writeln!(out, "{}", Object::new().plain("missed", missed).end())?;
                }
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let at_ms = now.unwrap_or_default().as_millis();
                writeln!(out, "{}", json::event(&event, at_ms))?;
            }
            Poll::Ready(None) => return out.flush(),
            Poll::Pending => {
                out.flush()?;
                if is_over(stream) {
                    return Ok(());
                }
                thread::park_timeout(LOOK);
            }
        }
    }
}

/// Whether the client has closed. What it still says is not heard.
fn is_over(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
        ),
    }
}

/// Wakes a thread that parks.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
