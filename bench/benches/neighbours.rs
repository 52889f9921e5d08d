//! What an actor that never finishes a message costs its neighbours: the others that are reached
//! over the same link.
//!
//! Two nodes of this process, one link. A round tells a neighbour so many messages of 64 bytes, and
//! ends when all were handled. Rounds take turns: before every other one a stuck actor is started
//! beside the neighbour and told as much as its sender gets rid of, its mailbox, its share of the
//! credit and a notice that it is busy included; behind the round it is stopped. What is printed
//! are the medians of both kinds, and their ratio.
//!
//! `cargo bench -p ringmesh-bench --bench neighbours -- ROUNDS MESSAGES`, both optional. Each node
//! spins on a CPU of its own: on a host with fewer than two idle ones the figures say nothing.

use std::error::Error;
use std::future::pending;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringmesh::prelude::*;
use ringmesh::{Address, SendError};

/// Rounds of each kind, and messages of each round, where nothing else is said.
const ROUNDS: usize = 21;
const MESSAGES: u64 = 1_000_000;

/// Refusals in a row that mean that the stuck actor takes no more.
const REFUSALS: u32 = 50;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[message(id = "bench.Quote", v = 1, pod)]
struct Quote {
    number: u64,
    rest: [u64; 7],
}

/// Asks how many messages were handled; order is kept, so everything told before it was.
#[message(id = "bench.Count", v = 1, reply = Counted)]
struct Count;

#[message(id = "bench.Counted", v = 1, pod)]
struct Counted {
    messages: u64,
}

/// Starts a stuck actor.
#[message(id = "bench.Plant", v = 1, reply = Planted)]
struct Plant;

#[message(id = "bench.Planted", v = 1)]
struct Planted {
    stuck: Ref<StuckApi>,
}

/// Stops it.
#[message(id = "bench.Uproot", v = 1, reply = Uprooted)]
struct Uproot {
    stuck: Ref<StuckApi>,
}

#[message(id = "bench.Uprooted", v = 1)]
struct Uprooted {
    ran: bool,
}

/// Stops the node.
#[message(id = "bench.Leave", v = 1)]
struct Leave;

protocol! { NeighbourApi = "bench.neighbour" { Quote, Count } }
protocol! { StuckApi = "bench.stuck" { Quote } }
protocol! { HostApi = "bench.host" { Plant, Uproot, Leave } }

#[derive(Default)]
struct Neighbour {
    messages: u64,
}

impl Actor for Neighbour {
    type Api = NeighbourApi;
}

impl Handler<Quote> for Neighbour {
    fn handle(&mut self, _: Msg<Quote>, _: &mut Cx<'_, Self>) {
        self.messages += 1;
    }
}

impl Handler<Count> for Neighbour {
    fn handle(&mut self, _: Msg<Count>, _: &mut Cx<'_, Self>) -> Counted {
        let messages = self.messages;
        Counted { messages }
    }
}

struct Stuck;

impl Actor for Stuck {
    type Api = StuckApi;
}

#[async_handler]
impl AsyncHandler<Quote> for Stuck {
    async fn handle(&mut self, _: Msg<Quote>, _: &mut Cx<'_, Self>) {
        pending().await
    }
}

struct Host;

impl Actor for Host {
    type Api = HostApi;
}

impl Handler<Plant> for Host {
    fn handle(&mut self, _: Msg<Plant>, cx: &mut Cx<'_, Self>) -> Planted {
        let stuck = cx.node().spawn(Stuck).expect("room for an actor");
        Planted { stuck }
    }
}

impl Handler<Uproot> for Host {
    fn handle(&mut self, uproot: Msg<Uproot>, cx: &mut Cx<'_, Self>) -> Uprooted {
        let stuck: Ref<StuckApi> = uproot.stuck.get();
        let ran = cx.node().stop(&stuck);
        Uprooted { ran }
    }
}

