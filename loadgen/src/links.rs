//! Shows the links of a node live, as its control port tells them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::screen::{age, bytes, rate, time};

/// How long a node may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// The first look has round trips measured, and one that is to be the only one waits for them.
const MEASURING: Duration = Duration::from_millis(100);

/// Clears a terminal, and goes to its first place.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Why no links are shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinksError {
    /// Nobody listens there, or not any more.
    #[error("the control port at {at}: {error}")]
    Port {
        /// Where.
        at: SocketAddr,
        /// What the system answered.
        error: io::Error,
    },
    /// The port answers with an error.
    #[error("the control port answers: {0}")]
    Refused(String),
    /// What answers there is no control port.
    #[error("no control port answers there: {0:?}")]
    Unreadable(String),
    /// The links cannot be printed.
    #[error(transparent)]
    Stdout(#[from] io::Error),
}

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Show {
    /// One object of JSON for each link, in place of a table.
    pub(crate) json: bool,
    /// Once, in place of every second.
    pub(crate) once: bool,
}

/// A link as the port tells it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Link {
    core: u16,
    peer: String,
    uid: Option<String>,
    peer_core: u16,
    lane: String,
    state: String,
    age_ms: Option<u64>,
    reconnects: u64,
    messages_sent: u64,
    messages_received: u64,
    in_flight_bytes: u64,
    credit_bytes: u64,
    rtt_us: Option<u64>,
    busy_recipients: u64,
}

/// Which link it is, whatever became of it.
type Name = (u16, String, Option<String>, u16, String);

impl Link {
    fn name(&self) -> Name {
        let (peer, uid) = (self.peer.clone(), self.uid.clone());
        (self.core, peer, uid, self.peer_core, self.lane.clone())
    }
}

/// Shows the links of the node whose control port is `at`, until that ends.
///
/// # Errors
/// When the port is not there, or goes away.
pub(crate) fn show(at: SocketAddr, show: Show) -> Result<(), LinksError> {
    let port_failed = |error| LinksError::Port { at, error };
    let stream = TcpStream::connect_timeout(&at, ANSWER_TIME_MAX).map_err(port_failed)?;
    stream
        .set_read_timeout(Some(ANSWER_TIME_MAX))
        .map_err(port_failed)?;
    let mut port = BufReader::new(stream);
    let mut before = HashMap::new();
    let mut looked = Instant::now();
    if show.once {
        ask(&mut port, at)?;
        thread::sleep(MEASURING);
    }
    loop {
        let links = ask(&mut port, at)?;
        let mut stdout = io::stdout().lock();
        if show.json {
            for link in &links {
                writeln!(stdout, "{}", Value::Object(link.clone()))?;
            }
        } else {
            let read = links.into_iter().map(|link| read(Value::Object(link)));
            let links = read.collect::<Result<Vec<_>, _>>()?;
            if stdout.is_terminal() {
                write!(stdout, "{CLEAR}")?;
            }
            writeln!(stdout, "{}", table(&links, &before, looked.elapsed()))?;
            before = links.into_iter().map(|link| (link.name(), link)).collect();
        }
        stdout.flush()?;
        drop(stdout);
        if show.once {
            return Ok(());
        }
        looked = Instant::now();
        thread::sleep(PERIOD);
    }
}

fn ask(
    port: &mut BufReader<TcpStream>,
    at: SocketAddr,
) -> Result<Vec<Map<String, Value>>, LinksError> {
    let port_failed = |error| LinksError::Port { at, error };
    port.get_mut().write_all(b"links\n").map_err(port_failed)?;
    let mut line = String::new();
    if port.read_line(&mut line).map_err(port_failed)? == 0 {
        return Err(port_failed(io::ErrorKind::UnexpectedEof.into()));
    }
    links_of(&line)
}

