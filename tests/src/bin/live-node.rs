//! A node in a process of its own, for the tests that kill, trace, measure or confine one.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, Subcommand};
use ringmesh::pubsub::{Level, Topic};
use ringmesh::shutdown::phase;
use ringmesh::{Address, Engine, IdleMode, Node, NodeBuilder, Placement, Ref, SendError};
use ringmesh_tests::live::SYSTEM;
use ringmesh_tests::live::hoard::{HOARDER, Hoarder, LATCH, Latch};
use ringmesh_tests::live::inspector::{INSPECTOR, Inspector};
use ringmesh_tests::live::messages::{ECHO, Echoer, RECORDS, Record, SINK, Sink, SinkApi, Tally};
use ringmesh_tests::live::node::{lenient, watchful};
use ringmesh_tests::live::pupil::{Pupil, pupil};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs a node and says what it does, one line each.
#[derive(Debug, Parser)]
struct Arguments {
    /// Refuses io_uring to this process first, with this error number.
    #[arg(long, value_name = "ERRNO")]
    refuse_io_uring: Option<u32>,
    /// Polls instead of sleeping when there is nothing to do.
    #[arg(long)]
    spin: bool,
    /// Settings from a file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, over those of the file and the environment.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    sets: Vec<String>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Hosts a sink, an echo, an inspector and a hoarder with its latch, and what pupils others
    /// spawn, until SIGTERM. First line: `listening ADDRESS`.
    Serve {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        bind: SocketAddr,
        /// Where the sink and the echo keep their tallies, in files of their names.
        #[arg(long)]
        tallies: Option<PathBuf>,
        /// How many connections may be half open.
        #[arg(long)]
        half_open_max: Option<usize>,
    },
    /// Waits for SIGTERM, and sends records with its last breath. First line: `ready`.
    Farewell {
        /// The path of a sink.
        to: String,
        /// How many.
        records: u64,
    },
    /// Runs two nodes until SIGTERM has stopped both. First line: `ready`.
    Pair,
    /// Waits for SIGTERM, and then in its shutdown without an end. First line: `ready`, and then
    /// `lingering`.
    Linger,
    /// Has pupils made at another node, which end with this one. First line: `spawned N`.
    Parent {
        /// The address of a node with a factory of them.
        to: Address,
        /// How many.
        children: u64,
    },
    /// Joins a cluster, and reads what is published to the records of the tests. First lines:
    /// `listening ADDRESS#UID`, then `known N` when N members know that it does; and of each record
    /// `read NUMBER`.
    Subscribe {
        /// Where to listen.
        #[arg(long)]
        bind: SocketAddr,
        /// The address of a member.
        seed: Address,
    },
    /// Sends records and prints what it took: `sent N`, then `enters N`.
    Stream {
        /// The path of a sink.
        to: String,
        /// How many.
        records: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("live-node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    if let Some(errno) = arguments.refuse_io_uring {
        refuse_io_uring(errno)?;
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let idle = if arguments.spin {
        IdleMode::Spin
    } else {
        IdleMode::Park
    };
    let mut builder = Engine::node(SYSTEM)
        .idle(idle)
        .settings(lenient)
        .environment();
    if let Some(path) = arguments.config {
        builder = builder.config_file(path);
    }
    for pair in &arguments.sets {
        builder = builder.set_pair(pair);
    }
    match arguments.task {
        Task::Serve {
            bind,
            tallies,
            half_open_max,
        } => {
            let builder = builder
                .spawnable::<Pupil>()
                .bind(bind)
                .settings(|settings| {
                    settings.half_open_max = half_open_max.unwrap_or(settings.half_open_max);
                });
            serve(builder, tallies)
        }
        Task::Farewell { to, records } => farewell(builder, to, records),
        Task::Pair => pair(&builder),
        Task::Linger => linger(builder),
        Task::Parent { to, children } => parent(builder, to, children),
        Task::Subscribe { bind, seed } => subscribe(builder.bind(bind), seed),
        Task::Stream { to, records } => stream(builder, to, records),
    }
}

fn serve(
    builder: NodeBuilder,
    tallies: Option<PathBuf>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (sink_tally, echo_tally) = match &tallies {
        Some(folder) => (Some(tally(folder, SINK)?), Some(tally(folder, ECHO)?)),
        None => (None, None),
    };
    builder.run(|node| async move {
        let sink = Sink {
            tally: sink_tally,
            ..Sink::default()
        };
        node.spawn_named(SINK, sink)?;
        node.spawn_named(ECHO, Echoer { tally: echo_tally })?;
        node.spawn_named(INSPECTOR, Inspector)?;
        let latch = Latch::default();
        node.spawn_named(HOARDER, Hoarder::behind(&latch))?;
        node.spawn_named(LATCH, latch)?;
        println!("listening {}", node.id());
        node.until_shutdown().await;
        Ok(())
    })?
}

fn tally(folder: &Path, name: &str) -> std::io::Result<Tally> {
    Tally::create(&folder.join(name))
}

fn farewell(
    builder: NodeBuilder,
    to: String,
    records: u64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    builder.run(move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&to).await?;
        println!("ready");
        node.until_shutdown().await;
        for number in 1..=records {
            send(&sink, number).await?;
        }
        Ok(())
    })?
}