impl Handler<Leave> for Host {
    fn handle(&mut self, _: Msg<Leave>, cx: &mut Cx<'_, Self>) {
        cx.node().shutdown();
    }
}

fn quote(number: u64) -> Quote {
    let rest = [number; 7];
    Quote { number, rest }
}

/// The seconds that a round takes, from its first message to the answer behind its last.
async fn round(neighbour: Ref<NeighbourApi>, messages: u64) -> Outcome<f64> {
    let before = neighbour.ask(Count).await?.messages.to_native();
    let begun = Instant::now();
    for number in 0..messages {
        neighbour.tell(quote(number)).await?;
    }
    let after = neighbour.ask(Count).await?.messages.to_native();
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(after - before, messages, "nothing is lost");
    Ok(seconds)
}

/// Tells the stuck actor all that it takes, and says how much that is.
async fn fill(stuck: Ref<StuckApi>, node: &Node) -> Outcome<u64> {
    let (mut taken, mut refused) = (0, 0);
    while refused < REFUSALS {
        match stuck.try_tell(quote(taken)) {
            Ok(()) => (taken, refused) = (taken + 1, 0),
            Err(SendError::Full(_)) => {
                refused += 1;
                node.sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error.to_string().into()),
        }
    }
    Ok(taken)
}

/// The seconds of the rounds alone and beside a stuck actor, and what that took each time.
async fn measure(
    node: &Node,
    at: &Address,
    rounds: usize,
    messages: u64,
) -> Outcome<[Vec<f64>; 2]> {
    let host: Ref<HostApi> = node.resolve(&format!("{at}/user/host")).await?;
    let neighbour: Ref<NeighbourApi> = node.resolve(&format!("{at}/user/neighbour")).await?;
    round(neighbour, messages).await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut stuck_with = 0;
    for _ in 0..rounds {
        alone.push(round(neighbour, messages).await?);
        let stuck: Ref<StuckApi> = host.ask(Plant).await?.stuck.get();
        stuck_with = fill(stuck, node).await?;
        beside.push(round(neighbour, messages).await?);
        let uprooted = host.ask(Uproot { stuck }).await?;
        assert!(uprooted.ran, "it was stuck, and not gone");
    }
    host.tell(Leave).await?;
    println!("the stuck actor was told {stuck_with} messages at the last");
    Ok([alone, beside])
}

/// The lower quartile, the median and the upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

fn main() -> Outcome<()> {
    // Cargo adds a `--bench` of its own.
    let mut numbers = std::env::args().skip(1).filter(|it| !it.starts_with("--"));
    let rounds = numbers.next().map_or(Ok(ROUNDS), |text| text.parse())?;
    let messages = numbers.next().map_or(Ok(MESSAGES), |text| text.parse())?;
    let (say, heard) = mpsc::channel();
    let server = thread::spawn(move || {
        Engine::node("bench")
            .idle(IdleMode::Spin)
            .run(move |node| async move {
                node.spawn_named("host", Host)?;
                node.spawn_named("neighbour", Neighbour::default())?;
                say.send(node.address().clone())?;
                node.until_shutdown().await;
                Outcome::Ok(())
            })
    });
    let at = heard.recv()?;
    let measured = Engine::node("bench")
        .idle(IdleMode::Spin)
        .run(move |node| async move { measure(&node, &at, rounds.max(1), messages).await })?;
    let [alone, beside] = measured?.map(quartiles);
    for (what, [low, median, high]) in [("alone", alone), ("beside a stuck actor", beside)] {
        let rate = |seconds: f64| messages as f64 / seconds / 1e6;
        println!(
            "{what}: {:.2} M messages/s ({:.2} to {:.2})",
            rate(median),
            rate(high),
            rate(low)
        );
    }
    println!("ratio of the medians: {:.3}", alone[1] / beside[1]);
    server.join().map_err(|_| "the serving node panicked")???;
    Ok(())
}
