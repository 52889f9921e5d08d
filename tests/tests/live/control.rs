//! The control port, as its clients meet it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ringmesh::{Engine, EngineError, IdleMode, NodeBuilder};
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, SINK};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::{SYSTEM, WAIT};
use serde_json::Value;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn with_control(builder: NodeBuilder) -> NodeBuilder {
    builder.settings(|settings| settings.control = Some(ANY_PORT))
}

fn control_of(node: &LiveNode) -> SocketAddr {
    let address = node.run(|node| async move { node.control_address() });
    address.expect("it is open")
}

/// A client of a control port.
struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn of(node: &LiveNode) -> Self {
        Self::at(control_of(node))
    }

    fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(WAIT)).expect("a socket");
        let lines = BufReader::new(stream.try_clone().expect("a descriptor"));
        Self { stream, lines }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is open");
    }

    fn ask(&mut self, command: &str) -> Value {
        self.say(format!("{command}\n").as_bytes());
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("an answer");
        assert!(line.ends_with('\n'), "a whole line: {line:?}");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Whether the port has closed the connection, and says nothing more.
    fn closes(mut self) -> bool {
        let mut rest = Vec::new();
        // A reset says the same.
        let read = self.lines.read_to_end(&mut rest);
        read.is_err() || rest.is_empty()
    }
}

/// Brings a link between two nodes up, and one question through it.
fn meet(near: &LiveNode, far: &LiveNode) {
    let path = far.path(ECHO);
    near.run(|node| async move {
        let echo = node.resolve::<EchoApi>(&path).await.expect("it is there");
        let body = bytes::Bytes::new();
        echo.ask(Echo { number: 1, body }).await.expect("an answer");
    });
}

#[test]
fn there_is_no_port_unless_the_settings_name_one() {
    let node = LiveNode::start();
    let address = node.run(|node| async move { node.control_address() });
    assert_eq!(address, None);
    let tasks = node.counters().tasks;
    let shown = LiveNode::start_with(with_control);
    assert_eq!(shown.counters().tasks, tasks + 1, "one that answers");
}

#[test]
fn each_command_is_answered_by_one_line() {
    let node = LiveNode::start_serving_with(with_control);
    let far = LiveNode::start_serving();
    meet(&node, &far);
    let mut client = Client::of(&node);
    let commands = client.ask("help");
    let expected = ["config", "events", "help", "links", "metrics"];
    assert_eq!(commands["commands"], serde_json::json!(expected));

    let links = client.ask("links");
    let link = &links["links"][0];
    assert_eq!(links["links"].as_array().map(Vec::len), Some(1), "{links}");
    assert_eq!(
        (&link["state"], &link["lane"]),
        (&"up".into(), &"ordinary".into())
    );
    let far_at = format!("127.0.0.1:{}", far.address().port());
    assert_eq!(link["peer"], far_at);
    assert_eq!(link["uid"], far.id().uid.to_string());
    assert_eq!(link["uid"].as_str().map(str::len), Some(16));
    assert!(link["messages_sent"].as_u64() >= Some(2), "{link}");
    assert!(link["rtt_us"].is_null(), "nobody has looked before: {link}");
    let is_measured = |links: &Value| links["links"][0]["rtt_us"].is_u64();
    let begin = std::time::Instant::now();
    while !is_measured(&client.ask("links")) {
        assert!(begin.elapsed() < WAIT, "no round trip is measured");
    }

    // Commands may come together, and with the line breaks of other systems.
    client.say(b"metrics\r\n  config  \n");
    let metrics = client.answer();
    let counted = node.counters();
    assert_eq!(metrics["total"]["delivered"], counted.delivered);
    assert_eq!(metrics["cores"].as_array().map(Vec::len), Some(1));
    assert!(metrics["close_reasons"][0].is_object());
    let config = client.answer();
    let text = config["config"].as_str().expect("a text");
    assert!(
        text.contains("[control]") && text.contains("[link]"),
        "{text}"
    );
}