fn links_of(line: &str) -> Result<Vec<Map<String, Value>>, LinksError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Answer {
        Links(Vec<Map<String, Value>>),
        Error(String),
    }
    match serde_json::from_str(line) {
        Ok(Answer::Links(links)) => Ok(links),
        Ok(Answer::Error(error)) => Err(LinksError::Refused(error)),
        Err(_) => Err(LinksError::Unreadable(line.trim_end().to_owned())),
    }
}

fn read(link: Value) -> Result<Link, LinksError> {
    let text = link.to_string();
    serde_json::from_value(link).map_err(|_| LinksError::Unreadable(text))
}

/// One row for each link; the rates are those since the look `before`, `elapsed` ago.
fn table(links: &[Link], before: &HashMap<Name, Link>, elapsed: Duration) -> String {
    let head = [
        "peer",
        "cores",
        "lane",
        "state",
        "age",
        "sent",
        "received",
        "in flight",
        "credit",
        "round trip",
        "reconnects",
        "busy",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(links.iter().map(|link| {
        let earlier = before.get(&link.name());
        let per_second = |now: u64, then: Option<u64>| {
            let more = then.map(|then| now.saturating_sub(then) as f64);
            more.map_or_else(absent, |more| rate(more / elapsed.as_secs_f64().max(1e-9)))
        };
        [
            link.peer.clone(),
            format!("{} to {}", link.core, link.peer_core),
            link.lane.clone(),
            link.state.clone(),
            link.age_ms.map_or_else(absent, age),
            per_second(link.messages_sent, earlier.map(|it| it.messages_sent)),
            per_second(
                link.messages_received,
                earlier.map(|it| it.messages_received),
            ),
            bytes(link.in_flight_bytes),
            bytes(link.credit_bytes),
            link.rtt_us.map_or_else(absent, |us| time(us as f64 * 1e3)),
            link.reconnects.to_string(),
            link.busy_recipients.to_string(),
        ]
    }));
    let widths: [usize; 12] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        if !text.is_empty() {
            text.push('\n');
        }
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Words to the left, figures to the right. Writing to a string does not fail.
            let _ = if column < 4 {
                write!(text, "{cell:<width$}   ")
            } else {
                write!(text, "{cell:>width$}   ")
            };
        }
    }
    text
}

fn absent() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(messages: u64) -> Link {
        Link {
            core: 0,
            peer: "127.0.0.1:7400".to_owned(),
            uid: Some("00000000000000ff".to_owned()),
            peer_core: 1,
            lane: "ordinary".to_owned(),
            state: "up".to_owned(),
            age_ms: Some(90_000),
            reconnects: 2,
            messages_sent: messages,
            messages_received: 0,
            in_flight_bytes: 4096,
            credit_bytes: 1 << 20,
            rtt_us: Some(45),
            busy_recipients: 0,
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_link_and_rates_since_the_look_before() {
        let (then, now) = (link(1_000), link(5_000));
        let first = table(std::slice::from_ref(&then), &HashMap::new(), PERIOD);
        assert_eq!(first.lines().count(), 2, "{first}");
        assert!(!first.contains("/s"), "nobody has looked before: {first}");
        let before = HashMap::from([(then.name(), then)]);
        let second = table(&[now], &before, PERIOD * 2);
        for part in [
            "127.0.0.1:7400",
            "0 to 1",
            "2.00 k/s",
            "45.0 us",
            "4.00 KiB",
            "90 s",
        ] {
            assert!(second.contains(part), "{part}: {second}");
        }
        let widths: Vec<_> = second.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths[0], widths[1], "{second}");
    }

    #[test]
    fn what_is_no_answer_of_a_control_port_is_an_error() {
        assert!(matches!(links_of("{\"links\":[]}\n"), Ok(links) if links.is_empty()));
        let refused = links_of("{\"error\":\"too many\"}\n");
        assert!(matches!(refused, Err(LinksError::Refused(text)) if text == "too many"));
        for line in ["", "\n", "HTTP/1.1 400\n", "{\"links\":5}\n", "[]"] {
            let answer = links_of(line);
            assert!(matches!(answer, Err(LinksError::Unreadable(_))), "{line}");
        }
    }
}
