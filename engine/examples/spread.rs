//! One program on one node, or spread over several by its settings alone.
//!
//! ```sh
//! cargo run --example spread          # all of it on this node
//! cargo run --example spread -- 7001  # a node that waits for work; another one with 7002
//! RINGMESH__PLACEMENT__RULES=\
//! '/user/*=here,ringmesh://demo@127.0.0.1:7001,ringmesh://demo@127.0.0.1:7002' \
//!     cargo run --example spread
//! ```

use ringmesh::prelude::*;

#[message(id = "demo.Number", v = 1, reply = Number, pod)]
struct Number {
    n: u64,
}
protocol! { CounterApi = "demo.counter" { Number } }

/// Counts, among every third number from its argument on, those that have eight ones.
struct Counter(Msg<Number>);
impl Actor for Counter {
    type Api = CounterApi;
}
impl Spawnable for Counter {
    const KEY: &'static str = "demo.counter";
    type Args = Number;
    fn make(first: Msg<Number>) -> Result<Self, String> {
        Ok(Self(first))
    }
}
impl Handler<Number> for Counter {
    fn handle(&mut self, below: Msg<Number>, _: &mut Cx<'_, Self>) -> Number {
        let share = (self.0.n.to_native()..below.n.to_native()).step_by(3);
        let n = share.filter(|n| n.count_ones() == 8).count() as u64;
        Number { n }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let port: Option<u16> = std::env::args().nth(1).map(|it| it.parse()).transpose()?;
    let demo = Engine::node("demo").bind(([127, 0, 0, 1], port.unwrap_or(0)));
    let main = move |node: Node| async move {
        if port.is_some() {
            println!("{}", node.address());
            node.until_shutdown().await;
            return Ok(());
        }
        let (mut found, mut nodes) = (0, std::collections::BTreeSet::new());
        for n in 0..3 {
            let deploy = Deploy::<Counter>::new(Number { n }).named(format!("counter{n}"));
            let counter = node.spawn_at(deploy).await?;
            found += counter.ask(Number { n: 100_000 }).await?.n.to_native();
            nodes.insert(counter.id().uid);
        }
        println!("{found} numbers have eight ones; nodes: {}", nodes.len());
        Ok(())
    };
    demo.spawnable::<Counter>().environment().run(main)?
}
