//! A feed on one node, two readers on another: the slow one is told what it lost.
//!
//! ```sh
//! cargo run --example topics               # the feed: prints its address, and waits for readers
//! cargo run --example topics -- ADDRESS    # the readers
//! ```

use std::time::Duration;

use ringmesh::cluster::ClusterSettings;
use ringmesh::prelude::*;
use ringmesh::pubsub::{RecvError, Topic};

#[message(id = "topics.Tick", v = 1)]
#[derive(Debug)]
struct Tick(u64);

const TICKS: Topic<Tick> = Topic::new("market.ticks");
const LAST: u64 = 20_000;
type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn read(node: Node, name: &str, pause: Duration) -> Outcome {
    let mut ticks = node.subscribe(&TICKS)?.begin()?;
    let (mut seen, mut lost) = (0, 0);
    loop {
        match ticks.recv().await {
            Ok(tick) if tick.0 == LAST => break,
            Ok(_) => seen += 1,
            Err(RecvError::Lagged(count)) => lost += count,
            Err(closed) => return Err(closed.into()),
        }
        if !pause.is_zero() {
            node.sleep(pause).await;
        }
    }
    println!("{name}: seen and lost are all: {}", seen + lost == LAST);
    Ok(())
}

fn main() -> Outcome {
    let feed = std::env::args().nth(1).map(|it| it.parse()).transpose()?;
    let mut settings = ClusterSettings::default();
    settings.seeds = Some(feed.into_iter().collect());
    Engine::node("demo")
        .cluster(settings)
        .run(|node| async move {
            if std::env::args().len() > 1 {
                let fast = read(node.clone(), "fast", Duration::ZERO);
                node.spawn_task(async move { fast.await.expect("it reads to the end") })?;
                return read(node, "slow", Duration::from_micros(500)).await;
            }
            println!("{}", node.address());
            let feed = node.publisher(&TICKS)?;
            feed.wait_for_subscribers(2, Duration::from_secs(600))
                .await?;
            for number in 0..=LAST {
                feed.publish(Tick(number)).await?;
            }
            node.until_shutdown().await;
            Ok(())
        })?
}
