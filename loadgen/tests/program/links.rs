//! The links of a serving node, shown from outside.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{Running, loadgen, run};

/// A serving node with a control port, and where both are.
fn serving() -> (Running, String, String) {
    let line = "serve --bind 127.0.0.1:0 --mode park --control 127.0.0.1:0";
    let mut running = Running::start(loadgen(line).stdin(Stdio::null()));
    let stdout = running.child().stdout.take().expect("piped");
    let mut lines = BufReader::new(stdout).lines();
    let mut value = |key: &str| {
        let line = lines.next().expect("a line").expect("text");
        let value = line.strip_prefix(key).map(str::trim);
        value.unwrap_or_else(|| panic!("{key}: {line}")).to_owned()
    };
    let (listening, control) = (value("listening "), value("control "));
    (running, listening, control)
}

#[test]
fn the_links_of_a_serving_node_are_shown_while_it_is_streamed_to() {
    let (mut serving, address, control) = serving();
    let show = format!("links --connect {control} --once --json");
    let output = run(&show);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "nobody is linked yet"
    );
    let line = format!("stream --connect {address} --seconds 4 --mode park --json");
    let stream = Running::start(loadgen(&line).stdin(Stdio::null()));
    let begin = Instant::now();
    let link = loop {
        let output = run(&show);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let links = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let mut links = links.filter(|link: &Value| link["messages_received"].as_u64() > Some(100));
        if let Some(link) = links.next() {
            break link;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "no link carries messages: {text}"
        );
    };
    assert_eq!(
        (&link["state"], &link["lane"]),
        (&"up".into(), &"ordinary".into())
    );
    let output = run(&format!("links --connect {control} --once"));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.starts_with("peer ") && text.contains(" up "), "{text}");
    drop(stream);
    serving.send_signal(Signal::TERM);
    assert!(serving.ends().status.success());
}

#[test]
fn every_second_each_link_is_one_object() {
    let (_serving, address, control) = serving();
    let line = format!("stream --connect {address} --seconds 6 --mode park --json");
    let _stream = Running::start(loadgen(&line).stdin(Stdio::null()));
    let line = format!("links --connect {control} --json");
    let mut links = Running::start(loadgen(&line).stdin(Stdio::null()));
    let stdout = links.child().stdout.take().expect("piped");
    let mut lines = BufReader::new(stdout).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    let (first, second) = (next(), next());
    assert!(
        first["peer"].is_string() && second["core"].is_u64(),
        "{first} {second}"
    );
}

#[test]
fn a_port_that_is_closed_or_another_s_ends_with_1() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().expect("it is bound");
    let stranger = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("it is asked");
        let mut command = [0; 6];
        client.read_exact(&mut command).expect("a command");
        client
            .write_all(b"HTTP/1.1 400 Bad Request\n")
            .expect("it is open");
        command
    });
    let output = run(&format!("links --connect {at} --once"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(&stranger.join().expect("it is asked"), b"links\n");
    // And now nobody listens there.
    let output = run(&format!("links --connect {at} --once"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}
