//! A node of a cluster and nothing else: for a look at how clusters form and heal, and for scripts
//! that make them.
//!
//! ```sh
//! cargo run --example node -- --bind 127.0.0.1:7001
//! cargo run --example node -- --bind 127.0.0.1:7002 --seed 127.0.0.1:7001
//! ```
//!
//! What happens is printed to stdout, an event in a line, and commands are read from stdin. A line
//! is the event, the member that it is about if there is one, and `key=value` pairs; a value that
//! is no single word is written as in JSON, a text in quotes. With `--json` the whole line is. Logs
//! go to stderr, as `RUST_LOG` says. The exit code is 0 when the node left its cluster, 1 when it
//! could not run, 2 for wrong arguments, 3 when it was given up or removed, 4 when it could not
//! join.

mod arguments;
mod busy;
mod commands;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use futures_util::future::select;
use ringmesh::cluster::{ClusterError, ClusterEvents, CommandError, News, Topology};
use ringmesh::{EngineError, Events, Node, NodeEvent};
use std::pin::pin;

use self::arguments::Arguments;
use self::report::{Line, Reporter};

/// The exit code for wrong arguments or settings.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(help) if !help.use_stderr() => help.exit(),
        Err(error) => {
            eprint!("{error}");
            let json = std::env::args_os().any(|it| it == "--json");
            return exit(Reporter::new(json), USAGE);
        }
    };
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let reporter = Reporter::new(arguments.json);
    let is_busy = arguments.busy;
    let seeds = arguments.seeds();
    let (seeds, node) = match seeds.and_then(|seeds| Ok((seeds, arguments.node()?))) {
        Ok(both) => both,
        Err(error) => {
            eprintln!("{error}");
            return exit(reporter, USAGE);
        }
    };
    let code = node.run(move |node| async move {
        if is_busy && let Err(error) = node.spawn_each(|_| busy::Labourer).await {
            eprintln!("{error}");
            return 1;
        }
        run(node, seeds, reporter).await
    });
    let code = code.unwrap_or_else(|error| {
        eprintln!("{error}");
        match error {
            EngineError::Configuration(_) | EngineError::Cluster(_) | EngineError::State(_) => {
                USAGE
            }
            _ => 1,
        }
    });
    exit(reporter, code)
}

/// The last line.
fn exit(reporter: Reporter, code: u8) -> ExitCode {
    reporter.say(Line::new("exit").number("code", code.into()));
    ExitCode::from(code)
}

async fn run(node: Node, seeds: Vec<ringmesh::Address>, reporter: Reporter) -> u8 {
    let Some(cluster) = node.cluster() else {
        eprintln!("cluster.take_part is off: this program is nothing but a member");
        return USAGE;
    };
    reporter.say(Line::new("listening").of(node.id()));
    let events = cluster.events();
    let mut told = pin!(follow(events, reporter));
    if let Err(error) = node.spawn_task(follow_node(node.events(), reporter)) {
        eprintln!("{error}");
        return 1;
    }
    match cluster.join(seeds).await {
        // By `cluster.seeds`, before this.
        Ok(()) | Err(ClusterError::Command(CommandError::AlreadyJoined)) => {}
        Err(error) => {
            eprintln!("{error}");
            return USAGE;
        }
    }
    let commands = commands::serve(cluster.clone(), reporter);
    if let Err(error) = node.spawn_task(commands) {
        eprintln!("{error}");
        return 1;
    }
    {
        let mut asked = pin!(node.until_shutdown());
        // The events end with the node alone.
        select(&mut told, &mut asked).await;
    }
    // By now it has left, as far as the phases of the shutdown had time for that.
    let is_left_behind = cluster.end().is_none() && cluster.self_member().is_some();
    let code = match node.coordinated_shutdown().exit_code() {
        0 if is_left_behind => 1,
        code => code,
    };
    // Whatever was told to the end, and the end itself.
    let mut enough = pin!(node.sleep(Duration::from_millis(50)));
    select(&mut told, &mut enough).await;
    code
}

/// Prints what happens, until the node has ended.
async fn follow(mut events: ClusterEvents, reporter: Reporter) {
    let mut known: Option<Topology> = None;
    while let Some(news) = events.next().await {
        match news {
            News::Snapshot(topology) => known = Some(Topology::clone(&topology)),
            News::Event(event) => {
                // A snapshot comes first.
                if let Some(known) = &mut known {
                    reporter.event(&event.event, known);
                    known.apply(&event.event);
                }
            }
            News::Lagged(lost) => reporter.say(Line::new("lagged").number("lost", lost)),
            _ => {}
        }
    }
}

/// Prints what happens to the node itself, as far as the cluster is concerned.
async fn follow_node(mut events: Events, reporter: Reporter) {
    while let Some(event) = events.next().await {
        let line = Line::new(event.label());
        match event {
            NodeEvent::Quarantined { node, cause, .. } => {
                reporter.say(line.of(&node).with("cause", &*cause));
            }
            NodeEvent::CoreStalled { core, span, .. } | NodeEvent::CoreTurns { core, span, .. } => {
                let line = line.number("core", core.0.into());
                reporter.say(line.number("span_ms", span.as_millis() as u64));
            }
            _ => {}
        }
    }
}