#[test]
fn events_come_until_the_node_ends() {
    let node = LiveNode::start_serving_with(with_control);
    let mut client = Client::of(&node);
    let first = client.ask("events");
    assert_eq!(first["event"], "listening");
    assert!(first["at_ms"].as_u64() > Some(0));
    let far = LiveNode::start_serving();
    meet(&node, &far);
    let event = client.answer();
    assert_eq!(
        (&event["event"], &event["dialled"]),
        (&"associated".into(), &true.into())
    );
    assert_eq!(event["uid"], far.id().uid.to_string());
    far.stop();
    let event = client.answer();
    assert_eq!(
        (&event["event"], &event["reason"]),
        (&"lost".into(), &"bye".into())
    );
    let address = control_of(&node);
    node.stop();
    assert!(client.closes());
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn bad_input_gets_one_error_and_only_what_is_unreadable_ends_the_connection() {
    let node = LiveNode::start_with(with_control);
    let mut client = Client::of(&node);
    for nonsense in ["", "link", "links now", "LINKS", "{\"command\":\"links\"}"] {
        let answer = client.ask(nonsense);
        assert!(answer["error"].is_string(), "{nonsense}: {answer}");
    }
    assert!(client.ask("help")["commands"].is_array());
    for unreadable in [vec![b'a'; 300], vec![0xff, b'\n'], vec![b'x'; 256]] {
        let mut client = Client::of(&node);
        client.say(&unreadable);
        assert!(client.answer()["error"].is_string());
        assert!(client.closes());
    }
    // A line that never ends, and one that says nothing.
    let mut half = Client::of(&node);
    half.say(b"lin");
    half.stream.shutdown(Shutdown::Write).expect("it is open");
    assert!(half.closes());
    assert!(client.ask("help")["commands"].is_array(), "others go on");
    assert_eq!(node.counters().panics, 0);
}

#[test]
fn one_over_the_clients_there_may_be_is_told_so_and_another_takes_the_place_of_one_that_left() {
    let node = LiveNode::start_with(with_control);
    let address = control_of(&node);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::at(address)).collect();
    for client in &mut clients {
        assert!(client.ask("help")["commands"].is_array());
    }
    let mut refused = Client::at(address);
    assert_eq!(refused.answer()["error"], "too many clients: try again");
    assert!(refused.closes());
    // One that streams leaves as well as one that asks.
    assert_eq!(clients[0].ask("events")["event"], "listening");
    drop(clients.remove(0));
    let begin = std::time::Instant::now();
    loop {
        let mut client = Client::at(address);
        client.say(b"help\n");
        if client.answer()["commands"].is_array() {
            break;
        }
        assert!(begin.elapsed() < WAIT, "its place stays taken");
    }
}

#[test]
fn a_core_that_blocks_holds_up_links_alone() {
    let node = LiveNode::start_serving_with(with_control);
    let mut client = Client::of(&node);
    let (blocks, is_blocked) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let blocked = node.begin(move |_| async move {
        blocks.send(()).expect("somebody waits");
        // The core does nothing else meanwhile.
        released.recv_timeout(WAIT).is_ok()
    });
    is_blocked.recv_timeout(WAIT).expect("it blocks");
    assert!(client.ask("links")["error"].is_string());
    assert!(client.ask("metrics")["total"].is_object());
    release.send(()).expect("it waits");
    assert!(blocked.finish());
    assert!(client.ask("links")["links"].is_array());
    assert!(!node.path(SINK).is_empty());
}

#[test]
fn a_port_that_is_taken_or_open_to_others_ends_the_start_in_one_line() {
    let start = |at: SocketAddr| {
        let builder = Engine::node(SYSTEM).idle(IdleMode::Park);
        let builder = builder.settings(|settings| settings.control = Some(at));
        builder.run(|_| async {}).expect_err("it cannot start")
    };
    let taken = TcpListener::bind(ANY_PORT).expect("a free port");
    let at = taken.local_addr().expect("it is bound");
    let error = start(at);
    assert!(matches!(error, EngineError::Bind { .. }), "{error}");
    let error = start(([0, 0, 0, 0], 7401).into());
    assert!(matches!(error, EngineError::Configuration(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("control.bind") && text.contains("loopback"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_client_that_reads_nothing_is_let_go() {
    let node = LiveNode::start_with(with_control);
    let mut deaf = Client::of(&node);
    deaf.stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .expect("a socket");
    // Answers that nobody takes fill the socket, and then the port reads no more either.
    let commands = "config\n".repeat(10_000);
    while deaf.stream.write_all(commands.as_bytes()).is_ok() {}
    let mut other = Client::of(&node);
    assert!(other.ask("help")["commands"].is_array());
    drop(other);
    node.stop();
}