fn pair(builder: &NodeBuilder) -> Result<(), Box<dyn Error + Send + Sync>> {
    let other = builder.clone();
    builder.clone().run(move |node| async move {
        let (up, other_is_up) = std::sync::mpsc::channel();
        // Started from a core, the thread keeps the termination signals blocked.
        let second = std::thread::spawn(move || {
            other.run(move |node| async move {
                let told = up.send(());
                node.until_shutdown().await;
                told
            })
        });
        other_is_up.recv()?;
        println!("ready");
        node.until_shutdown().await;
        second.join().map_err(|_| "the second node panicked")???;
        Ok(())
    })?
}

fn linger(builder: NodeBuilder) -> Result<(), Box<dyn Error + Send + Sync>> {
    builder.run(move |node| async move {
        let for_ever = |_| async {
            println!("lingering");
            std::future::pending::<Result<(), &str>>().await
        };
        let shutdown = node.coordinated_shutdown();
        shutdown.add_task(phase::SERVICE_STOP, "lingerer", for_ever)?;
        println!("ready");
        node.until_shutdown().await;
        Ok(())
    })?
}

fn subscribe(builder: NodeBuilder, seed: Address) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut settings = watchful();
    settings.seeds = Some(vec![seed]);
    builder.cluster(settings).run(|node| async move {
        println!("listening {}", node.id());
        node.cluster().ok_or("it has a cluster")?.up().await;
        let topic: Topic<Record> = Topic::new(RECORDS);
        let begun = node.subscribe(&topic)?.begin_known(Level::AllReachable);
        let (mut records, known) = begun.await?;
        println!("known {}", known.map_or(0, |it| it.confirmed.len()));
        loop {
            println!("read {}", records.recv().await?.number);
        }
    })?
}

fn parent(
    builder: NodeBuilder,
    to: Address,
    children: u64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    builder.run(move |node| async move {
        for _ in 0..children {
            let elsewhere = Placement::node(to.clone());
            node.spawn_at(pupil("abc").at(elsewhere)).await?;
        }
        println!("spawned {children}");
        node.until_shutdown().await;
        Ok(())
    })?
}

fn stream(
    builder: NodeBuilder,
    to: String,
    records: u64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    builder.run(move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&to).await?;
        for number in 1..=records {
            send(&sink, number).await?;
        }
        acknowledged(&node).await;
        println!("sent {records}");
        println!("enters {}", node.counters().enters);
        Ok(())
    })?
}

async fn send(sink: &Ref<SinkApi>, number: u64) -> Result<(), SendError<Record>> {
    match sink.try_tell(record(number)) {
        Err(SendError::Full(record)) => sink.tell(record).await,
        done => done,
    }
}

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::from_static(&[0x5a; 48]),
    }
}

/// Waits until the peer has taken everything over.
async fn acknowledged(node: &Node) {
    while node.counters().in_flight > 0 {
        node.sleep(Duration::from_millis(1)).await;
    }
}

/// Lets every later `io_uring_setup` of this process, and of its children, fail.
fn refuse_io_uring(errno: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
    let refused = [(libc::SYS_io_uring_setup, Vec::new())]
        .into_iter()
        .collect();
    let filter = SeccompFilter::new(
        refused,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
